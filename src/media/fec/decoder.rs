// SPDX-License-Identifier: MPL-2.0
//! The receiver's half: keeps what came, and makes what is missing as soon as a repair packet
//! lacks no more than one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::mask::Mask;
use super::{FIXED_HEADER, Repair, parity};

/// Media packets that are kept; the oldest make room. A group has 109 at most, and its repair
/// packets follow it.
const WINDOW: usize = 512;
/// Repair packets that may wait; the oldest makes room.
const WAITING: usize = 96;
/// Nothing is kept longer: what is recovered later is of no use.
const LONGEST: Duration = Duration::from_secs(1);

/// A media packet.
#[derive(Clone)]
struct Held {
    number: u16,
    at: Instant,
    header: Bytes,
    payload: Bytes,
}

/// A repair packet that lacks more than one.
struct Waiting {
    repair: Repair,
    missing: Mask,
    at: Instant,
}

/// What was lost and is there again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Its number.
    pub number: u16,
    /// The whole RTP packet. It is made of what somebody sent, and may be nonsense.
    pub packet: Bytes,
}

/// See the module. One for each SSRC of media. Work is bounded: each repair packet is used once,
/// over as many packets as it covers.
pub struct Decoder {
    ssrc: u32,
    /// By number.
    held: Vec<Option<Held>>,
    waiting: VecDeque<Waiting>,
}

impl Decoder {
    /// For what comes as `ssrc`.
    pub fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            held: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// SSRC of the media.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Media packet `number` came: `header` as [`super::freeze`] leaves it, and `payload`. Adds
    /// what can be made of it to `recovered`.
    pub fn media(
        &mut self,
        number: u16,
        header: Bytes,
        payload: Bytes,
        now: Instant,
        recovered: &mut Vec<Recovered>,
    ) {
        self.keep(Held {
            number,
            at: now,
            header,
            payload,
        });
        self.arrived(number);
        self.recover(now, recovered);
    }

    /// A repair packet came. Adds what can be made of it to `recovered`.
    pub fn repair(&mut self, repair: Repair, now: Instant, recovered: &mut Vec<Recovered>) {
        let known = |waiting: &Waiting| {
            waiting.repair.base == repair.base && waiting.repair.mask == repair.mask
        };
        if self.waiting.iter().any(known) {
            return;
        }
        let mut missing = repair.mask;
        for at in repair.mask.positions() {
            if self
                .find(repair.base.wrapping_add(at as u16), now)
                .is_some()
            {
                missing.remove(at);
            }
        }
        if missing.is_empty() {
            return;
        }
        if self.waiting.len() >= WAITING {
            // overflow: DROPS: the oldest is the one whose packets are late anyway.
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting {
            repair,
            missing,
            at: now,
        });
        self.recover(now, recovered);
    }

    fn keep(&mut self, packet: Held) {
        if self.held.is_empty() {
            self.held.resize(WINDOW, None);
        }
        let place = usize::from(packet.number) % WINDOW;
        if let Some(place) = self.held.get_mut(place) {
            *place = Some(packet);
        }
    }

    fn find(&self, number: u16, now: Instant) -> Option<&Held> {
        let held = self.held.get(usize::from(number) % WINDOW)?.as_ref()?;
        let fresh = now.saturating_duration_since(held.at) < LONGEST;
        (held.number == number && fresh).then_some(held)
    }

    /// Nothing waits for `number` any more.
    fn arrived(&mut self, number: u16) {
        for waiting in &mut self.waiting {
            let at = number.wrapping_sub(waiting.repair.base);
            waiting.missing.remove(at.into());
        }
    }

    fn recover(&mut self, now: Instant, recovered: &mut Vec<Recovered>) {
        self.waiting.retain(|waiting| {
            let fresh = now.saturating_duration_since(waiting.at) < LONGEST;
            !waiting.missing.is_empty() && fresh
        });
        // Each turn takes one out, so there is an end whatever they say.
        while let Some(at) = self.waiting.iter().position(|w| w.missing.len() == 1)
            && let Some(Waiting {
                repair, missing, ..
            }) = self.waiting.remove(at)
        {
            let Some(packet) = self.make(&repair, missing, now) else {
                continue;
            };
            if let Some((header, payload)) = split(&packet.packet) {
                self.keep(Held {
                    number: packet.number,
                    at: now,
                    header,
                    payload,
                });
                self.arrived(packet.number);
            }
            recovered.push(packet);
        }
    }

    /// The one packet that `repair` lacks.
    fn make(&self, repair: &Repair, missing: Mask, now: Instant) -> Option<Recovered> {
        let number = |at: usize| repair.base.wrapping_add(at as u16);
        let lost = number(missing.positions().next()?);
        let mut others = Vec::with_capacity(repair.mask.len());
        for at in repair.mask.positions().filter(|at| !missing.contains(*at)) {
            // It was there once; the window may have moved on since.
            let held = self.find(number(at), now)?;
            others.push((&held.header[..], &held.payload[..]));
        }
        let packet = parity::recover(repair, others.into_iter(), lost, self.ssrc)?;
        Some(Recovered {
            number: lost,
            packet,
        })
    }
}

/// Fixed header and the rest: where the header ends is of no concern to parity.
fn split(packet: &Bytes) -> Option<(Bytes, Bytes)> {
    (packet.len() >= FIXED_HEADER)
        .then(|| (packet.slice(..FIXED_HEADER), packet.slice(FIXED_HEADER..)))
}
