// SPDX-License-Identifier: MPL-2.0
//! What tests outside of this crate need of this layer's inside; no part of the interface.
//!
//! A peer without sockets: descriptions take the same way through `description` and through webrtc
//! as in `connection`, and nothing else happens.

use std::time::Instant;

use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use webrtc::peer_connection::RTCSessionDescription;

use super::description::{self, Own, OwnLine, Setup};
use super::{PeerError, StreamConfig, engine};
use crate::sdp::{Remote, Transport};

/// Our offer of `streams`, which goes out if webrtc has the transport `own`.
pub fn offer(streams: &[StreamConfig], own: &Transport) -> String {
    let lines: Vec<OwnLine> = (0..streams.len())
        .map(|index| OwnLine::Stream {
            index,
            protocol: description::PROTOCOL.to_owned(),
        })
        .collect();
    write(&lines, streams, own, "actpass", true)
}

/// Our answer to `offer`, if webrtc has the transport `own`.
pub fn answer(offer: &Remote, streams: &[StreamConfig], own: &Transport) -> String {
    let lines = description::answer_lines(offer, streams);
    let first = lines
        .iter()
        .position(|line| matches!(line, OwnLine::Stream { .. }))
        .unwrap_or_default();
    let setup = match description::setup(&offer.transport(first)) {
        Setup::Active => "passive",
        Setup::Passive | Setup::Either => "active",
    };
    write(&lines, streams, own, setup, offer.bundles(first))
}

fn write(
    lines: &[OwnLine],
    streams: &[StreamConfig],
    transport: &Transport,
    setup: &str,
    bundle: bool,
) -> String {
    let ssrc = |index: usize| 1000 + 2 * u32::try_from(index).unwrap_or(u32::MAX / 4);
    description::write(&Own {
        lines,
        streams,
        ssrcs: (0..streams.len()).map(|i| (ssrc(i), ssrc(i) + 1)).collect(),
        fec_ssrcs: (0..streams.len()).map(|i| 500_000 + ssrc(i)).collect(),
        cname: "0123456789abcdef",
        transport,
        setup,
        session_id: 1,
        version: 1,
        bundle,
    })
}

/// webrtc's part of a negotiation: one transport.
pub struct OfflineTransport(RTCPeerConnection);

fn refused(error: webrtc::error::Error) -> PeerError {
    PeerError::Description(error.to_string())
}

impl OfflineTransport {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when webrtc cannot be set up.
    pub fn new() -> Result<Self, PeerError> {
        let mut core = RTCPeerConnectionBuilder::new()
            .with_configuration(engine::configuration(&[]))
            .with_media_engine(engine::media_engine()?)
            .with_setting_engine(engine::settings(RTCDtlsRole::Auto))
            .build(Instant::now())
            .map_err(refused)?;
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendrecv,
            streams: vec![],
            send_encodings: vec![engine::encoding(1)],
        };
        core.add_transceiver_from_kind(RtpCodecKind::Video, Some(init))
            .map_err(refused)?;
        Ok(Self(core))
    }

    /// Our transport as offerer.
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when webrtc fails.
    pub fn offer(&mut self) -> Result<Transport, PeerError> {
        let offer = self.0.create_offer(None).map_err(refused)?;
        self.local(offer)
    }

    /// Our transport as answerer to a `remote` one.
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when webrtc refuses it.
    pub fn answer(&mut self, remote: &Transport) -> Result<Transport, PeerError> {
        let remote =
            RTCSessionDescription::offer(description::canonical(remote)).map_err(refused)?;
        self.0
            .set_remote_description(Instant::now(), remote)
            .map_err(refused)?;
        let answer = self.0.create_answer(None).map_err(refused)?;
        self.local(answer)
    }

    /// Takes the transport of an answer.
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when webrtc refuses it.
    pub fn set_answer(&mut self, remote: &Transport) -> Result<(), PeerError> {
        let remote =
            RTCSessionDescription::answer(description::canonical(remote)).map_err(refused)?;
        self.0
            .set_remote_description(Instant::now(), remote)
            .map_err(refused)
    }

    /// Takes a candidate that came apart.
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when webrtc refuses it.
    pub fn add_candidate(&mut self, candidate: &str) -> Result<(), PeerError> {
        let candidate = RTCIceCandidateInit {
            candidate: candidate.to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_mline_index: Some(0),
            ..Default::default()
        };
        self.0.add_remote_candidate(candidate).map_err(refused)
    }

    fn local(&mut self, text: RTCSessionDescription) -> Result<Transport, PeerError> {
        self.0
            .set_local_description(Instant::now(), text)
            .map_err(refused)?;
        for candidate in ["1 1 udp 2130706431 127.0.0.1 4000 typ host", ""] {
            let candidate = RTCIceCandidateInit {
                candidate: candidate.to_owned(),
                ..Default::default()
            };
            self.0.add_local_candidate(candidate).map_err(refused)?;
        }
        let text = self.0.local_description().ok_or(PeerError::Closed)?;
        Remote::read(&text.sdp)
            .map(|local| local.transport(0))
            .map_err(|error| PeerError::Description(error.to_string()))
    }
}
