// SPDX-License-Identifier: MPL-2.0
//! What a link is like, and how that changes over time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a link does to packets at one time. The default passes them on at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Share of packets, 0 to 1, that are lost each for itself.
    pub loss: f64,
    /// Losses in bursts, by packets.
    pub gilbert: Option<Gilbert>,
    /// Losses in bursts, by time.
    pub outage: Option<Outage>,
    /// Time that each packet takes one way.
    pub delay: Duration,
    /// Up to this is added to the delay, evenly spread. It never changes the order.
    pub jitter: Duration,
    /// Packets that others overtake.
    pub reorder: Option<Reorder>,
    /// Share of packets, 0 to 1, that arrive twice.
    pub duplicate: f64,
    /// The narrowest place of the way; `None` has room for everything.
    pub bottleneck: Option<Bottleneck>,
    /// Bytes that each packet takes at the bottleneck besides what [`crate::Link::send`] is told: 28
    /// are the headers of IPv4 and UDP.
    pub overhead: usize,
}

/// The model of Gilbert: in its bad state the link loses every packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gilbert {
    /// Probability, at each packet, that a good link turns bad.
    pub begin: f64,
    /// Probability, at each packet, that a bad link turns good: bursts are 1 / `end` packets long.
    pub end: f64,
}

/// For `length` at the end of each `every` all packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    pub length: Duration,
    pub every: Duration,
}

/// Packets that are late, and behind later ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// Share of packets, 0 to 1.
    pub share: f64,
    /// What is added to their delay.
    pub by: Duration,
}

/// A queue before a line of limited rate. What finds it full is dropped (drop-tail).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bottleneck {
    /// In bit/s, with [`Conditions::overhead`]; not 0.
    pub rate: u64,
    pub queue: Queue,
}

/// How much waits before a bottleneck at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// What the line carries in this time.
    Time(Duration),
    Bytes(u64),
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            loss: 0.0,
            gilbert: None,
            outage: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: None,
            duplicate: 0.0,
            bottleneck: None,
            overhead: 28,
        }
    }
}

/// A link over time: conditions, each from a time on.
///
/// As text, steps are separated by `;` and say what changes: `rate=2M queue=200ms delay=25ms
/// jitter=5ms loss=5% gilbert=1%/25% burst=50ms/1s reorder=1%/20ms duplicate=1% overhead=28; 20s:
/// rate=700k; 40s: rate=none`. A queue is a time or, as `40000B`, bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// By time; the first one is at 0.
    steps: Vec<(Duration, Conditions)>,
}

impl Config {
    /// `conditions` for ever.
    pub fn new(conditions: Conditions) -> Self {
        Self {
            steps: vec![(Duration::ZERO, conditions)],
        }
    }

    /// From `at` on the link is as `conditions` say, until a later step.
    #[must_use]
    pub fn then(mut self, at: Duration, conditions: Conditions) -> Self {
        let place = self.steps.partition_point(|(time, _)| *time <= at);
        self.steps.insert(place, (at, conditions));
        self
    }

    /// What holds at `now`.
    pub fn at(&self, now: Duration) -> &Conditions {
        let next = self.steps.partition_point(|(time, _)| *time <= now);
        // infallible: the first step is at 0 and `then` only adds
        &self.steps[next.saturating_sub(1)].1
    }

    /// When the conditions next change after `now`.
    pub(crate) fn next_change(&self, now: Duration) -> Option<Duration> {
        let next = self.steps.partition_point(|(time, _)| *time <= now);
        self.steps.get(next).map(|(time, _)| *time)
    }
}

impl From<Conditions> for Config {
    fn from(conditions: Conditions) -> Self {
        Self::new(conditions)
    }
}

/// A part of a link's description that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

fn wrong(what: &str, expected: &str) -> ConfigError {
    ConfigError(format!("'{what}' is not {expected}"))
}

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut conditions = Conditions::default();
        let mut config = Self::new(conditions);
        for (number, step) in text.split(';').enumerate() {
            let (at, words) = match step.split_once(':') {
                Some((at, words)) => (time(at.trim())?, words),
                None if number == 0 => (Duration::ZERO, step),
                None => return Err(wrong(step, "a step: TIME: NAME=VALUE ...")),
            };
            for word in words.split_whitespace() {
                conditions.set(word)?;
            }
            config = config.then(at, conditions);
        }
        Ok(config)
    }
}

impl Conditions {
    /// Takes one `name=value`.
    fn set(&mut self, word: &str) -> Result<(), ConfigError> {
        let (name, value) = word.split_once('=').ok_or(wrong(word, "NAME=VALUE"))?;
        let queue = self.bottleneck.map_or(DEFAULT_QUEUE, |b| b.queue);
        match name {
            "loss" => self.loss = share(value)?,
            "duplicate" => self.duplicate = share(value)?,
            "delay" => self.delay = time(value)?,
            "jitter" => self.jitter = time(value)?,
            "overhead" => {
                self.overhead = value.parse().map_err(|_| wrong(value, "a number"))?;
            }
            "gilbert" => {
                self.gilbert =
                    pair(value, share, share)?.map(|(begin, end)| Gilbert { begin, end });
            }
            "burst" => {
                self.outage =
                    pair(value, time, time)?.map(|(length, every)| Outage { length, every });
            }
            "reorder" => {
                self.reorder = pair(value, share, time)?.map(|(share, by)| Reorder { share, by });
            }
            "rate" if value == "none" => self.bottleneck = None,
            "rate" => {
                let rate = rate(value)?;
                self.bottleneck = Some(Bottleneck { rate, queue });
            }
            "queue" => {
                let bottleneck = self.bottleneck.as_mut();
                bottleneck.ok_or(wrong(word, "of use before a rate"))?.queue = room(value)?;
            }
            _ => return Err(wrong(name, "a property of a link")),
        }
        Ok(())
    }
}

/// Of a bottleneck whose queue nobody described.
const DEFAULT_QUEUE: Queue = Queue::Time(Duration::from_millis(200));

fn number(text: &str, unit: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn time(text: &str) -> Result<Duration, ConfigError> {
    number(text, "ms")
        .map(|ms| ms / 1000.0)
        .or_else(|| number(text, "s"))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(wrong(text, "a time, as 20ms or 1.5s"))
}

fn share(text: &str) -> Result<f64, ConfigError> {
    number(text, "%")
        .map(|percent| percent / 100.0)
        .filter(|share| *share <= 1.0)
        .ok_or(wrong(text, "a share, as 5%"))
}

fn rate(text: &str) -> Result<u64, ConfigError> {
    number(text, "M")
        .map(|rate| rate * 1e6)
        .or_else(|| number(text, "k").map(|rate| rate * 1e3))
        .or_else(|| number(text, ""))
        .filter(|rate| (1.0..1e12).contains(rate))
        .map(|rate| rate as u64)
        .ok_or(wrong(text, "a rate in bit/s, as 700k or 2M"))
}

fn room(text: &str) -> Result<Queue, ConfigError> {
    match number(text, "B") {
        Some(bytes) => Ok(Queue::Bytes(bytes as u64)),
        None => time(text).map(Queue::Time),
    }
}

/// `first/second`, or `none`.
fn pair<A, B>(
    text: &str,
    first: impl Fn(&str) -> Result<A, ConfigError>,
    second: impl Fn(&str) -> Result<B, ConfigError>,
) -> Result<Option<(A, B)>, ConfigError> {
    if text == "none" {
        return Ok(None);
    }
    let (one, two) = text
        .split_once('/')
        .ok_or(wrong(text, "two values, as A/B"))?;
    Ok(Some((first(one)?, second(two)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_change_only_what_they_name() {
        let config: Config =
            "rate=2M queue=200ms delay=25ms loss=10% burst=50ms/1s; 20s: rate=700k burst=none"
                .parse()
                .unwrap();
        let before = config.at(Duration::from_secs(19));
        let after = config.at(Duration::from_secs(20));
        let queue = Queue::Time(Duration::from_millis(200));
        assert_eq!(before.bottleneck.unwrap().rate, 2_000_000);
        assert_eq!(before.outage.unwrap().length, Duration::from_millis(50));
        assert_eq!(
            after.bottleneck,
            Some(Bottleneck {
                rate: 700_000,
                queue
            })
        );
        assert_eq!(after.outage, None);
        assert_eq!((after.loss, after.delay), (0.1, Duration::from_millis(25)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "loss=5",
            "loss=101%",
            "delay=-1ms",
            "delay=25",
            "rate=0",
            "queue=200ms",
            "queue=many",
            "loss",
            "lust=5%",
            "rate=1M; rate=2M",
            "gilbert=5%",
        ] {
            assert!(text.parse::<Config>().is_err(), "{text}");
        }
    }
}
