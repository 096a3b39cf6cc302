// SPDX-License-Identifier: MPL-2.0
//! The server, with clients that write bytes and sessions that the tests play.

mod connections;
mod life;
mod page;
mod refusals;
mod start;
mod with_client;

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::signalling::message::{Description, DescriptionType, Message, Refusal, RefusalKind};
use crate::signalling::{Exchange, Notice, Role};

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

const SDP: &str = "Content-Type: application/sdp\r\n";
const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag\r\n";

fn sdp(version: u32, ufrag: &str) -> String {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:{ufrag}{ufrag}{ufrag}{ufrag}{ufrag}{ufrag}\r\n\
         a=candidate:1 1 UDP 2113937151 127.0.0.1 5000 typ host\r\n"
    )
}

fn fragment(ufrag: &str, port: u16) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{ufrag}{ufrag}{ufrag}{ufrag}{ufrag}{ufrag}\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n\
         a=candidate:1 1 UDP 2113937151 127.0.0.1 {port} typ host\r\n"
    )
}

fn config() -> ServerConfig {
    ServerConfig {
        protocol: Protocol::Whep,
        location: "http://127.0.0.1:0/whep".to_owned(),
        tokens: Vec::new(),
        tls: None,
        max_peers: 2,
        ice_servers: Vec::new(),
        answer_limit: Duration::from_secs(10),
        navigation: false,
    }
}

/// A server, and what the tests need of it.
struct Bench {
    server: Server,
    arrivals: mpsc::Receiver<Arrival>,
    address: SocketAddr,
}

impl Bench {
    async fn new(config: ServerConfig) -> Self {
        let limits = Limits::for_peers(config.max_peers);
        Self::within(config, limits).await
    }

    async fn within(config: ServerConfig, limits: Limits) -> Self {
        let (server, arrivals) = Server::start_within(config, limits).await.unwrap();
        let url = url::Url::parse(server.url()).unwrap();
        let address = url.socket_addrs(|| None).unwrap()[0];
        Self {
            server,
            arrivals,
            address,
        }
    }

    /// One request on a connection of its own.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        Client::new(self.address)
            .await
            .ask(method, path, headers, body)
            .await
    }

    /// The same, while the test does something else.
    fn asking(&self, method: &str, path: &str, headers: &str, body: &str) -> JoinHandle<Reply> {
        let [method, path, headers, body] = [method, path, headers, body].map(str::to_owned);
        let address = self.address;
        tokio::spawn(async move {
            let mut client = Client::new(address).await;
            client.ask(&method, &path, &headers, &body).await
        })
    }

    /// Takes the next arrival and runs its signaller.
    async fn arrival(&mut self) -> Played {
        Played::run(within(self.arrivals.recv()).await.unwrap())
    }

    /// A client whose offer was answered: its session, and the reply that it got.
    async fn joined(&mut self, headers: &str) -> (Played, Reply) {
        let headers = format!("{SDP}{headers}");
        let asking = self.asking("POST", "/whep", &headers, &sdp(1, "clnt"));
        let mut session = self.arrival().await;
        assert_eq!(session.heard().await, offer(&sdp(1, "clnt")));
        session.say(answer(&sdp(1, "srvr"))).await;
        let reply = within(asking).await.unwrap();
        assert_eq!(reply.status, 201, "{}", reply.body);
        (session, reply)
    }
}

/// A session whose other end the test plays.
struct Played {
    id: String,
    outgoing: Option<mpsc::Sender<Message>>,
    incoming: mpsc::Receiver<Message>,
    _notices: mpsc::Receiver<Notice>,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), SignallingError>>,
}

impl Played {
    fn run(arrival: Arrival) -> Self {
        assert!(arrival.signaller.takes_refusals());
        Self::run_as(Role::Answerer, arrival.id, arrival.signaller)
    }

    fn run_as(role: Role, id: String, signaller: Box<dyn Signaller>) -> Self {
        let (outgoing, from_us) = mpsc::channel(8);
        let (to_us, incoming) = mpsc::channel(8);
        let (notices, _notices) = mpsc::channel(8);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(signaller.run(Exchange {
            role,
            outgoing: from_us,
            incoming: to_us,
            notices,
            cancel: cancel.clone(),
        }));
        Self {
            id,
            outgoing: Some(outgoing),
            incoming,
            _notices,
            cancel,
            task,
        }
    }

    async fn heard(&mut self) -> Message {
        within(self.incoming.recv()).await.unwrap()
    }

    async fn say(&self, message: Message) {
        let outgoing = self.outgoing.as_ref().unwrap();
        within(outgoing.send(message)).await.unwrap();
    }

    async fn end(self) -> Result<(), SignallingError> {
        within(self.task).await.unwrap()
    }
}

fn offer(sdp: &str) -> Message {
    Message::Description(Description {
        kind: DescriptionType::Offer,
        sdp: sdp.to_owned(),
    })
}

fn answer(sdp: &str) -> Message {
    Message::Description(Description {
        kind: DescriptionType::Answer,
        sdp: sdp.to_owned(),
    })
}

fn refusal(kind: RefusalKind) -> Message {
    Message::Refuse(Refusal {
        kind,
        reason: "so it is".to_owned(),
    })
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it hangs")
}

/// A client on one connection.
struct Client<S> {
    stream: S,
    read: Vec<u8>,
}

impl Client<TcpStream> {
    async fn new(address: SocketAddr) -> Self {
        Self::over(within(TcpStream::connect(address)).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn over(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.write(head.as_bytes()).await;
        self.write(body.as_bytes()).await;
        self.reply(method).await.expect("no reply")
    }

    async fn write(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }

    /// The next reply; `None` at the end of the connection.
    async fn reply(&mut self, method: &str) -> Option<Reply> {
        loop {
            let end = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
                let mut reply = Reply::new(&head);
                let length = match reply.header("content-length") {
                    Some(length) if method != "HEAD" => length.parse().unwrap(),
                    _ => 0,
                };
                while self.read.len() < length {
                    assert!(self.more().await, "the body is cut");
                }
                reply.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
                return Some(reply);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        matches!(within(self.stream.read_buf(&mut self.read)).await, Ok(length) if length > 0)
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Reply {
    fn new(head: &str) -> Self {
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        Self {
            status: status.parse().unwrap(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: String::new(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}
