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

use crate::gst_glue::application::{self, ApplicationEnd};
use crate::gst_glue::data_pad::{self, DataPad};
use crate::gst_glue::media_pad::{self, MediaPad};
use crate::gst_glue::settings::Connection;
use crate::gst_glue::stats::Sampler;
use crate::gst_glue::{caps, events, report};
use crate::logging::SINK as CAT;
use crate::media::codec::MediaKind;
use crate::session::Session;
use crate::session::host::Host;
use crate::signalling::Role;

use super::call::SinkCall;
use super::congestion::{Congestion, ESTIMATED};
use super::data::DataEnd;
use super::gate::Closed;
use super::media_pads::SinkPad;
use super::settings::Settings;
use super::statistics::PROPERTY;
use super::viewers::GopCache;
use crate::session::calls::Calls;

/// A state change to READY waits this long for the bye; the rest goes on in the background.
const STOP_LIMIT: Duration = Duration::from_millis(700);

#[derive(Default)]
pub struct RsWebRtcSink {
    pub(super) settings: Mutex<Settings>,
    pub(super) pads: Mutex<Vec<SinkPad>>,
    pub(super) call: Mutex<Option<Arc<SinkCall>>>,
    pub(super) sampler: Mutex<Sampler>,
    data: Mutex<Vec<DataEnd>>,
    application: ApplicationEnd,
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
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            let mut signals = media_pad::peer_signals();
            signals.extend(application::signals(
                |sink: &super::RsWebRtcSink, message| sink.imp().handle_message(message),
            ));
            signals
        });
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
            .chain(data_pad::template(
                gst::PadDirection::Sink,
                gst::PadPresence::Request,
                data_pad::SINK_CAPS,
            ))
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
        if template.name_template().starts_with("data") {
            return self.request_data_pad(template, name);
        }
        self.request_media_pad(template, name)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let Some(ghost) = pad.downcast_ref::<MediaPad>() else {
            if let Some(pad) = pad.downcast_ref::<DataPad>() {
                self.release_data_pad(pad);
            }
            return;
        };
        self.release_media_pad(ghost);
    }

    fn send_event(&self, event: gst::Event) -> bool {
        let call = lock(&self.call).clone();
        match call {
            Some(call) if event.type_() == gst::EventType::Eos => {
                if !call.gate.is_open() && call.gate.closed().is_none() {
                    gst::info!(CAT, imp = self, "asked to end before a peer came");
                    call.gate.close(Closed::Ended);
                    self.close_data();
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
        use gst::StateChange::{
            PausedToPlaying, PausedToReady, PlayingToPaused, PlayingToPlaying, ReadyToPaused,
        };
        match transition {
            ReadyToPaused => self.start_call().map_err(|message| {
                self.application.stop();
                self.post_error_message(message);
                gst::StateChangeError
            })?,
            // Wakes what waits for the peer, so that pads can be deactivated.
            PausedToReady => {
                self.with_call(|call| call.gate.shut_down());
                self.stop_data();
            }
            PlayingToPaused => self.with_call(|call| {
                call.calls().pause();
                let (_, now) = self.times();
                call.gate.pause(now);
            }),
            // Before the sinks have it, who would hold data back by what is to be added no more.
            PlayingToPlaying => self.base_changed(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            PausedToPlaying if result.is_ok() => self.with_call(|call| {
                call.begin_without_media();
                call.calls().begin();
                let (base, now) = self.times();
                call.gate.play(base, now);
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
    /// The pipeline's base time, and the time of its clock.
    fn times(&self) -> (gst::ClockTime, gst::ClockTime) {
        let obj = self.obj();
        let now = obj.clock().map(|clock| clock.time());
        (obj.base_time().unwrap_or_default(), now.unwrap_or_default())
    }

    /// The base time changed while we play, as it does when a flush has taken the state of another
    /// sink of the pipeline.
    fn base_changed(&self) {
        let (base, _) = self.times();
        self.with_call(|call| call.gate.count_from(base));
        for (_, sink) in self.tracks() {
            sink.base_changed();
        }
    }

    fn start_call(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let handle = crate::runtime::handle()
            .map_err(|e| gst::error_msg!(gst::ResourceError::Failed, ("{}", e)))?;
        let factory = Arc::new(crate::peer::WebRtcPeerFactory);
        if let Some(joined) = settings.call.join(Role::Offerer, factory.clone(), &handle) {
            let (leg, events) = joined?;
            self.application.join(leg.mailbox(), &*self.obj(), false);
            // Its pads are watched once it is up: data may come from the other leg.
            self.take_call(Calls::Leg(leg), events, Self::happened)?;
            return Ok(());
        }
        let mailbox = self.application.start(&*self.obj());
        let call = match settings.call.connection(Role::Offerer, &mailbox)? {
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
        let call = SinkCall::new(calls, interval, settings.simulcast);
        for pad in lock(&self.pads).iter_mut() {
            pad.track = Some(call.add_track(&pad.ghost.name(), pad.kind));
        }
        self.open_channels(&call)?;
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

    pub(super) fn data_pads(&self) -> MutexGuard<'_, Vec<DataEnd>> {
        lock(&self.data)
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

    pub(super) fn navigation(&self) -> bool {
        lock(&self.settings).call.navigation
    }

    pub(super) fn gop_cache(&self) -> GopCache {
        lock(&self.settings).gop_cache
    }

    /// What the application brings from the other side; tells whether it was taken.
    fn handle_message(&self, message: &str) -> bool {
        let expected = lock(&self.settings).call.takes_messages();
        self.application.handle(&*self.obj(), expected, message)
    }

    fn stop_call(&self) {
        self.application.stop();
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

    #[cfg(test)]
    pub(super) fn current_call(&self) -> Option<Arc<SinkCall>> {
        lock(&self.call).clone()
    }

    pub(super) fn congestion(&self) -> Congestion {
        lock(&self.settings).congestion.clone()
    }

    pub(super) fn with_call(&self, act: impl FnOnce(&Arc<SinkCall>)) {
        let call = lock(&self.call).clone();
        if let Some(call) = call {
            act(&call);
        }
    }
}

/// Never held over a call into GStreamer.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values, replaced whole: nothing is left half changed by a panic.
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
