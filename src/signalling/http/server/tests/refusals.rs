// SPDX-License-Identifier: MPL-2.0
//! What clients are told when it does not work.

use super::*;

#[tokio::test]
async fn each_refusal_has_its_status_and_reason() {
    let mut bench = Bench::new(ServerConfig {
        max_peers: 1,
        ..config()
    })
    .await;
    for (kind, status, retry) in [
        (RefusalKind::BadDescription, 400, None),
        (RefusalKind::NothingInCommon, 406, None),
        (RefusalKind::NotReady, 503, Some("2")),
        (RefusalKind::Internal, 500, None),
    ] {
        let asking = bench.asking("POST", "/whep", SDP, &sdp(1, "clnt"));
        let session = bench.arrival().await;
        session.say(refusal(kind)).await;
        let reply = within(asking).await.unwrap();
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("retry-after"), retry);
        assert_eq!(reply.body, "so it is\n");
        assert!(
            reply
                .header("content-type")
                .unwrap()
                .starts_with("text/plain")
        );
        session.end().await.unwrap();
    }
}

#[tokio::test]
async fn session_that_ends_before_its_answer_is_an_error_of_ours() {
    let mut bench = Bench::new(config()).await;
    let asking = bench.asking("POST", "/whep", SDP, &sdp(1, "clnt"));
    let session = bench.arrival().await;
    session.say(Message::Bye).await;
    assert_eq!(within(asking).await.unwrap().status, 500);
}

#[tokio::test]
async fn offer_that_is_not_answered_times_out_and_its_resource_is_gone() {
    let mut bench = Bench::new(ServerConfig {
        max_peers: 1,
        answer_limit: Duration::from_millis(50),
        ..config()
    })
    .await;
    let asking = bench.asking("POST", "/whep", SDP, &sdp(1, "clnt"));
    let session = bench.arrival().await;
    assert_eq!(within(asking).await.unwrap().status, 504);
    let resource = format!("/whep/{}", session.id);
    let error = session.end().await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    let reply = bench.ask("DELETE", &resource, "", "").await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn arrival_that_is_run_too_late_brings_no_offer() {
    let mut bench = Bench::new(ServerConfig {
        max_peers: 1,
        answer_limit: Duration::from_millis(50),
        ..config()
    })
    .await;
    let reply = bench.ask("POST", "/whep", SDP, &sdp(1, "clnt")).await;
    assert_eq!(reply.status, 504);
    let reply = bench.ask("POST", "/whep", SDP, &sdp(1, "clnt")).await;
    assert_ne!(reply.status, 201, "the queue holds one");
    let mut session = bench.arrival().await;
    assert_eq!(within(session.incoming.recv()).await, None);
    let error = session.end().await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn arrivals_that_nobody_takes_are_told_to_come_again() {
    let bench = Bench::new(ServerConfig {
        max_peers: 2 * ARRIVALS,
        ..config()
    })
    .await;
    let waiting: Vec<_> = (0..ARRIVALS)
        .map(|_| bench.asking("POST", "/whep", SDP, &sdp(1, "clnt")))
        .collect();
    let all_wait = async {
        while bench.arrivals.len() < ARRIVALS {
            tokio::task::yield_now().await;
        }
    };
    within(all_wait).await;
    let reply = bench.ask("POST", "/whep", SDP, &sdp(1, "clnt")).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), Some("1"));
    let Bench {
        arrivals, server, ..
    } = bench;
    drop(arrivals);
    for asking in waiting {
        assert_eq!(within(asking).await.unwrap().status, 500);
    }
    drop(server);
}

#[tokio::test]
async fn bodies_that_are_no_offer_are_refused() {
    let bench = Bench::new(config()).await;
    for (headers, body, status) in [
        ("", "v=0\r\n", 415),
        ("Content-Type: application/json\r\n", "v=0\r\n", 415),
        (SDP, "", 400),
        (SDP, "{}", 400),
        ("Content-Type: Application/SDP; charset=utf-8\r\n", "x", 400),
    ] {
        let reply = bench.ask("POST", "/whep", headers, body).await;
        assert_eq!(reply.status, status, "{headers} {body}");
        assert!(!reply.body.is_empty());
        let accept = (status == 415).then_some("application/sdp");
        assert_eq!(reply.header("accept-post"), accept);
    }
    let mut client = Client::new(bench.address).await;
    let head = format!("POST /whep HTTP/1.1\r\nHost: test\r\n{SDP}Content-Length: 5\r\n\r\n");
    client.write(head.as_bytes()).await;
    client.write(b"v=0\r\xff").await;
    assert_eq!(client.reply("POST").await.unwrap().status, 400, "no UTF-8");
}

#[tokio::test]
async fn body_that_is_too_large_is_refused_whether_or_not_its_length_is_told() {
    let bench = Bench::new(config()).await;
    for size in [128 * 1024 + 1, 512 * 1024] {
        let body = format!("v=0{}", " ".repeat(size));
        let reply = bench.ask("POST", "/whep", SDP, &body).await;
        assert_eq!(reply.status, 413);
    }
    let mut client = Client::new(bench.address).await;
    let head =
        format!("POST /whep HTTP/1.1\r\nHost: test\r\n{SDP}Content-Length: 99999999\r\n\r\n");
    client.write(head.as_bytes()).await;
    let reply = client.reply("POST").await.unwrap();
    assert_eq!(reply.status, 413, "told in advance");
    let mut client = Client::new(bench.address).await;
    let head =
        format!("POST /whep HTTP/1.1\r\nHost: test\r\n{SDP}Transfer-Encoding: chunked\r\n\r\n");
    client.write(head.as_bytes()).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..3 {
        client.write(chunk.as_bytes()).await;
    }
    client.write(b"0\r\n\r\n").await;
    assert_eq!(client.reply("POST").await.unwrap().status, 413, "in chunks");
}

#[tokio::test]
async fn fragments_that_cannot_be_read_are_refused() {
    let mut bench = Bench::new(config()).await;
    let (_session, created) = bench.joined("").await;
    let resource = created.header("location").unwrap();
    let reply = bench.ask("PATCH", resource, SDP, "v=0\r\n").await;
    assert_eq!(reply.status, 415);
    let accept = reply.header("accept-patch");
    assert_eq!(accept, Some("application/trickle-ice-sdpfrag"));
    let many = "m=video 9 X 0\r\na=mid:0\r\n".to_owned()
        + &"a=candidate:1 1 UDP 1 127.0.0.1 1 typ host\r\n".repeat(1000);
    let reply = bench.ask("PATCH", resource, FRAGMENT, &many).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn places_are_limited_and_free_again_after_delete() {
    let mut bench = Bench::new(config()).await;
    let (_first, created) = bench.joined("").await;
    let _second = bench.joined("").await;
    let reply = bench.ask("POST", "/whep", SDP, &sdp(1, "clnt")).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), Some("5"));
    let resource = created.header("location").unwrap();
    assert_eq!(bench.ask("DELETE", resource, "", "").await.status, 200);
    bench.joined("").await;
}

#[tokio::test]
async fn stream_that_is_over_takes_nobody_and_keeps_whom_it_has() {
    let mut bench = Bench::new(config()).await;
    let (_session, created) = bench.joined("").await;
    bench.server.refuse_new();
    let reply = bench.ask("POST", "/whep", SDP, &sdp(1, "clnt")).await;
    assert_eq!(reply.status, 410);
    let resource = created.header("location").unwrap();
    assert_eq!(bench.ask("DELETE", resource, "", "").await.status, 200);
}

#[tokio::test]
async fn only_known_tokens_open_the_server() {
    let mut bench = Bench::new(ServerConfig {
        tokens: vec![Token::new("first"), Token::new("second")],
        ..config()
    })
    .await;
    let resource = "/whep/0123";
    for (method, path) in [("POST", "/whep"), ("PATCH", resource), ("DELETE", resource)] {
        let reply = bench.ask(method, path, SDP, "v=0").await;
        assert_eq!(reply.status, 401, "{method}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert!(reply.body.contains("token"));
        for wrong in ["Bearer third", "Bearer ", "Bearer firs", "Bearer firstt"] {
            let headers = format!("{SDP}Authorization: {wrong}\r\n");
            let reply = bench.ask(method, path, &headers, "v=0").await;
            assert_eq!(reply.status, 401, "{method} {wrong}");
        }
        let headers = format!("{SDP}Authorization: Basic first\r\n");
        assert_eq!(bench.ask(method, path, &headers, "v=0").await.status, 401);
    }
    let reply = bench
        .ask("POST", "/whep", "Authorization: Bearer third\r\n", "v=0")
        .await;
    let challenge = reply.header("www-authenticate");
    assert_eq!(challenge, Some("Bearer error=\"invalid_token\""));
    bench.joined("Authorization: Bearer first\r\n").await;
    bench.joined("authorization: bearer second\r\n").await;
    assert_eq!(bench.ask("GET", "/", "", "").await.status, 200);
}

#[tokio::test]
async fn other_methods_and_addresses_are_named() {
    let bench = Bench::new(config()).await;
    for method in ["GET", "HEAD", "PUT", "PATCH"] {
        let reply = bench.ask(method, "/whep", "", "").await;
        assert_eq!(reply.status, 405, "{method}");
        let allow = reply.header("allow").unwrap();
        assert!(
            allow.contains("POST") && allow.contains("OPTIONS"),
            "{allow}"
        );
    }
    assert_eq!(bench.ask("PUT", "/whep/1", "", "").await.status, 405);
    assert_eq!(bench.ask("POST", "/", "", "").await.status, 405);
    for path in ["/other", "/whep/1/2", "/WHEP"] {
        assert_eq!(
            bench.ask("POST", path, SDP, "v=0").await.status,
            404,
            "{path}"
        );
    }
    assert_eq!(bench.ask("DELETE", "/whep/%ff", "", "").await.status, 400);
}

#[tokio::test]
async fn browsers_may_ask_from_pages_of_other_origins() {
    let bench = Bench::new(ServerConfig {
        tokens: vec![Token::new("first")],
        ..config()
    })
    .await;
    for path in ["/whep", "/whep/1"] {
        let reply = bench
            .ask("OPTIONS", path, "Origin: http://other\r\n", "")
            .await;
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("accept-post"), Some("application/sdp"));
        let allowed = reply.header("access-control-allow-headers").unwrap();
        for header in ["Authorization", "Content-Type", "If-Match"] {
            assert!(allowed.contains(header));
        }
        let methods = reply.header("access-control-allow-methods").unwrap();
        assert!(methods.contains("PATCH") && methods.contains("DELETE"));
        assert!(reply.header("access-control-max-age").is_some());
    }
    for (method, path) in [
        ("POST", "/whep"),
        ("GET", "/"),
        ("GET", "/no"),
        ("PUT", "/whep"),
    ] {
        let reply = bench.ask(method, path, "", "").await;
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some("*"),
            "{path}"
        );
        let exposed = reply.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("Location") && exposed.contains("ETag"));
    }
}

#[tokio::test]
async fn reason_reaches_clients_that_still_write() {
    let bench = Bench::new(ServerConfig {
        tokens: vec![Token::new("first")],
        ..config()
    })
    .await;
    // On one connection: it is whole only if each body was read to its end.
    let mut client = Client::new(bench.address).await;
    for (method, path, status) in [
        ("POST", "/whep", 401),
        ("PATCH", "/whep/1", 401),
        ("DELETE", "/whep/1", 401),
        ("PUT", "/whep", 405),
        ("POST", "/other", 404),
    ] {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: t\r\n{SDP}Content-Length: 300000\r\n\r\n");
        client.write(head.as_bytes()).await;
        for _ in 0..30 {
            client.write(&[b'x'; 10_000]).await;
        }
        assert_eq!(
            client.reply(method).await.unwrap().status,
            status,
            "{method}"
        );
    }
}
