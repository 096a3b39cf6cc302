// SPDX-License-Identifier: MPL-2.0
//! M-lines that carry several RTP streams: layers by rid (RFC 8853) or by `a=ssrc-group:SIM`, and
//! several tracks in one m-line, as Plan B had it.

use crate::media::codec::MediaKind;
use crate::media::header_extension::HeaderExtension;
use crate::media::layers::Choice;
use crate::peer::{Direction, Layer, SentLayer, StreamConfig};
use crate::sdp::{MediaLine, Msid, Remote, RidDirection};

use super::{Agreement, Sending, Wish};

/// Streams of one m-line that are told apart; a description with more is of the rest's making.
const MOST: usize = 8;

/// The layers in which the remote sends on `line`, as we take them; empty: one stream.
pub(super) fn received(
    offer: &Remote,
    line: &MediaLine,
    extensions: &[(u8, HeaderExtension)],
    choice: &Choice,
) -> Vec<Layer> {
    let named = extensions
        .iter()
        .any(|(_, extension)| *extension == HeaderExtension::Rid);
    let mut layers = by_rid(line);
    if !named || layers.len() < 2 {
        layers = by_ssrc(offer, line);
    }
    layers.truncate(MOST);
    // Sound has no layers to choose from, but may be of several tracks.
    let apart = |layers: &[Layer]| layers.last().is_some_and(|l| l.output + 1 == layers.len());
    if layers.len() < 2 || (line.kind == Some(MediaKind::Audio) && !apart(&layers)) {
        return Vec::new();
    }
    if *choice == Choice::All {
        for (output, layer) in layers.iter_mut().enumerate() {
            layer.output = output;
        }
    }
    layers
}

/// By `a=simulcast:send`: of alternatives the first, which the sender likes best.
fn by_rid(line: &MediaLine) -> Vec<Layer> {
    let sent = line.simulcast.iter().flat_map(|simulcast| &simulcast.send);
    let known = |rid: &&str| {
        let mut rids = line.rids.iter();
        rids.any(|known| known.id == *rid && known.direction == RidDirection::Send)
    };
    let mut layers: Vec<Layer> = Vec::new();
    for alternatives in sent {
        let rid = alternatives
            .iter()
            .map(|layer| layer.rid.as_str())
            .find(known);
        if let Some(rid) = rid.filter(|rid| !layers.iter().any(|layer| layer.rid == *rid)) {
            layers.push(Layer {
                rid: rid.to_owned(),
                ..Layer::default()
            });
        }
    }
    layers
}

/// By the sources that are declared: those of a SIM group are layers of one picture, and each
/// track is a picture of its own.
fn by_ssrc(offer: &Remote, line: &MediaLine) -> Vec<Layer> {
    let declared = offer.declared(line.index);
    let groups = line.groups.iter();
    let simulcast: Vec<&Vec<u32>> = groups
        .filter(|(semantics, _)| semantics == "SIM")
        .map(|(_, ssrcs)| ssrcs)
        .collect();
    let grouped = |ssrc: u32| simulcast.iter().position(|group| group.contains(&ssrc));
    let track = |ssrc: u32| {
        let mut sources = line.sources.iter();
        let source = sources.find(|source| source.ssrc == ssrc)?;
        source.msid.as_ref()
    };
    let mut outputs: Vec<(Option<usize>, Option<&Msid>)> = Vec::new();
    let mut layers = Vec::new();
    for ssrc in declared.ssrcs {
        let (group, msid) = (grouped(ssrc), track(ssrc));
        // Without either it cannot be told what a further source is: it may be the next one of the
        // same stream.
        if group.is_none() && msid.is_none() {
            return Vec::new();
        }
        let same = |(of, known): &(Option<usize>, Option<&Msid>)| match group {
            Some(_) => *of == group,
            None => of.is_none() && *known == msid,
        };
        let output = outputs.iter().position(same).unwrap_or_else(|| {
            outputs.push((group, msid));
            outputs.len() - 1
        });
        layers.push(Layer {
            rid: String::new(),
            ssrc: Some(ssrc),
            output,
            msid: msid.map(ToString::to_string),
        });
    }
    layers
}

/// What we wish to send, the layers of one picture in the order of their size.
pub(super) fn largest_first(streams: &[Sending]) -> Vec<(usize, &Sending)> {
    let mut all: Vec<(usize, &Sending)> = streams.iter().enumerate().collect();
    let group = |sending: &Sending| sending.layer.as_ref().map(|layer| layer.group.clone());
    let first = |of: Option<String>| streams.iter().position(|sending| group(sending) == of);
    all.sort_by_key(|(local, sending)| {
        let place = match group(sending) {
            Some(of) => first(Some(of)).unwrap_or(*local),
            None => *local,
        };
        let pixels = sending.layer.as_ref().map_or(0, |layer| layer.pixels);
        (place, std::cmp::Reverse(pixels))
    });
    all
}

/// Whether `one` and `other` are layers of one picture.
fn together(one: &Sending, other: &Sending) -> bool {
    match (&one.layer, &other.layer) {
        (Some(a), Some(b)) => a.group == b.group && one.codec.same_encoding(&other.codec),
        _ => false,
    }
}

/// Puts stream `local` into the m-line of the layers that are offered already, at a place that is
/// `vacant`, or behind all others; `false`: it has to begin one.
pub(super) fn join(
    local: usize,
    sending: &Sending,
    streams: &[Sending],
    offered: &mut Agreement,
    vacant: &mut Vec<usize>,
) -> bool {
    let Some(own) = &sending.layer else {
        return false;
    };
    let carried = offered.streams.iter().zip(&offered.locals);
    let mut others = carried.filter_map(|(stream, local)| {
        let other = streams.get((*local)?).filter(|other| !other.removed)?;
        let layer = stream.layer.as_ref().filter(|_| together(sending, other))?;
        // Not with those that a remote without simulcast does not get.
        let owner = offered.streams.get(layer.of)?;
        owner.layer.as_ref().map(|_| layer.of)
    });
    let Some(of) = others.next() else {
        return false;
    };
    let Some(line) = offered.streams.get(of).cloned() else {
        return false;
    };
    let stream = StreamConfig {
        fec: None,
        layer: Some(SentLayer {
            of,
            rid: own.rid.clone(),
            sends: true,
        }),
        ..line
    };
    let of_line = |index: &usize| {
        let stream = offered.streams.get(*index);
        let layer = stream.and_then(|stream| stream.layer.as_ref());
        layer.is_some_and(|layer| layer.of == of)
    };
    let place = vacant.iter().position(of_line).map(|at| vacant.remove(at));
    match place.and_then(|at| offered.streams.get_mut(at).zip(offered.locals.get_mut(at))) {
        Some((place, carries)) => (*place, *carries) = (stream, Some(local)),
        None => {
            offered.streams.push(stream);
            offered.locals.push(Some(local));
        }
    }
    true
}

/// Places that carry nothing.
pub(super) fn vacant(agreement: &Agreement) -> Vec<usize> {
    let locals = agreement.locals.iter().enumerate();
    let vacant = locals.filter(|(_, local)| local.is_none());
    vacant.map(|(at, _)| at).collect()
}

/// Only layers that are there are announced, and those to which the remote may say no.
pub(super) fn announce(offered: &mut Agreement) {
    for (stream, local) in offered.streams.iter_mut().zip(&offered.locals) {
        if let Some(layer) = &mut stream.layer {
            layer.sends = local.is_some();
        }
    }
}

/// The m-lines of these streams are refused, and their layers with them.
pub(super) fn refuse(lines: &[usize], plan: &mut Agreement) {
    for (stream, local) in plan.streams.iter().zip(&mut plan.locals) {
        let of = stream.layer.as_ref().map(|layer| layer.of);
        if of.is_some_and(|of| lines.contains(&of)) {
            *local = None;
        }
    }
}

/// What the m-line of stream `index` carries: its own stream, and then the other layers.
pub(super) fn carried(index: usize, agreement: &Agreement) -> impl Iterator<Item = usize> + Clone {
    let own = agreement.locals.get(index).copied().flatten();
    let streams = agreement.streams.iter().zip(&agreement.locals);
    let others = streams.filter_map(move |(stream, local)| {
        let layer = stream.layer.as_ref()?;
        local.filter(|local| layer.of == index && Some(*local) != own)
    });
    own.into_iter().chain(others)
}

/// Puts those of `former`'s layers into `plan` whose place is next there. [`read_layers`] says later
/// what becomes of them.
///
/// [`read_layers`]: super::read_answer::read_layers
pub(super) fn keep(wish: &Wish, former: &Agreement, plan: &mut Agreement) {
    let there = |local: &usize| wish.streams().get(*local).is_some_and(|s| !s.removed);
    let places = former.streams.iter().zip(&former.locals).enumerate();
    for (index, (stream, local)) in places.skip(plan.streams.len()) {
        let Some(layer) = stream.layer.clone().filter(|_| !stream.has_line(index)) else {
            return;
        };
        plan.streams.push(StreamConfig {
            direction: Direction::Inactive,
            layer: Some(SentLayer {
                sends: false,
                ..layer
            }),
            ..stream.clone()
        });
        plan.locals.push(local.filter(there));
    }
}

/// What stream `local`, whose m-line is to be that of stream `index`, brings along; and which layer
/// it is, if there are others.
pub(super) fn begin(
    local: usize,
    sending: &Sending,
    streams: &[Sending],
    index: usize,
) -> (Vec<HeaderExtension>, Option<SentLayer>) {
    let mut brought = sending.extensions.clone();
    let mut others = streams.iter().enumerate();
    let several =
        others.any(|(at, other)| at != local && !other.removed && together(sending, other));
    let layer = sending.layer.as_ref().filter(|_| several);
    if layer.is_some_and(|layer| !layer.rid.is_empty()) {
        brought.extend([HeaderExtension::Rid, HeaderExtension::RepairedRid]);
    }
    let layer = layer.map(|layer| SentLayer {
        of: index,
        rid: layer.rid.clone(),
        sends: true,
    });
    (brought, layer)
}

/// Whether the remote, whose answer has `line`, gets the first layer of `main` alone.
pub(super) fn is_alone(main: &StreamConfig, line: &MediaLine) -> bool {
    let by_rid = main
        .layer
        .as_ref()
        .is_some_and(|layer| !layer.rid.is_empty());
    let named = main.extension(HeaderExtension::Rid).is_some();
    let received = line.simulcast.iter().flat_map(|simulcast| &simulcast.recv);
    by_rid && (!named || received.count() == 0)
}

/// What a stream that is the layer `rid` says of itself, unless it is the only one.
pub(super) fn named(rid: &str, alone: bool) -> Vec<Layer> {
    let layer = Layer {
        rid: rid.to_owned(),
        ..Layer::default()
    };
    (!alone && !rid.is_empty())
        .then_some(layer)
        .into_iter()
        .collect()
}

/// Why the remote, whose answer has `line`, does not get `layer`; `None`: it takes it. The first
/// one goes without a rid to a remote without simulcast.
pub(super) fn refusal(
    layer: &SentLayer,
    index: usize,
    line: &MediaLine,
    extensions: &[(u8, HeaderExtension)],
) -> Option<String> {
    let named = extensions
        .iter()
        .any(|(_, extension)| *extension == HeaderExtension::Rid);
    if layer.rid.is_empty() {
        return None;
    }
    let received = line.simulcast.iter().flat_map(|simulcast| &simulcast.recv);
    let mut received = received.flatten().peekable();
    if !named || received.peek().is_none() {
        return (layer.of != index)
            .then(|| "the remote takes no simulcast: it gets the largest layer alone".to_owned());
    }
    let rid = &layer.rid;
    match received.find(|taken| taken.rid == *rid) {
        Some(taken) if !taken.paused => None,
        Some(_) => Some(format!("the remote's answer pauses layer {rid} (~{rid})")),
        None => Some(format!("the remote's answer leaves layer {rid} out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENSIONS: &[(u8, HeaderExtension)] = &[(4, HeaderExtension::Rid)];

    fn layers(lines: &[&str], choice: Choice) -> Vec<Layer> {
        layers_of("video", "VP8/90000", lines, choice)
    }

    fn layers_of(kind: &str, codec: &str, lines: &[&str], choice: Choice) -> Vec<Layer> {
        let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
                    a=fingerprint:sha-256 00\r\n";
        let head = format!(
            "{head}m={kind} 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 {codec}\r\n"
        );
        let text = lines.iter().fold(head, |all, line| all + line + "\r\n");
        let remote = Remote::read(&text).unwrap();
        received(&remote, &remote.media[0], EXTENSIONS, &choice)
    }

    fn outputs(layers: &[Layer]) -> Vec<usize> {
        layers.iter().map(|layer| layer.output).collect()
    }

    #[test]
    fn layers_by_rid_are_alternatives_of_one_output_unless_all_are_wanted() {
        let lines = [
            "a=rid:h send",
            "a=rid:m send",
            "a=rid:l send",
            "a=simulcast:send h;m,l;~l;x",
        ];
        let best = layers(&lines, Choice::Best);
        let rids: Vec<_> = best.iter().map(|layer| layer.rid.as_str()).collect();
        assert_eq!(rids, ["h", "m", "l"], "x has no a=rid");
        assert_eq!(outputs(&best), [0, 0, 0]);
        assert_eq!(outputs(&layers(&lines, Choice::All)), [0, 1, 2]);
    }

    #[test]
    fn a_sim_group_is_one_output_and_each_track_of_plan_b_one_of_its_own() {
        let lines = [
            "a=ssrc-group:FID 11 12",
            "a=ssrc-group:FID 21 22",
            "a=ssrc-group:SIM 11 21",
            "a=ssrc:11 msid:s one",
            "a=ssrc:12 msid:s one",
            "a=ssrc:21 msid:s one",
            "a=ssrc:22 msid:s one",
            "a=ssrc:31 msid:s two",
        ];
        let all = layers(&lines, Choice::Best);
        assert_eq!(outputs(&all), [0, 0, 1]);
        assert_eq!(all[2].ssrc, Some(31));
        assert_eq!(all[2].msid.as_deref(), Some("s two"));
    }

    #[test]
    fn each_sound_of_an_m_line_is_an_output_and_none_has_layers() {
        let sound = |lines: &[&str]| layers_of("audio", "opus/48000/2", lines, Choice::Best);
        let two = ["a=ssrc:11 msid:s one", "a=ssrc:21 msid:s two"];
        assert_eq!(outputs(&sound(&two)), [0, 1]);
        let one = ["a=ssrc:11 msid:s one", "a=ssrc:21 msid:s one"];
        assert!(sound(&one).is_empty());
        let rids = ["a=rid:h send", "a=rid:l send", "a=simulcast:send h;l"];
        assert!(sound(&rids).is_empty());
    }

    #[test]
    fn one_source_with_its_repairs_is_no_simulcast() {
        let lines = [
            "a=ssrc-group:FID 11 12",
            "a=ssrc:11 msid:s one",
            "a=ssrc:12 msid:s one",
        ];
        assert!(layers(&lines, Choice::All).is_empty());
        let two = ["a=ssrc:11 cname:x", "a=ssrc:12 cname:x"];
        assert!(layers(&two, Choice::Best).is_empty());
    }
}
