// SPDX-License-Identifier: MPL-2.0
//! Light viewers of a WHEP server: sessions that count frames, without decoder or pipeline.
#![allow(dead_code, reason = "each binary uses a part of it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use gstwebrtcrs::media::codec::{MediaKind, supported};
use gstwebrtcrs::media::queue::{InboundQueue, Popped};
use gstwebrtcrs::media::rtp_packet::{Inbound, InboundPacket};
use gstwebrtcrs::peer::WebRtcPeerFactory;
use gstwebrtcrs::session::event::{EndCause, Event};
use gstwebrtcrs::session::negotiation::{Receiving, Wish};
use gstwebrtcrs::session::{Session, SessionConfig, SessionOptions};
use gstwebrtcrs::signalling::http::Protocol;
use gstwebrtcrs::signalling::http::client::ClientConfig;
use gstwebrtcrs::signalling::{Role, SignallerConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// Between two looks into the queues; packets bear the time of their arrival.
const LOOK: Duration = Duration::from_millis(20);
/// A packet that is not repaired within this time is lost.
const REPAIR: Duration = Duration::from_secs(1);

/// Viewers that share threads, and an end.
pub struct Audience {
    runtime: Runtime,
    threads: usize,
}

impl Audience {
    /// An audience with threads of its own.
    pub fn new(threads: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("viewers")
            .enable_all()
            .build()
            .unwrap();
        Self { runtime, threads }
    }

    /// A viewer of `url` that takes video in `codecs`.
    pub fn join(&self, url: &str, codecs: &[&str]) -> Viewer {
        let client = ClientConfig {
            protocol: Protocol::Whep,
            endpoint: url.to_owned(),
            token: None,
            ca: None,
            timeout: Duration::from_secs(10),
        };
        let config = SessionConfig {
            role: Role::Offerer,
            signaller: SignallerConfig::Http(client).build(),
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            ice_servers: Vec::new(),
            options: SessionOptions::default(),
        };
        let codecs: Vec<_> = codecs.iter().filter_map(|name| supported(name)).collect();
        let handle = self.runtime.handle();
        let (session, events) = Session::start(config, Arc::new(WebRtcPeerFactory), handle);
        session.set_wish(Wish::Receive(Receiving {
            video: usize::from(codecs.iter().any(|c| c.kind == MediaKind::Video)),
            audio: usize::from(codecs.iter().any(|c| c.kind == MediaKind::Audio)),
            codecs,
            video_ordered: true,
            audio_ordered: true,
            layers: Default::default(),
        }));
        let seen = Arc::new(Seen::default());
        let began = Instant::now();
        session.begin();
        handle.spawn(watch(events, seen.clone()));
        Viewer {
            session,
            seen,
            began,
        }
    }

    /// Ends all at once, as if the machine were switched off: nothing is said to anybody.
    pub fn vanish(self) {
        self.runtime.shutdown_background();
    }

    /// Nobody reads or answers any more while what is returned lives; sockets stay open.
    pub fn stall(&self) -> Stalled {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let all = Arc::new(std::sync::Barrier::new(self.threads + 1));
        for _ in 0..self.threads {
            let (held, all) = (held.clone(), all.clone());
            self.runtime.spawn(async move {
                all.wait();
                // Until the sender is dropped.
                let _ = held.lock().map(|held| held.recv());
            });
        }
        all.wait();
        Stalled(release)
    }
}

/// See [`Audience::stall`].
pub struct Stalled(
    #[allow(dead_code, reason = "its drop is what counts")] std::sync::mpsc::Sender<()>,
);

/// One viewer.
pub struct Viewer {
    session: Session,
    seen: Arc<Seen>,
    /// When it began; its offer is posted some ms later.
    pub began: Instant,
}

impl Viewer {
    /// What it has seen so far.
    pub fn look<T>(&self, at: impl FnOnce(&Sight) -> T) -> T {
        at(&self.seen.sight.lock().unwrap())
    }

    /// Waits until `done`; `false` if it is not within `limit`.
    pub fn wait(&self, limit: Duration, done: impl Fn(&Sight) -> bool) -> bool {
        let sight = self.seen.sight.lock().unwrap();
        let changed = &self.seen.changed;
        let (sight, _) = changed
            .wait_timeout_while(sight, limit, |sight| !done(sight))
            .unwrap();
        done(&sight)
    }

    /// From the beginning to the first complete frame.
    pub fn first_frame(&self) -> Option<Duration> {
        self.look(|sight| Some(sight.frames.first()?.at.duration_since(self.began)))
    }

    /// Says bye; waits at most `limit` for the end.
    pub fn leave(&self, limit: Duration) -> bool {
        self.session.stop(limit)
    }
}

#[derive(Default)]
struct Seen {
    sight: Mutex<Sight>,
    changed: Condvar,
}

/// What a viewer has seen.
#[derive(Default)]
pub struct Sight {
    /// Complete frames, in sending order.
    pub frames: Vec<Frame>,
    /// Packets that never came.
    pub lost: u64,
    /// The connection was up.
    pub connected: bool,
    /// Encoding that was agreed on.
    pub codec: String,
    /// How it ended.
    pub end: Option<Result<EndCause, String>>,
}

/// A frame that arrived whole.
pub struct Frame {
    /// RTP time, without its wrap.
    pub time: i64,
    /// When it and all before it were there.
    pub at: Instant,
    /// A decoder can start here.
    pub key: bool,
}

impl Sight {
    /// Frames that are missing between those that came, at `step` of RTP time each.
    pub fn missing(&self, from: usize, step: i64) -> i64 {
        let frames = self.frames.get(from..).unwrap_or_default();
        let pairs = frames.windows(2);
        pairs
            .map(|pair| (pair[1].time - pair[0].time + step / 2) / step - 1)
            .sum()
    }

    /// The longest time between two frames.
    pub fn largest_gap(&self, from: usize) -> Duration {
        let frames = self.frames.get(from..).unwrap_or_default();
        let gaps = frames.windows(2).map(|pair| pair[1].at - pair[0].at);
        gaps.max().unwrap_or_default()
    }

    /// How far each frame was behind the earliest one, by its own time on a clock of 90 kHz.
    pub fn delays(&self, from: usize) -> Vec<Duration> {
        let frames = self.frames.get(from..).unwrap_or_default();
        let Some(first) = frames.first() else {
            return Vec::new();
        };
        let behind = |f: &Frame| {
            let since = f.at.duration_since(first.at).as_secs_f64();
            since - (f.time - first.time) as f64 / 90_000.0
        };
        let least = frames.iter().map(behind).fold(f64::MAX, f64::min);
        let late = frames.iter().map(|f| behind(f) - least);
        late.map(Duration::from_secs_f64).collect()
    }
}

async fn watch(mut events: mpsc::Receiver<Event>, seen: Arc<Seen>) {
    let mut queue = None;
    let mut assembly = Assembly::default();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = look.tick() => {
                drain(queue.as_deref(), &mut assembly, &seen);
                continue;
            }
        };
        let end = match event {
            Some(Event::Agreed(streams)) => {
                let first = streams.into_iter().next();
                let mut sight = seen.sight.lock().unwrap();
                if let Some((stream, inbound)) = first {
                    sight.codec.clone_from(&stream.codec.name);
                    assembly.codec = stream.codec.name;
                    queue = inbound;
                }
                None
            }
            Some(Event::Connected(_)) => {
                seen.sight.lock().unwrap().connected = true;
                None
            }
            Some(Event::Ended(cause)) => Some(Ok(cause)),
            Some(Event::Failed(error)) => Some(Err(error.to_string())),
            Some(_) => None,
            None => Some(Err("no more events".to_owned())),
        };
        if let Some(end) = end {
            drain(queue.as_deref(), &mut assembly, &seen);
            seen.sight.lock().unwrap().end = Some(end);
            seen.changed.notify_all();
            return;
        }
        seen.changed.notify_all();
    }
}

fn drain(queue: Option<&InboundQueue>, assembly: &mut Assembly, seen: &Seen) {
    let Some(queue) = queue else {
        return;
    };
    while let Popped::Item(item) = queue.pop(Duration::ZERO) {
        if let Inbound::Rtp(packet) = item {
            assembly.take(packet);
        }
    }
    let mut sight = seen.sight.lock().unwrap();
    let before = (sight.frames.len(), sight.lost);
    assembly.advance(&mut sight);
    if before != (sight.frames.len(), sight.lost) {
        drop(sight);
        seen.changed.notify_all();
    }
}

/// Puts packets in order and frames together.
#[derive(Default)]
struct Assembly {
    codec: String,
    next: Option<i64>,
    newest: Option<i64>,
    time: Option<i64>,
    waiting: BTreeMap<i64, InboundPacket>,
    key: bool,
    begun: bool,
    broken: bool,
    at: Option<Instant>,
}

impl Assembly {
    fn take(&mut self, packet: InboundPacket) {
        let number = u16::from_be_bytes([packet.header[2], packet.header[3]]);
        let newest = *self.newest.get_or_insert(i64::from(number));
        let number = newest + i64::from(number.wrapping_sub(newest as u16) as i16);
        self.newest = Some(newest.max(number));
        self.next.get_or_insert(number);
        self.waiting.insert(number, packet);
    }

    fn advance(&mut self, sight: &mut Sight) {
        while let Some((&number, first)) = self.waiting.first_key_value() {
            let next = self.next.unwrap_or(number);
            if number > next {
                if first.arrival.elapsed() < REPAIR {
                    return;
                }
                sight.lost += (number - next) as u64;
                self.broken = true;
            }
            self.next = Some(next.max(number + 1));
            if let Some(packet) = self.waiting.remove(&number)
                && number >= next
            {
                self.add(&packet, sight);
            }
        }
    }

    fn add(&mut self, packet: &InboundPacket, sight: &mut Sight) {
        let header = &packet.header;
        let time = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let last = self.time.unwrap_or(i64::from(time));
        let time = last + i64::from(time.wrapping_sub(last as u32) as i32);
        if time != last || !self.begun {
            self.key = false;
            self.begun = true;
        }
        self.time = Some(time);
        self.key |= begins_key_frame(&self.codec, &packet.payload);
        self.at = self.at.max(Some(packet.arrival));
        if header[1] & 0x80 != 0 {
            if !std::mem::take(&mut self.broken) {
                let at = self.at.unwrap_or(packet.arrival);
                let key = self.key;
                match sight.frames.last_mut().filter(|last| last.time == time) {
                    // Parameter sets went before, with a marker of their own.
                    Some(same) => *same = Frame { time, at, key },
                    None => sight.frames.push(Frame { time, at, key }),
                }
            }
            self.key = false;
        }
    }
}

/// RFC 6184 section 5.2 (an IDR slice), RFC 7741 section 4.2 and 4.3 (the P bit).
fn begins_key_frame(codec: &str, payload: &[u8]) -> bool {
    let byte = |at: usize| payload.get(at).copied().unwrap_or_default();
    if codec.eq_ignore_ascii_case("H264") {
        return match byte(0) & 0x1f {
            24 => {
                let mut at = 1;
                let mut found = false;
                while at + 2 < payload.len() {
                    found |= byte(at + 2) & 0x1f == 5;
                    at += 2 + usize::from(u16::from_be_bytes([byte(at), byte(at + 1)]));
                }
                found
            }
            28 => byte(1) & 0x1f == 5,
            kind => kind == 5,
        };
    }
    if codec.eq_ignore_ascii_case("VP8") {
        let mut at = 1;
        if byte(0) & 0x80 != 0 {
            let extension = byte(1);
            at = 2;
            if extension & 0x80 != 0 {
                at += if byte(at) & 0x80 != 0 { 2 } else { 1 };
            }
            at += usize::from(extension & 0x40 != 0);
            at += usize::from(extension & 0x30 != 0);
        }
        return byte(0) & 0x1f == 0x10 && byte(at) & 1 == 0;
    }
    false
}
