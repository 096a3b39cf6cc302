// SPDX-License-Identifier: MPL-2.0
//! M-lines with several RTP streams: which of them a packet is of, by rid (RFC 8852) or by what the
//! description declared, and which of them go on.

use std::time::Instant;

use bytes::Bytes;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp;
use rtc::shared::marshal::Marshal;

use super::media_path::MediaPath;
use crate::media::header_extension::HeaderExtension;
use crate::media::keyframe;
use crate::media::layers::{Choice, Seen, Selector};
use crate::media::rtp_packet::Inbound;
use crate::peer::Layer;
use crate::peer::shared::Line;

/// Retransmission SSRCs of one line that are remembered with their layer.
const REPAIRS: usize = 16;

/// The layers of one m-line.
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// The SSRC that each has now.
    ssrcs: Vec<Option<u32>>,
    /// SSRCs of retransmissions, each with its layer.
    repairs: Vec<(u32, usize)>,
    outputs: Vec<Output>,
    /// Ids of the header extensions.
    rid: Option<u8>,
    repaired_rid: Option<u8>,
}

/// One output: its layers, and what chooses among them if there are several.
struct Output {
    members: Vec<usize>,
    selector: Option<Selector>,
}

impl Layers {
    fn new(line: &Line, choice: &Choice) -> Self {
        let layers = line.config.layers.clone();
        let codec = line.config.codecs.first();
        let clock_rate = codec.map_or(90_000, |codec| codec.clock_rate);
        let count = layers.iter().map(|layer| layer.output + 1).max();
        let outputs = (0..count.unwrap_or_default()).map(|output| {
            let members = layers.iter().enumerate();
            let members = members.filter(|(_, layer)| layer.output == output);
            let members: Vec<usize> = members.map(|(index, _)| index).collect();
            let rid = |index: &usize| layers.get(*index).map(|layer| layer.rid.clone());
            let rids = members.iter().filter_map(rid);
            let selector =
                (members.len() > 1).then(|| Selector::new(rids, clock_rate, choice.clone()));
            Output { members, selector }
        });
        Self {
            outputs: outputs.collect(),
            ssrcs: vec![None; layers.len()],
            repairs: Vec::new(),
            rid: line.config.extension(HeaderExtension::Rid),
            repaired_rid: line.config.extension(HeaderExtension::RepairedRid),
            layers,
        }
    }

    /// The layer that has `ssrc` now.
    fn of(&self, ssrc: u32) -> Option<usize> {
        self.ssrcs.iter().position(|known| *known == Some(ssrc))
    }

    /// The layer whose packets come as `header` says.
    fn find(&self, header: &rtp::header::Header, id: Option<u8>) -> Option<usize> {
        let rid = id.and_then(|id| header.get_extension(id));
        let by_rid = |rid: Bytes| {
            let mut layers = self.layers.iter();
            layers.position(|layer| *rid == *layer.rid.as_bytes())
        };
        match rid {
            Some(rid) if !rid.is_empty() => by_rid(rid),
            _ => {
                let mut layers = self.layers.iter();
                layers.position(|layer| layer.ssrc == Some(header.ssrc))
            }
        }
    }

    /// Output, place in it, and the selector there.
    fn output_of(&mut self, layer: usize) -> Option<(usize, usize, Option<&mut Selector>)> {
        let output = self.layers.get(layer)?.output;
        let found = self.outputs.get_mut(output)?;
        let member = found.members.iter().position(|member| *member == layer)?;
        Some((output, member, found.selector.as_mut()))
    }

    /// The SSRC that goes on at `output` now.
    fn current(&self, output: usize) -> Option<u32> {
        let output = self.outputs.get(output)?;
        let at = match &output.selector {
            Some(selector) => selector.current()?,
            None => 0,
        };
        self.ssrcs.get(*output.members.get(at)?).copied().flatten()
    }

    /// The output at which `ssrc` goes on now.
    fn goes_on(&self, ssrc: u32) -> Option<usize> {
        (0..self.outputs.len()).find(|output| self.current(*output) == Some(ssrc))
    }

    fn selectors(&mut self) -> impl Iterator<Item = (&Vec<usize>, &mut Selector)> {
        let outputs = self.outputs.iter_mut();
        outputs.filter_map(|output| Some((&output.members, output.selector.as_mut()?)))
    }
}

impl MediaPath {
    /// Takes up the layers that were negotiated, or are wanted, since.
    pub(super) fn bind_layers(&mut self) {
        let choice = self.shared.choice();
        let mut former = std::mem::take(&mut self.layers).into_iter();
        let lines = self.lines.clone();
        let mut changed = Vec::new();
        let layers = lines.iter().enumerate().map(|(stream, line)| {
            let former = former.next().flatten();
            let known = former.as_ref().map_or(&[][..], |former| &former.layers);
            if known != line.config.layers {
                changed.push(stream);
            }
            if line.config.layers.is_empty() {
                return None;
            }
            let mut layers = former
                .filter(|former| former.layers == line.config.layers)
                .unwrap_or_else(|| Layers::new(line, &choice));
            layers.rid = line.config.extension(HeaderExtension::Rid);
            layers.repaired_rid = line.config.extension(HeaderExtension::RepairedRid);
            layers
                .selectors()
                .for_each(|(_, selector)| selector.choose(choice.clone()));
            Some(layers)
        });
        self.layers = layers.collect();
        self.forget_streams(&changed);
    }

    fn layers_of(&mut self, stream: usize) -> Option<&mut Layers> {
        self.layers.get_mut(stream)?.as_mut()
    }

    /// Whether `stream` may have a new source that says what `header` says, and which SSRC it has
    /// for PLIs from now on.
    pub(super) fn bind_layer(&mut self, stream: usize, header: &rtp::header::Header) -> bool {
        let Some(layers) = self.layers_of(stream) else {
            return true;
        };
        let Some(layer) = layers.find(header, layers.rid) else {
            return false;
        };
        if let Some(known) = layers.ssrcs.get_mut(layer) {
            *known = Some(header.ssrc);
        }
        log::debug!(target: "rswebrtc::peer", "stream {stream}: layer {layer} comes as {}", header.ssrc);
        self.layer_begins(stream, header.ssrc);
        true
    }

    /// What `ssrc` sends has another numbering from now on.
    pub(super) fn layer_begins(&mut self, stream: usize, ssrc: u32) {
        if let Some(layers) = self.layers_of(stream)
            && let Some(layer) = layers.of(ssrc)
            && let Some((_, member, Some(selector))) = layers.output_of(layer)
        {
            selector.begin(member, ssrc);
        }
    }

    /// The SSRC that a retransmission with `header` repairs; `None`: `stream` has no layers, or
    /// it is not known of which of them it is.
    pub(super) fn repaired_layer(
        &mut self,
        stream: usize,
        header: &rtp::header::Header,
    ) -> Option<Option<u32>> {
        let layers = self.layers_of(stream)?;
        let known = |(ssrc, _): &&(u32, usize)| *ssrc == header.ssrc;
        if let Some((_, layer)) = layers.repairs.iter().find(known) {
            return Some(layers.ssrcs.get(*layer).copied().flatten());
        }
        let layer = match layers.repaired_rid.or(layers.rid) {
            Some(id) if header.get_extension(id).is_some() => layers.find(header, Some(id)),
            _ => None,
        };
        let Some(layer) = layer else {
            return Some(None);
        };
        if layers.repairs.len() >= REPAIRS {
            layers.repairs.remove(0);
        }
        layers.repairs.push((header.ssrc, layer));
        Some(layers.ssrcs.get(layer).copied().flatten())
    }

    /// Whether what `ssrc` sends on `stream` is of use to a reader now, and at which output.
    pub(super) fn output_of(&self, stream: usize, ssrc: u32) -> Option<usize> {
        match self.layers.get(stream) {
            Some(Some(layers)) => layers.goes_on(ssrc),
            _ => Some(0),
        }
    }

    /// The SSRC that goes on at an output, if the stream has several.
    pub(super) fn current_layer(&self, stream: usize, output: usize) -> Option<u32> {
        self.layers.get(stream)?.as_ref()?.current(output)
    }

    /// Where a packet goes on, and whether its header was changed for that; `None`: nowhere.
    pub(super) fn select(
        &mut self,
        stream: usize,
        header: &mut rtp::header::Header,
        payload: &[u8],
        now: Instant,
    ) -> Option<(usize, bool)> {
        let came_as = header.ssrc;
        let lines = self.lines.clone();
        let line = lines.get(stream)?;
        let mut codecs = line.config.codecs.iter();
        let codec = codecs.find(|codec| codec.payload_type == header.payload_type)?;
        self.tap.came_back(came_as);
        let layers = self.layers_of(stream)?;
        let layer = layers.of(came_as)?;
        let (output, member, selector) = layers.output_of(layer)?;
        let Some(selector) = selector else {
            return Some((output, false));
        };
        let key_start = keyframe::starts_key(&codec.name, payload);
        if key_start && let Some(pixels) = keyframe::pixels(&codec.name, payload) {
            selector.sized(member, pixels);
        }
        let seen = Seen {
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            key_start,
            payload,
        };
        let before = selector.current();
        let passed = selector.pass(member, &seen, now);
        let changed = selector.current() != before;
        if changed && output == 0 {
            log::debug!(target: "rswebrtc::peer", "stream {stream}: layer {layer} ({came_as}) goes on");
            if let Some(primary) = self.primaries.get_mut(stream) {
                *primary = Some(came_as);
            }
        }
        let passed = passed?;
        let same = (header.sequence_number, header.timestamp, header.ssrc)
            == (passed.sequence, passed.timestamp, passed.ssrc);
        header.sequence_number = passed.sequence;
        header.timestamp = passed.timestamp;
        header.ssrc = passed.ssrc;
        Some((output, !same))
    }

    /// A sender report goes to the reader as one of the stream that it gets.
    pub(super) fn pass_report(&mut self, report: &SenderReport) {
        let Some(stream) = self.routes.get(&report.ssrc).copied() else {
            return;
        };
        let Some(layers) = self.layers_of(stream) else {
            return;
        };
        let Some(layer) = layers.of(report.ssrc) else {
            return;
        };
        let Some((output, member, selector)) = layers.output_of(layer) else {
            return;
        };
        let mut passed = report.clone();
        passed.reports.clear();
        if let Some(selector) = selector {
            let mapped = selector.report(member, report.ntp_time, report.rtp_time);
            let Some((ssrc, timestamp)) = mapped else {
                return;
            };
            (passed.ssrc, passed.rtp_time) = (ssrc, timestamp);
        }
        let queue = self.lines.get(stream).and_then(|line| line.output(output));
        if let (Some(queue), Ok(bytes)) = (queue, passed.marshal()) {
            // overflow: the queue drops its oldest entries, and counts them.
            queue.push(Inbound::SenderReport(bytes.freeze()));
        }
    }

    /// Sources that the remote may end with a BYE: what a stream is made of.
    pub(super) fn current_sources(&self) -> Vec<Option<u32>> {
        let layered = |stream: usize| self.layers.get(stream).and_then(Option::as_ref);
        let primaries = self.primaries.iter().enumerate();
        let all = primaries.flat_map(|(stream, primary)| match layered(stream) {
            Some(layers) => layers.ssrcs.clone(),
            None => vec![*primary],
        });
        all.collect()
    }

    /// The remote says that it stops these sources.
    pub(super) fn layers_stop(&mut self, sources: &[u32]) {
        for layers in self.layers.iter_mut().flatten() {
            for layer in sources
                .iter()
                .filter_map(|ssrc| layers.of(*ssrc))
                .collect::<Vec<_>>()
            {
                if let Some((_, member, Some(selector))) = layers.output_of(layer) {
                    selector.stopped(member);
                }
            }
        }
    }

    /// When a layer has to be asked for.
    pub(super) fn layers_due(&self) -> Option<Instant> {
        let layers = self.layers.iter().flatten();
        let outputs = layers.flat_map(|layers| &layers.outputs);
        outputs
            .filter_map(|output| output.selector.as_ref()?.due())
            .min()
    }

    /// Asks for the key frames at which layers are changed.
    pub(super) fn ask_for_layers(&mut self, now: Instant) {
        if self.layers_due().is_none_or(|due| now < due) {
            return;
        }
        let mut asks = Vec::new();
        for (stream, layers) in self.layers.iter_mut().enumerate() {
            let Some(layers) = layers else {
                continue;
            };
            let ssrcs = layers.ssrcs.clone();
            for (members, selector) in layers.selectors() {
                let member = selector.ask(now).and_then(|at| members.get(at));
                let ssrc = member.and_then(|layer| ssrcs.get(*layer).copied().flatten());
                asks.extend(ssrc.map(|ssrc| (stream, ssrc)));
            }
        }
        for (stream, ssrc) in asks {
            self.write_key_frame_request(stream, ssrc, now);
        }
    }
}
