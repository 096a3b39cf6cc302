// SPDX-License-Identifier: MPL-2.0
//! Pairs that a controlling remote nominates later.
//!
//! libwebrtc nominates the pair that it goes over to, when a network goes away or a better way shows
//! (draft-thatcher-ice-renomination without its attribute), and RFC 5245's aggressive nomination, which
//! some still do, nominates each. rtc-ice stays with the first. Which pair is meant, tells what comes by it.

use std::time::{Duration, Instant};

use super::Route;

/// Nominated pairs that are remembered; of more, the oldest is forgotten.
const MAX: usize = 8;
/// Between two changes, at least: what was under way still comes by the former pair.
const HOLD: Duration = Duration::from_secs(1);
/// Nothing came by the pair in use for this long: a nomination alone counts.
const SILENT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Nominations {
    routes: Vec<Route>,
    changed: Option<Instant>,
    heard: Option<Instant>,
}

impl Nominations {
    /// The pair in use brought something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// The remote nominated `route`, which is not in use. `true`: it is to be used.
    pub(super) fn nominated(&mut self, route: Route, now: Instant) -> bool {
        if !self.routes.contains(&route) {
            if self.routes.len() >= MAX {
                self.routes.remove(0);
            }
            self.routes.push(route);
        }
        let past = |at: Instant| now.saturating_duration_since(at) >= SILENT;
        self.is_settled(now) && self.heard.is_none_or(past)
    }

    /// What is authentic came by `route`, which is not in use. `true`: it is to be used.
    pub(super) fn brought(&self, route: Route, now: Instant) -> bool {
        self.routes.contains(&route) && self.is_settled(now)
    }

    /// Another pair is in use from now on.
    pub(super) fn changed(&mut self, now: Instant) {
        self.changed = Some(now);
        self.heard = Some(now);
    }

    /// A restart: what was nominated is of no more use.
    pub(super) fn forget(&mut self) {
        self.routes.clear();
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.changed
            .is_none_or(|at| now.saturating_duration_since(at) >= HOLD)
    }
}
