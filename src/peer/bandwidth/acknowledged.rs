// SPDX-License-Identifier: MPL-2.0
//! How much arrives: the rate at the remote, by what feedback acknowledges.
//!
//! Over a window of packets rather than of time, with the longest pause replaced by the second
//! longest: a feedback that was late or a still picture does not look like a narrow path.
//! (`rtc::interceptor::RateCalculator` counts by when the feedback came.)

use std::collections::{VecDeque, vec_deque};
use std::time::Instant;

use super::groups::micros;
use super::history::Arrived;
use crate::peer::room::Room;

/// The window is at least so long, µs, and of so many packets, ...
const WINDOW: i64 = 500_000;
const WINDOW_PACKETS: usize = 20;
/// ... and at most so.
const MAX_WINDOW: i64 = 5_000_000;
const MAX_PACKETS: usize = 1000;
/// Fewer tell nothing.
const MIN_PACKETS: usize = 10;
/// What counts as now while a queue stands, µs.
const RECENT: i64 = 150_000;

/// Times in µs: all of the window is looked at with each feedback.
#[derive(Debug, Clone, Copy)]
struct Packet {
    /// Since [`Acknowledged::epoch`].
    sent: i64,
    arrival: i64,
    size: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// In the order of arrival.
    packets: VecDeque<Packet>,
    /// When the first packet was sent.
    epoch: Option<Instant>,
    room: Room,
}

impl Acknowledged {
    /// What is known says nothing of what comes.
    pub(super) fn reset(&mut self) {
        self.packets.clear();
    }

    pub(super) fn add(&mut self, packet: &Arrived) {
        let epoch = *self.epoch.get_or_insert(packet.sent);
        let sent = match packet.sent.checked_duration_since(epoch) {
            Some(later) => micros(later),
            None => -micros(epoch.saturating_duration_since(packet.sent)),
        };
        let new = Packet {
            sent,
            arrival: packet.arrival,
            size: packet.size,
        };
        // Feedback may be overtaken by a later one.
        let place = self
            .packets
            .iter()
            .rposition(|packet| packet.arrival <= new.arrival)
            .map_or(0, |index| index + 1);
        if place == self.packets.len() {
            self.packets.push_back(new);
        } else {
            self.packets.insert(place, new);
        }
        self.room.settle(&mut self.packets, packet.sent);
        while let (Some(first), Some(last)) = (self.packets.front(), self.packets.back()) {
            let span = last.arrival.saturating_sub(first.arrival);
            let long = span > MAX_WINDOW || self.packets.len() > WINDOW_PACKETS && span > WINDOW;
            if !long && self.packets.len() <= MAX_PACKETS {
                break;
            }
            self.packets.pop_front();
        }
    }

    /// bit/s
    pub(super) fn bitrate(&self) -> Option<f64> {
        (self.packets.len() >= MIN_PACKETS).then(|| rate(self.packets.iter()))?
    }

    /// Of the last moment, bit/s: what the path carries now, if a queue stands before it.
    pub(super) fn recent(&self) -> Option<f64> {
        let last = self.packets.back()?.arrival;
        let before = self
            .packets
            .partition_point(|packet| last.saturating_sub(packet.arrival) > RECENT);
        let count = (self.packets.len() - before).max(MIN_PACKETS);
        let before = self.packets.len().checked_sub(count)?;
        rate(self.packets.range(before..))
    }
}

/// Of packets in the order of arrival.
fn rate(packets: vec_deque::Iter<'_, Packet>) -> Option<f64> {
    let mut packets = packets.rev();
    let last = packets.next()?;
    let (mut total, mut first_size) = (last.size, last.size);
    let (mut longest, mut second) = (0i64, 0i64);
    let (latest, mut earliest) = (last.arrival, last.arrival);
    let (mut oldest, mut newest, mut last_size) = (last.sent, last.sent, last.size);
    packets.for_each(|packet| {
        total += packet.size;
        first_size = packet.size;
        let pause = earliest.saturating_sub(packet.arrival);
        second = second.max(pause.min(longest));
        longest = longest.max(pause);
        earliest = packet.arrival;
        oldest = oldest.min(packet.sent);
        if packet.sent > newest {
            (newest, last_size) = (packet.sent, packet.size);
        }
    });
    let pauses = longest.saturating_sub(second);
    let received = latest
        .saturating_sub(earliest)
        .saturating_sub(pauses)
        .max(1_000);
    let receive_rate = (total - first_size) as f64 * 8e6 / received as f64;
    let sent = newest - oldest;
    if sent == 0 {
        return Some(receive_rate);
    }
    let send_rate = (total - last_size) as f64 * 8e6 / sent.max(1_000) as f64;
    // A burst that comes after a pause on the way is not what the path carries.
    Some(receive_rate.min(send_rate.max(receive_rate / 2.0)))
}
