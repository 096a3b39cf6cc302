// SPDX-License-Identifier: MPL-2.0
//! FEC of one stream that is sent: repair packets, behind what they protect.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rtc::rtp;
use rtc::shared::marshal::{Marshal, MarshalSize};

use super::Numbered;
use crate::media::fec::{self, Automatic, Encoder, Protection, red};
use crate::media::header_extension::HeaderExtension;

/// The first packets on an SSRC of its own name their m-line, which the remote may not know.
const NAMED: u32 = 100;

/// See the module.
pub(super) struct SendFec {
    protection: Protection,
    encoder: Encoder,
    automatic: Automatic,
    /// Its own SSRC, and the number of its next packet there; `None`: it shares those of the media.
    own: Option<(u32, u16)>,
    sent: u32,
    mid: Option<(u8, Bytes)>,
    /// Ids of the extensions that are written as a packet leaves.
    mutable: [u8; 3],
}

impl SendFec {
    /// For the video of `ssrc`; `own`, an SSRC and its next number, count where the format has one
    /// of its own.
    pub(super) fn new(
        protection: &Protection,
        ssrc: u32,
        own: (u32, u16),
        extensions: &[(u8, HeaderExtension)],
        mid: &Bytes,
    ) -> Self {
        let named = extensions
            .iter()
            .find(|(_, e)| *e == HeaderExtension::Mid && !mid.is_empty());
        let own = protection.red.is_none().then_some(own);
        let mut encoder = Encoder::new(protection.scheme, ssrc, 90_000);
        encoder.set_percentage(protection.percentage.unwrap_or(0));
        Self {
            encoder,
            automatic: Automatic::default(),
            own,
            sent: 0,
            mid: named
                .filter(|_| own.is_some())
                .map(|(id, _)| (*id, mid.clone())),
            mutable: fec::mutable(extensions),
            protection: *protection,
        }
    }

    pub(super) fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Number of the next packet on an SSRC of its own.
    pub(super) fn next(&self) -> Option<u16> {
        self.own.map(|(_, next)| next)
    }

    /// Part `loss` of the packets is lost; a retransmission is there after `round_trip`.
    pub(super) fn adapt(&mut self, loss: f64, round_trip: Option<Duration>) {
        if self.protection.percentage.is_none() {
            let percentage = self.automatic.percentage(loss, round_trip);
            if percentage != self.encoder.percentage() {
                log::debug!(target: "rswebrtc::peer", "FEC adds {percentage} %");
            }
            self.encoder.set_percentage(percentage);
        }
    }

    /// Whether packets have to be shown.
    pub(super) fn is_idle(&self) -> bool {
        self.encoder.is_idle()
    }

    /// `packet` leaves, and `left` more of its frame behind it. Gives the repair packets that
    /// follow it, of which those that share the media's numbers have yet to get one.
    pub(super) fn protect(&mut self, packet: &rtp::Packet, left: usize) -> Vec<rtp::Packet> {
        let header = &packet.header;
        let mut bytes = BytesMut::zeroed(header.marshal_size());
        let Ok(size) = header.marshal_to(&mut bytes) else {
            return Vec::new();
        };
        bytes.truncate(size);
        fec::freeze(&mut bytes, &self.mutable);
        let (number, timestamp) = (header.sequence_number, header.timestamp);
        let payload = packet.payload.clone();
        let payloads = self.encoder.push(number, timestamp, bytes, payload, left);
        payloads
            .into_iter()
            .map(|payload| self.packet(header, payload))
            .collect()
    }

    fn packet(&mut self, media: &rtp::header::Header, payload: Bytes) -> rtp::Packet {
        let mut header = rtp::header::Header {
            version: 2,
            payload_type: self.protection.payload_type,
            timestamp: media.timestamp,
            ssrc: media.ssrc,
            ..Default::default()
        };
        let payload = match self.protection.red {
            Some((red, _)) => {
                header.payload_type = red;
                red::wrap(self.protection.payload_type, &payload)
            }
            None => payload,
        };
        if let Some((ssrc, next)) = &mut self.own {
            header.ssrc = *ssrc;
            header.sequence_number = *next;
            *next = next.wrapping_add(1);
        }
        if let Some((id, mid)) = self.mid.as_ref().filter(|_| self.sent < NAMED)
            && let Err(error) = header.set_extension(*id, mid.clone())
        {
            log::debug!(target: "rswebrtc::peer", "FEC goes without its mid: {error}");
        }
        self.sent = self.sent.saturating_add(1);
        rtp::Packet { header, payload }
    }
}

impl Numbered {
    /// A repair packet of stream `stream`.
    pub(super) fn repair(stream: usize, packet: rtp::Packet) -> Self {
        Self {
            stream,
            packet,
            fec: true,
        }
    }
}
