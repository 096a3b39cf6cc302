// SPDX-License-Identifier: MPL-2.0
//! What left and what transport-wide feedback says of it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! Own code, though `rtc::interceptor` has `convert_twcc` and `History`: the first believes run
//! lengths beyond the packet's own count and allocates for each, the second keeps three hash maps
//! a packet and forgets that a packet was late rather than lost. Numbers rise by one, so a ring
//! finds them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};

use crate::peer::room::Room;

/// Nobody reports a packet that left so long ago.
const MAX_AGE: Duration = Duration::from_secs(10);
/// What was reported missing may still be reported as late.
const LATE: Duration = Duration::from_secs(1);
/// Half the numbers there are: beyond, old and new look the same. The oldest go.
const MAX_PACKETS: usize = 1 << 15;
/// Numbers jump so far only when somebody else gave them out meanwhile.
const MAX_JUMP: i64 = 1000;
/// One unit of the reference time (section 3.1), µs.
const REFERENCE_UNIT: i64 = 64_000;

/// No receive delta is longer (section 3.1.5), µs.
const MAX_DELTA: i64 = 8_192_000;
/// So many packets that nobody reported on are missed when rates are measured.
const GAP: i64 = 20;

/// A packet that the remote has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    pub(super) sent: Instant,
    /// By the remote's clock, which begins anywhere, µs.
    pub(super) arrival: i64,
    /// Bytes.
    pub(super) size: usize,
    pub(super) probe: Option<u32>,
    /// It was said to be lost before.
    pub(super) late: bool,
}

/// A packet that the remote does not have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    pub(super) sent: Instant,
    /// Bytes.
    pub(super) size: usize,
}

/// What one feedback says that was not known.
#[derive(Debug, Default)]
pub(super) struct News {
    /// In the order of arrival.
    pub(super) arrived: Vec<Arrived>,
    pub(super) lost: Vec<Lost>,
    /// From the newest packet of it.
    pub(super) round_trip: Option<Duration>,
    /// Many packets before these were never reported on: feedback was lost.
    pub(super) gap: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No such packet.
    Unused,
    Sent,
    Missing,
    Arrived,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    sent: Instant,
    size: usize,
    probe: Option<u32>,
    state: State,
}

/// Packets that are under way, bounded in number and in age.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Number, without wraps, of the first record.
    first: i64,
    records: VecDeque<Record>,
    room: Room,
    /// All before were reported on, or will not be.
    reported: i64,
    /// The highest number that arrived.
    highest: Option<i64>,
    /// Last reference time as on the wire, and without wraps.
    reference: Option<(u32, i64)>,
    missing: Vec<i64>,
    news: News,
    news_room: Room,
}

impl History {
    /// A packet left. Numbers rise; what does not is not believed.
    pub(super) fn sent(&mut self, number: u16, size: usize, probe: Option<u32>, now: Instant) {
        let next = self.first + self.records.len() as i64;
        let number = unwrap_near(number, next);
        if number < next && next - number < MAX_JUMP && !self.records.is_empty() {
            return;
        }
        if self.records.is_empty() || (number - next).abs() >= MAX_JUMP {
            self.records.clear();
            self.first = number;
            self.reported = number;
            self.highest = None;
        }
        let record = |state| Record {
            sent: now,
            size,
            probe,
            state,
        };
        while self.first + (self.records.len() as i64) < number {
            self.records.push_back(record(State::Unused));
        }
        self.records.push_back(record(State::Sent));
        self.trim(now);
    }

    fn trim(&mut self, now: Instant) {
        self.room.settle(&mut self.records, now);
        while let Some(record) = self.records.front() {
            let age = now.saturating_duration_since(record.sent);
            let over = match record.state {
                State::Unused | State::Arrived => true,
                State::Missing => age > LATE,
                State::Sent => age > MAX_AGE,
            };
            // The last one tells how numbers go on.
            if self.records.len() <= 1 || !(over || self.records.len() > MAX_PACKETS) {
                break;
            }
            self.records.pop_front();
            self.first += 1;
        }
    }

    fn record(&mut self, number: i64) -> Option<&mut Record> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.records.get_mut(index)
    }

    /// Reads a feedback; `None` when it tells nothing of what we sent.
    pub(super) fn feedback(&mut self, feedback: &TransportLayerCc, now: Instant) -> Option<&News> {
        self.news_room.settle(&mut self.news.arrived, now);
        self.news.arrived.clear();
        self.news.lost.clear();
        self.missing.clear();
        self.news.round_trip = None;
        let next = self.first + self.records.len() as i64;
        let base = unwrap_near(feedback.base_sequence_number, next);
        if self.records.is_empty() || base >= next {
            return None;
        }
        self.news.gap = base > self.reported.max(self.first) + GAP;
        let end = (base + i64::from(feedback.packet_status_count)).min(next);
        self.read(feedback, base, end);
        self.reported = self.reported.max(end);
        if let Some(highest) = self.highest {
            // Sent before one that arrived: lost, unless it comes late.
            for index in 0..self.missing.len() {
                let Some(&number) = self.missing.get(index) else {
                    break;
                };
                if number > highest {
                    continue;
                }
                if let Some(record) = self.record(number)
                    && record.state == State::Sent
                {
                    record.state = State::Missing;
                    let (sent, size) = (record.sent, record.size);
                    self.news.lost.push(Lost { sent, size });
                }
            }
        }
        let newest = self.news.arrived.iter().map(|packet| packet.sent).max();
        self.news.round_trip = newest.map(|sent| now.saturating_duration_since(sent));
        self.news.arrived.sort_by_key(|packet| packet.arrival);
        self.trim(now);
        (!self.news.arrived.is_empty() || !self.news.lost.is_empty()).then_some(&self.news)
    }

    fn read(&mut self, feedback: &TransportLayerCc, base: i64, end: i64) {
        let mut arrival = self.unwrap_reference(feedback.reference_time);
        let mut deltas = feedback.recv_deltas.iter();
        let mut number = base;
        for chunk in &feedback.packet_chunks {
            let (symbols, run): (&[SymbolTypeTcc], _) = match chunk {
                PacketStatusChunk::RunLengthChunk(chunk) => (
                    std::slice::from_ref(&chunk.packet_status_symbol),
                    usize::from(chunk.run_length),
                ),
                PacketStatusChunk::StatusVectorChunk(chunk) => (&chunk.symbol_list, 1),
            };
            for symbol in symbols {
                for _ in 0..run {
                    if number >= end {
                        return;
                    }
                    match symbol {
                        SymbolTypeTcc::PacketNotReceived => self.missing.push(number),
                        SymbolTypeTcc::PacketReceivedWithoutDelta => self.arrived(number, None),
                        _ => {
                            // Fewer times than packets: the rest means nothing.
                            let Some(delta) = deltas.next() else {
                                return;
                            };
                            arrival =
                                arrival.saturating_add(delta.delta.clamp(-MAX_DELTA, MAX_DELTA));
                            self.arrived(number, Some(arrival));
                        }
                    }
                    number += 1;
                }
            }
        }
    }

    fn arrived(&mut self, number: i64, arrival: Option<i64>) {
        let Some(record) = self.record(number) else {
            return;
        };
        if matches!(record.state, State::Unused | State::Arrived) {
            return;
        }
        let late = record.state == State::Missing;
        record.state = State::Arrived;
        let (sent, size, probe) = (record.sent, record.size, record.probe);
        self.highest = Some(self.highest.map_or(number, |highest| highest.max(number)));
        if let Some(arrival) = arrival {
            self.news.arrived.push(Arrived {
                sent,
                arrival,
                size,
                probe,
                late,
            });
        }
    }

    /// The 24 bits of the reference time wrap every 12 days; in µs.
    fn unwrap_reference(&mut self, reference: u32) -> i64 {
        let unwrapped = match self.reference {
            None => i64::from(reference),
            Some((last, unwrapped)) => {
                let forth = i64::from(reference.wrapping_sub(last) & 0xff_ffff);
                unwrapped
                    + if forth < 1 << 23 {
                        forth
                    } else {
                        forth - (1 << 24)
                    }
            }
        };
        self.reference = Some((reference, unwrapped));
        unwrapped.saturating_mul(REFERENCE_UNIT)
    }
}

/// The number without wraps that is nearest to `near`.
fn unwrap_near(number: u16, near: i64) -> i64 {
    let step = number.wrapping_sub(near as u16) as i16;
    near + i64::from(step)
}
