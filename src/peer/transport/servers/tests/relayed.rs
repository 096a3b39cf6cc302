// SPDX-License-Identifier: MPL-2.0
use std::time::Duration;

use rtc::ice::candidate::CandidateType;
use rtc::stun::message::{
    METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH,
};

use super::server::{MAPPED, PASSWORD, RELAYED, data_indication};
use super::{BASE, Found, PEER, SERVER, World, address};

/// A connectivity check, as far as the first byte tells.
const CHECK: &[u8] = &[0, 1, 0, 0];
const MEDIA: &[u8] = &[0x80, 96, 1, 2, 3];

#[test]
fn a_turn_server_gives_a_relayed_address_and_the_one_at_the_nat() {
    let (world, relay) = World::allocated();
    assert_eq!(relay, address(RELAYED));
    let url = format!("turn:{SERVER}");
    assert_eq!(
        world.found,
        [
            Found::Relayed {
                base: address(BASE),
                relayed: relay,
                mapped: address(MAPPED),
                url: url.clone(),
            },
            Found::Reflexive {
                base: address(BASE),
                mapped: address(MAPPED),
                url,
            },
        ]
    );
    assert!(world.servers.is_gathered() && world.servers.problems().is_empty());
    let candidate = world.found[0].candidate().unwrap();
    assert_eq!(candidate.candidate_type(), CandidateType::Relay);
    assert_eq!(candidate.base_addr(), relay);
    assert_eq!(
        world.server.requests, [METHOD_ALLOCATE; 2],
        "401, then signed"
    );
}

#[test]
fn an_allocation_survives_lost_requests() {
    let mut world = World::with_turn();
    world.lose = 1;
    world.gather();
    world.run(Duration::from_millis(400));
    world.lose = 1;
    world.run(Duration::from_millis(1500));
    assert_eq!(world.relay(), address(RELAYED));
}

#[test]
fn checks_go_in_indications_and_media_over_a_channel() {
    let (mut world, relay) = World::allocated();
    world.send(relay, PEER, CHECK);
    assert!(!world.server.requests.contains(&METHOD_CHANNEL_BIND));
    world.send(relay, PEER, MEDIA);
    world.send(relay, PEER, MEDIA);
    world.send(relay, PEER, CHECK);
    let over_channel: Vec<_> = world.server.delivered.iter().map(|d| d.2).collect();
    assert_eq!(over_channel, [false, false, true, true], "none is lost");
    assert!(world.server.delivered.iter().all(|d| d.0 == address(PEER)));
    assert_eq!(world.server.delivered[2].1, MEDIA);
    let asked = |method| {
        world
            .server
            .requests
            .iter()
            .filter(|m| **m == method)
            .count()
    };
    assert_eq!(
        (asked(METHOD_CREATE_PERMISSION), asked(METHOD_CHANNEL_BIND)),
        (1, 1)
    );
}

#[test]
fn what_peers_send_comes_with_their_address() {
    let (mut world, relay) = World::allocated();
    world.send(relay, PEER, CHECK);
    // A permission is for all ports of an address.
    let other_port = "203.0.113.5:5001";
    for from in [PEER, other_port] {
        let datagram = world.server.sent_by(from, CHECK, world.now).unwrap();
        world.arrive(&datagram);
    }
    world.send(relay, PEER, MEDIA);
    let datagram = world.server.sent_by(PEER, MEDIA, world.now).unwrap();
    assert_eq!(datagram.len(), 4 + MEDIA.len());
    world.arrive(&datagram);
    let expected = [(PEER, CHECK), (other_port, CHECK), (PEER, MEDIA)]
        .map(|(peer, data)| (address(peer), data.to_vec()));
    assert_eq!(world.received, expected);
}

#[test]
fn data_of_somebody_that_nothing_was_sent_to_is_not_taken() {
    let (mut world, relay) = World::allocated();
    world.send(relay, PEER, CHECK);
    world.arrive(&data_indication(address("203.0.113.6:5000"), MEDIA));
    world.arrive(&[0x40, 0x00, 0, 1, 0x80]);
    assert!(world.received.is_empty());
}

#[test]
fn a_call_of_an_hour_keeps_its_relay_its_permission_and_its_channel() {
    let (mut world, relay) = World::allocated();
    world.server.nonce_lifetime = Duration::from_secs(600);
    world.servers.settle();
    for _ in 0..3600 {
        world.send(relay, PEER, MEDIA);
        let datagram = world.server.sent_by(PEER, MEDIA, world.now).unwrap();
        world.arrive(&datagram);
        world.run(Duration::from_secs(1));
    }
    assert_eq!(world.server.delivered.len(), 3600);
    assert_eq!(world.received.len(), 3600);
    assert_eq!(world.server.dropped, 0);
    let indications = world.server.delivered.iter().filter(|d| !d.2).count();
    assert_eq!(indications, 1, "the channel is always the same one");
    assert!(
        world.server.stale >= 5,
        "nonces went stale: {}",
        world.server.stale
    );
    assert!(world.servers.problems().is_empty());
    // A refresh each nine minutes, a channel each four, and what stale nonces repeat.
    assert!(
        world.server.requests.len() < 60,
        "{}",
        world.server.requests.len()
    );
}

#[test]
fn a_relay_that_only_ice_uses_stays_permitted() {
    let (mut world, relay) = World::allocated();
    for _ in 0..240 {
        world.send(relay, PEER, CHECK);
        world.run(Duration::from_secs(15));
    }
    assert_eq!(
        (world.server.delivered.len(), world.server.dropped),
        (240, 0)
    );
}

#[test]
fn a_stale_nonce_is_answered_with_the_new_one() {
    let mut world = World::with_turn();
    world.server.refuse = Some((METHOD_REFRESH, 438));
    world.gather();
    world.run(Duration::from_secs(590));
    assert_eq!(world.server.stale, 2);
    assert!(
        world
            .server
            .is_allocated(world.now + Duration::from_secs(500))
    );
}

#[test]
fn a_refusal_names_the_server_and_never_the_password() {
    for (code, word) in [
        (401, "password"),
        (403, "forbids"),
        (486, "allowed"),
        (508, "room"),
    ] {
        let mut world = World::with_turn();
        world.server.refuse = Some((METHOD_ALLOCATE, code));
        world.gather();
        world.run(Duration::from_millis(100));
        assert!(world.servers.is_gathered(), "{code} ends it at once");
        let [problem] = world.servers.problems() else {
            panic!("{code}: {:?}", world.servers.problems());
        };
        assert!(
            problem.starts_with(&format!("turn:{SERVER}: ")),
            "{problem}"
        );
        assert!(
            problem.contains(word) && problem.contains(&code.to_string()),
            "{problem}"
        );
        assert!(!problem.contains(PASSWORD) || word == PASSWORD, "{problem}");
        assert!(world.found.is_empty());
    }
}

#[test]
fn a_forbidden_peer_takes_no_other_with_it() {
    let (mut world, relay) = World::allocated();
    let forbidden = "203.0.113.6:1";
    for _ in 0..40 {
        world.send(relay, PEER, CHECK);
        world.send(relay, forbidden, CHECK);
        // Only the renewal, which asks for both at once, is refused.
        if world.server.forbidden.is_none() && world.server.delivered.len() > 20 {
            world.server.forbidden = Some(address(forbidden).ip());
        }
        world.run(Duration::from_secs(30));
    }
    let delivered = |peer| {
        let delivered = world.server.delivered.iter();
        delivered.filter(|d| d.0 == address(peer)).count()
    };
    assert_eq!(delivered(PEER), 40);
    assert!(delivered(forbidden) < 30);
    assert!(
        world.servers.problems().is_empty(),
        "that is no fault of the server"
    );
}

#[test]
fn a_relay_that_the_server_forgot_is_told() {
    let (mut world, relay) = World::allocated();
    world.send(relay, PEER, MEDIA);
    world.server.expires = None;
    world.run(Duration::from_secs(600));
    let [problem] = world.servers.problems() else {
        panic!("{:?}", world.servers.problems());
    };
    assert!(problem.contains("the relay is lost"), "{problem}");
    world.server.delivered.clear();
    world.send(relay, PEER, MEDIA);
    assert_eq!(world.servers.poll_transmit().map(|o| o.data), None);
    // And is had anew by the next gathering.
    world.found.clear();
    world.gather();
    assert_eq!(world.relay(), address(RELAYED));
}

#[test]
fn a_server_that_dies_is_told_once_and_asked_no_more() {
    let (mut world, _) = World::allocated();
    world.servers.settle();
    world.deaf = true;
    world.run(Duration::from_secs(3600));
    assert_eq!(world.servers.problems().len(), 1);
    assert_eq!(world.servers.poll_timeout(), None);
}

#[test]
fn answers_that_the_server_did_not_sign_are_not_taken() {
    let mut world = World::with_turn();
    world.server.forges = true;
    world.gather();
    world.run(Duration::from_secs(3));
    assert!(world.found.is_empty());
    assert_eq!(world.servers.problems().len(), 1);
}

#[test]
fn closing_gives_the_relay_back() {
    let (mut world, relay) = World::allocated();
    assert!(world.server.is_allocated(world.now));
    world.servers.close(world.now);
    world.exchange();
    assert!(!world.server.is_allocated(world.now));
    world.send(relay, PEER, MEDIA);
    assert!(world.server.delivered.is_empty());
    assert_eq!(world.servers.poll_timeout(), None);
}

#[test]
fn however_many_addresses_a_remote_names_what_is_kept_of_them_is_bounded() {
    let (mut world, relay) = World::allocated();
    for host in 0..1000u32 {
        let peer = format!("10.0.{}.{}:9", host / 250, host % 250 + 1);
        world.send(relay, &peer, MEDIA);
    }
    let asked = |method| {
        world
            .server
            .requests
            .iter()
            .filter(|m| **m == method)
            .count()
    };
    assert_eq!(
        asked(METHOD_CREATE_PERMISSION),
        super::super::peers::MAX_PERMISSIONS
    );
    assert_eq!(
        asked(METHOD_CHANNEL_BIND),
        super::super::peers::MAX_CHANNELS
    );
    // Those that nobody uses make room.
    world.run(Duration::from_secs(600));
    world.server.delivered.clear();
    world.send(relay, PEER, CHECK);
    assert_eq!(world.server.delivered.len(), 1);
}

#[test]
fn a_peer_of_another_family_is_left_alone() {
    let (mut world, relay) = World::allocated();
    let sent = world.sent;
    world.send(relay, "[2001:db8::5]:5000", MEDIA);
    assert_eq!(world.sent, sent);
}
