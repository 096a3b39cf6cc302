// SPDX-License-Identifier: MPL-2.0
//! RTP depayloader for AV1. Gives only what can be decoded: after a loss it waits for a key frame.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::subclass::prelude::*;
use gst_rtp::RTPBuffer;
use gst_rtp::prelude::*;
use gst_rtp::rtp_buffer::Readable;
use gst_rtp::subclass::prelude::*;

use crate::logging::SRC as CAT;
use crate::media::av1::{Depacketizer, Finished, TemporalUnit};

use super::{encoded_caps, rtp_caps, template};

glib::wrapper! {
    /// Takes RTP, gives temporal units in the low-overhead format.
    pub struct Av1Depay(ObjectSubclass<imp::Av1Depay>)
        @extends gst_rtp::RTPBaseDepayload, gst::Element, gst::Object;
}

impl Default for Av1Depay {
    fn default() -> Self {
        glib::Object::new()
    }
}

mod imp {
    use super::*;

    #[derive(Default, glib::Properties)]
    #[properties(wrapper_type = super::Av1Depay)]
    pub struct Av1Depay {
        /// As in rtpvp8depay.
        #[property(
            get,
            set,
            name = "request-keyframe",
            nick = "Request key frame",
            blurb = "Ask upstream for a key frame when one is needed"
        )]
        request_keyframe: Mutex<bool>,
        state: Mutex<State>,
    }

    #[derive(Default)]
    struct State {
        depacketizer: Depacketizer,
        /// Of the temporal unit that is being collected.
        times: Option<Times>,
    }

    /// When a temporal unit is, from its first packet.
    #[derive(Clone, Copy)]
    struct Times {
        rtp: u32,
        pts: Option<gst::ClockTime>,
        dts: Option<gst::ClockTime>,
    }

    /// What one packet brings about.
    #[derive(Default)]
    struct Outcome {
        units: Vec<gst::Buffer>,
        key_frame_needed: bool,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Av1Depay {
        const NAME: &'static str = "GstRsWebRtcAv1Depay";
        type Type = super::Av1Depay;
        type ParentType = gst_rtp::RTPBaseDepayload;
    }

    #[glib::derived_properties]
    impl ObjectImpl for Av1Depay {}

    impl GstObjectImpl for Av1Depay {}

    impl ElementImpl for Av1Depay {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                [
                    template("sink", gst::PadDirection::Sink, &rtp_caps()),
                    template("src", gst::PadDirection::Src, &encoded_caps()),
                ]
                .into_iter()
                .flatten()
                .collect()
            });
            TEMPLATES.as_ref()
        }

        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            if transition == gst::StateChange::ReadyToPaused {
                self.reset();
            }
            self.parent_change_state(transition)
        }
    }

    impl RTPBaseDepayloadImpl for Av1Depay {
        /// Called with other caps only: another stream starts.
        fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
            gst::debug!(CAT, imp = self, "{caps}");
            self.reset();
            let event = gst::event::Caps::new(&encoded_caps());
            self.obj()
                .src_pad()
                .push_event(event)
                .then_some(())
                .ok_or_else(|| gst::loggable_error!(CAT, "nobody downstream takes AV1"))
        }

        fn handle_event(&self, event: gst::Event) -> bool {
            if event.type_() == gst::EventType::FlushStop {
                self.reset();
            }
            self.parent_handle_event(event)
        }

        fn packet_lost(&self, event: &gst::EventRef) -> bool {
            let news = {
                let mut state = self.lock();
                state.times = None;
                state.depacketizer.lose()
            };
            if news {
                gst::debug!(CAT, imp = self, "packets are lost");
                self.ask_key_frame();
            }
            self.parent_packet_lost(event)
        }

        fn process_rtp_packet(&self, rtp: &RTPBuffer<Readable>) -> Option<gst::Buffer> {
            let outcome = self.take(rtp);
            if outcome.key_frame_needed {
                self.ask_key_frame();
            }
            let mut units = outcome.units;
            let last = units.pop();
            for unit in units {
                // The base class keeps what is wrong for whoever pushed.
                let _ = self.obj().push(unit);
            }
            last
        }
    }

    impl Av1Depay {
        fn take(&self, rtp: &RTPBuffer<Readable>) -> Outcome {
            let mut outcome = Outcome::default();
            let mut state = self.lock();
            // The base class sets the flag where sequence numbers are missing.
            if rtp.buffer().flags().contains(gst::BufferFlags::DISCONT) {
                state.times = None;
                outcome.key_frame_needed |= state.depacketizer.lose();
            }
            if rtp.payload().is_ok_and(<[u8]>::is_empty) {
                // Padding: it has a number and nothing else.
                return outcome;
            }
            // A last packet should have the marker, but need not.
            if state.times.is_some_and(|t| t.rtp != rtp.timestamp()) {
                state.finish(&mut outcome);
            }
            let buffer = rtp.buffer();
            state.times.get_or_insert_with(|| Times {
                rtp: rtp.timestamp(),
                pts: buffer.pts(),
                dts: buffer.dts(),
            });
            if let Err(error) = state.depacketizer.add(rtp.payload().unwrap_or_default()) {
                gst::warning!(CAT, imp = self, "packet {} has {error}", rtp.seq());
            }
            if rtp.is_marker() {
                state.finish(&mut outcome);
            }
            outcome
        }

        fn ask_key_frame(&self) {
            let wanted = *self
                .request_keyframe
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if wanted {
                gst::debug!(CAT, imp = self, "asking for a key frame");
                let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build();
                self.obj().sink_pad().push_event(event);
            }
        }

        fn reset(&self) {
            *self.lock() = State::default();
        }

        /// Never held over a push.
        fn lock(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl State {
        /// Adds what the current temporal unit has become to `outcome`.
        fn finish(&mut self, outcome: &mut Outcome) {
            let times = self.times.take();
            match self.depacketizer.finish() {
                Finished::Unit(unit) => outcome.units.push(buffer(unit, times)),
                Finished::Dropped => outcome.key_frame_needed = true,
                Finished::Empty => {}
            }
        }
    }

    fn buffer(unit: TemporalUnit, times: Option<Times>) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_mut_slice(unit.data);
        // A new buffer is writable.
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(times.and_then(|t| t.pts));
            buffer.set_dts(times.and_then(|t| t.dts));
            if !unit.key {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        buffer
    }
}
