// SPDX-License-Identifier: MPL-2.0
//! Decides when a call is up, and when it is over.
//!
//! webrtc's own ICE timeouts start with the remote description and so know nothing of people who
//! carry an answer by hand; and it does not tell at all when the remote closes DTLS. So ICE never
//! gives up by itself here: this task does.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rtc::peer_connection::transport::RTCDtlsTransportState;
use tokio::sync::watch;
use webrtc::peer_connection::{RTCIceConnectionState, RTCPeerConnectionState};

use super::handler::States;
use super::link::Link;
use super::shared::Shared;
use super::{PeerError, PeerEvent, stats};

/// An offerer has both descriptions, and so has the remote: a pair is found by now or never.
const OFFERER_PATIENCE: Duration = Duration::from_secs(30);
/// An answerer waits for somebody to carry its answer over.
const ANSWERER_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// DTLS takes two round trips; a lost flight is repeated after 1, 2 and 4 s.
const DTLS_PATIENCE: Duration = Duration::from_secs(8);
/// `Disconnected` (nothing came for 2 s) for this long: the remote is gone.
const SILENCE: Duration = Duration::from_millis(3200);
/// How long the driver may be away before the connection counts as dead.
const DRIVER_AWAY: Duration = Duration::from_secs(5);
/// Between two looks at what webrtc does not tell.
const TICK: Duration = Duration::from_millis(100);
/// A receiver looks at ICE's round trip once in so many ticks: as often as it is measured.
const ROUND_TRIP_TICKS: u32 = 5;
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
#[derive(Debug, Clone, Copy)]
struct View {
    now: Instant,
    states: States,
    dtls: Option<RTCDtlsTransportState>,
    first_heard: Option<Instant>,
    last_pass: Option<Instant>,
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
    away: u32,
    connected: bool,
}

impl Watch {
    fn new(patience: Duration, now: Instant) -> Self {
        Self {
            patience,
            since: now,
            ice_up: None,
            silent: None,
            away: 0,
            connected: false,
        }
    }

    fn look(&mut self, view: View) -> Option<Verdict> {
        let up = matches!(
            view.states.ice,
            RTCIceConnectionState::Connected | RTCIceConnectionState::Completed
        );
        if up && self.ice_up.is_none() {
            self.ice_up = Some(view.now);
        }
        if view.remote_left || view.dtls == Some(RTCDtlsTransportState::Closed) {
            return Some(Verdict::RemoteClosed);
        }
        if !self.connected && view.states.connection == RTCPeerConnectionState::Connected {
            self.connected = true;
            return Some(Verdict::Connected);
        }
        self.driver_is_away(view)
            .or_else(|| self.not_up(view))
            .map(Verdict::Failed)
            .or_else(|| self.is_silent(view))
    }

    fn driver_is_away(&mut self, view: View) -> Option<PeerError> {
        let away = |at: Instant| view.now.saturating_duration_since(at) > DRIVER_AWAY;
        // More than one look: after a suspend this task may run before the driver does.
        self.away = if view.last_pass.is_some_and(away) {
            self.away + 1
        } else {
            0
        };
        (self.away > 10).then(|| PeerError::Other("the connection's driver has stopped".to_owned()))
    }

    fn not_up(&self, view: View) -> Option<PeerError> {
        if self.connected {
            return None;
        }
        let failed = view.states.connection == RTCPeerConnectionState::Failed
            || view.dtls == Some(RTCDtlsTransportState::Failed);
        if let Some(up) = self.ice_up {
            let late = view.now.saturating_duration_since(up) > DTLS_PATIENCE;
            return (failed || late).then(|| {
                let text = "not completed; most likely a certificate is not the one described";
                PeerError::Dtls(text.to_owned())
            });
        }
        let heard = view
            .first_heard
            .map_or(Duration::ZERO, |at| view.now.saturating_duration_since(at));
        let waited = view.now.saturating_duration_since(self.since);
        (failed || waited > self.patience || heard > OFFERER_PATIENCE).then(|| {
            PeerError::Ice(format!(
                "no candidate pair worked within {} s",
                waited.as_secs()
            ))
        })
    }

    fn is_silent(&mut self, view: View) -> Option<Verdict> {
        // A restart takes ICE back to its checks: that is no sign of life.
        let answers = matches!(
            view.states.ice,
            RTCIceConnectionState::Connected | RTCIceConnectionState::Completed
        );
        if !self.connected || answers {
            self.silent = None;
            return None;
        }
        let Some(since) = self.silent else {
            self.silent = Some(view.now);
            return Some(Verdict::Silent);
        };
        (view.now.saturating_duration_since(since) > SILENCE)
            .then(|| PeerError::Ice("the remote stopped answering".to_owned()))
            .map(Verdict::Failed)
    }
}

/// Runs from the moment the remote description is applied until the call is over.
pub(super) async fn run(
    shared: Arc<Shared>,
    link: Weak<Link>,
    mut states: watch::Receiver<States>,
    role: Role,
    patience: Option<Duration>,
) {
    let patience = patience.unwrap_or_else(|| role.patience());
    let mut watch = Watch::new(patience, Instant::now());
    let mut tick = tokio::time::interval(TICK);
    let mut ticks = 0u32;
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut dtls = None;
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            _ = tick.tick() => {
                let Some(link) = link.upgrade() else { return };
                dtls = link.dtls_state().await;
                ticks = ticks.wrapping_add(1);
                if watch.connected && ticks.is_multiple_of(ROUND_TRIP_TICKS) && shared.receives() {
                    stats::round_trip(&*link.connection, &shared).await;
                }
            }
        }
        let view = View {
            now: Instant::now(),
            states: *states.borrow_and_update(),
            dtls,
            first_heard: shared.nudge.first_heard(),
            last_pass: shared.nudge.last_pass(),
            remote_left: shared.remote_left.load(Ordering::Acquire),
        };
        match watch.look(view) {
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
    shared.nudge.checks_ended();
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

    fn view(now: Instant, ice: RTCIceConnectionState) -> View {
        let states = States {
            gathered: true,
            ice,
            connection: RTCPeerConnectionState::Connecting,
        };
        View {
            now,
            states,
            dtls: None,
            first_heard: None,
            last_pass: None,
            remote_left: false,
        }
    }

    #[test]
    fn an_answerer_waits_for_the_answer_to_be_carried_over() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        let checking = RTCIceConnectionState::Checking;
        let mut watch = Watch::new(Role::Answerer.patience(), start);
        assert!(watch.look(view(after(600), checking)).is_none());
        let mut heard = view(after(640), checking);
        heard.first_heard = Some(after(601));
        let verdict = watch.look(heard);
        assert!(
            matches!(verdict, Some(Verdict::Failed(PeerError::Ice(_)))),
            "{verdict:?}"
        );
        let mut watch = Watch::new(Role::Offerer.patience(), start);
        assert!(watch.look(view(after(29), checking)).is_none());
        assert!(watch.look(view(after(31), checking)).is_some());
    }

    #[test]
    fn a_remote_that_falls_silent_is_given_up_within_six_seconds() {
        let start = Instant::now();
        let mut watch = Watch::new(Role::Offerer.patience(), start);
        let mut up = view(start, RTCIceConnectionState::Connected);
        up.states.connection = RTCPeerConnectionState::Connected;
        assert!(matches!(watch.look(up), Some(Verdict::Connected)));
        let silent = |ms| {
            view(
                start + Duration::from_millis(ms),
                RTCIceConnectionState::Disconnected,
            )
        };
        let first = watch.look(silent(2200));
        assert!(matches!(first, Some(Verdict::Silent)), "{first:?}");
        let mut restarted = silent(4000);
        restarted.states.ice = RTCIceConnectionState::Checking;
        assert!(watch.look(restarted).is_none());
        assert!(matches!(
            watch.look(silent(5600)),
            Some(Verdict::Failed(PeerError::Ice(_)))
        ));
    }

    #[test]
    fn a_handshake_that_does_not_end_is_a_dtls_failure() {
        let start = Instant::now();
        let mut watch = Watch::new(Role::Offerer.patience(), start);
        let up = |s| {
            view(
                start + Duration::from_secs(s),
                RTCIceConnectionState::Connected,
            )
        };
        assert!(watch.look(up(0)).is_none());
        assert!(watch.look(up(7)).is_none());
        assert!(matches!(
            watch.look(up(9)),
            Some(Verdict::Failed(PeerError::Dtls(_)))
        ));
    }
}
