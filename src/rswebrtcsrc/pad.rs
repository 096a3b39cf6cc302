// SPDX-License-Identifier: MPL-2.0
//! What stands behind one source pad: track source, jitter buffer, for video what finds its frames,
//! and, unless RTP is wanted, depayloader and parser.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::glib;
use gst::prelude::*;

use crate::gst_glue::caps::{Carriage, Part, rtp_caps};
use crate::media::codec::{Codec, MediaKind};
use crate::media::header_extension::HeaderExtension;
use crate::media::queue::InboundQueue;
use crate::session::negotiation::AgreedStream;

use super::batch::Batch;
use super::frame_gate::FrameGate;
use super::lip_sync::LipSync;
use super::output::{Flow, ghost_pad, watch};
use super::playout::{Playout, Wanted, jitter_buffer};
use super::track_src::{Feed, KeyFrameRequest, TrackSrc};
use super::vp9_size;

/// One stream that a pad gives.
pub struct Stream {
    /// The pad.
    pub ghost: gst::GhostPad,
    /// Whose it is.
    pub peer: Arc<str>,
    /// The session's index of the stream.
    pub index: usize,
    /// Which of the outputs of that stream it is.
    pub output: usize,
    /// Audio or video.
    pub kind: MediaKind,
    queue: Arc<InboundQueue>,
    track: TrackSrc,
    jitter_buffer: gst::Element,
    /// What can be changed and read while it plays.
    pub playout: Arc<Playout>,
    elements: Vec<gst::Element>,
    flow: Arc<Flow>,
    ended: AtomicBool,
}

/// What a stream is built from.
pub struct Config {
    /// Name of the pad.
    pub name: String,
    /// Whose it is.
    pub peer: Arc<str>,
    /// The session's index of the stream.
    pub index: usize,
    /// Which of the outputs of that stream it is.
    pub output: usize,
    /// What was agreed.
    pub codec: Codec,
    /// What the remote calls it.
    pub msid: Option<String>,
    /// The layer that it is, if it is one of several.
    pub rid: Option<String>,
    /// What the remote may send instead.
    pub alternatives: Vec<Codec>,
    /// Header extensions with their ids.
    pub extensions: Vec<(u8, HeaderExtension)>,
    /// What the peer delivers.
    pub queue: Arc<InboundQueue>,
    /// How it is played out.
    pub wanted: Wanted,
    /// Sends a PLI.
    pub key_frame: KeyFrameRequest,
    /// Tell people about the caps on stderr.
    pub tells: bool,
}

impl Stream {
    /// Adds the pad to `bin`, then builds what whoever linked it needs.
    ///
    /// # Errors
    ///
    /// The element that is missing.
    pub fn build(
        bin: &gst::Bin,
        template: &gst::PadTemplate,
        config: Config,
        lip_sync: &Arc<LipSync>,
    ) -> Result<Self, gst::ErrorMessage> {
        let ghost = ghost_pad(
            template,
            &config.name,
            &config.codec,
            (config.msid.as_deref(), config.rid.as_deref()),
        )
        .map_err(|e| failed(&config.name, &e))?;
        let flow = watch(&ghost, &config.codec, config.tells);
        let _ = ghost.set_active(true);
        bin.add_pad(&ghost).map_err(|e| failed(&config.name, &e))?;
        let as_rtp = wants_rtp(&ghost, &config.codec);
        let mut caps = rtp_caps(&config.codec);
        let elements = if as_rtp {
            announce_extensions(&mut caps, &config.extensions);
            Ok(Vec::new())
        } else {
            depayloading(&config.codec)
        };
        let parts = elements.and_then(|e| Ok((jitter_buffer(config.wanted.latency)?, e)));
        let (jitter_buffer, depayloading) = parts.inspect_err(|_| {
            let _ = bin.remove_pad(&ghost);
        })?;
        let key_frame = Arc::new(config.key_frame);
        let batch = Arc::new(Batch::default());
        let gate = (config.codec.kind == MediaKind::Video).then(|| {
            let policy = config.wanted.policy_of(as_rtp);
            let around = (batch.clone(), flow.clone());
            FrameGate::new(&config.codec.name, policy, around, key_frame.clone())
        });
        let track = TrackSrc::new(Feed {
            queue: config.queue.clone(),
            caps,
            codec: config.codec.clone(),
            alternatives: config.alternatives,
            orientation: orientation_id(&config.extensions),
            key_frame,
            batch,
        });
        let mut elements = vec![track.clone().upcast(), jitter_buffer.clone()];
        elements.extend(gate.clone().map(Cast::upcast));
        let playout = Playout::new(
            jitter_buffer.clone(),
            gate,
            track.clone(),
            config.queue.clone(),
            as_rtp,
            &config.codec,
            &config.wanted,
        );
        elements.extend(depayloading);
        let stream = Self {
            ghost,
            peer: config.peer,
            index: config.index,
            output: config.output,
            kind: config.codec.kind,
            queue: config.queue,
            track,
            jitter_buffer,
            playout: Arc::new(playout),
            elements,
            flow,
            ended: AtomicBool::new(false),
        };
        if let Err(error) = stream.plug(bin, lip_sync) {
            stream.remove(bin);
            return Err(failed(&config.name, &error));
        }
        Ok(stream)
    }

    /// Another connection goes on with the stream: `false` if it brings another encoding, and the
    /// stream ends. How it is played out is renewed apart ([`Playout::renew`]).
    pub fn renew(&self, agreed: &AgreedStream) -> bool {
        let goes_on = self.track.renew(
            agreed.codec.clone(),
            agreed.alternatives.clone(),
            orientation_id(&agreed.extensions),
        );
        if !goes_on {
            self.end();
        }
        goes_on
    }

    /// Ends the stream once what was received was read.
    pub fn end(&self) {
        self.track.end();
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::end`] was called.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Whether `queue` is where its packets come from.
    pub fn is_fed_by(&self, queue: &Arc<InboundQueue>) -> bool {
        Arc::ptr_eq(&self.queue, queue)
    }

    /// Whether data came out of the pad.
    pub fn flows(&self) -> bool {
        self.flow.flows()
    }

    /// Takes everything out of `bin`.
    pub fn remove(&self, bin: &gst::Bin) {
        for element in &self.elements {
            element.set_locked_state(true);
            let _ = element.set_state(gst::State::Null);
        }
        let _ = self.ghost.set_active(false);
        let _ = self.ghost.set_target(None::<&gst::Pad>);
        let _ = bin.remove_pad(&self.ghost);
        for element in &self.elements {
            let _ = bin.remove(element);
        }
    }

    fn plug(&self, bin: &gst::Bin, lip_sync: &Arc<LipSync>) -> Result<(), glib::BoolError> {
        bin.add_many(&self.elements)?;
        gst::Element::link_many(&self.elements)?;
        let reports = lip_sync.connect(&self.jitter_buffer, &self.ghost.name())?;
        self.track.set_rtcp_pad(reports);
        let last = self
            .elements
            .last()
            .and_then(|e| e.static_pad("src"))
            .ok_or_else(|| glib::bool_error!("a chain without a source pad"))?;
        self.ghost.set_target(Some(&last))?;
        // The end first, so that nothing is pushed into an element that is not ready.
        for element in self.elements.iter().rev() {
            element.sync_state_with_parent()?;
        }
        Ok(())
    }
}

fn orientation_id(extensions: &[(u8, HeaderExtension)]) -> Option<u8> {
    let mut all = extensions.iter();
    all.find(|(_, e)| *e == HeaderExtension::VideoOrientation)
        .map(|(id, _)| *id)
}

/// Tells what the header extensions on the packets are, as GStreamer's depayloaders read it. Only
/// RTP that leaves us: our own depayloaders would look into every packet for them.
fn announce_extensions(caps: &mut gst::Caps, extensions: &[(u8, HeaderExtension)]) {
    for structure in caps.make_mut().iter_mut() {
        for (id, extension) in extensions {
            structure.set(format!("extmap-{id}"), extension.uri());
        }
    }
}

/// Whether what is linked to `ghost` takes RTP and no encoded stream.
fn wants_rtp(ghost: &gst::GhostPad, codec: &Codec) -> bool {
    let (Some(peer), Some(carriage)) = (ghost.peer(), Carriage::of(&codec.name)) else {
        return false;
    };
    let taken = peer.query_caps(None);
    !taken.can_intersect(&carriage.encoded_caps()) && taken.can_intersect(&rtp_caps(codec))
}

fn depayloading(codec: &Codec) -> Result<Vec<gst::Element>, gst::ErrorMessage> {
    let carriage = Carriage::of(&codec.name).ok_or_else(|| {
        gst::error_msg!(
            gst::StreamError::CodecNotFound,
            ("no way to unpack {}", codec)
        )
    })?;
    [
        Some(carriage.depayloader),
        carriage.parser_behind.map(Part::Factory),
    ]
    .into_iter()
    .flatten()
    .map(|part| {
        let element = part.make()?;
        // Key frames are asked for by the gate before, for all codecs alike.
        if carriage.name == "VP9" && element.has_property("request-keyframe") {
            vp9_size::complete(&element);
        }
        Ok(element)
    })
    .collect()
}

fn failed(name: &str, error: &dyn std::fmt::Display) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::CoreError::Failed,
        ("cannot make pad {}: {}", name, error)
    )
}

#[cfg(test)]
mod tests;
