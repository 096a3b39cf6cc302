// SPDX-License-Identifier: MPL-2.0
//! What is lost on the way is repaired in time, on a virtual clock.

use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};

use super::harness::{Net, picture};
use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Two links of `conditions`, which are fine at first: no receiver can know what came before the
/// first packet it got.
fn net(codec: &Codec, delay: u64, conditions: &str, seed: u64) -> Net {
    let link = format!("delay={delay}ms; 300ms: {conditions}");
    Net::new(std::slice::from_ref(codec), &link, &link, seed)
}

/// The same link there and back.
fn net_of(codec: &Codec, seed: u64, link: &str) -> Net {
    Net::new(std::slice::from_ref(codec), link, link, seed)
}

/// What became of a call.
#[derive(Debug)]
struct Outcome {
    /// Part of the packets that came within the deadline, of those that came late or never.
    in_time: f64,
    /// Part of the frames of which all packets came within the deadline.
    frames: f64,
    duplicates: usize,
    /// Repair packets for each that was lost.
    repairs: f64,
    /// Of the media.
    lost: u64,
}

fn outcome(net: &Net, pushed: &[Duration], delay: u64, deadline: u64) -> Outcome {
    let mut numbers: Vec<u32> = net.arrived.iter().map(|a| a.number()).collect();
    numbers.sort_unstable();
    let all = numbers.len();
    numbers.dedup();
    let limit = ms(delay + deadline);
    let in_time = net.arrived.iter().filter(|arrived| {
        let pushed = pushed[arrived.number() as usize];
        arrived.at <= pushed + limit
    });
    Outcome {
        in_time: in_time.count() as f64 / pushed.len() as f64,
        frames: frames(net, pushed, limit),
        duplicates: all - numbers.len(),
        repairs: net.there.repairs as f64 / net.there.media_lost.max(1) as f64,
        lost: net.there.media_lost,
    }
}

/// `seconds` of 2.5 Mbit/s, and the time to repair the rest.
fn call(codec: &Codec, delay: u64, conditions: &str, seconds: u32, seed: u64) -> (Net, Outcome) {
    let mut net = net(codec, delay, conditions, seed);
    let outcome = finish(&mut net, delay, seconds);
    println!("{conditions}, seed {seed}");
    (net, outcome)
}

fn finish(net: &mut Net, delay: u64, seconds: u32) -> Outcome {
    let pushed = net.video(seconds, 9);
    net.advance(net.now() + ms(1500));
    let outcome = outcome(net, &pushed, delay, 200);
    println!(
        "{outcome:?}\n  there {:?}\n  back {:?}\n  {:?}",
        net.there,
        net.back,
        net.receiver.stats(0)
    );
    outcome
}

/// Frames that are complete and in time.
fn frames(net: &Net, pushed: &[Duration], limit: Duration) -> f64 {
    let mut came = vec![0; pushed.len() / 9];
    for arrived in &net.arrived {
        let number = arrived.number() as usize;
        if arrived.at <= pushed[number] + limit {
            came[number / 9] += 1;
        }
    }
    came.iter().filter(|packets| **packets == 9).count() as f64 / came.len() as f64
}

#[test]
fn ten_percent_of_loss_are_repaired_in_time() {
    for seed in 1..5 {
        let (_, outcome) = call(&vp8(), 25, "loss=10%", 60, seed);
        assert!(outcome.in_time >= 0.999, "{outcome:?}");
        assert!(outcome.frames >= 0.995, "{outcome:?}");
        assert!(outcome.repairs <= 1.3, "{outcome:?}");
        assert_eq!(outcome.duplicates, 0);
    }
}

#[test]
fn congestion_control_does_not_hold_up_repairs() {
    for seed in 1..4 {
        let mut net = net(&vp8(), 25, "loss=10%", seed);
        net.sender
            .shared
            .set_bitrate_limits(BitrateLimits::default());
        let outcome = finish(&mut net, 25, 20);
        assert!(outcome.repairs <= 1.3, "{outcome:?}");
        let answers = net.receiver.stats(0).round_trip_time;
        assert!(answers.is_some_and(|time| time < 0.06), "{answers:?}");
    }
}

#[test]
fn twenty_percent_of_loss_are_repaired_in_time() {
    for seed in 1..5 {
        let (_, outcome) = call(&vp8(), 25, "loss=20%", 60, seed);
        assert!(outcome.in_time >= 0.99, "{outcome:?}");
        assert!(outcome.frames >= 0.97, "{outcome:?}");
        // What was lost twice is sent twice.
        assert!(outcome.repairs <= 1.5, "{outcome:?}");
        assert_eq!(outcome.duplicates, 0);
    }
}

#[test]
fn a_long_round_trip_leaves_time_for_one_request() {
    let (net, outcome) = call(&vp8(), 75, "loss=5%", 60, 1);
    assert!(outcome.in_time >= 0.99, "{outcome:?}");
    assert!(outcome.repairs <= 1.3, "{outcome:?}");
    let measured = net.receiver.stats(0).round_trip_time.unwrap();
    assert!((measured - 0.150).abs() < 0.01, "{measured}");
}

#[test]
fn bursts_of_loss_are_repaired_in_time() {
    for seed in 1..4 {
        let (_, outcome) = call(&vp8(), 25, "burst=50ms/1s", 60, seed);
        assert!(outcome.in_time >= 0.999, "{outcome:?}");
        assert!(outcome.repairs <= 1.3, "{outcome:?}");
    }
}

#[test]
fn jitter_alone_is_not_taken_for_loss() {
    let (net, outcome) = call(&vp8(), 25, "jitter=20ms", 30, 1);
    assert_eq!(outcome.lost, 0);
    assert_eq!((net.back.nacks, net.there.repairs), (0, 0));
}

#[test]
fn packets_that_overtake_each_other_are_rarely_asked_for() {
    let (net, outcome) = call(&vp8(), 25, "jitter=5ms reorder=2%/10ms", 60, 1);
    assert_eq!(outcome.lost, 0);
    // Of the 324 that come late.
    assert!(net.there.repairs < 40, "{:?}", net.there);
    assert_eq!(outcome.duplicates, 0);
}

#[test]
fn packets_that_come_twice_go_on_once() {
    let (net, outcome) = call(&vp8(), 25, "duplicate=20% loss=5%", 30, 1);
    assert_eq!(outcome.duplicates, 0);
    assert!(net.receiver.stats(0).packets_duplicated > 1000);
    assert!(outcome.in_time >= 0.999, "{outcome:?}");
}

#[test]
fn requests_that_get_lost_are_made_good() {
    let there = "delay=25ms; 300ms: loss=5%";
    let mut net = Net::new(&[vp8()], there, "delay=25ms loss=40%", 1);
    let pushed = net.video(60, 9);
    net.advance(net.now() + ms(1500));
    let outcome = outcome(&net, &pushed, 25, 200);
    assert!(outcome.in_time >= 0.998, "{outcome:?}");
    assert!(outcome.repairs <= 1.3, "{outcome:?}");
}

#[test]
fn without_rtx_packets_are_repaired_under_their_own_number() {
    let codec = Codec {
        rtx_payload_type: None,
        ..vp8()
    };
    let (net, outcome) = call(&codec, 25, "loss=10%", 60, 1);
    assert!(outcome.in_time >= 0.999, "{outcome:?}");
    assert!(outcome.repairs <= 1.3, "{outcome:?}");
    assert_eq!(outcome.duplicates, 0);
    assert_eq!(net.there.rewritten, 0, "one nonce for two packets");
    let stats = net.receiver.stats(0);
    assert_eq!(stats.packets_repaired, net.there.media_lost);
    assert_eq!(stats.retransmitted_packets_received, 0);
}

#[test]
fn a_remote_without_nack_is_asked_for_nothing_but_key_frames() {
    let codec = Codec {
        feedback: feedback(&["nack pli"]),
        ..vp8()
    };
    let (net, _) = call(&codec, 25, "loss=5%", 10, 1);
    assert_eq!((net.back.nacks, net.there.repairs), (0, 0));
}

#[test]
fn what_is_repaired_is_counted() {
    let (net, _) = call(&vp8(), 25, "loss=10%", 30, 1);
    let (sent, received) = (net.sender.stats(0), net.receiver.stats(0));
    assert_eq!(received.packets_repaired, net.there.media_lost);
    assert_eq!(received.packets_lost, 0);
    assert_eq!(sent.retransmitted_packets_sent, net.there.repairs);
    assert_eq!(received.nack_count, net.back.nacks);
    // Firefox knows RTX by its mid only, and estimators count what has a number.
    assert_eq!(net.there.bare, 0);
    // Of the path, before repairs: what the sender's congestion control must see.
    let reported = sent.packets_lost as f64 / net.there.media_lost as f64;
    assert!((0.9..=1.1).contains(&reported), "{sent:?}");
}

#[test]
fn a_key_frame_is_asked_for_only_when_repair_is_out_of_time() {
    let (net, _) = call(&vp8(), 25, "loss=10%", 30, 1);
    assert_eq!(net.back.plis, 0);
    let outage = |until: &str| {
        let link = format!("delay=25ms; 1s: loss=100%; {until}: loss=0%");
        let mut net = net_of(&vp8(), 25, &link);
        let queue = net.receiver.shared.lines()[0].inbound.clone();
        queue.set_patience(ms(200), ms(0));
        net.video(4, 9);
        net
    };
    // The reader learns of a short one at its end, and waits from then on.
    let short = outage("1.25s");
    assert_eq!(
        (short.back.plis, short.receiver.stats(0).packets_lost),
        (0, 0)
    );
    let long = outage("2.25s");
    assert!(long.back.nacks > 0);
    assert!((1..=4).contains(&long.back.plis), "{:?}", long.back);
}

#[test]
fn a_stream_that_begins_without_a_key_frame_gets_one_soon() {
    let mut net = net_of(&vp8(), 25, "delay=25ms");
    net.push(0, picture(0, 5, 1000, ms(0), false));
    net.advance(ms(33));
    net.push(0, picture(5, 5, 1000, ms(33), false));
    net.advance(ms(33 + 25 + 30));
    assert_eq!(net.back.plis, 1);
    // The answer is under way; after it nothing is missing any more.
    net.push(0, picture(10, 5, 1000, ms(88), true));
    for frame in 1..60 {
        net.advance(ms(88 + frame * 33));
        net.push(
            0,
            picture(frame as u32 * 5 + 10, 5, 1000, ms(88 + frame * 33), false),
        );
    }
    assert_eq!(net.back.plis, 1);
}

#[test]
fn a_jump_of_thousands_of_numbers_is_not_asked_for() {
    let mut net = net_of(&vp8(), 25, "delay=25ms");
    net.push(0, picture(0, 9, 1100, ms(0), true));
    net.advance(ms(40));
    let mut frame = picture(9, 9, 1100, ms(40), false);
    let mut packets = frame.packets.to_vec();
    packets[0].skipped = 3000;
    frame.packets = packets.into();
    net.push(0, frame);
    net.advance(ms(200));
    assert_eq!((net.back.asked, net.back.plis), (0, 1));
}

#[test]
fn feedback_is_as_frequent_as_there_is_to_tell() {
    let mut net = net_of(&vp8(), 25, "delay=25ms");
    net.video(10, 9);
    // At 2.5 Mbit/s with the first frame after 50 ms, which is every second one.
    assert!((140..=160).contains(&net.back.feedback), "{:?}", net.back);
    let mut net = net_of(&opus(), 25, "delay=25ms");
    for frame in 0..500 {
        net.advance(ms(frame * 20));
        net.push(0, picture(frame as u32, 1, 60, ms(frame * 20), true));
    }
    // Some 35 kbit/s: the longest interval.
    assert!((38..=60).contains(&net.back.feedback), "{:?}", net.back);
}

#[test]
fn a_remote_without_transport_wide_feedback_is_told_what_the_path_carries() {
    let codec = Codec {
        feedback: feedback(&["nack", "nack pli", "goog-remb"]),
        ..vp8()
    };
    let lines = |direction| {
        let mut line = line(direction, 0, vec![codec.clone()]);
        line.extensions = vec![(1, HeaderExtension::Mid), (2, HeaderExtension::AbsSendTime)];
        vec![line]
    };
    let link = "delay=25ms";
    let (sent, received) = (lines(Direction::SendOnly), lines(Direction::RecvOnly));
    let mut net = Net::of_lines(sent, received, link, link, 1);
    net.video(10, 9);
    assert_eq!(net.back.feedback, 0);
    let told = &net.back.estimates;
    assert!((8..=12).contains(&told.len()), "{told:?}");
    // 2.4 Mbit/s come, and nothing waits.
    assert!(
        told.last().is_some_and(|bitrate| *bitrate > 2.4e6),
        "{told:?}"
    );
    let (net, _) = call(&vp8(), 25, "loss=0%", 5, 1);
    assert!(net.back.estimates.is_empty());
}

#[test]
fn sequence_numbers_may_begin_anew() {
    // 65 thousand packets: once around, wherever they begin.
    let (net, outcome) = call(&vp8(), 25, "loss=5%", 244, 1);
    assert!(outcome.in_time >= 0.999, "{outcome:?}");
    assert_eq!((outcome.duplicates, net.back.plis), (0, 0));
}

#[test]
fn answers_that_take_long_are_not_asked_for_again_and_again() {
    let (net, outcome) = call(&vp8(), 150, "loss=5%", 60, 1);
    let lost = net.there.media_lost;
    assert!(net.back.asked <= 5 * lost, "{:?}", net.back);
    assert!(outcome.repairs <= 1.3, "{outcome:?}");
    let measured = net.receiver.stats(0).round_trip_time.unwrap();
    assert!((measured - 0.300).abs() < 0.02, "{measured}");
}

/// RFC 5104 section 4.3.1.1.
#[test]
fn a_full_intra_request_that_is_repeated_is_one_until_its_key_frame_must_have_been_lost() {
    let mut net = net(&vp8(), 10, "", 1);
    net.video(1, 4);
    let ssrc = net.sender.shared.outbound.ssrcs(0).0;
    let mut requests = Vec::new();
    for (number, seconds) in [(7, 2), (7, 2), (8, 2), (8, 4), (8, 4)] {
        net.advance(Duration::from_secs(seconds));
        net.tell_sender(FullIntraRequest {
            sender_ssrc: 1,
            media_ssrc: 0,
            fir: vec![FirEntry {
                ssrc,
                sequence_number: number,
            }],
        });
        let mut count = 0;
        while let Ok(event) = net.sender.events.try_recv() {
            count += u32::from(matches!(event, PeerEvent::KeyFrameRequest(0)));
        }
        requests.push(count);
    }
    assert_eq!(requests, [1, 0, 1, 1, 0]);
    assert_eq!(net.sender.stats(0).fir_count, 3);
}
