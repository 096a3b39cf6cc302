// SPDX-License-Identifier: MPL-2.0
//! Keeps the streams of one call in step by their sender reports (RFC 3550 section 6.4.1).
//!
//! Each report tells what wall-clock time a stream's RTP time stands for. The jitter buffer tells
//! what running time it gives that RTP time. The difference of the two must be the same for all
//! streams; the one that is furthest ahead sets the pace and the others' is made up for by their
//! jitter buffers' `ts-offset`, as rtpbin does. Unlike there, streams are moved in small steps, and
//! reports are compared only with those of about the same time: clocks of sender and receiver drift
//! apart, by 6 ms a minute at 100 ppm, and a stream whose reports stay away would seem to drift.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;

use crate::logging::SRC as CAT;

/// Streams are moved by so much with each of their frames, ns: nothing has to be repeated or dropped
/// for it.
pub const STEP: u64 = 2_000_000;
/// Smaller differences are the jitter of the measurement.
const THRESHOLD: i64 = 5_000_000;
/// Larger ones are no lip-sync but a sender with a broken clock.
const LIMIT: i64 = 3_000_000_000;

/// A report is compared with others for so long; RFC 3550 section 6.2 has at least one in 5 s.
const FRESH: Duration = Duration::from_secs(20);

/// All streams of one call.
#[derive(Debug, Default)]
pub struct LipSync {
    streams: Mutex<Vec<Stream>>,
    /// Tests have an hour pass in no time.
    #[cfg(test)]
    clock: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Stream {
    jitter_buffer: glib::WeakRef<gst::Element>,
    /// Wall-clock time minus running time, ns, and when that was measured.
    epoch: Option<(i64, Instant)>,
    offset: i64,
}

impl LipSync {
    /// Adds a stream, called `name`. Gives the pad that takes its sender reports.
    ///
    /// # Errors
    ///
    /// GStreamer's word when the jitter buffer takes none.
    pub fn connect(
        self: &Arc<Self>,
        jitter_buffer: &gst::Element,
        name: &str,
    ) -> Result<gst::Pad, glib::BoolError> {
        let sink = jitter_buffer
            .request_pad_simple("sink_rtcp")
            .ok_or_else(|| glib::bool_error!("the jitter buffer takes no RTCP"))?;
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name("rtcp")
            .build();
        pad.set_active(true)?;
        pad.link(&sink)
            .map_err(|e| glib::bool_error!("RTCP pad: {e}"))?;
        let caps = gst::Caps::new_empty_simple("application/x-rtcp");
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        pad.push_event(gst::event::StreamStart::new(&format!("{name}/rtcp")));
        pad.push_event(gst::event::Caps::new(&caps));
        pad.push_event(gst::event::Segment::new(&segment));
        let index = self.add(jitter_buffer);
        let lip_sync = Arc::downgrade(self);
        jitter_buffer.connect("handle-sync", false, move |values| {
            let sync = values.get(1).and_then(|v| v.get::<gst::Structure>().ok());
            if let (Some(sync), Some(lip_sync)) = (sync, lip_sync.upgrade()) {
                lip_sync.report(index, &sync);
            }
            None
        });
        Ok(pad)
    }

    fn add(&self, jitter_buffer: &gst::Element) -> usize {
        let mut streams = self.lock();
        streams.push(Stream {
            jitter_buffer: jitter_buffer.downgrade(),
            epoch: None,
            offset: 0,
        });
        streams.len() - 1
    }

    /// Takes what a jitter buffer says of a sender report (its `handle-sync` signal).
    fn report(&self, index: usize, sync: &gst::StructureRef) {
        let Some(epoch) = epoch(sync) else {
            return;
        };
        let changed = {
            let mut streams = self.lock();
            let now = self.now();
            if let Some(stream) = streams.get_mut(index) {
                stream.epoch = Some((epoch, now));
            }
            adjust(&mut streams, now)
        };
        for (jitter_buffer, offset) in changed {
            if let Some(jitter_buffer) = jitter_buffer.upgrade() {
                gst::debug!(CAT, obj = jitter_buffer, "lip-sync offset {offset} ns");
                jitter_buffer.set_property("ts-offset", offset);
            }
        }
    }

    #[cfg(not(test))]
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Another connection goes on with the streams, maybe from another machine: its reports alone
    /// count from now on.
    pub fn start_over(&self) {
        for stream in self.lock().iter_mut() {
            stream.epoch = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.streams
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// New offsets where they change.
fn adjust(streams: &mut [Stream], now: Instant) -> Vec<(glib::WeakRef<gst::Element>, i64)> {
    let fresh = |stream: &Stream| {
        let (epoch, at) = stream.epoch?;
        (now.saturating_duration_since(at) <= FRESH).then_some(epoch)
    };
    let known = streams.iter().filter(|s| s.epoch.is_some()).count();
    let compared: Vec<_> = streams.iter().filter(|s| fresh(s).is_some()).collect();
    let Some(lowest) = compared.iter().filter_map(|s| fresh(s)).min() else {
        return Vec::new();
    };
    if compared.len() < 2 {
        return Vec::new();
    }
    // Those of which nothing is heard stay where they are, and so must the one that sets the pace.
    let base = if compared.len() == known {
        0
    } else {
        let pace = compared.iter().find(|s| fresh(s) == Some(lowest));
        pace.map_or(0, |s| s.offset)
    };
    streams
        .iter_mut()
        .filter_map(|stream| {
            let wanted = fresh(stream)?.saturating_sub(lowest).saturating_add(base);
            let step = wanted.saturating_sub(stream.offset).saturating_abs();
            if step < THRESHOLD || wanted > LIMIT {
                return None;
            }
            stream.offset = wanted;
            Some((stream.jitter_buffer.clone(), wanted))
        })
        .collect()
}

fn epoch(sync: &gst::StructureRef) -> Option<i64> {
    let get = |name: &str| sync.get::<u64>(name).ok();
    let base_rtp = get("base-rtptime")?;
    let base_time = get("base-time")?;
    let report_rtp = get("sr-ext-rtptime")?;
    let clock_rate = u64::from(
        sync.get::<u32>("clock-rate")
            .ok()
            .filter(|rate| *rate > 0)?,
    );
    let report = sync.get::<gst::Buffer>("sr-buffer").ok()?;
    let ticks = i128::from(report_rtp) - i128::from(base_rtp);
    let running = i128::from(base_time) + ticks * 1_000_000_000 / i128::from(clock_rate);
    let wall = ntp_time(report.map_readable().ok()?.as_slice())?;
    i64::try_from(i128::from(wall) - running).ok()
}

/// NTP time of the first sender report in a compound RTCP packet, ns since 1900 (less the 2036
/// wrap, which all streams share).
fn ntp_time(mut rtcp: &[u8]) -> Option<i64> {
    const SENDER_REPORT: u8 = 200;
    loop {
        let header = rtcp.get(..4)?;
        let words = usize::from(u16::from_be_bytes([*header.get(2)?, *header.get(3)?]));
        if *header.get(1)? == SENDER_REPORT {
            let word = |at: usize| {
                let bytes: [u8; 4] = rtcp.get(at..at + 4)?.try_into().ok()?;
                Some(u64::from(u32::from_be_bytes(bytes)))
            };
            let nanoseconds = word(8)? * 1_000_000_000 + ((word(12)? * 1_000_000_000) >> 32);
            return i64::try_from(nanoseconds).ok();
        }
        rtcp = rtcp.get((words + 1) * 4..)?;
    }
}

#[cfg(test)]
mod tests;
