// SPDX-License-Identifier: MPL-2.0
use super::*;

/// A stream of frames of three packets each, of which every tenth is a key frame.
struct Stream {
    frames: Frames<u16>,
    now: Instant,
    out: Vec<u16>,
    sum: Done,
    asked: u32,
}

const PACKETS: u16 = 3;

impl Stream {
    fn new(policy: Policy) -> Self {
        Self {
            frames: Frames::new(policy),
            now: Instant::now(),
            out: Vec::new(),
            sum: Done::default(),
            asked: 0,
        }
    }

    fn place(number: u16) -> Place {
        let (frame, part) = (number / PACKETS, number % PACKETS);
        Place {
            sequence: number,
            timestamp: u32::from(frame) * 3000,
            marker: part == PACKETS - 1,
            start: if part == 0 { Start::Head } else { Start::Later },
            key: frame % 10 == 0 && part == 0,
            bare: false,
            empty: false,
        }
    }

    fn note(&mut self, done: Done) {
        self.asked += u32::from(done.ask);
        self.sum.add(done);
    }

    fn take(&mut self, place: Place) {
        let (now, number) = (self.now, place.sequence);
        let done = self.frames.take(place, number, now, &mut self.out);
        self.note(done);
        self.now += Duration::from_millis(11);
    }

    fn run(&mut self, numbers: impl Iterator<Item = u16>) -> &mut Self {
        numbers.for_each(|number| self.take(Self::place(number)));
        self
    }

    /// Frames of which something came out, and whether all of each did.
    fn came(&self) -> Vec<(u16, bool)> {
        let mut came: Vec<(u16, u16)> = Vec::new();
        for number in &self.out {
            match came.last_mut().filter(|last| last.0 == number / PACKETS) {
                Some(last) => last.1 += 1,
                None => came.push((number / PACKETS, 1)),
            }
        }
        came.into_iter().map(|(f, n)| (f, n == PACKETS)).collect()
    }
}

fn whole(frames: impl Iterator<Item = u16>) -> Vec<(u16, bool)> {
    frames.map(|frame| (frame, true)).collect()
}

#[test]
fn without_holes_everything_comes_out_frame_by_frame() {
    let mut stream = Stream::new(Policy::Drop);
    stream.run(0..2);
    assert!(stream.out.is_empty(), "not before it is whole");
    stream.run(2..90);
    assert_eq!(stream.out, (0..90).collect::<Vec<_>>());
    assert_eq!((stream.sum.frames, stream.sum.key_frames), (30, 3));
    assert_eq!((stream.sum.dropped, stream.asked), (0, 0));
}

#[test]
fn wherever_the_hole_is_nothing_broken_comes_out_before_the_next_key_frame() {
    // The first, the middle and the last packet of frame 4.
    for lost in 12..15 {
        let mut stream = Stream::new(Policy::Drop);
        stream.run((0..60).filter(|n| *n != lost));
        assert_eq!(stream.came(), whole((0..4).chain(10..20)), "packet {lost}");
        assert_eq!(stream.sum.dropped, 6, "packet {lost}");
        assert!(stream.sum.broken >= 1 && stream.sum.broken <= 2);
    }
}

#[test]
fn a_key_frame_right_behind_a_hole_is_whole_if_its_beginning_is_there() {
    let mut stream = Stream::new(Policy::Drop);
    // Frame 9 is lost whole, or to its last packet.
    stream.run((0..45).filter(|n| !(27..30).contains(n)));
    assert_eq!(stream.came(), whole((0..9).chain(10..15)));
    let mut stream = Stream::new(Policy::Drop);
    stream.run((0..45).filter(|n| *n != 29));
    assert_eq!(stream.came(), whole((0..9).chain(10..15)));
}

#[test]
fn a_key_frame_with_a_hole_is_none() {
    for lost in 30..33 {
        let mut stream = Stream::new(Policy::Drop);
        stream.run((0..90).filter(|n| *n != lost));
        assert_eq!(stream.came(), whole((0..10).chain(20..30)), "packet {lost}");
    }
}

#[test]
fn a_key_frame_is_asked_for_once_and_again_while_none_comes() {
    let mut stream = Stream::new(Policy::Drop);
    stream.run((0..15).filter(|n| *n != 13));
    assert_eq!(stream.asked, 1);
    stream.run(15..30);
    assert_eq!(stream.asked, 1, "165 ms later");
    // Key frames are lost, too.
    stream.run((30..120).filter(|n| *n % 30 != 0));
    assert!((3..=5).contains(&stream.asked), "{}", stream.asked);
    let asked = stream.asked;
    stream.run(120..150);
    assert_eq!(stream.asked, asked, "it is there");
}

#[test]
fn a_loss_that_is_told_counts_like_one_that_is_seen() {
    let mut stream = Stream::new(Policy::Drop);
    stream.run(0..10);
    let done = stream.frames.lose(stream.now);
    assert!(done.ask, "at once");
    stream.note(done);
    stream.run(11..60);
    assert_eq!(stream.came(), whole((0..3).chain(10..20)));
}

#[test]
fn a_stream_starts_at_a_key_frame() {
    let mut stream = Stream::new(Policy::Drop);
    stream.run(6..45);
    assert_eq!(stream.came(), whole(10..15));
    assert!(stream.asked > 0);
}

#[test]
fn to_pass_is_to_give_all_that_comes_at_once() {
    let mut stream = Stream::new(Policy::Pass);
    stream.run((5..60).filter(|n| *n % 7 != 0));
    let all: Vec<_> = (5..60).filter(|n| *n % 7 != 0).collect();
    assert_eq!(stream.out, all);
    assert!(stream.asked > 0 && stream.sum.broken > 0);
    assert_eq!(stream.sum.dropped, 0);
    let mut stream = Stream::new(Policy::Count);
    stream.run((0..60).filter(|n| *n % 7 != 0));
    assert_eq!(stream.asked, 0);
}

/// A stream with a packet without media behind every frame and another amid it, without those that
/// `lost` says.
fn with_fillers(policy: Policy, lost: impl Fn(u16) -> bool) -> Stream {
    let mut stream = Stream::new(policy);
    let mut sequence = 0;
    for number in 0..60 {
        let place = Stream::place(number);
        let filler = Place {
            empty: true,
            start: Start::Later,
            key: false,
            ..place
        };
        let fillers = if number % PACKETS == 0 { 0 } else { 1 };
        for place in [place]
            .into_iter()
            .chain([filler; 2].into_iter().take(fillers))
        {
            let (now, place) = (stream.now, Place { sequence, ..place });
            if !lost(sequence) {
                let done = stream.frames.take(place, number, now, &mut stream.out);
                stream.note(done);
            } else if sequence % 2 == 0 {
                // It was told as well.
                let done = stream.frames.lose(now);
                stream.note(done);
            }
            sequence += 1;
        }
    }
    stream
}

#[test]
fn packets_without_media_stay_inside_and_are_no_hole() {
    for policy in [Policy::Drop, Policy::Pass] {
        let stream = with_fillers(policy, |_| false);
        assert_eq!((stream.sum.frames, stream.sum.broken), (20, 0));
        assert_eq!(stream.out, (0..60).collect::<Vec<_>>());
    }
}

#[test]
fn a_lost_packet_behind_a_frame_that_had_no_media_breaks_nothing() {
    // Five packets a frame, of which the last has none.
    let stream = with_fillers(Policy::Drop, |n| n % 5 == 4 && n > 20);
    assert_eq!((stream.sum.frames, stream.asked), (20, 0));
    // But a frame that is missing is seen by the time of the next.
    let stream = with_fillers(Policy::Drop, |n| (30..35).contains(&n));
    assert_eq!(stream.came(), whole((0..6).chain(10..20)));
    assert!(stream.asked > 0);
}

#[test]
fn the_last_frame_comes_out_if_it_is_whole() {
    let unmarked = |n| Place {
        marker: false,
        ..Stream::place(n)
    };
    let mut stream = Stream::new(Policy::Drop);
    (0..6).for_each(|n| stream.take(unmarked(n)));
    let (now, mut out) = (stream.now, Vec::new());
    assert_eq!(stream.came(), whole(0..1));
    assert_eq!(stream.frames.end(now, &mut out).frames, 1);
    assert_eq!(out, [3, 4, 5], "a sender without markers");
    let mut stream = Stream::new(Policy::Drop);
    stream.run(0..5);
    let mut out = Vec::new();
    assert_eq!(stream.frames.end(now, &mut out).dropped, 1);
    assert!(out.is_empty(), "cut off");
}

#[test]
fn the_policy_can_change_at_any_packet() {
    let mut stream = Stream::new(Policy::Drop);
    stream.run(0..4);
    stream.frames.set_policy(Policy::Pass, &mut stream.out);
    assert_eq!(stream.out, [0, 1, 2, 3]);
    stream.run(4..5);
    assert_eq!(stream.out.last(), Some(&4));
    stream.frames.set_policy(Policy::Drop, &mut stream.out);
    stream.run(5..33);
    assert_eq!(stream.out[5..], [30, 31, 32], "its beginning was out");
}

#[test]
fn a_frame_without_end_is_not_kept() {
    let mut stream = Stream::new(Policy::Drop);
    for number in 0..20_000u16 {
        let place = Place {
            sequence: number,
            timestamp: 0,
            marker: false,
            start: Start::Head,
            key: true,
            bare: false,
            empty: false,
        };
        stream.take(place);
        assert!(stream.frames.held.len() <= LONGEST_FRAME);
    }
    assert!(stream.out.is_empty());
}

#[test]
fn numbers_wrap() {
    let mut stream = Stream::new(Policy::Drop);
    for number in 0..30u16 {
        let place = Place {
            sequence: number.wrapping_add(65_520),
            ..Stream::place(number)
        };
        stream.take(place);
    }
    assert_eq!((stream.sum.frames, stream.sum.dropped), (10, 0));
}

#[test]
fn a_loss_amid_packets_without_media_is_none() {
    let mut stream = Stream::new(Policy::Drop);
    let mut sequence = 0;
    for number in 0..60 {
        let last = number % PACKETS == PACKETS - 1;
        for part in 0..if last { 4 } else { 1 } {
            let place = Place {
                sequence,
                empty: part > 0,
                ..Stream::place(number)
            };
            let (now, told) = (stream.now, number % 2 == 0);
            // The second of three, once it is known that there are such.
            let done = if part != 2 || number < 10 {
                stream.frames.take(place, number, now, &mut stream.out)
            } else if told {
                stream.frames.lose(now)
            } else {
                Done::default()
            };
            stream.note(done);
            sequence += 1;
        }
    }
    assert_eq!((stream.sum.frames, stream.asked), (20, 0));
    assert_eq!(stream.came(), whole(0..20));
}

const SETS: [Start; 2] = [Start::Head, Start::Prefix];

/// Key frames of a slice behind two parameter sets, which `apart` have markers and times of their
/// own. Each item is a key frame: which of the three packets are there.
fn behind_sets(apart: bool, policy: Policy, frames: &[[bool; 3]]) -> Stream {
    let mut stream = Stream::new(policy);
    for (n, there) in (0u16..).zip(frames) {
        for (part, start) in (0u16..).zip(SETS.into_iter().chain([Start::Slice])) {
            let bare = part < 2;
            let place = Place {
                sequence: n * 3 + part,
                timestamp: u32::from(n) * 3000 + if apart { u32::from(part) } else { 0 },
                marker: apart || !bare,
                start,
                key: !bare,
                bare,
                empty: false,
            };
            if there[usize::from(part)] {
                stream.take(place);
            }
        }
    }
    stream
}

#[test]
fn a_key_frame_whose_parameter_sets_are_lost_is_none() {
    let whole = [true; 3];
    for lost in [
        [false, true, true],
        [false, false, true],
        [true, false, true],
    ] {
        for apart in [false, true] {
            let stream = behind_sets(apart, Policy::Drop, &[whole, lost, whole]);
            let pictures: Vec<_> = stream.out.iter().filter(|n| *n % 3 == 2).collect();
            assert_eq!(pictures, [&2, &8], "{lost:?} {apart}");
            assert_eq!((stream.sum.frames, stream.sum.broken), (2, 1));
            assert!(stream.asked > 0);
        }
    }
    // Where they are not sent in-band there is nothing to miss.
    let bare = [false, false, true];
    let stream = behind_sets(false, Policy::Drop, &[bare, bare]);
    assert_eq!(stream.out, [2, 5]);
}

#[test]
fn parameter_sets_of_their_own_come_out_while_a_key_frame_is_waited_for() {
    let stream = behind_sets(true, Policy::Drop, &[[true, true, false]]);
    assert_eq!(stream.out, [0, 1]);
    assert_eq!(stream.sum, Done::default(), "they are no frames");
    let stream = behind_sets(true, Policy::Drop, &[[true; 3]; 3]);
    assert_eq!(stream.out, (0..9).collect::<Vec<_>>());
    assert_eq!((stream.sum.frames, stream.sum.key_frames), (3, 3));
    let stream = behind_sets(true, Policy::Pass, &[[true; 3]; 3]);
    assert_eq!((stream.out.len(), stream.sum.frames), (9, 3));
}

#[test]
fn a_stream_that_is_found_amid_a_key_frame_waits_for_the_next() {
    // Each slice of it looks like a key frame.
    let key = |n| Place {
        key: n < 3 || (30..33).contains(&n),
        ..Stream::place(n)
    };
    let mut stream = Stream::new(Policy::Drop);
    (1..45).for_each(|n| stream.take(key(n)));
    assert_eq!(stream.came(), whole(10..15));
    stream.frames.reset();
    stream.out.clear();
    (1..45).for_each(|n| stream.take(key(n)));
    assert_eq!(stream.came(), whole(10..15), "nor after a flush");
}

#[test]
fn a_hole_is_remembered_when_the_policy_changes() {
    let mut stream = Stream::new(Policy::Pass);
    stream.run((0..15).filter(|n| *n != 4));
    stream.frames.set_policy(Policy::Drop, &mut stream.out);
    stream.out.clear();
    stream.run(15..45);
    assert_eq!(stream.came(), whole(10..15));
    // And that there was none.
    let mut stream = Stream::new(Policy::Pass);
    stream.run(0..15);
    stream.frames.set_policy(Policy::Drop, &mut stream.out);
    stream.run(15..45);
    assert_eq!(stream.came(), whole(0..15));
}

#[test]
fn a_stream_without_key_frames_is_told_of_once_in_each_stretch() {
    let mut stream = Stream::new(Policy::Drop);
    let mut sequence = 0;
    // Frames of one packet each 100 ms; returns in which of them it was told.
    let mut run = |frames: u16, key: bool| {
        let mut told = Vec::new();
        for n in 0..frames {
            let place = Place {
                sequence,
                timestamp: u32::from(sequence) * 9000,
                marker: true,
                start: Start::Head,
                key: key && n == 0,
                bare: false,
                empty: false,
            };
            sequence += 1;
            let done = stream.frames.take(place, 0, stream.now, &mut stream.out);
            stream.now += Duration::from_millis(100);
            if done.starved {
                told.push(n);
            }
        }
        // One is lost.
        sequence += 1;
        told
    };
    assert!(
        run(200, false).is_empty(),
        "the beginning is watched by others"
    );
    assert!(run(10, true).is_empty());
    assert_eq!(run(300, false), [100]);
    assert!(run(10, true).is_empty());
    assert!(run(90, false).is_empty());
    assert!(run(10, true).is_empty());
    assert_eq!(run(150, false), [100]);
}
