// SPDX-License-Identifier: MPL-2.0
//! The values of `signaller`, of either element.

use gst::glib;

/// How descriptions travel to those who receive.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcSinkSignaller")]
pub enum SinkSignaller {
    /// Copy and paste.
    #[default]
    #[enum_value(
        name = "Copy and paste: one JSON object a line on stdin and stdout",
        nick = "stdio"
    )]
    Stdio,
    /// Files.
    #[enum_value(
        name = "Files: offer.json, answer.json and bye.json in the directory 'location'",
        nick = "file"
    )]
    File,
    /// Publishes.
    #[enum_value(
        name = "WHIP client: publishes to the server at 'location'",
        nick = "whip-client"
    )]
    WhipClient,
    /// Serves viewers.
    #[enum_value(
        name = "WHEP server: any number of viewers come to 'location', with a browser too",
        nick = "whep-server"
    )]
    WhepServer,
    /// By the application.
    #[enum_value(
        name = "By the application: the signals on-signalling-message and handle-signalling-message",
        nick = "application"
    )]
    Application,
}

/// How descriptions travel to whoever sends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcSrcSignaller")]
pub enum SrcSignaller {
    /// Copy and paste.
    #[default]
    #[enum_value(
        name = "Copy and paste: one JSON object a line on stdin and stdout",
        nick = "stdio"
    )]
    Stdio,
    /// Files.
    #[enum_value(
        name = "Files: offer.json, answer.json and bye.json in the directory 'location'",
        nick = "file"
    )]
    File,
    /// Views.
    #[enum_value(
        name = "WHEP client: takes the stream of the server at 'location'",
        nick = "whep-client"
    )]
    WhepClient,
    /// Takes what is published.
    #[enum_value(
        name = "WHIP server: a publisher comes to 'location', with a browser too",
        nick = "whip-server"
    )]
    WhipServer,
    /// By the application.
    #[enum_value(
        name = "By the application: the signals on-signalling-message and handle-signalling-message",
        nick = "application"
    )]
    Application,
}
