// SPDX-License-Identifier: MPL-2.0
//! What the session says, seen while something else is waited for.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::signalling::message::{Candidate, Message};

/// More messages than this are left in the channel.
const MAX_BACKLOG: usize = 64;

/// Messages of the session, until it hangs up.
pub(super) struct Outbox {
    channel: mpsc::Receiver<Message>,
    backlog: VecDeque<Message>,
    cancel: CancellationToken,
    over: bool,
}

impl Outbox {
    pub(super) fn new(channel: mpsc::Receiver<Message>, cancel: CancellationToken) -> Self {
        Self {
            channel,
            backlog: VecDeque::new(),
            cancel,
            over: false,
        }
    }

    /// The next message. `None` once the session has hung up: what it said before is of no use
    /// any more.
    pub(super) async fn next(&mut self) -> Option<Message> {
        if !self.over && self.backlog.is_empty() {
            self.receive().await;
        }
        if self.over {
            return None;
        }
        self.backlog.pop_front()
    }

    /// Candidates that are next, without waiting for any.
    pub(super) fn candidates(&mut self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        loop {
            if self.backlog.is_empty()
                && let Ok(message) = self.channel.try_recv()
            {
                self.take(Some(message));
            }
            match self.backlog.pop_front() {
                Some(Message::Candidate(candidate)) => candidates.push(candidate),
                Some(other) => {
                    self.backlog.push_front(other);
                    return candidates;
                }
                None => return candidates,
            }
        }
    }

    /// Waits until the session hangs up. What it says before is kept.
    pub(super) async fn over(&mut self) {
        while !self.over {
            if self.backlog.len() < MAX_BACKLOG {
                self.receive().await;
            } else {
                self.cancel.cancelled().await;
                self.over = true;
            }
        }
    }

    async fn receive(&mut self) {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => self.over = true,
            message = self.channel.recv() => self.take(message),
        }
    }

    fn take(&mut self, message: Option<Message>) {
        match message {
            None | Some(Message::Bye) => self.over = true,
            Some(message) => self.backlog.push_back(message),
        }
    }
}
