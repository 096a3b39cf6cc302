// SPDX-License-Identifier: MPL-2.0
//! Our answers (RFC 8829 section 5.3).

use crate::media::codec::{Codec, MediaKind};
use crate::media::header_extension::HeaderExtension;
use crate::peer::{Direction, SentLayer, StreamConfig};
use crate::sdp::{MediaLine, Remote};

use super::read_answer::read_layers;
use super::{
    APART, Agreement, CallError, Receiving, Sending, Wish, agree, extensions, layers,
    no_common_codec, two_way, with_our_feedback, without_useless_feedback,
};

const NO_MUX: &str = "it wants RTCP on a port of its own, and this side has one port for RTP and \
                      RTCP: have the remote multiplex them (a=rtcp-mux, RFC 5761)";

/// Works out our answer to `offer`; `former` is what held before.
///
/// # Errors
///
/// [`CallError::NoCommonCodec`] when nothing would flow, though something did not before either.
pub fn answer(wish: &Wish, offer: &Remote, former: &Agreement) -> Result<Agreement, CallError> {
    let mut plan = Agreement {
        other_mids: offer
            .media
            .iter()
            .filter(|line| line.kind.is_none())
            .map(|line| line.mid.clone())
            .collect(),
        ..Agreement::default()
    };
    let mut unused: Vec<(usize, &Sending)> = wish
        .streams()
        .iter()
        .enumerate()
        .filter(|(_, s)| !s.removed)
        .collect();
    let mut unknown = wish.unknown().to_vec();
    let mut first = None;
    let mut obstacle = None;
    let mut refused = Vec::new();
    for (line, kind) in offer.audio_video() {
        layers::keep(wish, former, &mut plan);
        let stream = plan.streams.len();
        // A mid that is there twice names the first (RFC 5888 section 4).
        let twice = !line.mid.is_empty() && plan.streams.iter().any(|s| s.mid == line.mid);
        let on_ours = !line.rejected
            && !twice
            && line.rtcp_mux
            && first.is_none_or(|first| offer.bundled(first, line.index));
        if !line.rejected && !twice && !on_ours {
            obstacle = Some(if line.rtcp_mux { APART } else { NO_MUX });
        }
        let mut part = Part {
            on_ours,
            ..Part::default()
        };
        if on_ours {
            part.carry((line, offer), (stream, former), &mut unused);
            part.received = wish.receiving().and_then(|r| choose_received(r, line));
            part.kept = part.sent.is_none() && two_way::keeps(wish, line, kind, &mut unknown);
        } else {
            refused.push(stream);
        }
        let mut config = config(offer, line, kind, &part, wish);
        without_useless_feedback(&mut config.codecs, &config.extensions);
        if config.direction != Direction::Inactive {
            first.get_or_insert(line.index);
        }
        let sent = part.sent.as_ref().map(|(local, codec)| (*local, codec));
        let received = part.received.as_ref();
        let msid = offer.msid(line.index);
        agree(stream, &config, sent, received, msid, &mut plan.agreed);
        if let Some(local) = part.local.filter(|_| part.sent.is_none()) {
            let reason = "the remote's offer does not take its m-line now";
            plan.left_out.push((local, reason.to_owned()));
        }
        plan.locals.push(part.local);
        plan.streams.push(config);
    }
    layers::keep(wish, former, &mut plan);
    layers::refuse(&refused, &mut plan);
    refuse_what_is_apart(offer, first, &mut plan);
    agree_on_layers(offer, &mut plan);
    let idle = |stream: &StreamConfig| stream.direction == Direction::Inactive;
    if plan.streams.iter().all(idle) && former.agreed.is_empty() {
        return Err(match obstacle {
            Some(obstacle) => CallError::BadDescription {
                kind: "offer",
                reason: obstacle.to_owned(),
            },
            None => no_common_codec(wish, offer),
        });
    }
    plan.left_out.extend(left_out(&unused, offer, obstacle));
    Ok(plan)
}

/// What `offer` takes of the layers of each m-line.
fn agree_on_layers(offer: &Remote, plan: &mut Agreement) {
    let with_line = StreamConfig::with_line(&plan.streams).map(|(at, _)| at);
    let with_line: Vec<usize> = with_line.collect();
    for (stream, (line, _)) in with_line.into_iter().zip(offer.audio_video()) {
        read_layers(stream, line, plan);
    }
    plan.agreed.sort_by_key(|agreed| agreed.stream);
}

/// What has nothing to do before the first m-line in use has no transport either.
fn refuse_what_is_apart(offer: &Remote, first: Option<usize>, plan: &mut Agreement) {
    let streams = plan.streams.iter_mut().enumerate();
    let streams = streams.filter(|(index, stream)| stream.has_line(*index));
    for ((line, _), (_, config)) in offer.audio_video().zip(streams) {
        if first.is_some_and(|first| !offer.bundled(first, line.index)) {
            config.codecs.clear();
        }
    }
}

/// Streams without an m-line, each with the reason.
fn left_out(
    unused: &[(usize, &Sending)],
    offer: &Remote,
    obstacle: Option<&str>,
) -> Vec<(usize, String)> {
    let reason = |codec: &Codec| {
        let fits = |line: &MediaLine| line.codecs.iter().any(|c| codec.send_fit(c).is_some());
        let mut lines = offer.media.iter();
        let on_a_line_apart = lines.any(|l| !l.rejected && l.direction.receives && fits(l));
        match obstacle.filter(|_| on_a_line_apart) {
            Some(obstacle) => obstacle.to_owned(),
            None => format!("the remote's offer has no m-line left that takes {codec}"),
        }
    };
    let unused = unused.iter();
    unused
        .map(|(local, sending)| (*local, reason(&sending.codec)))
        .collect()
}

/// What we do on one m-line of an offer.
#[derive(Default)]
struct Part {
    on_ours: bool,
    /// The stream that we send, and the remote's codec for it.
    sent: Option<(usize, Codec)>,
    /// That stream, unless it is another layer, which has a place of its own.
    local: Option<usize>,
    /// Which layer it is, where it has others.
    layer: Option<SentLayer>,
    received: Option<Codec>,
    /// Something will be sent whose codec is not known yet.
    kept: bool,
}

impl Part {
    /// Takes what goes on `line`, which is that of stream `stream`: what it carried before, if that is
    /// still `unused`, or what fits.
    fn carry(
        &mut self,
        (line, offer): (&MediaLine, &Remote),
        (stream, former): (usize, &Agreement),
        unused: &mut Vec<(usize, &Sending)>,
    ) {
        let carried: Vec<usize> = layers::carried(stream, former).collect();
        let there: Vec<usize> = unused.iter().map(|(local, _)| *local).collect();
        let before = carried.iter().copied().find(|local| there.contains(local));
        let elsewhere = elsewhere(former, offer, stream);
        self.sent = take_fitting(unused, line, before, &elsewhere);
        let own = former.locals.get(stream).copied().flatten();
        let is_layer = |local: &usize| carried.contains(local) && Some(*local) != own;
        let sent = self.sent.as_ref().map(|(local, _)| *local);
        self.local = sent.filter(|local| !is_layer(local));
        let layer = former.streams.get(stream).and_then(|s| s.layer.as_ref());
        if layer.is_some() && sent.is_none() {
            // It may go on later, and has its place till then.
            self.local = own.filter(|local| there.contains(local));
        }
        unused.retain(|(local, _)| !is_layer(local) && self.local != Some(*local));
        if sent.is_none_or(|local| carried.contains(&local)) {
            self.layer = layer.cloned();
        }
    }
}

fn config(
    offer: &Remote,
    line: &MediaLine,
    kind: MediaKind,
    part: &Part,
    wish: &Wish,
) -> StreamConfig {
    let sent = part.sent.as_ref();
    let sent = sent.and_then(|(local, _)| wish.streams().get(*local));
    let sends = part.sent.is_some() || part.kept;
    let receives = part.received.is_some();
    let own = || part.sent.as_ref().map(|(_, codec)| codec);
    let codecs = match (&part.received, own()) {
        _ if part.kept => two_way::kept_codecs(wish, line, part.received.as_ref()),
        (None, Some(codec)) => vec![codec.stated_by_us(sent.map(|s| &s.codec))],
        (Some(received), own) => {
            let mut codecs = vec![received.stated_by_us(None)];
            let own = own.filter(|own| own.payload_type != received.payload_type);
            codecs.extend(own.map(|own| own.stated_by_us(sent.map(|s| &s.codec))));
            codecs
        }
        (None, None) if part.on_ours => idle_codec(line),
        (None, None) => Vec::new(),
    };
    let mut brought = sent.map(|s| s.extensions.clone()).unwrap_or_default();
    if part.layer.as_ref().is_some_and(|l| !l.rid.is_empty()) {
        brought.extend([HeaderExtension::Rid, HeaderExtension::RepairedRid]);
    }
    // Who only sends takes what it writes; who does nothing keeps to what its wish is.
    let sends_alone = !receives && (sends || wish.receiving().is_none());
    let extensions = extensions::answered(
        &offer.header_extensions(line.index),
        kind,
        sends_alone,
        &brought,
    );
    let layers = match wish.receiving() {
        Some(receiving) if receives => {
            layers::received(offer, line, &extensions, &receiving.layers)
        }
        _ => Vec::new(),
    };
    StreamConfig {
        kind,
        direction: Direction::of(sends, receives),
        mid: line.mid.clone(),
        codecs,
        extensions,
        msid: sent.and_then(|s| s.msid.clone()),
        fec: None,
        rtcp_rsize: line.rtcp_rsize,
        layers,
        layer: part.layer.clone(),
    }
}

/// Streams that other m-lines carry, and may go on carrying.
fn elsewhere(former: &Agreement, offer: &Remote, stream: usize) -> Vec<usize> {
    let known = StreamConfig::with_line(&former.streams).map(|(index, _)| index);
    let receiving = offer.audio_video().zip(known);
    let receiving = receiving.filter(|((line, _), _)| !line.rejected && line.direction.receives);
    receiving
        .filter(|(_, index)| *index != stream)
        .flat_map(|(_, index)| layers::carried(index, former))
        .collect()
}

/// The stream for `line`: the one that it carried `before`, or else the first that fits and is not
/// `elsewhere`.
fn take_fitting(
    unused: &mut Vec<(usize, &Sending)>,
    line: &MediaLine,
    before: Option<usize>,
    elsewhere: &[usize],
) -> Option<(usize, Codec)> {
    if !line.direction.receives {
        return None;
    }
    let fitting = |sending: &Sending| {
        line.codecs
            .iter()
            .filter_map(|theirs| sending.codec.send_fit(theirs).map(|fit| (fit, theirs)))
            .min_by_key(|(fit, _)| *fit)
            .map(|(_, codec)| with_our_feedback(codec))
    };
    let (at, local, codec) = unused
        .iter()
        .enumerate()
        .filter(|(_, (local, _))| match before {
            Some(before) => before == *local,
            None => !elsewhere.contains(local),
        })
        .find_map(|(at, (local, ours))| Some((at, *local, fitting(ours)?)))?;
    unused.remove(at);
    Some((local, codec))
}

pub(super) fn choose_received(receiving: &Receiving, line: &MediaLine) -> Option<Codec> {
    if !line.direction.sends {
        return None;
    }
    let rank = |codec: &Codec| {
        receiving
            .codecs
            .iter()
            .position(|row| row.name.eq_ignore_ascii_case(&codec.name))
    };
    let mut candidates = line
        .codecs
        .iter()
        .filter(|codec| Codec::receivable(codec) && rank(codec).is_some());
    let ordered = match line.kind {
        Some(MediaKind::Audio) => receiving.audio_ordered,
        _ => receiving.video_ordered,
    };
    let chosen = if ordered {
        candidates.min_by_key(|codec| rank(codec))
    } else {
        candidates.next()
    };
    chosen.map(with_our_feedback)
}

/// What an unused m-line still names: an answer must name a format that the offer has.
fn idle_codec(line: &MediaLine) -> Vec<Codec> {
    line.codecs
        .iter()
        .find(|codec| Codec::receivable(codec))
        .map(|codec| codec.stated_by_us(None))
        .into_iter()
        .collect()
}
