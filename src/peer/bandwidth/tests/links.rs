// SPDX-License-Identifier: MPL-2.0
//! How the estimator does on links, each with several seeds.

use std::time::Duration;

use super::simulation::{Flow, Simulation, limits};

const BACK: Duration = Duration::from_millis(25);
const SEEDS: std::ops::Range<u64> = 1..6;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// One flow of 500 kbit/s at first, on `link` for `time`.
fn alone(link: &str, seed: u64, time: f64) -> Simulation {
    let flow = Flow::new(limits(30_000, 500_000, 8_000_000));
    let mut simulation = Simulation::new(link, BACK, seed, vec![flow]);
    simulation.run(seconds(time));
    simulation
}

#[test]
fn fills_a_narrow_link_with_little_queue() {
    for seed in SEEDS {
        let run = alone("rate=2M queue=200ms delay=25ms jitter=3ms", seed, 40.0);
        println!("{} {:?}", run.delivered(0, 5.0, 40.0), run.queue(0.0, 40.0, 0.95));
        run.check(run.delivered(0, 4.0, 5.0) > 0.85 * 2e6, "fast");
        run.check(run.delivered(0, 5.0, 40.0) > 0.90 * 2e6, "full");
        run.check(run.queue(0.0, 40.0, 0.95) < Duration::from_millis(80), "queue");
    }
}

#[test]
fn follows_a_link_that_becomes_narrow_and_wide_again() {
    for seed in SEEDS {
        let run = alone(
            "rate=2M queue=200ms delay=25ms jitter=3ms; 20s: rate=700k; 40s: rate=2M",
            seed,
            50.0,
        );
        println!("{:?} {:?} {} {}", run.queue(22.0, 40.0, 1.0), run.queue(22.0, 40.0, 0.95), run.delivered(0, 25.0, 40.0), run.delivered(0, 46.0, 50.0));
        run.check(run.queue(22.0, 40.0, 0.95) < Duration::from_millis(150), "queue");
        run.check(run.delivered(0, 25.0, 40.0) > 0.85 * 7e5, "full");
        run.check(run.delivered(0, 45.0, 46.0) > 0.85 * 2e6, "back");
    }
}

#[test]
fn holds_through_random_loss() {
    for (loss, least) in [(5, 0.8), (10, 0.75), (20, 0.7)] {
        for seed in SEEDS {
            let link = format!("rate=3M queue=200ms delay=25ms jitter=3ms loss={loss}%");
            let run = alone(&link, seed, 40.0);
            let arrives = 1.0 - f64::from(loss) / 100.0;
            let sent = run.delivered(0, 5.0, 40.0) / arrives / 3e6;
            println!("{loss} {sent} {:?}", run.queue(0.0, 40.0, 0.95));
            run.check(sent > least, "full");
        }
    }
}

/// What is over the rate is lost at once, without a queue.
#[test]
fn yields_to_a_link_that_drops_what_is_too_much() {
    for seed in SEEDS {
        let run = alone("rate=2M queue=30ms delay=25ms jitter=3ms", seed, 40.0);
        let sent: f64 = run.target(0, 5.0, 40.0);
        let lost = 1.0 - run.delivered(0, 5.0, 40.0) / run.sent(0, 5.0, 40.0);
        println!("target {sent} delivered {} lost {lost}", run.delivered(0, 5.0, 40.0));
        run.check(run.delivered(0, 5.0, 40.0) > 0.7 * 2e6, "full");
        run.check(lost < 0.08, "little is lost");
    }
}
