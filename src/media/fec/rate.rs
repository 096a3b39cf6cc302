// SPDX-License-Identifier: MPL-2.0
//! How much is protected when the user leaves it to us.

use std::time::Duration;

/// Less loss than this is left to retransmissions, once protection is off, ...
const ON: f64 = 0.01;
/// ... and less than this switches it off: the loss that is measured varies.
const OFF: f64 = 0.005;
/// Percent of the media's bytes at most: beyond, a lower bitrate helps more.
const MOST: f64 = 50.0;
/// Repair packets for each lost one.
const PER_LOSS: f64 = 2.0;
/// Round trips in which a retransmission is always in time, and from which on it is of no use.
const QUICK: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(100);

/// Protection that follows the loss, beside retransmissions: twice the loss, and less of it the
/// sooner a retransmission can be there.
#[derive(Debug, Default)]
pub struct Automatic {
    on: bool,
}

impl Automatic {
    /// Percent of the media's bytes to add, where part `loss` (0 to 1) of the packets is lost.
    /// `round_trip`: until a retransmission is there; `None` where there is none, or nothing is
    /// known yet.
    pub fn percentage(&mut self, loss: f64, round_trip: Option<Duration>) -> u8 {
        self.on = loss >= if self.on { OFF } else { ON };
        if !self.on {
            return 0;
        }
        let late = round_trip.map_or(1.0, |round_trip| {
            let over = round_trip.saturating_sub(QUICK).as_secs_f64();
            (over / SLOW.saturating_sub(QUICK).as_secs_f64()).min(1.0)
        });
        (loss * 100.0 * PER_LOSS * late).clamp(0.0, MOST).round() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentage(loss: f64, milliseconds: u64) -> u8 {
        Automatic::default().percentage(loss, Some(Duration::from_millis(milliseconds)))
    }

    #[test]
    fn without_loss_nothing_is_added() {
        assert_eq!(percentage(0.0, 300), 0);
        assert_eq!(percentage(0.009, 300), 0);
    }

    #[test]
    fn twice_the_loss_is_added_and_never_more_than_half() {
        assert_eq!(percentage(0.05, 300), 10);
        assert_eq!(percentage(0.4, 300), 50);
        assert_eq!(Automatic::default().percentage(0.1, None), 20);
        assert_eq!(Automatic::default().percentage(f64::NAN, None), 0);
    }

    #[test]
    fn where_retransmissions_are_quick_less_is_added() {
        assert_eq!(percentage(0.1, 10), 0);
        assert_eq!(percentage(0.1, 60), 10);
        assert_eq!(percentage(0.1, 100), 20);
    }

    #[test]
    fn it_does_not_flap() {
        let mut automatic = Automatic::default();
        assert_eq!(automatic.percentage(0.008, None), 0);
        assert_eq!(automatic.percentage(0.012, None), 2);
        assert_eq!(automatic.percentage(0.008, None), 2);
        assert_eq!(automatic.percentage(0.004, None), 0);
    }
}
