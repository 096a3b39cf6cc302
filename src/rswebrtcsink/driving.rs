// SPDX-License-Identifier: MPL-2.0
//! One round of adapting: finds the encoders, shares what the path carries among them, sets them,
//! and tells.

mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::encoders::{self, Choice, Knob};
use crate::gst_glue::media_pad::MediaPad;
use crate::logging::SINK as CAT;
use crate::media::codec::MediaKind;
use crate::peer::{BitrateLimits, Estimate};

use super::RsWebRtcSink;
use super::adaptation::Todo;
use super::bitrate::{Overshoot, Setting, Stream, share};
use super::call::SinkCall;
use super::congestion::{Congestion, CongestionControl, ESTIMATED};
use super::encoder;
use super::flow::Flow;
use super::holding::Hold;
use super::layers::{self, Layer};
use super::opus::{Opus, Wishes};

use self::telling::post;

/// Links change without a word to us.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// An Opus stream, where its encoder does not say.
const NOMINAL_AUDIO: u64 = 64_000;

/// An encoder that is driven.
struct Driven {
    element: glib::WeakRef<gst::Element>,
    name: String,
    knob: Knob,
    setting: Setting,
    overshoot: Overshoot,
    /// Of video.
    hold: Option<Arc<Hold>>,
    opus: Option<Opus>,
    /// What it was set to when it was found, bit/s.
    nominal: u64,
    /// The same as its property held it.
    found: glib::Value,
    /// How often it was asked whether it keeps frames, since it has caps.
    asked: u8,
}

impl Driven {
    fn is(&self, element: &gst::Element, property: &str) -> bool {
        self.knob.property() == property && encoder::is(&self.element, element)
    }

    /// It is driven no more: what a path left of its bitrate is not to be taken for the user's wish.
    fn let_go(&self) {
        let element = self.element.upgrade().filter(|_| self.setting.is_made());
        if let Some(element) = element {
            gst::debug!(CAT, "{}: set back to {:?}", self.name, self.found);
            element.set_property_from_value(self.knob.property(), &self.found);
        }
        if let (Some(opus), Some(element)) = (&self.opus, self.element.upgrade()) {
            opus.let_go(&element);
        }
    }
}

/// What comes to one pad.
struct Pad {
    track: usize,
    name: String,
    video: bool,
    /// Its weight may change at any time.
    ghost: glib::WeakRef<MediaPad>,
    /// Places in `Driving::encoders`.
    encoders: Vec<usize>,
    /// No encoder was found, not even one that cannot be driven.
    stored: bool,
    /// Of audio.
    wishes: Wishes,
}

/// What a call's rounds remember.
#[derive(Default)]
pub struct Driving {
    encoders: Vec<Driven>,
    pads: Vec<Pad>,
    flows: BTreeMap<usize, Flow>,
    looked: Option<Instant>,
    /// Encoders are set; without congestion control they are only known.
    drives: bool,
    /// There was something to follow.
    followed: bool,
    limits: Option<BitrateLimits>,
    /// Warnings are said once.
    told: BTreeSet<String>,
}

impl Driving {
    /// Does all that is due `now`.
    pub fn round(&mut self, sink: &RsWebRtcSink, call: &SinkCall, todo: Todo, now: Instant) {
        let congestion = sink.imp().congestion();
        self.drives = congestion.control == CongestionControl::Gcc;
        let stale = self.looked.is_none_or(|then| now - then >= LOOK_INTERVAL);
        if todo.look || stale || self.is_missing_one() {
            self.look(sink, call, &congestion);
            self.looked = Some(now);
        }
        self.tell_of_key_frames(sink, call);
        if !self.drives {
            return;
        }
        self.measure(call, now);
        self.set_limits(call, &congestion, todo.tell_limits);
        let limits = congestion.limits();
        let target = call.adaptation().target(congestion.policy, now);
        self.followed |= target.is_some();
        // The last viewer left: who comes next begins at the start.
        let nobody = self.followed.then(|| Estimate {
            media: limits.start,
            ..Estimate::default()
        });
        let Some(target) = target.or(nobody) else {
            return;
        };
        if call.adaptation().set_estimated(target.total) {
            sink.notify(ESTIMATED);
        }
        let films: u64 = self.films().map(Flow::rate).sum();
        let most = limits.max.saturating_add(films);
        let media = target.media.max(limits.min).min(most);
        self.set_encoders(sink, call, (media, &target), now);
        let holds = self.encoders.iter().filter_map(|e| e.hold.as_ref());
        holds.for_each(|hold| hold.follow(target.queued_until, now));
        self.follow_opus(target.loss);
    }

    /// The call is over: encoders are what they were.
    pub fn end(self) {
        self.encoders.iter().for_each(Driven::let_go);
    }

    /// Whether a first measurement is under way.
    pub fn is_measuring(&self) -> bool {
        self.flows.values().any(|flow| !flow.is_known())
    }

    /// Whether there is an encoder to drive.
    pub fn has_encoders(&self) -> bool {
        !self.encoders.is_empty()
    }

    /// What comes to pads with video that nobody drives.
    fn films(&self) -> impl Iterator<Item = &Flow> {
        let films = self
            .pads
            .iter()
            .filter(|pad| pad.video && pad.encoders.is_empty());
        films.filter_map(|pad| self.flows.get(&pad.track))
    }

    fn is_missing_one(&self) -> bool {
        self.encoders.iter().any(|e| e.element.upgrade().is_none())
    }

    /// Finds the encoders anew; those that were known keep what is known of them.
    fn look(&mut self, sink: &RsWebRtcSink, call: &SinkCall, congestion: &Congestion) {
        let choice = congestion.property.as_deref().map(str::parse::<Choice>);
        let choice = choice.transpose().unwrap_or_else(|text| {
            self.warn(sink, &text);
            None
        });
        let mut ghosts = Vec::new();
        for (track, ghost) in sink.imp().ghosts() {
            ghosts.extend(call.kind(track).map(|kind| (track, ghost, kind)));
        }
        let named = congestion.element.as_deref();
        let on_the_way = named.is_some_and(|name| {
            let mut ghosts = ghosts.iter();
            ghosts.any(|(_, ghost, _)| encoder::upstream_named(ghost.upcast_ref(), name).is_some())
        });
        let elsewhere = named
            .filter(|_| !on_the_way)
            .and_then(|name| encoder::in_pipeline(sink.upcast_ref(), name));
        if let Some(name) = named.filter(|_| !on_the_way && elsewhere.is_none()) {
            self.warn(
                sink,
                &format!(
                    "there is no element '{name}' in the pipeline, which bitrate-element names"
                ),
            );
        }
        let before = std::mem::take(&mut self.encoders);
        let peers = call.calls().stats();
        self.pads.clear();
        for (track, ghost, kind) in ghosts {
            let video = kind == MediaKind::Video;
            let found = match (named, &elsewhere) {
                (Some(_), Some(element)) if video => vec![element.clone()],
                (Some(name), None) if video && on_the_way => {
                    let element = encoder::upstream_named(ghost.upcast_ref(), name);
                    element.into_iter().collect()
                }
                _ => encoder::upstream(ghost.upcast_ref()),
            };
            let stored = found.is_empty();
            let mut places = Vec::new();
            for element in found {
                let choice = choice.as_ref().filter(|_| video);
                places.extend(self.take(sink, &element, choice, video, &before));
            }
            let agreed = peers.iter().flat_map(|peer| &peer.streams);
            let agreed = agreed.filter(|(agreed, _)| {
                agreed.direction.sends() && call.track_sent_as(agreed.local) == Some(track)
            });
            let codecs = agreed.map(|(agreed, _)| &agreed.codec);
            self.pads.push(Pad {
                track,
                name: ghost.name().to_string(),
                video,
                ghost: ghost.downgrade(),
                encoders: places,
                stored,
                wishes: Wishes::of(codecs.filter(|_| !video)),
            });
        }
        for former in before {
            let element = former.element.upgrade();
            let taken = |element: &gst::Element| {
                let mut now = self.encoders.iter();
                now.any(|driven| driven.is(element, former.knob.property()))
            };
            if element.is_some_and(|element| !taken(&element)) {
                former.let_go();
            }
        }
        if self.drives {
            self.tell_of_nothing(sink);
            self.tell_of_held_back(sink);
        }
    }

    /// Takes `element` among those that are driven; gives its place.
    fn take(
        &mut self,
        sink: &RsWebRtcSink,
        element: &gst::Element,
        choice: Option<&Choice>,
        video: bool,
        before: &[Driven],
    ) -> Option<usize> {
        let mut known = self.encoders.iter();
        if let Some(place) = known.position(|driven| encoder::is(&driven.element, element)) {
            return Some(place);
        }
        let knob = match Knob::of(element, choice) {
            Ok(knob) => knob,
            // G.711 has one bitrate, and no other audio needs much.
            Err(refusal) if !video => {
                gst::debug!(CAT, obj = sink, "{refusal}");
                return None;
            }
            Err(refusal) => {
                if self.drives {
                    self.warn(sink, &refusal.to_string());
                }
                return None;
            }
        };
        let mut before = before.iter();
        let same = before.find(|d| d.is(element, knob.property()));
        let former = same.filter(|d| d.knob == knob);
        if self.drives && former.is_none() {
            let set = encoders::prepare(element).join(" ");
            if !set.is_empty() {
                let name = element.name();
                let text =
                    format!("{name} was set to {set}, so that it follows the network at once");
                self.notice(sink, text);
            }
        }
        if let Some(text) = encoders::ineffective(element).filter(|_| self.drives) {
            self.warn(sink, &text);
        }
        let nominal = || knob.current(element).unwrap_or(NOMINAL_AUDIO);
        let found = || element.property_value(knob.property());
        let hold = || Hold::new(element).filter(|_| video && self.drives);
        self.encoders.push(Driven {
            element: element.downgrade(),
            name: element.name().to_string(),
            setting: former.map(|f| f.setting).unwrap_or_default(),
            overshoot: former.map(|f| f.overshoot).unwrap_or_default(),
            hold: former.map_or_else(hold, |f| f.hold.clone()),
            opus: former.map_or_else(|| Opus::of(element), |f| f.opus),
            nominal: same.map_or_else(nominal, |s| s.nominal),
            found: same.map_or_else(found, |s| s.found.clone()),
            asked: same.map_or(0, |s| s.asked),
            knob,
        });
        Some(self.encoders.len() - 1)
    }

    /// Notes how much comes to each pad.
    fn measure(&mut self, call: &SinkCall, now: Instant) {
        if !call.gate.is_open() {
            self.flows.retain(|_, flow| flow.is_known());
            for (track, flow) in &mut self.flows {
                flow.skip(call.bytes(*track), now);
            }
            return;
        }
        for pad in &self.pads {
            let bytes = call.bytes(pad.track);
            let flow = self.flows.entry(pad.track);
            let flow = flow.or_insert_with(|| Flow::new(bytes, now));
            // With several there is no telling which one made it.
            if let Some((rate, since)) = flow.measure(bytes, now)
                && let [place] = pad.encoders.as_slice()
                && let Some(driven) = self.encoders.get_mut(*place)
            {
                driven.overshoot.measured(rate, since);
            }
        }
    }

    fn set_limits(&mut self, call: &SinkCall, congestion: &Congestion, anew: bool) {
        let limits = self.limits_of(congestion);
        if anew || self.limits != Some(limits) {
            call.calls().set_bitrate_limits(limits);
            self.limits = Some(limits);
        }
    }

    /// A stored film has the bitrate that it has: `max-bitrate` is for encoders, and beside it.
    pub(super) fn limits_of(&self, congestion: &Congestion) -> BitrateLimits {
        let mut limits = congestion.limits();
        let mut films = self.pads.iter().filter(|pad| pad.video).peekable();
        if films.peek().is_some() && films.all(|pad| pad.encoders.is_empty()) {
            limits.max = BitrateLimits::UNLIMITED;
        } else {
            let beside: u64 = self.films().map(Flow::bound).sum();
            limits.max = limits
                .max
                .saturating_add(beside)
                .min(BitrateLimits::UNLIMITED);
        }
        limits
    }

    /// Gives every encoder its share of `media`, bit/s, as far as that is due.
    fn set_encoders(
        &mut self,
        sink: &RsWebRtcSink,
        call: &SinkCall,
        (media, target): (u64, &Estimate),
        now: Instant,
    ) {
        let mut shares = share(media, &self.streams());
        self.share_layers(sink, call, &mut shares);
        for (place, share) in shares {
            if share == 0 {
                // A layer that is not sent: as it was, for when it is again.
                continue;
            }
            let streams = self.pads.iter().filter(|pad| pad.encoders.contains(&place));
            let streams: Vec<_> = streams.map(|pad| pad.name.clone()).collect();
            let Some(driven) = self.encoders.get_mut(place) else {
                continue;
            };
            let wanted = driven.knob.held(driven.overshoot.corrected(share));
            let Some(element) = driven.element.upgrade() else {
                continue;
            };
            if !driven.setting.is_due(wanted, now) {
                continue;
            }
            match driven.knob.set(&element, wanted) {
                Ok(set) => {
                    driven.setting.set(set, now);
                    driven.overshoot.set(share, now);
                    post(sink, driven, (set, share), target, &streams);
                }
                Err(refusal) => {
                    let text = refusal.to_string();
                    self.warn(sink, &text);
                }
            }
        }
    }

    /// What layers of one picture get is theirs together: too little of it stops the largest.
    fn share_layers(&mut self, sink: &RsWebRtcSink, call: &SinkCall, shares: &mut [(usize, u64)]) {
        if call.calls().host().is_some() {
            // Each viewer gets one of the pads, as one stream.
            return;
        }
        let mut groups: BTreeMap<String, Vec<(usize, usize, Layer)>> = BTreeMap::new();
        for pad in &self.pads {
            // An encoder behind several pads is no layer of its own.
            let ([place], Some((group, pixels))) = (pad.encoders.as_slice(), call.layer(pad.track))
            else {
                continue;
            };
            let layer = Layer {
                pixels,
                nominal: self.encoders.get(*place).map_or(0, |driven| driven.nominal),
                stopped: call.is_stopped(pad.track),
            };
            groups
                .entry(group)
                .or_default()
                .push((pad.track, *place, layer));
        }
        for members in groups.into_values() {
            let of = |place: usize| shares.iter().position(|(other, _)| *other == place);
            let places: Vec<usize> = members.iter().filter_map(|(_, p, _)| of(*p)).collect();
            let mut apart = places.clone();
            apart.sort_unstable();
            apart.dedup();
            if apart.len() != members.len() || members.len() < 2 {
                continue;
            }
            let total = places
                .iter()
                .filter_map(|at| shares.get(*at))
                .map(|(_, s)| s)
                .sum();
            let sizes: Vec<Layer> = members.iter().map(|(_, _, layer)| *layer).collect();
            let parts = layers::share(total, &sizes);
            for ((at, part), (track, _, layer)) in places.iter().zip(parts).zip(&members) {
                if let Some((_, share)) = shares.get_mut(*at) {
                    *share = part;
                }
                self.stop_layer(sink, call, *track, (layer.stopped, part == 0));
            }
        }
    }

    fn stop_layer(
        &mut self,
        sink: &RsWebRtcSink,
        call: &SinkCall,
        track: usize,
        (before, stopped): (bool, bool),
    ) {
        if before != stopped {
            let name = call.pad_name(track).unwrap_or_default();
            let what = if stopped { "stopped" } else { "sent again" };
            gst::info!(CAT, obj = sink, "the layer of pad {name} is {what}");
            if stopped {
                let text = format!(
                    "the layer of pad {name} is not sent while the network carries too little for it"
                );
                self.notice(sink, text);
            }
        }
        if call.set_stopped(track, stopped) && call.may_ask_key_frame(track) {
            let tracks = sink.imp().tracks();
            if let Some((_, end)) = tracks.into_iter().find(|(other, _)| *other == track) {
                call.makes_key_frames(track, end.ask_key_frame());
            }
        }
    }

    fn streams(&self) -> Vec<Stream> {
        let pads = self.pads.iter();
        pads.map(|pad| {
            let first = pad
                .encoders
                .first()
                .and_then(|place| self.encoders.get(*place));
            let flow = self.flows.get(&pad.track).map_or(0, Flow::rate);
            Stream {
                video: pad.video,
                weight: pad
                    .ghost
                    .upgrade()
                    .map_or(1.0, |ghost| ghost.bitrate_weight()),
                encoders: pad.encoders.clone(),
                nominal: first.map_or(flow, |driven| driven.nominal),
            }
        })
        .collect()
    }

    /// Has Opus do what the viewers ask for.
    fn follow_opus(&mut self, loss: f64) {
        for pad in self.pads.iter().filter(|pad| !pad.video) {
            for place in &pad.encoders {
                if let Some(driven) = self.encoders.get_mut(*place)
                    && let (Some(opus), Some(element)) =
                        (&mut driven.opus, driven.element.upgrade())
                {
                    opus.follow(&element, pad.wishes, loss);
                }
            }
        }
    }
}
