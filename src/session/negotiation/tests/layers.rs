// SPDX-License-Identifier: MPL-2.0
use super::super::{OwnLayer, Sending, offer, read_answer};
use super::*;

/// Three layers of one picture, the largest in the middle.
fn layered(by_rid: bool) -> Wish {
    let layer = |(rid, pixels): (&str, u32)| Sending {
        layer: Some(OwnLayer {
            group: "room".to_owned(),
            rid: if by_rid {
                rid.to_owned()
            } else {
                String::new()
            },
            pixels,
        }),
        ..Sending::from(supported("VP8").unwrap().with_fmtp(""))
    };
    Wish::Send([("m", 2), ("h", 3), ("l", 1)].map(layer).to_vec())
}

/// A description of the remote that takes the one m-line of `offered`, with these lines more.
fn answer_with(offered: &Agreement, more: &str) -> Remote {
    remote(&[line_with(offered, more)])
}

fn line_with(offered: &Agreement, more: &str) -> String {
    let stream = &offered.streams[0];
    let pt = stream.codecs[0].payload_type;
    let extensions: String = stream
        .extensions
        .iter()
        .map(|(id, extension)| format!("a=extmap:{id} {}\r\n", extension.uri()))
        .collect();
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF {pt}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=rtpmap:{pt} VP8/90000\r\n{extensions}{more}"
    )
}

fn sent(agreement: &Agreement) -> Vec<(usize, Option<&str>)> {
    let agreed = agreement.agreed.iter();
    agreed.map(|agreed| (agreed.local, agreed.rid())).collect()
}

#[test]
fn layers_of_one_picture_share_an_m_line_the_largest_first() {
    let wish = layered(true);
    let offered = first_offer(&wish);
    assert_eq!(offered.locals, [Some(1), Some(0), Some(2)]);
    assert!(offered.streams.iter().all(|s| s.mid == "0"));
    let rids = "a=rid:h recv\r\na=rid:m recv\r\na=rid:l recv\r\n";
    let all = answer_with(&offered, &format!("{rids}a=simulcast:recv h;m;l\r\n"));
    let agreed = read_answer(&wish, &offered, &all).unwrap();
    assert_eq!(
        sent(&agreed),
        [(1, Some("h")), (0, Some("m")), (2, Some("l"))]
    );
    let again = offer(&wish, &agreed);
    assert_eq!(
        again.streams, agreed.streams,
        "another offer changes nothing"
    );
}

#[test]
fn layers_go_on_when_the_largest_leaves_and_end_with_the_last() {
    let mut wish = layered(true);
    let offered = first_offer(&wish);
    let rids = "a=rid:h recv\r\na=rid:m recv\r\na=rid:l recv\r\na=simulcast:recv h;m;l\r\n";
    let all = answer_with(&offered, rids);
    let agreed = read_answer(&wish, &offered, &all).unwrap();
    remove(&mut wish, &[1]);
    let offered = offer(&wish, &agreed);
    assert_eq!(offered.locals, [None, Some(0), Some(2)]);
    assert_eq!(offered.streams[0].direction, Direction::SendOnly);
    let agreed = read_answer(&wish, &offered, &all).unwrap();
    assert_eq!(sent(&agreed), [(0, Some("m")), (2, Some("l"))]);
    let sends = |s: &StreamConfig| s.layer.as_ref().is_some_and(|layer| layer.sends);
    let sending: Vec<bool> = agreed.streams.iter().map(sends).collect();
    assert_eq!(sending, [false, true, true]);
    assert!(agreed.left_out.is_empty());
    remove(&mut wish, &[0, 2]);
    let offered = offer(&wish, &agreed);
    assert_eq!(offered.streams[0].direction, Direction::Inactive);
}

fn remove(wish: &mut Wish, gone: &[usize]) {
    let Wish::Send(streams) = wish else {
        unreachable!()
    };
    gone.iter().for_each(|at| streams[*at].removed = true);
}

#[test]
fn layers_that_an_answer_pauses_or_leaves_out_are_not_sent_and_named() {
    let wish = layered(true);
    let offered = first_offer(&wish);
    let rids = "a=rid:h recv\r\na=rid:m recv\r\n";
    let some = answer_with(&offered, &format!("{rids}a=simulcast:recv ~h;m\r\n"));
    let agreed = read_answer(&wish, &offered, &some).unwrap();
    assert_eq!(sent(&agreed), [(0, Some("m"))]);
    let left_out: Vec<_> = agreed.left_out.iter().map(|(local, _)| *local).collect();
    assert_eq!(left_out, [1, 2]);
    assert!(agreed.left_out[0].1.contains("pauses layer h"));
}

#[test]
fn a_remote_without_simulcast_gets_the_largest_layer_without_a_rid() {
    let wish = layered(true);
    let offered = first_offer(&wish);
    let agreed = read_answer(&wish, &offered, &answer_with(&offered, "")).unwrap();
    assert_eq!(sent(&agreed), [(1, None)]);
    assert_eq!(agreed.left_out.len(), 2);
    let extensions = &agreed.agreed[0].extensions;
    assert!(!extensions.iter().any(|(_, e)| *e == HeaderExtension::Rid));
}

#[test]
fn layers_by_ssrc_need_no_word_of_the_answer() {
    let wish = layered(false);
    let offered = first_offer(&wish);
    let agreed = read_answer(&wish, &offered, &answer_with(&offered, "")).unwrap();
    assert_eq!(sent(&agreed), [(1, None), (0, None), (2, None)]);
}

const ALL: &str = "a=rid:h recv\r\na=rid:m recv\r\na=rid:l recv\r\na=simulcast:recv h;m;l\r\n";

/// Three layers and sound, as they were agreed on when we offered.
fn layers_and_sound(by_rid: bool) -> (Wish, Agreement) {
    let Wish::Send(mut streams) = layered(by_rid) else {
        unreachable!()
    };
    streams.push(Sending::from(opus()));
    let wish = Wish::Send(streams);
    let offered = first_offer(&wish);
    let answer = remote(&[line_with(&offered, ALL), audio("1", "recvonly")]);
    let agreed = read_answer(&wish, &offered, &answer).unwrap();
    (wish, agreed)
}

fn rids(agreement: &Agreement) -> Vec<(usize, usize, Option<&str>)> {
    let agreed = agreement.agreed.iter();
    let mut rids: Vec<_> = agreed.map(|a| (a.stream, a.local, a.rid())).collect();
    rids.sort_unstable();
    rids
}

#[test]
fn an_offer_of_the_remotes_leaves_layers_and_what_is_behind_them_where_they_are() {
    for by_rid in [true, false] {
        let (wish, agreed) = layers_and_sound(by_rid);
        let rest = [audio("1", "recvonly"), video("v", "sendonly")];
        let lines = [&[line_with(&agreed, ALL)][..], &rest].concat();
        let again = super::super::answer(&wish, &remote(&lines), &agreed).unwrap();
        assert_eq!(again.locals, [Some(1), Some(0), Some(2), Some(3), None]);
        assert_eq!(rids(&again), rids(&agreed));
        assert_eq!(again.streams[..3], agreed.streams[..3]);
        let mids: Vec<_> = again.streams.iter().map(|s| s.mid.as_str()).collect();
        assert_eq!(mids, ["0", "0", "0", "1", "v"]);
        assert!(again.left_out.is_empty(), "{:?}", again.left_out);
    }
}

#[test]
fn an_offer_of_the_remotes_may_leave_layers_out_or_all_of_them() {
    let (wish, agreed) = layers_and_sound(true);
    let answer = |line: String| {
        let offer = remote(&[line, audio("1", "recvonly")]);
        super::super::answer(&wish, &offer, &agreed).unwrap()
    };
    let some = answer(line_with(&agreed, "a=rid:l recv\r\na=simulcast:recv l\r\n"));
    assert_eq!(rids(&some), [(2, 2, Some("l")), (3, 3, None)]);
    let left_out: Vec<_> = some.left_out.iter().map(|(local, _)| *local).collect();
    assert_eq!(left_out, [1, 0]);
    let none = answer(line_with(&agreed, ALL).replace("recvonly", "inactive"));
    assert_eq!(rids(&none), [(3, 3, None)]);
    let mut left_out: Vec<_> = none.left_out.iter().map(|(local, _)| *local).collect();
    left_out.sort_unstable();
    assert_eq!(left_out, [0, 1, 2]);
    let stopped = |s: &StreamConfig| s.direction == Direction::Inactive;
    assert!(none.streams[..3].iter().all(stopped));
    let back = remote(&[line_with(&agreed, ALL), audio("1", "recvonly")]);
    let back = super::super::answer(&wish, &back, &some).unwrap();
    assert_eq!(rids(&back), rids(&agreed));
}

#[test]
fn layers_go_on_after_an_offer_of_the_remotes_though_the_largest_has_left() {
    let (mut wish, agreed) = layers_and_sound(true);
    remove(&mut wish, &[1]);
    let offer = remote(&[line_with(&agreed, ALL), audio("1", "recvonly")]);
    let again = super::super::answer(&wish, &offer, &agreed).unwrap();
    assert_eq!(
        rids(&again),
        [(1, 0, Some("m")), (2, 2, Some("l")), (3, 3, None)]
    );
    assert_eq!(again.locals, [None, Some(0), Some(2), Some(3)]);
}

#[test]
fn a_layer_that_comes_back_has_the_place_of_one_that_left() {
    for gone in [0, 1] {
        let (mut wish, agreed) = layers_and_sound(true);
        let answer = remote(&[line_with(&agreed, ALL), audio("1", "recvonly")]);
        remove(&mut wish, &[gone]);
        let offered = offer(&wish, &agreed);
        let announced: Vec<_> = offered.streams.iter().map(announced).collect();
        let agreed = read_answer(&wish, &offered, &answer).unwrap();
        let Wish::Send(streams) = &mut wish else {
            unreachable!()
        };
        let mut back = streams[gone].clone();
        back.removed = false;
        streams.push(back);
        let again = offer(&wish, &agreed);
        let mut locals = [Some(1), Some(0), Some(2), Some(3)];
        let place = locals.iter().position(|l| *l == Some(gone)).unwrap();
        locals[place] = Some(4);
        assert_eq!(again.locals, locals);
        assert!(!announced[place] && again.streams[..3].iter().all(super::layers::announced));
    }
}

fn announced(stream: &StreamConfig) -> bool {
    stream.layer.as_ref().is_some_and(|layer| layer.sends)
}

#[test]
fn a_layer_does_not_take_the_place_of_one_that_leaves_at_the_same_time() {
    let (mut wish, agreed) = layers_and_sound(true);
    let Wish::Send(streams) = &mut wish else {
        unreachable!()
    };
    let mut back = streams[0].clone();
    streams[0].removed = true;
    back.removed = false;
    streams.push(back);
    let offered = offer(&wish, &agreed);
    assert_eq!(
        offered.locals,
        [Some(1), None, Some(2), Some(3), Some(4)],
        "its SSRC is still that of another stream"
    );
}

#[test]
fn layers_that_a_remote_stopped_for_a_while_are_all_back_when_it_takes_them_again() {
    let (wish, agreed) = layers_and_sound(true);
    // A description that takes nothing names no layers, and no extensions of theirs.
    let held = line_with(&agreed, "").replace("recvonly", "inactive");
    let held = held
        .replace("a=extmap:5", "a=x:")
        .replace("a=extmap:6", "a=x:");
    let held = remote(&[held, audio("1", "recvonly")]);
    let stopped = super::super::answer(&wish, &held, &agreed).unwrap();
    assert_eq!(rids(&stopped), [(3, 3, None)]);
    assert_eq!(stopped.locals, agreed.locals);
    let mut left_out: Vec<_> = stopped.left_out.iter().map(|(local, _)| *local).collect();
    left_out.sort_unstable();
    assert_eq!(left_out, [0, 1, 2]);
    let back = remote(&[line_with(&agreed, ALL), audio("1", "recvonly")]);
    let back = super::super::answer(&wish, &back, &stopped).unwrap();
    assert_eq!(rids(&back), rids(&agreed));
}

#[test]
fn layers_of_an_m_line_that_is_refused_are_offered_anew() {
    let (wish, agreed) = layers_and_sound(true);
    let refused = line_with(&agreed, "").replace("m=video 9", "m=video 0");
    let offer_of = remote(&[refused, audio("1", "recvonly")]);
    let rest = super::super::answer(&wish, &offer_of, &agreed).unwrap();
    assert_eq!(rest.locals, [None, None, None, Some(3)]);
    let anew = offer(&wish, &rest);
    assert_eq!(anew.locals[4..], [Some(1), Some(0), Some(2)]);
    assert!(anew.streams[4].has_line(4));
    assert_eq!(StreamConfig::with_line(&anew.streams).count(), 3);
}

#[test]
fn a_layer_that_is_added_for_a_remote_without_simulcast_has_an_m_line_of_its_own() {
    let mut wish = layered(true);
    let offered = first_offer(&wish);
    let agreed = read_answer(&wish, &offered, &answer_with(&offered, "")).unwrap();
    let Wish::Send(streams) = &mut wish else {
        unreachable!()
    };
    let more = streams[2].clone();
    streams.push(more);
    let again = offer(&wish, &agreed);
    assert_eq!(again.locals, [Some(1), Some(0), Some(2), Some(3)]);
    assert!(again.streams[3].has_line(3));
}
