// SPDX-License-Identifier: MPL-2.0
//! M-lines of both directions: what one leg of a call sends and what the other receives, matched by
//! kind and order.
//!
//! A stream may be announced before its codec is known: an echo knows it once something came. Its
//! m-line is `sendrecv` from the start then, and [`settle`] gives it the stream later, without
//! another offer.

use crate::media::codec::{Codec, MediaKind, SUPPORTED};
use crate::peer::{Direction, StreamConfig};
use crate::sdp::MediaLine;

use super::answer::choose_received;
use super::offer::{free_mid, ids_in_use, take_free};
use super::{Agreement, Receiving, Sending, TwoWay, Wish, agree, extensions};

/// What one m-line of our offer is to do.
struct Part {
    kind: MediaKind,
    local: Option<usize>,
    /// For a stream whose codec is not known yet.
    kept: bool,
    receives: bool,
    /// Its place, if it was there before.
    former: Option<usize>,
    /// The remote took it, or was not asked yet.
    usable: bool,
}

/// Makes `offered`, which holds what was agreed before, our offer of `wish`.
pub(super) fn offer(wish: &TwoWay, offered: &mut Agreement) {
    let mut parts = former_parts(wish, offered);
    place_streams(wish, &mut parts);
    place_receiving(wish, &mut parts);
    for (index, part) in parts.iter().enumerate() {
        let direction = Direction::of(part.local.is_some() || part.kept, part.receives);
        let same = part.former.is_some()
            && offered.locals.get(index) == Some(&part.local)
            && offered
                .streams
                .get(index)
                .is_some_and(|s| s.direction == direction);
        if same || !part.usable {
            continue;
        }
        if direction == Direction::Inactive {
            if let Some(stream) = offered.streams.get_mut(index) {
                stream.direction = direction;
            }
        } else {
            let stream = line(wish, part, index, direction, offered);
            match offered.streams.get_mut(index) {
                Some(former) => *former = stream,
                None => offered.streams.push(stream),
            }
        }
        match offered.locals.get_mut(index) {
            Some(local) => *local = part.local,
            None => offered.locals.push(part.local),
        }
    }
    let locals = offered.locals.clone();
    offered
        .agreed
        .retain(|agreed| match agreed.direction.sends() {
            true => locals.get(agreed.stream) == Some(&Some(agreed.local)),
            false => parts.get(agreed.stream).is_some_and(|part| part.receives),
        });
}

fn former_parts(wish: &TwoWay, former: &Agreement) -> Vec<Part> {
    let removed = |local: &usize| wish.streams.get(*local).is_none_or(|s| s.removed);
    let lines = former.streams.iter().enumerate();
    lines
        .map(|(index, stream)| Part {
            kind: stream.kind,
            local: former
                .locals
                .get(index)
                .copied()
                .flatten()
                .filter(|l| !removed(l)),
            kept: false,
            receives: stream.direction.receives() && wish.receiving.is_some(),
            former: Some(index),
            usable: !stream.codecs.is_empty(),
        })
        .collect()
}

fn new_part(kind: MediaKind) -> Part {
    Part {
        kind,
        local: None,
        kept: false,
        receives: false,
        former: None,
        usable: true,
    }
}

/// The first m-line of `kind` that carries nothing of ours, or a new one.
fn free_part(parts: &mut Vec<Part>, kind: MediaKind) -> Option<&mut Part> {
    let free = |p: &Part| p.usable && p.kind == kind && p.local.is_none() && !p.kept;
    let at = parts.iter().position(free).unwrap_or(parts.len());
    if at == parts.len() {
        parts.push(new_part(kind));
    }
    parts.get_mut(at)
}

fn place_streams(wish: &TwoWay, parts: &mut Vec<Part>) {
    for (local, sending) in wish.streams.iter().enumerate() {
        let carried = parts.iter().any(|part| part.local == Some(local));
        if sending.removed || carried {
            continue;
        }
        if let Some(part) = free_part(parts, sending.codec.kind) {
            part.local = Some(local);
        }
    }
    for kind in &wish.unknown {
        if let Some(part) = free_part(parts, *kind) {
            part.kept = true;
        }
    }
}

fn place_receiving(wish: &TwoWay, parts: &mut Vec<Part>) {
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let wanted = wish.receiving.as_ref().map_or(0, |r| wanted(r, kind));
        let of_kind = parts.iter_mut().filter(|p| p.usable && p.kind == kind);
        let mut lines = 0;
        for (index, part) in of_kind.enumerate() {
            part.receives |= index < wanted;
            lines = index + 1;
        }
        for _ in lines..wanted {
            parts.push(Part {
                receives: true,
                ..new_part(kind)
            });
        }
    }
}

/// How many streams of `kind` are to be received.
fn wanted(receiving: &Receiving, kind: MediaKind) -> usize {
    let known = receiving.codecs.iter().any(|row| row.kind == kind);
    match kind {
        _ if !known => 0,
        MediaKind::Video => receiving.video,
        MediaKind::Audio => receiving.audio,
    }
}

/// M-line `index` of our offer.
fn line(
    wish: &TwoWay,
    part: &Part,
    index: usize,
    direction: Direction,
    offered: &Agreement,
) -> StreamConfig {
    let sending = part.local.and_then(|local| wish.streams.get(local));
    let receiving = wish.receiving.as_ref();
    let mut codecs = match receiving {
        Some(receiving) if part.receives => received_codecs(receiving, part.kind),
        _ if part.kept => all_codecs(part.kind),
        _ => Vec::new(),
    };
    if let Some(sending) = sending {
        put_first(
            &sending.codec,
            &mut codecs,
            part.receives && is_ordered(receiving, part.kind),
        );
    }
    let mut taken: Vec<u8> = Vec::new();
    for stream in &offered.streams {
        taken.extend(stream.payload_types());
    }
    let codecs = codecs.into_iter().fold(Vec::new(), |mut numbered, codec| {
        let codec = number(codec, offered, &numbered, &mut taken);
        numbered.push(codec);
        numbered
    });
    let mut ids = ids_in_use(offered);
    let brought = sending.map(|s| s.extensions.as_slice()).unwrap_or_default();
    let former = offered.streams.get(index);
    StreamConfig {
        kind: part.kind,
        direction,
        mid: former.map_or_else(|| free_mid(offered), |former| former.mid.clone()),
        codecs,
        extensions: extensions::offered(part.kind, !part.receives, brought, &mut ids),
        msid: sending.and_then(|s| s.msid.clone()),
        fec: None,
        rtcp_rsize: former.is_none_or(|former| former.rtcp_rsize),
        layers: Vec::new(),
        layer: None,
    }
}

fn is_ordered(receiving: Option<&Receiving>, kind: MediaKind) -> bool {
    receiving.is_some_and(|receiving| match kind {
        MediaKind::Video => receiving.video_ordered,
        MediaKind::Audio => receiving.audio_ordered,
    })
}

fn received_codecs(receiving: &Receiving, kind: MediaKind) -> Vec<Codec> {
    let rows = receiving.codecs.iter().filter(|row| row.kind == kind);
    rows.flat_map(|row| row.to_receive()).collect()
}

fn all_codecs(kind: MediaKind) -> Vec<Codec> {
    let rows = SUPPORTED.iter().filter(|row| row.kind == kind);
    rows.flat_map(|row| row.to_receive()).collect()
}

/// What is sent is what is best received, too, unless the user gave an order (`ordered`).
fn put_first(sent: &Codec, codecs: &mut Vec<Codec>, ordered: bool) {
    // One that says the same is there already, with what this side takes.
    let known = codecs
        .iter()
        .position(|codec| sent.send_fit(codec) == Some(0));
    let first = known.map_or_else(|| sent.clone(), |at| codecs.remove(at));
    match (ordered, known) {
        (true, Some(at)) => codecs.insert(at, first),
        (true, None) => codecs.push(first),
        (false, _) => codecs.insert(0, first),
    }
}

/// `codec` with numbers of its own, or with those that it has on another m-line: one number means
/// one thing on all of them (RFC 8843 section 9.1).
fn number(mut codec: Codec, offered: &Agreement, own: &[Codec], taken: &mut Vec<u8>) -> Codec {
    let same = |c: &&Codec| c.same_encoding(&codec) && c.fmtp == codec.fmtp;
    let unused = |c: &&Codec| own.iter().all(|o| o.payload_type != c.payload_type);
    let mut known = offered.streams.iter().flat_map(|s| &s.codecs);
    if let Some(known) = known.find(|c| same(c) && unused(c)) {
        codec.payload_type = known.payload_type;
        codec.rtx_payload_type = known.rtx_payload_type;
        return codec;
    }
    codec.payload_type = take_free(codec.payload_type, taken);
    codec.rtx_payload_type = codec.rtx_payload_type.map(|pt| take_free(pt, taken));
    codec
}

/// Whether our answer keeps `line` for a stream whose codec is not known yet.
pub(super) fn keeps(
    wish: &Wish,
    line: &MediaLine,
    kind: MediaKind,
    unknown: &mut Vec<MediaKind>,
) -> bool {
    if !line.direction.receives || kept_codecs(wish, line, None).is_empty() {
        return false;
    }
    let at = unknown.iter().position(|of| *of == kind);
    at.map(|at| unknown.remove(at)).is_some()
}

/// Codecs of our answer on a line that is kept: one of them will be sent.
pub(super) fn kept_codecs(wish: &Wish, line: &MediaLine, received: Option<&Codec>) -> Vec<Codec> {
    let known = |codec: &&Codec| {
        let mut alone = line.clone();
        alone.codecs = vec![(*codec).clone()];
        let wanted = wish.receiving().filter(|_| line.direction.sends);
        Codec::receivable(codec)
            && wanted.is_none_or(|receiving| choose_received(receiving, &alone).is_some())
    };
    let others = line.codecs.iter().filter(known);
    let others = others.filter(|c| received.is_none_or(|r| r.payload_type != c.payload_type));
    let all = received.into_iter().chain(others);
    all.map(|codec| codec.stated_by_us(None)).collect()
}

/// What holds when `wish` needs no other description than those that were exchanged; `None` if it
/// needs another offer.
pub fn settle(wish: &Wish, agreement: &Agreement) -> Option<Agreement> {
    let Wish::Both(wish) = wish else {
        return None;
    };
    let removed = |local: &usize| wish.streams.get(*local).is_none_or(|s| s.removed);
    let mut carried = agreement.locals.iter().flatten();
    if carried.any(removed) || !receives_as_wished(wish, agreement) {
        return None;
    }
    let mut settled = agreement.clone();
    settled.left_out.clear();
    for (local, sending) in wish.streams.iter().enumerate() {
        if !sending.removed && !settled.locals.contains(&Some(local)) {
            give_line(local, sending, &mut settled)?;
        }
    }
    Some(settled)
}

fn receives_as_wished(wish: &TwoWay, agreement: &Agreement) -> bool {
    let mut lines = agreement.streams.iter().filter(|s| !s.codecs.is_empty());
    let Some(receiving) = &wish.receiving else {
        return !lines.any(|stream| stream.direction.receives());
    };
    let anything = lines.clone().any(|stream| stream.direction.receives());
    [MediaKind::Video, MediaKind::Audio]
        .into_iter()
        .all(|kind| {
            let of_kind = lines.clone().filter(|s| s.kind == kind);
            let wanted = wanted(receiving, kind);
            // Lines that the remote has not could be added; where something comes, it chose so.
            let missing = !anything && of_kind.clone().count() < wanted;
            !missing && of_kind.take(wanted).all(|s| s.direction.receives())
        })
}

/// Gives stream `local` the first m-line that was kept for such a one.
fn give_line(local: usize, sending: &Sending, agreement: &mut Agreement) -> Option<()> {
    let kept = |(stream, carried): (&StreamConfig, &Option<usize>)| {
        let fits = |codec: &&Codec| sending.codec.send_fit(codec).is_some();
        let is_kept = carried.is_none() && stream.direction.sends();
        let codec = stream.codecs.iter().filter(fits);
        let codec = codec.min_by_key(|codec| sending.codec.send_fit(codec));
        codec.filter(|_| is_kept).cloned()
    };
    let mut lines = agreement.streams.iter().zip(&agreement.locals);
    let (index, codec) = lines
        .by_ref()
        .enumerate()
        .find_map(|(index, line)| Some((index, kept(line)?)))?;
    *agreement.locals.get_mut(index)? = Some(local);
    let config = agreement.streams.get(index)?.clone();
    let mut agreed = Vec::new();
    agree(
        index,
        &config,
        Some((local, &codec)),
        None,
        None,
        &mut agreed,
    );
    for mut stream in agreed {
        stream.fec = config.fec;
        let at = agreement.agreed.iter().position(|a| a.stream >= index);
        let at = at.unwrap_or(agreement.agreed.len());
        agreement.agreed.insert(at, stream);
    }
    Some(())
}

#[cfg(test)]
mod tests;
