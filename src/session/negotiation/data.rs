// SPDX-License-Identifier: MPL-2.0
//! Calls with data channels and no media: what the other functions take for a failure is none then.
//! The m-line of data channels itself is a matter of the peer.

use crate::peer::{Direction, StreamConfig};
use crate::sdp::Remote;

use super::{Agreement, Wish};

/// The answer to an offer of which nothing but data channels is taken. `None`: it has none, or this
/// side has media to send, or would receive what is offered if it could.
pub fn answer(wish: &Wish, offer: &Remote) -> Option<Agreement> {
    let sends = wish.streams().iter().any(|stream| !stream.removed);
    if sends || wish.receiving().is_some() && gives_media(offer) {
        return None;
    }
    offer.data_line()?;
    let streams: Vec<_> = offer
        .audio_video()
        .map(|(line, kind)| StreamConfig {
            kind,
            direction: Direction::Inactive,
            mid: line.mid.clone(),
            codecs: Vec::new(),
            extensions: Vec::new(),
            msid: None,
            fec: None,
            rtcp_rsize: false,
            layers: Default::default(),
            layer: None,
        })
        .collect();
    let others = offer.media.iter().filter(|line| line.kind.is_none());
    Some(Agreement {
        locals: vec![None; streams.len()],
        streams,
        other_mids: others.map(|line| line.mid.clone()).collect(),
        ..Agreement::default()
    })
}

/// Whether `remote` would send audio or video.
fn gives_media(remote: &Remote) -> bool {
    let mut lines = remote.audio_video();
    lines.any(|(line, _)| !line.rejected && line.direction.sends)
}

/// What an answer leaves that takes nothing of our `offered` m-lines but data channels. `None`: it
/// does not take them either, or media was to be sent, or comes in a way that this side cannot take.
pub fn read_answer(offered: &Agreement, answer: &Remote) -> Option<Agreement> {
    let sends = |stream: &StreamConfig| stream.direction.sends();
    if offered.streams.iter().any(sends)
        || gives_media(answer)
        || answer.audio_video().count() != StreamConfig::with_line(&offered.streams).count()
    {
        return None;
    }
    answer.data_line()?;
    let mut left = offered.clone();
    left.agreed.clear();
    for stream in &mut left.streams {
        stream.direction = Direction::Inactive;
    }
    Some(left)
}
