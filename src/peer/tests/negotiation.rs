// SPDX-License-Identifier: MPL-2.0
//! Descriptions, and when they are carried over.

use std::collections::HashSet;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_be_carried_over_slowly() {
    let seconds = std::env::var("RSWEBRTC_TEST_DELAY")
        .ok()
        .and_then(|s| s.parse().ok());
    let mut sender = End::new(Direction::SendOnly);
    let mut receiver = End::new(Direction::RecvOnly);
    let offer = sender.offer().await;
    let answer = receiver.answer(offer).await;
    tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(8))).await;
    let start = Instant::now();
    sender.set_answer(answer).await;
    sender.connected().await;
    receiver.connected().await;
    println!("late answer: connected in {:?}", start.elapsed());
    tokio::join!(sender.peer.close(), receiver.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_names_exactly_what_was_asked_for() {
    let offerer = End::new(Direction::SendOnly);
    let offer = offerer.offer().await;
    let offer = offer.replace("a=sendonly", "a=sendrecv")
        + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
           a=mid:2\r\na=setup:actpass\r\na=sctp-port:5000\r\n";
    let mut refusing = lines(Direction::RecvOnly);
    refusing[0].codecs.clear();
    let answerer = End::with(refusing);
    let answer = answerer.answer(offer).await;
    assert!(answer.contains("m=video 0 "), "{answer}");
    assert!(answer.contains("m=application 0 "), "{answer}");
    assert!(answer.contains("a=group:BUNDLE 1\r\n"), "{answer}");
    assert!(
        answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("a=recvonly") && !answer.contains("a=sendrecv"),
        "{answer}"
    );
    assert!(
        !answer.contains("a=ssrc") && !answer.contains("a=msid:"),
        "{answer}"
    );
    let audio = answer.find("m=audio").unwrap();
    assert!(answer.find("a=candidate").unwrap() > audio, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_video_lines_may_have_different_codecs() {
    let two = |direction| {
        vec![
            line(direction, 0, vec![vp8()]),
            line(direction, 1, vec![h264()]),
        ]
    };
    let mut sender = End::with(two(Direction::SendOnly));
    let receiver = End::with(two(Direction::RecvOnly));
    let offer = sender.offer().await;
    let answer = receiver.answer(offer).await;
    assert!(
        answer.contains("SAVPF 96 97\r\n") && answer.contains("SAVPF 102 103\r\n"),
        "{answer}"
    );
    sender.peer.set_send_codec(0, vp8());
    sender.peer.set_send_codec(1, h264());
    sender.set_answer(answer).await;
    sender.connected().await;
    for stream in 0..2 {
        assert!(sender.peer.push_frame(stream, frame(stream as u32, 1, 100)));
        let packets = read(receiver.peer.inbound(stream).unwrap(), 1).await;
        assert_eq!(packets.len(), 1);
        assert_eq!(number(&packets[0]), stream as u32);
    }
    tokio::join!(sender.peer.close(), receiver.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_offer_adds_a_stream_and_leaves_the_transport_alone() {
    let mut call = Call::new(true).await;
    let transport = |text: &str| {
        let keep = |line: &&str| {
            ["a=ice-", "a=fingerprint", "a=candidate"]
                .iter()
                .any(|p| line.starts_with(p))
        };
        text.lines()
            .filter(keep)
            .map(str::to_owned)
            .collect::<HashSet<_>>()
    };
    let first = call.sender.offer().await;
    call.sender
        .lines
        .push(line(Direction::SendOnly, 2, vec![h264()]));
    call.receiver
        .lines
        .push(line(Direction::RecvOnly, 2, vec![h264()]));
    let offer = call.sender.offer().await;
    assert_eq!(transport(&first), transport(&offer));
    let version = |text: &str| {
        text.lines()
            .nth(1)
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(version(&offer) > version(&first), "{offer}");
    let answer = call.receiver.answer(offer).await;
    assert!(
        answer.contains("a=setup:passive"),
        "the roles stay: {answer}"
    );
    call.sender.peer.set_send_codec(2, h264());
    call.sender.set_answer(answer).await;
    for stream in [0, 2] {
        assert!(
            call.sender
                .peer
                .push_frame(stream, frame(stream as u32, 1, 100))
        );
        let packets = read(call.receiver.peer.inbound(stream).unwrap(), 1).await;
        assert_eq!(number(&packets[0]), stream as u32);
    }
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_a_later_offer_takes_back_ends() {
    let mut call = Call::new(true).await;
    let queue = call.receiver.peer.inbound(0).unwrap();
    call.sender.lines[0].direction = Direction::Inactive;
    call.receiver.lines[0].direction = Direction::Inactive;
    let answer = call.receiver.answer(call.sender.offer().await).await;
    assert!(answer.contains("a=inactive"), "{answer}");
    call.sender.set_answer(answer).await;
    assert!(!call.sender.peer.push_frame(0, frame(0, 1, 100)));
    assert!(matches!(queue.pop(DEADLINE), Popped::Ended));
    assert!(call.receiver.peer.inbound(0).is_none());
    assert!(call.sender.peer.push_frame(1, frame(7, 1, 100)));
    let packets = read(call.receiver.peer.inbound(1).unwrap(), 1).await;
    assert_eq!(number(&packets[0]), 7);
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_that_declares_no_ssrc_is_told_apart_by_mid_and_by_payload_type() {
    for with_mid in [true, false] {
        let mut sender = End::new(Direction::SendOnly);
        let mut receiver = End::new(Direction::RecvOnly);
        if !with_mid {
            for line in sender.lines.iter_mut().chain(&mut receiver.lines) {
                line.extensions.clear();
            }
        }
        let offer = sender.offer().await;
        let kept = |line: &&str| !line.starts_with("a=ssrc");
        let offer: String = offer
            .lines()
            .filter(kept)
            .map(|l| format!("{l}\r\n"))
            .collect();
        let answer = receiver.answer(offer).await;
        sender.peer.set_send_codec(0, h264());
        sender.peer.set_send_codec(1, opus());
        sender.set_answer(answer).await;
        sender.connected().await;
        for stream in 0..2 {
            assert!(sender.peer.push_frame(stream, frame(stream as u32, 1, 100)));
            let packets = read(receiver.peer.inbound(stream).unwrap(), 1).await;
            assert_eq!(number(&packets[0]), stream as u32, "with mid: {with_mid}");
        }
        tokio::join!(sender.peer.close(), receiver.peer.close());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_ice_leaves_media_alone_and_changes_the_credentials() {
    let mut call = Call::new(true).await;
    call.receiver.connected().await;
    let queue = call.receiver.peer.inbound(0).unwrap();
    assert!(call.sender.peer.push_frame(0, frame(0, 3, 500)));
    assert_eq!(read(queue.clone(), 3).await.len(), 3);
    let ufrag = |text: &str| {
        let mut lines = text.lines().filter_map(|l| l.strip_prefix("a=ice-ufrag:"));
        lines.next().unwrap().to_owned()
    };
    let (of_sender, of_receiver) = (call.ufrags.0.clone(), call.ufrags.1.clone());
    let offer = call.sender.peer.restart_ice().await.unwrap();
    assert!(offer.contains("a=candidate"), "{offer}");
    assert_ne!(ufrag(&offer), of_sender, "the offerer's");
    let again = call
        .receiver
        .peer
        .answer(offer.clone(), lines(Direction::RecvOnly))
        .await
        .unwrap();
    assert!(again.contains("a=candidate"), "{again}");
    assert_ne!(ufrag(&again), of_receiver, "the answerer's");
    let set = call
        .sender
        .peer
        .set_answer(again, lines(Direction::SendOnly));
    set.await.unwrap();
    // What is sent while the new path is looked for may be lost, and what comes later is not.
    let began = Instant::now();
    let mut first = 10;
    loop {
        assert!(call.sender.peer.push_frame(0, frame(first, 1, 500)));
        first += 1;
        match queue.pop(Duration::from_millis(20)) {
            Popped::Item(Inbound::Rtp(_)) => break,
            _ => assert!(
                began.elapsed() < DEADLINE,
                "nothing comes after the restart"
            ),
        }
    }
    println!("restarted in {:?}", began.elapsed());
    // Checks with the wrong credentials would end the call after two and three seconds of silence.
    let quiet = tokio::time::timeout(Duration::from_secs(6), async {
        loop {
            let event = call.sender.event().await;
            assert!(matches!(event, PeerEvent::KeyFrameRequest(_)), "{event:?}");
        }
    });
    assert!(quiet.await.is_err());
    assert!(call.sender.peer.push_frame(0, frame(1000, 1, 500)));
    assert!(!read(queue, 1).await.is_empty());
    call.close().await;
}
