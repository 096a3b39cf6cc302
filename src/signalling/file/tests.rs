// SPDX-License-Identifier: MPL-2.0
//! Two ends over one directory, in every order, after every way to end.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::signalling::message::{Candidate, Description, DescriptionType};

const DEADLINE: Duration = Duration::from_secs(10);

/// The session's ends of a call.
struct Session {
    outgoing: mpsc::Sender<Message>,
    incoming: mpsc::Receiver<Message>,
    notices: mpsc::Receiver<Notice>,
    cancel: CancellationToken,
    run: JoinHandle<Result<(), SignallingError>>,
}

impl Session {
    fn start(directory: &Path, role: Role) -> Self {
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
        let signaller = Box::new(FileExchange::new(directory.to_owned()));
        Self {
            outgoing,
            incoming,
            notices,
            cancel,
            run: tokio::spawn(signaller.run(exchange)),
        }
    }

    async fn send(&self, message: &Message) {
        self.outgoing.send(message.clone()).await.unwrap(); // overflow: awaited
    }

    async fn received(&mut self) -> Message {
        let message = timeout(DEADLINE, self.incoming.recv()).await;
        message.expect("in time").expect("a message")
    }

    /// Waits for a notice that contains `text`.
    async fn noticed(&mut self, text: &str) {
        loop {
            let notice = timeout(DEADLINE, self.notices.recv()).await;
            let Notice(notice) = notice.expect("in time").expect("a notice");
            if notice.contains(text) {
                return;
            }
        }
    }

    async fn ended(self) -> Result<(), SignallingError> {
        timeout(DEADLINE, self.run).await.expect("in time").unwrap()
    }

    async fn cancelled(self) {
        self.cancel.cancel();
        self.ended().await.unwrap();
    }
}

fn description(kind: DescriptionType, name: &str) -> Message {
    let sdp = format!("v=0\r\ns={kind} {name}\r\nm=audio 9 X 0\r\n");
    Message::Description(Description { kind, sdp })
}

fn offer(name: &str) -> Message {
    description(DescriptionType::Offer, name)
}

fn answer(name: &str) -> Message {
    description(DescriptionType::Answer, name)
}

/// As `peerlib.py` does.
fn foreign_write(directory: &Path, name: &str, text: &str) {
    let temporary = directory.join(format!(".{name}.foreign.tmp"));
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, directory.join(format!("{name}.json"))).unwrap();
}

fn foreign_offerer_starts(directory: &Path, name: &str) {
    let _ = fs::remove_file(directory.join("offer.json"));
    let _ = fs::remove_file(directory.join("answer.json"));
    foreign_write(directory, "offer", &encode(&offer(name)));
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Both descriptions go across.
async fn connect(offerer: &mut Session, answerer: &mut Session, name: &str) {
    offerer.send(&offer(name)).await;
    assert_eq!(answerer.received().await, offer(name));
    answerer.send(&answer(name)).await;
    assert_eq!(offerer.received().await, answer(name));
}

#[tokio::test]
async fn calls_follow_each_other_in_either_order_and_leave_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("not/there/yet");
    for round in 0..8 {
        let name = format!("call {round}");
        let (mut offerer, mut answerer);
        if round % 2 == 0 {
            offerer = Session::start(&path, Role::Offerer);
            offerer.send(&offer(&name)).await;
            offerer.noticed("offer written").await;
            answerer = Session::start(&path, Role::Answerer);
        } else {
            answerer = Session::start(&path, Role::Answerer);
            answerer.noticed("waiting for an offer").await;
            offerer = Session::start(&path, Role::Offerer);
            offerer.send(&offer(&name)).await;
        }
        assert_eq!(answerer.received().await, offer(&name));
        answerer.send(&answer(&name)).await;
        assert_eq!(offerer.received().await, answer(&name));
        let (first, mut second) = match round / 2 % 2 {
            0 => (offerer, answerer),
            _ => (answerer, offerer),
        };
        first.send(&Message::Bye).await;
        assert_eq!(second.received().await, Message::Bye);
        first.ended().await.unwrap();
        second.ended().await.unwrap();
        assert!(files(&path).is_empty(), "{:?}", files(&path));
    }
}

#[tokio::test]
async fn files_are_private_and_candidates_are_not_carried() {
    let directory = TempDir::new().unwrap();
    let mut offerer = Session::start(directory.path(), Role::Offerer);
    offerer
        .send(&Message::Candidate(Candidate {
            candidate: "candidate:1 1 udp 1 ::1 9 typ host".to_owned(),
            mid: None,
            mline_index: None,
        }))
        .await;
    offerer.send(&offer("call")).await;
    offerer.noticed("offer written").await;
    assert_eq!(files(directory.path()), [".rswebrtc-offerer", "offer.json"]);
    for name in files(directory.path()) {
        let metadata = fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    let text = fs::read_to_string(directory.path().join("offer.json")).unwrap();
    assert_eq!(text, encode(&offer("call")) + "\n");
    offerer.cancelled().await;
    assert!(files(directory.path()).is_empty());
}

#[tokio::test]
async fn aborted_offerer_removes_its_files() {
    let directory = TempDir::new().unwrap();
    let mut offerer = Session::start(directory.path(), Role::Offerer);
    offerer.send(&offer("call")).await;
    offerer.noticed("offer written").await;
    offerer.run.abort();
    assert!((&mut offerer.run).await.unwrap_err().is_cancelled());
    assert!(files(directory.path()).is_empty());
}

#[tokio::test]
async fn offerer_clears_what_earlier_calls_left() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    for name in ["offer", "answer", "bye"] {
        fs::write(path.join(format!("{name}.json")), encode(&answer("old"))).unwrap();
    }
    fs::write(path.join(".rswebrtc-offer.json.1-1.tmp"), "{").unwrap();
    fs::write(path.join("other.json"), "{}").unwrap();
    let mut offerer = Session::start(path, Role::Offerer);
    let mut answerer = Session::start(path, Role::Answerer);
    connect(&mut offerer, &mut answerer, "new").await;
    answerer.cancelled().await;
    offerer.cancelled().await;
    assert_eq!(files(path), ["other.json"]);
}

#[tokio::test]
async fn answerer_waits_beside_an_offer_that_was_answered_or_ended() {
    for left in ["answer", "bye"] {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        foreign_offerer_starts(path, "old");
        foreign_write(path, left, &encode(&answer("old")));
        let mut answerer = Session::start(path, Role::Answerer);
        answerer.noticed("of an earlier call").await;
        // A later foreign offerer knows no bye.json; past the file system's clock tick.
        let stale = fs::metadata(path.join("offer.json")).unwrap();
        until_clock_moved(path, &stale);
        foreign_offerer_starts(path, "new");
        assert_eq!(answerer.received().await, offer("new"));
        answerer.send(&answer("new")).await;
        answerer.noticed("answer written").await;
        answerer.send(&Message::Bye).await;
        answerer.ended().await.unwrap();
        assert_eq!(files(path), ["answer.json", "bye.json", "offer.json"]);
        // And now again, with what a foreign offerer and we really leave.
        let mut answerer = Session::start(path, Role::Answerer);
        answerer.noticed("of an earlier call").await;
        until_clock_moved(path, &fs::metadata(path.join("bye.json")).unwrap());
        foreign_offerer_starts(path, "third");
        assert_eq!(answerer.received().await, offer("third"));
        assert_eq!(files(path), ["offer.json"]);
        answerer.cancelled().await;
    }
}

/// Until a new file here would be newer than `old`.
fn until_clock_moved(path: &Path, old: &fs::Metadata) {
    let probe = path.join("clock");
    let old = old.modified().unwrap();
    loop {
        fs::write(&probe, "").unwrap();
        let now = fs::metadata(&probe).unwrap().modified().unwrap();
        fs::remove_file(&probe).unwrap();
        if now > old {
            return;
        }
    }
}

#[tokio::test]
async fn foreign_offer_that_arrives_with_an_old_time_is_taken() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    foreign_write(path, "answer", &encode(&answer("old")));
    until_clock_moved(path, &fs::metadata(path.join("answer.json")).unwrap());
    foreign_write(path, "offer", &encode(&offer("copied")));
    let file = File::options()
        .write(true)
        .open(path.join("offer.json"))
        .unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let mut answerer = Session::start(path, Role::Answerer);
    assert_eq!(answerer.received().await, offer("copied"));
    answerer.cancelled().await;
}

#[tokio::test]
async fn foreign_answerer_is_understood() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let mut offerer = Session::start(path, Role::Offerer);
    offerer.send(&offer("call")).await;
    offerer.noticed("offer written").await;
    foreign_write(path, "answer", &encode(&answer("call")));
    assert_eq!(offerer.received().await, answer("call"));
    foreign_write(path, "answer", &encode(&answer("another")));
    offerer.noticed("second answer").await;
    offerer.send(&Message::Bye).await;
    offerer.ended().await.unwrap();
    assert_eq!(files(path), ["bye.json"]);
}

#[tokio::test]
async fn file_in_pieces_is_read_once_it_is_whole_and_noted_while_it_is_not() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let mut answerer = Session::start(path, Role::Answerer);
    answerer.noticed("waiting").await;
    let text = encode(&offer("call"));
    let (head, tail) = text.split_at(text.len() / 2);
    let mut file = File::create(path.join("offer.json")).unwrap();
    file.write_all(head.as_bytes()).unwrap();
    answerer.noticed("is not JSON").await;
    file.write_all(tail.as_bytes()).unwrap();
    assert_eq!(answerer.received().await, offer("call"));
    answerer.cancelled().await;
}

#[tokio::test]
async fn hostile_files_neither_end_nor_block_the_wait() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let mut answerer = Session::start(path, Role::Answerer);
    answerer.noticed("waiting").await;
    for bytes in [
        vec![0xff; 3 << 20],
        b"{\"a\":".repeat(50_000),
        b"[".repeat(50_000),
        Vec::new(),
        encode(&Message::Bye).into_bytes(),
    ] {
        fs::write(path.join("offer.json"), bytes).unwrap();
    }
    answerer.noticed("is not JSON").await;
    foreign_offerer_starts(path, "call");
    assert_eq!(answerer.received().await, offer("call"));
    answerer.cancelled().await;
}

#[tokio::test]
async fn new_offer_after_the_answer_is_reported() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    foreign_offerer_starts(path, "first");
    let mut answerer = Session::start(path, Role::Answerer);
    assert_eq!(answerer.received().await, offer("first"));
    answerer.send(&answer("first")).await;
    foreign_offerer_starts(path, "second");
    let error = answerer.ended().await.unwrap_err();
    assert!(matches!(error, SignallingError::Unexpected(_)), "{error:?}");
    assert!(error.to_string().contains("new call"), "{error}");
}

#[tokio::test]
async fn late_bye_does_not_end_somebody_elses_call() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    foreign_offerer_starts(path, "first");
    let mut answerer = Session::start(path, Role::Answerer);
    assert_eq!(answerer.received().await, offer("first"));
    answerer.cancel.cancel();
    foreign_offerer_starts(path, "second");
    answerer.send(&Message::Bye).await;
    let _ = answerer.ended().await;
    assert_eq!(files(path), ["offer.json"]);
}

#[tokio::test]
async fn answer_where_an_offer_is_due_names_file_and_cure() {
    let directory = TempDir::new().unwrap();
    foreign_write(directory.path(), "offer", &encode(&answer("wrong")));
    let answerer = Session::start(directory.path(), Role::Answerer);
    let error = answerer.ended().await.unwrap_err().to_string();
    assert!(
        error.contains("offer.json") && error.contains("set role="),
        "{error}"
    );
}

#[tokio::test]
async fn two_offerers_are_told_apart() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let mut first = Session::start(path, Role::Offerer);
    first.send(&offer("first")).await;
    first.noticed("offer written").await;
    let second = Session::start(path, Role::Offerer);
    let error = second.ended().await.unwrap_err();
    assert!(matches!(error, SignallingError::Settings(_)), "{error:?}");
    assert_eq!(files(path), [".rswebrtc-offerer", "offer.json"]);
    // A foreign one knows no lock.
    foreign_offerer_starts(path, "foreign");
    let error = first.ended().await.unwrap_err();
    assert!(error.to_string().contains("another offerer"), "{error}");
    assert_eq!(files(path), ["offer.json"]);
}

#[tokio::test]
async fn directory_that_cannot_be_written_is_an_error_with_its_cure() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for (path, role) in [(file.join("below"), Role::Offerer), (file, Role::Answerer)] {
        let error = Session::start(&path, role).ended().await.unwrap_err();
        assert!(matches!(error, SignallingError::Write { .. }), "{error:?}");
        assert!(error.to_string().contains("set location"), "{error}");
    }
    let error = Session::start(Path::new(""), Role::Offerer)
        .ended()
        .await
        .unwrap_err();
    assert!(matches!(error, SignallingError::Settings(_)), "{error:?}");
}

#[tokio::test]
async fn cancel_ends_every_wait_at_once() {
    for role in [Role::Offerer, Role::Answerer] {
        let directory = TempDir::new().unwrap();
        let session = Session::start(directory.path(), role);
        session.cancel.cancel();
        let begin = Instant::now();
        session.ended().await.unwrap();
        assert!(begin.elapsed() < DEADLINE / 2);
        let mut session = Session::start(directory.path(), role);
        if role == Role::Answerer {
            session.noticed("waiting").await;
        } else {
            session.send(&offer("call")).await;
            session.noticed("waiting").await;
        }
        let begin = Instant::now();
        session.cancelled().await;
        assert!(begin.elapsed() < DEADLINE / 2);
    }
}

const CHILD: &str = "RSWEBRTC_TEST_FILE_CHILD";

/// Not a test of its own: an offerer that waits until it is killed.
#[tokio::test]
async fn acts_as_child() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let offerer = Session::start(Path::new(&path), Role::Offerer);
    offerer.send(&offer("killed")).await;
    let _ = offerer.run.await;
}

fn child_in(path: &Path) -> Child {
    let name = format!(
        "{}::acts_as_child",
        module_path!().split_once("::").unwrap().1
    );
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn offer_of_a_killed_offerer_is_not_answered() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let mut child = child_in(path);
    // While it lives, its offer is taken.
    let mut answerer = Session::start(path, Role::Answerer);
    assert_eq!(answerer.received().await, offer("killed"));
    answerer.cancelled().await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(files(path), [".rswebrtc-offerer", "offer.json"]);
    // The same offer now waits for nobody.
    let mut answerer = Session::start(path, Role::Answerer);
    answerer.noticed("its offerer is gone").await;
    let mut offerer = Session::start(path, Role::Offerer);
    connect(&mut offerer, &mut answerer, "next").await;
    answerer.cancelled().await;
    offerer.cancelled().await;
    assert!(files(path).is_empty());
    // A foreign offer beside a dead marker is a foreign offer.
    let mut child = child_in(path);
    let mut answerer = Session::start(path, Role::Answerer);
    assert_eq!(answerer.received().await, offer("killed"));
    answerer.cancelled().await;
    child.kill().unwrap();
    child.wait().unwrap();
    foreign_offerer_starts(path, "foreign");
    let mut answerer = Session::start(path, Role::Answerer);
    assert_eq!(answerer.received().await, offer("foreign"));
    answerer.cancelled().await;
}
