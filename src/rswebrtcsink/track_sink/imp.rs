// SPDX-License-Identifier: MPL-2.0
//! The element: what GstBase calls, and how data passes.

use super::*;

#[derive(Default)]
pub struct TrackSink {
    track: Mutex<Option<Track>>,
    /// The peer took a key frame and all that came behind it: written by the streaming thread,
    /// which does not hold the lock while it pushes.
    started: AtomicBool,
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
            timestamps: Timestamps::default(),
            packets: Vec::new(),
            key: false,
            needs_key: false,
            agreed: false,
            key_asked: None,
            orientation: None,
            orientation_sent: None,
            next_number: None,
            undescribed: false,
            offset: None,
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
            track.key_asked = Some(Instant::now());
            track.needs_key
        })
    }

    pub fn agreed(&self, anew: bool) -> bool {
        if anew {
            self.started.store(false, Ordering::Relaxed);
        }
        let started = self.started.load(Ordering::Relaxed);
        self.lock().as_mut().is_some_and(|track| {
            let begins = anew || track.hold == Some(false);
            track.agreed = begins;
            track.key_asked = Some(Instant::now());
            begins && !started
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
        let now = || obj.clock().map(|clock| clock.time());
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

    /// `offset` is for running times of the call.
    fn set_offset(&self, offset: gst::ClockTimeDiff) {
        if let Some(track) = self.lock().as_mut() {
            if track.offset.replace(offset) == Some(offset) {
                return;
            }
            let ticks = i128::from(offset) * i128::from(track.clock_rate) / 1_000_000_000;
            // RTP timestamps wrap: the low 32 bits are all there is.
            track.shift = ticks.rem_euclid(1 << 32) as u32;
            track.timestamps.forget();
            self.place(track);
        }
    }

    /// What is held back in time is due when it was before, though running times of the pipeline
    /// count from another base time now.
    pub fn base_changed(&self) {
        if let Some(track) = self.lock().as_ref() {
            self.place(track);
        }
    }

    /// Under the track's lock, so that whoever comes last sets what holds then.
    fn place(&self, track: &Track) {
        if let Some(offset) = track.offset {
            let offset = track.call.gate.in_pipeline(offset);
            self.obj().set_ts_offset(offset);
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
            // RTP that comes as such has the times of whoever made it.
            if track.encoded_caps.is_some() {
                let begins = track.packets.is_empty();
                packet.timestamp = track.timestamps.distinct(packet.timestamp, begins);
            }
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
        if std::mem::take(&mut track.agreed) && !self.started.load(Ordering::Relaxed) {
            track.needs_key = true;
        }
        if track.needs_key {
            let start = frames.iter().position(|f| f.key).unwrap_or(frames.len());
            if start > 0 {
                gst::debug!(
                    CAT,
                    imp = self,
                    "{start} dropped: a key frame is waited for"
                );
            }
            frames.drain(..start);
            track.needs_key = frames.is_empty();
        }
        let ask = track.asks_again();
        drop(guard);
        if ask && call.may_ask_key_frame(local) {
            call.makes_key_frames(local, self.obj().ask_key_frame());
        }
        self.push(&call, local, frames);
        Ok(gst::FlowSuccess::Ok)
    }

    /// Only the streaming thread is here, so that what it read of `started` holds.
    fn push(&self, call: &SinkCall, local: usize, frames: Vec<OutboundFrame>) {
        let mut started = self.started.load(Ordering::Relaxed);
        let mut ask = false;
        for frame in frames {
            let key = frame.key;
            let pushed = call.push_frame(local, frame);
            ask |= pushed.key_frame_due;
            started = pushed.taken && (key || started);
            if !pushed.taken {
                gst::debug!(
                    CAT,
                    imp = self,
                    "a frame was dropped: the peer takes no more"
                );
            }
        }
        self.started.store(started, Ordering::Relaxed);
        if ask && call.may_ask_key_frame(local) {
            call.makes_key_frames(local, self.obj().ask_key_frame());
        }
    }

    fn call(&self) -> Option<(Arc<SinkCall>, usize)> {
        self.lock().as_ref().map(|t| (t.call.clone(), t.local))
    }

    /// Protects what one track collects; never held over a wait, a push or a message.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Track>> {
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
