// SPDX-License-Identifier: MPL-2.0
//! What becomes of the queue when a remote asks for a key frame.

use super::*;

/// A key frame, long gone, and 12 frames behind it of which one may leave.
fn backed_up() -> (Outbound, Pacer, Instant) {
    let outbound = outbound();
    outbound.open(None);
    let start = Instant::now();
    let mut pacer = limited(800_000);
    outbound.push(0, picture(true, 1), start);
    take_all(&outbound, start, &mut Vec::new());
    outbound.take(start, &mut pacer, 1000, &mut Vec::new());
    let now = start + Duration::from_secs(2);
    for _ in 0..12 {
        assert_eq!(outbound.push(0, picture(false, 4), now), Pushed::Queued);
    }
    (outbound, pacer, now)
}

fn left(outbound: &Outbound, pacer: &mut Pacer, now: Instant) -> usize {
    let mut taken = Vec::new();
    take_paced(
        outbound,
        pacer,
        now,
        now + Duration::from_secs(60),
        &mut taken,
        now,
    );
    taken.len()
}

#[test]
fn a_key_frame_that_was_asked_for_does_not_wait_behind_useless_frames() {
    let (outbound, mut pacer, now) = backed_up();
    let dropped = outbound.picture_lost(0, now);
    assert!(dropped >= 11, "{dropped}");
    assert_eq!(
        outbound.push(0, picture(false, 4), now + 33 * MS),
        Pushed::Dropped { ask: false },
        "of no use either"
    );
    assert_eq!(
        outbound.push(0, picture(true, 9), now + 66 * MS),
        Pushed::Queued
    );
    assert_eq!(
        outbound.push(0, picture(false, 2), now + 99 * MS),
        Pushed::Queued
    );
    assert_eq!(
        outbound.picture_lost(0, now + 120 * MS),
        0,
        "the request crossed the key frame"
    );
    let rest = left(&outbound, &mut pacer, now + 120 * MS);
    assert!((11..=15).contains(&rest), "{rest}");
}

#[test]
fn a_request_drops_nothing_where_little_waits_or_no_limit_is_known() {
    let (outbound, mut pacer, now) = backed_up();
    left(&outbound, &mut pacer, now);
    let later = now + Duration::from_secs(3);
    outbound.push(0, picture(false, 4), later);
    outbound.take(later, &mut limited(8_000_000), 1, &mut Vec::new());
    assert_eq!(outbound.picture_lost(0, later), 0);
    assert_eq!(outbound.push(0, picture(false, 4), later), Pushed::Queued);

    let (outbound, _, now) = backed_up();
    outbound.take(now, &mut Pacer::default(), 0, &mut Vec::new());
    assert_eq!(outbound.picture_lost(0, now), 0);
    assert_eq!(outbound.picture_lost(9, now), 0, "no such stream");
}
