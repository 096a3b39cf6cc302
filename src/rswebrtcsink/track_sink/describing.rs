// SPDX-License-Identifier: MPL-2.0
//! What the caps of a track, or its first packets, say of its stream.

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_rtp::rtp_buffer::RTPBuffer;

use crate::gst_glue::caps::codec_of_rtp_caps;
use crate::gst_glue::rtp;
use crate::logging::SINK as CAT;
use crate::media::codec::MediaKind;
use crate::media::h264;
use crate::media::header_extension::HeaderExtension;

use super::imp::TrackSink;

impl TrackSink {
    /// Caps of RTP: tells the call what the stream is.
    pub fn describe(&self, caps: &gst::CapsRef) -> Result<(), gst::LoggableError> {
        let encoded = self.lock().as_ref().and_then(|t| t.encoded_caps.clone());
        let Some(codec) = codec_of_rtp_caps(caps, encoded.as_deref()) else {
            gst::debug!(CAT, imp = self, "these caps do not tell all yet: {caps}");
            return Ok(());
        };
        let clock_rate = caps
            .structure(0)
            .and_then(|s| s.get::<i32>("clock-rate").ok())
            .and_then(|rate| u32::try_from(rate).ok())
            .unwrap_or(codec.clock_rate);
        let extmap = rtp::extension_map(caps);
        let mut brought: Vec<_> = extmap.iter().map(|(_, extension)| *extension).collect();
        // Ours to write: they say something of this call, not of the stream.
        brought.retain(|e| {
            !matches!(
                e,
                HeaderExtension::Mid
                    | HeaderExtension::Rid
                    | HeaderExtension::RepairedRid
                    | HeaderExtension::TransportWideCc
                    | HeaderExtension::AbsSendTime
            )
        });
        let (call, local) = {
            let mut guard = self.lock();
            let Some(track) = guard.as_mut() else {
                return Err(gst::loggable_error!(CAT, "no call"));
            };
            track.audio = codec.kind == MediaKind::Audio;
            track.extension_map = extmap
                .into_iter()
                .filter(|(_, extension)| brought.contains(extension))
                .collect();
            track.encoding_name.clone_from(&codec.name);
            track.clock_rate = clock_rate;
            (track.call.clone(), track.local)
        };
        if let Some(pixels) = encoded.as_deref().and_then(pixels) {
            call.set_pixels(local, pixels);
        }
        call.set_codec(local, codec, brought).map_err(|text| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("{text}; start a new call to change it")
            );
            gst::loggable_error!(CAT, "{text}")
        })
    }

    /// RTP of a payloader elsewhere, whose caps leave the H264 profile out: it is in the
    /// parameter sets that come with the first key frame. Tells whether it was in this one.
    pub fn describe_by(&self, info: &gst::PadProbeInfo) -> bool {
        let found = |buffer: &gst::BufferRef| {
            let rtp = RTPBuffer::from_buffer_readable(buffer).ok()?;
            h264::profile_level_id(rtp.payload().ok()?)
        };
        let profile = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => found(buffer),
            Some(gst::PadProbeData::BufferList(list)) => list.iter().find_map(found),
            _ => None,
        };
        let caps = self.obj().sink_pad().current_caps();
        let (Some(profile), Some(mut caps)) = (profile, caps) else {
            return false;
        };
        let h264 = |s: &gst::StructureRef| s.get::<&str>("encoding-name") == Ok("H264");
        if !caps.structure(0).is_some_and(h264) {
            return false;
        }
        if let Some(structure) = caps.make_mut().structure_mut(0) {
            structure.set("profile-level-id", profile);
        }
        self.describe(&caps).is_ok() && self.is_described()
    }

    /// The caps, if data was dropped because they tell too little.
    pub fn undescribed(&self) -> Option<gst::Caps> {
        let dropped = self.lock().as_ref().is_some_and(|t| t.undescribed);
        self.obj().sink_pad().current_caps().filter(|_| dropped)
    }

    /// Whether the caps told all that a description needs.
    pub fn is_described(&self) -> bool {
        self.lock()
            .as_ref()
            .is_some_and(|t| !t.encoding_name.is_empty())
    }
}

/// Of the pictures that `caps` describe.
fn pixels(caps: &gst::CapsRef) -> Option<u32> {
    let structure = caps.structure(0)?;
    let size = |name| u32::try_from(structure.get::<i32>(name).ok()?).ok();
    Some(size("width")?.saturating_mul(size("height")?))
}
