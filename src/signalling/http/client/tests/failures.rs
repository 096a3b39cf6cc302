// SPDX-License-Identifier: MPL-2.0
//! What servers refuse, and what the user is told.

use std::time::SystemTime;

use super::*;
use crate::signalling::Retry;

async fn refused_with(
    protocol: Protocol,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> (String, Retry) {
    let server = Server::start(move |_: &Seen| reply(status, headers, body)).await;
    let (text, told, retry) = refusal(config(protocol, &server.url())).await;
    assert_eq!(told, Some(status), "{text}");
    assert!(text.contains(&format!("{}/whip", server.origin)), "{text}");
    (text, retry)
}

#[tokio::test]
async fn each_status_is_explained() {
    use Protocol::{Whep, Whip};
    for (protocol, status, word, retry) in [
        (Whip, 302, "set location", Retry::Never),
        (Whip, 400, "cannot read the offer", Retry::Never),
        (Whip, 401, "auth-token", Retry::Never),
        (Whip, 403, "auth-token", Retry::Never),
        (Whip, 404, "location", Retry::Never),
        (Whep, 404, "nobody sends it yet", Retry::Later),
        (Whip, 405, "no WHIP endpoint", Retry::Never),
        (Whep, 501, "no WHEP endpoint", Retry::Never),
        (Whip, 406, "video-codecs", Retry::Never),
        (Whep, 406, "video-codecs", Retry::Never),
        (Whip, 409, "already", Retry::Later),
        (Whep, 409, "nobody sends", Retry::Later),
        (Whep, 410, "over", Retry::Never),
        (Whip, 413, "too long", Retry::Never),
        (Whip, 415, "no SDP", Retry::Never),
        (Whip, 418, "refuses the offer", Retry::Never),
        (Whip, 422, "cannot read the offer", Retry::Never),
        (Whip, 429, "fewer requests", Retry::Later),
        (Whip, 500, "fault", Retry::Later),
        (Whip, 502, "proxy", Retry::Later),
        (Whip, 503, "not ready", Retry::Later),
        (Whip, 599, "fault", Retry::Later),
    ] {
        let (text, told) = refused_with(protocol, status, &[], "").await;
        assert!(text.contains(word), "{status}: {text}");
        assert_eq!(told, retry, "{status}: {text}");
    }
}

#[tokio::test]
async fn a_missing_token_is_told_from_a_wrong_one() {
    let server = Server::start(|_: &Seen| reply(401, &[], "")).await;
    let mut without = config(Protocol::Whip, &server.url());
    without.token = None;
    let (text, ..) = refusal(without).await;
    assert!(text.contains("set auth-token"), "{text}");
    let (text, ..) = refusal(config(Protocol::Whip, &server.url())).await;
    assert!(text.contains("check auth-token"), "{text}");
}

#[tokio::test]
async fn what_the_server_says_is_quoted_but_for_secrets() {
    let plain = &[("content-type", "text/plain; charset=utf-8")];
    let problem = &[("content-type", "application/problem+json")];
    let whip = Protocol::Whip;
    let (text, _) = refused_with(whip, 400, plain, " line 7\r\nis \u{7}odd ").await;
    assert!(text.ends_with("line 7  is odd"), "{text}");
    let (text, _) = refused_with(whip, 503, problem, "{\"detail\": \"at dinner\"}").await;
    assert!(text.ends_with("at dinner"), "{text}");
    for body in ["your S3cretToken is wrong", "a=ice-pwd:ourpassword"] {
        let (text, _) = refused_with(whip, 400, plain, body).await;
        assert!(!text.contains("It says"), "{text}");
    }
    let server = Server::start(|_: &Seen| {
        let headers = [("content-type", "text/plain")];
        reply(400, &headers, "word ".repeat(1 << 18))
    })
    .await;
    let (text, ..) = refusal(config(whip, &server.url())).await;
    assert!(text.ends_with("word word …") && text.len() < 1000, "{text}");
}

#[tokio::test]
async fn the_server_says_when_to_try_again() {
    for (value, expected) in [("7", 7), ("0", 0), ("99999999", 300)] {
        let script = move |_: &Seen| reply(503, &[("retry-after", value)], "");
        let server = Server::start(script).await;
        let (_, _, retry) = refusal(config(Protocol::Whip, &server.url())).await;
        assert_eq!(retry, Retry::After(Duration::from_secs(expected)));
    }
    let at = SystemTime::now() + Duration::from_secs(100);
    let date = httpdate::fmt_http_date(at);
    let script = move |_: &Seen| reply(429, &[("retry-after", &date)], "");
    let server = Server::start(script).await;
    match refusal(config(Protocol::Whip, &server.url())).await.2 {
        Retry::After(pause) => assert!((60..=100).contains(&pause.as_secs()), "{pause:?}"),
        other => panic!("{other:?}"),
    }
    let past = &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
    let (_, retry) = refused_with(Protocol::Whip, 503, past, "").await;
    assert_eq!(retry, Retry::After(Duration::ZERO));
    let odd = &[("retry-after", "soon")];
    let (_, retry) = refused_with(Protocol::Whip, 503, odd, "").await;
    assert_eq!(retry, Retry::Later);
    // What fails for good does so later, too.
    let never = &[("retry-after", "7")];
    let (_, retry) = refused_with(Protocol::Whip, 400, never, "").await;
    assert_eq!(retry, Retry::Never);
}

#[tokio::test]
async fn an_endless_reply_is_cut_off() {
    let script = |_: &Seen| reply(201, &[], format!("v=0\r\n{}", "a".repeat(300 * 1024)));
    let server = Server::start(script).await;
    let (text, _, retry) = refusal(config(Protocol::Whip, &server.url())).await;
    assert!(text.contains("longer than"), "{text}");
    assert_eq!(retry, Retry::Never);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(|_: &Seen| Act::Never).await;
    let mut config = config(Protocol::Whip, &server.url());
    config.timeout = Duration::from_millis(200);
    let (text, status, retry) = refusal(config).await;
    assert!(text.contains("200ms"), "{text}");
    assert_eq!((status, retry), (None, Retry::Later));
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_a_wrong_setting() {
    for token in [
        "S3cretToken\r\nX: y",
        "Bearer S3cretToken",
        "S3cretToken\u{e9}",
    ] {
        let mut config = config(Protocol::Whip, "http://127.0.0.1:9/");
        config.token = Some(Token::new(token));
        let (result, _) = Call::offering(config).await.end().await;
        match result {
            Err(SignallingError::Settings(text)) => assert!(text.contains("auth-token"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}
