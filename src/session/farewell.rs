// SPDX-License-Identifier: MPL-2.0
//! The end of a call, however it came: bye where it is due, everything freed, the cause told.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::signalling::message::Message;

use super::actor::Call;
use super::error::CallError;
use super::event::{EndCause, Event};

/// An element takes the last event at once, on a thread of its own, and closes the channel; unless
/// it is gone or stuck.
const HEARD_LIMIT: Duration = Duration::from_secs(2);

/// Waits until whoever hears `of` has acted on the last event. Streams that end before an element has
/// posted its error make a pipeline end with EOS, as if all were well.
pub(super) async fn heard(of: &[mpsc::Sender<Event>]) {
    let all = async {
        for events in of {
            events.closed().await;
        }
    };
    let _ = timeout(HEARD_LIMIT, all).await;
}

impl Call {
    /// Says bye, frees everything, tells how it ended.
    pub(super) async fn end(mut self, outcome: Result<EndCause, CallError>) {
        self.say_goodbye(outcome.as_ref().err());
        if let Some(peer) = self.shared.peer() {
            peer.close().await;
        }
        let event = match outcome {
            Ok(cause) => Event::Ended(cause),
            Err(error) => Event::Failed(error),
        };
        // overflow: nudge: room is plenty unless the element stopped reading, then it is stopping.
        let _ = self.events.try_send(event);
        self.wire.end().await;
        tokio::select! {
            () = self.shared.cancel.cancelled() => {}
            () = heard(std::slice::from_ref(&self.events)) => {}
        }
        // The element has ended its streams when it got the event; this is for the one that has not.
        self.end_queues();
    }

    /// Ends one connection of a call that goes on.
    pub(super) async fn hang_up(&mut self, error: Option<&CallError>) {
        self.say_goodbye(error);
        if let Some(peer) = self.shared.peer() {
            peer.close().await;
        }
        self.wire.end().await;
    }

    fn say_goodbye(&mut self, error: Option<&CallError>) {
        let refusal = error.filter(|_| self.heard && !self.spoken && self.wire.takes_refusals);
        let last = match refusal {
            Some(error) => Some(Message::Refuse(error.refusal())),
            None => ((self.spoken || self.heard) && !self.remote_said_bye).then_some(Message::Bye),
        };
        self.wire.say_last(last);
    }

    fn end_queues(&self) {
        for (_, queue) in &self.template.queues {
            queue.end();
        }
        let Some(peer) = self.shared.peer() else {
            return;
        };
        for stream in self.shared.agreed().iter() {
            for output in stream.outputs() {
                if let Some(queue) = peer.inbound_of(output.stream, output.output) {
                    queue.end();
                }
            }
        }
    }
}
