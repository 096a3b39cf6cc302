// SPDX-License-Identifier: MPL-2.0
//! Looks through SCTP packets (RFC 9260) before rtc-sctp does, and after: what a remote could do with
//! it, and what it gets wrong, is met here.
//!
//! - A FORWARD-TSN (RFC 3758) is walked number by number, over half of all there are.
//! - Each first INIT becomes an association, without bounds; one that comes later ends the one there is.
//! - An ERROR chunk ends the association, whatever it is about.
//! - A stream reset (RFC 6525) that comes before the data it follows is done later without its answer,
//!   and one that the remote answers with "in progress" is not repeated. Such requests are kept
//!   without bounds. And a stream that we reset is reset once more when the remote resets its half: by
//!   then the id may be that of another channel.
//! - A message may have any number of fragments, and streams any number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use super::WINDOW;
use super::flight::Flight;
use crate::peer::data::MAX_ID;

/// Bytes before the first chunk.
const HEADER: usize = 12;
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const ERROR: u8 = 9;
const RECONFIG: u8 = 130;
const FORWARD_TSN: u8 = 192;

/// Numbers that a FORWARD-TSN may go beyond what came: more than any window has packets.
const MOST_FORWARD: u32 = 1 << 17;
/// Resets that may wait for their data, or for a reader.
const MOST_RESETS: usize = 64;
/// DATA chunks that may wait: for a reader, for the rest of their message, or for what was lost before them. Others are
/// as good as lost. rtc-sctp counts only what is in them, needs some 200 bytes for each, and goes through those behind a
/// gap at each that comes.
const MOST_WAITING: usize = 1 << 13;
/// From what was read last to what is taken: the numbers of messages in a stream have 16 bits, and rtc-sctp takes those
/// that are farther for old ones.
const FARTHEST: usize = 1 << 15;
/// Bytes that may come while our window is shut and there is nothing to read.
const MOST_BEYOND: usize = 2 * WINDOW as usize;

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// It says nothing that may be heard; what matters is sent again.
    Drop,
    /// It is for later: see [`Guard::take_due`].
    Held,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// The highest number that came.
    highest: Option<u32>,
    /// All up to this came, as we last said.
    cumulative: Option<u32>,
    /// Receive window of rtc-sctp, as it last said.
    credit: Option<u32>,
    /// The same, as we said it.
    pub(super) window: Option<u32>,
    /// Bytes of a DATA chunk of late, times 64; 0: none came.
    mean: usize,
    /// Our tag, source and destination as in the remote's packets, and a stream.
    addressed: Option<(Bytes, u16)>,
    held: VecDeque<(u32, Bytes)>,
    /// Streams whose half of ours was reset, by which request.
    reset: BTreeMap<u16, u32>,
    /// To be told to rtc-sctp in the remote's name.
    answers: Vec<u32>,
    last_reset: Option<u32>,
    resets: usize,
    /// Numbers that came and that we did not acknowledge, so that none is counted twice.
    came: BTreeSet<u32>,
    /// All up to this came, whether we said so or not.
    reach: Option<u32>,
    /// What SCTP has to send.
    pub(super) flight: Flight,
    /// DATA chunks that nobody read yet.
    waiting: usize,
    /// Bytes of those that came while our window was shut and there was nothing to read.
    beyond: usize,
    /// Nothing is missing, nothing can be read, and there are too many chunks.
    endless: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// Serial number arithmetic (RFC 1982): `a` is behind `b`.
pub(super) fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// The chunks of `packet`, or `None` when their lengths are wrong.
fn chunks(packet: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = packet.get(HEADER..)?;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16_at(rest, 2)?);
        if length < 4 {
            return None;
        }
        all.push(rest.get(..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (!all.is_empty()).then_some(all)
}

/// The parameters of a RECONFIG chunk.
fn parameters(chunk: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut rest = chunk.get(4..)?;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16_at(rest, 2)?);
        if length < 8 {
            return None;
        }
        all.push((u16_at(rest, 0)?, rest.get(..length)?));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(all)
}

impl Guard {
    /// Whether `packet` is the first word of a remote.
    pub(super) fn is_init(packet: &[u8]) -> bool {
        packet.get(HEADER) == Some(&INIT)
    }

    /// A packet came; `up`: the association is there.
    pub(super) fn incoming(&mut self, packet: &Bytes, up: bool, stalled: bool) -> Verdict {
        self.judge(packet, up, stalled).unwrap_or(Verdict::Drop)
    }

    fn judge(&mut self, packet: &Bytes, up: bool, stalled: bool) -> Option<Verdict> {
        let mut later = None;
        let mut all = Vec::new();
        for chunk in chunks(packet)? {
            match *chunk.first()? {
                DATA => {
                    let (tsn, stream) = (u32_at(chunk, 4)?, u16_at(chunk, 8)?);
                    // An empty one is against RFC 9260 section 3.3.1.
                    if chunk.len() <= 16 || stream > MAX_ID {
                        return None;
                    }
                    all.push((tsn, chunk.len() - 16));
                    // A stream that is closed would be opened anew.
                    if self.addressed.as_ref().is_none_or(|(_, s)| *s != stream) {
                        self.addressed = Some((packet.slice(..HEADER), stream));
                    }
                }
                INIT if up => return None,
                INIT | INIT_ACK => {
                    self.highest = Some(u32_at(chunk, 16)?.wrapping_sub(1));
                }
                FORWARD_TSN => {
                    let tsn = u32_at(chunk, 4)?;
                    let far = self.highest.unwrap_or(tsn).wrapping_add(MOST_FORWARD);
                    if is_after(tsn, far) {
                        return None;
                    }
                    self.came(tsn);
                }
                SACK => self.flight.acknowledged(u32_at(chunk, 4)?),
                ERROR => return None,
                RECONFIG => {
                    for (kind, parameter) in parameters(chunk)? {
                        later = later.or(self.reconfigure(kind, parameter)?);
                    }
                }
                _ => {}
            }
        }
        // A packet is taken as a whole, or nothing of it came.
        if !self.has_room_for(&all, stalled) {
            return None;
        }
        for (tsn, bytes) in all {
            self.count(tsn, bytes, stalled);
        }
        let Some(tsn) = later else {
            return Some(Verdict::Pass);
        };
        if self.held.len() >= MOST_RESETS {
            return None;
        }
        self.held.push_back((tsn, packet.clone()));
        Some(Verdict::Held)
    }

    /// A parameter of a reset: gives what must come before it, if that did not yet. `None`: not for
    /// rtc-sctp.
    fn reconfigure(&mut self, kind: u16, parameter: &[u8]) -> Option<Option<u32>> {
        match kind {
            // Outgoing SSN reset request.
            13 => {
                let (request, last) = (u32_at(parameter, 4)?, u32_at(parameter, 12)?);
                if self.last_reset != Some(request) {
                    self.last_reset = Some(request);
                    self.resets += 1;
                }
                if self.resets > MOST_RESETS {
                    return None;
                }
                // The data itself may be there and not be acknowledged yet.
                let known = self.cumulative.or(self.highest);
                let early = known.is_some_and(|known| is_after(last, known));
                Some(early.then_some(last))
            }
            // Its answer; 6: in progress.
            16 => (u32_at(parameter, 8)? != 6).then_some(None),
            // rtc-sctp ends the association over any other.
            _ => None,
        }
    }

    fn is_new(&self, tsn: u32) -> bool {
        let after = self.cumulative.is_none_or(|known| is_after(tsn, known));
        after && !self.came.contains(&tsn)
    }

    /// Whether there is room for these DATA chunks of one packet; if not, they come again.
    fn has_room_for(&mut self, all: &[(u32, usize)], stalled: bool) -> bool {
        let (mut reach, mut waiting) = (self.reach, self.waiting);
        for (tsn, _) in all.iter().filter(|(tsn, _)| self.is_new(*tsn)) {
            let next = reach.is_some_and(|known| *tsn == known.wrapping_add(1));
            if next {
                reach = Some(*tsn);
            }
            let last = self.highest.is_none_or(|highest| is_after(*tsn, highest));
            // What fills a gap may be what all the others wait for.
            let most = match (last, next) {
                (true, true) if stalled => 2 * MOST_WAITING,
                (true, _) => MOST_WAITING,
                (false, false) => 2 * MOST_WAITING,
                (false, true) => 3 * MOST_WAITING,
            };
            let far = reach.map_or(0, |known| tsn.wrapping_sub(known) as usize);
            if waiting >= most || waiting + far >= FARTHEST || self.came.len() >= FARTHEST {
                // Without a gap, all messages that are whole were read. (What rtc-sctp had no room for
                // is a gap too.)
                let gapless = self
                    .cumulative
                    .is_some_and(|known| *tsn == known.wrapping_add(1));
                self.endless |= !stalled && gapless && waiting >= MOST_WAITING;
                return false;
            }
            waiting += 1;
        }
        true
    }

    /// A DATA chunk came.
    fn count(&mut self, tsn: u32, bytes: usize, stalled: bool) {
        if self.is_new(tsn) {
            self.came.insert(tsn);
            if self.reach.is_some_and(|known| tsn == known.wrapping_add(1)) {
                self.extend();
            }
            self.waiting += 1;
            self.mean = match self.mean {
                0 => 64 * bytes,
                mean => mean - mean / 64 + bytes,
            };
            // While there is something to read rtc-sctp takes nothing beyond.
            if !stalled {
                self.beyond += bytes;
            }
        }
        self.came(tsn);
    }

    /// What was behind a gap may be what came without one now.
    fn extend(&mut self) {
        while let Some(next) = self.reach.map(|known| known.wrapping_add(1))
            && self.came.contains(&next)
        {
            self.reach = Some(next);
        }
    }

    /// Messages of so many DATA chunks were read.
    pub(super) fn was_read(&mut self, chunks: usize) {
        self.waiting = self.waiting.saturating_sub(chunks);
    }

    /// We say that all up to `self.cumulative` came, and how much room there is.
    fn acknowledged(&mut self) {
        let Some(cumulative) = self.cumulative else {
            return;
        };
        while self
            .came
            .first()
            .is_some_and(|tsn| !is_after(*tsn, cumulative))
        {
            self.came.pop_first();
        }
        if self.reach.is_none_or(|known| is_after(cumulative, known)) {
            self.reach = Some(cumulative);
            self.extend();
        }
        match self.credit {
            Some(0) | None => {}
            // What was given up by the remote is not read: begin anew when there is nothing.
            Some(WINDOW..) => (self.waiting, self.beyond) = (0, 0),
            Some(_) => self.beyond = 0,
        }
    }

    fn came(&mut self, tsn: u32) {
        if self.highest.is_none_or(|highest| is_after(tsn, highest)) {
            self.highest = Some(tsn);
        }
    }

    /// Stream `id` is another channel's from now on.
    pub(super) fn opened(&mut self, id: u16) {
        self.reset.remove(&id);
    }

    /// We send `packet`. `None`: better not.
    pub(super) fn outgoing(&mut self, packet: Bytes) -> Option<Bytes> {
        let (mut sent, mut window) = (true, None);
        for chunk in chunks(&packet).unwrap_or_default() {
            match chunk.first() {
                Some(&DATA) => self.flight.left(chunk),
                Some(&SACK) => {
                    self.cumulative = u32_at(chunk, 4);
                    self.credit = u32_at(chunk, 8);
                    self.acknowledged();
                    window = self.credit.map(|credit| credit.min(self.room()));
                    self.window = window;
                }
                Some(&RECONFIG) => {
                    for (kind, parameter) in parameters(chunk).unwrap_or_default() {
                        if kind == 13 {
                            sent &= self.first_reset(parameter);
                        }
                        // Performed, or nothing to do.
                        if kind == 16 && u32_at(parameter, 8).is_some_and(|result| result < 2) {
                            self.resets = self.resets.saturating_sub(1);
                        }
                    }
                }
                _ => {}
            }
        }
        match window.filter(|window| self.credit != Some(*window)) {
            _ if !sent => None,
            None => Some(packet),
            Some(window) => Some(with_window(&packet, window).unwrap_or(packet)),
        }
    }

    /// Bytes that may come without there being too many chunks, if those that come are like those that came. The remote
    /// knows of no other bound, and would send again and again what we pass over.
    fn room(&self) -> u32 {
        let chunks = MOST_WAITING.saturating_sub(self.waiting);
        match self.mean {
            0 => WINDOW,
            mean => u32::try_from(chunks * mean / 64)
                .unwrap_or(WINDOW)
                .min(WINDOW),
        }
    }

    /// Whether the window that we last told of is less than half of what it could be now.
    pub(super) fn is_window_stale(&self) -> bool {
        self.window.is_some_and(|said| said < self.room() / 2)
    }

    /// Whether our request to reset streams is the first for one of them.
    fn first_reset(&mut self, parameter: &[u8]) -> bool {
        let Some(request) = u32_at(parameter, 4) else {
            return true;
        };
        let streams = parameter.get(16..).unwrap_or_default().chunks_exact(2);
        let mut first = false;
        for id in streams.filter_map(|bytes| u16_at(bytes, 0)) {
            // The same one may be repeated.
            first |= *self.reset.entry(id).or_insert(request) == request;
        }
        if !first {
            // Or it is repeated.
            self.answers.push(request);
        }
        first
    }

    /// The remote's answer to a request that was not sent.
    pub(super) fn take_answer(&mut self) -> Option<Bytes> {
        let request = self.answers.pop()?;
        let mut chunk = vec![RECONFIG, 0, 0, 16, 0, 16, 0, 12];
        chunk.extend(request.to_be_bytes());
        // Performed.
        chunk.extend(1u32.to_be_bytes());
        self.in_their_name(&chunk)
    }

    pub(super) fn in_their_name(&self, chunk: &[u8]) -> Option<Bytes> {
        let (header, _) = self.addressed.as_ref()?;
        let mut packet = BytesMut::with_capacity(HEADER + chunk.len() + 3);
        packet.extend_from_slice(header.get(..8)?);
        packet.put_u32(0);
        packet.put_slice(chunk);
        packet.resize(packet.len().next_multiple_of(4), 0);
        seal(&mut packet)?;
        Some(packet.freeze())
    }

    /// A packet that was held and whose time has come.
    pub(super) fn take_due(&mut self) -> Option<Bytes> {
        let known = self.cumulative?;
        let due = |(tsn, _): &(u32, Bytes)| !is_after(*tsn, known);
        let at = self.held.iter().position(due)?;
        self.held.remove(at).map(|(_, packet)| packet)
    }

    /// Whether the remote sends a message that is longer than any may be, or in more pieces.
    pub(super) fn is_endless(&self) -> bool {
        self.endless || self.beyond > MOST_BEYOND
    }

    /// All up to this came, as we last said.
    pub(super) fn said(&self) -> u32 {
        self.cumulative.unwrap_or_default()
    }

    /// A packet as the remote might repeat one, which makes rtc-sctp say how large our window is: it
    /// does not when somebody reads, and the remote would only ask after seconds.
    pub(super) fn repeated(&self) -> Option<Bytes> {
        let (_, stream) = self.addressed.as_ref()?;
        // Whole, and to be acknowledged at once (RFC 7053).
        let mut chunk = vec![DATA, 0x0b, 0, 17];
        chunk.extend(self.cumulative?.to_be_bytes());
        chunk.extend(stream.to_be_bytes());
        chunk.extend([0, 0, 0, 0, 0, 53, 0]);
        self.in_their_name(&chunk)
    }
}

/// `packet`, which begins with a SACK, with another receive window.
fn with_window(packet: &[u8], window: u32) -> Option<Bytes> {
    if packet.get(HEADER) != Some(&SACK) {
        return None;
    }
    let mut packet = BytesMut::from(packet);
    let field = packet.get_mut(HEADER + 8..HEADER + 12)?;
    field.copy_from_slice(&window.to_be_bytes());
    seal(&mut packet)?;
    Some(packet.freeze())
}

/// Writes the checksum.
fn seal(packet: &mut [u8]) -> Option<()> {
    packet.get_mut(8..12)?.fill(0);
    let checksum = crc32c(packet).to_le_bytes();
    packet.get_mut(8..12)?.copy_from_slice(&checksum);
    Some(())
}

/// RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

#[cfg(test)]
mod tests;
