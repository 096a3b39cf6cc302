// SPDX-License-Identifier: MPL-2.0
//! `signaller=application`: the signals by which a program carries the messages of a call itself.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::glib::translate::ToGlibPtr;
use gst::prelude::*;

use crate::logging::SIGNALLING as CAT;
use crate::signalling::application::{Mailbox, NotTaken, Place};

/// Emitted with what this side says.
const SAYS: &str = "on-signalling-message";
/// Takes what the other side says.
const HEARS: &str = "handle-signalling-message";

/// Warnings of a call about what was not taken; the rest is in the log.
const WARNINGS: u32 = 20;

/// Both signals; `handle` is called with each message that the program brings, on its thread, and
/// tells whether it was taken.
pub fn signals<T>(handle: fn(&T, &str) -> bool) -> Vec<glib::subclass::Signal>
where
    T: IsA<gst::Element> + for<'a> glib::value::FromValue<'a>,
{
    vec![
        glib::subclass::Signal::builder(SAYS)
            .param_types([String::static_type()])
            .run_last()
            .build(),
        glib::subclass::Signal::builder(HEARS)
            .param_types([String::static_type()])
            .return_type::<bool>()
            .run_last()
            .action()
            .class_handler(move |arguments| {
                let taken = match arguments {
                    [element, message] => {
                        let element = element.get::<T>();
                        element.is_ok_and(|element| handle(&element, &text(message)))
                    }
                    _ => false,
                };
                Some(taken.to_value())
            })
            .build(),
    ]
}

/// The text in `value`, whatever bytes a program in C put there.
fn text(value: &glib::Value) -> String {
    if value.type_() != String::static_type() {
        return String::new();
    }
    // SAFETY: the value holds a string, which lives as long as the value, or NULL.
    let text = unsafe {
        let pointer = glib::gobject_ffi::g_value_get_string(value.to_glib_none().0);
        (!pointer.is_null()).then(|| CStr::from_ptr(pointer))
    };
    let text = text.map(CStr::to_string_lossy);
    text.unwrap_or_default().into_owned()
}

/// An element's end of the messages, in a call and between two.
pub struct ApplicationEnd {
    /// That of the call; between calls, one that keeps what comes for the next.
    mailbox: Mutex<Mailbox>,
    /// That of the call before, which may have a bye to say.
    former: Mutex<Option<Mailbox>>,
    number: u64,
    warnings: AtomicU32,
}

impl Default for ApplicationEnd {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            mailbox: Mutex::default(),
            former: Mutex::default(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            warnings: AtomicU32::new(0),
        }
    }
}

impl ApplicationEnd {
    /// The mailbox of a call of `element` alone. What came before waits in it.
    pub fn start(&self, element: &impl IsA<gst::Element>) -> Mailbox {
        let mailbox = self.lock().clone();
        self.attach(&mailbox, element.upcast_ref(), false);
        mailbox
    }

    /// Makes the mailbox of a shared call that of `element`, which `receives`.
    pub fn join(&self, mailbox: &Mailbox, element: &impl IsA<gst::Element>, receives: bool) {
        let lost = {
            // Whoever brings a message meanwhile finds one or the other, and keeps the order.
            let mut current = self.lock();
            let before = std::mem::replace(&mut *current, mailbox.clone());
            mailbox.take_from(&before)
        };
        if lost > 0 {
            let text = NotTaken::Full;
            gst::element_warning!(element, gst::ResourceError::Read, ("{lost} lost: {text}"));
        }
        self.attach(mailbox, element.upcast_ref(), receives);
    }

    /// `element` left its call. What comes from now on is for the next.
    pub fn stop(&self) {
        let before = std::mem::take(&mut *self.lock());
        before.left(self.number);
        *self.former() = Some(before);
        self.warnings.store(0, Ordering::Relaxed);
    }

    /// A message that the program brings; tells whether it was taken, and says on the bus why not.
    pub fn handle(&self, element: &impl IsA<gst::Element>, expected: bool, text: &str) -> bool {
        let element: &gst::Element = element.upcast_ref();
        if !expected {
            self.warn(
                element,
                "the application brought a signalling message, which this element has no use for: \
                 set signaller=application",
            );
            return false;
        }
        let put = self.lock().put(text);
        let Err(why) = put else {
            return true;
        };
        let text = format!("a signalling message was not taken: {why}");
        self.warn(element, &text);
        false
    }

    fn warn(&self, element: &gst::Element, text: &str) {
        // The remote may be behind it, and nobody may read the bus.
        if self.warnings.fetch_add(1, Ordering::Relaxed) >= WARNINGS {
            gst::warning!(CAT, obj = element, "{text}");
            return;
        }
        gst::element_warning!(element, gst::ResourceError::Read, ("{}", text));
    }

    fn attach(&self, mailbox: &Mailbox, element: &gst::Element, receives: bool) {
        // What the others of a call that goes on say is no business of this one.
        if let Some(former) = self.former().take() {
            former.detach(self.number);
        }
        let weak = element.downgrade();
        let place = Place {
            left: false,
            receives,
            number: self.number,
        };
        mailbox.attach(
            place,
            Arc::new(move |line| weak.upgrade().is_some_and(|element| say(&element, line))),
        );
    }

    fn former(&self) -> MutexGuard<'_, Option<Mailbox>> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        // Replaced whole.
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Emits the signal, if anybody is connected to it.
fn say(element: &gst::Element, line: &str) -> bool {
    let signal = glib::subclass::SignalId::lookup(SAYS, element.type_());
    let heard =
        signal.is_some_and(|id| glib::signal::signal_has_handler_pending(element, id, None, false));
    if heard {
        element.emit_by_name::<()>(SAYS, &[&line]);
    }
    heard
}
