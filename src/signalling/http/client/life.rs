// SPDX-License-Identifier: MPL-2.0
//! The life of one session: POST, PATCH while it lasts, DELETE.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ETAG, HeaderValue, LINK, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::endpoint::resolve;
use super::failure;
use super::outbox::Outbox;
use super::transport::{FRAGMENT, Reply, Request, SDP, Transport};
use crate::signalling::http::fragment::{self, Fragment};
use crate::signalling::http::{Protocol, link_header};
use crate::signalling::line_codec::normalised;
use crate::signalling::message::{
    Candidate, Description, DescriptionType, Message, Refusal, RefusalKind,
};
use crate::signalling::{Exchange, Notice, SignallingError};

/// A POST that is under way when the session hangs up has this long to tell what to delete.
const LAST_REPLY: Duration = Duration::from_millis(500);

/// All that follows the end.
const END_LIMIT: Duration = Duration::from_millis(1200);

const _: () = assert!(
    LAST_REPLY.as_millis() < END_LIMIT.as_millis()
        && END_LIMIT.as_millis() < super::FAREWELL_LIMIT.as_millis()
);

/// So many candidates wait for the session to be there.
const MAX_CANDIDATES: usize = 64;

/// Where the session with the server stands.
pub(super) struct Life {
    transport: Transport,
    outbox: Outbox,
    incoming: mpsc::Sender<Message>,
    notices: mpsc::Sender<Notice>,
    cancel: CancellationToken,
    /// What to patch and to delete.
    resource: Option<Url>,
    /// Of the ICE session that holds (RFC 9725 section 4.3.1).
    tag: Option<HeaderValue>,
    /// Our last offer that the server took.
    offer: String,
    /// The answer to it. `None` if the server offered.
    answer: Option<String>,
    /// The server's offer waits for our answer.
    owes_answer: bool,
    candidates: Vec<Candidate>,
    /// The server takes candidates that come later.
    trickles: bool,
}

impl Life {
    pub(super) fn new(transport: Transport, exchange: Exchange) -> Self {
        Self {
            transport,
            outbox: Outbox::new(exchange.outgoing, exchange.cancel.clone()),
            incoming: exchange.incoming,
            notices: exchange.notices,
            cancel: exchange.cancel,
            resource: None,
            tag: None,
            offer: String::new(),
            answer: None,
            owes_answer: false,
            candidates: Vec::new(),
            trickles: true,
        }
    }

    /// From the first offer to the DELETE.
    pub(super) async fn run(mut self, endpoint: Url) -> Result<(), SignallingError> {
        let mut end = None;
        let result = self.live(&endpoint, &mut end).await;
        let end = end.unwrap_or_else(|| Instant::now() + END_LIMIT);
        self.delete(end).await;
        result
    }

    /// Until the session hangs up; `end` is when all must be over if that was during the POST.
    async fn live(
        &mut self,
        endpoint: &Url,
        end: &mut Option<Instant>,
    ) -> Result<(), SignallingError> {
        loop {
            match self.outbox.next().await {
                None => return Ok(()),
                Some(Message::Description(offer)) if offer.kind == DescriptionType::Offer => {
                    self.offer = offer.sdp;
                    break;
                }
                Some(Message::Candidate(candidate)) => self.keep(candidate),
                Some(Message::Description(_) | Message::Refuse(_) | Message::Bye) => {}
            }
        }
        let post = request(Method::POST, SDP, self.offer.clone());
        let reply = {
            let reply = self.transport.request(endpoint, &post);
            tokio::pin!(reply);
            tokio::select! {
                biased;
                reply = &mut reply => Some(reply?),
                () = self.outbox.over() => {
                    *end = Some(Instant::now() + END_LIMIT);
                    timeout(LAST_REPLY, reply).await.ok().and_then(Result::ok)
                }
            }
        };
        let hung_up = end.is_some();
        let Some(reply) = reply else {
            log::debug!(
                target: "rswebrtc::signalling",
                "the offer had no reply when the session ended: the server may keep what it made"
            );
            return Ok(());
        };
        if !reply.status.is_success() && reply.status != StatusCode::NOT_ACCEPTABLE {
            if hung_up {
                return Ok(());
            }
            return Err(failure::refused(&self.transport, &reply));
        }
        self.locate(&reply);
        if hung_up {
            return Ok(());
        }
        let description = self.take_up(&reply)?;
        if !self.pass(Message::Description(description)).await {
            return Ok(());
        }
        self.serve().await
    }

    /// What the headers of the first reply say about the session.
    fn locate(&mut self, reply: &Reply) {
        let name = self.transport.protocol.as_str();
        let location = reply.header(LOCATION);
        let resource = match location.map(|location| resolve(&reply.url, location)) {
            Some(Ok(url)) => Ok(url),
            Some(Err(cause)) => Err(cause),
            None => Err("it names no Location".to_owned()),
        };
        match resource {
            Ok(url) => self.resource = Some(url),
            Err(_) if reply.status == StatusCode::NOT_ACCEPTABLE => {}
            Err(cause) => self.tell(format!(
                "the {name} server does not say where the session is: {cause}. It cannot be told \
                 when the session ends, and finds out by itself"
            )),
        }
        self.tag = reply.headers.get(ETAG).cloned();
        let links = reply.headers.get_all(LINK).iter();
        for server in link_header::read(links.filter_map(|value| value.to_str().ok())) {
            // The offer has all its candidates by now.
            log::debug!(
                target: "rswebrtc::signalling",
                "the {name} server names {server:?}, which is not used: name it in stun-server \
                 or turn-servers"
            );
        }
    }

    /// The description in the first reply: the answer, or with WHEP an offer in its place.
    fn take_up(&mut self, reply: &Reply) -> Result<Description, SignallingError> {
        let is_sdp = reply.body.trim_start().starts_with("v=0");
        if reply.status == StatusCode::NOT_ACCEPTABLE {
            // The draft's counter-offer; any other body says why nothing is acceptable.
            let whep = self.transport.protocol == Protocol::Whep;
            if !whep || !is_sdp || self.resource.is_none() {
                return Err(failure::refused(&self.transport, reply));
            }
            self.owes_answer = true;
        } else if !is_sdp {
            let media_type = match reply.media_type() {
                media_type if media_type.is_empty() => "an untyped body".to_owned(),
                // From outside: no more of it than a media type needs.
                media_type => media_type.chars().take(80).collect(),
            };
            let status = reply.status.as_u16();
            let cause = if reply.body.trim().is_empty() {
                format!("the reply ({status}) has no answer in it")
            } else {
                format!("the reply ({status}) is {media_type} where an SDP answer is due")
            };
            return Err(failure::unreadable(self.transport.protocol, reply, &cause));
        } else if self.transport.protocol == Protocol::Whep {
            // No answer leaves the choice open (RFC 8842 section 5.3): this is an offer, as in the
            // first drafts of WHEP.
            self.owes_answer = reply
                .body
                .lines()
                .any(|l| l.trim_end() == "a=setup:actpass");
        }
        let sdp = normalised(&reply.body);
        if self.owes_answer {
            log::debug!(target: "rswebrtc::signalling", "the server offers instead");
            return Ok(description(DescriptionType::Offer, sdp));
        }
        self.answer = Some(sdp.clone());
        Ok(description(DescriptionType::Answer, sdp))
    }

    /// While the session lasts.
    async fn serve(&mut self) -> Result<(), SignallingError> {
        loop {
            if !self.owes_answer && !self.candidates.is_empty() {
                self.trickle().await;
            }
            match self.outbox.next().await {
                None => return Ok(()),
                Some(Message::Candidate(candidate)) => {
                    self.keep(candidate);
                    for candidate in self.outbox.candidates() {
                        self.keep(candidate);
                    }
                }
                Some(Message::Description(Description { kind, sdp })) => match kind {
                    DescriptionType::Answer if self.owes_answer => self.answer(sdp).await?,
                    DescriptionType::Answer => {}
                    DescriptionType::Offer => {
                        let message = match self.restart(sdp).await {
                            Ok(Some(answer)) => {
                                Message::Description(description(DescriptionType::Answer, answer))
                            }
                            Ok(None) => return Ok(()),
                            Err(reason) => Message::Refuse(Refusal {
                                kind: RefusalKind::Internal,
                                reason,
                            }),
                        };
                        if !self.pass(message).await {
                            return Ok(());
                        }
                    }
                },
                Some(Message::Refuse(_) | Message::Bye) => {}
            }
        }
    }

    /// Our answer to the server's offer.
    async fn answer(&mut self, sdp: String) -> Result<(), SignallingError> {
        let Some(url) = self.resource.clone() else {
            return Err(SignallingError::Closed(
                "the server offers, and does not say where the answer goes: its reply has no \
                 Location"
                    .to_owned(),
            ));
        };
        let reply = match self.patch(&url, request(Method::PATCH, SDP, sdp)).await {
            Some(reply) => reply?,
            None => return Ok(()),
        };
        if !reply.status.is_success() {
            return Err(failure::refused(&self.transport, &reply));
        }
        self.owes_answer = false;
        self.tag = reply.headers.get(ETAG).cloned().or(self.tag.take());
        Ok(())
    }

    /// An ICE restart (RFC 9725 section 4.3.3): the answer, or `None` if the session hung up.
    ///
    /// # Errors
    ///
    /// Why the session has to be made anew.
    async fn restart(&mut self, offer: String) -> Result<Option<String>, String> {
        let (Some(url), Some(answer)) = (self.resource.clone(), self.answer.clone()) else {
            return Err("the server keeps no session that ICE could be restarted in".to_owned());
        };
        let ours = Fragment::of_description(&offer);
        if ours.credentials.is_none()
            || ours.credentials == Fragment::of_description(&self.offer).credentials
            || mlines(&offer) != mlines(&self.offer)
        {
            return Err(format!(
                "{} carries no offer but the first: what changed needs a new session",
                self.transport.protocol.as_str()
            ));
        }
        let text = fragment::options(&offer) + &ours.write(first_mid(&offer));
        let mut patch = request(Method::PATCH, FRAGMENT, text);
        patch.if_match = Some(HeaderValue::from_static("*"));
        let reply = match self.patch(&url, patch).await {
            Some(reply) => reply.map_err(|error| error.to_string())?,
            None => return Ok(None),
        };
        if reply.status != StatusCode::OK {
            return Err(format!(
                "the server does not restart ICE (HTTP {})",
                reply.status.as_u16()
            ));
        }
        let theirs = Fragment::read(&reply.body)
            .map_err(|cause| format!("the server's reply to an ICE restart: {cause}"))?;
        if theirs.credentials.is_none() {
            return Err("the server's reply to an ICE restart has no new credentials".to_owned());
        }
        let answer = fragment::renew(&answer, &theirs);
        self.offer = offer;
        self.answer = Some(answer.clone());
        self.tag = reply.headers.get(ETAG).cloned();
        // Those that waited belong to the ICE session before.
        self.candidates.clear();
        Ok(Some(answer))
    }

    /// Sends the candidates that wait (RFC 9725 section 4.3.2). Nothing fails if it fails: those
    /// in the offer hold.
    async fn trickle(&mut self) {
        let fragment = Fragment {
            credentials: Fragment::of_description(&self.offer).credentials,
            candidates: std::mem::take(&mut self.candidates),
        };
        let Some(url) = self.resource.clone().filter(|_| self.trickles) else {
            return;
        };
        let text = fragment.trickle(first_mid(&self.offer));
        let mut patch = request(Method::PATCH, FRAGMENT, text);
        patch.if_match = self.tag.clone();
        let cause = match self.patch(&url, patch).await {
            Some(Ok(reply)) if reply.status.is_success() => return,
            Some(Ok(reply)) => format!("HTTP {}", reply.status.as_u16()),
            Some(Err(error)) => error.to_string(),
            None => return,
        };
        self.trickles = false;
        self.tell(format!(
            "the server takes no candidates after the offer ({cause}): the connection has to do \
             with those in it"
        ));
    }

    /// Deletes the server's session, if there is one.
    async fn delete(&mut self, end: Instant) {
        let Some(url) = self.resource.take() else {
            return;
        };
        let request = Request {
            method: Method::DELETE,
            media_type: None,
            if_match: None,
            body: Bytes::new(),
        };
        let cause = match timeout_at(end, self.transport.request(&url, &request)).await {
            Ok(Ok(reply)) => match reply.status.as_u16() {
                // Gone before, or nothing that can be deleted: then it ends by itself.
                200..=299 | 404 | 405 | 410 | 501 => return,
                status => format!("HTTP {status}"),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no reply in time".to_owned(),
        };
        self.tell(format!(
            "the server was not told that the session is over ({cause}): it finds out by itself"
        ));
    }

    /// The reply, or `None` if the session hung up before it came.
    async fn patch(
        &mut self,
        url: &Url,
        request: Request,
    ) -> Option<Result<Reply, SignallingError>> {
        tokio::select! {
            biased;
            reply = self.transport.request(url, &request) => Some(reply),
            () = self.outbox.over() => None,
        }
    }

    /// Passes a message on. `false`: nobody takes it any more.
    async fn pass(&mut self, message: Message) -> bool {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => false,
            // overflow: awaited
            sent = self.incoming.send(message) => sent.is_ok(),
        }
    }

    fn keep(&mut self, candidate: Candidate) {
        if self.candidates.len() < MAX_CANDIDATES {
            self.candidates.push(candidate);
        } else {
            log::debug!(target: "rswebrtc::signalling", "a candidate too many is passed over");
        }
    }

    fn tell(&self, text: String) {
        log::debug!(target: "rswebrtc::signalling", "{text}");
        // overflow: DROPS the notice, which the log line above still shows
        let _ = self.notices.try_send(Notice(text));
    }
}

fn request(method: Method, media_type: &'static str, body: String) -> Request {
    Request {
        method,
        media_type: Some(media_type),
        if_match: None,
        body: body.into(),
    }
}

fn description(kind: DescriptionType, sdp: String) -> Description {
    Description { kind, sdp }
}

/// The mid of the m-line that stands for all in a bundle: our offers have it first.
fn first_mid(sdp: &str) -> &str {
    let mid = sdp.lines().find_map(|line| line.strip_prefix("a=mid:"));
    mid.map_or("0", str::trim_end)
}

fn mlines(sdp: &str) -> usize {
    sdp.lines().filter(|line| line.starts_with("m=")).count()
}
