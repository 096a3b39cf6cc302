// SPDX-License-Identifier: MPL-2.0
//! Presentation times that tell frames apart.
//!
//! After a delay, of the sender, the path or this machine, rtpjitterbuffer gives all frames of the
//! burst behind it one time. h264parse and h265parse take frames of one time for pieces of one, and
//! leave all of them but the first without any; muxers then drop those.

use std::time::Duration;

/// Between two frames of one time: that of Matroska's clock.
const STEP: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Spacing {
    /// RTP timestamp of the last frame, and when it is shown.
    last: Option<(u32, gst::ClockTime)>,
}

impl Spacing {
    /// When the frame with RTP timestamp `timestamp` is shown, if the jitter buffer says `pts`.
    pub fn shown(&mut self, timestamp: u32, pts: gst::ClockTime) -> gst::ClockTime {
        let step = gst::ClockTime::try_from(STEP).unwrap_or_default();
        let shown = match self.last {
            Some((last, shown)) if last == timestamp => shown,
            // Pictures may come in another order than they are shown in.
            Some((last, shown)) if is_later(timestamp, last) => pts.max(shown + step),
            _ => pts,
        };
        self.last = Some((timestamp, shown));
        shown
    }
}

fn is_later(timestamp: u32, than: u32) -> bool {
    timestamp.wrapping_sub(than) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(frames: &[(u32, u64)]) -> Vec<u64> {
        let mut spacing = Spacing::default();
        let time = gst::ClockTime::from_mseconds;
        let each = frames.iter();
        each.map(|(timestamp, pts)| spacing.shown(*timestamp, time(*pts)).mseconds())
            .collect()
    }

    #[test]
    fn frames_of_one_time_are_shown_one_after_the_other() {
        let burst = [(0, 5), (3000, 5), (3000, 5), (6000, 5), (9000, 38)];
        assert_eq!(shown(&burst), [5, 6, 6, 7, 38]);
        assert_eq!(shown(&[(u32::MAX, 5), (2999, 5)]), [5, 6], "it wraps");
    }

    #[test]
    fn other_times_stay_whatever_their_order() {
        // The second is shown before the first.
        let order = [
            (9000, 100),
            (3000, 34),
            (6000, 67),
            (18000, 200),
            (12000, 134),
        ];
        assert_eq!(shown(&order), [100, 34, 67, 200, 134]);
    }
}
