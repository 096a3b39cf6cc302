// SPDX-License-Identifier: MPL-2.0
//! The end of one data pad inside the sink: a private element that makes messages of buffers.
//!
//! It is no BaseSink: it has neither preroll nor a clock, and its streaming thread waits for room in
//! the channel, where a state change must not wait with it.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::data_pad::{SINK_CAPS, message_of};
use crate::logging::SINK as CAT;
use crate::peer::data::{DataChannel, MessageKind, SendError};

glib::wrapper! {
    pub struct DataSink(ObjectSubclass<imp::DataSink>)
        @extends gst::Element, gst::Object;
}

/// What the sink learns from the pad of a channel.
pub trait Owner: Send + Sync {
    /// The stream ended, and all of it is delivered.
    fn finished(&self);

    /// The channel is over: comes before the stream hears of it.
    fn closed(&self, channel: &Arc<DataChannel>);
}

impl DataSink {
    /// The end of pad `name`.
    pub fn new(name: &str) -> Self {
        glib::Object::builder()
            .property("name", format!("{name}_sink"))
            .build()
    }

    /// Messages go to `channel` from now on.
    pub fn set_channel(&self, channel: Arc<DataChannel>, owner: Box<dyn Owner>) {
        self.imp().set_channel(channel, owner);
    }

    /// Its channel.
    pub fn channel(&self) -> Option<Arc<DataChannel>> {
        self.imp().channel()
    }
}

mod imp {
    use super::*;

    pub struct DataSink {
        pad: gst::Pad,
        state: Mutex<State>,
    }

    #[derive(Default)]
    struct State {
        channel: Option<Arc<DataChannel>>,
        owner: Option<Arc<dyn Owner>>,
        text: bool,
        /// It was told that the channel is over.
        told: bool,
    }

    impl DataSink {
        fn lock(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(super) fn set_channel(&self, channel: Arc<DataChannel>, owner: Box<dyn Owner>) {
            let mut state = self.lock();
            state.channel = Some(channel);
            state.owner = Some(owner.into());
            state.told = false;
        }

        pub(super) fn channel(&self) -> Option<Arc<DataChannel>> {
            self.lock().channel.clone()
        }

        fn flush(&self, flushing: bool) {
            if let Some(channel) = self.channel() {
                channel.set_writer_flushing(flushing);
            }
        }

        fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let (channel, text) = {
                let state = self.lock();
                (state.channel.clone(), state.text)
            };
            let Some(channel) = channel else {
                return Err(gst::FlowError::Flushing);
            };
            let kind = match text {
                true => MessageKind::Text,
                false => MessageKind::Binary,
            };
            let message = message_of(buffer, kind).map_err(|error| {
                gst::element_imp_error!(self, gst::ResourceError::Read, ("{}", error));
                gst::FlowError::Error
            })?;
            // What is no text would break the remote, which takes it for a string.
            if text && std::str::from_utf8(&message.data).is_err() {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Format,
                    ("a buffer is not valid UTF-8, and its caps say text/x-raw, format=utf8: send \
                         bytes as application/octet-stream")
                );
                return Err(gst::FlowError::Error);
            }
            // overflow: awaited; a channel that may lose messages drops and counts them instead.
            match channel.send(message) {
                Ok(()) => Ok(gst::FlowSuccess::Ok),
                Err(SendError::Flushing) => Err(gst::FlowError::Flushing),
                Err(error @ SendError::TooLarge { .. }) => {
                    gst::element_imp_error!(
                        self,
                        gst::ResourceError::Write,
                        ("{}: split it (filesrc has blocksize)", error)
                    );
                    Err(gst::FlowError::Error)
                }
                Err(error) => {
                    self.tell_closed();
                    self.tell_lost(&error.to_string());
                    Err(gst::FlowError::Eos)
                }
            }
        }

        fn tell_closed(&self) {
            let (channel, owner) = {
                let state = self.lock();
                (state.channel.clone(), state.owner.clone())
            };
            if let (Some(channel), Some(owner)) = (channel, owner) {
                owner.closed(&channel);
            }
        }

        /// Says once that the remote does not have all.
        fn tell_lost(&self, why: &str) {
            if !std::mem::replace(&mut self.lock().told, true) {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Write,
                    ("not everything was delivered: {}", why)
                );
            }
        }

        fn event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
            match event.view() {
                gst::EventView::FlushStart(_) => self.flush(true),
                gst::EventView::FlushStop(_) => self.flush(false),
                gst::EventView::Caps(caps) => {
                    let name = caps.structure().map(|s| s.name() == "text/x-raw");
                    self.lock().text = name.unwrap_or(false);
                }
                gst::EventView::Eos(_) => self.ended(&event),
                _ => {}
            }
            // There is nobody behind.
            let _ = pad;
            true
        }

        /// Delivers all, closes the channel, and tells the pipeline.
        fn ended(&self, event: &gst::Event) {
            let (channel, owner) = {
                let state = self.lock();
                (state.channel.clone(), state.owner.clone())
            };
            gst::debug!(CAT, imp = self, "ended, delivering the rest");
            if let Some(channel) = channel {
                let all = channel.wait_delivered();
                self.tell_closed();
                if !all && channel.is_closed() && channel.config().is_reliable() {
                    self.tell_lost("the channel closed before the rest had arrived");
                }
                channel.close();
            }
            if let Some(owner) = owner {
                owner.finished();
            }
            let obj = self.obj();
            let message = gst::message::Eos::builder().src(&*obj);
            let _ = obj.post_message(message.seqnum(event.seqnum()).build());
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for DataSink {
        const NAME: &'static str = "GstRsWebRtcDataSink";
        type Type = super::DataSink;
        type ParentType = gst::Element;

        fn with_class(class: &Self::Class) -> Self {
            // infallible: the class has this template.
            let template = class.pad_template("sink").unwrap();
            let pad = gst::Pad::builder_from_template(&template)
                .chain_function(|_, parent, buffer| {
                    Self::catch_panic_pad_function(
                        parent,
                        || Err(gst::FlowError::Error),
                        |sink| sink.chain(buffer),
                    )
                })
                .event_function(|pad, parent, event| {
                    Self::catch_panic_pad_function(parent, || false, |sink| sink.event(pad, event))
                })
                .build();
            Self {
                pad,
                state: Mutex::default(),
            }
        }
    }

    impl ObjectImpl for DataSink {
        fn constructed(&self) {
            self.parent_constructed();
            let obj = self.obj();
            let _ = obj.add_pad(&self.pad);
            obj.set_element_flags(gst::ElementFlags::SINK);
        }
    }

    impl GstObjectImpl for DataSink {}

    impl ElementImpl for DataSink {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let caps = SINK_CAPS.parse::<gst::Caps>();
                let template = gst::PadTemplate::new(
                    "sink",
                    gst::PadDirection::Sink,
                    gst::PadPresence::Always,
                    &caps.unwrap_or_else(|_| gst::Caps::new_any()),
                );
                template.into_iter().collect()
            });
            TEMPLATES.as_ref()
        }

        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            match transition {
                gst::StateChange::ReadyToPaused => self.flush(false),
                // Or deactivating the pad would wait for the streaming thread.
                gst::StateChange::PausedToReady => self.flush(true),
                _ => {}
            }
            self.parent_change_state(transition)
        }
    }
}
