// SPDX-License-Identifier: MPL-2.0
//! The bounded send queue of a peer, and the numbering of what really leaves it.
//!
//! Streaming threads push, the media path takes. Invariant: pushing
//! never waits; sequence numbers are given only to packets that are taken, so that what was
//! dropped before never looks like loss.

mod drain;
mod fec;
mod lane;
mod pacer;
mod picture_loss;
mod stream;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp;
use tokio::sync::Notify;

pub(super) use pacer::{Pacer, Pacing};

use lane::{Lane, Waiting};
use stream::SendStream;

use super::StreamConfig;
use super::shared::lock;
use crate::media::codec::{Codec, MediaKind};
use crate::media::fec::Protection;
use crate::media::header_extension::HeaderExtension;
use crate::media::rtp_packet::OutboundFrame;

/// Payload bytes that may wait: some three seconds of 20 Mbit/s.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// Frames that may wait, whatever their size; those of backlogs are bounded elsewhere.
pub(super) const MAX_FRAMES: usize = 2048;
/// A stream that waits for a key frame, with room for it, asks for one this often.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// A backlog leaves so many times as fast as it was made, ...
const CATCH_UP: u64 = 4;
/// ... but no slower than this, bytes a second.
const LEAST_PACE: u64 = 1_000_000;
/// On a path without a known limit a frame leaves within this, ...
const SPREAD: Duration = Duration::from_millis(25);
/// ... and a key frame, which may be ten times as large, within this.
const KEY_SPREAD: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Default)]
pub(super) struct Outbound {
    state: Mutex<State>,
    /// Something was taken or acknowledged, or the queue was closed.
    pub(super) progress: Notify,
}

#[derive(Default)]
struct State {
    open: bool,
    closed: bool,
    /// Nothing leaves before.
    opening: Option<Instant>,
    /// Frames that waited for the opening.
    held: u64,
    audio: Lane,
    video: Lane,
    /// See [`Pacer::most_waiting`]; as of the last [`Outbound::take`].
    most_waiting: Option<usize>,
    start_at_key_frame: bool,
    /// SSRCs that send no more, and whether the remote is told so by BYE.
    stopped: Vec<(u32, bool)>,
    emptied: Option<Instant>,
    streams: Vec<SendStream>,
}

/// How fast a backlog leaves.
struct Pace {
    bytes_per_second: u64,
    due: Instant,
}

/// What a stream that skips frames did about it.
#[derive(Debug, Default)]
struct Skip {
    /// When a key frame was last asked for.
    asked: Option<Instant>,
}

/// What [`Outbound::take`] took and left.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The stream of each frame whose last packet was taken.
    pub(super) frames: Vec<usize>,
    /// When to come again for what waits; `None` if nothing does, or only for room.
    pub(super) due: Option<Instant>,
    /// Bytes that the pacer was told of.
    pub(super) charged: usize,
    /// Payload bytes of video that wait.
    pub(super) waiting: usize,
    /// How long the oldest frame waits.
    pub(super) age: Duration,
    /// No video waits, not of a backlog either.
    pub(super) empty: bool,
}

impl Taken {
    fn come_at(&mut self, due: Option<Instant>) {
        self.due = match (self.due, due) {
            (Some(known), Some(due)) => Some(known.min(due)),
            (known, due) => known.or(due),
        };
    }
}

/// What became of a pushed frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is queued; wake the driver.
    Queued,
    /// As `Queued`: a key frame in the place of so many frames that waited too long.
    Replaced(u64),
    /// Nothing can be sent yet, or any more.
    Refused,
    /// The queue is full, or was and waits for a key frame.
    Dropped {
        /// It is time to ask for a key frame.
        ask: bool,
    },
    /// The stream begins with the next key frame.
    TooEarly {
        /// It is time to ask for one.
        ask: bool,
    },
}

/// What a drain still waits for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Nothing.
    Done,
    /// Frames in the queue, or a report.
    Waiting,
    /// As `Waiting`; these last packets should be sent again.
    Probe(Vec<usize>),
}

/// A packet with its stream.
pub(super) struct Numbered {
    pub(super) stream: usize,
    pub(super) packet: rtp::Packet,
    /// A repair packet.
    pub(super) fec: bool,
}

/// What a stream needs to be known to the interceptors.
pub(super) struct Binding {
    pub(super) stream: usize,
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: u32,
    /// Id of the transport-wide sequence number.
    pub(super) transport_wide: Option<u8>,
    pub(super) codec: Codec,
    pub(super) fec: Option<Protection>,
    /// SSRC of FEC, where that has one of its own.
    pub(super) fec_ssrc: u32,
}

impl Outbound {
    /// A queue whose video streams begin with a key frame, or as they come.
    pub(super) fn starting(at_key_frame: bool) -> Self {
        let outbound = Self::default();
        lock(&outbound.state).start_at_key_frame = at_key_frame;
        outbound
    }

    #[cfg(test)]
    pub(super) fn new(streams: &[StreamConfig]) -> Self {
        let outbound = Self::default();
        outbound.set_streams(streams);
        outbound
    }

    /// The m-lines now: those that were there keep their numbering, new ones get SSRCs of their
    /// own, and those that send no more stop.
    pub(super) fn set_streams(&self, streams: &[StreamConfig]) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        for (index, config) in streams.iter().enumerate() {
            if state.streams.len() <= index {
                let taken: Vec<u32> = state
                    .streams
                    .iter()
                    .flat_map(|s| [s.ssrc, s.rtx_ssrc, s.fec_ssrc])
                    .collect();
                state.streams.push(SendStream::new(config.kind, &taken));
            }
            if state
                .streams
                .get(index)
                .is_some_and(|s| s.kind != config.kind)
            {
                // An m-line that was refused before may be used for another kind.
                state.stop(index, false);
                if let Some(stream) = state.streams.get_mut(index) {
                    let ssrcs = [stream.ssrc, stream.rtx_ssrc, stream.fec_ssrc];
                    *stream = SendStream::new(config.kind, &ssrcs);
                }
            }
            let refused = config.layer.as_ref().is_some_and(|layer| !layer.sends);
            let sends = config.direction.sends() && !refused;
            if !sends || config.codecs.is_empty() {
                // The negotiation tells the remote.
                state.stop(index, false);
            }
            let Some(stream) = state.streams.get_mut(index) else {
                continue;
            };
            stream.extensions.clone_from(&config.extensions);
            stream.mid = Bytes::copy_from_slice(config.mid.as_bytes());
            stream.rid = config.layer.as_ref().map_or_else(Bytes::new, |layer| {
                Bytes::copy_from_slice(layer.rid.as_bytes())
            });
            stream.set_fec(config.fec.as_ref().filter(|_| sends));
        }
    }

    /// Stream `index` sends no more, though its m-line stays; the remote is told by BYE.
    pub(super) fn end(&self, index: usize) {
        lock(&self.state).stop(index, true);
    }

    /// SSRC of stream `index` and of its retransmissions.
    pub(super) fn ssrcs(&self, index: usize) -> (u32, u32) {
        lock(&self.state)
            .streams
            .get(index)
            .map_or((0, 0), |s| (s.ssrc, s.rtx_ssrc))
    }

    /// SSRC of the FEC of stream `index`, where that has one of its own.
    pub(super) fn fec_ssrc(&self, index: usize) -> u32 {
        let state = lock(&self.state);
        state.streams.get(index).map_or(0, |s| s.fec_ssrc)
    }

    /// Part `loss` of the packets is lost on the path, `None` where only reports tell; a
    /// retransmission is there after `round_trip`.
    pub(super) fn adapt_fec(&self, loss: Option<f64>, round_trip: Option<Duration>) {
        let mut state = lock(&self.state);
        let streams = state.streams.iter_mut();
        streams.for_each(|stream| stream.adapt(loss, round_trip));
    }

    /// A report on stream `index`: part `loss` of its packets was lost since the last one.
    pub(super) fn reported_loss(&self, index: usize, loss: f64) {
        if let Some(stream) = lock(&self.state).streams.get_mut(index) {
            stream.loss += (loss - stream.loss) / 4.0;
        }
    }

    /// The stream that sends as `ssrc`.
    pub(super) fn stream_of(&self, ssrc: u32) -> Option<usize> {
        lock(&self.state)
            .streams
            .iter()
            .position(|s| s.ssrc == ssrc)
    }

    /// The stream that sends, or repeats, as `ssrc`.
    pub(super) fn stream_of_any(&self, ssrc: u32) -> Option<usize> {
        lock(&self.state)
            .streams
            .iter()
            .position(|s| s.ssrc == ssrc || s.rtx_ssrc == ssrc)
    }

    /// RTP clock of what stream `index` sends.
    pub(super) fn clock_rate(&self, index: usize) -> Option<u32> {
        let state = lock(&self.state);
        state
            .streams
            .get(index)?
            .codec
            .as_ref()
            .map(|c| c.clock_rate)
            .filter(|rate| *rate > 0)
    }

    /// Fixes the codec of stream `index`.
    pub(super) fn set_codec(&self, index: usize, codec: Codec) {
        let mut state = lock(&self.state);
        if let Some(stream) = state.streams.get_mut(index)
            && stream.codec.as_ref() != Some(&codec)
        {
            stream.codec = Some(codec);
            stream.unbound = true;
        }
    }

    /// Frames are accepted from now on; the first leaves at `hold_until`.
    pub(super) fn open(&self, hold_until: Option<Instant>) {
        let mut state = lock(&self.state);
        if !state.closed {
            state.open = true;
            state.opening = hold_until;
        }
    }

    /// Nothing is accepted or sent any more.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.open = false;
        state.closed = true;
        state.audio.clear();
        state.video.clear();
        state.streams.iter_mut().for_each(|s| s.last = None);
        drop(state);
        self.progress.notify_waiters();
    }

    /// Queues a frame of stream `index`.
    pub(super) fn push(&self, index: usize, frame: OutboundFrame, now: Instant) -> Pushed {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let Some(stream) = state.streams.get_mut(index) else {
            return Pushed::Refused;
        };
        if !state.open || stream.codec.is_none() {
            return Pushed::Refused;
        }
        let is_video = stream.kind == MediaKind::Video;
        let key = frame.key || !is_video;
        if state.start_at_key_frame && !stream.begun && !key {
            let skip = stream.skipping.get_or_insert(Skip { asked: Some(now) });
            let ask = skip.is_due(now);
            return Pushed::TooEarly { ask };
        }
        let frames = state.audio.live + state.video.live;
        let bytes = state.audio.bytes + state.video.bytes;
        let full = frames > 0 && (frames >= MAX_FRAMES || bytes + frame.len() > MAX_BYTES);
        // A key frame may be larger than all that may wait: what is behind it need not go for it.
        let most = state.most_waiting.filter(|_| is_video);
        let waiting = state.video.delta_bytes;
        let late = most.is_some_and(|most| waiting > most);
        if full || (!key && (late || stream.skipping.is_some())) {
            // overflow: DROPS (counted): one slow peer must not hold up the others.
            let ask = match &mut stream.skipping {
                // As long as much waits, a key frame would only wait behind it.
                Some(skip) => {
                    !full && most.is_none_or(|most| waiting <= most / 4) && skip.is_due(now)
                }
                None => {
                    let asked = full.then_some(now);
                    stream.skipping = Some(Skip { asked });
                    full
                }
            };
            return Pushed::Dropped { ask };
        }
        stream.skipping = None;
        stream.begun = true;
        if frame.key {
            stream.key_pushed = Some(now);
        }
        if frame.is_empty() {
            return Pushed::Queued;
        }
        let (lane, spread) = match (is_video, key) {
            (false, _) => (&mut state.audio, SPREAD),
            (true, true) => (&mut state.video, KEY_SPREAD),
            (true, false) => (&mut state.video, SPREAD),
        };
        // overflow: DROPS (counted): all of it is too late, and this one needs none of it.
        let late = most.filter(|_| key);
        let replaced = late.map_or(0, |most| lane.make_way(index, most));
        let waiting = Waiting {
            stream: index,
            frame,
            paced: false,
            since: state.opening.map_or(now, |at| at.max(now)),
            held: state.opening.filter(|at| now < *at).map(|_| state.held),
            gone: 0,
        };
        state.held += u64::from(waiting.held.is_some());
        lane.push(waiting, spread);
        state.emptied = None;
        match replaced {
            0 => Pushed::Queued,
            frames => Pushed::Replaced(frames),
        }
    }

    /// Queues what was sent to others since a key frame: it leaves at a pace above its own, so
    /// that the stream catches up, and below what would flood the path. Bounded by whoever keeps
    /// the frames.
    pub(super) fn push_backlog(&self, index: usize, frames: &[OutboundFrame], now: Instant) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let open = state.open;
        let Some(stream) = state.streams.get_mut(index) else {
            return;
        };
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            return;
        };
        let Some(codec) = stream.codec.as_ref().filter(|_| open && first.key) else {
            return;
        };
        let bytes: u64 = frames.iter().map(|f| f.len() as u64).sum();
        let clock_rate = u64::from(codec.clock_rate.max(1));
        let time = |f: &OutboundFrame| f.packets.first().map_or(0, |p| p.timestamp);
        let span = u64::from(time(last).wrapping_sub(time(first))).max(clock_rate / 30);
        let own = bytes.saturating_mul(clock_rate) / span;
        stream.pace = Some(Pace {
            bytes_per_second: (own * CATCH_UP).max(LEAST_PACE),
            due: now,
        });
        stream.begun = true;
        stream.skipping = None;
        state.emptied = None;
        let times = backlog_times(frames.len(), time(last), codec.clock_rate);
        let lane = match stream.kind {
            MediaKind::Audio => &mut state.audio,
            MediaKind::Video => &mut state.video,
        };
        for (frame, timestamp) in frames.iter().zip(times) {
            let waiting = Waiting {
                stream: index,
                frame: frame.at(timestamp),
                paced: true,
                since: now,
                held: None,
                gone: 0,
            };
            lane.push(waiting, SPREAD);
        }
    }

    /// SSRCs that were given up since the last call, and whether to say BYE of them.
    pub(super) fn take_stopped(&self) -> Vec<(u32, bool)> {
        std::mem::take(&mut lock(&self.state).stopped)
    }

    /// Streams whose codec was fixed since the last call.
    pub(super) fn take_bindings(&self) -> Vec<Binding> {
        let mut state = lock(&self.state);
        let unbound = state
            .streams
            .iter_mut()
            .enumerate()
            .filter(|(_, s)| s.unbound);
        unbound
            .filter_map(|(stream, s)| {
                s.unbound = false;
                let codec = s.codec.clone()?;
                Some(Binding {
                    stream,
                    ssrc: s.ssrc,
                    rtx_ssrc: s.rtx_ssrc,
                    transport_wide: s.extension(HeaderExtension::TransportWideCc),
                    codec,
                    fec: s.fec.as_ref().map(|fec| *fec.protection()),
                    fec_ssrc: s.fec_ssrc,
                })
            })
            .collect()
    }

    /// Takes what may leave now, until there are `limit` packets in `into`: audio first, which is
    /// little and late soonest.
    pub(super) fn take(
        &self,
        now: Instant,
        pacer: &mut Pacer,
        limit: usize,
        into: &mut Vec<Numbered>,
    ) -> Taken {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let mut taken = Taken::default();
        state.most_waiting = pacer.most_waiting();
        taken.empty = state.video.frames.is_empty();
        if state.is_empty() {
            pacer.idle();
            return taken;
        }
        if let Some(opening) = state.opening.filter(|at| now < *at) {
            taken.due = Some(opening);
            return taken;
        }
        let State {
            audio,
            video,
            streams,
            ..
        } = state;
        let before = into.len();
        // What waited for the opening leaves in its order: a receiver that gets a burst of sound
        // ahead of the picture (aiortc's MediaRecorder is one) may take it for all there is.
        let picture = video.first_held().filter(|_| !pacer.is_limited());
        let out = (&mut taken, &mut *into);
        audio.take(streams, pacer, (true, picture), now, limit, out);
        pacer.spread(video.bytes, video.deadline, now);
        let out = (&mut taken, &mut *into);
        video.take(streams, pacer, (false, None), now, limit, out);
        if picture.is_some() {
            let picture = video.first_held();
            let out = (&mut taken, &mut *into);
            audio.take(streams, pacer, (true, picture), now, limit, out);
        }
        taken.waiting = video.bytes;
        taken.age = video.age(now);
        taken.empty = video.frames.is_empty();
        if taken.empty {
            video.deadline = None;
            pacer.idle();
        }
        if state.is_empty() {
            state.emptied = Some(now);
        }
        drop(guard);
        if into.len() > before {
            self.progress.notify_waiters();
        }
        taken
    }

    /// Whether frames wait.
    pub(super) fn has_frames(&self) -> bool {
        !lock(&self.state).is_empty()
    }

    /// Whether something may leave, now or by its pace.
    pub(super) fn is_flowing(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        state.open && !state.is_empty() && state.opening.is_none_or(|at| now >= at)
    }
}

/// Timestamps for `count` frames of a backlog whose last one is at `last`: close together, for
/// they are of the past. With their own a receiver's clock would seem to run slow by seconds, as
/// they come in a fraction of their time (rtpjitterbuffer then gives no times at all).
fn backlog_times(count: usize, last: u32, clock_rate: u32) -> impl Iterator<Item = u32> {
    let frames = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let step = (clock_rate / 1000).min(clock_rate / 10 / frames).max(1);
    (0..frames).map(move |n| last.wrapping_sub((frames - 1 - n).wrapping_mul(step)))
}

impl State {
    /// Stream `index` sends no more; `goodbye`: the remote is told by BYE.
    fn stop(&mut self, index: usize, goodbye: bool) {
        let Some(stream) = self.streams.get_mut(index) else {
            return;
        };
        if stream.codec.is_none() {
            return;
        }
        let lane = match stream.kind {
            MediaKind::Audio => &mut self.audio,
            MediaKind::Video => &mut self.video,
        };
        lane.remove(index, |_| true);
        self.stopped.push((stream.ssrc, goodbye));
        // What may be sent on this m-line later is another stream.
        let ssrcs = [stream.ssrc, stream.rtx_ssrc, stream.fec_ssrc];
        *stream = SendStream::new(stream.kind, &ssrcs);
    }

    fn is_empty(&self) -> bool {
        self.audio.frames.is_empty() && self.video.frames.is_empty()
    }
}

impl Skip {
    /// Whether it is time to ask for a key frame, which is then done.
    fn is_due(&mut self, now: Instant) -> bool {
        let waits = |at| now.saturating_duration_since(at) < ASK_AGAIN;
        let due = !self.asked.is_some_and(waits);
        if due {
            self.asked = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests;
