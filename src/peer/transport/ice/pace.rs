// SPDX-License-Identifier: MPL-2.0
//! How fast checks follow each other.

use std::time::{Duration, Instant};

/// Between two rounds of checks.
const ROUND: Duration = Duration::from_millis(10);
/// Rounds are that fast for this long, ...
const FAST_CHECKS: Duration = Duration::from_secs(1);
/// ... then at [`BRISK_ROUND`] up to here, ...
const BRISK_CHECKS: Duration = Duration::from_secs(5);
const BRISK_ROUND: Duration = Duration::from_millis(50);
/// ... then, as long as no datagram comes in, at this one (RFC 8445 section 14.3: RTO 500 ms).
const PATIENT_ROUND: Duration = Duration::from_millis(500);
/// A datagram makes the checks fast again for this long.
const HEARD_FOR: Duration = Duration::from_secs(3);

/// Decides how fast checks follow each other: a description may be carried by hand, and nobody
/// answers before it is there.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pace {
    pub(super) since: Option<Instant>,
    pub(super) heard: Option<Instant>,
}

impl Pace {
    /// The least time between two rounds of checks.
    pub(super) fn shortest(&self, now: Instant) -> Duration {
        let heard = self
            .heard
            .is_some_and(|at| now.saturating_duration_since(at) < HEARD_FOR);
        let running = self
            .since
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if running < FAST_CHECKS || heard {
            ROUND
        } else if running < BRISK_CHECKS {
            BRISK_ROUND
        } else {
            PATIENT_ROUND
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_slow_down_until_something_is_heard() {
        let start = Instant::now();
        let mut pace = Pace {
            since: Some(start),
            heard: None,
        };
        let after = |s: u64| start + Duration::from_secs(s);
        assert_eq!(pace.shortest(start), ROUND);
        assert_eq!(pace.shortest(after(2)), BRISK_ROUND);
        assert_eq!(pace.shortest(after(300)), PATIENT_ROUND);
        pace.heard = Some(after(300));
        assert_eq!(pace.shortest(after(301)), ROUND);
        assert_eq!(pace.shortest(after(304)), PATIENT_ROUND);
    }
}
