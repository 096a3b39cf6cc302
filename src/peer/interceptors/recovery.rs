// SPDX-License-Identifier: MPL-2.0
//! FEC of what we receive: what is lost is made again, and the numbers that repair packets took of
//! the media are no gaps.

use std::time::Instant;

use rtc::rtp;
use rtc::shared::error::Error;
use rtc::shared::marshal::{Marshal, MarshalSize, Unmarshal};

use super::by_ssrc::BySsrc;
use super::media_path::MediaPath;
use super::nack::How;
use super::pictures::{Picture, Pictures};
use super::source::Arrival;
use crate::media::fec::{self, Decoder, Protection, Recovered, Repair, red};

/// Sources that are protected at a time; a stream has one, unless its sender begins anew.
const MAX_SOURCES: usize = 64;

/// One SSRC of media.
struct Protected {
    decoder: Decoder,
    /// Where repair packets take numbers of the media.
    pictures: Option<Pictures>,
    /// Of its media.
    payload_type: u8,
    timestamp: u32,
    empty: Vec<u16>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Recovery {
    sources: BySsrc<Protected>,
    recovered: Vec<Recovered>,
}

/// What is known after a packet.
#[derive(Default)]
pub(super) struct Gained {
    /// Packets that were lost.
    pub(super) packets: Vec<rtp::Packet>,
    /// Numbers that no media has.
    pub(super) empty: Vec<(u32, u16)>,
}

impl Recovery {
    /// A media packet of a protected stream came. `mutable`, where it is as it was on the wire but
    /// for RED: ids of the extensions that are written as a packet leaves.
    pub(super) fn media(
        &mut self,
        protection: &Protection,
        codec: &str,
        mutable: Option<[u8; 3]>,
        packet: &rtp::Packet,
        now: Instant,
    ) -> Gained {
        let header = &packet.header;
        let Some(source) = self.source(header.ssrc, header.payload_type, protection) else {
            return Gained::default();
        };
        source.payload_type = header.payload_type;
        source.timestamp = header.timestamp;
        let mut gained = Gained::default();
        source.saw(codec, packet, &mut gained);
        // What it was padded with is not known any more.
        let mutable = mutable.filter(|_| !header.padding);
        if let Some((mutable, mut bytes)) = mutable.and_then(|m| Some((m, marshalled(header)?))) {
            fec::freeze(&mut bytes, &mutable);
            let (number, payload) = (header.sequence_number, packet.payload.clone());
            let mut recovered = std::mem::take(&mut self.recovered);
            if let Some(source) = self.sources.get_mut(&header.ssrc) {
                let decoder = &mut source.decoder;
                decoder.media(number, bytes.into(), payload, now, &mut recovered);
                source.gain(codec, &mut recovered, &mut gained);
            }
            self.recovered = recovered;
        }
        gained
    }

    /// The payload of a repair packet for `ssrc` came. `number`: what it took of the media's.
    pub(super) fn repair(
        &mut self,
        protection: &Protection,
        codec: &str,
        (ssrc, number): (u32, Option<u16>),
        payload: &bytes::Bytes,
        now: Instant,
    ) -> Gained {
        let mut gained = Gained::default();
        let mut recovered = std::mem::take(&mut self.recovered);
        // Media that came before it was kept, or there is nothing to be made.
        if let Some(source) = self.sources.get_mut(&ssrc) {
            if let (Some(number), Some(pictures)) = (number, &mut source.pictures) {
                pictures.repair(number);
            }
            if let Some(repair) = Repair::read(protection.scheme, payload, ssrc) {
                source.decoder.repair(repair, now, &mut recovered);
                source.gain(codec, &mut recovered, &mut gained);
            }
        }
        self.recovered = recovered;
        gained
    }

    /// Payload type of the media of `ssrc`.
    pub(super) fn payload_type(&self, ssrc: u32) -> Option<u8> {
        self.sources.get(&ssrc).map(|source| source.payload_type)
    }

    /// The newest timestamp of the media of `ssrc`.
    fn timestamp(&self, ssrc: u32) -> u32 {
        self.sources.get(&ssrc).map_or(0, |source| source.timestamp)
    }

    /// `ssrc` is gone.
    pub(super) fn forget(&mut self, ssrc: u32) {
        self.sources.remove(&ssrc);
    }

    fn source(
        &mut self,
        ssrc: u32,
        payload_type: u8,
        protection: &Protection,
    ) -> Option<&mut Protected> {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&ssrc) {
            return None;
        }
        Some(self.sources.entry(ssrc).or_insert_with(|| Protected {
            decoder: Decoder::new(ssrc),
            pictures: protection.red.map(|_| Pictures::default()),
            payload_type,
            timestamp: 0,
            empty: Vec::new(),
        }))
    }
}

impl Protected {
    /// Takes over what was recovered.
    fn gain(&mut self, codec: &str, recovered: &mut Vec<Recovered>, gained: &mut Gained) {
        for Recovered { number, packet } in recovered.drain(..) {
            let mut bytes = packet;
            match rtp::Packet::unmarshal(&mut bytes) {
                Ok(packet) => {
                    self.saw(codec, &packet, gained);
                    gained.packets.push(packet);
                }
                Err(error) => {
                    log::debug!(target: "rswebrtc::peer", "FEC makes no packet {number}: {error}");
                }
            }
        }
    }

    fn saw(&mut self, codec: &str, packet: &rtp::Packet, gained: &mut Gained) {
        if let Some(pictures) = &mut self.pictures
            && let Some(picture) = Picture::of(codec, &packet.payload, packet.header.marker)
        {
            pictures.media(packet.header.sequence_number, picture, &mut self.empty);
            let ssrc = packet.header.ssrc;
            gained
                .empty
                .extend(self.empty.drain(..).map(|number| (ssrc, number)));
        }
    }
}

impl MediaPath {
    /// Whether `payload_type` is one of the FEC of stream `stream`.
    pub(super) fn is_fec(&self, stream: usize, payload_type: u8) -> bool {
        let fec = self.lines.get(stream).and_then(|line| line.config.fec);
        fec.is_some_and(|fec| fec.original(payload_type).is_some())
    }

    /// A packet of the FEC of stream `stream`: RED, or parity.
    pub(super) fn read_fec(
        &mut self,
        stream: usize,
        mut packet: rtp::Packet,
        how: How,
        now: Instant,
    ) -> Result<(), Error> {
        let lines = self.lines.clone();
        let Some((line, fec)) = lines.get(stream).and_then(|l| Some((l, l.config.fec?))) else {
            return Ok(());
        };
        let in_red = fec
            .red
            .filter(|(red, _)| *red == packet.header.payload_type);
        let mut blocks = match in_red.map(|_| red::read(&packet.payload)) {
            Some(Some(blocks)) => blocks,
            Some(None) => return Ok(()),
            None => vec![red::Block {
                payload_type: fec.payload_type,
                age: 0,
                payload: packet.payload.clone(),
            }],
        };
        let primary = blocks.pop();
        let is_repair = |block: &red::Block| block.payload_type == fec.payload_type;
        // The one SSRC of the media, or the one that this one is declared to protect.
        let number = fec.red.map(|_| packet.header.sequence_number);
        let ssrc = match number {
            Some(_) => Some(packet.header.ssrc),
            None => {
                let mut declared = line.declared.fec.iter();
                let declared = declared.find(|(own, _)| *own == packet.header.ssrc);
                let primary = || self.primaries.get(stream).copied().flatten();
                declared.map(|(_, media)| *media).or_else(primary)
            }
        };
        if let Some(media) = primary.as_ref().filter(|block| !is_repair(block)) {
            if !self.has_codec(stream, media.payload_type) {
                return Ok(());
            }
            packet.header.payload_type = media.payload_type;
            packet.payload = media.payload.clone();
            self.take(stream, packet, how, now)?;
        } else if let Some(ssrc) = ssrc.filter(|_| number.is_some()) {
            // It has a number of the media, so that there is no gap.
            if let Some(payload_type) = self.recovery.payload_type(ssrc) {
                packet.header.payload_type = payload_type;
                packet.header.marker = false;
                packet.payload = bytes::Bytes::new();
                self.take(stream, packet, how, now)?;
            }
        }
        let repairs = blocks.iter().chain(&primary).filter(|b| is_repair(b));
        for (repair, ssrc) in repairs.zip(ssrc) {
            self.count(stream, |stats| stats.fec_packets_received += 1);
            let codec = self.codec_name(stream, ssrc);
            let payload = &repair.payload;
            let gained = self
                .recovery
                .repair(&fec, &codec, (ssrc, number), payload, now);
            self.gain(stream, gained, now)?;
        }
        Ok(())
    }

    /// Whether `payload_type` is that of a codec of stream `stream`: what is inside of RED, or was
    /// made from FEC, is whatever somebody sent.
    fn has_codec(&self, stream: usize, payload_type: u8) -> bool {
        let codecs = self.lines.get(stream).map(|line| &line.config.codecs);
        let mut codecs = codecs.into_iter().flatten();
        codecs.any(|codec| codec.payload_type == payload_type)
    }

    fn codec_name(&self, stream: usize, ssrc: u32) -> String {
        let payload_type = self.recovery.payload_type(ssrc);
        let codecs = self.lines.get(stream).map(|line| &line.config.codecs);
        let mut codecs = codecs.into_iter().flatten();
        let codec = codecs.find(|codec| Some(codec.payload_type) == payload_type);
        codec.map(|codec| codec.name.clone()).unwrap_or_default()
    }

    /// A new packet of media of stream `stream`; what can be made of it.
    pub(super) fn protected(
        &mut self,
        stream: usize,
        packet: &rtp::Packet,
        how: How,
        now: Instant,
    ) -> Gained {
        let Some(line) = self.lines.get(stream).filter(|_| how != How::Recovered) else {
            return Gained::default();
        };
        let (Some(fec), false) = (line.config.fec, packet.payload.is_empty()) else {
            return Gained::default();
        };
        let payload_type = packet.header.payload_type;
        let mut codecs = line.config.codecs.iter();
        let codec = codecs.find(|codec| codec.payload_type == payload_type);
        let codec = codec.map_or("", |codec| &codec.name);
        // What came by RTX may have other header extensions than what was lost.
        let mutable = (how == How::Sent).then(|| fec::mutable(&line.config.extensions));
        self.recovery.media(&fec, codec, mutable, packet, now)
    }

    /// Takes what FEC gave.
    pub(super) fn gain(
        &mut self,
        stream: usize,
        gained: Gained,
        now: Instant,
    ) -> Result<(), Error> {
        for packet in gained.packets {
            if self.has_codec(stream, packet.header.payload_type) {
                self.take(stream, packet, How::Recovered, now)?;
            }
        }
        for (ssrc, number) in gained.empty {
            self.nothing(stream, ssrc, number, now);
        }
        Ok(())
    }

    /// No media has `number`, which did not come.
    fn nothing(&mut self, stream: usize, ssrc: u32, number: u16, now: Instant) {
        let Some(payload_type) = self.recovery.payload_type(ssrc) else {
            return;
        };
        let Some(source) = self.sources.get_mut(&ssrc) else {
            return;
        };
        if source.is_restart(number) {
            return;
        }
        let Arrival::Late(extended) = source.accept(number) else {
            return;
        };
        if let Some(requests) = &mut source.requests {
            requests.found(extended, How::Recovered, now, &mut self.answers);
        }
        let header = rtp::header::Header {
            version: 2,
            payload_type,
            sequence_number: number,
            timestamp: self.recovery.timestamp(ssrc),
            ssrc,
            ..Default::default()
        };
        let payload = bytes::Bytes::new();
        self.deliver(stream, rtp::Packet { header, payload }, now);
    }
}

/// `header` as it was on the wire: with the padding that its extensions had there.
fn marshalled(header: &rtp::header::Header) -> Option<Vec<u8>> {
    let mut bytes = vec![0; header.marshal_size()];
    let written = header.marshal_to(&mut bytes).ok()?;
    if written < bytes.len() && header.extension {
        let start = 12 + 4 * header.csrc.len();
        let words = u16::try_from(bytes.len().checked_sub(start + 4)? / 4).ok()?;
        let length = bytes.get_mut(start + 2..start + 4)?;
        length.copy_from_slice(&words.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::media::codec::{Codec, MediaKind};
    use crate::media::queue::Popped;
    use crate::peer::shared::{EVENT_CAPACITY, Shared};
    use crate::peer::{Direction, StreamConfig};

    const RED: u8 = 122;
    const SSRC: u32 = 7;

    /// Receives VP8 (96) that is protected by ULPFEC.
    fn path() -> MediaPath {
        let codec = Codec {
            kind: MediaKind::Video,
            name: "VP8".to_owned(),
            clock_rate: 90_000,
            channels: None,
            fmtp: String::new(),
            payload_type: 96,
            rtx_payload_type: Some(97),
            feedback: vec!["nack".to_owned()],
        };
        let line = StreamConfig {
            kind: MediaKind::Video,
            direction: Direction::RecvOnly,
            mid: "0".to_owned(),
            codecs: vec![codec],
            extensions: Vec::new(),
            msid: None,
            fec: Some(Protection {
                scheme: fec::Scheme::Ulpfec,
                payload_type: 124,
                red: Some((RED, None)),
                percentage: None,
            }),
            rtcp_rsize: true,
            layers: Vec::new(),
            layer: None,
        };
        let (events, _) = tokio::sync::mpsc::channel(EVENT_CAPACITY);
        let shared = Arc::new(Shared::new(events, false, Vec::new()));
        shared.set_lines(vec![line], None);
        let mut path = MediaPath::new(shared);
        path.refresh();
        path
    }

    fn packet(payload_type: u8, number: u16, payload: Bytes) -> rtp::Packet {
        let header = rtp::header::Header {
            version: 2,
            payload_type,
            sequence_number: number,
            ssrc: SSRC,
            ..Default::default()
        };
        rtp::Packet { header, payload }
    }

    fn delivered(path: &mut MediaPath) -> usize {
        path.flush();
        let queue = &path.lines[0].inbound;
        std::iter::from_fn(|| match queue.pop(Duration::ZERO) {
            Popped::Item(item) => Some(item),
            _ => None,
        })
        .count()
    }

    #[test]
    fn what_is_inside_of_red_must_be_of_a_codec_of_the_line() {
        let mut path = path();
        let now = Instant::now();
        let media = Bytes::from_static(&[0x10, 0, 0, 0]);
        for (number, inside) in [(1, 96), (2, 97), (3, RED), (4, 0)] {
            let packet = packet(RED, number, red::wrap(inside, &media));
            path.read_fec(0, packet, How::Sent, now).unwrap();
        }
        assert_eq!(delivered(&mut path), 1);
    }

    #[test]
    fn only_media_as_it_was_sent_begins_a_new_numbering() {
        let mut path = path();
        let now = Instant::now();
        let media = |number| packet(96, number, Bytes::from_static(&[0x10, 0, 0, 0]));
        path.take(0, media(20_000), How::Sent, now).unwrap();
        path.take(0, media(1_000), How::Resent, now).unwrap();
        path.take(0, media(1_001), How::Recovered, now).unwrap();
        path.nothing(0, SSRC, 1_002, now);
        path.take(0, media(20_001), How::Sent, now).unwrap();
        assert_eq!(delivered(&mut path), 2);
        assert_eq!(path.sources[&SSRC].lost(), 0);
        path.take(0, media(1_000), How::Sent, now).unwrap();
        path.take(0, media(1_001), How::Resent, now).unwrap();
        assert_eq!(delivered(&mut path), 2);
    }

    #[test]
    fn a_header_is_what_it_was_with_all_the_padding_of_its_extensions() {
        let wire: &[u8] = &[
            0x91, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 0xbe, 0xde, 0, 2, 0x11, 7, 8, 0, 0,
            0, 0, 0,
        ];
        let mut bytes = Bytes::from_static(wire);
        let packet = rtp::Packet::unmarshal(&mut bytes).unwrap();
        assert_eq!(marshalled(&packet.header).unwrap(), wire);
    }
}
