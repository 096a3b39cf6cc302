// SPDX-License-Identifier: MPL-2.0
//! Senders with an encoder and a pacer each on one impaired link, on a virtual clock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::{Duration, Instant};

use impaired_link::{Config, Link, Random};
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;

use super::super::{Bandwidth, Departure, Probe};
use super::receiver::feedback;
use crate::peer::BitrateLimits;

pub(super) const TICK: Duration = Duration::from_millis(1);
const PACKET: usize = 1200;
/// What each 100 ms were like.
const SAMPLE: Duration = Duration::from_millis(100);

pub(super) fn limits(min: u64, start: u64, max: u64) -> BitrateLimits {
    BitrateLimits {
        adaptive: true,
        min,
        start,
        max,
    }
}

/// What feedback there is.
#[derive(Clone, Copy)]
pub(super) struct Feedback {
    pub(super) every: Duration,
    /// Part of it that is lost.
    pub(super) loss: f64,
    /// None comes in this time.
    pub(super) silent: Option<(Duration, Duration)>,
    /// From this on the remote's clock is so much ahead, µs.
    pub(super) clock_jump: Option<(Duration, i64)>,
}

impl Default for Feedback {
    fn default() -> Self {
        Self {
            every: Duration::from_millis(50),
            loss: 0.0,
            silent: None,
            clock_jump: None,
        }
    }
}

/// Makes a frame each 33 ms: of the size that the target gives, give or take, and now and then one
/// of five times that.
pub(super) struct Encoder {
    next: Duration,
    frames: u64,
    /// bit/s
    pub(super) max: f64,
    /// It does not follow the target.
    pub(super) fixed: Option<f64>,
    /// It follows later by so much, ...
    lag: Duration,
    /// ... and these are what it was told meanwhile, bit/s.
    told: VecDeque<(Duration, f64)>,
    /// Bits made beyond the target, which following frames save.
    debt: f64,
    /// Bytes, since it was last asked.
    made: usize,
}

impl Encoder {
    /// What it was told the lag ago, bit/s.
    fn heard(&mut self, target: f64, now: Duration) -> f64 {
        self.told.push_back((now, target));
        while self
            .told
            .get(1)
            .is_some_and(|(at, _)| *at + self.lag <= now)
        {
            self.told.pop_front();
        }
        self.told.front().map_or(target, |(_, target)| *target)
    }

    fn frame(&mut self, target: f64, random: &mut Random) -> usize {
        self.frames += 1;
        let target = self.fixed.unwrap_or(target * 0.97).min(self.max);
        let mean = target / 30.0;
        let mut bits = mean * (0.8 + 0.4 * random.unit());
        if self.frames % 300 == 1 {
            bits *= 5.0;
        }
        bits = (bits - self.debt / 30.0).max(0.2 * mean);
        self.debt = (self.debt + bits - mean).clamp(-mean, 10.0 * mean);
        let size = (bits / 8.0) as usize;
        self.made += size;
        size
    }
}

pub(super) struct Flow {
    pub(super) bandwidth: Bandwidth,
    pub(super) encoder: Encoder,
    pub(super) starts: Duration,
    pub(super) feedback: Feedback,
    /// Of the target.
    pub(super) pace: f64,
    number: u16,
    queue: VecDeque<usize>,
    budget: f64,
    probe: Option<(Probe, usize, usize, f64)>,
    next_feedback: Duration,
    next_demand: Duration,
    /// Numbers that arrived, without wraps, not reported yet.
    arrived: BTreeMap<i64, Duration>,
    sent: i64,
    reported: i64,
    pub(super) samples: Vec<Sample>,
    sample: Sample,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) target: u64,
    /// Bytes.
    sent: usize,
    arrived: usize,
    probes: usize,
    pub(super) queue: Duration,
    pub(super) congested: bool,
}

impl Flow {
    pub(super) fn new(limits: BitrateLimits) -> Self {
        Self {
            bandwidth: Bandwidth::new(limits),
            encoder: Encoder {
                next: Duration::ZERO,
                frames: 0,
                max: f64::MAX,
                fixed: None,
                lag: Duration::ZERO,
                told: VecDeque::new(),
                debt: 0.0,
                made: 0,
            },
            starts: Duration::ZERO,
            feedback: Feedback::default(),
            pace: 2.5,
            // Numbers wrap early on.
            number: 65_000,
            queue: VecDeque::new(),
            budget: 0.0,
            probe: None,
            next_feedback: Duration::ZERO,
            next_demand: Duration::ZERO,
            arrived: BTreeMap::new(),
            sent: 0,
            reported: 0,
            samples: Vec::new(),
            sample: Sample::default(),
        }
    }

    pub(super) fn starting(mut self, at: Duration) -> Self {
        self.starts = at;
        self
    }

    pub(super) fn fixed(mut self, bitrate: f64) -> Self {
        self.encoder.fixed = Some(bitrate);
        self
    }

    pub(super) fn lagging(mut self, by: Duration) -> Self {
        self.encoder.lag = by;
        self
    }

    pub(super) fn at_most(mut self, bitrate: f64) -> Self {
        self.encoder.max = bitrate;
        self
    }

    pub(super) fn with_feedback(mut self, feedback: Feedback) -> Self {
        self.feedback = feedback;
        self
    }
}

/// See the module.
pub(super) struct Simulation {
    pub(super) link: Link,
    pub(super) flows: Vec<Flow>,
    epoch: Instant,
    pub(super) now: Duration,
    back: Duration,
    random: Random,
    /// By time: flow, number, bytes.
    arrivals: BTreeMap<(Duration, u64), (usize, i64, usize)>,
    feedbacks: BTreeMap<(Duration, u64), (usize, TransportLayerCc)>,
    serial: u64,
    /// Sends at a fixed rate beside the flows, bit/s.
    pub(super) other: Box<dyn Fn(Duration) -> f64>,
    other_budget: f64,
    /// The receiver's machine stands still until then, if it does.
    pub(super) stall: Box<dyn Fn(Duration) -> Option<Duration>>,
}

impl Simulation {
    pub(super) fn new(link: &str, back: Duration, seed: u64, flows: Vec<Flow>) -> Self {
        Self {
            link: Link::new(link.parse::<Config>().unwrap(), seed),
            flows,
            epoch: Instant::now(),
            now: Duration::ZERO,
            back,
            random: Random::new(seed ^ 0x5eed),
            arrivals: BTreeMap::new(),
            feedbacks: BTreeMap::new(),
            serial: 0,
            other: Box::new(|_| 0.0),
            other_budget: 0.0,
            stall: Box::new(|_| None),
        }
    }

    pub(super) fn run(&mut self, until: Duration) {
        while self.now < until {
            self.tick();
            self.now += TICK;
        }
    }

    fn tick(&mut self) {
        let instant = self.epoch + self.now;
        while let Some(entry) = self.arrivals.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let at = entry.key().0;
            let (flow, number, size) = entry.remove();
            let flow = &mut self.flows[flow];
            flow.sample.arrived += size;
            if number >= 0 && number >= flow.reported {
                flow.arrived.entry(number).or_insert(at);
            }
        }
        while let Some(entry) = self.feedbacks.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (flow, feedback) = entry.remove();
            self.flows[flow].bandwidth.feedback(&feedback, instant);
        }
        self.other_budget += (self.other)(self.now) * TICK.as_secs_f64() / 8.0;
        while self.other_budget >= PACKET as f64 {
            self.other_budget -= PACKET as f64;
            self.link.send(self.now, PACKET);
        }
        for index in 0..self.flows.len() {
            if self.now >= self.flows[index].starts {
                self.flow(index, instant);
            }
        }
    }

    fn flow(&mut self, index: usize, instant: Instant) {
        let now = self.now;
        let flow = &mut self.flows[index];
        if now == flow.starts {
            flow.bandwidth.connected(instant);
            flow.encoder.next = now;
            flow.next_feedback = now + flow.feedback.every;
            flow.next_demand = now;
        }
        if flow
            .bandwidth
            .poll_timeout()
            .is_some_and(|at| at <= instant)
        {
            flow.bandwidth.handle_timeout(instant);
            assert!(
                flow.bandwidth.poll_timeout().is_none_or(|at| at > instant),
                "a timer that goes off for ever"
            );
        }
        let target = flow.bandwidth.target() as f64;
        if now >= flow.next_demand {
            flow.next_demand += Duration::from_millis(100);
            let queued = flow.queue.iter().sum();
            let demand = std::mem::take(&mut flow.encoder.made) * 80;
            flow.bandwidth.demand(demand as u64, queued, instant);
        }
        while now >= flow.encoder.next {
            flow.encoder.next += Duration::from_micros(33_333);
            let told = flow.encoder.heard(target, now);
            let mut size = flow.encoder.frame(told, &mut self.random);
            // A pacer's queue is bounded in time.
            let queued: usize = flow.queue.iter().sum();
            if queued as f64 * 8.0 > target * 0.4 && flow.encoder.fixed.is_none() {
                size = 0;
            }
            while size > 0 {
                let packet = size.min(PACKET);
                flow.queue.push_back(packet.max(60));
                size -= packet;
            }
        }
        self.pace(index, target);
        self.report(index);
        let queue = self.link.queue_delay(now);
        let flow = &mut self.flows[index];
        flow.sample.queue = flow.sample.queue.max(queue);
        if (now + TICK).as_millis().is_multiple_of(SAMPLE.as_millis()) {
            flow.sample.target = flow.bandwidth.target();
            flow.sample.congested = flow.bandwidth.congested();
            flow.samples.push(std::mem::take(&mut flow.sample));
        }
    }

    fn pace(&mut self, index: usize, target: f64) {
        let instant = self.epoch + self.now;
        let flow = &mut self.flows[index];
        if flow.probe.is_none()
            && let Some(probe) = flow.bandwidth.poll_probe(instant)
        {
            flow.probe = Some((probe, 0, 0, PACKET as f64));
        }
        // Probes have the line for themselves, with what waits or with padding.
        let mut leaving = Vec::new();
        if let Some((probe, packets, bytes, budget)) = &mut flow.probe {
            *budget += probe.rate as f64 * TICK.as_secs_f64() / 8.0;
            while *budget >= PACKET as f64 {
                let size = flow.queue.pop_front().unwrap_or(PACKET);
                *budget -= size as f64;
                *packets += 1;
                *bytes += size;
                flow.budget -= size as f64;
                leaving.push((size, Some(probe.id)));
                if *packets >= probe.packets && *bytes >= probe.bytes {
                    flow.probe = None;
                    break;
                }
            }
        } else {
            let pace = (flow.pace * target).max(flow.encoder.fixed.unwrap_or(0.0) * 1.2);
            let step = pace * TICK.as_secs_f64() / 8.0;
            flow.budget = (flow.budget + step).min(step.max(PACKET as f64));
            while flow.budget > 0.0
                && let Some(size) = flow.queue.pop_front()
            {
                flow.budget -= size as f64;
                leaving.push((size, None));
            }
        }
        for (size, probe) in leaving {
            let flow = &mut self.flows[index];
            flow.bandwidth.sent(
                Departure {
                    number: Some(flow.number),
                    size,
                    probe,
                },
                instant,
            );
            flow.number = flow.number.wrapping_add(1);
            flow.sample.sent += size;
            if probe.is_some() {
                flow.sample.probes += size;
            }
            let number = flow.sent;
            flow.sent += 1;
            for at in self.link.send(self.now, size).arrivals() {
                let at = (self.stall)(at).unwrap_or(at);
                self.serial += 1;
                self.arrivals
                    .insert((at, self.serial), (index, number, size));
            }
        }
    }

    /// The receiver's side.
    fn report(&mut self, index: usize) {
        let flow = &mut self.flows[index];
        if self.now < flow.next_feedback {
            return;
        }
        flow.next_feedback += flow.feedback.every;
        let Some((&last, _)) = flow.arrived.last_key_value() else {
            return;
        };
        let ahead = match flow.feedback.clock_jump {
            Some((at, ahead)) if self.now >= at => ahead,
            _ => 0,
        };
        let feedback = feedback(flow.reported, last, &flow.arrived, ahead);
        flow.reported = last + 1;
        flow.arrived.clear();
        let silent = flow
            .feedback
            .silent
            .is_some_and(|(from, to)| self.now >= from && self.now < to);
        if silent || self.random.unit() < flow.feedback.loss {
            return;
        }
        self.serial += 1;
        self.feedbacks
            .insert((self.now + self.back, self.serial), (index, feedback));
    }

    /// Mean of what arrives of flow `index`, bit/s.
    pub(super) fn delivered(&self, index: usize, from: f64, to: f64) -> f64 {
        let samples = self.samples(index, from, to);
        let bytes: usize = samples.iter().map(|sample| sample.arrived).sum();
        bytes as f64 * 8.0 / (samples.len() as f64 * SAMPLE.as_secs_f64())
    }

    /// Mean of what leaves, bit/s.
    pub(super) fn sent(&self, index: usize, from: f64, to: f64) -> f64 {
        let samples = self.samples(index, from, to);
        let bytes: usize = samples.iter().map(|sample| sample.sent).sum();
        bytes as f64 * 8.0 / (samples.len() as f64 * SAMPLE.as_secs_f64())
    }

    pub(super) fn target(&self, index: usize, from: f64, to: f64) -> f64 {
        let samples = self.samples(index, from, to);
        let sum: f64 = samples.iter().map(|sample| sample.target as f64).sum();
        sum / samples.len() as f64
    }

    /// From second to second.
    pub(super) fn samples(&self, index: usize, from: f64, to: f64) -> &[Sample] {
        let flow = &self.flows[index];
        let place = |second: f64| ((second - flow.starts.as_secs_f64()) * 10.0).round() as usize;
        &flow.samples[place(from)..place(to).min(flow.samples.len())]
    }

    /// Queue that `part` of the time was not longer than.
    pub(super) fn queue(&self, from: f64, to: f64, part: f64) -> Duration {
        let mut queues: Vec<_> = self
            .samples(0, from, to)
            .iter()
            .map(|sample| sample.queue)
            .collect();
        queues.sort_unstable();
        queues[((queues.len() - 1) as f64 * part) as usize]
    }

    /// Fails with what happened.
    #[track_caller]
    pub(super) fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{what}\n{}", self.trajectory());
    }

    pub(super) fn trajectory(&self) -> String {
        let mut text = String::from("time  flow target sent arrived probes kbit/s  queue ms\n");
        for (index, flow) in self.flows.iter().enumerate() {
            for (count, sample) in flow.samples.chunks(2).enumerate() {
                let bytes = |read: fn(&Sample) -> usize| {
                    sample.iter().map(read).sum::<usize>() * 8 / 100 / sample.len()
                };
                let last = sample[sample.len() - 1];
                let queue = sample.iter().map(|sample| sample.queue).max().unwrap();
                let _ = writeln!(
                    text,
                    "{:5.1} {index:4} {:6} {:5} {:6} {:5} {:9}{}",
                    flow.starts.as_secs_f64() + (count + 1) as f64 * 0.2,
                    last.target / 1000,
                    bytes(|sample| sample.sent),
                    bytes(|sample| sample.arrived),
                    bytes(|sample| sample.probes),
                    queue.as_millis(),
                    if last.congested { " congested" } else { "" },
                );
            }
        }
        text
    }
}
