// SPDX-License-Identifier: MPL-2.0
//! Session descriptions: reading what a remote wrote, and narrowing it to what both can do.
//!
//! Invariant: pure functions over text; a hostile description gives an error, never a panic.

mod read;
mod restrict;
mod transport;

pub use read::{MediaLine, Remote, SdpError};
pub use restrict::restrict;
pub use transport::{Declared, Transport};
