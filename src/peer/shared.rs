// SPDX-License-Identifier: MPL-2.0
//! What the handle, the event handler, the watch and the media path of one peer have in common.
//!
//! Lock order: none; no two of these locks are ever held together, and none across an await.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::data::Data;
use super::limits::Wanted;
use super::nudge::Nudge;
use super::outbound::Outbound;
use super::{BitrateLimits, PathStats, PeerEvent, StreamConfig, StreamStats};
use crate::media::codec::{Codec, MediaKind};
use crate::media::layers::Choice;
use crate::media::queue::InboundQueue;
use crate::sdp::Declared;

/// Packets that wait for the streaming thread: more than the largest key frames at 4K.
const INBOUND_CAPACITY: usize = 8192;
/// Events that may wait for the session.
pub(super) const EVENT_CAPACITY: usize = 64;
/// Places that key-frame requests leave free for the events that must not be lost.
const EVENT_RESERVE: usize = 8;
/// At most one PLI per stream in this time.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(100);
/// No round trip is taken to be longer.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(1);

/// One audio or video m-line, with what belongs to it for the whole call.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) config: StreamConfig,
    /// What the remote declared of its sources.
    pub(super) declared: Declared,
    pub(super) inbound: Arc<InboundQueue>,
    /// Of its outputs behind the first.
    pub(super) more: Vec<Arc<InboundQueue>>,
    /// Of what comes.
    pub(super) stats: Arc<Mutex<StreamStats>>,
    /// Of what goes.
    pub(super) sent: Arc<Mutex<StreamStats>>,
}

impl Line {
    /// Where output `output` delivers.
    pub(super) fn output(&self, output: usize) -> Option<&Arc<InboundQueue>> {
        match output.checked_sub(1) {
            None => Some(&self.inbound),
            Some(at) => self.more.get(at),
        }
    }

    /// Whether a codec of this line has feedback `name`.
    pub(super) fn has_feedback(&self, name: &str) -> bool {
        let codecs = &self.config.codecs;
        codecs.iter().any(|c| c.feedback.iter().any(|f| f == name))
    }
}

/// All m-lines as they are at one time: whoever has this may go on with it.
pub(super) type Lines = Arc<Vec<Line>>;

/// RTCP that the handle wants sent.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Streams to send a PLI for, each with its output.
    pub(super) key_frames: Vec<(usize, usize)>,
    /// Streams whose last packet is to be sent again.
    pub(super) probes: Vec<usize>,
    /// Say BYE.
    pub(super) bye: bool,
    /// New bounds of what may be sent.
    pub(super) limits: Option<BitrateLimits>,
    /// ICE began anew: what was measured may be of another path.
    pub(super) another_path: bool,
    asked: HashMap<(usize, usize), Instant>,
}

/// See the module.
pub(super) struct Shared {
    /// Of a former connection, for the streams that go on.
    queues: Vec<(MediaKind, Arc<InboundQueue>)>,
    lines: Mutex<Lines>,
    /// Grows with every change of the lines, so that the media path need not lock to see one.
    generation: AtomicU64,
    pub(super) outbound: Outbound,
    pub(super) data: Data,
    pub(super) control: Mutex<Control>,
    pub(super) nudge: Arc<Nudge>,
    pub(super) events: Events,
    /// Of what is sent, as last measured.
    pub(super) path: Mutex<PathStats>,
    /// What the user set, and what the remote wants.
    limits: Mutex<(BitrateLimits, Wanted)>,
    /// Which layer goes on, where a stream has several.
    choice: Mutex<Choice>,
    /// We are the DTLS server.
    pub(super) dtls_server: AtomicBool,
    /// The remote ended the call.
    pub(super) remote_left: AtomicBool,
    /// It just did.
    pub(super) left: Notify,
    /// By ICE's checks, microseconds; 0 until known.
    round_trip: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        events: mpsc::Sender<PeerEvent>,
        start_at_key_frame: bool,
        queues: Vec<(MediaKind, Arc<InboundQueue>)>,
    ) -> Self {
        Self {
            queues,
            lines: Mutex::default(),
            generation: AtomicU64::new(0),
            outbound: Outbound::starting(start_at_key_frame),
            data: Data::default(),
            control: Mutex::default(),
            nudge: Arc::new(Nudge::default()),
            events: Events {
                sender: events,
                over: AtomicBool::new(false),
            },
            path: Mutex::default(),
            limits: Mutex::default(),
            choice: Mutex::default(),
            dtls_server: AtomicBool::new(false),
            remote_left: AtomicBool::new(false),
            left: Notify::new(),
            round_trip: AtomicU64::new(0),
        }
    }

    /// The m-lines now.
    pub(super) fn lines(&self) -> Lines {
        lock(&self.lines).clone()
    }

    /// Changes whenever [`Self::lines`] does.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the m-lines; those that were there keep their queues and counters. `declared` is
    /// what the remote says of its sources, once it has spoken.
    pub(super) fn set_lines(&self, streams: Vec<StreamConfig>, declared: Option<Vec<Declared>>) {
        self.outbound.set_streams(&streams);
        let mut lines = lock(&self.lines);
        let mut declared = declared.map(Vec::into_iter);
        let new = streams.into_iter().enumerate().map(|(index, config)| {
            let mut former = lines.get(index);
            let receives = |config: &StreamConfig| config.direction.receives();
            // In a codec that was not spoken of before it is another stream, too.
            let goes_on = |former: &StreamConfig, config: &StreamConfig| {
                let known = |codec: &Codec| {
                    let mut codecs = former.codecs.iter();
                    codecs.any(|c| c.payload_type == codec.payload_type && c.same_encoding(codec))
                };
                receives(config) && config.codecs.iter().any(known)
            };
            let queue = match former {
                // It ends, and what may come on this m-line later is another stream.
                Some(line) if receives(&line.config) && !goes_on(&line.config, &config) => {
                    line.inbound.end();
                    line.more.iter().for_each(|queue| queue.end());
                    None
                }
                Some(line) => Some(line.inbound.clone()),
                None => None,
            };
            if former.is_some_and(|line| line.config.kind != config.kind) {
                former = None;
            }
            let config_kind = config.kind;
            let outputs = config.layers.iter().map(|layer| layer.output).max();
            let mut more = match (&queue, former) {
                (Some(_), Some(line)) => line.more.clone(),
                _ => Vec::new(),
            };
            let wanted = outputs.unwrap_or_default();
            more.drain(wanted.min(more.len())..)
                .for_each(|gone| gone.end());
            more.resize_with(wanted, || Arc::new(InboundQueue::new(INBOUND_CAPACITY)));
            let has_line = config.has_line(index);
            let told = declared.as_mut().map(|declared| {
                let of_line = has_line.then(|| declared.next());
                of_line.flatten().unwrap_or_default()
            });
            Line {
                config,
                declared: told
                    .unwrap_or_else(|| former.map(|l| l.declared.clone()).unwrap_or_default()),
                more,
                inbound: queue.unwrap_or_else(|| self.new_queue(index, config_kind)),
                stats: former.map(|line| line.stats.clone()).unwrap_or_default(),
                sent: former.map(|line| line.sent.clone()).unwrap_or_default(),
            }
        });
        *lines = Arc::new(new.collect());
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The queue of a new stream: the one of a former connection, or else a fresh one.
    fn new_queue(&self, index: usize, kind: MediaKind) -> Arc<InboundQueue> {
        let former = self.queues.get(index);
        match former {
            Some((former, queue)) if *former == kind && !queue.is_over() => queue.clone(),
            _ => Arc::new(InboundQueue::new(INBOUND_CAPACITY)),
        }
    }

    /// Which layer goes on, where a stream has several.
    pub(super) fn choice(&self) -> Choice {
        lock(&self.choice).clone()
    }

    /// See [`Self::choice`].
    pub(super) fn set_choice(&self, choice: Choice) {
        *lock(&self.choice) = choice;
        // As another negotiation: the media path looks at it anew.
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.nudge.wake();
    }

    /// Changes the counters of what goes on stream `index`.
    pub(super) fn count_sent(&self, index: usize, change: impl FnOnce(&mut StreamStats)) {
        if let Some(line) = self.lines().get(index) {
            change(&mut lock(&line.sent));
        }
    }

    /// Changes the counters of what comes on stream `index`.
    pub(super) fn count(&self, index: usize, change: impl FnOnce(&mut StreamStats)) {
        if let Some(line) = self.lines().get(index) {
            change(&mut lock(&line.stats));
        }
    }

    /// Asks the remote for a key frame of a stream, for one of its outputs, unless that was done a
    /// moment ago and the answer, which takes at least `round_trip`, cannot be there yet.
    pub(super) fn request_key_frame_of(
        &self,
        index: (usize, usize),
        now: Instant,
        round_trip: Duration,
    ) {
        let hold = KEY_FRAME_REQUEST_INTERVAL.max(round_trip.min(LONGEST_ROUND_TRIP));
        let mut control = lock(&self.control);
        let asked = control.asked.get(&index);
        if asked.is_some_and(|at| now.saturating_duration_since(*at) < hold) {
            return;
        }
        control.asked.insert(index, now);
        control.key_frames.push(index);
        drop(control);
        self.nudge.wake();
    }

    /// The user's bounds of what may be sent.
    pub(super) fn set_bitrate_limits(&self, limits: BitrateLimits) {
        self.limit(|(own, _)| *own = limits);
    }

    /// The remote's bounds of it.
    pub(super) fn set_wanted(&self, wanted: Wanted) {
        self.limit(|(_, remote)| *remote = wanted);
    }

    fn limit(&self, change: impl FnOnce(&mut (BitrateLimits, Wanted))) {
        let limits = {
            let mut limits = lock(&self.limits);
            change(&mut limits);
            limits.1.within(limits.0)
        };
        lock(&self.control).limits = Some(limits);
        self.nudge.wake();
    }

    /// The round trip of the path as ICE measures it: who only receives gets no reports of it.
    pub(super) fn path_round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// ICE measured the round trip.
    pub(super) fn set_path_round_trip(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or_default();
        self.round_trip.store(micros, Ordering::Relaxed);
    }

    /// Whether we send on stream `index`.
    pub(super) fn sends(&self, index: usize) -> bool {
        self.lines()
            .get(index)
            .is_some_and(|line| line.config.direction.sends())
    }

    /// No stream delivers anything from now on.
    pub(super) fn end_streams(&self) {
        self.lines()
            .iter()
            .flat_map(|line| std::iter::once(&line.inbound).chain(&line.more))
            .for_each(|queue| queue.source_ended());
        self.data.end("the call ended", &self.events);
    }
}

/// The events' way out. Never blocks; nothing follows [`PeerEvent::Failed`].
pub(super) struct Events {
    sender: mpsc::Sender<PeerEvent>,
    over: AtomicBool,
}

impl Events {
    /// Sends `event`.
    pub(super) fn tell(&self, event: PeerEvent) {
        if self.over.load(Ordering::Acquire) {
            return;
        }
        if let PeerEvent::KeyFrameRequest(_) | PeerEvent::StreamsOver = event {
            if self.sender.capacity() > EVENT_RESERVE {
                // overflow: DROPS: the requests before it say the same, and the remote repeats it;
                // a stream that is over is silent, too.
                let _ = self.sender.try_send(event);
            }
            return;
        }
        if let PeerEvent::Estimate(_) = event {
            if self.sender.capacity() > EVENT_RESERVE {
                // overflow: retained: the next one says it anew, within a second.
                let _ = self.sender.try_send(event);
            }
            return;
        }
        if let PeerEvent::Failed(_) = event
            && self.over.swap(true, Ordering::AcqRel)
        {
            return;
        }
        // overflow: retained: requests leave EVENT_RESERVE places free, and there are at most
        // three events of this kind in a peer's life, and one of data channels at a time.
        if self.sender.try_send(event).is_err() {
            log::debug!(target: "rswebrtc::peer", "nobody listens to this peer's events");
        }
    }

    /// Nothing more is to be said.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }
}

/// Locks a mutex whose data is never left half changed by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A number nobody can foresee; good enough for SSRCs, sequence numbers and CNAMEs.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

/// Gives SSRCs, none of them zero, in `taken` or given before.
pub(super) fn random_ssrcs(taken: &[u32]) -> impl FnMut() -> u32 + use<> {
    let mut taken = taken.to_vec();
    move || loop {
        let ssrc = random() as u32;
        if ssrc != 0 && !taken.contains(&ssrc) {
            taken.push(ssrc);
            return ssrc;
        }
    }
}
