// SPDX-License-Identifier: MPL-2.0
//! webrtc's callbacks. They run on the driver task: each notes what happened and returns.

use tokio::sync::watch;
use webrtc::peer_connection::{
    PeerConnectionEventHandler, RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionState,
};

/// The states of a connection, as they change.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct States {
    /// All candidates are known.
    pub(super) gathered: bool,
    /// ICE.
    pub(super) ice: RTCIceConnectionState,
    /// ICE and DTLS.
    pub(super) connection: RTCPeerConnectionState,
}

/// See the module.
pub(super) struct Handler {
    states: watch::Sender<States>,
}

impl Handler {
    pub(super) fn new() -> (Self, watch::Receiver<States>) {
        let (states, receiver) = watch::channel(States::default());
        (Self { states }, receiver)
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.states.send_modify(|states| states.gathered = true);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        self.states.send_modify(|states| states.ice = state);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.states.send_modify(|states| states.connection = state);
    }
}
