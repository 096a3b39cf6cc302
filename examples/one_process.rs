// SPDX-License-Identifier: MPL-2.0
//! Both elements in one program, which carries the messages of their call itself
//! (`signaller=application`): what one says, the other hears. Sends three seconds of a test picture
//! and counts the frames that arrive.
//!
//!     cargo run --example one_process

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gst::prelude::*;

/// What `from` says, `to` hears. Another program would put a network between the two.
fn carry(from: &gst::Element, to: &gst::Element) {
    let to = to.downgrade();
    from.connect("on-signalling-message", false, move |values| {
        let message = values.get(1)?.get::<String>().ok()?;
        to.upgrade()?
            .emit_by_name::<bool>("handle-signalling-message", &[&message]);
        None
    });
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gst::init()?;
    // A program that is installed finds the plugin by itself.
    gstwebrtcrs::plugin_register_static()?;
    let both = gst::parse::launch(
        "videotestsrc num-buffers=90 ! vp8enc deadline=1 \
         ! rswebrtcsink name=sender signaller=application ice-addresses=127.0.0.1 \
         rswebrtcsrc name=receiver signaller=application ice-addresses=127.0.0.1 \
         ! identity name=counter ! fakesink",
    )?;
    let pipeline = both
        .downcast::<gst::Pipeline>()
        .map_err(|_| "no pipeline")?;
    let element = |name| pipeline.by_name(name).ok_or("no such element");
    let (sender, receiver) = (element("sender")?, element("receiver")?);
    carry(&sender, &receiver);
    carry(&receiver, &sender);

    let frames = Arc::new(AtomicUsize::new(0));
    let counted = frames.clone();
    element("counter")?.connect("handoff", false, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        None
    });
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().ok_or("no bus")?;
    let last = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(30),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null)?;
    match last.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => {
            println!("{} frames arrived", frames.load(Ordering::Relaxed));
            Ok(())
        }
        Some(gst::MessageView::Error(error)) => Err(error.error().to_string().into()),
        _ => Err("the call did not end in time".into()),
    }
}
