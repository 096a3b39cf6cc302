// SPDX-License-Identifier: MPL-2.0
//! The media path: what happens to a packet between SRTP and our queues.
//!
//! webrtc hands every decrypted packet to its interceptor chain and sends everything the chain
//! gives back. Ours is one interceptor that owns both ends of the media: it takes what streaming
//! threads queued and delivers what arrives straight into their queues, and runs webrtc's own
//! interceptors (NACK, reports, transport-wide feedback) inside, bound to the streams as we
//! negotiated them.

mod congestion;
mod media_path;
mod repeats;
mod rtcp_tap;
mod rtx_unwrap;
mod sending;
mod source;

pub(super) use media_path::MediaPath;
