// SPDX-License-Identifier: MPL-2.0
use super::*;

fn packet(chunks: &[(u8, u8, Vec<u8>)]) -> Bytes {
    let mut packet = vec![0x13, 0x88, 0x13, 0x88, 0, 0, 0, 9, 0, 0, 0, 0];
    for (kind, flags, body) in chunks {
        packet.extend([*kind, *flags]);
        packet.extend(((body.len() + 4) as u16).to_be_bytes());
        packet.extend(body);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    packet.into()
}

fn data(tsn: u32, stream: u16, bytes: usize) -> (u8, u8, Vec<u8>) {
    let mut body = tsn.to_be_bytes().to_vec();
    body.extend(stream.to_be_bytes());
    body.extend([0, 0, 0, 0, 0, 53]);
    body.extend(vec![7; bytes]);
    (DATA, 3, body)
}

fn init(tsn: u32) -> (u8, u8, Vec<u8>) {
    let mut body = vec![0, 0, 0, 1, 0, 16, 0, 0, 0, 8, 0, 8];
    body.extend(tsn.to_be_bytes());
    (INIT, 0, body)
}

fn reset(request: u32, last: u32) -> (u8, u8, Vec<u8>) {
    let mut body = vec![0, 13, 0, 18];
    body.extend(request.to_be_bytes());
    body.extend([0; 4]);
    body.extend(last.to_be_bytes());
    body.extend([0, 1]);
    (RECONFIG, 0, body)
}

fn response(result: u32) -> (u8, u8, Vec<u8>) {
    let mut body = vec![0, 16, 0, 12, 0, 0, 0, 1];
    body.extend(result.to_be_bytes());
    (RECONFIG, 0, body)
}

fn sack(cumulative: u32, window: u32) -> Bytes {
    let mut body = cumulative.to_be_bytes().to_vec();
    body.extend(window.to_be_bytes());
    body.extend([0; 4]);
    packet(&[(SACK, 0, body)])
}

fn judged(guard: &mut Guard, chunks: &[(u8, u8, Vec<u8>)]) -> Verdict {
    guard.incoming(&packet(chunks), true, false)
}

#[test]
fn what_would_take_for_ever_or_end_everything_is_dropped() {
    let mut guard = Guard::default();
    guard.incoming(&packet(&[init(100)]), false, false);
    let forward = |tsn: u32| (FORWARD_TSN, 0, tsn.to_be_bytes().to_vec());
    assert_eq!(judged(&mut guard, &[forward(300)]), Verdict::Pass);
    assert_eq!(
        judged(&mut guard, &[forward(300 + (1 << 30))]),
        Verdict::Drop
    );
    assert_eq!(
        judged(&mut guard, &[init(5)]),
        Verdict::Drop,
        "a second one"
    );
    assert_eq!(judged(&mut guard, &[(ERROR, 0, vec![])]), Verdict::Drop);
    assert_eq!(
        judged(&mut guard, &[data(301, 0, 0)]),
        Verdict::Drop,
        "empty"
    );
    assert_eq!(judged(&mut guard, &[data(301, 1024, 5)]), Verdict::Drop);
    assert_eq!(judged(&mut guard, &[data(301, 1023, 5)]), Verdict::Pass);
}

#[test]
fn chunks_that_are_cut_off_are_dropped() {
    let whole = packet(&[data(1, 0, 10)]);
    let mut guard = Guard::default();
    assert_eq!(guard.incoming(&whole, true, false), Verdict::Pass);
    for length in 0..whole.len() - 2 {
        let part = whole.slice(..length);
        assert_eq!(
            guard.incoming(&part, true, false),
            Verdict::Drop,
            "{length}"
        );
    }
}

#[test]
fn a_reset_waits_for_the_data_before_it() {
    let mut guard = Guard::default();
    guard.incoming(&packet(&[init(100)]), false, false);
    assert_eq!(judged(&mut guard, &[data(100, 1, 5)]), Verdict::Pass);
    guard.outgoing(sack(100, 5000));
    assert_eq!(judged(&mut guard, &[reset(1, 102)]), Verdict::Held);
    guard.outgoing(sack(101, 5000));
    assert_eq!(guard.take_due(), None);
    guard.outgoing(sack(102, 5000));
    assert_eq!(guard.take_due(), Some(packet(&[reset(1, 102)])));
    assert_eq!(guard.take_due(), None);
    assert_eq!(judged(&mut guard, &[reset(2, 102)]), Verdict::Pass);
}

#[test]
fn a_stream_is_reset_once_until_it_is_opened_again() {
    let mut guard = Guard::default();
    judged(&mut guard, &[data(7, 1, 5)]);
    let request = |number| packet(&[reset(number, 7)]);
    assert!(guard.outgoing(request(5)).is_some());
    assert!(guard.outgoing(request(5)).is_some(), "repeated");
    assert_eq!(guard.take_answer(), None);
    assert!(guard.outgoing(request(6)).is_none());
    let answer = guard.take_answer().unwrap();
    assert_eq!(&answer[..8], &request(6)[..8]);
    let known = chunks(&answer).unwrap()[0];
    assert_eq!((u32_at(known, 8), u32_at(known, 12)), (Some(6), Some(1)));
    guard.opened(1);
    assert!(guard.outgoing(request(7)).is_some());
}

#[test]
fn resets_that_wait_are_bounded() {
    let mut guard = Guard::default();
    guard.incoming(&packet(&[init(100)]), false, false);
    guard.outgoing(sack(100, 5000));
    let held = (0..1000u32).filter(|n| judged(&mut guard, &[reset(*n, 9000)]) == Verdict::Held);
    assert_eq!(held.count(), MOST_RESETS);
}

#[test]
fn an_answer_that_says_not_yet_is_as_good_as_none() {
    let mut guard = Guard::default();
    assert_eq!(judged(&mut guard, &[response(6)]), Verdict::Drop);
    assert_eq!(judged(&mut guard, &[response(1)]), Verdict::Pass);
}

#[test]
fn small_chunks_are_bounded_while_nobody_reads() {
    let mut guard = Guard::default();
    let one = |guard: &mut Guard, n| guard.incoming(&packet(&[data(n, 0, 1)]), true, true);
    let taken = (0..100_000).filter(|n| one(&mut guard, *n) == Verdict::Pass);
    assert_eq!(taken.count(), MOST_WAITING);
    guard.was_read(MOST_WAITING);
    guard.outgoing(sack(MOST_WAITING as u32 - 1, WINDOW));
    let next = data(MOST_WAITING as u32, 0, 1);
    assert_eq!(judged(&mut guard, &[next]), Verdict::Pass, "read");
}

#[test]
fn the_repeated_packet_is_one() {
    let mut guard = Guard::default();
    assert_eq!(guard.repeated(), None);
    judged(&mut guard, &[data(7, 3, 5)]);
    guard.outgoing(sack(7, 1000));
    let repeated = guard.repeated().unwrap();
    assert_eq!(&repeated[..8], &packet(&[])[..8]);
    let chunks = chunks(&repeated).unwrap();
    assert_eq!(u32_at(chunks[0], 4), Some(7));
    assert_eq!(u16_at(chunks[0], 8), Some(3));
    // RFC 3720 appendix B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
}

#[test]
fn what_comes_while_our_window_is_shut_is_counted_once() {
    let mut guard = Guard::default();
    guard.outgoing(sack(1, 0));
    for tsn in 2..12 {
        guard.incoming(&packet(&[data(tsn, 0, 1000)]), true, true);
    }
    assert_eq!(guard.beyond, 0, "a reader is late");
    for tsn in 12..22 {
        judged(&mut guard, &[data(tsn, 0, 1000)]);
        judged(&mut guard, &[data(tsn, 0, 1000)]);
        guard.outgoing(sack(tsn, 0));
    }
    assert_eq!(guard.beyond, 10_000);
    guard.outgoing(sack(22, 1));
    assert_eq!(guard.beyond, 0);
}

#[test]
fn what_fills_a_gap_passes_however_much_waits_for_it() {
    let mut guard = Guard::default();
    guard.outgoing(sack(1, 5000));
    let most = MOST_WAITING as u32;
    for tsn in 3..3 + most {
        assert_eq!(judged(&mut guard, &[data(tsn, 0, 1)]), Verdict::Pass);
    }
    assert_eq!(judged(&mut guard, &[data(3 + most, 0, 1)]), Verdict::Drop);
    assert_eq!(judged(&mut guard, &[data(2, 0, 1)]), Verdict::Pass);
    assert!(!guard.is_endless());
}

#[test]
fn a_packet_that_fills_a_gap_passes_as_a_whole() {
    let mut guard = Guard::default();
    guard.outgoing(sack(1, 5000));
    let pass = |guard: &mut Guard, tsn| judged(guard, &[data(tsn, 0, 1)]) == Verdict::Pass;
    assert!(pass(&mut guard, 20_000));
    // Until there is room for what is next only.
    let most = (10..).take_while(|tsn| pass(&mut guard, *tsn)).count();
    assert!(most > 2 * MOST_WAITING - 10, "{most}");
    assert_eq!(judged(&mut guard, &[data(17_000, 0, 1)]), Verdict::Drop);
    let repeated: Vec<_> = (2..6).map(|tsn| data(tsn, 0, 1)).collect();
    assert_eq!(judged(&mut guard, &repeated), Verdict::Pass);
    // And the next one, though nothing was acknowledged.
    let repeated: Vec<_> = (6..10).map(|tsn| data(tsn, 0, 1)).collect();
    assert_eq!(judged(&mut guard, &repeated), Verdict::Pass);
    assert!(!guard.is_endless());
}

#[test]
fn what_is_too_far_from_what_came_is_not_taken() {
    let mut guard = Guard::default();
    guard.outgoing(sack(1, 5000));
    assert_eq!(judged(&mut guard, &[data(40_000, 0, 1)]), Verdict::Drop);
    assert_eq!(judged(&mut guard, &[data(30_000, 0, 1)]), Verdict::Pass);
}

#[test]
fn the_window_is_for_as_many_chunks_as_may_wait() {
    let mut guard = Guard::default();
    let said = |guard: &mut Guard, tsn| {
        let packet = guard.outgoing(sack(tsn, 1_000_000)).unwrap();
        assert_eq!(&packet[..8], &sack(0, 0)[..8]);
        u32_at(&packet, HEADER + 8).unwrap()
    };
    assert_eq!(said(&mut guard, 0), 1_000_000, "nothing came");
    for tsn in 1..=100 {
        judged(&mut guard, &[data(tsn, 0, 1000)]);
    }
    assert_eq!(said(&mut guard, 100), 1_000_000, "large ones");
    for tsn in 101..=2100 {
        judged(&mut guard, &[data(tsn, 0, 10)]);
    }
    let window = said(&mut guard, 2100);
    assert!((59_000..70_000).contains(&window), "{window}");
    assert!(!guard.is_window_stale());
    for tsn in 2101..=7100 {
        judged(&mut guard, &[data(tsn, 0, 10)]);
    }
    assert!(said(&mut guard, 7100) < 12_000);
    guard.was_read(7000);
    assert!(guard.is_window_stale());
}
