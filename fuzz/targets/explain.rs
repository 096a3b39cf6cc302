// SPDX-License-Identifier: MPL-2.0
//! What people are told of a description, and what scripts are.

use std::fmt::Display;

use gstwebrtcrs::sdp::explain::explain;
use gstwebrtcrs::sdp::{Kind, Remote};
use serde::Serialize;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(remote) = Remote::parse(&text) else {
        return;
    };
    for kind in [None, Some(Kind::Offer), Some(Kind::Answer)] {
        told(&explain(&remote, kind), &text);
    }
}

/// Values of `a=ice-pwd` lines that stand nowhere else, where they look like any other word.
fn passwords(text: &str) -> Vec<&str> {
    text.split(['\r', '\n'])
        .filter_map(|line| line.strip_prefix("a=ice-pwd:"))
        .map(str::trim)
        .filter(|password| password.len() >= 22 && text.matches(password).count() == 1)
        .collect()
}

/// It can be printed either way, moves no cursor, and keeps passwords to itself.
pub fn told(result: &(impl Display + Serialize), of: &str) {
    let text = result.to_string();
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(control), "{text:?}");
    let json = serde_json::to_string(result).expect("JSON");
    for password in passwords(of) {
        assert!(
            !text.contains(password) && !json.contains(password),
            "{text}"
        );
    }
}
