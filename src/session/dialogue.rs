// SPDX-License-Identifier: MPL-2.0
//! Offers and answers of one call, the first and all later ones (RFC 8829 section 4.1, 5.2 to 5.5).

use std::sync::Arc;

use crate::media::queue::InboundQueue;
use crate::peer::{Direction, Peer};
use crate::sdp::Remote;
use crate::signalling::Role;
use crate::signalling::message::{Description, DescriptionType, Message, Refusal, RefusalKind};

use super::actor::{Call, refused};
use super::error::CallError;
use super::event::Event;
use super::negotiation::{self, AgreedStream, Agreement};

const NO_OFFER: &str = "this side answers, and the signalling in use carries no offer of its own: \
                        the other side has to make a new one, or set role=offer here";

impl Call {
    /// Offers what is wished for now.
    pub(super) async fn make_offer(&mut self, peer: &Arc<dyn Peer>) -> Result<(), CallError> {
        let mut offered = negotiation::offer(&self.wish, &self.agreement);
        negotiation::protection::offer(self.fec, &mut offered);
        let sdp = peer
            .create_offer(offered.streams.clone())
            .await
            .map_err(CallError::Peer)?;
        self.offering = Some(offered);
        self.say(DescriptionType::Offer, sdp).await;
        Ok(())
    }

    /// Takes up the answer to our offer.
    pub(super) async fn take_answer(
        &mut self,
        peer: &Arc<dyn Peer>,
        text: String,
    ) -> Result<(), CallError> {
        let answer = Remote::read(&text).map_err(|e| CallError::description("answer", &e))?;
        let offered = self.offering.as_ref().unwrap_or(&self.agreement);
        let read = negotiation::read_answer(&self.wish, offered, &answer);
        let mut agreement =
            read.or_else(|error| negotiation::data::read_answer(offered, &answer).ok_or(error))?;
        negotiation::protection::read_answer(self.fec, &answer, &mut agreement);
        // Media may come with the first packet that ICE lets through: its way is ready by then.
        let streams = agreement.streams.clone();
        let applied = peer.set_answer(text, streams).await;
        applied.map_err(|e| refused("answer", e))?;
        self.offering = None;
        self.publish(agreement, peer).await;
        Ok(())
    }

    /// What to answer to `offer`.
    pub(super) fn plan_answer(&self, offer: &Remote) -> Result<Agreement, CallError> {
        let plan = negotiation::answer(&self.wish, offer, &self.agreement);
        let mut plan =
            plan.or_else(|error| negotiation::data::answer(&self.wish, offer).ok_or(error))?;
        negotiation::protection::answer(self.fec, offer, &mut plan);
        Ok(plan)
    }

    /// Applies an offer; gives our answer.
    pub(super) async fn give_answer(
        &mut self,
        peer: &Arc<dyn Peer>,
        offer: String,
        plan: Agreement,
    ) -> Result<String, CallError> {
        let sdp = peer
            .answer(offer, plan.streams.clone())
            .await
            .map_err(|e| refused("offer", e))?;
        self.publish(plan, peer).await;
        Ok(sdp)
    }

    /// Makes `agreement` what holds, and tells.
    async fn publish(&mut self, agreement: Agreement, peer: &Arc<dyn Peer>) {
        let mut told = Vec::with_capacity(agreement.agreed.len());
        for stream in &agreement.agreed {
            if stream.direction != Direction::RecvOnly {
                peer.set_send_codec(stream.stream, stream.codec.clone());
                told.push((stream.clone(), None));
                continue;
            }
            for stream in stream.outputs() {
                let queue = peer.inbound_of(stream.stream, stream.output);
                if let Some(queue) = &queue {
                    // It ends with the call, and not before the call's end was told.
                    queue.keep(true);
                }
                told.push((stream, queue));
            }
        }
        self.end_what_does_not_go_on(&told);
        self.shared.set_agreed(agreement.agreed.clone());
        let left_out = agreement.left_out.clone();
        let former = std::mem::replace(&mut self.agreement, agreement).locals;
        for (local, reason) in left_out {
            // An offer of ours that gave way to the remote's comes next, with what it added.
            let known = former.contains(&Some(local));
            let has_place = self.agreement.locals.contains(&Some(local));
            if self.offer_due && self.may_offer && !known && !has_place {
                continue;
            }
            self.told_left_out.push(local);
            self.tell(Event::LeftOut(local, reason)).await;
        }
        self.tell(Event::Agreed(told)).await;
    }

    /// Streams of a former connection that this one does not carry are over.
    fn end_what_does_not_go_on(&self, told: &[(AgreedStream, Option<Arc<InboundQueue>>)]) {
        for (_, queue) in &self.template.queues {
            let mut now = told.iter().filter_map(|(_, queue)| queue.as_ref());
            if !now.any(|now| Arc::ptr_eq(now, queue)) {
                queue.end();
            }
        }
    }

    /// What this side wishes has changed during the call.
    pub(super) async fn renegotiate(&mut self, peer: &Arc<dyn Peer>) {
        if self.offering.is_some() {
            // One offer at a time; the next one when this is answered.
            self.offer_due = true;
            return;
        }
        if let Some(settled) = negotiation::settle(&self.wish, &self.agreement) {
            if settled.locals != self.agreement.locals {
                self.publish(settled, peer).await;
            }
            return;
        }
        if !self.may_offer {
            return self.tell_left_out().await;
        }
        if let Err(error) = self.make_offer(peer).await {
            self.tell(Event::Notice(format!(
                "no new offer could be made: {error}"
            )))
            .await;
        }
    }

    /// Nothing comes any more: another path may be there. If not, the peer tells soon.
    pub(super) async fn restart_ice(&mut self, peer: &Arc<dyn Peer>) {
        if !self.wire.restarts_ice || self.restarting || self.offering.is_some() {
            return;
        }
        match peer.restart_ice().await {
            Ok(sdp) => {
                self.restarting = true;
                self.say(DescriptionType::Offer, sdp).await;
            }
            Err(error) => {
                log::debug!(target: "rswebrtc::session", "no ICE restart: {error}");
            }
        }
    }

    /// The answer to an offer that changed nothing but the path.
    async fn take_restart(&mut self, peer: &Arc<dyn Peer>, text: String) -> Result<(), CallError> {
        self.restarting = false;
        let streams = self.agreement.streams.clone();
        let applied = peer.set_answer(text, streams).await;
        applied.map_err(|e| refused("answer", e))
    }

    /// A description that came during the call. Nothing in it ends the call: what held before
    /// still does.
    pub(super) async fn hear(&mut self, peer: &Arc<dyn Peer>, description: Description) {
        let kind = description.kind;
        let result = match kind {
            DescriptionType::Answer if self.restarting => {
                let taken = self.take_restart(peer, description.sdp).await;
                taken.map_err(|error| error.to_string())
            }
            DescriptionType::Answer if self.offering.is_none() => {
                Err("there is no offer of ours that it could answer".to_owned())
            }
            DescriptionType::Answer => {
                let taken = self.take_answer(peer, description.sdp).await;
                let error = taken.err().map(|error| error.to_string());
                if let Some(error) = &error {
                    self.give_offer_up(error).await;
                }
                error.map_or(Ok(()), Err)
            }
            // Both at once: the side that offered the call has its way (RFC 8829 section 4.1.10.2).
            DescriptionType::Offer if self.offering.is_some() && self.role == Role::Offerer => {
                Err("an offer of ours came first and waits for its answer".to_owned())
            }
            DescriptionType::Offer => {
                self.offer_due |= self.offering.take().is_some();
                self.answer_again(peer, description.sdp)
                    .await
                    .map_err(|error| error.to_string())
            }
        };
        if let Err(reason) = result {
            if kind == DescriptionType::Offer && self.wire.takes_refusals {
                let refusal = Refusal {
                    kind: RefusalKind::NothingInCommon,
                    reason: reason.clone(),
                };
                self.wire.say(Message::Refuse(refusal)).await;
            }
            self.tell(Event::Notice(format!(
                "another {kind} came during the call and was passed over: {reason}"
            )))
            .await;
        }
        if self.offering.is_none() && std::mem::take(&mut self.offer_due) {
            self.renegotiate(peer).await;
        }
    }

    /// Our offer comes to nothing: what it would have added is not sent.
    pub(super) async fn give_offer_up(&mut self, why: &str) {
        let Some(offered) = self.offering.take() else {
            return;
        };
        let held = &self.agreement.locals;
        let mut added = offered.locals.into_iter().flatten().collect::<Vec<_>>();
        added.retain(|local| !held.contains(&Some(*local)));
        for local in added {
            self.tell(Event::LeftOut(local, why.to_owned())).await;
        }
        if !self.offer_due {
            self.refuse_channels(why).await;
        }
    }

    async fn answer_again(&mut self, peer: &Arc<dyn Peer>, text: String) -> Result<(), CallError> {
        let offer = Remote::read(&text).map_err(|e| CallError::description("offer", &e))?;
        let plan = self.plan_answer(&offer)?;
        let sdp = self.give_answer(peer, text, plan).await?;
        self.say(DescriptionType::Answer, sdp).await;
        Ok(())
    }

    /// This side cannot offer: says what is not sent, and that nothing is received.
    async fn tell_left_out(&mut self) {
        let receives = |stream: &AgreedStream| stream.direction.receives();
        if self.wish.receiving().is_some() && !self.agreement.agreed.iter().any(receives) {
            self.tell(Event::Notice(format!("nothing is received: {NO_OFFER}")))
                .await;
        }
        let carried = |local: &usize| self.agreement.locals.contains(&Some(*local));
        let left_out: Vec<usize> = self
            .wish
            .streams()
            .iter()
            .enumerate()
            .filter(|(local, sending)| !sending.removed && !carried(local))
            .map(|(local, _)| local)
            .filter(|local| !self.told_left_out.contains(local))
            .collect();
        self.told_left_out.extend(&left_out);
        for local in left_out {
            self.tell(Event::LeftOut(local, NO_OFFER.to_owned())).await;
        }
    }
}
