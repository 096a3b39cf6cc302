// SPDX-License-Identifier: MPL-2.0
use super::*;
use crate::sdp::explain::explain;
use crate::sdp::inspect::tests::OFFER;

/// An answer to [`OFFER`] that breaks no rule.
fn answer() -> String {
    OFFER
        .replace("7C:68", "00:00")
        .replace("a=setup:actpass", "a=setup:active")
        .replace(
            "a=ssrc-group:FID 11 12\na=ssrc:11 cname:x\na=ssrc:12 cname:x\n",
            "",
        )
}

fn agreement(offer: &str, answer: &str) -> Agreement {
    compare(
        &Remote::parse(offer).unwrap(),
        &Remote::parse(answer).unwrap(),
    )
}

#[test]
fn an_answer_in_order_breaks_no_rule() {
    let agreed = agreement(OFFER, &answer());
    assert_eq!(agreed.findings, []);
    assert!(!agreed.is_broken(), "{agreed}");
    assert_eq!(agreed.ice_controlling, Kind::Offer);
    assert_eq!(agreed.bundle, [["0", "1", "2"]]);
    let video = &agreed.lines[1];
    assert_eq!(video.state, LineState::Agreed);
    assert_eq!(video.dtls_client, Some(Kind::Answer));
    assert!(video.rtcp_mux && !video.rtcp_rsize);
    let codecs: Vec<_> = video
        .codecs
        .iter()
        .map(|c| (c.name.as_str(), c.offered_payload_type, c.rtx_payload_type))
        .collect();
    assert_eq!(codecs, [("VP8", 96, Some(97)), ("H264", 102, Some(103))]);
    assert_eq!(video.codecs[0].feedback, ["nack pli"]);
    let extensions: Vec<_> = video.extensions.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(extensions, ["mid", "rid"]);
    assert!(agreed.lines[2].sctp[1].is_some());
}

/// The table of RFC 3264 section 6.1: what may answer what, and what flows in the end.
#[test]
fn directions_follow_the_table() {
    let all = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let allowed = [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendrecv", "sendonly", "recvonly"),
        ("sendrecv", "recvonly", "sendonly"),
        ("sendrecv", "inactive", "inactive"),
        ("sendonly", "recvonly", "sendonly"),
        ("sendonly", "inactive", "inactive"),
        ("recvonly", "sendonly", "recvonly"),
        ("recvonly", "inactive", "inactive"),
        ("inactive", "inactive", "inactive"),
    ];
    for offered in all {
        for answered in all {
            let offer = OFFER.replacen("a=sendrecv", &format!("a={offered}"), 1);
            let answer = answer().replacen("a=sendrecv", &format!("a={answered}"), 1);
            let agreed = agreement(&offer, &answer);
            let rules: Vec<_> = agreed.findings.iter().map(|f| f.rule).collect();
            let result = allowed
                .iter()
                .find(|(o, a, _)| (*o, *a) == (offered, answered));
            match result {
                Some((_, _, flows)) => {
                    assert_eq!(rules, [""; 0], "{offered} {answered}");
                    assert_eq!(
                        agreed.lines[0].offerer.as_str(),
                        *flows,
                        "{offered} {answered}"
                    );
                }
                None => assert_eq!(rules, ["direction-not-allowed"], "{offered} {answered}"),
            }
            assert_eq!(agreed.lines[0].offerer, agreed.lines[0].answerer.reversed());
        }
    }
}

#[track_caller]
fn breaks(from: &str, to: &str, rule: &str, severity: Severity) {
    let good = answer();
    assert!(good.contains(from), "{from}");
    expect(OFFER, &good.replacen(from, to, 1), rule, severity);
}

#[track_caller]
fn expect(offer: &str, answer: &str, rule: &str, severity: Severity) {
    let agreed = agreement(offer, answer);
    let hit = agreed.findings.iter().find(|f| f.rule == rule);
    let Some(hit) = hit else {
        panic!("no {rule}: {:#?}", agreed.findings);
    };
    assert_eq!(hit.severity, severity, "{hit:?}");
    assert!(hit.reference.contains(" section "), "{hit:?}");
    assert_eq!(agreed.is_broken(), {
        let wrong = |all: &[Finding]| all.iter().any(|f| f.severity == Severity::Wrong);
        wrong(&agreed.findings) || wrong(&agreed.wrong_in_answer) || wrong(&agreed.wrong_in_offer)
    });
}

#[test]
fn every_rule_that_an_answer_breaks_is_told() {
    use Severity::{Note, Unusual, Wrong};
    let good = answer();
    let cut = good.split("m=application").next().unwrap();
    expect(OFFER, cut, "m-lines-count", Wrong);
    expect(OFFER, OFFER, "same-certificate", Unusual);
    expect(OFFER, OFFER, "setup-not-allowed", Wrong);
    let active = OFFER.replace("actpass", "active");
    expect(&active, &good, "setup-not-allowed", Wrong);
    breaks("m=audio", "m=text", "m-line-kind", Wrong);
    breaks("a=mid:0", "a=mid:9", "mid-differs", Wrong);
    breaks(
        "UDP/TLS/RTP/SAVPF 96",
        "RTP/SAVPF 96",
        "protocol-differs",
        Wrong,
    );
    breaks("m=video 9", "m=video 0", "rejected", Note);
    breaks(
        "a=group:BUNDLE 0 1 2",
        "a=group:BUNDLE 0 1 3",
        "bundle-not-offered",
        Wrong,
    );
    breaks("a=group:BUNDLE 0 1 2\n", "", "bundle-refused", Unusual);
    breaks(
        "SAVPF 96 97 102 103",
        "SAVPF 35\na=rtpmap:35 AV1/90000",
        "codec-none-in-common",
        Wrong,
    );
    breaks(
        "SAVPF 96 97 102 103",
        "SAVPF 35 96 97 102 103\na=rtpmap:35 AV1/90000",
        "codec-not-offered",
        Wrong,
    );
    breaks(
        "a=rtpmap:96 VP8",
        "a=rtpmap:96 VP9",
        "payload-type-remapped",
        Wrong,
    );
    breaks(
        "SAVPF 111 0",
        "SAVPF 112 0\na=rtpmap:112 opus/48000/2",
        "payload-type-differs",
        Unusual,
    );
    breaks("42e01f", "64001f", "fmtp-contradicts", Wrong);
    breaks(
        "packetization-mode=1",
        "packetization-mode=0",
        "fmtp-contradicts",
        Wrong,
    );
    breaks("42e01f", "42e034", "level-higher", Wrong);
    breaks(
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 nack pli\na=rtcp-fb:96 goog-remb",
        "feedback-not-offered",
        Wrong,
    );
    breaks(
        "SAVPF 96 97 102 103",
        "SAVPF 116 96 97 102 103\na=rtpmap:116 red/90000",
        "format-not-offered",
        Wrong,
    );
    breaks(
        "a=extmap:2 urn",
        "a=extmap:3 urn",
        "extension-id-differs",
        Wrong,
    );
    breaks(
        "a=extmap:2 urn",
        "a=extmap:3 urn:x\na=extmap:2 urn",
        "extension-not-offered",
        Wrong,
    );
    breaks("a=rtcp-mux\n", "", "rtcp-mux-refused", Unusual);
    breaks(
        "a=rtcp-mux",
        "a=rtcp-mux\na=rtcp-rsize",
        "rtcp-rsize-not-offered",
        Wrong,
    );
    breaks("a=msid:s v", "a=rid:h recv", "rid-not-offered", Wrong);
    let no_rtx = OFFER.replace("SAVPF 96 97 102 103", "SAVPF 96 102");
    expect(&no_rtx, &good, "rtx-not-offered", Wrong);
    expect(
        &OFFER.replacen("a=rtcp-mux\n", "", 1),
        &good,
        "rtcp-mux-not-offered",
        Wrong,
    );
    expect(
        &OFFER.replacen("m=audio 9", "m=audio 0", 1),
        &good,
        "answered-what-is-off",
        Wrong,
    );
    let only = OFFER
        .replace("a=mid:1", "a=mid:1\na=bundle-only")
        .replace("m=video 9", "m=video 0");
    expect(
        &only,
        &good.replace("BUNDLE 0 1 2", "BUNDLE 0 2"),
        "bundle-only-not-bundled",
        Wrong,
    );
    expect(
        &OFFER.replace("extmap:2 urn", "extmap:2/sendonly urn"),
        &good.replace("extmap:2 urn", "extmap:2/sendonly urn"),
        "extension-direction",
        Wrong,
    );
    breaks(
        "a=sctp-port:5000",
        "a=sctpmap:5000 webrtc-datachannel 1024",
        "data-form-differs",
        Wrong,
    );
}

#[test]
fn levels_may_differ_where_both_allow_it() {
    let allow = |sdp: &str| {
        sdp.replace(
            "packetization-mode=1",
            "level-asymmetry-allowed=1;packetization-mode=1",
        )
    };
    let higher = allow(&answer()).replace("42e01f", "42e034");
    let agreed = agreement(&allow(OFFER), &higher);
    assert_eq!(agreed.findings, []);
    assert!(
        agreed
            .to_string()
            .contains("constrained-baseline 3.1, answered 5.2")
    );
}

#[test]
fn simulcast_is_mirrored() {
    let rids =
        |word: &str| format!("a=msid:s v\na=rid:h {word}\na=rid:l {word}\na=simulcast:{word} h;l");
    let offer = OFFER.replace("a=msid:s v", &rids("send"));
    let good = answer().replace("a=msid:s v", &rids("recv"));
    let agreed = agreement(&offer, &good);
    assert_eq!(agreed.findings, []);
    assert_eq!(
        agreed.lines[1].simulcast,
        [vec!["h".to_owned(), "l".to_owned()], vec![]]
    );
    let same = answer().replace("a=msid:s v", &rids("send"));
    expect(&offer, &same, "rid-not-offered", Severity::Wrong);
    expect(&offer, &same, "simulcast-not-offered", Severity::Wrong);
    expect(&offer, &answer(), "simulcast-refused", Severity::Note);
}

#[test]
fn a_lite_offerer_is_controlled() {
    let lite = OFFER.replace("t=0 0", "t=0 0\na=ice-lite");
    assert_eq!(agreement(&lite, &answer()).ice_controlling, Kind::Answer);
    let both = answer().replace("t=0 0", "t=0 0\na=ice-lite");
    assert_eq!(agreement(&lite, &both).ice_controlling, Kind::Offer);
}

#[test]
fn what_is_wrong_in_one_alone_counts_too() {
    let agreed = agreement(OFFER, &answer().replace("apt=96", "apt=95"));
    assert!(agreed.is_broken());
    assert_eq!(agreed.wrong_in_answer[0].rule, "rtx-of-nothing");
}

/// A generator whose sequence is the same in each run.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn damaged_descriptions_are_explained_and_compared_without_a_panic() {
    let good = answer();
    let lines: Vec<&str> = OFFER.lines().chain(good.lines()).collect();
    let mut random = Sequence(1);
    let mut read = 0;
    for _ in 0..1500 {
        let mut text: Vec<String> = OFFER.lines().map(str::to_owned).collect();
        for _ in 0..1 + random.below(6) {
            let at = random.below(text.len());
            match random.below(4) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, lines[random.below(lines.len())].to_owned()),
                2 => {
                    let cut = random.below(text[at].len() + 1);
                    text[at].truncate(cut);
                }
                _ => {
                    let mut bytes = text[at].clone().into_bytes();
                    if !bytes.is_empty() {
                        let byte = random.below(bytes.len());
                        bytes[byte] = b" 0:;=/-~\x1ba9"[random.below(11)];
                    }
                    text[at] = String::from_utf8_lossy(&bytes).into_owned();
                }
            }
        }
        let Ok(damaged) = Remote::parse(&text.join("\n")) else {
            continue;
        };
        read += 1;
        let other = Remote::parse(&good).unwrap();
        let texts = [
            explain(&damaged, None).to_string(),
            compare(&damaged, &other).to_string(),
            compare(&other, &damaged).to_string(),
        ];
        for text in texts {
            assert!(
                !text.contains("secretsecret") && !text.contains('\u{1b}'),
                "{text}"
            );
        }
        serde_json::to_string(&explain(&damaged, Some(Kind::Answer))).unwrap();
    }
    assert!(read > 300, "only {read} could be read");
}
