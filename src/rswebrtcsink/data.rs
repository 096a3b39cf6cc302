// SPDX-License-Identifier: MPL-2.0
//! The data pads of a sink, and the channels of its call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::data_pad::{CHANNEL, DataPad, structure_of};
use crate::gst_glue::errors::settings_error;
use crate::gst_glue::report;
use crate::peer::data::{DataChannel, Phase};
use crate::session::calls::Calls;

use super::call::SinkCall;
use super::data_sink::{DataSink, Owner};
use super::imp::RsWebRtcSink;

/// One data pad, and what is behind it.
#[derive(Clone)]
pub struct DataEnd {
    /// The pad.
    pub ghost: DataPad,
    sink: DataSink,
}

/// Which data pads of a call have ended.
#[derive(Debug, Default)]
pub struct DataTracks(Mutex<Vec<(String, bool)>>);

impl DataTracks {
    fn lock(&self) -> MutexGuard<'_, Vec<(String, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, name: &str) {
        self.lock().push((name.to_owned(), false));
    }

    fn finish(&self, name: &str) {
        for (known, finished) in self.lock().iter_mut() {
            *finished |= known == name;
        }
    }

    fn remove(&self, name: &str) {
        self.lock().retain(|(known, _)| known != name);
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Whether all have ended.
    pub fn finished(&self) -> bool {
        self.lock().iter().all(|(_, finished)| *finished)
    }
}

/// Whom the end of a pad tells.
struct ChannelOwner {
    sink: glib::WeakRef<super::RsWebRtcSink>,
    call: Weak<SinkCall>,
    pad: String,
}

impl Owner for ChannelOwner {
    fn finished(&self) {
        if let Some(call) = self.call.upgrade() {
            call.data.finish(&self.pad);
            call.finish_if_over();
        }
    }

    fn closed(&self, channel: &Arc<DataChannel>) {
        if let Some(sink) = self.sink.upgrade()
            && channel.is_closed()
        {
            sink.imp().tell_channel(channel, &self.pad);
        }
    }
}

impl RsWebRtcSink {
    /// A new data pad `name`.
    pub(super) fn request_data_pad(
        &self,
        template: &gst::PadTemplate,
        name: String,
    ) -> Option<gst::Pad> {
        let sink = DataSink::new(&name);
        let obj = self.obj();
        obj.add(&sink).ok()?;
        let target = sink.static_pad("sink")?;
        let ghost = gst::PadBuilder::<DataPad>::from_template(template)
            .name(name)
            .build();
        let _ = ghost.set_target(Some(&target));
        let _ = sink.sync_state_with_parent();
        let _ = ghost.set_active(true);
        let end = DataEnd {
            ghost: ghost.clone(),
            sink,
        };
        self.data_pads().push(end.clone());
        if obj.add_pad(&ghost).is_err() {
            self.release_data_pad(&ghost);
            return None;
        }
        obj.child_added(&ghost, &ghost.name());
        if let Some(call) = self.call() {
            // Its properties are set only now; the channel opens with the first that comes.
            call.data.add(&ghost.name());
            let (weak, of_call) = (obj.downgrade(), Arc::downgrade(&call));
            let pad = ghost.downgrade();
            ghost.add_probe(gst::PadProbeType::DATA_DOWNSTREAM, move |_, _| {
                if let (Some(sink), Some(call), Some(pad)) =
                    (weak.upgrade(), of_call.upgrade(), pad.upgrade())
                    && let Err(message) = sink.imp().open_late(&call, &pad)
                {
                    sink.imp().post_error_message(message);
                }
                gst::PadProbeReturn::Remove
            });
        }
        Some(ghost.upcast())
    }

    /// The pad goes, and its channel closes.
    pub(super) fn release_data_pad(&self, pad: &DataPad) {
        let end = {
            let mut pads = self.data_pads();
            let at = pads.iter().position(|end| end.ghost == *pad);
            at.map(|at| pads.remove(at))
        };
        let Some(end) = end else {
            return;
        };
        let obj = self.obj();
        if let Some(channel) = end.sink.channel() {
            channel.set_writer_flushing(true);
            channel.close();
        }
        let _ = pad.set_active(false);
        let _ = pad.set_target(None::<&gst::Pad>);
        end.sink.set_locked_state(true);
        let _ = end.sink.set_state(gst::State::Null);
        let _ = obj.remove(&end.sink);
        if let Some(call) = self.call() {
            call.data.remove(&pad.name());
            call.finish_if_over();
        }
        obj.child_removed(pad, &pad.name());
        let _ = obj.remove_pad(pad);
    }

    /// Opens the channels of all data pads for a new call.
    pub(super) fn open_channels(&self, call: &Arc<SinkCall>) -> Result<(), gst::ErrorMessage> {
        let pads = self.data_pads().clone();
        for end in pads {
            call.data.add(&end.ghost.name());
            self.open_channel(call, &end)?;
        }
        Ok(())
    }

    /// Opens the channel of a pad that came during `call`, unless a later call has opened it.
    fn open_late(&self, call: &Arc<SinkCall>, pad: &DataPad) -> Result<(), gst::ErrorMessage> {
        let known = self.data_pads().iter().find(|e| e.ghost == *pad).cloned();
        let Some(end) = known.filter(|_| self.is_current(call)) else {
            return Ok(());
        };
        let channel = end.sink.channel();
        match channel.is_none_or(|channel| channel.is_closed()) {
            true => self.open_channel(call, &end),
            false => Ok(()),
        }
    }

    fn open_channel(&self, call: &Arc<SinkCall>, end: &DataEnd) -> Result<(), gst::ErrorMessage> {
        let mut config = end.ghost.config().map_err(|text| settings_error(&text))?;
        let name = end.ghost.name().to_string();
        if config.label.is_empty() {
            config.label.clone_from(&name);
        }
        let Calls::One(session) = call.calls() else {
            return Err(settings_error(&format!(
                "pad {name}: a server has no data pads yet, nor has a shared call (call=…); use one \
                 call with signaller=stdio, file or whip-client"
            )));
        };
        let channel = DataChannel::new(config);
        // What comes back is for nobody.
        channel.discard(true);
        let owner = ChannelOwner {
            sink: self.obj().downgrade(),
            call: Arc::downgrade(call),
            pad: name,
        };
        end.sink.set_channel(channel.clone(), Box::new(owner));
        session.open_channel(channel);
        Ok(())
    }

    /// A channel opened or closed; `steers`: it is read by [`super::navigation`].
    pub(super) fn channel_changed(
        &self,
        channel: &Arc<DataChannel>,
        steers: bool,
        teller: &mut report::Teller,
    ) {
        let obj = self.obj();
        if !steers && channel.is_of_remote() && channel.phase() == Phase::Open {
            channel.discard(true);
            let text = format!(
                "the remote opened a data channel '{}'; what comes on it is dropped: only rswebrtcsrc \
                 has pads for such channels",
                channel.config().label
            );
            teller.notice(obj.upcast_ref(), &text);
        }
        let pad = self.data_pads().iter().find_map(|end| {
            let own = end.sink.channel()?;
            Arc::ptr_eq(&own, channel).then(|| end.ghost.name().to_string())
        });
        self.tell_channel(channel, &pad.unwrap_or_default());
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

    /// Closes all channels: what waits for the remote is not sent.
    pub(super) fn close_data(&self) {
        for end in self.data_pads().iter() {
            if let Some(channel) = end.sink.channel() {
                channel.close();
            }
        }
    }

    /// Has what waits in data pads return.
    pub(super) fn stop_data(&self) {
        for end in self.data_pads().iter() {
            if let Some(channel) = end.sink.channel() {
                channel.set_writer_flushing(true);
            }
        }
    }
}
