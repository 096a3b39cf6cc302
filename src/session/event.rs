// SPDX-License-Identifier: MPL-2.0
//! What a call tells the element that owns it.

use std::sync::Arc;
use std::time::Duration;

use crate::media::queue::InboundQueue;
use crate::peer::data::DataChannel;
use crate::peer::{Estimate, TransportInfo};

use super::error::CallError;
use super::negotiation::AgreedStream;

/// One thing that happened, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Something the user should know; the call goes on.
    Notice(String),
    /// A local stream that the remote does not take, and why.
    LeftOut(usize, String),
    /// What flows was agreed. For a receiver each stream comes with its queue.
    Agreed(Vec<(AgreedStream, Option<Arc<InboundQueue>>)>),
    /// Media flows from now on.
    Connected(TransportInfo),
    /// The connection is lost and is made again after `delay`: nothing flows until the next
    /// [`Event::Connected`], and the streams go on then.
    Interrupted {
        /// Why.
        cause: String,
        /// How long until the next try.
        delay: Duration,
        /// Tries since it was last up, this one included.
        tries: u32,
    },
    /// The remote asks for a key frame of this local stream.
    KeyFrameRequest(usize),
    /// The remote sends nothing more, and the call goes on: what it sent is in the queues.
    StreamsOver,
    /// A data channel opened or closed; the remote may have opened it.
    Channel(Arc<DataChannel>),
    /// What the path to the remote carries now.
    Estimate(Estimate),
    /// The call is over in good order; what was received is in the queues, which are ended.
    Ended(EndCause),
    /// The call is over because of an error; the queues are ended.
    Failed(CallError),
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The remote said bye or closed DTLS.
    Remote,
    /// This side, after everything was sent.
    Local,
}
