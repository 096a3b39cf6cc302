// SPDX-License-Identifier: MPL-2.0
//! Feedback on the arrival of every packet, by transport-wide numbers
//! (draft-holmer-rmcat-transport-wide-cc-extensions).

use std::time::{Duration, Instant};

use rtc::interceptor::{
    AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket, TwccReceiverBuilder,
    TwccReceiverInterceptor,
};
use rtc::rtp;
use rtc::rtp::header::Extension;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

use super::media_path::stream_info;
use super::transport_wide;
use crate::media::header_extension::HeaderExtension;
use crate::peer::shared::Line;

/// Feedback goes out no more often than this, ...
const SHORTEST: Duration = Duration::from_millis(50);
/// ... and no less often, as long as something comes.
const LONGEST: Duration = Duration::from_millis(250);
/// With the next packet that comes, but this much later at most: a timer of its own for what may as
/// well leave with something else is a wake-up more.
pub(super) const SLACK: Duration = Duration::from_millis(20);
/// So many packets are told of at once, however short the time: feedback has up to two and a half bytes
/// for each, and one that is larger than a datagram of the path is never sent.
const MOST: usize = 400;
/// When is ours to say, not the recorder's.
const RECORDER: Duration = Duration::ZERO;
/// Part of what comes in that feedback may take, as libwebrtc has it.
const SHARE: f64 = 0.05;
/// A usual feedback packet with all headers, bits.
const FEEDBACK_SIZE: f64 = 68.0 * 8.0;

/// Notes arrivals with webrtc's recorder, and says how often to tell of them.
pub(super) struct Arrivals {
    recorder: TwccReceiverInterceptor,
    /// What the recorder is shown of each packet, and gives back: nothing but its source and its
    /// number.
    shown: Option<rtp::Packet>,
    /// Id of the transport-wide number.
    number: Option<u8>,
    /// The next feedback leaves no sooner.
    due: Option<Instant>,
    /// The last one left.
    told: Option<Instant>,
    /// Since the last feedback.
    bytes: usize,
    packets: usize,
}

impl Default for Arrivals {
    fn default() -> Self {
        let recorder = TwccReceiverBuilder::new().with_interval(RECORDER).build();
        Self {
            recorder,
            shown: None,
            number: None,
            due: None,
            told: None,
            bytes: 0,
            packets: 0,
        }
    }
}

impl Arrivals {
    /// Transport-wide numbers count for the transport, not for a stream, and one id stands for
    /// them on all m-lines (RFC 8843 section 9.1).
    pub(super) fn bind(&mut self, lines: &[Line]) {
        let mut receiving = lines.iter().filter_map(|line| {
            let id = line.config.extension(HeaderExtension::TransportWideCc)?;
            let receives = line.config.direction.receives();
            let codec = line.config.codecs.first().filter(|_| receives)?;
            let info = stream_info(codec, 0, None, Some(id));
            (!info.rtp_header_extensions.is_empty()).then_some(info)
        });
        let info = receiving.next();
        self.listen(info.as_ref());
    }

    fn listen(&mut self, info: Option<&StreamInfo>) {
        let ids = info.and_then(|info| info.rtp_header_extensions.first());
        self.number = ids.and_then(|extension| u8::try_from(extension.id).ok());
        match info {
            Some(info) => self.recorder.bind_remote_stream(info),
            None => self.recorder.unbind_remote_stream(&StreamInfo::default()),
        }
    }

    /// A packet came in. Before anything is known of it: padding, repairs of what is there already
    /// and unknown sources are what bandwidth is probed with, and to leave them out of the feedback
    /// makes the remote believe that all of it is lost.
    pub(super) fn note(
        &mut self,
        header: &rtp::header::Header,
        size: usize,
        now: Instant,
    ) -> Result<(), Error> {
        self.bytes += size;
        self.packets += 1;
        self.due.get_or_insert(now + SHORTEST);
        if let Some(id) = self.number
            && let Some(number) = transport_wide::number(header, id)
        {
            self.record(header.ssrc, id, number, now)?;
        }
        if self.packets >= MOST {
            self.prepare(now)?;
        }
        Ok(())
    }

    fn record(&mut self, ssrc: u32, id: u8, number: u16, now: Instant) -> Result<(), Error> {
        let payload = transport_wide::on_the_wire(number);
        let mut packet = self.shown.take().unwrap_or_default();
        packet.header.ssrc = ssrc;
        packet.header.extension = true;
        packet.header.extensions.clear();
        packet.header.extensions.push(Extension { id, payload });
        self.recorder.handle_read(TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(Packet::Rtp(packet)),
        })?;
        if let Some(message) = self.recorder.poll_read()
            && let Packet::Rtp(packet) = message.message.packet
        {
            self.shown = Some(packet);
        }
        Ok(())
    }

    /// Feedback to send.
    pub(super) fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.recorder.poll_write()
    }

    /// When to come for feedback if no packet does; `None`: there is nothing to tell.
    pub(super) fn next(&mut self) -> Option<Instant> {
        Some(self.due()? + SLACK)
    }

    fn due(&mut self) -> Option<Instant> {
        let recorded = self.recorder.poll_timeout().filter(|_| self.bytes > 0)?;
        let due = self.due.filter(|_| self.packets < MOST);
        Some(due.map_or(recorded, |due| due.max(recorded)))
    }

    /// Makes feedback if it is time to.
    pub(super) fn prepare(&mut self, now: Instant) -> Result<(), Error> {
        if self.due().is_none_or(|due| now < due) {
            return Ok(());
        }
        self.packets = 0;
        let told = self.told.replace(now);
        let passed = told.map_or(SHORTEST, |told| now.saturating_duration_since(told));
        let bits = std::mem::take(&mut self.bytes) as f64 * 8.0;
        let rate = bits / passed.max(SHORTEST).as_secs_f64();
        self.due = Some(now + interval(rate));
        self.recorder.handle_timeout(now)
    }
}

/// Between two feedback packets at `rate` bit/s.
fn interval(rate: f64) -> Duration {
    let seconds = FEEDBACK_SIZE / (SHARE * rate).max(1.0);
    Duration::from_secs_f64(seconds.clamp(SHORTEST.as_secs_f64(), LONGEST.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::{Codec, MediaKind};

    fn packet(number: u8) -> rtp::Packet {
        let mut header = rtp::header::Header {
            version: 2,
            ..Default::default()
        };
        let value = bytes::Bytes::copy_from_slice(&[0, number]);
        header.set_extension(3, value).unwrap();
        let payload = bytes::Bytes::new();
        rtp::Packet { header, payload }
    }

    fn codec() -> Codec {
        Codec {
            kind: MediaKind::Video,
            name: "VP8".to_owned(),
            clock_rate: 90_000,
            channels: None,
            fmtp: String::new(),
            payload_type: 96,
            rtx_payload_type: None,
            feedback: vec!["transport-cc".to_owned()],
        }
    }

    #[test]
    fn feedback_leaves_with_a_packet_and_a_little_later_if_none_comes() {
        let mut arrivals = Arrivals::default();
        let info = stream_info(&codec(), 0, None, Some(3));
        arrivals.listen(Some(&info));
        let start = Instant::now();
        assert_eq!(arrivals.next(), None);
        let mut told = Vec::new();
        // 30 frames a second.
        for frame in 0..7 {
            let now = start + frame * Duration::from_millis(33);
            assert!(arrivals.next().is_none_or(|due| now < due), "{frame}");
            arrivals
                .note(&packet(frame as u8).header, 100_000, now)
                .unwrap();
            arrivals.prepare(now).unwrap();
            told.extend(arrivals.poll_write().map(|_| frame));
        }
        assert_eq!(told, [2, 4, 6]);
        assert_eq!(arrivals.next(), None, "all was told");
        let now = start + Duration::from_millis(201);
        arrivals.note(&packet(7).header, 100_000, now).unwrap();
        let due = arrivals.next().expect("there is something to tell");
        assert!(due <= now + SHORTEST + SLACK);
        arrivals.prepare(due).unwrap();
        assert!(arrivals.poll_write().is_some());
    }

    #[test]
    fn feedback_on_many_packets_fits_into_a_datagram() {
        let mut arrivals = Arrivals::default();
        let info = stream_info(&codec(), 0, None, Some(3));
        arrivals.listen(Some(&info));
        let start = Instant::now();
        let (mut told, mut number) = (Vec::new(), 0u16);
        // 400 Mbit/s for a fifth of a second, every other packet lost and the rest with jitter.
        for tick in 0..200u32 {
            let now = start + tick * Duration::from_millis(1);
            for nth in 0..40u32 {
                let mut packet = packet(0);
                let value = bytes::Bytes::copy_from_slice(&number.to_be_bytes());
                packet.header.set_extension(3, value).unwrap();
                number += 2;
                let at = now + Duration::from_micros(u64::from(nth * 37 % 900));
                arrivals.note(&packet.header, 1200, at).unwrap();
            }
            arrivals.prepare(now).unwrap();
            while let Some(TaggedPacket { message, .. }) = arrivals.poll_write() {
                let Packet::Rtcp(packets) = message.packet else {
                    continue;
                };
                told.extend(packets.iter().map(|packet| packet.marshal_size()));
            }
        }
        assert!(told.len() >= 18, "{told:?}");
        assert!(told.iter().all(|size| *size <= 1150), "{told:?}");
    }

    #[test]
    fn feedback_takes_a_twentieth_of_what_comes() {
        assert_eq!(interval(0.0), LONGEST);
        assert_eq!(interval(30_000.0), LONGEST);
        assert_eq!(interval(108_800.0), Duration::from_millis(100));
        assert_eq!(interval(2_500_000.0), SHORTEST);
    }
}
