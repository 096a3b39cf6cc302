// SPDX-License-Identifier: MPL-2.0
//! Two legs on one call, with a peer and a signaller that the tests play themselves.

use std::sync::atomic::Ordering;

use super::*;
use crate::media::codec::supported;
use crate::media::queue::{InboundQueue, Popped};
use crate::media::rtp_packet::Inbound;
use crate::peer::{Direction, PeerError, PeerEvent};
use crate::session::SessionOptions;
use crate::session::event::EndCause;
use crate::session::tests::{Factory, FakePeer, Played};
use crate::signalling::message::{Description, DescriptionType, Message};
use crate::signalling::{Exchange, Role};

const LIMIT: Duration = Duration::from_secs(20);

fn answer(direction: &str) -> Message {
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n\
         a=fingerprint:sha-256 00\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n\
         a=mid:0\r\na={direction}\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
    );
    Message::Description(Description {
        kind: DescriptionType::Answer,
        sdp,
    })
}

fn sends() -> Wish {
    Wish::Send(vec![supported("VP8").unwrap().with_fmtp("").into()])
}

fn receives() -> Wish {
    Wish::Receive(Receiving {
        codecs: vec![supported("VP8").unwrap()],
        video_ordered: false,
        audio_ordered: false,
        video: 1,
        audio: 0,
        layers: Choice::default(),
    })
}

/// A call with everything around it in the test's hands.
struct Stage {
    registry: Registry,
    factory: Arc<Factory>,
    peer: Arc<FakePeer>,
    from_peer: mpsc::Sender<PeerEvent>,
    signaller: Arc<Mutex<Option<Played>>>,
    exchange: Option<tokio::sync::oneshot::Receiver<Exchange>>,
}

type Joined = (Leg, mpsc::Receiver<Event>);

impl Stage {
    fn new() -> Self {
        let (from_peer, peer_events) = mpsc::channel(8);
        let peer = Arc::new(FakePeer {
            inbound: Some(Arc::new(InboundQueue::new(8))),
            ..FakePeer::default()
        });
        let (hand_over, exchange) = tokio::sync::oneshot::channel();
        Self {
            registry: Registry::default(),
            factory: Arc::new(Factory {
                peer: peer.clone(),
                events: Mutex::new(Some(peer_events)),
            }),
            peer,
            from_peer,
            signaller: Arc::new(Mutex::new(Some(Played(hand_over)))),
            exchange: Some(exchange),
        }
    }

    fn join_with(&self, side: Side, terms: Terms) -> Result<Joined, String> {
        let signaller = self.signaller.clone();
        let joining = Joining {
            side,
            terms,
            configure: Box::new(move |_, _| {
                let signaller = signaller.lock().unwrap().take();
                Ok(SessionConfig {
                    role: Role::Offerer,
                    signaller: Box::new(signaller.ok_or("a second signaller")?),
                    addresses: Vec::new(),
                    ice_servers: Vec::new(),
                    options: SessionOptions::default(),
                })
            }),
            factory: self.factory.clone(),
        };
        self.registry.join("a", joining, &Handle::current())
    }

    fn join(&self, side: Side) -> Joined {
        let joined = self.join_with(side, Terms::default()).unwrap();
        let wish = match side {
            Side::Sends => sends(),
            Side::Receives => receives(),
        };
        joined.0.set_wish(wish);
        joined
    }

    async fn remote(&mut self) -> Exchange {
        let exchange = self.exchange.take().unwrap();
        tokio::time::timeout(LIMIT, exchange)
            .await
            .unwrap()
            .unwrap()
    }

    /// Both legs, on a call that is up.
    async fn connected(&mut self) -> (Joined, Joined, Exchange) {
        let (mut sink, mut src) = (self.join(Side::Sends), self.join(Side::Receives));
        sink.0.begin();
        src.0.begin();
        let mut remote = self.remote().await;
        self.offer(&mut remote, Direction::SendRecv).await;
        remote.incoming.send(answer("sendrecv")).await.unwrap();
        self.from_peer.send(PeerEvent::Connected).await.unwrap();
        for leg in [&mut sink, &mut src] {
            assert!(matches!(event(leg).await, Event::Agreed(streams) if streams.len() == 1));
            assert!(matches!(event(leg).await, Event::Connected(_)));
        }
        (sink, src, remote)
    }

    /// Waits for the next offer, which is of this direction.
    async fn offer(&self, remote: &mut Exchange, direction: Direction) {
        let message = said(remote).await;
        let is_offer =
            matches!(&message, Some(Message::Description(d)) if d.kind == DescriptionType::Offer);
        assert!(is_offer, "{message:?}");
        let offers = self.peer.offers.lock().unwrap();
        assert_eq!(offers.last().unwrap(), &[direction]);
    }
}

async fn event(leg: &mut Joined) -> Event {
    let event = tokio::time::timeout(LIMIT, leg.1.recv()).await;
    event.unwrap().unwrap()
}

async fn said(remote: &mut Exchange) -> Option<Message> {
    tokio::time::timeout(LIMIT, remote.outgoing.recv())
        .await
        .unwrap()
}

fn is_done(leg: &Joined) -> bool {
    tokio::task::block_in_place(|| leg.0.wait_done(LIMIT))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_offer_waits_for_both_and_has_both_directions() {
    let mut stage = Stage::new();
    let _held = stage.connected().await;
    assert_eq!(stage.peer.offers.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_alone_makes_a_call_of_one_way_and_a_late_one_an_offer() {
    let mut stage = Stage::new();
    let mut sink = stage.join(Side::Sends);
    sink.0.begin();
    let mut remote = stage.remote().await;
    stage.offer(&mut remote, Direction::SendOnly).await;
    remote.incoming.send(answer("recvonly")).await.unwrap();
    assert!(!sink.0.is_up());
    stage.from_peer.send(PeerEvent::Connected).await.unwrap();
    assert!(matches!(event(&mut sink).await, Event::Agreed(_)));
    assert!(matches!(event(&mut sink).await, Event::Connected(_)));
    assert!(sink.0.is_up());
    let mut src = stage.join(Side::Receives);
    src.0.begin();
    stage.offer(&mut remote, Direction::SendRecv).await;
    remote.incoming.send(answer("sendrecv")).await.unwrap();
    assert!(matches!(event(&mut src).await, Event::Agreed(streams) if streams.len() == 1));
    assert!(matches!(event(&mut src).await, Event::Connected(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leg_leaves_and_comes_back_while_the_other_goes_on() {
    let mut stage = Stage::new();
    let (mut sink, src, mut remote) = stage.connected().await;
    assert!(
        tokio::task::block_in_place(|| src.0.stop(LIMIT)),
        "leaving does not wait"
    );
    stage.offer(&mut remote, Direction::SendOnly).await;
    remote.incoming.send(answer("recvonly")).await.unwrap();
    assert!(matches!(event(&mut sink).await, Event::Agreed(streams) if streams.len() == 1));
    let mut again = stage.join(Side::Receives);
    again.0.begin();
    stage.offer(&mut remote, Direction::SendRecv).await;
    remote.incoming.send(answer("sendrecv")).await.unwrap();
    assert!(matches!(event(&mut again).await, Event::Agreed(streams) if streams.len() == 1));
    assert!(matches!(event(&mut again).await, Event::Connected(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_stops_makes_no_offer_and_one_bye() {
    let mut stage = Stage::new();
    let (sink, src, mut remote) = stage.connected().await;
    sink.0.pause();
    src.0.pause();
    tokio::task::block_in_place(|| {
        sink.0.stop(LIMIT);
        src.0.stop(LIMIT);
    });
    assert_eq!(said(&mut remote).await, Some(Message::Bye));
    assert_eq!(stage.peer.offers.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_ends_without_the_call_which_ends_with_what_comes() {
    let mut stage = Stage::new();
    let (sink, mut src, mut remote) = stage.connected().await;
    sink.0.finish();
    assert!(is_done(&sink), "it is delivered");
    assert_eq!(*stage.peer.ended.lock().unwrap(), [0]);
    assert_eq!(stage.peer.drained.load(Ordering::SeqCst), 1);
    stage.from_peer.send(PeerEvent::StreamsOver).await.unwrap();
    assert_eq!(said(&mut remote).await, Some(Message::Bye));
    assert!(matches!(
        event(&mut src).await,
        Event::Ended(EndCause::Local)
    ));
    assert!(is_done(&src));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_falls_silent_after_all_was_sent_is_hung_up_on() {
    let mut stage = Stage::new();
    let (sink, mut src, mut remote) = stage.connected().await;
    sink.0.finish();
    assert_eq!(said(&mut remote).await, Some(Message::Bye));
    assert!(matches!(
        event(&mut src).await,
        Event::Ended(EndCause::Local)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_call_lets_the_recording_end_and_one_that_never_was_up_fails_on_both() {
    let lost = || PeerEvent::Failed(PeerError::Ice("gone".to_owned()));
    let mut stage = Stage::new();
    let (mut sink, mut src, _remote) = stage.connected().await;
    stage.from_peer.send(lost()).await.unwrap();
    assert!(matches!(
        event(&mut sink).await,
        Event::Ended(EndCause::Remote)
    ));
    assert!(matches!(event(&mut src).await, Event::Failed(_)));

    let mut stage = Stage::new();
    let (mut sink, mut src) = (stage.join(Side::Sends), stage.join(Side::Receives));
    sink.0.begin();
    src.0.begin();
    let mut remote = stage.remote().await;
    stage.offer(&mut remote, Direction::SendRecv).await;
    stage.from_peer.send(lost()).await.unwrap();
    assert!(matches!(event(&mut sink).await, Event::Failed(_)));
    assert!(matches!(event(&mut src).await, Event::Failed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_join_is_told_why() {
    let stage = Stage::new();
    let terms = |role: &str| {
        let mut terms = Terms::default();
        terms.set("role", Some(role.to_owned()));
        terms
    };
    let _sink = stage.join_with(Side::Sends, terms("offer")).unwrap();
    let error = stage
        .join_with(Side::Receives, terms("answer"))
        .err()
        .unwrap();
    assert!(
        error.contains("call=a") && error.contains("role is offer"),
        "{error}"
    );
    let error = stage.join_with(Side::Sends, terms("offer")).err().unwrap();
    assert!(error.contains("sends already"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_after_the_end_finds_a_new_call() {
    let mut stage = Stage::new();
    let (sink, mut src, remote) = stage.connected().await;
    remote.incoming.send(Message::Bye).await.unwrap();
    assert!(matches!(
        event(&mut src).await,
        Event::Ended(EndCause::Remote)
    ));
    assert!(is_done(&sink) && is_done(&src));
    drop(sink);
    let again = stage.join(Side::Sends);
    assert!(!Arc::ptr_eq(&again.0.room, &src.0.room));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_call_is_up_is_kept_and_is_old_for_who_joins_late() {
    let packet = || Inbound::SenderReport(Default::default());
    let kept = |queue: &InboundQueue| matches!(queue.pop(Duration::ZERO), Popped::Item(_));
    let mut stage = Stage::new();
    let queue = stage.peer.inbound.clone().unwrap();
    queue.push(packet());
    let _call = stage.connected().await;
    assert!(kept(&queue), "the first of it");

    let mut stage = Stage::new();
    let queue = stage.peer.inbound.clone().unwrap();
    let mut sink = stage.join(Side::Sends);
    sink.0.begin();
    let mut remote = stage.remote().await;
    stage.offer(&mut remote, Direction::SendOnly).await;
    remote.incoming.send(answer("recvonly")).await.unwrap();
    stage.from_peer.send(PeerEvent::Connected).await.unwrap();
    assert!(matches!(event(&mut sink).await, Event::Agreed(_)));
    queue.push(packet());
    let mut src = stage.join(Side::Receives);
    src.0.begin();
    stage.offer(&mut remote, Direction::SendRecv).await;
    remote.incoming.send(answer("sendrecv")).await.unwrap();
    assert!(matches!(event(&mut src).await, Event::Agreed(_)));
    assert!(!kept(&queue) && !queue.is_over(), "what nobody read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_leg_that_left_does_not_end_the_next_one() {
    let mut stage = Stage::new();
    let (sink, src, mut remote) = stage.connected().await;
    sink.0.finish();
    let drained = async {
        while stage.peer.drained.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, drained).await.unwrap();
    drop(sink);
    stage.offer(&mut remote, Direction::RecvOnly).await;
    remote.incoming.send(answer("sendonly")).await.unwrap();
    let mut again = stage.join(Side::Sends);
    again.0.begin();
    stage.offer(&mut remote, Direction::SendRecv).await;
    remote.incoming.send(answer("sendrecv")).await.unwrap();
    assert!(matches!(event(&mut again).await, Event::Agreed(_)));
    again.0.finish();
    assert!(is_done(&again));
    let ended = stage.peer.ended.lock().unwrap().clone();
    assert_eq!(ended, [0], "ended once, by its own");
    drop(src);
}
