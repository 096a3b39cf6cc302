// SPDX-License-Identifier: MPL-2.0
//! One stream that is sent: its numbers, and the headers of its packets.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp;
use rtc::rtp::header::EXTENSION_PROFILE_TWO_BYTE as TWO_BYTE_FORM;

use super::fec::SendFec;
use super::{Numbered, Pace, Skip};
use crate::media::codec::{Codec, MediaKind};
use crate::media::fec::Protection;
use crate::media::header_extension::{AbsSendTime, HeaderExtension};
use crate::media::rtp_packet::OutboundPacket;
use crate::peer::shared::{random, random_ssrcs};

/// What is known of it.
pub(super) struct SendStream {
    pub(super) kind: MediaKind,
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: u32,
    /// Of FEC, where that has one of its own.
    pub(super) fec_ssrc: u32,
    pub(super) codec: Option<Codec>,
    pub(super) unbound: bool,
    pub(super) mid: Bytes,
    /// Of one of several layers.
    pub(super) rid: Bytes,
    pub(super) extensions: Vec<(u8, HeaderExtension)>,
    pub(super) next: u32,
    /// Dropping up to the next key frame.
    pub(super) skipping: Option<Skip>,
    /// The last key frame was taken then.
    pub(super) key_pushed: Option<Instant>,
    /// A first frame was taken.
    pub(super) begun: bool,
    /// Of its last backlog.
    pub(super) pace: Option<Pace>,
    /// When its last packet left, or left once more.
    pub(super) last: Option<Instant>,
    pub(super) acknowledged: Option<u32>,
    /// On a path that loses: repairs may be under way until then.
    pub(super) unsettled: Option<Instant>,
    pub(super) fec: Option<SendFec>,
    /// How numbers on `fec_ssrc` go on with the next [`Self::fec`]: none is used twice.
    fec_next: u16,
    /// Part of the packets that reports say is lost, smoothed.
    pub(super) loss: f64,
}

impl SendStream {
    pub(super) fn new(kind: MediaKind, taken: &[u32]) -> Self {
        let mut fresh = random_ssrcs(taken);
        Self {
            kind,
            ssrc: fresh(),
            rtx_ssrc: fresh(),
            fec_ssrc: fresh(),
            codec: None,
            unbound: false,
            mid: Bytes::new(),
            rid: Bytes::new(),
            extensions: Vec::new(),
            // RFC 3550 section 5.1 wants it random; the upper half is left out, so that an early
            // loss cannot be taken for a wrap (RFC 3711 section 3.3.1).
            next: (random() & 0x7fff) as u32,
            skipping: None,
            key_pushed: None,
            begun: false,
            pace: None,
            last: None,
            acknowledged: None,
            unsettled: None,
            fec: None,
            fec_next: (random() & 0x7fff) as u16,
            loss: 0.0,
        }
    }

    pub(super) fn extension(&self, extension: HeaderExtension) -> Option<u8> {
        let mut all = self.extensions.iter();
        all.find(|(_, e)| *e == extension).map(|(id, _)| *id)
    }

    /// Makes packets that leave now of `packets`, behind which `left` more of their frame wait.
    pub(super) fn number(
        &mut self,
        index: usize,
        packets: &[OutboundPacket],
        left: usize,
        now: Instant,
        into: &mut Vec<Numbered>,
    ) {
        let Some(payload_type) = self.codec.as_ref().map(|c| c.payload_type) else {
            return;
        };
        // Once a report shows that the remote knows the SSRC, the mid is of no more use.
        let named = |extension, name: &[u8]| {
            let wanted = self.acknowledged.is_none() && !name.is_empty();
            // A longer name is found by its SSRC only.
            let id = self.extension(extension);
            id.filter(|_| wanted && HeaderExtension::fits_one_byte_form(name))
        };
        let mid = named(HeaderExtension::Mid, &self.mid);
        let rid = named(HeaderExtension::Rid, &self.rid);
        let sent = self.send_time(now);
        let placeholder = self.placeholder();
        let mixed = self.extensions.iter().any(|(_, e)| e.needs_mixed_forms());
        for (at, packet) in packets.iter().enumerate() {
            self.next = self.next.wrapping_add(u32::from(packet.skipped));
            // The whole header is in one form (RFC 8285 section 4.1).
            let long = mixed && packet.extensions.iter().any(|(e, v)| self.is_long(*e, v));
            let mut header = rtp::header::Header {
                version: 2,
                marker: packet.marker,
                payload_type,
                sequence_number: self.next as u16,
                timestamp: packet.timestamp,
                ssrc: self.ssrc,
                extension: long,
                extension_profile: if long { TWO_BYTE_FORM } else { 0 },
                ..Default::default()
            };
            if let Some(id) = mid {
                extend(&mut header, id, self.mid.clone());
            }
            if let Some(id) = rid {
                extend(&mut header, id, self.rid.clone());
            }
            if let Some((id, time)) = &sent {
                extend(&mut header, *id, time.clone());
            }
            if let Some(id) = placeholder {
                extend(&mut header, id, Bytes::from_static(&[0; 2]));
            }
            self.add_brought(&mut header, packet);
            self.next = self.next.wrapping_add(1);
            let numbered = Numbered {
                stream: index,
                packet: rtp::Packet {
                    header,
                    payload: packet.payload.clone(),
                },
                fec: false,
            };
            let protecting = self.fec.as_mut().filter(|fec| !fec.is_idle());
            let repairs = protecting.map(|fec| {
                let behind = left + packets.len().saturating_sub(at + 1);
                fec.protect(&numbered.packet, behind)
            });
            self.last = Some(now);
            into.push(numbered);
            for mut repair in repairs.into_iter().flatten() {
                if let Some((id, time)) = &sent {
                    extend(&mut repair.header, *id, time.clone());
                }
                if repair.header.ssrc == self.ssrc {
                    repair.header.sequence_number = self.next as u16;
                    self.next = self.next.wrapping_add(1);
                }
                into.push(Numbered::repair(index, repair));
            }
        }
    }

    /// Adds what the stream brought along, as far as the form of `header` takes it.
    fn add_brought(&self, header: &mut rtp::header::Header, packet: &OutboundPacket) {
        let long = header.extension_profile == TWO_BYTE_FORM;
        for (extension, value) in &packet.extensions {
            if let Some(id) = self.extension(*extension)
                && (long || !self.is_long(*extension, value))
            {
                extend(header, id, value.clone());
            }
        }
    }

    /// Whether this goes along, and not in the one-byte form.
    fn is_long(&self, extension: HeaderExtension, value: &[u8]) -> bool {
        !HeaderExtension::fits_one_byte_form(value) && self.extension(extension).is_some()
    }

    /// Where packets are protected, the transport-wide number has its place in them before it is
    /// known: parity is of packets as they are on the wire.
    fn placeholder(&self) -> Option<u8> {
        self.fec.as_ref().filter(|fec| !fec.is_idle())?;
        let codec = self.codec.as_ref()?;
        let numbered = codec.feedback.iter().any(|f| f == "transport-cc");
        self.extension(HeaderExtension::TransportWideCc)
            .filter(|_| numbered)
    }

    /// Takes up what was agreed on of FEC.
    pub(super) fn set_fec(&mut self, protection: Option<&Protection>) {
        let now = self.fec.as_ref().map(SendFec::protection);
        if now == protection {
            return;
        }
        let next = self.fec.as_ref().and_then(SendFec::next);
        self.fec_next = next.unwrap_or(self.fec_next);
        self.fec = protection.map(|protection| {
            let own = (self.fec_ssrc, self.fec_next);
            let mid = Some(&self.mid).filter(|mid| HeaderExtension::fits_one_byte_form(mid));
            let mid = mid.cloned().unwrap_or_default();
            SendFec::new(protection, self.ssrc, own, &self.extensions, &mid)
        });
        self.unbound = self.codec.is_some();
    }

    /// `loss` and round trip of the path; `None`: what reports said.
    pub(super) fn adapt(&mut self, loss: Option<f64>, round_trip: Option<Duration>) {
        // Without retransmissions all is left to FEC.
        let resent = |codec: &Codec| codec.feedback.iter().any(|f| f == "nack");
        let round_trip = round_trip.filter(|_| self.codec.as_ref().is_some_and(resent));
        if let Some(fec) = &mut self.fec {
            fec.adapt(loss.unwrap_or(self.loss), round_trip);
        }
    }

    /// The abs-send-time of packets that leave at `now`, for peers without transport-wide numbers.
    fn send_time(&self, now: Instant) -> Option<(u8, Bytes)> {
        static START: OnceLock<Instant> = OnceLock::new();
        if self.extension(HeaderExtension::TransportWideCc).is_some() {
            return None;
        }
        let id = self.extension(HeaderExtension::AbsSendTime)?;
        let since = now.saturating_duration_since(*START.get_or_init(|| now));
        let time = AbsSendTime::from_time(since).to_bytes();
        Some((id, Bytes::copy_from_slice(&time)))
    }
}

fn extend(header: &mut rtp::header::Header, id: u8, value: Bytes) {
    if let Err(error) = header.set_extension(id, value) {
        log::debug!(target: "rswebrtc::peer", "header extension {id} left out: {error}");
    }
}
