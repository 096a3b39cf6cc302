// SPDX-License-Identifier: MPL-2.0
//! The client against small servers on this machine.

mod failures;
mod life;
mod network;
mod restart;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Client, ClientConfig};
use crate::signalling::http::{Protocol, Token};
use crate::signalling::message::{Candidate, Description, DescriptionType, Message};
use crate::signalling::{Exchange, Notice, Role, Signaller, SignallingError};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=setup:actpass\r\na=ice-options:trickle\r\n\
    a=ice-ufrag:ours\r\na=ice-pwd:ourpassword\r\n\
    a=candidate:1 1 udp 1 127.0.0.1 1000 typ host\r\n";

const ANSWER: &str = "v=0\r\no=- 2 7 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=setup:passive\r\n\
    a=ice-ufrag:theirs\r\na=ice-pwd:theirpassword\r\n\
    a=candidate:2 1 udp 1 127.0.0.1 2000 typ host\r\n";

const TOKEN: &str = "S3cretToken";

/// A request as the server got it.
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `POST /whip`.
    fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What the server does with a request.
enum Act {
    Reply(Response<Body>),
    /// Replies when the test lets it.
    Hold(Response<Body>),
    Never,
}

struct Server {
    origin: String,
    seen: mpsc::UnboundedReceiver<Seen>,
    release: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Server {
    /// Does what `script` says with each request.
    async fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (app, seen, release) = app(script);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            origin,
            seen,
            release,
            task,
        }
    }

    fn url(&self) -> String {
        format!("{}/whip?key=Qu3ry", self.origin)
    }

    async fn next(&mut self) -> Seen {
        timeout(LIMIT, self.seen.recv()).await.unwrap().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type App = (Router, mpsc::UnboundedReceiver<Seen>, Arc<Notify>);

fn app(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> App {
    // unbounded: as many requests as one test makes
    let (to_test, seen) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let (script, gate) = (Arc::new(script), release.clone());
    let app = Router::new().fallback(move |request: Request<Body>| {
        let (script, gate, to_test) = (script.clone(), gate.clone(), to_test.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            let seen = Seen {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                headers: parts.headers,
                body: String::from_utf8(body.to_vec()).unwrap(),
            };
            let act = script(&seen);
            // overflow: retained
            let _ = to_test.send(seen);
            match act {
                Act::Reply(response) => response,
                Act::Hold(response) => {
                    gate.notified().await;
                    response
                }
                Act::Never => std::future::pending().await,
            }
        }
    });
    (app, seen, release)
}

fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Act {
    Act::Reply(response(status, headers, body))
}

/// The reply to a POST that all is well.
fn created() -> Response<Body> {
    let headers = [
        ("content-type", "application/sdp"),
        ("location", "session/1"),
        ("etag", "\"first\""),
    ];
    response(201, &headers, ANSWER)
}

/// Takes every POST and every DELETE; what else comes is `patch`'s.
fn accepting(patch: impl Fn(&Seen) -> Act + Send + Sync) -> impl Fn(&Seen) -> Act + Send + Sync {
    move |seen| match seen.method {
        Method::POST => Act::Reply(created()),
        Method::DELETE => reply(200, &[], ""),
        _ => patch(seen),
    }
}

fn config(protocol: Protocol, endpoint: &str) -> ClientConfig {
    ClientConfig {
        protocol,
        endpoint: endpoint.to_owned(),
        token: Some(Token::new(TOKEN)),
        ca: None,
        timeout: LIMIT,
    }
}

/// A client, and what the session has in hand.
struct Call {
    outgoing: Option<mpsc::Sender<Message>>,
    incoming: mpsc::Receiver<Message>,
    notices: mpsc::Receiver<Notice>,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), SignallingError>>,
}

impl Call {
    fn start(config: ClientConfig) -> Self {
        Self::with_role(config, Role::Offerer)
    }

    fn with_role(config: ClientConfig, role: Role) -> Self {
        let (outgoing, for_remote) = mpsc::channel(16);
        let (from_remote, incoming) = mpsc::channel(16);
        let (to_user, notices) = mpsc::channel(16);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(Box::new(Client::new(config)).run(Exchange {
            role,
            outgoing: for_remote,
            incoming: from_remote,
            notices: to_user,
            cancel: cancel.clone(),
        }));
        Self {
            outgoing: Some(outgoing),
            incoming,
            notices,
            cancel,
            task,
        }
    }

    /// One that has said its offer.
    async fn offering(config: ClientConfig) -> Self {
        let call = Self::start(config);
        call.describe(DescriptionType::Offer, OFFER).await;
        call
    }

    async fn describe(&self, kind: DescriptionType, sdp: &str) {
        let sdp = sdp.to_owned();
        self.say(Message::Description(Description { kind, sdp }))
            .await;
    }

    async fn say(&self, message: Message) {
        let outgoing = self.outgoing.as_ref().unwrap();
        outgoing.send(message).await.unwrap(); // overflow: awaited
    }

    async fn hear(&mut self) -> Message {
        timeout(LIMIT, self.incoming.recv()).await.unwrap().unwrap()
    }

    async fn hear_description(&mut self) -> Description {
        match self.hear().await {
            Message::Description(description) => description,
            other => panic!("{other:?} where a description is due"),
        }
    }

    /// How it ended, with all notices.
    async fn end(mut self) -> (Result<(), SignallingError>, Vec<String>) {
        let result = timeout(LIMIT, &mut self.task).await.unwrap().unwrap();
        let mut notices = Vec::new();
        while let Ok(Notice(text)) = self.notices.try_recv() {
            notices.push(text);
        }
        for text in notices
            .iter()
            .chain(&result.as_ref().err().map(|e| e.to_string()))
        {
            let secrets = [TOKEN, "Qu3ry", "ourpassword", "theirpassword"];
            assert!(!secrets.iter().any(|s| text.contains(s)), "{text}");
        }
        (result, notices)
    }

    /// Says bye and expects an end without complaints.
    async fn hang_up(self) {
        self.say(Message::Bye).await;
        let (result, notices) = self.end().await;
        result.unwrap();
        assert_eq!(notices, [] as [String; 0]);
    }

    /// Says bye; what becomes of that is not what is tested.
    async fn drop_out(self) {
        self.cancel.cancel();
        let _ = self.end().await;
    }
}

/// How a client ends whose offer the server does not take.
async fn refusal(config: ClientConfig) -> (String, Option<u16>, crate::signalling::Retry) {
    let (result, _) = Call::offering(config).await.end().await;
    match result.unwrap_err() {
        SignallingError::Http {
            text,
            status,
            retry,
        } => (text, status, retry),
        other => panic!("{other:?}"),
    }
}

fn candidate(number: u16) -> Message {
    Message::Candidate(Candidate {
        candidate: format!("candidate:{number} 1 udp 1 127.0.0.1 {number} typ host"),
        mid: Some("v".to_owned()),
        mline_index: Some(0),
    })
}
