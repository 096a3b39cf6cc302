// SPDX-License-Identifier: MPL-2.0
use super::*;

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
    assert_eq!(line.codecs[0].feedback, ["nack", "nack pli", "nack"]);
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
