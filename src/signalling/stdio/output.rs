// SPDX-License-Identifier: MPL-2.0
//! Whole lines to stdout and stderr, from a thread that may block.
//!
//! Invariant: a line is one `write`, as far as the system takes it whole, so that what others
//! print does not land in the middle of it; and a pipe without a reader is an error, not a signal.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::{SignallingError, Streams};

/// Writes a line to stdout, then a text to stderr. May be dropped: what is under way goes on.
pub(super) async fn write(
    streams: Streams,
    line: Option<String>,
    text: Option<String>,
) -> Result<(), SignallingError> {
    let (done, written) = oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name("rswebrtc-stdout".to_owned())
        .spawn(move || {
            let result = match line {
                Some(line) => write_all(&streams.output, line.as_bytes()),
                None => Ok(()),
            };
            if let (Ok(()), Some(text)) = (&result, text) {
                // A prompt that cannot be shown does not end a call.
                let _ = write_all(&streams.prompts, text.as_bytes());
            }
            // overflow: detached (a oneshot)
            let _ = done.send(result);
        });
    let result = match spawned {
        Ok(_) => written.await.unwrap_or(Ok(())),
        Err(source) => Err(source),
    };
    result.map_err(|source| SignallingError::Write {
        what: match source.kind() {
            io::ErrorKind::BrokenPipe => {
                "stdout is closed, the remote cannot get our description: \
                 keep the program that reads it running"
            }
            _ => "stdout cannot be written: give it a terminal, a pipe or a file",
        }
        .to_owned(),
        source: source.into(),
    })
}

/// `write` until all is written; never raises SIGPIPE, which ends programs not written in Rust.
pub(super) fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let state = fds.first().map_or(PollFlags::empty(), PollFd::revents);
        if state.contains(PollFlags::ERR) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match rustix::io::write(&fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            // Somebody set O_NONBLOCK on a shared descriptor.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
