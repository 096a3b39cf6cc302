// SPDX-License-Identifier: MPL-2.0

use rtc::ice::attributes::control::AttrControlling;
use rtc::ice::attributes::priority::PriorityAttr;
use rtc::stun::attributes::ATTR_USERNAME;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Setter, TransactionId};
use rtc::stun::textattrs::Username;
use rtc::stun::xoraddr::XorMappedAddress;

use super::*;

const OURS: &str = "127.0.0.1:4001";
const FIRST: &str = "127.0.0.1:5001";
const SECOND: &str = "127.0.0.1:5002";

fn route(remote: &str) -> Route {
    Route {
        local: OURS.parse().unwrap(),
        remote: remote.parse().unwrap(),
    }
}

/// An end that offered, by hand: it answers each check at any of its addresses.
struct Remote {
    ufrag: String,
    pwd: String,
}

/// Ours, controlled, and its remote.
struct Call {
    ice: Ice,
    remote: Remote,
    now: Instant,
}

impl Call {
    fn new() -> Self {
        let now = Instant::now();
        let provider = rtc::crypto::default_provider().unwrap();
        let mut ice = Ice::new(provider, now).unwrap();
        ice.add_host(OURS.parse().unwrap()).unwrap();
        let remote = Remote {
            ufrag: "remote".to_owned(),
            pwd: "of twenty-two characters".to_owned(),
        };
        ice.start(false, (&remote.ufrag, &remote.pwd), now).unwrap();
        ice.add_remote("1 1 udp 2130706431 127.0.0.1 5001 typ host");
        let mut call = Self { ice, remote, now };
        while call.ice.state != IceState::Connected {
            call.nominate(FIRST);
        }
        assert_eq!(call.ice.route, Some(route(FIRST)));
        call
    }

    fn signed<'a>(&'a self, pwd: &str, mut attributes: Vec<Box<dyn Setter + 'a>>) -> Vec<u8> {
        let crypto = self.ice.provider.crypto();
        let integrity =
            MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), crypto);
        attributes.push(Box::new(integrity));
        attributes.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&attributes).unwrap();
        message.raw
    }

    /// The remote nominates from `address`, and answers what comes there.
    fn nominate(&mut self, address: &str) {
        let (ufrag, pwd) = self.ice.credentials();
        let user = Username::new(ATTR_USERNAME, format!("{ufrag}:{}", self.remote.ufrag));
        let request = self.signed(
            &pwd,
            vec![
                Box::new(BINDING_REQUEST),
                Box::new(TransactionId::new()),
                Box::new(user),
                Box::new(UseCandidateAttr),
                Box::new(AttrControlling(1)),
                Box::new(PriorityAttr(1)),
            ],
        );
        self.ice.read(route(address), &request, self.now);
        self.answer(address);
        self.pass(Duration::from_millis(20));
        self.answer(address);
        self.ice.update();
    }

    /// Answers the checks that left for `address`; all others are lost. Gives how many it answered.
    fn answer(&mut self, address: &str) -> usize {
        let mut answered = 0;
        let sent: Vec<_> = std::iter::from_fn(|| self.ice.poll_write()).collect();
        for (way, data) in sent {
            let mut check = Message {
                raw: data.to_vec(),
                ..Message::default()
            };
            check.decode().unwrap();
            if way != route(address) || check.typ != BINDING_REQUEST {
                continue;
            }
            let mapped = XorMappedAddress {
                ip: way.local.ip(),
                port: way.local.port(),
            };
            let answer: Vec<Box<dyn Setter>> = vec![
                Box::new(check.transaction_id),
                Box::new(BINDING_SUCCESS),
                Box::new(mapped),
            ];
            let answer = self.signed(&self.remote.pwd.clone(), answer);
            self.ice.read(way, &answer, self.now);
            answered += 1;
        }
        answered
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.ice.handle_timeout(self.now);
    }
}

#[test]
fn media_by_a_pair_that_was_nominated_later_takes_ours_with_it() {
    let mut call = Call::new();
    call.ice.alive(route(FIRST), call.now);
    call.nominate(SECOND);
    assert_eq!(call.ice.route, Some(route(FIRST)), "nothing came by it yet");
    call.ice.alive(route(SECOND), call.now);
    assert_eq!(call.ice.route, Some(route(SECOND)));
    assert!(call.ice.pair.1.starts_with(SECOND), "{:?}", call.ice.pair);
}

#[test]
fn a_nomination_alone_counts_once_the_pair_in_use_is_silent() {
    let mut call = Call::new();
    call.nominate(SECOND);
    assert_eq!(call.ice.route, Some(route(FIRST)));
    call.pass(Duration::from_millis(1500));
    call.nominate(SECOND);
    assert_eq!(call.ice.route, Some(route(SECOND)));
}

#[test]
fn a_remote_that_went_over_is_not_called_silent() {
    let mut call = Call::new();
    call.nominate(SECOND);
    call.ice.alive(route(SECOND), call.now);
    for _ in 0..20 {
        call.pass(Duration::from_millis(500));
        call.ice.alive(route(SECOND), call.now);
        call.ice.update();
        assert_eq!(call.ice.state, IceState::Connected);
    }
    for _ in 0..6 {
        call.pass(Duration::from_millis(500));
        call.ice.update();
    }
    assert_eq!(call.ice.state, IceState::Disconnected, "now it is silent");
}

#[test]
fn media_by_a_pair_that_was_not_nominated_changes_nothing() {
    let mut call = Call::new();
    call.ice
        .add_remote("2 1 udp 2130706430 127.0.0.1 5002 typ host");
    call.ice.alive(route(SECOND), call.now);
    assert_eq!(call.ice.route, Some(route(FIRST)));
}

#[test]
fn late_packets_of_the_former_pair_do_not_take_us_back() {
    let mut call = Call::new();
    call.nominate(SECOND);
    call.ice.alive(route(SECOND), call.now);
    call.ice.alive(route(FIRST), call.now);
    assert_eq!(call.ice.route, Some(route(SECOND)));
}

/// Checks that left within 10 s, all answered, where media comes or none.
fn checks(media: bool) -> usize {
    let mut call = Call::new();
    let mut sent = 0;
    for _ in 0..1000 {
        if media {
            call.ice.alive(route(FIRST), call.now);
        }
        let due = call.ice.poll_timeout().unwrap();
        call.now += Duration::from_millis(10);
        if call.now >= due {
            call.pass(Duration::ZERO);
            sent += call.answer(FIRST);
        }
        call.ice.update();
        assert_eq!(call.ice.state, IceState::Connected);
    }
    sent
}

#[test]
fn consent_is_checked_each_second_in_media_and_twice_without() {
    let (with, without) = (checks(true), checks(false));
    assert!((9..=12).contains(&with), "{with}");
    assert!((18..=21).contains(&without), "{without}");
}

#[test]
fn media_that_ends_behind_a_check_is_no_silence_where_checks_are_answered() {
    for end in (1000..3000).step_by(50) {
        let mut call = Call::new();
        for millis in 0..6000 {
            if millis < end {
                call.ice.alive(route(FIRST), call.now);
            }
            call.pass(Duration::from_millis(1));
            // Their answers take up to 600 ms.
            if millis % 600 == 599 {
                call.answer(FIRST);
            }
            call.ice.update();
            let state = call.ice.state;
            assert_eq!(state, IceState::Connected, "{end}, after {millis} ms");
        }
    }
}
