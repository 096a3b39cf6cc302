// SPDX-License-Identifier: MPL-2.0
//! What every layer says about media: codecs, RTP packets, bounded queues.
//!
//! Invariant: plain data and plain queues; nothing here knows GStreamer, sockets or tasks.

pub mod av1;
pub mod codec;
pub mod fec;
pub mod frame_start;
pub mod h264;
pub mod h265;
pub mod header_extension;
pub mod keyframe;
pub mod layers;
pub mod orientation;
pub mod queue;
pub mod rtp_packet;
pub mod vp9;
