// SPDX-License-Identifier: MPL-2.0
//! The media path: what happens to a packet between SRTP and our queues.
//!
//! It owns both ends of the media: it takes what streaming threads queued and delivers what arrives
//! straight into their queues, and runs webrtc-rs's recorder of arrivals (transport-wide feedback)
//! inside. What is missing is asked for by `nack`, and sent again from `history`.

mod arrivals;
mod batch;
mod by_ssrc;
mod congestion;
mod handover;
mod history;
mod key_frames;
mod layers;
mod media_path;
mod nack;
mod pictures;
mod receiver_reports;
mod receiving;
mod recovery;
mod redundant;
mod remb;
mod routing;
mod rtcp_tap;
mod rtx_unwrap;
mod sender_reports;
mod sending;
mod source;
mod spare;
mod tail;
mod transport_wide;

pub(super) use handover::Handover;
pub(super) use media_path::MediaPath;
