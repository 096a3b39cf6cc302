// SPDX-License-Identifier: MPL-2.0
//! The thread that reads stdin.
//!
//! Invariant: once [`Reader::stop`] has returned, no byte of stdin is taken any more, and the
//! terminal is as it was.

use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::isatty;
use tokio::sync::{mpsc, oneshot};

use super::terminal::{PasteMode, in_foreground};
use super::{Lease, SignallingError, Stream};

/// How soon a terminal that came back from the shell is noticed, without a signal handler.
const TERMINAL_CHECK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 300_000_000,
};

/// What a stop may wait for the thread: longer only if another process took the input between
/// our `poll` and our `read`.
const STOP_TIME: Duration = Duration::from_secs(1);

/// From the thread.
pub(super) enum Input {
    /// Input; `edited` means that line editing is ours to do.
    Bytes {
        /// As read.
        bytes: Vec<u8>,
        /// The terminal was out of canonical mode.
        edited: bool,
    },
    /// For the user.
    Notice(String),
    /// End of file.
    End,
    /// Reading failed.
    Failed(io::Error),
}

/// Handle of the thread.
pub(super) struct Reader {
    inputs: mpsc::Receiver<Input>,
    settled: oneshot::Receiver<()>,
    ended: oneshot::Receiver<()>,
    control: Arc<Control>,
}

impl Reader {
    /// Starts to read.
    pub(super) fn start(stream: Stream, lease: Lease) -> Result<Self, SignallingError> {
        let failed = |source: io::Error| SignallingError::Read {
            what: "no thread to read stdin with: the system is short of resources".to_owned(),
            source: source.into(),
        };
        let (wake_read, wake_write) = io::pipe().map_err(failed)?;
        let control = Arc::new(Control {
            stop: AtomicBool::new(false),
            pasting: AtomicBool::new(true),
            wake_read,
            wake_write,
        });
        let (sender, inputs) = mpsc::channel(4);
        let (settle, settled) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = Thread {
            mode: isatty(&stream).then(|| PasteMode::new(stream.clone())),
            stream,
            sender,
            control: control.clone(),
            told: false,
            settle: Some(settle),
        };
        std::thread::Builder::new()
            .name("rswebrtc-stdin".to_owned())
            .spawn(move || {
                thread.run();
                drop(lease);
                // overflow: detached (a oneshot)
                let _ = end.send(());
            })
            .map_err(failed)?;
        Ok(Self {
            inputs,
            settled,
            ended,
            control,
        })
    }

    /// Waits until the terminal, if it is one, takes long lines.
    pub(super) async fn settled(&mut self) {
        let _ = (&mut self.settled).await;
    }

    /// The next input; [`Input::End`] for ever after the end.
    pub(super) async fn next(&mut self) -> Input {
        self.inputs.recv().await.unwrap_or(Input::End)
    }

    /// Nothing long will be pasted any more: the terminal becomes what it was.
    pub(super) fn end_of_pasting(&self) {
        if self.control.pasting.swap(false, Ordering::AcqRel) {
            self.control.wake();
        }
    }

    /// Nothing is to be read any more.
    pub(super) fn end_of_input(&self) {
        self.control.stop();
    }

    /// Ends reading, and waits for that.
    pub(super) async fn stop(mut self) {
        self.control.stop();
        self.inputs.close();
        if tokio::time::timeout(STOP_TIME, &mut self.ended)
            .await
            .is_err()
        {
            log::warn!("stdio: another process reads the same stdin");
        }
    }
}

impl Drop for Reader {
    /// The thread ends by itself, also if the task that owned this was aborted.
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// What the handle tells the thread. Both ends of the pipe live here, so that writing to it
/// never raises SIGPIPE.
struct Control {
    stop: AtomicBool,
    pasting: AtomicBool,
    wake_read: PipeReader,
    wake_write: PipeWriter,
}

impl Control {
    fn stop(&self) {
        if !self.stop.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// At most two bytes are ever written: this does not block.
    fn wake(&self) {
        let _ = (&self.wake_write).write(&[0]);
    }
}

struct Thread {
    stream: Stream,
    sender: mpsc::Sender<Input>,
    control: Arc<Control>,
    /// For a terminal.
    mode: Option<PasteMode>,
    /// The user was told that we are in the background.
    told: bool,
    settle: Option<oneshot::Sender<()>>,
}

impl Thread {
    fn run(mut self) {
        self.read();
        if let Some(mode) = &mut self.mode {
            mode.leave();
        }
    }

    fn read(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        while !self.control.stop.load(Ordering::Acquire) {
            let foreground = self.mode.is_none() || in_foreground(&self.stream);
            if foreground {
                self.told = false;
                self.set_mode();
            } else if !std::mem::replace(&mut self.told, true) {
                let text = "running in the background: bring it to the foreground (fg) to paste";
                self.send(Input::Notice(text.to_owned()));
            }
            if let Some(settle) = self.settle.take() {
                // overflow: detached (a oneshot)
                let _ = settle.send(());
            }
            let readable = match self.wait(foreground) {
                Ok(readable) => readable,
                Err(error) => {
                    self.send(Input::Failed(error));
                    return;
                }
            };
            // Reading a terminal from the background stops the process: ask again.
            let allowed = self.mode.is_none() || in_foreground(&self.stream);
            if !readable || !allowed || self.control.stop.load(Ordering::Acquire) {
                continue;
            }
            let edited = self.mode.as_ref().is_some_and(PasteMode::is_entered);
            let input = match rustix::io::read(&self.stream, &mut buffer) {
                Ok(0) => Input::End,
                Ok(length) => Input::Bytes {
                    bytes: buffer.get(..length).unwrap_or_default().to_vec(),
                    edited,
                },
                Err(Errno::INTR | Errno::AGAIN) => continue,
                // A terminal that was hung up.
                Err(Errno::IO) if self.mode.is_some() => Input::End,
                Err(error) => Input::Failed(error.into()),
            };
            let last = !matches!(input, Input::Bytes { .. });
            if !self.send(input) || last {
                return;
            }
        }
    }

    fn set_mode(&mut self) {
        let Some(mode) = &mut self.mode else {
            return;
        };
        if !self.control.pasting.load(Ordering::Acquire) {
            mode.leave();
        } else if let Err(error) = mode.enter() {
            let text = format!(
                "the terminal keeps its line mode ({error}), which cuts a line at 4096 bytes: \
                 paste the description as base64 in short lines, or use signaller=file"
            );
            self.send(Input::Notice(text));
        }
    }

    /// Until there is something to read (true) or to look at.
    fn wait(&self, foreground: bool) -> io::Result<bool> {
        let pasting = self.control.pasting.load(Ordering::Acquire);
        let check = self.mode.is_some() && (pasting || !foreground);
        let wake = self.control.wake_read.as_fd();
        let mut fds = [
            PollFd::new(&wake, PollFlags::IN),
            PollFd::new(&self.stream, PollFlags::IN),
        ];
        let watched = if foreground { 2 } else { 1 };
        let Some(watched) = fds.get_mut(..watched) else {
            return Ok(false);
        };
        match poll(watched, check.then_some(&TERMINAL_CHECK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [woken, stream] = fds;
        if !woken.revents().is_empty() {
            // A byte is there, so this does not block.
            let _ = rustix::io::read(wake, &mut [0; 1]);
        }
        if stream.revents().contains(PollFlags::NVAL) {
            return Err(Errno::BADF.into());
        }
        Ok(foreground && !stream.revents().is_empty())
    }

    fn send(&self, input: Input) -> bool {
        // overflow: awaited, off the runtime; ends when the handle is stopped
        self.sender.blocking_send(input).is_ok()
    }
}
