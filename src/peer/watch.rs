// SPDX-License-Identifier: MPL-2.0
//! Decides when a call is up, and when it is over.
//!
//! Timeouts of ICE start with the remote description and so know nothing of people who carry an
//! answer by hand. So ICE never gives up by itself here: this task does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::shared::Shared;
use super::transport::{DtlsState, IceState, States};
use super::{PeerError, PeerEvent};

/// An offerer has both descriptions, and so has the remote: a pair is found by now or never.
const OFFERER_PATIENCE: Duration = Duration::from_secs(30);
/// An answerer waits for somebody to carry its answer over.
const ANSWERER_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// DTLS takes three round trips; a lost flight is repeated after 0.1, 0.2, 0.4, 0.8 and 1.6 s.
const DTLS_PATIENCE: Duration = Duration::from_secs(8);
/// `Disconnected` (nothing came for 2 s) for this long: the remote is gone.
const SILENCE: Duration = Duration::from_millis(3200);
/// After close_notify: a browser's client closes first and sends its DELETE then, which a server that
/// ends with its only publisher has to be there for.
const LEAVING: Duration = Duration::from_millis(100);
/// For a restart to find a pair.
const RESTART: Duration = Duration::from_secs(8);
/// Between two looks at the clock, while time alone may change something.
const TICK: Duration = Duration::from_millis(100);
/// A receiver that is DTLS client has its keys half a round trip after we have ours: the first
/// packets wait for it.
const SERVER_HOLD: Duration = Duration::from_millis(30);

/// An offerer gets our answer a moment before our first packet, and may not have set its receivers
/// up by then: Firefox at times lost the first frame and began with the next key frame.
const OFFERER_HOLD: Duration = Duration::from_millis(100);

/// Which side we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Offerer,
    Answerer,
}

impl Role {
    fn patience(self) -> Duration {
        match self {
            Self::Offerer => OFFERER_PATIENCE,
            Self::Answerer => ANSWERER_PATIENCE,
        }
    }
}

/// What can be seen of a connection at one moment.
#[derive(Debug, Clone)]
struct View {
    now: Instant,
    states: States,
    remote_left: bool,
}

/// What follows from a [`View`].
#[derive(Debug)]
enum Verdict {
    Connected,
    Silent,
    RemoteClosed,
    Failed(PeerError),
}

/// The memory between two views.
#[derive(Debug)]
struct Watch {
    patience: Duration,
    since: Instant,
    ice_up: Option<Instant>,
    silent: Option<Instant>,
    restarting: Option<Instant>,
    closed: Option<Instant>,
    connected: bool,
}

impl Watch {
    fn new(patience: Duration, now: Instant) -> Self {
        Self {
            patience,
            since: now,
            ice_up: None,
            silent: None,
            restarting: None,
            closed: None,
            connected: false,
        }
    }

    /// Whether nothing follows from time alone, with ICE in `state`.
    fn is_calm(&self, state: IceState) -> bool {
        self.connected
            && state == IceState::Connected
            && self.silent.is_none()
            && self.restarting.is_none()
            && self.closed.is_none()
    }

    fn look(&mut self, view: &View) -> Option<Verdict> {
        let up = view.states.ice == IceState::Connected;
        if up && self.ice_up.is_none() {
            self.ice_up = Some(view.now);
        }
        if view.states.abandoned {
            let text = "the connection's task has ended";
            return Some(Verdict::Failed(PeerError::Other(text.to_owned())));
        }
        if view.remote_left {
            return Some(Verdict::RemoteClosed);
        }
        if view.states.dtls == DtlsState::Closed {
            let since = *self.closed.get_or_insert(view.now);
            let over = view.now.saturating_duration_since(since) >= LEAVING;
            return over.then_some(Verdict::RemoteClosed);
        }
        if !self.connected && view.states.dtls == DtlsState::Up {
            self.connected = true;
            return Some(Verdict::Connected);
        }
        self.not_up(view)
            .map(Verdict::Failed)
            .or_else(|| self.is_silent(view))
    }

    fn not_up(&self, view: &View) -> Option<PeerError> {
        if self.connected {
            return None;
        }
        if let DtlsState::Failed(cause) = view.states.dtls {
            return Some(PeerError::Dtls(cause.to_owned()));
        }
        if let Some(up) = self.ice_up {
            let late = view.now.saturating_duration_since(up) > DTLS_PATIENCE;
            return late.then(|| PeerError::Dtls("the remote does not answer it".to_owned()));
        }
        let first = view.states.first_heard;
        let heard = first.map_or(Duration::ZERO, |at| view.now.saturating_duration_since(at));
        let waited = view.now.saturating_duration_since(self.since);
        (waited > self.patience || heard > OFFERER_PATIENCE).then(|| {
            let mut text = format!("no candidate pair worked within {} s", waited.as_secs());
            for problem in &view.states.problems {
                text.push_str("; ");
                text.push_str(problem);
            }
            PeerError::Ice(text)
        })
    }

    fn is_silent(&mut self, view: &View) -> Option<Verdict> {
        // A restart takes ICE back to its checks: that is no sign of life.
        let answers = view.states.ice == IceState::Connected;
        if !self.connected || answers {
            (self.silent, self.restarting) = (None, None);
            return None;
        }
        let (since, most) = match self.silent {
            Some(since) => (since, SILENCE),
            None if view.states.ice == IceState::Disconnected => {
                self.silent = Some(view.now);
                return Some(Verdict::Silent);
            }
            // Not for want of answers: one of the two wished for another path.
            None => (*self.restarting.get_or_insert(view.now), RESTART),
        };
        (view.now.saturating_duration_since(since) > most)
            .then(|| PeerError::Ice("the remote stopped answering".to_owned()))
            .map(Verdict::Failed)
    }
}

/// Runs from the moment the remote description is applied until the call is over.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut states: watch::Receiver<States>,
    role: Role,
    patience: Option<Duration>,
) {
    let patience = patience.unwrap_or_else(|| role.patience());
    let mut watch = Watch::new(patience, Instant::now());
    loop {
        let calm = watch.is_calm(states.borrow().ice);
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            // A BYE, which the media path reads.
            () = shared.left.notified() => {}
            // What ends a calm is told.
            () = tokio::time::sleep(TICK), if !calm => {}
        }
        let view = View {
            now: Instant::now(),
            states: states.borrow_and_update().clone(),
            remote_left: shared.remote_left.load(Ordering::Acquire),
        };
        match watch.look(&view) {
            None => {}
            Some(Verdict::Silent) => shared.events.tell(PeerEvent::Silent),
            Some(Verdict::Connected) => connected(&shared, role),
            Some(Verdict::RemoteClosed) => {
                log::debug!(target: "rswebrtc::peer", "the remote ended the call");
                shared.outbound.close();
                if !shared.remote_left.swap(true, Ordering::AcqRel) {
                    shared
                        .events
                        .tell(PeerEvent::RemoteClosed { said_bye: false });
                }
                return shared.end_streams();
            }
            Some(Verdict::Failed(error)) => {
                log::debug!(target: "rswebrtc::peer", "{error}");
                shared.outbound.close();
                shared.events.tell(PeerEvent::Failed(error));
                return shared.end_streams();
            }
        }
    }
}

fn connected(shared: &Shared, role: Role) {
    let hold = match role {
        Role::Answerer => Some(OFFERER_HOLD),
        Role::Offerer if shared.dtls_server.load(Ordering::Acquire) => Some(SERVER_HOLD),
        Role::Offerer => None,
    };
    shared.outbound.open(hold.map(|hold| Instant::now() + hold));
    shared.events.tell(PeerEvent::Connected);
    log::debug!(target: "rswebrtc::peer", "connected");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(now: Instant, ice: IceState) -> View {
        let states = States {
            ice,
            ..States::default()
        };
        View {
            now,
            states,
            remote_left: false,
        }
    }

    #[test]
    fn an_answerer_waits_for_the_answer_to_be_carried_over() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        let checking = IceState::Checking;
        let mut watch = Watch::new(Role::Answerer.patience(), start);
        assert!(watch.look(&view(after(600), checking)).is_none());
        let mut heard = view(after(640), checking);
        heard.states.first_heard = Some(after(601));
        let verdict = watch.look(&heard);
        assert!(
            matches!(verdict, Some(Verdict::Failed(PeerError::Ice(_)))),
            "{verdict:?}"
        );
        let mut watch = Watch::new(Role::Offerer.patience(), start);
        assert!(watch.look(&view(after(29), checking)).is_none());
        assert!(watch.look(&view(after(31), checking)).is_some());
    }

    #[test]
    fn a_call_that_comes_to_nothing_names_the_servers_that_did_not_help() {
        let start = Instant::now();
        let mut watch = Watch::new(Role::Offerer.patience(), start);
        let mut late = view(start + Duration::from_secs(31), IceState::Checking);
        late.states.problems = vec!["turn:a: it refuses".to_owned(), "stun:b: no".to_owned()];
        let Some(Verdict::Failed(PeerError::Ice(text))) = watch.look(&late) else {
            panic!("not given up");
        };
        assert!(text.ends_with("; turn:a: it refuses; stun:b: no"), "{text}");
    }

    #[test]
    fn a_remote_that_falls_silent_is_given_up_within_six_seconds() {
        let start = Instant::now();
        let mut watch = Watch::new(Role::Offerer.patience(), start);
        let mut up = view(start, IceState::Connected);
        up.states.dtls = DtlsState::Up;
        assert!(matches!(watch.look(&up), Some(Verdict::Connected)));
        let silent = |ms| {
            let mut view = view(start + Duration::from_millis(ms), IceState::Disconnected);
            view.states.dtls = DtlsState::Up;
            view
        };
        let first = watch.look(&silent(2200));
        assert!(matches!(first, Some(Verdict::Silent)), "{first:?}");
        let mut restarted = silent(4000);
        restarted.states.ice = IceState::Checking;
        assert!(watch.look(&restarted).is_none());
        assert!(matches!(
            watch.look(&silent(5600)),
            Some(Verdict::Failed(PeerError::Ice(_)))
        ));
    }

    #[test]
    fn a_call_that_comes_up_while_its_path_is_lost_is_watched_on() {
        let start = Instant::now();
        for lost in [IceState::Disconnected, IceState::Checking] {
            let mut watch = Watch::new(Role::Offerer.patience(), start);
            let mut up = view(start, lost);
            up.states.dtls = DtlsState::Up;
            assert!(!watch.is_calm(lost));
            assert!(matches!(watch.look(&up), Some(Verdict::Connected)));
            assert!(!watch.is_calm(lost), "time alone has to tell");
            assert!(watch.is_calm(IceState::Connected));
        }
    }

    #[test]
    fn a_handshake_that_does_not_end_is_a_dtls_failure() {
        let start = Instant::now();
        let mut watch = Watch::new(Role::Offerer.patience(), start);
        let up = |s| view(start + Duration::from_secs(s), IceState::Connected);
        assert!(watch.look(&up(0)).is_none());
        assert!(watch.look(&up(7)).is_none());
        assert!(matches!(
            watch.look(&up(9)),
            Some(Verdict::Failed(PeerError::Dtls(_)))
        ));
    }
}
