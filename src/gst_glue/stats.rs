// SPDX-License-Identifier: MPL-2.0
//! Statistics of a call as a structure, for the property `stats` and for the element message
//! [`STATS`] that comes at regular times.
//!
//! Names are those of the W3C (webrtc-stats) with dashes; times are seconds, as there, but where the
//! name is that of one of our properties. What is per second is of the last interval.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;

use crate::gst_glue::data_pad::structure_of;
use crate::peer::{Direction, PathStats, StreamStats};
use crate::session::calls::PeerStats;
use crate::session::negotiation::AgreedStream;

/// Name of the element message, and of its structure.
pub const STATS: &str = "rswebrtc-stats";

/// What a source knows of the frames of a stream, since its beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameFigures {
    /// Frames that were whole.
    pub received: u64,
    /// Of these, key frames.
    pub key_frames: u64,
    /// Frames with a hole that nothing mended.
    pub broken: u64,
    /// Frames that were not given out.
    pub dropped: u64,
    /// As the W3C defines a freeze.
    pub freezes: u64,
    /// Sum of these.
    pub freezes_duration: Duration,
    /// As the W3C defines a pause.
    pub pauses: u64,
    /// Sum of these.
    pub pauses_duration: Duration,
    /// Sum of the time between frames.
    pub inter_frame_delay: Duration,
}

/// What a source knows of a stream behind its peer.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlayoutFigures {
    /// `None` for audio.
    pub frames: Option<FrameFigures>,
    /// Size of the jitter buffer.
    pub latency: Duration,
    /// Sum of the time that packets were in it.
    pub buffer_delay: Duration,
    /// Packets that came out of it.
    pub emitted: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets that were given up.
    pub given_up: u64,
}

/// Figures of every stream of a source, by peer and stream.
pub type Playouts = HashMap<(Arc<str>, usize), PlayoutFigures>;

/// A peer, one of its streams, and whether that is sent: one m-line may have both directions.
type Key = (Arc<str>, usize, bool);

/// What changes per second, by peer and stream: the difference of two samples.
#[derive(Debug, Default)]
pub struct Sampler {
    streams: HashMap<Key, (Sample, Option<Rates>)>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    bytes: u64,
    packets: u64,
    frames: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rates {
    /// bit/s
    bitrate: u64,
    packets: f64,
    frames: Option<f64>,
}

impl Sampler {
    /// Takes a sample; those that are gone are forgotten. No peers at all is what a call says that
    /// was too busy to answer in time.
    pub fn sample(&mut self, peers: &[PeerStats], playouts: &Playouts, now: Instant) {
        if peers.is_empty() {
            return;
        }
        let mut streams = HashMap::new();
        for peer in peers {
            for (stream, stats) in &peer.streams {
                let key = (peer.id.clone(), stream.stream, stream.direction.sends());
                let playout = playouts.get(&(peer.id.clone(), stream.stream));
                let sample = Sample::of(stream, stats, playout, now);
                let before = self.streams.get(&key);
                let rates = before.map(|(before, _)| sample.rates(before));
                streams.insert(key, (sample, rates));
            }
        }
        self.streams = streams;
    }

    fn rates(&self, key: &Key) -> Option<Rates> {
        self.streams.get(key).and_then(|(_, rates)| *rates)
    }
}

impl Sample {
    fn of(
        stream: &AgreedStream,
        stats: &StreamStats,
        playout: Option<&PlayoutFigures>,
        at: Instant,
    ) -> Self {
        if stream.direction == Direction::SendOnly {
            return Self {
                at,
                bytes: stats.bytes_sent,
                packets: stats.packets_sent,
                frames: Some(stats.frames_sent),
            };
        }
        Self {
            at,
            bytes: stats.bytes_received,
            packets: stats.packets_received,
            frames: playout.and_then(|p| p.frames).map(|f| f.received),
        }
    }

    fn rates(&self, before: &Self) -> Rates {
        let seconds = self.at.saturating_duration_since(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        // Counters of a connection that was made again begin anew.
        let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        Rates {
            bitrate: (per_second(self.bytes, before.bytes) * 8.0) as u64,
            packets: per_second(self.packets, before.packets),
            frames: self
                .frames
                .zip(before.frames)
                .map(|(now, then)| per_second(now, then)),
        }
    }
}

/// Statistics of all peers in a structure called `name`: one structure a peer, in it one a stream,
/// and one of the path. Empty before a call and after it.
pub fn structure(
    name: &str,
    peers: &[PeerStats],
    playouts: &Playouts,
    sampler: &Sampler,
) -> gst::Structure {
    let mut all = gst::Structure::builder(name);
    for peer in peers {
        if peer.streams.is_empty() && peer.channels.is_empty() {
            continue;
        }
        let mut fields = gst::Structure::builder("peer");
        for (stream, stats) in &peer.streams {
            let key = (peer.id.clone(), stream.stream);
            let name = name_of(stream, &peer.streams);
            let rates = sampler.rates(&(peer.id.clone(), stream.stream, stream.direction.sends()));
            let of_stream = if stream.direction == Direction::SendOnly {
                outbound(stream, stats, rates)
            } else {
                inbound(stream, stats, rates, playouts.get(&key))
            };
            fields = fields.field(name, of_stream);
        }
        for channel in &peer.channels {
            if let Some(id) = channel.id() {
                let of_channel = structure_of("data-channel", (channel, &channel.phase()), "");
                fields = fields.field(format!("data-channel-{id}"), of_channel);
            }
        }
        fields = fields.field("candidate-pair", candidate_pair(&peer.path));
        all = all.field(format!("peer-{}", peer.id), fields.build());
    }
    all.build()
}

/// `video-0`; where m-line 0 has both directions, `video-0-outbound` and `video-0-inbound`.
fn name_of(stream: &AgreedStream, all: &[(AgreedStream, StreamStats)]) -> String {
    let name = format!("{}-{}", stream.codec.kind.as_str(), stream.mid);
    match (is_two_way(stream, all), stream.direction.sends()) {
        (false, _) => name,
        (true, true) => name + "-outbound",
        (true, false) => name + "-inbound",
    }
}

/// Whether the m-line of `stream` has both directions.
pub fn is_two_way(stream: &AgreedStream, all: &[(AgreedStream, StreamStats)]) -> bool {
    let mut all = all.iter().map(|(other, _)| other);
    all.any(|other| other.stream == stream.stream && other.direction != stream.direction)
}

fn outbound(stream: &AgreedStream, s: &StreamStats, rates: Option<Rates>) -> gst::Structure {
    let mut builder = common("outbound-rtp", stream, s)
        .field("packets-sent", s.packets_sent)
        .field("bytes-sent", s.bytes_sent)
        .field("frames-sent", s.frames_sent)
        .field("frames-dropped", s.frames_dropped)
        .field("retransmitted-packets-sent", s.retransmitted_packets_sent)
        .field("fec-packets-sent", s.fec_packets_sent)
        .field("probe-packets-sent", s.probe_packets_sent)
        .field_if_some("round-trip-time", s.round_trip_time);
    if let Some(rates) = rates {
        builder = builder
            .field("bitrate", rates.bitrate)
            .field("packets-per-second", rates.packets)
            .field_if_some("frames-per-second", rates.frames);
    }
    builder.build()
}

fn inbound(
    stream: &AgreedStream,
    s: &StreamStats,
    rates: Option<Rates>,
    playout: Option<&PlayoutFigures>,
) -> gst::Structure {
    let late = playout.map_or(0, |p| p.late);
    let mut builder = common("inbound-rtp", stream, s)
        .field("packets-received", s.packets_received)
        .field("bytes-received", s.bytes_received)
        .field("packets-discarded", s.packets_discarded + late)
        .field(
            "retransmitted-packets-received",
            s.retransmitted_packets_received,
        )
        .field("packets-duplicated", s.packets_duplicated)
        .field("packets-repaired", s.packets_repaired)
        .field("fec-packets-received", s.fec_packets_received)
        .field("fec-packets-recovered", s.fec_packets_recovered)
        .field_if_some("round-trip-time", s.round_trip_time);
    if let Some(rates) = rates {
        builder = builder
            .field("bitrate", rates.bitrate)
            .field("packets-per-second", rates.packets)
            .field_if_some("frames-per-second", rates.frames);
    }
    let Some(playout) = playout else {
        return builder.build();
    };
    builder = builder
        .field("packets-late", playout.late)
        .field("packets-given-up", playout.given_up)
        .field("jitter-buffer-delay", playout.buffer_delay.as_secs_f64())
        .field("jitter-buffer-emitted-count", playout.emitted)
        .field("latency", milliseconds(playout.latency));
    if let Some(frames) = &playout.frames {
        builder = builder
            .field("frames-received", frames.received)
            .field("key-frames-received", frames.key_frames)
            .field("frames-broken", frames.broken)
            .field("frames-dropped", frames.dropped)
            .field("freeze-count", frames.freezes)
            .field(
                "total-freezes-duration",
                frames.freezes_duration.as_secs_f64(),
            )
            .field("pause-count", frames.pauses)
            .field(
                "total-pauses-duration",
                frames.pauses_duration.as_secs_f64(),
            )
            .field(
                "total-inter-frame-delay",
                frames.inter_frame_delay.as_secs_f64(),
            );
    }
    builder.build()
}

fn common(name: &str, stream: &AgreedStream, s: &StreamStats) -> gst::structure::Builder {
    gst::Structure::builder(name)
        .field("kind", stream.codec.kind.as_str())
        .field("mid", &stream.mid)
        .field("ssrc", s.ssrc)
        .field("codec", &stream.codec.name)
        .field("packets-lost", s.packets_lost)
        .field_if_some("jitter", s.jitter)
        .field("nack-count", s.nack_count)
        .field("pli-count", s.pli_count)
        .field("fir-count", s.fir_count)
}

/// What is known of the path; nothing where nothing is.
fn candidate_pair(path: &PathStats) -> gst::Structure {
    let mut builder = gst::Structure::builder("candidate-pair")
        .field_if_some(
            "current-round-trip-time",
            path.round_trip.map(|time| time.as_secs_f64()),
        )
        .field("sending-bitrate", path.sending_bitrate)
        .field("queue-delay", path.queue_delay.as_secs_f64());
    if let Some(estimate) = &path.estimate {
        builder = builder
            .field("available-outgoing-bitrate", estimate.total)
            .field("target-bitrate", estimate.media)
            .field("fraction-lost", estimate.loss);
    }
    builder.build()
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The properties `stats` and `stats-interval`, which both elements have.
pub fn stats_properties(default_interval: u32) -> Vec<glib::ParamSpec> {
    vec![
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Counters of the call, W3C names: one structure a peer, in it one a stream")
            .read_only()
            .build(),
        glib::ParamSpecUInt::builder("stats-interval")
            .nick("Time between statistics")
            .blurb("While connected a message rswebrtc-stats comes each so many ms; 0: never")
            .maximum(3_600_000)
            .default_value(default_interval)
            .mutable_playing()
            .build(),
    ]
}

/// Posts statistics, as long as somebody reads them.
#[derive(Debug, Default)]
pub struct Poster {
    /// The oldest message on the bus at the last time, by address and number.
    unread: Option<(usize, gst::Seqnum)>,
}

impl Poster {
    /// Posts `structure`. A message that nobody takes stays on the bus, which has no bounds: where
    /// the oldest one there is the same as at the last time, this one is left out. The next one
    /// has newer figures.
    pub fn post(&mut self, element: &gst::Element, structure: gst::Structure) {
        let oldest = bus_of(element)
            .and_then(|bus| bus.peek())
            .map(|message| (message.as_ptr() as usize, message.seqnum()));
        let unread = oldest.is_some() && oldest == self.unread;
        self.unread = oldest;
        if unread {
            return;
        }
        let message = gst::message::Element::builder(structure)
            .src(element)
            .build();
        let _ = element.post_message(message);
    }
}

/// The bus that the application reads: that of the outermost bin.
fn bus_of(element: &gst::Element) -> Option<gst::Bus> {
    let mut outermost = element.clone();
    while let Some(parent) = outermost
        .parent()
        .and_then(|parent| parent.downcast::<gst::Element>().ok())
    {
        outermost = parent;
    }
    outermost.bus()
}

#[cfg(test)]
mod tests;
