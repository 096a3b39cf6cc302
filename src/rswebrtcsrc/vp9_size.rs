// SPDX-License-Identifier: MPL-2.0
//! Width and height in the caps of a VP9 stream.
//!
//! rtpvp9depay knows them only from a scalability structure (RFC 9628 section 4.2.1), which Firefox
//! does not send; muxers refuse video without them. They stand in every key frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use gst_rtp::rtp_buffer::RTPBuffer;

use crate::media::vp9;

/// Has `depayloader` tell the size of what it puts out, in its caps.
pub fn complete(depayloader: &gst::Element) {
    let (Some(sink), Some(src)) = (
        depayloader.static_pad("sink"),
        depayloader.static_pad("src"),
    ) else {
        return;
    };
    // Width and height; 0 until known.
    let size = Arc::new(AtomicU64::new(0));
    let seen = size.clone();
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    sink.add_probe(types, move |_, info| {
        let found = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => key_frame_size(buffer),
            Some(gst::PadProbeData::BufferList(list)) => list.iter().find_map(key_frame_size),
            _ => None,
        };
        if let Some((width, height)) = found {
            let both = u64::from(width) << 32 | u64::from(height);
            seen.store(both, Ordering::Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    src.add_probe(types, move |pad, info| {
        let both = size.load(Ordering::Relaxed);
        let size = ((both >> 32) as i32, both as u32 as i32);
        match &info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view()
                    && let Some(caps) = sized(caps.caps(), size)
                {
                    let event = gst::event::Caps::new(&caps);
                    info.data = Some(gst::PadProbeData::Event(event));
                }
            }
            // The size changed with this key frame, and the depayloader has not seen it.
            _ => {
                let key = info
                    .buffer()
                    .is_some_and(|b| !b.flags().contains(gst::BufferFlags::DELTA_UNIT));
                if let Some(caps) = pad.current_caps().filter(|_| key)
                    && let Some(caps) = sized(&caps, size)
                {
                    pad.push_event(gst::event::Caps::new(&caps));
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn key_frame_size(buffer: &gst::BufferRef) -> Option<(u32, u32)> {
    let rtp = RTPBuffer::from_buffer_readable(buffer).ok()?;
    vp9::key_frame_size(rtp.payload().ok()?)
}

/// `caps` with this size, if it is known and not there yet.
fn sized(caps: &gst::CapsRef, (width, height): (i32, i32)) -> Option<gst::Caps> {
    let structure = caps.structure(0)?;
    let there = structure.get("width") == Ok(width) && structure.get("height") == Ok(height);
    if width <= 0 || height <= 0 || there {
        return None;
    }
    let mut caps = caps.to_owned();
    let structure = caps.make_mut().structure_mut(0)?;
    structure.set("width", width);
    structure.set("height", height);
    Some(caps)
}
