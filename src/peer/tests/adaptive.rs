// SPDX-License-Identifier: MPL-2.0
//! Congestion control on a virtual clock: an encoder that follows the estimates, over links that
//! carry less than it would like.

use super::harness::{Net, picture};
use super::*;

/// Bytes of payload in a packet.
const PAYLOAD: usize = 1100;

/// What a second of a call came to.
#[derive(Debug, Clone, Copy)]
struct Second {
    /// Bit/s that left: RTP without IP and UDP headers.
    sent: u64,
    /// Longest wait of a packet between encoder and receiver.
    latest: Duration,
}

/// An encoder that makes what it is told to, a frame each 33 ms.
struct Encoder {
    bitrate: u64,
    most: u64,
    /// It makes what it makes, but for key frames.
    deaf: bool,
    debt: f64,
    next: u32,
    pushed: Vec<Duration>,
    key_due: bool,
    key_frames: u32,
    dropped: u32,
}

impl Encoder {
    fn new(bitrate: u64, most: u64) -> Self {
        Self {
            bitrate,
            most,
            deaf: false,
            debt: 0.0,
            next: 0,
            pushed: Vec::new(),
            key_due: true,
            key_frames: 0,
            dropped: 0,
        }
    }

    /// Runs for `seconds`, and tells of each.
    fn run(&mut self, net: &mut Net, seconds: u32) -> Vec<Second> {
        let begin = net.now();
        let mut told = Vec::new();
        for second in 0..seconds {
            let (rtp, arrived) = (net.there.rtp_bytes, net.arrived.len());
            for frame in 0..30 {
                let at = begin + Duration::from_micros(u64::from(second * 30 + frame) * 33_333);
                net.advance(at);
                while let Ok(event) = net.sender.events.try_recv() {
                    match event {
                        PeerEvent::Estimate(estimate) if !self.deaf => {
                            self.bitrate = estimate.media.min(self.most);
                        }
                        PeerEvent::KeyFrameRequest(_) => self.key_due = true,
                        _ => {}
                    }
                }
                self.frame(net, at);
            }
            let waits = net.arrived[arrived..].iter().map(|packet| {
                let pushed = self.pushed[packet.number() as usize];
                packet.at - pushed
            });
            told.push(Second {
                sent: (net.there.rtp_bytes - rtp) * 8,
                latest: waits.max().unwrap_or_default(),
            });
        }
        told
    }

    fn frame(&mut self, net: &mut Net, at: Duration) {
        let key = std::mem::take(&mut self.key_due);
        self.key_frames += u32::from(key);
        let frame = self.bitrate as f64 / 8.0 / 30.0;
        let size = if key {
            5.0 * frame
        } else {
            frame - self.debt * 0.1
        };
        self.debt += size - frame;
        let packets = (size / PAYLOAD as f64).round().max(1.0) as u32;
        let last = (size as usize).clamp(8, PAYLOAD * packets as usize) / packets as usize;
        let now = net.instant();
        let frame = picture(self.next, packets, last.max(8), at, key);
        let pushed = net.sender.shared.outbound.push(0, frame, now);
        self.pushed.extend((0..packets).map(|_| at));
        self.next += packets;
        match pushed {
            crate::peer::outbound::Pushed::Dropped { ask } => {
                self.dropped += 1;
                self.key_due |= ask;
            }
            crate::peer::outbound::Pushed::Replaced(frames) => self.dropped += frames as u32,
            _ => {}
        }
        // As the handle does.
        net.advance(at);
    }
}

fn net(there: &str, limits: BitrateLimits, seed: u64) -> Net {
    let net = Net::new(&[vp8()], there, "delay=25ms", seed);
    net.sender.shared.set_bitrate_limits(limits);
    net
}

fn limits(start: u64) -> BitrateLimits {
    BitrateLimits {
        start,
        ..BitrateLimits::default()
    }
}

fn mean(seconds: &[Second], of: impl Fn(&Second) -> u64) -> u64 {
    seconds.iter().map(of).sum::<u64>() / seconds.len().max(1) as u64
}

#[test]
fn a_bottleneck_is_filled_and_its_queue_stays_short() {
    let mut net = net("rate=2M queue=200ms delay=25ms", limits(500_000), 1);
    let mut encoder = Encoder::new(500_000, 8_000_000);
    let seconds = encoder.run(&mut net, 30);
    assert!(mean(&seconds[5..], |s| s.sent) > 1_750_000);
    let late = seconds[5..]
        .iter()
        .filter(|s| s.latest > Duration::from_millis(150));
    assert!(late.count() <= 3);
}

#[test]
fn a_drop_of_the_bandwidth_is_survived_and_recovered_from() {
    let there = "rate=2M queue=200ms delay=25ms; 10s: rate=700k; 20s: rate=2M";
    let mut net = net(there, limits(500_000), 2);
    let mut encoder = Encoder::new(500_000, 8_000_000);
    let seconds = encoder.run(&mut net, 35);
    assert!(
        seconds[13..20]
            .iter()
            .all(|s| s.latest < Duration::from_millis(400))
    );
    assert!(mean(&seconds[13..20], |s| s.sent) > 500_000);
    assert!(mean(&seconds[26..], |s| s.sent) > 1_700_000);
}

#[test]
fn random_loss_is_no_reason_to_send_less() {
    let mut net = net("rate=3M queue=200ms delay=25ms loss=5%", limits(500_000), 3);
    let mut encoder = Encoder::new(500_000, 8_000_000);
    let seconds = encoder.run(&mut net, 30);
    assert!(mean(&seconds[8..], |s| s.sent) > 2_300_000);
}

#[test]
fn a_film_on_a_wide_path_loses_nothing_whatever_the_start() {
    for there in [
        "rate=100M queue=200ms delay=5ms",
        "rate=100M queue=200ms delay=20ms jitter=15ms",
        "delay=2ms loss=1%",
    ] {
        let mut net = net(there, limits(500_000), 4);
        let mut film = Encoder::new(8_000_000, 8_000_000);
        film.deaf = true;
        let seconds = film.run(&mut net, 20);
        assert_eq!(film.dropped, 0, "{there}");
        let late = seconds.iter().map(|s| s.latest).max().unwrap();
        assert!(late < Duration::from_millis(250), "{there}: {late:?}");
        let made = film.pushed.len() as u64;
        assert!(
            net.there.media >= made - 60,
            "{there}: {:?} of {made}",
            net.there
        );
    }
}

#[test]
fn a_film_on_a_narrow_path_drops_frames_and_does_not_fall_behind() {
    let mut net = net("rate=3M queue=200ms delay=25ms", limits(2_000_000), 5);
    let mut film = Encoder::new(8_000_000, 8_000_000);
    film.deaf = true;
    let seconds = film.run(&mut net, 20);
    assert!(film.dropped > 100);
    assert!(film.key_frames < 40);
    let latest = |seconds: &[Second]| seconds.iter().map(|s| s.latest).max().unwrap();
    // A key frame of 166 kB takes 440 ms of this path; 400 ms may wait behind it, and 200 ms on the
    // way. More while the limit is being found, and by as much as the estimate is too high at times.
    assert!(latest(&seconds) < Duration::from_secs(2));
    assert!(latest(&seconds[5..]) < Duration::from_millis(1300));
    assert!(mean(&seconds[3..], |s| s.sent) > 2_500_000);
}

#[test]
fn a_receiver_without_transport_wide_feedback_is_not_flooded_either() {
    let lines = |direction| {
        let mut line = line(direction, 0, vec![vp8()]);
        line.extensions = vec![(1, HeaderExtension::Mid), (2, HeaderExtension::AbsSendTime)];
        for codec in &mut line.codecs {
            codec.feedback.retain(|name| name != "transport-cc");
        }
        vec![line]
    };
    let mut net = Net::of_lines(
        lines(Direction::SendOnly),
        lines(Direction::RecvOnly),
        "rate=1M queue=200ms delay=25ms",
        "delay=25ms",
        6,
    );
    net.sender.shared.set_bitrate_limits(limits(2_000_000));
    let mut encoder = Encoder::new(2_000_000, 8_000_000);
    let seconds = encoder.run(&mut net, 40);
    assert_eq!(net.there.feedback + net.back.feedback, 0);
    let sent = mean(&seconds[20..], |s| s.sent);
    assert!((600_000..1_200_000).contains(&sent), "{sent}");
}
