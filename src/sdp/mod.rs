// SPDX-License-Identifier: MPL-2.0
//! Session descriptions: reading what a remote wrote.
//!
//! Invariant: pure functions over text; a hostile description gives an error, never a panic.

mod attributes;
mod codecs;
mod model;
mod read;
mod transport;

pub use model::{
    Auxiliary, Candidate, CandidateKind, Extension, Fingerprint, IceCredentials, Layer, MediaLine,
    Msid, Origin, Payload, Remote, RemoteDirection, Rid, RidDirection, Sctp, SdpError, Setup,
    Simulcast, Source, Unreadable,
};
pub use transport::{Declared, Transport};
