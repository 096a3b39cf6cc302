// SPDX-License-Identifier: MPL-2.0
//! What the fuzz targets do with an input, shared with `tests/corpus.rs` and `tests/generated.rs`:
//! each `run` panics when a rule is broken.

pub mod compare;
pub mod explain;
pub mod fec;
pub mod message;
pub mod peer_description;
pub mod rules;
pub mod sctp;
pub mod sdp_read;
pub mod watch;
pub mod webrtc_transport;
pub mod wishes;

/// What a target does with an input.
pub type Run = fn(&[u8]);

/// All targets by name.
pub const ALL: &[(&str, Run)] = &[
    ("sdp_read", sdp_read::run),
    ("message", message::run),
    ("peer_description", peer_description::run),
    ("webrtc_transport", webrtc_transport::run),
    ("explain", explain::run),
    ("fec", fec::run),
    ("compare", compare::run),
    ("sctp", sctp::run),
];
