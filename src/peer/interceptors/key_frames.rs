// SPDX-License-Identifier: MPL-2.0
//! When a stream of video that we receive needs a key frame: at its beginning, if that is not one,
//! and when something is lost for good. It is asked for until one comes.

use std::time::{Duration, Instant};

use crate::media::codec::{Codec, MediaKind};
use crate::media::keyframe::is_key;

/// An encoder takes this long to answer, beside the round trip.
const ENCODING: Duration = Duration::from_millis(100);
/// From one request to the next at most.
const LONGEST: Duration = Duration::from_secs(2);
/// Requests before it is asked for seldom only: whoever answers none of these may answer none.
const MOST: u32 = 10;
/// From one such request to the next, while media comes.
const SELDOM: Duration = Duration::from_secs(10);

/// One stream's need; see the module.
pub(super) struct KeyFrames {
    codec: String,
    /// Of the first packet, until a later frame or a key frame comes.
    first: Option<u32>,
    /// Only a key frame behind this packet helps.
    missed: Option<u32>,
    due: Option<Instant>,
    /// After [`MOST`] requests: what comes from then on makes the next one.
    again: Option<Instant>,
    asked: u32,
}

impl KeyFrames {
    /// For a stream of `codec`; `None` where there is no such thing, or we could not tell one.
    pub(super) fn new(codec: &Codec, timestamp: u32) -> Option<Self> {
        let known = ["VP8", "VP9", "H264", "H265", "AV1"];
        let known = known
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&codec.name));
        (codec.kind == MediaKind::Video && known).then(|| Self {
            codec: codec.name.clone(),
            first: Some(timestamp),
            missed: None,
            due: None,
            again: None,
            asked: 0,
        })
    }

    /// Packet `number` is here.
    pub(super) fn came(&mut self, number: u32, timestamp: u32, payload: &[u8], now: Instant) {
        if self.first.is_none() && self.due.is_none() && self.again.is_none() {
            return;
        }
        if self.missed.is_none_or(|missed| number > missed) && is_key(&self.codec, payload) {
            self.first = None;
            self.due = None;
            self.again = None;
        } else if self.first.is_some_and(|first| first != timestamp) {
            // The first frame is over, and no decoder could begin with it.
            self.first = None;
            self.need(now);
        } else if self.again.is_some_and(|at| now >= at) {
            self.again = None;
            self.due = Some(now);
        }
    }

    /// Packet `number` is lost for good.
    pub(super) fn missed(&mut self, number: u32, now: Instant) {
        self.missed = self.missed.max(Some(number));
        self.need(now);
    }

    /// A new numbering.
    pub(super) fn restart(&mut self, timestamp: u32) {
        self.first = Some(timestamp);
        self.missed = None;
    }

    fn need(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = Some(now);
            self.again = None;
            self.asked = 0;
        }
    }

    /// When [`Self::poll`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to ask for a key frame now, which takes at least `round_trip` to come.
    pub(super) fn poll(&mut self, now: Instant, round_trip: Duration) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        let wait = (round_trip + ENCODING) * (1 << self.asked.min(4));
        self.asked = self.asked.saturating_add(1);
        if self.asked < MOST {
            self.due = Some(now + wait.min(LONGEST));
        } else {
            self.due = None;
            self.again = Some(now + SELDOM);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 2] = [0x10, 0];
    const DELTA: [u8; 2] = [0x10, 1];
    const REST: [u8; 2] = [0, 0];

    fn stream() -> (KeyFrames, Instant) {
        let codec = Codec {
            kind: MediaKind::Video,
            name: "vp8".to_owned(),
            clock_rate: 90000,
            channels: None,
            fmtp: String::new(),
            payload_type: 96,
            rtx_payload_type: None,
            feedback: Vec::new(),
        };
        (KeyFrames::new(&codec, 0).unwrap(), Instant::now())
    }

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    #[test]
    fn a_stream_that_begins_with_a_key_frame_needs_none() {
        let (mut stream, now) = stream();
        stream.came(1, 0, &KEY, now);
        stream.came(2, 3000, &DELTA, now);
        assert!(!stream.poll(now, ROUND_TRIP));
        assert_eq!(stream.next(), None);
    }

    #[test]
    fn a_stream_that_begins_within_a_frame_is_asked_until_one_comes() {
        let (mut stream, start) = stream();
        stream.came(1, 0, &REST, start);
        assert!(!stream.poll(start, ROUND_TRIP));
        stream.came(2, 3000, &DELTA, start);
        assert!(stream.poll(start, ROUND_TRIP));
        assert!(!stream.poll(start + ENCODING, ROUND_TRIP));
        assert!(stream.poll(start + ENCODING + ROUND_TRIP, ROUND_TRIP));
        stream.came(3, 6000, &KEY, start);
        assert_eq!(stream.next(), None);
    }

    #[test]
    fn only_a_key_frame_behind_the_loss_helps() {
        let (mut stream, now) = stream();
        stream.came(1, 0, &KEY, now);
        stream.missed(5, now);
        assert!(stream.poll(now, ROUND_TRIP));
        stream.came(4, 3000, &KEY, now);
        assert!(stream.next().is_some());
        stream.came(6, 6000, &KEY, now);
        assert_eq!(stream.next(), None);
    }

    #[test]
    fn whoever_never_answers_is_asked_seldom_and_only_while_media_comes() {
        let (mut stream, mut now) = stream();
        stream.missed(1, now);
        let mut asked = 0;
        while let Some(due) = stream.next() {
            now = due;
            asked += u32::from(stream.poll(now, ROUND_TRIP));
        }
        assert_eq!(asked, MOST);
        stream.came(2, 0, &DELTA, now + SELDOM - ENCODING);
        assert_eq!(stream.next(), None);
        for _ in 0..3 {
            now += SELDOM;
            stream.came(2, 0, &DELTA, now);
            assert!(stream.poll(now, ROUND_TRIP));
            assert_eq!(stream.next(), None);
        }
        stream.came(3, 0, &KEY, now);
        stream.came(4, 0, &DELTA, now + SELDOM);
        assert_eq!(stream.next(), None);
    }
}
