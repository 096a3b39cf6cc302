// SPDX-License-Identifier: MPL-2.0
//! RTP payloader for AV1: one list of packets for each temporal unit.

use std::sync::LazyLock;

use gst::glib;
use gst::subclass::prelude::*;
use gst_rtp::RTPBuffer;
use gst_rtp::prelude::*;
use gst_rtp::subclass::prelude::*;

use crate::logging::SINK as CAT;
use crate::media::av1::{Packets, packetize};

use super::{encoded_caps, rtp_caps, template};

glib::wrapper! {
    /// Takes temporal units in the low-overhead format, gives RTP.
    pub struct Av1Pay(ObjectSubclass<imp::Av1Pay>)
        @extends gst_rtp::RTPBasePayload, gst::Element, gst::Object;
}

impl Default for Av1Pay {
    fn default() -> Self {
        glib::Object::new()
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct Av1Pay;

    #[glib::object_subclass]
    impl ObjectSubclass for Av1Pay {
        const NAME: &'static str = "GstRsWebRtcAv1Pay";
        type Type = super::Av1Pay;
        type ParentType = gst_rtp::RTPBasePayload;
    }

    impl ObjectImpl for Av1Pay {}
    impl GstObjectImpl for Av1Pay {}

    impl ElementImpl for Av1Pay {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                [
                    template("sink", gst::PadDirection::Sink, &encoded_caps()),
                    template("src", gst::PadDirection::Src, &rtp_caps()),
                ]
                .into_iter()
                .flatten()
                .collect()
            });
            TEMPLATES.as_ref()
        }
    }

    impl RTPBasePayloadImpl for Av1Pay {
        fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
            gst::debug!(CAT, imp = self, "{caps}");
            self.obj().set_options("video", true, "AV1", 90_000);
            self.obj()
                .set_outcaps(None)
                .map_err(|error| gst::loggable_error!(CAT, "RTP caps: {error}"))
        }

        fn handle_buffer(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let max_payload = gst_rtp::calc_payload_len(self.obj().mtu(), 0, 0);
            let packets = {
                let unit = buffer.map_readable().map_err(|error| {
                    gst::error!(CAT, imp = self, "{error}");
                    gst::FlowError::Error
                })?;
                packetize(&unit, usize::try_from(max_payload).unwrap_or(usize::MAX))
            };
            match packets {
                Ok(packets) if packets.payloads.is_empty() => Ok(gst::FlowSuccess::Ok),
                Ok(packets) => self.obj().push_list(self.list(&buffer, packets)),
                Err(error) => {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Format,
                        ("this AV1 stream cannot be sent: {}", error)
                    );
                    Err(gst::FlowError::Error)
                }
            }
        }
    }

    impl Av1Pay {
        fn list(&self, unit: &gst::BufferRef, packets: Packets) -> gst::BufferList {
            let count = packets.payloads.len();
            let mut list = gst::BufferList::new_sized(count);
            for (index, payload) in packets.payloads.into_iter().enumerate() {
                let mut packet = self.obj().allocate_output_buffer(0, 0, 0);
                let last = index + 1 == count;
                // A new buffer is writable, and so is a new list.
                if let Some(packet) = packet.get_mut() {
                    if let Ok(mut rtp) = RTPBuffer::from_buffer_writable(packet) {
                        rtp.set_marker(last);
                    }
                    packet.append_memory(gst::Memory::from_slice(payload));
                    packet.set_pts(unit.pts());
                    packet.set_dts(unit.dts());
                    let mut flags = gst::BufferFlags::empty();
                    flags.set(gst::BufferFlags::MARKER, last);
                    flags.set(gst::BufferFlags::DELTA_UNIT, !packets.key);
                    if index == 0 {
                        let discont = unit.flags() & gst::BufferFlags::DISCONT;
                        flags |= discont;
                    }
                    packet.set_flags(flags);
                }
                if let Some(list) = list.get_mut() {
                    list.add(packet);
                }
            }
            list
        }
    }
}
