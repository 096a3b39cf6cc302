// SPDX-License-Identifier: MPL-2.0
//! A signaller at work, and its end.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::signalling::message::Message;
use crate::signalling::{Exchange, Notice, Role, Signaller, SignallingError};

/// What a signaller that was cancelled still may take.
const CANCELLED_LIMIT: Duration = Duration::from_millis(300);

/// Both mailboxes of a signaller that runs in a task of its own.
pub(super) struct Wire {
    outgoing: Option<mpsc::Sender<Message>>,
    pub(super) incoming: mpsc::Receiver<Message>,
    pub(super) notices: mpsc::Receiver<Notice>,
    /// `None` once it has ended and that was seen.
    pub(super) task: Option<JoinHandle<Result<(), SignallingError>>>,
    cancel: CancellationToken,
    farewell_limit: Duration,
    pub(super) either_side_offers: bool,
    pub(super) takes_refusals: bool,
    pub(super) restarts_ice: bool,
}

impl Wire {
    /// Starts `signaller`.
    pub(super) fn connect(signaller: Box<dyn Signaller>, role: Role) -> Self {
        let (outgoing, for_remote) = mpsc::channel(16);
        let (from_remote, incoming) = mpsc::channel(16);
        let (to_user, notices) = mpsc::channel(16);
        // Not a child of the call's token: a bye is still to be said after that one is cancelled.
        let cancel = CancellationToken::new();
        Self {
            outgoing: Some(outgoing),
            incoming,
            notices,
            farewell_limit: signaller.farewell_limit(),
            either_side_offers: signaller.either_side_offers(),
            takes_refusals: signaller.takes_refusals(),
            restarts_ice: signaller.restarts_ice(),
            task: Some(tokio::spawn(signaller.run(Exchange {
                role,
                outgoing: for_remote,
                incoming: from_remote,
                notices: to_user,
                cancel: cancel.clone(),
            }))),
            cancel,
        }
    }

    /// To the remote.
    pub(super) async fn say(&self, message: Message) {
        if let Some(outgoing) = &self.outgoing {
            // overflow: awaited; an error means that signalling ended, which its task tells.
            let _ = outgoing.send(message).await;
        }
    }

    /// To the remote, as the last word.
    pub(super) fn say_last(&mut self, message: Option<Message>) {
        if let (Some(outgoing), Some(message)) = (self.outgoing.take(), message) {
            // overflow: nudge: a full channel means that nobody reads it any more.
            let _ = outgoing.try_send(message);
        }
    }

    /// Waits until the signaller has ended, within its limit.
    pub(super) async fn end(&mut self) {
        self.outgoing = None;
        let Some(mut task) = self.task.take() else {
            return;
        };
        // Drained meanwhile, so that a signaller that waits for room can end.
        let farewell = async {
            loop {
                tokio::select! {
                    _ = &mut task => return,
                    Some(_) = self.incoming.recv() => {}
                    Some(_) = self.notices.recv() => {}
                }
            }
        };
        if timeout(self.farewell_limit, farewell).await.is_err() {
            self.cancel.cancel();
            if timeout(CANCELLED_LIMIT, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}
