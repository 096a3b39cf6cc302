// SPDX-License-Identifier: MPL-2.0
//! Through pipes, and through a real pseudo-terminal in its default mode.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::signalling::message::Description;

const DEADLINE: Duration = Duration::from_secs(15);

/// The session's ends of a call.
struct Session {
    outgoing: mpsc::Sender<Message>,
    incoming: mpsc::Receiver<Message>,
    notices: mpsc::Receiver<Notice>,
    cancel: CancellationToken,
    run: JoinHandle<Result<(), SignallingError>>,
}

impl Session {
    fn start(stdio: Stdio, role: Role) -> Self {
        let (outgoing, outbox) = mpsc::channel(8);
        let (inbox, incoming) = mpsc::channel(1);
        let (notify, notices) = mpsc::channel(8);
        let cancel = CancellationToken::new();
        let exchange = Exchange {
            role,
            outgoing: outbox,
            incoming: inbox,
            notices: notify,
            cancel: cancel.clone(),
        };
        Self {
            outgoing,
            incoming,
            notices,
            cancel,
            run: tokio::spawn(Box::new(stdio).run(exchange)),
        }
    }

    async fn send(&self, message: &Message) {
        self.outgoing.send(message.clone()).await.unwrap(); // overflow: awaited
    }

    async fn received(&mut self) -> Message {
        let message = timeout(DEADLINE, self.incoming.recv()).await;
        message.expect("in time").expect("a message")
    }

    async fn noticed(&mut self) -> String {
        let notice = timeout(DEADLINE, self.notices.recv()).await;
        notice.expect("in time").expect("a notice").0
    }

    async fn ended(self) -> Result<(), SignallingError> {
        timeout(DEADLINE, self.run).await.expect("in time").unwrap()
    }
}

/// Stdio over pipes, and the other ends.
fn piped() -> (Stdio, PipeWriter, PipeReader) {
    let (input, type_in) = io::pipe().unwrap();
    let (read_out, output) = io::pipe().unwrap();
    let prompts = File::open("/dev/null").unwrap();
    let stdio = Stdio::with_descriptors(input.into(), output.into(), prompts.into());
    (stdio, type_in, read_out)
}

fn description(kind: DescriptionType, size: usize) -> Message {
    let mut sdp = format!("v=0\r\no=- 1 2 IN IP4 ::\r\ns={kind}\r\nt=0 0\r\nm=audio 9 X 0\r\n");
    while sdp.len() < size {
        let number = sdp.len();
        sdp.push_str(&format!(
            "a=candidate:{number} 1 udp 1 127.0.0.1 9 typ host\r\n"
        ));
    }
    Message::Description(Description { kind, sdp })
}

fn offer() -> Message {
    description(DescriptionType::Offer, 5000)
}

fn answer() -> Message {
    description(DescriptionType::Answer, 5000)
}

fn line(message: &Message) -> Vec<u8> {
    (encode(message) + "\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sides_joined_by_pipes_call_and_hang_up() {
    let (input, their_output) = io::pipe().unwrap();
    let (their_input, output) = io::pipe().unwrap();
    let null = || File::open("/dev/null").unwrap().into();
    let ours = Stdio::with_descriptors(input.into(), output.into(), null());
    let theirs = Stdio::with_descriptors(their_input.into(), their_output.into(), null());
    let mut offerer = Session::start(ours, Role::Offerer);
    let mut answerer = Session::start(theirs, Role::Answerer);
    offerer.send(&offer()).await;
    assert_eq!(answerer.received().await, offer());
    answerer.send(&answer()).await;
    assert_eq!(offerer.received().await, answer());
    offerer.send(&Message::Bye).await;
    assert_eq!(answerer.received().await, Message::Bye);
    offerer.ended().await.unwrap();
    answerer.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_sdp_is_complete_after_a_pause() {
    let (stdio, mut type_in, _read_out) = piped();
    let mut session = Session::start(stdio, Role::Answerer);
    let Message::Description(description) = offer() else {
        unreachable!()
    };
    type_in.write_all(description.sdp.as_bytes()).unwrap();
    assert_eq!(session.received().await, offer());
    session.cancel.cancel();
    session.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_stdin_before_the_answer_is_an_error_with_its_cure() {
    let (stdio, type_in, _read_out) = piped();
    let session = Session::start(stdio, Role::Offerer);
    drop(type_in);
    let error = session.ended().await.unwrap_err();
    assert!(matches!(error, SignallingError::Closed(_)), "{error:?}");
    assert!(
        error.to_string().contains("before an answer came"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_stdin_after_the_offer_leaves_the_call_alone() {
    let (stdio, mut type_in, read_out) = piped();
    let mut session = Session::start(stdio, Role::Answerer);
    type_in.write_all(encode(&offer()).as_bytes()).unwrap(); // no line end
    drop(type_in);
    assert_eq!(session.received().await, offer());
    session.send(&answer()).await;
    session.send(&Message::Bye).await;
    session.ended().await.unwrap();
    let written = io::read_to_string(read_out).unwrap().into_bytes();
    assert_eq!(written, [line(&answer()), line(&Message::Bye)].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_after_cancel_and_what_was_queued_is_written() {
    let (input, mut type_in) = io::pipe().unwrap();
    let mut rest = input.try_clone().unwrap();
    let (read_out, output) = io::pipe().unwrap();
    let prompts = File::open("/dev/null").unwrap();
    let mut stdio = Stdio::with_descriptors(input.into(), output.into(), prompts.into());
    stdio.flush_time = Duration::from_secs(10);
    let session = Session::start(stdio, Role::Offerer);
    session.send(&offer()).await;
    session.send(&Message::Bye).await;
    session.cancel.cancel();
    session.ended().await.unwrap();
    type_in.write_all(b"for the next reader").unwrap();
    drop(type_in);
    let mut text = String::new();
    rest.read_to_string(&mut text).unwrap();
    assert_eq!(text, "for the next reader");
    let written = io::read_to_string(read_out).unwrap().into_bytes();
    assert_eq!(written, [line(&offer()), line(&Message::Bye)].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_of_outgoing_ends_signalling() {
    let (stdio, _type_in, _read_out) = piped();
    let Session { outgoing, run, .. } = Session::start(stdio, Role::Offerer);
    drop(outgoing);
    timeout(DEADLINE, run).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_stdout_is_an_error_for_an_offer_and_none_for_a_bye() {
    for (message, fails) in [(offer(), true), (Message::Bye, false)] {
        let (stdio, _type_in, read_out) = piped();
        drop(read_out);
        let session = Session::start(stdio, Role::Offerer);
        session.send(&message).await;
        match session.ended().await {
            Err(SignallingError::Write { .. }) => assert!(fails),
            Ok(()) => assert!(!fails),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_ends_a_write_that_nobody_reads() {
    let (stdio, _type_in, _read_out) = piped();
    let session = Session::start(stdio, Role::Offerer);
    session
        .send(&description(DescriptionType::Offer, 200_000))
        .await;
    session.send(&Message::Bye).await;
    session.cancel.cancel();
    let begin = Instant::now();
    session.ended().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_offer_pasted_back_is_noted_and_the_answer_still_taken() {
    let (stdio, mut type_in, mut read_out) = piped();
    let mut session = Session::start(stdio, Role::Offerer);
    session.send(&offer()).await;
    let mut written = vec![0; line(&offer()).len()];
    read_out.read_exact(&mut written).unwrap();
    type_in.write_all(&written).unwrap();
    let notice = session.noticed().await;
    assert!(notice.contains("your own offer"), "{notice}");
    type_in.write_all(&line(&answer())).unwrap();
    assert_eq!(session.received().await, answer());
    type_in
        .write_all(&line(&description(DescriptionType::Answer, 100)))
        .unwrap();
    let notice = session.noticed().await;
    assert!(notice.contains("second answer"), "{notice}");
}

#[test]
fn second_reader_of_one_stdin_is_refused_until_the_first_ended() {
    let first = Lease::take(&Stream::Stdin).unwrap();
    match Lease::take(&Stream::Stdin) {
        Err(SignallingError::Settings(text)) => assert!(text.contains("share one stdin")),
        other => panic!("{}", other.is_ok()),
    }
    drop(first);
    assert!(Lease::take(&Stream::Stdin).is_ok());
}

/// A terminal and who sits before it.
struct Person {
    keyboard: Arc<File>,
    screen: std::sync::mpsc::Receiver<Vec<u8>>,
    terminal: OwnedFd,
    seen: String,
}

impl Person {
    fn new() -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let keyboard = Arc::new(File::from(master));
        let (show, screen) = std::sync::mpsc::sync_channel(1024);
        let mut display = keyboard.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = display.read(&mut buffer) {
                // overflow: awaited
                if show.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            keyboard,
            screen,
            terminal,
            seen: String::new(),
        }
    }

    fn stdio(&self) -> Stdio {
        let terminal = || self.terminal.as_fd().try_clone_to_owned().unwrap();
        Stdio::with_descriptors(terminal(), terminal(), terminal())
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.terminal).unwrap()
    }

    /// Pastes as a terminal does, on a thread: it blocks while the other side reads.
    fn paste(&self, bytes: &[u8]) {
        // A pasted line end is the Return key.
        let bytes: Vec<u8> = bytes
            .iter()
            .map(|b| if *b == b'\n' { b'\r' } else { *b })
            .collect();
        let keyboard = self.keyboard.clone();
        std::thread::spawn(move || (&*keyboard).write_all(&bytes));
    }

    /// Reads the screen until `text` is there.
    fn sees(&mut self, text: &str) {
        let deadline = std::time::Instant::now() + DEADLINE;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let bytes = self
                .screen
                .recv_timeout(left)
                .expect("on the screen in time");
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.seen.clear();
    }

    fn until_settings(&self, what: impl Fn(&Termios) -> bool) {
        let deadline = std::time::Instant::now() + DEADLINE;
        while !what(&self.settings()) {
            assert!(
                std::time::Instant::now() < deadline,
                "{:?}",
                self.settings()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn same(a: &Termios, b: &Termios) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

fn canonical(settings: &Termios) -> bool {
    settings.local_modes.contains(LocalModes::ICANON)
}

async fn paste_at_terminal(size: usize) {
    let mut person = Person::new();
    let before = person.settings();
    assert!(canonical(&before));
    let mut session = Session::start(person.stdio(), Role::Answerer);
    person.sees("paste the offer here");
    let during = person.settings();
    assert!(!canonical(&during));
    assert!(
        during
            .local_modes
            .contains(LocalModes::ISIG | LocalModes::ECHO)
    );
    assert!(during.input_modes.contains(InputModes::ICRNL));
    let offer = description(DescriptionType::Offer, size);
    person.paste(&line(&offer));
    assert_eq!(session.received().await, offer);
    person.sees("-- rswebrtc: offer received, ");
    // Given back as soon as nothing long is due.
    person.until_settings(|now| same(now, &before));
    session.send(&answer()).await;
    person.sees("back to the offerer");
    person.paste(&line(&Message::Bye));
    assert_eq!(session.received().await, Message::Bye);
    session.ended().await.unwrap();
    assert!(same(&person.settings(), &before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paste_of_20_kb_at_a_terminal_arrives_whole() {
    paste_at_terminal(20_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paste_of_200_kb_at_a_terminal_arrives_whole() {
    paste_at_terminal(200_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_gives_the_terminal_back() {
    let mut person = Person::new();
    let before = person.settings();
    let session = Session::start(person.stdio(), Role::Offerer);
    session.send(&offer()).await;
    person.sees("then paste its answer here");
    assert!(!canonical(&person.settings()));
    session.cancel.cancel();
    session.ended().await.unwrap();
    assert!(same(&person.settings(), &before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_d_at_a_terminal_closes_stdin() {
    let mut person = Person::new();
    let before = person.settings();
    let session = Session::start(person.stdio(), Role::Answerer);
    person.sees("paste the offer here");
    person.paste(b"oops\x7f\x15\x04");
    let error = session.ended().await.unwrap_err();
    assert!(matches!(error, SignallingError::Closed(_)), "{error:?}");
    assert!(same(&person.settings(), &before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_a_shell_restored_are_ours_again_soon() {
    let mut person = Person::new();
    let before = person.settings();
    let mut session = Session::start(person.stdio(), Role::Answerer);
    person.sees("paste the offer here");
    tcsetattr(&person.terminal, OptionalActions::Now, &before).unwrap();
    person.until_settings(|now| !canonical(now));
    person.paste(&line(&offer()));
    assert_eq!(session.received().await, offer());
    session.cancel.cancel();
    session.ended().await.unwrap();
    assert!(same(&person.settings(), &before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_somebody_else_made_are_left_alone() {
    let mut person = Person::new();
    let session = Session::start(person.stdio(), Role::Answerer);
    person.sees("paste the offer here");
    let mut theirs = person.settings();
    theirs
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ISIG);
    tcsetattr(&person.terminal, OptionalActions::Now, &theirs).unwrap();
    session.cancel.cancel();
    session.ended().await.unwrap();
    assert!(same(&person.settings(), &theirs));
}

const CHILD: &str = "RSWEBRTC_TEST_STDIO_CHILD";

/// Not a test of its own: what [`child_at`] runs.
#[test]
fn acts_as_child() {
    let Ok(end) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut session = Session::start(Stdio::new(), Role::Answerer);
        if end == "exit" {
            // Still waiting for the offer, in the middle of everything.
            session.noticed().await;
            std::process::exit(0);
        }
        let _ = session.ended().await;
    });
}

fn child_at(person: &Person, end: &str) -> Child {
    let name = format!(
        "{}::acts_as_child",
        module_path!().split_once("::").unwrap().1
    );
    let terminal = || person.terminal.as_fd().try_clone_to_owned().unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture", "--test-threads=1"])
        .env(CHILD, end)
        .stdin(terminal())
        .stdout(terminal())
        .stderr(terminal())
        .spawn()
        .unwrap()
}

fn killed_child_gives_the_terminal_back(signal: Signal) {
    let mut person = Person::new();
    let before = person.settings();
    let mut child = child_at(&person, "never");
    person.sees("paste the offer here");
    assert!(!canonical(&person.settings()));
    // Rust's own handler lets the first SIGSEGV that is no fault pass.
    while child.try_wait().unwrap().is_none() {
        kill_process(Pid::from_child(&child), signal).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    person.until_settings(|now| same(now, &before));
}

#[test]
fn sigkill_gives_the_terminal_back() {
    killed_child_gives_the_terminal_back(Signal::KILL);
}

#[test]
fn sigterm_gives_the_terminal_back() {
    killed_child_gives_the_terminal_back(Signal::TERM);
}

#[test]
fn sigsegv_gives_the_terminal_back() {
    killed_child_gives_the_terminal_back(Signal::SEGV);
}

#[test]
fn process_exit_gives_the_terminal_back() {
    let mut person = Person::new();
    let before = person.settings();
    let mut child = child_at(&person, "exit");
    person.sees("paste the offer here");
    person.paste(b"please exit\n");
    assert!(child.wait().unwrap().success());
    person.until_settings(|now| same(now, &before));
}
