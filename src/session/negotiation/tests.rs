// SPDX-License-Identifier: MPL-2.0
use super::*;

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n\
                    a=fingerprint:sha-256 00\r\n";

fn video(mid: &str, direction: &str) -> String {
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 97 98 99 100\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\n\
         a=rtpmap:97 VP8/90000\r\na=rtcp-fb:97 nack\r\na=rtcp-fb:97 goog-remb\r\na=rtpmap:98 rtx/90000\r\n\
         a=fmtp:98 apt=97\r\na=rtpmap:99 H264/90000\r\n\
         a=fmtp:99 packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:100 H264/90000\r\n\
         a=fmtp:100 packetization-mode=1;profile-level-id=640c34\r\n"
    )
}

fn audio(mid: &str, direction: &str) -> String {
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\n\
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
    Wish::Receive {
        codecs: names.iter().map(|n| supported(n).unwrap()).collect(),
        ordered,
    }
}

#[test]
fn payload_types_of_bundled_m_lines_differ() {
    let streams = offer(&Wish::Send(vec![h264("42e01f"), h264("640028"), opus()]));
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
    let plan = answer(&Wish::Send(vec![h264("42c01e")]), &offer).unwrap();
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
    let plan = answer(&Wish::Send(vec![h264("4d001f")]), &offer).unwrap();
    assert_eq!(plan.agreed[0].codec.payload_type, 99);
}

#[test]
fn what_the_remote_does_not_take_is_told() {
    let offer = remote(&[video("v", "recvonly")]);
    let plan = answer(&Wish::Send(vec![h264("42e01f"), opus()]), &offer).unwrap();
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].0, 1);
    let error = answer(&Wish::Send(vec![h264("64001f")]), &offer).unwrap_err();
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
    assert_eq!(any.agreed[0].codec.feedback, ["nack"]);
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
    let wish = Wish::Send(vec![h264("42e01f")]);
    let offered = offer(&wish);
    let agreed = read_answer(&wish, &offered, &remote(&[video("0", "recvonly")])).unwrap();
    assert_eq!(agreed[0].codec.payload_type, 99);
}

#[test]
fn an_answer_to_another_offer_is_refused() {
    let wish = Wish::Send(vec![h264("42e01f")]);
    let offered = offer(&wish);
    let two = remote(&[video("0", "recvonly"), audio("1", "recvonly")]);
    let error = read_answer(&wish, &offered, &two).unwrap_err();
    assert!(matches!(error, CallError::BadDescription { .. }));
    let rejected = remote(&[video("0", "recvonly").replace("m=video 9", "m=video 0")]);
    let error = read_answer(&wish, &offered, &rejected).unwrap_err();
    assert!(matches!(error, CallError::NoCommonCodec { .. }));
}

#[test]
fn a_receivers_offer_holds_one_line_a_kind() {
    let streams = offer(&receive(&["VP8", "H264", "opus"], false));
    assert_eq!(streams.len(), 2);
    assert!(streams[0].codecs.len() > 2);
    assert_eq!(offer(&receive(&["H264"], true)).len(), 1);
}
