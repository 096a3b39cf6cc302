// SPDX-License-Identifier: MPL-2.0
use std::time::Duration;

use rtc::ice::candidate::CandidateType;
use rtc::stun::message::METHOD_BINDING;

use super::server::MAPPED;
use super::{BASE, Found, Handled, SERVER, Service, World, address, named};

fn world() -> World {
    World::new(vec![named(Service::Stun, SERVER)])
}

#[test]
fn a_stun_server_tells_the_address_at_the_nat() {
    let mut world = world();
    assert!(world.servers.is_gathered(), "nothing was begun");
    world.gather();
    assert_eq!(
        world.found,
        [Found::Reflexive {
            base: address(BASE),
            mapped: address(MAPPED),
            url: format!("stun:{SERVER}"),
        }]
    );
    assert!(world.servers.is_gathered());
    let candidate = world.found[0].candidate().unwrap();
    assert_eq!(candidate.candidate_type(), CandidateType::ServerReflexive);
    assert_eq!(candidate.addr(), address(MAPPED));
    assert_eq!(
        candidate.base_addr(),
        address(BASE),
        "where it is sent from"
    );
}

#[test]
fn a_lost_question_is_asked_again() {
    let mut world = world();
    world.lose = 2;
    world.gather();
    assert!(world.found.is_empty() && !world.servers.is_gathered());
    world.run(Duration::from_millis(1499));
    assert!(world.found.is_empty());
    world.run(Duration::from_millis(2));
    assert_eq!(world.found.len(), 1);
    assert!(world.servers.problems().is_empty());
}

#[test]
fn a_silent_server_holds_a_call_for_two_seconds_and_is_named() {
    let mut world = world();
    world.deaf = true;
    world.gather();
    world.run(Duration::from_millis(1990));
    assert!(!world.servers.is_gathered());
    world.run(Duration::from_millis(20));
    assert!(world.servers.is_gathered());
    let [problem] = world.servers.problems() else {
        panic!("{:?}", world.servers.problems());
    };
    assert!(problem.starts_with(&format!("stun:{SERVER}: no answer")));
    assert_eq!(world.servers.poll_timeout(), None);
}

#[test]
fn an_interface_that_leads_nowhere_neither_delays_for_long_nor_is_a_problem() {
    let mut world = world();
    let lost = address("172.17.0.1:40001");
    world.servers.gather(&[address(BASE), lost], world.now);
    let outgoing = world.servers.poll_transmit().unwrap();
    let answers = world
        .server
        .handle(outgoing.base, &outgoing.data, world.now);
    world.arrive(&answers[0]);
    world.deaf = true;
    world.run(Duration::from_millis(490));
    assert!(!world.servers.is_gathered());
    world.run(Duration::from_millis(20));
    assert!(world.servers.is_gathered());
    assert!(world.servers.problems().is_empty());
}

#[test]
fn only_the_server_itself_is_believed() {
    let mut world = world();
    world.servers.gather(&[address(BASE)], world.now);
    let outgoing = world.servers.poll_transmit().unwrap();
    let answer = world
        .server
        .handle(outgoing.base, &outgoing.data, world.now)
        .remove(0);
    let now = world.now;
    let other_host =
        world
            .servers
            .handle(address(BASE), address("198.51.100.2:3478"), &answer, now);
    assert_eq!(other_host, Handled::Not);
    let other_socket =
        world
            .servers
            .handle(address("192.0.2.10:40001"), address(SERVER), &answer, now);
    assert_eq!(other_socket, Handled::Not);
    let mut other_transaction = answer.clone();
    other_transaction.truncate(answer.len() - 8);
    other_transaction[3] -= 8;
    other_transaction[19] ^= 1;
    world.arrive(&other_transaction);
    assert!(world.servers.poll_candidate().is_none());
    world.arrive(&answer);
    assert!(world.servers.poll_candidate().is_some());
    // Twice is once.
    world.arrive(&answer);
    assert!(world.servers.poll_candidate().is_none());
}

#[test]
fn a_refusing_server_is_named_once_with_its_error() {
    let mut world = world();
    world.server.refuse = Some((METHOD_BINDING, 401));
    world.gather();
    assert!(world.servers.is_gathered());
    world.servers.gather(&[address(BASE)], world.now);
    world.exchange();
    let [problem] = world.servers.problems() else {
        panic!("{:?}", world.servers.problems());
    };
    assert!(problem.contains("error 401"), "{problem}");
}

#[test]
fn without_a_nat_there_is_nothing_to_tell() {
    let mut world = world();
    world.servers.gather(&[address(MAPPED)], world.now);
    let outgoing = world.servers.poll_transmit().unwrap();
    let answers = world
        .server
        .handle(outgoing.base, &outgoing.data, world.now);
    let now = world.now;
    world
        .servers
        .handle(address(MAPPED), address(SERVER), &answers[0], now);
    assert!(world.servers.is_gathered());
    assert!(world.servers.poll_candidate().is_none());
}

#[test]
fn a_server_out_of_reach_is_told_and_not_asked() {
    let mut world = world();
    for base in ["127.0.0.1:4000", "[2001:db8::1]:4000"] {
        world.servers.gather(&[address(base)], world.now);
        assert!(world.servers.poll_transmit().is_none());
        assert!(world.servers.is_gathered());
    }
    assert_eq!(world.servers.problems().len(), 1);
}

#[test]
fn a_mapping_is_kept_open_until_ice_does_that() {
    let mut world = world();
    world.gather();
    // Somebody carries the descriptions by hand.
    world.run(Duration::from_secs(15 * 60));
    assert_eq!(world.server.keepalives, 60);
    world.servers.settle();
    world.run(Duration::from_secs(60));
    assert_eq!(world.server.keepalives, 60);
}

#[test]
fn gathering_again_tells_again() {
    let mut world = World::new(vec![
        named(Service::Stun, SERVER),
        named(Service::Turn, SERVER),
    ]);
    world.gather();
    world.run(Duration::from_secs(1));
    // The TURN server sees us at the same address.
    assert_eq!(world.found.len(), 2, "{:?}", world.found);
    let (first, sent) = (std::mem::take(&mut world.found), world.sent);
    world.gather();
    assert_eq!(world.found, first);
    assert_eq!(world.sent, sent, "nobody is asked twice");
}
