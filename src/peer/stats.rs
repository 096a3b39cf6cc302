// SPDX-License-Identifier: MPL-2.0
//! Counters, from our books.

use super::StreamStats;
use super::shared::{Shared, lock};

/// Counters of stream `index`: of what comes, or of what goes if nothing comes.
pub(super) fn stream(shared: &Shared, index: usize) -> StreamStats {
    let lines = shared.lines();
    let Some(line) = lines.get(index) else {
        return StreamStats::default();
    };
    if line.config.direction.sends() && !line.config.direction.receives() {
        return sent(shared, index);
    }
    let mut stats = lock(&line.stats).clone();
    stats.packets_discarded = line.inbound.dropped();
    stats
}

/// Counters of what goes on stream `index`.
pub(super) fn sent(shared: &Shared, index: usize) -> StreamStats {
    let lines = shared.lines();
    let Some(line) = lines.get(index) else {
        return StreamStats::default();
    };
    let mut stats = lock(&line.sent).clone();
    if stats.ssrc == 0 {
        stats.ssrc = shared.outbound.ssrcs(index).0;
    }
    stats
}
