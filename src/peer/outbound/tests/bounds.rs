// SPDX-License-Identifier: MPL-2.0
//! Backlogs on a narrow path, and what lasts over a renegotiation.

use super::*;
use crate::media::fec::{Protection, Scheme};

/// Two seconds of film at 4 Mbit/s, of which the first frame is a key frame.
fn backlog() -> Vec<OutboundFrame> {
    (0..60u32)
        .map(|n| picture(n == 0, 17).at(n * 3000))
        .collect()
}

#[test]
fn a_key_frame_takes_the_place_of_a_backlog_on_a_narrow_path() {
    for (narrow, expected) in [(false, Pushed::Queued), (true, Pushed::Replaced(60))] {
        let outbound = outbound();
        outbound.open(None);
        let start = Instant::now();
        let mut pacer = if narrow {
            limited(1_000_000)
        } else {
            Pacer::default()
        };
        outbound.push_backlog(0, &backlog(), start);
        let mut taken = Vec::new();
        outbound.take(start, &mut pacer, 1000, &mut taken);
        assert!(!taken.is_empty(), "the first frame is on its way");
        assert_eq!(
            outbound.push(0, picture(false, 8).at(180_000), start),
            Pushed::Queued
        );
        assert_eq!(
            outbound.push(0, picture(true, 8).at(183_000), start),
            expected
        );
        take_all(&outbound, start + 1000 * MS, &mut taken);
        let whole = if narrow { 17 + 8 } else { 60 * 17 + 2 * 8 };
        assert_eq!(taken.len(), whole, "what was begun is finished");
    }
}

#[test]
fn a_backlog_leaves_the_places_of_live_frames_free() {
    let outbound = outbound();
    outbound.open(None);
    let start = Instant::now();
    let long: Vec<_> = (0..2048u32)
        .map(|n| frame(n == 0, 10).at(n * 3000))
        .collect();
    outbound.push_backlog(0, &long, start);
    for number in 0..MAX_FRAMES {
        let pushed = outbound.push(0, frame(false, 10), start);
        assert_eq!(pushed, Pushed::Queued, "frame {number}");
    }
    let pushed = outbound.push(0, frame(false, 10), start);
    assert_eq!(pushed, Pushed::Dropped { ask: true });
    let mut taken = Vec::new();
    take_all(&outbound, start, &mut taken);
    assert_eq!(taken.len(), 2 * 2048);
    assert_eq!(outbound.push(0, frame(true, 10), start), Pushed::Queued);
}

#[test]
fn the_pace_of_a_backlog_is_not_spent_while_the_path_has_no_room() {
    let outbound = outbound();
    outbound.open(None);
    let start = Instant::now();
    let mut pacer = limited(1_000_000);
    outbound.push_backlog(0, &backlog(), start);
    // Repairs took what the path carries for 100 ms.
    pacer.left(15_000, start);
    let mut taken = Vec::new();
    let first = outbound.take(start, &mut pacer, 1000, &mut taken);
    assert!(taken.is_empty());
    let due = first.due.expect("it is come again");
    assert_eq!(due, start + 100 * MS);
    let state = lock(&outbound.state);
    let pace = state.streams[0].pace.as_ref().map(|pace| pace.due);
    assert_eq!(pace, Some(start));
}

#[test]
fn numbers_of_fec_go_on_when_it_is_agreed_anew() {
    let agreed = |percentage| Protection {
        scheme: Scheme::Flexfec,
        payload_type: 120,
        red: None,
        percentage,
    };
    let outbound = outbound();
    outbound.open(None);
    let mut numbers = Vec::new();
    // Without it in between, too.
    for fec in [Some(100), Some(50), None, Some(100)] {
        let protection = fec.map(|percentage| agreed(Some(percentage)));
        outbound.set_streams(&[StreamConfig {
            fec: protection,
            ..line()
        }]);
        let mut taken = Vec::new();
        for _ in 0..3 {
            outbound.push(0, picture(true, 6), Instant::now());
        }
        take_all(&outbound, Instant::now(), &mut taken);
        let repairs = taken.iter().filter(|packet| packet.fec);
        let before = numbers.len();
        numbers.extend(repairs.map(|packet| packet.packet.header.sequence_number));
        assert_eq!(numbers.len() > before, fec.is_some());
    }
    let follows = |pair: &[u16]| pair[1] == pair[0].wrapping_add(1);
    assert!(numbers.windows(2).all(follows), "{numbers:?}");
}
