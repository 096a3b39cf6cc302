// SPDX-License-Identifier: MPL-2.0
//! How one stream is played out: its jitter buffer, its frames, and what is known of both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;

use crate::gst_glue::errors::missing_element;
use crate::gst_glue::rtp;
use crate::gst_glue::stats::PlayoutFigures;
use crate::logging::SRC as CAT;
use crate::media::codec::Codec;
use crate::media::queue::InboundQueue;

use super::frame_gate::FrameGate;
use super::frames::Policy;
use super::latency::Auto;
use super::track_src::TrackSrc;

/// GST_BUFFER_OFFSET_NONE
const NO_OFFSET: u64 = u64::MAX;

/// Who decides how large jitter buffers are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcLatencyMode")]
pub enum LatencyMode {
    /// The user.
    #[default]
    #[enum_value(
        name = "As latency, audio-latency and video-latency say",
        nick = "fixed"
    )]
    Fixed,
    /// Each stream's packets.
    #[enum_value(
        name = "As each stream needs: raised at once when packets come later, lowered slowly",
        nick = "auto"
    )]
    Auto,
}

/// What happens with video frames that have holes, and with those that refer to them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcBrokenFrames")]
pub enum BrokenFrames {
    /// They stay inside.
    #[default]
    #[enum_value(
        name = "Drop them, and what follows up to the next key frame",
        nick = "drop"
    )]
    Drop,
    /// They come out.
    #[enum_value(name = "Pass all that arrives", nick = "pass")]
    Pass,
}

/// What the user wishes for a stream.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// How late a packet may come; with [`LatencyMode::Auto`] to begin with.
    pub latency: Duration,
    /// See there.
    pub mode: LatencyMode,
    /// See there.
    pub broken_frames: BrokenFrames,
    /// So much longer the jitter buffer waits for video that is sent again. What comes then is late
    /// for a sink, but what refers to it is whole; without it nothing is up to the next key frame.
    pub overtime: Duration,
}

impl Wanted {
    /// What frames go through: of RTP that goes out as such, the holes are whoever takes it's.
    pub fn policy_of(&self, as_rtp: bool) -> Policy {
        if as_rtp { Policy::Count } else { self.policy() }
    }

    /// What frames that a depayloader takes go through.
    fn policy(&self) -> Policy {
        match self.broken_frames {
            BrokenFrames::Drop => Policy::Drop,
            BrokenFrames::Pass => Policy::Pass,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Playout {
    jitter_buffer: gst::Element,
    /// Video's.
    gate: Option<FrameGate>,
    track: TrackSrc,
    /// Lost packets are asked for as long as they are of use.
    queue: Arc<InboundQueue>,
    /// RTP goes out, and its holes are whoever takes it's.
    as_rtp: bool,
    /// Lost packets are sent again.
    repaired: AtomicBool,
    latency: Mutex<Latency>,
    /// Audio's; video's is the gate's.
    delay: Option<Arc<Mutex<BufferDelay>>>,
}

#[derive(Debug)]
struct Latency {
    current: Duration,
    overtime: Duration,
    /// What has holes does not go out.
    drops: bool,
    auto: Option<Auto>,
}

/// Time that packets were in the jitter buffer.
#[derive(Debug, Default, Clone, Copy)]
pub struct BufferDelay {
    nanoseconds: u64,
    packets: u64,
}

impl BufferDelay {
    /// `buffer` came out of it. The moment of its arrival ([`rtp::inbound`]) goes no further.
    pub fn count(&mut self, buffer: &mut gst::Buffer, now: Instant) {
        let arrival = buffer.offset();
        if arrival != NO_OFFSET {
            self.nanoseconds += rtp::moment(now).saturating_sub(arrival);
            buffer.make_mut().set_offset(NO_OFFSET);
        }
        self.packets += 1;
    }
}

impl Playout {
    /// Of a stream that is made of these elements.
    pub fn new(
        jitter_buffer: gst::Element,
        gate: Option<FrameGate>,
        track: TrackSrc,
        queue: Arc<InboundQueue>,
        as_rtp: bool,
        codec: &Codec,
        wanted: &Wanted,
    ) -> Self {
        let delay = gate.is_none().then(|| measure(&jitter_buffer));
        let playout = Self {
            jitter_buffer,
            gate,
            track,
            queue,
            as_rtp,
            repaired: AtomicBool::new(is_repaired(codec)),
            latency: Mutex::new(Latency {
                current: Duration::MAX,
                overtime: Duration::ZERO,
                drops: true,
                auto: None,
            }),
            delay,
        };
        playout.set(wanted);
        playout
    }

    /// Takes what the user wishes now.
    pub fn set(&self, wanted: &Wanted) {
        {
            let mut latency = self.lock();
            latency.overtime = wanted.overtime;
            latency.drops = wanted.broken_frames == BrokenFrames::Drop || self.as_rtp;
            match wanted.mode {
                LatencyMode::Fixed => {
                    latency.auto = None;
                    latency.current = wanted.latency;
                }
                LatencyMode::Auto => {
                    let auto = latency
                        .auto
                        .get_or_insert_with(|| Auto::new(wanted.latency));
                    latency.current = auto.current();
                }
            }
        }
        self.apply();
        if let Some(gate) = self.gate.as_ref().filter(|_| !self.as_rtp) {
            gate.set_policy(wanted.policy());
        }
    }

    /// With [`LatencyMode::Auto`]: sets the latency that the packets need. The jitter buffer tells
    /// the pipeline (message LATENCY) where that is another than before.
    pub fn adapt(&self, round_trip: Option<Duration>, now: Instant) {
        let highest = self.track.lateness();
        let changed = {
            let mut latency = self.lock();
            let (Some(auto), Some(highest)) = (latency.auto.as_mut(), highest) else {
                return;
            };
            auto.update(highest, round_trip.filter(|_| self.repaired()), now);
            let wanted = auto.current();
            let before = std::mem::replace(&mut latency.current, wanted);
            (before != wanted).then_some(wanted)
        };
        if let Some(latency) = changed {
            gst::info!(
                CAT,
                obj = self.jitter_buffer,
                "packets come up to {highest:?} late: latency is {latency:?}"
            );
            self.apply();
        }
    }

    /// Since the beginning.
    pub fn figures(&self) -> PlayoutFigures {
        let stats = self.jitter_buffer.property::<gst::Structure>("stats");
        let counted = |name: &str| stats.get::<u64>(name).unwrap_or_default();
        let of_gate = || self.gate.as_ref().map(FrameGate::buffer_delay);
        let delay = self.delay.as_ref().map(|delay| *lock(delay));
        let delay = delay.or_else(of_gate).unwrap_or_default();
        PlayoutFigures {
            frames: self.gate.as_ref().map(FrameGate::counts),
            latency: self.lock().current,
            buffer_delay: Duration::from_nanos(delay.nanoseconds),
            emitted: delay.packets,
            late: counted("num-late"),
            given_up: counted("num-lost"),
        }
    }

    /// Sets what holds now, and again if that has changed meanwhile: the user's thread and the
    /// adapting one may both be here, and the later value must win everywhere.
    fn apply(&self) {
        let holds = || {
            let latency = self.lock();
            (
                latency.current,
                self.overtime(&latency),
                latency.auto.is_some(),
            )
        };
        let mut next = holds();
        loop {
            let (latency, overtime, auto) = next;
            let size = latency + overtime;
            let milliseconds = u32::try_from(size.as_millis()).unwrap_or(u32::MAX);
            self.jitter_buffer.set_property("latency", milliseconds);
            // What comes too late says how much more latency is needed.
            let more = if auto { latency / 2 } else { Duration::ZERO };
            self.queue.set_patience(latency, more.max(overtime));
            if let Some(gate) = &self.gate {
                gate.set_latency(latency, overtime);
            }
            next = holds();
            if next == (latency, overtime, auto) {
                return;
            }
        }
    }

    /// Another connection goes on with the stream, on which lost packets are sent again or not. May
    /// post a message: to be called without a lock.
    pub fn renew(&self, codec: &Codec) {
        let repaired = is_repaired(codec);
        if self.repaired.swap(repaired, Ordering::Relaxed) != repaired {
            self.apply();
        }
    }

    fn repaired(&self) -> bool {
        self.repaired.load(Ordering::Relaxed)
    }

    /// How much longer a hole is waited for. Not where it may go out as it is, nor for sound, which
    /// is of no use to anybody when it comes late.
    fn overtime(&self, latency: &Latency) -> Duration {
        if !self.repaired() || self.gate.is_none() || !latency.drops {
            return Duration::ZERO;
        }
        match latency.auto {
            // What comes in it raises the latency: all of it would be too much at once.
            Some(_) => latency.overtime.min(latency.current / 2),
            None => latency.overtime,
        }
    }

    /// Never held over a call into GStreamer.
    fn lock(&self) -> MutexGuard<'_, Latency> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether lost packets of it are sent again.
fn is_repaired(codec: &Codec) -> bool {
    codec.feedback.iter().any(|f| f == "nack")
}

/// A jitter buffer for `latency`.
///
/// # Errors
///
/// Where there is none.
pub fn jitter_buffer(latency: Duration) -> Result<gst::Element, gst::ErrorMessage> {
    /// So many packets in a row, and the stream starts without waiting for it to fill.
    const FAST_START_PACKETS: u32 = 1;
    let latency = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
    // Not drop-on-latency: a key frame comes faster than it is played, and would be dropped.
    gst::ElementFactory::make("rtpjitterbuffer")
        .property("latency", latency)
        .property("do-lost", true)
        .property("faststart-min-packets", FAST_START_PACKETS)
        // Lip-sync moves streams in small steps (see `lip_sync`).
        .property("max-ts-offset-adjustment", super::lip_sync::STEP)
        .build()
        .map_err(|error| missing_element("rtpjitterbuffer", &error))
}

/// Measures a stream that has no gate to do it.
fn measure(jitter_buffer: &gst::Element) -> Arc<Mutex<BufferDelay>> {
    let delay = Arc::new(Mutex::new(BufferDelay::default()));
    if let Some(src) = jitter_buffer.static_pad("src") {
        let delay = delay.clone();
        src.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer_mut() {
                lock(&delay).count(buffer, Instant::now());
            }
            gst::PadProbeReturn::Ok
        });
    }
    delay
}

/// Two numbers that belong together.
fn lock(delay: &Mutex<BufferDelay>) -> MutexGuard<'_, BufferDelay> {
    delay.lock().unwrap_or_else(PoisonError::into_inner)
}
