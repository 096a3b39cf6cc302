// SPDX-License-Identifier: MPL-2.0
//! What a track source knows of its track, and how a packet of it becomes a buffer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::gst_glue::caps::rtp_caps;
use crate::gst_glue::rtp;
use crate::media::codec::Codec;
use crate::media::orientation::Orientation;
use crate::media::queue::InboundQueue;
use crate::media::rtp_packet::{Inbound, InboundPacket};
use crate::rswebrtcsrc::latency::Lateness;
use crate::rswebrtcsrc::splice::Splice;

use super::KeyFrameRequest;

/// What is known of the track, and where its packets are.
pub(super) struct Track {
    pub(super) queue: Arc<InboundQueue>,
    pub(super) caps: gst::Caps,
    pub(super) codec: Codec,
    pub(super) alternatives: Vec<Codec>,
    /// The payload type that was told to be of no use.
    pub(super) refused: Option<u8>,
    /// Id of the header extension, and what it said last.
    pub(super) orientation: Option<(u8, Orientation)>,
    pub(super) key_frame: Arc<KeyFrameRequest>,
    pub(super) splice: Splice,
    pub(super) lateness: Lateness,
    /// The payload type that went out first, once the call was made again.
    pub(super) payload_type: Option<u8>,
    pub(super) rtcp_pad: Option<gst::Pad>,
    /// A buffer went out, and with it the segment.
    pub(super) begun: bool,
    /// It played before it was paused.
    pub(super) paused: bool,
    /// Of the last packet.
    pub(super) time: gst::ClockTime,
    /// Number of the newest packet that became a buffer.
    pub(super) newest: Option<u16>,
}

impl Track {
    /// Whether nothing has to be told downstream before `item`: media of the payload type that
    /// holds, the same way up as before.
    pub(super) fn follows(&self, item: &Inbound) -> bool {
        let Inbound::Rtp(packet) = item else {
            return false;
        };
        let same_type = packet.payload_type() == Some(self.codec.payload_type);
        same_type && self.turned(packet).is_none()
    }

    /// Which way up the picture is from `packet` on, if that is new.
    pub(super) fn turned(&self, packet: &InboundPacket) -> Option<Orientation> {
        let (id, known) = self.orientation?;
        let value = *packet.extension(id)?.first()?;
        Some(Orientation::from_cvo(value)).filter(|new| *new != known)
    }

    /// The next buffer at the front of `arrived` for which nothing has to be told before.
    pub(super) fn next_following(
        &mut self,
        arrived: &mut VecDeque<Inbound>,
        now: Now,
    ) -> Option<gst::Buffer> {
        while arrived.front().is_some_and(|item| self.follows(item)) {
            if let Some(Inbound::Rtp(packet)) = arrived.pop_front()
                && let Some(buffer) = self.buffer_of(packet, now)
            {
                return Some(buffer);
            }
        }
        None
    }

    /// The buffer of a packet, if it is of the connection that holds now.
    pub(super) fn buffer_of(&mut self, packet: InboundPacket, now: Now) -> Option<gst::Buffer> {
        let payload_type = self.payload_type.unwrap_or(self.codec.payload_type);
        let clock_rate = self.codec.clock_rate;
        let packet = self.splice.pass(packet, clock_rate, payload_type)?;
        // Padding and FEC have the time of media that went before, and nobody waits for them.
        if !packet.payload.is_empty()
            && let Some(timestamp) = packet.timestamp()
        {
            let lateness = &mut self.lateness;
            lateness.arrived(timestamp, clock_rate, packet.arrival);
        }
        self.newest = packet.sequence().map(|came| match self.newest {
            Some(newest) if !is_newer(came, newest) => newest,
            _ => came,
        });
        // In PAUSED the pipeline's clock stands still, and the packet's did not.
        self.time = self.time.max(now.running_time_of(packet.arrival));
        Some(rtp::inbound(packet, self.time))
    }

    /// Another payload type of the same encoding; gives the new caps.
    pub(super) fn change_to(&mut self, codec: Codec) -> Option<gst::Caps> {
        let mut caps = rtp_caps(&codec);
        // Header extensions, where they are announced.
        let announced = self.caps.structure(0)?;
        if let Some(structure) = caps.make_mut().structure_mut(0) {
            for (name, value) in announced.iter().filter(|(n, _)| n.starts_with("extmap-")) {
                structure.set_value(name.as_str(), value.clone());
            }
        }
        self.alternatives
            .push(std::mem::replace(&mut self.codec, codec));
        if self.payload_type.is_some() {
            // What goes out keeps its own.
            return None;
        }
        self.caps = caps.clone();
        Some(caps)
    }
}

/// Whether packet `came` is newer than `known`; one that is far behind is of another beginning.
fn is_newer(came: u16, known: u16) -> bool {
    /// Much more than a jitter buffer holds.
    const FAR: u16 = 0x4000;
    let behind = known.wrapping_sub(came);
    behind != 0 && behind > FAR
}

/// One moment by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) running_time: gst::ClockTime,
    pub(super) instant: Instant,
}

impl Now {
    fn running_time_of(self, arrival: Instant) -> gst::ClockTime {
        let age = self.instant.saturating_duration_since(arrival).as_nanos();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        let age = gst::ClockTime::try_from(age).unwrap_or(gst::ClockTime::MAX);
        self.running_time.saturating_sub(age)
    }
}

#[cfg(test)]
mod tests {
    use super::is_newer;

    #[test]
    fn numbers_go_round_and_begin_anew_but_what_comes_late_is_not_newer() {
        for (came, known) in [
            (1, 0),
            (0, u16::MAX),
            (300, 0xff00),
            (0, 0x4001),
            (5, 0x8000),
        ] {
            assert!(is_newer(came, known), "{came} {known}");
        }
        for (came, known) in [(0, 0), (0, 1), (u16::MAX, 0), (0xff00, 300), (0, 0x4000)] {
            assert!(!is_newer(came, known), "{came} {known}");
        }
    }
}
