// SPDX-License-Identifier: MPL-2.0
//! Sessions from POST to DELETE.

use super::*;

fn if_match(etag: &str) -> String {
    format!("{FRAGMENT}If-Match: {etag}\r\n")
}

fn port(message: &Message) -> Option<&str> {
    match message {
        Message::Candidate(candidate) => candidate.candidate.split(' ').nth(5),
        _ => None,
    }
}

#[tokio::test]
async fn session_is_created_trickled_restarted_and_deleted() {
    let mut bench = Bench::new(ServerConfig {
        ice_servers: vec![
            IceServerLink {
                url: "stun:stun.example.org".to_owned(),
                username: String::new(),
                credential: String::new(),
            },
            IceServerLink {
                url: "turn:turn.example.org?transport=udp".to_owned(),
                username: "me".to_owned(),
                credential: "a\"b".to_owned(),
            },
        ],
        ..config()
    })
    .await;
    let (mut session, created) = bench.joined("").await;
    assert_eq!(created.body, sdp(1, "srvr"));
    assert_eq!(created.header("content-type"), Some("application/sdp"));
    let accept_patch = created.header("accept-patch");
    assert_eq!(accept_patch, Some("application/trickle-ice-sdpfrag"));
    let resource = created.header("location").unwrap().to_owned();
    assert_eq!(resource, format!("/whep/{}", session.id));
    assert_eq!(session.id.len(), 32);
    let etag = created.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && !etag.contains(&session.id));
    let links: Vec<_> = created.headers.iter().filter(|h| h.0 == "link").collect();
    assert_eq!(links.len(), 2);
    assert_eq!(links[0].1, "<stun:stun.example.org>; rel=\"ice-server\"");
    for part in [
        "<turn:turn.example.org?transport=udp>; rel=\"ice-server\"",
        "username=\"me\"",
        "credential=\"a\\\"b\"",
        "credential-type=\"password\"",
    ] {
        assert!(links[1].1.contains(part), "{} lacks {part}", links[1].1);
    }

    let mut client = Client::new(bench.address).await;
    let body = fragment("clnt", 5001);
    let reply = client
        .ask("PATCH", &resource, &if_match(&etag), &body)
        .await;
    assert_eq!(reply.status, 204);
    assert_eq!(port(&session.heard().await), Some("5001"));
    let body = fragment("clnt", 5002);
    let reply = client.ask("PATCH", &resource, FRAGMENT, &body).await;
    assert_eq!(reply.status, 204, "without If-Match");
    assert_eq!(port(&session.heard().await), Some("5002"));

    let body = fragment("news", 5003);
    let restart = bench.asking("PATCH", &resource, &if_match("*"), &body);
    let Message::Description(renewed) = session.heard().await else {
        panic!("a restart is an offer");
    };
    assert_eq!(renewed.kind, DescriptionType::Offer);
    assert!(renewed.sdp.contains("o=- 1 2 ") && renewed.sdp.contains("a=ice-ufrag:news"));
    assert!(renewed.sdp.contains(" 5003 ") && !renewed.sdp.contains(" 5000 "));
    session.say(answer(&sdp(2, "back"))).await;
    let reply = within(restart).await.unwrap();
    assert_eq!(reply.status, 200);
    let content_type = reply.header("content-type");
    assert_eq!(content_type, Some("application/trickle-ice-sdpfrag"));
    assert!(reply.body.contains("a=ice-ufrag:back\r\n"));
    assert!(reply.body.contains("a=candidate:1 ") && !reply.body.contains("v=0"));
    let renewed = reply.header("etag").unwrap();
    assert_ne!(renewed, etag);

    let body = fragment("news", 5004);
    let reply = client
        .ask("PATCH", &resource, &if_match(&etag), &body)
        .await;
    assert_eq!(reply.status, 412, "the entity tag before the restart");
    let tags = format!("\"other\", {renewed}");
    let reply = client
        .ask("PATCH", &resource, &if_match(&tags), &body)
        .await;
    assert_eq!(reply.status, 204);
    assert_eq!(port(&session.heard().await), Some("5004"));

    // The reply to the restart was lost: the client asks again.
    let reply = client.ask("PATCH", &resource, &if_match("*"), &body).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("a=ice-ufrag:back\r\n"));
    assert_eq!(port(&session.heard().await), Some("5004"));

    let stale = "If-Match: \"stale\"\r\n";
    let reply = client.ask("DELETE", &resource, stale, "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(session.heard().await, Message::Bye);
    session.end().await.unwrap();
    for method in ["DELETE", "PATCH"] {
        let reply = client.ask(method, &resource, FRAGMENT, &body).await;
        assert_eq!(reply.status, 404, "{method}");
    }
}

#[tokio::test]
async fn restart_that_fails_leaves_the_session_as_it_was() {
    let limits = Limits {
        request: Duration::from_millis(50),
        ..Limits::for_peers(2)
    };
    let mut bench = Bench::within(config(), limits).await;
    let (mut session, created) = bench.joined("").await;
    let resource = created.header("location").unwrap().to_owned();
    let etag = created.header("etag").unwrap().to_owned();

    let body = fragment("news", 5003);
    let reply = bench.ask("PATCH", &resource, FRAGMENT, &body).await;
    assert_eq!(reply.status, 428, "a restart needs If-Match");
    for (kind, status) in [
        (RefusalKind::BadDescription, 422),
        (RefusalKind::NothingInCommon, 422),
        (RefusalKind::NotReady, 503),
        (RefusalKind::Internal, 500),
    ] {
        let restart = bench.asking("PATCH", &resource, &if_match(&etag), &body);
        session.heard().await;
        session.say(refusal(kind)).await;
        let reply = within(restart).await.unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (status, "so it is\n"));
    }

    let reply = bench.ask("PATCH", &resource, &if_match("*"), &body).await;
    assert_eq!(reply.status, 504, "nobody answers");
    let reply = bench.ask("PATCH", &resource, &if_match("*"), &body).await;
    assert_eq!(reply.status, 503, "one at a time");
    let Message::Description(late) = session.heard().await else {
        panic!("a restart is an offer");
    };
    assert!(late.sdp.contains("o=- 1 6 "), "every offer is a newer one");
    // The answer comes late: ICE has restarted, and who asks again learns with what.
    session.say(answer(&sdp(2, "back"))).await;
    let again = async {
        loop {
            let reply = bench.ask("PATCH", &resource, &if_match("*"), &body).await;
            if reply.status != 503 {
                return reply;
            }
        }
    };
    let reply = within(again).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("a=ice-ufrag:back\r\n"));
    let reply = bench.ask("PATCH", &resource, &if_match(&etag), &body).await;
    assert_eq!(reply.status, 412);
}

#[tokio::test]
async fn resource_is_gone_however_its_session_ends() {
    let mut bench = Bench::new(ServerConfig {
        max_peers: 1,
        ..config()
    })
    .await;
    for way in ["bye", "closed", "cancelled", "aborted", "our end gone"] {
        let (mut session, created) = bench.joined("").await;
        let resource = created.header("location").unwrap().to_owned();
        match way {
            "bye" => session.say(Message::Bye).await,
            "closed" => session.outgoing = None,
            "cancelled" => session.cancel.cancel(),
            "aborted" => session.task.abort(),
            _ => {
                session.incoming.close();
                let body = fragment("clnt", 5001);
                bench.ask("PATCH", &resource, FRAGMENT, &body).await;
            }
        }
        let ended = within(&mut session.task).await;
        assert!(way == "aborted" || ended.unwrap().is_ok());
        let reply = bench.ask("DELETE", &resource, "", "").await;
        assert_eq!(reply.status, 404, "{way}");
    }
}

#[tokio::test]
async fn arrival_that_nobody_runs_frees_its_place() {
    let mut bench = Bench::new(ServerConfig {
        max_peers: 1,
        ..config()
    })
    .await;
    let asking = bench.asking("POST", "/whep", SDP, &sdp(1, "clnt"));
    drop(within(bench.arrivals.recv()).await.unwrap());
    assert_eq!(within(asking).await.unwrap().status, 500);
    bench.joined("").await;
}

#[tokio::test]
async fn client_that_leaves_before_its_answer_ends_its_session() {
    let mut bench = Bench::new(config()).await;
    let asking = bench.asking("POST", "/whep", SDP, &sdp(1, "clnt"));
    let mut session = bench.arrival().await;
    session.heard().await;
    asking.abort();
    let error = session.end().await.unwrap_err();
    assert!(error.to_string().contains("went away"), "{error}");
}

#[tokio::test]
async fn answer_that_is_there_when_the_call_is_cut_still_goes_out() {
    let mut bench = Bench::new(config()).await;
    let asking = bench.asking("POST", "/whep", SDP, &sdp(1, "clnt"));
    let session = bench.arrival().await;
    session.cancel.cancel();
    session.say(refusal(RefusalKind::Internal)).await;
    assert_eq!(within(asking).await.unwrap().body, "so it is\n");
    session.end().await.unwrap();
}

#[tokio::test]
async fn sessions_outlive_their_server() {
    let mut bench = Bench::new(config()).await;
    let (session, _) = bench.joined("").await;
    bench.server.close().await;
    drop(bench);
    tokio::task::yield_now().await;
    assert!(!session.task.is_finished());
    session.say(Message::Bye).await;
    session.end().await.unwrap();
}
