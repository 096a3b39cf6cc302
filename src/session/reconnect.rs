// SPDX-License-Identifier: MPL-2.0
//! When a call that was up and is lost is made again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::signalling::{Retry, SignallerConfig, SignallingError};

use super::error::CallError;
use super::event::EndCause;

/// The delays grow from this ...
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// ... to this, while the loss is fresh: whoever restarts a server wants it back at once ...
const FRESH_DELAY: Duration = Duration::from_secs(2);
/// ... and to this later.
const LONG_DELAY: Duration = Duration::from_secs(15);
/// How long a loss is fresh.
const FRESH: Duration = Duration::from_secs(60);

/// How a call is made again.
#[derive(Debug, Clone)]
pub struct Reconnect {
    /// The way of signalling.
    pub again: SignallerConfig,
    /// Tries in a row; `None`: without end.
    pub limit: Option<u32>,
}

/// Counts the tries since the call was last up.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
    since: Option<Instant>,
    delay: Duration,
}

impl Backoff {
    /// The call is up.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Tries since the call was up.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// How long to wait before the next try; `None` after the last one. `spread` in 0..1 keeps
    /// those that lost the same server from coming back all at once.
    pub(super) fn next(
        &mut self,
        limit: Option<u32>,
        least: Duration,
        now: Instant,
        spread: f64,
    ) -> Option<Duration> {
        if limit.is_some_and(|limit| self.tries >= limit) {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let most = if now.saturating_duration_since(since) < FRESH {
            FRESH_DELAY
        } else {
            LONG_DELAY
        };
        let delay = self.delay.min(most);
        self.delay = (delay * 2).max(FIRST_DELAY);
        self.tries += 1;
        Some(delay.mul_f64(1.0 - spread.clamp(0.0, 1.0) / 4.0).max(least))
    }
}

/// Whether another try has a chance, and not before when; `None` when it has none. `said_bye`:
/// the remote told that its streams are over.
pub(super) fn retry(outcome: &Result<EndCause, CallError>, said_bye: bool) -> Option<Duration> {
    match outcome {
        Ok(EndCause::Local) => None,
        Ok(EndCause::Remote) => (!said_bye).then_some(Duration::ZERO),
        Err(CallError::Signalling(SignallingError::Http { retry, .. })) => match retry {
            Retry::Never => None,
            Retry::Later => Some(Duration::ZERO),
            Retry::After(delay) => Some(*delay),
        },
        Err(CallError::Lost(_) | CallError::NotConnected(_) | CallError::Address(_)) => {
            Some(Duration::ZERO)
        }
        Err(CallError::Signalling(SignallingError::Closed(_))) => Some(Duration::ZERO),
        Err(_) => None,
    }
}

/// Spreads the tries of those that lost the same server.
pub(super) fn random_byte() -> u8 {
    RandomState::new().hash_one(Instant::now()).to_le_bytes()[0] // infallible: it has eight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_server_is_asked_within_two_seconds_and_one_that_stays_away_rarely() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..8)
            .map(|_| backoff.next(None, Duration::ZERO, start, 0.0).unwrap())
            .collect();
        assert_eq!(delays[0], Duration::ZERO);
        assert!(delays.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(delays[7], FRESH_DELAY);
        let late = start + Duration::from_secs(3600);
        let later: Vec<_> = (0..4)
            .map(|_| backoff.next(None, Duration::ZERO, late, 0.0).unwrap())
            .collect();
        assert_eq!(later[3], LONG_DELAY);
        backoff.succeeded();
        assert_eq!(
            backoff.next(None, Duration::ZERO, late, 0.9),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn tries_end_at_the_limit_and_retry_after_is_kept() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let least = Duration::from_secs(7);
        assert_eq!(backoff.next(Some(2), least, now, 1.0), Some(least));
        assert!(backoff.next(Some(2), Duration::ZERO, now, 1.0).is_some());
        assert_eq!(backoff.next(Some(2), Duration::ZERO, now, 1.0), None);
        assert_eq!(backoff.tries(), 2);
    }

    #[test]
    fn a_bye_and_a_refusal_for_good_end_the_call() {
        assert_eq!(retry(&Ok(EndCause::Local), false), None);
        assert_eq!(retry(&Ok(EndCause::Remote), true), None);
        assert_eq!(retry(&Ok(EndCause::Remote), false), Some(Duration::ZERO));
        let refused = |retry| {
            Err(CallError::Signalling(SignallingError::Http {
                text: String::new(),
                status: None,
                retry,
            }))
        };
        assert_eq!(retry(&refused(Retry::Never), false), None);
        let after = Duration::from_secs(3);
        assert_eq!(retry(&refused(Retry::After(after)), false), Some(after));
    }
}
