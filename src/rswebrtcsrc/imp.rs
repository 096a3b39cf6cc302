// SPDX-License-Identifier: MPL-2.0
//! The source bin: states, pads, and what a call's events do to them.
//!
//! Lock order: `streams`, then `call`; `settings` alone. Each is taken for moments and never held
//! over a call into GStreamer, a session's wait or a message.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::settings::Connection;
use crate::gst_glue::{caps, errors, events, media_pad, report};
use crate::logging::SRC as CAT;
use crate::media::codec::MediaKind;
use crate::media::queue::InboundQueue;
use crate::session::Session;
use crate::session::error::CallError;
use crate::session::event::Event;
use crate::session::negotiation::AgreedStream;
use crate::signalling::Role;

use super::lip_sync::LipSync;
use super::pad::{Config, Stream};
use super::settings::Settings;

/// A state change to READY waits this long for the bye; the rest goes on in the background.
const STOP_LIMIT: Duration = Duration::from_millis(700);
/// A connected stream that gives nothing for so long is asked for a key frame; after the second
/// time the user is told.
const SILENT_STREAM: Duration = Duration::from_secs(4);

#[derive(Default)]
pub struct RsWebRtcSrc {
    settings: Mutex<Settings>,
    call: Mutex<Option<Arc<SrcCall>>>,
    streams: Mutex<Vec<Stream>>,
}

struct SrcCall {
    session: Session,
    lip_sync: Arc<LipSync>,
    connected: AtomicBool,
    no_more_pads: AtomicBool,
}

#[glib::object_subclass]
impl ObjectSubclass for RsWebRtcSrc {
    const NAME: &'static str = "GstRsWebRtcSrc";
    type Type = super::RsWebRtcSrc;
    type ParentType = gst::Bin;
    type Interfaces = (gst::ChildProxy,);
}

impl ObjectImpl for RsWebRtcSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(Settings::properties);
        PROPERTIES.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let latency = {
            let mut settings = lock(&self.settings);
            settings.set(value, pspec);
            settings.latency
        };
        if pspec.name() == "latency" {
            let jitter_buffers: Vec<_> = lock(&self.streams)
                .iter()
                .map(Stream::jitter_buffer)
                .collect();
            for jitter_buffer in jitter_buffers {
                jitter_buffer.set_property("latency", latency);
            }
            let _ = self.post_message(gst::message::Latency::builder().src(&*self.obj()).build());
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            let call = lock(&self.call).clone();
            let stats = call.map(|call| call.session.stats()).unwrap_or_default();
            return report::stats_structure(&[("0".into(), stats)]).to_value();
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
        call.session.finish();
        let streams = lock(&self.streams);
        if streams.is_empty() {
            drop(streams);
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
                self.post_error_message(message);
                gst::StateChangeError
            })?;
        }
        let result = self.parent_change_state(transition);
        if transition == PausedToReady || (transition == ReadyToPaused && result.is_err()) {
            self.stop_call();
        }
        if transition == PausedToPlaying && result.is_ok() {
            let call = lock(&self.call).clone();
            if let Some(call) = call {
                call.session.begin();
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
        let Connection::One(config) = settings.call.connection(Role::Answerer)? else {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                ("whip-server is not there yet")
            ));
        };
        let handle = crate::runtime::handle()
            .map_err(|e| gst::error_msg!(gst::ResourceError::Failed, ("{}", e)))?;
        let factory = Arc::new(crate::peer::WebRtcPeerFactory);
        let (session, receiver) = Session::start(config, factory, &handle);
        session.set_wish(wish);
        let call = Arc::new(SrcCall {
            session,
            lip_sync: Arc::default(),
            connected: AtomicBool::new(false),
            no_more_pads: AtomicBool::new(false),
        });
        *lock(&self.call) = Some(call.clone());
        let weak = self.obj().downgrade();
        let of_call = Arc::downgrade(&call);
        let mut teller = report::Teller::new(settings.call.reports_on_stderr());
        events::spawn(receiver, move |event| {
            let (Some(src), Some(call)) = (weak.upgrade(), of_call.upgrade()) else {
                return false;
            };
            src.imp().happened(&call, event, &mut teller)
        })
        .map_err(|e| gst::error_msg!(gst::ResourceError::Failed, ("no thread: {}", e)))
    }

    fn stop_call(&self) {
        let call = lock(&self.call).take();
        if let Some(call) = call
            && !call.session.stop(STOP_LIMIT)
        {
            gst::info!(CAT, imp = self, "the call ends in the background");
        }
        let streams = std::mem::take(&mut *lock(&self.streams));
        for stream in streams {
            stream.remove(self.obj().upcast_ref());
        }
    }

    fn is_current(&self, call: &Arc<SrcCall>) -> bool {
        lock(&self.call)
            .as_ref()
            .is_some_and(|c| Arc::ptr_eq(c, call))
    }

    /// Runs on the call's event thread. Tells whether more events are wanted.
    fn happened(&self, call: &Arc<SrcCall>, event: Event, teller: &mut report::Teller) -> bool {
        if !self.is_current(call) {
            return false;
        }
        let over = matches!(event, Event::Ended(_) | Event::Failed(_));
        match event {
            Event::Notice(text) => teller.notice(self.obj().upcast_ref(), &text),
            Event::LeftOut(..) | Event::KeyFrameRequest(_) => {}
            Event::Agreed(streams) => {
                teller.agreed(streams.iter().map(|(stream, _)| stream.clone()).collect());
                self.end_pads(&streams);
                self.add_pads(call, streams, teller.tells());
                if call.connected.load(Ordering::Acquire) {
                    let stats = call.session.stats();
                    teller.negotiated_anew(self.obj().upcast_ref(), &stats, &self.pads());
                }
            }
            Event::Connected(info) => {
                let stats = call.session.stats();
                call.connected.store(true, Ordering::Release);
                let pads = self.pads();
                teller.connected(self.obj().upcast_ref(), &info, &stats, &pads);
                self.watch_silent_streams(call);
            }
            Event::Interrupted { cause, delay, .. } => {
                teller.interrupted(self.obj().upcast_ref(), &cause, delay);
            }
            Event::Ended(cause) => teller.ended(self.obj().upcast_ref(), cause),
            Event::Failed(error @ CallError::Lost(_)) => {
                // No error message: that would cut the recording short of its EOS.
                let text = format!("{error}: the streams end with what was received");
                teller.warn(self.obj().upcast_ref(), &text);
            }
            Event::Failed(error) => errors::post(&*self.obj(), &error),
        }
        if over {
            self.check_linked();
            // After the message that says why.
            for stream in lock(&self.streams).iter() {
                stream.end();
            }
        }
        true
    }

    fn add_pads(
        &self,
        call: &Arc<SrcCall>,
        agreed: Vec<(AgreedStream, Option<Arc<InboundQueue>>)>,
        tells: bool,
    ) {
        let obj = self.obj();
        let latency = lock(&self.settings).latency;
        let mut added = false;
        for (stream, queue) in agreed {
            let (Some(queue), true) = (queue, self.is_current(call)) else {
                continue;
            };
            if lock(&self.streams).iter().any(|s| s.is_fed_by(&queue)) {
                continue;
            }
            let prefix = match stream.codec.kind {
                MediaKind::Video => "video_",
                MediaKind::Audio => "audio_",
            };
            let name = (0u32..)
                .map(|number| format!("{prefix}{number}"))
                .find(|name| obj.static_pad(name).is_none())
                .unwrap_or_default();
            added = true;
            let Some(template) = obj.pad_template(&format!("{prefix}%u")) else {
                continue;
            };
            let of_call = Arc::downgrade(call);
            let index = stream.stream;
            let config = Config {
                name,
                index,
                codec: stream.codec,
                msid: stream.msid,
                alternatives: stream.alternatives,
                extensions: stream.extensions,
                queue,
                latency,
                key_frame: Box::new(move || {
                    if let Some(call) = of_call.upgrade() {
                        call.session.request_key_frame(index);
                    }
                }),
                tells,
            };
            match Stream::build(obj.upcast_ref(), &template, config, &call.lip_sync) {
                Ok(stream) => self.keep(call, stream),
                Err(message) => self.post_error_message(message),
            }
        }
        if !call.no_more_pads.swap(true, Ordering::AcqRel) {
            obj.no_more_pads();
        } else if !added {
            return;
        }
        let _ = self.post_message(gst::message::Latency::builder().src(&*obj).build());
    }

    /// Where nothing took any stream, no EOS can end the pipeline: an error does.
    fn check_linked(&self) {
        let names: Vec<_> = lock(&self.streams)
            .iter()
            .map(|s| (s.ghost.is_linked(), s.ghost.name().to_string()))
            .collect();
        if names.is_empty() || names.iter().any(|(linked, _)| *linked) {
            return;
        }
        let names: Vec<_> = names.into_iter().map(|(_, name)| name).collect();
        gst::element_imp_error!(
            self,
            gst::StreamError::WrongType,
            (
                "the call is over, and nothing was linked to {}: link what takes its codec, or \
                 choose another with video-codecs or audio-codecs",
                names.join(", ")
            )
        );
    }

    /// Keeps `stream`, unless the call was stopped while it was built.
    fn keep(&self, call: &Arc<SrcCall>, stream: Stream) {
        let too_late = {
            let mut streams = lock(&self.streams);
            // `stop_call` takes the call before it takes the streams.
            if self.is_current(call) {
                streams.push(stream);
                None
            } else {
                Some(stream)
            }
        };
        if let Some(stream) = too_late {
            stream.remove(self.obj().upcast_ref());
        }
    }

    fn pads(&self) -> Vec<report::Pad> {
        lock(&self.streams)
            .iter()
            .filter(|s| !s.ended())
            .map(|s| report::Pad {
                local: s.index,
                name: s.ghost.name().to_string(),
                caps: None,
            })
            .collect()
    }

    /// Streams that the remote took back end after what was received; then their pads go.
    fn end_pads(&self, agreed: &[(AgreedStream, Option<Arc<InboundQueue>>)]) {
        for stream in lock(&self.streams).iter() {
            let mut queues = agreed.iter().filter_map(|(_, queue)| queue.as_ref());
            if stream.ended() || queues.any(|queue| stream.is_fed_by(queue)) {
                continue;
            }
            let weak = self.obj().downgrade();
            stream
                .ghost
                .add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
                    let eos = info
                        .event()
                        .is_some_and(|e| e.type_() == gst::EventType::Eos);
                    if let Some(src) = weak.upgrade().filter(|_| eos) {
                        let pad = pad.clone();
                        // Not from the streaming thread, which is to be stopped.
                        src.call_async(move |src| src.imp().remove_stream(&pad));
                    }
                    gst::PadProbeReturn::Ok
                });
            stream.end();
            // The peer ended the queue with the negotiation: the event may have passed already.
            if stream.ghost.sticky_event::<gst::event::Eos>(0).is_some() {
                let pad = stream.ghost.clone();
                self.obj()
                    .call_async(move |src| src.imp().remove_stream(&pad));
            }
        }
    }

    fn remove_stream(&self, pad: &gst::GhostPad) {
        let stream = {
            let mut streams = lock(&self.streams);
            let at = streams.iter().position(|s| s.ghost == *pad);
            at.map(|at| streams.remove(at))
        };
        if let Some(stream) = stream {
            stream.remove(self.obj().upcast_ref());
        }
    }

    /// A stream that is connected and gives nothing: ask, then tell.
    fn watch_silent_streams(&self, call: &Arc<SrcCall>) {
        let weak = self.obj().downgrade();
        let call = call.clone();
        events::spawn_watch(move || {
            for asked in [false, true] {
                if call.session.wait_done(SILENT_STREAM) {
                    return;
                }
                let Some(src) = weak.upgrade() else {
                    return;
                };
                if !src.imp().is_current(&call) {
                    return;
                }
                src.imp().ask_silent_streams(&call, asked);
            }
        });
    }

    fn ask_silent_streams(&self, call: &SrcCall, tell: bool) {
        let stats = call.session.stats();
        let silent: Vec<_> = lock(&self.streams)
            .iter()
            .filter(|s| !s.flows())
            .map(|s| (s.index, s.ghost.name().to_string(), s.ghost.is_linked()))
            .collect();
        for (index, name, linked) in silent {
            let of_stream = stats.iter().find(|(agreed, _)| agreed.stream == index);
            let received = of_stream.map_or(0, |(_, s)| s.packets_received);
            call.session.request_key_frame(index);
            if !tell {
                continue;
            }
            if !linked {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Failed,
                    ("pad {name} is not linked to anything: what the remote sends there is \
                         lost. Link it, or refuse it with video-codecs or audio-codecs")
                );
            } else if received > 0 {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Decode,
                    ("{received} packets came for pad {name}, but no key frame to start at: \
                         have the sender make key frames more often, or when asked (PLI)")
                );
            } else {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Read,
                    ("connected, but nothing comes for pad {name}: does the remote send?")
                );
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values, replaced whole: nothing is left half changed by a panic.
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
