// SPDX-License-Identifier: MPL-2.0
//! How a server starts and stops, with and without TLS.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use super::*;

async fn failure(config: ServerConfig) -> String {
    match Server::start(config).await {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    }
}

async fn failure_at(location: &str) -> String {
    failure(ServerConfig {
        location: location.to_owned(),
        ..config()
    })
    .await
}

#[tokio::test]
async fn url_tells_the_port_that_was_free() {
    let bench = Bench::new(ServerConfig {
        location: "http://127.0.0.1:0//live//one/".to_owned(),
        ..config()
    })
    .await;
    let port = bench.address.port();
    assert_ne!(port, 0);
    let url = format!("http://127.0.0.1:{port}/live/one");
    assert_eq!(bench.server.url(), url);
}

#[tokio::test]
async fn odd_paths_are_only_paths() {
    for path in ["/:id", "/*all", "/{id}", "/a/{*b}", "/%7Bid%7D"] {
        let bench = Bench::new(ServerConfig {
            location: format!("http://127.0.0.1:0{path}"),
            ..config()
        })
        .await;
        let url = url::Url::parse(bench.server.url()).unwrap();
        let reply = bench.ask("OPTIONS", url.path(), "", "").await;
        assert_eq!(reply.status, 204, "{path}");
        assert_eq!(bench.ask("OPTIONS", "/other", "", "").await.status, 404);
    }
}

#[tokio::test]
async fn locations_that_make_no_sense_are_named_with_a_cure() {
    for (location, part) in [
        ("", "not set"),
        ("whep", "no URL"),
        ("ftp://127.0.0.1/", "not of http"),
        ("http://127.0.0.1:0/whep?a=b", "?"),
        ("http://me:secret@127.0.0.1:0/", "tokens"),
        ("http://127.0.0.1:0/index.html", "where the page is"),
        ("https://127.0.0.1:0/", "certificate"),
        ("http://192.0.2.1:0/", "no such address"),
    ] {
        let error = failure_at(location).await;
        assert!(error.contains(part), "{location}: {error}");
        assert!(!error.contains("secret"));
    }
    let error = failure(ServerConfig {
        tls: Some(("a".into(), "b".into())),
        ..config()
    })
    .await;
    assert!(error.contains("write https"), "{error}");
    let error = failure(ServerConfig {
        tokens: vec![Token::new("")],
        ..config()
    })
    .await;
    assert!(error.contains("empty token"), "{error}");
    let error = failure(ServerConfig {
        max_peers: 0,
        ..config()
    })
    .await;
    assert!(error.contains("at least 1"), "{error}");
}

#[tokio::test]
async fn port_in_use_is_named_and_free_after_close() {
    let mut bench = Bench::new(config()).await;
    // A connection that is open, and a session: neither keeps the port.
    let mut client = Client::new(bench.address).await;
    assert_eq!(client.ask("GET", "/", "", "").await.status, 200);
    let _session = bench.joined("").await;
    let location = bench.server.url().to_owned();
    let error = failure_at(&location).await;
    assert!(error.contains("another port"), "{error}");
    within(bench.server.close()).await;
    within(bench.server.close()).await;
    assert!(client.reply("GET").await.is_none());
    let again = ServerConfig {
        location,
        ..config()
    };
    assert_eq!(Bench::new(again).await.address, bench.address);
}

#[tokio::test]
async fn dropped_server_frees_its_port() {
    let bench = Bench::new(config()).await;
    let (location, ended) = (bench.server.url().to_owned(), bench.server.ended.clone());
    drop(bench);
    within(ended.cancelled()).await;
    Bench::new(ServerConfig {
        location,
        ..config()
    })
    .await;
}

/// A certificate for this machine, and the folder with its files.
pub(super) fn certificate() -> (CertificateDer<'static>, tempfile::TempDir) {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
            .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    let key = made.signing_key.serialize_pem();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    (made.cert.der().clone(), folder)
}

pub(super) fn with_tls(folder: &tempfile::TempDir) -> ServerConfig {
    let path = |name| folder.path().join(name);
    ServerConfig {
        location: "https://127.0.0.1:0/whep".to_owned(),
        tls: Some((path("cert.pem"), path("key.pem"))),
        ..config()
    }
}

#[tokio::test]
async fn tls_serves_with_the_given_certificate() {
    let (trusted, folder) = certificate();
    let bench = Bench::new(with_tls(&folder)).await;
    assert!(bench.server.url().starts_with("https://127.0.0.1:"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).unwrap();
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(bench.address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(ServerName::try_from("localhost").unwrap(), stream);
    let mut client = Client::over(within(stream).await.unwrap());
    assert_eq!(client.ask("GET", "/", "", "").await.status, 200);
    assert_eq!(client.ask("POST", "/whep", "", "").await.status, 415);
}

#[tokio::test]
async fn plain_http_and_silence_on_a_tls_port_are_cut_off() {
    let (_, folder) = certificate();
    let limits = Limits {
        handshake: Duration::from_millis(50),
        ..Limits::for_peers(2)
    };
    let bench = Bench::within(with_tls(&folder), limits).await;
    let mut client = Client::new(bench.address).await;
    client.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    while client.more().await {}
    let mut client = Client::new(bench.address).await;
    assert!(!client.more().await, "silence");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let (_, folder) = certificate();
    let (_, other) = certificate();
    let good = with_tls(&folder);
    let files = good.tls.clone().unwrap();
    let failure_with = |certificate: PathBuf, key: PathBuf| {
        failure(ServerConfig {
            tls: Some((certificate, key)),
            ..good.clone()
        })
    };
    let error = failure_with(folder.path().join("none.pem"), files.1.clone()).await;
    assert!(error.contains("none.pem"), "{error}");
    let error = failure_with(files.1.clone(), files.1.clone()).await;
    assert!(error.contains("holds no certificate"), "{error}");
    let error = failure_with(files.0.clone(), files.0.clone()).await;
    assert!(
        error.contains("no PEM file with the certificate's key"),
        "{error}"
    );
    let error = failure_with(files.0.clone(), other.path().join("key.pem")).await;
    assert!(error.contains("belong together"), "{error}");
}

#[tokio::test]
async fn slash_behind_the_endpoint_changes_nothing() {
    let mut bench = Bench::new(config()).await;
    let asking = bench.asking("POST", "/whep/", SDP, &sdp(1, "clnt"));
    let mut session = bench.arrival().await;
    assert_eq!(session.heard().await, offer(&sdp(1, "clnt")));
    session.say(answer(&sdp(1, "srvr"))).await;
    let reply = within(asking).await.unwrap();
    assert_eq!(reply.status, 201, "{}", reply.body);
    let resource = format!("/whep/{}", session.id);
    assert_eq!(reply.header("location"), Some(resource.as_str()));
}
