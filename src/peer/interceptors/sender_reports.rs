// SPDX-License-Identifier: MPL-2.0
//! Sender reports (RFC 3550 section 6.4.1).
//!
//! webrtc's interceptor takes each packet into a queue of its own to look at it. Here packets that
//! leave together are counted together, where they are.

use std::time::{Duration, Instant};

use rtc::rtcp::sender_report::SenderReport;
use rtc::shared::time::SystemInstant;

/// From one report to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// With the next frame, but this much later at most.
const SLACK: Duration = Duration::from_millis(50);
/// Streams of a call at most; there is one for each m-line.
const MAX_STREAMS: usize = 256;

/// What left of one stream.
struct Sent {
    ssrc: u32,
    clock_rate: u32,
    packets: u32,
    octets: u32,
    /// RTP time of the newest frame, and when its first packet left.
    newest: Option<(u32, SystemInstant, Instant)>,
}

/// See the module.
#[derive(Default)]
pub(super) struct SenderReports {
    streams: Vec<Sent>,
    /// The next reports; none before something was sent, nor long after (section 6.4).
    due: Option<Instant>,
    /// Whether something left since the last reports, and between these and the ones before.
    active: (bool, bool),
}

impl SenderReports {
    /// What leaves as `ssrc` is reported on from now on.
    pub(super) fn bind(&mut self, ssrc: u32, clock_rate: u32) {
        // RFC 3550 section 6.4.1: counters begin anew with another SSRC only.
        if let Some(known) = self.streams.iter_mut().find(|sent| sent.ssrc == ssrc) {
            known.clock_rate = clock_rate;
            known.newest = None;
            return;
        }
        if self.streams.len() < MAX_STREAMS {
            self.streams.push(Sent {
                ssrc,
                clock_rate,
                packets: 0,
                octets: 0,
                newest: None,
            });
        }
    }

    /// Nothing more leaves as `ssrc`.
    pub(super) fn unbind(&mut self, ssrc: u32) {
        self.streams.retain(|stream| stream.ssrc != ssrc);
    }

    /// So many packets of `ssrc` left, with so many octets of payload, the last one of RTP time
    /// `timestamp`.
    pub(super) fn left(
        &mut self,
        ssrc: u32,
        (packets, octets): (u32, u32),
        timestamp: u32,
        now: Instant,
    ) {
        let mut streams = self.streams.iter_mut();
        let Some(stream) = streams.find(|stream| stream.ssrc == ssrc) else {
            return;
        };
        // Both wrap (RFC 3550 section 6.4.1).
        stream.packets = stream.packets.wrapping_add(packets);
        stream.octets = stream.octets.wrapping_add(octets);
        // By its first packet: the rest of a large frame leaves later, at the same RTP time.
        if stream.newest.is_none_or(|(newest, ..)| newest != timestamp) {
            stream.newest = Some((timestamp, SystemInstant::now(now), now));
        }
        self.active.0 = true;
        self.due.get_or_insert(now + INTERVAL);
    }

    /// When to come for [`Self::poll`] if nothing else is a reason to.
    pub(super) fn next(&self) -> Option<Instant> {
        Some(self.due? + SLACK)
    }

    /// The reports that leave now.
    pub(super) fn poll(&mut self, now: Instant) -> Vec<SenderReport> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let (now_active, before) = self.active;
        self.active = (false, now_active);
        self.due = (now_active || before).then(|| now + INTERVAL);
        let report = |stream: &Sent| {
            let (timestamp, clock, at) = stream.newest?;
            let since = now.saturating_duration_since(at).as_secs_f64();
            let ticks = (since * f64::from(stream.clock_rate)) as u64;
            Some(SenderReport {
                ssrc: stream.ssrc,
                ntp_time: clock.ntp(now),
                rtp_time: timestamp.wrapping_add(ticks as u32),
                packet_count: stream.packets,
                octet_count: stream.octets,
                ..Default::default()
            })
        };
        self.streams.iter().filter_map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_left_and_the_rtp_time_of_now() {
        let mut reports = SenderReports::default();
        let start = Instant::now();
        reports.bind(7, 90_000);
        reports.bind(8, 48_000);
        assert_eq!(reports.next(), None, "who sends nothing reports nothing");
        reports.left(7, (2, 2000), 1000, start);
        reports.left(9, (1, 1), 0, start);
        // The rest of the frame does not move its time.
        let later = start + Duration::from_millis(20);
        reports.left(7, (1, u32::MAX), 1000, later);
        assert_eq!(reports.next(), Some(start + INTERVAL + SLACK));
        assert!(reports.poll(later).is_empty());
        let now = start + INTERVAL;
        let told = reports.poll(now);
        assert_eq!(told.len(), 1, "stream 8 sent nothing");
        assert_eq!((told[0].ssrc, told[0].rtp_time), (7, 1000 + 90_000));
        assert_eq!((told[0].packet_count, told[0].octet_count), (3, 1999));
        assert_eq!(reports.next(), Some(now + INTERVAL + SLACK));
        let again = reports.poll(now + INTERVAL);
        let passed = again[0].ntp_time - told[0].ntp_time;
        assert!(passed.abs_diff(1 << 32) < 1 << 20, "a second: {passed}");
        assert!(!reports.poll(now + 2 * INTERVAL).is_empty());
        assert_eq!(reports.next(), None, "nothing left for two intervals");
        reports.left(7, (1, 1), 2000, now + 3 * INTERVAL);
        assert!(reports.next().is_some());
        reports.unbind(7);
        assert!(reports.poll(now + 4 * INTERVAL).is_empty());
    }
}
