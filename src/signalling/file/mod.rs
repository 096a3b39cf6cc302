// SPDX-License-Identifier: MPL-2.0
//! Files in a directory: the offerer writes `offer.json`, the answerer `answer.json`, either
//! writes `bye.json` when it hangs up first.
//!
//! Invariant: files of an earlier call never enter a new one, whoever starts first and however
//! the earlier call ended. The rules, which need nothing of a foreign peer but that an offerer
//! removes or replaces the old `offer.json` and `answer.json`:
//!
//! - An offerer removes all three at its start (the offer first), `answer.json` and `bye.json`
//!   again just before its offer appears, and `offer.json` and `answer.json` at the end of its
//!   call. One that was killed leaves them.
//! - An offer is *used up* if an `answer.json` or a `bye.json` beside it is as new or newer, or if
//!   our offerer that wrote it is dead (it held a lock on a copy, `.rswebrtc-offerer`). An
//!   answerer takes the first offer that is not, at once, and then removes what is older.
//! - An answerer leaves its `answer.json`: it is what tells the next one that the offer is used up.
//! - Who receives a `bye.json` removes it. It is only written while `offer.json` is still the
//!   offer of this call; a late bye does not end somebody else's.
//! - During the call the offerer may replace `offer.json` by a later offer of the same session (its
//!   `o=` line tells), and the answerer then `answer.json`; the answerer makes no offers. Any other
//!   offer is a new call, and an error for this one.
//!
//! Descriptions are complete: candidates that come apart are not carried.

mod directory;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::intake::{Intake, Verdict};
use super::line_codec::{decode_document, encode};
use super::message::Message;
use super::{Exchange, Notice, Role, Signaller, SignallingError};
use directory::{Directory, Published, Seen, Snapshot};

/// How often the directory is read without being asked to: network file systems tell nothing.
const RESCAN: Duration = Duration::from_millis(500);
/// ... and once both descriptions are there: what may come is a bye, or another offer.
const RESCAN_IN_CALL: Duration = Duration::from_secs(2);

/// After this time without a change, a file that is not one of ours is not just half written.
const HALF_WRITTEN: Duration = Duration::from_secs(2);

/// Files in a directory.
pub struct FileExchange {
    directory: PathBuf,
}

impl FileExchange {
    /// In `directory`, which is created if need be.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

#[async_trait::async_trait]
impl Signaller for FileExchange {
    async fn run(self: Box<Self>, exchange: Exchange) -> Result<(), SignallingError> {
        if self.directory.as_os_str().is_empty() {
            return Err(SignallingError::Settings(
                "no directory for signalling: set location".to_owned(),
            ));
        }
        let cancel = exchange.cancel.clone();
        let directory = Directory::new(self.directory);
        let role = exchange.role;
        let prepared = directory.clone();
        let prepare = blocking(move || prepared.prepare(role));
        let published = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            prepared = prepare => prepared?,
        };
        let (nudge, nudged) = mpsc::channel(1);
        let watcher = watch(&directory, nudge);
        let mut call = Call {
            intake: Intake::new(role),
            directory,
            role,
            outgoing: exchange.outgoing,
            incoming: exchange.incoming,
            notices: exchange.notices,
            cancel,
            published,
            taken: None,
            ready: VecDeque::new(),
            unread: None,
            told_about: None,
        };
        let mut result = call.carry(nudged).await;
        drop(watcher);
        if !matches!(result, Err(SignallingError::Write { .. })) {
            result = result.and(call.flush().await);
        }
        let published = call.published.take();
        // Removes our files, off the runtime's workers.
        blocking(move || {
            drop(published);
            Ok(())
        })
        .await?;
        result
    }
}

/// The state of one call.
struct Call {
    directory: Directory,
    role: Role,
    outgoing: mpsc::Receiver<Message>,
    incoming: mpsc::Sender<Message>,
    notices: mpsc::Sender<Notice>,
    cancel: CancellationToken,
    intake: Intake,
    /// As offerer: our files.
    published: Option<Published>,
    /// As answerer: the text of the offer that we took.
    taken: Option<String>,
    /// Came, but not passed on yet; nothing is read meanwhile.
    ready: VecDeque<Message>,
    /// A file that is none of ours, or half written, since when, and whether the user knows.
    unread: Option<(Seen, Instant, bool)>,
    /// The used-up offer, or the late answer, that the user knows about.
    told_about: Option<Seen>,
}

impl Call {
    async fn carry(&mut self, mut nudged: mpsc::Receiver<()>) -> Result<(), SignallingError> {
        if self.role == Role::Answerer {
            let path = self.directory.offer();
            self.tell(format!("waiting for an offer in {}", path.display()));
        }
        let cancel = self.cancel.clone();
        let incoming = self.incoming.clone();
        let rescan = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(rescan);
        let mut watched = true;
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
                    continue;
                }
                message = self.outgoing.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    self.send(&message).await?;
                    if message == Message::Bye {
                        return Ok(());
                    }
                    continue;
                }
                nudge = nudged.recv(), if watched && self.ready.is_empty() => {
                    watched = nudge.is_some();
                }
                () = &mut rescan, if self.ready.is_empty() => {}
            }
            let settled = self.intake.has_description() && !self.intake.awaits_answer();
            let in_call = watched && settled && self.unread.is_none();
            let pause = if in_call { RESCAN_IN_CALL } else { RESCAN };
            rescan.as_mut().reset(Instant::now() + pause);
            let directory = self.directory.clone();
            let choosing = self.role == Role::Answerer && self.taken.is_none();
            let snapshot = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                snapshot = blocking(move || directory.scan(choosing)) => snapshot?,
            };
            match self.role {
                Role::Offerer => self.look_for_answer(snapshot).await?,
                Role::Answerer => self.look_for_offer(snapshot).await?,
            }
        }
    }

    /// What the session left in the mailbox when the call ended.
    async fn flush(&mut self) -> Result<(), SignallingError> {
        self.outgoing.close();
        while let Ok(message) = self.outgoing.try_recv() {
            self.send(&message).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: &Message) -> Result<(), SignallingError> {
        log::debug!("file: to the remote: {message:?}");
        self.intake.sent(message);
        let text = encode(message) + "\n";
        let directory = self.directory.clone();
        match message {
            Message::Candidate(_) => Ok(()),
            Message::Bye | Message::Refuse(_) => {
                let ours = match self.role {
                    Role::Offerer => self.published.as_ref().and_then(Published::text),
                    Role::Answerer => self.taken.as_deref(),
                };
                let Some(ours) = ours.map(str::to_owned) else {
                    return Ok(()); // nobody was called
                };
                blocking(move || directory.write_bye(&ours, &text)).await
            }
            Message::Description(_) => match (self.role, self.published.take()) {
                (Role::Offerer, Some(mut published)) => {
                    let (published, result) = blocking(move || {
                        let result = published.publish(&text);
                        Ok((published, result))
                    })
                    .await?;
                    self.published = Some(published);
                    result?;
                    let answer = self.directory.answer();
                    self.tell(format!(
                        "offer written to {}, waiting for the answer in {}",
                        self.directory.offer().display(),
                        answer.display()
                    ));
                    Ok(())
                }
                _ => {
                    let path = self.directory.answer();
                    self.tell(format!("answer written to {}", path.display()));
                    blocking(move || directory.write(&directory.answer(), &text)).await
                }
            },
        }
    }

    async fn look_for_answer(&mut self, snapshot: Snapshot) -> Result<(), SignallingError> {
        let Some(ours) = self.published.as_ref().and_then(Published::text) else {
            return Ok(());
        };
        // A file that is half written is nobody's offer yet.
        if let Some(offer) = &snapshot.offer
            && offer.text != ours
            && decode_document(&offer.text, self.intake.due()).is_some()
        {
            return Err(SignallingError::Unexpected(format!(
                "another offerer replaced {}: set role=answer on one of the two, \
                 or give each call a directory of its own",
                self.directory.offer().display()
            )));
        }
        if let Some(answer) = snapshot.answer {
            if !self.intake.has_description()
                || (self.intake.awaits_answer() && self.told_about.as_ref() != Some(&answer))
            {
                let path = self.directory.answer();
                self.take_up(&path, &answer)?;
                self.told_about = Some(answer);
            } else if self.told_about.as_ref() != Some(&answer) {
                self.tell("a second answer was written, it is not used".to_owned());
                self.told_about = Some(answer);
            }
        }
        if snapshot.bye.is_some() {
            self.hang_up().await?;
        }
        Ok(())
    }

    async fn look_for_offer(&mut self, snapshot: Snapshot) -> Result<(), SignallingError> {
        let path = self.directory.offer();
        if let Some(taken) = &self.taken {
            if snapshot.bye.is_some() {
                return self.hang_up().await;
            }
            return match snapshot.offer {
                Some(offer)
                    if offer.text != *taken
                        && decode_document(&offer.text, self.intake.due()).is_some() =>
                {
                    // A notice would not do: the file of this call is gone.
                    if matches!(self.take_up(&path, &offer), Ok(true)) {
                        self.taken = Some(offer.text);
                        return Ok(());
                    }
                    Err(SignallingError::Unexpected(format!(
                        "the offerer began a new call: {} is another offer than the one \
                         answered, start this side again too",
                        path.display()
                    )))
                }
                _ => Ok(()),
            };
        }
        let Some(offer) = &snapshot.offer else {
            return Ok(());
        };
        if let Some(why) = snapshot.used_up() {
            if self.told_about.as_ref() != Some(offer) {
                self.told_about = Some(offer.clone());
                self.tell(format!(
                    "{} is of an earlier call ({why}): waiting for a new one",
                    path.display()
                ));
            }
            return Ok(());
        }
        if self.take_up(&path, offer)? {
            self.taken = Some(offer.text.clone());
            let directory = self.directory.clone();
            blocking(move || directory.remove_old(&snapshot)).await?;
        }
        Ok(())
    }

    /// Reads a description; false while there is none.
    fn take_up(&mut self, path: &Path, file: &Seen) -> Result<bool, SignallingError> {
        let message = match decode_document(&file.text, self.intake.due()) {
            Some(message @ Message::Description(_)) => message,
            _ => {
                self.note_unread(path, file);
                return Ok(false);
            }
        };
        self.unread = None;
        match self.intake.accept(&message) {
            Ok(Verdict::Forward) => {
                log::debug!("file: from the remote: {message:?}");
                self.ready.push_back(message);
                Ok(true)
            }
            Ok(Verdict::Notice(text)) => {
                self.tell(format!("{}: {text}", path.display()));
                Ok(false)
            }
            Err(SignallingError::Unexpected(text)) => Err(SignallingError::Unexpected(format!(
                "{}: {text}",
                path.display()
            ))),
            Err(error) => Err(error),
        }
    }

    fn note_unread(&mut self, path: &Path, file: &Seen) {
        let mut text = None;
        match &mut self.unread {
            Some((seen, since, told)) if seen == file => {
                if !*told && since.elapsed() >= HALF_WRITTEN {
                    *told = true;
                    let due = self.intake.due();
                    text = Some(format!(
                        "{} ({} bytes) is not JSON like {{\"sdp\": \"v=0…\", \"type\": \"{due}\"}}: \
                         write it again, under another name, and rename it",
                        path.display(),
                        file.text.len()
                    ));
                }
            }
            unread => *unread = Some((file.clone(), Instant::now(), false)),
        }
        if let Some(text) = text {
            self.tell(text);
        }
    }

    async fn hang_up(&mut self) -> Result<(), SignallingError> {
        self.ready.push_back(Message::Bye);
        let directory = self.directory.clone();
        blocking(move || directory.remove_bye()).await
    }

    fn tell(&self, text: String) {
        log::info!("file: {text}");
        // overflow: DROPS the notice, which the log line above still shows
        let _ = self.notices.try_send(Notice(text));
    }
}

/// File systems can block, so nothing touches them on a worker of the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SignallingError> + Send + 'static,
) -> Result<T, SignallingError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SignallingError::Closed(format!(
            "signalling by file was cut short: {error}"
        ))),
    }
}

/// Nudges whenever a file changed. Without a watcher, rescans must do.
fn watch(directory: &Directory, nudge: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours = event.is_ok_and(|event| match event.kind {
            // Our own reading must not wake us again.
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        });
        if ours {
            // overflow: nudge (one is enough for any number of changes)
            let _ = nudge.try_send(());
        }
    });
    watcher
        .and_then(|mut watcher| {
            watcher.watch(directory.path(), RecursiveMode::NonRecursive)?;
            Ok(watcher)
        })
        .inspect_err(|error| log::info!("file: no watcher, reading every {RESCAN:?}: {error}"))
        .ok()
}
