// SPDX-License-Identifier: MPL-2.0
//! The remote's transport as ours takes it: that of an offer, that of an answer to ours, and
//! candidates that come apart.

use gstwebrtcrs::peer::fuzzing::OfflineTransport;
use gstwebrtcrs::sdp::Remote;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(remote) = Remote::read(&text) else {
        return;
    };
    let transport = remote.transport(0);
    let mut peer = OfflineTransport::new().expect("a peer");
    let offered = data.len().is_multiple_of(2);
    if peer.start(&transport, offered).is_ok() {
        trickle(&mut peer, &text);
    }
}

fn trickle(peer: &mut OfflineTransport, text: &str) {
    for line in text.lines().filter(|line| line.contains("candidate")) {
        peer.add_candidate(line);
    }
}
