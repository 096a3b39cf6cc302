// SPDX-License-Identifier: MPL-2.0
//! Media and feedback of calls that work.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_arrive_complete_and_in_order_in_both_roles() {
    for sender_offers in [true, false] {
        let call = Call::new(sender_offers).await;
        let reader = tokio::spawn(read(call.receiver.peer.inbound(0).unwrap(), 10_000));
        let audio = tokio::spawn(read(call.receiver.peer.inbound(1).unwrap(), 25));
        for burst in 0..25 {
            // No more than two bursts wait in the socket of a receiver that gets no time.
            let known = u64::from(burst).saturating_sub(1) * 400;
            let start = Instant::now();
            while call.receiver.peer.stats(0).packets_received < known {
                assert!(start.elapsed() < DEADLINE, "{known} never came");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(
                call.sender
                    .peer
                    .push_frame(0, frame(burst * 400, 400, 1200))
            );
            assert!(call.sender.peer.push_frame(1, frame(burst, 1, 80)));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let packets = reader.await.unwrap();
        assert_eq!(packets.len(), 10_000, "{:?}", call.receiver.peer.stats(0));
        assert!(
            packets
                .iter()
                .zip(0u32..)
                .all(|(packet, position)| number(packet) == position)
        );
        let first = sequence(&packets[0]);
        assert!(
            packets
                .iter()
                .zip(0u16..)
                .all(|(p, n)| sequence(p) == first.wrapping_add(n))
        );
        assert_eq!(audio.await.unwrap().len(), 25);
        let start = Instant::now();
        tokio::time::timeout(DEADLINE, call.sender.peer.drained())
            .await
            .unwrap();
        println!("drained in {:?}", start.elapsed());
        let (sent, received) = (call.sender.peer.stats(0), call.receiver.peer.stats(0));
        assert_eq!((sent.packets_sent, sent.frames_sent), (10_000, 25));
        assert_eq!(
            (received.packets_received, received.packets_lost),
            (10_000, 0)
        );
        assert_eq!(
            (sent.ssrc, sent.rtx_ssrc),
            (received.ssrc, received.rtx_ssrc)
        );
        let info = call.sender.peer.transport_info().await;
        assert!(info.local_candidate.starts_with("127.0.0.1:"), "{info:?}");
        assert_eq!(info.dtls_role, "client");
        call.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_right_at_connected_arrives() {
    for round in 0..50 {
        let call = Call::new(round % 2 == 0).await;
        assert!(call.sender.peer.push_frame(0, frame(0, 50, 1000)));
        let packets = read(call.receiver.peer.inbound(0).unwrap(), 50).await;
        assert_eq!(packets.len(), 50, "call {round}");
        assert_eq!(number(&packets[0]), 0);
        assert_eq!(call.sender.peer.stats(0).retransmitted_packets_sent, 0);
        call.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_is_dtls_server_waits_for_its_receiver() {
    for round in 0..20 {
        let mut sender = End::new(Direction::SendOnly);
        let receiver = End::new(Direction::RecvOnly);
        let offer = sender.offer().await;
        let offer = offer.replace("a=setup:actpass", "a=setup:passive");
        let answer = receiver.answer(offer).await;
        assert!(answer.contains("a=setup:active"));
        sender.peer.set_send_codec(0, vp8());
        sender.set_answer(answer).await;
        sender.connected().await;
        assert!(sender.peer.push_frame(0, frame(0, 50, 1000)));
        let packets = read(receiver.peer.inbound(0).unwrap(), 50).await;
        assert_eq!(packets.len(), 50, "call {round}");
        assert_eq!(sender.peer.stats(0).retransmitted_packets_sent, 0);
        assert_eq!(sender.peer.transport_info().await.dtls_role, "server");
        tokio::join!(sender.peer.close(), receiver.peer.close());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_up_a_moment_after_the_answer() {
    const MOMENT: Duration = Duration::from_millis(60);
    let mut best = Duration::MAX;
    // Both cores may be busy for a while.
    for _ in 0..20 {
        if best < MOMENT {
            break;
        }
        let mut sender = End::new(Direction::SendOnly);
        let mut receiver = End::new(Direction::RecvOnly);
        let offer = sender.offer().await;
        let answer = receiver.answer(offer).await;
        let start = Instant::now();
        sender.set_answer(answer).await;
        sender.connected().await;
        receiver.connected().await;
        best = best.min(start.elapsed());
        tokio::join!(sender.peer.close(), receiver.peer.close());
    }
    println!("connected in {best:?}");
    assert!(best < MOMENT, "{best:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_frame_requests_reach_the_sender_at_a_bounded_rate() {
    let mut call = Call::new(true).await;
    assert!(call.sender.peer.push_frame(0, frame(0, 1, 100)));
    assert_eq!(
        read(call.receiver.peer.inbound(0).unwrap(), 1).await.len(),
        1
    );
    (0..5).for_each(|_| call.receiver.peer.request_key_frame(0));
    let event = call.sender.event().await;
    assert!(matches!(event, PeerEvent::KeyFrameRequest(0)), "{event:?}");
    assert_eq!(call.receiver.peer.stats(0).pli_count, 1);
    assert_eq!(call.sender.peer.stats(0).pli_count, 1);
    call.close().await;
}

/// Sends video at 4 Mbit/s and 30 fps until `done` likes an estimate.
async fn estimate_of(call: &mut Call, done: impl Fn(&Estimate) -> bool) -> Estimate {
    let start = Instant::now();
    let mut last = Estimate::default();
    for number in 0u32.. {
        assert!(start.elapsed() < DEADLINE, "{last:?}");
        assert!(call.sender.peer.push_frame(0, frame(number * 14, 14, 1200)));
        let next = (start + number * Duration::from_millis(33)).into();
        while let Ok(estimate) = tokio::time::timeout_at(next, call.sender.estimate()).await {
            last = estimate;
            if done(&estimate) {
                return estimate;
            }
        }
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_estimate_of_a_free_path_rises_to_what_is_allowed() {
    let mut call = Call::new(true).await;
    let max = 6_000_000;
    call.sender.peer.set_bitrate_limits(BitrateLimits {
        max,
        ..BitrateLimits::default()
    });
    let estimate = estimate_of(&mut call, |estimate| estimate.total == max).await;
    assert!(
        estimate.media > max * 9 / 10 && estimate.media < max,
        "{estimate:?}"
    );
    assert_eq!(estimate.loss, 0.0);
    let peer = call.sender.peer.clone();
    estimate_of(&mut call, |_| {
        let stats = peer.path_stats();
        stats.sending_bitrate > 1_000_000 && stats.estimate.is_some_and(|e| e.total == max)
    })
    .await;
    assert_eq!(peer.stats(0).frames_dropped, 0);
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_remote_states_as_its_bandwidth_is_not_exceeded() {
    let mut call = Call {
        sender: End::new(Direction::SendOnly),
        receiver: End::new(Direction::RecvOnly),
        ufrags: Default::default(),
    };
    let answer = call.receiver.answer(call.sender.offer().await).await;
    let video = answer.find("m=video").unwrap();
    let at = video + answer[video..].find("a=").unwrap();
    let answer = format!("{}b=TIAS:700000\r\n{}", &answer[..at], &answer[at..]);
    call.sender.peer.set_send_codec(0, vp8());
    call.sender.set_answer(answer).await;
    call.sender.connected().await;
    let estimate = estimate_of(&mut call, |_| true).await;
    assert_eq!(estimate.total, 700_000);
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_may_change_during_a_call_and_control_may_end() {
    let mut call = Call::new(true).await;
    let limits = BitrateLimits {
        max: 1_000_000,
        start: 500_000,
        ..BitrateLimits::default()
    };
    call.sender.peer.set_bitrate_limits(limits);
    estimate_of(&mut call, |estimate| estimate.total <= limits.max).await;
    call.sender.peer.set_bitrate_limits(BitrateLimits {
        adaptive: false,
        ..limits
    });
    let deadline = Instant::now() + DEADLINE;
    while call.sender.peer.path_stats().estimate.is_some() {
        assert!(Instant::now() < deadline);
        assert!(call.sender.peer.push_frame(0, frame(0, 1, 100)));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_receives_knows_the_round_trip_too() {
    let call = Call::new(true).await;
    let known = async {
        for number in 0.. {
            call.sender.peer.push_frame(0, frame(number, 1, 100));
            if let Some(time) = call.receiver.peer.stats(0).round_trip_time {
                return time;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!()
    };
    let time = tokio::time::timeout(DEADLINE, known).await.unwrap();
    assert!(time > 0.0 && time < 1.0, "{time}");
    call.close().await;
}
