// SPDX-License-Identifier: MPL-2.0
//! Frames that wait to leave, in their order. There is one lane for audio and one for video.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::pacer::Pacer;
use super::stream::SendStream;
use super::{Numbered, Taken};
use crate::media::rtp_packet::OutboundFrame;

/// RTP header with the usual extensions, and SRTP tag: for the pacer, before a packet has its own.
const HEADERS: usize = 12 + 12 + 16;

/// A frame that waits to leave.
pub(super) struct Waiting {
    pub(super) stream: usize,
    pub(super) frame: OutboundFrame,
    /// It leaves at a pace of its own, see [`Outbound::push_backlog`](super::Outbound::push_backlog).
    pub(super) paced: bool,
    pub(super) since: Instant,
    /// Its place among what waited for the opening, of both lanes; `None` for what came later.
    pub(super) held: Option<u64>,
    /// Packets of it that left.
    pub(super) gone: usize,
}

/// See the module.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) frames: VecDeque<Waiting>,
    /// What of it was pushed one by one, frames, ...
    pub(super) live: usize,
    /// ... its payload, ...
    pub(super) bytes: usize,
    /// ... and of what of it is no key frame.
    pub(super) delta_bytes: usize,
    /// When all of it should have left, on a path without a known limit.
    pub(super) deadline: Option<Instant>,
}

impl Lane {
    /// Puts a frame at the end, to leave within `spread`.
    pub(super) fn push(&mut self, waiting: Waiting, spread: Duration) {
        if !waiting.paced {
            let size = waiting.frame.len();
            self.live += 1;
            self.bytes += size;
            if !waiting.frame.key {
                self.delta_bytes += size;
            }
            self.deadline = self.deadline.max(Some(waiting.since + spread));
        }
        self.frames.push_back(waiting);
    }

    /// What the frame `at` leaves is no longer counted.
    fn uncount(&mut self, bytes: usize, key: bool) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if !key {
            self.delta_bytes = self.delta_bytes.saturating_sub(bytes);
        }
    }

    /// Takes the frames of `stream` out that `fits`; gives their number.
    pub(super) fn remove(&mut self, stream: usize, fits: impl Fn(&Waiting) -> bool) -> u64 {
        let mut removed = 0;
        let frames = std::mem::take(&mut self.frames);
        for waiting in frames {
            if waiting.stream != stream || !fits(&waiting) {
                self.frames.push_back(waiting);
                continue;
            }
            removed += 1;
            if !waiting.paced {
                let left = waiting.frame.packets.iter().skip(waiting.gone);
                let bytes = left.map(|p| p.payload.len()).sum();
                self.live = self.live.saturating_sub(1);
                self.uncount(bytes, waiting.frame.key);
            }
        }
        removed
    }

    /// Takes out what waits of `stream` and was not begun, if more than `most` waits, its backlog
    /// included: a key frame comes. Gives the number of frames.
    pub(super) fn make_way(&mut self, stream: usize, most: usize) -> u64 {
        let of_backlog = |waiting: &&Waiting| waiting.paced && waiting.stream == stream;
        let backlog = self.frames.iter().filter(of_backlog);
        let backlog: usize = backlog.map(|waiting| waiting.frame.len()).sum();
        if self.bytes + backlog <= most {
            return 0;
        }
        self.remove(stream, |waiting| waiting.gone == 0)
    }

    /// The place of the first frame, if it waited for the opening.
    pub(super) fn first_held(&self) -> Option<u64> {
        self.frames.front().and_then(|waiting| waiting.held)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How long the oldest frame waits, backlogs aside.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let mut waiting = self.frames.iter().filter(|waiting| !waiting.paced);
        let oldest = waiting.next().map(|waiting| waiting.since);
        oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// The frame to go on with: of each stream in order, and a stream whose backlog is held by its
    /// pace holds up no other. Otherwise, when there is one.
    fn next(&mut self, streams: &mut [SendStream], now: Instant) -> Result<usize, Option<Instant>> {
        let mut held = Vec::new();
        let mut earliest: Option<Instant> = None;
        for (at, waiting) in self.frames.iter().enumerate() {
            if held.contains(&waiting.stream) {
                continue;
            }
            let pace = match streams.get_mut(waiting.stream) {
                Some(stream) if waiting.paced && waiting.gone == 0 => stream.pace.as_mut(),
                _ => None,
            };
            let Some(pace) = pace else {
                return Ok(at);
            };
            if now >= pace.due {
                let size = waiting.frame.len() as u64;
                pace.due = now + Duration::from_micros(size * 1_000_000 / pace.bytes_per_second);
                return Ok(at);
            }
            earliest = Some(earliest.map_or(pace.due, |due| due.min(pace.due)));
            held.push(waiting.stream);
            if held.len() >= streams.len() {
                break;
            }
        }
        Err(earliest)
    }

    /// Takes what may leave now, until there are `limit` packets in `into`. Without a pacer
    /// everything may; what leaves is put on its account all the same. What was held behind the
    /// place `before` stays.
    pub(super) fn take(
        &mut self,
        streams: &mut [SendStream],
        pacer: &mut Pacer,
        (unhindered, before): (bool, Option<u64>),
        now: Instant,
        limit: usize,
        (taken, into): (&mut Taken, &mut Vec<Numbered>),
    ) {
        while into.len() < limit {
            if before.is_some_and(|before| self.first_held().is_none_or(|held| held > before)) {
                return;
            }
            // Before a backlog's pace is spent on a frame that does not leave.
            if !unhindered && pacer.is_limited() && !pacer.may_leave(now) {
                if !self.frames.is_empty() {
                    taken.come_at(Some(pacer.next(now)));
                }
                return;
            }
            let at = match self.next(streams, now) {
                Ok(at) => at,
                Err(due) => {
                    taken.come_at(due);
                    return;
                }
            };
            let Some(waiting) = self.frames.get_mut(at) else {
                return;
            };
            let backlog = waiting.paced && !pacer.is_limited();
            let packets = waiting.frame.packets.get(waiting.gone..).unwrap_or(&[]);
            let (mut count, mut bytes) = (0, 0);
            for packet in packets.iter().take(limit - into.len()) {
                if !unhindered && !backlog && !pacer.may_leave(now) {
                    break;
                }
                count += 1;
                bytes += packet.payload.len();
                if !backlog {
                    pacer.left(packet.payload.len() + HEADERS, now);
                    taken.charged += packet.payload.len() + HEADERS;
                }
            }
            if let Some(stream) = streams.get_mut(waiting.stream) {
                let behind = packets.len().saturating_sub(count);
                let packets = packets.get(..count).unwrap_or(&[]);
                stream.number(waiting.stream, packets, behind, now, into);
            }
            waiting.gone += count;
            let (done, key, paced) = (
                waiting.gone >= waiting.frame.packets.len(),
                waiting.frame.key,
                waiting.paced,
            );
            if !paced {
                self.uncount(bytes, key);
            }
            if done {
                if let Some(waiting) = self.frames.remove(at) {
                    self.live = self.live.saturating_sub(usize::from(!waiting.paced));
                    taken.frames.push(waiting.stream);
                }
            } else if into.len() < limit {
                taken.come_at(Some(pacer.next(now)));
                return;
            }
        }
    }
}
