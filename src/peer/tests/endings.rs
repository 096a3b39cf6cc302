// SPDX-License-Identifier: MPL-2.0
//! How calls end.

use super::*;

/// Open files and threads of this process.
fn open() -> (usize, usize) {
    let count = |path| std::fs::read_dir(path).map_or(0, Iterator::count);
    (count("/proc/self/fd"), count("/proc/self/task"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_learns_at_once_that_the_other_closed() {
    for sender_closes in [true, false] {
        let mut call = Call::new(true).await;
        call.receiver.connected().await;
        assert!(call.sender.peer.push_frame(0, frame(0, 1, 100)));
        let queue = call.receiver.peer.inbound(0).unwrap();
        assert_eq!(read(queue.clone(), 1).await.len(), 1);
        let (closing, other) = if sender_closes {
            (&mut call.sender, &mut call.receiver)
        } else {
            (&mut call.receiver, &mut call.sender)
        };
        let start = Instant::now();
        closing.peer.close().await;
        let closed = start.elapsed();
        let event = other.event().await;
        let seen = start.elapsed();
        assert!(matches!(event, PeerEvent::RemoteClosed { .. }), "{event:?}");
        println!("closed in {closed:?}, seen after {seen:?}");
        // Silence is noticed after 2 s, and believed after 5 s.
        let at_once = Duration::from_millis(1500);
        assert!(closed < at_once && seen < at_once, "{closed:?}, {seen:?}");
        assert!(read(queue, 1).await.is_empty());
        call.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_remote_is_noticed_within_six_seconds() {
    let mut call = Call::new(true).await;
    call.receiver.connected().await;
    let start = Instant::now();
    let nudge = &call.sender.peer.shared.nudge;
    nudge.blackhole.store(true, Ordering::Release);
    let event = call.receiver.event().await;
    assert!(matches!(event, PeerEvent::Silent), "{event:?}");
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "there is time to mend it"
    );
    let event = call.receiver.event().await;
    let seen = start.elapsed();
    println!("dead remote seen after {seen:?}");
    assert!(
        matches!(event, PeerEvent::Failed(PeerError::Ice(_))),
        "{event:?}"
    );
    assert!(
        seen > Duration::from_secs(4) && seen < Duration::from_secs(8),
        "{seen:?}"
    );
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_the_described_one_is_refused() {
    let mut sender = End::new(Direction::SendOnly);
    let mut receiver = End::new(Direction::RecvOnly);
    let offer = sender.offer().await;
    let answer = receiver.answer(offer).await;
    let at = answer.find("sha-256 ").unwrap() + "sha-256 ".len();
    let digit = if &answer[at..=at] == "0" { "1" } else { "0" };
    let answer = format!("{}{digit}{}", &answer[..at], &answer[at + 1..]);
    let start = Instant::now();
    sender.set_answer(answer).await;
    let event = sender.event().await;
    println!("{event:?} after {:?}", start.elapsed());
    assert!(
        matches!(event, PeerEvent::Failed(PeerError::Dtls(_))),
        "{event:?}"
    );
    let event = receiver.event().await;
    println!("{event:?} after {:?}", start.elapsed());
    assert!(
        matches!(event, PeerEvent::Failed(PeerError::Dtls(_))),
        "{event:?}"
    );
    tokio::join!(sender.peer.close(), receiver.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_and_dropped_peers_leave_nothing_behind() {
    Call::new(true).await.close().await;
    let before = open();
    for round in 0..50 {
        let call = Call::new(round % 2 == 0).await;
        if round % 5 != 0 {
            call.close().await;
        }
    }
    // Other tests of this process have some files open too.
    let end = Instant::now() + DEADLINE;
    while open().0 > before.0 + 20 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = open();
    println!("files and threads: {before:?} before, {after:?} after");
    assert!(after.0 <= before.0 + 20, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_twice_or_early_is_fine() {
    let end = End::new(Direction::SendOnly);
    end.offer().await;
    assert!(!end.peer.push_frame(0, frame(0, 1, 100)));
    end.peer.drained().await;
    end.peer.close().await;
    end.peer.close().await;
    assert!(matches!(
        end.peer.create_offer(vec![]).await,
        Err(PeerError::Closed)
    ));
    assert!(matches!(
        end.peer.set_answer(String::new(), vec![]).await,
        Err(PeerError::Closed)
    ));
    let end = End::new(Direction::RecvOnly);
    let refused = end.peer.answer("nonsense".to_owned(), vec![]).await;
    assert!(
        matches!(refused, Err(PeerError::Description(_))),
        "{refused:?}"
    );
}
