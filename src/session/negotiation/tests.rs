// SPDX-License-Identifier: MPL-2.0
use super::*;
use crate::media::codec::supported;
use crate::media::header_extension::HeaderExtension;

mod layers;

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 a v\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n\
                    a=fingerprint:sha-256 00\r\n";

fn video(mid: &str, direction: &str) -> String {
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 97 98 99 100\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n\
         a=rtpmap:97 VP8/90000\r\na=rtcp-fb:97 nack\r\na=rtcp-fb:97 goog-remb\r\na=rtpmap:98 rtx/90000\r\n\
         a=fmtp:98 apt=97\r\na=rtpmap:99 H264/90000\r\n\
         a=fmtp:99 packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:100 H264/90000\r\n\
         a=fmtp:100 packetization-mode=1;profile-level-id=640c34\r\n"
    )
}

fn audio(mid: &str, direction: &str) -> String {
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\n"
    )
}

fn remote(lines: &[String]) -> Remote {
    Remote::read(&format!("{HEAD}{}", lines.concat())).unwrap()
}

fn h264(id: &str) -> Codec {
    let fmtp = format!("packetization-mode=1;profile-level-id={id}");
    supported("H264").unwrap().with_fmtp(&fmtp)
}

fn opus() -> Codec {
    supported("opus").unwrap().with_fmtp("")
}

fn receive(names: &[&str], ordered: bool) -> Wish {
    Wish::Receive(Receiving {
        codecs: names.iter().map(|n| supported(n).unwrap()).collect(),
        video_ordered: ordered,
        audio_ordered: ordered,
        video: 1,
        audio: 1,
        layers: Default::default(),
    })
}

fn send(codecs: &[Codec]) -> Wish {
    Wish::Send(codecs.iter().cloned().map(Sending::from).collect())
}

fn first_offer(wish: &Wish) -> Agreement {
    super::offer(wish, &Agreement::default())
}

fn answer(wish: &Wish, offer: &Remote) -> Result<Agreement, CallError> {
    super::answer(wish, offer, &Agreement::default())
}

#[test]
fn payload_types_of_bundled_m_lines_differ() {
    let streams = first_offer(&send(&[h264("42e01f"), h264("640028"), opus()])).streams;
    let mut all: Vec<_> = streams
        .iter()
        .flat_map(|s| &s.codecs)
        .flat_map(|c| std::iter::once(c.payload_type).chain(c.rtx_payload_type))
        .collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!((count, all.len()), (5, 5));
}

#[test]
fn a_sender_answers_with_the_fitting_profile_and_leaves_the_rest_inactive() {
    let offer = remote(&[audio("a", "recvonly"), video("v", "sendrecv")]);
    let plan = answer(&send(&[h264("42c01e")]), &offer).unwrap();
    assert_eq!(plan.streams.len(), 2);
    assert_eq!(plan.streams[0].direction, Direction::Inactive);
    assert_eq!(plan.streams[1].direction, Direction::SendOnly);
    assert_eq!(plan.agreed.len(), 1);
    assert_eq!(plan.agreed[0].codec.payload_type, 99);
    assert_eq!((plan.agreed[0].stream, plan.agreed[0].local), (1, 0));
}

#[test]
fn a_wider_profile_of_the_remote_takes_a_narrower_stream() {
    let offer = remote(&[video("v", "recvonly").replace("42e01f", "640028")]);
    let plan = answer(&send(&[h264("4d001f")]), &offer).unwrap();
    assert_eq!(plan.agreed[0].codec.payload_type, 99);
}

#[test]
fn what_the_remote_does_not_take_is_told() {
    let offer = remote(&[video("v", "recvonly")]);
    let plan = answer(&send(&[h264("42e01f"), opus()]), &offer).unwrap();
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].0, 1);
    let error = answer(&send(&[h264("64001f")]), &offer).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("H264 high (64001f)") && text.contains("VP8"),
        "{text}"
    );
}

#[test]
fn a_receiver_follows_the_remotes_order_unless_the_user_gave_one() {
    let offer = remote(&[video("v", "sendonly")]);
    let any = answer(&receive(&["H264", "VP8"], false), &offer).unwrap();
    assert_eq!(any.agreed[0].codec.name, "VP8");
    assert_eq!(any.agreed[0].codec.rtx_payload_type, Some(98));
    assert_eq!(any.agreed[0].codec.feedback, ["nack", "goog-remb"]);
    let ordered = answer(&receive(&["H264", "VP8"], true), &offer).unwrap();
    assert_eq!(ordered.agreed[0].codec.payload_type, 99);
}

#[test]
fn a_receiver_takes_nothing_from_a_line_that_sends_nothing() {
    for direction in ["recvonly", "inactive"] {
        let offer = remote(&[video("v", direction)]);
        assert!(answer(&receive(&["VP8"], false), &offer).is_err());
    }
}

#[test]
fn the_answer_decides_the_payload_type_that_we_send() {
    let wish = send(&[h264("42e01f")]);
    let offered = first_offer(&wish);
    let agreed = read_answer(&wish, &offered, &remote(&[video("0", "recvonly")])).unwrap();
    assert_eq!(agreed.agreed[0].codec.payload_type, 99);
}

#[test]
fn an_answer_to_another_offer_is_refused() {
    let wish = send(&[h264("42e01f")]);
    let offered = first_offer(&wish);
    let two = remote(&[video("0", "recvonly"), audio("1", "recvonly")]);
    let error = read_answer(&wish, &offered, &two).unwrap_err();
    assert!(matches!(error, CallError::BadDescription { .. }));
    let rejected = remote(&[video("0", "recvonly").replace("m=video 9", "m=video 0")]);
    let error = read_answer(&wish, &offered, &rejected).unwrap_err();
    assert!(matches!(error, CallError::NoCommonCodec { .. }));
}

#[test]
fn a_receivers_offer_holds_one_line_a_kind() {
    let streams = first_offer(&receive(&["VP8", "H264", "opus"], false)).streams;
    assert_eq!(streams.len(), 2);
    assert!(streams[0].codecs.len() > 2);
    assert_eq!(first_offer(&receive(&["H264"], true)).streams.len(), 1);
}

#[test]
fn a_later_offer_keeps_what_was_agreed_and_adds_behind_it() {
    let wish = send(&[h264("42e01f")]);
    let first = first_offer(&wish);
    let agreed = read_answer(&wish, &first, &remote(&[video("0", "recvonly")])).unwrap();
    let wish = send(&[h264("42e01f"), opus()]);
    let second = super::offer(&wish, &agreed);
    assert_eq!(second.streams[0].codecs[0].payload_type, 99);
    assert_eq!(second.streams[1].mid, "1");
    assert_eq!(second.locals, [Some(0), Some(1)]);
    let mid = |s: &StreamConfig| s.extension(HeaderExtension::Mid);
    // One id is one extension in all bundled m-lines.
    assert_eq!(mid(&first.streams[0]), mid(&second.streams[1]));
    let rejected = remote(&[
        video("0", "recvonly"),
        audio("1", "recvonly").replace("m=audio 9", "m=audio 0"),
    ]);
    let agreed = read_answer(&wish, &second, &rejected).unwrap();
    assert_eq!(agreed.agreed.len(), 1);
    assert!(
        agreed.left_out[0].1.contains("port 0"),
        "{:?}",
        agreed.left_out
    );
}

#[test]
fn a_stream_that_is_taken_back_leaves_its_m_line_inactive() {
    let mut wish = send(&[h264("42e01f"), opus()]);
    let first = first_offer(&wish);
    if let Wish::Send(streams) = &mut wish {
        streams[0].removed = true;
    }
    let second = super::offer(&wish, &first);
    assert_eq!(second.streams[0].direction, Direction::Inactive);
    assert_eq!(second.streams[1].direction, Direction::SendOnly);
    assert_eq!(second.locals, [None, Some(1)]);
}

#[test]
fn m_lines_without_bundle_leave_one_in_use_and_say_why() {
    let apart = |lines: &[String]| {
        let text = HEAD.replace("a=group:BUNDLE 0 1 a v\r\n", "") + &lines.concat();
        Remote::read(&text).unwrap()
    };
    let offer = apart(&[video("v", "recvonly"), audio("a", "recvonly")]);
    let plan = answer(&send(&[h264("42e01f"), opus()]), &offer).unwrap();
    assert_eq!(plan.agreed.len(), 1);
    assert!(plan.streams[1].codecs.is_empty());
    assert!(plan.left_out[0].1.contains("BUNDLE"), "{:?}", plan.left_out);
}

#[test]
fn extensions_of_an_answer_are_a_subset_with_the_ids_of_the_offer() {
    let extensions = "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
                      a=extmap:5/sendonly urn:3gpp:video-orientation\r\n\
                      a=extmap:15 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
                      a=extmap:6 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
                      a=extmap:7 urn:example:unknown\r\n";
    let offer = remote(&[video("v", "sendrecv") + extensions]);
    let wanted = vec![
        (4, HeaderExtension::Mid),
        (5, HeaderExtension::VideoOrientation),
    ];
    let receiver = answer(&receive(&["VP8"], false), &offer).unwrap();
    assert_eq!(receiver.streams[0].extensions, wanted);
    let sender = answer(&send(&[h264("42e01f")]), &offer).unwrap();
    assert_eq!(sender.streams[0].extensions, wanted);
}

#[test]
fn a_dependency_descriptor_is_agreed_on_only_where_both_forms_may_be_mixed() {
    let descriptor = HeaderExtension::DependencyDescriptor;
    let has = |agreement: &Agreement| agreement.streams[0].extension(descriptor);
    let named = format!("a=extmap:9 {}\r\n", descriptor.uri());
    let mixed = "a=extmap-allow-mixed\r\n";
    let mut brings = send(&[h264("42e01f")]);
    if let Wish::Send(sending) = &mut brings {
        sending[0].extensions = vec![descriptor];
    }
    let wishes = [receive(&["VP8"], false), brings, send(&[h264("42e01f")])];
    for (allowed, expected) in [("", [None; 3]), (mixed, [Some(9), Some(9), None])] {
        let offer = remote(&[video("v", "sendrecv") + &named + allowed]);
        let got = wishes
            .each_ref()
            .map(|wish| has(&answer(wish, &offer).unwrap()));
        assert_eq!(got, expected, "{allowed}");
    }
    // Said of the whole session.
    let whole = HEAD.to_owned() + mixed + &video("v", "sendrecv") + &named;
    let offer = Remote::read(&whole).unwrap();
    assert_eq!(has(&answer(&wishes[0], &offer).unwrap()), Some(9));

    // Whoever only sends offers what its stream brings.
    let offered = wishes.each_ref().map(first_offer);
    assert!(has(&offered[0]).is_some() && has(&offered[1]).is_some());
    assert_eq!(has(&offered[2]), None);
    for (allowed, kept) in [("", false), (mixed, true)] {
        let own = format!(
            "a=extmap:{} {}\r\n",
            has(&offered[0]).unwrap(),
            descriptor.uri()
        );
        let reply = remote(&[video("0", "sendonly") + &own + allowed]);
        let agreed = super::read_answer(&wishes[0], &offered[0], &reply).unwrap();
        assert_eq!(has(&agreed).is_some(), kept, "{allowed}");
    }
}

#[test]
fn a_receiver_offers_as_many_lines_as_were_asked_for() {
    let mut wish = receive(&["VP8", "opus"], false);
    if let Wish::Receive(receiving) = &mut wish {
        (receiving.video, receiving.audio) = (2, 3);
    }
    let streams = first_offer(&wish).streams;
    let kinds: Vec<_> = streams.iter().map(|s| s.kind.as_str()).collect();
    assert_eq!(kinds, ["video", "video", "audio", "audio", "audio"]);
    let mids: Vec<_> = streams.iter().map(|s| s.mid.as_str()).collect();
    assert_eq!(mids, ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_remote_sends_with_the_payload_types_of_our_offer() {
    let wish = receive(&["VP8"], false);
    let offered = first_offer(&wish);
    // Its answer says 97 for VP8, which is what it would receive.
    let agreed = read_answer(&wish, &offered, &remote(&[video("0", "sendonly")])).unwrap();
    assert_eq!(agreed.agreed[0].codec.payload_type, 96);
}

#[test]
fn an_order_of_audio_codecs_leaves_the_order_of_video_to_the_remote() {
    let both = audio("a", "sendonly").replace("111\r\n", "0 111\r\n");
    let offer = remote(&[video("v", "sendonly"), both]);
    let mut wish = receive(&["H264", "VP8", "opus", "PCMU"], false);
    if let Wish::Receive(receiving) = &mut wish {
        receiving.audio_ordered = true;
    }
    let plan = answer(&wish, &offer).unwrap();
    let names: Vec<_> = plan.agreed.iter().map(|a| a.codec.name.as_str()).collect();
    assert_eq!(names, ["VP8", "opus"]);
}

#[test]
fn a_remote_sends_in_the_order_of_our_offer_whatever_the_order_of_its_answer() {
    let wish = receive(&["H264", "VP8"], false);
    let offered = first_offer(&wish);
    let its_own_order = "m=video 9 UDP/TLS/RTP/SAVPF 96 106 102\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
                         a=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:106 H264/90000\r\n\
                         a=fmtp:106 packetization-mode=1;profile-level-id=640034\r\n\
                         a=rtpmap:102 H264/90000\r\n\
                         a=fmtp:102 packetization-mode=1;profile-level-id=42e034\r\n";
    let answer = remote(&[its_own_order.to_owned()]);
    let agreed = read_answer(&wish, &offered, &answer).unwrap().agreed;
    assert_eq!(agreed[0].codec.payload_type, 102);
    let others: Vec<_> = agreed[0]
        .alternatives
        .iter()
        .map(|c| c.payload_type)
        .collect();
    assert!(others.contains(&96) && others.contains(&106), "{others:?}");
}

#[test]
fn an_idle_m_line_is_used_again_and_names_of_other_m_lines_are_left_alone() {
    let data =
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n";
    let offer = remote(&[audio("0", "recvonly"), data.to_owned()]);
    let mut streams = vec![Sending::from(opus())];
    let first = answer(&Wish::Send(streams.clone()), &offer).unwrap();
    streams.push(h264("42e01f").into());
    let second = super::offer(&Wish::Send(streams.clone()), &first);
    assert_eq!(second.streams[1].mid, "2", "1 is the data channel's");
    streams[1].removed = true;
    let third = super::offer(&Wish::Send(streams.clone()), &second);
    streams.push(h264("640028").into());
    let fourth = super::offer(&Wish::Send(streams.clone()), &third);
    assert_eq!(fourth.streams.len(), 2);
    assert_eq!(fourth.locals, [Some(0), Some(2)]);
    assert_eq!(fourth.streams[1].direction, Direction::SendOnly);
    // Not in the same offer that takes the former stream back: it would look like a change of codec.
    streams[2].removed = true;
    streams.push(h264("42e01f").into());
    assert_eq!(super::offer(&Wish::Send(streams), &fourth).streams.len(), 3);
}

#[test]
fn a_later_offer_moves_no_stream_to_another_m_line() {
    let wish = send(&[h264("42e01f")]);
    let before = remote(&[video("0", "sendonly"), video("1", "recvonly")]);
    let first = answer(&wish, &before).unwrap();
    let after = remote(&[video("0", "sendrecv"), video("1", "recvonly")]);
    let second = super::answer(&wish, &after, &first).unwrap();
    assert_eq!(second.locals, [None, Some(0)]);
}

#[test]
fn directions_that_leave_nothing_to_do_are_told_apart_from_codecs() {
    let offer = remote(&[video("v", "sendonly")]);
    let error = answer(&send(&[h264("42e01f")]), &offer).unwrap_err();
    assert!(matches!(error, CallError::NothingFlows { .. }), "{error}");
}

/// With an m-line of data channels besides `lines`.
fn with_data(lines: &[String]) -> Remote {
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:d\r\n\
                a=sctp-port:5000\r\n";
    remote(&[lines.concat(), data.to_owned()])
}

#[test]
fn data_alone_is_no_call_where_media_was_wanted() {
    let both = |sent: &[Codec]| {
        Wish::Both(TwoWay {
            streams: sent.iter().cloned().map(Sending::from).collect(),
            unknown: Vec::new(),
            receiving: receive(&["AV1"], false).receiving().cloned(),
        })
    };
    let offer = with_data(&[video("0", "sendrecv")]);
    for wish in [both(&[opus()]), both(&[]), receive(&["AV1"], false)] {
        assert!(super::answer(&wish, &offer, &Agreement::default()).is_err());
        assert!(data::answer(&wish, &offer).is_none(), "{wish:?}");
    }
    assert!(data::answer(&both(&[opus()]), &with_data(&[])).is_none());
    assert!(data::answer(&both(&[]), &with_data(&[])).is_some());

    let refusal = |offered: &Agreement| {
        let lines = offered.streams.iter().map(|stream| match stream.kind {
            MediaKind::Video => video("0", "inactive"),
            MediaKind::Audio => audio("a", "inactive"),
        });
        data::read_answer(offered, &with_data(&lines.collect::<Vec<_>>()))
    };
    let vp8 = supported("VP8").unwrap().with_fmtp("");
    assert!(refusal(&first_offer(&both(&[vp8]))).is_none());
    assert!(refusal(&first_offer(&both(&[]))).is_some());
}
