// SPDX-License-Identifier: MPL-2.0
//! What a track's end knows of its stream, and the frame that it collects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::media::header_extension::HeaderExtension;
use crate::media::orientation::Orientation;
use crate::media::rtp_packet::{OutboundFrame, OutboundPacket};
use crate::rswebrtcsink::call::SinkCall;

use super::EarlyData;
use super::timestamps::Timestamps;

/// An encoder, or a sender far away, has this long to make the key frame that was asked for.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Lives as long as the call.
pub struct Track {
    pub call: Arc<SinkCall>,
    pub local: usize,
    pub early_data: EarlyData,
    /// Before the payloader, if that is ours.
    pub encoded_caps: Option<gst::Caps>,
    pub encoding_name: String,
    pub audio: bool,
    /// Header extensions on incoming RTP.
    pub extension_map: Vec<(u8, HeaderExtension)>,
    pub clock_rate: u32,
    pub timestamps: Timestamps,
    /// Of the frame that is being collected.
    pub packets: Vec<OutboundPacket>,
    pub key: bool,
    pub needs_key: bool,
    /// It was agreed on since the last frame, and is to begin with a key frame.
    pub agreed: bool,
    /// When it was last asked for.
    pub key_asked: Option<Instant>,
    /// By the stream's tags; and what was sent last.
    pub orientation: Option<Orientation>,
    pub orientation_sent: Option<Orientation>,
    /// Sequence number that the next packet that comes should have.
    pub next_number: Option<u16>,
    /// Data was dropped because the caps tell too little.
    pub undescribed: bool,
    /// What is added to running times, of what waited for a peer ([`Gate::wait`]).
    ///
    /// [`Gate::wait`]: crate::rswebrtcsink::gate::Gate::wait
    pub offset: Option<gst::ClockTimeDiff>,
    /// Added to every RTP timestamp, like the offset in time.
    pub shift: u32,
    pub hold: Option<bool>,
    /// Stream time of what was sent last.
    pub position: Option<gst::ClockTime>,
}

impl Track {
    /// Whether the key frame that the stream is to start at has to be asked for once more: browsers
    /// pass over a request that soon follows another one, and one may be lost on its way.
    pub fn asks_again(&mut self) -> bool {
        let Some(asked) = self.key_asked.filter(|_| self.needs_key) else {
            return false;
        };
        let ask = asked.elapsed() >= ASK_AGAIN;
        if ask {
            self.key_asked = Some(Instant::now());
        }
        ask
    }

    /// What was collected is a frame.
    pub fn finish_frame(&mut self) -> OutboundFrame {
        self.orient();
        OutboundFrame {
            key: std::mem::take(&mut self.key),
            packets: std::mem::take(&mut self.packets).into(),
        }
    }

    /// How many packets are missing before the one with sequence number `number`.
    pub fn skipped_before(&mut self, number: u16) -> u16 {
        /// More than this is another stream, or the same one started anew.
        const MOST: u16 = 1000;
        let expected = self.next_number.replace(number.wrapping_add(1));
        let missing = expected.map_or(0, |expected| number.wrapping_sub(expected));
        if missing < MOST { missing } else { 0 }
    }

    /// Puts the orientation on the last packet of the frame: of key frames and of changes, as
    /// 3GPP TS 26.114 section 7.4.5 has it, and of every frame that is not upright, which
    /// libwebrtc needs.
    fn orient(&mut self) {
        let Some(orientation) = self.orientation else {
            return;
        };
        let byte = orientation.to_cvo();
        let due = self.key || byte != 0 || self.orientation_sent != Some(orientation);
        if let Some(packet) = self.packets.last_mut().filter(|_| due) {
            // What the packet brought along counts for less than a tag behind it.
            packet
                .extensions
                .retain(|(e, _)| *e != HeaderExtension::VideoOrientation);
            packet.extensions.push((
                HeaderExtension::VideoOrientation,
                Bytes::copy_from_slice(&[byte]),
            ));
            self.orientation_sent = Some(orientation);
        }
    }
}
