// SPDX-License-Identifier: MPL-2.0
//! The start of one track inside the source: a private live `PushSrc` that takes RTP from a
//! call's queue.
//!
//! GstBase gives the streaming thread, live states, unlocking and EOS. What arrived together goes on
//! together, as a buffer list: a lock and a look at the clock for all of it.
//!
//! While the streaming thread sleeps, the one that received pushes packets itself (see
//! [`Shortcut`](crate::media::queue::Shortcut)): behind the pad is a jitter buffer, which takes what
//! comes and never waits for its own reader. It holds the queue's lock meanwhile, so the streaming
//! thread cannot be at it too, nor can a flush or a change of state be over. Whatever is more than a
//! packet that follows another (the first one, other caps, events, sender reports, errors) is left to
//! the streaming thread.

mod imp;
#[cfg(test)]
mod tests;
mod track;

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;

use crate::logging::SRC as CAT;
use crate::media::codec::Codec;
use crate::media::orientation::Orientation;
use crate::media::queue::{InboundQueue, Taken};
use crate::media::rtp_packet::{Inbound, InboundPacket};

use self::track::{Now, Track};
use super::batch::Batch;
use super::latency::Lateness;
use super::splice::Splice;

glib::wrapper! {
    pub struct TrackSrc(ObjectSubclass<imp::TrackSrc>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object;
}

/// Called with every key frame request from downstream.
pub type KeyFrameRequest = Box<dyn Fn() + Send + Sync>;

/// What a track gives, and from where.
pub struct Feed {
    /// Packets and reports.
    pub queue: Arc<InboundQueue>,
    /// RTP caps of what comes.
    pub caps: gst::Caps,
    /// What comes.
    pub codec: Codec,
    /// What may come instead.
    pub alternatives: Vec<Codec>,
    /// Id of the header extension that tells which way up the picture is.
    pub orientation: Option<u8>,
    /// Called with every key frame request from downstream.
    pub key_frame: Arc<KeyFrameRequest>,
    /// Where it says that a list is on its way to the jitter buffer.
    pub batch: Arc<Batch>,
}

impl TrackSrc {
    /// The start of the track that `feed` describes.
    pub fn new(feed: Feed) -> Self {
        let src: Self = glib::Object::new();
        src.set_live(true);
        src.set_format(gst::Format::Time);
        src.set_do_timestamp(false);
        src.imp().attach(feed);
        src
    }

    /// Where sender reports go: a pad that is linked to the jitter buffer's RTCP pad.
    pub fn set_rtcp_pad(&self, pad: gst::Pad) {
        self.imp().set_rtcp_pad(pad);
    }

    /// Another connection goes on with the stream: `false` if it brings another encoding.
    pub fn renew(&self, codec: Codec, alternatives: Vec<Codec>, orientation: Option<u8>) -> bool {
        self.imp().renew(codec, alternatives, orientation)
    }

    /// Where it says that a list is on its way to the jitter buffer.
    #[cfg(test)]
    pub fn batch(&self) -> Arc<Batch> {
        self.imp().batch()
    }

    /// How late its packets come.
    pub fn lateness(&self) -> Option<Duration> {
        self.imp().lateness()
    }

    /// The stream is over once what is queued was read.
    pub fn end(&self) {
        self.imp().end();
    }
}
