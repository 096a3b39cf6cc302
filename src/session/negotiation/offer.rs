// SPDX-License-Identifier: MPL-2.0
//! Our offers (RFC 8829 section 5.2).

use crate::media::codec::{Codec, MediaKind};
use crate::peer::{Direction, SentLayer, StreamConfig};

use super::{Agreement, Receiving, Sending, Wish, extensions, layers, two_way};

/// The m-lines of our offer: those of `former`, as they shall be now, and new ones behind them.
pub fn offer(wish: &Wish, former: &Agreement) -> Agreement {
    let mut offered = former.clone();
    offered.left_out.clear();
    match wish {
        Wish::Send(streams) => add_sending(streams, &mut offered),
        Wish::Receive(receiving) if former.streams.is_empty() => {
            add_receiving(receiving, &mut offered);
        }
        Wish::Receive(_) => {}
        Wish::Both(both) => two_way::offer(both, &mut offered),
    }
    offered
}

fn add_sending(streams: &[Sending], offered: &mut Agreement) {
    let removed = |local: Option<usize>| {
        local.is_some_and(|local| streams.get(local).is_none_or(|s| s.removed))
    };
    // Lines that were idle before: what is added goes there, so that a call in which streams come
    // and go does not grow.
    let mut idle: Vec<usize> = (0..offered.streams.len())
        .filter(|index| {
            let stream = offered.streams.get(*index);
            offered.locals.get(*index) == Some(&None)
                && stream
                    .filter(|s| s.has_line(*index))
                    .is_some_and(|s| s.direction == Direction::Inactive && !s.codecs.is_empty())
        })
        .collect();
    // The places of layers that had left before: what leaves now ends first.
    let mut vacant = layers::vacant(offered);
    let gone = |local: &mut Option<usize>| removed(*local).then(|| *local = None).is_some();
    let left: Vec<bool> = offered.locals.iter_mut().map(gone).collect();
    for (index, _) in left.iter().enumerate().filter(|(_, left)| **left) {
        let layer = offered.streams.get(index).and_then(|s| s.layer.as_ref());
        // The m-line stays while other layers are in it.
        for idle in [index, layer.map_or(index, |layer| layer.of)] {
            let carried = layers::carried(idle, offered).next().is_some();
            if let Some(stream) = offered.streams.get_mut(idle).filter(|_| !carried) {
                stream.direction = Direction::Inactive;
            }
        }
    }
    offered.agreed.retain(|agreed| !removed(Some(agreed.local)));
    let mut taken: Vec<u8> = offered
        .streams
        .iter()
        .flat_map(StreamConfig::payload_types)
        .collect();
    let mut ids = ids_in_use(offered);
    for (local, sending) in layers::largest_first(streams) {
        if sending.removed || offered.locals.contains(&Some(local)) {
            continue;
        }
        if layers::join(local, sending, streams, offered, &mut vacant) {
            continue;
        }
        let kind = sending.codec.kind;
        let (brought, layer) = layers::begin(local, sending, streams, offered.streams.len());
        let reused = idle
            .iter()
            .position(|index| offered.streams.get(*index).is_some_and(|s| s.kind == kind));
        if let Some(index) = reused.map(|at| idle.remove(at))
            && let Some(stream) = offered.streams.get_mut(index)
        {
            taken.retain(|pt| !stream.payload_types().any(|own| own == *pt));
            stream.fec = None;
            stream.direction = Direction::SendOnly;
            stream.codecs = vec![with_free_payload_types(sending.codec.clone(), &mut taken)];
            stream.extensions = extensions::offered(kind, true, &brought, &mut ids);
            stream.layer = layer.map(|layer| SentLayer { of: index, ..layer });
            stream.msid.clone_from(&sending.msid);
            if let Some(carries) = offered.locals.get_mut(index) {
                *carries = Some(local);
            }
            continue;
        }
        offered.streams.push(StreamConfig {
            kind,
            direction: Direction::SendOnly,
            mid: free_mid(offered),
            codecs: vec![with_free_payload_types(sending.codec.clone(), &mut taken)],
            extensions: extensions::offered(kind, true, &brought, &mut ids),
            msid: sending.msid.clone(),
            fec: None,
            rtcp_rsize: true,
            layers: Vec::new(),
            layer,
        });
        offered.locals.push(Some(local));
    }
    layers::announce(offered);
}

fn add_receiving(receiving: &Receiving, offered: &mut Agreement) {
    let mut ids = ids_in_use(offered);
    let lines = std::iter::repeat_n(MediaKind::Video, receiving.video)
        .chain(std::iter::repeat_n(MediaKind::Audio, receiving.audio));
    for kind in lines {
        let codecs: Vec<Codec> = receiving
            .codecs
            .iter()
            .filter(|row| row.kind == kind)
            .flat_map(|row| row.to_receive())
            .collect();
        if codecs.is_empty() {
            continue;
        }
        offered.streams.push(StreamConfig {
            kind,
            direction: Direction::RecvOnly,
            mid: free_mid(offered),
            codecs,
            extensions: extensions::offered(kind, false, &[], &mut ids),
            msid: None,
            fec: None,
            rtcp_rsize: true,
            layers: Vec::new(),
            layer: None,
        });
        offered.locals.push(None);
    }
}

pub(super) fn ids_in_use(
    offered: &Agreement,
) -> Vec<(u8, crate::media::header_extension::HeaderExtension)> {
    let mut ids: Vec<_> = offered
        .streams
        .iter()
        .flat_map(|s| s.extensions.clone())
        .collect();
    ids.dedup();
    ids
}

/// The lowest number that is no mid yet.
pub(super) fn free_mid(offered: &Agreement) -> String {
    let taken = |mid: &String| {
        offered.streams.iter().any(|s| s.mid == *mid) || offered.other_mids.contains(mid)
    };
    (0..=offered.streams.len() + offered.other_mids.len())
        .map(|number| number.to_string())
        .find(|mid| !taken(mid))
        .unwrap_or_default()
}

/// Payload types must differ between bundled m-lines (RFC 8843 section 9.1).
fn with_free_payload_types(mut codec: Codec, taken: &mut Vec<u8>) -> Codec {
    codec.payload_type = take_free(codec.payload_type, taken);
    codec.rtx_payload_type = codec.rtx_payload_type.map(|pt| take_free(pt, taken));
    codec
}

pub(super) fn take_free(wanted: u8, taken: &mut Vec<u8>) -> u8 {
    let free = |pt: &u8| !taken.contains(pt);
    // Below the dynamic ones, those that no static type and no RTCP packet uses (RFC 5761).
    let pt = Some(wanted)
        .filter(free)
        .or_else(|| (96..=127).chain(35..=63).find(free))
        .unwrap_or(wanted);
    taken.push(pt);
    pt
}
