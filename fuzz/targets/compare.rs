// SPDX-License-Identifier: MPL-2.0
//! What two descriptions agree on: any two, and one with itself.

use gstwebrtcrs::sdp::Remote;
use gstwebrtcrs::sdp::check::compare;

use super::explain;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // The second one begins where another version line does.
    let second = text
        .match_indices("v=0")
        .map(|(at, _)| at)
        .find(|at| *at > 0);
    let (first, second) = text.split_at(second.unwrap_or(0));
    let first = if first.is_empty() { second } else { first };
    if let (Ok(one), Ok(other)) = (Remote::parse(first), Remote::parse(second)) {
        explain::told(&compare(&one, &other), &text);
        explain::told(&compare(&other, &one), &text);
        explain::told(&compare(&one, &one), &text);
    }
}
