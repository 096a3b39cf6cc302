// SPDX-License-Identifier: MPL-2.0
use super::*;
use crate::sdp::model::CandidateKind;

pub(in crate::sdp) const AIORTC: &str = "v=0\r\no=- 3910748632 3910748632 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
a=group:BUNDLE 0\r\na=msid-semantic:WMS *\r\nm=video 61128 UDP/TLS/RTP/SAVPF 97 98 99 100\r\n\
c=IN IP4 127.0.0.1\r\na=sendrecv\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=mid:0\r\n\
a=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=ssrc-group:FID 38 24\r\na=ssrc:38 cname:x\r\na=ssrc:24 cname:x\r\n\
a=rtpmap:97 VP8/90000\r\na=rtcp-fb:97 nack\r\na=rtcp-fb:97 nack pli\r\na=rtpmap:98 rtx/90000\r\n\
a=fmtp:98 apt=97\r\na=rtpmap:99 H264/90000\r\na=rtcp-fb:* nack\r\n\
a=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
a=rtpmap:100 rtx/90000\r\na=fmtp:100 apt=99\r\n\
a=candidate:84 1 udp 2130706431 127.0.0.1 61128 typ host\r\na=end-of-candidates\r\na=ice-ufrag:tAct\r\n\
a=ice-pwd:DxwfHDfHXgNeUJgZVFxeTG\r\na=fingerprint:sha-256 FB:60\r\na=setup:actpass\r\n";

#[test]
fn an_offer_of_aiortc_is_read_whole() {
    let remote = Remote::read(AIORTC).unwrap();
    let line = &remote.media[0];
    assert_eq!(line.kind, Some(MediaKind::Video));
    assert_eq!(line.mid, "0");
    assert!(line.direction.sends && line.direction.receives && !line.rejected);
    let names: Vec<_> = line
        .codecs
        .iter()
        .map(|c| (c.name.as_str(), c.payload_type, c.rtx_payload_type))
        .collect();
    assert_eq!(names, [("VP8", 97, Some(98)), ("H264", 99, Some(100))]);
    assert_eq!(line.codecs[0].feedback, ["nack", "nack pli"]);
    assert_eq!(line.codecs[1].feedback, ["nack"]);
}

#[test]
fn what_is_missing_is_named() {
    assert!(matches!(Remote::read("hello"), Err(SdpError::Syntax(_))));
    assert!(matches!(Remote::read(""), Err(SdpError::Syntax(_))));
    let none = Remote::read("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    assert!(matches!(none, Err(SdpError::Missing(_))), "{none:?}");
    let without = AIORTC.replace("a=fingerprint:sha-256 FB:60\r\n", "");
    let text = Remote::read(&without).unwrap_err().to_string();
    assert!(text.contains("fingerprint"), "{text}");
}

#[test]
fn every_truncation_and_every_flipped_byte_is_survived() {
    for end in 0..AIORTC.len() {
        let _ = Remote::read(&AIORTC[..end]);
        let mut bytes = AIORTC.as_bytes().to_vec();
        bytes[end] ^= 0x11;
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = Remote::read(&text);
        }
    }
}

fn fixture(name: &str) -> Remote {
    let path = format!(
        "{}/tests/fixtures/sdp/{name}.sdp",
        env!("CARGO_MANIFEST_DIR")
    );
    Remote::read(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

#[test]
fn chromes_offer_is_read_with_blank_lines_fec_and_data() {
    let remote = fixture("seed-chrome-sending-offer");
    assert_eq!(remote.bundle, [["video", "data"]]);
    assert_eq!(remote.ice_options, ["trickle"]);
    assert_eq!(remote.msid_semantic.as_deref(), Some("WMS"));
    let video = &remote.media[0];
    let codecs: Vec<_> = video
        .codecs
        .iter()
        .map(|c| (c.payload_type, c.rtx_payload_type))
        .collect();
    assert_eq!(
        codecs,
        [
            (96, Some(97)),
            (98, Some(99)),
            (100, Some(101)),
            (102, Some(124)),
            (127, Some(123))
        ]
    );
    let fec: Vec<_> = video
        .fec
        .iter()
        .map(|f| (f.payload_type, f.name.as_str(), f.rtx_payload_type))
        .collect();
    assert_eq!(fec, [(125, "red", Some(107)), (108, "ulpfec", None)]);
    assert_eq!(video.extensions.len(), 7);
    assert_eq!(
        video.extensions[0].uri,
        "urn:ietf:params:rtp-hdrext:toffset"
    );
    assert!(video.rtcp_mux && video.rtcp_rsize && video.ice.ufrag && video.ice.pwd);
    assert_eq!(video.setup, Some(Setup::ActPass));
    assert_eq!(video.direction.as_str(), "recvonly");
    assert_eq!(
        video.groups,
        [("FID".to_owned(), vec![1_424_320_061, 772_564_596])]
    );
    assert_eq!(video.msid.len(), 1);
    assert_eq!(
        video.msid[0].track.as_deref(),
        Some("3ad04812-b787-4f60-804e-1665a03e12a7")
    );
    assert_eq!(video.sources[1].cname.as_deref(), Some("+T5LKYkAJtmH1euA"));
    let sctp = remote.media[1].sctp.as_ref().unwrap();
    assert!(sctp.old_form);
    assert_eq!((sctp.port, sctp.streams), (Some(5000), Some(1024)));
    assert!(remote.media.iter().all(|line| line.unreadable.is_empty()));
}

#[test]
fn several_fmtp_lines_of_one_payload_type_are_one() {
    let codec = &fixture("seed-chrome-answer").media[0].codecs[0];
    assert_eq!(codec.parameter("profile-level-id"), Some("42e01f"));
    assert_eq!(codec.parameter("x-google-start-bitrate"), Some("300"));
    assert_eq!(codec.parameter("x-google-max-bitrate"), Some("1000"));
}

#[test]
fn what_firefox_writes_on_the_session_counts_for_the_m_lines() {
    let remote = fixture("seed-firefox-offer");
    assert!(remote.origin.username.starts_with("mozilla"));
    for line in &remote.media {
        assert_eq!(line.fingerprints.len(), 1);
        assert_eq!(line.direction, RemoteDirection::BOTH);
    }
    let names: Vec<_> = remote.media[0]
        .codecs
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["H264", "VP9", "VP8", "H264"]);
    let sctp = remote.media[1].sctp.clone().unwrap();
    assert_eq!(sctp.max_message_size, Some(1_073_741_823));
}

const HEAD: &str = "v=0 \no=- 1 2 IN IP4 0.0.0.0\ns=-\nt=0 0\na=recvonly\na=setup:actpass\n\
a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\na=fingerprint:SHA-256 ab:cd  \na=ice-lite\n\
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\n";

fn with_media(media: &str) -> Remote {
    Remote::read(&format!("{HEAD}{media}")).unwrap()
}

#[test]
fn static_payload_types_need_no_rtpmap() {
    let remote = with_media(
        "m=audio 9  RTP/SAVPF 0 8 9 13 101 0 77\r\n\r\na=rtpmap:101 Telephone-Event/8000\n",
    );
    let line = &remote.media[0];
    let codecs: Vec<_> = line
        .codecs
        .iter()
        .map(|c| (c.payload_type, c.name.as_str(), c.clock_rate))
        .collect();
    assert_eq!(
        codecs,
        [(0, "PCMU", 8000), (8, "PCMA", 8000), (9, "G722", 8000)]
    );
    let others: Vec<_> = line.other_formats.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(others, ["CN", "Telephone-Event"]);
    assert_eq!(line.payloads.last().unwrap().name, None);
    assert_eq!(line.formats.len(), 7);
}

#[test]
fn session_attributes_and_loose_line_ends_are_taken() {
    let remote = with_media(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=rtpmap:111 OPUS/48000/2\na=mid:a \na=sendonly\n\n\nm=video 0 UDP/TLS/RTP/SAVPF 96\na=rtpmap:96 vp8/90000\na=bundle-only\n",
    );
    assert!(remote.ice_lite);
    let [audio, video] = remote.media.as_slice() else {
        panic!("{remote:?}")
    };
    assert_eq!(
        (audio.mid.as_str(), audio.direction.as_str()),
        ("a", "sendonly")
    );
    assert!(!video.rejected && video.bundle_only && video.port == 0);
    assert_eq!(
        (video.mid.as_str(), video.direction.as_str()),
        ("", "recvonly")
    );
    for line in &remote.media {
        assert_eq!(line.setup, Some(Setup::ActPass));
        assert!(line.ice.ufrag && line.ice.pwd);
        assert_eq!(line.fingerprints[0].hash, "sha-256");
        assert_eq!(line.fingerprints[0].value, "AB:CD");
        assert_eq!(line.extensions.len(), 1);
    }
}

#[test]
fn simulcast_rids_bandwidth_and_candidates_are_read() {
    let remote = with_media(
        "m=video 9 UDP/TLS/RTP/SAVPF 96\nb=AS:500\nb=TIAS:400000\na=rtpmap:96 VP8/90000\n\
         a=rid:h send max-width=1280;max-height=720\na=rid:l send\na=simulcast:send h,~m;l recv 1\n\
         a=extmap:4/sendonly urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on\n\
         a=candidate:1 1 UDP 2130706431 10.0.0.1 5000 typ host\n\
         a=candidate:2 1 tcp 1 fe80::1 9 typ srflx raddr 10.0.0.1 rport 9 tcptype active\n\
         a=candidate:broken\n",
    );
    let line = &remote.media[0];
    assert_eq!(
        line.bandwidth,
        [("AS".to_owned(), 500), ("TIAS".to_owned(), 400_000)]
    );
    assert_eq!(line.rids[0].parameters, "max-width=1280;max-height=720");
    let simulcast = line.simulcast.as_ref().unwrap();
    assert!(!simulcast.old_form && simulcast.send[0][1].paused && !simulcast.send[0][0].paused);
    assert_eq!((simulcast.send.len(), simulcast.recv.len()), (2, 1));
    assert_eq!(line.extensions[1].parameters, "vad=on");
    assert_eq!(line.extensions[1].direction.unwrap().as_str(), "sendonly");
    let kinds: Vec<_> = line
        .candidates
        .iter()
        .map(|c| (c.kind, c.protocol.as_str(), c.port))
        .collect();
    assert_eq!(
        kinds,
        [
            (CandidateKind::Host, "udp", 5000),
            (CandidateKind::Srflx, "tcp", 9)
        ]
    );
    assert_eq!(line.candidates[1].tcp_type.as_deref(), Some("active"));
    assert_eq!(line.unreadable[0].attribute, "candidate");
}

#[test]
fn the_old_simulcast_of_firefox_is_read() {
    let remote = with_media(
        "m=video 9 UDP/TLS/RTP/SAVPF 96\na=rid:r0 send\na=rid:r1 send\na=simulcast: send rid=r0;r1\n",
    );
    let simulcast = remote.media[0].simulcast.clone().unwrap();
    assert!(simulcast.old_form);
    assert_eq!(simulcast.send[1][0].rid, "r1");
}

#[test]
fn todays_data_channel_is_read() {
    let remote = with_media(
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:5000\na=max-message-size:262144\n",
    );
    let sctp = remote.media[0].sctp.clone().unwrap();
    assert!(!sctp.old_form);
    assert_eq!(
        (sctp.port, sctp.max_message_size),
        (Some(5000), Some(262_144))
    );
    assert!(remote.media[0].kind.is_none());
}

#[test]
fn a_syntax_error_names_its_line() {
    let error =
        Remote::parse("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\n\r\nm=video x RTP/SAVPF 96\r\n")
            .unwrap_err();
    assert!(error.to_string().contains("line 5"), "{error}");
}

#[test]
fn what_the_session_says_does_not_multiply_without_limit() {
    let mut text = HEAD.to_owned();
    for id in 0..5000 {
        text.push_str(&format!(
            "a=extmap:{} urn:x:{id}\na=fingerprint:x {id}\n",
            id % 250 + 1
        ));
    }
    for _ in 0..500 {
        text.push_str("m=audio 9 UDP/TLS/RTP/SAVPF 0\n");
    }
    let remote = Remote::read(&text).unwrap();
    assert!(
        remote
            .media
            .iter()
            .all(|line| line.extensions.len() <= 32 && line.fingerprints.len() <= 16)
    );
    assert!(Remote::read(&text.repeat(8)).is_err());
    let many = format!("{HEAD}{}", "m=audio 9 RTP/SAVPF 0\n".repeat(600));
    assert!(Remote::read(&many).is_err());
}
