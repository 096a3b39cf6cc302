// SPDX-License-Identifier: MPL-2.0
//! A session from its POST to its DELETE.

use super::*;

#[tokio::test]
async fn a_session_is_posted_answered_and_deleted() {
    let mut server = Server::start(accepting(|_| Act::Never)).await;
    let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
    let post = server.next().await;
    assert_eq!(post.line(), "POST /whip");
    assert_eq!(post.body, OFFER);
    assert_eq!(post.header("content-type"), Some("application/sdp"));
    assert_eq!(post.header("accept"), Some("application/sdp"));
    assert_eq!(post.header("authorization"), Some("Bearer S3cretToken"));
    let agent = concat!("rswebrtc/", env!("CARGO_PKG_VERSION"));
    assert_eq!(post.header("user-agent"), Some(agent));
    let answer = call.hear_description().await;
    assert_eq!(
        (answer.kind, answer.sdp.as_str()),
        (DescriptionType::Answer, ANSWER)
    );
    call.hang_up().await;
    let delete = server.next().await;
    assert_eq!(delete.line(), "DELETE /session/1");
    assert_eq!(delete.header("authorization"), Some("Bearer S3cretToken"));
    assert_eq!(delete.header("if-match"), None);
}

#[tokio::test]
async fn a_closed_channel_or_a_cut_call_deletes_as_a_bye_does() {
    for cut in [false, true] {
        let mut server = Server::start(accepting(|_| Act::Never)).await;
        let mut call = Call::offering(config(Protocol::Whep, &server.url())).await;
        call.hear_description().await;
        if cut {
            call.cancel.cancel();
        } else {
            call.outgoing = None;
        }
        let (result, notices) = call.end().await;
        result.unwrap();
        assert_eq!(notices, [] as [String; 0]);
        server.next().await;
        assert_eq!(server.next().await.line(), "DELETE /session/1");
    }
}

#[tokio::test]
async fn a_call_that_ends_before_its_offer_posts_nothing() {
    let mut server = Server::start(accepting(|_| Act::Never)).await;
    Call::start(config(Protocol::Whip, &server.url()))
        .hang_up()
        .await;
    assert!(server.seen.try_recv().is_err());
}

#[tokio::test]
async fn a_call_cut_while_its_offer_is_read_leaves_no_session_behind() {
    for bye in [false, true] {
        let script = |seen: &Seen| match seen.method {
            Method::POST => Act::Hold(created()),
            _ => reply(200, &[], ""),
        };
        let mut server = Server::start(script).await;
        let call = Call::offering(config(Protocol::Whip, &server.url())).await;
        server.next().await;
        if bye {
            call.say(Message::Bye).await;
        } else {
            call.cancel.cancel();
        }
        server.release.notify_one();
        let (result, _) = call.end().await;
        result.unwrap();
        assert_eq!(server.next().await.line(), "DELETE /session/1");
    }
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_up_the_end() {
    for script in [(|_| Act::Never) as fn(&Seen) -> Act, |seen| {
        match seen.method {
            Method::POST => Act::Reply(created()),
            _ => Act::Never,
        }
    }] {
        let mut server = Server::start(script).await;
        let call = Call::offering(config(Protocol::Whip, &server.url())).await;
        server.next().await;
        let limit = Client::new(config(Protocol::Whip, "")).farewell_limit();
        let begin = std::time::Instant::now();
        call.say(Message::Bye).await;
        let (result, _) = call.end().await;
        result.unwrap();
        // A session that waited so long cuts the task off.
        assert!(begin.elapsed() < 2 * limit, "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn without_a_location_the_session_goes_on_with_a_notice() {
    for headers in [&[][..], &[("location", "ftp://127.0.0.1/")]] {
        let mut server = Server::start(move |_: &Seen| reply(201, headers, ANSWER)).await;
        let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
        call.hear_description().await;
        call.say(Message::Bye).await;
        let (result, notices) = call.end().await;
        result.unwrap();
        assert!(
            notices.len() == 1 && notices[0].contains("Location"),
            "{notices:?}"
        );
        server.next().await;
        assert!(server.seen.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_session_that_is_gone_already_ends_without_a_word_and_a_failure_with_one() {
    for (status, told) in [(404, 0), (410, 0), (405, 0), (204, 0), (500, 1), (401, 1)] {
        let script = move |seen: &Seen| match seen.method {
            Method::POST => Act::Reply(created()),
            _ => reply(status, &[], ""),
        };
        let server = Server::start(script).await;
        let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
        call.hear_description().await;
        call.say(Message::Bye).await;
        let (result, notices) = call.end().await;
        result.unwrap();
        assert_eq!(notices.len(), told, "{status}: {notices:?}");
    }
}

#[tokio::test]
async fn a_reply_that_is_no_answer_is_named_and_its_session_deleted() {
    for (media_type, body, named) in [
        ("text/html", "<html>", "text/html"),
        ("application/sdp", "", "no answer"),
        ("", "hello", "untyped"),
    ] {
        let script = move |seen: &Seen| match seen.method {
            Method::POST if media_type.is_empty() => reply(201, &[("location", "/s")], body),
            Method::POST => {
                let headers = [("location", "/s"), ("content-type", media_type)];
                reply(201, &headers, body)
            }
            _ => reply(200, &[], ""),
        };
        let mut server = Server::start(script).await;
        let (text, status, retry) = refusal(config(Protocol::Whip, &server.url())).await;
        assert!(text.contains(named), "{text}");
        assert_eq!(
            (status, retry),
            (Some(201), crate::signalling::Retry::Never)
        );
        server.next().await;
        assert_eq!(server.next().await.line(), "DELETE /s");
    }
}

#[tokio::test]
async fn an_offer_of_the_server_is_answered_with_a_patch() {
    let headers = [
        ("content-type", "application/sdp; valid-until=\"never\""),
        ("location", "/session/2"),
    ];
    // The draft's counter-offer needs no actpass; in a 201 only that tells it from an answer.
    for (status, offer) in [
        (406, ANSWER.replace("passive", "active")),
        (201, ANSWER.replace("passive", "actpass")),
    ] {
        let sent = offer.clone();
        let script = move |seen: &Seen| match seen.method {
            Method::POST => reply(status, &headers, sent.clone()),
            _ => reply(204, &[], ""),
        };
        let mut server = Server::start(script).await;
        let mut call = Call::offering(config(Protocol::Whep, &server.url())).await;
        let heard = call.hear_description().await;
        assert_eq!((heard.kind, heard.sdp), (DescriptionType::Offer, offer));
        // Candidates wait for the description they belong to.
        call.say(candidate(7)).await;
        call.describe(DescriptionType::Answer, ANSWER).await;
        server.next().await;
        let patch = server.next().await;
        assert_eq!(
            (patch.line().as_str(), patch.body.as_str()),
            ("PATCH /session/2", ANSWER)
        );
        assert_eq!(patch.header("content-type"), Some("application/sdp"));
        let trickled = server.next().await;
        assert!(
            trickled.body.contains("a=candidate:7 "),
            "{}",
            trickled.body
        );
        call.hang_up().await;
        assert_eq!(server.next().await.line(), "DELETE /session/2");
    }
}

#[tokio::test]
async fn a_refused_answer_ends_the_call() {
    let script = |seen: &Seen| match seen.method {
        Method::POST => reply(406, &[("location", "/session/2")], ANSWER),
        Method::PATCH => reply(400, &[("content-type", "text/plain")], "no m-line"),
        _ => reply(404, &[], ""),
    };
    let server = Server::start(script).await;
    let mut call = Call::offering(config(Protocol::Whep, &server.url())).await;
    call.hear_description().await;
    call.describe(DescriptionType::Answer, ANSWER).await;
    let (result, _) = call.end().await;
    let text = result.unwrap_err().to_string();
    assert!(text.contains("no m-line"), "{text}");
}

#[tokio::test]
async fn a_client_does_not_answer() {
    let call = Call::with_role(
        config(Protocol::Whip, "http://127.0.0.1:9/"),
        Role::Answerer,
    );
    let (result, _) = call.end().await;
    assert!(matches!(result, Err(SignallingError::Settings(_))));
}
