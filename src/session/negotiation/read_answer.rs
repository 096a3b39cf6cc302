// SPDX-License-Identifier: MPL-2.0
//! Answers to our offers (RFC 8829 section 5.11).

use crate::media::codec::Codec;
use crate::media::header_extension::HeaderExtension;
use crate::peer::{Direction, SentLayer, StreamConfig};
use crate::sdp::{MediaLine, Remote};

use super::{
    APART, AgreedStream, Agreement, CallError, Sending, Wish, agree, extensions, layers,
    no_common_codec, shares_transport, with_our_feedback, without_useless_feedback,
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
    let with_line: Vec<_> = StreamConfig::with_line(&offered.streams).collect();
    let same_kinds = lines.len() == with_line.len()
        && lines
            .iter()
            .zip(&with_line)
            .all(|((_, kind), (_, o))| *kind == o.kind);
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
        // Layers have no line of their own; all others are replaced below.
        streams: offered.streams.clone(),
        ..Agreement::default()
    };
    let mut first = None;
    for ((line, _), (stream, offered_line)) in lines.iter().zip(with_line) {
        let own = offered.locals.get(stream).copied().flatten();
        let local = layers::carried(stream, offered).next();
        let on_ours = !line.rejected && shares_transport(answer, &mut first, line.index);
        let mut config = offered_line.clone();
        let flows = Flows::of(
            line,
            offered_line,
            local.map(|local| wish.streams().get(local)),
        );
        let flows = Some(flows).filter(|_| on_ours).unwrap_or_default();
        config.direction =
            Direction::of(flows.sent.is_some() || flows.kept, flows.received.is_some());
        if let Some(local) = own.filter(|_| flows.sent.is_none()) {
            let reason = why_not(line, on_ours, offered_line);
            result.left_out.push((local, reason));
        }
        if config.direction != Direction::Inactive {
            let theirs = answer.header_extensions(line.index);
            config.extensions = extensions::agreed(&offered_line.extensions, &theirs);
            config.codecs = usable(offered_line, line, &flows);
            without_useless_feedback(&mut config.codecs, &config.extensions);
            let sent = local.zip(flows.sent.as_ref());
            let received = flows.received.as_ref();
            let msid = answer.msid(line.index);
            agree(stream, &config, sent, received, msid, &mut result.agreed);
        }
        if let Some(place) = result.streams.get_mut(stream) {
            *place = config;
        }
        read_layers(stream, line, &mut result);
    }
    result.agreed.sort_by_key(|agreed| agreed.stream);
    let asked = |stream: &StreamConfig| stream.direction != Direction::Inactive;
    if !result.streams.iter().any(asked)
        && offered.agreed.is_empty()
        && offered.streams.iter().any(asked)
    {
        return Err(no_common_codec(wish, answer));
    }
    Ok(result)
}

/// What the remote's `line` makes of the layers in the m-line of stream `of`, if that carries several.
pub(super) fn read_layers(of: usize, line: &MediaLine, result: &mut Agreement) {
    let Some(main) = result
        .streams
        .get(of)
        .cloned()
        .filter(|s| s.layer.is_some())
    else {
        return;
    };
    let mut main = main;
    let agreed = result
        .agreed
        .iter()
        .position(|agreed| agreed.stream == of && agreed.direction.sends());
    let mut agreed = agreed.map(|at| result.agreed.remove(at));
    // To a remote without simulcast the first goes as if there were no others.
    let alone = agreed.is_some() && layers::is_alone(&main, line);
    if alone {
        let named = |extension: &HeaderExtension| {
            matches!(
                extension,
                HeaderExtension::Rid | HeaderExtension::RepairedRid
            )
        };
        main.extensions.retain(|(_, extension)| !named(extension));
        if let Some(agreed) = &mut agreed {
            agreed.extensions.clone_from(&main.extensions);
        }
    }
    for (index, stream) in result.streams.iter_mut().enumerate() {
        let Some(layer) = stream.layer.clone().filter(|layer| layer.of == of) else {
            continue;
        };
        let local = result.locals.get(index).copied().flatten();
        let refusal = layers::refusal(&layer, index, line, &main.extensions);
        let sends = agreed.is_some() && local.is_some() && refusal.is_none();
        *stream = StreamConfig {
            fec: stream.fec,
            layer: Some(SentLayer {
                sends,
                ..layer.clone()
            })
            .filter(|_| !alone || index != of),
            ..main.clone()
        };
        match (&agreed, local, refusal) {
            (Some(agreed), Some(local), None) => result.agreed.push(AgreedStream {
                stream: index,
                local,
                layers: layers::named(&layer.rid, alone),
                ..agreed.clone()
            }),
            (Some(_), Some(local), Some(reason)) => result.left_out.push((local, reason)),
            (None, Some(local), _) if index != of => {
                result
                    .left_out
                    .push((local, "its m-line is refused".to_owned()));
            }
            _ => {}
        }
    }
}

/// What flows on one m-line.
#[derive(Default)]
struct Flows {
    /// The codec of what we send.
    sent: Option<Codec>,
    received: Option<Codec>,
    /// Something will be sent whose codec is not known yet.
    kept: bool,
}

impl Flows {
    /// `sending`: the stream that was offered, if one was.
    fn of(line: &MediaLine, offered: &StreamConfig, sending: Option<Option<&Sending>>) -> Self {
        let sends = offered.direction.sends() && line.direction.receives;
        let receives = offered.direction.receives() && line.direction.sends;
        let sent = sending.filter(|_| sends).and_then(|sending| {
            let fits = |codec: &&Codec| match sending {
                Some(sending) => sending.codec.send_fit(codec).is_some(),
                None => offered.codecs.iter().any(|o| o.send_fit(codec).is_some()),
            };
            line.codecs.iter().find(fits).map(with_our_feedback)
        });
        Self {
            sent,
            received: if receives {
                received(line, offered)
            } else {
                None
            },
            kept: sends && sending.is_none(),
        }
    }
}

/// The codec in which the remote sends.
fn received(line: &MediaLine, offered: &StreamConfig) -> Option<Codec> {
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

/// Codecs that may come or go on the m-line: all that the answer has too, and where we receive those
/// that were offered, the chosen one first.
fn usable(offered: &StreamConfig, line: &MediaLine, flows: &Flows) -> Vec<Codec> {
    let mut all: Vec<Codec> = flows.received.iter().chain(&flows.sent).cloned().collect();
    all.dedup_by_key(|codec| codec.payload_type);
    if flows.received.is_some() || flows.kept {
        let theirs = line.codecs.iter().map(with_our_feedback);
        for codec in theirs.chain(offered.codecs.iter().cloned()) {
            if !all.iter().any(|c| c.payload_type == codec.payload_type) {
                all.push(codec);
            }
        }
    }
    all
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
