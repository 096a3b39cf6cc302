// SPDX-License-Identifier: MPL-2.0
//! The server and the client of this crate with each other.

use super::start::{certificate, with_tls};
use super::*;
use crate::signalling::http::client::{Client as HttpClient, ClientConfig};
use crate::signalling::message::Candidate;

fn client(bench: &Bench, token: Option<&str>, ca: Option<PathBuf>) -> Played {
    let config = ClientConfig {
        protocol: Protocol::Whip,
        endpoint: bench.server.url().to_owned(),
        token: token.map(Token::new),
        ca,
        timeout: Duration::from_secs(10),
    };
    let client = Box::new(HttpClient::new(config));
    Played::run_as(Role::Offerer, String::new(), client)
}

#[tokio::test]
async fn client_and_server_understand_each_other_over_tls() {
    let (_, folder) = certificate();
    let mut bench = Bench::new(ServerConfig {
        protocol: Protocol::Whip,
        tokens: vec![Token::new("first")],
        ..with_tls(&folder)
    })
    .await;
    let ca = folder.path().join("cert.pem");
    let mut client = client(&bench, Some("first"), Some(ca));
    client.say(offer(&sdp(1, "clnt"))).await;
    let mut session = bench.arrival().await;
    assert_eq!(session.heard().await, offer(&sdp(1, "clnt")));
    session.say(answer(&sdp(1, "srvr"))).await;
    assert_eq!(client.heard().await, answer(&sdp(1, "srvr")));

    let candidate = Message::Candidate(Candidate {
        candidate: "candidate:2 1 UDP 1 127.0.0.1 5009 typ host".to_owned(),
        mid: Some("0".to_owned()),
        mline_index: Some(0),
    });
    client.say(candidate).await;
    let Message::Candidate(heard) = session.heard().await else {
        panic!("a candidate is due");
    };
    assert!(heard.candidate.contains(" 5009 "));
    assert_eq!(heard.mid.as_deref(), Some("0"));

    client.say(offer(&sdp(2, "news"))).await;
    let Message::Description(renewed) = session.heard().await else {
        panic!("an ICE restart is due");
    };
    assert!(renewed.sdp.contains("a=ice-ufrag:news"));
    session.say(answer(&sdp(2, "back"))).await;
    let Message::Description(answered) = client.heard().await else {
        panic!("the answer to the restart is due");
    };
    assert_eq!(answered.kind, DescriptionType::Answer);
    assert!(answered.sdp.contains("a=ice-ufrag:back"));

    client.say(Message::Bye).await;
    client.end().await.unwrap();
    assert_eq!(session.heard().await, Message::Bye);
    session.end().await.unwrap();
}

#[tokio::test]
async fn client_names_the_reason_of_the_server() {
    let mut bench = Bench::new(ServerConfig {
        tokens: vec![Token::new("first")],
        ..config()
    })
    .await;
    let refused = client(&bench, Some("other"), None);
    refused.say(offer(&sdp(1, "clnt"))).await;
    let error = refused.end().await.unwrap_err();
    let unauthorized = matches!(
        error,
        SignallingError::Http {
            status: Some(401),
            ..
        }
    );
    assert!(unauthorized, "{error}");
    let refused = client(&bench, Some("first"), None);
    refused.say(offer(&sdp(1, "clnt"))).await;
    let session = bench.arrival().await;
    session.say(refusal(RefusalKind::NothingInCommon)).await;
    let error = refused.end().await.unwrap_err().to_string();
    assert!(error.contains("so it is"), "{error}");
}
