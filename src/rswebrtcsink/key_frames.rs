// SPDX-License-Identifier: MPL-2.0
//! Tells encoders that answer a request for a key frame from those that only take it.

use std::time::{Duration, Instant};

/// A key frame that was asked for comes within this time, and this many frames: some encoders look
/// ahead for a second or more.
const PATIENCE: Duration = Duration::from_secs(2);
const FRAMES: u32 = 15;
/// So many requests in a row without an answer are no accident.
const UNANSWERED: u32 = 3;

/// What became of the requests for one stream.
#[derive(Debug, Default)]
pub struct KeyFrameWatch {
    /// When the oldest open request was made, and the frames since then.
    asked: Option<(Instant, u32)>,
    unanswered: u32,
}

impl KeyFrameWatch {
    /// Somebody upstream took a request.
    pub fn asked(&mut self, now: Instant) {
        self.asked.get_or_insert((now, 0));
    }

    /// A frame came.
    pub fn frame(&mut self, key: bool, now: impl FnOnce() -> Instant) {
        if key {
            self.asked = None;
            if !self.ignores() {
                self.unanswered = 0;
            }
            return;
        }
        let Some((asked, frames)) = &mut self.asked else {
            return;
        };
        *frames = frames.saturating_add(1);
        if *frames >= FRAMES && now().duration_since(*asked) >= PATIENCE {
            self.asked = None;
            self.unanswered = self.unanswered.saturating_add(1);
        }
    }

    /// The encoder makes key frames when it likes, whatever is asked for. For good: a regular one
    /// that comes at last is no answer.
    pub fn ignores(&self) -> bool {
        self.unanswered >= UNANSWERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames at 30 a second for `seconds`; the last one is a key frame if `key`.
    fn play(watch: &mut KeyFrameWatch, now: &mut Instant, seconds: u32, key: bool) {
        for n in 1..=seconds * 30 {
            *now += Duration::from_millis(33);
            let at = *now;
            watch.frame(key && n == seconds * 30, || at);
        }
    }

    #[test]
    fn three_requests_without_an_answer_are_ignorance() {
        let (mut watch, mut now) = (KeyFrameWatch::default(), Instant::now());
        for request in 1..=3 {
            watch.asked(now);
            play(&mut watch, &mut now, 3, false);
            assert_eq!(watch.ignores(), request == 3);
        }
        play(&mut watch, &mut now, 1, true);
        assert!(watch.ignores(), "a regular key frame");
    }

    #[test]
    fn a_slow_answer_is_one() {
        let (mut watch, mut now) = (KeyFrameWatch::default(), Instant::now());
        for _ in 0..10 {
            watch.asked(now);
            play(&mut watch, &mut now, 1, false);
            watch.asked(now);
            play(&mut watch, &mut now, 2, true);
        }
        assert!(!watch.ignores());
    }

    #[test]
    fn without_requests_and_without_frames_nothing_is_said() {
        let (mut watch, mut now) = (KeyFrameWatch::default(), Instant::now());
        play(&mut watch, &mut now, 60, false);
        for _ in 0..5 {
            watch.asked(now);
            now += Duration::from_secs(10);
            let at = now;
            watch.frame(false, || at);
        }
        assert!(!watch.ignores(), "a picture that hardly changes");
    }
}
