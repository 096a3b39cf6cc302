// SPDX-License-Identifier: MPL-2.0
//! Copy and paste: our lines on stdout, the remote's on stdin, prompts for people on stderr.
//!
//! Invariant: stdout carries nothing but JSON lines, and the terminal is left as it was,
//! whatever ends the program. While a description is due, a terminal is taken out of canonical
//! mode, which cuts a pasted line at 4096 bytes; see `terminal`.
//!
//! Threads: stdin is read on a thread of its own that waits for input and for a wake-up, since
//! neither a blocked `read` nor a runtime's blocking thread can be cancelled; each line is
//! written on a short-lived one, since a terminal stopped with Ctrl-S blocks the writer.

mod editor;
mod input;
mod output;
mod terminal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::termios::isatty;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::intake::{Intake, Verdict};
use super::line_codec::{Decoded, LineDecoder, encode};
use super::message::{DescriptionType, Message};
use super::{Exchange, Notice, Role, Signaller, SignallingError};
use editor::{Edited, Editor};
use input::{Input, Reader};

/// After this pause a description over several lines is taken to be complete.
const PASTE_PAUSE: Duration = Duration::from_millis(300);

/// What the last lines may take to be written once the call is over.
const FLUSH_TIME: Duration = Duration::from_millis(200);

/// The process has one stdin: two readers would each get half of what is pasted.
static STDIN_IN_USE: AtomicBool = AtomicBool::new(false);

/// Copy and paste over the standard streams.
pub struct Stdio {
    streams: Streams,
    flush_time: Duration,
}

impl Stdio {
    /// Over this process' stdin, stdout and stderr.
    pub fn new() -> Self {
        Self {
            streams: Streams {
                input: Stream::Stdin,
                output: Stream::Stdout,
                prompts: Stream::Stderr,
            },
            flush_time: FLUSH_TIME,
        }
    }

    /// Over other descriptors, for a program that has a terminal of its own.
    pub fn with_descriptors(input: OwnedFd, output: OwnedFd, prompts: OwnedFd) -> Self {
        Self {
            streams: Streams {
                input: Stream::Given(Arc::new(input)),
                output: Stream::Given(Arc::new(output)),
                prompts: Stream::Given(Arc::new(prompts)),
            },
            flush_time: FLUSH_TIME,
        }
    }
}

impl Default for Stdio {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Signaller for Stdio {
    fn either_side_offers(&self) -> bool {
        true
    }

    async fn run(self: Box<Self>, exchange: Exchange) -> Result<(), SignallingError> {
        let lease = Lease::take(&self.streams.input)?;
        let mut reader = Reader::start(self.streams.input.clone(), lease)?;
        let mut call = Call::new(self.streams, exchange);
        let mut result = call.carry(&mut reader).await;
        if !matches!(result, Err(SignallingError::Write { .. })) {
            result = result.and(call.flush(self.flush_time).await);
        }
        reader.stop().await;
        result
    }
}

/// One of the process' streams, or another.
#[derive(Clone)]
enum Stream {
    Stdin,
    Stdout,
    Stderr,
    Given(Arc<OwnedFd>),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdin => rustix::stdio::stdin(),
            Self::Stdout => rustix::stdio::stdout(),
            Self::Stderr => rustix::stdio::stderr(),
            Self::Given(fd) => fd.as_fd(),
        }
    }
}

#[derive(Clone)]
struct Streams {
    input: Stream,
    output: Stream,
    prompts: Stream,
}

/// The right to read stdin; held by the thread that does.
struct Lease {
    held: bool,
}

impl Lease {
    fn take(input: &Stream) -> Result<Self, SignallingError> {
        let held = matches!(input, Stream::Stdin);
        if held && STDIN_IN_USE.swap(true, Ordering::AcqRel) {
            return Err(SignallingError::Settings(
                "two elements of this process share one stdin: \
                 set signaller=file, or another, on one of them"
                    .to_owned(),
            ));
        }
        Ok(Self { held })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.held {
            STDIN_IN_USE.store(false, Ordering::Release);
        }
    }
}

/// The state of one call.
struct Call {
    streams: Streams,
    role: Role,
    outgoing: mpsc::Receiver<Message>,
    incoming: mpsc::Sender<Message>,
    notices: mpsc::Sender<Notice>,
    cancel: CancellationToken,
    decoder: LineDecoder,
    editor: Editor,
    intake: Intake,
    /// Came, but not passed on yet; nothing is read meanwhile.
    ready: VecDeque<Message>,
    prompts_on: bool,
    at_end: bool,
}

impl Call {
    fn new(streams: Streams, exchange: Exchange) -> Self {
        let intake = Intake::new(exchange.role);
        Self {
            prompts_on: isatty(&streams.input) && isatty(&streams.prompts),
            streams,
            role: exchange.role,
            outgoing: exchange.outgoing,
            incoming: exchange.incoming,
            notices: exchange.notices,
            cancel: exchange.cancel,
            decoder: LineDecoder::new(intake.due()),
            editor: Editor::default(),
            intake,
            ready: VecDeque::new(),
            at_end: false,
        }
    }

    /// Both directions, until the call ends.
    async fn carry(&mut self, reader: &mut Reader) -> Result<(), SignallingError> {
        let cancel = self.cancel.clone();
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            // Whoever sees a prompt may paste.
            () = reader.settled() => {}
        }
        if self.role == Role::Answerer {
            self.prompt("paste the offer here and press Enter").await;
        }
        let incoming = self.incoming.clone();
        let mut last_input = Instant::now();
        loop {
            let paused = self.decoder.may_be_complete() && self.editor.is_empty();
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
                message = self.outgoing.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    self.send(&message).await?;
                    if message == Message::Bye {
                        return Ok(());
                    }
                }
                input = reader.next(), if !self.at_end && self.ready.is_empty() => {
                    last_input = Instant::now();
                    self.on_input(input).await?;
                }
                () = tokio::time::sleep_until(last_input + PASTE_PAUSE),
                    if paused && self.ready.is_empty() =>
                {
                    let mut decoded = Vec::new();
                    self.decoder.idle(&mut decoded);
                    self.on_decoded(decoded).await?;
                }
            }
            if self.intake.has_description() {
                reader.end_of_pasting();
            }
            if self.at_end {
                reader.end_of_input();
            }
        }
    }

    /// What the session left in the mailbox when the call ended.
    async fn flush(&mut self, limit: Duration) -> Result<(), SignallingError> {
        let deadline = Instant::now() + limit;
        self.outgoing.close();
        while let Ok(message) = self.outgoing.try_recv() {
            let write = output::write(self.streams.clone(), Some(encode(&message) + "\n"), None);
            match tokio::time::timeout_at(deadline, write).await {
                Ok(Ok(())) => {}
                // Nobody is left to read it.
                Ok(Err(error)) if message == Message::Bye => {
                    log::debug!("stdio: bye not written: {error}");
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    log::warn!("stdio: stdout is blocked, the last lines are not written yet");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, message: &Message) -> Result<(), SignallingError> {
        self.intake.sent(message);
        let prompt = match message {
            Message::Description(description) if self.prompts_on => {
                Some(prompt_line(&self.instruction(description.kind)))
            }
            _ => None,
        };
        log::debug!("stdio: to the remote: {message:?}");
        let write = output::write(self.streams.clone(), Some(encode(message) + "\n"), prompt);
        tokio::pin!(write);
        let written = tokio::select! {
            written = &mut write => written,
            // The line is under way: let it end if it can.
            () = self.cancel.cancelled() => tokio::time::timeout(FLUSH_TIME, write)
                .await
                .unwrap_or(Ok(())),
        };
        match written {
            Err(error) if *message == Message::Bye => {
                log::debug!("stdio: bye not written: {error}");
                Ok(())
            }
            written => written,
        }
    }

    /// What the user does with the line that we have just written.
    fn instruction(&self, kind: DescriptionType) -> String {
        let line = if isatty(&self.streams.output) {
            format!("copy the line above ({kind})")
        } else {
            format!("the {kind} was written to stdout: bring it")
        };
        match self.role {
            Role::Offerer => {
                format!("{line} to the other side, then paste its answer here and press Enter")
            }
            Role::Answerer => format!("{line} back to the offerer"),
        }
    }

    async fn on_input(&mut self, input: Input) -> Result<(), SignallingError> {
        let mut decoded = Vec::new();
        match input {
            Input::Bytes { bytes, edited } if edited => {
                let echo = self.type_in(&bytes, &mut decoded);
                if !echo.is_empty() {
                    // Only what erases characters on the screen: its loss harms nothing.
                    let echo = String::from_utf8_lossy(&echo).into_owned();
                    let _ = output::write(self.streams.clone(), None, Some(echo)).await;
                }
            }
            Input::Bytes { bytes, .. } => {
                let typed = self.editor.take();
                self.decoder.feed(&typed, &mut decoded);
                self.decoder.feed(&bytes, &mut decoded);
            }
            Input::Notice(text) => self.tell(text),
            Input::End => self.end_of_input(&mut decoded),
            Input::Failed(source) => {
                return Err(SignallingError::Read {
                    what: "stdin cannot be read: give it a terminal, a pipe or a file, \
                           or use signaller=file"
                        .to_owned(),
                    source: source.into(),
                });
            }
        }
        self.on_decoded(decoded).await?;
        if self.at_end && !self.intake.has_description() && !self.ready.contains(&Message::Bye) {
            let due = self.intake.due();
            return Err(SignallingError::Closed(format!(
                "stdin closed before an {due} came: keep stdin open until the {due} is pasted, \
                 or use signaller=file"
            )));
        }
        Ok(())
    }

    /// Keys and pastes of a terminal out of canonical mode; returns what to echo.
    fn type_in(&mut self, bytes: &[u8], decoded: &mut Vec<Decoded>) -> Vec<u8> {
        let mut echo = Vec::new();
        for edited in self.editor.feed(bytes, &mut echo) {
            match edited {
                Edited::Line(line) => self.decoder.feed(&line, decoded),
                Edited::End => {
                    self.end_of_input(decoded);
                    break;
                }
            }
        }
        echo
    }

    fn end_of_input(&mut self, decoded: &mut Vec<Decoded>) {
        let typed = self.editor.take();
        self.decoder.feed(&typed, decoded);
        self.decoder.finish(decoded);
        self.at_end = true;
    }

    async fn on_decoded(&mut self, decoded: Vec<Decoded>) -> Result<(), SignallingError> {
        for item in decoded {
            let message = match item {
                Decoded::Notice(text) => {
                    self.tell(text);
                    continue;
                }
                Decoded::Message(message) => message,
            };
            match self.intake.accept(&message)? {
                Verdict::Notice(text) => self.tell(text),
                Verdict::Forward => {
                    log::debug!("stdio: from the remote: {message:?}");
                    if let Message::Description(description) = &message {
                        let bytes = description.sdp.len();
                        let kind = description.kind;
                        self.prompt(&format!("{kind} received, {bytes} bytes"))
                            .await;
                    }
                    self.ready.push_back(message);
                }
            }
        }
        Ok(())
    }

    fn tell(&self, text: String) {
        log::info!("stdio: {text}");
        // overflow: DROPS the notice, which the log line above still shows
        let _ = self.notices.try_send(Notice(text));
    }

    async fn prompt(&self, text: &str) {
        if !self.prompts_on {
            return;
        }
        let write = output::write(self.streams.clone(), None, Some(prompt_line(text)));
        tokio::select! {
            // Without its prompt the call works all the same.
            _ = write => {}
            () = self.cancel.cancelled() => {}
        }
    }
}

fn prompt_line(text: &str) -> String {
    format!("-- rswebrtc: {text} --\n")
}
