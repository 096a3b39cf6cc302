// SPDX-License-Identifier: MPL-2.0
//! What stands behind one source pad: track source, jitter buffer and, unless RTP is wanted,
//! depayloader and parser.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::glib;
use gst::prelude::*;

use crate::gst_glue::caps::{Carriage, Part, rtp_caps, source_pad_caps};
use crate::gst_glue::errors::missing_element;
use crate::gst_glue::media_pad::MediaPad;
use crate::gst_glue::report;
use crate::media::codec::Codec;
use crate::media::header_extension::HeaderExtension;
use crate::media::queue::InboundQueue;
use crate::session::negotiation::AgreedStream;

use super::lip_sync::LipSync;
use super::track_src::{Feed, KeyFrameRequest, TrackSrc};
use super::vp9_size;

/// So many packets in a row, and the stream starts without waiting for the jitter buffer to fill.
const FAST_START_PACKETS: u32 = 1;

/// One stream that a pad gives.
pub struct Stream {
    /// The pad.
    pub ghost: gst::GhostPad,
    /// Whose it is.
    pub peer: Arc<str>,
    /// The session's index of the stream.
    pub index: usize,
    queue: Arc<InboundQueue>,
    track: TrackSrc,
    jitter_buffer: gst::Element,
    elements: Vec<gst::Element>,
    /// Data came out of the pad.
    flows: Arc<AtomicBool>,
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
    /// What was agreed.
    pub codec: Codec,
    /// What the remote calls it.
    pub msid: Option<String>,
    /// What the remote may send instead.
    pub alternatives: Vec<Codec>,
    /// Header extensions with their ids.
    pub extensions: Vec<(u8, HeaderExtension)>,
    /// What the peer delivers.
    pub queue: Arc<InboundQueue>,
    /// Jitter buffer, ms.
    pub latency: u32,
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
        let ghost = ghost_pad(template, &config)?;
        let reorders = ["H264", "H265"].contains(&config.codec.name.as_str());
        let flows = watch(&ghost, reorders, config.tells);
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
        let parts = elements.and_then(|e| Ok((jitter_buffer(config.latency)?, e)));
        let (jitter_buffer, depayloading) = parts.inspect_err(|_| {
            let _ = bin.remove_pad(&ghost);
        })?;
        let orientation = orientation_id(&config.extensions);
        let track = TrackSrc::new(Feed {
            queue: config.queue.clone(),
            caps,
            codec: config.codec.clone(),
            alternatives: config.alternatives,
            orientation,
            key_frame: config.key_frame,
        });
        let mut elements = vec![track.clone().upcast(), jitter_buffer.clone()];
        elements.extend(depayloading);
        let stream = Self {
            ghost,
            peer: config.peer,
            index: config.index,
            queue: config.queue,
            track,
            jitter_buffer,
            elements,
            flows,
            ended: AtomicBool::new(false),
        };
        if let Err(error) = stream.plug(bin, lip_sync) {
            stream.remove(bin);
            return Err(failed(&config.name, &error));
        }
        Ok(stream)
    }

    /// Another connection goes on with the stream: `false` if it brings another encoding, and the
    /// stream ends.
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

    /// The jitter buffer, whose `latency` may change at any time.
    pub fn jitter_buffer(&self) -> gst::Element {
        self.jitter_buffer.clone()
    }

    /// Whether data came out of the pad.
    pub fn flows(&self) -> bool {
        self.flows.load(Ordering::Relaxed)
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
        self.connect_reports(lip_sync)?;
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

    fn connect_reports(&self, lip_sync: &Arc<LipSync>) -> Result<(), glib::BoolError> {
        let sink = self
            .jitter_buffer
            .request_pad_simple("sink_rtcp")
            .ok_or_else(|| glib::bool_error!("the jitter buffer takes no RTCP"))?;
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name("rtcp")
            .build();
        pad.set_active(true)?;
        pad.link(&sink)
            .map_err(|e| glib::bool_error!("RTCP pad: {e}"))?;
        let caps = gst::Caps::new_empty_simple("application/x-rtcp");
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        pad.push_event(gst::event::StreamStart::new(&format!(
            "{}/rtcp",
            self.ghost.name()
        )));
        pad.push_event(gst::event::Caps::new(&caps));
        pad.push_event(gst::event::Segment::new(&segment));
        self.track.set_rtcp_pad(pad);
        let index = lip_sync.add(&self.jitter_buffer);
        let lip_sync = Arc::downgrade(lip_sync);
        self.jitter_buffer
            .connect("handle-sync", false, move |values| {
                let sync = values.get(1).and_then(|v| v.get::<gst::Structure>().ok());
                if let (Some(sync), Some(lip_sync)) = (sync, lip_sync.upgrade()) {
                    lip_sync.report(index, &sync);
                }
                None
            });
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

fn ghost_pad(
    template: &gst::PadTemplate,
    config: &Config,
) -> Result<gst::GhostPad, gst::ErrorMessage> {
    // A template of its own, so that linking sees this stream's caps and not all that there are.
    let narrowed = gst::PadTemplate::new(
        template.name_template(),
        gst::PadDirection::Src,
        gst::PadPresence::Sometimes,
        &source_pad_caps(&config.codec),
    )
    .map_err(|e| failed(&config.name, &e))?;
    let pad = gst::PadBuilder::<MediaPad>::from_template(&narrowed)
        .name(config.name.as_str())
        .build();
    pad.set_property("msid", &config.msid);
    Ok(pad.upcast())
}

/// Notes that data flows, and tells the caps that come out.
fn watch(ghost: &gst::GhostPad, reorders: bool, tells: bool) -> Arc<AtomicBool> {
    let flows = Arc::new(AtomicBool::new(false));
    let seen = flows.clone();
    let times = Mutex::new(FrameTimes::default());
    ghost.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |pad, info| {
            if pad.is_linked() {
                seen.store(true, Ordering::Relaxed);
                let reordered = info.buffer_mut().is_some_and(|buffer| {
                    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                    times.complete(buffer)
                });
                if reordered && reorders {
                    warn_reordered(pad);
                }
                return gst::PadProbeReturn::Ok;
            }
            // Nobody wants this stream; an error would end the others too.
            info.data = None;
            gst::PadProbeReturn::Handled
        },
    );
    ghost.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|e| e.view()) {
            report::caps_known(tells, &pad.name(), caps.caps());
        }
        gst::PadProbeReturn::Ok
    });
    flows
}

/// Gives frames the duration of the one before, where the stream names none: the last one of a
/// recording would last no time at all, and players would leave it out.
#[derive(Debug, Default)]
struct FrameTimes {
    last: Option<gst::ClockTime>,
    step: Option<gst::ClockTime>,
    reordered: bool,
}

impl FrameTimes {
    /// Tells whether this is the first frame that is sent out of the order of its time.
    fn complete(&mut self, buffer: &mut gst::Buffer) -> bool {
        let Some(pts) = buffer.pts() else {
            return false;
        };
        let backwards = self.last.is_some_and(|last| pts < last);
        let first = backwards && !self.reordered && buffer.dts().is_none();
        self.reordered |= backwards;
        self.step = self
            .last
            .and_then(|last| pts.checked_sub(last))
            .filter(|step| !step.is_zero())
            .or(self.step);
        self.last = Some(pts);
        if buffer.duration().is_none() && self.step.is_some() && !self.reordered {
            buffer.make_mut().set_duration(self.step);
        }
        first
    }
}

fn warn_reordered(pad: &gst::GhostPad) {
    if let Some(element) = pad.parent_element() {
        gst::element_warning!(
            element,
            gst::StreamError::Format,
            (
                "the video on pad {} has B-frames: mp4mux needs h264timestamper before it, or the \
                 recording gets wrong times. Better still, have the sender encode without them",
                pad.name()
            )
        );
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

fn jitter_buffer(latency: u32) -> Result<gst::Element, gst::ErrorMessage> {
    gst::ElementFactory::make("rtpjitterbuffer")
        .property("latency", latency)
        .property("do-lost", true)
        .property("faststart-min-packets", FAST_START_PACKETS)
        .build()
        .map_err(|e| missing_element("rtpjitterbuffer", &e))
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
        if element.has_property("request-keyframe") {
            element.set_property("request-keyframe", true);
            if carriage.name == "VP9" {
                vp9_size::complete(&element);
            }
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
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_duration_lasts_as_long_as_the_one_before() {
        gst::init().unwrap();
        let mut times = FrameTimes::default();
        let lasts: Vec<_> = [0, 40, 80]
            .map(|ms| {
                let mut buffer = gst::Buffer::new();
                buffer.make_mut().set_pts(gst::ClockTime::from_mseconds(ms));
                times.complete(&mut buffer);
                buffer.duration().map(|d| d.mseconds())
            })
            .into();
        assert_eq!(lasts, [None, Some(40), Some(40)]);
    }

    #[test]
    fn frames_out_of_order_are_told_once() {
        gst::init().unwrap();
        let mut times = FrameTimes::default();
        let told: Vec<_> = [0, 100, 33, 66, 200, 133]
            .map(|ms| {
                let mut buffer = gst::Buffer::new();
                buffer.make_mut().set_pts(gst::ClockTime::from_mseconds(ms));
                times.complete(&mut buffer)
            })
            .into();
        assert_eq!(told, [false, false, true, false, false, false]);
    }
}
