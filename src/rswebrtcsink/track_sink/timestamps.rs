// SPDX-License-Identifier: MPL-2.0
//! RTP timestamps that tell frames apart (RFC 3550 section 5.1).
//!
//! Buffers may share a time: rtpjitterbuffer gives one to all that came in a burst, and a relay or
//! an echo sends them on. Receivers take packets of one timestamp for one frame, and throw all of
//! them but one away.

/// See the module. RTP clock ticks; they wrap.
#[derive(Debug, Default)]
pub struct Timestamps {
    /// Of the frame that was begun last, as it came and as it is sent.
    last: Option<(u32, u32)>,
}

impl Timestamps {
    /// The timestamp to send, of a packet that came with `own` and `begins` a frame if it does
    /// not go on with the one before.
    pub fn distinct(&mut self, own: u32, begins: bool) -> u32 {
        let Some((last, sent)) = self.last else {
            return self.note(own, own);
        };
        if !begins && own == last {
            return sent;
        }
        // Pictures may come in another order than they are shown in: only times that were given
        // away since are taken.
        let given = sent.wrapping_sub(last);
        if own.wrapping_sub(last) <= given {
            self.note(own, sent.wrapping_add(1))
        } else {
            self.note(own, own)
        }
    }

    /// What comes next is compared with nothing.
    pub fn forget(&mut self) {
        self.last = None;
    }

    fn note(&mut self, own: u32, sent: u32) -> u32 {
        self.last = Some((own, sent));
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(own: &[u32]) -> Vec<u32> {
        let mut timestamps = Timestamps::default();
        own.iter()
            .map(|own| timestamps.distinct(*own, true))
            .collect()
    }

    #[test]
    fn frames_of_one_time_differ_and_those_behind_them_follow() {
        assert_eq!(sent(&[7, 7, 7, 8, 9, 3000]), [7, 8, 9, 10, 11, 3000]);
        assert_eq!(sent(&[u32::MAX, u32::MAX, 0]), [u32::MAX, 0, 1]);
    }

    #[test]
    fn other_times_stay_as_they_are() {
        // The second is shown before the first.
        let own = [9000, 3000, 6000, 18000, 12000, 15000];
        assert_eq!(sent(&own), own);
    }

    #[test]
    fn packets_of_a_frame_share_its_time() {
        let mut timestamps = Timestamps::default();
        let frames = [(5, true), (5, false), (5, true), (5, false), (6, false)];
        let sent = frames.map(|(own, begins)| timestamps.distinct(own, begins));
        assert_eq!(sent, [5, 5, 6, 6, 7]);
    }
}
