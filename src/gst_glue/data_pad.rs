// SPDX-License-Identifier: MPL-2.0
//! The pads of data channels: ghost pads that know what their channel is opened with.

use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::peer::data::{ChannelConfig, DataChannel, MAX_ID, Message, MessageKind, Phase};

/// What the pads take.
pub const SINK_CAPS: &str = "application/octet-stream; text/x-raw, format = (string) utf8; \
                             meta/x-klv";
/// What the pads give.
pub const SRC_CAPS: &str = "application/octet-stream; text/x-raw, format = (string) utf8";

/// Name of the element message about a channel that opened or closed, and of its structure.
pub const CHANNEL: &str = "rswebrtc-data-channel";

glib::wrapper! {
    /// A pad of one data channel: a buffer is a message. Its properties are those of W3C's
    /// `RTCDataChannelInit`, with `label`; on a sink pad to be set before the call begins, on a source
    /// pad as the remote said.
    pub struct DataPad(ObjectSubclass<imp::DataPad>)
        @extends gst::GhostPad, gst::ProxyPad, gst::Pad, gst::Object;
}

impl DataPad {
    /// What its channel is opened with.
    ///
    /// # Errors
    ///
    /// What does not go together.
    pub fn config(&self) -> Result<ChannelConfig, String> {
        let config = self.imp().config();
        let name = self.name();
        if config.max_retransmits.is_some() && config.max_packet_lifetime.is_some() {
            return Err(format!(
                "pad {name}: max-retransmits and max-packet-lifetime do not go together; leave one \
                 of them at -1"
            ));
        }
        if config.negotiated && config.id.is_none() {
            return Err(format!(
                "pad {name}: negotiated=true needs the id that the remote knows too"
            ));
        }
        let long = |text: &str| text.len() > usize::from(u16::MAX);
        if long(&config.label) || long(&config.protocol) {
            return Err(format!(
                "pad {name}: label and protocol have at most 65535 bytes each"
            ));
        }
        Ok(config)
    }

    /// Takes over what the remote said.
    pub fn set_config(&self, config: &ChannelConfig) {
        self.imp().set_config(config.clone());
    }
}

/// The template of data pads.
pub fn template(
    direction: gst::PadDirection,
    presence: gst::PadPresence,
    caps: &str,
) -> Option<gst::PadTemplate> {
    let caps = caps.parse::<gst::Caps>().ok()?;
    gst::PadTemplate::new("data_%u", direction, presence, &caps).ok()
}

/// The buffer of `message`.
pub fn buffer_of(message: Message) -> gst::Buffer {
    gst::Buffer::from_slice(message.data)
}

/// The message in `buffer`, without a copy.
///
/// # Errors
///
/// GStreamer's word when the buffer cannot be read.
pub fn message_of(buffer: gst::Buffer, kind: MessageKind) -> Result<Message, glib::BoolError> {
    if buffer.size() == 0 {
        return Ok(Message {
            kind,
            data: Bytes::new(),
        });
    }
    let map = buffer
        .into_mapped_buffer_readable()
        .map_err(|_| glib::bool_error!("the buffer cannot be mapped"))?;
    Ok(Message {
        kind,
        data: Bytes::from_owner(map),
    })
}

/// The caps of messages of `kind`.
pub fn caps_of(kind: MessageKind) -> gst::Caps {
    match kind {
        MessageKind::Binary => gst::Caps::new_empty_simple("application/octet-stream"),
        MessageKind::Text => gst::Caps::builder("text/x-raw")
            .field("format", "utf8")
            .build(),
    }
}

/// `channel`, which is in `phase`, as the bus message and the statistics have it.
pub fn structure_of(
    name: &str,
    (channel, phase): (&DataChannel, &Phase),
    pad: &str,
) -> gst::Structure {
    let (config, stats) = (channel.config(), channel.stats());
    let (state, reason) = match phase {
        Phase::Connecting => ("connecting", None),
        Phase::Open => ("open", None),
        Phase::Closing => ("closing", None),
        Phase::Closed { reason } => ("closed", Some(reason)),
    };
    let mut builder = gst::Structure::builder(name)
        .field("label", &config.label)
        .field("protocol", &config.protocol)
        .field("ordered", config.ordered)
        .field("state", state)
        .field("remote", channel.is_of_remote())
        .field("messages-sent", stats.messages_sent)
        .field("bytes-sent", stats.bytes_sent)
        .field("messages-received", stats.messages_received)
        .field("bytes-received", stats.bytes_received)
        .field("messages-dropped", stats.messages_dropped)
        .field("buffered-amount", stats.buffered_amount)
        .field_if_some("id", channel.id().map(i32::from))
        .field_if_some("max-retransmits", config.max_retransmits.map(i32::from))
        .field_if_some(
            "max-packet-lifetime",
            config.max_packet_lifetime.map(i32::from),
        )
        .field_if_some("reason", reason);
    if !pad.is_empty() {
        builder = builder.field("pad", pad);
    }
    builder.build()
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct DataPad {
        config: Mutex<ChannelConfig>,
    }

    impl DataPad {
        pub(super) fn config(&self) -> ChannelConfig {
            lock(&self.config).clone()
        }

        pub(super) fn set_config(&self, config: ChannelConfig) {
            *lock(&self.config) = config;
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for DataPad {
        const NAME: &'static str = "GstRsWebRtcDataPad";
        type Type = super::DataPad;
        type ParentType = gst::GhostPad;
    }

    fn optional(
        name: &'static str,
        nick: &'static str,
        blurb: &'static str,
        most: u16,
    ) -> glib::ParamSpec {
        glib::ParamSpecInt::builder(name)
            .nick(nick)
            .blurb(blurb)
            .minimum(-1)
            .maximum(most.into())
            .default_value(-1)
            .build()
    }

    impl ObjectImpl for DataPad {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
                vec![
                    glib::ParamSpecString::builder("label")
                        .nick("Label")
                        .blurb("Name of the data channel; by default that of the pad")
                        .build(),
                    glib::ParamSpecString::builder("protocol")
                        .nick("Protocol")
                        .blurb("Subprotocol of the data channel")
                        .build(),
                    glib::ParamSpecBoolean::builder("ordered")
                        .nick("Ordered")
                        .blurb("Messages arrive in the order in which they were sent")
                        .default_value(true)
                        .build(),
                    optional(
                        "max-retransmits",
                        "Most retransmissions",
                        "A message is sent again at most so often; -1: until it arrived",
                        u16::MAX,
                    ),
                    optional(
                        "max-packet-lifetime",
                        "Longest lifetime of a packet",
                        "A message that did not arrive is given up after this time, ms; -1: never",
                        u16::MAX,
                    ),
                    glib::ParamSpecBoolean::builder("negotiated")
                        .nick("Negotiated")
                        .blurb(
                            "Both sides know of the channel and its id; nothing is said to open it",
                        )
                        .build(),
                    optional(
                        "id",
                        "Id",
                        "SCTP stream of the data channel; -1: a free one",
                        MAX_ID,
                    ),
                ]
            });
            PROPERTIES.as_ref()
        }

        fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
            let text = || value.get::<Option<String>>().ok().flatten();
            let number = || value.get::<i32>().ok().and_then(|n| u16::try_from(n).ok());
            let mut config = lock(&self.config);
            match pspec.name() {
                "label" => config.label = text().unwrap_or_default(),
                "protocol" => config.protocol = text().unwrap_or_default(),
                "ordered" => config.ordered = value.get().unwrap_or(config.ordered),
                "max-retransmits" => config.max_retransmits = number(),
                "max-packet-lifetime" => config.max_packet_lifetime = number(),
                "negotiated" => config.negotiated = value.get().unwrap_or(config.negotiated),
                "id" => config.id = number(),
                _ => {}
            }
        }

        fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
            let number = |value: Option<u16>| value.map_or(-1, i32::from).to_value();
            let config = lock(&self.config);
            match pspec.name() {
                "label" => config.label.to_value(),
                "protocol" => config.protocol.to_value(),
                "ordered" => config.ordered.to_value(),
                "max-retransmits" => number(config.max_retransmits),
                "max-packet-lifetime" => number(config.max_packet_lifetime),
                "negotiated" => config.negotiated.to_value(),
                "id" => number(config.id),
                _ => pspec.default_value().clone(),
            }
        }
    }

    impl GstObjectImpl for DataPad {}
    impl PadImpl for DataPad {}
    impl ProxyPadImpl for DataPad {}
    impl GhostPadImpl for DataPad {}

    fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        // Replaced whole.
        value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
