// SPDX-License-Identifier: MPL-2.0
//! A call from its first connection to its last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::media::codec::MediaKind;
use crate::media::queue::InboundQueue;
use crate::peer::Peer;

use super::Command;
use super::actor::Call;
use super::error::CallError;
use super::event::{EndCause, Event};
use super::negotiation::Agreement;
use super::reconnect::{self, Backoff, Reconnect};
use super::wire::Wire;

impl Call {
    /// Makes the call, and makes it again when it was up and is lost.
    pub(super) async fn make(&mut self) -> Result<EndCause, CallError> {
        let Some(wish) = self.wish().await? else {
            return Ok(EndCause::Local);
        };
        self.wish = wish;
        let mut backoff = Backoff::default();
        let mut was_up = false;
        loop {
            let outcome = self.attempt().await;
            was_up |= self.connected;
            if std::mem::take(&mut self.connected) {
                backoff.succeeded();
            }
            // What never worked will not by itself: its error helps more than waiting.
            let Some(reconnect) = self.reconnect.clone().filter(|_| was_up) else {
                return outcome;
            };
            let Some(least) = reconnect::retry(&outcome, self.streams_over) else {
                return outcome;
            };
            if self.finish_asked {
                return outcome;
            }
            let spread = f64::from(reconnect::random_byte()) / 256.0;
            let now = Instant::now();
            let Some(delay) = backoff.next(reconnect.limit, least, now, spread) else {
                return outcome;
            };
            self.tell(Event::Interrupted {
                cause: interruption(&outcome),
                delay,
                tries: backoff.tries(),
            })
            .await;
            if !self.start_over(reconnect, delay).await? {
                return Ok(EndCause::Local);
            }
        }
    }

    /// Gives the lost connection up, waits, and begins another. `false`: the element wants no more.
    async fn start_over(
        &mut self,
        reconnect: Reconnect,
        delay: Duration,
    ) -> Result<bool, CallError> {
        self.hang_up(None).await;
        self.peer_events = None;
        // A try that came to nothing has none: those of the connection before it still wait.
        if let Some(former) = self.shared.take_peer()
            && !self.agreement.agreed.is_empty()
        {
            self.template.queues = former_queues(&*former, &self.agreement);
        }
        let until = Instant::now() + delay;
        loop {
            tokio::select! {
                () = sleep_until(until) => break,
                command = self.commands.recv() => match command {
                    Some(Command::Wish(wish)) => self.wish = wish,
                    Some(Command::Data) => {}
                    Some(Command::Finish) | None => return Ok(false),
                },
            }
        }
        self.wire = Wire::connect(reconnect.again.build(), self.role);
        self.agreement = Agreement::default();
        self.offering = None;
        (self.offer_due, self.data_due) = (false, false);
        self.restarting = false;
        self.candidates.clear();
        self.told_left_out.clear();
        (self.spoken, self.heard) = (false, false);
        (self.remote_said_bye, self.streams_over) = (false, false);
        Ok(true)
    }
}

/// The queues of the streams that were received, for the connection that follows.
fn former_queues(peer: &dyn Peer, agreement: &Agreement) -> Vec<(MediaKind, Arc<InboundQueue>)> {
    let mut queues = Vec::new();
    for (index, config) in agreement.streams.iter().enumerate() {
        match peer.inbound(index) {
            Some(queue) => queues.push((config.kind, queue)),
            // Holds the place.
            None => queues.push((config.kind, Arc::new(InboundQueue::new(1)))),
        }
    }
    queues
}

/// What to tell of a call that is made again.
fn interruption(outcome: &Result<EndCause, CallError>) -> String {
    match outcome {
        Ok(_) => "the other side closed the connection".to_owned(),
        Err(error) => error.to_string(),
    }
}
