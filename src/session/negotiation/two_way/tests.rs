// SPDX-License-Identifier: MPL-2.0
//! M-lines of both directions, between two of our own sides and against others.

use super::*;
use crate::media::codec::supported;
use crate::peer::fuzzing;
use crate::sdp::{Remote, Transport};
use crate::session::negotiation;

fn transport() -> Transport {
    Transport {
        ufrag: "abcd".to_owned(),
        pwd: "abcdefghijklmnopqrstuv".to_owned(),
        fingerprints: vec!["sha-256 00:11".to_owned()],
        setup: "actpass".to_owned(),
        ..Transport::default()
    }
}

fn stream(name: &str) -> Sending {
    supported(name).unwrap().with_fmtp("").into()
}

fn receiving(video: usize, audio: usize) -> Receiving {
    Receiving {
        codecs: SUPPORTED.iter().collect(),
        video_ordered: false,
        audio_ordered: false,
        video,
        audio,
        layers: Default::default(),
    }
}

fn both(streams: &[&str], receiving: Option<Receiving>) -> Wish {
    Wish::Both(TwoWay {
        streams: streams.iter().map(|name| stream(name)).collect(),
        unknown: Vec::new(),
        receiving,
    })
}

/// What both sides hold after an offer of `offering` and its answer.
fn negotiate(
    offering: (&Wish, &Agreement),
    answering: (&Wish, &Agreement),
) -> (Agreement, Agreement) {
    let offered = negotiation::offer(offering.0, offering.1);
    let text = fuzzing::offer(&offered.streams, &transport());
    let offer = Remote::read(&text).unwrap();
    let plan = negotiation::answer(answering.0, &offer, answering.1).unwrap();
    let text = fuzzing::answer(&offer, &plan.streams, &transport());
    let answer = Remote::read(&text).unwrap();
    let result = negotiation::read_answer(offering.0, &offered, &answer).unwrap();
    (result, plan)
}

fn directions(agreement: &Agreement) -> Vec<Direction> {
    agreement.streams.iter().map(|s| s.direction).collect()
}

/// Kind, local number and direction of all that flows.
fn flows(agreement: &Agreement) -> Vec<(MediaKind, usize, Direction)> {
    let agreed = agreement.agreed.iter();
    agreed
        .map(|a| (a.codec.kind, a.local, a.direction))
        .collect()
}

#[test]
fn what_one_leg_sends_and_the_other_receives_shares_m_lines_by_kind_and_order() {
    let nothing = Agreement::default();
    let ours = both(&["opus", "VP8", "H264"], Some(receiving(1, 1)));
    let theirs = both(&["VP8", "opus"], Some(receiving(1, 1)));
    let (ours, theirs) = negotiate((&ours, &nothing), (&theirs, &nothing));
    let kinds: Vec<_> = ours.streams.iter().map(|s| s.kind).collect();
    assert_eq!(
        kinds,
        [MediaKind::Audio, MediaKind::Video, MediaKind::Video]
    );
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    assert_eq!(directions(&ours), [SendRecv, SendRecv, SendOnly]);
    assert_eq!(directions(&theirs), [SendRecv, SendRecv, RecvOnly]);
    let (audio, video) = (MediaKind::Audio, MediaKind::Video);
    let expected = [
        (audio, 0, SendOnly),
        (audio, 0, RecvOnly),
        (video, 1, SendOnly),
        (video, 1, RecvOnly),
        (video, 2, SendOnly),
    ];
    assert_eq!(flows(&ours), expected);
    assert!(!directions(&ours).contains(&Inactive));
    assert_eq!((&ours.left_out, &theirs.left_out), (&vec![], &vec![]));
}

#[test]
fn a_number_means_one_codec_on_all_m_lines() {
    let wish = both(&["VP8", "H264", "opus"], Some(receiving(2, 1)));
    let offered = negotiation::offer(&wish, &Agreement::default());
    let mut known: Vec<(u8, String, String)> = Vec::new();
    for codec in offered.streams.iter().flat_map(|s| &s.codecs) {
        let says = (codec.payload_type, codec.name.clone(), codec.fmtp.clone());
        let other = known.iter().find(|(pt, ..)| *pt == codec.payload_type);
        assert!(
            other.is_none_or(|other| *other == says),
            "{says:?} and {other:?}"
        );
        known.push(says);
    }
    for stream in &offered.streams {
        let mut numbers: Vec<_> = stream.payload_types().collect();
        numbers.sort_unstable();
        numbers
            .windows(2)
            .for_each(|two| assert_ne!(two[0], two[1], "{stream:?}"));
    }
}

#[test]
fn a_remote_that_goes_one_way_gets_or_gives_what_it_can() {
    let nothing = Agreement::default();
    let ours = both(&["VP8"], Some(receiving(1, 0)));
    let listener = Wish::Receive(receiving(1, 1));
    let (result, _) = negotiate((&ours, &nothing), (&listener, &nothing));
    assert_eq!(directions(&result), [Direction::SendOnly]);
    let speaker = Wish::Send(vec![stream("VP8")]);
    let (_, plan) = negotiate((&speaker, &nothing), (&ours, &nothing));
    assert_eq!(directions(&plan), [Direction::RecvOnly]);
    assert_eq!(plan.left_out.len(), 1, "ours has no m-line in that offer");
}

#[test]
fn legs_leave_and_come_back_on_the_same_m_lines() {
    let nothing = Agreement::default();
    let remote = both(&["VP8"], Some(receiving(1, 0)));
    let whole = both(&["VP8"], Some(receiving(1, 0)));
    let (ours, theirs) = negotiate((&whole, &nothing), (&remote, &nothing));
    let (mid, numbers) = (
        ours.streams[0].mid.clone(),
        ours.streams[0].codecs[0].payload_type,
    );
    assert!(settle(&whole, &ours).is_some(), "nothing is missing");

    let deaf = both(&["VP8"], None);
    assert!(settle(&deaf, &ours).is_none());
    let (ours, theirs) = negotiate((&deaf, &ours), (&remote, &theirs));
    assert_eq!(directions(&ours), [Direction::SendOnly]);
    assert_eq!(directions(&theirs), [Direction::RecvOnly]);

    assert!(settle(&whole, &ours).is_none());
    let (ours, theirs) = negotiate((&whole, &ours), (&remote, &theirs));
    assert_eq!(directions(&ours), [Direction::SendRecv]);
    assert_eq!(flows(&ours).len(), 2);
    assert_eq!(ours.streams[0].mid, mid);
    assert_eq!(ours.streams[0].codecs[0].payload_type, numbers);

    let Wish::Both(mut mute) = whole else {
        unreachable!()
    };
    mute.streams[0].removed = true;
    let again = {
        let mut again = mute.clone();
        again.streams.push(stream("VP8"));
        Wish::Both(again)
    };
    let (ours, theirs) = negotiate((&Wish::Both(mute), &ours), (&remote, &theirs));
    assert_eq!(directions(&ours), [Direction::RecvOnly]);
    let (ours, _) = negotiate((&again, &ours), (&remote, &theirs));
    assert_eq!(directions(&ours), [Direction::SendRecv]);
    assert_eq!(
        ours.locals,
        [Some(1)],
        "the new stream, where the former one was"
    );
}

#[test]
fn a_stream_whose_codec_is_known_late_finds_its_m_line_kept() {
    let nothing = Agreement::default();
    let echo = Wish::Both(TwoWay {
        streams: Vec::new(),
        unknown: vec![MediaKind::Video],
        receiving: Some(receiving(1, 0)),
    });
    let remote = both(&["H264"], Some(receiving(1, 0)));
    let known = both(&["H264"], Some(receiving(1, 0)));
    let (as_offerer, _) = negotiate((&echo, &nothing), (&remote, &nothing));
    let (_, as_answerer) = negotiate((&remote, &nothing), (&echo, &nothing));
    for agreement in [as_offerer, as_answerer] {
        assert_eq!(directions(&agreement), [Direction::SendRecv]);
        assert_eq!(flows(&agreement).len(), 1, "nothing is sent yet");
        let settled = settle(&known, &agreement).unwrap();
        assert_eq!(settled.locals, [Some(0)]);
        let sent = &settled.agreed[0];
        assert_eq!(
            (sent.direction, &*sent.codec.name),
            (Direction::SendOnly, "H264")
        );
        let other = both(&["AV1"], Some(receiving(1, 0)));
        assert_eq!(
            settle(&other, &agreement).is_some(),
            agreement.streams[0].codecs.iter().any(|c| c.name == "AV1")
        );
    }
}
