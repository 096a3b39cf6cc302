// SPDX-License-Identifier: MPL-2.0
//! Candidates and ICE restarts while a session lasts.

use super::*;
use crate::signalling::message::RefusalKind;

fn restarting() -> String {
    OFFER
        .replace("ours", "again")
        .replace("ourpassword", "2ndpassword")
}

const RENEWED: &str = "a=ice-ufrag:renewed\r\na=ice-pwd:newpassword\r\n\
    m=audio 9 RTP/AVP 0\r\na=mid:v\r\na=candidate:3 1 udp 1 127.0.0.1 3000 typ host\r\n";

#[tokio::test]
async fn an_ice_restart_gives_the_answer_with_new_ice() {
    let patch = |seen: &Seen| match seen.body.contains("again") {
        true => {
            let headers = [
                ("content-type", "application/trickle-ice-sdpfrag"),
                ("etag", "\"second\""),
            ];
            reply(200, &headers, RENEWED)
        }
        false => reply(204, &[], ""),
    };
    let mut server = Server::start(accepting(patch)).await;
    let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
    call.hear_description().await;
    server.next().await;
    call.describe(DescriptionType::Offer, &restarting()).await;
    let patch = server.next().await;
    assert_eq!(patch.line(), "PATCH /session/1");
    assert_eq!(patch.header("if-match"), Some("*"));
    assert_eq!(
        patch.header("content-type"),
        Some("application/trickle-ice-sdpfrag")
    );
    for line in [
        "a=ice-options:trickle",
        "a=ice-ufrag:again",
        "a=ice-pwd:2ndpassword",
        "a=mid:v",
        "a=candidate:1 1 udp 1 127.0.0.1 1000 typ host",
        "a=end-of-candidates",
    ] {
        assert!(
            patch.body.lines().any(|l| l == line),
            "{line}: {}",
            patch.body
        );
    }
    let answer = call.hear_description().await;
    assert_eq!(answer.kind, DescriptionType::Answer);
    let expected = ANSWER
        .replace("o=- 2 7", "o=- 2 8")
        .replace("theirs", "renewed")
        .replace("theirpassword", "newpassword")
        .replace(
            "candidate:2 1 udp 1 127.0.0.1 2000",
            "candidate:3 1 udp 1 127.0.0.1 3000",
        );
    assert_eq!(answer.sdp, expected);
    // What comes later belongs to the new ICE session.
    call.say(candidate(9)).await;
    let trickle = server.next().await;
    assert_eq!(trickle.header("if-match"), Some("\"second\""));
    call.hang_up().await;
}

#[tokio::test]
async fn a_restart_that_the_server_refuses_is_a_refusal_and_the_session_lasts() {
    for (status, body) in [
        (204, ""),
        (405, ""),
        (412, ""),
        (422, ""),
        (501, ""),
        (404, ""),
        (200, "<html>"),
        (200, "a=ice-ufrag:half\r\n"),
    ] {
        let mut server = Server::start(accepting(move |_| reply(status, &[], body))).await;
        let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
        call.hear_description().await;
        call.describe(DescriptionType::Offer, &restarting()).await;
        match call.hear().await {
            Message::Refuse(refusal) => assert_eq!(refusal.kind, RefusalKind::Internal),
            other => panic!("{status}: {other:?}"),
        }
        call.hang_up().await;
        server.next().await;
        server.next().await;
        assert_eq!(server.next().await.line(), "DELETE /session/1");
    }
}

#[tokio::test]
async fn an_offer_that_is_no_restart_is_refused_without_a_request() {
    let more = restarting() + "m=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:a\r\n";
    for offer in [OFFER.to_owned(), more] {
        let mut server = Server::start(accepting(|_| Act::Never)).await;
        let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
        call.hear_description().await;
        call.describe(DescriptionType::Offer, &offer).await;
        assert!(matches!(call.hear().await, Message::Refuse(_)));
        call.hang_up().await;
        server.next().await;
        assert_eq!(server.next().await.line(), "DELETE /session/1");
    }
}

#[tokio::test]
async fn a_bye_cuts_a_restart_off() {
    let mut server = Server::start(accepting(|_| Act::Never)).await;
    let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
    call.hear_description().await;
    call.describe(DescriptionType::Offer, &restarting()).await;
    server.next().await;
    assert_eq!(server.next().await.line(), "PATCH /session/1");
    call.hang_up().await;
    assert_eq!(server.next().await.line(), "DELETE /session/1");
}

#[tokio::test]
async fn candidates_that_wait_go_out_together() {
    let script = |seen: &Seen| match seen.method {
        Method::POST => Act::Hold(created()),
        Method::PATCH => reply(204, &[], ""),
        _ => reply(200, &[], ""),
    };
    let mut server = Server::start(script).await;
    let mut call = Call::start(config(Protocol::Whip, &server.url()));
    // Before the offer, and while it is read.
    call.say(candidate(7)).await;
    call.describe(DescriptionType::Offer, OFFER).await;
    server.next().await;
    call.say(candidate(8)).await;
    call.say(candidate(9)).await;
    server.release.notify_one();
    call.hear_description().await;
    let mut got = String::new();
    while !got.contains("candidate:9 ") {
        let patch = server.next().await;
        assert_eq!(patch.line(), "PATCH /session/1");
        assert_eq!(patch.header("if-match"), Some("\"first\""));
        assert!(
            patch.body.contains("a=ice-ufrag:ours\r\n"),
            "{}",
            patch.body
        );
        assert!(!patch.body.contains("end-of-candidates"), "{}", patch.body);
        got += &patch.body;
    }
    assert_eq!(got.matches("a=candidate:").count(), 3);
    assert!(got.matches("a=mid:v").count() <= 2, "{got}");
    call.hang_up().await;
}

#[tokio::test]
async fn a_server_without_trickle_is_asked_once() {
    let mut server = Server::start(accepting(|_| reply(405, &[], ""))).await;
    let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
    call.hear_description().await;
    server.next().await;
    call.say(candidate(7)).await;
    assert_eq!(server.next().await.line(), "PATCH /session/1");
    let Notice(text) = timeout(LIMIT, call.notices.recv()).await.unwrap().unwrap();
    assert!(text.contains("405"), "{text}");
    call.say(candidate(8)).await;
    // Refused without a request: what was said before it has been seen to by then.
    call.describe(DescriptionType::Offer, OFFER).await;
    assert!(matches!(call.hear().await, Message::Refuse(_)));
    call.hang_up().await;
    assert_eq!(server.next().await.line(), "DELETE /session/1");
}
