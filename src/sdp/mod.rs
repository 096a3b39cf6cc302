// SPDX-License-Identifier: MPL-2.0
//! Session descriptions: reading what a remote wrote, explaining one to people, and comparing an
//! offer with its answer.
//!
//! Invariant: pure functions over text; a hostile description gives an error, never a panic.

mod attributes;
pub mod check;
mod codecs;
pub mod explain;
pub mod extensions;
mod findings;
mod inspect;
mod model;
pub mod profiles;
mod read;
mod table;
mod transport;

pub use findings::{Finding, Severity};
pub use inspect::{Kind, inspect};
pub use model::{
    Auxiliary, Candidate, CandidateKind, Extension, Fingerprint, IceCredentials, Layer, MediaLine,
    Msid, Origin, Payload, Remote, RemoteDirection, Rid, RidDirection, Sctp, SdpError, Setup,
    Simulcast, Source, Unreadable,
};
pub use transport::{Declared, Transport};
