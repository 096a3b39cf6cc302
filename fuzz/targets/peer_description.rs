// SPDX-License-Identifier: MPL-2.0
//! What our own descriptions say, which repeat words of the remote's.

use gstwebrtcrs::peer::fuzzing;
use gstwebrtcrs::sdp::{Remote, Transport};
use gstwebrtcrs::session::negotiation::{self, Agreement, Wish};

use super::{rules, wishes};

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(remote) = Remote::read(&text) else {
        return;
    };
    let own = transport();
    for wish in wishes::all() {
        answer(&wish, &remote, &own);
        // Streams that are not those of the description: nonsense, no harm.
        let offered = negotiation::offer(&wish, &Agreement::default());
        let text = fuzzing::answer(&remote, &offered.streams, &remote.transport(0));
        let lines = text.lines().filter(|line| line.starts_with("m=")).count();
        assert_eq!(lines, remote.media.len(), "{text}");
    }
}

/// Our answer to `remote`, if there is one, with our transport.
pub fn answer(wish: &Wish, remote: &Remote, own: &Transport) -> Option<String> {
    let plan = negotiation::answer(wish, remote, &Agreement::default()).ok()?;
    let answer = fuzzing::answer(remote, &plan.streams, own);
    rules::written(remote, &plan, &answer).unwrap_or_else(|wrong| panic!("{wrong}"));
    Some(answer)
}

/// One of ours.
pub fn transport() -> Transport {
    Transport {
        ufrag: "abcd".to_owned(),
        pwd: "abcdefghijklmnopqrstuv".to_owned(),
        fingerprints: vec!["sha-256 00:11".to_owned()],
        setup: "actpass".to_owned(),
        candidates: vec!["1 1 udp 2130706431 127.0.0.1 4000 typ host".to_owned()],
        end_of_candidates: true,
        ..Transport::default()
    }
}
