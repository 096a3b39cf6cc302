// SPDX-License-Identifier: MPL-2.0
use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::peer::PeerEvent;
use crate::peer::data::{ChannelConfig, DataChannel, Message, MessageKind, Phase, Received};

/// Two ends without a network, on a clock of their own.
struct Pair {
    ends: [(Sctp, Arc<Shared>); 2],
    now: Instant,
    /// One packet in so many is lost; 0: none.
    loss: usize,
    sent: usize,
    _events: [mpsc::Receiver<PeerEvent>; 2],
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let agreed = DataAgreement {
            max_message_size: 1 << 20,
        };
        let end = |client| {
            let (sender, events) = mpsc::channel(64);
            let shared = Arc::new(Shared::new(sender, false, Vec::new()));
            (
                (Sctp::new(shared.clone(), agreed, client, now), shared),
                events,
            )
        };
        let ((one, events), (other, others)) = (end(true), end(false));
        let mut pair = Self {
            ends: [one, other],
            now,
            loss: 0,
            sent: 0,
            _events: [events, others],
        };
        pair.run();
        assert!(pair.ends.iter().all(|(end, _)| end.up));
        pair
    }

    /// Has all packets cross that there are.
    fn exchange(&mut self) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for from in [0, 1] {
                self.ends[from].0.turn(self.now);
                while let Some(packet) = self.ends[from].0.poll_write() {
                    quiet = false;
                    self.sent += 1;
                    if self.loss == 0 || !self.sent.is_multiple_of(self.loss) {
                        self.ends[1 - from].0.read(packet, self.now);
                    }
                }
            }
        }
    }

    /// And lets half a second pass.
    fn run(&mut self) {
        let end = self.now + Duration::from_millis(500);
        while self.now < end {
            self.exchange();
            self.now += Duration::from_millis(50);
            for (end, _) in &mut self.ends {
                if end.poll_timeout().is_some_and(|at| at <= self.now) {
                    end.handle_timeout(self.now);
                }
            }
        }
    }

    /// A channel, and the remote's half of it.
    fn channel(&mut self, config: ChannelConfig) -> [Arc<DataChannel>; 2] {
        let channel = DataChannel::new(config);
        let (_, shared) = &self.ends[0];
        shared
            .data
            .open(channel.clone(), &shared.nudge, &shared.events);
        self.run();
        [channel, self.ends[1].1.data.channels().pop().unwrap()]
    }

    /// A DATA chunk in the client's name, the `after`th that is new.
    fn forged(&mut self, after: u32, flags: u8, stream: u16, ppid: u8, data: &[u8]) -> bool {
        let guard = &self.ends[1].0.guard;
        let tsn = guard.said().wrapping_add(after);
        let mut chunk = vec![0, flags];
        chunk.extend((16 + data.len() as u16).to_be_bytes());
        chunk.extend(tsn.to_be_bytes());
        chunk.extend(stream.to_be_bytes());
        chunk.extend([0, 1, 0, 0, 0, ppid]);
        chunk.extend(data);
        let packet = guard.in_their_name(&chunk).unwrap();
        let end = &mut self.ends[1].0;
        end.read(packet, self.now);
        end.turn(self.now);
        while end.poll_write().is_some() {}
        !end.failed
    }
}

fn binary(size: usize) -> Message {
    Message {
        kind: MessageKind::Binary,
        data: vec![7; size].into(),
    }
}

fn taken(channel: &DataChannel) -> usize {
    let mut all = VecDeque::new();
    while channel.receive(&mut all, Duration::ZERO) == Received::Messages {}
    all.len()
}

/// Sends `count` messages of `size` bytes; the reader looks only when nothing moves any more.
fn all_arrive(count: usize, size: usize, loss: usize, ordered: bool) {
    let mut pair = Pair::new();
    let [out, into] = pair.channel(ChannelConfig {
        ordered,
        ..ChannelConfig::default()
    });
    pair.loss = loss;
    let (mut sent, mut came, mut tries) = (0, 0, 0);
    while came < count {
        while sent < count && out.try_send(binary(size)).is_ok() {
            sent += 1;
        }
        pair.exchange();
        let now = taken(&into);
        tries = if now == 0 { tries + 1 } else { 0 };
        assert!(tries < 100, "{came} of {count}");
        if now == 0 {
            pair.run();
        }
        came += now;
    }
    assert!(pair.ends.iter().all(|(end, _)| !end.failed));
}

#[test]
fn many_small_messages_and_large_ones_arrive() {
    all_arrive(100_000, 1, 0, true);
    all_arrive(200, 65_536, 0, true);
    all_arrive(10, 1 << 20, 0, true);
}

#[test]
fn they_do_though_packets_are_lost() {
    for ordered in [true, false] {
        all_arrive(50_000, 10, 97, ordered);
        all_arrive(100, 65_536, 97, ordered);
    }
}

#[test]
fn a_message_that_has_no_end_ends_it() {
    for (flags, size, most) in [(0, 1000, 4000), (4, 1000, 4000), (0, 1, 9000), (4, 1, 9000)] {
        let mut pair = Pair::new();
        pair.channel(ChannelConfig::default());
        assert!(pair.forged(1, flags | 0x0a, 0, 53, &vec![7; size]));
        let ended = (0..most).any(|_| !pair.forged(1, flags | 8, 0, 53, &vec![7; size]));
        assert!(ended, "{flags} {size}");
    }
}

#[test]
fn what_comes_before_its_channel_is_bounded_in_bytes() {
    let mut pair = Pair::new();
    pair.channel(ChannelConfig::default());
    for stream in 500..560 {
        for _ in 0..50 {
            // Not in order, whole.
            assert!(pair.forged(1, 0x0f, stream, 53, &[7; 1000]));
        }
    }
    let most = pair.ends[1].0.channels.early_bytes();
    assert!((1_000_000..=1 << 20).contains(&most), "{most}");
    let id = Some(559);
    let channel = DataChannel::new(ChannelConfig {
        negotiated: true,
        id,
        ..ChannelConfig::default()
    });
    let (_, shared) = &pair.ends[1];
    shared
        .data
        .open(channel.clone(), &shared.nudge, &shared.events);
    pair.run();
    assert_eq!(channel.stats().messages_dropped, 50);
}

#[test]
fn text_that_is_none_is_dropped_and_counted() {
    let mut pair = Pair::new();
    let [_, into] = pair.channel(ChannelConfig::default());
    assert!(pair.forged(1, 0x0f, 0, 51, &[0xff, 0xfe]));
    assert!(pair.forged(1, 0x0f, 0, 51, b"text"));
    assert_eq!((taken(&into), into.stats().messages_dropped), (1, 1));
}

#[test]
fn a_busy_channel_does_not_keep_another_waiting() {
    let mut pair = Pair::new();
    let [busy, read] = pair.channel(ChannelConfig::default());
    let [other, into] = pair.channel(ChannelConfig::default());
    assert!(busy.id() < other.id());
    let _ = busy.try_send(binary(1 << 20));
    pair.ends[0].0.turn(pair.now);
    other.try_send(binary(10)).unwrap();
    let mut messages = 0;
    while taken(&into) == 0 {
        pair.now += Duration::from_millis(1);
        for from in [0, 1] {
            pair.ends[from].0.handle_timeout(pair.now);
            pair.ends[from].0.turn(pair.now);
            while let Some(packet) = pair.ends[from].0.poll_write() {
                // It always has one more.
                let _ = busy.try_send(binary(1 << 20));
                pair.ends[1 - from].0.read(packet, pair.now);
            }
        }
        messages += taken(&read);
        assert!(messages < 5, "starved");
    }
}

/// What SCTP does not take though the channel did.
fn refused(config: ChannelConfig) -> (Pair, [Arc<DataChannel>; 2]) {
    let mut pair = Pair::new();
    let [channel, into] = pair.channel(config);
    channel.set_id(channel.id().unwrap(), usize::MAX);
    channel.try_send(binary(10)).unwrap();
    pair.run();
    channel.try_send(binary((1 << 20) + 1)).unwrap();
    pair.run();
    (pair, [channel, into])
}

#[test]
fn a_message_that_cannot_be_sent_ends_a_reliable_channel() {
    let (pair, [channel, into]) = refused(ChannelConfig::default());
    let Phase::Closed { reason } = channel.phase() else {
        panic!("{:?}", channel.phase());
    };
    assert!(reason.contains("cannot be sent"), "{reason}");
    assert!(!channel.wait_delivered());
    assert_eq!(taken(&into), 1, "what was before it");
    assert!(into.is_closed());
    assert!(pair.ends.iter().all(|(end, _)| !end.failed));
}

#[test]
fn one_that_cannot_be_sent_is_lost_on_an_unreliable_channel() {
    let (mut pair, [channel, into]) = refused(ChannelConfig {
        max_retransmits: Some(0),
        ..ChannelConfig::default()
    });
    assert_eq!(channel.stats().messages_dropped, 1);
    channel.try_send(binary(20)).unwrap();
    pair.run();
    assert_eq!((taken(&into), channel.phase()), (2, Phase::Open));
}

#[test]
fn small_messages_under_way_are_bounded() {
    let mut pair = Pair::new();
    let [channel, into] = pair.channel(ChannelConfig::default());
    let [other, _] = pair.channel(ChannelConfig::default());
    let mut given = 0;
    // The remote says nothing.
    loop {
        let took = (0..1000).filter(|_| channel.try_send(binary(1)).is_ok());
        let took = took.count();
        let _ = other.try_send(binary(1));
        pair.ends[0].0.turn(pair.now);
        while pair.ends[0].0.poll_write().is_some() {}
        given += took;
        if took == 0 {
            break;
        }
    }
    let sent = channel.stats().messages_sent + other.stats().messages_sent;
    assert!((8000..=8192).contains(&sent), "{sent} of {given}");
    let mut came = 0;
    for _ in 0..200 {
        pair.run();
        came += taken(&into);
    }
    assert_eq!(came, given);
}
