// SPDX-License-Identifier: MPL-2.0
//! What came of one stream since it was handed over last: it is counted under one lock, and handed
//! over at once.

use std::time::Duration;

use super::handover::Handover;
use crate::media::rtp_packet::Inbound;
use crate::peer::shared::{Line, lock};

/// See the module.
#[derive(Default)]
pub(super) struct Batch {
    /// Packets that came, in whatever form; the next ones are of these.
    pub(super) packets: u64,
    /// Payload, bytes.
    pub(super) bytes: u64,
    /// By RTX.
    pub(super) resent: u64,
    /// Here already.
    pub(super) duplicated: u64,
    /// New, and not as they were first sent.
    pub(super) repaired: u64,
    /// Of these, made from FEC.
    pub(super) recovered: u64,
    /// As of the last packet.
    pub(super) lost: Option<i64>,
    /// As of the last packet, seconds.
    pub(super) jitter: Option<f64>,
    /// As of the last packet.
    pub(super) round_trip: Option<Duration>,
    /// For the queue.
    pub(super) items: Vec<Inbound>,
    /// For those of the outputs behind the first.
    pub(super) more: Vec<Vec<Inbound>>,
}

impl Batch {
    /// What came for output `output`.
    pub(super) fn items_of(&mut self, output: usize) -> &mut Vec<Inbound> {
        let Some(at) = output.checked_sub(1) else {
            return &mut self.items;
        };
        if self.more.len() <= at {
            self.more.resize_with(at + 1, Vec::new);
        }
        // infallible: it was made long enough.
        &mut self.more[at]
    }

    /// Hands all of it to `line`, for its readers to come.
    pub(super) fn flush(&mut self, line: &Line) {
        self.settle(line);
        // overflow: the queue drops its oldest entries, and counts them.
        line.inbound.push_all(self.items.drain(..));
        for (items, queue) in self.more.iter_mut().zip(&line.more) {
            // overflow: as above.
            queue.push_all(items.drain(..));
        }
    }

    /// Gives all of it to `handover`, on its way to `line`.
    pub(super) fn hand_over(&mut self, line: &Line, handover: &mut Handover) {
        self.settle(line);
        handover.add(&line.inbound, &mut self.items);
        for (items, queue) in self.more.iter_mut().zip(&line.more) {
            handover.add(queue, items);
        }
    }

    /// Counts it.
    fn settle(&mut self, line: &Line) {
        let items = std::mem::take(&mut self.items);
        let more = std::mem::take(&mut self.more);
        let came = std::mem::take(self);
        (self.items, self.more) = (items, more);
        if came.packets > 0 || came.lost.is_some() {
            let mut stats = lock(&line.stats);
            stats.packets_received += came.packets;
            stats.bytes_received += came.bytes;
            stats.retransmitted_packets_received += came.resent;
            stats.packets_duplicated += came.duplicated;
            stats.packets_repaired += came.repaired;
            stats.fec_packets_recovered += came.recovered;
            stats.packets_lost = came.lost.unwrap_or(stats.packets_lost);
            stats.jitter = came.jitter.or(stats.jitter);
            let round_trip = came.round_trip.map(|time| time.as_secs_f64());
            stats.round_trip_time = round_trip.or(stats.round_trip_time);
        }
    }
}
