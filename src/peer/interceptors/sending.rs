// SPDX-License-Identifier: MPL-2.0
//! The sending half of the [`MediaPath`]: from the queues to webrtc's interceptors.

use std::time::Instant;

use rtc::interceptor::{
    Attribute, AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket,
};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;

use super::media_path::{BATCH, MediaPath, stream_info};
use crate::peer::outbound::Numbered;
use crate::peer::shared::lock;

impl MediaPath {
    /// Fetches what there is to send.
    pub(super) fn fill(&mut self) {
        let now = self.now();
        self.refresh();
        for ssrc in self.shared.outbound.take_stopped() {
            self.inner.unbind_local_stream(&StreamInfo {
                ssrc,
                ..Default::default()
            });
        }
        for binding in self.shared.outbound.take_bindings() {
            let rtx = binding.codec.rtx_payload_type.map(|_| binding.rtx_ssrc);
            let info = stream_info(&binding.codec, binding.ssrc, rtx, binding.transport_wide);
            self.inner.bind_local_stream(&info);
            self.count(binding.stream, |stats| {
                stats.ssrc = binding.ssrc;
                stats.rtx_ssrc = rtx.unwrap_or_default();
            });
        }
        self.fill_control(now);
        if self.taken < BATCH {
            let mut batch = std::mem::take(&mut self.batch);
            let frames = self
                .shared
                .outbound
                .take(now, BATCH - self.taken, &mut batch);
            frames
                .into_iter()
                .for_each(|stream| self.count(stream, |s| s.frames_sent += 1));
            self.taken += batch.len();
            for Numbered { stream, packet } in batch.drain(..) {
                let size = packet.payload.len() as u64;
                self.count(stream, |stats| {
                    stats.packets_sent += 1;
                    stats.bytes_sent += size;
                });
                self.write(now, Packet::Rtp(packet));
            }
            self.batch = batch;
        }
        while let Some(message) = self.arrivals.poll_write() {
            self.writes.push_back(message);
        }
        while let Some(message) = self.inner.poll_write() {
            self.count_written(&message);
            self.writes.push_back(message);
        }
    }

    fn fill_control(&mut self, now: Instant) {
        let (key_frames, probes, bye) = {
            let mut control = lock(&self.shared.control);
            let bye = std::mem::take(&mut control.bye);
            (
                std::mem::take(&mut control.key_frames),
                std::mem::take(&mut control.probes),
                bye,
            )
        };
        for stream in key_frames {
            let Some(line) = self.lines.get(stream).cloned() else {
                continue;
            };
            let seen = self.primaries.get(stream).copied().flatten();
            let Some(media_ssrc) = seen.or(line.declared.ssrcs.first().copied()) else {
                continue;
            };
            let (sender_ssrc, _) = self.shared.outbound.ssrcs(stream);
            // What the remote did not say that it takes, it does not get.
            let request: Box<dyn rtcp::Packet> = if line.has_feedback("nack pli") {
                self.count(stream, |stats| stats.pli_count += 1);
                Box::new(PictureLossIndication {
                    sender_ssrc,
                    media_ssrc,
                })
            } else if line.has_feedback("ccm fir") {
                self.intra_requests = self.intra_requests.wrapping_add(1);
                self.count(stream, |stats| stats.fir_count += 1);
                Box::new(FullIntraRequest {
                    sender_ssrc,
                    // Zero, as its own SSRC stands in the entry (RFC 5104 section 4.3.1.2).
                    media_ssrc: 0,
                    fir: vec![FirEntry {
                        ssrc: media_ssrc,
                        sequence_number: self.intra_requests,
                    }],
                })
            } else {
                log::debug!(target: "rswebrtc::peer", "stream {stream}: the remote takes no key frame requests");
                continue;
            };
            self.write(now, Packet::Rtcp(vec![request]));
        }
        for stream in probes {
            if let Some(packet) = self.shared.outbound.last_packet(stream, now) {
                self.count(stream, |stats| stats.retransmitted_packets_sent += 1);
                self.write(now, Packet::Rtp(packet));
            }
        }
        if bye {
            self.write_bye(now);
        }
    }

    fn write_bye(&mut self, now: Instant) {
        let streams = (0..self.lines.len()).filter(|stream| self.shared.sends(*stream));
        let sources: Vec<u32> = streams
            .map(|stream| self.shared.outbound.ssrcs(stream).0)
            .collect();
        if let Some(ssrc) = sources.first().copied() {
            let report = rtcp::receiver_report::ReceiverReport {
                ssrc,
                ..Default::default()
            };
            let goodbye = rtcp::goodbye::Goodbye {
                sources,
                ..Default::default()
            };
            self.write(now, Packet::Rtcp(vec![Box::new(report), Box::new(goodbye)]));
        }
        self.bye_left = true;
    }

    fn write(&mut self, now: Instant, packet: Packet) {
        let message = TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(packet),
        };
        if let Err(error) = self.inner.handle_write(message) {
            log::debug!(target: "rswebrtc::peer", "not sent: {error}");
        }
    }

    fn count_written(&mut self, message: &TaggedPacket) {
        match &message.message.packet {
            Packet::Rtcp(packets) => self.tap.written(packets, message.now, &self.routes),
            Packet::Rtp(packet) if message.message.has(&Attribute::Retransmission) => {
                if let Some(stream) = self.shared.outbound.stream_of_any(packet.header.ssrc) {
                    self.count(stream, |stats| stats.retransmitted_packets_sent += 1);
                }
            }
            _ => {}
        }
    }
}
