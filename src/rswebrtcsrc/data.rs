// SPDX-License-Identifier: MPL-2.0
//! The data pads of a source: one for each channel that the remote opens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::data_pad::{CHANNEL, DataPad, structure_of};
use crate::gst_glue::{events, report};
use crate::peer::data::{DataChannel, Phase};

use super::call::SrcCall;
use super::data_src::{DataSrc, Ended};
use super::imp::RsWebRtcSrc;

/// A remote that offers data channels beside media has this time, once media flows, to open the
/// first one before the pads are called complete.
const FIRST_CHANNEL: Duration = Duration::from_secs(2);

/// One data pad, and what is behind it.
#[derive(Clone)]
pub struct DataStart {
    /// The pad.
    pub ghost: DataPad,
    channel: Arc<DataChannel>,
    src: DataSrc,
}

impl DataStart {
    fn plug(&self, bin: &gst::Bin) -> Result<(), glib::BoolError> {
        bin.add(&self.src)?;
        let target = self.src.static_pad("src");
        let target = target.ok_or_else(|| glib::bool_error!("a source without a pad"))?;
        self.ghost.set_target(Some(&target))?;
        self.ghost.set_active(true)?;
        bin.add_pad(&self.ghost)?;
        self.src.sync_state_with_parent()
    }

    /// What comes while nothing is linked is dropped: an error would end the whole pipeline, and the
    /// remote chooses when it sends.
    fn drop_while_unlinked(&self) {
        let data = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        self.ghost.add_probe(data, |pad, _| match pad.is_linked() {
            true => gst::PadProbeReturn::Ok,
            // As `Drop`, which gstreamer 0.25 over a 1.22 answers with a critical warning.
            false => gst::PadProbeReturn::Handled,
        });
        // Whoever links it later gets what comes from then on.
        let channel = self.channel.clone();
        self.ghost
            .connect_linked(move |_, _| channel.discard(false));
        let channel = self.channel.clone();
        self.ghost
            .connect_unlinked(move |_, _| channel.discard(true));
    }

    fn remove(&self, bin: &gst::Bin) {
        self.channel.discard(true);
        self.src.set_locked_state(true);
        let _ = self.src.set_state(gst::State::Null);
        let _ = self.ghost.set_active(false);
        let _ = self.ghost.set_target(None::<&gst::Pad>);
        let _ = bin.remove_pad(&self.ghost);
        let _ = bin.remove(&self.src);
    }
}

impl RsWebRtcSrc {
    /// A channel opened or closed.
    pub(super) fn channel_changed(
        &self,
        call: &Arc<SrcCall>,
        channel: &Arc<DataChannel>,
        teller: &mut report::Teller,
    ) {
        let known = self.data_pad_of(channel);
        let name = match known {
            Some(ghost) => ghost.name().to_string(),
            // It may have closed already; what came on it is still to be read.
            None if channel.is_of_remote() && call.is_new(channel) => {
                self.add_data_pad(call, channel, teller)
            }
            None => String::new(),
        };
        self.tell_channel(channel, &name);
    }

    /// Posts how `channel` stands, and its end once.
    fn tell_channel(&self, channel: &DataChannel, pad: &str) {
        channel.tell(|phase| {
            let obj = self.obj();
            let structure = structure_of(CHANNEL, (channel, phase), pad);
            let message = gst::message::Element::builder(structure).src(&*obj);
            let _ = obj.post_message(message.build());
        });
    }

    /// Has the element tell of the end of `channel` before its stream ends.
    fn when_ended(&self, channel: &Arc<DataChannel>, pad: &str) -> Ended {
        let (weak, channel, pad) = (self.obj().downgrade(), channel.clone(), pad.to_owned());
        Box::new(move || {
            if let Some(src) = weak.upgrade()
                && channel.is_closed()
            {
                src.imp().tell_channel(&channel, &pad);
            }
        })
    }

    fn data_pad_of(&self, channel: &Arc<DataChannel>) -> Option<DataPad> {
        let pads = self.data_pads();
        let pad = pads.iter().find(|p| Arc::ptr_eq(&p.channel, channel))?;
        Some(pad.ghost.clone())
    }

    /// Adds a pad for `channel`; gives its name.
    fn add_data_pad(
        &self,
        call: &Arc<SrcCall>,
        channel: &Arc<DataChannel>,
        teller: &mut report::Teller,
    ) -> String {
        let obj = self.obj();
        let (Some(template), true) = (obj.pad_template("data_%u"), self.is_current(call)) else {
            return String::new();
        };
        let mut names = (0u32..).map(|number| format!("data_{number}"));
        let name = names.find(|name| obj.static_pad(name).is_none());
        let name = name.unwrap_or_default();
        let ghost = gst::PadBuilder::<DataPad>::from_template(&template)
            .name(&name)
            .build();
        ghost.set_config(channel.config());
        let start = DataStart {
            ghost: ghost.clone(),
            channel: channel.clone(),
            src: DataSrc::new(channel.clone(), self.when_ended(channel, &name)),
        };
        start.drop_while_unlinked();
        self.remove_at_eos(&ghost);
        {
            let mut pads = self.data_pads();
            // `stop_call` takes the call before it takes the pads.
            if !self.is_current(call) {
                return String::new();
            }
            pads.push(start.clone());
        }
        if let Err(error) = start.plug(obj.upcast_ref()) {
            self.data_pads().retain(|p| p.ghost != ghost);
            start.remove(obj.upcast_ref());
            gst::element_imp_error!(
                self,
                gst::CoreError::Pad,
                ("cannot make pad {}: {}", name, error)
            );
            return String::new();
        }
        if !self.is_current(call) {
            // It may have been taken away before all of it was there.
            start.remove(obj.upcast_ref());
            return String::new();
        }
        self.pads_are_complete(call);
        if !ghost.is_linked() {
            channel.discard(true);
            let label = &channel.config().label;
            let text = format!(
                "nothing is linked to {name}, the data channel '{label}': what comes on it is dropped"
            );
            teller.notice(obj.upcast_ref(), &text);
        }
        name
    }

    /// A pad goes when its channel is closed and all of it was read, so that a remote which opens one
    /// channel after the other leaves nothing behind.
    fn remove_at_eos(&self, ghost: &DataPad) {
        let weak = self.obj().downgrade();
        ghost.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
            let event = info.event().map(|event| event.type_());
            if event == Some(gst::EventType::Eos)
                && let Some(src) = weak.upgrade()
            {
                let pad = pad.clone();
                // Not from the streaming thread, which is to be stopped.
                src.call_async(move |src| src.imp().remove_data_pad(&pad));
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn remove_data_pad(&self, ghost: &DataPad) {
        let start = {
            let mut pads = self.data_pads();
            let at = pads.iter().position(|p| p.ghost == *ghost);
            at.map(|at| pads.remove(at))
        };
        if let Some(start) = start {
            start.remove(self.obj().upcast_ref());
        }
    }

    /// The call is taken down.
    pub(super) fn remove_data_pads(&self) {
        let all = std::mem::take(&mut *self.data_pads());
        for start in all {
            start.remove(self.obj().upcast_ref());
        }
    }

    /// Whether no-more-pads is to wait for the first channel.
    pub(super) fn awaits_channels(&self, call: &SrcCall) -> bool {
        call.calls.has_data()
            && self.data_pads().is_empty()
            && !call.no_more_pads.load(Ordering::Acquire)
    }

    /// The pads that an application waits for are there.
    pub(super) fn pads_are_complete(&self, call: &SrcCall) -> bool {
        let new = !call.no_more_pads.swap(true, Ordering::AcqRel);
        if new {
            self.obj().no_more_pads();
        }
        new
    }

    /// A remote with media may offer data channels and open none: the pads are complete all the same.
    pub(super) fn limit_wait_for_channels(&self, call: &Arc<SrcCall>) {
        if !self.awaits_channels(call) || self.streams().is_empty() {
            return;
        }
        let (weak, call) = (self.obj().downgrade(), call.clone());
        events::spawn_watch(move || {
            if call.calls.wait_done(FIRST_CHANNEL) {
                return;
            }
            if let Some(src) = weak.upgrade()
                && src.imp().is_current(&call)
            {
                src.imp().pads_are_complete(&call);
            }
        });
    }

    /// Where there was nothing but data channels and none opened, no EOS can end the pipeline.
    pub(super) fn check_channels(&self, call: &SrcCall) {
        if call.no_more_pads.load(Ordering::Acquire) || !call.was_up.load(Ordering::Relaxed) {
            return;
        }
        if !self.streams().is_empty() {
            self.pads_are_complete(call);
            return;
        }
        gst::element_imp_error!(
            self,
            gst::ResourceError::Read,
            ("the call is over, and the remote opened no data channel")
        );
    }

    /// Whether a channel has opened and is not over.
    pub(super) fn has_channels(&self) -> bool {
        let pads = self.data_pads();
        pads.iter()
            .any(|p| !matches!(p.channel.phase(), Phase::Closed { .. }))
    }
}
