// SPDX-License-Identifier: MPL-2.0
//! When the encoder of a stream is asked for a key frame. Tells encoders that answer such a request
//! from those that only take it.

use std::time::{Duration, Instant};

/// A key frame that was asked for comes within this time, and this many frames: some encoders look
/// ahead for a second or more.
const PATIENCE: Duration = Duration::from_secs(2);
const FRAMES: u32 = 15;
/// So many requests in a row without an answer are no accident.
const UNANSWERED: u32 = 3;

/// What to do about a wish for a key frame.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyFrame {
    /// Ask for it.
    Now,
    /// Ask for it after this time.
    After {
        /// From now.
        delay: Duration,
        /// Whether somebody makes them, as far as is known.
        made: bool,
    },
    /// It will be asked for.
    Pending {
        /// Whether somebody makes them, as far as is known.
        made: bool,
    },
}

/// The requests for key frames of one stream.
#[derive(Debug)]
pub struct KeyFrameRequests {
    /// Encoders are not asked more often.
    interval: Duration,
    asked: Option<Instant>,
    /// One is to be asked for as soon as that may be done again; whoever wanted it is reminded.
    pending: bool,
    /// As `pending`, with the first frame after this moment.
    due: Option<Instant>,
    /// Nobody upstream took the last request.
    unmade: bool,
    watch: KeyFrameWatch,
}

impl KeyFrameRequests {
    /// None yet.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            asked: None,
            pending: false,
            due: None,
            unmade: false,
            watch: KeyFrameWatch::default(),
        }
    }

    /// Somebody wants a key frame. If that is too soon, [`Self::frame`] tells when it is not any
    /// more (`by_frames`), or [`Self::reminded`] has to be called then.
    pub fn want(&mut self, by_frames: bool, now: Instant) -> KeyFrame {
        let made = !self.unmade;
        if self.pending {
            return KeyFrame::Pending { made };
        }
        let passed = self.asked.map(|then| now.saturating_duration_since(then));
        match passed.and_then(|passed| self.interval.checked_sub(passed)) {
            Some(delay) if !delay.is_zero() && made => {
                if by_frames {
                    self.due = Some(now + delay);
                } else {
                    self.pending = true;
                }
                KeyFrame::After { delay, made }
            }
            // There is no use in asking whoever took none of the requests, but now and then.
            Some(delay) if !delay.is_zero() => KeyFrame::Pending { made },
            _ => {
                self.asked = Some(now);
                self.due = None;
                KeyFrame::Now
            }
        }
    }

    /// The time of [`KeyFrame::After`] is over.
    pub fn reminded(&mut self) {
        self.pending = false;
        self.asked = None;
    }

    /// The request was `taken`, or was not. Tells whether a key frame will come of it, as far as is
    /// known.
    pub fn asked(&mut self, taken: bool, now: Instant) -> bool {
        if taken {
            self.watch.asked(now);
        }
        self.unmade = !taken || self.watch.ignores();
        !self.unmade
    }

    /// A frame came. Tells whether one that was wanted too soon may be asked for now: a key frame
    /// that came meanwhile is as good.
    pub fn frame(&mut self, key: bool, now: impl Fn() -> Instant) -> bool {
        self.watch.frame(key, &now);
        if key {
            self.due = None;
        }
        self.due.take_if(|due| now() >= *due).is_some()
    }

    /// See [`KeyFrameWatch::ignores`].
    pub fn ignores(&self) -> bool {
        self.watch.ignores()
    }
}

/// What became of the requests for one stream.
#[derive(Debug, Default)]
struct KeyFrameWatch {
    /// When the oldest open request was made, and the frames since then.
    asked: Option<(Instant, u32)>,
    unanswered: u32,
}

impl KeyFrameWatch {
    /// Somebody upstream took a request.
    fn asked(&mut self, now: Instant) {
        self.asked.get_or_insert((now, 0));
    }

    /// A frame came.
    fn frame(&mut self, key: bool, now: impl FnOnce() -> Instant) {
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
    fn ignores(&self) -> bool {
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
    fn what_is_wanted_too_soon_is_due_with_a_later_frame_unless_one_came() {
        let mut requests = KeyFrameRequests::new(Duration::from_millis(500));
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(requests.want(true, start), KeyFrame::Now);
        assert!(requests.asked(true, start));
        assert!(!requests.frame(true, || at(100)));
        let delay = Duration::from_millis(200);
        let after = KeyFrame::After { delay, made: true };
        assert_eq!(requests.want(true, at(300)), after);
        assert!(!requests.frame(false, || at(499)));
        assert!(requests.frame(false, || at(500)));
        assert!(!requests.frame(false, || at(501)), "told once");
        assert_eq!(requests.want(true, at(501)), KeyFrame::Now);
        requests.want(true, at(600));
        assert!(!requests.frame(true, || at(700)), "it came by itself");
        assert!(!requests.frame(false, || at(2000)));
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
