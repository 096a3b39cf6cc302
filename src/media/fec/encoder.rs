// SPDX-License-Identifier: MPL-2.0
//! The sender's half: groups what leaves by frames, and makes the repair packets of each group.

use bytes::{Bytes, BytesMut};

use super::parity::Parity;
use super::{FIXED_HEADER, Scheme, flexfec, mask, ulpfec};

/// A group of this many packets is not made to wait for further frames.
const ENOUGH: usize = 10;
/// Frames of one group at most.
const MAX_FRAMES: usize = 3;
/// A group is closed when the next frame would make it longer than this, in parts of a second.
const MAX_SPAN: u32 = 10;

/// One packet that left, as [`super::freeze`] makes it.
struct Protected {
    header: BytesMut,
    payload: Bytes,
}

impl Protected {
    /// What follows the fixed header.
    fn size(&self) -> usize {
        (self.header.len() + self.payload.len()).saturating_sub(FIXED_HEADER)
    }
}

/// See the module. What is to be added is kept as a credit in bytes, so that the mean is what was
/// asked for, however the groups come out.
pub struct Encoder {
    scheme: Scheme,
    /// Of the media.
    ssrc: u32,
    /// RTP clock, Hz.
    clock_rate: u32,
    percentage: u8,
    group: Vec<Protected>,
    base: u16,
    frames: usize,
    /// Timestamps of the group's first packet and of the last one.
    first: u32,
    last: Option<u32>,
    /// Packets at which the group is closed.
    target: usize,
    /// Bytes, in hundredths, that may be added.
    credit: i64,
}

impl Encoder {
    /// For what leaves as `ssrc`, with a clock of `clock_rate` Hz.
    pub fn new(scheme: Scheme, ssrc: u32, clock_rate: u32) -> Self {
        Self {
            scheme,
            ssrc,
            clock_rate: clock_rate.max(1),
            percentage: 0,
            group: Vec::new(),
            base: 0,
            frames: 0,
            first: 0,
            last: None,
            target: usize::MAX,
            credit: 0,
        }
    }

    /// The format.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What to add to the media, in percent of its bytes, 0 to 100.
    pub fn set_percentage(&mut self, percentage: u8) {
        self.percentage = percentage.min(100);
    }

    /// What is added now.
    pub fn percentage(&self) -> u8 {
        self.percentage
    }

    /// Whether nothing is added, so that packets need not be shown.
    pub fn is_idle(&self) -> bool {
        self.percentage == 0
    }

    /// Packet `number` leaves, `left` more of its frame follow it. Gives the payloads of the repair
    /// packets that follow it; the next packet's number must go on behind them where they share
    /// its numbers.
    pub fn push(
        &mut self,
        number: u16,
        timestamp: u32,
        header: BytesMut,
        payload: Bytes,
        left: usize,
    ) -> Vec<Bytes> {
        if self.is_idle() {
            self.forget();
            return Vec::new();
        }
        // A mask counts numbers; what is not in one row cannot be one group.
        let next = self.base.wrapping_add(self.group.len() as u16);
        if !self.group.is_empty() && number != next {
            self.forget();
        }
        if self.group.is_empty() {
            self.base = number;
            self.first = timestamp;
        }
        if self.group.is_empty() || self.last != Some(timestamp) {
            let all = self.group.len() + left + 1;
            self.target = all.div_ceil(all.div_ceil(self.scheme.reach()).max(1));
        }
        let before = self.last.replace(timestamp);
        let packet = Protected { header, payload };
        self.credit += (packet.size() * usize::from(self.percentage)) as i64;
        self.group.push(packet);
        if left == 0 {
            self.frames += 1;
        }
        let ends = if left == 0 {
            self.is_long_enough(timestamp, before)
        } else {
            self.group.len() >= self.target
        };
        if ends { self.close() } else { Vec::new() }
    }

    fn is_long_enough(&self, timestamp: u32, before: Option<u32>) -> bool {
        let ahead = |later: u32, earlier: u32| later.wrapping_sub(earlier);
        let interval = before.map_or(0, |before| ahead(timestamp, before));
        let span = ahead(timestamp, self.first).saturating_add(interval);
        self.frames >= MAX_FRAMES
            || self.group.len() >= ENOUGH.min(self.scheme.reach())
            || span >= self.clock_rate / MAX_SPAN
    }

    fn forget(&mut self) {
        self.group.clear();
        self.frames = 0;
    }

    /// The repair packets of the group, for which there is credit.
    fn close(&mut self) -> Vec<Bytes> {
        let longest = self.group.iter().map(Protected::size).max().unwrap_or(0);
        let each = (longest * 100) as i64;
        let count = (self.credit + each / 2).checked_div(each).unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(0).min(self.group.len());
        let mut payloads = Vec::with_capacity(count);
        for mask in mask::masks(self.group.len(), count) {
            let size = match self.scheme {
                Scheme::Ulpfec => ulpfec::header_size(mask),
                Scheme::Flexfec => flexfec::header_size(mask),
            };
            let mut parity = Parity::new(size, longest);
            for packet in mask.positions().filter_map(|at| self.group.get(at)) {
                parity.add(size, &packet.header, &packet.payload);
            }
            let payload = match self.scheme {
                Scheme::Ulpfec => ulpfec::write(parity, self.base, mask),
                Scheme::Flexfec => flexfec::write(parity, self.base, mask, self.ssrc),
            };
            self.credit -= (payload.len() * 100) as i64;
            payloads.push(payload.freeze());
        }
        // What could not be spent on this group is not spent on another one.
        self.credit = self.credit.clamp(-2 * each, each);
        self.forget();
        payloads
    }
}
