// SPDX-License-Identifier: MPL-2.0
//! Who sends what in which codec: pure functions from local wishes and a remote description to
//! m-lines (RFC 3264, RFC 8829). No clock, no task, no socket.
//!
//! All of them take what was agreed before and give what holds from then on, so that the first
//! negotiation of a call and a later one are the same thing.

mod answer;
pub mod data;
mod extensions;
mod layers;
mod offer;
pub mod protection;
mod read_answer;
mod two_way;

use crate::media::codec::{Codec, MediaKind, Supported};
use crate::media::fec::{Protection, Scheme};
use crate::media::header_extension::HeaderExtension;
use crate::media::layers::Choice;
use crate::peer::{Direction, Layer, StreamConfig};
use crate::sdp::Remote;

use super::error::CallError;

pub use answer::answer;
pub use offer::offer;
pub use read_answer::read_answer;
pub use two_way::settle;

/// What this side wants of a call.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Send these streams, in this order. A later wish holds the former ones at their places.
    Send(Vec<Sending>),
    /// Receive streams in these codecs.
    Receive(Receiving),
    /// Both, on m-lines of both directions.
    Both(TwoWay),
}

/// What the two legs of one call want.
#[derive(Debug, Clone, Default)]
pub struct TwoWay {
    /// As in [`Wish::Send`].
    pub streams: Vec<Sending>,
    /// A stream of each of these kinds will be sent in a codec that is not known yet: an m-line is
    /// kept for it.
    pub unknown: Vec<MediaKind>,
    /// `None`: nothing is received.
    pub receiving: Option<Receiving>,
}

impl Wish {
    /// What is to be sent.
    pub fn streams(&self) -> &[Sending] {
        match self {
            Self::Send(streams) => streams,
            Self::Receive(_) => &[],
            Self::Both(both) => &both.streams,
        }
    }

    /// What is to be received.
    pub fn receiving(&self) -> Option<&Receiving> {
        match self {
            Self::Send(_) => None,
            Self::Receive(receiving) => Some(receiving),
            Self::Both(both) => both.receiving.as_ref(),
        }
    }

    /// Kinds of what is to be sent in a codec that is not known yet.
    fn unknown(&self) -> &[MediaKind] {
        match self {
            Self::Both(both) => &both.unknown,
            _ => &[],
        }
    }
}

/// One stream that this side wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// What it is encoded in.
    pub codec: Codec,
    /// Stream and track of its `a=msid` (RFC 8830); `None`: names of our own.
    pub msid: Option<String>,
    /// Header extensions that come along with its packets.
    pub extensions: Vec<HeaderExtension>,
    /// It was sent and is no more.
    pub removed: bool,
    /// It is a layer of a picture that others show too.
    pub layer: Option<OwnLayer>,
}

/// One of several layers of a picture, which share an m-line: those of one `group`, in one codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLayer {
    /// What they have in common.
    pub group: String,
    /// Its rid (RFC 8851); empty to tell them apart by SSRCs (`a=ssrc-group:SIM`).
    pub rid: String,
    /// How many pixels it has, if that is known: a remote without simulcast gets the largest.
    pub pixels: u32,
}

impl From<Codec> for Sending {
    fn from(codec: Codec) -> Self {
        Self {
            codec,
            msid: None,
            extensions: Vec::new(),
            removed: false,
            layer: None,
        }
    }
}

/// What this side wants to receive. In the order of preference as offerer; as answerer the
/// remote's order counts, but for kinds that the user gave an order of.
#[derive(Debug, Clone)]
pub struct Receiving {
    /// Rows of the codec table.
    pub codecs: Vec<&'static Supported>,
    /// The user gave an order of the video codecs.
    pub video_ordered: bool,
    /// The user gave an order of the audio codecs.
    pub audio_ordered: bool,
    /// Video m-lines to offer.
    pub video: usize,
    /// Audio m-lines to offer.
    pub audio: usize,
    /// Which layer of a picture goes on, where the remote sends several.
    pub layers: Choice,
}

/// One m-line that both sides agreed to use, in one direction: one of both directions is there
/// twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedStream {
    /// Index among the audio and video m-lines.
    pub stream: usize,
    /// Which of [`Wish::Send`]'s streams it carries; for receivers the same as `stream`.
    pub local: usize,
    /// `mid` of the m-line.
    pub mid: String,
    /// What we do: send or receive.
    pub direction: Direction,
    /// The codec with the payload types on the wire.
    pub codec: Codec,
    /// Other codecs that the remote may send as well (RFC 3264 section 5.1): Chromium answers with
    /// its own order of H264 profiles and sends in ours.
    pub alternatives: Vec<Codec>,
    /// Header extensions with their ids.
    pub extensions: Vec<(u8, HeaderExtension)>,
    /// Stream and track as the sender calls them (RFC 8830), if it does.
    pub msid: Option<String>,
    /// FEC, if both sides want it.
    pub fec: Option<Protection>,
    /// What this side wanted of it and the remote does not take.
    pub fec_left_out: Option<Scheme>,
    /// The RTP streams of an m-line that carries several.
    pub layers: Vec<Layer>,
    /// Which of the m-line's outputs this is; all but the first share everything else with it.
    pub output: usize,
}

impl AgreedStream {
    /// This m-line's outputs: itself, for one that carries one stream.
    pub fn outputs(&self) -> Vec<Self> {
        let last = self.layers.iter().map(|layer| layer.output).max();
        let output = |output| {
            let mut layers = self.layers.iter().filter(|layer| layer.output == output);
            let msid = layers.next().and_then(|layer| layer.msid.clone());
            Self {
                output,
                msid: msid.or_else(|| self.msid.clone()),
                ..self.clone()
            }
        };
        (0..=last.unwrap_or_default()).map(output).collect()
    }

    /// The rid of what this output gives, if that is one layer.
    pub fn rid(&self) -> Option<&str> {
        let mut layers = self
            .layers
            .iter()
            .filter(|layer| layer.output == self.output);
        let rid = layers.next()?.rid.as_str();
        (layers.next().is_none() && !rid.is_empty()).then_some(rid)
    }
}

/// Everything that holds between the two sides, or would if our offer were taken.
#[derive(Debug, Clone, Default)]
pub struct Agreement {
    /// The audio and video m-lines, in order, for the peer.
    pub streams: Vec<StreamConfig>,
    /// Which of our streams each of them carries.
    pub locals: Vec<Option<usize>>,
    /// What flows.
    pub agreed: Vec<AgreedStream>,
    /// Local streams that the remote does not take, with the reason.
    pub left_out: Vec<(usize, String)>,
    /// Names of m-lines that are neither audio nor video, and taken all the same.
    pub other_mids: Vec<String>,
}

/// The remote's codec with only the feedback that we have too.
fn with_our_feedback(codec: &Codec) -> Codec {
    let mut codec = codec.clone();
    codec.feedback = codec.stated_by_us(None).feedback;
    codec
}

/// Adds what flows on m-line `stream` to `agreed`: the local stream that is `sent`, what is
/// `received`, which the remote calls `msid`.
fn agree(
    stream: usize,
    config: &StreamConfig,
    sent: Option<(usize, &Codec)>,
    received: Option<&Codec>,
    msid: Option<String>,
    agreed: &mut Vec<AgreedStream>,
) {
    let mut add = |local, direction: Direction, codec: &Codec, msid, alternatives| {
        let mut codec = codec.clone();
        without_useless_feedback(std::slice::from_mut(&mut codec), &config.extensions);
        agreed.push(AgreedStream {
            stream,
            local,
            mid: config.mid.clone(),
            direction,
            codec,
            alternatives,
            extensions: config.extensions.clone(),
            msid,
            fec: None,
            fec_left_out: None,
            layers: match direction.receives() {
                true => config.layers.clone(),
                false => Vec::new(),
            },
            output: 0,
        });
    };
    if let Some((local, codec)) = sent {
        let msid = config.msid.clone();
        add(local, Direction::SendOnly, codec, msid, Vec::new());
    }
    if let Some(codec) = received {
        let others = config.codecs.iter();
        let others = others.filter(|c| c.payload_type != codec.payload_type);
        let others = others.cloned().collect();
        add(stream, Direction::RecvOnly, codec, msid, others);
    }
}

const APART: &str = "the remote wants a transport of its own for each m-line, and there is one: \
                     have it bundle them (BUNDLE)";

/// Takes the feedback out that needs an extension which is not in use.
fn without_useless_feedback(codecs: &mut [Codec], extensions: &[(u8, HeaderExtension)]) {
    let numbered = extensions
        .iter()
        .any(|(_, e)| *e == HeaderExtension::TransportWideCc);
    if !numbered {
        for codec in codecs {
            codec.feedback.retain(|f| f != "transport-cc");
        }
    }
}

/// Whether m-line `index` of `remote` shares the transport of the first one that is in use: there
/// is one transport.
fn shares_transport(remote: &Remote, first: &mut Option<usize>, index: usize) -> bool {
    remote.bundled(*first.get_or_insert(index), index)
}

fn no_common_codec(wish: &Wish, remote: &Remote) -> CallError {
    let theirs = remote
        .audio_video()
        .filter(|(line, _)| !line.rejected)
        .flat_map(|(line, _)| line.codecs.iter().map(ToString::to_string))
        .collect::<Vec<_>>()
        .join(", ");
    let sent: Vec<_> = wish.streams().iter().map(|s| s.codec.to_string()).collect();
    let received = wish.receiving().map(|receiving| {
        let names = receiving.codecs.iter().map(|row| row.name);
        names.collect::<Vec<_>>()
    });
    let mut ours = Vec::new();
    if !sent.is_empty() {
        ours.push(format!("send {}", sent.join(", ")));
    }
    if let Some(received) = &received {
        ours.push(format!("receive {}", received.join(", ")));
    }
    let fits = |theirs: &Codec| {
        let known = received.as_deref().unwrap_or_default();
        wish.streams()
            .iter()
            .any(|s| s.codec.send_fit(theirs).is_some())
            || Codec::receivable(theirs)
                && known.iter().any(|n| n.eq_ignore_ascii_case(&theirs.name))
    };
    let mut lines = remote.audio_video().filter(|(line, _)| !line.rejected);
    if lines.any(|(line, _)| line.codecs.iter().any(fits)) {
        return CallError::NothingFlows {
            what: if received.is_none() {
                "receives"
            } else {
                "sends"
            },
        };
    }
    CallError::NoCommonCodec {
        ours: ours.join(" and "),
        theirs: if theirs.is_empty() {
            "nothing".to_owned()
        } else {
            theirs
        },
    }
}

#[cfg(test)]
mod tests;
