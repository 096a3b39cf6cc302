// SPDX-License-Identifier: MPL-2.0
//! The transport of one call: ICE, DTLS and SRTP over UDP sockets.
//!
//! The protocols are webrtc-rs's parts without I/O (`rtc::ice`, `rtc::dtls`, `rtc::srtp`). Its own
//! driver, the crate `webrtc`, moves packets one by one through a channel, a lock and a system call
//! each; ours moves frames. [`core::Core`] puts the parts together, without sockets; what it
//! gives leaves in runs of datagrams ([`batch`]), by whoever is at it: the streaming thread that
//! pushed a frame, or the call's task ([`driver`]), which also reads and keeps the time.
//!
//! Lock order: the core's lock is taken first; no lock of another peer is ever taken under it.

mod alarm;
mod batch;
mod core;
mod core_data;
mod driver;
mod dtls;
mod ice;
mod records;
mod replay;
mod sctp;
mod servers;
mod socket;
mod srtp;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use tokio::sync::watch;

use self::core::Core;
use super::shared::{Shared, lock};
use super::{IceServer, PeerError, TransportInfo};
use crate::sdp;
pub(super) use dtls::{DtlsRole, DtlsState};
pub(super) use ice::IceState;
pub use sctp::OfflineData;
use servers::Servers;
use socket::Socket;

/// The states of a connection, as they change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct States {
    pub(super) ice: IceState,
    pub(super) dtls: DtlsState,
    /// Every server that the user named answered, or had its time.
    pub(super) gathered: bool,
    /// What is wrong with servers, each with its URL.
    pub(super) problems: Vec<String>,
    /// When the remote was first heard after the checks began.
    pub(super) first_heard: Option<Instant>,
    /// Nobody drives the connection any more.
    pub(super) abandoned: bool,
}

/// See the module.
pub(super) struct Transport {
    shared: Arc<Shared>,
    core: Mutex<Core>,
    sockets: Vec<Socket>,
    pub(super) states: watch::Receiver<States>,
    /// When the driver comes by itself, in microseconds since `epoch`.
    armed: AtomicU64,
    epoch: Instant,
}

impl Transport {
    /// Binds a socket of each of `addresses`, begins to gather from `servers`, and starts the
    /// driver, which ends with [`Self::close`]. `many` calls are expected to be on its thread.
    ///
    /// # Errors
    ///
    /// [`PeerError::Socket`] when not one can be bound.
    pub(super) fn open(
        addresses: &[IpAddr],
        servers: &[IceServer],
        shared: Arc<Shared>,
        many: bool,
    ) -> Result<Arc<Self>, PeerError> {
        let thread = crate::runtime::network().map_err(PeerError::Other)?;
        // The sockets belong to that thread.
        let _entered = thread.enter();
        let mut sockets = Vec::new();
        let mut refused = "none is given".to_owned();
        for address in addresses {
            match Socket::bind(*address) {
                Ok(socket) => sockets.push(socket),
                Err(error) => {
                    refused = format!("{address}: {error}");
                    log::warn!(target: "rswebrtc::peer", "no socket at {refused}");
                }
            }
        }
        if sockets.is_empty() {
            return Err(PeerError::Socket(refused));
        }
        let epoch = Instant::now();
        let bases = sockets.iter().map(|socket| socket.local).collect();
        let (mut core, states) = Core::new(shared.clone(), bases, epoch)?;
        if !servers.is_empty() {
            core.await_servers();
        }
        let transport = Arc::new(Self {
            shared,
            core: Mutex::new(core),
            sockets,
            states,
            armed: AtomicU64::new(0),
            epoch,
        });
        thread.spawn(driver::run(transport.clone(), many));
        if !servers.is_empty() {
            thread.spawn(transport.clone().find_servers(servers.to_vec()));
        }
        Ok(transport)
    }

    /// Finds the servers, which takes two seconds at most, and hands them over.
    async fn find_servers(self: Arc<Self>, named: Vec<IceServer>) {
        let crypto = self.core().crypto.clone();
        let servers = Servers::resolve(&named, crypto).await;
        self.core().set_servers(servers, Instant::now());
        self.shared.nudge.wake();
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// Our side, with all candidates. Servers that do not answer delay it by two seconds, and their
    /// names by as much.
    pub(super) async fn gathered(&self) -> sdp::Transport {
        // An error: the call is over.
        let _ = self.states.clone().wait_for(|s| s.gathered).await;
        self.core().local()
    }

    /// Takes the remote's side and begins the checks.
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when something is missing in it.
    pub(super) fn start(
        &self,
        remote: &sdp::Transport,
        controlling: bool,
        role: DtlsRole,
    ) -> Result<(), PeerError> {
        let started = self.core().start(remote, controlling, role, Instant::now());
        self.shared.nudge.wake();
        started
    }

    /// Credentials for an offer that restarts ICE.
    ///
    /// # Errors
    ///
    /// [`PeerError::Other`] when there is no randomness to be had.
    pub(super) fn prepare_restart(&self) -> Result<(), PeerError> {
        let prepared = self.core().prepare_restart(Instant::now());
        self.shared.nudge.wake();
        prepared
    }

    /// A candidate that came apart.
    pub(super) fn add_candidate(&self, candidate: &str) {
        self.core().add_candidate(candidate);
        self.shared.nudge.wake();
    }

    /// Sends what may leave by now, on the caller's thread. Never waits: where the driver is at
    /// it, it goes on with this.
    pub(super) fn pump(&self) {
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.shared.nudge.wake(),
        };
        let blocked = self.send(&mut core);
        let due = core.poll_timeout();
        drop(core);
        let armed = self.armed.load(Ordering::Acquire);
        if blocked.is_some() || due.is_some_and(|due| self.micros(due) < armed) {
            self.shared.nudge.wake();
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// Sends what may leave by now; gives the socket that takes no more.
    fn send(&self, core: &mut Core) -> Option<usize> {
        // What is left when the outbox was full follows as soon as it is not.
        while core.pump() {
            let blocked = self.flush(core);
            if blocked.is_some() {
                return blocked;
            }
        }
        self.flush(core)
    }

    /// Hands to the kernel what it takes; gives the socket that takes no more.
    fn flush(&self, core: &mut Core) -> Option<usize> {
        while let Some(batch) = core.outbox.front() {
            let index = batch.socket;
            #[cfg(test)]
            if self.shared.nudge.blackhole.load(Ordering::Acquire) {
                core.outbox.pop();
                continue;
            }
            let Some(socket) = self.sockets.get(index) else {
                core.outbox.pop();
                continue;
            };
            match socket.hand_over(batch) {
                Ok(()) => core.outbox.pop(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Some(index),
                // A network card without segmentation offload is noticed by its refusal.
                Err(_) if batch.data.len() > batch.segment && !socket.has_offload() => {
                    core.outbox.split();
                }
                Err(error) => {
                    log::debug!(target: "rswebrtc::peer", "not sent to {}: {error}", batch.to);
                    core.outbox.pop();
                }
            }
        }
        None
    }

    /// What it came to.
    pub(super) fn info(&self) -> TransportInfo {
        self.core().info()
    }

    /// Says BYE and close_notify, as far as the kernel takes it, and ends the driver.
    pub(super) fn close(&self) {
        let mut core = self.core();
        if core.goodbye() {
            self.send(&mut core);
        }
        core.close(Instant::now());
        self.flush(&mut core);
        drop(core);
        self.shared.nudge.wake();
    }
}

/// A transport without sockets, for tests: descriptions take the way that they take in a call.
pub struct OfflineTransport(Core);

impl OfflineTransport {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`PeerError::Other`] when there is no randomness to be had.
    pub fn new() -> Result<Self, PeerError> {
        let (events, _) = tokio::sync::mpsc::channel(super::shared::EVENT_CAPACITY);
        let shared = Arc::new(Shared::new(events, false, Vec::new()));
        let base = SocketAddr::from(([127, 0, 0, 1], 4000));
        Core::new(shared, vec![base], Instant::now()).map(|(core, _)| Self(core))
    }

    /// Our side.
    pub fn local(&self) -> sdp::Transport {
        self.0.local()
    }

    /// Takes the side of a remote that offered, or answered.
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when something is missing in it.
    pub fn start(&mut self, remote: &sdp::Transport, offered: bool) -> Result<(), PeerError> {
        let role = if offered {
            DtlsRole::Client
        } else {
            DtlsRole::Server
        };
        self.0.start(remote, !offered, role, Instant::now())
    }

    /// Takes a candidate that came apart.
    pub fn add_candidate(&mut self, candidate: &str) {
        self.0.add_candidate(candidate);
    }
}
