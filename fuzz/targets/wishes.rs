// SPDX-License-Identifier: MPL-2.0
//! What our side may want of a call, from the codec table.

use gstwebrtcrs::media::codec::{Codec, MediaKind, SUPPORTED, Supported, supported};
use gstwebrtcrs::session::negotiation::{Receiving, Sending, TwoWay, Wish};

/// To receive whatever we can.
pub fn receive_all() -> Wish {
    receive_rows(SUPPORTED.iter().collect(), false)
}

/// To receive these, in this order.
pub fn receive(names: &[&str]) -> Wish {
    receive_rows(names.iter().copied().map(row).collect(), true)
}

/// To receive one stream of each kind in these.
pub fn receive_rows(codecs: Vec<&'static Supported>, ordered: bool) -> Wish {
    Wish::Receive(Receiving {
        codecs,
        video_ordered: ordered,
        audio_ordered: ordered,
        video: 1,
        audio: 1,
        layers: Default::default(),
    })
}

/// To send one stream in each of these.
pub fn send(names: &[&str]) -> Wish {
    let streams = names.iter().map(|name| Sending::from(stream(name)));
    Wish::Send(streams.collect())
}

/// To send one stream in each of these, and of these kinds one whose codec is not known yet, and
/// to receive whatever we can.
pub fn both(names: &[&str], unknown: &[MediaKind]) -> Wish {
    Wish::Both(TwoWay {
        streams: send(names).streams().to_vec(),
        unknown: unknown.to_vec(),
        receiving: receive_all().receiving().cloned(),
    })
}

/// The row of `name`, which the table has.
pub fn row(name: &str) -> &'static Supported {
    supported(name).expect("a codec of the table")
}

/// A stream of ours: `VP8`, or `H264 640028` for one of that profile.
pub fn stream(name: &str) -> Codec {
    match name.split_once(' ') {
        Some((name, id)) => {
            row(name).with_fmtp(&format!("packetization-mode=1;profile-level-id={id}"))
        }
        None => {
            let formats: Vec<Codec> = row(name).to_receive().collect();
            let fmtp = formats.first().map(|codec| codec.fmtp.clone());
            row(name).with_fmtp(&fmtp.unwrap_or_default())
        }
    }
}

/// Wishes that differ in all that matters.
pub fn all() -> Vec<Wish> {
    let rows = |kind: MediaKind| SUPPORTED.iter().rev().filter(move |row| row.kind == kind);
    vec![
        receive_all(),
        receive_rows(
            rows(MediaKind::Audio)
                .chain(rows(MediaKind::Video))
                .collect(),
            true,
        ),
        send(&["VP8", "opus"]),
        send(&["H264 42e01f", "H264 640028", "VP8", "opus", "opus"]),
        both(&["H264 42e01f", "opus"], &[]),
        both(&[], &[MediaKind::Audio, MediaKind::Video]),
    ]
}
