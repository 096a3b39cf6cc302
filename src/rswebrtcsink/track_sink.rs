// SPDX-License-Identifier: MPL-2.0
//! The end of one track inside the sink: a private `BaseSink` that takes RTP from a payloader in
//! clock time and hands whole frames to the call.
//!
//! GstBase gives clock sync, latency, segments and EOS. It does no preroll (`async` is off): a
//! call may come long after PLAYING. Data waits in a probe on the pad, outside of the preroll
//! lock, which state changes need.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_rtp::rtp_buffer::RTPBuffer;

use crate::gst_glue::caps::codec_of_rtp_caps;
use crate::gst_glue::rtp;
use crate::logging::SINK as CAT;
use crate::media::codec::MediaKind;
use crate::media::h264;
use crate::media::header_extension::HeaderExtension;
use crate::media::keyframe;
use crate::media::orientation::Orientation;
use crate::media::rtp_packet::{OutboundFrame, OutboundPacket};

use super::call::SinkCall;
use super::gate::{Closed, Passage};

glib::wrapper! {
    pub struct TrackSink(ObjectSubclass<imp::TrackSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

/// What an application may want done with data that comes before a peer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcEarlyData")]
pub enum EarlyData {
    /// By the source.
    #[default]
    #[enum_value(name = "Hold a stored stream, drop a live one", nick = "auto")]
    Auto,
    /// Wait.
    #[enum_value(name = "Hold the stream until a peer is there", nick = "hold")]
    Hold,
    /// Drop.
    #[enum_value(name = "Drop everything until a peer is there", nick = "drop")]
    Drop,
}

impl TrackSink {
    /// The end of track `local` of `call`.
    pub fn new(call: Arc<SinkCall>, local: usize, early_data: EarlyData, sync: bool) -> Self {
        let sink: Self = glib::Object::new();
        sink.set_property("async", false);
        sink.set_sync(sync);
        // A late frame is still a frame of the film; the peer's queue bounds what can pile up.
        sink.set_max_lateness(-1);
        sink.imp().attach(call, local, early_data);
        sink
    }

    /// A peer is there: if early data was dropped, so is the rest up to the next key frame.
    /// Tells whether a key frame is needed: held data starts with its own.
    pub fn start_at_key_frame(&self) -> bool {
        self.imp().start_at_key_frame()
    }

    /// Asks upstream for a key frame.
    /// Tells whether somebody took it.
    pub fn ask_key_frame(&self) -> bool {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder()
            .all_headers(true)
            .build();
        self.sink_pad().push_event(event)
    }

    /// Caps of the stream before its payloader.
    pub fn set_encoded_caps(&self, caps: gst::Caps) {
        self.imp().set_encoded_caps(caps);
    }

    /// Caps that tell too little for a description, if data came with such.
    pub fn undescribed(&self) -> Option<gst::Caps> {
        self.imp().undescribed()
    }

    fn sink_pad(&self) -> gst::Pad {
        self.upcast_ref::<gst_base::BaseSink>().sink_pad().clone()
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct TrackSink {
        track: Mutex<Option<Track>>,
    }

    /// Lives as long as the call.
    struct Track {
        call: Arc<SinkCall>,
        local: usize,
        early_data: EarlyData,
        /// Before the payloader, if that is ours.
        encoded_caps: Option<gst::Caps>,
        encoding_name: String,
        audio: bool,
        /// Header extensions on incoming RTP.
        extension_map: Vec<(u8, HeaderExtension)>,
        clock_rate: u32,
        /// Of the frame that is being collected.
        packets: Vec<OutboundPacket>,
        key: bool,
        needs_key: bool,
        /// By the stream's tags; and what was sent last.
        orientation: Option<Orientation>,
        orientation_sent: Option<Orientation>,
        /// Sequence number that the next packet that comes should have.
        next_number: Option<u16>,
        /// Data was dropped because the caps tell too little.
        undescribed: bool,
        /// Added to every RTP timestamp, like the offset in time.
        shift: u32,
        hold: Option<bool>,
        /// Stream time of what was sent last.
        position: Option<gst::ClockTime>,
    }

    impl Track {
        fn finish_frame(&mut self) -> OutboundFrame {
            self.orient();
            OutboundFrame {
                key: std::mem::take(&mut self.key),
                packets: std::mem::take(&mut self.packets).into(),
            }
        }

        /// How many packets are missing before the one with sequence number `number`.
        fn skipped_before(&mut self, number: u16) -> u16 {
            /// More than this is another stream, or the same one started anew.
            const MOST: u16 = 1000;
            let expected = self.next_number.replace(number.wrapping_add(1));
            let missing = expected.map_or(0, |expected| number.wrapping_sub(expected));
            if missing < MOST { missing } else { 0 }
        }

        /// Puts the orientation on the last packet of the frame: of key frames and of changes, as
        /// 3GPP TS 26.114 section 7.4.5 has it, and of every frame that is not upright, which
        /// libwebrtc needs.
        fn orient(&mut self) {
            let Some(orientation) = self.orientation else {
                return;
            };
            let byte = orientation.to_cvo();
            let due = self.key || byte != 0 || self.orientation_sent != Some(orientation);
            if let Some(packet) = self.packets.last_mut().filter(|_| due) {
                // What the packet brought along counts for less than a tag behind it.
                packet
                    .extensions
                    .retain(|(e, _)| *e != HeaderExtension::VideoOrientation);
                packet.extensions.push((
                    HeaderExtension::VideoOrientation,
                    Bytes::copy_from_slice(&[byte]),
                ));
                self.orientation_sent = Some(orientation);
            }
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TrackSink {
        const NAME: &'static str = "GstRsWebRtcTrackSink";
        type Type = super::TrackSink;
        type ParentType = gst_base::BaseSink;
    }

    impl ObjectImpl for TrackSink {}
    impl GstObjectImpl for TrackSink {}

    impl ElementImpl for TrackSink {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let caps = gst::Caps::new_empty_simple("application/x-rtp");
                gst::PadTemplate::new(
                    "sink",
                    gst::PadDirection::Sink,
                    gst::PadPresence::Always,
                    &caps,
                )
                .into_iter()
                .collect()
            });
            TEMPLATES.as_ref()
        }

        fn query(&self, query: &mut gst::QueryRef) -> bool {
            // By the clock, as BaseSink would tell it, the wait for a peer would count.
            if let gst::QueryViewMut::Position(query) = query.view_mut()
                && query.format() == gst::Format::Time
            {
                let position = self.lock().as_ref().and_then(|t| t.position);
                query.set(position.unwrap_or(gst::ClockTime::ZERO));
                return true;
            }
            ElementImplExt::parent_query(self, query)
        }
    }

    impl BaseSinkImpl for TrackSink {
        fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
            self.describe(caps)
        }

        fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            self.render_buffers(std::iter::once(buffer.as_ref()), buffer.size())
        }

        fn render_list(&self, list: &gst::BufferList) -> Result<gst::FlowSuccess, gst::FlowError> {
            self.render_buffers(list.iter(), list.calculate_size())
        }
    }

    impl TrackSink {
        pub fn attach(&self, call: Arc<SinkCall>, local: usize, early_data: EarlyData) {
            *self.lock() = Some(Track {
                call,
                local,
                early_data,
                encoded_caps: None,
                encoding_name: String::new(),
                audio: false,
                extension_map: Vec::new(),
                clock_rate: 90_000,
                packets: Vec::new(),
                key: false,
                needs_key: false,
                orientation: None,
                orientation_sent: None,
                next_number: None,
                undescribed: false,
                shift: 0,
                hold: None,
                position: None,
            });
            let types = gst::PadProbeType::BUFFER
                | gst::PadProbeType::BUFFER_LIST
                | gst::PadProbeType::EVENT_DOWNSTREAM
                | gst::PadProbeType::EVENT_FLUSH;
            let weak = self.obj().downgrade();
            self.obj().sink_pad().add_probe(types, move |_, info| {
                let Some(sink) = weak.upgrade() else {
                    return gst::PadProbeReturn::Ok;
                };
                sink.imp().probe(info)
            });
        }

        pub fn set_encoded_caps(&self, caps: gst::Caps) {
            if let Some(track) = self.lock().as_mut() {
                track.encoded_caps = Some(caps);
            }
        }

        pub fn start_at_key_frame(&self) -> bool {
            self.lock().as_mut().is_some_and(|track| {
                track.needs_key = track.hold == Some(false);
                track.needs_key
            })
        }

        fn probe(&self, info: &mut gst::PadProbeInfo) -> gst::PadProbeReturn {
            let first = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => buffer.pts(),
                Some(gst::PadProbeData::BufferList(list)) => list.get(0).and_then(|b| b.pts()),
                Some(gst::PadProbeData::Event(event)) => {
                    if let gst::EventView::Tag(tag) = event.view() {
                        self.note_tags(tag.tag());
                    }
                    return self.probe_event(event.type_());
                }
                _ => return gst::PadProbeReturn::Ok,
            };
            if !self.is_described() && !self.describe_by(info) {
                gst::debug!(CAT, imp = self, "dropped: no parameter sets came before it");
                if let Some(track) = self.lock().as_mut() {
                    track.undescribed = true;
                }
                info.data = None;
                return gst::PadProbeReturn::Handled;
            }
            let result = self.admit(first);
            if result.is_ok() {
                return gst::PadProbeReturn::Ok;
            }
            info.flow_res = result;
            // Frees the data; the flow result above is what upstream gets.
            info.data = None;
            gst::PadProbeReturn::Handled
        }

        /// What the stream says of which way up it is.
        fn note_tags(&self, tags: &gst::TagListRef) {
            let Some(value) = tags.get::<gst::tags::ImageOrientation>() else {
                return;
            };
            if let (Some(track), Some(orientation)) =
                (self.lock().as_mut(), Orientation::from_tag(value.get()))
            {
                track.orientation = Some(orientation);
            }
        }

        fn probe_event(&self, event: gst::EventType) -> gst::PadProbeReturn {
            let Some((call, local)) = self.call() else {
                return gst::PadProbeReturn::Ok;
            };
            match event {
                gst::EventType::FlushStart => call.gate.set_flushing(local, true),
                gst::EventType::FlushStop => {
                    call.gate.set_flushing(local, false);
                    call.resume_track(local);
                    if let Some(track) = self.lock().as_mut() {
                        track.packets.clear();
                        track.key = false;
                    }
                }
                gst::EventType::Eos => self.deliver_all(&call, local),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        }

        /// The last track to end waits until the remote has everything; then the call is over.
        fn deliver_all(&self, call: &SinkCall, local: usize) {
            // A frame whose end no packet marked.
            let last = self
                .lock()
                .as_mut()
                .filter(|t| !t.packets.is_empty())
                .map(Track::finish_frame);
            if let Some(frame) = last {
                call.push_frame(local, frame);
            }
            if !call.finish_track(local) {
                return;
            }
            if !call.gate.is_open() {
                if call.gate.closed().is_none() {
                    self.warn_unsent(call.gate.was_open());
                }
                // A server tells those who come now, and a lost call is made no more.
                if call.calls().host().is_none() && !call.gate.was_open() {
                    return;
                }
            }
            gst::debug!(CAT, imp = self, "all tracks ended, delivering the rest");
            call.calls().finish();
            while !call.calls().wait_done(Duration::from_millis(50)) {
                if call.gate.interrupted(local) {
                    return;
                }
            }
        }

        fn warn_unsent(&self, was_open: bool) {
            let what = if was_open {
                "while the connection was lost: its end was not sent"
            } else {
                "before a peer came: nothing was sent"
            };
            gst::element_imp_warning!(self, gst::ResourceError::Write, ("the stream ended {what}"));
        }

        fn describe(&self, caps: &gst::CapsRef) -> Result<(), gst::LoggableError> {
            let encoded = self.lock().as_ref().and_then(|t| t.encoded_caps.clone());
            let Some(codec) = codec_of_rtp_caps(caps, encoded.as_deref()) else {
                gst::debug!(CAT, imp = self, "these caps do not tell all yet: {caps}");
                return Ok(());
            };
            let clock_rate = caps
                .structure(0)
                .and_then(|s| s.get::<i32>("clock-rate").ok())
                .and_then(|rate| u32::try_from(rate).ok())
                .unwrap_or(codec.clock_rate);
            let extmap = rtp::extension_map(caps);
            let mut brought: Vec<_> = extmap.iter().map(|(_, extension)| *extension).collect();
            // Ours to write: they say something of this call, not of the stream.
            brought.retain(|e| {
                !matches!(
                    e,
                    HeaderExtension::Mid
                        | HeaderExtension::TransportWideCc
                        | HeaderExtension::AbsSendTime
                )
            });
            let (call, local) = {
                let mut guard = self.lock();
                let Some(track) = guard.as_mut() else {
                    return Err(gst::loggable_error!(CAT, "no call"));
                };
                track.audio = codec.kind == MediaKind::Audio;
                track.extension_map = extmap
                    .into_iter()
                    .filter(|(_, extension)| brought.contains(extension))
                    .collect();
                track.encoding_name.clone_from(&codec.name);
                track.clock_rate = clock_rate;
                (track.call.clone(), track.local)
            };
            call.set_codec(local, codec, brought).map_err(|text| {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Format,
                    ("{text}; start a new call to change it")
                );
                gst::loggable_error!(CAT, "{text}")
            })
        }

        /// RTP of a payloader elsewhere, whose caps leave the H264 profile out: it is in the
        /// parameter sets that come with the first key frame. Tells whether it was in this one.
        fn describe_by(&self, info: &gst::PadProbeInfo) -> bool {
            let found = |buffer: &gst::BufferRef| {
                let rtp = RTPBuffer::from_buffer_readable(buffer).ok()?;
                h264::profile_level_id(rtp.payload().ok()?)
            };
            let profile = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => found(buffer),
                Some(gst::PadProbeData::BufferList(list)) => list.iter().find_map(found),
                _ => None,
            };
            let caps = self.obj().sink_pad().current_caps();
            let (Some(profile), Some(mut caps)) = (profile, caps) else {
                return false;
            };
            let h264 = |s: &gst::StructureRef| s.get::<&str>("encoding-name") == Ok("H264");
            if !caps.structure(0).is_some_and(h264) {
                return false;
            }
            if let Some(structure) = caps.make_mut().structure_mut(0) {
                structure.set("profile-level-id", profile);
            }
            self.describe(&caps).is_ok() && self.is_described()
        }

        pub fn undescribed(&self) -> Option<gst::Caps> {
            let dropped = self.lock().as_ref().is_some_and(|t| t.undescribed);
            self.obj().sink_pad().current_caps().filter(|_| dropped)
        }

        /// Whether the caps told all that a description needs.
        fn is_described(&self) -> bool {
            self.lock()
                .as_ref()
                .is_some_and(|t| !t.encoding_name.is_empty())
        }

        /// Lets data in, now or later; what it says goes upstream.
        fn admit(&self, pts: Option<gst::ClockTime>) -> Result<gst::FlowSuccess, gst::FlowError> {
            let (call, local) = self.call().ok_or(gst::FlowError::Flushing)?;
            if let Some(closed) = call.gate.closed() {
                return Err(flow_of(closed));
            }
            if !self.holds() {
                return Ok(gst::FlowSuccess::Ok);
            }
            let obj = self.obj();
            let running_time = pts.and_then(|pts| {
                let segment = obj.sink_pad().sticky_event::<gst::event::Segment>(0)?;
                let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
                segment.to_running_time(pts)
            });
            let now = || obj.current_running_time();
            match call
                .gate
                .wait(local, running_time.unwrap_or(gst::ClockTime::ZERO), now)
            {
                Passage::Pass(offset) => {
                    self.set_offset(offset);
                    Ok(gst::FlowSuccess::Ok)
                }
                Passage::Flushing => Err(gst::FlowError::Flushing),
                Passage::Closed(closed) => Err(flow_of(closed)),
            }
        }

        /// Whether data waits for the peer; asked of upstream once, with the first data.
        fn holds(&self) -> bool {
            let setting = match self.lock().as_ref() {
                Some(Track {
                    hold: Some(hold), ..
                }) => return *hold,
                Some(track) => track.early_data,
                None => return false,
            };
            let hold = match setting {
                EarlyData::Hold => true,
                EarlyData::Drop => false,
                EarlyData::Auto => {
                    let mut query = gst::query::Latency::new();
                    let live = self.obj().sink_pad().peer_query(&mut query) && query.result().0;
                    !live
                }
            };
            if let Some(track) = self.lock().as_mut() {
                track.hold = Some(hold);
                track.needs_key = !hold;
            }
            gst::debug!(
                CAT,
                imp = self,
                "early data is {}",
                if hold { "held" } else { "dropped" }
            );
            hold
        }

        fn set_offset(&self, offset: gst::ClockTimeDiff) {
            if self.obj().ts_offset() == offset {
                return;
            }
            self.obj().set_ts_offset(offset);
            if let Some(track) = self.lock().as_mut() {
                let ticks = i128::from(offset) * i128::from(track.clock_rate) / 1_000_000_000;
                // RTP timestamps wrap: the low 32 bits are all there is.
                track.shift = ticks.rem_euclid(1 << 32) as u32;
            }
        }

        fn render_buffers<'a>(
            &self,
            buffers: impl Iterator<Item = &'a gst::BufferRef>,
            size: usize,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            let mut guard = self.lock();
            let track = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
            if let Some(closed) = track.call.gate.closed() {
                return Err(flow_of(closed));
            }
            let segment = self.obj().segment();
            let segment = segment.downcast_ref::<gst::ClockTime>();
            let mut frames = Vec::new();
            // One allocation for the payloads of all.
            let mut room = BytesMut::with_capacity(size);
            for buffer in buffers {
                let Some((number, mut packet)) =
                    rtp::outbound(buffer, track.shift, &track.extension_map, &mut room)
                else {
                    gst::warning!(
                        CAT,
                        imp = self,
                        "a buffer that is no RTP packet was dropped"
                    );
                    continue;
                };
                if let (Some(segment), Some(pts)) = (segment, buffer.pts()) {
                    track.position = segment.to_stream_time(pts).or(track.position);
                }
                packet.skipped = track.skipped_before(number);
                // Not every payloader marks the last packet of a frame (RFC 6184 section 5.1).
                if track
                    .packets
                    .last()
                    .is_some_and(|p| p.timestamp != packet.timestamp)
                {
                    frames.push(track.finish_frame());
                }
                track.key |= keyframe::is_key(&track.encoding_name, &packet.payload);
                let last = packet.marker || track.audio;
                track.packets.push(packet);
                if last {
                    frames.push(track.finish_frame());
                }
            }
            let (call, local) = (track.call.clone(), track.local);
            if !call.takes_media() {
                return Ok(gst::FlowSuccess::Ok);
            }
            if track.needs_key {
                let start = frames.iter().position(|f| f.key).unwrap_or(frames.len());
                frames.drain(..start);
                track.needs_key = frames.is_empty();
            }
            drop(guard);
            for frame in frames {
                if !call.push_frame(local, frame) {
                    gst::debug!(
                        CAT,
                        imp = self,
                        "a frame was dropped: the peer takes no more"
                    );
                }
            }
            Ok(gst::FlowSuccess::Ok)
        }

        fn call(&self) -> Option<(Arc<SinkCall>, usize)> {
            self.lock().as_ref().map(|t| (t.call.clone(), t.local))
        }

        /// Protects what one track collects; never held over a wait, a push or a message.
        fn lock(&self) -> MutexGuard<'_, Option<Track>> {
            self.track
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
        }
    }

    fn flow_of(closed: Closed) -> gst::FlowError {
        match closed {
            Closed::Ended => gst::FlowError::Eos,
            Closed::Failed => gst::FlowError::Error,
        }
    }
}
