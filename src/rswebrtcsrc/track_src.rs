// SPDX-License-Identifier: MPL-2.0
//! The start of one track inside the source: a private live `PushSrc` that takes RTP from a
//! call's queue.
//!
//! GstBase gives the streaming thread, live states, unlocking and EOS. Sender reports go to the
//! jitter buffer's RTCP pad from the same thread, so nothing is pushed from a network thread.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;

use crate::gst_glue::caps::rtp_caps;
use crate::gst_glue::rtp;
use crate::logging::SRC as CAT;
use crate::media::codec::Codec;
use crate::media::orientation::Orientation;
use crate::media::queue::{InboundQueue, Popped};
use crate::media::rtp_packet::{Inbound, InboundPacket};

use super::latency::Lateness;
use super::splice::Splice;

glib::wrapper! {
    pub struct TrackSrc(ObjectSubclass<imp::TrackSrc>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object;
}

/// Called with every key frame request from downstream.
pub type KeyFrameRequest = Box<dyn Fn() + Send + Sync>;

/// What a track gives, and from where.
pub struct Feed {
    /// Packets and reports.
    pub queue: Arc<InboundQueue>,
    /// RTP caps of what comes.
    pub caps: gst::Caps,
    /// What comes.
    pub codec: Codec,
    /// What may come instead.
    pub alternatives: Vec<Codec>,
    /// Id of the header extension that tells which way up the picture is.
    pub orientation: Option<u8>,
    /// Called with every key frame request from downstream.
    pub key_frame: Arc<KeyFrameRequest>,
}

impl TrackSrc {
    /// The start of the track that `feed` describes.
    pub fn new(feed: Feed) -> Self {
        let src: Self = glib::Object::new();
        src.set_live(true);
        src.set_format(gst::Format::Time);
        src.set_do_timestamp(false);
        src.imp().attach(feed);
        src
    }

    /// Where sender reports go: a pad that is linked to the jitter buffer's RTCP pad.
    pub fn set_rtcp_pad(&self, pad: gst::Pad) {
        self.imp().set_rtcp_pad(pad);
    }

    /// Another connection goes on with the stream: `false` if it brings another encoding.
    pub fn renew(&self, codec: Codec, alternatives: Vec<Codec>, orientation: Option<u8>) -> bool {
        self.imp().renew(codec, alternatives, orientation)
    }

    /// How late its packets come.
    pub fn lateness(&self) -> Option<Duration> {
        self.imp().lateness()
    }

    /// The stream is over once what is queued was read.
    pub fn end(&self) {
        self.imp().end();
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct TrackSrc {
        track: Mutex<Option<Track>>,
    }

    struct Track {
        queue: Arc<InboundQueue>,
        caps: gst::Caps,
        codec: Codec,
        alternatives: Vec<Codec>,
        /// The payload type that was told to be of no use.
        refused: Option<u8>,
        /// Id of the header extension, and what it said last.
        orientation: Option<(u8, Orientation)>,
        key_frame: Arc<KeyFrameRequest>,
        splice: Splice,
        lateness: Lateness,
        /// The payload type that went out first, once the call was made again.
        payload_type: Option<u8>,
        rtcp_pad: Option<gst::Pad>,
        /// It played before it was paused.
        paused: bool,
        /// Of the last packet.
        time: gst::ClockTime,
    }

    impl Track {
        /// Another payload type of the same encoding; gives the new caps.
        fn change_to(&mut self, codec: Codec) -> Option<gst::Caps> {
            let mut caps = rtp_caps(&codec);
            // Header extensions, where they are announced.
            let announced = self.caps.structure(0)?;
            if let Some(structure) = caps.make_mut().structure_mut(0) {
                for (name, value) in announced.iter().filter(|(n, _)| n.starts_with("extmap-")) {
                    structure.set_value(name.as_str(), value.clone());
                }
            }
            self.alternatives
                .push(std::mem::replace(&mut self.codec, codec));
            if self.payload_type.is_some() {
                // What goes out keeps its own.
                return None;
            }
            self.caps = caps.clone();
            Some(caps)
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TrackSrc {
        const NAME: &'static str = "GstRsWebRtcTrackSrc";
        type Type = super::TrackSrc;
        type ParentType = gst_base::PushSrc;
    }

    impl ObjectImpl for TrackSrc {}
    impl GstObjectImpl for TrackSrc {}

    impl ElementImpl for TrackSrc {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let caps = gst::Caps::new_empty_simple("application/x-rtp");
                gst::PadTemplate::new(
                    "src",
                    gst::PadDirection::Src,
                    gst::PadPresence::Always,
                    &caps,
                )
                .into_iter()
                .collect()
            });
            TEMPLATES.as_ref()
        }

        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            self.note_pause(transition);
            self.parent_change_state(transition)
        }
    }

    impl TrackSrc {
        /// A live source gives nothing in PAUSED: what came meanwhile is of the past.
        fn note_pause(&self, transition: gst::StateChange) {
            let mut guard = self.lock();
            let Some(track) = guard.as_mut() else {
                return;
            };
            match transition {
                gst::StateChange::PlayingToPaused => track.paused = true,
                gst::StateChange::PausedToPlaying if std::mem::take(&mut track.paused) => {
                    track.queue.clear();
                    let request = track.key_frame.clone();
                    drop(guard);
                    request();
                }
                _ => {}
            }
        }
    }

    impl BaseSrcImpl for TrackSrc {
        fn caps(&self, filter: Option<&gst::Caps>) -> Option<gst::Caps> {
            let caps = self.lock().as_ref()?.caps.clone();
            Some(match filter {
                Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
                None => caps,
            })
        }

        fn is_seekable(&self) -> bool {
            false
        }

        fn unlock(&self) -> Result<(), gst::ErrorMessage> {
            if let Some(queue) = self.queue() {
                queue.set_flushing(true);
            }
            Ok(())
        }

        fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
            if let Some(queue) = self.queue() {
                queue.set_flushing(false);
            }
            Ok(())
        }

        fn event(&self, event: &gst::Event) -> bool {
            if gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok() {
                let request = self.lock().as_ref().map(|t| t.key_frame.clone());
                if let Some(request) = request {
                    request();
                }
                return true;
            }
            self.parent_event(event)
        }
    }

    impl PushSrcImpl for TrackSrc {
        fn create(
            &self,
            _buffer: Option<&mut gst::BufferRef>,
        ) -> Result<CreateSuccess, gst::FlowError> {
            let queue = self.queue().ok_or(gst::FlowError::Flushing)?;
            loop {
                match queue.pop(Duration::from_secs(3600)) {
                    Popped::Item(Inbound::Rtp(packet)) if !self.is_expected(&packet.header) => {}
                    Popped::Item(Inbound::Rtp(packet)) => {
                        let Some(packet) = self.splice(packet) else {
                            continue;
                        };
                        let time = self.running_time_of(packet.arrival);
                        let buffer = rtp::inbound(packet, time);
                        self.look_at_orientation(&buffer);
                        return Ok(CreateSuccess::NewBuffer(buffer));
                    }
                    Popped::Item(Inbound::SenderReport(report)) => self.push_report(report),
                    Popped::Timeout => {}
                    Popped::Flushing => return Err(gst::FlowError::Flushing),
                    Popped::Ended => {
                        gst::debug!(CAT, imp = self, "the stream is over");
                        return Err(gst::FlowError::Eos);
                    }
                }
            }
        }
    }

    impl TrackSrc {
        pub fn attach(&self, feed: Feed) {
            *self.lock() = Some(Track {
                queue: feed.queue,
                caps: feed.caps,
                codec: feed.codec,
                alternatives: feed.alternatives,
                refused: None,
                // Upright until something else is said.
                orientation: feed.orientation.map(|id| (id, Orientation::from_cvo(0))),
                key_frame: feed.key_frame,
                splice: Splice::default(),
                lateness: Lateness::default(),
                payload_type: None,
                rtcp_pad: None,
                paused: false,
                time: gst::ClockTime::ZERO,
            });
        }

        pub fn renew(
            &self,
            codec: Codec,
            alternatives: Vec<Codec>,
            orientation: Option<u8>,
        ) -> bool {
            let mut guard = self.lock();
            let Some(track) = guard.as_mut().filter(|t| t.codec.same_encoding(&codec)) else {
                return false;
            };
            track.payload_type.get_or_insert(track.codec.payload_type);
            track.splice.start_over();
            track.lateness.start_over();
            track.codec = codec;
            track.alternatives = alternatives;
            track.refused = None;
            let known = track.orientation.map(|(_, known)| known);
            track.orientation =
                orientation.map(|id| (id, known.unwrap_or(Orientation::from_cvo(0))));
            true
        }

        /// The packet as it goes out, if it is of the connection that holds now.
        fn splice(&self, packet: InboundPacket) -> Option<InboundPacket> {
            let mut guard = self.lock();
            let track = guard.as_mut()?;
            let payload_type = track.payload_type.unwrap_or(track.codec.payload_type);
            let clock_rate = track.codec.clock_rate;
            let packet = track.splice.pass(packet, clock_rate, payload_type)?;
            // Padding and FEC have the time of media that went before, and nobody waits for them.
            if !packet.payload.is_empty()
                && let Some(timestamp) = packet.timestamp()
            {
                track
                    .lateness
                    .arrived(timestamp, clock_rate, packet.arrival);
            }
            Some(packet)
        }

        pub fn lateness(&self) -> Option<Duration> {
            self.lock().as_ref()?.lateness.highest()
        }

        /// Whether a packet is of a codec that the pad was made for; the caps follow its payload
        /// type. Another encoding has no place behind this pad.
        fn is_expected(&self, header: &[u8]) -> bool {
            let Some(came) = header.get(1).map(|byte| byte & 0x7f) else {
                return false;
            };
            let (caps, refused) = {
                let mut guard = self.lock();
                let Some(track) = guard.as_mut() else {
                    return false;
                };
                if came == track.codec.payload_type {
                    return true;
                }
                let mut others = track.alternatives.iter().enumerate();
                let Some((at, other)) = others.find(|(_, c)| c.payload_type == came) else {
                    return false;
                };
                if other.same_encoding(&track.codec) {
                    let other = track.alternatives.swap_remove(at);
                    (track.change_to(other), None)
                } else if track.refused.replace(came) == Some(came) {
                    return false;
                } else {
                    (None, Some(other.name.clone()))
                }
            };
            if let Some(name) = refused {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Format,
                    ("the remote sends {name} (payload type {came}), though it put another \
                         codec first, and this stream is dropped: offer it {name} only (the \
                         property video-codecs or audio-codecs)")
                );
                return false;
            }
            caps.is_none_or(|caps| self.obj().set_caps(&caps).is_ok())
        }

        /// A picture that turns is told downstream, before the frame that turned.
        fn look_at_orientation(&self, buffer: &gst::BufferRef) {
            let turned = {
                let mut guard = self.lock();
                let Some((id, known)) = guard.as_mut().and_then(|t| t.orientation.as_mut()) else {
                    return;
                };
                let value = rtp::extension(buffer, *id).and_then(|value| value.first().copied());
                let Some(orientation) = value.map(Orientation::from_cvo) else {
                    return;
                };
                if *known == orientation {
                    return;
                }
                *known = orientation;
                orientation
            };
            let mut tags = gst::TagList::new();
            // infallible: a new list is writable.
            if let Some(tags) = tags.get_mut() {
                tags.add::<gst::tags::ImageOrientation>(
                    &turned.as_tag(),
                    gst::TagMergeMode::Replace,
                );
            }
            // GstBase pushes it behind the segment, before this buffer.
            self.obj().send_event(gst::event::Tag::new(tags));
        }

        pub fn set_rtcp_pad(&self, pad: gst::Pad) {
            if let Some(track) = self.lock().as_mut() {
                track.rtcp_pad = Some(pad);
            }
        }

        pub fn end(&self) {
            if let Some(queue) = self.queue() {
                queue.end();
            }
        }

        fn push_report(&self, report: bytes::Bytes) {
            let found = self.lock().as_ref().and_then(|track| {
                let report = track.splice.report(&report)?;
                Some((track.rtcp_pad.clone()?, report))
            });
            if let Some((pad, report)) = found {
                let mut buffer = gst::Buffer::from_slice(report);
                let now = self.obj().current_running_time();
                // infallible: a new buffer is writable.
                if let Some(buffer) = buffer.get_mut() {
                    buffer.set_dts(now);
                    buffer.set_pts(now);
                }
                if let Err(error) = pad.push(buffer) {
                    gst::log!(CAT, imp = self, "a sender report went nowhere: {error}");
                }
            }
        }

        fn running_time_of(&self, arrival: Instant) -> gst::ClockTime {
            let now = self
                .obj()
                .current_running_time()
                .unwrap_or(gst::ClockTime::ZERO);
            let age = u64::try_from(arrival.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let time = now.saturating_sub(gst::ClockTime::from_nseconds(age));
            // In PAUSED this clock stands still, and the packet's did not.
            match self.lock().as_mut() {
                Some(track) => {
                    track.time = track.time.max(time);
                    track.time
                }
                None => time,
            }
        }

        fn queue(&self) -> Option<Arc<InboundQueue>> {
            self.lock().as_ref().map(|t| t.queue.clone())
        }

        /// Protects references only; never held over a wait or a push.
        fn lock(&self) -> MutexGuard<'_, Option<Track>> {
            self.track
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
        }
    }
}
