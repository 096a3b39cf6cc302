// SPDX-License-Identifier: MPL-2.0
//! Which encoders feed a pad: a walk upstream, through whatever leaves the encoded stream as it is.

use gst::glib;
use gst::prelude::*;

use crate::gst_glue::encoders;

/// Elements that are looked at for one pad; a longer way is given up.
const MOST_ELEMENTS: usize = 256;

/// Encoders whose output comes to the sink pad `pad`, the nearest on each way. With a selector or
/// a funnel between there may be several.
pub fn upstream(pad: &gst::Pad) -> Vec<gst::Element> {
    walk(pad, |element| {
        if encoders::is_encoder(element) {
            // A bin that calls itself an encoder may leave its bitrate to what is in it.
            let opaque = element.is::<gst::Bin>() && encoders::Knob::of(element, None).is_err();
            return if opaque { Step::On } else { Step::Take };
        }
        // Nothing before these decides how much comes out of them.
        let klass = element.metadata("klass").unwrap_or_default();
        let ends = klass
            .split('/')
            .any(|word| word == "Demuxer" || word == "Decoder");
        if ends { Step::End } else { Step::On }
    })
}

/// The element called `name`, if its output comes to the sink pad `pad`.
pub fn upstream_named(pad: &gst::Pad, name: &str) -> Option<gst::Element> {
    let found = walk(pad, |element| {
        if element.name() == name {
            Step::Take
        } else {
            Step::On
        }
    });
    found.into_iter().next()
}

/// The element called `name`, anywhere in the pipeline of `element`.
pub fn in_pipeline(element: &gst::Element, name: &str) -> Option<gst::Element> {
    let mut top = element.clone().upcast::<gst::Object>();
    while let Some(parent) = top.parent() {
        top = parent;
    }
    top.downcast::<gst::Bin>().ok()?.by_name(name)
}

/// What to do at an element.
enum Step {
    /// It is one of those that are looked for.
    Take,
    /// Look before it.
    On,
    /// There is nothing before it.
    End,
}

fn walk(pad: &gst::Pad, decide: impl Fn(&gst::Element) -> Step) -> Vec<gst::Element> {
    let mut found = Vec::new();
    let mut seen: Vec<gst::Pad> = Vec::new();
    let mut waiting = vec![pad.clone()];
    while let Some(sink) = waiting.pop() {
        // The output that is linked to it; at the border of a bin the one on its other side.
        let Some(source) = sink.peer() else {
            continue;
        };
        if seen.contains(&source) || seen.len() >= MOST_ELEMENTS {
            continue;
        }
        seen.push(source.clone());
        let element = source.parent_element();
        match element.as_ref().map_or(Step::On, &decide) {
            Step::Take => found.extend(element.filter(|e| !found.contains(e))),
            Step::End => {}
            Step::On => waiting.extend(inputs(&source)),
        }
    }
    found
}

/// The sink pads whose data comes out of `source`.
fn inputs(source: &gst::Pad) -> Vec<gst::Pad> {
    if let Some(border) = source.downcast_ref::<gst::ProxyPad>() {
        return border.internal().into_iter().map(|p| p.upcast()).collect();
    }
    let mut inputs = Vec::new();
    // Not `iterate_internal_links`: that panics at pads without any, like those of a selector
    // that has not chosen yet.
    source.forward(|input| {
        if inputs.len() < MOST_ELEMENTS {
            inputs.push(input.clone());
        }
        false
    });
    inputs
}

/// Same element, without keeping it.
pub fn is(weak: &glib::WeakRef<gst::Element>, element: &gst::Element) -> bool {
    weak.upgrade().is_some_and(|other| other == *element)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The encoders before the sink `end` of a pipeline in READY, and it.
    fn before_end(description: &str) -> (Vec<String>, gst::Pipeline) {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(&format!("{description} ! fakesink name=end")).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        (names(&pipeline), pipeline)
    }

    fn names(pipeline: &gst::Pipeline) -> Vec<String> {
        let pad = pipeline.by_name("end").unwrap().static_pad("sink").unwrap();
        let found = upstream(&pad).into_iter();
        let mut names: Vec<_> = found.map(|e| e.name().to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn parsers_queues_filters_and_tees_are_passed_through() {
        let (found, _) = before_end(
            "videotestsrc ! x264enc name=e ! queue ! identity ! h264parse ! video/x-h264,\
             profile=constrained-baseline ! tee name=t ! queue ! fakesink t. ! queue",
        );
        assert_eq!(found, ["e"]);
    }

    #[test]
    fn bins_are_entered_and_left() {
        let (found, _) = before_end(
            "videotestsrc ! ( name=outer videoconvert ! ( name=inner vp8enc name=e ! queue ) \
             ! identity ) ! ( name=after queue )",
        );
        assert_eq!(found, ["e"]);
    }

    #[test]
    fn every_way_to_a_funnel_has_its_own_and_a_selector_has_the_one_that_it_chose() {
        let two = "videotestsrc ! vp8enc name=a ! s. videotestsrc ! vp8enc name=b ! queue ! s. s.";
        let (found, _) = before_end(&format!("funnel name=s {two}"));
        assert_eq!(found, ["a", "b"]);
        let (found, pipeline) = before_end(&format!("input-selector name=s {two}"));
        assert!(found.is_empty(), "nothing is chosen yet: {found:?}");
        let selector = pipeline.by_name("s").unwrap();
        selector.set_property("active-pad", selector.static_pad("sink_1").unwrap());
        assert_eq!(names(&pipeline), ["b"]);
    }

    #[test]
    fn the_nearest_encoder_counts_and_what_is_stored_has_none() {
        let (found, _) = before_end(
            "videotestsrc ! jpegenc name=far ! jpegdec ! videoconvert ! x264enc name=near",
        );
        assert_eq!(found, ["near"]);
        let (found, _) = before_end("filesrc location=/dev/null ! h264parse ! queue");
        assert!(found.is_empty(), "{found:?}");
        let (found, _) = before_end("videotestsrc ! jpegenc ! jpegdec ! queue");
        assert!(found.is_empty(), "decoded again: {found:?}");
    }

    #[test]
    fn a_name_is_found_on_the_way_and_elsewhere() {
        let (_, pipeline) = before_end(
            "videotestsrc name=camera ! vp8enc ! fakesink videotestsrc name=test ! x264enc",
        );
        let end = pipeline.by_name("end").unwrap();
        let pad = end.static_pad("sink").unwrap();
        assert!(
            upstream_named(&pad, "camera").is_none(),
            "linked to the other sink"
        );
        assert!(upstream_named(&pad, "test").is_some());
        assert!(in_pipeline(&end, "camera").is_some());
        assert!(in_pipeline(&end, "nobody").is_none());
    }

    #[test]
    fn a_new_link_is_seen_by_the_next_walk() {
        let (found, pipeline) = before_end("videotestsrc ! x264enc name=e ! identity name=i");
        assert_eq!(found, ["e"]);
        let (encoder, identity) = (
            pipeline.by_name("e").unwrap(),
            pipeline.by_name("i").unwrap(),
        );
        encoder.unlink(&identity);
        assert!(names(&pipeline).is_empty());
        let other = gst::ElementFactory::make("openh264enc")
            .name("o")
            .build()
            .unwrap();
        pipeline.add(&other).unwrap();
        other.link(&identity).unwrap();
        assert_eq!(names(&pipeline), ["o"]);
    }
}
