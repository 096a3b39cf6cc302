// SPDX-License-Identifier: MPL-2.0
//! Between GStreamer and the layers below: caps and codecs, buffers and RTP packets, errors and
//! bus messages, properties that both elements have.

pub mod application;
pub mod av1;
pub mod caps;
pub mod data_pad;
pub mod encoders;
pub mod errors;
pub mod events;
pub mod fec_settings;
pub mod http_settings;
pub mod media_pad;
pub mod navigation;
mod orientation;
pub mod report;
pub mod rtp;
pub mod settings;
pub mod stats;
