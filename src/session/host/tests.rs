// SPDX-License-Identifier: MPL-2.0
//! A host and clients of it in one process, over real sockets.

use std::net::Ipv4Addr;

use super::*;
use crate::media::codec::supported;
use crate::media::queue::{InboundQueue, Popped};
use crate::media::rtp_packet::{Inbound, OutboundPacket};
use crate::peer::{BitrateLimits, WebRtcPeerFactory};
use crate::session::error::CallError;
use crate::session::negotiation::Receiving;
use crate::signalling::SignallerConfig;
use crate::signalling::http::Protocol;
use crate::signalling::http::client::ClientConfig;

const LIMIT: Duration = Duration::from_secs(15);

fn addresses() -> Vec<IpAddr> {
    vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
}

/// A host that sends VP8, once it has a wish.
struct Stage {
    host: Host,
    events: mpsc::Receiver<HostEvent>,
    url: String,
}

impl Stage {
    async fn listening() -> Self {
        let config = HostConfig {
            server: ServerConfig {
                protocol: Protocol::Whep,
                location: "http://127.0.0.1:0/whep".to_owned(),
                tokens: Vec::new(),
                tls: None,
                max_peers: 8,
                ice_servers: Vec::new(),
                answer_limit: LIMIT,
                navigation: false,
            },
            addresses: addresses(),
            ice_servers: Vec::new(),
            bitrate: BitrateLimits::default(),
            fec: None,
        };
        let factory = Arc::new(WebRtcPeerFactory);
        let (host, mut events) = Host::start(config, factory, &Handle::current());
        host.begin();
        let Some(HostEvent::Listening(url)) = events.recv().await else {
            panic!("it does not listen");
        };
        Self { host, events, url }
    }

    async fn sending() -> Self {
        let stage = Self::listening().await;
        let codec = supported("VP8").unwrap().with_fmtp("");
        stage.host.set_wish(Wish::Send(vec![codec.into()]));
        stage
    }

    /// A client that receives `codec`.
    fn client(&self, codec: &str) -> Client {
        let config = ClientConfig {
            protocol: Protocol::Whep,
            endpoint: self.url.clone(),
            token: None,
            ca: None,
            timeout: LIMIT,
        };
        let config = SessionConfig {
            role: Role::Offerer,
            signaller: SignallerConfig::Http(config).build(),
            addresses: addresses(),
            ice_servers: Vec::new(),
            options: SessionOptions::default(),
        };
        let factory = Arc::new(WebRtcPeerFactory);
        let (session, events) = Session::start(config, factory, &Handle::current());
        session.set_wish(Wish::Receive(Receiving {
            codecs: vec![supported(codec).unwrap()],
            video_ordered: false,
            audio_ordered: false,
            video: 1,
            audio: 0,
            layers: Default::default(),
        }));
        session.begin();
        Client { session, events }
    }

    /// The next peer that media can flow to.
    async fn connected(&mut self) -> Arc<str> {
        loop {
            let event = tokio::time::timeout(LIMIT, self.events.recv()).await;
            if let Some(HostEvent::Peer { id, event, .. }) = event.expect("a peer in time")
                && matches!(event, Event::Connected(_))
            {
                return id;
            }
        }
    }

    /// How the call with the only peer there was ended.
    async fn left(&mut self) -> Event {
        loop {
            let event = tokio::time::timeout(LIMIT, self.events.recv()).await;
            if let Some(HostEvent::Peer { event, .. }) = event.expect("an end in time")
                && matches!(event, Event::Ended(_) | Event::Failed(_))
            {
                return event;
            }
        }
    }
}

struct Client {
    session: Session,
    events: mpsc::Receiver<Event>,
}

impl Client {
    async fn queue(&mut self) -> Arc<InboundQueue> {
        loop {
            match tokio::time::timeout(LIMIT, self.events.recv()).await {
                Ok(Some(Event::Agreed(mut streams))) => return streams.remove(0).1.unwrap(),
                Ok(Some(Event::Failed(error))) => panic!("{error}"),
                Ok(Some(_)) => {}
                other => panic!("nothing agreed: {other:?}"),
            }
        }
    }

    async fn failure(&mut self) -> CallError {
        loop {
            match tokio::time::timeout(LIMIT, self.events.recv()).await {
                Ok(Some(Event::Failed(error))) => return error,
                Ok(Some(_)) => {}
                other => panic!("no failure: {other:?}"),
            }
        }
    }
}

/// The timestamps of the next `count` packets.
async fn read(queue: Arc<InboundQueue>, count: usize) -> Vec<u32> {
    let read = move || {
        let end = std::time::Instant::now() + LIMIT;
        let mut all = Vec::new();
        while all.len() < count && std::time::Instant::now() < end {
            if let Popped::Item(Inbound::Rtp(packet)) = queue.pop(Duration::from_millis(100)) {
                let time: [u8; 4] = packet.header[4..8].try_into().unwrap();
                all.push(u32::from_be_bytes(time));
            }
        }
        all
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

fn frame(key: bool, timestamp: u32) -> OutboundFrame {
    let packet = OutboundPacket {
        timestamp,
        marker: true,
        payload: vec![0x10, u8::from(!key), 0, 0].into(),
        extensions: Vec::new(),
        skipped: 0,
    };
    OutboundFrame {
        key,
        packets: vec![packet].into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_begins_with_a_key_frame_and_a_late_comer_with_all_since_the_last() {
    let mut stage = Stage::sending().await;
    stage.host.keep_for_late_comers(true);
    let mut first = stage.client("VP8");
    let id = stage.connected().await;
    assert_eq!(stage.host.sent_to(&id), [0]);
    stage.host.admit(&id, &[]);
    stage.host.push_frame(0, frame(false, 3000));
    stage.host.push_frame(0, frame(true, 6000));
    stage.host.push_frame(0, frame(false, 9000));
    assert_eq!(read(first.queue().await, 2).await, [6000, 9000]);
    let mut late = stage.client("VP8");
    let id = stage.connected().await;
    stage.host.admit(&id, &[0]);
    stage.host.push_frame(0, frame(false, 12_000));
    let times = read(late.queue().await, 3).await;
    assert_eq!(
        times,
        [8910, 9000, 12_000],
        "what is past takes next to no time"
    );
    assert_eq!(stage.host.stats().len(), 2);
    assert!(stage.host.stop(LIMIT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_served_is_told_why_and_nobody_else_notices() {
    let mut stage = Stage::listening().await;
    let early = stage.client("VP8").failure().await.to_string();
    assert!(
        early.contains("503") && early.contains("no data"),
        "{early}"
    );
    let codec = supported("VP8").unwrap().with_fmtp("");
    stage.host.set_wish(Wish::Send(vec![codec.into()]));
    let misfit = stage.client("H264").failure().await.to_string();
    assert!(misfit.contains("406") && misfit.contains("VP8"), "{misfit}");
    let fitting = stage.client("VP8");
    stage.connected().await;
    drop(fitting.session);
    assert!(matches!(stage.left().await, Event::Ended(_)));
    assert!(stage.host.stop(LIMIT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_the_end_is_told_that_the_stream_is_over() {
    let mut stage = Stage::sending().await;
    let mut there = stage.client("VP8");
    let id = stage.connected().await;
    stage.host.admit(&id, &[]);
    stage.host.push_frame(0, frame(true, 1));
    stage.host.finish();
    assert_eq!(read(there.queue().await, 1).await, [1], "all is delivered");
    let host = stage.host;
    let (ended, host) = tokio::task::spawn_blocking(move || (host.wait_done(LIMIT), host))
        .await
        .unwrap();
    assert!(ended);
    stage.host = host;
    let late = stage.client("VP8").failure().await.to_string();
    assert!(late.contains("410"), "{late}");
    assert!(stage.host.stop(LIMIT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_a_client_just_left_stops_within_the_time_that_elements_give_it() {
    let mut stage = Stage::sending().await;
    let client = stage.client("VP8");
    stage.connected().await;
    assert!(tokio::task::block_in_place(|| client.session.stop(LIMIT)));
    stage.left().await;
    let start = std::time::Instant::now();
    assert!(tokio::task::block_in_place(|| stage.host.stop(LIMIT)));
    // Elements give it 0.7 s. A server that waits for the farewell of its clients takes 1.5 s.
    assert!(start.elapsed() < Duration::from_millis(1500));
}
