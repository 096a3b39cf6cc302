// SPDX-License-Identifier: MPL-2.0
//! What a remote may say that makes no sense, and remotes that say little.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use impaired_link::Random;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk,
    SymbolSizeTypeTcc, SymbolTypeTcc, TransportLayerCc,
};

use super::super::{Bandwidth, Departure};
use super::receiver::feedback;
use super::simulation::limits;

const MS: Duration = Duration::from_millis(1);

fn packet(number: Option<u16>) -> Departure {
    Departure {
        number,
        size: 1200,
        probe: None,
    }
}

fn sane(bandwidth: &mut Bandwidth, now: Instant) {
    let target = bandwidth.target();
    assert!((30_000..=8_000_000).contains(&target), "{target}");
    let loss = bandwidth.loss_fraction();
    assert!((0.0..=1.0).contains(&loss), "{loss}");
    if let Some(probe) = bandwidth.poll_probe(now) {
        assert!(probe.rate > 0 && probe.bytes < 1_000_000, "{probe:?}");
    }
    for _ in 0..3 {
        if bandwidth.poll_timeout().is_some_and(|at| at <= now) {
            bandwidth.handle_timeout(now);
        }
    }
    assert!(bandwidth.poll_timeout().is_none_or(|at| at > now));
}

fn any_symbol(random: &mut Random) -> SymbolTypeTcc {
    SymbolTypeTcc::from((random.bits() % 4) as u16)
}

fn any_feedback(random: &mut Random, near: u16) -> TransportLayerCc {
    let base = match random.bits() % 3 {
        0 => random.bits() as u16,
        1 => near.wrapping_sub((random.bits() % 50) as u16),
        _ => near.wrapping_sub((random.bits() % 2000) as u16),
    };
    let chunks = random.bits() % 20;
    let delta = |random: &mut Random| match random.bits() % 5 {
        0 => i64::MAX,
        1 => i64::MIN,
        2 => random.bits() as i64,
        _ => (random.bits() % 65_536) as i64 * 250 - 8_192_000,
    };
    TransportLayerCc {
        base_sequence_number: base,
        packet_status_count: random.bits() as u16,
        reference_time: random.bits() as u32,
        packet_chunks: (0..chunks)
            .map(|_| {
                if random.bits().is_multiple_of(2) {
                    PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                        type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                        packet_status_symbol: any_symbol(random),
                        run_length: random.bits() as u16,
                    })
                } else {
                    PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                        type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                        symbol_size: SymbolSizeTypeTcc::TwoBit,
                        symbol_list: (0..7).map(|_| any_symbol(random)).collect(),
                    })
                }
            })
            .collect(),
        recv_deltas: (0..random.bits() % 200)
            .map(|_| RecvDelta {
                type_tcc_packet: SymbolTypeTcc::PacketReceivedLargeDelta,
                delta: delta(random),
            })
            .collect(),
        ..TransportLayerCc::default()
    }
}

#[test]
fn nonsense_does_no_harm() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut now = Instant::now();
        let mut bandwidth = Bandwidth::new(limits(30_000, 500_000, 8_000_000));
        bandwidth.connected(now);
        let mut number = 0u16;
        for _ in 0..2000 {
            now += MS * (random.bits() % 30) as u32;
            match random.bits() % 12 {
                0..5 => {
                    number = number.wrapping_add(1);
                    bandwidth.sent(packet(Some(number)), now);
                }
                5 => bandwidth.sent(packet(Some(random.bits() as u16)), now),
                6 => bandwidth.sent(packet(None), now),
                7 => bandwidth.loss(f64::from_bits(random.bits()), random.bits(), now),
                8 => bandwidth.remote_estimate(random.bits(), now),
                9 => bandwidth.demand(random.bits(), random.bits() as usize, now),
                10 => bandwidth.round_trip(Duration::from_micros(random.bits()), now),
                _ => bandwidth.feedback(&any_feedback(&mut random, number), now),
            }
            sane(&mut bandwidth, now);
        }
    }
}

/// What limits that make no sense come to.
#[test]
fn limits_that_contradict_each_other_are_mended() {
    let now = Instant::now();
    for (min, start, max) in [
        (0, 0, 0),
        (5, 3, 1),
        (u64::MAX, 0, u64::MAX),
        (1, u64::MAX, 7),
    ] {
        let mut bandwidth = Bandwidth::new(limits(min, start, max));
        bandwidth.connected(now);
        bandwidth.set_limits(limits(max, min, start), now);
        let target = bandwidth.target();
        assert!(target > 0 && target <= start.max(1), "{target}");
        while bandwidth.poll_probe(now).is_some() {}
    }
}

/// Sends 100 packets a second for `seconds`; each packet arrives 20 ms later, and is reported each
/// 50 ms as `tell` says.
fn steady(
    bandwidth: &mut Bandwidth,
    mut now: Instant,
    seconds: u32,
    mut tell: impl FnMut(&mut Bandwidth, TransportLayerCc, Instant),
) {
    let mut arrived = BTreeMap::new();
    let (mut sent, mut reported) = (0i64, 0i64);
    for tick in 0..seconds * 100 {
        now += 10 * MS;
        bandwidth.sent(packet(Some(65_000u16.wrapping_add(sent as u16))), now);
        arrived.insert(sent, 10 * MS * tick + 20 * MS);
        sent += 1;
        if tick % 5 == 4 {
            let news = feedback(reported, sent - 1, &arrived, 0);
            tell(bandwidth, news, now + 50 * MS);
            reported = sent;
            arrived.clear();
        }
    }
}

#[test]
fn what_was_heard_twice_counts_once() {
    let now = Instant::now();
    let limits = limits(30_000, 900_000, 8_000_000);
    let [mut once, mut twice] = [(); 2].map(|()| Bandwidth::new(limits));
    steady(&mut once, now, 20, |bandwidth, news, now| {
        bandwidth.feedback(&news, now);
    });
    let mut last = None;
    steady(&mut twice, now, 20, |bandwidth, news, now| {
        bandwidth.feedback(&news, now);
        bandwidth.feedback(&news, now);
        if let Some(last) = last.replace(news) {
            bandwidth.feedback(&last, now);
        }
    });
    assert_eq!(once.target(), twice.target());
    assert_eq!(twice.loss_fraction(), 0.0);
}

#[test]
fn the_round_trip_is_that_of_the_newest_packet() {
    let mut bandwidth = Bandwidth::new(limits(30_000, 900_000, 8_000_000));
    steady(&mut bandwidth, Instant::now(), 1, |bandwidth, news, now| {
        bandwidth.feedback(&news, now);
    });
    assert_eq!(bandwidth.last_round_trip(), Some(50 * MS));
    // Transport-wide feedback is newer than any receiver report.
    bandwidth.round_trip(700 * MS, Instant::now());
    assert_eq!(bandwidth.last_round_trip(), Some(50 * MS));
}

/// Reports on 100 packets each second.
fn reports(bandwidth: &mut Bandwidth, now: &mut Instant, seconds: u32, fraction: f64) {
    for _ in 0..seconds {
        for _ in 0..100 {
            *now += 10 * MS;
            let size = (bandwidth.target() / 800) as usize;
            bandwidth.sent(
                Departure {
                    number: None,
                    size,
                    probe: None,
                },
                *now,
            );
        }
        bandwidth.loss(fraction, 100, *now);
    }
}

#[test]
fn receiver_reports_alone_tell_of_loss() {
    let mut now = Instant::now();
    let mut bandwidth = Bandwidth::new(limits(200_000, 500_000, 2_000_000));
    bandwidth.connected(now);
    assert_eq!(bandwidth.target(), 500_000);
    reports(&mut bandwidth, &mut now, 10, 0.01);
    let grown = bandwidth.target();
    assert!(
        (900_000..1_300_000).contains(&grown),
        "8 % a second: {grown}"
    );
    assert!(!bandwidth.congested());
    reports(&mut bandwidth, &mut now, 10, 0.05);
    assert_eq!(bandwidth.target(), grown, "some loss is borne");
    reports(&mut bandwidth, &mut now, 3, 0.3);
    let less = bandwidth.target();
    assert!(less < grown * 7 / 10, "{less}");
    assert!(bandwidth.congested());
    assert!(bandwidth.loss_fraction() > 0.1);
    reports(&mut bandwidth, &mut now, 30, 0.9);
    assert_eq!(bandwidth.target(), 200_000, "never less than the least");
    reports(&mut bandwidth, &mut now, 60, 0.0);
    assert_eq!(bandwidth.target(), 2_000_000);
    assert!(!bandwidth.congested());
}

#[test]
fn the_remotes_estimate_bounds_and_leads() {
    let mut now = Instant::now();
    let mut bandwidth = Bandwidth::new(limits(200_000, 500_000, 2_000_000));
    bandwidth.connected(now);
    bandwidth.remote_estimate(1_500_000, now);
    assert_eq!(bandwidth.target(), 1_500_000, "at first it is all there is");
    bandwidth.remote_estimate(700_000, now);
    assert_eq!(bandwidth.target(), 700_000);
    bandwidth.remote_estimate(1, now);
    assert_eq!(bandwidth.target(), 200_000);
    bandwidth.remote_estimate(0, now);
    assert_eq!(bandwidth.target(), 1_500_000, "zero is no estimate");
    reports(&mut bandwidth, &mut now, 10, 0.0);
    bandwidth.remote_estimate(u64::MAX, now);
    assert!(bandwidth.target() <= 2_000_000);
}

#[test]
fn a_changed_start_begins_anew_and_a_raised_bound_is_probed() {
    let now = Instant::now();
    let mut bandwidth = Bandwidth::new(limits(30_000, 500_000, 900_000));
    bandwidth.connected(now);
    while bandwidth.poll_probe(now).is_some() {}
    let end = now + Duration::from_secs(10);
    steady(&mut bandwidth, now, 10, |bandwidth, news, now| {
        bandwidth.feedback(&news, now);
        while bandwidth.poll_probe(now).is_some() {}
    });
    assert!(bandwidth.target() > 880_000, "{}", bandwidth.target());
    bandwidth.set_limits(limits(30_000, 500_000, 4_000_000), end);
    let probe = bandwidth.poll_probe(end).unwrap();
    assert!((1_500_000..=2_000_000).contains(&probe.rate), "{probe:?}");
    bandwidth.set_limits(limits(30_000, 300_000, 4_000_000), end);
    assert_eq!(bandwidth.target(), 300_000);
    assert_eq!(bandwidth.poll_probe(end).unwrap().rate, 900_000);
}

#[test]
fn a_pause_is_no_silence_of_the_remote() {
    let start = Instant::now();
    let mut bandwidth = Bandwidth::new(limits(30_000, 900_000, 8_000_000));
    steady(&mut bandwidth, start, 10, |bandwidth, news, now| {
        bandwidth.feedback(&news, now);
    });
    let before = bandwidth.target();
    // What tells of the last packet is lost.
    let mut now = start + Duration::from_secs(10);
    bandwidth.sent(packet(Some(0)), now);
    let mut fired = 0;
    while let Some(at) = bandwidth.poll_timeout().filter(|_| fired < 100) {
        bandwidth.handle_timeout(at);
        (now, fired) = (at, fired + 1);
    }
    assert_eq!(fired, 1);
    let after = bandwidth.target();
    assert!(after > before * 7 / 10, "{before} {after}");
    // What is sent after the pause has time to be answered, ...
    now += Duration::from_secs(60);
    bandwidth.sent(packet(Some(1)), now);
    assert!(bandwidth.poll_timeout() >= Some(now + Duration::from_secs(1)));
    // ... and if it is not, less is sent.
    bandwidth.handle_timeout(now + Duration::from_secs(1));
    assert!(bandwidth.target() < after);
}

#[test]
fn a_bound_that_cuts_the_start_does_not_begin_anew() {
    let now = Instant::now();
    let mut bandwidth = Bandwidth::new(limits(30_000, 2_000_000, 8_000_000));
    bandwidth.connected(now);
    let news = |bandwidth: &mut Bandwidth, news, now| {
        bandwidth.feedback(&news, now);
        while bandwidth.poll_probe(now).is_some() {}
    };
    steady(&mut bandwidth, now, 3, news);
    let end = now + Duration::from_secs(3);
    bandwidth.rate.lower(600_000.0, end);
    bandwidth.set_limits(limits(30_000, 2_000_000, 1_000_000), end);
    assert_eq!(bandwidth.target(), 600_000, "below the new bound");
    bandwidth.set_limits(limits(30_000, 2_000_000, 400_000), end);
    assert_eq!(bandwidth.target(), 400_000);
    bandwidth.set_limits(limits(30_000, 2_000_000, 8_000_000), end);
    assert_eq!(bandwidth.target(), 400_000, "the path did not show more");
    bandwidth.set_limits(limits(2_500_000, 2_000_000, 8_000_000), end);
    assert_eq!(bandwidth.target(), 2_500_000);
}
