// SPDX-License-Identifier: MPL-2.0
//! Descriptions by the thousand, made from a grammar and then damaged, and calls between our own
//! two ends with wishes by the thousand. The same ones each time; `RSWEBRTC_TEST_SEED=7` makes
//! others.

#[path = "../fuzz/targets/mod.rs"]
#[allow(dead_code)]
mod targets;

#[path = "common/generator.rs"]
mod generator;

use std::cell::Cell;
use std::time::Duration;

use gstwebrtcrs::media::codec::{Codec, SUPPORTED};
use gstwebrtcrs::peer::Direction;
use gstwebrtcrs::peer::fuzzing;
use gstwebrtcrs::sdp::Remote;
use gstwebrtcrs::session::negotiation::{self, Agreement, Sending, Wish};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use targets::{peer_description, rules, sdp_read, watch, wishes};

/// One takes milliseconds; a hang takes longer than this.
const LIMIT: Duration = Duration::from_secs(10);

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let seed: u8 = std::env::var("RSWEBRTC_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    TestRunner::new_with_rng(
        config,
        TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]),
    )
}

#[test]
fn generated_descriptions_are_survived_and_keep_the_rules() {
    let (read, answered) = (Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<u32>| cell.set(cell.get() + 1);
    runner(10_000)
        .run(&generator::description(), |text| {
            watch::within(LIMIT, &text, || {
                if !sdp_read::text(&text) {
                    return;
                }
                count(&read);
                let remote = Remote::read(&text).unwrap();
                let wishes = wishes::all();
                let wish = &wishes[text.len() % wishes.len()];
                let own = peer_description::transport();
                if peer_description::answer(wish, &remote, &own).is_some() {
                    count(&answered);
                }
            });
            Ok(())
        })
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    // They are worth the time only if most are understood.
    assert!(read.get() > 6_000, "only {} could be read", read.get());
    assert!(
        answered.get() > 2_000,
        "only {} were answered",
        answered.get()
    );
}

/// Streams that a sender may have.
fn sent() -> impl Strategy<Value = Vec<Codec>> {
    let mut names: Vec<&str> = SUPPORTED.iter().map(|row| row.name).collect();
    names.extend(["H264 42e01f", "H264 4d0028", "H264 640028", "H264 42001f"]);
    prop::collection::vec(select(names).prop_map(wishes::stream), 1..6)
}

/// What a receiver may take, in any order.
fn received() -> impl Strategy<Value = Wish> {
    let rows: Vec<_> = SUPPORTED.iter().collect();
    let some = subsequence(rows, 1..=SUPPORTED.len()).prop_shuffle();
    (some, any::<bool>()).prop_map(|(codecs, ordered)| wishes::receive_rows(codecs, ordered))
}

/// What one end believes of each stream: m-line, mid, codec as it is on the wire, extensions.
fn beliefs(agreement: &Agreement) -> Vec<String> {
    let believed = |one: &negotiation::AgreedStream| {
        let codec = &one.codec;
        let (pt, rtx) = (codec.payload_type, codec.rtx_payload_type);
        let mut extensions = one.extensions.clone();
        extensions.sort_unstable_by_key(|(id, _)| *id);
        let name = codec.name.to_lowercase();
        let (stream, mid) = (one.stream, &one.mid);
        format!("{stream} {mid} {name} {pt} {rtx:?} {extensions:?}")
    };
    agreement.agreed.iter().map(believed).collect()
}

/// One end of a call: what it wants, and what holds.
struct End {
    wish: Wish,
    holds: Agreement,
}

impl End {
    fn new(wish: &Wish) -> Self {
        Self {
            wish: wish.clone(),
            holds: Agreement::default(),
        }
    }
}

/// An offer of one end, answered by the other, and read back; whether anything came about.
fn negotiate(offerer: &mut End, answerer: &mut End) -> bool {
    let own = peer_description::transport();
    let offered = negotiation::offer(&offerer.wish, &offerer.holds);
    let offer_text = fuzzing::offer(&offered.streams, &own);
    let offer = Remote::read(&offer_text).unwrap();
    states(&offer, &offered);
    let Ok(plan) = negotiation::answer(&answerer.wish, &offer, &answerer.holds) else {
        nothing_in_common(&offerer.wish, &answerer.wish);
        return false;
    };
    rules::answered(&answerer.wish, &offer, &plan);
    let answer_text = fuzzing::answer(&offer, &plan.streams, &own);
    rules::written(&offer, &plan, &answer_text).unwrap();
    let answer = Remote::read(&answer_text).unwrap();
    let result = negotiation::read_answer(&offerer.wish, &offered, &answer)
        .unwrap_or_else(|e| panic!("{e}\n{offer_text}\n{answer_text}"));
    rules::taken(&offerer.wish, &offered, &answer, &result);
    assert_eq!(
        beliefs(&plan),
        beliefs(&result),
        "\n{offer_text}\n{answer_text}"
    );
    for (ours, theirs) in plan.agreed.iter().zip(&result.agreed) {
        let pair = (ours.direction, theirs.direction);
        let opposite = [
            (Direction::SendOnly, Direction::RecvOnly),
            (Direction::RecvOnly, Direction::SendOnly),
        ];
        assert!(opposite.contains(&pair), "{pair:?}");
    }
    offerer.holds = result;
    answerer.holds = plan;
    true
}

/// The text says what was to be offered.
fn states(offer: &Remote, offered: &Agreement) {
    let found: Vec<_> = offer.audio_video().collect();
    assert_eq!(found.len(), offered.streams.len());
    for ((line, kind), stream) in found.into_iter().zip(&offered.streams) {
        assert_eq!((kind, &line.mid), (stream.kind, &stream.mid));
        let types = |codecs: &[Codec]| -> Vec<_> {
            let pair = |c: &Codec| (c.payload_type, c.rtx_payload_type);
            codecs.iter().map(pair).collect()
        };
        assert_eq!(types(&line.codecs), types(&stream.codecs));
        assert_eq!(offer.header_extensions(line.index), stream.extensions);
        let (sends, receives) = (line.direction.sends, line.direction.receives);
        assert_eq!(sends, stream.direction.sends());
        assert_eq!(receives, stream.direction.receives());
    }
    one_meaning_each(&offered.streams);
}

/// Under BUNDLE a payload type and an extension's id mean one thing (RFC 9143 sections 9.1, 9.2).
fn one_meaning_each(streams: &[gstwebrtcrs::peer::StreamConfig]) {
    let mut types: Vec<(u8, String)> = Vec::new();
    let mut ids = Vec::new();
    for stream in streams {
        for codec in &stream.codecs {
            types.push((codec.payload_type, format!("{} {}", codec.name, codec.fmtp)));
            types.extend(
                codec
                    .rtx_payload_type
                    .map(|pt| (pt, format!("rtx {}", codec.payload_type))),
            );
        }
        ids.extend(stream.extensions.iter().copied());
    }
    for (pt, what) in &types {
        assert!(types.iter().all(|(p, w)| p != pt || w == what), "{types:?}");
    }
    for (id, what) in &ids {
        assert!(ids.iter().all(|(i, w)| i != id || w == what), "{ids:?}");
    }
}

/// A call that fails for want of a common codec has none.
fn nothing_in_common(one: &Wish, other: &Wish) {
    let (sent, taken) = match (one, other) {
        (Wish::Send(sent), Wish::Receive(taken)) | (Wish::Receive(taken), Wish::Send(sent)) => {
            (sent, taken)
        }
        _ => return,
    };
    for Sending { codec, .. } in sent {
        let fits = taken
            .codecs
            .iter()
            .flat_map(|row| row.to_receive())
            .any(|theirs| codec.send_fit(&theirs).is_some());
        assert!(!fits, "{codec} is taken, yet no call came about");
    }
}

#[test]
fn both_ends_believe_the_same_whoever_offers() {
    let calls = Cell::new(0);
    runner(2_000)
        .run(&(sent(), received()), |(sent, receiver)| {
            let sender = Wish::Send(sent.into_iter().map(Sending::from).collect());
            watch::within(LIMIT, "a call", || {
                let came_about = [(&sender, &receiver), (&receiver, &sender)]
                    .map(|(one, other)| negotiate(&mut End::new(one), &mut End::new(other)));
                calls.set(calls.get() + came_about.iter().filter(|c| **c).count());
            });
            Ok(())
        })
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(calls.get() > 1_000, "only {} calls", calls.get());
}

#[test]
fn both_ends_believe_the_same_after_streams_came_and_went() {
    // For each step streams to add, or one to take away; the last one stays.
    let steps = prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), sent()), 1..6);
    runner(1_000)
        .run(&(sent(), steps), |(first, steps)| {
            let wish = Wish::Send(first.into_iter().map(Sending::from).collect());
            let (mut sender, mut receiver) = (End::new(&wish), End::new(&wishes::receive_all()));
            negotiate(&mut sender, &mut receiver);
            for (add, index, more) in steps {
                let Wish::Send(streams) = &mut sender.wish else {
                    unreachable!()
                };
                if add {
                    streams.extend(more.into_iter().take(2).map(Sending::from));
                } else {
                    let left = streams.iter().filter(|stream| !stream.removed).count();
                    let count = streams.len();
                    streams[index.index(count)].removed |= left > 1;
                }
                negotiate(&mut sender, &mut receiver);
            }
            Ok(())
        })
        .unwrap_or_else(|wrong| panic!("{wrong}"));
}
