// SPDX-License-Identifier: MPL-2.0
//! The actor of one call.
//!
//! It goes through four stages in order: wait for the wish, agree, talk, end. Whatever happens in
//! any of them, it says bye where that is due, closes the peer and the signaller, ends the queues
//! and sets `done`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::media::fec::Wanted;
use crate::peer::{Peer, PeerConfig, PeerError, PeerEvent, PeerFactory};
use crate::sdp::Remote;
use crate::signalling::message::{Candidate, Description, DescriptionType, Message};
use crate::signalling::{Notice, Role, SignallingError};

use super::error::CallError;
use super::event::{EndCause, Event};
use super::negotiation::{Agreement, Wish};
use super::reconnect::Reconnect;
use super::wire::Wire;
use super::{Command, SessionConfig, Shared};

pub(super) async fn run(
    config: SessionConfig,
    factory: Arc<dyn PeerFactory>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) {
    tokio::select! {
        () = shared.begun.notified() => {}
        () = shared.cancel.cancelled() => {
            shared.done.set();
            return;
        }
    }
    let wire = Wire::connect(config.signaller, config.role);
    let mut call = Call {
        role: config.role,
        may_offer: config.role == Role::Offerer || wire.either_side_offers,
        template: PeerConfig {
            addresses: config.addresses,
            ice_servers: config.ice_servers,
            patience: config.options.patience,
            start_at_key_frame: config.options.start_at_key_frame,
            // A call that begins with a key frame is one of many with the same stream.
            inline: !config.options.start_at_key_frame,
            queues: Vec::new(),
            bitrate: config.options.bitrate,
        },
        wish_patience: config.options.wish_patience,
        fec: config.options.fec,
        offers_data: config.options.offers_data,
        reconnect: config.options.reconnect,
        factory,
        shared: shared.clone(),
        commands,
        events,
        wire,
        peer_events: None,
        candidates: Vec::new(),
        spoken: false,
        heard: false,
        remote_said_bye: false,
        streams_over: false,
        connected: false,
        finish_asked: false,
        wish: Wish::Send(Vec::new()),
        agreement: Agreement::default(),
        offering: None,
        offer_due: false,
        data_due: false,
        restarting: false,
        told_left_out: Vec::new(),
    };
    let outcome = tokio::select! {
        biased;
        () = shared.cancel.cancelled() => Ok(EndCause::Local),
        outcome = call.make() => outcome,
    };
    call.end(outcome).await;
    shared.end_channels();
    shared.done.set();
}

pub(super) struct Call {
    pub(super) role: Role,
    pub(super) template: PeerConfig,
    factory: Arc<dyn PeerFactory>,
    pub(super) shared: Arc<Shared>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) wire: Wire,
    wish_patience: Option<Duration>,
    /// How video is protected, if the remote takes it.
    pub(super) fec: Option<Wanted>,
    /// Data channels are offered, though this side opens none.
    pub(super) offers_data: bool,
    pub(super) reconnect: Option<Reconnect>,
    pub(super) peer_events: Option<mpsc::Receiver<PeerEvent>>,
    /// Candidates that came before the description they belong to.
    pub(super) candidates: Vec<Candidate>,
    /// A description of ours was handed out: the remote is owed a bye.
    pub(super) spoken: bool,
    /// A description of the remote came: it waits for ours, or for a bye.
    pub(super) heard: bool,
    pub(super) remote_said_bye: bool,
    /// It said so of every stream that it sends.
    pub(super) streams_over: bool,
    /// Media flows, or did before it was lost.
    pub(super) connected: bool,
    pub(super) finish_asked: bool,
    pub(super) wish: Wish,
    /// What holds.
    pub(super) agreement: Agreement,
    /// Our offer that waits for its answer, and whether it is out of date already.
    pub(super) offering: Option<Agreement>,
    pub(super) offer_due: bool,
    /// A data channel was added while a description was awaited.
    pub(super) data_due: bool,
    /// An offer with new ICE credentials waits for its answer.
    pub(super) restarting: bool,
    /// Streams that the user knows are not sent.
    pub(super) told_left_out: Vec<usize>,
    /// Signalling can carry an offer of ours, now or later.
    pub(super) may_offer: bool,
}

/// What one turn of waiting brought.
pub(super) enum Turn {
    Command(Command),
    Message(Message),
    Peer(PeerEvent),
}

impl Call {
    /// One connection, from the offer to its end.
    pub(super) async fn attempt(&mut self) -> Result<EndCause, CallError> {
        let agreed = match self.role {
            Role::Offerer => self.offer().await?,
            Role::Answerer => self.answer().await?,
        };
        if !agreed {
            if self.remote_said_bye {
                return Err(SignallingError::Closed(
                    "the other side said bye before the call began; start both sides anew"
                        .to_owned(),
                )
                .into());
            }
            return Ok(EndCause::Local);
        }
        self.talk().await
    }

    pub(super) async fn wish(&mut self) -> Result<Option<Wish>, CallError> {
        let until = self.wish_patience.map(|patience| Instant::now() + patience);
        loop {
            let turn = tokio::select! {
                // Descriptions that come early wait in their channel.
                turn = self.turn(false) => turn?,
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    self.heard = true;
                    return Err(CallError::NotReady);
                }
            };
            match turn {
                Some(Turn::Command(Command::Wish(wish))) => return Ok(Some(wish)),
                Some(Turn::Command(Command::Finish)) | None => return Ok(None),
                Some(_) => {}
            }
        }
    }

    /// The first offer and its answer; `false` after a bye.
    async fn offer(&mut self) -> Result<bool, CallError> {
        let peer = self.create_peer().await?;
        self.make_offer(&peer).await?;
        let Some(description) = self.description().await? else {
            return Ok(false);
        };
        if description.kind == DescriptionType::Offer {
            // A counter-offer (draft-ietf-wish-whep section 4.2): ours comes to nothing.
            self.offering = None;
            peer.close().await;
            return self.answer_to(description.sdp).await;
        }
        self.take_answer(&peer, description.sdp).await?;
        self.apply_candidates(&peer).await;
        Ok(true)
    }

    /// The first answer; `false` after a bye.
    async fn answer(&mut self) -> Result<bool, CallError> {
        match self.description().await? {
            Some(description) => self.answer_to(description.sdp).await,
            None => Ok(false),
        }
    }

    async fn answer_to(&mut self, text: String) -> Result<bool, CallError> {
        let offer = Remote::read(&text).map_err(|e| CallError::description("offer", &e))?;
        // The answer takes up what was wished for meanwhile.
        self.offer_due = false;
        let plan = self.plan_answer(&offer)?;
        let peer = self.create_peer().await?;
        let sdp = self.give_answer(&peer, text, plan).await?;
        self.apply_candidates(&peer).await;
        self.say(DescriptionType::Answer, sdp).await;
        Ok(true)
    }

    async fn create_peer(&mut self) -> Result<Arc<dyn Peer>, CallError> {
        let config = self.template.clone();
        let (peer, events) = self.factory.create(config).await.map_err(|e| match e {
            PeerError::Socket(_) => CallError::Address(e.to_string()),
            e => CallError::Peer(e),
        })?;
        self.peer_events = Some(events);
        self.prepare_data(&peer);
        self.shared.set_peer(peer.clone());
        Ok(peer)
    }

    pub(super) async fn say(&mut self, kind: DescriptionType, sdp: String) {
        self.spoken = true;
        let description = Description { kind, sdp };
        self.wire.say(Message::Description(description)).await;
    }

    /// The remote's description; `None` after a bye.
    async fn description(&mut self) -> Result<Option<Description>, CallError> {
        loop {
            match self.turn(true).await? {
                Some(Turn::Message(Message::Description(d))) => {
                    self.heard = true;
                    return Ok(Some(d));
                }
                Some(Turn::Message(Message::Candidate(c))) => {
                    // Bounded: no description has thousands of candidates.
                    if self.candidates.len() < 256 {
                        self.candidates.push(c);
                    }
                }
                Some(Turn::Message(Message::Bye)) => {
                    self.remote_said_bye = true;
                    return Ok(None);
                }
                Some(Turn::Peer(PeerEvent::Failed(error))) => {
                    return Err(CallError::NotConnected(error));
                }
                Some(Turn::Command(Command::Finish)) if self.receiving() => return Ok(None),
                Some(Turn::Command(Command::Finish)) => self.finish_asked = true,
                // Offered once this is settled.
                Some(Turn::Command(Command::Wish(wish))) => {
                    self.wish = wish;
                    self.offer_due = true;
                }
                Some(Turn::Command(Command::Data)) => self.data_due = true,
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    async fn apply_candidates(&mut self, peer: &Arc<dyn Peer>) {
        for candidate in std::mem::take(&mut self.candidates) {
            self.apply_candidate(peer, candidate).await;
        }
    }

    pub(super) async fn apply_candidate(&mut self, peer: &Arc<dyn Peer>, candidate: Candidate) {
        let Candidate {
            candidate,
            mid,
            mline_index,
        } = candidate;
        if let Err(error) = peer.add_candidate(candidate, mid, mline_index).await {
            self.tell(Event::Notice(format!(
                "a candidate of the remote was passed over: {error}"
            )))
            .await;
        }
    }

    /// Waits for the next thing to happen. `None`: the element is gone. Messages of the remote
    /// are left alone unless `read_messages`.
    pub(super) async fn turn(&mut self, read_messages: bool) -> Result<Option<Turn>, CallError> {
        loop {
            let peer_event = async {
                match &mut self.peer_events {
                    Some(events) => events.recv().await,
                    None => std::future::pending().await,
                }
            };
            let signalling_end = async {
                match &mut self.wire.task {
                    Some(task) => task.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(notice) = self.wire.notices.recv() => {
                    let Notice(text) = notice;
                    // overflow: awaited; the element takes events on a thread of its own.
                    let _ = self.events.send(Event::Notice(text)).await;
                }
                Some(message) = self.wire.incoming.recv(), if read_messages => {
                    return Ok(Some(Turn::Message(message)));
                }
                command = self.commands.recv() => return Ok(command.map(Turn::Command)),
                Some(event) = peer_event => return Ok(Some(Turn::Peer(event))),
                ended = signalling_end, if read_messages => {
                    self.wire.task = None;
                    match ended {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Err(error.into()),
                        Err(error) => {
                            return Err(SignallingError::Closed(format!(
                                "signalling broke off: {error}"
                            )).into());
                        }
                    }
                }
            }
        }
    }

    pub(super) async fn tell(&self, event: Event) {
        // overflow: awaited; the element takes events on a thread of its own. An error means
        // that the element is gone.
        let _ = self.events.send(event).await;
    }
}

pub(super) fn refused(kind: &'static str, error: PeerError) -> CallError {
    match error {
        PeerError::Description(reason) => CallError::BadDescription { kind, reason },
        error => CallError::Peer(error),
    }
}
