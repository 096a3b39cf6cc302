// SPDX-License-Identifier: MPL-2.0
//! Who gets how much: one target from what the paths to all viewers carry, and its shares for the
//! encoders. Pure: every function takes the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::glib;

use crate::peer::Estimate;

/// A viewer whose path carries less than half of what the middle one's does, for so long, is left
/// behind; and it counts again after so long over that.
const PATIENCE: Duration = Duration::from_secs(5);
/// One whose path carries next to nothing, after this time: it sees nothing either way.
const DEAD_PATIENCE: Duration = Duration::from_secs(1);
/// Part of the middle that is next to nothing.
const DEAD_PART: u64 = 8;
/// A path's first estimate grows for so long without holding up those who watch already.
const SETTLING: Duration = Duration::from_secs(3);
/// But for a sharp fall an encoder is not set more often than this: some answer each change with a
/// key frame.
pub(super) const RISE_INTERVAL: Duration = Duration::from_millis(500);
/// Small differences wait so long.
const FINE_INTERVAL: Duration = Duration::from_secs(3);
/// Percent of what an encoder is set to: so much less does not wait, ...
const FALL: u64 = 15;
/// ... less than that is small, ...
const STEP: u64 = 5;
/// ... and less than that is not worth a key frame.
const LEAST_STEP: u64 = 3;

/// Which viewer the encoders follow.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcBitratePolicy")]
pub enum Policy {
    /// The slowest.
    #[default]
    #[enum_value(
        name = "What the slowest path carries, but for viewers far behind all others",
        nick = "min"
    )]
    Min,
    /// The middle.
    #[enum_value(
        name = "What the path in the middle carries: half of the viewers lose frames",
        nick = "median"
    )]
    Median,
}

struct Viewer {
    id: Arc<str>,
    estimate: Estimate,
    /// Its first estimate, and when that came.
    first: u64,
    since: Instant,
    left_behind: bool,
    /// Since when it should change sides.
    leaning: Option<Instant>,
}

impl Viewer {
    fn settles(&self, now: Instant) -> bool {
        // Headers and repairs are taken off once there are any: that is no limit of the path.
        now.duration_since(self.since) < SETTLING && self.estimate.media >= self.first / 4 * 3
    }
}

/// What the paths to all viewers carry.
#[derive(Default)]
pub struct Viewers(Vec<Viewer>);

impl Viewers {
    /// A new estimate of the path to `id`.
    pub fn tell(&mut self, id: &Arc<str>, estimate: Estimate, now: Instant) {
        match self.0.iter_mut().find(|viewer| viewer.id == *id) {
            Some(viewer) => viewer.estimate = estimate,
            None => self.0.push(Viewer {
                id: id.clone(),
                estimate,
                first: estimate.media,
                since: now,
                left_behind: false,
                leaning: None,
            }),
        }
    }

    /// `id` left.
    pub fn remove(&mut self, id: &str) {
        self.0.retain(|viewer| *viewer.id != *id);
    }

    /// Whether nobody's estimate is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the encoders are to follow: the lowest `total` and `media` of those that count (or
    /// those in the middle), and the highest loss.
    pub fn target(&mut self, policy: Policy, now: Instant) -> Option<Estimate> {
        let middle = self.middle(now)?;
        for viewer in &mut self.0 {
            let behind = viewer.estimate.media < middle / 2;
            if behind == viewer.left_behind {
                viewer.leaning = None;
                continue;
            }
            let leaning = *viewer.leaning.get_or_insert(now);
            let dead = viewer.estimate.media < middle / DEAD_PART;
            let patience = if dead { DEAD_PATIENCE } else { PATIENCE };
            if now.duration_since(leaning) >= patience {
                viewer.left_behind = behind;
                viewer.leaning = None;
            }
        }
        if self.0.iter().all(|viewer| viewer.left_behind) {
            // Those ahead of them are gone.
            self.0
                .iter_mut()
                .for_each(|viewer| viewer.left_behind = false);
        }
        let settled = self.0.iter().any(|viewer| !viewer.settles(now));
        let counts = |viewer: &&Viewer| match policy {
            Policy::Min => !viewer.left_behind && (!settled || !viewer.settles(now)),
            Policy::Median => !settled || !viewer.settles(now),
        };
        let mut counted: Vec<Estimate> = self.0.iter().filter(counts).map(|v| v.estimate).collect();
        if counted.is_empty() {
            // Those who keep up have only just come.
            counted = self
                .0
                .iter()
                .filter(|v| !v.left_behind)
                .map(|v| v.estimate)
                .collect();
        }
        counted.sort_by_key(|estimate| estimate.media);
        let place = match policy {
            Policy::Min => 0,
            Policy::Median => counted.len().saturating_sub(1) / 2,
        };
        let followed = *counted.get(place)?;
        let loss = counted.iter().map(|estimate| estimate.loss);
        Some(Estimate {
            loss: loss.fold(followed.loss, f64::max),
            ..followed
        })
    }

    /// Of two the higher one, so that one viewer can be far behind the other.
    fn middle(&self, now: Instant) -> Option<u64> {
        let rates = |settled: bool| {
            let viewers = self.0.iter().filter(|v| !settled || !v.settles(now));
            let mut rates: Vec<u64> = viewers.map(|v| v.estimate.media).collect();
            rates.sort_unstable();
            rates.get(rates.len() / 2).copied()
        };
        rates(true).or_else(|| rates(false))
    }
}

/// What comes to one pad.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Audio or video.
    pub video: bool,
    /// Its part of what the video gets, in proportion to those of the others.
    pub weight: f64,
    /// Places of its encoders in the list of all that are driven.
    pub encoders: Vec<usize>,
    /// bit/s: of audio what its encoder was set to by the user; of what nobody drives, what comes.
    pub nominal: u64,
}

/// Shares `media`, bit/s, among the encoders of `streams`: `(encoder, bit/s)`, each encoder once.
///
/// What nobody drives is taken off first, then audio, as it is set up, but for paths so narrow that
/// it would take more than a third; the rest goes to video by weight. An encoder behind several
/// pads is sent several times, and gets the least of their shares.
pub fn share(media: u64, streams: &[Stream]) -> Vec<(usize, u64)> {
    /// Whatever else there is, of the whole for what is driven.
    const LEAST_PART: u64 = 10;
    /// Speech needs so much.
    const SPEECH: u64 = 16_000;
    let undriven = streams.iter().filter(|s| s.encoders.is_empty());
    let undriven: u64 = undriven.map(|s| s.nominal).sum();
    let mut rest = media.saturating_sub(undriven).max(media / LEAST_PART);
    let driven = || streams.iter().filter(|s| !s.encoders.is_empty());
    let films: f64 = driven().filter(|s| s.video).map(|s| s.weight).sum();
    let tones: u64 = driven().filter(|s| !s.video).map(|s| s.nominal).sum();
    let for_tones = if films > 0.0 {
        tones.min((rest / 3).max(SPEECH))
    } else {
        tones.min(rest)
    };
    rest = rest.saturating_sub(for_tones).max(rest / LEAST_PART);
    let mut shares: Vec<(usize, u64)> = Vec::new();
    for stream in driven() {
        let part = if stream.video {
            // A bitrate has far fewer digits than this can hold.
            (rest as f64 * stream.weight / films) as u64
        } else {
            part_of(for_tones, stream.nominal, tones)
        };
        for encoder in &stream.encoders {
            match shares.iter_mut().find(|(other, _)| other == encoder) {
                Some((_, share)) => *share = part.min(*share),
                None => shares.push((*encoder, part)),
            }
        }
    }
    shares
}

fn part_of(whole: u64, part: u64, parts: u64) -> u64 {
    let product = u128::from(whole) * u128::from(part);
    let part = product.checked_div(parts.into()).unwrap_or(0);
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// What an encoder was set to, and when.
#[derive(Debug, Default, Clone, Copy)]
pub struct Setting(Option<(u64, Instant)>);

impl Setting {
    /// Whether the encoder is to be set to `wanted` now: far down at once, else in steps, and small
    /// differences now and then.
    pub fn is_due(&self, wanted: u64, now: Instant) -> bool {
        let Some((set, then)) = self.0 else {
            return true;
        };
        let passed = now.duration_since(then);
        let difference = wanted.abs_diff(set);
        let is_over = |percent: u64| difference > 0 && difference >= set / 100 * percent;
        if wanted < set && is_over(FALL) {
            return true;
        }
        is_over(LEAST_STEP) && passed >= FINE_INTERVAL || is_over(STEP) && passed >= RISE_INTERVAL
    }

    /// Whether it was set at all.
    pub fn is_made(&self) -> bool {
        self.0.is_some()
    }

    /// It was set to `bitrate`.
    pub fn set(&mut self, bitrate: u64, now: Instant) {
        self.0 = Some((bitrate, now));
    }
}

/// How far an encoder makes more than it was set to, for good: some count their frames twice, some
/// have no more to give up. libwebrtc corrects its encoders in the same way.
#[derive(Debug, Clone, Copy)]
pub struct Overshoot {
    factor: f64,
    /// Measured over wanted, once.
    before: Option<f64>,
    /// What was wanted meanwhile, and since when.
    wanted: Option<(u64, Instant)>,
}

impl Default for Overshoot {
    fn default() -> Self {
        Self {
            factor: 1.0,
            before: None,
            wanted: None,
        }
    }
}

impl Overshoot {
    /// What to set an encoder to from which `share`, bit/s, is wanted.
    pub fn corrected(&self, share: u64) -> u64 {
        // A bitrate has far fewer digits than this can hold.
        (share as f64 / self.factor) as u64
    }

    /// The encoder was set, for `share` bit/s.
    pub fn set(&mut self, share: u64, now: Instant) {
        let changed = self
            .wanted
            .is_none_or(|(wanted, _)| share.abs_diff(wanted) > wanted / 10);
        if changed {
            self.wanted = Some((share, now));
            self.before = None;
        }
    }

    /// It made `rate` bit/s on average since `start`.
    pub fn measured(&mut self, rate: u64, start: Instant) {
        /// More than an ordinary key frame among two seconds' frames makes of it.
        const MUCH: f64 = 1.15;
        const MOST: f64 = 3.0;
        let Some((wanted, since)) = self.wanted else {
            return;
        };
        if start < since + RISE_INTERVAL || wanted == 0 {
            return;
        }
        let ratio = rate as f64 / wanted as f64;
        let Some(before) = self.before.take() else {
            self.before = Some(ratio);
            return;
        };
        let ratio = f64::midpoint(before, ratio);
        if ratio > MUCH || (ratio < 0.95 && self.factor > 1.0) {
            self.factor = (self.factor * ratio.clamp(0.7, 2.0)).clamp(1.0, MOST);
        }
    }
}

#[cfg(test)]
mod tests;
