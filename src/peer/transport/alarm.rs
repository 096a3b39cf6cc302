// SPDX-License-Identifier: MPL-2.0
//! When a call's task is to come by itself.
//!
//! tokio's own timers are kept in a wheel whose inner ring is 64 ms long: a time beyond it wakes the
//! thread where the ring begins anew, to be sorted in, and one that is moved forward wakes it at
//! once. A task that names another time with each packet has four such wake-ups for each that was
//! due. Linux has a timer that is a file (`timerfd_create(2)`), which wakes nobody before.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Without anything to do.
const IDLE: Duration = Duration::from_secs(3600);

/// A time that may be changed as often as one likes.
pub(super) struct Alarm {
    /// What it is set to; `None`: never.
    due: Option<Instant>,
    kind: Kind,
}

enum Kind {
    #[cfg(target_os = "linux")]
    File(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>),
    Wheel(std::pin::Pin<Box<tokio::time::Sleep>>),
}

impl Alarm {
    /// Not set. On a thread of the runtime that waits for it. `shared`: many calls are on that
    /// thread, which go off together where one would have done so alone.
    pub(super) fn new(shared: bool) -> Self {
        let kind = Self::file(shared);
        let wheel = || Kind::Wheel(Box::pin(tokio::time::sleep(IDLE)));
        Self {
            due: None,
            kind: kind.unwrap_or_else(wheel),
        }
    }

    #[cfg(target_os = "linux")]
    fn file(shared: bool) -> Option<Kind> {
        let opened = (!shared).then(file::open)?;
        let failed = |error: &std::io::Error| {
            log::debug!(target: "rswebrtc::peer", "no timer of the system: {error}");
        };
        opened.inspect_err(failed).ok().map(Kind::File)
    }

    #[cfg(not(target_os = "linux"))]
    fn file(_shared: bool) -> Option<Kind> {
        None
    }

    /// Goes off at `due`, where `now` is the time.
    pub(super) fn set(&mut self, due: Option<Instant>, now: Instant) {
        if self.due == due {
            return;
        }
        self.due = due;
        let wait = due.map(|due| due.saturating_duration_since(now));
        match &mut self.kind {
            #[cfg(target_os = "linux")]
            Kind::File(io) => {
                if let Err(error) = file::set(io, wait) {
                    log::debug!(target: "rswebrtc::peer", "the system's timer: {error}");
                    self.kind = Kind::Wheel(Box::pin(tokio::time::sleep(wait.unwrap_or(IDLE))));
                }
            }
            Kind::Wheel(sleep) => sleep.as_mut().reset((now + wait.unwrap_or(IDLE)).into()),
        }
    }

    /// Ready once it went off; then it is not set any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = match &mut self.kind {
            // What it counted is not read: setting it forgets that.
            #[cfg(target_os = "linux")]
            Kind::File(io) => io.poll_read_ready(cx).map(|ready| {
                if let Ok(mut ready) = ready {
                    ready.clear_ready();
                }
            }),
            Kind::Wheel(sleep) => {
                let ready = sleep.as_mut().poll(cx);
                if ready.is_ready() {
                    sleep.as_mut().reset((Instant::now() + IDLE).into());
                }
                ready
            }
        };
        if ready.is_ready() {
            self.due = None;
        }
        ready
    }
}

#[cfg(target_os = "linux")]
mod file {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::super::socket::asynchronous;

    /// One that is not set.
    pub(super) fn open() -> io::Result<AsyncFd<OwnedFd>> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let file = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        asynchronous(file, Interest::READABLE)
    }

    /// Goes off after `wait`; `None`: never.
    pub(super) fn set(io: &AsyncFd<OwnedFd>, wait: Option<Duration>) -> io::Result<()> {
        // Zero would be never.
        let wait = wait.map_or(Duration::ZERO, |wait| wait.max(Duration::from_nanos(1)));
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let time = Itimerspec {
            it_interval: zero,
            it_value: Timespec::try_from(wait).map_err(io::Error::other)?,
        };
        timerfd_settime(io.get_ref(), TimerfdTimerFlags::empty(), &time)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn both() -> [Alarm; 2] {
        [Alarm::new(false), Alarm::new(true)]
    }

    #[tokio::test]
    async fn it_goes_off_at_the_time_that_was_set_last_and_not_before() {
        for mut alarm in both() {
            let start = Instant::now();
            alarm.set(Some(start + IDLE), start);
            alarm.set(Some(start + Duration::from_millis(30)), start);
            poll_fn(|cx| alarm.poll(cx)).await;
            assert!(start.elapsed() >= Duration::from_millis(30));
            // A time that is over.
            alarm.set(Some(start), Instant::now());
            poll_fn(|cx| alarm.poll(cx)).await;
        }
    }

    #[tokio::test]
    async fn one_that_went_off_or_was_taken_back_is_silent() {
        for mut alarm in both() {
            let now = Instant::now();
            alarm.set(Some(now), now);
            poll_fn(|cx| alarm.poll(cx)).await;
            let again = poll_fn(|cx| Poll::Ready(alarm.poll(cx).is_ready())).await;
            assert!(!again);
            let now = Instant::now();
            let mut other = Alarm::new(false);
            other.set(Some(now + Duration::from_millis(20)), now);
            alarm.set(Some(now + Duration::from_millis(1)), now);
            alarm.set(None, now);
            poll_fn(|cx| {
                assert!(alarm.poll(cx).is_pending());
                other.poll(cx)
            })
            .await;
        }
    }
}
