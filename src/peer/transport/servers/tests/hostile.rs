// SPDX-License-Identifier: MPL-2.0
//! Whatever comes from wherever: nothing panics, nothing grows, nobody else is written to.

use std::time::Duration;

use proptest::prelude::*;

use super::server::data_indication;
use super::{BASE, Handled, PEER, SERVER, Service, World, address, named};

/// Answers to all that a call asks, and what comes through its relay.
fn good_datagrams() -> (World, Vec<Vec<u8>>) {
    let mut world = World::new(vec![
        named(Service::Stun, SERVER),
        named(Service::Turn, SERVER),
    ]);
    world.gather();
    world.run(Duration::from_millis(50));
    let relay = world.relay();
    world.send(relay, PEER, &[0x80, 0, 0, 0]);
    world.send(relay, PEER, &[0x80, 0, 0, 0]);
    let mut good = vec![
        data_indication(address(PEER), &[7; 30]),
        world.server.sent_by(PEER, &[1; 50], world.now).unwrap(),
    ];
    // Requests that are still open, with their answers.
    world.run(Duration::from_secs(235));
    world.now += Duration::from_secs(400);
    world.servers.handle_timeout(world.now);
    while let Some(outgoing) = world.servers.poll_transmit() {
        good.extend(
            world
                .server
                .handle(outgoing.base, &outgoing.data, world.now),
        );
    }
    (world, good)
}

/// Gives `data`, and checks what must hold whatever it was.
fn give(world: &mut World, data: &[u8]) {
    let (base, server, now) = (address(BASE), address(SERVER), world.now);
    if let Handled::Relayed { peer, payload, .. } = world.servers.handle(base, server, data, now) {
        assert_eq!(peer.ip(), address(PEER).ip());
        assert!(payload.len() <= data.len());
    }
    let mut sent = 0;
    while let Some(outgoing) = world.servers.poll_transmit() {
        assert_eq!((outgoing.base, outgoing.to), (base, server));
        sent += 1;
    }
    assert!(sent <= 2, "one datagram makes {sent}");
    if let Some(due) = world.servers.poll_timeout() {
        assert!(due < now + Duration::from_secs(3700));
    }
}

proptest! {
    #[test]
    fn random_bytes_do_nothing(all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..40)) {
        let (mut world, _) = World::allocated();
        for data in &all {
            give(&mut world, data);
        }
        prop_assert!(world.servers.problems().is_empty());
    }

    #[test]
    fn mutated_answers_do_no_harm(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let (mut world, good) = good_datagrams();
        let mut data = which.get(&good).clone();
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        if cut {
            data.truncate(length.index(data.len()));
        }
        give(&mut world, &data);
        for data in &good {
            give(&mut world, data);
        }
        world.run(Duration::from_secs(120));
    }

    /// STUN with the header and the transaction right, and rubbish for attributes.
    #[test]
    fn rubbish_in_open_transactions_does_no_harm(
        method in 0u8..10, class in 0u8..4, attributes in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut world = World::with_turn();
        world.servers.gather(&[address(BASE)], world.now);
        let request = world.servers.poll_transmit().unwrap().data;
        let mut data = request[..20].to_vec();
        data[0] = class >> 1;
        data[1] = method | ((class & 1) << 4);
        let size = attributes.len() / 4 * 4;
        data[3] = u8::try_from(size).unwrap();
        data.extend_from_slice(&attributes[..size]);
        give(&mut world, &data);
        give(&mut world, &data);
        world.run(Duration::from_secs(3));
        prop_assert!(world.servers.is_gathered());
    }
}
