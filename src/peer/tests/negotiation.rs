// SPDX-License-Identifier: MPL-2.0
//! Descriptions, and when they are carried over.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_be_carried_over_slowly() {
    let seconds = std::env::var("RSWEBRTC_TEST_DELAY")
        .ok()
        .and_then(|s| s.parse().ok());
    let mut sender = End::new(config(Direction::SendOnly));
    let mut receiver = End::new(config(Direction::RecvOnly));
    let offer = sender.peer.create_offer().await.unwrap();
    let answer = receiver.peer.answer(offer).await.unwrap();
    tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(8))).await;
    let start = Instant::now();
    sender.peer.set_answer(answer).await.unwrap();
    sender.connected().await;
    receiver.connected().await;
    println!("late answer: connected in {:?}", start.elapsed());
    tokio::join!(sender.peer.close(), receiver.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_names_exactly_what_was_asked_for() {
    let offerer = End::new(config(Direction::SendOnly));
    let offer = offerer.peer.create_offer().await.unwrap();
    let offer = offer.replace("a=sendonly", "a=sendrecv")
        + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
           a=mid:2\r\na=setup:actpass\r\na=sctp-port:5000\r\n";
    let mut refusing = config(Direction::RecvOnly);
    refusing.streams[0].codecs.clear();
    let answerer = End::new(refusing);
    let answer = answerer.peer.answer(offer).await.unwrap();
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
        let mut config = config(direction);
        config.streams[0].codecs = vec![vp8()];
        config.streams[1] = StreamConfig {
            kind: MediaKind::Video,
            direction,
            codecs: vec![h264()],
        };
        config
    };
    let mut sender = End::new(two(Direction::SendOnly));
    let receiver = End::new(two(Direction::RecvOnly));
    let offer = sender.peer.create_offer().await.unwrap();
    let answer = receiver.peer.answer(offer).await.unwrap();
    assert!(
        answer.contains("SAVPF 96 97\r\n") && answer.contains("SAVPF 102 103\r\n"),
        "{answer}"
    );
    sender.peer.set_send_codec(0, vp8());
    sender.peer.set_send_codec(1, h264());
    sender.peer.set_answer(answer).await.unwrap();
    sender.connected().await;
    for stream in 0..2 {
        assert!(sender.peer.push_frame(stream, frame(stream as u32, 1, 100)));
        let packets = read(receiver.peer.inbound(stream).unwrap(), 1).await;
        assert_eq!(packets.len(), 1);
        assert_eq!(number(&packets[0]), stream as u32);
    }
    tokio::join!(sender.peer.close(), receiver.peer.close());
}
