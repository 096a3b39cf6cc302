// SPDX-License-Identifier: MPL-2.0

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::message::{Candidate, Description, DescriptionType, Message};
use super::super::{Exchange, Notice, Role, Signaller, SignallingError};
use super::{Application, Mailbox, NotTaken, Place};

const LIMIT: Duration = Duration::from_secs(10);

fn sdp(name: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns={name}\r\nt=0 0\r\nm=audio 9 X 0\r\n")
}

fn description(kind: DescriptionType, name: &str) -> Message {
    let sdp = sdp(name);
    Message::Description(Description { kind, sdp })
}

fn line(kind: &str, name: &str) -> String {
    serde_json::json!({"type": kind, "sdp": sdp(name)}).to_string()
}

const CANDIDATE: &str = r#"{"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "id": "0",
                           "label": 0, "type": "candidate"}"#;
const BYE: &str = r#"{"type": "bye"}"#;

/// The session's end of a signaller that runs.
struct Running {
    outgoing: Option<mpsc::Sender<Message>>,
    incoming: mpsc::Receiver<Message>,
    notices: mpsc::Receiver<Notice>,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), SignallingError>>,
}

impl Running {
    fn start(mailbox: &Mailbox, role: Role) -> Self {
        Self::of(Application::new(mailbox.clone()), role)
    }

    fn of(signaller: Application, role: Role) -> Self {
        let (outgoing, for_remote) = mpsc::channel(16);
        let (from_remote, incoming) = mpsc::channel(16);
        let (to_user, notices) = mpsc::channel(16);
        let cancel = CancellationToken::new();
        let exchange = Exchange {
            role,
            outgoing: for_remote,
            incoming: from_remote,
            notices: to_user,
            cancel: cancel.clone(),
        };
        Self {
            outgoing: Some(outgoing),
            incoming,
            notices,
            cancel,
            task: tokio::spawn(Box::new(signaller).run(exchange)),
        }
    }

    async fn say(&self, message: Message) {
        let outgoing = self.outgoing.as_ref().unwrap();
        outgoing.send(message).await.unwrap(); // overflow: awaited
    }

    async fn heard(&mut self) -> Message {
        timeout(LIMIT, self.incoming.recv()).await.unwrap().unwrap()
    }

    async fn end(self) -> Result<(), SignallingError> {
        timeout(LIMIT, self.task).await.unwrap().unwrap()
    }
}

/// Has `mailbox` tell what is said to a list.
fn listen(mailbox: &Mailbox, place: Place) -> Arc<Mutex<Vec<String>>> {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = said.clone();
    let outlet = move |line: &str| {
        into.lock().unwrap().push(line.to_owned());
        true
    };
    mailbox.attach(place, Arc::new(outlet));
    said
}

fn place(receives: bool, number: u64) -> Place {
    Place {
        left: false,
        receives,
        number,
    }
}

#[tokio::test]
async fn both_ways_are_the_lines_of_stdio_and_a_bye_ends_it() {
    let mailbox = Mailbox::default();
    let said = listen(&mailbox, place(false, 1));
    let mut running = Running::start(&mailbox, Role::Offerer);
    running.say(description(DescriptionType::Offer, "a")).await;
    mailbox.put(&line("answer", "b")).unwrap();
    assert_eq!(
        running.heard().await,
        description(DescriptionType::Answer, "b")
    );
    mailbox.put(CANDIDATE).unwrap();
    assert!(matches!(
        running.heard().await,
        Message::Candidate(Candidate {
            mline_index: Some(0),
            ..
        })
    ));
    running.say(Message::Bye).await;
    running.end().await.unwrap();
    let said = said.lock().unwrap();
    assert_eq!(said.len(), 2);
    assert!(
        said[0].starts_with("{\"sdp\": \"v=0\\r\\n") && said[0].ends_with("\"type\": \"offer\"}")
    );
    assert_eq!(said[1], BYE);
    // Late messages, as there always are, are passed over; a description would be missed.
    assert_eq!([mailbox.put(CANDIDATE), mailbox.put(BYE)], [Ok(()), Ok(())]);
    assert_eq!(mailbox.put(&line("offer", "c")), Err(NotTaken::Over));
    assert!(mailbox.pop_for_tests().is_none());
}

#[tokio::test]
async fn what_comes_before_the_call_waits_for_it_but_the_end_of_an_earlier_one_does_not() {
    let mailbox = Mailbox::default();
    mailbox.put(BYE).unwrap();
    let [offer, candidate] = [line("offer", "a"), CANDIDATE.to_owned()];
    // Both in one piece, as a program may have read them.
    mailbox
        .put(&format!("{offer}\n{}", candidate.replace('\n', " ")))
        .unwrap();
    let mut running = Running::start(&mailbox, Role::Answerer);
    assert_eq!(
        running.heard().await,
        description(DescriptionType::Offer, "a")
    );
    assert!(matches!(running.heard().await, Message::Candidate(_)));
    mailbox.put(BYE).unwrap();
    assert_eq!(running.heard().await, Message::Bye);
    running.end().await.unwrap();
}

#[tokio::test]
async fn an_untyped_description_is_the_one_that_is_due() {
    for (role, due) in [
        (Role::Offerer, DescriptionType::Answer),
        (Role::Answerer, DescriptionType::Offer),
    ] {
        let mailbox = Mailbox::default();
        mailbox.put(&sdp("bare")).unwrap();
        let mut running = Running::start(&mailbox, role);
        assert_eq!(running.heard().await, description(due, "bare"));
    }
}

#[test]
fn what_is_no_message_is_refused_with_the_cure_and_without_its_secrets() {
    let mailbox = Mailbox::default();
    let cut = line("offer", "a=ice-pwd:secret");
    let cut = &cut[..cut.len() - 9];
    for text in [
        "",
        " \n",
        "hello",
        "{}",
        "[1]",
        "{\"type\": \"offer\"}",
        cut,
    ] {
        match mailbox.put(text) {
            Err(NotTaken::Unreadable(why)) => {
                assert!(why.contains("wanted is a whole message"), "{text}: {why}");
                assert!(!why.contains("secret"), "{why}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    // Nothing of what is half a message is taken.
    assert!(mailbox.put(&format!("{CANDIDATE}\nhello")).is_err());
    // The end of candidates is a message that asks for nothing.
    mailbox.put(r#"{"candidate": "", "sdpMid": "0"}"#).unwrap();
    assert!(mailbox.pop_for_tests().is_none());
}

#[test]
fn what_waits_is_bounded_in_number_and_in_bytes() {
    let mailbox = Mailbox::default();
    let first_refused = (0..10_000).position(|_| mailbox.put(CANDIDATE).is_err());
    assert_eq!(first_refused, Some(512));
    assert_eq!(mailbox.put(CANDIDATE), Err(NotTaken::Full));
    let mailbox = Mailbox::default();
    let long = line("offer", &"x".repeat(900_000));
    let first_refused = (0..100).position(|_| mailbox.put(&long).is_err());
    assert_eq!(first_refused, Some(4));
    // Moving to the mailbox of a shared call keeps to it, too, and says what it costs.
    let full = Mailbox::default();
    full.put(&long).unwrap();
    assert_eq!(full.take_from(&mailbox), 1);
}

#[tokio::test]
async fn a_call_that_nobody_listens_to_ends_with_the_cure() {
    let mailbox = Mailbox::default();
    let signaller = Application {
        mailbox: mailbox.clone(),
        listener_limit: Duration::from_millis(50),
    };
    let running = Running::of(signaller, Role::Offerer);
    running.say(description(DescriptionType::Offer, "a")).await;
    let error = running.end().await.unwrap_err();
    assert!(matches!(error, SignallingError::Settings(_)));
    assert!(
        error.to_string().contains("on-signalling-message"),
        "{error}"
    );
}

#[tokio::test]
async fn a_message_waits_for_somebody_who_listens_late() {
    let mailbox = Mailbox::default();
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = said.clone();
    let asked = AtomicUsize::new(0);
    let outlet = move |line: &str| {
        let listens = asked.fetch_add(1, Ordering::Relaxed) > 3;
        if listens {
            into.lock().unwrap().push(line.to_owned());
        }
        listens
    };
    mailbox.attach(place(false, 1), Arc::new(outlet));
    let running = Running::start(&mailbox, Role::Offerer);
    running.say(description(DescriptionType::Offer, "a")).await;
    running.say(Message::Bye).await;
    running.end().await.unwrap();
    let said = said.lock().unwrap();
    assert!(said.len() == 2 && said[0].contains("offer") && said[1] == BYE);
}

#[tokio::test]
async fn a_handler_that_blocks_delays_nothing_that_comes_and_no_end() {
    let mailbox = Mailbox::default();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let entered = Arc::new(AtomicBool::new(false));
    let seen = entered.clone();
    let outlet = move |_: &str| {
        seen.store(true, Ordering::Release);
        let _ = blocked.lock().unwrap().recv();
        true
    };
    mailbox.attach(place(false, 1), Arc::new(outlet));
    let mut running = Running::start(&mailbox, Role::Offerer);
    running.say(description(DescriptionType::Offer, "a")).await;
    mailbox.put(&line("answer", "b")).unwrap();
    assert_eq!(
        running.heard().await,
        description(DescriptionType::Answer, "b")
    );
    while !entered.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    running.say(Message::Bye).await;
    running.cancel.cancel();
    running.end().await.unwrap();
    drop(release);
}

#[tokio::test]
async fn a_bye_that_the_session_left_is_told_after_the_cut() {
    let mailbox = Mailbox::default();
    let said = listen(&mailbox, place(false, 1));
    let mut running = Running::start(&mailbox, Role::Answerer);
    running.say(Message::Bye).await;
    running.outgoing = None;
    running.cancel.cancel();
    running.end().await.unwrap();
    // The one who listens has a thread of their own, and signalling waits only a moment for it.
    let start = std::time::Instant::now();
    while said.lock().unwrap().is_empty() && start.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(*said.lock().unwrap(), [BYE]);
}

#[tokio::test]
async fn the_wrong_description_ends_the_call_with_the_cure_and_a_repeated_one_is_a_note() {
    let mailbox = Mailbox::default();
    mailbox.put(&line("answer", "a")).unwrap();
    let error = Running::start(&mailbox, Role::Answerer)
        .end()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("role=offer"), "{error}");

    let mailbox = Mailbox::default();
    let mut running = Running::start(&mailbox, Role::Answerer);
    mailbox.put(&line("offer", "a")).unwrap();
    mailbox.put(&line("offer", "a")).unwrap();
    running.heard().await;
    let Notice(text) = timeout(LIMIT, running.notices.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(text.contains("received before"), "{text}");
}

#[test]
fn of_two_elements_the_one_that_sends_is_told_and_who_left_only_when_nobody_else_listens() {
    let mailbox = Mailbox::default();
    let source = listen(&mailbox, place(true, 1));
    let sink = listen(&mailbox, place(false, 2));
    let counts = || (source.lock().unwrap().len(), sink.lock().unwrap().len());
    assert!(mailbox.tell("1"));
    assert_eq!(counts(), (0, 1));
    mailbox.left(2);
    assert!(mailbox.tell("2"));
    assert_eq!(counts(), (1, 1));
    mailbox.attach(place(true, 1), Arc::new(|_| false));
    assert!(mailbox.tell("3"));
    assert_eq!(counts(), (1, 2));
}
