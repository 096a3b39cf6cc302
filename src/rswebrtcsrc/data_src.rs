// SPDX-License-Identifier: MPL-2.0
//! The start of one data pad inside the source: a private live `PushSrc` that makes buffers of
//! messages.
//!
//! What is not taken stays with the channel, and beyond its bound with SCTP: the remote waits then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;

use crate::gst_glue::data_pad::{buffer_of, caps_of};
use crate::peer::data::{DataChannel, Message, MessageKind, Received};

glib::wrapper! {
    pub struct DataSrc(ObjectSubclass<imp::DataSrc>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object;
}

/// Called when the channel is over and all of it was read.
pub type Ended = Box<dyn Fn() + Send + Sync>;

impl DataSrc {
    /// Gives the messages of `channel`, each with the time at which it was taken; calls `ended` before
    /// the stream ends with the channel.
    pub fn new(channel: Arc<DataChannel>, ended: Ended) -> Self {
        let src: Self = glib::Object::new();
        src.set_live(true);
        src.set_format(gst::Format::Time);
        src.set_do_timestamp(true);
        src.imp().attach(channel, ended);
        src
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct DataSrc {
        channel: OnceLock<(Arc<DataChannel>, Ended)>,
        taken: Mutex<Taken>,
    }

    #[derive(Default)]
    struct Taken {
        /// Taken from the channel and not given yet.
        messages: VecDeque<Message>,
        /// What the caps say.
        kind: Option<MessageKind>,
    }

    impl DataSrc {
        pub(super) fn attach(&self, channel: Arc<DataChannel>, ended: Ended) {
            let _ = self.channel.set((channel, ended));
        }

        fn lock(&self) -> MutexGuard<'_, Taken> {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn flush(&self, flushing: bool) {
            if let Some((channel, _)) = self.channel.get() {
                channel.set_reader_flushing(flushing);
            }
        }

        /// Has something to give; waits for it.
        fn fill(&self) -> Result<MessageKind, gst::FlowError> {
            let (channel, ended) = self.channel.get().ok_or(gst::FlowError::Error)?;
            let mut messages = std::mem::take(&mut self.lock().messages);
            while messages.is_empty() {
                match channel.receive(&mut messages, Duration::from_secs(3600)) {
                    Received::Messages | Received::Timeout => {}
                    Received::Flushing => return Err(gst::FlowError::Flushing),
                    Received::Ended => {
                        ended();
                        return Err(gst::FlowError::Eos);
                    }
                }
            }
            let kind = messages.front().map(|message| message.kind);
            self.lock().messages = messages;
            kind.ok_or(gst::FlowError::Error)
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for DataSrc {
        const NAME: &'static str = "GstRsWebRtcDataSrc";
        type Type = super::DataSrc;
        type ParentType = gst_base::PushSrc;
    }

    impl ObjectImpl for DataSrc {}
    impl GstObjectImpl for DataSrc {}

    impl ElementImpl for DataSrc {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
            TEMPLATES.get_or_init(|| {
                let template = gst::PadTemplate::new(
                    "src",
                    gst::PadDirection::Src,
                    gst::PadPresence::Always,
                    &gst::Caps::new_any(),
                );
                template.into_iter().collect()
            })
        }
    }

    impl BaseSrcImpl for DataSrc {
        fn start(&self) -> Result<(), gst::ErrorMessage> {
            self.flush(false);
            Ok(())
        }

        fn negotiate(&self) -> Result<(), gst::LoggableError> {
            // The first message tells.
            Ok(())
        }

        fn is_seekable(&self) -> bool {
            false
        }

        fn unlock(&self) -> Result<(), gst::ErrorMessage> {
            self.flush(true);
            Ok(())
        }

        fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
            self.flush(false);
            Ok(())
        }
    }

    impl PushSrcImpl for DataSrc {
        fn create(
            &self,
            _buffer: Option<&mut gst::BufferRef>,
        ) -> Result<CreateSuccess, gst::FlowError> {
            let kind = self.fill()?;
            if self.lock().kind != Some(kind) {
                self.obj()
                    .set_caps(&caps_of(kind))
                    .map_err(|_| gst::FlowError::NotNegotiated)?;
                self.lock().kind = Some(kind);
            }
            let mut taken = self.lock();
            let messages = &mut taken.messages;
            let same = messages.iter().take_while(|m| m.kind == kind).count();
            if same > 1 {
                let now = self.obj().current_running_time();
                let mut list = gst::BufferList::new_sized(same);
                if let Some(list) = list.get_mut() {
                    for message in messages.drain(..same) {
                        let mut buffer = buffer_of(message);
                        buffer.make_mut().set_pts(now);
                        list.add(buffer);
                    }
                }
                return Ok(CreateSuccess::NewBufferList(list));
            }
            let message = messages.pop_front().ok_or(gst::FlowError::Error)?;
            Ok(CreateSuccess::NewBuffer(buffer_of(message)))
        }
    }
}
