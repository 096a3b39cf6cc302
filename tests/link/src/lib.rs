// SPDX-License-Identifier: MPL-2.0
//! A network link that loses, delays, reorders and doubles packets, and has less room than is sent.
//!
//! The model does no input and output and reads no clock: it is told when a packet of which size is
//! sent, and tells when it arrives. The same seed and the same packets give the same result. So a
//! test of minutes takes milliseconds, and the relay program of this package is a thin loop around
//! the model that measurements use.
//!
//! ```
//! use std::time::Duration;
//! use impaired_link::{Config, Link};
//!
//! let config: Config = "rate=2M queue=200ms delay=25ms loss=10%; 20s: rate=700k".parse()?;
//! let mut link = Link::new(config, 1);
//! for arrival in link.send(Duration::ZERO, 1200).arrivals() {
//!     assert!(arrival >= Duration::from_millis(25));
//! }
//! # Ok::<(), impaired_link::ConfigError>(())
//! ```

mod config;
mod link;
mod random;

pub use config::{Bottleneck, Conditions, Config, ConfigError, Gilbert, Outage, Queue, Reorder};
pub use link::{Fate, Link, Passage};
pub use random::Random;
