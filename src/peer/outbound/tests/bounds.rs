// SPDX-License-Identifier: MPL-2.0
//! Backlogs on a narrow path, and what lasts over a renegotiation.

use super::*;
use crate::media::fec::{Protection, Scheme};

#[test]
fn numbers_of_fec_go_on_when_it_is_agreed_anew() {
    let agreed = |percentage| Protection {
        scheme: Scheme::Flexfec,
        payload_type: 120,
        red: None,
        percentage,
    };
    let outbound = outbound();
    outbound.open(None);
    let mut numbers = Vec::new();
    // Without it in between, too.
    for fec in [Some(100), Some(50), None, Some(100)] {
        let protection = fec.map(|percentage| agreed(Some(percentage)));
        outbound.set_streams(&[StreamConfig {
            fec: protection,
            ..line()
        }]);
        let mut taken = Vec::new();
        for _ in 0..3 {
            outbound.push(0, picture(true, 6), Instant::now());
        }
        take_all(&outbound, Instant::now(), &mut taken);
        let repairs = taken.iter().filter(|packet| packet.fec);
        let before = numbers.len();
        numbers.extend(repairs.map(|packet| packet.packet.header.sequence_number));
        assert_eq!(numbers.len() > before, fec.is_some());
    }
    let follows = |pair: &[u16]| pair[1] == pair[0].wrapping_add(1);
    assert!(numbers.windows(2).all(follows), "{numbers:?}");
}
