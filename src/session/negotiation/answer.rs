// SPDX-License-Identifier: MPL-2.0
//! Our answers (RFC 8829 section 5.3).

use crate::media::codec::{Codec, MediaKind};
use crate::peer::{Direction, StreamConfig};
use crate::sdp::{MediaLine, Remote};

use super::{
    APART, AgreedStream, Agreement, CallError, Receiving, Sending, Wish, extensions,
    no_common_codec, with_our_feedback, without_useless_feedback,
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
    let mut unused: Vec<(usize, &Sending)> = match wish {
        Wish::Send(streams) => streams
            .iter()
            .enumerate()
            .filter(|(_, s)| !s.removed)
            .collect(),
        Wish::Receive(_) => Vec::new(),
    };
    let mut first = None;
    let mut obstacle = None;
    for (stream, (line, kind)) in offer.audio_video().enumerate() {
        // A mid that is there twice names the first (RFC 5888 section 4).
        let twice = !line.mid.is_empty() && plan.streams.iter().any(|s| s.mid == line.mid);
        let on_ours = !line.rejected
            && !twice
            && line.rtcp_mux
            && first.is_none_or(|first| offer.bundled(first, line.index));
        if !line.rejected && !twice && !on_ours {
            obstacle = Some(if line.rtcp_mux { APART } else { NO_MUX });
        }
        let chosen = match wish {
            _ if !on_ours => None,
            Wish::Send(_) => {
                let carried = former.locals.get(stream).copied().flatten();
                let before = carried.filter(|local| unused.iter().any(|(l, _)| l == local));
                take_fitting(&mut unused, line, before, &elsewhere(former, offer, stream))
            }
            Wish::Receive(receiving) => {
                choose_received(receiving, line).map(|codec| (stream, codec))
            }
        };
        let sending = |local: usize| match wish {
            Wish::Send(streams) => streams.get(local),
            Wish::Receive(_) => None,
        };
        let mut config = config(offer, line, kind, on_ours, &chosen, wish, sending);
        without_useless_feedback(&mut config.codecs, &config.extensions);
        if let Some((local, mut codec)) = chosen {
            first.get_or_insert(line.index);
            without_useless_feedback(std::slice::from_mut(&mut codec), &config.extensions);
            plan.agreed.push(AgreedStream {
                stream,
                local,
                mid: line.mid.clone(),
                direction: config.direction,
                codec,
                alternatives: Vec::new(),
                extensions: config.extensions.clone(),
                msid: match wish {
                    Wish::Send(_) => config.msid.clone(),
                    Wish::Receive(_) => offer.msid(line.index),
                },
                fec: None,
                fec_left_out: None,
            });
            plan.locals
                .push(matches!(wish, Wish::Send(_)).then_some(local));
        } else {
            plan.locals.push(None);
        }
        plan.streams.push(config);
    }
    refuse_what_is_apart(offer, first, &mut plan);
    if plan.agreed.is_empty() && former.agreed.is_empty() {
        return Err(match obstacle {
            Some(obstacle) => CallError::BadDescription {
                kind: "offer",
                reason: obstacle.to_owned(),
            },
            None => no_common_codec(wish, offer),
        });
    }
    plan.left_out = left_out(&unused, offer, obstacle);
    Ok(plan)
}

/// What has nothing to do before the first m-line in use has no transport either.
fn refuse_what_is_apart(offer: &Remote, first: Option<usize>, plan: &mut Agreement) {
    for ((line, _), config) in offer.audio_video().zip(&mut plan.streams) {
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

fn config<'a>(
    offer: &Remote,
    line: &MediaLine,
    kind: MediaKind,
    on_ours: bool,
    chosen: &Option<(usize, Codec)>,
    wish: &Wish,
    sending: impl Fn(usize) -> Option<&'a Sending>,
) -> StreamConfig {
    let sent = chosen.as_ref().and_then(|(local, _)| sending(*local));
    let sends = matches!(wish, Wish::Send(_));
    StreamConfig {
        kind,
        direction: match (sends, chosen) {
            (_, None) => Direction::Inactive,
            (true, Some(_)) => Direction::SendOnly,
            (false, Some(_)) => Direction::RecvOnly,
        },
        mid: line.mid.clone(),
        codecs: match chosen {
            Some((_, codec)) => vec![codec.stated_by_us(sent.map(|s| &s.codec))],
            None if on_ours => idle_codec(line),
            None => Vec::new(),
        },
        extensions: extensions::answered(
            &offer.header_extensions(line.index),
            kind,
            sends,
            sent.map(|s| s.extensions.as_slice()).unwrap_or_default(),
        ),
        msid: sent.and_then(|s| s.msid.clone()),
        fec: None,
        rtcp_rsize: line.rtcp_rsize,
    }
}

/// Streams that other m-lines carry, and may go on carrying.
fn elsewhere(former: &Agreement, offer: &Remote, stream: usize) -> Vec<usize> {
    let lines = offer.audio_video().enumerate();
    let receiving = lines.filter(|(_, (line, _))| !line.rejected && line.direction.receives);
    receiving
        .filter(|(index, _)| *index != stream)
        .filter_map(|(index, _)| former.locals.get(index).copied().flatten())
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

fn choose_received(receiving: &Receiving, line: &MediaLine) -> Option<Codec> {
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
