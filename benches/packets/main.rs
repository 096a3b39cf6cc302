// SPDX-License-Identifier: MPL-2.0
//! What the media path costs, without a network and on a virtual clock.
//!
//!     cargo bench --bench packets
//!
//! Instructions and allocations do not depend on what else the machine does. `--count LEG FRAMES
//! PACKETS` runs one leg, so many frames of so many packets, and says how often timers were due:
//!
//!     valgrind --tool=callgrind --toggle-collect='*SendLeg::send*' packets --count send 1000 30

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use gstwebrtcrs::media::rtp_packet::{OutboundFrame, OutboundPacket};
use gstwebrtcrs::peer::measuring::{Passed, ReceiveLeg, SendLeg};

/// Payload of a packet, bytes.
const PAYLOAD: usize = 1100;
/// Between two frames of 30 a second.
const FRAME: Duration = Duration::from_micros(33_333);
/// Packets of a frame: 2.4, 8 and 185 Mbit/s.
const SIZES: [usize; 3] = [9, 30, 700];
/// The remote tells of what arrived after so many frames.
const REPORTED: u64 = 2;

/// A stream on its way out.
#[derive(Default)]
struct Outward {
    leg: SendLeg,
    frames: u64,
    payload: Bytes,
}

impl Outward {
    fn new() -> Self {
        Self {
            payload: vec![0x41; PAYLOAD].into(),
            ..Self::default()
        }
    }

    fn frame(&self, packets: usize) -> OutboundFrame {
        let numbers = 1..=packets;
        let packets = numbers.map(|nth| OutboundPacket {
            timestamp: self.frames as u32 * 3000,
            marker: nth == packets,
            payload: self.payload.clone(),
            extensions: Vec::new(),
            skipped: 0,
        });
        OutboundFrame {
            key: self.frames == 0,
            packets: packets.collect(),
        }
    }

    /// One frame's time; gives the time that it took.
    fn go(&mut self, packets: usize) -> (Duration, Passed) {
        let frame = self.frame(packets);
        let start = Instant::now();
        let passed = self.leg.send(frame, FRAME);
        let taken = start.elapsed();
        self.frames += 1;
        if self.frames.is_multiple_of(REPORTED) {
            self.leg.feedback();
        }
        (taken, passed)
    }
}

/// One frame's time of a stream that comes in; gives the time that it took.
fn inward(leg: &mut ReceiveLeg, packets: usize) -> (Duration, Passed) {
    let frame = leg.frame(packets);
    let start = Instant::now();
    leg.receive(frame);
    let taken = start.elapsed();
    (taken, leg.pass(FRAME))
}

fn measure(criterion: &mut Criterion) {
    for packets in SIZES {
        let mut group = criterion.benchmark_group("media path");
        group.throughput(Throughput::Elements(packets as u64));
        let mut out = Outward::new();
        group.bench_function(BenchmarkId::new("send", packets), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| out.go(packets).0).sum());
        });
        let Some(mut leg) = ReceiveLeg::new(PAYLOAD) else {
            return;
        };
        group.bench_function(BenchmarkId::new("receive", packets), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| inward(&mut leg, packets).0).sum());
        });
        group.finish();
    }
}

/// Runs one leg, for a profiler.
fn count(leg: &str, frames: u64, packets: usize) {
    let mut total = Passed::default();
    let (mut out, inside) = (Outward::new(), ReceiveLeg::new(PAYLOAD));
    let mut inside = inside.filter(|_| leg == "receive");
    for _ in 0..frames {
        let (_, passed) = match &mut inside {
            Some(leg) => inward(leg, packets),
            None => out.go(packets),
        };
        total.packets += passed.packets;
        total.wakes += passed.wakes;
    }
    println!("{} packets, {} wakes", total.packets, total.wakes);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |nth: usize, usual| {
        let given = arguments.get(nth).and_then(|text| text.parse().ok());
        given.unwrap_or(usual)
    };
    match arguments.first().map(String::as_str) {
        Some("--count") => {
            let leg = arguments.get(1).map_or("send", String::as_str);
            count(leg, number(2, 1000), number(3, 30) as usize);
        }
        // `cargo test` builds and runs benches too: one round shows that they work.
        Some("--bench") => {
            let mut criterion = Criterion::default().configure_from_args();
            measure(&mut criterion);
            criterion.final_summary();
        }
        _ => count("send", 2, 30),
    }
}
