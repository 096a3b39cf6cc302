// SPDX-License-Identifier: MPL-2.0
//! Which packets came already (RFC 3711 section 3.3.2).
//!
//! Own code: webrtc-rs's window of as many packets is shifted as a whole with each that comes, a
//! kilobyte of it, which was 8 % of a receiver's instructions.

use rtc::shared::replay_detector::ReplayDetector;

/// Packets that may arrive late (a retransmission after a big key frame) and still be decrypted. The
/// numbers of SRTP and of SRTCP are both multiples of it.
const WINDOW: u64 = 8192;
const BITS: u64 = 64;

/// See the module.
pub(super) struct Replay {
    /// The highest number, after which they begin anew.
    highest: u64,
    /// The newest that was taken.
    newest: Option<u64>,
    /// What [`ReplayDetector::check`] let pass.
    checked: Option<u64>,
    /// A bit for each number of the window, at its remainder.
    seen: [u64; (WINDOW / BITS) as usize],
}

impl Replay {
    /// Of numbers up to `highest`, 2^n - 1.
    pub(super) fn new(highest: u64) -> Self {
        Self {
            highest,
            newest: None,
            checked: None,
            seen: [0; (WINDOW / BITS) as usize],
        }
    }

    /// How far `number` is before the newest one, by the shorter way; negative: it is newer.
    fn age(&self, number: u64) -> i64 {
        let Some(newest) = self.newest else {
            return -1;
        };
        let count = self.highest + 1;
        let ahead = number.wrapping_sub(newest) & self.highest;
        // Both fit: numbers have 31 bits at most.
        if ahead <= count / 2 {
            -(ahead as i64)
        } else {
            (count - ahead) as i64
        }
    }

    fn place(number: u64) -> (usize, u64) {
        let at = number % WINDOW;
        ((at / BITS) as usize, 1 << (at % BITS))
    }

    fn is_seen(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, number: u64, seen: bool) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word = if seen { *word | bit } else { *word & !bit };
        }
    }
}

impl ReplayDetector for Replay {
    fn check(&mut self, number: u64) -> bool {
        let age = self.age(number);
        let old = age >= WINDOW as i64 || age >= 0 && self.is_seen(number);
        self.checked = Some(number).filter(|_| number <= self.highest && !old);
        self.checked.is_some()
    }

    fn accept(&mut self) {
        let Some(number) = self.checked.take() else {
            return;
        };
        let ahead = self.age(number).saturating_neg();
        if ahead >= WINDOW as i64 {
            self.seen = [0; (WINDOW / BITS) as usize];
        } else {
            // What lies between was not seen; its bits are of a window before.
            (1..ahead.max(1) as u64).for_each(|back| {
                self.set(number.wrapping_sub(back) & self.highest, false);
            });
        }
        if ahead > 0 {
            self.newest = Some(number);
        }
        self.set(number, true);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::shared::replay_detector::WrappedSlidingWindowDetector;

    use super::*;

    fn take(replay: &mut dyn ReplayDetector, number: u64) -> bool {
        let new = replay.check(number);
        if new {
            replay.accept();
        }
        new
    }

    #[test]
    fn a_packet_is_taken_once_and_not_when_it_is_older_than_the_window() {
        let mut replay = Replay::new(65_535);
        assert!(take(&mut replay, 65_000));
        assert!(take(&mut replay, 100));
        assert!(take(&mut replay, 64_999) && take(&mut replay, 65_535));
        for old in [65_000, 100, 64_999, 65_535] {
            assert!(!take(&mut replay, old), "{old}");
        }
        assert!(take(&mut replay, 100 + 65_536 - 8191));
        assert!(!take(&mut replay, 100 + 65_536 - 8192));
        assert!(!take(&mut replay, 65_536));
    }

    #[test]
    fn what_was_checked_and_not_accepted_may_come_again() {
        let mut replay = Replay::new(65_535);
        assert!(take(&mut replay, 1));
        assert!(replay.check(2));
        assert!(!replay.check(1));
        replay.accept();
        assert!(take(&mut replay, 2));
    }

    proptest! {
        #[test]
        fn it_says_what_webrtc_rs_says(
            start in 0u64..65_536,
            steps in proptest::collection::vec(
                prop_oneof![8 => -40i64..40, 1 => -9000i64..9000, 1 => -12_000i64..12_000], 1..400),
        ) {
            let mut ours = Replay::new(65_535);
            let mut theirs = WrappedSlidingWindowDetector::new(WINDOW as usize, 65_535);
            let mut newest = start as i64;
            for step in steps {
                // Half way round it is a matter of taste which of two is newer.
                let number = (newest + step).rem_euclid(65_536) as u64;
                prop_assert_eq!(take(&mut ours, number), take(&mut theirs, number));
                newest += step.max(0);
            }
        }
    }
}
