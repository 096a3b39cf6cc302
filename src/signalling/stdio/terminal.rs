// SPDX-License-Identifier: MPL-2.0
//! A terminal that takes long pastes, and that is given back whatever happens.
//!
//! In canonical mode a terminal drops what a line has beyond 4096 bytes; an SDP has 5 to 20 kB.
//! So ICANON alone is switched off while a description is due (signals, echo and CR-to-LF stay),
//! and switched on again as soon as it came.
//!
//! Invariant: the settings are restored, but only if they still are the ones set here: a shell
//! or a program that set its own meanwhile keeps them. No signal handler is installed, since
//! those belong to the application. For an end that this process does not see coming (a signal,
//! SIGKILL, `exit`), a small guard process holds a pipe to this one and restores the settings
//! when the pipe closes. A shell that changes the settings on Ctrl-Z and `fg` is noticed by
//! looking again now and then.

use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

use super::Stream;
use super::output::write_all;

/// Commands on stdin, `ready` on stdout, the terminal as stderr. After the pipe closed without
/// `done`, it goes on looking for 10 s, since an interactive shell first puts its own settings
/// in place and may come back to ours.
const GUARD: &str = r#"
trap '' HUP INT QUIT TERM TSTP TTIN TTOU PIPE
settings() { stty -g <&2 2>/dev/null; }
saved=$(settings) || exit 1
echo ready 2>/dev/null
ours=
while read -r word; do
  case $word in
    set) ours=$(settings) ;;
    done) exit 0 ;;
  esac
done
tries=0
while [ $tries -lt 50 ]; do
  now=$(settings) || exit 0
  [ "$now" = "$saved" ] && exit 0
  if [ -z "$ours" ] || [ "$now" = "$ours" ]; then
    stty "$saved" <&2 2>/dev/null
    exit 0
  fi
  tries=$((tries + 1))
  sleep 0.2 2>/dev/null || sleep 1
done
"#;

/// Whether this process may touch the terminal without being stopped for it.
pub(super) fn in_foreground(terminal: &Stream) -> bool {
    match tcgetpgrp(terminal) {
        Ok(group) => group == rustix::process::getpgrp(),
        // Not our controlling terminal: no job control on it.
        Err(Errno::NOTTY) => true,
        // The group in the foreground is of another PID namespace.
        Err(Errno::OPNOTSUPP) => true,
        Err(_) => false,
    }
}

/// The terminal's mode for pasting.
pub(super) struct PasteMode {
    terminal: Stream,
    entered: Option<Entered>,
    refused: bool,
}

struct Entered {
    before: Termios,
    ours: Termios,
    /// None where there is no shell or no stty.
    guard: Option<Guard>,
}

impl PasteMode {
    /// Not entered yet.
    pub(super) fn new(terminal: Stream) -> Self {
        Self {
            terminal,
            entered: None,
            refused: false,
        }
    }

    /// Whether the terminal leaves line editing to us.
    pub(super) fn is_entered(&self) -> bool {
        self.entered.is_some()
    }

    /// Enters the mode, also again if somebody ended it. A terminal that is out of canonical
    /// mode already is somebody else's to restore. An error comes once, then nothing.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        if self.refused {
            return Ok(());
        }
        let result = self.try_enter();
        self.refused = result.is_err();
        result
    }

    fn try_enter(&mut self) -> io::Result<()> {
        let before = tcgetattr(&self.terminal)?;
        if !before.local_modes.contains(LocalModes::ICANON) {
            return Ok(());
        }
        if let Some(entered) = self.entered.take() {
            entered.dismiss_guard();
        }
        let mut ours = before.clone();
        ours.local_modes.remove(LocalModes::ICANON);
        // infallible: the index type has a place for each of its values.
        ours.special_codes[SpecialCodeIndex::VMIN] = 1;
        ours.special_codes[SpecialCodeIndex::VTIME] = 0; // infallible: see above.
        let mut guard = match Guard::start(&self.terminal) {
            Ok(guard) => Some(guard),
            Err(error) => {
                log::info!("stdio: no guard for the terminal: {error}");
                None
            }
        };
        // Without waiting for output: that waits for ever on a stopped terminal.
        if let Err(error) = tcsetattr(&self.terminal, OptionalActions::Now, &ours) {
            if let Some(guard) = guard {
                guard.dismiss();
            }
            return Err(error.into());
        }
        if let Some(guard) = &mut guard {
            guard.say("set\n");
        }
        self.entered = Some(Entered {
            before,
            ours,
            guard,
        });
        Ok(())
    }

    /// Restores the terminal, if it is ours to restore.
    pub(super) fn leave(&mut self) {
        let Some(entered) = self.entered.take() else {
            return;
        };
        let unchanged = tcgetattr(&self.terminal).is_ok_and(|now| same(&now, &entered.ours));
        if unchanged && in_foreground(&self.terminal) {
            let before = &entered.before;
            if let Err(error) = tcsetattr(&self.terminal, OptionalActions::Now, before) {
                log::warn!("stdio: the terminal's settings are not restored: {error}");
            }
        }
        entered.dismiss_guard();
    }
}

impl Entered {
    fn dismiss_guard(self) {
        if let Some(guard) = self.guard {
            guard.dismiss();
        }
    }
}

fn same(a: &Termios, b: &Termios) -> bool {
    let codes = [
        SpecialCodeIndex::VMIN,
        SpecialCodeIndex::VTIME,
        SpecialCodeIndex::VINTR,
        SpecialCodeIndex::VEOF,
        SpecialCodeIndex::VERASE,
        SpecialCodeIndex::VKILL,
    ];
    a.input_modes == b.input_modes
        && a.output_modes == b.output_modes
        && a.control_modes == b.control_modes
        && a.local_modes == b.local_modes
        && codes
            .into_iter()
            // infallible: the index type has a place for each of its values.
            .all(|code| a.special_codes[code] == b.special_codes[code])
}

/// The process that restores the terminal if this one cannot.
struct Guard {
    process: Child,
    pipe: ChildStdin,
}

impl Guard {
    /// Returns once it knows the settings to restore.
    fn start(terminal: &Stream) -> io::Result<Self> {
        const TIME: Timespec = Timespec {
            tv_sec: 2,
            tv_nsec: 0,
        };
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let mut process = Command::new("/bin/sh")
            .args(["-c", GUARD])
            // A group of its own: a Ctrl-C or a kill of ours does not reach it.
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(terminal))
            .spawn()?;
        let (Some(pipe), Some(mut answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut guard = Self { process, pipe };
        let mut fds = [PollFd::new(&answers, PollFlags::IN)];
        while let Err(Errno::INTR) = poll(&mut fds, Some(&TIME)) {}
        let answered = fds.iter().any(|fd| fd.revents().contains(PollFlags::IN));
        let mut answer = [0; 16];
        if !answered || answers.read(&mut answer)? == 0 {
            let _ = guard.process.kill();
            guard.dismiss();
            return Err(io::Error::other("sh or stty does not work here"));
        }
        Ok(guard)
    }

    fn say(&mut self, word: &str) {
        // It may be gone; then there is nothing to do about it.
        let _ = write_all(&self.pipe, word.as_bytes());
    }

    fn dismiss(mut self) {
        self.say("done\n");
        drop(self.pipe);
        // Its parent may have been told to ignore or reap all children: no error of ours.
        let _ = self.process.wait();
    }
}
