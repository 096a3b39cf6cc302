// SPDX-License-Identifier: MPL-2.0
//! Signalling by the application: it is told what this side says, and brings what the remote says,
//! as the lines that the stdio signaller writes and reads.
//!
//! Invariants: the application is told one message at a time, in order, on a thread that may block;
//! what it brings is read meanwhile, from any of its threads. Nothing is lost before it listens,
//! and a call that nobody listens to ends with an error that says so.

mod mailbox;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::intake::{Intake, Verdict};
use super::line_codec::{Decoded, LineDecoder, encode};
use super::message::{DescriptionType, Message};
use super::{Exchange, Notice, Signaller, SignallingError};

pub use mailbox::{Mailbox, NotTaken, Outlet, Place};

/// Whoever is to be told has so long to begin to listen.
const LISTENER_LIMIT: Duration = Duration::from_secs(5);
/// Nothing tells that somebody began to.
const LISTENER_LOOK: Duration = Duration::from_millis(20);
/// What is being told when the call is cut may take so long, and then the bye.
const FLUSH_TIME: Duration = Duration::from_millis(200);

/// Messages that an application carries.
pub struct Application {
    mailbox: Mailbox,
    /// Whoever is to be told has so long to begin to listen.
    listener_limit: Duration,
}

impl Application {
    /// Of the application that has `mailbox`.
    pub fn new(mailbox: Mailbox) -> Self {
        Self {
            mailbox,
            listener_limit: LISTENER_LIMIT,
        }
    }
}

#[async_trait::async_trait]
impl Signaller for Application {
    fn either_side_offers(&self) -> bool {
        true
    }

    async fn run(self: Box<Self>, exchange: Exchange) -> Result<(), SignallingError> {
        self.mailbox.begin();
        let closing = Closing(self.mailbox);
        let mut call = Call {
            mailbox: closing.0.clone(),
            intake: Intake::new(exchange.role),
            exchange,
            listener_limit: self.listener_limit,
            ready: VecDeque::new(),
            telling: None,
            described: false,
        };
        let result = call.carry().await;
        if result.is_err() && call.described && call.telling.is_none() {
            // The session hears of the error too late to say it.
            call.tell(&Message::Bye, Duration::ZERO);
        }
        call.flush().await;
        result
    }
}

/// Closes the mailbox, also when its task is aborted.
struct Closing(Mailbox);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The state of one call.
struct Call {
    mailbox: Mailbox,
    intake: Intake,
    exchange: Exchange,
    listener_limit: Duration,
    /// Came, but not passed on yet; nothing is read meanwhile.
    ready: VecDeque<Message>,
    telling: Option<Telling>,
    /// The remote has a description of ours, and is owed a bye.
    described: bool,
}

/// A message on its way to the application, and whether it is the last one.
struct Telling {
    bye: bool,
    done: Pin<Box<dyn Future<Output = bool> + Send>>,
}

impl Call {
    /// Both directions, until the call ends.
    async fn carry(&mut self) -> Result<(), SignallingError> {
        let cancel = self.exchange.cancel.clone();
        let incoming = self.exchange.incoming.clone();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                permit = incoming.reserve(), if !self.ready.is_empty() => {
                    let (Ok(permit), Some(message)) = (permit, self.ready.pop_front()) else {
                        return Ok(()); // the session is gone
                    };
                    let bye = message == Message::Bye;
                    permit.send(message); // overflow: awaited (the permit)
                    if bye {
                        return Ok(());
                    }
                }
                told = told(&mut self.telling), if self.telling.is_some() => {
                    let bye = self.telling.take().is_some_and(|telling| telling.bye);
                    match (told, bye) {
                        (true, false) => {}
                        // Nobody is left to hear a bye.
                        (_, true) => return Ok(()),
                        (false, false) => return Err(nobody_listens()),
                    }
                }
                message = self.exchange.outgoing.recv(), if self.telling.is_none() => {
                    let Some(message) = message else { return Ok(()) };
                    self.tell(&message, self.listener_limit);
                }
                text = self.mailbox.next(), if self.ready.is_empty() => self.take(&text)?,
            }
        }
    }

    /// What the session left in the mailbox when the call ended, behind what is being told.
    async fn flush(&mut self) {
        self.exchange.outgoing.close();
        loop {
            if let Some(telling) = &mut self.telling {
                if timeout(FLUSH_TIME, &mut telling.done).await.is_err() {
                    log::warn!(
                        "application: the last messages are not told: nobody is connected to \
                         on-signalling-message, or a handler blocks"
                    );
                    return;
                }
                self.telling = None;
            }
            let Ok(message) = self.exchange.outgoing.try_recv() else {
                return;
            };
            self.tell(&message, Duration::ZERO);
        }
    }

    /// Begins to tell the application, which may wait as long as `patience` before it listens.
    fn tell(&mut self, message: &Message, patience: Duration) {
        log::debug!("application: to the remote: {message:?}");
        self.intake.sent(message);
        self.described |= matches!(message, Message::Description(_));
        self.telling = Some(Telling {
            bye: matches!(message, Message::Bye | Message::Refuse(_)),
            done: Box::pin(deliver(self.mailbox.clone(), encode(message), patience)),
        });
    }

    /// A message of the remote, as the application brought it.
    fn take(&mut self, text: &str) -> Result<(), SignallingError> {
        let messages = match read(text, self.intake.due()) {
            Ok(messages) => messages,
            Err(why) => {
                self.note(why);
                return Ok(());
            }
        };
        for message in messages {
            match self.intake.accept(&message)? {
                Verdict::Notice(text) => self.note(text),
                Verdict::Forward => {
                    log::debug!("application: from the remote: {message:?}");
                    self.ready.push_back(message);
                }
            }
        }
        Ok(())
    }

    fn note(&self, text: String) {
        log::info!("application: {text}");
        // overflow: DROPS the notice, which the log line above still shows
        let _ = self.exchange.notices.try_send(Notice(text));
    }
}

async fn told(telling: &mut Option<Telling>) -> bool {
    match telling {
        Some(telling) => (&mut telling.done).await,
        None => std::future::pending().await,
    }
}

/// Tells the application `text`; `false`: nobody listened in time.
async fn deliver(mailbox: Mailbox, text: String, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        let (of_call, line) = (mailbox.clone(), text.clone());
        // A handler may block. One that panicked was there.
        let heard = tokio::task::spawn_blocking(move || of_call.tell(&line)).await;
        if heard.unwrap_or(true) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        sleep(LISTENER_LOOK).await;
    }
}

fn nobody_listens() -> SignallingError {
    SignallingError::Settings(
        "signaller=application, and nobody is connected to the signal on-signalling-message: connect \
         to it before PLAYING, carry what it brings to the other side, and give what comes from \
         there to the action signal handle-signalling-message. From a shell, use signaller=stdio"
            .to_owned(),
    )
}

/// The messages in `text`, which the application brought in one piece; none where there is nothing
/// to do (the end of candidates).
///
/// # Errors
///
/// What is wrong with it; holds no secret.
fn read(text: &str, due: DescriptionType) -> Result<Vec<Message>, String> {
    if text.trim().is_empty() {
        return Err(format!("it is empty: {WANTED}"));
    }
    let mut decoder = LineDecoder::new(due);
    let mut decoded = Vec::new();
    decoder.feed(text.as_bytes(), &mut decoded);
    decoder.finish(&mut decoded);
    let mut messages = Vec::new();
    for item in decoded {
        match item {
            Decoded::Message(message) => messages.push(message),
            Decoded::Notice(why) => {
                let why = why.split(": due is ").next().unwrap_or_default();
                return Err(format!("{why}: {WANTED}"));
            }
        }
    }
    Ok(messages)
}

const WANTED: &str = "wanted is a whole message as on-signalling-message gives it, \
                      {\"sdp\": \"v=0…\", \"type\": \"offer\"}, {\"candidate\": \"candidate:…\", …} or \
                      {\"type\": \"bye\"}";
