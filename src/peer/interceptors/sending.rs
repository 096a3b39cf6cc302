// SPDX-License-Identifier: MPL-2.0
//! The sending half of the [`MediaPath`]: from the queues to webrtc's interceptors.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;

use super::congestion::Purpose;
use super::history::Resending;
use super::media_path::{BATCH, MediaPath, stream_info};
use super::nack::AnswerTime;
use crate::media::header_extension::HeaderExtension;
use crate::peer::outbound::{Binding, Numbered};
use crate::peer::shared::lock;
use crate::peer::{PathStats, PeerEvent};

impl MediaPath {
    /// Fetches what there is to send.
    pub(super) fn fill(&mut self) {
        let now = self.now();
        self.refresh();
        self.bind_own(now);
        self.fill_requests(now);
        self.fill_control(now);
        self.collect(now);
        if self.taken < BATCH {
            self.fill_media(now);
        }
        self.report(now);
    }

    /// Takes up the streams that were agreed, or given up, since.
    fn bind_own(&mut self, now: Instant) {
        for ssrc in self.shared.outbound.take_stopped() {
            self.congestion.unbind(ssrc);
            self.redundant.bind(ssrc, None);
            self.history.forget(ssrc);
            self.inner.unbind_local_stream(&StreamInfo {
                ssrc,
                ..Default::default()
            });
        }
        for binding in self.shared.outbound.take_bindings() {
            let rtx = binding.codec.rtx_payload_type.map(|_| binding.rtx_ssrc);
            let info = stream_info(&binding.codec, binding.ssrc, rtx, binding.transport_wide);
            self.inner.bind_local_stream(&info);
            let numbered = info.rtp_header_extensions.first();
            let number = numbered.and_then(|extension| u8::try_from(extension.id).ok());
            let fec = binding.fec.as_ref().map(|_| binding.fec_ssrc);
            for ssrc in [Some(binding.ssrc), rtx, fec].into_iter().flatten() {
                self.congestion.bind(ssrc, binding.ssrc, number);
            }
            self.redundant.bind(binding.ssrc, binding.fec.as_ref());
            self.keep_for_repair(&binding, rtx);
            self.count(binding.stream, |stats| {
                stats.ssrc = binding.ssrc;
                stats.rtx_ssrc = rtx.unwrap_or_default();
            });
        }
        let (limits, another_path) = {
            let mut control = lock(&self.shared.control);
            let another_path = std::mem::take(&mut control.another_path);
            (control.limits.take(), another_path)
        };
        if let Some(limits) = limits {
            self.congestion.set_limits(limits, now);
        }
        if another_path {
            self.congestion.another_path(now);
            self.answers = AnswerTime::default();
        }
    }

    /// Keeps what is sent on this stream, if the remote may ask for it again.
    fn keep_for_repair(&mut self, binding: &Binding, rtx: Option<u32>) {
        let answers = binding.codec.feedback.iter().any(|f| f == "nack");
        let config = self.lines.get(binding.stream).map(|line| &line.config);
        let Some(config) = config.filter(|_| answers) else {
            self.history.unbind(binding.ssrc);
            return;
        };
        let mid = Bytes::copy_from_slice(config.mid.as_bytes());
        let resending = Resending {
            rtx: rtx.zip(binding.codec.rtx_payload_type),
            mid: config
                .extension(HeaderExtension::Mid)
                .filter(|_| !mid.is_empty())
                .map(|id| (id, mid)),
            send_time: config.extension(HeaderExtension::AbsSendTime),
        };
        self.history.bind(binding.ssrc, resending);
    }

    /// Sends repairs that may leave by now.
    fn fill_repairs(&mut self, now: Instant) {
        while self.history.has_waiting() {
            // Without congestion control the pace is that of media alone.
            let pacer = &self.congestion.pacer;
            let paced = !pacer.is_free() && !pacer.may_leave(now);
            if self.taken >= BATCH || paced || !self.congestion.is_turn_of_repairs() {
                return;
            }
            let Some(packet) = self.history.next(now) else {
                break;
            };
            self.taken += 1;
            let size = self.resend(packet, Purpose::Repair, now);
            self.congestion.repaired(size, now);
        }
    }

    /// Takes what may leave by now, repairs first: they are late already.
    fn fill_media(&mut self, now: Instant) {
        let flowing = !self.congestion.is_up() && self.shared.outbound.is_flowing(now);
        self.congestion.prepare(flowing, now);
        self.fill_repairs(now);
        let mut batch = std::mem::take(&mut self.batch);
        let taken = self.shared.outbound.take(
            now,
            &mut self.congestion.pacer,
            BATCH - self.taken,
            &mut batch,
        );
        for stream in &taken.frames {
            self.count(*stream, |s| s.frames_sent += 1);
        }
        self.taken += batch.len();
        for Numbered {
            stream,
            packet,
            fec,
        } in batch.drain(..)
        {
            let size = packet.payload.len() as u64;
            self.count(stream, |stats| {
                stats.fec_packets_sent += u64::from(fec);
                stats.packets_sent += 1;
                stats.bytes_sent += size;
            });
            // A repair is not repaired.
            if !fec {
                self.history.sent(&packet, now);
            }
            self.write(now, Packet::Rtp(packet));
        }
        self.batch = batch;
        self.congestion.left_behind(&taken, now);
        // Repairs that wait hold up video, up to half of the pace, but no audio.
        if self.history.has_waiting() {
            let next = self.congestion.pacer.next(now);
            self.congestion.due = Some(taken.due.map_or(next, |due| due.min(next)));
        }
        let left = self.collect(now);
        // FEC, which comes with what it protects.
        let more = left.saturating_sub(taken.charged);
        if more > 0 {
            self.congestion.pacer.left(more, now);
        }
        self.fill_probe(now);
    }

    /// Repeats what was sent while a probe is under way and there is no media to make it of. Where
    /// the remote has no RTX, media alone is sent faster: padding in the numbers of the media
    /// itself is a hole to receivers that leave it out.
    fn fill_probe(&mut self, now: Instant) {
        while self.congestion.wants_padding(now) {
            let history = &mut self.history;
            let mut media = self.congestion.media();
            let Some(packet) = media.find_map(|ssrc| history.probe(ssrc, now)) else {
                return;
            };
            drop(media);
            if let Some(stream) = self.shared.outbound.stream_of_any(packet.header.ssrc) {
                self.count(stream, |stats| stats.probe_packets_sent += 1);
            }
            let size = self.resend(packet, Purpose::Probe, now);
            self.congestion.pacer.left(size, now);
        }
        self.congestion.come_for_padding(now);
    }

    /// Takes what the interceptors inside have ready. Gives the bytes of RTP that leave.
    fn collect(&mut self, now: Instant) -> usize {
        let mut left = 0;
        while let Some(message) = self.arrivals.poll_write() {
            self.writes.push_back(message);
        }
        while let Some(message) = self.reports.poll_write() {
            self.writes.push_back(message);
        }
        while let Some(message) = self.inner.poll_write() {
            left += self.depart(message, None, now);
        }
        left
    }

    /// `packet` leaves once more, by RTX or as it was.
    fn resend(&mut self, packet: rtc::rtp::Packet, purpose: Purpose, now: Instant) -> usize {
        let message = TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(Packet::Rtp(packet)),
        };
        self.depart(message, Some(purpose), now)
    }

    /// The last thing that happens to a packet of ours; gives the bytes that leave if it is RTP.
    pub(super) fn depart(
        &mut self,
        mut message: TaggedPacket,
        purpose: Option<Purpose>,
        now: Instant,
    ) -> usize {
        let mut size = 0;
        match &mut message.message.packet {
            Packet::Rtcp(packets) => self.tap.written(packets, message.now, &self.routes),
            Packet::Rtp(packet) => {
                let ssrc = packet.header.ssrc;
                if purpose == Some(Purpose::Repair)
                    && let Some(stream) = self.shared.outbound.stream_of_any(ssrc)
                {
                    self.count(stream, |stats| stats.retransmitted_packets_sent += 1);
                }
                let own = self.congestion.purpose(ssrc);
                let is_media = own == Purpose::Media;
                if purpose.is_some() && is_media {
                    size = self.congestion.repeats(packet, now);
                } else {
                    let repair = self.redundant.leaves(packet).then_some(Purpose::Repair);
                    let purpose = purpose.or(repair).unwrap_or(own);
                    size = self.congestion.departs(packet, purpose, now);
                    if is_media {
                        self.history.left(packet);
                    }
                }
            }
            _ => {}
        }
        self.writes.push_back(message);
        size
    }

    /// Tells what the path carries, when it is time to.
    fn report(&mut self, now: Instant) {
        let (estimate, stats) = self.congestion.report(now);
        if let Some(stats) = stats {
            let (loss, round_trip) = self.path_loss(&stats);
            self.shared.outbound.adapt_fec(loss, round_trip);
            *lock(&self.shared.path) = stats;
        }
        if let Some(estimate) = estimate {
            self.shared.events.tell(PeerEvent::Estimate(estimate));
        }
    }

    /// Part of the packets that the path loses, if it is estimated, and its round trip.
    fn path_loss(&self, stats: &PathStats) -> (Option<f64>, Option<Duration>) {
        let estimate = stats.estimate.as_ref();
        let reported = || {
            let lines = self.lines.iter();
            let all = lines.filter_map(|line| lock(&line.stats).round_trip_time);
            all.min_by(f64::total_cmp).map(Duration::from_secs_f64)
        };
        (
            estimate.map(|estimate| estimate.loss),
            stats.round_trip.or_else(reported),
        )
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
            let ssrc = self.shared.outbound.repeat_last(stream, now);
            if let Some(packet) = ssrc.and_then(|ssrc| self.history.last(ssrc)) {
                self.resend(packet, Purpose::Repair, now);
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
    }

    pub(super) fn write(&mut self, now: Instant, packet: Packet) {
        let message = TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(packet),
        };
        if let Err(error) = self.inner.handle_write(message) {
            log::debug!(target: "rswebrtc::peer", "not sent: {error}");
        }
    }
}
