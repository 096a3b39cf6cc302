// SPDX-License-Identifier: MPL-2.0
//! Redirects, TLS, and what can go wrong on the way.

use std::net::SocketAddr;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::signalling::Retry;

#[tokio::test]
async fn redirects_are_followed_with_the_offer_and_the_token() {
    let script = |seen: &Seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("POST", "/whip") => reply(307, &[("location", "/a/b")], ""),
        ("POST", "/a/b") => reply(308, &[("location", "c")], ""),
        ("POST", "/a/c") => Act::Reply(created()),
        ("DELETE", "/a/session/1") => reply(307, &[("location", "/gone")], ""),
        _ => reply(200, &[], ""),
    };
    let mut server = Server::start(script).await;
    let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
    call.hear_description().await;
    call.hang_up().await;
    for line in [
        "POST /whip",
        "POST /a/b",
        "POST /a/c",
        "DELETE /a/session/1",
        "DELETE /gone",
    ] {
        let seen = server.next().await;
        assert_eq!(seen.line(), line);
        assert_eq!(seen.header("authorization"), Some("Bearer S3cretToken"));
        assert_eq!(seen.body == OFFER, line.starts_with("POST"), "{line}");
    }
}

#[tokio::test]
async fn the_token_goes_to_no_other_origin() {
    let mut other = Server::start(|seen: &Seen| match seen.method {
        Method::POST => Act::Reply(created()),
        _ => reply(401, &[], ""),
    })
    .await;
    let target = format!("{}/whip", other.origin);
    let script = move |_: &Seen| reply(307, &[("location", &target)], "");
    let mut server = Server::start(script).await;
    let mut call = Call::offering(config(Protocol::Whip, &server.url())).await;
    call.hear_description().await;
    call.drop_out().await;
    let token = Some("Bearer S3cretToken");
    assert_eq!(server.next().await.header("authorization"), token);
    for line in ["POST /whip", "DELETE /session/1"] {
        let seen = other.next().await;
        assert_eq!(
            (seen.line().as_str(), seen.header("authorization")),
            (line, None)
        );
    }
}

#[tokio::test]
async fn a_token_that_was_held_back_is_not_called_wrong() {
    let other = Server::start(|_: &Seen| reply(401, &[], "")).await;
    let target = format!("{}/there", other.origin);
    let to = target.clone();
    let script = move |_: &Seen| reply(307, &[("location", &to)], "");
    let server = Server::start(script).await;
    let (text, ..) = refusal(config(Protocol::Whip, &server.url())).await;
    assert!(
        text.contains("set location to this URL") && text.contains(&target),
        "{text}"
    );
}

#[tokio::test]
async fn redirects_in_a_circle_or_nowhere_end() {
    for (location, word) in [
        ("/whip", "more than 10"),
        ("ftp://127.0.0.1/", "http or https"),
    ] {
        let script = move |_: &Seen| reply(307, &[("location", location)], "");
        let mut server = Server::start(script).await;
        let (text, status, retry) = refusal(config(Protocol::Whip, &server.url())).await;
        assert!(text.contains(word), "{text}");
        assert_eq!((status, retry), (Some(307), Retry::Never));
        let mut requests = 0;
        while server.seen.try_recv().is_ok() {
            requests += 1;
        }
        assert!(requests <= 11, "{requests}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/whip?key=Qu3ry");
    let (text, status, retry) = refusal(config(Protocol::Whip, &url)).await;
    let port = format!("nothing listens on port {}", address.port());
    assert!(text.contains(&port), "{text}");
    assert_eq!((status, retry), (None, Retry::Later));
}

/// Gives the next caller `reply` and waits until it has closed.
async fn raw(reply: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(reply).await;
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    });
    (address, task)
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    for (scheme, word) in [
        ("http", "whether it is http or https"),
        ("https", "speaks no TLS"),
    ] {
        let (address, _task) = raw(b"220 mail.example.org\r\n\r\n").await;
        let url = format!("{scheme}://{address}/whip");
        let (text, _, retry) = refusal(config(Protocol::Whip, &url)).await;
        assert!(text.contains(word), "{text}");
        assert_eq!(retry, Retry::Later);
    }
}

#[tokio::test]
async fn no_connection_is_kept_after_the_end() {
    let (address, task) = raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let url = format!("http://{address}/whip");
    refusal(config(Protocol::Whip, &url)).await;
    timeout(LIMIT, task).await.unwrap().unwrap();
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// An https server for `name`, and the certificate of its authority.
async fn tls_server(name: &str) -> (Server, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://{}", tcp.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (app, seen, release) = app(accepting(|_| Act::Never));
    let listener = TlsListener { tcp, acceptor };
    let server = Server {
        origin,
        seen,
        release,
        task: tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }),
    };
    (server, authority)
}

#[tokio::test]
async fn tls_is_trusted_with_the_users_own_authority() {
    let (mut server, authority) = tls_server("127.0.0.1").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    let mut config = config(Protocol::Whip, &server.url().replace("https:", "whips:"));
    config.ca = Some(file.path().to_owned());
    let mut call = Call::offering(config).await;
    call.hear_description().await;
    call.hang_up().await;
    assert_eq!(server.next().await.line(), "POST /whip");
    assert_eq!(server.next().await.line(), "DELETE /session/1");
}

#[tokio::test]
async fn certificates_that_are_not_trusted_are_explained() {
    let (server, _) = tls_server("127.0.0.1").await;
    let (text, status, retry) = refusal(config(Protocol::Whip, &server.url())).await;
    assert!(text.contains("tls-ca"), "{text}");
    assert_eq!((status, retry), (None, Retry::Never));
    let (server, authority) = tls_server("other.example.org").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    let mut config = config(Protocol::Whip, &server.url());
    config.ca = Some(file.path().to_owned());
    let (text, _, retry) = refusal(config).await;
    assert!(text.contains("not for 127.0.0.1"), "{text}");
    assert_eq!(retry, Retry::Never);
}
