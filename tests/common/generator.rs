// SPDX-License-Identifier: MPL-2.0
//! Session descriptions from a grammar (RFC 8866 and what WebRTC adds to it), half of them damaged.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// Name, clock, channels and parameters of a codec.
type Row = (&'static str, &'static str, &'static str, &'static str);

const VIDEO: &[Row] = &[
    ("VP8", "90000", "", ""),
    ("VP8", "90000", "", "max-fs=12288;max-fr=60"),
    ("vp8", "90000", "", ""),
    ("VP9", "90000", "", "profile-id=0"),
    ("VP9", "90000", "", "profile-id=2"),
    (
        "H264",
        "90000",
        "",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    (
        "H264",
        "90000",
        "",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f",
    ),
    (
        "H264",
        "90000",
        "",
        "packetization-mode=0;profile-level-id=4d001f",
    ),
    (
        "H264",
        "90000",
        "",
        "packetization-mode=2;profile-level-id=64001f",
    ),
    (
        "H264",
        "90000",
        "",
        "profile-level-id=42e01f;level-asymmetry-allowed=1",
    ),
    ("H264", "90000", "", ""),
    (
        "h264",
        "90000",
        "",
        "PROFILE-LEVEL-ID=42E01F; Packetization-Mode=1",
    ),
    (
        "H265",
        "90000",
        "",
        "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
    ),
    ("AV1", "90000", "", "level-idx=5;profile=0;tier=0"),
    ("red", "90000", "", ""),
    ("ulpfec", "90000", "", ""),
    ("flexfec-03", "90000", "", "repair-window=10000000"),
    ("H261", "90000", "", ""),
    ("VP8", "48000", "", ""),
];

const AUDIO: &[Row] = &[
    ("opus", "48000", "/2", "minptime=10;useinbandfec=1"),
    ("OPUS", "48000", "/2", "stereo=1; sprop-stereo=1; usedtx=1"),
    ("opus", "48000", "", ""),
    (
        "multiopus",
        "48000",
        "/6",
        "channel_mapping=0,4,1,2,3,5;coupled_streams=2;num_streams=4",
    ),
    ("red", "48000", "/2", "111/111"),
    ("PCMU", "8000", "", ""),
    ("PCMA", "8000", "/1", ""),
    ("G722", "8000", "", ""),
    ("G722", "16000", "", ""),
    ("CN", "8000", "", ""),
    ("telephone-event", "8000", "", "0-15"),
    ("ISAC", "16000", "", ""),
];

const FEEDBACK: &[&str] = &[
    "nack",
    "nack pli",
    "ccm fir",
    "goog-remb",
    "transport-cc",
    "ccm tmmbr",
    "x",
];

const EXTENSIONS: &[&str] = &[
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:toffset",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:3gpp:video-orientation",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on",
];

const ICE: &str = "a=ice-ufrag:dLaN\na=ice-pwd:gRWPwtQj8OYQl0TNPsXjXzZ8\n";
const DTLS: &str = "a=fingerprint:sha-256 7C:68:A9:F6:9C:CE:45:47:CA:42:F2:7A:98:48:7F:65:3F:06:1C:65:8E:B8:AF:\
                    82:3A:5F:E1:EF:DB:38:26:C1\n";

/// A description, in half of the cases with damages.
pub fn description() -> impl Strategy<Value = String> {
    let damages = prop_oneof![Just(Vec::new()), vec(damage(), 1..5)];
    (valid(), damages, prop::bool::weighted(0.9)).prop_map(|(text, damages, crlf)| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for damage in &damages {
            damage.apply(&mut lines);
        }
        let end = if crlf { "\r\n" } else { "\n" };
        lines.iter().flat_map(|line| [line.as_str(), end]).collect()
    })
}

/// A valid description, as odd as it may be.
fn valid() -> impl Strategy<Value = String> {
    let session = (
        weighted(0.2, direction()),
        any::<bool>(),
        select(&["BUNDLE", "BUNDLE", "BUNDLE", "LS", ""][..]),
        prop::bool::weighted(0.1),
    );
    (session, vec(media(), 1..5)).prop_map(|((direction, ice, group, lite), sections)| {
        let mut text = String::from("v=0\no=- 42 2 IN IP4 127.0.0.1\ns=-\nt=0 0\n");
        let mids: Vec<_> = sections
            .iter()
            .enumerate()
            .filter_map(|(at, s)| s.mid(at))
            .collect();
        if !group.is_empty() && !mids.is_empty() {
            writeln!(text, "a=group:{group} {}", mids.join(" ")).unwrap();
        }
        if let Some(direction) = direction {
            writeln!(text, "a={direction}").unwrap();
        }
        if lite {
            text += "a=ice-lite\n";
        }
        if ice {
            text += ICE;
            text += DTLS;
        }
        for (at, section) in sections.iter().enumerate() {
            section.write(&mut text, at, !ice);
        }
        text
    })
}

fn direction() -> impl Strategy<Value = &'static str> + Clone {
    select(&["sendrecv", "sendonly", "recvonly", "inactive"][..])
}

/// One m-line.
#[derive(Debug, Clone)]
struct Section {
    kind: &'static str,
    port: u16,
    direction: Option<&'static str>,
    mid: Option<&'static str>,
    mux: bool,
    setup: &'static str,
    codecs: Vec<Offered>,
    extensions: Vec<&'static str>,
    sources: Sources,
}

/// One codec of an m-line.
#[derive(Debug, Clone)]
struct Offered {
    row: Index,
    payload_type: u8,
    rtx: Option<u8>,
    feedback: Vec<&'static str>,
    second_fmtp: bool,
}

/// How streams are announced.
#[derive(Debug, Clone)]
enum Sources {
    None,
    Msid,
    /// So many, each with retransmissions (Plan B has several).
    Pairs(u32),
    /// By restriction identifiers.
    Rids(usize),
}

fn media() -> impl Strategy<Value = Section> {
    let kind = prop_oneof![
        5 => Just("video"),
        4 => Just("audio"),
        2 => Just("application"),
        1 => select(&["text", "image", "videos", "audio2"][..]),
    ];
    let sources = prop_oneof![
        Just(Sources::None),
        Just(Sources::Msid),
        (1..5u32).prop_map(Sources::Pairs),
        (1..4usize).prop_map(Sources::Rids),
    ];
    let head = (
        kind,
        prop_oneof![4 => Just(9u16), 1 => Just(0), 2 => any::<u16>()],
        weighted(0.9, direction()),
        weighted(0.95, select(&["", "v", "sdparta_", "é"][..])),
        prop::bool::weighted(0.95),
        select(&["actpass", "actpass", "active", "passive", "holdconn"][..]),
    );
    let body = (
        vec(offered(), 0..8),
        subsequence(EXTENSIONS, 0..EXTENSIONS.len()),
        sources,
    );
    (head, body).prop_map(
        |((kind, port, direction, mid, mux, setup), (codecs, extensions, sources))| Section {
            kind,
            port,
            direction,
            mid,
            mux,
            setup,
            codecs,
            extensions,
            sources,
        },
    )
}

fn offered() -> impl Strategy<Value = Offered> {
    let payload_type = prop_oneof![8 => 96..=127u8, 2 => 0..=63u8, 1 => any::<u8>()];
    (
        any::<Index>(),
        payload_type,
        of(96..=127u8),
        subsequence(FEEDBACK, 0..FEEDBACK.len()),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(row, payload_type, rtx, feedback, second_fmtp)| Offered {
            row,
            payload_type,
            rtx,
            feedback,
            second_fmtp,
        })
}

impl Section {
    fn mid(&self, at: usize) -> Option<String> {
        self.mid.map(|mid| format!("{mid}{at}"))
    }

    fn write(&self, text: &mut String, at: usize, ice: bool) {
        let (kind, port) = (self.kind, self.port);
        if kind == "application" {
            let old = self.mux;
            let proto = if old {
                "DTLS/SCTP 5000"
            } else {
                "UDP/DTLS/SCTP webrtc-datachannel"
            };
            writeln!(text, "m={kind} {port} {proto}\nc=IN IP4 0.0.0.0").unwrap();
            text.push_str(if old {
                "a=sctpmap:5000 webrtc-datachannel 1024\n"
            } else {
                "a=sctp-port:5000\n"
            });
        } else {
            let types: String = self.codecs.iter().map(Offered::types).collect();
            let types = if types.is_empty() {
                " 0".to_owned()
            } else {
                types
            };
            writeln!(
                text,
                "m={kind} {port} UDP/TLS/RTP/SAVPF{types}\nc=IN IP4 0.0.0.0"
            )
            .unwrap();
        }
        if ice {
            text.push_str(ICE);
            text.push_str(DTLS);
        }
        writeln!(text, "a=setup:{}", self.setup).unwrap();
        if let Some(mid) = self.mid(at) {
            writeln!(text, "a=mid:{mid}").unwrap();
        }
        if let Some(direction) = self.direction {
            writeln!(text, "a={direction}").unwrap();
        }
        if kind == "application" {
            return;
        }
        if self.mux {
            text.push_str("a=rtcp-mux\n");
        }
        for (id, extension) in self.extensions.iter().enumerate() {
            writeln!(text, "a=extmap:{} {extension}", id + 1).unwrap();
        }
        let rows = if kind.starts_with("video") {
            VIDEO
        } else {
            AUDIO
        };
        for codec in &self.codecs {
            codec.write(text, codec.row.get(rows));
        }
        self.sources.write(text, at);
        text.push_str("a=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\n");
    }
}

impl Offered {
    fn types(&self) -> String {
        match self.rtx {
            Some(rtx) => format!(" {} {rtx}", self.payload_type),
            None => format!(" {}", self.payload_type),
        }
    }

    fn write(&self, text: &mut String, (name, clock, channels, fmtp): &Row) {
        let pt = self.payload_type;
        writeln!(text, "a=rtpmap:{pt} {name}/{clock}{channels}").unwrap();
        if !fmtp.is_empty() {
            writeln!(text, "a=fmtp:{pt} {fmtp}").unwrap();
        }
        if self.second_fmtp {
            writeln!(text, "a=fmtp:{pt} x-google-start-bitrate=300").unwrap();
        }
        for feedback in &self.feedback {
            writeln!(text, "a=rtcp-fb:{pt} {feedback}").unwrap();
        }
        if let Some(rtx) = self.rtx {
            writeln!(text, "a=rtpmap:{rtx} rtx/{clock}\na=fmtp:{rtx} apt={pt}").unwrap();
        }
    }
}

impl Sources {
    fn write(&self, text: &mut String, at: usize) {
        match self {
            Self::None => {}
            Self::Msid => writeln!(text, "a=msid:stream track{at}").unwrap(),
            Self::Pairs(count) => {
                for one in (0..*count).map(|one| 1000 * (at as u32 + 1) + 2 * one) {
                    writeln!(text, "a=ssrc-group:FID {one} {}", one + 1).unwrap();
                    for ssrc in [one, one + 1] {
                        writeln!(text, "a=ssrc:{ssrc} cname:x\na=ssrc:{ssrc} msid:s {one}")
                            .unwrap();
                    }
                }
            }
            Self::Rids(count) => {
                let names: Vec<_> = ["h", "m", "l", "x"].into_iter().take(*count).collect();
                for name in &names {
                    writeln!(text, "a=rid:{name} send").unwrap();
                }
                writeln!(text, "a=msid:s t\na=simulcast:send {}", names.join(";")).unwrap();
            }
        }
    }
}

/// Something that goes wrong between two ends.
#[derive(Debug, Clone)]
enum Damage {
    Lost(Index),
    Doubled(Index),
    Swapped(Index, Index),
    Cut(Index, Index),
    Number(Index, &'static str),
    Inserted(Index, Index, &'static str),
    Joined(Index),
    End(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    let number = select(
        &[
            "-1",
            "0",
            "128",
            "255",
            "256",
            "65536",
            "4294967296",
            "99999999999999999999",
            "1e3",
            "0x10",
        ][..],
    );
    let text = select(
        &[
            " ",
            "  ",
            ":",
            "/",
            ";",
            "=",
            "\t",
            "é",
            "\u{1f600}",
            "\u{85}",
            "\u{0}",
            "*",
            "\r",
        ][..],
    );
    prop_oneof![
        index().prop_map(Damage::Lost),
        index().prop_map(Damage::Doubled),
        (index(), index()).prop_map(|(a, b)| Damage::Swapped(a, b)),
        (index(), index()).prop_map(|(a, b)| Damage::Cut(a, b)),
        (index(), number).prop_map(|(a, b)| Damage::Number(a, b)),
        (index(), index(), text).prop_map(|(a, b, c)| Damage::Inserted(a, b, c)),
        index().prop_map(Damage::Joined),
        index().prop_map(Damage::End),
    ]
}

impl Damage {
    fn apply(&self, lines: &mut Vec<String>) {
        // The version is left: without it nothing is read.
        let count = lines.len().saturating_sub(1);
        if count == 0 {
            return;
        }
        let at = |index: &Index| 1 + index.index(count);
        let place = |index: &Index, line: &str| {
            let mut place = index.index(line.len() + 1);
            while !line.is_char_boundary(place) {
                place -= 1;
            }
            place
        };
        match self {
            Self::Lost(line) => drop(lines.remove(at(line))),
            Self::Doubled(line) => lines.insert(at(line), lines[at(line)].clone()),
            Self::Swapped(a, b) => lines.swap(at(a), at(b)),
            Self::Cut(line, end) => {
                let line = &mut lines[at(line)];
                line.truncate(place(end, line));
            }
            Self::Number(line, number) => {
                let line = &mut lines[at(line)];
                let digit = |c: char| c.is_ascii_digit();
                if let Some(start) = line.find(digit) {
                    let rest = line[start..].trim_start_matches(digit).to_owned();
                    line.truncate(start);
                    *line += number;
                    *line += &rest;
                }
            }
            Self::Inserted(line, place_in, text) => {
                let line = &mut lines[at(line)];
                line.insert_str(place(place_in, line), text);
            }
            Self::Joined(line) => {
                let next = lines.remove(at(line));
                lines[at(line) - 1] += &next;
            }
            Self::End(line) => lines.truncate(at(line)),
        }
    }
}
