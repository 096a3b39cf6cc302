// SPDX-License-Identifier: MPL-2.0
//! Who sends what in which codec: pure functions from local wishes and a remote description to
//! m-lines (RFC 3264, RFC 8829). No clock, no task, no socket.

use crate::media::codec::{Codec, MediaKind, Supported, supported};
use crate::peer::{Direction, StreamConfig};
use crate::sdp::{MediaLine, Remote};

use super::error::CallError;

/// What this side wants of a call.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Send these streams, in this order.
    Send(Vec<Codec>),
    /// Receive streams in these codecs. In the order of preference as offerer; as answerer the
    /// remote's order counts among them, unless `ordered`.
    Receive {
        /// Rows of the codec table.
        codecs: Vec<&'static Supported>,
        /// The user gave an order.
        ordered: bool,
    },
}

/// One m-line that both sides agreed to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedStream {
    /// Index among the peer's streams (the audio and video m-lines).
    pub stream: usize,
    /// Which of [`Wish::Send`]'s streams it carries; for receivers, the count so far.
    pub local: usize,
    /// `mid` of the m-line.
    pub mid: String,
    /// What we do.
    pub direction: Direction,
    /// The codec with the payload types on the wire.
    pub codec: Codec,
}

/// An answer worked out: m-lines for the peer, and what flows.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For [`crate::peer::PeerConfig`].
    pub streams: Vec<StreamConfig>,
    /// What flows.
    pub agreed: Vec<AgreedStream>,
    /// Local streams that the remote does not take, with the reason.
    pub left_out: Vec<(usize, String)>,
}

/// The m-lines of our offer.
pub fn offer(wish: &Wish) -> Vec<StreamConfig> {
    match wish {
        Wish::Send(codecs) => {
            let mut taken = Vec::new();
            codecs
                .iter()
                .map(|codec| StreamConfig {
                    kind: codec.kind,
                    direction: Direction::SendOnly,
                    codecs: vec![with_free_payload_types(codec.clone(), &mut taken)],
                })
                .collect()
        }
        Wish::Receive { codecs, .. } => [MediaKind::Video, MediaKind::Audio]
            .into_iter()
            .map(|kind| StreamConfig {
                kind,
                direction: Direction::RecvOnly,
                codecs: codecs
                    .iter()
                    .filter(|row| row.kind == kind)
                    .flat_map(|row| row.to_receive())
                    .collect(),
            })
            .filter(|stream| !stream.codecs.is_empty())
            .collect(),
    }
}

/// Payload types must differ between bundled m-lines (RFC 8843 section 9.1).
fn with_free_payload_types(mut codec: Codec, taken: &mut Vec<u8>) -> Codec {
    codec.payload_type = take_free(codec.payload_type, taken);
    codec.rtx_payload_type = codec.rtx_payload_type.map(|pt| take_free(pt, taken));
    codec
}

fn take_free(wanted: u8, taken: &mut Vec<u8>) -> u8 {
    let free = |pt: &u8| !taken.contains(pt);
    let pt = Some(wanted)
        .filter(free)
        .or_else(|| (96..=127).find(free))
        .unwrap_or(wanted);
    taken.push(pt);
    pt
}

/// Works out our answer to `offer`.
///
/// # Errors
///
/// [`CallError::NoCommonCodec`] when nothing would flow.
pub fn answer(wish: &Wish, offer: &Remote) -> Result<Plan, CallError> {
    let mut plan = Plan {
        streams: Vec::new(),
        agreed: Vec::new(),
        left_out: Vec::new(),
    };
    let mut unused: Vec<(usize, &Codec)> = match wish {
        Wish::Send(codecs) => codecs.iter().enumerate().collect(),
        Wish::Receive { .. } => Vec::new(),
    };
    for (stream, (line, kind)) in offer.audio_video().enumerate() {
        let chosen = match wish {
            Wish::Send(_) => take_fitting(&mut unused, line),
            Wish::Receive { codecs, ordered } => {
                choose_received(codecs, *ordered, line).map(|codec| (plan.agreed.len(), codec))
            }
        };
        let direction = match (wish, &chosen) {
            (_, None) => Direction::Inactive,
            (Wish::Send(_), Some(_)) => Direction::SendOnly,
            (Wish::Receive { .. }, Some(_)) => Direction::RecvOnly,
        };
        plan.streams.push(StreamConfig {
            kind,
            direction,
            codecs: match &chosen {
                Some((_, codec)) => vec![codec.clone()],
                None => idle_codec(line),
            },
        });
        if let Some((local, codec)) = chosen {
            plan.agreed.push(AgreedStream {
                stream,
                local,
                mid: line.mid.clone(),
                direction,
                codec,
            });
        }
    }
    if plan.agreed.is_empty() {
        return Err(no_common_codec(wish, offer));
    }
    plan.left_out = unused
        .into_iter()
        .map(|(local, codec)| (local, format!("the remote's offer takes no {codec}")))
        .collect();
    Ok(plan)
}

/// What the answer made of our offer's m-lines.
///
/// # Errors
///
/// [`CallError::NoCommonCodec`] when nothing would flow, [`CallError::BadDescription`] when the
/// m-lines are not those of the offer (RFC 3264 section 6).
pub fn read_answer(
    wish: &Wish,
    offered: &[StreamConfig],
    answer: &Remote,
) -> Result<Vec<AgreedStream>, CallError> {
    let lines: Vec<_> = answer.audio_video().collect();
    let same_kinds = lines.len() == offered.len()
        && lines
            .iter()
            .zip(offered)
            .all(|((_, kind), o)| *kind == o.kind);
    if !same_kinds {
        return Err(CallError::BadDescription {
            kind: "answer",
            reason: "its m-lines are not those of our offer: it answers another one; paste the \
                     answer to the newest offer"
                .to_owned(),
        });
    }
    let mut agreed: Vec<AgreedStream> = Vec::new();
    for (stream, ((line, _), offered)) in lines.iter().zip(offered).enumerate() {
        let sending = offered.direction == Direction::SendOnly;
        let flows = !line.rejected
            && if sending {
                line.direction.receives
            } else {
                line.direction.sends
            };
        let codec = line.codecs.iter().find(|codec| {
            offered
                .codecs
                .iter()
                .any(|o| o.same_encoding(codec) && (!sending || o.send_fit(codec).is_some()))
        });
        if let (true, Some(codec)) = (flows, codec) {
            agreed.push(AgreedStream {
                stream,
                local: if sending { stream } else { agreed.len() },
                mid: line.mid.clone(),
                direction: offered.direction,
                codec: with_our_feedback(codec),
            });
        }
    }
    if agreed.is_empty() {
        return Err(no_common_codec(wish, answer));
    }
    Ok(agreed)
}

fn take_fitting(unused: &mut Vec<(usize, &Codec)>, line: &MediaLine) -> Option<(usize, Codec)> {
    if line.rejected || !line.direction.receives {
        return None;
    }
    let (at, local, codec) = unused.iter().enumerate().find_map(|(at, (local, ours))| {
        let best = line
            .codecs
            .iter()
            .filter_map(|theirs| ours.send_fit(theirs).map(|fit| (fit, theirs)))
            .min_by_key(|(fit, _)| *fit)?;
        Some((at, *local, with_our_feedback(best.1)))
    })?;
    unused.remove(at);
    Some((local, codec))
}

fn choose_received(
    allowed: &[&'static Supported],
    ordered: bool,
    line: &MediaLine,
) -> Option<Codec> {
    if line.rejected || !line.direction.sends {
        return None;
    }
    let rank = |codec: &Codec| {
        allowed
            .iter()
            .position(|row| row.name.eq_ignore_ascii_case(&codec.name))
    };
    let mut candidates = line
        .codecs
        .iter()
        .filter(|codec| Codec::receivable(codec) && rank(codec).is_some());
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
        .find(|codec| !line.rejected && Codec::receivable(codec))
        .map(|codec| codec.stated_by_us(None))
        .into_iter()
        .collect()
}

/// The remote's codec with only the feedback that we have too.
fn with_our_feedback(codec: &Codec) -> Codec {
    let mut codec = codec.clone();
    let ours = supported(&codec.name)
        .map(|row| row.feedback)
        .unwrap_or_default();
    codec.feedback.retain(|f| ours.contains(&f.as_str()));
    codec.feedback.dedup();
    codec
}

fn no_common_codec(wish: &Wish, remote: &Remote) -> CallError {
    let theirs = remote
        .audio_video()
        .filter(|(line, _)| !line.rejected)
        .flat_map(|(line, _)| line.codecs.iter().map(ToString::to_string))
        .collect::<Vec<_>>()
        .join(", ");
    let (verb, ours) = match wish {
        Wish::Send(codecs) => (
            "send",
            codecs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ),
        Wish::Receive { codecs, .. } => (
            "receive",
            codecs.iter().map(|row| row.name.to_owned()).collect(),
        ),
    };
    CallError::NoCommonCodec {
        ours: format!("{verb} {}", ours.join(", ")),
        theirs: if theirs.is_empty() {
            "nothing".to_owned()
        } else {
            theirs
        },
    }
}

#[cfg(test)]
mod tests;
