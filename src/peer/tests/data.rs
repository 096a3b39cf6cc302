// SPDX-License-Identifier: MPL-2.0
//! Data channels between two peers.

use std::collections::VecDeque;

use super::*;
use crate::peer::data::{
    ChannelConfig, DataChannel, INBOUND_ROOM, Message, MessageKind, Phase, Received, SendError,
};

/// A call with data channels and, if `media`, the streams of [`Call`]; the first end offers.
async fn call(media: bool, taken: bool) -> (End, End) {
    let streams = |direction| match media {
        true => lines(direction),
        false => Vec::new(),
    };
    let mut one = End::with(streams(Direction::SendOnly));
    let mut other = End::with(streams(Direction::RecvOnly));
    one.peer.want_data(true);
    if taken {
        other.peer.want_data(false);
    }
    let offer = one.offer().await;
    let answer = other.answer(offer).await;
    one.set_answer(answer).await;
    one.connected().await;
    other.connected().await;
    (one, other)
}

impl End {
    /// The channels that opened or closed, once some did.
    async fn changed(&mut self) -> Vec<Arc<DataChannel>> {
        loop {
            if let PeerEvent::Data = self.any_event().await {
                return self.peer.take_changed_channels();
            }
        }
    }

    /// The channel that the remote opens.
    async fn channel(&mut self) -> Arc<DataChannel> {
        loop {
            let mut changed = self.changed().await.into_iter();
            if let Some(channel) = changed.find(|c| c.is_of_remote()) {
                return channel;
            }
        }
    }
}

fn open(end: &End, config: ChannelConfig) -> Arc<DataChannel> {
    let channel = DataChannel::new(config);
    end.peer.open_channel(channel.clone());
    channel
}

fn named(label: &str) -> ChannelConfig {
    ChannelConfig {
        label: label.to_owned(),
        ..ChannelConfig::default()
    }
}

fn text(text: &str) -> Message {
    Message {
        kind: MessageKind::Text,
        data: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn binary(data: &[u8]) -> Message {
    Message {
        kind: MessageKind::Binary,
        data: Bytes::copy_from_slice(data),
    }
}

/// Does `act`, which may wait, on a thread of its own.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(act))
        .await
        .expect("in time")
        .unwrap()
}

/// Reads until the channel is over, or there are `count`.
fn read(channel: &DataChannel, count: usize) -> Vec<Message> {
    let mut all = VecDeque::new();
    while all.len() < count {
        let taken = channel.receive(&mut all, DEADLINE);
        assert_ne!(taken, Received::Timeout, "{} came", all.len());
        if taken == Received::Ended {
            break;
        }
    }
    all.into()
}

async fn closed(end: &mut End) -> String {
    loop {
        for channel in end.changed().await {
            if let Phase::Closed { reason } = channel.phase() {
                return reason;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_keep_their_kind_their_bounds_and_their_order() {
    for media in [false, true] {
        let (one, mut other) = call(media, true).await;
        let config = ChannelConfig {
            protocol: "test".to_owned(),
            ..named("a channel")
        };
        let sender = open(&one, config.clone());
        let messages = vec![
            text("first"),
            binary(&[]),
            text(""),
            binary(&[7; 100_000]),
            text("last"),
        ];
        let sent = messages.clone();
        blocking(move || {
            sent.into_iter().for_each(|m| sender.send(m).unwrap());
            assert!(sender.wait_delivered());
            sender.close();
        })
        .await;
        let receiver = other.channel().await;
        assert_eq!(receiver.config().label, "a channel");
        assert_eq!(receiver.config().protocol, "test");
        assert!(receiver.is_of_remote() && receiver.config().ordered);
        let came = blocking(move || read(&receiver, usize::MAX)).await;
        assert_eq!(came, messages);
        tokio::join!(one.peer.close(), other.peer.close());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_open_channels_and_both_send_on_each() {
    let (mut one, mut other) = call(false, true).await;
    let ours = open(&one, named("ours"));
    let theirs = open(&other, named("theirs"));
    let answer = |end: Arc<DataChannel>, word: &'static str| {
        move || {
            end.send(text(word)).unwrap();
            read(&end, 1)
        }
    };
    let (at_one, at_other) = (one.channel().await, other.channel().await);
    let (a, b) = tokio::join!(
        blocking(answer(ours, "there")),
        blocking(answer(at_other, "back"))
    );
    assert_eq!((a, b), (vec![text("back")], vec![text("there")]));
    let (a, b) = tokio::join!(
        blocking(answer(theirs, "there")),
        blocking(answer(at_one, "back"))
    );
    assert_eq!((a, b), (vec![text("back")], vec![text("there")]));
    tokio::join!(one.peer.close(), other.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_holds_the_writer_and_then_gets_everything() {
    const COUNT: usize = 1000;
    let (one, mut other) = call(false, true).await;
    let sender = open(&one, named("file"));
    let receiver = {
        let sender = sender.clone();
        let first = blocking(move || sender.send(binary(&[0; 16_000])));
        let (sent, receiver) = tokio::join!(first, other.channel());
        sent.unwrap();
        receiver
    };
    let writer = {
        let sender = sender.clone();
        tokio::task::spawn_blocking(move || {
            for number in 1..COUNT {
                sender.send(binary(&[number as u8; 16_000])).unwrap();
            }
            sender.wait_delivered()
        })
    };
    // All that is bounded is full: nothing moves any more.
    let mut before = u64::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sender.stats().messages_sent;
        if now == before {
            break;
        }
        before = now;
    }
    let held = receiver.stats().bytes_received as usize;
    assert!(held <= INBOUND_ROOM + 16_000, "{held} bytes are held");
    assert!(!writer.is_finished());
    let came = blocking(move || read(&receiver, COUNT)).await;
    assert!(writer.await.unwrap());
    let numbers = came.iter().map(|m| m.data[0]);
    assert!(numbers.eq((0..COUNT).map(|n| n as u8)));
    tokio::join!(one.peer.close(), other.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_the_remote_takes_is_refused() {
    let (mut one, other) = call(false, true).await;
    let sender = open(&one, named("file"));
    while sender.phase() != Phase::Open {
        one.changed().await;
    }
    let error = sender.send(binary(&[0; 262_145])).unwrap_err();
    let (size, most) = (262_145, 262_144);
    assert_eq!(error, SendError::TooLarge { size, most });
    sender.send(binary(&[0; 262_144])).unwrap();
    blocking(move || assert!(sender.wait_delivered())).await;
    tokio::join!(one.peer.close(), other.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_that_the_remote_does_not_want_close_and_say_so() {
    let mut one = End::new(Direction::SendOnly);
    let other = End::new(Direction::RecvOnly);
    one.peer.want_data(true);
    let channel = open(&one, named("file"));
    let writer = tokio::task::spawn_blocking(move || channel.send(text("?")));
    let answer = other.answer(one.offer().await).await;
    assert!(answer.contains("m=application 0 "), "{answer}");
    one.set_answer(answer).await;
    let error = writer.await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Closed(_)), "{error}");
    assert!(closed(&mut one).await.contains("takes no data channels"));
    tokio::join!(one.peer.close(), other.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_added_waits_for_the_offer_that_has_it() {
    let mut one = End::new(Direction::SendOnly);
    let mut other = End::new(Direction::RecvOnly);
    other.peer.want_data(false);
    let offer = one.offer().await;
    // Too late for that offer; its answer says nothing of data channels.
    let channel = open(&one, named("late"));
    one.peer.want_data(true);
    let answer = other.answer(offer).await;
    one.set_answer(answer).await;
    one.connected().await;
    other.connected().await;
    let answer = one.answer(other.offer().await).await;
    other.set_answer(answer).await;
    assert_eq!(channel.phase(), Phase::Connecting);
    let answer = other.answer(one.offer().await).await;
    one.set_answer(answer).await;
    assert_eq!(other.channel().await.config().label, "late");
    tokio::join!(one.peer.close(), other.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_one_side_closes_is_over_at_both_however_often() {
    let (mut one, mut other) = call(false, true).await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        let channel = open(&one, named("again"));
        let at_other = other.channel().await;
        at_other.close();
        assert_eq!(closed(&mut other).await, "this side closed it");
        assert_eq!(closed(&mut one).await, "the remote closed it");
        ids.push(channel.id());
    }
    // One that was just given back is not taken at once.
    ids.dedup();
    assert_eq!(ids.len(), 8);
    tokio::join!(one.peer.close(), other.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_of_both_ends_with_one_id_need_no_word_to_open() {
    let (one, other) = call(false, true).await;
    let config = ChannelConfig {
        negotiated: true,
        id: Some(42),
        ..named("known")
    };
    let (here, there) = (open(&one, config.clone()), open(&other, config));
    blocking(move || here.send(text("hello")).unwrap()).await;
    let came = blocking(move || read(&there, 1)).await;
    assert_eq!(came, [text("hello")]);
    tokio::join!(one.peer.close(), other.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_is_read_though_the_call_has_ended() {
    let (one, mut other) = call(false, true).await;
    let sender = open(&one, named("file"));
    let (sent, receiver) = tokio::join!(
        blocking(move || {
            // More than fits into the channel's own queue.
            for _ in 0..100 {
                sender.send(binary(&[1; 16_000])).unwrap();
            }
            sender.wait_delivered()
        }),
        other.channel()
    );
    assert!(sent);
    one.peer.close().await;
    assert_eq!(closed(&mut other).await, "the remote ended the call");
    let came = blocking(move || read(&receiver, usize::MAX)).await;
    assert_eq!(came.len(), 100);
    other.peer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreliable_channel_drops_rather_than_waits() {
    let (one, other) = call(false, true).await;
    let config = ChannelConfig {
        ordered: false,
        max_retransmits: Some(0),
        ..named("telemetry")
    };
    let channel = DataChannel::new(config);
    // Nobody is there yet.
    channel.send(text("old")).unwrap();
    assert_eq!(channel.stats().messages_dropped, 1);
    one.peer.open_channel(channel.clone());
    while channel.phase() != Phase::Open {
        tokio::task::yield_now().await;
    }
    blocking(move || {
        for _ in 0..1000 {
            channel.send(binary(&[0; 16_000])).unwrap();
        }
        assert!(channel.stats().buffered_amount < 3 << 20);
    })
    .await;
    tokio::join!(one.peer.close(), other.peer.close());
}

#[test]
fn a_writer_learns_whether_all_arrived_before_the_channel_closed() {
    for acknowledged in [false, true] {
        let channel = DataChannel::new(named("file"));
        channel.opened();
        channel.send(text("last")).unwrap();
        channel.next().unwrap();
        if acknowledged {
            channel.set_in_sctp(0);
        }
        channel.closed("the remote closed it");
        assert_eq!(channel.wait_delivered(), acknowledged);
    }
}

#[test]
fn the_end_is_told_once_and_whoever_comes_second_waits_until_it_was() {
    let channel = DataChannel::new(named("file"));
    channel.opened();
    let told = std::sync::Mutex::new(Vec::new());
    channel.tell(|phase| {
        // It closes while somebody tells that it is open.
        channel.closed("the remote closed it");
        told.lock().unwrap().push(phase.clone());
    });
    let (begun, begins) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            channel.tell(|phase| {
                // overflow: retained; there is one.
                begun.send(()).unwrap();
                let start = std::time::Instant::now();
                while start.elapsed() < std::time::Duration::from_millis(20) {}
                told.lock().unwrap().push(phase.clone());
            });
        });
        begins.recv().unwrap();
        channel.tell(|_| panic!("told twice"));
        assert_eq!(told.lock().unwrap().len(), 2);
    });
    let reason = "the remote closed it".to_owned();
    assert_eq!(
        *told.lock().unwrap(),
        [Phase::Open, Phase::Closed { reason }]
    );
}

#[tokio::test]
async fn the_form_of_before_2018_is_answered_in_its_form() {
    let (one, other) = (End::with(Vec::new()), End::with(Vec::new()));
    one.peer.want_data(true);
    other.peer.want_data(false);
    let offer = one.offer().await;
    assert!(offer.contains("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert!(offer.contains("a=sctp-port:5000\r\na=max-message-size:262144\r\n"));
    let old = offer
        .replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
        .replace(
            "a=sctp-port:5000\r\na=max-message-size:262144\r\n",
            "a=sctpmap:5000 webrtc-datachannel 256\r\n",
        );
    let answer = other.answer(old).await;
    assert!(
        answer.contains("m=application 9 DTLS/SCTP 5000\r\n"),
        "{answer}"
    );
    assert!(answer.contains("a=sctpmap:5000 webrtc-datachannel 1024\r\n"));
    assert!(!answer.contains("a=sctp-port"));
    tokio::join!(one.peer.close(), other.peer.close());
}
