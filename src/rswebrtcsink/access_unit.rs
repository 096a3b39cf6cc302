// SPDX-License-Identifier: MPL-2.0
//! Puts single NAL units together to access units, before they are parsed.
//!
//! h264parse does that too, but 1.22 gives the first access unit in pieces, all but one without a
//! time, and as avc even without the codec_data.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;

/// Larger access units are passed on in pieces: they are none.
const LIMIT: usize = 16 << 20;

/// Whether `caps` are single NAL units that can be put together.
pub fn is_in_pieces(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|s| {
        s.name() == "video/x-h264"
            && s.get::<&str>("stream-format") == Ok("byte-stream")
            && s.get::<&str>("alignment") == Ok("nal")
    })
}

/// The caps of what [`collect`] gives.
pub fn collected_caps(caps: &gst::CapsRef) -> gst::Caps {
    let mut caps = caps.to_owned();
    for structure in caps.make_mut().iter_mut() {
        structure.set("alignment", "au");
    }
    caps
}

/// Makes access units of the NAL units that come to `pad`.
pub fn collect(pad: &gst::Pad) {
    let collected = Mutex::new(Collected::default());
    let types = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(types, move |pad, info| {
        let mut state = collected.lock().unwrap_or_else(PoisonError::into_inner);
        match info.data.take() {
            Some(gst::PadProbeData::Buffer(buffer)) => match state.add(buffer) {
                Some(unit) => {
                    info.data = Some(gst::PadProbeData::Buffer(unit));
                    gst::PadProbeReturn::Ok
                }
                None => gst::PadProbeReturn::Handled,
            },
            Some(gst::PadProbeData::Event(event)) => {
                let rest = match event.type_() {
                    gst::EventType::Eos => state.take_rest(),
                    gst::EventType::FlushStop => {
                        state.pending = None;
                        None
                    }
                    _ => None,
                };
                drop(state);
                info.data = Some(gst::PadProbeData::Event(event));
                if let Some(unit) = rest {
                    // Passes this probe as a whole unit: it ends with a marker.
                    let _ = pad.chain(unit);
                }
                gst::PadProbeReturn::Ok
            }
            data => {
                info.data = data;
                gst::PadProbeReturn::Ok
            }
        }
    });
}

#[derive(Debug, Default)]
struct Collected {
    pending: Option<gst::Buffer>,
}

impl Collected {
    /// Adds a NAL unit; gives the access unit that is whole now. It is once a unit is marked as
    /// the last one, or, where nothing is marked, once one with another time comes.
    fn add(&mut self, nal: gst::Buffer) -> Option<gst::Buffer> {
        let last = nal.flags().contains(gst::BufferFlags::MARKER);
        let Some(mut unit) = self.pending.take() else {
            return self.keep_or_give(nal, last);
        };
        let another_time = nal.pts().is_some_and(|pts| unit.pts() != Some(pts));
        if another_time || unit.size() + nal.size() > LIMIT {
            unit.make_mut().set_flags(gst::BufferFlags::MARKER);
            self.pending = Some(nal);
            return Some(unit);
        }
        let key = !nal.flags().contains(gst::BufferFlags::DELTA_UNIT);
        unit.append(nal);
        if key {
            unit.make_mut().unset_flags(gst::BufferFlags::DELTA_UNIT);
        }
        self.keep_or_give(unit, last)
    }

    /// What is left at the end of the stream.
    fn take_rest(&mut self) -> Option<gst::Buffer> {
        let mut unit = self.pending.take()?;
        unit.make_mut().set_flags(gst::BufferFlags::MARKER);
        Some(unit)
    }

    fn keep_or_give(&mut self, mut unit: gst::Buffer, whole: bool) -> Option<gst::Buffer> {
        if whole {
            unit.make_mut().set_flags(gst::BufferFlags::MARKER);
            return Some(unit);
        }
        self.pending = Some(unit);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nal(ms: Option<u64>, last: bool) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_slice([0, 0, 0, 1, 9]);
        let inner = buffer.make_mut();
        inner.set_pts(ms.map(gst::ClockTime::from_mseconds));
        if last {
            inner.set_flags(gst::BufferFlags::MARKER);
        }
        buffer
    }

    #[test]
    fn marked_units_end_an_access_unit_with_the_time_of_its_first() {
        gst::init().unwrap();
        let mut collected = Collected::default();
        assert!(collected.add(nal(Some(7), false)).is_none());
        assert!(collected.add(nal(None, false)).is_none());
        let unit = collected.add(nal(None, true)).unwrap();
        assert_eq!((unit.size(), unit.pts().unwrap().mseconds()), (15, 7));
        assert!(collected.add(nal(Some(9), true)).is_some());
    }

    #[test]
    fn another_time_ends_an_access_unit_where_nothing_is_marked() {
        gst::init().unwrap();
        let mut collected = Collected::default();
        assert!(collected.add(nal(Some(7), false)).is_none());
        assert!(collected.add(nal(Some(7), false)).is_none());
        let unit = collected.add(nal(Some(40), false)).unwrap();
        assert_eq!((unit.size(), unit.pts().unwrap().mseconds()), (10, 7));
        assert!(unit.flags().contains(gst::BufferFlags::MARKER));
    }
}
