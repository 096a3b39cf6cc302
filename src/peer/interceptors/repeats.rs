// SPDX-License-Identifier: MPL-2.0
//! NACKs that ask again for what is still on its way.
//!
//! A receiver that asks every 20 ms over a round trip of 100 ms asks five times before the first
//! answer can be there; answering each would send every lost packet five times.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rtc::rtcp::Packet;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};

/// Retransmissions that are remembered.
const MEMORY: usize = 4096;
/// No round trip is taken to be longer.
const LONGEST: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Default)]
pub(super) struct Repeats {
    answered: HashMap<(u32, u16), Instant>,
}

impl Repeats {
    /// Leaves out of `packets` what was asked for less than a round trip ago.
    pub(super) fn filter(
        &mut self,
        packets: Vec<Box<dyn Packet>>,
        now: Instant,
        round_trip: impl Fn(u32) -> Option<Duration>,
    ) -> Vec<Box<dyn Packet>> {
        let filtered = packets.into_iter().filter_map(|packet| {
            let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() else {
                return Some(packet);
            };
            let Some(hold) = round_trip(nack.media_ssrc) else {
                return Some(packet);
            };
            let wanted = self.first_requests(nack, now, hold.min(LONGEST));
            (!wanted.is_empty()).then(|| {
                Box::new(TransportLayerNack {
                    sender_ssrc: nack.sender_ssrc,
                    media_ssrc: nack.media_ssrc,
                    nacks: nack_pairs_from_sequence_numbers(&wanted),
                }) as Box<dyn Packet>
            })
        });
        filtered.collect()
    }

    fn first_requests(
        &mut self,
        nack: &TransportLayerNack,
        now: Instant,
        hold: Duration,
    ) -> Vec<u16> {
        if self.answered.len() >= MEMORY {
            self.answered
                .retain(|_, at| now.saturating_duration_since(*at) < LONGEST);
        }
        let mut wanted = Vec::new();
        for pair in &nack.nacks {
            let further = (0..16u16).filter(|bit| pair.lost_packets & (1 << bit) != 0);
            let further = further.map(|bit| pair.packet_id.wrapping_add(bit + 1));
            for number in std::iter::once(pair.packet_id).chain(further) {
                let key = (nack.media_ssrc, number);
                let repeated = self.answered.get(&key);
                if repeated.is_some_and(|at| now.saturating_duration_since(*at) < hold) {
                    continue;
                }
                if self.answered.len() < MEMORY {
                    self.answered.insert(key, now);
                }
                wanted.push(number);
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_sent_again_once_per_round_trip() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        let mut asked = |numbers: &[u16], ms| -> Vec<u16> {
            let nack = TransportLayerNack {
                sender_ssrc: 1,
                media_ssrc: 2,
                nacks: nack_pairs_from_sequence_numbers(numbers),
            };
            let now = start + Duration::from_millis(ms);
            let packets = repeats.filter(vec![Box::new(nack)], now, |_| {
                Some(Duration::from_millis(100))
            });
            let first = packets
                .first()
                .and_then(|p| p.as_any().downcast_ref::<TransportLayerNack>());
            first.map_or(vec![], |nack| {
                nack.nacks
                    .iter()
                    .flat_map(|pair| pair.packet_list())
                    .collect()
            })
        };
        assert_eq!(asked(&[65535, 1], 0), [65535, 1]);
        assert_eq!(asked(&[65535, 1, 2], 20), [2]);
        assert!(asked(&[65535, 1], 40).is_empty());
        assert_eq!(asked(&[65535, 2], 100), [65535]);
    }
}
