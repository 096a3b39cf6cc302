// SPDX-License-Identifier: MPL-2.0
//! What was sent a short time ago, and what of it the remote wants again (RFC 4585, RFC 4588).
//!
//! webrtc's responder has room for a number of packets, which it reserves for every stream of every
//! peer; it answers each request, also of what is still on its way, and its RTX packets come
//! without the header extensions of what they repeat (a turned picture would turn back) and with
//! numbers that begin at 0. This one keeps packets for a time and no longer, answers for each once in
//! a round trip, and leaves it to the caller when: repairs are traffic like any other. A packet whose
//! repair was lost, too, is sent twice, and three times if these were: there is little time left for
//! it, and there are few of these.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp;

use super::by_ssrc::BySsrc;
use crate::media::header_extension::AbsSendTime;
use crate::peer::room::Room;
use crate::peer::shared::random;

/// Packets are kept this long, which is most of what a viewer takes in memory, ...
const KEPT: Duration = Duration::from_secs(1);
/// ... or for so many round trips, ...
const KEPT_ROUND_TRIPS: u32 = 4;
/// ... but no more bytes of payload, which other peers may share, ...
const MOST_BYTES: usize = 16 << 20;
/// ... and no more packets: a second of 160 Mbit/s.
const MOST_PACKETS: usize = 16384;
/// Repairs that may wait to leave; a receiver asks again for what it did not get.
const MOST_WAITING: usize = 1024;
/// A repair that could not leave for so long comes too late.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// A packet is not sent more often than this for one request.
const MOST_COPIES: u8 = 3;
/// Requests for a packet that are answered: it is sent again 1 + 2 + 3 + 3 + 3 times at most.
const MOST_REQUESTS: u8 = 5;
/// Repairs are no more than the media that was sent, but for so many bytes at a time: whoever asks
/// for everything, again and again, does not get more than that out of us. A second of 8 Mbit/s.
const MOST_AHEAD: usize = 1 << 20;
/// A packet is not sent again sooner than this after the last time, whatever the round trip.
const LEAST_HOLD: Duration = Duration::from_millis(15);
/// A probe repeats the largest of so many packets: the fewer it takes, the better.
const PROBE_CHOICE: usize = 16;
/// The round trip before one was measured.
const UNMEASURED: Duration = Duration::from_millis(60);
/// No round trip is taken to be longer.
const LONGEST: Duration = Duration::from_millis(500);

/// How packets of a stream are sent again.
#[derive(Debug, Clone, Default)]
pub(super) struct Resending {
    /// SSRC and payload type of RTX; without, they are sent once more as they were.
    pub(super) rtx: Option<(u32, u8)>,
    /// The `mid`, with the id of its header extension. All of RTX carries it: Firefox knows an SSRC
    /// of a named m-line by nothing else, and there is no report that would tell when it does.
    pub(super) mid: Option<(u8, Bytes)>,
    /// The rid of the layer that is repaired (RFC 8852), with the id of its header extension.
    pub(super) rid: Option<(u8, Bytes)>,
    /// Id of the one that media names its layer by: no repair has it.
    pub(super) media_rid: Option<u8>,
    /// Id of the header extension `abs-send-time`, where it is in use.
    pub(super) send_time: Option<u8>,
}

/// A packet, as small as can be: hundreds are kept for each viewer.
struct Entry {
    /// Shared with all that send it.
    payload: Bytes,
    sent: Instant,
    /// The header, where it is not told by the rest.
    header: Option<Box<rtp::Header>>,
    /// What few have: somebody asked for it.
    asked: Option<Box<Asked>>,
    timestamp: u32,
    number: u16,
    marker: bool,
}

#[derive(Default)]
struct Asked {
    /// When it was last sent again.
    again: Option<Instant>,
    /// How often it was asked for.
    times: u8,
    waiting: bool,
}

impl Entry {
    /// `packet` as it is sent at `now`; `whole` if it will be sent again as it is.
    fn new(packet: &rtp::Packet, whole: bool, now: Instant) -> Self {
        let header = &packet.header;
        let whole = whole || !header.extensions.is_empty() || !header.csrc.is_empty();
        Self {
            payload: packet.payload.clone(),
            sent: now,
            header: whole.then(|| Box::new(header.clone())),
            asked: None,
            timestamp: header.timestamp,
            number: header.sequence_number,
            marker: header.marker,
        }
    }

    /// SSRC and payload type are left to RTX, unless it was kept whole.
    fn packet(&self) -> rtp::Packet {
        let told = || rtp::Header {
            version: 2,
            marker: self.marker,
            sequence_number: self.number,
            timestamp: self.timestamp,
            ..Default::default()
        };
        rtp::Packet {
            header: self.header.as_deref().cloned().unwrap_or_else(told),
            payload: self.payload.clone(),
        }
    }
}

struct Stream {
    how: Resending,
    packets: VecDeque<Entry>,
    room: Room,
    bytes: usize,
    /// Next number of the RTX stream.
    next: u16,
}

struct Waiting {
    ssrc: u32,
    number: u16,
    since: Instant,
    /// How often it leaves.
    copies: u8,
}

/// See the module.
#[derive(Default)]
pub(super) struct History {
    streams: BySsrc<Stream>,
    /// How RTX goes on where a stream is bound anew, by the SSRC of the media: one for each that is
    /// not kept at present. A number that is used twice is taken for a replay, and as nonce of SRTP
    /// gives away what it hides (RFC 3711 section 9.1).
    numbers: BySsrc<u16>,
    /// The last packet of each media stream, as it left: a drain may repeat it.
    last: BySsrc<rtp::Packet>,
    waiting: VecDeque<Waiting>,
    /// Bytes of repairs that media has not made up for, see [`MOST_AHEAD`].
    ahead: usize,
    round_trip: Option<Duration>,
}

impl History {
    /// Packets of `ssrc` are kept from now on.
    pub(super) fn bind(&mut self, ssrc: u32, how: Resending) {
        self.unbind(ssrc);
        let next = self.numbers.remove(&ssrc);
        let stream = Stream {
            how,
            packets: VecDeque::new(),
            room: Room::default(),
            bytes: 0,
            // Upper half left out, as for media: see `outbound::stream`.
            next: next.unwrap_or_else(|| (random() & 0x7fff) as u16),
        };
        self.streams.insert(ssrc, stream);
    }

    /// Packets of `ssrc` are of no more use for now.
    pub(super) fn unbind(&mut self, ssrc: u32) {
        if let Some(stream) = self.streams.remove(&ssrc) {
            self.numbers.insert(ssrc, stream.next);
        }
    }

    /// Nothing is ever sent as `ssrc` again.
    pub(super) fn forget(&mut self, ssrc: u32) {
        self.streams.remove(&ssrc);
        self.numbers.remove(&ssrc);
        self.last.remove(&ssrc);
    }

    /// `packet` leaves, for the first time.
    pub(super) fn sent(&mut self, packet: &rtp::Packet, now: Instant) {
        let keep = self.keep();
        let Some(stream) = self.streams.get_mut(&packet.header.ssrc) else {
            return;
        };
        self.ahead = self.ahead.saturating_sub(packet.payload.len());
        stream.bytes += packet.payload.len();
        let whole = stream.how.rtx.is_none();
        stream.packets.push_back(Entry::new(packet, whole, now));
        stream.trim(keep, now);
    }

    /// How long packets are kept.
    fn keep(&self) -> Duration {
        KEPT.max(self.round_trip.unwrap_or_default() * KEPT_ROUND_TRIPS)
    }

    /// Time passes, also for a stream that pauses.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let keep = self.keep();
        let streams = self.streams.values_mut();
        streams.for_each(|stream| stream.trim(keep, now));
    }

    /// `packet`, in the numbers of media, is now as it leaves, for the first time. What is sent
    /// again under its own number has the nonce of then: it must not differ in a bit, nor in a header
    /// extension, which SRTP authenticates with it (RFC 7714 section 8.1). `last` of those that leave
    /// together.
    pub(super) fn left(&mut self, packet: &rtp::Packet, last: bool) {
        let header = &packet.header;
        if let Some(stream) = self.streams.get_mut(&header.ssrc)
            && stream.how.rtx.is_none()
            && let Some(entry) = stream.find(header.sequence_number)
        {
            let before = entry.payload.len();
            entry.payload = packet.payload.clone();
            entry.header = Some(Box::new(header.clone()));
            stream.bytes = (stream.bytes + packet.payload.len()).saturating_sub(before);
        }
        if last {
            self.last.insert(header.ssrc, packet.clone());
        }
    }

    /// The last packet of `ssrc`, as it left.
    pub(super) fn last(&self, ssrc: u32) -> Option<rtp::Packet> {
        self.last.get(&ssrc).cloned()
    }

    /// The remote misses packets.
    pub(super) fn asked(
        &mut self,
        nack: &TransportLayerNack,
        now: Instant,
        round_trip: Option<Duration>,
    ) {
        self.round_trip = round_trip.map(|time| time.min(LONGEST)).or(self.round_trip);
        // The receiver's timer may be a little shorter than the round trip as we measure it.
        let hold = self.round_trip.unwrap_or(UNMEASURED) * 3 / 4;
        let hold = hold.max(LEAST_HOLD);
        let keep = self.keep();
        let Some(stream) = self.streams.get_mut(&nack.media_ssrc) else {
            return;
        };
        stream.trim(keep, now);
        for pair in &nack.nacks {
            let further = (0..16u16).filter(|bit| pair.lost_packets & (1 << bit) != 0);
            let further = further.map(|bit| pair.packet_id.wrapping_add(bit + 1));
            for number in std::iter::once(pair.packet_id).chain(further) {
                if self.waiting.len() >= MOST_WAITING {
                    // overflow: it is asked for again.
                    return;
                }
                let Some(entry) = stream.find(number) else {
                    continue;
                };
                let under_way = |at| now.saturating_duration_since(at) < hold;
                let size = entry.payload.len();
                let asked = entry.asked.get_or_insert_default();
                if asked.waiting
                    || asked.again.is_some_and(under_way)
                    || asked.times >= MOST_REQUESTS
                {
                    continue;
                }
                let copies = (asked.times + 1).min(MOST_COPIES);
                let ahead = self.ahead + size * usize::from(copies);
                if ahead > MOST_AHEAD {
                    // overflow: it is asked for again.
                    return;
                }
                self.ahead = ahead;
                asked.waiting = true;
                asked.times += 1;
                self.waiting.push_back(Waiting {
                    ssrc: nack.media_ssrc,
                    number,
                    since: now,
                    copies,
                });
            }
        }
    }

    /// The remote wants a key frame of `ssrc`: what it asked for before is of no more use.
    pub(super) fn given_up(&mut self, ssrc: u32) {
        let Some(stream) = self.streams.get_mut(&ssrc) else {
            return;
        };
        let mut freed = 0;
        self.waiting.retain(|waiting| {
            let keep = waiting.ssrc != ssrc;
            if let Some(entry) = stream.find(waiting.number).filter(|_| !keep) {
                if let Some(asked) = &mut entry.asked {
                    asked.waiting = false;
                }
                freed += entry.payload.len() * usize::from(waiting.copies);
            }
            keep
        });
        self.ahead = self.ahead.saturating_sub(freed);
    }

    /// Whether repairs wait to leave.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next repair to leave.
    pub(super) fn next(&mut self, now: Instant) -> Option<rtp::Packet> {
        while let Some(mut waiting) = self.waiting.pop_front() {
            let Some(stream) = self.streams.get_mut(&waiting.ssrc) else {
                continue;
            };
            let Some(entry) = stream.find(waiting.number) else {
                continue;
            };
            let asked = entry.asked.get_or_insert_default();
            asked.waiting = false;
            if now.saturating_duration_since(waiting.since) > LONGEST_WAIT {
                continue;
            }
            asked.again = Some(now);
            let (packet, sent) = (entry.packet(), entry.sent);
            if waiting.copies > 1 {
                // Behind the others, so that one burst of loss does not take both.
                waiting.copies -= 1;
                self.waiting.push_back(waiting);
            }
            return Some(stream.again(packet, now.saturating_duration_since(sent)));
        }
        None
    }

    /// One of the packets of `ssrc` that were sent last, once more by RTX: a probe that may be of
    /// use, too. `None` where there is no RTX, or nothing to repeat.
    pub(super) fn probe(&mut self, ssrc: u32, now: Instant) -> Option<rtp::Packet> {
        let keep = self.keep();
        let stream = self.streams.get_mut(&ssrc)?;
        stream.how.rtx?;
        stream.trim(keep, now);
        let recent = stream.packets.iter().rev().take(PROBE_CHOICE);
        let largest = recent.max_by_key(|entry| entry.payload.len())?;
        let (packet, sent) = (largest.packet(), largest.sent);
        Some(stream.again(packet, now.saturating_duration_since(sent)))
    }
}

impl Stream {
    /// What is too old goes, and what is too much.
    fn trim(&mut self, keep: Duration, now: Instant) {
        self.room.settle(&mut self.packets, now);
        while let Some(oldest) = self.packets.front()
            && (now.saturating_duration_since(oldest.sent) > keep
                || self.packets.len() > MOST_PACKETS
                || self.bytes > MOST_BYTES)
        {
            self.bytes -= oldest.payload.len().min(self.bytes);
            self.packets.pop_front();
        }
    }

    fn find(&mut self, number: u16) -> Option<&mut Entry> {
        let first = self.packets.front()?.number;
        let place = |number: u16| number.wrapping_sub(first);
        let found = self
            .packets
            .binary_search_by_key(&place(number), |e| place(e.number));
        self.packets.get_mut(found.ok()?)
    }

    /// `packet` as it is sent again, `later` than the first time.
    fn again(&mut self, mut packet: rtp::Packet, later: Duration) -> rtp::Packet {
        // See `History::left`.
        let Some((ssrc, payload_type)) = self.how.rtx else {
            return packet;
        };
        let header = &mut packet.header;
        let mut payload = BytesMut::with_capacity(2 + packet.payload.len());
        payload.put_u16(header.sequence_number);
        payload.put_slice(&packet.payload);
        packet.payload = payload.freeze();
        header.ssrc = ssrc;
        header.payload_type = payload_type;
        header.sequence_number = self.next;
        self.next = self.next.wrapping_add(1);
        if let Some((id, mid)) = self.how.mid.clone()
            && header.get_extension(id).is_none()
            && let Err(error) = header.set_extension(id, mid)
        {
            log::debug!(target: "rswebrtc::peer", "RTX goes without its mid: {error}");
        }
        if let Some(id) = self
            .how
            .media_rid
            .filter(|id| header.get_extension(*id).is_some())
            && let Err(error) = header.del_extension(id)
        {
            log::debug!(target: "rswebrtc::peer", "RTX goes with the rid of media: {error}");
        }
        if let Some((id, rid)) = self.how.rid.clone()
            && let Err(error) = header.set_extension(id, rid)
        {
            log::debug!(target: "rswebrtc::peer", "RTX goes without its rid: {error}");
        }
        // What it was delayed by its loss is no delay of the path.
        if let Some(id) = self.how.send_time
            && let Some(sent) = header.get_extension(id)
            && let Some(sent) = AbsSendTime::from_bytes(&sent)
        {
            let time = AbsSendTime::from_time(sent.time() + later).to_bytes();
            if let Err(error) = header.set_extension(id, Bytes::copy_from_slice(&time)) {
                log::debug!(target: "rswebrtc::peer", "sent again with its old time: {error}");
            }
        }
        packet
    }
}

#[cfg(test)]
mod tests;
