// SPDX-License-Identifier: MPL-2.0
//! Who sends what in which codec: pure functions from local wishes and a remote description to
//! m-lines (RFC 3264, RFC 8829). No clock, no task, no socket.
//!
//! All of them take what was agreed before and give what holds from then on, so that the first
//! negotiation of a call and a later one are the same thing.

mod answer;
mod extensions;
mod offer;
pub mod protection;
mod read_answer;

use crate::media::codec::{Codec, Supported};
use crate::media::fec::{Protection, Scheme};
use crate::media::header_extension::HeaderExtension;
use crate::peer::{Direction, StreamConfig};
use crate::sdp::Remote;

use super::error::CallError;

pub use answer::answer;
pub use offer::offer;
pub use read_answer::read_answer;

/// What this side wants of a call.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Send these streams, in this order. A later wish holds the former ones at their places.
    Send(Vec<Sending>),
    /// Receive streams in these codecs.
    Receive(Receiving),
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
}

impl From<Codec> for Sending {
    fn from(codec: Codec) -> Self {
        Self {
            codec,
            msid: None,
            extensions: Vec::new(),
            removed: false,
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
}

/// One m-line that both sides agreed to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedStream {
    /// Index among the audio and video m-lines.
    pub stream: usize,
    /// Which of [`Wish::Send`]'s streams it carries; for receivers the same as `stream`.
    pub local: usize,
    /// `mid` of the m-line.
    pub mid: String,
    /// What we do.
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
    let (verb, ours) = match wish {
        Wish::Send(streams) => (
            "send",
            streams
                .iter()
                .map(|stream| stream.codec.to_string())
                .collect::<Vec<_>>(),
        ),
        Wish::Receive(receiving) => (
            "receive",
            receiving
                .codecs
                .iter()
                .map(|row| row.name.to_owned())
                .collect(),
        ),
    };
    let fits = remote.audio_video().any(|(line, _)| {
        !line.rejected
            && line.codecs.iter().any(|theirs| match wish {
                Wish::Send(streams) => streams.iter().any(|s| s.codec.send_fit(theirs).is_some()),
                Wish::Receive(receiving) => {
                    let known = receiving.codecs.iter();
                    let mut names = known.map(|row| row.name);
                    Codec::receivable(theirs) && names.any(|n| n.eq_ignore_ascii_case(&theirs.name))
                }
            })
    });
    if fits {
        return CallError::NothingFlows {
            what: if verb == "send" { "receives" } else { "sends" },
        };
    }
    CallError::NoCommonCodec {
        ours: format!("{verb} {}", ours.join(", ")),
        theirs: if theirs.is_empty() {
            "nothing".to_owned()
        } else {
            theirs
        },
    }
}

#[cfg(test)]
mod tests;
