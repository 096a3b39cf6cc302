// SPDX-License-Identifier: MPL-2.0
//! Debug categories, and the bridge from the `log` crate, which the lower layers and webrtc
//! write to, into them.
//!
//! Invariant: no ICE password, key or credential passes; a record that could hold one is
//! replaced as a whole.

use std::sync::LazyLock;

use gst::prelude::*;

macro_rules! category {
    ($name:ident, $text:literal, $what:literal) => {
        #[doc = $what]
        pub static $name: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
            gst::DebugCategory::new($text, gst::DebugColorFlags::empty(), Some($what))
        });
    };
}

category!(SINK, "rswebrtcsink", "WebRTC sink element");
category!(SRC, "rswebrtcsrc", "WebRTC source element");
category!(SESSION, "rswebrtc-session", "WebRTC calls and negotiation");
category!(PEER, "rswebrtc-peer", "WebRTC peer connections");
category!(SIGNALLING, "rswebrtc-signalling", "WebRTC signalling");
category!(
    DEPENDENCIES,
    "rswebrtc-deps",
    "Libraries of the WebRTC elements"
);

/// Installs the bridge once; an application's own logger stays if it has one.
pub fn init() {
    static INSTALLED: LazyLock<()> = LazyLock::new(|| {
        if log::set_logger(&Bridge).is_ok() {
            let level = [&*SESSION, &*PEER, &*SIGNALLING, &*DEPENDENCIES]
                .into_iter()
                .map(|category| filter(category.threshold()))
                .max();
            log::set_max_level(level.unwrap_or(log::LevelFilter::Warn));
        }
    });
    LazyLock::force(&INSTALLED);
}

struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        category(metadata.target()).above_threshold(level(metadata.level()))
    }

    fn log(&self, record: &log::Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let ours = record.target().starts_with("rswebrtc");
        let text = record.args().to_string();
        let shown = if ours || !may_hold_secret(&text) {
            text.as_str()
        } else {
            "(left out: may hold a password or key)"
        };
        category(record.target()).log(
            None::<&gst::glib::Object>,
            level(record.level()),
            gst::glib::GString::from(record.file().unwrap_or("unknown")).as_gstr(),
            record.target(),
            record.line().unwrap_or_default(),
            format_args!("{}: {shown}", record.target()),
        );
    }

    fn flush(&self) {}
}

fn category(target: &str) -> &'static gst::DebugCategory {
    if target.starts_with("rswebrtc::session") {
        &SESSION
    } else if target.starts_with("rswebrtc::peer") {
        &PEER
    } else if target.starts_with("rswebrtc::signalling") {
        &SIGNALLING
    } else {
        &DEPENDENCIES
    }
}

fn level(level: log::Level) -> gst::DebugLevel {
    match level {
        // A library's error is not an error of the element: that one posts a message.
        log::Level::Error | log::Level::Warn => gst::DebugLevel::Warning,
        log::Level::Info => gst::DebugLevel::Info,
        log::Level::Debug => gst::DebugLevel::Debug,
        log::Level::Trace => gst::DebugLevel::Trace,
    }
}

fn filter(level: gst::DebugLevel) -> log::LevelFilter {
    match level {
        gst::DebugLevel::None | gst::DebugLevel::Error | gst::DebugLevel::Warning => {
            log::LevelFilter::Warn
        }
        gst::DebugLevel::Fixme | gst::DebugLevel::Info => log::LevelFilter::Info,
        gst::DebugLevel::Debug | gst::DebugLevel::Log => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    }
}

fn may_hold_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    [
        "pwd",
        "password",
        "credential",
        "secret",
        "private",
        "v=0",
        "a=ice",
    ]
    .iter()
    .any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_may_hold_a_secret_are_recognised() {
        assert!(may_hold_secret("Started agent: remotePwd: abc"));
        assert!(may_hold_secret("set v=0\r\no=-"));
        assert!(!may_hold_secret("ICE state connected"));
    }
}
