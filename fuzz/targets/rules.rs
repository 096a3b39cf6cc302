// SPDX-License-Identifier: MPL-2.0
//! Rules that hold for every description, however odd (RFC 3264, RFC 8829).

use std::fmt::Debug;

use gstwebrtcrs::media::codec::{Codec, Supported};
use gstwebrtcrs::media::header_extension::HeaderExtension;
use gstwebrtcrs::peer::{Direction, StreamConfig};
use gstwebrtcrs::sdp::{MediaLine, Remote};
use gstwebrtcrs::session::negotiation::{Agreement, Wish};

/// Payload types of `codec`, that of its retransmissions included.
pub fn payload_types(codec: &Codec) -> impl Iterator<Item = u8> {
    std::iter::once(codec.payload_type).chain(codec.rtx_payload_type)
}

/// Our answer has the m-lines of the offer, takes only what they offer, and claims no more.
pub fn answered(wish: &Wish, offer: &Remote, plan: &Agreement) {
    let lines: Vec<_> = offer.audio_video().collect();
    assert_eq!(plan.streams.len(), lines.len(), "one stream an m-line");
    assert_eq!(plan.locals.len(), lines.len());
    for (stream, (line, kind)) in plan.streams.iter().zip(&lines) {
        assert_eq!(stream.kind, *kind, "kinds and their order");
        assert_eq!(stream.mid, line.mid);
        may_flow(stream.direction, line);
        assert!(
            !line.rejected || stream.codecs.is_empty(),
            "an m-line that is off"
        );
        for codec in &stream.codecs {
            assert!(is_offered(codec, line), "{codec:?} is not of {line:?}");
        }
        let theirs = offer.header_extensions(line.index);
        subset(&stream.extensions, &theirs);
    }
    agreed(wish, offer, plan);
    for (one, (line, _)) in plan.agreed.iter().map(|one| (one, &lines[one.stream])) {
        assert!(is_offered(&one.codec, line), "{one:?} is not of {line:?}");
    }
    if let Wish::Send(streams) = wish {
        let mut all: Vec<usize> = plan.agreed.iter().map(|a| a.local).collect();
        all.extend(plan.left_out.iter().map(|(local, _)| *local));
        all.sort_unstable();
        let wanted: Vec<_> = (0..streams.len()).collect();
        assert_eq!(all, wanted, "each stream, once");
    }
}

/// What is left of our offer after the remote's answer is of both.
pub fn taken(wish: &Wish, offered: &Agreement, answer: &Remote, result: &Agreement) {
    assert_eq!(offered.streams.len(), result.streams.len());
    for (before, after) in offered.streams.iter().zip(&result.streams) {
        assert_eq!((before.kind, &before.mid), (after.kind, &after.mid));
        let narrower = (before.direction.sends() || !after.direction.sends())
            && (before.direction.receives() || !after.direction.receives());
        assert!(
            narrower,
            "{:?} became {:?}",
            before.direction, after.direction
        );
        subset(&after.extensions, &before.extensions);
    }
    agreed(wish, answer, result);
    let lines: Vec<_> = answer.audio_video().collect();
    for one in &result.agreed {
        let (line, _) = &lines[one.stream];
        let ours = &offered.streams[one.stream].codecs;
        match one.direction {
            // We send as the remote numbers its codecs, and receive as we number ours.
            Direction::SendOnly => assert!(is_offered(&one.codec, line), "{one:?}"),
            _ => assert!(
                ours.iter().any(|codec| codec.same_encoding(&one.codec)),
                "{one:?} was not offered"
            ),
        }
    }
}

/// What flows is what both said.
fn agreed(wish: &Wish, remote: &Remote, result: &Agreement) {
    let lines: Vec<_> = remote.audio_video().collect();
    let mut last = None;
    for one in &result.agreed {
        // What is sent comes first on an m-line of both directions.
        let place = Some((one.stream, one.direction == Direction::RecvOnly));
        assert!(last < place, "in the order of the m-lines, each once");
        last = place;
        let stream = &result.streams[one.stream];
        let (line, kind) = &lines[one.stream];
        assert_eq!(stream.kind, *kind);
        let both = stream.direction == Direction::SendRecv;
        assert!(both || one.direction == stream.direction, "{one:?}");
        assert_eq!(one.mid, stream.mid);
        may_flow(one.direction, line);
        subset(&one.extensions, &remote.header_extensions(line.index));
        match one.direction {
            Direction::SendOnly => {
                let ours = &wish.streams()[one.local].codec;
                let fit = ours.send_fit(&one.codec);
                assert!(fit.is_some(), "{ours} is sent as {}", one.codec);
                assert_eq!(result.locals[one.stream], Some(one.local));
            }
            Direction::RecvOnly => {
                let receiving = wish.receiving().expect("somebody receives");
                let name = &one.codec.name;
                let wanted = |row: &&Supported| row.name.eq_ignore_ascii_case(name);
                assert!(receiving.codecs.iter().any(wanted), "{name}");
                assert!(Codec::receivable(&one.codec), "{:?}", one.codec);
            }
            other => panic!("what flows is {other:?}"),
        }
    }
    let agreed = result.agreed.iter();
    let mut locals: Vec<_> = agreed.map(|a| (a.direction.sends(), a.local)).collect();
    locals.sort_unstable();
    locals.dedup();
    assert_eq!(locals.len(), result.agreed.len(), "a stream in two m-lines");
}

/// Extensions with their ids are some of `all`, each id once (RFC 8285 section 6).
fn subset(some: &[(u8, HeaderExtension)], all: &[(u8, HeaderExtension)]) {
    for entry in some {
        assert!(all.contains(entry), "{entry:?} is not of {all:?}");
    }
    let mut ids: Vec<_> = some.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), some.len(), "one id for two of {some:?}");
}

/// RFC 3264 section 6.1: nobody sends what the other does not receive.
fn may_flow(ours: Direction, line: &MediaLine) {
    let allowed = (!ours.sends() || line.direction.receives && !line.rejected)
        && (!ours.receives() || line.direction.sends && !line.rejected);
    assert!(allowed, "{ours:?} on {line:?}");
}

fn is_offered(codec: &Codec, line: &MediaLine) -> bool {
    line.codecs.iter().any(|theirs| {
        theirs.same_encoding(codec)
            && theirs.payload_type == codec.payload_type
            && codec
                .rtx_payload_type
                .is_none_or(|rtx| theirs.rtx_payload_type == Some(rtx))
            && codec.feedback.iter().all(|f| theirs.feedback.contains(f))
    })
}

/// Whether the text that goes out says what `plan` says, m-line by m-line; else what is wrong.
pub fn written(offer: &Remote, plan: &Agreement, text: &str) -> Result<(), String> {
    let answer = Remote::read(text).map_err(|e| format!("{e}, in our\n{text}"))?;
    if kinds(offer) != kinds(&answer) {
        return Err(format!(
            "not the m-lines {:?}, in our\n{text}",
            kinds(offer)
        ));
    }
    if kinds(offer)
        .iter()
        .enumerate()
        .any(|(index, kind)| *kind != offer.first_line(index).0.to_lowercase())
    {
        // A kind that cannot be repeated is none of audio and video.
        return Ok(());
    }
    let ours = answer.audio_video().zip(&plan.streams);
    for ((theirs, _), ((ours, _), stream)) in offer.audio_video().zip(ours) {
        line_written(theirs, ours, stream)
            .map_err(|wrong| format!("m-line {}: {wrong}, in our\n{text}", ours.index))?;
    }
    Ok(())
}

fn line_written(theirs: &MediaLine, ours: &MediaLine, stream: &StreamConfig) -> Result<(), String> {
    let same = |what: &str, found: &dyn Debug, wanted: &dyn Debug| {
        let (found, wanted) = (format!("{found:?}"), format!("{wanted:?}"));
        match found == wanted {
            true => Ok(()),
            false => Err(format!("{what} is {found}, not {wanted}")),
        }
    };
    same("port 0", &ours.rejected, &stream.codecs.is_empty())?;
    if !theirs.mid.is_empty() {
        same("mid", &ours.mid, &printable(&theirs.mid))?;
    }
    let direction = (ours.direction.sends, ours.direction.receives);
    match stream.direction {
        Direction::SendOnly => same("sending, receiving", &direction, &(true, false))?,
        Direction::RecvOnly => same("sending, receiving", &direction, &(false, true))?,
        Direction::SendRecv => same("sending, receiving", &direction, &(true, true))?,
        Direction::Inactive => same("sending, receiving", &direction, &(false, false))?,
    }
    if ours.rejected {
        // It repeats the formats of the offer, whatever they are.
        return Ok(());
    }
    let types = |codecs: &[Codec]| codecs.iter().map(|c| c.payload_type).collect::<Vec<_>>();
    same("codecs", &types(&ours.codecs), &types(&stream.codecs))?;
    for codec in &ours.codecs {
        if !is_offered(codec, theirs) {
            return Err(format!("{codec:?} is not of {theirs:?}"));
        }
    }
    Ok(())
}

fn kinds(description: &Remote) -> Vec<String> {
    (0..description.media.len())
        .map(|index| printable(description.first_line(index).0).to_lowercase())
        .collect()
}

/// What may be repeated of the remote's words: a control character is nobody's.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
