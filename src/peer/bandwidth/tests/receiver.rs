// SPDX-License-Identifier: MPL-2.0
//! What a receiver says of what it got.

use std::collections::BTreeMap;
use std::time::Duration;

use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};

/// What a receiver tells of packets `first` to `last`.
pub(super) fn feedback(
    first: i64,
    last: i64,
    arrived: &BTreeMap<i64, Duration>,
    ahead: i64,
) -> TransportLayerCc {
    let time = |at: &Duration| (at.as_micros() as i64 + ahead + 1_000_000_000) / 250;
    let begin = arrived.values().map(time).min().unwrap() / 256;
    let mut previous = begin * 256;
    let mut deltas = Vec::new();
    let mut symbols = Vec::new();
    for number in first..=last {
        let Some(at) = arrived.get(&number) else {
            symbols.push(SymbolTypeTcc::PacketNotReceived);
            continue;
        };
        let delta = time(at) - previous;
        previous += delta;
        let symbol = if (0..256).contains(&delta) {
            SymbolTypeTcc::PacketReceivedSmallDelta
        } else {
            SymbolTypeTcc::PacketReceivedLargeDelta
        };
        symbols.push(symbol);
        deltas.push(RecvDelta {
            type_tcc_packet: symbol,
            delta: delta * 250,
        });
    }
    TransportLayerCc {
        base_sequence_number: 65_000u16.wrapping_add(first as u16),
        packet_status_count: symbols.len() as u16,
        reference_time: (begin as u32) & 0xff_ffff,
        packet_chunks: symbols
            .chunks(7)
            .map(|symbols| {
                PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                    type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                    symbol_size: SymbolSizeTypeTcc::TwoBit,
                    symbol_list: symbols.to_vec(),
                })
            })
            .collect(),
        recv_deltas: deltas,
        ..TransportLayerCc::default()
    }
}
