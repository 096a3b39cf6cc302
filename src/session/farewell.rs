// SPDX-License-Identifier: MPL-2.0
//! The end of a call, however it came: bye where it is due, everything freed, the cause told.

use std::time::Duration;

use tokio::time::timeout;

use crate::signalling::message::Message;

use super::actor::Call;
use super::error::CallError;
use super::event::{EndCause, Event};

/// Signalling has this long to say bye.
const FAREWELL_LIMIT: Duration = Duration::from_millis(300);

impl Call {
    /// Says bye, frees everything, tells how it ended.
    pub(super) async fn end(mut self, outcome: Result<EndCause, CallError>) {
        if (self.spoken || self.heard)
            && !self.remote_said_bye
            && let Some(outgoing) = &self.outgoing
        {
            // overflow: nudge: a full channel means that nobody reads it any more.
            let _ = outgoing.try_send(Message::Bye);
        }
        self.outgoing = None;
        if let Some(peer) = self.shared.peer.get() {
            peer.close().await;
        }
        let event = match outcome {
            Ok(cause) => Event::Ended(cause),
            Err(error) => Event::Failed(error),
        };
        // overflow: nudge: room is plenty unless the element stopped reading, then it is stopping.
        let _ = self.events.try_send(event);
        self.end_signalling().await;
        // The element ends its streams when it gets the event, after it has said why; this is for
        // the one that does not.
        if let Some(peer) = self.shared.peer.get() {
            for queue in self
                .shared
                .agreed()
                .iter()
                .filter_map(|a| peer.inbound(a.stream))
            {
                queue.end();
            }
        }
    }

    async fn end_signalling(&mut self) {
        if let Some(mut signalling) = self.signalling.take() {
            // Drained meanwhile, so that a signaller that waits for room can end.
            let farewell = async {
                loop {
                    tokio::select! {
                        _ = &mut signalling => return,
                        Some(_) = self.incoming.recv() => {}
                        Some(_) = self.notices.recv() => {}
                    }
                }
            };
            if timeout(FAREWELL_LIMIT, farewell).await.is_err() {
                self.signalling_cancel.cancel();
                if timeout(FAREWELL_LIMIT, &mut signalling).await.is_err() {
                    signalling.abort();
                }
            }
        }
    }
}
