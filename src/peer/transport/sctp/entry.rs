// SPDX-License-Identifier: MPL-2.0
//! One stream of an association, and what its messages are in SCTP.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rtc::datachannel::data_channel::DataChannel as Mapping;
use rtc::datachannel::message::Message as Dcep;
use rtc::datachannel::message::message_channel_open::{ChannelType, DataChannelOpen};
use rtc::sctp::{Association, PayloadProtocolIdentifier as Ppid, ReliabilityType};
use rtc::shared::marshal::Marshal;

use super::flight::Flight;
use crate::peer::data::{ChannelConfig, DataChannel, Message, MessageKind, Phase};

/// Messages of a channel in a row, so that one does not keep the others waiting.
const RUN: usize = 64;
/// Bytes that SCTP has of all channels together; the rest waits in theirs.
pub(super) const IN_SCTP: usize = 1 << 20;

/// A stream, and the channel that has it.
#[derive(Default)]
pub(super) struct Entry {
    /// `None`: the remote's word that opens it has not come.
    pub(super) channel: Option<Arc<DataChannel>>,
    pub(super) early: Vec<Message>,
    /// Such for which there was no room.
    pub(super) early_lost: u64,
    pub(super) readable: bool,
    pub(super) parked: bool,
    /// Bytes that SCTP has.
    pub(super) buffered: usize,
    /// Our half is closed.
    pub(super) closed_at: Option<Instant>,
    /// It was said to be over.
    pub(super) told: bool,
}

impl Entry {
    pub(super) fn take_early(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.early)
    }

    /// Gives SCTP a run of messages, as far as there is room. `Err`: a reliable channel lost one, and
    /// is over.
    pub(super) fn feed(
        &mut self,
        association: &mut Association,
        id: u16,
        total: &mut usize,
        flight: &mut Flight,
        now: Instant,
    ) -> Result<bool, String> {
        let Some(channel) = self.channel.as_ref().filter(|_| self.closed_at.is_none()) else {
            return Ok(false);
        };
        // Before its word is there the remote may take what is not in order for something else
        // (RFC 8832 section 6).
        if channel.phase() == Phase::Connecting {
            return Ok(false);
        }
        let Ok(mut stream) = association.stream(id) else {
            return Ok(false);
        };
        let mut any = false;
        for _ in 0..RUN {
            if *total >= IN_SCTP || flight.is_full() {
                break;
            }
            let Some(message) = channel.next() else {
                break;
            };
            let ppid = ppid(&message);
            // SCTP has no empty messages (RFC 8831 section 6.6).
            let data = match message.data.is_empty() {
                true => Bytes::from_static(&[0]),
                false => message.data,
            };
            if let Err(error) = stream.write_sctp(now, &data, ppid) {
                log::debug!(target: "rswebrtc::peer", "not sent on stream {id}: {error}");
                channel.dropped(1);
                if !channel.config().is_reliable() {
                    break;
                }
                let _ = stream.close(now);
                (self.closed_at, self.told) = (Some(now), true);
                return Err(format!("a message cannot be sent: {error}"));
            }
            any = true;
            flight.gave();
            self.buffered += data.len();
            *total += data.len();
        }
        Ok(any)
    }
}

/// What says which kind `message` is (RFC 8831 section 8).
pub(super) fn ppid(message: &Message) -> Ppid {
    match (message.kind, message.data.is_empty()) {
        (MessageKind::Text, false) => Ppid::String,
        (MessageKind::Text, true) => Ppid::StringEmpty,
        (MessageKind::Binary, false) => Ppid::Binary,
        (MessageKind::Binary, true) => Ppid::BinaryEmpty,
    }
}

/// What came; `None`: neither data nor text.
pub(super) fn message(ppid: Ppid, data: Bytes) -> Option<Message> {
    let (kind, data) = match ppid {
        // Whoever gets text relies on that.
        // Whoever gets text relies on that.
        Ppid::String if std::str::from_utf8(&data).is_err() => return None,
        Ppid::String => (MessageKind::Text, data),
        Ppid::Binary => (MessageKind::Binary, data),
        Ppid::StringEmpty => (MessageKind::Text, Bytes::new()),
        Ppid::BinaryEmpty => (MessageKind::Binary, Bytes::new()),
        _ => return None,
    };
    Some(Message { kind, data })
}

/// `dcep` as it is sent.
pub(super) fn word(dcep: &Dcep) -> Option<Bytes> {
    dcep.marshal().ok().map(Into::into)
}

/// How `config` is said in DCEP.
pub(super) fn kind_of(config: &ChannelConfig) -> (ChannelType, u32) {
    Mapping::get_channel_type_and_reliability_parameter(
        config.ordered,
        config.max_retransmits,
        config.max_packet_lifetime,
    )
}

/// What the remote opened.
pub(super) fn config_of(open: DataChannelOpen, id: u16) -> Option<ChannelConfig> {
    let (unordered, reliability) = Mapping::get_reliability_params(open.channel_type);
    let value = u16::try_from(open.reliability_parameter).unwrap_or(u16::MAX);
    let given = |kind| (reliability == kind).then_some(value);
    Some(ChannelConfig {
        label: String::from_utf8(open.label).ok()?,
        protocol: String::from_utf8(open.protocol).ok()?,
        ordered: !unordered,
        max_retransmits: given(ReliabilityType::Rexmit),
        max_packet_lifetime: given(ReliabilityType::Timed),
        negotiated: false,
        id: Some(id),
    })
}
