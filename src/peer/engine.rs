// SPDX-License-Identifier: MPL-2.0
//! What webrtc is told before its first description: codecs, header extensions, timers.

use std::sync::Arc;
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use webrtc::peer_connection::{
    MediaEngine, RTCConfiguration, RTCConfigurationBuilder, RTCIceServer, Registry, SettingEngine,
    SettingEngineBuilder, Slot,
};

use super::interceptors::MediaPath;
use super::shared::Shared;
use super::{IceServer, PeerError};

/// Time between two rounds of connectivity checks; the default of 200 ms is what a call would
/// wait for. [`super::runtime::Nudge`] stretches it when nobody answers.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// The remote sent nothing for this long: `Disconnected`.
pub(super) const DISCONNECTED_AFTER: Duration = Duration::from_secs(2);
/// Consent checks (RFC 7675).
const KEEPALIVE: Duration = Duration::from_millis(500);
/// Packets that may arrive late (a retransmission after a big key frame) and still be decrypted.
const REPLAY_WINDOW: usize = 8192;

/// `ccm fir` as type and parameter.
pub(super) fn feedback(text: &str) -> (String, String) {
    let (kind, parameter) = text.split_once(' ').unwrap_or((text, ""));
    (kind.to_owned(), parameter.to_owned())
}

/// The one codec of the one m-line that webrtc sees, see [`super::description`].
pub(super) fn media_engine() -> Result<MediaEngine, PeerError> {
    let mut engine = MediaEngine::default();
    let codec = RTCRtpCodecParameters {
        rtp_codec: codec(),
        payload_type: 96,
    };
    engine
        .register_codec(codec, RtpCodecKind::Video)
        .map_err(|error| PeerError::Description(error.to_string()))?;
    Ok(engine)
}

fn codec() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "video/VP8".to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![],
    }
}

/// What webrtc believes we send.
pub(super) fn encoding(ssrc: u32) -> RTCRtpEncodingParameters {
    RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            ..Default::default()
        },
        codec: codec(),
        ..Default::default()
    }
}

/// Timers, and the DTLS role to take when the remote leaves it to us.
pub(super) fn settings(role: RTCDtlsRole) -> SettingEngine {
    SettingEngineBuilder::new()
        // ICE itself never gives up (zero): whether it is time to depends on people pasting
        // descriptions, see `watch`.
        .with_ice_timeouts(
            Some(DISCONNECTED_AFTER),
            Some(Duration::ZERO),
            Some(KEEPALIVE),
        )
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(u16::MAX))
        .with_answering_dtls_role(role)
        .with_srtp_replay_protection_window(REPLAY_WINDOW)
        .with_srtcp_replay_protection_window(REPLAY_WINDOW)
        // A socket on port 5353 per call, for names that only the same network resolves; the
        // remote's own checks reach us without.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .build()
}

/// The servers the user named, and no others.
pub(super) fn configuration(servers: &[IceServer]) -> RTCConfiguration {
    let servers = servers.iter().map(|server| RTCIceServer {
        urls: vec![server.url.clone()],
        username: server.username.clone(),
        credential: server.credential.clone(),
    });
    RTCConfigurationBuilder::default()
        .with_ice_servers(servers.collect())
        .build()
}

/// The whole chain is one interceptor of ours, which runs webrtc's inside.
pub(super) fn interceptors(shared: Arc<Shared>) -> Registry {
    Registry::new().with(Slot::from(1), MediaPath::new(shared))
}
