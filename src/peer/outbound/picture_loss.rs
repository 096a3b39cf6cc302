// SPDX-License-Identifier: MPL-2.0
//! What a remote's request for a key frame makes useless: the frames that wait to leave before it.

use std::time::{Duration, Instant};

use super::{Outbound, Skip};
use crate::media::codec::MediaKind;
use crate::peer::shared::lock;

/// A request so soon after a key frame may be for that one, or an earlier one.
const ANSWERED: Duration = Duration::from_secs(1);
/// Less than this part of what may wait is not worth it.
const LITTLE: usize = 4;

impl Outbound {
    /// The remote can show nothing of stream `index` up to a key frame, which was asked for: on a
    /// path with a limit, what waits is not worth the time that it takes from that key frame. Gives
    /// the number of frames that were dropped.
    pub(in crate::peer) fn picture_lost(&self, index: usize, now: Instant) -> u64 {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let (Some(most), Some(stream)) = (state.most_waiting, state.streams.get_mut(index)) else {
            return 0;
        };
        let answered = stream
            .key_pushed
            .is_some_and(|at| now.saturating_duration_since(at) < ANSWERED);
        let much = state.video.delta_bytes > most / LITTLE;
        if stream.kind != MediaKind::Video || answered || !much {
            return 0;
        }
        // overflow: DROPS (counted): nobody could decode them.
        let dropped = state.video.remove(index, |waiting| {
            waiting.gone == 0 && !waiting.paced && !waiting.frame.key
        });
        stream.skipping.get_or_insert(Skip { asked: Some(now) });
        dropped
    }
}
