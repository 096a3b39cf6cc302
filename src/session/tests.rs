// SPDX-License-Identifier: MPL-2.0
//! The actor with a peer and a signaller that the tests play themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::CallError;
use super::event::EndCause;
use super::*;
use crate::media::codec::{Codec, supported};
use crate::media::queue::InboundQueue;
use crate::peer::{Direction, PeerConfig, PeerError, PeerEvent, StreamConfig, TransportInfo};
use crate::signalling::message::{Description, DescriptionType, Message};
use crate::signalling::{Exchange, SignallingError};

const LIMIT: Duration = Duration::from_secs(5);

fn answer() -> String {
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n\
     a=fingerprint:sha-256 00\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
     a=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
        .to_owned()
}

/// So many VP8 streams.
fn vp8(count: usize) -> Wish {
    let codec = supported("VP8").unwrap().with_fmtp("");
    Wish::Send(vec![codec.into(); count])
}

/// Hands the exchange to the test.
pub(super) struct Played(pub(super) tokio::sync::oneshot::Sender<Exchange>);

#[async_trait::async_trait]
impl Signaller for Played {
    async fn run(self: Box<Self>, exchange: Exchange) -> Result<(), SignallingError> {
        let cancel = exchange.cancel.clone();
        let _ = self.0.send(exchange);
        cancel.cancelled().await;
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct FakePeer {
    pub(super) drained: AtomicUsize,
    pub(super) closed: AtomicUsize,
    pub(super) frames: AtomicUsize,
    /// Directions of the m-lines of each offer.
    pub(super) offers: Mutex<Vec<Vec<Direction>>>,
    /// M-lines of which nothing more is sent.
    pub(super) ended: Mutex<Vec<usize>>,
    pub(super) inbound: Option<Arc<InboundQueue>>,
}

#[async_trait::async_trait]
impl Peer for FakePeer {
    async fn create_offer(&self, streams: Vec<StreamConfig>) -> Result<String, PeerError> {
        let directions = streams.iter().map(|stream| stream.direction);
        self.offers.lock().unwrap().push(directions.collect());
        Ok("offer".to_owned())
    }
    async fn answer(
        &self,
        _offer: String,
        _streams: Vec<StreamConfig>,
    ) -> Result<String, PeerError> {
        Ok("answer".to_owned())
    }
    async fn set_answer(
        &self,
        _answer: String,
        _streams: Vec<StreamConfig>,
    ) -> Result<(), PeerError> {
        Ok(())
    }
    async fn restart_ice(&self) -> Result<String, PeerError> {
        Ok("restart".to_owned())
    }
    async fn add_candidate(
        &self,
        candidate: String,
        _mid: Option<String>,
        _mline_index: Option<u16>,
    ) -> Result<(), PeerError> {
        Err(PeerError::Description(candidate))
    }
    fn set_send_codec(&self, _index: usize, _codec: Codec) {}
    fn push_frame(&self, _index: usize, _frame: OutboundFrame) -> bool {
        self.frames.fetch_add(1, Ordering::SeqCst);
        true
    }
    async fn drained(&self) {
        self.drained.fetch_add(1, Ordering::SeqCst);
    }
    fn end_sending(&self, index: usize) {
        self.ended.lock().unwrap().push(index);
    }
    fn inbound(&self, _index: usize) -> Option<Arc<InboundQueue>> {
        self.inbound.clone()
    }
    fn request_key_frame(&self, _index: usize) {}
    fn open_channel(&self, _channel: Arc<DataChannel>) {}
    fn stats(&self, _index: usize) -> StreamStats {
        StreamStats::default()
    }
    async fn transport_info(&self) -> TransportInfo {
        TransportInfo::default()
    }
    async fn close(&self) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) struct Factory {
    pub(super) peer: Arc<FakePeer>,
    pub(super) events: Mutex<Option<mpsc::Receiver<PeerEvent>>>,
}

#[async_trait::async_trait]
impl PeerFactory for Factory {
    async fn create(
        &self,
        _config: PeerConfig,
    ) -> Result<(Arc<dyn Peer>, mpsc::Receiver<PeerEvent>), PeerError> {
        let events = self.events.lock().unwrap().take();
        Ok((self.peer.clone(), events.ok_or(PeerError::Closed)?))
    }
}

/// A sender's call with everything around it in the test's hands.
struct Stage {
    session: Session,
    events: mpsc::Receiver<Event>,
    remote: Exchange,
    peer: Arc<FakePeer>,
    from_peer: mpsc::Sender<PeerEvent>,
}

impl Stage {
    async fn offered() -> Self {
        Self::offered_by(FakePeer::default()).await
    }

    async fn offered_by(peer: FakePeer) -> Self {
        let (from_peer, peer_events) = mpsc::channel(8);
        let peer = Arc::new(peer);
        let factory = Arc::new(Factory {
            peer: peer.clone(),
            events: Mutex::new(Some(peer_events)),
        });
        let (hand_over, exchange) = tokio::sync::oneshot::channel();
        let config = SessionConfig {
            role: Role::Offerer,
            signaller: Box::new(Played(hand_over)),
            addresses: Vec::new(),
            ice_servers: Vec::new(),
            options: SessionOptions::default(),
        };
        let (session, events) = Session::start(config, factory, &Handle::current());
        session.set_wish(vp8(1));
        session.begin();
        let mut remote = exchange.await.unwrap();
        let offer = remote.outgoing.recv().await.unwrap();
        assert!(matches!(offer, Message::Description(d) if d.kind == DescriptionType::Offer));
        Self {
            session,
            events,
            remote,
            peer,
            from_peer,
        }
    }

    async fn connected() -> Self {
        let mut stage = Self::offered().await;
        stage.says(Message::Description(Description {
            kind: DescriptionType::Answer,
            sdp: answer(),
        }));
        stage.from_peer.send(PeerEvent::Connected).await.unwrap();
        assert!(matches!(stage.event().await, Event::Agreed(a) if a.len() == 1));
        assert!(matches!(stage.event().await, Event::Connected(_)));
        stage
    }

    fn says(&self, message: Message) {
        self.remote.incoming.try_send(message).unwrap();
    }

    async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(LIMIT, self.events.recv()).await;
        event.unwrap().unwrap()
    }

    async fn hears_bye(&mut self) -> bool {
        let heard = tokio::time::timeout(LIMIT, self.remote.outgoing.recv()).await;
        heard.unwrap() == Some(Message::Bye)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_no_description_brings_about_is_over() {
    let mut stage = Stage::connected().await;
    let channel = DataChannel::new(Default::default());
    stage.session.open_channel(channel.clone());
    let offer = stage.remote.outgoing.recv().await.unwrap();
    assert!(matches!(offer, Message::Description(_)));
    stage.says(Message::Description(Description {
        kind: DescriptionType::Answer,
        sdp: "no answer".to_owned(),
    }));
    let event = stage.event().await;
    assert!(
        matches!(&event, Event::Channel(c) if c.is_closed()),
        "{event:?}"
    );
    // Its writer is told, and does not wait.
    assert!(channel.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_delivered_before_we_say_bye() {
    let mut stage = Stage::connected().await;
    stage.session.finish();
    assert!(matches!(stage.event().await, Event::Ended(EndCause::Local)));
    assert!(stage.hears_bye().await);
    assert_eq!(stage.peer.drained.load(Ordering::SeqCst), 1);
    assert_eq!(stage.peer.closed.load(Ordering::SeqCst), 1);
    assert!(tokio::task::block_in_place(|| stage
        .session
        .wait_done(LIMIT)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bye_instead_of_an_answer_is_an_error_and_is_not_returned() {
    let mut stage = Stage::offered().await;
    stage.says(Message::Bye);
    let Event::Failed(CallError::Signalling(error)) = stage.event().await else {
        panic!("no error");
    };
    assert!(error.to_string().contains("bye"), "{error}");
    assert!(!stage.hears_bye().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bye_during_the_call_ends_it_in_good_order() {
    let mut stage = Stage::connected().await;
    stage.says(Message::Bye);
    assert!(matches!(
        stage.event().await,
        Event::Ended(EndCause::Remote)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_closes_before_the_connection_is_up_is_an_error() {
    let mut stage = Stage::offered().await;
    stage.says(Message::Description(Description {
        kind: DescriptionType::Answer,
        sdp: answer(),
    }));
    assert!(matches!(stage.event().await, Event::Agreed(_)));
    stage
        .from_peer
        .send(PeerEvent::RemoteClosed { said_bye: true })
        .await
        .unwrap();
    assert!(matches!(
        stage.event().await,
        Event::Failed(CallError::Signalling(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_only_after_the_error_was_taken() {
    let queue = Arc::new(InboundQueue::new(1));
    let mut stage = Stage::offered_by(FakePeer {
        inbound: Some(queue.clone()),
        ..FakePeer::default()
    })
    .await;
    stage.says(says_description(DescriptionType::Answer, answer()));
    assert!(matches!(stage.event().await, Event::Agreed(_)));
    let failed = PeerEvent::Failed(PeerError::Dtls("refused".to_owned()));
    stage.from_peer.send(failed).await.unwrap();
    assert!(matches!(stage.event().await, Event::Failed(_)));
    // The element has it in hand, and posts it now.
    assert!(stage.remote.outgoing.recv().await.is_some());
    assert!(stage.remote.outgoing.recv().await.is_none());
    assert!(!queue.is_over());
    drop(stage.events);
    let done = tokio::time::timeout(LIMIT, stage.session.done());
    done.await.unwrap();
    assert!(queue.is_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_apart_from_one_that_never_was() {
    for connected in [true, false] {
        let mut stage = match connected {
            true => Stage::connected().await,
            false => Stage::offered().await,
        };
        let failed = PeerEvent::Failed(PeerError::Ice("gone".to_owned()));
        stage.from_peer.send(failed).await.unwrap();
        let event = stage.event().await;
        let Event::Failed(error) = event else {
            panic!("{event:?}");
        };
        assert_eq!(matches!(error, CallError::Lost(_)), connected, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_sdp_names_cause_and_cure() {
    let mut stage = Stage::offered().await;
    stage.says(Message::Description(Description {
        kind: DescriptionType::Answer,
        sdp: "v=1".to_owned(),
    }));
    let Event::Failed(error @ CallError::BadDescription { .. }) = stage.event().await else {
        panic!("no error");
    };
    assert!(error.to_string().contains("paste"), "{error}");
    assert!(stage.hears_bye().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_is_refused_is_noted_and_the_call_goes_on() {
    let mut stage = Stage::connected().await;
    stage.says(Message::Candidate(crate::signalling::message::Candidate {
        candidate: "candidate:nonsense".to_owned(),
        mid: None,
        mline_index: Some(0),
    }));
    assert!(matches!(stage.event().await, Event::Notice(_)));
    stage
        .from_peer
        .send(PeerEvent::KeyFrameRequest(0))
        .await
        .unwrap();
    assert!(matches!(stage.event().await, Event::KeyFrameRequest(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cut_says_bye_and_frees_the_peer() {
    let mut stage = Stage::connected().await;
    let stopped = tokio::task::block_in_place(|| stage.session.stop(LIMIT));
    assert!(stopped && stage.hears_bye().await);
    assert_eq!(stage.peer.closed.load(Ordering::SeqCst), 1);
}

fn says_description(kind: DescriptionType, sdp: String) -> Message {
    Message::Description(Description { kind, sdp })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_added_is_offered_and_agreed_without_touching_the_first() {
    let mut stage = Stage::connected().await;
    stage.session.set_wish(vp8(2));
    let offer = stage.remote.outgoing.recv().await.unwrap();
    assert!(matches!(offer, Message::Description(d) if d.kind == DescriptionType::Offer));
    let second = "m=video 9 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\n\
                  a=rtpmap:98 VP8/90000\r\n";
    let both = answer().replace("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE 0 1\r\n") + second;
    stage.says(says_description(DescriptionType::Answer, both));
    let Event::Agreed(streams) = stage.event().await else {
        panic!("not agreed");
    };
    let locals: Vec<_> = streams.iter().map(|(s, _)| (s.stream, s.local)).collect();
    assert_eq!(locals, [(0, 0), (1, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_used_during_the_call_leaves_it_as_it_was() {
    let mut stage = Stage::connected().await;
    stage.session.set_wish(vp8(2));
    assert!(stage.remote.outgoing.recv().await.is_some());
    stage.says(says_description(
        DescriptionType::Answer,
        "nonsense".to_owned(),
    ));
    // What it would have added is not sent; what was there goes on.
    assert!(matches!(stage.event().await, Event::LeftOut(1, _)));
    assert!(matches!(stage.event().await, Event::Notice(text) if text.contains("passed over")));
    stage.says(Message::Bye);
    assert!(matches!(
        stage.event().await,
        Event::Ended(EndCause::Remote)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_offers_during_the_call_gets_an_answer() {
    let mut stage = Stage::connected().await;
    stage.says(says_description(DescriptionType::Offer, answer()));
    assert!(matches!(stage.event().await, Event::Agreed(a) if a.len() == 1));
    let ours = stage.remote.outgoing.recv().await.unwrap();
    assert!(matches!(ours, Message::Description(d) if d.kind == DescriptionType::Answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_offers_at_once_that_of_the_first_offerer_stands() {
    let mut stage = Stage::connected().await;
    stage.session.set_wish(vp8(2));
    assert!(stage.remote.outgoing.recv().await.is_some());
    stage.says(says_description(DescriptionType::Offer, answer()));
    assert!(matches!(stage.event().await, Event::Notice(text) if text.contains("offer of ours")));
}
