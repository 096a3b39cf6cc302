// SPDX-License-Identifier: MPL-2.0
//! Parameter sets with every key frame of a stream that was parsed before it came: whoever joins or
//! lost a packet can start there.
//!
//! A parser of our own would do that, but search all of the stream for NAL units that another parser
//! has just found. Here only what stands before the first slice is looked at.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use gst::prelude::*;

/// Bytes before the first slice that are searched: parameter sets and SEI.
const MOST_SEARCHED: usize = 16 << 10;
/// So many are looked at first, without a mapping, for which several memories would become one.
const FIRST: usize = 256;
/// Bytes of parameter sets that are kept; a stream with more is passed on as it comes.
const MOST_KEPT: usize = 16 << 10;

/// Whose NAL units they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    H264,
    H265,
}

/// What a NAL unit is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Begins an access unit.
    Delimiter,
    /// The first of the sets: those before it are of another stream.
    Sequence,
    /// A further set.
    Set,
    Slice,
    Other,
}

impl Syntax {
    fn of(caps: &gst::CapsRef) -> Option<Self> {
        match caps.structure(0)?.name().as_str() {
            "video/x-h264" => Some(Self::H264),
            "video/x-h265" => Some(Self::H265),
            _ => None,
        }
    }

    /// By the first byte of its header (H.264 table 7-1, H.265 table 7-1).
    fn kind(self, first: u8) -> Kind {
        match self {
            Self::H264 => match first & 0x1f {
                1..=5 | 20 => Kind::Slice,
                7 => Kind::Sequence,
                8 | 13 | 15 => Kind::Set,
                9 => Kind::Delimiter,
                _ => Kind::Other,
            },
            Self::H265 => match first >> 1 & 0x3f {
                0..=31 => Kind::Slice,
                33 => Kind::Sequence,
                32 | 34 => Kind::Set,
                35 => Kind::Delimiter,
                _ => Kind::Other,
            },
        }
    }
}

/// Whether a parser found the access units of this stream before, and nothing is to be converted.
pub fn is_parsed(caps: &gst::CapsRef) -> bool {
    Syntax::of(caps).is_some()
        && caps.structure(0).is_some_and(|s| {
            s.get::<bool>("parsed") == Ok(true)
                && s.get::<&str>("stream-format") == Ok("byte-stream")
                && s.get::<&str>("alignment") == Ok("au")
                && s.has_field("profile")
                && s.has_field("level")
        })
}

/// Puts parameter sets before key frames that come to `pad` without.
pub fn repeat(pad: &gst::Pad) {
    let known = Mutex::new((None, Known::default()));
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(types, move |_, info| {
        let mut guard = known.lock().unwrap_or_else(PoisonError::into_inner);
        let (syntax, known) = &mut *guard;
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view() {
                    let delimited =
                        |s: &gst::StructureRef| s.get::<&str>("stream-format") == Ok("byte-stream");
                    // Frames of another form may follow; start codes do not belong there.
                    *syntax = Syntax::of(caps.caps())
                        .filter(|_| caps.caps().structure(0).is_some_and(delimited));
                    if syntax.is_none() {
                        *known = Known::default();
                    }
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let Some(syntax) = *syntax else {
                    return gst::PadProbeReturn::Ok;
                };
                if let Some(whole) = known.complete(syntax, buffer) {
                    *buffer = whole;
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// What stands before the first slice of an access unit.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    /// Where parameter sets belong: behind the delimiter.
    place: usize,
    /// The sets, with their start codes.
    sets: Vec<Range<usize>>,
    has_sequence: bool,
}

/// The start of the next NAL unit from `from` on: of its start code, and of its header.
fn next_nal(data: &[u8], from: usize) -> Option<(usize, usize)> {
    let rest = data.get(from..)?;
    let at = from + rest.windows(3).position(|code| code == [0, 0, 1])?;
    let long = at > from && data.get(at - 1) == Some(&0);
    Some((at - usize::from(long), at + 3))
}

/// `None` where there is no slice within bounds.
fn head(syntax: Syntax, data: &[u8]) -> Option<Head> {
    let data = data.get(..MOST_SEARCHED).unwrap_or(data);
    let mut head = Head::default();
    let mut nal = next_nal(data, 0)?;
    loop {
        let (start, header) = nal;
        let kind = syntax.kind(*data.get(header)?);
        if kind == Kind::Slice {
            return Some(head);
        }
        nal = next_nal(data, header)?;
        match kind {
            Kind::Delimiter => head.place = nal.0,
            Kind::Sequence | Kind::Set => {
                head.has_sequence |= kind == Kind::Sequence;
                head.sets.push(start..nal.0);
            }
            _ => {}
        }
    }
}

/// The sets of a stream so far.
#[derive(Debug, Default)]
struct Known {
    sets: Vec<Vec<u8>>,
}

impl Known {
    /// `buffer` with its parameter sets, where it is a key frame without.
    fn complete(&mut self, syntax: Syntax, buffer: &gst::BufferRef) -> Option<gst::Buffer> {
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let head = self.look(syntax, buffer)?;
        if !key || head.has_sequence || self.sets.is_empty() {
            return None;
        }
        // Behind a delimiter, before everything else, as these sets may be what SEI refers to.
        let mut whole = gst::Buffer::new();
        let metadata = gst::BufferCopyFlags::FLAGS
            | gst::BufferCopyFlags::TIMESTAMPS
            | gst::BufferCopyFlags::META;
        buffer.copy_into(whole.make_mut(), metadata, ..).ok()?;
        let part = |range: Range<usize>| buffer.copy_region(gst::BufferCopyFlags::MEMORY, range);
        if head.place > 0 {
            whole.append(part(0..head.place).ok()?);
        }
        whole.append(gst::Buffer::from_slice(self.sets.concat()));
        whole.append(part(head.place..buffer.size()).ok()?);
        Some(whole)
    }

    fn look(&mut self, syntax: Syntax, buffer: &gst::BufferRef) -> Option<Head> {
        let mut first = [0; FIRST];
        let size = buffer.size().min(FIRST);
        let first = first.get_mut(..size)?;
        buffer.copy_to_slice(0, first).ok()?;
        if let Some(head) = head(syntax, first) {
            self.note(&head, first);
            return Some(head);
        }
        let data = buffer.map_readable().ok()?;
        let head = head(syntax, &data)?;
        self.note(&head, &data);
        Some(head)
    }

    fn note(&mut self, head: &Head, data: &[u8]) {
        if head.sets.is_empty() {
            return;
        }
        if head.has_sequence {
            self.sets.clear();
        }
        for set in &head.sets {
            let Some(set) = data.get(set.clone()) else {
                continue;
            };
            if self.sets.iter().all(|known| known != set) {
                self.sets.push(set.to_vec());
            }
        }
        if self.sets.iter().map(Vec::len).sum::<usize>() > MOST_KEPT {
            // overflow: DROPS: the stream repeats them itself, or a receiver cannot start.
            self.sets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e];
    const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce];
    const DELIMITER: &[u8] = &[0, 0, 0, 1, 9, 0xf0];
    const SEI: &[u8] = &[0, 0, 1, 6, 5, 1, 7, 0x80];
    const IDR: &[u8] = &[0, 0, 0, 1, 0x65, 1, 2, 3];
    const DELTA: &[u8] = &[0, 0, 0, 1, 0x41, 1, 2, 3];

    fn unit(nals: &[&[u8]], key: bool) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_slice(nals.concat());
        let inner = buffer.make_mut();
        inner.set_pts(gst::ClockTime::from_mseconds(40));
        if !key {
            inner.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        buffer
    }

    fn given(known: &mut Known, buffer: &gst::Buffer) -> Option<Vec<u8>> {
        let whole = known.complete(Syntax::H264, buffer)?;
        assert_eq!(whole.pts(), buffer.pts());
        assert!(!whole.flags().contains(gst::BufferFlags::DELTA_UNIT));
        Some(whole.map_readable().unwrap().to_vec())
    }

    #[test]
    fn a_key_frame_without_parameter_sets_gets_the_last_ones_behind_its_delimiter() {
        gst::init().unwrap();
        let mut known = Known::default();
        assert_eq!(given(&mut known, &unit(&[IDR], true)), None);
        let first = unit(&[DELIMITER, SPS, PPS, SEI, IDR], true);
        assert_eq!(given(&mut known, &first), None);
        assert_eq!(given(&mut known, &unit(&[DELIMITER, DELTA], false)), None);
        assert_eq!(
            given(&mut known, &unit(&[DELIMITER, SEI, IDR], true)),
            Some([DELIMITER, SPS, PPS, SEI, IDR].concat())
        );
        assert_eq!(
            given(&mut known, &unit(&[IDR], true)),
            Some([SPS, PPS, IDR].concat())
        );
    }

    #[test]
    fn a_set_that_comes_later_is_given_too_and_a_new_sequence_takes_the_place_of_all() {
        gst::init().unwrap();
        let mut known = Known::default();
        let other: &[u8] = &[0, 0, 0, 1, 0x68, 0xcf];
        known.complete(Syntax::H264, &unit(&[SPS, PPS, IDR], true));
        known.complete(Syntax::H264, &unit(&[other, DELTA], false));
        assert_eq!(
            given(&mut known, &unit(&[IDR], true)),
            Some([SPS, PPS, other, IDR].concat())
        );
        let new: &[u8] = &[0, 0, 0, 1, 0x67, 0x64, 0, 0x1f];
        known.complete(Syntax::H264, &unit(&[new, PPS, IDR], true));
        assert_eq!(
            given(&mut known, &unit(&[IDR], true)),
            Some([new, PPS, IDR].concat())
        );
    }

    #[test]
    fn what_has_no_slice_or_too_much_before_it_is_passed_on() {
        gst::init().unwrap();
        let mut known = Known::default();
        known.complete(Syntax::H264, &unit(&[SPS, PPS, IDR], true));
        let long = [&[0, 0, 1, 6], &[7; MOST_SEARCHED][..]].concat();
        for nals in [&[SPS][..], &[], &[&[0, 0, 0, 1]], &[&long, IDR], &[&[0, 0]]] {
            assert_eq!(given(&mut known, &unit(nals, true)), None, "{nals:?}");
        }
    }

    #[test]
    fn sets_of_h265_are_found() {
        let data = [
            &[0, 0, 0, 1, 70, 1, 0x50][..],
            &[0, 0, 0, 1, 64, 1, 7],
            &[0, 0, 0, 1, 66, 1, 7],
            &[0, 0, 0, 1, 68, 1, 7],
            &[0, 0, 1, 38, 1, 7],
        ]
        .concat();
        let found = head(Syntax::H265, &data).unwrap();
        assert_eq!((found.place, found.has_sequence), (7, true));
        assert_eq!(found.sets, [7..14, 14..21, 21..28]);
    }
}
