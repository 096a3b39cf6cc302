// SPDX-License-Identifier: MPL-2.0
//! What a sink tells of its streams and of the paths to its peers.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::events;
use crate::gst_glue::stats::{self, Playouts, Poster};

use super::call::SinkCall;
use super::imp::RsWebRtcSink;

/// Name of the structure that the property `stats` holds.
pub const PROPERTY: &str = "application/x-rswebrtc-stats";
/// A change of `stats-interval` is noticed after this time.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl RsWebRtcSink {
    /// Statistics as they are now, in a structure called `name`.
    pub(super) fn statistics(&self, name: &str) -> gst::Structure {
        let peers = self.call().map(|call| call.calls().stats());
        let sampler = self.sampler.lock();
        let sampler = sampler.unwrap_or_else(PoisonError::into_inner);
        stats::structure(name, &peers.unwrap_or_default(), &Playouts::new(), &sampler)
    }

    /// Posts statistics until `call` is over, on a thread of its own: posting calls into the
    /// application, which may take its time.
    pub(super) fn keep_statistics(&self, call: &Arc<SinkCall>) {
        let weak = self.obj().downgrade();
        let call = call.clone();
        events::spawn_watch(move || {
            let mut poster = Poster::default();
            let mut posted = Instant::now();
            loop {
                let wait = match weak.upgrade() {
                    Some(sink) if sink.imp().is_current(&call) => {
                        sink.imp().post_when_due(&call, &mut poster, &mut posted)
                    }
                    _ => return,
                };
                if call.calls().wait_done(wait) {
                    return;
                }
            }
        });
    }

    /// Tells how long nothing is due.
    fn post_when_due(
        &self,
        call: &SinkCall,
        poster: &mut Poster,
        posted: &mut Instant,
    ) -> Duration {
        let Some(interval) = self.stats_interval() else {
            return LONGEST_WAIT;
        };
        let now = Instant::now();
        let due = interval.saturating_sub(now.saturating_duration_since(*posted));
        if !due.is_zero() {
            return due.min(LONGEST_WAIT);
        }
        *posted = now;
        if call.gate.is_open() {
            let peers = call.calls().stats();
            let structure = {
                let sampler = self.sampler.lock();
                let mut sampler = sampler.unwrap_or_else(PoisonError::into_inner);
                sampler.sample(&peers, &Playouts::new(), now);
                stats::structure(stats::STATS, &peers, &Playouts::new(), &sampler)
            };
            if structure.n_fields() > 0 {
                poster.post(self.obj().upcast_ref(), structure);
            }
        }
        interval.min(LONGEST_WAIT)
    }
}
