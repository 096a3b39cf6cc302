// SPDX-License-Identifier: MPL-2.0
//! The runtime under webrtc: tokio, with large socket buffers, a way to wake the driver, and a
//! slower clock while nobody answers our connectivity checks.
//!
//! webrtc runs one driver task per connection. It sleeps through [`Runtime::sleep`] between two
//! passes, so that a sleep which ends early is a wake-up: [`Nudge::wake`] makes the driver fetch
//! what our interceptor has to send, for a whole frame at once, without a channel per packet.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

/// Socket buffers, bytes: room for a key frame of 1500 packets that arrives at once. The kernel
/// cuts it down to `net.core.rmem_max`.
const SOCKET_BUFFER: usize = 4 << 20;

/// Datagrams in one system call. webrtc fills up to 65535 bytes, and the kernel refuses, whole,
/// what is over 65507: 53 of the usual ones. 32 fit at any size that an MTU of 2000 allows.
const MAX_SEGMENTS: usize = 32;

/// Connectivity checks run at the interval of the ICE agent for this long, ...
const FAST_CHECKS: Duration = Duration::from_secs(1);
/// ... then at [`BRISK_INTERVAL`] up to here, ...
const BRISK_CHECKS: Duration = Duration::from_secs(5);
/// RFC 8445 section 14.2 paces checks at 50 ms.
const BRISK_INTERVAL: Duration = Duration::from_millis(50);
/// ... then, as long as no datagram comes in, at this one (RFC 8445 section 14.3: RTO 500 ms).
const PATIENT_INTERVAL: Duration = Duration::from_millis(500);
/// A datagram makes the checks fast again for this long.
const HEARD_FOR: Duration = Duration::from_secs(3);

/// Wakes the driver, and decides how long it may sleep while ICE is looking for a pair.
#[derive(Debug, Default)]
pub(super) struct Nudge {
    notify: Notify,
    calm: AtomicBool,
    checking: AtomicBool,
    pace: Mutex<Pace>,
    #[cfg(test)]
    pub(super) blackhole: AtomicBool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Pace {
    since: Option<Instant>,
    heard: Option<Instant>,
    first_heard: Option<Instant>,
    last_pass: Option<Instant>,
}

impl Nudge {
    /// Ends the driver's current, or else its next, sleep. Never blocks.
    pub(super) fn wake(&self) {
        self.notify.notify_one();
    }

    /// From now on sleeps are as long as asked for: webrtc's `close` sleeps too, to let the driver
    /// say goodbye.
    pub(super) fn calm(&self) {
        self.calm.store(true, Ordering::Release);
    }

    /// Connectivity checks start.
    pub(super) fn checks_started(&self) {
        let mut pace = self.lock();
        pace.since = Some(Instant::now());
        pace.heard = None;
        pace.first_heard = None;
        drop(pace);
        self.checking.store(true, Ordering::Release);
    }

    /// A pair was found: sleeps are as long as webrtc asks for.
    pub(super) fn checks_ended(&self) {
        self.checking.store(false, Ordering::Release);
    }

    fn heard(&self) {
        if self.checking.load(Ordering::Acquire) {
            let now = Instant::now();
            let mut pace = self.lock();
            pace.heard = Some(now);
            pace.first_heard.get_or_insert(now);
        }
    }

    /// When the first datagram came in after [`Self::checks_started`].
    pub(super) fn first_heard(&self) -> Option<Instant> {
        self.lock().first_heard
    }

    /// When the driver last went to sleep; it never sleeps for seconds once ICE runs.
    pub(super) fn last_pass(&self) -> Option<Instant> {
        self.lock().last_pass
    }

    fn stretch(&self, wanted: Duration, now: Instant) -> Duration {
        let mut pace = self.lock();
        pace.last_pass = Some(now);
        if !self.checking.load(Ordering::Acquire) {
            return wanted;
        }
        wanted.max(pace.shortest(now))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Pace {
    /// The least time between two rounds of checks.
    fn shortest(&self, now: Instant) -> Duration {
        let heard = self
            .heard
            .is_some_and(|at| now.saturating_duration_since(at) < HEARD_FOR);
        let running = self
            .since
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if running < FAST_CHECKS || heard {
            Duration::ZERO
        } else if running < BRISK_CHECKS {
            BRISK_INTERVAL
        } else {
            PATIENT_INTERVAL
        }
    }
}

/// Our [`Runtime`]; one per connection.
#[derive(Debug)]
pub(super) struct PeerRuntime {
    nudge: Arc<Nudge>,
}

impl PeerRuntime {
    pub(super) fn new(nudge: Arc<Nudge>) -> Self {
        Self { nudge }
    }
}

impl Runtime for PeerRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let options = socket2::SockRef::from(&socket);
        for result in [
            options.set_recv_buffer_size(SOCKET_BUFFER),
            options.set_send_buffer_size(SOCKET_BUFFER),
        ] {
            if let Err(error) = result {
                log::debug!(target: "rswebrtc::peer", "socket buffers stay as they are: {error}");
            }
        }
        Ok(Arc::new(Socket {
            inner: TokioRuntime.wrap_udp_socket(socket)?,
            nudge: self.nudge.clone(),
        }))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let nudge = self.nudge.clone();
        let duration = nudge.stretch(duration, Instant::now());
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = nudge.notify.notified(), if !nudge.calm.load(Ordering::Acquire) => {}
            }
        })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn name(&self) -> &'static str {
        "rswebrtc"
    }
}

/// A socket that notes when something comes in.
#[derive(Debug)]
struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    nudge: Arc<Nudge>,
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        #[cfg(test)]
        if self.nudge.blackhole.load(Ordering::Acquire) {
            return Poll::Ready(Ok(transmit.contents.len()));
        }
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let result = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(_)) = result {
            self.nudge.heard();
        }
        result
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments().min(MAX_SEGMENTS)
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_slow_down_until_something_is_heard() {
        let start = Instant::now();
        let mut pace = Pace {
            since: Some(start),
            ..Pace::default()
        };
        let after = |s: u64| start + Duration::from_secs(s);
        assert_eq!(pace.shortest(start), Duration::ZERO);
        assert_eq!(pace.shortest(after(2)), BRISK_INTERVAL);
        assert_eq!(pace.shortest(after(300)), PATIENT_INTERVAL);
        pace.heard = Some(after(300));
        assert_eq!(pace.shortest(after(301)), Duration::ZERO);
        assert_eq!(pace.shortest(after(304)), PATIENT_INTERVAL);
    }
}
