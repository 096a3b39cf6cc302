// SPDX-License-Identifier: MPL-2.0
//! What goes from the media path to the queues of its streams, on its way out of the transport's lock:
//! who delivers may do a reader's work, which is longer than others should wait for the lock.

use std::sync::Arc;

use crate::media::queue::InboundQueue;
use crate::media::rtp_packet::Inbound;

/// See the module. What it holds is empty again after [`deliver`](Self::deliver); its room stays.
#[derive(Default)]
pub(in crate::peer) struct Handover {
    items: Vec<Inbound>,
    /// Whose they are, and how many of them, in their order.
    queues: Vec<(Arc<InboundQueue>, usize)>,
}

impl Handover {
    /// Takes `items`, which are for `queue`.
    pub(super) fn add(&mut self, queue: &Arc<InboundQueue>, items: &mut Vec<Inbound>) {
        if !items.is_empty() {
            self.queues.push((queue.clone(), items.len()));
            self.items.append(items);
        }
    }

    /// Gives all of it to whom it is for.
    pub(in crate::peer) fn deliver(&mut self) {
        let mut items = self.items.drain(..);
        for (queue, count) in self.queues.drain(..) {
            let mut own = items.by_ref().take(count);
            // overflow: the queue drops its oldest entries, and counts them.
            queue.deliver(&mut own);
            // One that ended takes none.
            own.for_each(drop);
        }
    }
}
