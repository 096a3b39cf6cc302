// SPDX-License-Identifier: MPL-2.0
//! A connection of webrtc's, with what belongs to it: states, watcher, candidates that came early.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rtc::peer_connection::transport::{RTCDtlsTransportState, RTCIceCandidateInit};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webrtc::peer_connection::PeerConnection;
use webrtc::peer_connection::transport::DtlsTransport;

use super::PeerError;
use super::handler::States;
use super::shared::{Shared, lock};
use crate::sdp::{Remote, Transport};

/// For webrtc to close.
const CLOSING: Duration = Duration::from_millis(300);
/// For the BYE to leave.
const GOODBYE: Duration = Duration::from_millis(100);
/// Host candidates are there at once; a STUN server may not answer.
const GATHERING: Duration = Duration::from_secs(2);
/// Between two looks for candidates after a restart.
const GATHERING_TICK: Duration = Duration::from_millis(5);
/// A connection with its watcher.
pub(super) struct Link {
    pub(super) connection: Box<dyn PeerConnection>,
    pub(super) states: watch::Receiver<States>,
    pub(super) watcher: Mutex<Option<JoinHandle<()>>>,
    /// `Some` until the remote description is applied.
    pub(super) early: Mutex<Option<Vec<RTCIceCandidateInit>>>,
}

impl Link {
    /// `None` before the descriptions are there.
    pub(super) async fn dtls_state(&self) -> Option<RTCDtlsTransportState> {
        self.transport().await?.state().await.ok()
    }

    pub(super) async fn transport(&self) -> Option<Arc<dyn DtlsTransport>> {
        for sender in self.connection.get_senders().await {
            if let Ok(Some(transport)) = sender.transport().await {
                return Some(transport);
            }
        }
        None
    }

    /// Our transport with all candidates.
    pub(super) async fn gathered(&self) -> Result<Transport, PeerError> {
        let mut states = self.states.clone();
        let complete = states.wait_for(|states| states.gathered);
        if tokio::time::timeout(GATHERING, complete).await.is_err() {
            log::warn!(
                target: "rswebrtc::peer",
                "a STUN or TURN server does not answer: going on without it"
            );
        }
        let description = self.connection.local_description().await;
        let description = description.ok_or(PeerError::Closed)?;
        let description = Remote::read(&description.sdp)
            .map_err(|error| PeerError::Description(error.to_string()))?;
        Ok(description.transport(0))
    }

    /// The same after a restart, which webrtc does not tell the end of.
    pub(super) async fn gathered_anew(&self) -> Result<Transport, PeerError> {
        let until = tokio::time::Instant::now() + GATHERING;
        loop {
            let local = self.gathered().await?;
            if !local.candidates.is_empty() || tokio::time::Instant::now() >= until {
                return Ok(local);
            }
            tokio::time::sleep(GATHERING_TICK).await;
        }
    }

    pub(super) async fn apply_early_candidates(&self) {
        let early = lock(&self.early).take().unwrap_or_default();
        for candidate in early {
            if let Err(error) = self.connection.add_ice_candidate(candidate).await {
                log::debug!(target: "rswebrtc::peer", "candidate not used: {error}");
            }
        }
    }

    pub(super) async fn close(&self, shared: &Shared) {
        if let Some(watcher) = lock(&self.watcher).take() {
            watcher.abort();
        }
        if self.states.borrow().connection
            == webrtc::peer_connection::RTCPeerConnectionState::Connected
        {
            lock(&shared.control).bye = true;
            shared.nudge.wake();
            let _ = tokio::time::timeout(GOODBYE, shared.bye_sent.notified()).await;
        }
        shared.nudge.calm();
        match tokio::time::timeout(CLOSING, self.connection.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!(target: "rswebrtc::peer", "while closing: {error}"),
            Err(_) => log::debug!(target: "rswebrtc::peer", "closing takes too long"),
        }
    }
}

/// webrtc quotes what it cannot read; a password is not to end up in a message.
pub(super) fn refused(error: webrtc::error::Error) -> PeerError {
    let text = error.to_string();
    if ["ice-pwd", "ice-ufrag"]
        .iter()
        .any(|secret| text.contains(secret))
    {
        return PeerError::Description("its ICE credentials cannot be read".to_owned());
    }
    PeerError::Description(text.chars().take(200).collect())
}
