// SPDX-License-Identifier: MPL-2.0
//! What a source tells of its streams, and how it adapts their latency to what it knows of them.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::events;
use crate::gst_glue::stats::{self, Playouts, Poster};
use crate::media::codec::MediaKind;
use crate::session::calls::PeerStats;

use super::call::SrcCall;
use super::imp::RsWebRtcSrc;
use super::playout::{LatencyMode, Playout, Wanted};

/// Name of the structure that the property `stats` holds.
pub const PROPERTY: &str = "application/x-rswebrtc-stats";
/// With `latency-mode=auto` it is seen to so often: what comes late is lost until then.
const ADAPTED_EACH: Duration = Duration::from_millis(100);
/// A change of `stats-interval` or `latency-mode` is noticed after this time, ...
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// ... and the first stream after that.
const IDLE_WAIT: Duration = Duration::from_millis(500);

/// A stream's peer and index, and what plays it.
type Playing = ((Arc<str>, usize), Arc<Playout>);

impl RsWebRtcSrc {
    /// How streams of `kind` are played out, as the user wishes now.
    pub(super) fn wanted(&self, kind: MediaKind) -> Wanted {
        self.settings().wanted(kind)
    }

    /// A setting of how streams are played out has changed.
    pub(super) fn play_out_as_set(&self) {
        let settings = self.settings();
        // Not under the lock: setting a property is a call into GStreamer.
        for (kind, playout) in self.playing(|stream| (stream.kind, stream.playout.clone())) {
            playout.set(&settings.wanted(kind));
        }
        let _ = self.post_message(gst::message::Latency::builder().src(&*self.obj()).build());
    }

    /// Statistics as they are now, in a structure called `name`.
    pub(super) fn statistics(&self, name: &str) -> gst::Structure {
        let peers = self.peer_stats();
        let playouts = figures(&self.playouts());
        let sampler = self.sampler.lock();
        let sampler = sampler.unwrap_or_else(PoisonError::into_inner);
        stats::structure(name, &peers, &playouts, &sampler)
    }

    /// Posts statistics and adapts latencies until `call` is over, on a thread of its own: both
    /// call into the application or the pipeline, which may take its time.
    pub(super) fn keep_statistics(&self, call: &Arc<SrcCall>) {
        let weak = self.obj().downgrade();
        let call = call.clone();
        events::spawn_watch(move || {
            let mut poster = Poster::default();
            let mut posted = Instant::now();
            loop {
                let wait = match weak.upgrade() {
                    Some(src) if src.imp().is_current(&call) => {
                        src.imp().tend(&call, &mut poster, &mut posted)
                    }
                    _ => return,
                };
                if call.calls.wait_done(wait) {
                    return;
                }
            }
        });
    }

    /// Does what is due; tells how long nothing will be.
    fn tend(&self, call: &SrcCall, poster: &mut Poster, posted: &mut Instant) -> Duration {
        let settings = self.settings();
        let now = Instant::now();
        let auto = settings.latency_mode == LatencyMode::Auto;
        let playouts = self.playouts();
        let due = settings
            .stats_interval()
            .map(|interval| interval.saturating_sub(now.saturating_duration_since(*posted)));
        let is_due = due.is_some_and(|due| due.is_zero());
        let idle = playouts.is_empty() && !self.has_channels();
        if idle || !(auto || is_due) {
            let longest = if idle { IDLE_WAIT } else { LONGEST_WAIT };
            return due
                .filter(|due| !due.is_zero())
                .unwrap_or(longest)
                .min(longest);
        }
        let peers = call.calls.stats();
        if auto {
            for ((peer, _), playout) in &playouts {
                playout.adapt(round_trip(&peers, peer), now);
            }
        }
        if is_due {
            *posted = now;
            let figures = figures(&playouts);
            let structure = {
                let sampler = self.sampler.lock();
                let mut sampler = sampler.unwrap_or_else(PoisonError::into_inner);
                sampler.sample(&peers, &figures, now);
                stats::structure(stats::STATS, &peers, &figures, &sampler)
            };
            if structure.n_fields() > 0 {
                poster.post(self.obj().upcast_ref(), structure);
            }
        }
        let next = settings.stats_interval().unwrap_or(LONGEST_WAIT);
        next.min(if auto { ADAPTED_EACH } else { LONGEST_WAIT })
    }

    fn peer_stats(&self) -> Vec<PeerStats> {
        let call = self.call();
        call.map(|call| call.calls.stats()).unwrap_or_default()
    }

    fn playouts(&self) -> Vec<Playing> {
        self.playing(|stream| ((stream.peer.clone(), stream.index), stream.playout.clone()))
    }

    fn playing<T>(&self, what: impl Fn(&super::pad::Stream) -> T) -> Vec<T> {
        let streams = self.streams();
        streams.iter().filter(|s| !s.ended()).map(what).collect()
    }
}

fn figures(playouts: &[Playing]) -> Playouts {
    let all = playouts.iter();
    all.map(|(key, playout)| (key.clone(), playout.figures()))
        .collect()
}

/// The last that is known of the way to `id` and back.
fn round_trip(peers: &[PeerStats], id: &str) -> Option<Duration> {
    let peer = peers.iter().find(|peer| *peer.id == *id)?;
    peer.path.round_trip.or_else(|| {
        let mut of_streams = peer.streams.iter().filter_map(|(_, s)| s.round_trip_time);
        of_streams
            .next()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    })
}
