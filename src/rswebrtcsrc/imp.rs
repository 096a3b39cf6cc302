// SPDX-License-Identifier: MPL-2.0
//! The source bin: states, pads, and what a call's events do to them.
//!
//! Lock order: `streams`, then `call`; `settings` and `sampler` alone. Each is taken for moments and never held
//! over a call into GStreamer, a session's wait or a message.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use tokio::sync::mpsc;

use crate::gst_glue::application::{self, ApplicationEnd};
use crate::gst_glue::settings::Connection;
use crate::gst_glue::stats::Sampler;
use crate::gst_glue::{caps, data_pad, errors, events, media_pad, report};
use crate::logging::SRC as CAT;
use crate::media::codec::MediaKind;
use crate::peer::TransportInfo;
use crate::session::Session;
use crate::session::event::Event;
use crate::session::host::Host;
use crate::signalling::Role;

use super::call::{SrcCall, SrcPeer};
use super::data::DataStart;
use super::pad::Stream;
use super::settings::Settings;
use super::statistics::PROPERTY;
use crate::session::calls::{Calls, ONLY_PEER};

/// A state change to READY waits this long for the bye; the rest goes on in the background.
const STOP_LIMIT: Duration = Duration::from_millis(700);
#[derive(Default)]
pub struct RsWebRtcSrc {
    settings: Mutex<Settings>,
    call: Mutex<Option<Arc<SrcCall>>>,
    streams: Mutex<Vec<Stream>>,
    pub(super) sampler: Mutex<Sampler>,
    data: Mutex<Vec<DataStart>>,
    application: ApplicationEnd,
}

#[glib::object_subclass]
impl ObjectSubclass for RsWebRtcSrc {
    const NAME: &'static str = "GstRsWebRtcSrc";
    type Type = super::RsWebRtcSrc;
    type ParentType = gst::Bin;
    type Interfaces = (gst::ChildProxy, gst::URIHandler);
}

impl ObjectImpl for RsWebRtcSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(Settings::properties);
        PROPERTIES.as_ref()
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            let mut signals = media_pad::peer_signals();
            signals.extend(application::signals(|src: &super::RsWebRtcSrc, message| {
                src.imp().handle_message(message)
            }));
            signals
        });
        SIGNALS.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        lock(&self.settings).set(value, pspec);
        match pspec.name() {
            "latency" | "audio-latency" | "video-latency" | "latency-mode" | "broken-frames"
            | "repair-overtime" => self.play_out_as_set(),
            "simulcast-layer" => {
                let choice = lock(&self.settings).layer();
                if let Some(call) = self.call() {
                    call.calls.set_layer(choice);
                }
            }
            _ => {}
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.statistics(PROPERTY).to_value();
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
        self.obj().set_element_flags(gst::ElementFlags::SOURCE);
    }
}

impl GstObjectImpl for RsWebRtcSrc {}
impl ChildProxyImpl for RsWebRtcSrc {
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
impl URIHandlerImpl for RsWebRtcSrc {
    const URI_TYPE: gst::URIType = gst::URIType::Src;

    fn protocols() -> &'static [&'static str] {
        &["whep", "wheps"]
    }

    fn uri(&self) -> Option<String> {
        lock(&self.settings).call.uri()
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        let idle = self.obj().current_state() <= gst::State::Ready;
        lock(&self.settings).call.set_uri(uri, idle)
    }
}

impl BinImpl for RsWebRtcSrc {}

impl ElementImpl for RsWebRtcSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "WebRTC source",
                "Source/Network/WebRTC",
                "Receives encoded streams from a WebRTC peer",
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
                    gst::PadDirection::Src,
                    gst::PadPresence::Sometimes,
                    &caps::encoded_and_rtp_caps(kind),
                )
                .ok()
            })
            .chain(data_pad::template(
                gst::PadDirection::Src,
                gst::PadPresence::Sometimes,
                data_pad::SRC_CAPS,
            ))
            .collect()
        });
        TEMPLATES.as_ref()
    }

    fn send_event(&self, event: gst::Event) -> bool {
        if event.type_() != gst::EventType::Eos {
            return self.parent_send_event(event);
        }
        gst::info!(CAT, imp = self, "asked to end");
        let call = lock(&self.call).clone();
        let Some(call) = call else {
            return self.parent_send_event(event);
        };
        call.calls.finish();
        let streams = lock(&self.streams);
        if streams.is_empty() {
            drop(streams);
            if self.has_channels() {
                // They close with the call.
                return true;
            }
            if call.was_up.load(Ordering::Relaxed) || call.calls.is_shared_and_up() {
                // All pads had their EOS, and are gone, or only the other element's streams flow.
                return true;
            }
            gst::element_imp_error!(
                self,
                gst::ResourceError::Read,
                ("ended before a call was made: nothing was received")
            );
            return true;
        }
        for stream in streams.iter() {
            stream.end();
        }
        true
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        use gst::StateChange::{PausedToPlaying, PausedToReady, PlayingToPaused, ReadyToPaused};
        if transition == ReadyToPaused {
            self.start_call().map_err(|message| {
                self.application.stop();
                self.post_error_message(message);
                gst::StateChangeError
            })?;
        }
        if transition == PlayingToPaused
            && let Some(call) = self.call()
        {
            call.calls.pause();
        }
        let result = self.parent_change_state(transition);
        if transition == PausedToReady || (transition == ReadyToPaused && result.is_err()) {
            self.stop_call();
        }
        if transition == PausedToPlaying && result.is_ok() {
            let call = lock(&self.call).clone();
            if let Some(call) = call {
                call.calls.begin();
            }
        }
        match (transition, result) {
            // Live: there is nothing before PLAYING, even with no pad yet.
            (ReadyToPaused | PlayingToPaused, Ok(_)) => Ok(gst::StateChangeSuccess::NoPreroll),
            (_, result) => result,
        }
    }
}

impl RsWebRtcSrc {
    fn start_call(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let wish = settings.wish()?;
        let handle = crate::runtime::handle()
            .map_err(|e| gst::error_msg!(gst::ResourceError::Failed, ("{}", e)))?;
        let factory = Arc::new(crate::peer::WebRtcPeerFactory);
        if let Some(joined) = settings.call.join(Role::Answerer, factory.clone(), &handle) {
            let (leg, events) = joined?;
            self.application.join(leg.mailbox(), &*self.obj(), true);
            leg.set_wish(wish);
            let call = SrcCall::new(Calls::Leg(leg), true);
            return self.take_call(call, events, Self::happened);
        }
        let mailbox = self.application.start(&*self.obj());
        match settings.call.connection(Role::Answerer, &mailbox)? {
            Connection::One(mut config) => {
                config.options.offers_data = settings.data_channels;
                let (session, events) = Session::start(config, factory, &handle);
                session.set_layer(settings.layer());
                session.set_wish(wish);
                self.take_call(
                    SrcCall::new(Calls::One(session), true),
                    events,
                    Self::happened,
                )
            }
            Connection::Many(config) => {
                let alone = config.server.max_peers == 1;
                let (host, events) = Host::start(config, factory, &handle);
                host.set_layer(settings.layer());
                host.set_wish(wish);
                self.take_call(SrcCall::new(Calls::Many(host), alone), events, Self::hosted)
            }
        }
    }

    /// Makes `call` the current one, and has `handle` take its events.
    fn take_call<E: events::Happening>(
        &self,
        call: Arc<SrcCall>,
        receiver: mpsc::Receiver<E>,
        handle: impl Fn(&Self, &Arc<SrcCall>, E, &mut report::Teller) -> bool + Send + 'static,
    ) -> Result<(), gst::ErrorMessage> {
        *lock(&self.call) = Some(call.clone());
        self.keep_statistics(&call);
        let weak = self.obj().downgrade();
        let of_call = Arc::downgrade(&call);
        let reports = lock(&self.settings).call.reports_on_stderr();
        let mut teller = report::Teller::new(reports);
        events::spawn(receiver, move |event| {
            let (Some(src), Some(call)) = (weak.upgrade(), of_call.upgrade()) else {
                return false;
            };
            handle(src.imp(), &call, event, &mut teller)
        })
        .map_err(|e| gst::error_msg!(gst::ResourceError::Failed, ("no thread: {}", e)))
    }

    /// What the application brings from the other side; tells whether it was taken.
    fn handle_message(&self, message: &str) -> bool {
        let expected = lock(&self.settings).call.takes_messages();
        self.application.handle(&*self.obj(), expected, message)
    }

    fn stop_call(&self) {
        self.application.stop();
        let call = lock(&self.call).take();
        let mut gone = Vec::new();
        if let Some(call) = call {
            if !call.calls.stop(STOP_LIMIT) {
                gst::info!(CAT, imp = self, "the call ends in the background");
            }
            gone = call.take_peers();
        }
        let streams = std::mem::take(&mut *lock(&self.streams));
        for stream in streams {
            stream.remove(self.obj().upcast_ref());
        }
        self.remove_data_pads();
        for peer in gone.iter().filter(|p| p.is_connected()) {
            self.obj().emit_by_name::<()>("peer-removed", &[&&*peer.id]);
        }
    }

    pub(super) fn is_current(&self, call: &Arc<SrcCall>) -> bool {
        lock(&self.call)
            .as_ref()
            .is_some_and(|c| Arc::ptr_eq(c, call))
    }

    /// Runs on the call's event thread. Tells whether more events are wanted.
    fn happened(&self, call: &Arc<SrcCall>, event: Event, teller: &mut report::Teller) -> bool {
        if !self.is_current(call) {
            return false;
        }
        let peer = call.peer(ONLY_PEER);
        let obj = self.obj();
        let over = matches!(event, Event::Ended(_) | Event::Failed(_));
        match event {
            Event::Notice(text) => teller.notice(obj.upcast_ref(), &text),
            Event::LeftOut(..)
            | Event::KeyFrameRequest(_)
            | Event::Estimate(_)
            | Event::StreamsOver => {}
            Event::Channel(channel) => self.channel_changed(call, &channel, teller),
            Event::Agreed(streams) => {
                teller.agreed(streams.iter().map(|(stream, _)| stream.clone()).collect());
                self.end_pads(&peer.id, &streams);
                self.add_pads(call, &peer, streams, teller.tells());
                if peer.is_connected() && !peer.is_interrupted() {
                    let stats = call.calls.stats_of(&peer.id);
                    teller.negotiated_anew(obj.upcast_ref(), &stats, &self.pads(&peer.id));
                }
            }
            Event::Connected(info) => self.connected(call, &peer, &info, teller),
            Event::Interrupted { cause, delay, .. } => {
                peer.set_interrupted();
                teller.interrupted(obj.upcast_ref(), &cause, delay);
            }
            Event::Ended(cause) => teller.ended(obj.upcast_ref(), cause),
            Event::Failed(error) if peer.is_connected() => {
                // No error message: that would cut the recording short of its EOS.
                let text = format!("{error}: the streams end with what was received");
                teller.warn(obj.upcast_ref(), &text);
            }
            Event::Failed(error) => errors::post(&*obj, &error),
        }
        if over {
            self.peer_is_gone(call, &peer);
        }
        true
    }

    /// Media of `peer` flows.
    pub(super) fn connected(
        &self,
        call: &Arc<SrcCall>,
        peer: &Arc<SrcPeer>,
        info: &TransportInfo,
        teller: &mut report::Teller,
    ) {
        let again = peer.is_connected();
        peer.set_connected();
        call.was_up.store(true, Ordering::Relaxed);
        let stats = call.calls.stats_of(&peer.id);
        let pads = self.pads(&peer.id);
        teller.connected(self.obj().upcast_ref(), info, &stats, &pads);
        if !again {
            self.obj().emit_by_name::<()>("peer-added", &[&&*peer.id]);
            self.watch_silent_streams(call, peer);
            self.limit_wait_for_channels(call);
        }
    }

    /// Ends the streams of `peer`, after the message that says why.
    pub(super) fn peer_is_gone(&self, call: &SrcCall, peer: &SrcPeer) {
        if call.ends_with_peer {
            self.check_linked();
            self.check_channels(call);
            for stream in lock(&self.streams).iter() {
                stream.end();
            }
        } else {
            self.end_pads(&peer.id, &[]);
        }
        if call.forget(&peer.id) && peer.is_connected() {
            self.obj().emit_by_name::<()>("peer-removed", &[&&*peer.id]);
        }
    }

    pub(super) fn data_pads(&self) -> MutexGuard<'_, Vec<DataStart>> {
        lock(&self.data)
    }

    pub(super) fn streams(&self) -> MutexGuard<'_, Vec<Stream>> {
        lock(&self.streams)
    }

    pub(super) fn call(&self) -> Option<Arc<SrcCall>> {
        lock(&self.call).clone()
    }

    pub(super) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values, replaced whole: nothing is left half changed by a panic.
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
