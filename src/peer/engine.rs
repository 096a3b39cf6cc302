// SPDX-License-Identifier: MPL-2.0
//! What webrtc is told before its first description: codecs, header extensions, timers.

use std::sync::Arc;
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::sdp::extmap::{SDES_MID_URI, TRANSPORT_CC_URI};
use webrtc::peer_connection::{
    MediaEngine, RTCConfiguration, RTCConfigurationBuilder, RTCIceServer, Registry, SettingEngine,
    SettingEngineBuilder, Slot,
};

use super::interceptors::MediaPath;
use super::shared::Shared;
use super::{IceServer, PeerError, StreamConfig};
use crate::media::codec::{Codec, MediaKind};

/// Time between two rounds of connectivity checks; the default of 200 ms is what a call would
/// wait for. [`super::runtime::Nudge`] stretches it when nobody answers.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// The remote sent nothing for this long: `Disconnected`.
pub(super) const DISCONNECTED_AFTER: Duration = Duration::from_secs(2);
/// Consent checks (RFC 7675).
const KEEPALIVE: Duration = Duration::from_millis(500);
/// Packets that may arrive late (a retransmission after a big key frame) and still be decrypted.
const REPLAY_WINDOW: usize = 8192;

pub(super) fn kind_of(kind: MediaKind) -> RtpCodecKind {
    match kind {
        MediaKind::Audio => RtpCodecKind::Audio,
        MediaKind::Video => RtpCodecKind::Video,
    }
}

/// `ccm fir` as type and parameter.
pub(super) fn feedback(text: &str) -> (String, String) {
    let (kind, parameter) = text.split_once(' ').unwrap_or((text, ""));
    (kind.to_owned(), parameter.to_owned())
}

/// The codecs and header extensions of `streams`.
pub(super) fn media_engine(streams: &[StreamConfig]) -> Result<MediaEngine, PeerError> {
    let mut engine = MediaEngine::default();
    let refused = |error: webrtc::error::Error| PeerError::Description(error.to_string());
    for codec in streams.iter().flat_map(|stream| &stream.codecs) {
        let kind = kind_of(codec.kind);
        engine
            .register_codec(parameters(codec), kind)
            .map_err(refused)?;
        if let Some(payload_type) = codec.rtx_payload_type {
            let rtx = RTCRtpCodec {
                mime_type: format!("{}/rtx", codec.kind.as_str()),
                clock_rate: codec.clock_rate,
                channels: 0,
                sdp_fmtp_line: format!("apt={}", codec.payload_type),
                rtcp_feedback: vec![],
            };
            let rtx = RTCRtpCodecParameters {
                rtp_codec: rtx,
                payload_type,
            };
            engine.register_codec(rtx, kind).map_err(refused)?;
        }
    }
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        for uri in [SDES_MID_URI, TRANSPORT_CC_URI] {
            let extension = RTCRtpHeaderExtensionCapability {
                uri: uri.to_owned(),
            };
            engine
                .register_header_extension(extension, kind, None)
                .map_err(refused)?;
        }
    }
    Ok(engine)
}

fn parameters(codec: &Codec) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: format!("{}/{}", codec.kind.as_str(), codec.name),
            clock_rate: codec.clock_rate,
            channels: codec.channels.unwrap_or_default(),
            sdp_fmtp_line: codec.fmtp.clone(),
            rtcp_feedback: codec
                .feedback
                .iter()
                .map(|text| {
                    let (typ, parameter) = feedback(text);
                    RTCPFeedback { typ, parameter }
                })
                .collect(),
        },
        payload_type: codec.payload_type,
    }
}

/// What webrtc believes we send.
pub(super) fn encoding(codec: &Codec, ssrc: u32) -> RTCRtpEncodingParameters {
    RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            ..Default::default()
        },
        codec: parameters(codec).rtp_codec,
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
