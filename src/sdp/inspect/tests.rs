// SPDX-License-Identifier: MPL-2.0
use super::super::findings::Severity;
use super::*;

/// An offer of today in which nothing is unusual.
pub(in crate::sdp) const OFFER: &str = "v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=ice-options:trickle
a=fingerprint:sha-256 7C:68:A9:F6:9C:CE:45:47:CA:42:F2:7A:98:48:7F:65:3F:06:1C:65:8E:B8:AF:82:3A:5F:E1:EF:DB:38:26:C1
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
a=ice-ufrag:abcd
a=ice-pwd:secretsecretsecretsecret
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:s a
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103
a=ice-ufrag:abcd
a=ice-pwd:secretsecretsecretsecret
a=setup:actpass
a=mid:1
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
a=sendrecv
a=msid:s v
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=rtcp-fb:102 nack pli
a=fmtp:102 packetization-mode=1;profile-level-id=42e01f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=ssrc-group:FID 11 12
a=ssrc:11 cname:x
a=ssrc:12 cname:x
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=ice-ufrag:abcd
a=ice-pwd:secretsecretsecretsecret
a=setup:actpass
a=mid:2
a=sctp-port:5000
";

fn found(sdp: &str, kind: Option<Kind>) -> Vec<Finding> {
    inspect(&Remote::parse(sdp).unwrap(), kind)
}

#[test]
fn an_offer_of_today_is_in_order() {
    assert_eq!(found(OFFER, Some(Kind::Offer)), []);
}

/// What `from` → `to` brings: the rule, how bad it is, the m-line.
#[track_caller]
fn brings(from: &str, to: &str, rule: &str, severity: Severity, m_line: Option<usize>) {
    assert!(OFFER.contains(from), "{from}");
    let all = found(&OFFER.replacen(from, to, 1), Some(Kind::Offer));
    let hit = all.iter().find(|f| f.rule == rule && f.m_line == m_line);
    let Some(hit) = hit else {
        panic!("{to:?} brings no {rule} in {m_line:?}: {all:#?}");
    };
    assert_eq!(hit.severity, severity, "{hit:?}");
    assert!(hit.reference.contains(" section "), "{hit:?}");
}

#[test]
fn what_breaks_the_transport_is_found() {
    use Severity::{Note, Unusual, Wrong};
    brings("a=mid:1", "a=mid:0", "mid-duplicate", Wrong, Some(1));
    brings("a=mid:1\n", "", "bundle-without-mid", Wrong, Some(1));
    brings(
        "BUNDLE 0 1",
        "BUNDLE 0 1 x",
        "bundle-unknown-mid",
        Wrong,
        None,
    );
    brings("BUNDLE 0 1", "BUNDLE 0 1 1", "bundle-twice", Wrong, None);
    brings("a=group:BUNDLE 0 1 2\n", "", "bundle-none", Note, None);
    brings("m=video 9", "m=video 0", "bundle-rejected", Wrong, None);
    brings("m=video 9", "m=video 0", "port-0", Note, Some(1));
    brings("a=rtcp-mux\n", "", "rtcp-mux-missing", Wrong, Some(0));
    brings(
        "a=fingerprint:sha-256",
        "a=x:",
        "fingerprint-missing",
        Wrong,
        Some(0),
    );
    brings("26:C1", "26", "fingerprint-malformed", Wrong, Some(0));
    brings(
        "sha-256 7C",
        "sha-256 x",
        "fingerprint-malformed",
        Wrong,
        Some(0),
    );
    brings("sha-256", "sha-1", "fingerprint-weak", Unusual, Some(0));
    brings(
        "a=ice-ufrag:abcd\n",
        "",
        "ice-credentials-missing",
        Wrong,
        Some(0),
    );
    brings(
        "a=ice-ufrag:abcd",
        "a=ice-ufrag:a",
        "ice-credentials-short",
        Wrong,
        Some(0),
    );
    brings("a=setup:actpass\n", "", "setup-missing", Wrong, Some(0));
    brings(
        "a=setup:actpass",
        "a=setup:active",
        "setup-differs",
        Wrong,
        None,
    );
    brings(
        "a=setup:actpass",
        "a=setup:active",
        "setup-fixed-in-offer",
        Unusual,
        Some(0),
    );
    brings(
        "a=setup:actpass",
        "a=setup:holdconn",
        "setup-holdconn",
        Wrong,
        Some(0),
    );
    brings(
        "a=ice-options:trickle\n",
        "",
        "candidates-none",
        Unusual,
        Some(0),
    );
    brings(
        "UDP/TLS/RTP/SAVPF 111",
        "RTP/SAVP 111",
        "protocol-without-feedback",
        Unusual,
        Some(0),
    );
    brings(
        "UDP/TLS/RTP/SAVPF 111",
        "RTP/AVP 111",
        "protocol-without-srtp",
        Unusual,
        Some(0),
    );
    brings(
        "a=msid:s a",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
        "sdes",
        Unusual,
        Some(0),
    );
    brings(
        "a=sendrecv",
        "a=sendrecv\na=inactive",
        "direction-twice",
        Wrong,
        Some(0),
    );
    let candidate = |text: &str| format!("a=mid:0\na=candidate:1 {text}");
    for (text, rule, severity) in [
        ("1 udp 5 x.local 5 typ host", "candidate-mdns", Note),
        ("2 udp 5 10.0.0.1 5 typ host", "candidate-component-2", Note),
        ("1 udp 5 ::1 5 typ host", "candidates-loopback", Unusual),
        (
            "1 tcp 5 10.0.0.1 9 typ host tcptype active",
            "candidates-only-tcp",
            Unusual,
        ),
        ("1 udp 5 10.0.0.1 5 typ odd", "candidate-unreadable", Wrong),
    ] {
        brings("a=mid:0", &candidate(text), rule, severity, Some(0));
    }
}

#[test]
fn what_breaks_payload_types_is_found() {
    use Severity::{Note, Unusual, Wrong};
    brings(
        "SAVPF 96 97",
        "SAVPF 96 97 111",
        "rtpmap-missing",
        Wrong,
        Some(1),
    );
    brings(
        "SAVPF 111 0",
        "SAVPF 111 0 0",
        "format-twice",
        Wrong,
        Some(0),
    );
    brings(
        "SAVPF 111 0",
        "SAVPF 111 0 200",
        "format-malformed",
        Wrong,
        Some(0),
    );
    brings(
        "SAVPF 111 0",
        "SAVPF 111 0 72",
        "payload-type-like-rtcp",
        Wrong,
        Some(0),
    );
    brings(
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:111 opus/48000",
        "opus-rtpmap",
        Wrong,
        Some(0),
    );
    brings(
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:96 VP8/1000",
        "video-clock",
        Wrong,
        Some(1),
    );
    brings(
        "a=rtpmap:96 VP8",
        "a=rtpmap:96 VP8/90000\na=rtpmap:96 VP8",
        "rtpmap-twice",
        Wrong,
        Some(1),
    );
    brings(
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:96",
        "rtpmap-unreadable",
        Wrong,
        Some(1),
    );
    brings("SAVPF 111 0", "SAVPF 0", "rtpmap-stray", Unusual, Some(0));
    brings("SAVPF 111 0", "SAVPF 0", "fmtp-stray", Unusual, Some(0));
    brings("SAVPF 111 0", "SAVPF 0", "feedback-stray", Wrong, Some(0));
    brings("apt=96", "apt=95", "rtx-of-nothing", Wrong, Some(1));
    brings("apt=96", "x=96", "rtx-without-apt", Wrong, Some(1));
    brings("apt=96", "apt=102", "rtx-twice", Unusual, Some(1));
    brings(
        "a=rtcp-fb:96 nack pli\n",
        "",
        "feedback-no-pli",
        Unusual,
        Some(1),
    );
    brings(
        "packetization-mode=1;",
        "",
        "h264-no-packetization-mode",
        Note,
        Some(1),
    );
    brings(
        ";profile-level-id=42e01f",
        "",
        "h264-no-profile",
        Note,
        Some(1),
    );
    brings(
        "packetization-mode=1",
        "packetization-mode=2",
        "h264-interleaved",
        Unusual,
        Some(1),
    );
    brings("42e01f", "42", "profile-malformed", Wrong, Some(1));
    brings(
        "SAVPF 111 0",
        "SAVPF 96 0\na=rtpmap:96 opus/48000/2",
        "payload-type-reused",
        Wrong,
        None,
    );
    brings(
        "SAVPF 96 97 102 103",
        "SAVPF 97",
        "codec-none",
        Wrong,
        Some(1),
    );
}

#[test]
fn what_breaks_streams_and_extensions_is_found() {
    use Severity::{Note, Unusual, Wrong};
    let mid = "a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    let with = |line: &str| format!("{mid}\n{line}");
    brings(
        mid,
        &with("a=extmap:2 urn:x"),
        "extension-id-twice",
        Wrong,
        Some(1),
    );
    brings(
        mid,
        &with("a=extmap:3 urn:x\na=extmap:4 urn:x"),
        "extension-twice",
        Unusual,
        Some(1),
    );
    brings(
        mid,
        &with("a=extmap:15 urn:x"),
        "extension-id-15",
        Wrong,
        Some(1),
    );
    brings(
        mid,
        &with("a=extmap:16 urn:x"),
        "extension-two-byte",
        Note,
        Some(1),
    );
    brings(
        mid,
        &with("a=extmap:0 urn:x"),
        "extension-unreadable",
        Wrong,
        Some(1),
    );
    brings(
        mid,
        &with("a=extmap:300 urn:x"),
        "extension-unreadable",
        Wrong,
        Some(1),
    );
    brings(
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:1 urn:x",
        "extension-id-reused",
        Wrong,
        None,
    );
    brings(
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\n",
        "",
        "extension-mid-missing",
        Unusual,
        Some(0),
    );
    brings(
        "a=msid:s v",
        "a=msid:s v\na=msid:s w",
        "plan-b",
        Unusual,
        Some(1),
    );
    brings(
        "FID 11 12",
        "FID 11 12\na=ssrc-group:FID 11 12",
        "plan-b",
        Unusual,
        Some(1),
    );
    brings(
        "FID 11 12",
        "FID 11 12 13",
        "ssrc-group-fid",
        Wrong,
        Some(1),
    );
    brings(
        "FID 11 12",
        "FID 11 13",
        "ssrc-group-stray",
        Unusual,
        Some(1),
    );
    brings("FID 11 12", "SIM 11 12", "simulcast-by-ssrc", Note, Some(1));
    brings(
        "a=msid:s a",
        "a=ssrc:11 cname:x",
        "ssrc-twice",
        Wrong,
        Some(1),
    );
    brings(
        "a=sendrecv\na=msid:s v",
        "a=recvonly",
        "ssrc-not-sent",
        Unusual,
        Some(1),
    );
    brings("a=msid:s a\n", "", "stream-unnamed", Note, Some(0));
    let rids = "a=msid:s v\na=rid:h send\na=rid:l send\na=simulcast:send h;l";
    let all = found(&OFFER.replace("a=msid:s v", rids), Some(Kind::Offer));
    assert_eq!(all, []);
    brings(
        "a=msid:s v",
        &rids.replace("rid:l", "rid:x"),
        "simulcast-without-rid",
        Wrong,
        Some(1),
    );
    brings(
        "a=msid:s v",
        &rids.replace("rid:l", "rid:h"),
        "rid-twice",
        Wrong,
        Some(1),
    );
    brings(
        "a=msid:s v",
        &rids.replace("send h;l", " send rid=h;l"),
        "simulcast-old-form",
        Unusual,
        Some(1),
    );
    brings(
        &format!("{mid}\na=sendrecv\na=msid:s v"),
        rids,
        "simulcast-without-extension",
        Unusual,
        Some(1),
    );
}

#[test]
fn the_old_form_of_data_channels_is_told_and_a_missing_port_is_wrong() {
    let old = OFFER
        .replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
        .replace("a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 1024");
    let rules = |sdp: &str| -> Vec<_> { found(sdp, None).iter().map(|f| f.rule).collect() };
    assert_eq!(rules(&old), ["data-old-form"]);
    assert_eq!(
        rules(&OFFER.replace("a=sctp-port:5000\n", "")),
        ["data-no-port"]
    );
}

#[test]
fn an_answer_must_choose_its_dtls_role() {
    let rules: Vec<_> = found(OFFER, Some(Kind::Answer))
        .iter()
        .map(|f| f.rule)
        .collect();
    assert_eq!(rules, ["setup-actpass-in-answer"; 3]);
    assert_eq!(
        found(&OFFER.replace("actpass", "passive"), Some(Kind::Answer)),
        []
    );
}

#[test]
fn a_bundled_m_line_may_leave_its_transport_to_the_first() {
    let mut parts = OFFER.splitn(2, "m=video");
    let (first, rest) = (parts.next().unwrap(), parts.next().unwrap());
    let rest = rest
        .replace(
            "a=ice-ufrag:abcd\na=ice-pwd:secretsecretsecretsecret\na=setup:actpass\n",
            "",
        )
        .replacen(" 9 ", " 0 ", 1)
        .replacen("a=mid:1", "a=mid:1\na=bundle-only", 1);
    let rules: Vec<_> = found(&format!("{first}m=video{rest}"), Some(Kind::Offer))
        .iter()
        .map(|f| f.rule)
        .collect();
    assert_eq!(rules, ["bundle-only"]);
    let alone = OFFER.replace("a=mid:1", "a=bundle-only");
    assert!(
        found(&alone, None)
            .iter()
            .any(|f| f.rule == "bundle-only-alone")
    );
}

#[test]
fn no_secret_is_repeated() {
    let short = OFFER.replace("secretsecretsecretsecret", "secret");
    let all = found(&short, None);
    assert!(all.iter().any(|f| f.rule == "ice-credentials-short"));
    assert!(!format!("{all:?}").contains("secret"));
}
