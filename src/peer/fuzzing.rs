// SPDX-License-Identifier: MPL-2.0
//! What tests outside of this crate need of this layer's inside; no part of the interface.
//!
//! A peer without sockets: descriptions take the same way through `description` and through the
//! transport as in `connection`, and nothing else happens.

use super::StreamConfig;
use super::description::{self, Own, OwnLine, Setup};
pub use super::transport::{OfflineData, OfflineTransport};
use crate::sdp::{Remote, Transport};

/// Our offer of `streams`, which goes out if the transport is `own`.
pub fn offer(streams: &[StreamConfig], own: &Transport) -> String {
    let lines: Vec<OwnLine> = (0..streams.len())
        .map(|index| OwnLine::Stream {
            index,
            protocol: description::PROTOCOL.to_owned(),
            old_simulcast: false,
        })
        .collect();
    write(&lines, streams, own, "actpass", true)
}

/// Our answer to `offer`, if the transport is `own`.
pub fn answer(offer: &Remote, streams: &[StreamConfig], own: &Transport) -> String {
    let lines = description::answer_lines(offer, streams, true);
    let first = lines
        .iter()
        .position(|line| !matches!(line, OwnLine::Refused { .. }))
        .unwrap_or_default();
    let setup = match description::setup(&offer.transport(first)) {
        Setup::Active => "passive",
        Setup::Passive | Setup::Either => "active",
    };
    write(&lines, streams, own, setup, offer.bundles(first))
}

fn write(
    lines: &[OwnLine],
    streams: &[StreamConfig],
    transport: &Transport,
    setup: &str,
    bundle: bool,
) -> String {
    let ssrc = |index: usize| 1000 + 2 * u32::try_from(index).unwrap_or(u32::MAX / 4);
    description::write(&Own {
        lines,
        streams,
        ssrcs: (0..streams.len()).map(|i| (ssrc(i), ssrc(i) + 1)).collect(),
        fec_ssrcs: (0..streams.len()).map(|i| 500_000 + ssrc(i)).collect(),
        cname: "0123456789abcdef",
        transport,
        setup,
        session_id: 1,
        version: 1,
        bundle,
    })
}
