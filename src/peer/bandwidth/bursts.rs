// SPDX-License-Identifier: MPL-2.0
//! Whether a frame may leave at once. Spreading it costs its receiver the time that it takes, and us a
//! wake-up for every few milliseconds; it is of use where a buffer on the way is too short for it.

use std::time::{Duration, Instant};

/// Where more than this is lost, bursts may be why.
const ROUGH: f64 = 0.02;
/// How long that is believed.
const HOLD: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    /// A limit of the path, or loss beyond [`ROUGH`], was last seen.
    rough: Option<Instant>,
}

impl Bursts {
    /// To be called after each report: part `loss` of the packets is lost, and whether the path
    /// showed its `limit`.
    pub(super) fn note(&mut self, limit: bool, loss: f64, now: Instant) {
        if limit || loss > ROUGH {
            self.rough = Some(now);
        }
        let holds = |at: &Instant| now.saturating_duration_since(*at) < HOLD;
        self.rough = self.rough.filter(holds);
    }

    /// Nothing tells against it.
    pub(super) fn come_through(&self) -> bool {
        self.rough.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_limits_tell_against_bursts_for_a_time() {
        for (limit, loss) in [(false, 0.03), (true, 0.0)] {
            let mut bursts = Bursts::default();
            let start = Instant::now();
            bursts.note(false, 0.01, start);
            assert!(bursts.come_through());
            bursts.note(limit, loss, start);
            bursts.note(false, 0.0, start + HOLD - Duration::from_secs(1));
            assert!(!bursts.come_through());
            bursts.note(false, 0.0, start + HOLD);
            assert!(bursts.come_through());
        }
    }
}
