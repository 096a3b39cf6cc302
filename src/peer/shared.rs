// SPDX-License-Identifier: MPL-2.0
//! What the handle, the event handler, the watch and the media path of one peer have in common.
//!
//! Lock order: none; no two of these locks are ever held together, and none across an await.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::outbound::Outbound;
use super::runtime::Nudge;
use super::{Direction, PeerEvent, StreamConfig, StreamStats};
use crate::media::queue::InboundQueue;

/// Packets that wait for the streaming thread: more than the largest key frames at 4K.
const INBOUND_CAPACITY: usize = 8192;
/// Events that may wait for the session.
pub(super) const EVENT_CAPACITY: usize = 64;
/// Places that key-frame requests leave free for the events that must not be lost.
const EVENT_RESERVE: usize = 8;
/// At most one PLI per stream in this time.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(100);

/// What both descriptions agreed on for one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Negotiated {
    /// Its `a=mid`.
    pub(super) mid: String,
    /// Id of the mid header extension (RFC 9143).
    pub(super) mid_extension: Option<u8>,
    /// Id of the transport-wide sequence number extension.
    pub(super) twcc_extension: Option<u8>,
    /// SSRCs that the remote declared, retransmissions left out.
    pub(super) ssrcs: Vec<u32>,
    /// Retransmission SSRCs that the remote declared, each with the one it repairs.
    pub(super) rtx: Vec<(u32, u32)>,
}

/// RTCP that the handle wants sent.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Streams to send a PLI for.
    pub(super) key_frames: Vec<usize>,
    /// Streams whose last packet is to be sent again.
    pub(super) probes: Vec<usize>,
    /// Say BYE.
    pub(super) bye: bool,
    asked: Vec<Option<Instant>>,
}

/// See the module.
pub(super) struct Shared {
    pub(super) streams: Vec<StreamConfig>,
    pub(super) negotiated: OnceLock<Vec<Negotiated>>,
    pub(super) outbound: Outbound,
    pub(super) inbound: Vec<Arc<InboundQueue>>,
    pub(super) stats: Vec<Mutex<StreamStats>>,
    pub(super) control: Mutex<Control>,
    /// The BYE has left.
    pub(super) bye_sent: Notify,
    pub(super) nudge: Arc<Nudge>,
    pub(super) events: Events,
    /// We are the DTLS server.
    pub(super) dtls_server: AtomicBool,
    /// The remote ended the call.
    pub(super) remote_left: AtomicBool,
}

impl Shared {
    pub(super) fn new(streams: Vec<StreamConfig>, events: mpsc::Sender<PeerEvent>) -> Self {
        let nudge = Arc::new(Nudge::default());
        Self {
            negotiated: OnceLock::new(),
            outbound: Outbound::new(&streams),
            inbound: streams
                .iter()
                .map(|_| Arc::new(InboundQueue::new(INBOUND_CAPACITY)))
                .collect(),
            stats: streams.iter().map(|_| Mutex::default()).collect(),
            control: Mutex::new(Control {
                asked: vec![None; streams.len()],
                ..Control::default()
            }),
            bye_sent: Notify::new(),
            nudge,
            events: Events {
                sender: events,
                over: AtomicBool::new(false),
            },
            dtls_server: AtomicBool::new(false),
            remote_left: AtomicBool::new(false),
            streams,
        }
    }

    /// Changes the counters of stream `index`.
    pub(super) fn count(&self, index: usize, change: impl FnOnce(&mut StreamStats)) {
        if let Some(stats) = self.stats.get(index) {
            change(&mut lock(stats));
        }
    }

    /// Asks the remote for a key frame, unless that was done a moment ago.
    pub(super) fn request_key_frame(&self, index: usize, now: Instant) {
        let mut control = lock(&self.control);
        let Some(asked) = control.asked.get_mut(index) else {
            return;
        };
        if asked.is_some_and(|at| now.saturating_duration_since(at) < KEY_FRAME_REQUEST_INTERVAL) {
            return;
        }
        *asked = Some(now);
        control.key_frames.push(index);
        drop(control);
        self.nudge.wake();
    }

    /// Whether we send on stream `index`.
    pub(super) fn sends(&self, index: usize) -> bool {
        self.streams
            .get(index)
            .is_some_and(|s| s.direction == Direction::SendOnly)
    }

    /// No stream delivers anything from now on.
    pub(super) fn end_streams(&self) {
        self.inbound.iter().for_each(|queue| queue.end());
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
        if let PeerEvent::KeyFrameRequest(_) = event {
            if self.sender.capacity() > EVENT_RESERVE {
                // overflow: DROPS: the requests before it say the same, and the remote repeats it.
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
        // three events of this kind in a peer's life.
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

/// `count` different SSRCs, none of them zero.
pub(super) fn random_ssrcs(count: usize) -> Vec<u32> {
    let mut ssrcs: Vec<u32> = Vec::with_capacity(count);
    while ssrcs.len() < count {
        let ssrc = random() as u32;
        if ssrc != 0 && !ssrcs.contains(&ssrc) {
            ssrcs.push(ssrc);
        }
    }
    ssrcs
}

/// A queue of packets between two calls of webrtc.
pub(super) type Belt = VecDeque<rtc::interceptor::TaggedPacket>;
