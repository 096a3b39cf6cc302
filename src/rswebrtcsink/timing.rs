// SPDX-License-Identifier: MPL-2.0
//! Looks at the frames of one pad before they are parsed: gives times to those that have none, and
//! tells of B-frames, which browsers do not show.

use gst::prelude::*;

/// Frames that a decoder may hold back before it is sure that there are no B-frames.
const REORDER_WINDOW: u32 = 300;

/// Watches `pad`, where `element`'s pad `name` gets its data.
pub fn watch(pad: &gst::Pad, element: &gst::Element, name: &str) {
    let element = element.downgrade();
    let name = name.to_owned();
    let state = std::sync::Mutex::new(State::default());
    let types = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(types, move |pad, info| {
        let mut state = state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let buffer = match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => buffer,
            Some(gst::PadProbeData::Event(event)) => {
                if matches!(
                    event.type_(),
                    gst::EventType::FlushStop | gst::EventType::Segment
                ) {
                    state.start_anew();
                }
                return gst::PadProbeReturn::Ok;
            }
            _ => return gst::PadProbeReturn::Ok,
        };
        let found = match state.see(buffer, || frame_rate(pad)) {
            Seen::Fine => return gst::PadProbeReturn::Ok,
            found => found,
        };
        drop(state);
        if let Some(element) = element.upgrade() {
            tell(&element, &name, &found);
        }
        if matches!(found, Seen::NoRate) {
            info.flow_res = Err(gst::FlowError::Error);
            info.data = None;
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

#[derive(Debug, Default)]
struct State {
    /// Number of the frame that gets the next time; 0 while the stream has its own.
    counted: u64,
    told_untimed: bool,
    told_reordered: bool,
    highest: Option<gst::ClockTime>,
    seen: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Fine,
    /// First frame without a time; counted at this rate.
    Untimed(gst::Fraction),
    /// A frame without a time, and no rate to count at.
    NoRate,
    /// Frames are not sent in the order of their times.
    Reordered,
}

impl State {
    /// Time went somewhere else (a seek).
    fn start_anew(&mut self) {
        self.highest = None;
        self.seen = 0;
    }

    fn see(&mut self, buffer: &mut gst::Buffer, rate: impl Fn() -> Option<gst::Fraction>) -> Seen {
        let Some(pts) = buffer.pts().filter(|_| self.counted == 0) else {
            // h264parse gives the first frame of a bare stream a time, and no other. A gap later
            // is left to the payloader.
            return match self.seen {
                0 | 1 => self.count(buffer, rate()),
                _ => Seen::Fine,
            };
        };
        if self.told_reordered || self.seen > REORDER_WINDOW {
            return Seen::Fine;
        }
        self.seen += 1;
        let backwards = self.highest.is_some_and(|highest| pts < highest);
        self.highest = Some(self.highest.map_or(pts, |highest| highest.max(pts)));
        if backwards && !buffer.flags().contains(gst::BufferFlags::DISCONT) {
            self.told_reordered = true;
            return Seen::Reordered;
        }
        Seen::Fine
    }

    fn count(&mut self, buffer: &mut gst::Buffer, rate: Option<gst::Fraction>) -> Seen {
        let rate = match rate {
            Some(rate) if rate.numer() > 0 && rate.denom() > 0 => rate,
            _ => return Seen::NoRate,
        };
        let (numer, denom) = (rate.numer().unsigned_abs(), rate.denom().unsigned_abs());
        let at = |n: u64| {
            gst::ClockTime::SECOND
                .mul_div_floor(n.saturating_mul(u64::from(denom)), u64::from(numer))
        };
        // The first frame is number 1, so that 0 says that nothing was counted.
        let number = match self.counted {
            0 => u64::from(self.seen) + 1,
            counted => counted,
        };
        let base = self.highest.unwrap_or(gst::ClockTime::ZERO);
        let start = base + at(number - 1).unwrap_or(gst::ClockTime::ZERO);
        let end = base + at(number).unwrap_or(gst::ClockTime::ZERO);
        self.counted = number + 1;
        let buffer = buffer.make_mut();
        buffer.set_pts(start);
        buffer.set_dts(start);
        buffer.set_duration(end.saturating_sub(start));
        if self.told_untimed {
            return Seen::Fine;
        }
        self.told_untimed = true;
        Seen::Untimed(rate)
    }
}

fn frame_rate(pad: &gst::Pad) -> Option<gst::Fraction> {
    pad.current_caps()?.structure(0)?.get("framerate").ok()
}

fn tell(element: &gst::Element, name: &str, seen: &Seen) {
    match seen {
        Seen::Fine => {}
        Seen::Untimed(rate) => gst::element_warning!(
            element,
            gst::StreamError::Format,
            (
                "the frames on pad {} carry no timestamps: they are sent at the framerate that the \
                 stream names, {}/{}. A file in a container (mp4, mkv) keeps its timestamps",
                name,
                rate.numer(),
                rate.denom()
            )
        ),
        Seen::NoRate => gst::element_error!(
            element,
            gst::StreamError::Format,
            (
                "the frames on pad {} carry no timestamps, and the stream names no framerate: state \
                 it before this element, for example \
                 'h264parse ! video/x-h264,framerate=30/1 ! rswebrtcsink'",
                name
            )
        ),
        Seen::Reordered => gst::element_warning!(
            element,
            gst::StreamError::Format,
            (
                "the video on pad {} has B-frames: browsers show it jumping or not at all, \
                 and recordings get wrong times. \
                 Encode without them (x264enc bframes=0 or tune=zerolatency; ffmpeg -bf 0; \
                 nvh264enc bframes=0; vah264enc b-frames=0). It is sent as it is",
                name
            )
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ms: Option<u64>) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        buffer
            .make_mut()
            .set_pts(ms.map(gst::ClockTime::from_mseconds));
        buffer
    }

    fn at(numer: i32, denom: i32) -> impl Fn() -> Option<gst::Fraction> {
        move || Some(gst::Fraction::new(numer, denom))
    }

    #[test]
    fn frames_without_times_are_counted_at_the_streams_rate() {
        gst::init().unwrap();
        let mut state = State::default();
        let mut first = frame(None);
        let rate = gst::Fraction::new(30, 1);
        assert_eq!(state.see(&mut first, at(30, 1)), Seen::Untimed(rate));
        let mut fourth = frame(None);
        for _ in 0..3 {
            fourth = frame(None);
            assert_eq!(state.see(&mut fourth, at(30, 1)), Seen::Fine);
        }
        assert_eq!(first.pts(), Some(gst::ClockTime::ZERO));
        assert_eq!(fourth.pts(), Some(gst::ClockTime::from_mseconds(100)));
        assert_eq!(
            fourth.duration(),
            Some(gst::ClockTime::from_nseconds(33_333_333))
        );
    }

    #[test]
    fn a_time_on_the_first_frame_alone_is_where_counting_starts() {
        gst::init().unwrap();
        let mut state = State::default();
        assert_eq!(state.see(&mut frame(Some(1000)), at(10, 1)), Seen::Fine);
        let mut next = [frame(None), frame(None)];
        next.iter_mut().for_each(|f| {
            state.see(f, at(10, 1));
        });
        let times = next.map(|f| f.pts().unwrap().mseconds());
        assert_eq!(times, [1100, 1200]);
    }

    #[test]
    fn a_gap_in_a_stream_with_times_is_left_alone() {
        gst::init().unwrap();
        let mut state = State::default();
        for ms in [0, 33] {
            assert_eq!(state.see(&mut frame(Some(ms)), at(30, 1)), Seen::Fine);
        }
        let mut gap = frame(None);
        assert_eq!(state.see(&mut gap, at(30, 1)), Seen::Fine);
        assert_eq!(gap.pts(), None);
    }

    #[test]
    fn without_a_rate_it_is_an_error() {
        gst::init().unwrap();
        let mut state = State::default();
        assert_eq!(state.see(&mut frame(None), || None), Seen::NoRate);
        assert_eq!(state.see(&mut frame(None), at(0, 1)), Seen::NoRate);
    }

    #[test]
    fn frames_out_of_order_are_told_once() {
        gst::init().unwrap();
        let mut state = State::default();
        let seen: Vec<_> = [0, 100, 33, 66, 200, 133]
            .map(|ms| state.see(&mut frame(Some(ms)), at(30, 1)))
            .into();
        assert_eq!(seen.iter().filter(|s| **s == Seen::Reordered).count(), 1);
        assert_eq!(seen[2], Seen::Reordered);
    }
}
