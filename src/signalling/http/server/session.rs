// SPDX-License-Identifier: MPL-2.0
//! One session resource as a [`Signaller`].
//!
//! Invariant: its place in the registry is free as soon as the session has ended, in whatever way,
//! and a request is answered before it is forgotten (dropping its `reply` says 404).

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::problem::Problem;
use super::registry::Place;
use crate::signalling::http::fragment::{self, Fragment};
use crate::signalling::message::{
    Candidate, Description, DescriptionType, Message, Refusal, RefusalKind,
};
use crate::signalling::{Exchange, Role, Signaller, SignallingError};

/// The answer to a POST.
pub(super) struct Opening {
    pub(super) sdp: String,
    pub(super) etag: String,
}

/// What came of a PATCH.
pub(super) enum Patched {
    /// The candidates are taken.
    Trickled,
    /// ICE restarts with this.
    Restarted { fragment: String, etag: String },
}

/// A condition on the ICE session (RFC 9110 section 13.1.1).
pub(super) enum IfMatch {
    Missing,
    Any,
    Tags(Vec<String>),
}

impl IfMatch {
    /// Of a list of entity tags.
    pub(super) fn of_tags<'a>(tags: impl Iterator<Item = &'a str>) -> Self {
        let tags: Vec<_> = tags.map(|tag| tag.trim().to_owned()).collect();
        if tags.iter().any(|tag| tag == "*") {
            Self::Any
        } else {
            Self::Tags(tags)
        }
    }

    /// Whether it holds; a weak tag never does.
    fn holds(&self, etag: &str) -> bool {
        match self {
            Self::Missing | Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// What a client asks of its session.
pub(super) enum Request {
    /// Candidates, or an ICE restart.
    Patch {
        fragment: Fragment,
        if_match: IfMatch,
        reply: Reply,
    },
    /// It leaves.
    Delete { reply: oneshot::Sender<()> },
}

type Reply = oneshot::Sender<Result<Patched, Problem>>;

/// A client's session.
pub(super) struct Session {
    place: Place,
    offer: String,
    opening: oneshot::Sender<Result<Opening, Refusal>>,
    requests: mpsc::Receiver<Request>,
    /// Until then a client waits for its answer.
    answer_by: Instant,
    request_limit: Duration,
}

impl Session {
    pub(super) fn new(
        place: Place,
        offer: String,
        opening: oneshot::Sender<Result<Opening, Refusal>>,
        requests: mpsc::Receiver<Request>,
        answer_limit: Duration,
        request_limit: Duration,
    ) -> Self {
        Self {
            place,
            offer,
            opening,
            requests,
            answer_by: Instant::now() + answer_limit,
            request_limit,
        }
    }
}

#[async_trait::async_trait]
impl Signaller for Session {
    fn takes_refusals(&self) -> bool {
        true
    }

    async fn run(self: Box<Self>, mut exchange: Exchange) -> Result<(), SignallingError> {
        if exchange.role != Role::Answerer {
            return Err(SignallingError::Settings(
                "a client of an HTTP server offers: this side must answer".to_owned(),
            ));
        }
        let Self {
            answer_by,
            mut requests,
            ..
        } = *self;
        let mut call = Call::new(self.place, self.offer, self.opening, self.request_limit);
        loop {
            let restart_by = call.restart_by();
            tokio::select! {
                biased;
                () = exchange.cancel.cancelled() => {
                    // A bye, or the answer that a client still waits for.
                    while let Ok(message) = exchange.outgoing.try_recv() {
                        if call.tell(message) == Next::End {
                            break;
                        }
                    }
                    return Ok(());
                }
                () = gone(&mut call.opening), if call.opening.is_some() => {
                    return Err(SignallingError::Closed(if Instant::now() >= answer_by {
                        "the client's offer was not answered in time: the client was told so"
                    } else {
                        "the client went away before its offer was answered"
                    }.to_owned()));
                }
                permit = exchange.incoming.reserve(), if !call.ready.is_empty() => {
                    let (Ok(permit), Some(message)) = (permit, call.ready.pop_front()) else {
                        return Ok(()); // our session is gone
                    };
                    let bye = message == Message::Bye;
                    permit.send(message); // overflow: awaited (the permit)
                    if bye {
                        return Ok(());
                    }
                }
                message = exchange.outgoing.recv() => {
                    if message.is_none_or(|message| call.tell(message) == Next::End) {
                        return Ok(());
                    }
                }
                Some(request) = requests.recv(), if call.ready.is_empty() => call.ask(request),
                () = sleep_until(restart_by.unwrap_or(answer_by)), if restart_by.is_some() => {
                    call.restart_overdue();
                }
            }
        }
    }
}

/// When whoever waits for the opening does so no more.
async fn gone(opening: &mut Option<oneshot::Sender<Result<Opening, Refusal>>>) {
    match opening {
        Some(opening) => opening.closed().await,
        None => std::future::pending().await,
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

/// The state of a session that runs.
struct Call {
    place: Place,
    /// Waits for the first answer.
    opening: Option<oneshot::Sender<Result<Opening, Refusal>>>,
    /// For our session, but not passed on yet; no request is read meanwhile.
    ready: VecDeque<Message>,
    /// The last offer, also if it came to nothing: the next has a higher version.
    offer: String,
    /// The client's ICE credentials in force.
    credentials: Option<(String, String)>,
    /// The last answer.
    answer: String,
    /// How often ICE was restarted; with the place it makes the entity tag.
    restarts: u64,
    restart: Option<Restart>,
    request_limit: Duration,
}

/// An ICE restart that is not answered yet.
struct Restart {
    credentials: Option<(String, String)>,
    /// `None` once the client was told that it took too long.
    reply: Option<Reply>,
    by: Instant,
}

impl Call {
    fn new(
        place: Place,
        offer: String,
        opening: oneshot::Sender<Result<Opening, Refusal>>,
        request_limit: Duration,
    ) -> Self {
        Self {
            place,
            opening: Some(opening),
            ready: VecDeque::from([offer_of(&offer)]),
            credentials: Fragment::of_description(&offer).credentials,
            offer,
            answer: String::new(),
            restarts: 0,
            restart: None,
            request_limit,
        }
    }

    fn log(&self, what: &str) {
        let id = self.place.short_id();
        log::debug!(target: "rswebrtc::signalling", "HTTP session {id}…: {what}");
    }

    /// Names the ICE session (RFC 9725 section 4.3.1).
    fn etag(&self) -> String {
        format!("\"{}-{}\"", self.place.tag(), self.restarts)
    }

    /// A message of our session's, for the client.
    fn tell(&mut self, message: Message) -> Next {
        match message {
            Message::Description(Description {
                kind: DescriptionType::Answer,
                sdp,
            }) => self.answered(sdp),
            Message::Description(_) => self.log("an offer of ours has no way to the client"),
            // Ours are all in the answer.
            Message::Candidate(_) => self.log("a candidate of ours has no way to the client"),
            Message::Bye => {
                self.place.leave();
                return Next::End;
            }
            Message::Refuse(refusal) => {
                if let Some(opening) = self.opening.take() {
                    self.place.leave();
                    self.log("the offer is refused");
                    // overflow: retained (a oneshot)
                    let _ = opening.send(Err(refusal));
                    return Next::End;
                }
                self.restart_refused(refusal);
            }
        }
        Next::GoOn
    }

    fn answered(&mut self, sdp: String) {
        if let Some(opening) = self.opening.take() {
            self.answer.clone_from(&sdp);
            let etag = self.etag();
            // overflow: retained (a oneshot). Without a client, ICE fails and ends the session.
            let _ = opening.send(Ok(Opening { sdp, etag }));
        } else if let Some(restart) = self.restart.take() {
            self.answer = sdp;
            self.credentials = restart.credentials;
            self.restarts += 1;
            self.log("ICE restarts");
            if let Some(reply) = restart.reply {
                // overflow: retained (a oneshot)
                let _ = reply.send(Ok(self.restarted()));
            }
        } else {
            self.log("an answer that nobody waits for");
        }
    }

    /// What this side said last about its ICE.
    fn restarted(&self) -> Patched {
        let mid = self
            .answer
            .lines()
            .find_map(|line| line.strip_prefix("a=mid:"))
            .unwrap_or("0");
        Patched::Restarted {
            fragment: Fragment::of_description(&self.answer).write(mid.trim()),
            etag: self.etag(),
        }
    }

    fn restart_refused(&mut self, refusal: Refusal) {
        let Some(restart) = self.restart.take() else {
            return self.log("a refusal that nobody waits for");
        };
        self.log("the ICE restart is refused");
        let problem = match refusal.kind {
            RefusalKind::BadDescription | RefusalKind::NothingInCommon => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.reason)
            }
            RefusalKind::NotReady => Problem::busy(refusal.reason, "2"),
            RefusalKind::Internal => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, refusal.reason)
            }
        };
        if let Some(reply) = restart.reply {
            // overflow: retained (a oneshot)
            let _ = reply.send(Err(problem));
        }
    }

    /// When a client has waited long enough for its ICE restart.
    fn restart_by(&self) -> Option<Instant> {
        let restart = self.restart.as_ref()?;
        restart.reply.is_some().then_some(restart.by)
    }

    /// The restart stays: its answer may still come, and must not be taken for that of another.
    fn restart_overdue(&mut self) {
        let reply = self
            .restart
            .as_mut()
            .and_then(|restart| restart.reply.take());
        if let Some(reply) = reply {
            self.log("the ICE restart is not answered in time");
            // overflow: retained (a oneshot)
            let _ = reply.send(Err(Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "The ICE restart was not answered in time.",
            )));
        }
    }

    /// What the client asks.
    fn ask(&mut self, request: Request) {
        match request {
            Request::Patch {
                fragment,
                if_match,
                reply,
            } => self.patch(fragment, &if_match, reply),
            Request::Delete { reply } => {
                self.log("the client leaves");
                // First of all, so that the place is free when the client knows.
                self.place.leave();
                self.ready.push_back(Message::Bye);
                // overflow: retained (a oneshot)
                let _ = reply.send(());
            }
        }
    }

    /// New credentials restart ICE; all else is trickling (RFC 9725 sections 4.3.2 and 4.3.3).
    fn patch(&mut self, fragment: Fragment, if_match: &IfMatch, reply: Reply) {
        let renews = fragment.credentials.is_some() && fragment.credentials != self.credentials;
        let outcome = if !if_match.holds(&self.etag()) {
            Err(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "If-Match names an ICE session that is over: a restart came between.",
            ))
        } else if !renews {
            // Asked again by a client that did not see the reply to its restart.
            let again = matches!(if_match, IfMatch::Any)
                && fragment.credentials.is_some()
                && self.restarts > 0;
            self.trickle(fragment.candidates);
            Ok(if again {
                self.restarted()
            } else {
                Patched::Trickled
            })
        } else if matches!(if_match, IfMatch::Missing) {
            Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "An ICE restart takes the header `If-Match: *`.",
            ))
        } else if self.restart.is_some() {
            Err(Problem::busy("An ICE restart is under way.", "1"))
        } else {
            return self.begin_restart(fragment, reply);
        };
        // overflow: retained (a oneshot)
        let _ = reply.send(outcome);
    }

    fn trickle(&mut self, candidates: Vec<Candidate>) {
        self.log(&format!("{} candidates of the client", candidates.len()));
        self.ready
            .extend(candidates.into_iter().map(Message::Candidate));
    }

    fn begin_restart(&mut self, fragment: Fragment, reply: Reply) {
        self.log("the client restarts ICE");
        self.offer = fragment::renew(&self.offer, &fragment);
        self.ready.push_back(offer_of(&self.offer));
        self.restart = Some(Restart {
            credentials: fragment.credentials,
            reply: Some(reply),
            by: Instant::now() + self.request_limit,
        });
    }
}

fn offer_of(sdp: &str) -> Message {
    Message::Description(Description {
        kind: DescriptionType::Offer,
        sdp: sdp.to_owned(),
    })
}
