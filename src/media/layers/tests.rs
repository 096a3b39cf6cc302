// SPDX-License-Identifier: MPL-2.0
use std::time::{Duration, Instant};

use super::*;

/// A sender of three layers at 20 frames a second, two packets a frame.
struct Sender {
    selector: Selector,
    start: Instant,
    frame: u32,
    sequences: [u16; 3],
    /// Layers that send.
    on: [bool; 3],
    /// Layers that make a key frame next.
    key: [bool; 3],
    /// Sender reports are given.
    reports: bool,
    /// What went on: layer, key frame, and as what.
    out: Vec<(usize, bool, Passed)>,
    asked: Vec<usize>,
}

const STEP: Duration = Duration::from_millis(50);
const TICKS: u32 = 4500;
/// Each layer has a timestamp base of its own.
const BASES: [u32; 3] = [1000, 0xffff_f000, 77_000_000];

impl Sender {
    fn new(choice: Choice) -> Self {
        let rids = ["h", "m", "l"].map(str::to_owned);
        let mut selector = Selector::new(rids, 90_000, choice);
        for layer in 0..3 {
            selector.begin(layer, 100 + layer as u32);
        }
        Self {
            selector,
            start: Instant::now(),
            frame: 0,
            sequences: [65_530, 10, 500],
            on: [true; 3],
            key: [true; 3],
            reports: true,
            out: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.start + STEP * self.frame
    }

    /// One frame of each layer, the largest first; asks are answered with the next frame.
    fn frames(&mut self, count: usize) {
        for _ in 0..count {
            let now = self.now();
            for (layer, base) in BASES.into_iter().enumerate() {
                if !self.on[layer] {
                    continue;
                }
                let timestamp = base.wrapping_add(self.frame * TICKS);
                let key = std::mem::take(&mut self.key[layer]);
                if self.reports && self.frame.is_multiple_of(20) {
                    let ntp = u64::from(self.frame) * (1 << 32) / 20;
                    self.selector.report(layer, ntp, timestamp);
                }
                let payload = vec![0u8; 900 >> layer];
                for part in 0..2 {
                    self.sequences[layer] = self.sequences[layer].wrapping_add(1);
                    let seen = Seen {
                        sequence: self.sequences[layer],
                        timestamp,
                        marker: part == 1,
                        key_start: key && part == 0,
                        payload: &payload,
                    };
                    if let Some(passed) = self.selector.pass(layer, &seen, now) {
                        self.out.push((layer, key, passed));
                    }
                }
            }
            if self.selector.due().is_some_and(|due| now >= due)
                && let Some(layer) = self.selector.ask(now)
            {
                self.asked.push(layer);
                self.key[layer] = true;
            }
            self.frame += 1;
        }
    }

    /// The layers that went on, one after the other.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = self.out.iter().map(|(layer, ..)| *layer).collect();
        order.dedup();
        order
    }

    /// One SSRC, no number left out or used twice, time that goes on, and each layer begun with a
    /// key frame.
    fn check(&self) {
        let ssrc = self.out[0].2.ssrc;
        for pair in self.out.windows(2) {
            let [(before, _, one), (after, key, two)] = pair else {
                panic!();
            };
            assert_eq!(two.ssrc, ssrc);
            assert_eq!(two.sequence, one.sequence.wrapping_add(1));
            let ahead = two.timestamp.wrapping_sub(one.timestamp) as i32;
            assert!((0..=90_000).contains(&ahead), "{pair:?}");
            assert!(before == after || (*key && ahead > 0), "{pair:?}");
        }
    }
}

#[test]
fn the_largest_layer_goes_on_and_the_next_one_while_it_is_stopped() {
    let mut sender = Sender::new(Choice::Best);
    sender.frames(40);
    assert_eq!(sender.order(), [0]);
    sender.on[0] = false;
    sender.frames(40);
    assert_eq!(sender.order(), [0, 1]);
    let gap = sender.out.iter().filter(|(layer, ..)| *layer == 1).count();
    assert!(gap >= 60, "half a second without a picture at most: {gap}");
    (sender.on[0], sender.key[0]) = (true, true);
    sender.frames(40);
    assert_eq!(sender.order(), [0, 1, 0]);
    sender.check();
    assert!(sender.asked.contains(&1) && !sender.asked.contains(&2));
}

#[test]
fn timestamps_are_those_of_one_clock_where_sender_reports_tell() {
    let mut sender = Sender::new(Choice::Best);
    sender.frames(40);
    sender.on[0] = false;
    sender.frames(40);
    sender.check();
    let (_, _, last) = sender.out.last().copied().unwrap();
    let expected = BASES[0].wrapping_add(79 * TICKS);
    assert_eq!(last.timestamp, expected);
}

#[test]
fn without_sender_reports_time_goes_on_by_arrival() {
    let mut sender = Sender::new(Choice::Best);
    sender.reports = false;
    sender.frames(40);
    sender.on[0] = false;
    sender.frames(40);
    sender.check();
    assert_eq!(sender.order(), [0, 1]);
}

#[test]
fn another_choice_changes_the_layer_at_its_next_key_frame() {
    let mut sender = Sender::new(Choice::Lowest);
    sender.frames(40);
    assert_eq!(sender.order(), [0, 2], "it begins with what comes first");
    sender.selector.choose(Choice::Rid("m".to_owned()));
    sender.frames(10);
    assert_eq!(sender.order(), [0, 2, 1]);
    sender.selector.choose(Choice::Best);
    sender.frames(10);
    assert_eq!(sender.order(), [0, 2, 1, 0]);
    sender.check();
    assert_eq!(sender.asked, [2, 1, 0], "each was asked once");
}

#[test]
fn a_named_layer_that_does_not_come_is_stood_in_for() {
    let mut sender = Sender::new(Choice::Rid("h".to_owned()));
    sender.on[0] = false;
    sender.frames(60);
    assert_eq!(sender.order(), [1]);
    (sender.on[0], sender.key[0]) = (true, true);
    sender.frames(10);
    assert_eq!(sender.order(), [1, 0]);
    sender.check();
}

#[test]
fn a_layer_that_says_bye_is_left_at_once() {
    let mut sender = Sender::new(Choice::Best);
    sender.frames(20);
    sender.on[0] = false;
    sender.selector.stopped(0);
    sender.frames(3);
    assert_eq!(sender.order(), [0, 1]);
    sender.check();
}

#[test]
fn what_was_missing_of_a_layer_that_was_left_still_goes_on() {
    let mut sender = Sender::new(Choice::Best);
    sender.frames(20);
    let last = sender.sequences[0];
    let (_, _, went_on) = sender.out.last().copied().unwrap();
    let now = sender.now();
    let payload = [0u8; 10];
    let mut seen = Seen {
        sequence: last.wrapping_add(2),
        timestamp: BASES[0].wrapping_add(20 * TICKS),
        marker: true,
        key_start: false,
        payload: &payload,
    };
    // One packet is missing when the layer is left.
    sender.selector.pass(0, &seen, now).unwrap();
    sender.on[0] = false;
    sender.selector.stopped(0);
    sender.frames(3);
    assert_eq!(sender.order(), [0, 1]);
    seen.sequence = last.wrapping_add(1);
    let late = sender.selector.pass(0, &seen, sender.now()).unwrap();
    assert_eq!(late.sequence, went_on.sequence.wrapping_add(1));
    // Of the layer itself what is newer has no place any more.
    seen.sequence = last.wrapping_add(3);
    assert_eq!(sender.selector.pass(0, &seen, sender.now()), None);
}

#[test]
fn a_frame_that_was_cut_off_leaves_a_hole() {
    let mut sender = Sender::new(Choice::Best);
    sender.frames(20);
    let seen = Seen {
        sequence: sender.sequences[0].wrapping_add(1),
        timestamp: BASES[0].wrapping_add(20 * TICKS),
        marker: false,
        key_start: false,
        payload: &[0],
    };
    let cut = sender.selector.pass(0, &seen, sender.now()).unwrap();
    sender.on[0] = false;
    sender.selector.stopped(0);
    let before = sender.out.len();
    sender.frames(3);
    assert_eq!(sender.out[before].2.sequence, cut.sequence.wrapping_add(2));
}

#[test]
fn a_layer_that_begins_anew_goes_on_at_its_key_frame() {
    let mut sender = Sender::new(Choice::Rid("h".to_owned()));
    sender.frames(20);
    sender.selector.begin(0, 900);
    sender.sequences[0] = 40_000;
    let before = sender.out.len();
    sender.on = [true, false, false];
    sender.frames(10);
    assert!(sender.asked.contains(&0));
    assert!(sender.out[before].1, "a key frame");
    sender.check();
}

#[test]
fn padding_keeps_no_layer_alive() {
    let mut sender = Sender::new(Choice::Best);
    sender.frames(20);
    sender.on[0] = false;
    for _ in 0..40 {
        sender.frames(1);
        let seen = Seen {
            sequence: sender.sequences[0].wrapping_add(1),
            timestamp: BASES[0].wrapping_add(19 * TICKS),
            marker: false,
            key_start: false,
            payload: &[],
        };
        sender.sequences[0] = seen.sequence;
        if let Some(passed) = sender.selector.pass(0, &seen, sender.now()) {
            sender.out.push((0, false, passed));
        }
    }
    assert_eq!(sender.order(), [0, 1]);
}

#[test]
fn a_layer_goes_on_when_its_numbers_come_round() {
    let mut sender = Sender::new(Choice::Best);
    sender.frames(70_000);
    assert_eq!(sender.order(), [0]);
    assert_eq!(sender.out.len(), 140_000);
    sender.check();
}
