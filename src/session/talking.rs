// SPDX-License-Identifier: MPL-2.0
//! The stage of a call in which media flows: until one side ends it, or it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::peer::{Peer, PeerError, PeerEvent};
use crate::signalling::SignallingError;
use crate::signalling::message::Message;

use super::Command;
use super::actor::{Call, Turn};
use super::error::CallError;
use super::event::{EndCause, Event};
use super::negotiation::Wish;

/// What was sent may take this long to be acknowledged before we say bye all the same.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_secs(4);
/// After a bye by signalling, media that is still on its way has this long; before the connection
/// is up, our own peer has it to say what is wrong, which explains more than the bye.
const LINGER: Duration = Duration::from_millis(300);

impl Call {
    /// Until the call ends.
    pub(super) async fn talk(&mut self) -> Result<EndCause, CallError> {
        let Some(peer) = self.shared.peer() else {
            return Err(CallError::Peer(PeerError::Closed));
        };
        if std::mem::take(&mut self.offer_due) {
            self.renegotiate(&peer).await;
        }
        if std::mem::take(&mut self.data_due) {
            self.offer_data(&peer).await;
        }
        let mut linger_until: Option<Instant> = None;
        loop {
            if self.finish_asked && self.receiving() {
                return Ok(EndCause::Local);
            }
            if self.finish_asked && self.connected {
                return self.deliver(&peer).await;
            }
            let turn = tokio::select! {
                turn = self.turn(true) => match turn {
                    // Media flows without signalling.
                    Err(CallError::Signalling(error)) if self.connected => {
                        self.tell(Event::Notice(error.to_string())).await;
                        self.give_offer_up("signalling ended before the offer was answered").await;
                        continue;
                    }
                    turn => turn?,
                },
                () = sleep_until(linger_until.unwrap_or_else(Instant::now)),
                    if linger_until.is_some() => {
                    return if self.connected { Ok(EndCause::Remote) } else { Err(hung_up()) };
                }
            };
            if let Some(end) = self.take_turn(&peer, turn, &mut linger_until).await? {
                return Ok(end);
            }
        }
    }

    /// What happens in the call: how it ends, if it does. From `linger_until` on it is over.
    async fn take_turn(
        &mut self,
        peer: &Arc<dyn Peer>,
        turn: Option<Turn>,
        linger_until: &mut Option<Instant>,
    ) -> Result<Option<EndCause>, CallError> {
        match turn {
            Some(Turn::Peer(PeerEvent::Connected)) => {
                self.connected = true;
                let info = peer.transport_info().await;
                self.tell(Event::Connected(info)).await;
            }
            Some(Turn::Peer(PeerEvent::Silent)) => self.restart_ice(peer).await,
            Some(Turn::Peer(PeerEvent::Estimate(estimate))) => {
                self.tell(Event::Estimate(estimate)).await;
            }
            Some(Turn::Peer(PeerEvent::Data)) => self.tell_channels(peer).await,
            Some(Turn::Peer(PeerEvent::KeyFrameRequest(stream))) => {
                if let Some(local) = self.local_of(stream) {
                    self.tell(Event::KeyFrameRequest(local)).await;
                }
            }
            Some(Turn::Peer(PeerEvent::StreamsOver)) => self.tell(Event::StreamsOver).await,
            Some(Turn::Peer(PeerEvent::RemoteClosed { said_bye })) if self.connected => {
                self.streams_over = said_bye;
                // DTLS is closed: nothing can follow it.
                return Ok(Some(EndCause::Remote));
            }
            Some(Turn::Peer(PeerEvent::RemoteClosed { .. })) => {
                linger_until.get_or_insert_with(|| Instant::now() + LINGER);
            }
            Some(Turn::Peer(PeerEvent::Failed(error))) if self.connected => {
                return Err(CallError::Lost(error));
            }
            Some(Turn::Peer(PeerEvent::Failed(error))) => {
                return Err(CallError::NotConnected(error));
            }
            Some(Turn::Message(Message::Bye)) => {
                self.remote_said_bye = true;
                self.streams_over = true;
                linger_until.get_or_insert_with(|| Instant::now() + LINGER);
            }
            Some(Turn::Message(Message::Refuse(refusal))) if self.restarting => {
                log::debug!(target: "rswebrtc::session", "no ICE restart: {}", refusal.reason);
                let silent = "the remote stopped answering".to_owned();
                return Err(CallError::Lost(PeerError::Ice(silent)));
            }
            Some(Turn::Message(Message::Refuse(refusal))) => {
                self.tell(Event::Notice(refusal.reason)).await;
            }
            Some(Turn::Message(Message::Candidate(c))) => self.apply_candidate(peer, c).await,
            Some(Turn::Message(Message::Description(d))) => self.hear(peer, d).await,
            Some(Turn::Command(Command::Wish(wish))) => {
                self.wish = wish;
                self.renegotiate(peer).await;
            }
            Some(Turn::Command(Command::Data)) => self.offer_data(peer).await,
            Some(Turn::Command(Command::Finish)) => self.finish_asked = true,
            None => return Ok(Some(EndCause::Remote)),
        }
        Ok(None)
    }

    /// Waits until the remote has everything, unless it goes first.
    async fn deliver(&mut self, peer: &Arc<dyn Peer>) -> Result<EndCause, CallError> {
        let drained = timeout(DRAIN_LIMIT, peer.drained());
        tokio::pin!(drained);
        loop {
            tokio::select! {
                result = &mut drained => {
                    if result.is_err() {
                        log::warn!(
                            target: "rswebrtc::session",
                            "the remote did not acknowledge the last packets within {DRAIN_LIMIT:?}"
                        );
                    }
                    return Ok(EndCause::Local);
                }
                turn = self.turn(true) => match turn {
                    // What is left to deliver needs no signalling.
                    Err(error) => self.tell(Event::Notice(error.to_string())).await,
                    Ok(Some(Turn::Peer(PeerEvent::RemoteClosed { .. })) | None) => {
                        return Ok(EndCause::Remote);
                    }
                    Ok(Some(Turn::Message(Message::Bye))) => {
                        self.remote_said_bye = true;
                        return Ok(EndCause::Remote);
                    }
                    Ok(Some(Turn::Peer(PeerEvent::Failed(error)))) => {
                        return Err(CallError::Lost(error));
                    }
                    Ok(Some(Turn::Peer(PeerEvent::Data))) => self.tell_channels(peer).await,
                    Ok(Some(_)) => {}
                }
            }
        }
    }

    fn local_of(&self, stream: usize) -> Option<usize> {
        let agreed = &self.agreement.agreed;
        let mut sent = agreed.iter().filter(|a| a.direction.sends());
        sent.find(|a| a.stream == stream).map(|a| a.local)
    }

    /// A receiver has nothing to deliver: it ends when asked. A call of both directions has
    /// delivered by then.
    pub(super) fn receiving(&self) -> bool {
        !matches!(self.wish, Wish::Send(_))
    }
}

fn hung_up() -> CallError {
    SignallingError::Closed(
        "the other side hung up before the connection was up: it may have refused the \
         description, found no way to connect, or was stopped. See what it said, and start both \
         sides anew"
            .to_owned(),
    )
    .into()
}
