// SPDX-License-Identifier: MPL-2.0
//! A remote description: read, answered, and taken as the answer to our own offer.

use gstwebrtcrs::peer::Direction;
use gstwebrtcrs::sdp::Remote;
use gstwebrtcrs::session::negotiation::{self, Agreement, Wish};

use super::{rules, wishes};

pub fn run(data: &[u8]) {
    text(&String::from_utf8_lossy(data));
}

/// Whether `text` could be read.
pub fn text(text: &str) -> bool {
    // Whatever can be used can be looked at.
    if let Ok(remote) = Remote::parse(text) {
        questions(&remote);
    } else {
        assert!(Remote::read(text).is_err());
    }
    let Ok(remote) = Remote::read(text) else {
        return false;
    };
    let nothing = Agreement::default();
    for wish in wishes::all() {
        if let Ok(plan) = negotiation::answer(&wish, &remote, &nothing) {
            // What is kept for a stream whose codec is not known yet flows later.
            let mut streams = plan.streams.iter();
            let flows = streams.any(|stream| stream.direction != Direction::Inactive);
            assert!(flows, "nothing flows");
            rules::answered(&wish, &remote, &plan);
            let again = negotiation::answer(&wish, &remote, &plan).expect("the same offer again");
            assert_eq!(plan.agreed, again.agreed, "the same answer again");
        }
        let offered = negotiation::offer(&wish, &nothing);
        if let Ok(result) = negotiation::read_answer(&wish, &offered, &remote) {
            rules::taken(&wish, &offered, &remote, &result);
            // An offer of what holds is what holds; one of both directions asks again for what
            // the remote did not take.
            let next = negotiation::offer(&wish, &result);
            if !matches!(wish, Wish::Both(_)) {
                assert_eq!(next.streams[..result.streams.len()], result.streams);
            }
        }
    }
    true
}

/// All that can be asked of a description, for m-lines that are there and for one that is not.
fn questions(remote: &Remote) {
    for index in 0..=remote.media.len() {
        let transport = remote.transport(index);
        assert!(index >= remote.media.len() || !transport.ufrag.contains(['\r', '\n']));
        remote.declared(index);
        remote.msid(index);
        remote.first_line(index);
        remote.bundles(index);
        assert!(remote.bundled(index, index));
        assert_eq!(remote.bundled(0, index), remote.bundled(index, 0));
        remote.header_extensions(index);
    }
}
