// SPDX-License-Identifier: MPL-2.0
//! One round of adapting: finds the encoders, shares what the path carries among them, sets them,
//! and tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::encoders::{self, Choice, Knob};
use crate::gst_glue::media_pad::MediaPad;
use crate::gst_glue::report;
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

/// Name of the element message about an encoder's new bitrate, and of its structure.
const BITRATE: &str = "rswebrtc-bitrate";
/// Links change without a word to us.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Opus speaks of so many percent of loss, and no finer.
const LOSS_STEP: i32 = 2;
/// More than any path carries.
const UNLIMITED: u64 = 1_000_000_000_000;
/// An Opus stream, where its encoder does not say.
const NOMINAL_AUDIO: u64 = 64_000;

/// An encoder that is driven.
struct Driven {
    element: glib::WeakRef<gst::Element>,
    name: String,
    knob: Knob,
    setting: Setting,
    overshoot: Overshoot,
    /// What it was set to when it was found, bit/s.
    nominal: u64,
    /// The same as its property held it.
    found: glib::Value,
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
        self.set_encoders(sink, media, &target, now);
        self.tell_loss(target.loss);
    }

    /// The call is over: encoders are what they were.
    pub fn end(self) {
        self.encoders.iter().for_each(Driven::let_go);
    }

    /// Whether a first measurement is under way.
    pub fn is_measuring(&self) -> bool {
        self.flows.values().any(|flow| !flow.is_known())
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
            self.pads.push(Pad {
                track,
                name: ghost.name().to_string(),
                video,
                ghost: ghost.downgrade(),
                encoders: places,
                stored,
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
        self.encoders.push(Driven {
            element: element.downgrade(),
            name: element.name().to_string(),
            setting: former.map(|f| f.setting).unwrap_or_default(),
            overshoot: former.map(|f| f.overshoot).unwrap_or_default(),
            nominal: same.map_or_else(nominal, |s| s.nominal),
            found: same.map_or_else(found, |s| s.found.clone()),
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
            limits.max = UNLIMITED;
        } else {
            let beside: u64 = self.films().map(Flow::bound).sum();
            limits.max = limits.max.saturating_add(beside).min(UNLIMITED);
        }
        limits
    }

    /// Gives every encoder its share of `media`, bit/s, as far as that is due.
    fn set_encoders(&mut self, sink: &RsWebRtcSink, media: u64, target: &Estimate, now: Instant) {
        let shares = share(media, &self.streams());
        for (place, share) in shares {
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

    /// Opus repeats in each packet as much of the last one as the loss that it is told deserves.
    fn tell_loss(&self, loss: f64) {
        // A part of one, so it fits.
        let percent = (loss * 100.0).round().clamp(0.0, 100.0) as i32;
        for element in self
            .encoders
            .iter()
            .filter_map(|driven| driven.element.upgrade())
        {
            let is_opus = encoders::factory_name(&element) == "opusenc";
            if !is_opus || !element.property::<bool>("inband-fec") {
                continue;
            }
            let told = element.property::<i32>("packet-loss-percentage");
            let ends = percent == 0 && told != 0;
            if (percent - told).abs() >= LOSS_STEP || ends {
                element.set_property("packet-loss-percentage", percent);
            }
        }
    }

    /// Says once that the bitrate of what is sent is what it is.
    fn tell_of_nothing(&mut self, sink: &RsWebRtcSink) {
        // Of an encoder that cannot be driven it was said why.
        let stored = self.pads.iter().filter(|pad| pad.video && pad.stored);
        let texts = stored.map(|pad| {
            format!(
                "the bitrate on pad {} does not adapt to the network: no encoder was found before \
                 it, as with a file or a camera that encodes by itself. If there is one, name it \
                 with bitrate-element",
                pad.name
            )
        });
        for text in texts.collect::<Vec<_>>() {
            // Nothing is wrong with a file: no warning.
            self.notice(sink, text);
        }
    }

    /// Posts a note, once.
    fn notice(&mut self, sink: &RsWebRtcSink, text: String) {
        if !self.told.insert(text.clone()) {
            return;
        }
        gst::info!(CAT, obj = sink, "{text}");
        let notice = gst::Structure::builder(report::NOTICE).field("text", text);
        let _ = sink.post_message(
            gst::message::Element::builder(notice.build())
                .src(sink)
                .build(),
        );
    }

    /// Names encoders that take requests for key frames and do not answer them.
    fn tell_of_key_frames(&mut self, sink: &RsWebRtcSink, call: &SinkCall) {
        let mut texts = Vec::new();
        for pad in self
            .pads
            .iter()
            .filter(|pad| call.ignores_key_frame_requests(pad.track))
        {
            let encoder = pad
                .encoders
                .first()
                .and_then(|place| self.encoders.get(*place));
            let who = encoder.map_or_else(|| "the encoder".to_owned(), |e| e.name.clone());
            texts.push(format!(
                "{who} before pad {} makes no key frame when it is asked for one: viewers who come \
                 or lose data see nothing new until the next regular one. Have it make one every \
                 second or two (key-int-max, gop-size, keyframe-max-dist), or use another encoder",
                pad.name
            ));
        }
        for text in texts {
            self.warn(sink, &text);
        }
    }

    /// Posts a warning, once.
    fn warn(&mut self, sink: &RsWebRtcSink, text: &str) {
        if self.told.insert(text.to_owned()) {
            gst::element_warning!(sink, gst::ResourceError::Settings, ("{}", text));
        }
    }
}

fn post(
    sink: &RsWebRtcSink,
    driven: &Driven,
    (set, share): (u64, u64),
    target: &Estimate,
    streams: &[String],
) {
    gst::debug!(
        CAT,
        obj = sink,
        "{}: {set} bit/s of {target:?}",
        driven.name
    );
    let streams = streams.iter().map(|name| name.to_send_value());
    let structure = gst::Structure::builder(BITRATE)
        .field("element", &driven.name)
        .field("property", driven.knob.property())
        .field("bitrate", set)
        .field("target-bitrate", share)
        .field("estimated-bitrate", target.total)
        .field("packet-loss", target.loss)
        .field("streams", gst::List::new(streams))
        .build();
    let message = gst::message::Element::builder(structure).src(sink).build();
    let _ = sink.post_message(message);
}
