// SPDX-License-Identifier: MPL-2.0
//! Counters and transport facts, from our own books and from webrtc's.

use std::sync::Arc;
use std::time::Instant;

use rtc::peer_connection::transport::RTCIceCandidate;
use webrtc::peer_connection::transport::DtlsTransport;
use webrtc::peer_connection::{PeerConnection, StatsSelector};

use super::shared::{Shared, lock};
use super::{StreamStats, TransportInfo};

/// Counters of stream `index`.
pub(super) fn stream(shared: &Shared, index: usize) -> StreamStats {
    let lines = shared.lines();
    let Some(line) = lines.get(index) else {
        return StreamStats::default();
    };
    let mut stats = lock(&line.stats).clone();
    stats.packets_discarded = line.inbound.dropped();
    if shared.sends(index) && stats.ssrc == 0 {
        stats.ssrc = shared.outbound.ssrcs(index).0;
    }
    stats
}

/// Asks ICE for the round trip of the pair in use.
pub(super) async fn round_trip(connection: &dyn PeerConnection, shared: &Shared) {
    let report = connection
        .get_stats(Instant::now(), StatsSelector::None)
        .await;
    let pairs = report.candidate_pairs().filter(|pair| pair.nominated);
    let times = pairs.map(|pair| pair.current_round_trip_time);
    if let Some(time) = times.filter(|time| *time > 0.0).reduce(f64::min)
        && let Ok(time) = std::time::Duration::try_from_secs_f64(time)
    {
        shared.set_path_round_trip(time);
    }
}

/// What the transport came to.
pub(super) async fn transport(
    connection: &dyn PeerConnection,
    dtls: Option<Arc<dyn DtlsTransport>>,
) -> TransportInfo {
    let report = connection
        .get_stats(Instant::now(), StatsSelector::None)
        .await;
    let mut info = TransportInfo::default();
    // webrtc fills this in when the handshake completes.
    let Some(transport) = report.transport().filter(|t| !t.tls_version.is_empty()) else {
        return info;
    };
    info.dtls_role = transport.dtls_role.to_string();
    info.dtls_cipher = transport.dtls_cipher.clone();
    info.dtls_version = transport.tls_version.clone();
    info.srtp_profile = transport.srtp_cipher.clone();
    let Some(ice) = dtls.map(|dtls| dtls.ice_transport()) else {
        return info;
    };
    if let Ok(Some(pair)) = ice.get_selected_candidate_pair().await {
        info.local_candidate = candidate(pair.local());
        info.remote_candidate = candidate(pair.remote());
    }
    info
}

fn candidate(candidate: &RTCIceCandidate) -> String {
    let (address, port, kind) = (&candidate.address, candidate.port, candidate.typ);
    if address.contains(':') {
        format!("[{address}]:{port} {kind}")
    } else {
        format!("{address}:{port} {kind}")
    }
}
