// SPDX-License-Identifier: MPL-2.0
//! What people are told of a description, and what scripts are.

use std::fmt::Display;

use gstwebrtcrs::sdp::explain::explain;
use gstwebrtcrs::sdp::{Kind, Remote};
use serde::Serialize;

use super::message::passwords;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(remote) = Remote::parse(&text) else {
        return;
    };
    for kind in [None, Some(Kind::Offer), Some(Kind::Answer)] {
        told(&explain(&remote, kind), &text);
    }
}

/// It can be printed either way, moves no cursor, and keeps passwords to itself.
pub fn told(result: &(impl Display + Serialize), of: &str) {
    let text = result.to_string();
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(control), "{text:?}");
    let json = serde_json::to_string(result).expect("JSON");
    for password in passwords(of) {
        assert!(
            !text.contains(&password) && !json.contains(&password),
            "{text}"
        );
    }
}
