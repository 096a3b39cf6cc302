// SPDX-License-Identifier: MPL-2.0
//! The element: what GstBase calls, and what goes out by whom.

use super::*;

/// A list of more packets would not help, and is not made.
const LONGEST_LIST: usize = 256;

/// What goes on at once.
enum Run {
    One(gst::Buffer),
    Many(gst::BufferList),
}

#[derive(Default)]
pub struct TrackSrc {
    track: Mutex<Option<Track>>,
    /// Taken from the queue and not given yet. Only the streaming thread adds to it.
    arrived: Mutex<VecDeque<Inbound>>,
    batch: OnceLock<Arc<Batch>>,
    /// What a push that was not the streaming thread's came to, for it to act on.
    failed: Mutex<Option<gst::FlowError>>,
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

    fn send_event(&self, event: gst::Event) -> bool {
        // GstBase pushes it before the next buffer that it gets; and behind a flush, a segment.
        self.begin_anew();
        let sent = self.parent_send_event(event);
        self.begin_anew();
        sent
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
                let (queue, request) = (track.queue.clone(), track.key_frame.clone());
                drop(guard);
                queue.clear();
                self.arrived().clear();
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

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        self.begin_anew();
        *self.failed() = None;
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        self.set_quiet(false);
        self.end_batch();
        if let Some(queue) = self.queue() {
            queue.set_flushing(true);
        }
        // A flush is followed by a segment, which GstBaseSrc pushes before the next buffer that
        // it gets, and not before a list.
        self.begin_anew();
        // What a push came to while downstream was flushing is of the past.
        *self.failed() = None;
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
        // GstBase is back: it pushed what it got.
        self.end_batch();
        let queue = self.queue().ok_or(gst::FlowError::Flushing)?;
        let mut arrived = std::mem::take(&mut *self.arrived());
        let next = loop {
            if let Some(error) = self.failed().take() {
                break Err(error);
            }
            if let Some(next) = self.next_buffers(&mut arrived) {
                break Ok(next);
            }
            // What comes meanwhile comes by `pass_on`.
            self.set_quiet(true);
            let taken = queue.take(&mut arrived, Duration::from_secs(3600));
            self.set_quiet(false);
            match taken {
                Taken::Items | Taken::Timeout if self.is_paused() => arrived.clear(),
                Taken::Items | Taken::Timeout => {}
                Taken::Flushing => break Err(gst::FlowError::Flushing),
                Taken::Ended => {
                    gst::debug!(CAT, imp = self, "the stream is over");
                    break Err(gst::FlowError::Eos);
                }
            }
        };
        *self.arrived() = arrived;
        let (list, last) = next?;
        match list {
            Some(list) => {
                self.push_list(list)?;
            }
            None => self.tell_newest(Batch::note),
        }
        Ok(CreateSuccess::NewBuffer(last))
    }
}

impl TrackSrc {
    pub fn attach(&self, feed: Feed) {
        let _ = self.batch.set(feed.batch);
        let weak = self.obj().downgrade();
        feed.queue.set_shortcut(Box::new(move |arrived| {
            weak.upgrade()
                .is_none_or(|track| track.imp().pass_on(arrived))
        }));
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
            begun: false,
            paused: false,
            time: gst::ClockTime::ZERO,
            newest: None,
        });
    }

    pub fn renew(&self, codec: Codec, alternatives: Vec<Codec>, orientation: Option<u8>) -> bool {
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
        track.orientation = orientation.map(|id| (id, known.unwrap_or(Orientation::from_cvo(0))));
        true
    }

    /// What goes on from the front of `arrived`: a list that can be pushed, and the buffer behind
    /// it, which GstBase pushes with what it may have to tell before. `None` when nothing there
    /// goes on.
    fn next_buffers(
        &self,
        arrived: &mut VecDeque<Inbound>,
    ) -> Option<(Option<gst::BufferList>, gst::Buffer)> {
        let (alone, mut last, now) = loop {
            let now = self.now();
            let item = arrived.pop_front()?;
            let alone = !self.lock().as_ref()?.follows(&item);
            match item {
                Inbound::SenderReport(report) => self.push_report(report),
                Inbound::Rtp(packet) if !self.is_expected(&packet) => {}
                Inbound::Rtp(packet) => {
                    self.tell_orientation(&packet);
                    let buffer = self.lock().as_mut()?.buffer_of(packet, now);
                    if let Some(buffer) = buffer {
                        break (alone, buffer, now);
                    }
                }
            }
        };
        let mut guard = self.lock();
        let track = guard.as_mut()?;
        let begun = std::mem::replace(&mut track.begun, true);
        let most = arrived.len().min(LONGEST_LIST);
        if alone || !begun || most == 0 {
            return Some((None, last));
        }
        let mut list = gst::BufferList::new_sized(most);
        // infallible: a new list is writable.
        let buffers = list.get_mut()?;
        while buffers.len() < most
            && let Some(buffer) = track.next_following(arrived, now)
        {
            buffers.add(std::mem::replace(&mut last, buffer));
        }
        Some(((!list.is_empty()).then_some(list), last))
    }

    /// From the thread that received, while the streaming thread sleeps, see the module. Takes what
    /// follows at the front of `arrived`; `false`: the streaming thread has to hear of an error.
    fn pass_on(&self, arrived: &mut VecDeque<Inbound>) -> bool {
        let now = self.now();
        while let Some(run) = self.following(arrived, now) {
            let pushed = match run {
                Run::One(buffer) => {
                    self.begin_batch();
                    self.obj().src_pad().push(buffer)
                }
                Run::Many(list) => self.push_list(list),
            };
            self.end_batch();
            if let Err(error) = pushed {
                *self.failed() = Some(error);
                return false;
            }
        }
        true
    }

    /// What follows at the front of `arrived`.
    fn following(&self, arrived: &mut VecDeque<Inbound>, now: Now) -> Option<Run> {
        let mut guard = self.lock();
        let track = guard.as_mut().filter(|t| t.begun && !t.paused)?;
        let first = track.next_following(arrived, now)?;
        let Some(second) = track.next_following(arrived, now) else {
            return Some(Run::One(first));
        };
        let most = (arrived.len() + 2).min(LONGEST_LIST);
        let mut list = gst::BufferList::new_sized(most);
        // infallible: a new list is writable.
        let buffers = list.get_mut()?;
        buffers.add(first);
        buffers.add(second);
        while buffers.len() < most
            && let Some(buffer) = track.next_following(arrived, now)
        {
            buffers.add(buffer);
        }
        Some(Run::Many(list))
    }

    /// Not returned to GstBase: one that is stopped meanwhile unrefs the buffer that there would
    /// be instead of a list, in 1.22.
    fn push_list(&self, list: gst::BufferList) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.begin_batch();
        self.obj().src_pad().push_list(list)
    }

    /// The next buffer goes by way of GstBase, with what it has to tell before.
    fn begin_anew(&self) {
        if let Some(track) = self.lock().as_mut() {
            track.begun = false;
        }
    }

    fn is_paused(&self) -> bool {
        self.lock().as_ref().is_some_and(|track| track.paused)
    }

    pub fn lateness(&self) -> Option<Duration> {
        self.lock().as_ref()?.lateness.highest()
    }

    /// Whether a packet is of a codec that the pad was made for; the caps follow its payload
    /// type. Another encoding has no place behind this pad.
    fn is_expected(&self, packet: &InboundPacket) -> bool {
        let Some(came) = packet.payload_type() else {
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
    fn tell_orientation(&self, packet: &InboundPacket) {
        let turned = {
            let mut guard = self.lock();
            let Some(track) = guard.as_mut() else {
                return;
            };
            let Some(turned) = track.turned(packet) else {
                return;
            };
            track.orientation = track.orientation.map(|(id, _)| (id, turned));
            turned
        };
        let mut tags = gst::TagList::new();
        // infallible: a new list is writable.
        if let Some(tags) = tags.get_mut() {
            tags.add::<gst::tags::ImageOrientation>(&turned.as_tag(), gst::TagMergeMode::Replace);
        }
        // GstBase pushes it behind the segment, before this buffer. Not by the element's own
        // function: that takes the state's lock, which whoever stops this thread holds.
        self.parent_send_event(gst::event::Tag::new(tags));
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

    fn begin_batch(&self) {
        self.tell_newest(Batch::begin);
    }

    /// Before the newest packet goes in.
    fn tell_newest(&self, tell: fn(&Batch, Option<u16>)) {
        let newest = self.lock().as_ref().and_then(|track| track.newest);
        if let Some(batch) = self.batch.get() {
            tell(batch, newest);
        }
    }

    fn set_quiet(&self, quiet: bool) {
        if let Some(batch) = self.batch.get() {
            batch.set_quiet(quiet);
        }
    }

    fn end_batch(&self) {
        if let Some(batch) = self.batch.get() {
            batch.end();
        }
    }

    #[cfg(test)]
    pub fn batch(&self) -> Arc<Batch> {
        // infallible: a track has one from the beginning.
        self.batch.get().unwrap().clone()
    }

    fn now(&self) -> Now {
        Now {
            running_time: self.obj().current_running_time().unwrap_or_default(),
            instant: Instant::now(),
        }
    }

    fn arrived(&self) -> MutexGuard<'_, VecDeque<Inbound>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> Option<Arc<InboundQueue>> {
        self.lock().as_ref().map(|t| t.queue.clone())
    }

    fn failed(&self) -> MutexGuard<'_, Option<gst::FlowError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Protects references only; never held over a wait, a push or a call of the queue's, which
    /// calls [`Self::pass_on`] under its own lock.
    fn lock(&self) -> MutexGuard<'_, Option<Track>> {
        self.track
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
