// SPDX-License-Identifier: MPL-2.0
//! Leaves access unit delimiters out, which encoders and parsers put before each frame.
//!
//! RTP has timestamps and markers for that. What is so small in front of a frame goes in a packet of
//! its own and, as it is smaller than the next, in a system call of its own: it wakes all threads of
//! the receiver, and the frame behind it wakes them again. And where a key frame was asked for,
//! rtph264pay ends a frame before the delimiter, which then holds parameter sets alone.

use gst::prelude::*;

/// Start code, delimiter and the next start code, bytes: of H265, whose header has one more.
const MOST: usize = 4 + 3 + 4;

/// Leaves them out of what comes to `pad`, H264 or H265 as its caps say.
pub fn leave_out(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::BUFFER, |pad, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
            && let Some(length) = length(buffer, || is_h265(pad))
        {
            let size = buffer.size();
            // It fails where a memory may not be divided: then the delimiter stays.
            let _ = buffer.make_mut().resize(length..size);
        }
        gst::PadProbeReturn::Ok
    });
}

fn is_h265(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps();
    let structure = caps.as_ref().and_then(|caps| caps.structure(0));
    structure.is_some_and(|s| s.name() == "video/x-h265")
}

/// Bytes of the delimiter at the beginning, with its start code, if other NAL units are behind it.
fn length(buffer: &gst::BufferRef, is_h265: impl Fn() -> bool) -> Option<usize> {
    let mut bytes = [0; MOST];
    let bytes = bytes.get_mut(..buffer.size().min(MOST))?;
    buffer.copy_to_slice(0, bytes).ok()?;
    // Of four bytes, as everybody has them, and unlike any start code.
    let length = match bytes {
        [0, 0, 0, length @ (2 | 3), ..] => Some(usize::from(*length)),
        _ => None,
    };
    let start = length.map(|_| 4).or_else(|| start_code(bytes))?;
    let header = *bytes.get(start)?;
    let own = match header {
        // H.264 table 7-1, H.265 table 7-1.
        _ if header & 0x1f == 9 && !is_h265() => 2,
        _ if header >> 1 & 0x3f == 35 && is_h265() => 3,
        _ => return None,
    };
    let end = start + own;
    let more = match length {
        Some(length) => length == own && buffer.size() > end,
        None => start_code(bytes.get(end..)?).is_some(),
    };
    more.then_some(end)
}

/// Length of the start code that `bytes` begin with.
fn start_code(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0, 0, 1, ..] => Some(3),
        [0, 0, 0, 1, ..] => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `unit` in memories that end at `cuts`.
    fn buffer(unit: &[u8], cuts: &[usize]) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([unit.len()]) {
            let memory = gst::Memory::from_slice(unit[start..end].to_vec());
            buffer.get_mut().unwrap().append_memory(memory);
            start = end;
        }
        buffer
    }

    /// What goes on of `unit`.
    fn left(caps: &str, unit: &[u8], cuts: &[usize]) -> Vec<u8> {
        gst::init().unwrap();
        let (give, take) = std::sync::mpsc::channel();
        let pad = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |_, _, buffer| {
                give.send(buffer.map_readable().unwrap().to_vec()).unwrap();
                Ok(gst::FlowSuccess::Ok)
            })
            .build();
        leave_out(&pad);
        pad.set_active(true).unwrap();
        let caps: gst::Caps = caps.parse().unwrap();
        assert!(pad.send_event(gst::event::StreamStart::new("a")));
        assert!(pad.send_event(gst::event::Caps::new(&caps)));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(pad.send_event(gst::event::Segment::new(&segment)));
        let whole = buffer(unit, cuts);
        let _shared = whole.clone();
        pad.chain(whole).unwrap();
        take.recv().unwrap()
    }

    const H264: &str = "video/x-h264";
    const H265: &str = "video/x-h265";

    #[test]
    fn a_delimiter_before_a_frame_is_left_out_whatever_memories_it_is_in() {
        let h264 = [0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x65, 1, 2];
        let short = [0, 0, 1, 0x09, 0x30, 0, 0, 1, 0x41, 1];
        let h265 = [0, 0, 0, 1, 0x46, 0x01, 0x50, 0, 0, 1, 0x02, 1, 2];
        let avc = [0, 0, 0, 2, 0x09, 0xf0, 0, 0, 0, 2, 0x65, 1];
        let hvc1 = [0, 0, 0, 3, 0x46, 0x01, 0x50, 0, 0, 0, 3, 0x02, 1, 2];
        for cuts in [&[][..], &[6], &[3], &[4, 8]] {
            assert_eq!(left(H264, &h264, cuts), h264[6..], "{cuts:?}");
            assert_eq!(left(H264, &short, cuts), short[5..], "{cuts:?}");
            assert_eq!(left(H265, &h265, cuts), h265[7..], "{cuts:?}");
            assert_eq!(left(H264, &avc, cuts), avc[6..], "{cuts:?}");
            assert_eq!(left(H265, &hvc1, cuts), hvc1[7..], "{cuts:?}");
        }
    }

    #[test]
    fn all_else_stays() {
        let alone = [0, 0, 0, 1, 0x09, 0xf0];
        let picture = [0, 0, 0, 1, 0x65, 0x09, 0, 0, 1, 9, 9, 9];
        let lengths = [0, 0, 0, 3, 0x09, 0xf0, 0, 0, 0, 0, 2, 0x65, 1];
        let stored_alone = [0, 0, 0, 2, 0x09, 0xf0];
        // Of the other codec each is something else.
        let sei = [0, 0, 0, 1, 0x46, 1, 0x80, 0, 0, 1, 0x65, 1];
        let slice = [0, 0, 0, 1, 0x09, 0x01, 0, 0, 0, 1, 0x02, 1];
        assert_eq!(left(H264, &alone, &[]), alone);
        assert_eq!(left(H264, &picture, &[]), picture);
        assert_eq!(left(H264, &lengths, &[]), lengths);
        assert_eq!(left(H264, &stored_alone, &[]), stored_alone);
        assert_eq!(left(H264, &sei, &[]), sei);
        assert_eq!(left(H265, &slice, &[]), slice);
        assert_eq!(left(H264, &[0, 0], &[]), [0, 0]);
    }
}
