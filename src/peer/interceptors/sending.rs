// SPDX-License-Identifier: MPL-2.0
//! The sending half of the [`MediaPath`]: from the queues to SRTP.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::interceptor::Packet;
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtp;

use super::congestion::Purpose;
use super::history::Resending;
use super::media_path::{BATCH, MediaPath};
use super::nack::AnswerTime;
use super::receiver_reports::BLOCKS;
use super::spare;
use crate::media::header_extension::HeaderExtension;
use crate::peer::outbound::{Binding, Numbered};
use crate::peer::shared::lock;
use crate::peer::{PathStats, PeerEvent};

/// Packets of one stream that leave together, so that they are counted once.
#[derive(Default)]
struct Run {
    /// SSRC of the first, which is media.
    ssrc: u32,
    timestamp: u32,
    packets: u32,
    octets: u64,
    /// Of these, FEC.
    fec: u32,
    /// What left as `ssrc`.
    own: (u32, u32),
}

impl Run {
    fn add(&mut self, packet: &rtp::Packet, fec: bool) {
        if self.packets == 0 {
            self.ssrc = packet.header.ssrc;
        }
        let octets = packet.payload.len();
        self.packets += 1;
        self.fec += u32::from(fec);
        self.octets += octets as u64;
        if packet.header.ssrc == self.ssrc {
            self.timestamp = packet.header.timestamp;
            let (packets, before) = self.own;
            self.own = (packets + 1, before.wrapping_add(octets as u32));
        }
    }
}

impl MediaPath {
    /// Fetches what there is to send.
    pub(super) fn fill(&mut self, now: Instant) {
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
        for (ssrc, goodbye) in self.shared.outbound.take_stopped() {
            self.congestion.unbind(ssrc);
            self.redundant.bind(ssrc, None);
            self.history.forget(ssrc);
            self.sender_reports.unbind(ssrc);
            if goodbye {
                self.say_goodbye(ssrc, vec![ssrc], now);
            }
        }
        for binding in self.shared.outbound.take_bindings() {
            let rtx = binding.codec.rtx_payload_type.map(|_| binding.rtx_ssrc);
            self.sender_reports
                .bind(binding.ssrc, binding.codec.clock_rate);
            let mut feedback = binding.codec.feedback.iter();
            let numbered = feedback.any(|name| name == "transport-cc");
            let number = binding.transport_wide.filter(|_| numbered);
            let fec = binding.fec.as_ref().map(|_| binding.fec_ssrc);
            for ssrc in [Some(binding.ssrc), rtx, fec].into_iter().flatten() {
                self.congestion.bind(ssrc, binding.ssrc, number);
            }
            self.redundant.bind(binding.ssrc, binding.fec.as_ref());
            self.keep_for_repair(&binding, rtx);
            self.count_own(binding.stream, |stats| {
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
            rid: config.layer.as_ref().and_then(|layer| {
                let id = config.extension(HeaderExtension::RepairedRid)?;
                let rid = Bytes::copy_from_slice(layer.rid.as_bytes());
                (!rid.is_empty()).then_some((id, rid))
            }),
            media_rid: config.extension(HeaderExtension::Rid),
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
        let path = self.shared.path_round_trip();
        self.congestion.prepare(flowing, path, now);
        self.fill_repairs(now);
        let mut batch = spare::batch();
        let taken = self.shared.outbound.take(
            now,
            &mut self.congestion.pacer,
            BATCH - self.taken,
            &mut batch,
        );
        for stream in &taken.frames {
            self.count_own(*stream, |stats| stats.frames_sent += 1);
        }
        self.taken += batch.len();
        let (mut left, mut run) = (0, Run::default());
        let mut packets = batch.drain(..).peekable();
        while let Some(Numbered {
            stream,
            packet,
            fec,
        }) = packets.next()
        {
            let next = packets.peek().filter(|next| next.stream == stream);
            let (goes_on, media_goes_on) = (next.is_some(), next.is_some_and(|n| !n.fec));
            run.add(&packet, fec);
            // A repair is not repaired.
            if !fec {
                self.history.sent(&packet, now);
            }
            left += self.leave(packet, !media_goes_on, now);
            if !goes_on {
                self.count_sent(stream, &std::mem::take(&mut run), now);
            }
        }
        drop(packets);
        spare::keep_batch(batch);
        self.congestion.left_behind(&taken, now);
        // Repairs that wait hold up video, up to half of the pace, but no audio.
        if self.history.has_waiting() {
            let next = self.congestion.pacer.next(now);
            self.congestion.due = Some(taken.due.map_or(next, |due| due.min(next)));
        }
        // FEC, which comes with what it protects.
        let more = left.saturating_sub(taken.charged);
        if more > 0 {
            self.congestion.pacer.left(more, now);
        }
        self.fill_probe(now);
    }

    /// Counts what left of `stream`.
    fn count_sent(&mut self, stream: usize, run: &Run, now: Instant) {
        self.count_own(stream, |stats| {
            stats.fec_packets_sent += u64::from(run.fec);
            stats.packets_sent += u64::from(run.packets);
            stats.bytes_sent += run.octets;
        });
        self.sender_reports
            .left(run.ssrc, run.own, run.timestamp, now);
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
                self.count_own(stream, |stats| stats.probe_packets_sent += 1);
            }
            let size = self.resend(packet, Purpose::Probe, now);
            self.congestion.pacer.left(size, now);
        }
        self.congestion.come_for_padding(now);
    }

    /// Takes what reports there are.
    fn collect(&mut self, now: Instant) {
        if let Err(error) = self.arrivals.prepare(now) {
            log::debug!(target: "rswebrtc::peer", "no feedback: {error}");
        }
        while let Some(message) = self.arrivals.poll_write() {
            self.writes.push_back(message.message.packet);
        }
        let sources = self.sources.iter_mut();
        let sources = sources.map(|(ssrc, source)| {
            let jitter = source.jitter();
            (*ssrc, &mut source.reception, jitter)
        });
        let blocks = self.receiver_reports.poll(sources, now);
        for blocks in blocks.chunks(BLOCKS) {
            let report = ReceiverReport {
                ssrc: self.shared.outbound.ssrcs(0).0,
                reports: blocks.to_vec(),
                ..Default::default()
            };
            self.write(now, Packet::Rtcp(vec![Box::new(report)]));
        }
        for report in self.sender_reports.poll(now) {
            self.write(now, Packet::Rtcp(vec![Box::new(report)]));
        }
    }

    /// A packet leaves for the first time: the last thing that happens to it. `last` of those that
    /// leave together. Gives the bytes that leave.
    fn leave(&mut self, mut packet: rtp::Packet, last: bool, now: Instant) -> usize {
        let own = self.congestion.purpose(packet.header.ssrc);
        let repair = self
            .redundant
            .leaves(&mut packet)
            .then_some(Purpose::Repair);
        let purpose = repair.unwrap_or(own);
        let size = self.congestion.departs(&mut packet, purpose, now);
        if own == Purpose::Media {
            self.history.left(&packet, last);
        }
        self.writes.push_back(Packet::Rtp(packet));
        size
    }

    /// `packet` leaves once more, by RTX or as it was. Gives the bytes that leave.
    fn resend(&mut self, mut packet: rtp::Packet, purpose: Purpose, now: Instant) -> usize {
        let ssrc = packet.header.ssrc;
        if purpose == Purpose::Repair
            && let Some(stream) = self.shared.outbound.stream_of_any(ssrc)
        {
            self.count_own(stream, |stats| stats.retransmitted_packets_sent += 1);
        }
        let size = if self.congestion.purpose(ssrc) == Purpose::Media {
            self.congestion.repeats(&packet, now)
        } else {
            self.congestion.departs(&mut packet, purpose, now)
        };
        self.writes.push_back(Packet::Rtp(packet));
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
            let all = lines.filter_map(|line| lock(&line.sent).round_trip_time);
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
        for (stream, output) in key_frames {
            let primary = || self.primaries.get(stream).copied().flatten();
            let of_output = self.current_layer(stream, output);
            let seen = of_output.or_else(|| primary().filter(|_| output == 0));
            let declared = || {
                let line = self.lines.get(stream).filter(|_| output == 0)?;
                line.declared.ssrcs.first().copied()
            };
            if let Some(media_ssrc) = seen.or_else(declared) {
                self.write_key_frame_request(stream, media_ssrc, now);
            }
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

    /// Asks for a key frame of `media_ssrc`, which is of `stream`.
    pub(super) fn write_key_frame_request(&mut self, stream: usize, media_ssrc: u32, now: Instant) {
        let Some(line) = self.lines.get(stream).cloned() else {
            return;
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
            return;
        };
        self.write(now, Packet::Rtcp(vec![request]));
    }

    fn write_bye(&mut self, now: Instant) {
        let streams = (0..self.lines.len()).filter(|stream| self.shared.sends(*stream));
        let sources: Vec<u32> = streams
            .map(|stream| self.shared.outbound.ssrcs(stream).0)
            .collect();
        if let Some(ssrc) = sources.first().copied() {
            self.say_goodbye(ssrc, sources, now);
        }
    }

    fn say_goodbye(&mut self, ssrc: u32, sources: Vec<u32>, now: Instant) {
        let report = ReceiverReport {
            ssrc,
            ..Default::default()
        };
        let goodbye = rtcp::goodbye::Goodbye {
            sources,
            ..Default::default()
        };
        self.write(now, Packet::Rtcp(vec![Box::new(report), Box::new(goodbye)]));
    }

    /// RTCP of ours leaves.
    pub(super) fn write(&mut self, now: Instant, packet: Packet) {
        if let Packet::Rtcp(packets) = &packet {
            self.tap.written(packets, now, &self.routes);
        }
        self.writes.push_back(packet);
    }
}
