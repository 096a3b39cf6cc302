// SPDX-License-Identifier: MPL-2.0
//! Which video is protected by FEC: agreed on beside the codecs, and never in the way of them.

use crate::media::codec::MediaKind;
use crate::media::fec::{Protection, Scheme, Wanted};
use crate::peer::{Direction, StreamConfig};
use crate::sdp::{MediaLine, Remote};

use super::Agreement;
use super::offer::take_free;

/// Payload types that we offer, if they are free: no codec of ours has them.
const ULPFEC: u8 = 124;
const RED: u8 = 122;
const RED_RTX: u8 = 123;
const FLEXFEC: u8 = 125;

/// Adds what is `wanted` to our offer.
pub fn offer(wanted: Option<Wanted>, offered: &mut Agreement) {
    let Some(wanted) = wanted else {
        return;
    };
    let mut taken: Vec<u8> = offered
        .streams
        .iter()
        .flat_map(StreamConfig::payload_types)
        .collect();
    let mut received = None;
    for stream in &mut offered.streams {
        let idle = stream.direction == Direction::Inactive || stream.codecs.is_empty();
        // Layers stand in for each other: a lost one is no reason to send more.
        let layered = stream.layer.is_some();
        if stream.kind != MediaKind::Video
            || idle
            || layered
            || stream.fec.is_some()
            || !fits(wanted, stream)
        {
            continue;
        }
        // Streams that come may share numbers, as their codecs do.
        let known = received.filter(|_| stream.direction == Direction::RecvOnly);
        let fec = known.unwrap_or_else(|| numbered(wanted, &mut taken));
        if stream.direction == Direction::RecvOnly {
            received = Some(fec);
        }
        stream.fec = Some(fec);
    }
}

fn numbered(wanted: Wanted, taken: &mut Vec<u8>) -> Protection {
    let (own, red) = match wanted.scheme {
        Scheme::Ulpfec => {
            let (red, rtx) = (take_free(RED, taken), take_free(RED_RTX, taken));
            (ULPFEC, Some((red, Some(rtx))))
        }
        Scheme::Flexfec => (FLEXFEC, None),
    };
    Protection {
        scheme: wanted.scheme,
        payload_type: take_free(own, taken),
        red,
        percentage: wanted.percentage,
    }
}

/// Takes what is `wanted` into our answer where `offer` has it.
pub fn answer(wanted: Option<Wanted>, offer: &Remote, plan: &mut Agreement) {
    let lines = plan.streams.iter_mut().enumerate();
    let lines = lines.filter(|(index, stream)| stream.has_line(*index));
    for ((_, stream), (line, kind)) in lines.zip(offer.audio_video()) {
        let flows = stream.direction != Direction::Inactive && !stream.codecs.is_empty();
        stream.fec = wanted
            .filter(|_| kind == MediaKind::Video && flows && stream.layer.is_none())
            .filter(|wanted| fits(*wanted, stream))
            .and_then(|wanted| theirs(wanted, line));
    }
    tell(wanted, plan);
}

/// Keeps in `result` what `answer` took of our offer.
pub fn read_answer(wanted: Option<Wanted>, answer: &Remote, result: &mut Agreement) {
    let lines = result.streams.iter_mut().enumerate();
    let lines = lines.filter(|(index, stream)| stream.has_line(*index));
    for ((_, stream), (line, _)) in lines.zip(answer.audio_video()) {
        let Some(ours) = stream.fec.take() else {
            continue;
        };
        let offered = Wanted {
            scheme: ours.scheme,
            percentage: ours.percentage,
        };
        let taken = theirs(offered, line);
        stream.fec = taken.filter(|_| !line.rejected).map(|taken| {
            // RFC 3264 section 6.1: what comes is numbered as we offered, what goes as they answer.
            if stream.direction.sends() {
                taken
            } else {
                ours
            }
        });
    }
    tell(wanted, result);
}

/// Whether what we send can be protected so. What comes is the remote's choice.
fn fits(wanted: Wanted, stream: &StreamConfig) -> bool {
    let mut codecs = stream.codecs.iter();
    match stream.direction {
        Direction::SendOnly => codecs.all(|codec| wanted.scheme.fits(&codec.name)),
        // The first is what is sent, if this side chose.
        Direction::SendRecv => codecs.next().is_some_and(|c| wanted.scheme.fits(&c.name)),
        Direction::RecvOnly | Direction::Inactive => true,
    }
}

/// What `line` has of the scheme.
fn theirs(wanted: Wanted, line: &MediaLine) -> Option<Protection> {
    let named = |name: &str| {
        let mut all = line.fec.iter();
        all.find(|f| f.name.eq_ignore_ascii_case(name) && f.clock_rate == 90_000)
    };
    let own = named(wanted.scheme.as_str())?;
    let red = match wanted.scheme {
        Scheme::Ulpfec => {
            let red = named("red")?;
            Some((red.payload_type, red.rtx_payload_type))
        }
        Scheme::Flexfec => None,
    };
    Some(Protection {
        scheme: wanted.scheme,
        payload_type: own.payload_type,
        red,
        percentage: wanted.percentage,
    })
}

/// Says of each stream what came of the wish.
fn tell(wanted: Option<Wanted>, result: &mut Agreement) {
    for agreed in &mut result.agreed {
        let stream = result.streams.get(agreed.stream);
        agreed.fec = stream.and_then(|stream| stream.fec);
        agreed.fec_left_out = wanted
            .map(|wanted| wanted.scheme)
            .filter(|_| agreed.fec.is_none() && agreed.codec.kind == MediaKind::Video);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::supported;
    use crate::peer::fuzzing;
    use crate::sdp::Transport;
    use crate::session::negotiation::{self, Receiving, Sending, Wish};

    fn wanted(scheme: Scheme) -> Option<Wanted> {
        Some(Wanted {
            scheme,
            percentage: Some(20),
        })
    }

    fn transport() -> Transport {
        Transport {
            ufrag: "abcd".to_owned(),
            pwd: "abcdefghijklmnopqrstuv".to_owned(),
            fingerprints: vec!["sha-256 00:11".to_owned()],
            setup: "actpass".to_owned(),
            ..Transport::default()
        }
    }

    fn sender() -> Wish {
        let vp8 = Sending::from(supported("VP8").unwrap().with_fmtp(""));
        let opus = Sending::from(supported("opus").unwrap().with_fmtp(""));
        Wish::Send(vec![vp8.clone(), opus, vp8])
    }

    fn receiver() -> Wish {
        let rows = ["VP8", "opus"].map(|name| supported(name).unwrap());
        Wish::Receive(Receiving {
            codecs: rows.to_vec(),
            video_ordered: false,
            audio_ordered: false,
            video: 2,
            audio: 1,
            layers: Default::default(),
        })
    }

    /// A whole negotiation; gives what the offerer and the answerer have of the first video.
    fn negotiate(
        offering: (Wish, Option<Wanted>),
        answering: (Wish, Option<Wanted>),
    ) -> [Agreement; 2] {
        let mut offered = negotiation::offer(&offering.0, &Agreement::default());
        offer(offering.1, &mut offered);
        let text = fuzzing::offer(&offered.streams, &transport());
        let remote = Remote::read(&text).unwrap();
        let mut plan = negotiation::answer(&answering.0, &remote, &Agreement::default()).unwrap();
        answer(answering.1, &remote, &mut plan);
        let text = fuzzing::answer(&remote, &plan.streams, &transport());
        let remote = Remote::read(&text).unwrap();
        let mut result = negotiation::read_answer(&offering.0, &offered, &remote).unwrap();
        read_answer(offering.1, &remote, &mut result);
        [result, plan]
    }

    #[test]
    fn both_sides_agree_on_the_numbers_whoever_offers() {
        for scheme in [Scheme::Ulpfec, Scheme::Flexfec] {
            for (first, second) in [(sender(), receiver()), (receiver(), sender())] {
                let [ours, theirs] = negotiate((first, wanted(scheme)), (second, wanted(scheme)));
                for (ours, theirs) in ours.agreed.iter().zip(&theirs.agreed) {
                    let video = ours.codec.kind == MediaKind::Video;
                    assert_eq!(ours.fec.is_some(), video);
                    assert_eq!(ours.fec, theirs.fec);
                    assert_eq!(ours.fec_left_out, None);
                }
                let mut numbers: Vec<u8> = ours
                    .streams
                    .iter()
                    .flat_map(|s| s.payload_types())
                    .collect();
                numbers.sort_unstable();
                let all = numbers.len();
                numbers.dedup();
                if ours.agreed[0].direction == Direction::SendOnly {
                    assert_eq!(numbers.len(), all, "bundled, so no number twice");
                }
            }
        }
    }

    #[test]
    fn a_side_that_does_not_want_it_is_sent_the_media_alone() {
        let both = [
            (wanted(Scheme::Ulpfec), None),
            (None, wanted(Scheme::Flexfec)),
            (wanted(Scheme::Ulpfec), wanted(Scheme::Flexfec)),
        ];
        for (first, second) in both {
            let results = negotiate((sender(), first), (receiver(), second));
            for (result, wanted) in results.iter().zip([first, second]) {
                assert_eq!(result.agreed.len(), 3);
                assert!(result.streams.iter().all(|stream| stream.fec.is_none()));
                let left_out = result.agreed[0].fec_left_out;
                assert_eq!(left_out, wanted.map(|wanted| wanted.scheme));
            }
        }
    }
}
