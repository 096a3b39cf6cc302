// SPDX-License-Identifier: MPL-2.0
//! The task of a shared call: begins it, tells it what its legs want, and each leg what happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::media::queue::InboundQueue;
use crate::session::error::CallError;
use crate::session::event::{EndCause, Event};
use crate::session::farewell;
use crate::session::negotiation::{AgreedStream, TwoWay, Wish};
use crate::session::{DRAIN_LIMIT, Session};
use crate::signalling::SignallingError;

use super::{Finish, LegState, Room, Side, State};

/// The first leg waits so long for one that was made and is not in PLAYING yet.
const PARTNER_LIMIT: Duration = Duration::from_secs(5);
/// Then so long until it is known what is sent: an offer or answer that says it is better than one
/// that keeps m-lines for it.
const CODEC_LIMIT: Duration = Duration::from_secs(1);
/// When all is sent, and nothing came for so long, the call is over: who has nothing to send any
/// more need not say so.
const SILENCE: Duration = Duration::from_secs(10);
/// Between two looks at what came.
const LOOK: Duration = Duration::from_millis(500);

/// RTCP BYE waits so long after the last packet arrived: a remote may drop what it has not played
/// yet when it comes.
const PLAYED: Duration = Duration::from_secs(1);

type Agreed = Vec<(AgreedStream, Option<Arc<InboundQueue>>)>;

/// Runs until the call is over or nobody is left.
pub(super) async fn run(room: Arc<Room>) {
    if !ready(&room).await {
        return;
    }
    let configured = {
        let mut state = room.lock();
        let legs = || state.legs.iter();
        let sender = legs().find(|leg| leg.side == Side::Sends);
        let Some(leg) = sender.or(legs().next()) else {
            return;
        };
        let configured = (leg.configure)(&state.terms, &room.mailbox);
        state.changed = true;
        state.over |= configured.is_err();
        configured
    };
    let mut events = match configured {
        Ok(config) => {
            let (session, events) = Session::start(config, room.factory.clone(), &room.handle);
            // Set once, here.
            let _ = room.session.set(session);
            events
        }
        Err(text) => {
            let error = CallError::from(SignallingError::Settings(text));
            return Call::new(&room).failed(error).await;
        }
    };
    let Some(session) = room.session.get() else {
        return;
    };
    let mut call = Call::new(&room);
    call.take_changes(session).await;
    session.begin();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => if call.happened(event).await {
                    // Until then the session holds the streams open.
                    return call.heard().await;
                },
                None => return,
            },
            () = room.changed.notified() => {
                if room.lock().legs.is_empty() {
                    // Nobody hears its end; it is ended by who left last.
                    session.cut();
                    return;
                }
                call.take_changes(session).await;
            }
        }
    }
}

/// Waits until the call may begin; `false`: nobody is left.
async fn ready(room: &Room) -> bool {
    let mut first_begun: Option<Instant> = None;
    let mut all_begun: Option<Instant> = None;
    loop {
        let due = {
            let state = room.lock();
            if state.legs.is_empty() {
                return false;
            }
            let now = Instant::now();
            let begun = state.legs.iter().filter(|leg| leg.begun).count();
            if begun == 0 {
                None
            } else {
                let first = *first_begun.get_or_insert(now);
                let together = begun == state.legs.len() || now >= first + PARTNER_LIMIT;
                if !together {
                    Some(first + PARTNER_LIMIT)
                } else {
                    let all = *all_begun.get_or_insert(now);
                    match state.is_known(now >= all + CODEC_LIMIT) {
                        true => return true,
                        false if now < all + CODEC_LIMIT => Some(all + CODEC_LIMIT),
                        false => None,
                    }
                }
            }
        };
        tokio::select! {
            () = room.changed.notified() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

impl State {
    /// Whether there is something to begin with; `late`: all that will be known in time is.
    fn is_known(&self, late: bool) -> bool {
        let mut begun = self.legs.iter().filter(|leg| leg.begun);
        let sender = begun.clone().find(|leg| leg.side == Side::Sends);
        match sender {
            Some(sender) if !sender.known => late && begun.any(|leg| leg.side == Side::Receives),
            _ => true,
        }
    }

    /// What all legs want together.
    fn wish(&self) -> Wish {
        let begun = || self.legs.iter().filter(|leg| leg.begun);
        let unknown = begun().flat_map(|leg| leg.unknown.clone()).collect();
        Wish::Both(TwoWay {
            streams: self.streams.clone(),
            unknown,
            receiving: begun().find_map(|leg| leg.receiving.clone()),
        })
    }
}

/// The call as its task sees it.
struct Call<'a> {
    room: &'a Arc<Room>,
    /// What was last agreed.
    agreed: Agreed,
}

impl<'a> Call<'a> {
    fn new(room: &'a Arc<Room>) -> Self {
        Self {
            room,
            agreed: Vec::new(),
        }
    }

    /// Legs came, left, or want something else.
    async fn take_changes(&mut self, session: &Session) {
        let (wish, deliver, over) = {
            let mut guard = self.room.lock();
            let state = &mut *guard;
            // A pipeline that stops takes all its elements out of PLAYING first: that one of
            // them leaves then is not worth an offer.
            let stopping = state.legs.iter().all(|leg| !leg.playing);
            let changed = state.changed && !stopping;
            state.changed &= stopping;
            let mut deliver = None;
            for leg in &mut state.legs {
                if leg.finish == Finish::Asked {
                    leg.finish = match leg.side {
                        Side::Sends => Finish::Delivering,
                        Side::Receives => Finish::Done,
                    };
                    match leg.side {
                        Side::Sends => deliver = Some(leg.number),
                        Side::Receives => leg.done.set(),
                    }
                }
            }
            let over = state.legs.iter().all(|leg| leg.finish == Finish::Done);
            (changed.then(|| state.wish()), deliver, over)
        };
        if let Some(wish) = wish {
            if let Some(receiving) = wish.receiving() {
                session.set_layer(receiving.layers.clone());
            }
            session.set_wish(wish);
        }
        if let Some(number) = deliver {
            self.room
                .handle
                .spawn(deliver_all(self.room.clone(), number));
        }
        if over {
            session.finish();
        }
        self.tell_newcomers(true).await;
    }

    /// Passes an event on; `true`: it was the last.
    async fn happened(&mut self, event: Event) -> bool {
        match event {
            Event::Notice(_) => self.tell_first(event).await,
            Event::LeftOut(local, reason) => {
                let told = |base| Event::LeftOut(local - base, reason);
                self.tell_sender(local, told).await;
            }
            Event::KeyFrameRequest(local) => {
                self.tell_sender(local, |base| Event::KeyFrameRequest(local - base))
                    .await;
            }
            Event::Estimate(_) => self.tell(Side::Sends, event).await,
            // Only the remote opens any in a shared call, and only who receives has pads for them.
            Event::Channel(_) => self.tell(Side::Receives, event).await,
            Event::Agreed(agreed) => {
                self.agreed = agreed;
                for side in [Side::Sends, Side::Receives] {
                    if self.room.lock().is_told(side) {
                        let part = self.part(side);
                        self.tell(side, Event::Agreed(part)).await;
                    }
                }
                self.tell_newcomers(true).await;
            }
            Event::Connected(info) => {
                self.room.lock().up = Some(info.clone());
                for side in [Side::Sends, Side::Receives] {
                    if self.room.lock().is_told(side) {
                        self.tell(side, Event::Connected(info.clone())).await;
                    }
                }
                self.tell_newcomers(false).await;
            }
            Event::Interrupted {
                cause,
                delay,
                tries,
            } => {
                self.room.lock().up = None;
                for side in [Side::Sends, Side::Receives] {
                    let cause = cause.clone();
                    self.tell(
                        side,
                        Event::Interrupted {
                            cause,
                            delay,
                            tries,
                        },
                    )
                    .await;
                }
            }
            Event::StreamsOver => self.streams_over(),
            Event::Ended(cause) => {
                self.ended(cause).await;
                return true;
            }
            Event::Failed(error) => {
                self.failed(error).await;
                return true;
            }
        }
        false
    }

    /// The streams of one direction, as a leg of `side` knows them.
    fn part(&self, side: Side) -> Agreed {
        let base = self.room.lock().leg(side).map_or(0, |leg| leg.base);
        let sends = side == Side::Sends;
        let own = self.agreed.iter().filter(|(stream, _)| {
            stream.direction.sends() == sends && (!sends || stream.local >= base)
        });
        own.cloned()
            .map(|(mut stream, queue)| {
                if sends {
                    stream.local -= base;
                }
                (stream, queue)
            })
            .collect()
    }

    /// Legs that do not know yet what was agreed hear it once something of it is theirs; then, that
    /// the call is up. `late`: the call was up before.
    async fn tell_newcomers(&mut self, late: bool) {
        for side in [Side::Sends, Side::Receives] {
            let wants = {
                let state = self.room.lock();
                let new = state.leg(side).is_some_and(|leg| leg.begun && !leg.told);
                // One that sends only what it does not know yet is told of the call all the same.
                let kept = new
                    && state
                        .leg(side)
                        .is_some_and(|leg| !leg.known && !leg.unknown.is_empty());
                (new && state.up.is_some()).then_some(kept)
            };
            let Some(kept) = wants else {
                continue;
            };
            let part = self.part(side);
            if part.is_empty() && !kept {
                continue;
            }
            if late {
                // What came while nobody read is old.
                let queues = part.iter().filter_map(|(_, queue)| queue.as_ref());
                queues.for_each(|queue| queue.clear());
            }
            let info = {
                let mut state = self.room.lock();
                if let Some(leg) = state.legs.iter_mut().find(|leg| leg.side == side) {
                    leg.told = true;
                }
                state.up.clone()
            };
            self.tell(side, Event::Agreed(part)).await;
            if let Some(info) = info {
                self.tell(side, Event::Connected(info)).await;
            }
        }
    }

    async fn tell(&self, side: Side, event: Event) {
        let events = self.room.lock().leg(side).map(|leg| leg.events.clone());
        if let Some(events) = events {
            // overflow: awaited; the element takes events on a thread of its own. An error means
            // that it is gone.
            let _ = events.send(event).await;
        }
    }

    /// To the leg whose stream `local` is, if it is still there.
    async fn tell_sender(&self, local: usize, event: impl FnOnce(usize) -> Event) {
        let base = self.room.lock().leg(Side::Sends).map(|leg| leg.base);
        if let Some(base) = base.filter(|base| local >= *base) {
            self.tell(Side::Sends, event(base)).await;
        }
    }

    /// Once, whoever is there.
    async fn tell_first(&self, event: Event) {
        let side = match self.room.lock().leg(Side::Sends) {
            Some(_) => Side::Sends,
            None => Side::Receives,
        };
        self.tell(side, event).await;
    }

    /// The remote sends nothing more: what receives is done.
    fn streams_over(&self) {
        for queue in self.agreed.iter().filter_map(|(_, queue)| queue.as_ref()) {
            queue.end();
        }
        let mut state = self.room.lock();
        let receives = |leg: &&mut LegState| leg.side == Side::Receives;
        if let Some(leg) = state.legs.iter_mut().find(receives) {
            leg.finish = Finish::Done;
            leg.done.set();
        }
        drop(state);
        self.room.changed.notify_one();
    }

    async fn ended(&self, cause: EndCause) {
        self.room.lock().over = true;
        for side in [Side::Sends, Side::Receives] {
            self.tell(side, Event::Ended(cause)).await;
        }
        self.set_done();
    }

    /// A call that was up and is lost: what came is kept if the leg that received it says so with
    /// a warning, and nobody with an error, which would stop the pipeline before its EOS.
    async fn failed(&self, error: CallError) {
        let recorded = {
            let mut state = self.room.lock();
            state.over = true;
            let leg = state.leg(Side::Receives);
            state.up.is_some() && leg.is_some_and(|leg| leg.told)
        };
        let of_sender = if recorded {
            Event::Ended(EndCause::Remote)
        } else {
            Event::Failed(error.clone())
        };
        self.tell(Side::Sends, of_sender).await;
        self.tell(Side::Receives, Event::Failed(error)).await;
        self.set_done();
    }

    /// The legs have acted on their last events, or have left.
    async fn heard(&self) {
        let legs: Vec<_> = {
            let state = self.room.lock();
            state.legs.iter().map(|leg| leg.events.clone()).collect()
        };
        let left = async {
            while !self.room.lock().legs.is_empty() {
                self.room.changed.notified().await;
            }
        };
        tokio::select! {
            () = farewell::heard(&legs) => {}
            () = left => {}
        }
    }

    fn set_done(&self) {
        let state = self.room.lock();
        state.legs.iter().for_each(|leg| leg.done.set());
    }
}

impl State {
    fn leg(&self, side: Side) -> Option<&LegState> {
        self.legs.iter().find(|leg| leg.side == side)
    }

    fn is_told(&self, side: Side) -> bool {
        self.leg(side).is_some_and(|leg| leg.told)
    }
}

/// Delivers what leg `number` sent; then waits for the remote to be done, too.
async fn deliver_all(room: Arc<Room>, number: u64) {
    let Some(session) = room.session.get() else {
        return;
    };
    if session.delivered(DRAIN_LIMIT).await {
        tokio::select! {
            () = session.done() => return,
            () = sleep(PLAYED) => {}
        }
    } else {
        log::warn!(
            target: "rswebrtc::session",
            "the remote did not acknowledge the last packets within {DRAIN_LIMIT:?}"
        );
    }
    let (events, own) = {
        let mut guard = room.lock();
        let state = &mut *guard;
        // Another may have come in its place, whose streams go on.
        let Some(leg) = state.legs.iter_mut().find(|leg| leg.number == number) else {
            return;
        };
        leg.finish = Finish::Done;
        (leg.events.clone(), leg.base..state.streams.len())
    };
    session.end_sending(own);
    if let Some(leg) = room.lock().legs.iter().find(|leg| leg.number == number) {
        leg.done.set();
    }
    room.changed.notify_one();
    if falls_silent(&room, number, session).await {
        let text = format!("nothing came for {SILENCE:?} after all was sent: the call ends");
        // overflow: awaited; the element takes events on a thread of its own.
        let _ = events.send(Event::Notice(text)).await;
        session.finish();
    }
}

/// Waits until nothing came for [`SILENCE`]; `false`: the call ended otherwise, or leg `number` left.
async fn falls_silent(room: &Room, number: u64, session: &Session) -> bool {
    let mut seen = (0, Instant::now());
    loop {
        {
            let state = room.lock();
            let there = state.legs.iter().any(|leg| leg.number == number);
            if state.over || !there {
                return false;
            }
        }
        let streams = session.stats();
        let received = streams
            .iter()
            .map(|(_, stats)| stats.packets_received)
            .sum();
        let now = Instant::now();
        if received != seen.0 {
            seen = (received, now);
        }
        if now - seen.1 >= SILENCE {
            return true;
        }
        tokio::select! {
            () = session.done() => return false,
            () = sleep(LOOK) => {}
        }
    }
}
