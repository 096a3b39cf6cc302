// SPDX-License-Identifier: MPL-2.0
//! Keeps the streams of one call in step by their sender reports (RFC 3550 section 6.4.1).
//!
//! Each report tells what wall-clock time a stream's RTP time stands for. The jitter buffer tells
//! what running time it gives that RTP time. The difference of the two must be the same for all
//! streams; the one that is furthest ahead sets the pace and the others' is made up for by their
//! jitter buffers' `ts-offset`, as rtpbin does.

use std::sync::{Mutex, MutexGuard};

use gst::glib;
use gst::prelude::*;

use crate::logging::SRC as CAT;

/// Streams are moved by so much with each of their frames, ns: nothing has to be repeated or dropped
/// for it.
pub const STEP: u64 = 2_000_000;
/// Smaller differences are the jitter of the measurement.
const THRESHOLD: i64 = 2_000_000;
/// Larger ones are no lip-sync but a sender with a broken clock.
const LIMIT: i64 = 3_000_000_000;

/// All streams of one call.
#[derive(Debug, Default)]
pub struct LipSync {
    streams: Mutex<Vec<Stream>>,
}

#[derive(Debug)]
struct Stream {
    jitter_buffer: glib::WeakRef<gst::Element>,
    /// Wall-clock time minus running time, ns.
    epoch: Option<i64>,
    offset: i64,
}

impl LipSync {
    /// Adds a stream; gives its index.
    pub fn add(&self, jitter_buffer: &gst::Element) -> usize {
        let mut streams = self.lock();
        streams.push(Stream {
            jitter_buffer: jitter_buffer.downgrade(),
            epoch: None,
            offset: 0,
        });
        streams.len() - 1
    }

    /// Takes what a jitter buffer says of a sender report (its `handle-sync` signal).
    pub fn report(&self, index: usize, sync: &gst::StructureRef) {
        let Some(epoch) = epoch(sync) else {
            return;
        };
        let changed = {
            let mut streams = self.lock();
            if let Some(stream) = streams.get_mut(index) {
                stream.epoch = Some(epoch);
            }
            adjust(&mut streams)
        };
        for (jitter_buffer, offset) in changed {
            if let Some(jitter_buffer) = jitter_buffer.upgrade() {
                gst::debug!(CAT, obj = jitter_buffer, "lip-sync offset {offset} ns");
                jitter_buffer.set_property("ts-offset", offset);
            }
        }
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
fn adjust(streams: &mut [Stream]) -> Vec<(glib::WeakRef<gst::Element>, i64)> {
    let known = streams.iter().filter_map(|s| s.epoch);
    let (Some(lowest), count) = (known.clone().min(), known.count()) else {
        return Vec::new();
    };
    if count < 2 {
        return Vec::new();
    }
    streams
        .iter_mut()
        .filter_map(|stream| {
            let wanted = stream.epoch?.saturating_sub(lowest);
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
mod tests {
    use super::*;

    fn stream(epoch: Option<i64>) -> Stream {
        Stream {
            jitter_buffer: glib::WeakRef::new(),
            epoch,
            offset: 0,
        }
    }

    #[test]
    fn the_stream_that_is_ahead_is_delayed_and_then_left_alone() {
        let mut streams = [stream(Some(100_000_000)), stream(Some(130_000_000))];
        let changed = adjust(&mut streams);
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].1, 30_000_000);
        assert!(adjust(&mut streams).is_empty());
        streams[1].epoch = Some(131_000_000);
        assert!(adjust(&mut streams).is_empty(), "jitter of the measurement");
    }

    #[test]
    fn one_stream_alone_and_a_broken_clock_change_nothing() {
        assert!(adjust(&mut [stream(Some(5)), stream(None)]).is_empty());
        assert!(adjust(&mut [stream(Some(0)), stream(Some(LIMIT * 2))]).is_empty());
    }

    #[test]
    fn the_time_of_a_report_is_found_behind_other_packets() {
        let receiver_report = [0x80u8, 201, 0, 1, 0, 0, 0, 9];
        let mut sender_report = vec![0x80u8, 200, 0, 6, 0, 0, 0, 1];
        sender_report.extend([0, 0, 0, 2, 0x80, 0, 0, 0]);
        sender_report.extend([0; 12]);
        let compound = [&receiver_report[..], &sender_report].concat();
        assert_eq!(ntp_time(&compound), Some(2_500_000_000));
        for end in 0..compound.len() {
            let _ = ntp_time(&compound[..end]);
        }
    }
}
