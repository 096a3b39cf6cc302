// SPDX-License-Identifier: MPL-2.0
//! A private element between jitter buffer and depayloader: lets whole frames pass, counts frames
//! and freezes, and asks for key frames.
//!
//! GStreamer's depayloaders do not do it: in 1.22 rtph265depay knows no key frames at all,
//! rtph264depay waits for one only where it puts access units together, and then takes one with a
//! hole for whole; single NAL units of a picture of which others are lost go out as a picture.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::rtp;
use crate::gst_glue::stats::FrameFigures;
use crate::logging::SRC as CAT;
use crate::media::rtp_packet::Header;
use crate::media::{frame_start, keyframe};

use super::batch::Batch;
use super::frames::{Done, Frames, Place, Policy, STARVED};
use super::freezes::Freezes;
use super::output::Flow;
use super::playout::BufferDelay;
use super::spacing::Spacing;
use super::track_src::KeyFrameRequest;

/// What helps a stream that has no key frames.
pub const NO_KEY_FRAME: &str = "have the sender make key frames more often, or when asked (PLI); \
     where it makes none by intent (intra refresh), set broken-frames=pass";

glib::wrapper! {
    /// See the module.
    pub struct FrameGate(ObjectSubclass<imp::FrameGate>)
        @extends gst::Element, gst::Object;
}

impl FrameGate {
    /// For a stream of this encoding, of which the batch says when there is more to come, and the
    /// flow when it has to begin anew; `ask` sends a PLI.
    pub fn new(
        encoding_name: &str,
        policy: Policy,
        around: (Arc<Batch>, Arc<Flow>),
        ask: Arc<KeyFrameRequest>,
    ) -> Self {
        let gate: Self = glib::Object::new();
        gate.imp().attach(encoding_name, policy, around, ask);
        gate
    }

    /// What happens with broken frames from now on.
    pub fn set_policy(&self, policy: Policy) {
        self.imp().set_policy(policy);
    }

    /// Frames are shown so long after their time. The jitter buffer before it is larger by
    /// `overtime`, of which those behind it know nothing.
    pub fn set_latency(&self, latency: Duration, overtime: Duration) {
        let mut state = self.imp().lock();
        state.latency = latency;
        state.overtime = overtime;
    }

    /// Time in the jitter buffer of what came so far.
    pub fn buffer_delay(&self) -> BufferDelay {
        self.imp().lock().delay
    }

    /// Since the beginning.
    pub fn counts(&self) -> FrameFigures {
        let state = self.imp().lock();
        let shown = state.freezes.counts();
        FrameFigures {
            freezes: shown.freezes,
            freezes_duration: shown.freezes_duration,
            pauses: shown.pauses,
            pauses_duration: shown.pauses_duration,
            inter_frame_delay: shown.total,
            ..state.counts
        }
    }
}

mod imp {
    use super::*;

    pub struct FrameGate {
        sink: gst::Pad,
        src: gst::Pad,
        batch: OnceLock<Arc<Batch>>,
        flow: OnceLock<Arc<Flow>>,
        pub(super) state: Mutex<State>,
    }

    pub(super) struct State {
        encoding_name: String,
        frames: Frames<gst::Buffer>,
        policy: Option<Policy>,
        pub(super) counts: FrameFigures,
        pub(super) freezes: Freezes,
        pub(super) latency: Duration,
        pub(super) overtime: Duration,
        pub(super) delay: BufferDelay,
        spacing: Spacing,
        ask: Option<Arc<KeyFrameRequest>>,
        /// Packets without media that stayed inside: what follows is renumbered.
        removed: u16,
        /// What goes out next; kept for its room.
        out: Vec<gst::Buffer>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for FrameGate {
        const NAME: &'static str = "GstRsWebRtcFrameGate";
        type Type = super::FrameGate;
        type ParentType = gst::Element;

        fn new() -> Self {
            let sink = gst::Pad::builder(gst::PadDirection::Sink)
                .name("sink")
                .chain_function(|_, parent, buffer| {
                    Self::catch_panic_pad_function(
                        parent,
                        || Err(gst::FlowError::Error),
                        |gate| gate.chain(buffer),
                    )
                })
                .event_function(|pad, parent, event| {
                    Self::catch_panic_pad_function(parent, || false, |gate| gate.event(pad, event))
                })
                .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION)
                .build();
            let src = gst::Pad::builder(gst::PadDirection::Src)
                .name("src")
                .query_function(|pad, parent, query| {
                    Self::catch_panic_pad_function(parent, || false, |gate| gate.query(pad, query))
                })
                .flags(gst::PadFlags::PROXY_CAPS)
                .build();
            Self {
                sink,
                src,
                batch: OnceLock::new(),
                flow: OnceLock::new(),
                state: Mutex::new(State {
                    encoding_name: String::new(),
                    frames: Frames::new(Policy::Count),
                    policy: None,
                    counts: FrameFigures::default(),
                    freezes: Freezes::default(),
                    latency: Duration::ZERO,
                    overtime: Duration::ZERO,
                    delay: BufferDelay::default(),
                    spacing: Spacing::default(),
                    ask: None,
                    removed: 0,
                    out: Vec::new(),
                }),
            }
        }
    }

    impl ObjectImpl for FrameGate {
        fn constructed(&self) {
            self.parent_constructed();
            // Fails only where the element has a pad of that name.
            let _ = self.obj().add_pad(&self.sink);
            let _ = self.obj().add_pad(&self.src);
        }
    }

    impl GstObjectImpl for FrameGate {}

    impl ElementImpl for FrameGate {
        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            match transition {
                gst::StateChange::ReadyToPaused => self.close(false),
                // Or its pads would wait for who sleeps in them.
                gst::StateChange::PausedToReady => self.close(true),
                _ => {}
            }
            let result = self.parent_change_state(transition);
            if transition == gst::StateChange::PausedToReady {
                self.lock().frames.reset();
            }
            result
        }
    }

    impl FrameGate {
        pub fn attach(
            &self,
            encoding_name: &str,
            policy: Policy,
            (batch, flow): (Arc<Batch>, Arc<Flow>),
            ask: Arc<KeyFrameRequest>,
        ) {
            let _ = self.batch.set(batch);
            let _ = self.flow.set(flow);
            let mut state = self.lock();
            state.encoding_name = encoding_name.to_owned();
            state.frames = Frames::new(policy);
            state.ask = Some(ask);
        }

        /// From any thread: what is held goes out with the next packet, from its own.
        pub fn set_policy(&self, policy: Policy) {
            self.lock().policy = Some(policy);
        }

        fn chain(&self, mut buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let seen = self.batch.get().map(|batch| batch.wait());
            let now = Instant::now();
            let mut guard = self.lock();
            let state = &mut *guard;
            state.delay.count(&mut buffer, now);
            let mut out = std::mem::take(&mut state.out);
            if let Some(policy) = state.policy.take() {
                state.frames.set_policy(policy, &mut out);
            }
            let anew = self.flow.get().is_some_and(|flow| flow.begins_anew());
            if anew {
                state.frames.wait_for_key_frame(now);
            }
            let mut pts = buffer.pts();
            let mut sequence = None;
            let mut done = match place(&state.encoding_name, &buffer) {
                Some(place) => {
                    sequence = Some(place.sequence);
                    let own = pts;
                    pts = pts.map(|pts| state.spacing.shown(place.timestamp, pts));
                    if pts != own {
                        buffer.make_mut().set_pts(pts);
                    }
                    let buffer = renumbered(buffer, place.sequence, state.removed);
                    state.removed = state.removed.wrapping_add(u16::from(place.empty));
                    state.frames.take(place, buffer, now, &mut out)
                }
                // The jitter buffer lets nothing through that is no RTP.
                None => Done::default(),
            };
            done.ask |= anew;
            let ask = state.count(done, pts, || self.obj().current_running_time());
            let out = match out.is_empty() {
                true => {
                    state.out = out;
                    None
                }
                false => Some(out),
            };
            drop(guard);
            self.ask(ask);
            if done.starved {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Decode,
                    (
                        "video comes, but for {} s no whole key frame to go on with after a loss: \
                         {NO_KEY_FRAME}",
                        STARVED.as_secs()
                    )
                );
            }
            let pushed = out.map_or(Ok(gst::FlowSuccess::Ok), |out| self.push(out));
            if pushed.is_ok()
                && let (Some(batch), Some(seen)) = (self.batch.get(), seen)
                && let Some(sequence) = sequence
            {
                batch.rest(sequence, seen);
            }
            pushed
        }

        fn close(&self, closed: bool) {
            if let Some(batch) = self.batch.get() {
                batch.set_closed(closed);
            }
        }

        fn event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
            let now = Instant::now();
            match event.view() {
                gst::EventView::CustomDownstream(custom)
                    if custom
                        .structure()
                        .is_some_and(|s| s.name() == "GstRTPPacketLost") =>
                {
                    let ask = {
                        let mut state = self.lock();
                        let done = state.frames.lose(now);
                        state.count(done, None, || None)
                    };
                    self.ask(ask);
                }
                gst::EventView::Eos(_) => {
                    let out = {
                        let mut state = self.lock();
                        let mut out = std::mem::take(&mut state.out);
                        let done = state.frames.end(now, &mut out);
                        state.count(done, None, || None);
                        out
                    };
                    // The end follows whatever became of it.
                    let _ = self.push(out);
                }
                gst::EventView::FlushStart(_) => {
                    if let Some(batch) = self.batch.get() {
                        batch.stir();
                    }
                }
                gst::EventView::FlushStop(_) => {
                    let mut state = self.lock();
                    state.frames.reset();
                    state.spacing = Spacing::default();
                }
                _ => {}
            }
            gst::Pad::event_default(pad, Some(&*self.obj()), event)
        }

        fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
            let answered = gst::Pad::query_default(pad, Some(&*self.obj()), query);
            if let gst::QueryViewMut::Latency(query) = query.view_mut()
                && answered
            {
                let overtime = self.lock().overtime;
                let overtime = gst::ClockTime::try_from(overtime).unwrap_or_default();
                let (live, least, most) = query.result();
                let most = most.map(|most| most.saturating_sub(overtime));
                query.set(live, least.saturating_sub(overtime), most);
            }
            answered
        }

        fn ask(&self, ask: Option<Arc<KeyFrameRequest>>) {
            if let Some(ask) = ask {
                gst::debug!(CAT, imp = self, "a hole: asking for a key frame");
                ask();
            }
        }

        /// A frame goes on at once, as one list.
        fn push(&self, mut out: Vec<gst::Buffer>) -> Result<gst::FlowSuccess, gst::FlowError> {
            let result = match out.len() {
                0 => Ok(gst::FlowSuccess::Ok),
                1 => out
                    .pop()
                    .map_or(Ok(gst::FlowSuccess::Ok), |buffer| self.src.push(buffer)),
                _ => self.src.push_list(out.drain(..).collect()),
            };
            let mut state = self.lock();
            if state.out.capacity() < out.capacity() {
                state.out = out;
            }
            result
        }

        /// Never held over a push, an event or a request.
        pub(super) fn lock(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl State {
        /// Adds up; gives whom to ask for a key frame, if that is due.
        fn count(
            &mut self,
            done: Done,
            pts: Option<gst::ClockTime>,
            now: impl FnOnce() -> Option<gst::ClockTime>,
        ) -> Option<Arc<KeyFrameRequest>> {
            self.counts.received += u64::from(done.frames);
            self.counts.key_frames += u64::from(done.key_frames);
            self.counts.broken += u64::from(done.broken);
            self.counts.dropped += u64::from(done.dropped);
            if done.frames + done.broken > done.dropped
                && let Some(pts) = pts
            {
                // Its time, or now where it is too late for that.
                let due = Duration::from_nanos(pts.nseconds()) + self.latency;
                let now = now().map_or(Duration::ZERO, |t| Duration::from_nanos(t.nseconds()));
                self.freezes.shown(due.max(now));
            }
            self.ask.clone().filter(|_| done.ask)
        }
    }

    /// `buffer` with a sequence number that is lower by `removed`.
    fn renumbered(mut buffer: gst::Buffer, sequence: u16, removed: u16) -> gst::Buffer {
        if removed == 0 || buffer.n_memory() == 0 {
            return buffer;
        }
        // The payload is shared with what came, in one piece with the header or not.
        let parts = {
            let first = buffer.peek_memory(0);
            first.map_readable().ok().and_then(|bytes| {
                let size = rtp::size_of_header(&bytes)?;
                let header = bytes.get(..size)?.to_vec();
                Some((header, (bytes.len() > size).then(|| first.share(size..))))
            })
        };
        if let Some((mut header, rest)) = parts
            && let Some(number) = header.get_mut(2..4)
        {
            number.copy_from_slice(&sequence.wrapping_sub(removed).to_be_bytes());
            let buffer = buffer.make_mut();
            buffer.replace_memory(0, gst::Memory::from_mut_slice(header));
            if let Some(rest) = rest {
                buffer.insert_memory(1, rest);
            }
        }
        buffer
    }

    /// What a packet says of its place; `None` when it is no RTP packet.
    fn place(encoding_name: &str, buffer: &gst::Buffer) -> Option<Place> {
        rtp::read_inbound(buffer, |header, payload| {
            let header = Header::read(header)?;
            Some(Place {
                sequence: header.sequence,
                timestamp: header.timestamp,
                marker: header.marker,
                start: frame_start::start(encoding_name, payload),
                key: keyframe::has_key_picture(encoding_name, payload),
                bare: frame_start::is_bare(encoding_name, payload),
                empty: payload.is_empty(),
            })
        })
    }
}
