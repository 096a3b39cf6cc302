// SPDX-License-Identifier: MPL-2.0
//! Answers to our offers (RFC 8829 section 5.11).

use crate::media::codec::Codec;
use crate::peer::{Direction, StreamConfig};
use crate::sdp::{MediaLine, Remote};

use super::{
    APART, AgreedStream, Agreement, CallError, Wish, extensions, no_common_codec, shares_transport,
    with_our_feedback, without_useless_feedback,
};

/// What the answer made of our `offered` m-lines.
///
/// # Errors
///
/// [`CallError::NoCommonCodec`] when nothing would flow, [`CallError::BadDescription`] when the
/// m-lines are not those of the offer (RFC 3264 section 6).
pub fn read_answer(
    wish: &Wish,
    offered: &Agreement,
    answer: &Remote,
) -> Result<Agreement, CallError> {
    let lines: Vec<_> = answer.audio_video().collect();
    let same_kinds = lines.len() == offered.streams.len()
        && lines
            .iter()
            .zip(&offered.streams)
            .all(|((_, kind), o)| *kind == o.kind);
    if !same_kinds {
        return Err(CallError::BadDescription {
            kind: "answer",
            reason: "its m-lines are not those of our offer: it answers another one; paste the \
                     answer to the newest offer"
                .to_owned(),
        });
    }
    let mut result = Agreement {
        locals: offered.locals.clone(),
        other_mids: offered.other_mids.clone(),
        ..Agreement::default()
    };
    let mut first = None;
    for (stream, ((line, _), offered_line)) in lines.iter().zip(&offered.streams).enumerate() {
        let local = offered.locals.get(stream).copied().flatten();
        let on_ours = !line.rejected && shares_transport(answer, &mut first, line.index);
        let mut config = offered_line.clone();
        match taken(line, offered_line).filter(|_| on_ours) {
            Some(mut codec) => {
                let theirs = answer.header_extensions(line.index);
                config.extensions = extensions::agreed(&offered_line.extensions, &theirs);
                without_useless_feedback(std::slice::from_mut(&mut codec), &config.extensions);
                config.codecs = usable(offered_line, line, &codec);
                without_useless_feedback(&mut config.codecs, &config.extensions);
                result.agreed.push(AgreedStream {
                    stream,
                    local: local.unwrap_or(stream),
                    mid: config.mid.clone(),
                    direction: config.direction,
                    alternatives: alternatives(&config, &codec),
                    codec,
                    extensions: config.extensions.clone(),
                    msid: match config.direction {
                        Direction::SendOnly => config.msid.clone(),
                        _ => answer.msid(line.index),
                    },
                    fec: None,
                    fec_left_out: None,
                });
            }
            None => {
                config.direction = Direction::Inactive;
                if let Some(local) = local {
                    let reason = why_not(line, on_ours, offered_line);
                    result.left_out.push((local, reason));
                }
            }
        }
        result.streams.push(config);
    }
    let asked = |stream: &StreamConfig| stream.direction != Direction::Inactive;
    if result.agreed.is_empty() && offered.agreed.is_empty() && offered.streams.iter().any(asked) {
        return Err(no_common_codec(wish, answer));
    }
    Ok(result)
}

/// The codec in which the m-line flows, if it does.
fn taken(line: &MediaLine, offered: &StreamConfig) -> Option<Codec> {
    let sending = match offered.direction {
        Direction::SendOnly => true,
        Direction::RecvOnly => false,
        Direction::Inactive => return None,
    };
    let flows = if sending {
        line.direction.receives
    } else {
        line.direction.sends
    };
    if !flows {
        return None;
    }
    if sending {
        let fits = |codec: &&Codec| offered.codecs.iter().any(|o| o.send_fit(codec).is_some());
        return line.codecs.iter().find(fits).map(with_our_feedback);
    }
    // In the order of our offer: what the answer puts first is what the remote would receive
    // (RFC 3264 section 6.1). Chromium answers in its own order, and sends in that of the offer.
    let by_offer = offered.codecs.iter().find_map(|o| {
        let numbered = |c: &&Codec| c.payload_type == o.payload_type && o.same_encoding(c);
        let profiled = |c: &&Codec| o.send_fit(c) == Some(0);
        let mut theirs = line.codecs.iter();
        theirs
            .clone()
            .find(numbered)
            .or_else(|| theirs.find(profiled))
    });
    let by_encoding = || {
        let known = |c: &&Codec| offered.codecs.iter().any(|o| o.same_encoding(c));
        line.codecs.iter().find(known)
    };
    let codec = by_offer
        .or_else(by_encoding)
        .filter(|codec| Codec::receivable(codec))?;
    Some(as_offered(offered, with_our_feedback(codec)))
}

/// A remote sends with the payload types of the offer, whatever its answer says that it would
/// receive (RFC 3264 section 6.1).
fn as_offered(offered: &StreamConfig, mut codec: Codec) -> Codec {
    let same = |o: &&Codec| o.send_fit(&codec) == Some(0);
    let ours = offered.codecs.iter().filter(same);
    // The same number says the same thing; else the first that is the same but for its number.
    let Some(ours) = ours
        .clone()
        .find(|o| o.payload_type == codec.payload_type)
        .or_else(|| ours.clone().next())
        .or_else(|| offered.codecs.iter().find(|o| o.same_encoding(&codec)))
    else {
        return codec;
    };
    codec.payload_type = ours.payload_type;
    codec.rtx_payload_type = ours.rtx_payload_type;
    codec
}

/// Codecs that may come or go on the m-line: all that the answer has too, and for a receiver those
/// that were offered, the chosen one first.
fn usable(offered: &StreamConfig, line: &MediaLine, chosen: &Codec) -> Vec<Codec> {
    let mut all = vec![chosen.clone()];
    if offered.direction == Direction::RecvOnly {
        let theirs = line.codecs.iter().map(with_our_feedback);
        for codec in theirs.chain(offered.codecs.iter().cloned()) {
            if !all.iter().any(|c| c.payload_type == codec.payload_type) {
                all.push(codec);
            }
        }
    }
    all
}

fn alternatives(config: &StreamConfig, chosen: &Codec) -> Vec<Codec> {
    let others = config
        .codecs
        .iter()
        .filter(|_| config.direction == Direction::RecvOnly);
    others
        .filter(|codec| codec.payload_type != chosen.payload_type)
        .cloned()
        .collect()
}

fn why_not(line: &MediaLine, on_ours: bool, offered: &StreamConfig) -> String {
    let what = offered
        .codecs
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    if line.rejected {
        format!("the remote's answer rejects the m-line of {what} (port 0)")
    } else if !on_ours {
        APART.to_owned()
    } else if !line.direction.receives {
        format!("the remote's answer does not receive {what}")
    } else {
        let theirs: Vec<_> = line.codecs.iter().map(ToString::to_string).collect();
        format!("the remote takes {} there, not {what}", theirs.join(", "))
    }
}
