// SPDX-License-Identifier: MPL-2.0
//! How the estimator does on links, each with several seeds.

use std::time::Duration;

use super::simulation::{Feedback, Flow, Simulation, limits};
use crate::peer::BitrateLimits;

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
        run.check(run.delivered(0, 4.0, 5.0) > 0.85 * 2e6, "fast");
        run.check(run.delivered(0, 5.0, 40.0) > 0.90 * 2e6, "full");
        run.check(
            run.queue(0.0, 40.0, 0.95) < Duration::from_millis(80),
            "queue",
        );
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
        run.check(
            run.queue(22.0, 40.0, 0.95) < Duration::from_millis(150),
            "queue",
        );
        // But for the key frame at 30 s.
        run.check(
            run.queue(22.0, 29.5, 1.0) < Duration::from_millis(150),
            "queue",
        );
        run.check(run.delivered(0, 25.0, 40.0) > 0.85 * 7e5, "full");
        run.check(run.delivered(0, 45.0, 46.0) > 0.85 * 2e6, "back");
    }
}

#[test]
fn what_a_start_far_too_high_cost_is_forgotten_soon() {
    for lag in [0.0, 0.3, 0.6] {
        for seed in SEEDS {
            let flow = Flow::new(limits(30_000, 2_000_000, 2_000_000)).lagging(seconds(lag));
            let link = "rate=800k queue=300ms delay=25ms jitter=2ms";
            let mut run = Simulation::new(link, BACK, seed, vec![flow]);
            run.run(seconds(10.0));
            run.check(run.delivered(0, 2.0, 4.0) > 0.65 * 8e5, "soon");
            run.check(run.delivered(0, 4.0, 10.0) > 0.8 * 8e5, "full");
        }
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
            run.check(sent > least, "full");
        }
    }
}

/// What is over the rate is lost at once, without a queue.
#[test]
fn yields_to_a_link_that_drops_what_is_too_much() {
    for seed in SEEDS {
        let run = alone("rate=2M queue=30ms delay=25ms jitter=3ms", seed, 40.0);
        let lost = 1.0 - run.delivered(0, 5.0, 40.0) / run.sent(0, 5.0, 40.0);
        run.check(run.delivered(0, 5.0, 40.0) > 0.7 * 2e6, "full");
        run.check(lost < 0.08, "little is lost");
    }
}

#[test]
fn two_flows_share() {
    for seed in SEEDS {
        let limits = limits(30_000, 500_000, 8_000_000);
        // Their frames do not come at the same times.
        let later = Duration::from_millis(5 * seed);
        let flows = [Flow::new(limits), Flow::new(limits).starting(later)];
        let link = "rate=3M queue=200ms delay=25ms jitter=3ms";
        let mut run = Simulation::new(link, BACK, seed, flows.into());
        run.run(seconds(100.0));
        let (one, other) = (run.delivered(0, 30.0, 100.0), run.delivered(1, 30.0, 100.0));
        run.check(one.max(other) < 0.6 * (one + other), "shares");
        run.check(one + other > 0.85 * 3e6, "full");
    }
}

#[test]
fn one_that_comes_late_gets_its_share() {
    for seed in SEEDS {
        let limits = limits(30_000, 500_000, 8_000_000);
        let flows = vec![
            Flow::new(limits),
            Flow::new(limits).starting(seconds(20.011)),
        ];
        let link = "rate=3M queue=200ms delay=25ms jitter=3ms";
        let mut run = Simulation::new(link, BACK, seed, flows);
        run.run(seconds(100.0));
        let (one, other) = (run.delivered(0, 40.0, 100.0), run.delivered(1, 40.0, 100.0));
        run.check(other > 0.35 * (one + other), "shares");
        run.check(one > 0.35 * (one + other), "shares");
        run.check(one + other > 0.8 * 3e6, "full");
    }
}

#[test]
fn gives_way_to_a_constant_flow() {
    for seed in SEEDS {
        let flow = Flow::new(limits(30_000, 500_000, 8_000_000));
        let link = "rate=3M queue=200ms delay=25ms jitter=3ms";
        let mut run = Simulation::new(link, BACK, seed, vec![flow]);
        run.other = Box::new(|now| if now.as_secs() < 15 { 0.0 } else { 1.5e6 });
        run.run(seconds(50.0));
        run.check(run.delivered(0, 20.0, 50.0) > 0.8 * 1.5e6, "full");
        run.check(
            run.queue(17.0, 50.0, 0.95) < Duration::from_millis(100),
            "queue",
        );
    }
}

#[test]
fn never_leaves_its_bounds() {
    for seed in SEEDS {
        let flow = Flow::new(limits(400_000, 600_000, 900_000));
        let link = "rate=200k queue=200ms delay=25ms; 15s: rate=20M";
        let mut run = Simulation::new(link, BACK, seed, vec![flow]);
        run.run(seconds(30.0));
        for sample in run.samples(0, 0.0, 30.0) {
            run.check((400_000..=900_000).contains(&sample.target), "bounds");
        }
        run.check(run.target(0, 10.0, 15.0) < 410_000.0, "low");
        run.check(run.target(0, 25.0, 30.0) > 890_000.0, "high");
    }
}

#[test]
fn goes_on_after_silence_of_the_remote() {
    for seed in SEEDS {
        let feedback = Feedback {
            silent: Some((seconds(15.0), seconds(17.0))),
            loss: 0.05,
            ..Feedback::default()
        };
        let flow = Flow::new(limits(30_000, 500_000, 8_000_000)).with_feedback(feedback);
        let link = "rate=2M queue=200ms delay=25ms jitter=3ms";
        let mut run = Simulation::new(link, BACK, seed, vec![flow]);
        run.run(seconds(30.0));
        run.check(run.target(0, 15.0, 19.0) > 0.75 * 2e6, "holds");
        run.check(run.target(0, 19.0, 30.0) > 0.85 * 2e6, "goes on");
    }
}

#[test]
fn sends_less_when_nothing_is_heard_for_long() {
    let feedback = Feedback {
        silent: Some((seconds(10.0), seconds(20.0))),
        ..Feedback::default()
    };
    let flow = Flow::new(limits(30_000, 500_000, 8_000_000)).with_feedback(feedback);
    let mut run = Simulation::new("rate=2M queue=200ms delay=25ms", BACK, 1, vec![flow]);
    run.run(seconds(30.0));
    run.check(run.target(0, 19.5, 20.0) < 0.6e6, "less");
    run.check(run.target(0, 28.0, 30.0) > 0.85 * 2e6, "comes back");
}

#[test]
fn a_clock_that_is_set_changes_little() {
    for jump in [-10_000_000, 400_000, 3_600_000_000] {
        let feedback = Feedback {
            clock_jump: Some((seconds(15.0), jump)),
            ..Feedback::default()
        };
        let flow = Flow::new(limits(30_000, 500_000, 8_000_000)).with_feedback(feedback);
        let link = "rate=2M queue=200ms delay=25ms jitter=3ms";
        let mut run = Simulation::new(link, BACK, 3, vec![flow]);
        run.run(seconds(30.0));
        run.check(run.delivered(0, 15.0, 20.0) > 0.6 * 2e6, "goes on");
        run.check(run.delivered(0, 20.0, 30.0) > 0.85 * 2e6, "full");
    }
}

/// A path that becomes longer is not congested for long.
#[test]
fn a_longer_path_is_used_as_well() {
    for seed in SEEDS {
        let run = alone(
            "rate=2M queue=200ms delay=25ms jitter=3ms; 15s: delay=125ms",
            seed,
            40.0,
        );
        run.check(run.delivered(0, 25.0, 40.0) > 0.85 * 2e6, "full");
    }
}

/// What does not follow the target shows the path's limit, or that there is none.
#[test]
fn tells_whether_a_fixed_rate_fits() {
    for seed in SEEDS {
        let run = |link: &str| {
            let flow = Flow::new(limits(30_000, 500_000, 8_000_000)).fixed(2.5e6);
            let mut run = Simulation::new(link, BACK, seed, vec![flow]);
            run.run(seconds(20.0));
            run
        };
        let narrow = run("rate=2M queue=200ms delay=25ms jitter=3ms");
        let seen = |sample: &super::simulation::Sample| sample.congested;
        narrow.check(narrow.samples(0, 2.0, 20.0).iter().all(seen), "congested");
        let wide = run("rate=5M queue=200ms delay=25ms jitter=3ms");
        wide.check(
            !wide.samples(0, 0.0, 20.0).iter().any(seen),
            "not congested",
        );
        wide.check(wide.target(0, 2.0, 20.0) > 2.4e6, "fits");
        for loss in [5, 10, 20] {
            let lossy = run(&format!(
                "rate=5M queue=200ms delay=25ms jitter=3ms loss={loss}%"
            ));
            lossy.check(!lossy.samples(0, 0.0, 20.0).iter().any(seen), "only lossy");
        }
    }
}

#[test]
fn an_encoder_that_makes_little_is_no_reason_to_grow() {
    for seed in SEEDS {
        let flow = Flow::new(limits(30_000, 500_000, 8_000_000)).at_most(400_000.0);
        let link = "rate=50M queue=200ms delay=25ms jitter=3ms";
        let mut run = Simulation::new(link, BACK, seed, vec![flow]);
        run.run(seconds(40.0));
        run.check(run.sent(0, 20.0, 40.0) < 440_000.0, "hardly any padding");
    }
}

#[test]
fn a_film_looks_for_no_more_than_it_needs() {
    for seed in SEEDS {
        let flow = Flow::new(limits(30_000, 2_048_000, BitrateLimits::UNLIMITED)).fixed(2.5e6);
        let mut run = Simulation::new("rate=1000M queue=200ms delay=1ms", BACK, seed, vec![flow]);
        run.run(seconds(10.0));
        run.check(run.target(0, 2.0, 10.0) > 2.5e6, "it fits");
        run.check(run.sent(0, 0.0, 2.0) < 3.5e6, "probed little");
        run.check(run.sent(0, 2.0, 10.0) < 2.75e6, "and less later");
    }
}

/// Both ends on one machine that is busy: threads run late by tens of milliseconds.
#[test]
fn a_busy_machine_is_no_narrow_path() {
    for (seed, fixed) in SEEDS.flat_map(|seed| [(seed, None), (seed, Some(2.5e6))]) {
        let mut flow = Flow::new(limits(30_000, 2_000_000, 8_000_000));
        if let Some(bitrate) = fixed {
            flow = flow.fixed(bitrate);
        }
        let mut run = Simulation::new("jitter=2ms", Duration::from_millis(1), seed, vec![flow]);
        run.stall = Box::new(move |at| {
            // In each 150 ms once, for up to 60 ms.
            let (slot, within) = (at.as_millis() as u64 / 150, at.as_micros() as u64 % 150_000);
            let mut random = impaired_link::Random::new(slot ^ seed << 32);
            let begin = (random.unit() * 80_000.0) as u64;
            let end = begin + (random.unit() * 60_000.0) as u64;
            let stands = (begin..end).contains(&within);
            stands.then(|| Duration::from_micros(slot * 150_000 + end))
        });
        run.run(seconds(30.0));
        let least = run
            .samples(0, 0.0, 30.0)
            .iter()
            .map(|sample| sample.target)
            .min();
        run.check(
            !run.samples(0, 0.0, 30.0)
                .iter()
                .any(|sample| sample.congested),
            "congested",
        );
        run.check(least > Some(1_200_000), "no collapse");
        run.check(run.target(0, 5.0, 30.0) > 4e6, "grows");
    }
}

#[test]
fn what_comes_late_or_twice_is_not_lost() {
    for seed in SEEDS {
        let link = "rate=3M queue=200ms delay=25ms jitter=3ms reorder=3%/15ms duplicate=2%";
        let run = alone(link, seed, 40.0);
        let loss = run.flows[0].bandwidth.loss_fraction();
        run.check(run.delivered(0, 5.0, 40.0) > 0.85 * 3e6, "full");
        run.check(loss < 0.01, "lost");
    }
}

/// Some remotes report seldom, and some are far away.
#[test]
fn late_feedback_is_enough() {
    for (every, delay, least) in [(200, 25, 0.85), (100, 150, 0.8), (250, 150, 0.8)] {
        for seed in SEEDS {
            let feedback = Feedback {
                every: Duration::from_millis(every),
                ..Feedback::default()
            };
            let flow = Flow::new(limits(30_000, 500_000, 8_000_000)).with_feedback(feedback);
            let link = format!("rate=2M queue=300ms delay={delay}ms jitter=3ms");
            let back = Duration::from_millis(delay);
            let mut run = Simulation::new(&link, back, seed, vec![flow]);
            run.run(seconds(40.0));
            run.check(run.delivered(0, 5.0, 40.0) > least * 2e6, "full");
            run.check(
                run.queue(5.0, 40.0, 0.95) < Duration::from_millis(150),
                "queue",
            );
        }
    }
}

/// From a modem to a fibre.
#[test]
fn any_width_is_found() {
    for (kbit, queue) in [(100, 300), (300, 200), (10_000, 150), (45_000, 100)] {
        for seed in 1..3 {
            let flow = Flow::new(limits(30_000, 1_000_000, 100_000_000));
            let link = format!("rate={kbit}k queue={queue}ms delay=20ms jitter=2ms");
            let mut run = Simulation::new(&link, BACK, seed, vec![flow]);
            run.run(seconds(30.0));
            let used = run.delivered(0, 10.0, 30.0) / (f64::from(kbit) * 1e3);
            run.check(used > 0.8, "full");
        }
    }
}

/// Though for long nothing was lost, at any rate.
#[test]
fn loss_that_begins_later_is_told_from_congestion_too() {
    for loss in [5, 10, 20] {
        for seed in SEEDS {
            let link = format!(
                "rate=700k queue=200ms delay=25ms jitter=3ms; 15s: rate=3M; 30s: loss={loss}%; \
                 60s: loss=0%"
            );
            let run = alone(&link, seed, 70.0);
            run.check(run.sent(0, 30.0, 35.0) > 0.5 * 3e6, "falls little");
            run.check(run.sent(0, 35.0, 60.0) > 0.75 * 3e6, "holds");
            run.check(run.sent(0, 62.0, 70.0) > 0.85 * 3e6, "full");
        }
    }
}
