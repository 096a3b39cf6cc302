// SPDX-License-Identifier: MPL-2.0
//! The audio and video pads of a sink: how they come and go, and what their caps build.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::media_pad::MediaPad;
use crate::gst_glue::{caps, report};
use crate::logging::SINK as CAT;
use crate::media::codec::MediaKind;

use super::access_unit;
use super::call::SinkCall;
use super::imp::{RsWebRtcSink, lock};
use super::pad::Chain;
use super::track_sink::TrackSink;

/// One of them.
pub struct SinkPad {
    /// The pad.
    pub ghost: MediaPad,
    /// Audio or video.
    pub kind: MediaKind,
    /// Its track in the current call.
    pub track: Option<usize>,
    /// What is behind it, once its caps are known.
    pub chain: Option<Arc<Chain>>,
}

impl RsWebRtcSink {
    /// A new pad `name` for media.
    pub(super) fn request_media_pad(
        &self,
        template: &gst::PadTemplate,
        name: String,
    ) -> Option<gst::Pad> {
        let call = lock(&self.call).clone();
        // A demuxer's pads come in PAUSED, when the call waits for them already; and during the
        // call others may come.
        let kind = kind_of(template);
        let track = call.as_ref().map(|call| call.add_track(&name, kind));
        let weak = self.obj().downgrade();
        let ghost = gst::PadBuilder::<MediaPad>::from_template(template)
            .name(name)
            .query_function(move |pad, parent, query| {
                // Only the template counts, before and behind what is built with the first caps: an
                // encoder that asks again once that is there must not change what was offered.
                // And what does not fit gets to the caps event, which can say what is wrong.
                let allowed = pad.pad_template_caps();
                match query.view_mut() {
                    gst::QueryViewMut::AcceptCaps(query) => {
                        query.set_result(allowed.can_intersect(query.caps()));
                        return true;
                    }
                    gst::QueryViewMut::Caps(query) => {
                        let preferred = caps::preferred_caps(kind);
                        let caps = match query.filter_owned() {
                            // Our order counts: the filter is what the other can make.
                            Some(filter) => preferred
                                .intersect_with_mode(&filter, gst::CapsIntersectMode::First),
                            None => preferred,
                        };
                        query.set_result(&caps);
                        return true;
                    }
                    _ => {}
                }
                gst::Pad::query_default(pad, parent, query)
            })
            .event_function(move |pad, parent, event| {
                if let (gst::EventView::Caps(caps), Some(sink)) = (event.view(), weak.upgrade())
                    && !sink.imp().caps_came(pad, caps.caps())
                {
                    return false;
                }
                let event = match event.view() {
                    gst::EventView::Caps(caps) if access_unit::is_in_pieces(caps.caps()) => {
                        gst::event::Caps::new(&access_unit::collected_caps(caps.caps()))
                    }
                    _ => event,
                };
                gst::Pad::event_default(pad, parent, event)
            })
            .build();
        lock(&self.pads).push(SinkPad {
            ghost: ghost.clone(),
            kind,
            track,
            chain: None,
        });
        let _ = ghost.set_active(true);
        if self.obj().add_pad(&ghost).is_err() {
            self.release_media_pad(&ghost);
            return None;
        }
        // gst-launch sets what was written as `PAD::msid` now.
        let name = ghost.name();
        self.obj().child_added(&ghost, &name);
        Some(ghost.upcast())
    }

    /// The pad goes, and its stream ends.
    pub(super) fn release_media_pad(&self, ghost: &MediaPad) {
        let removed = {
            let mut pads = lock(&self.pads);
            let at = pads.iter().position(|p| p.ghost == *ghost);
            at.map(|at| pads.remove(at))
        };
        let track = removed.as_ref().and_then(|p| p.track);
        if let Some(track) = track {
            // Wakes what waits in the pad, or deactivating it would wait too.
            self.with_call(|call| call.gate.set_flushing(track, true));
        }
        // The end first: it wakes a streaming thread that waits for its time there.
        if let Some(chain) = removed.and_then(|p| p.chain) {
            chain.remove(self.obj().upcast_ref(), ghost.upcast_ref());
        }
        let _ = ghost.set_active(false);
        if let Some(track) = track {
            self.with_call(|call| call.release_track(track));
        }
        self.obj().child_removed(ghost, &ghost.name());
        let _ = self.obj().remove_pad(ghost);
    }

    /// The user's own name for a pad, or the next free one.
    pub(super) fn pad_name(
        &self,
        template: &gst::PadTemplate,
        wanted: Option<&str>,
    ) -> Option<String> {
        let taken = |name: &str| self.obj().static_pad(name).is_some();
        if let Some(name) = wanted.filter(|n| !n.contains('%')) {
            if taken(name) {
                gst::warning!(CAT, imp = self, "there is a pad {name} already");
                return None;
            }
            return Some(name.to_owned());
        }
        let prefix = template.name_template().trim_end_matches("%u").to_owned();
        (0..u32::MAX)
            .map(|n| format!("{prefix}{n}"))
            .find(|name| !taken(name))
    }

    /// Caps on a pad: builds what is behind it, or checks that it still fits.
    fn caps_came(&self, pad: &MediaPad, caps: &gst::CapsRef) -> bool {
        let Some(call) = lock(&self.call).clone() else {
            return false;
        };
        let (track, existing) = {
            let pads = lock(&self.pads);
            let Some(pad) = pads.iter().find(|p| p.ghost == *pad) else {
                return false;
            };
            let Some(track) = pad.track else {
                return false;
            };
            (track, pad.chain.clone())
        };
        if let Some(chain) = existing {
            if chain.carries(caps) {
                let bin = self.obj();
                if let Err(message) =
                    chain.parse_if_needed(bin.upcast_ref(), pad.upcast_ref(), caps)
                {
                    self.post_error_message(message);
                    return false;
                }
                self.look_for_encoders(&call);
                return true;
            }
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "the codec on pad {} changed during the call; start a new call",
                    pad.name()
                )
            );
            return false;
        }
        let settings = lock(&self.settings).clone();
        call.set_msid(track, pad.msid(), pad.rid());
        let track = TrackSink::new(call, track, settings.early_data, settings.sync);
        match Chain::build(self.obj().upcast_ref(), pad.upcast_ref(), caps, track) {
            Ok(chain) => {
                if let Some(p) = lock(&self.pads).iter_mut().find(|p| p.ghost == *pad) {
                    p.chain = Some(Arc::new(chain));
                }
                self.with_call(|call| self.look_for_encoders(call));
                true
            }
            Err(message) => {
                self.post_error_message(message);
                false
            }
        }
    }

    /// The ends of the pads by their tracks.
    pub(super) fn tracks(&self) -> Vec<(usize, TrackSink)> {
        lock(&self.pads)
            .iter()
            .filter_map(|p| Some((p.track?, p.chain.as_ref()?.track().clone())))
            .collect()
    }

    /// The pads by their tracks.
    pub(super) fn ghosts(&self) -> Vec<(usize, MediaPad)> {
        let pads = lock(&self.pads);
        let pads = pads.iter();
        pads.filter_map(|p| Some((p.track?, p.ghost.clone())))
            .collect()
    }

    /// The pads by the session's streams.
    pub(super) fn pad_caps(&self, call: &SinkCall) -> Vec<report::Pad> {
        let ghosts: Vec<_> = lock(&self.pads)
            .iter()
            .filter_map(|p| Some((call.sent_as(p.track?)?, p.ghost.clone())))
            .collect();
        ghosts
            .into_iter()
            .map(|(local, ghost)| report::Pad {
                output: 0,
                local,
                name: ghost.name().to_string(),
                caps: ghost.current_caps(),
            })
            .collect()
    }
}

fn kind_of(template: &gst::PadTemplate) -> MediaKind {
    match template.name_template().starts_with("audio") {
        true => MediaKind::Audio,
        false => MediaKind::Video,
    }
}
