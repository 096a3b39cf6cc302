// SPDX-License-Identifier: MPL-2.0
//! The sink bin: pads, states, and what a call's events do to them.
//!
//! Lock order: `settings`, `pads`, `call` and `sampler` are each taken alone, for moments, and never held
//! over a call into GStreamer, a session's wait or a message.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use tokio::sync::mpsc;

use crate::gst_glue::media_pad::{self, MediaPad};
use crate::gst_glue::settings::Connection;
use crate::gst_glue::stats::Sampler;
use crate::gst_glue::{caps, events, report};
use crate::logging::SINK as CAT;
use crate::media::codec::MediaKind;
use crate::session::Session;
use crate::session::host::Host;
use crate::signalling::Role;

use super::access_unit;
use super::call::SinkCall;
use super::congestion::{Congestion, ESTIMATED};
use super::gate::Closed;
use super::pad::Chain;
use super::settings::Settings;
use super::statistics::PROPERTY;
use super::track_sink::TrackSink;
use super::viewers::GopCache;
use crate::session::calls::Calls;

/// A state change to READY waits this long for the bye; the rest goes on in the background.
const STOP_LIMIT: Duration = Duration::from_millis(700);

#[derive(Default)]
pub struct RsWebRtcSink {
    settings: Mutex<Settings>,
    pads: Mutex<Vec<SinkPad>>,
    call: Mutex<Option<Arc<SinkCall>>>,
    pub(super) sampler: Mutex<Sampler>,
}

struct SinkPad {
    ghost: MediaPad,
    /// Its track in the current call.
    track: Option<usize>,
    chain: Option<Arc<Chain>>,
}

#[glib::object_subclass]
impl ObjectSubclass for RsWebRtcSink {
    const NAME: &'static str = "GstRsWebRtcSink";
    type Type = super::RsWebRtcSink;
    type ParentType = gst::Bin;
    type Interfaces = (gst::ChildProxy, gst::URIHandler);
}

impl ObjectImpl for RsWebRtcSink {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(Settings::properties);
        PROPERTIES.as_ref()
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> =
            LazyLock::new(media_pad::peer_signals);
        SIGNALS.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        lock(&self.settings).set(value, pspec);
        self.with_call(|call| self.look_for_encoders(call));
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.statistics(PROPERTY).to_value();
        }
        if pspec.name() == ESTIMATED {
            let call = lock(&self.call).clone();
            return call
                .map_or(0, |call| call.adaptation().estimated())
                .to_value();
        }
        let settings = lock(&self.settings);
        settings
            .get(pspec)
            .unwrap_or_else(|| pspec.default_value().clone())
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj()
            .set_suppressed_flags(gst::ElementFlags::SOURCE | gst::ElementFlags::SINK);
        // A source too, so that an EOS that is sent to the pipeline (Ctrl-C with gst-launch -e)
        // comes here as well: a stream that waits for its peer could not carry it.
        self.obj()
            .set_element_flags(gst::ElementFlags::SINK | gst::ElementFlags::SOURCE);
    }
}

impl GstObjectImpl for RsWebRtcSink {}
impl ChildProxyImpl for RsWebRtcSink {
    fn child_by_index(&self, index: u32) -> Option<glib::Object> {
        let children = media_pad::children(self.obj().upcast_ref());
        children.into_iter().nth(usize::try_from(index).ok()?)
    }

    fn child_by_name(&self, name: &str) -> Option<glib::Object> {
        media_pad::child(self.obj().upcast_ref(), name)
    }

    fn children_count(&self) -> u32 {
        let children = media_pad::children(self.obj().upcast_ref());
        u32::try_from(children.len()).unwrap_or(u32::MAX)
    }
}
impl URIHandlerImpl for RsWebRtcSink {
    const URI_TYPE: gst::URIType = gst::URIType::Sink;

    fn protocols() -> &'static [&'static str] {
        &["whip", "whips"]
    }

    fn uri(&self) -> Option<String> {
        lock(&self.settings).call.uri()
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        let idle = self.obj().current_state() <= gst::State::Ready;
        lock(&self.settings).call.set_uri(uri, idle)
    }
}

impl BinImpl for RsWebRtcSink {}

impl ElementImpl for RsWebRtcSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "WebRTC sink",
                "Sink/Network/WebRTC",
                "Sends encoded streams to a WebRTC peer",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            [
                ("video_%u", MediaKind::Video),
                ("audio_%u", MediaKind::Audio),
            ]
            .into_iter()
            .filter_map(|(name, kind)| {
                gst::PadTemplate::new(
                    name,
                    gst::PadDirection::Sink,
                    gst::PadPresence::Request,
                    &caps::encoded_and_rtp_caps(kind),
                )
                .ok()
            })
            .collect()
        });
        TEMPLATES.as_ref()
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let name = self.pad_name(template, name)?;
        let call = lock(&self.call).clone();
        // A demuxer's pads come in PAUSED, when the call waits for them already; and during the
        // call others may come.
        let track = call.as_ref().map(|call| call.add_track(&name));
        let weak = self.obj().downgrade();
        let kind = if template.name_template().starts_with("audio") {
            MediaKind::Audio
        } else {
            MediaKind::Video
        };
        let ghost = gst::PadBuilder::<MediaPad>::from_template(template)
            .name(name)
            .query_function(move |pad, parent, query| {
                // Only the template counts, before and behind what is built with the first caps: an
                // encoder that asks again once that is there must not change what was offered.
                // And what does not fit gets to the caps event, which can say what is wrong.
                let allowed = pad.pad_template_caps();
                match query.view_mut() {
                    gst::QueryViewMut::AcceptCaps(query) => {
                        query.set_result(allowed.can_intersect(query.caps()));
                        return true;
                    }
                    gst::QueryViewMut::Caps(query) => {
                        let preferred = caps::preferred_caps(kind);
                        let caps = match query.filter_owned() {
                            // Our order counts: the filter is what the other can make.
                            Some(filter) => preferred
                                .intersect_with_mode(&filter, gst::CapsIntersectMode::First),
                            None => preferred,
                        };
                        query.set_result(&caps);
                        return true;
                    }
                    _ => {}
                }
                gst::Pad::query_default(pad, parent, query)
            })
            .event_function(move |pad, parent, event| {
                if let (gst::EventView::Caps(caps), Some(sink)) = (event.view(), weak.upgrade())
                    && !sink.imp().caps_came(pad, caps.caps())
                {
                    return false;
                }
                let event = match event.view() {
                    gst::EventView::Caps(caps) if access_unit::is_in_pieces(caps.caps()) => {
                        gst::event::Caps::new(&access_unit::collected_caps(caps.caps()))
                    }
                    _ => event,
                };
                gst::Pad::event_default(pad, parent, event)
            })
            .build();
        lock(&self.pads).push(SinkPad {
            ghost: ghost.clone(),
            track,
            chain: None,
        });
        let _ = ghost.set_active(true);
        if self.obj().add_pad(&ghost).is_err() {
            self.release_pad(ghost.upcast_ref());
            return None;
        }
        // gst-launch sets what was written as `PAD::msid` now.
        let name = ghost.name();
        self.obj().child_added(&ghost, &name);
        Some(ghost.upcast())
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let Some(ghost) = pad.downcast_ref::<MediaPad>() else {
            return;
        };
        let removed = {
            let mut pads = lock(&self.pads);
            let at = pads.iter().position(|p| p.ghost == *ghost);
            at.map(|at| pads.remove(at))
        };
        let track = removed.as_ref().and_then(|p| p.track);
        if let Some(track) = track {
            // Wakes what waits in the pad, or deactivating it would wait too.
            self.with_call(|call| call.gate.set_flushing(track, true));
        }
        // The end first: it wakes a streaming thread that waits for its time there.
        if let Some(chain) = removed.and_then(|p| p.chain) {
            chain.remove(self.obj().upcast_ref(), ghost.upcast_ref());
        }
        let _ = ghost.set_active(false);
        if let Some(track) = track {
            self.with_call(|call| call.release_track(track));
        }
        self.obj().child_removed(ghost, &ghost.name());
        let _ = self.obj().remove_pad(ghost);
    }

    fn send_event(&self, event: gst::Event) -> bool {
        let call = lock(&self.call).clone();
        match call {
            Some(call) if event.type_() == gst::EventType::Eos => {
                if !call.gate.is_open() && call.gate.closed().is_none() {
                    gst::info!(CAT, imp = self, "asked to end before a peer came");
                    call.gate.close(Closed::Ended);
                }
                // Or the streaming thread, which the event waits for, would wait for an answer.
                call.gate.give_up_pending();
                true
            }
            _ => self.parent_send_event(event),
        }
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        use gst::StateChange::{PausedToPlaying, PausedToReady, PlayingToPaused, ReadyToPaused};
        match transition {
            ReadyToPaused => self.start_call().map_err(|message| {
                self.post_error_message(message);
                gst::StateChangeError
            })?,
            // Wakes what waits for the peer, so that pads can be deactivated.
            PausedToReady => self.with_call(|call| call.gate.shut_down()),
            PlayingToPaused => self.with_call(|call| call.gate.set_playing(false)),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            PausedToPlaying if result.is_ok() => self.with_call(|call| {
                call.calls().begin();
                call.gate.set_playing(true);
            }),
            PausedToReady => self.stop_call(),
            ReadyToPaused if result.is_err() => {
                self.with_call(|call| call.gate.shut_down());
                self.stop_call();
            }
            _ => {}
        }
        result
    }
}

impl RsWebRtcSink {
    /// The user's own name for a pad, or the next free one.
    fn pad_name(&self, template: &gst::PadTemplate, wanted: Option<&str>) -> Option<String> {
        let taken = |name: &str| self.obj().static_pad(name).is_some();
        if let Some(name) = wanted.filter(|n| !n.contains('%')) {
            if taken(name) {
                gst::warning!(CAT, imp = self, "there is a pad {name} already");
                return None;
            }
            return Some(name.to_owned());
        }
        let prefix = template.name_template().trim_end_matches("%u").to_owned();
        (0..u32::MAX)
            .map(|n| format!("{prefix}{n}"))
            .find(|name| !taken(name))
    }

    fn start_call(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let handle = crate::runtime::handle()
            .map_err(|e| gst::error_msg!(gst::ResourceError::Failed, ("{}", e)))?;
        let factory = Arc::new(crate::peer::WebRtcPeerFactory);
        let call = match settings.call.connection(Role::Offerer)? {
            Connection::One(config) => {
                let (session, events) = Session::start(config, factory, &handle);
                self.take_call(Calls::One(session), events, Self::happened)?
            }
            Connection::Many(config) => {
                let (host, events) = Host::start(config, factory, &handle);
                host.keep_for_late_comers(settings.gop_cache != GopCache::Off);
                self.take_call(Calls::Many(host), events, Self::hosted)?
            }
        };
        self.watch_silent_pads(&call);
        Ok(())
    }

    /// Makes `calls` the call, and has `handle` take its events.
    fn take_call<E: events::Happening>(
        &self,
        calls: Calls,
        receiver: mpsc::Receiver<E>,
        handle: impl Fn(&Self, &Arc<SinkCall>, E, &mut report::Teller) -> bool + Send + 'static,
    ) -> Result<Arc<SinkCall>, gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let interval = Duration::from_millis(settings.min_force_key_unit_interval.into());
        let call = SinkCall::new(calls, interval);
        for pad in lock(&self.pads).iter_mut() {
            pad.track = Some(call.add_track(&pad.ghost.name()));
        }
        *lock(&self.call) = Some(call.clone());
        self.keep_statistics(&call);
        let weak = self.obj().downgrade();
        let of_call = Arc::downgrade(&call);
        let mut teller = report::Teller::new(settings.call.reports_on_stderr());
        events::spawn(receiver, move |event| {
            let (Some(sink), Some(call)) = (weak.upgrade(), of_call.upgrade()) else {
                return false;
            };
            handle(sink.imp(), &call, event, &mut teller)
        })
        .map_err(|e| gst::error_msg!(gst::ResourceError::Failed, ("no thread: {}", e)))?;
        Ok(call)
    }

    pub(super) fn is_current(&self, call: &Arc<SinkCall>) -> bool {
        lock(&self.call)
            .as_ref()
            .is_some_and(|c| Arc::ptr_eq(c, call))
    }

    pub(super) fn call(&self) -> Option<Arc<SinkCall>> {
        lock(&self.call).clone()
    }

    pub(super) fn stats_interval(&self) -> Option<Duration> {
        lock(&self.settings).stats_interval()
    }

    pub(super) fn gop_cache(&self) -> GopCache {
        lock(&self.settings).gop_cache
    }

    fn stop_call(&self) {
        let call = lock(&self.call).take();
        if let Some(call) = call {
            call.adaptation().stop();
            if !call.calls().stop(STOP_LIMIT) {
                gst::info!(CAT, imp = self, "the call ends in the background");
            }
            for id in call.viewers.take() {
                self.obj().emit_by_name::<()>("peer-removed", &[&&*id]);
            }
        }
        let chains: Vec<_> = lock(&self.pads)
            .iter_mut()
            .filter_map(|p| p.chain.take().map(|chain| (p.ghost.clone(), chain)))
            .collect();
        for (ghost, chain) in chains {
            chain.remove(self.obj().upcast_ref(), ghost.upcast_ref());
        }
    }

    /// Caps on a pad: builds what is behind it, or checks that it still fits.
    fn caps_came(&self, pad: &MediaPad, caps: &gst::CapsRef) -> bool {
        let Some(call) = lock(&self.call).clone() else {
            return false;
        };
        let (track, existing) = {
            let pads = lock(&self.pads);
            let Some(pad) = pads.iter().find(|p| p.ghost == *pad) else {
                return false;
            };
            let Some(track) = pad.track else {
                return false;
            };
            (track, pad.chain.clone())
        };
        if let Some(chain) = existing {
            if chain.carries(caps) {
                self.look_for_encoders(&call);
                return true;
            }
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "the codec on pad {} changed during the call; start a new call",
                    pad.name()
                )
            );
            return false;
        }
        let settings = lock(&self.settings).clone();
        call.set_msid(track, pad.msid());
        let track = TrackSink::new(call, track, settings.early_data, settings.sync);
        match Chain::build(self.obj().upcast_ref(), pad.upcast_ref(), caps, track) {
            Ok(chain) => {
                if let Some(p) = lock(&self.pads).iter_mut().find(|p| p.ghost == *pad) {
                    p.chain = Some(Arc::new(chain));
                }
                self.with_call(|call| self.look_for_encoders(call));
                true
            }
            Err(message) => {
                self.post_error_message(message);
                false
            }
        }
    }

    pub(super) fn tracks(&self) -> Vec<(usize, TrackSink)> {
        lock(&self.pads)
            .iter()
            .filter_map(|p| Some((p.track?, p.chain.as_ref()?.track().clone())))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn current_call(&self) -> Option<Arc<SinkCall>> {
        lock(&self.call).clone()
    }

    pub(super) fn congestion(&self) -> Congestion {
        lock(&self.settings).congestion.clone()
    }

    /// The pads by their tracks.
    pub(super) fn ghosts(&self) -> Vec<(usize, MediaPad)> {
        let pads = lock(&self.pads);
        let pads = pads.iter();
        pads.filter_map(|p| Some((p.track?, p.ghost.clone())))
            .collect()
    }

    /// The pads by the session's streams.
    pub(super) fn pad_caps(&self, call: &SinkCall) -> Vec<report::Pad> {
        let ghosts: Vec<_> = lock(&self.pads)
            .iter()
            .filter_map(|p| Some((call.sent_as(p.track?)?, p.ghost.clone())))
            .collect();
        ghosts
            .into_iter()
            .map(|(local, ghost)| report::Pad {
                local,
                name: ghost.name().to_string(),
                caps: ghost.current_caps(),
            })
            .collect()
    }

    fn with_call(&self, act: impl FnOnce(&Arc<SinkCall>)) {
        let call = lock(&self.call).clone();
        if let Some(call) = call {
            act(&call);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values, replaced whole: nothing is left half changed by a panic.
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
