// SPDX-License-Identifier: MPL-2.0
//! Clients that are slow, many, or not clients at all.

use super::*;

const SHORT: Duration = Duration::from_millis(50);

fn limits() -> Limits {
    Limits::for_peers(2)
}

#[tokio::test]
async fn head_that_comes_too_slowly_ends_the_connection() {
    let bench = Bench::within(
        config(),
        Limits {
            head: SHORT,
            ..limits()
        },
    )
    .await;
    let mut client = Client::new(bench.address).await;
    client.write(b"POST /whep HTTP/1.1\r\nHost: t").await;
    assert!(client.reply("POST").await.is_none());
    let mut idle = Client::new(bench.address).await;
    assert_eq!(idle.ask("GET", "/", "", "").await.status, 200);
    assert!(idle.reply("GET").await.is_none(), "idle between requests");
}

#[tokio::test]
async fn body_that_comes_too_slowly_is_told_so() {
    let bench = Bench::within(
        config(),
        Limits {
            body: SHORT,
            ..limits()
        },
    )
    .await;
    let mut client = Client::new(bench.address).await;
    let head = format!("POST /whep HTTP/1.1\r\nHost: t\r\n{SDP}Content-Length: 10\r\n\r\nv=0");
    client.write(head.as_bytes()).await;
    assert_eq!(client.reply("POST").await.unwrap().status, 408);
    assert!(client.reply("POST").await.is_none());
}

#[tokio::test]
async fn connection_does_not_last_for_ever() {
    let bench = Bench::within(
        config(),
        Limits {
            connection: SHORT,
            ..limits()
        },
    )
    .await;
    let mut client = Client::new(bench.address).await;
    assert!(client.reply("GET").await.is_none());
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_and_others_go_on() {
    let bench = Bench::within(
        config(),
        Limits {
            connections: 2,
            ..limits()
        },
    )
    .await;
    let mut first = Client::new(bench.address).await;
    assert_eq!(first.ask("GET", "/", "", "").await.status, 200);
    let mut second = Client::new(bench.address).await;
    assert_eq!(second.ask("GET", "/", "", "").await.status, 200);
    let mut third = Client::new(bench.address).await;
    assert!(third.reply("GET").await.is_none());
    assert_eq!(first.ask("GET", "/", "", "").await.status, 200);
    drop(second);
    let served = async {
        loop {
            let mut next = Client::new(bench.address).await;
            let request = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n";
            if next.stream.write_all(request).await.is_ok()
                && next
                    .reply("GET")
                    .await
                    .is_some_and(|reply| reply.status == 200)
            {
                return;
            }
        }
    };
    within(served).await;
}

#[tokio::test]
async fn bytes_that_are_no_http_end_only_their_connection() {
    let mut bench = Bench::new(config()).await;
    let (mut session, created) = bench.joined("").await;
    let mut headers = b"GET / HTTP/1.1\r\n".to_vec();
    for number in 0..100 {
        headers.extend_from_slice(format!("X-{number}: y\r\n").as_bytes());
    }
    headers.extend_from_slice(b"\r\n");
    let long = [b"GET /".as_slice(), &[b'a'; 40_000], b" HTTP/1.1\r\n\r\n"].concat();
    let unfit = [
        b"\0\xff\x16\x03\x01\r\n\r\n".to_vec(),
        b"\r\n\r\nnonsense\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n".to_vec(),
        b"CONNECT other:80 HTTP/1.1\r\nHost: t\r\n\r\n".to_vec(),
        b"POST http://other/ HTTP/1.1\r\nHost: t\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"POST /whep HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_vec(),
        headers,
        long,
    ];
    for bytes in unfit {
        let mut client = Client::new(bench.address).await;
        // What is written after the server has closed may fail.
        let _ = client.stream.write_all(&bytes).await;
        let status = client.reply("GET").await.map(|reply| reply.status);
        assert!(status.is_none_or(|status| (400..500).contains(&status)));
    }
    let resource = created.header("location").unwrap();
    let body = fragment("clnt", 5001);
    let reply = bench.ask("PATCH", resource, FRAGMENT, &body).await;
    assert_eq!(reply.status, 204);
    assert!(matches!(session.heard().await, Message::Candidate(_)));
}

#[tokio::test]
async fn flood_of_requests_leaves_a_session_alone() {
    let mut bench = Bench::new(config()).await;
    let (mut session, created) = bench.joined("").await;
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let address = bench.address;
            tokio::spawn(async move {
                let mut client = Client::new(address).await;
                for _ in 0..125 {
                    client
                        .write(b"POST /whep/none HTTP/1.1\r\nHost: t\r\n\r\n")
                        .await;
                    assert_eq!(client.reply("POST").await.unwrap().status, 405);
                }
            })
        })
        .collect();
    let resource = created.header("location").unwrap();
    for port in 5001..5021 {
        let body = fragment("clnt", port);
        let reply = bench.ask("PATCH", resource, FRAGMENT, &body).await;
        assert_eq!(reply.status, 204);
        assert!(matches!(session.heard().await, Message::Candidate(_)));
    }
    for client in flood {
        within(client).await.unwrap();
    }
}
