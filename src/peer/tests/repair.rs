// SPDX-License-Identifier: MPL-2.0
//! What is lost on the way is repaired in time, on a virtual clock.

use super::harness::Net;
use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Two links of `conditions`, which are fine at first: no receiver can know what came before the
/// first packet it got.
fn net(codec: &Codec, delay: u64, conditions: &str, seed: u64) -> Net {
    let link = format!("delay={delay}ms; 300ms: {conditions}");
    Net::new(std::slice::from_ref(codec), &link, &link, seed)
}

/// What became of a call.
#[derive(Debug)]
struct Outcome {
    /// Part of the packets that came within the deadline, of those that came late or never.
    in_time: f64,
    duplicates: usize,
    /// Repair packets for each that was lost.
    repairs: f64,
    /// Of the media.
    lost: u64,
}

fn outcome(net: &Net, pushed: &[Duration], delay: u64, deadline: u64) -> Outcome {
    let mut numbers: Vec<u32> = net.arrived.iter().map(|a| a.number()).collect();
    numbers.sort_unstable();
    let all = numbers.len();
    numbers.dedup();
    let limit = ms(delay + deadline);
    let in_time = net.arrived.iter().filter(|arrived| {
        let pushed = pushed[arrived.number() as usize];
        arrived.at <= pushed + limit
    });
    Outcome {
        in_time: in_time.count() as f64 / pushed.len() as f64,
        duplicates: all - numbers.len(),
        repairs: net.there.repairs as f64 / net.there.media_lost.max(1) as f64,
        lost: net.there.media_lost,
    }
}

/// `seconds` of 2.5 Mbit/s, and the time to repair the rest.
fn call(codec: &Codec, delay: u64, conditions: &str, seconds: u32, seed: u64) -> (Net, Outcome) {
    let mut net = net(codec, delay, conditions, seed);
    let pushed = net.video(seconds, 9);
    net.advance(net.now() + ms(1500));
    let outcome = outcome(&net, &pushed, delay, 200);
    println!(
        "{conditions} {delay} ms, seed {seed}: {outcome:?}\n  there {:?}\n  back {:?}\n  {:?}",
        net.there,
        net.back,
        net.receiver.stats(0)
    );
    (net, outcome)
}

#[test]
fn ten_percent_of_loss_are_repaired_in_time() {
    for seed in 1..4 {
        let (_, outcome) = call(&vp8(), 25, "loss=10%", 60, seed);
        assert!(outcome.in_time >= 0.999, "{outcome:?}");
        assert!(outcome.repairs <= 1.3, "{outcome:?}");
        assert_eq!(outcome.duplicates, 0);
    }
}
