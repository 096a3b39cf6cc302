// SPDX-License-Identifier: MPL-2.0
//! GStreamer's leaks tracer finds nothing after a whole call, in either process.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Where the plugin is that belongs to this test.
fn plugin_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/PROFILE/deps/leaks-HASH, and beside it the libraries that its build made.
    test.ancestors().nth(1).unwrap().to_path_buf()
}

fn traced(directory: &std::path::Path, name: &str, pipeline: &str) -> Child {
    let log = std::fs::File::create(directory.join(name)).unwrap();
    Command::new("gst-launch-1.0")
        .args(["-q", "-e"])
        .args(pipeline.split_whitespace())
        .env("GST_PLUGIN_PATH", plugin_directory())
        .env("GST_REGISTRY", directory.join("registry"))
        .env("GST_TRACERS", "leaks(check-refs=true)")
        .env("GST_DEBUG", "GST_TRACER:7")
        .env("GST_DEBUG_NO_COLOR", "1")
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

#[test]
fn no_object_is_left_after_a_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let meet = format!(
        "signaller=file location={} ice-addresses=127.0.0.1",
        path.join("meet").display()
    );
    let mut receiver = traced(
        path,
        "receiver",
        &format!(
            "rswebrtcsrc name=r {meet} r.video_0 ! queue ! fakesink r.audio_0 ! queue ! fakesink"
        ),
    );
    let mut sender = traced(
        path,
        "sender",
        &format!(
            "videotestsrc num-buffers=30 ! vp8enc deadline=1 ! rswebrtcsink name=s {meet} \
             audiotestsrc num-buffers=30 ! opusenc ! s."
        ),
    );
    assert!(sender.wait().unwrap().success());
    assert!(receiver.wait().unwrap().success());
    for name in ["sender", "receiver"] {
        let log = std::fs::read_to_string(path.join(name)).unwrap();
        assert!(log.contains("connected"), "{name} made no call: {log}");
        // The tracer also logs the format of its records.
        let is_record = |l: &&str| l.contains("object-alive") && !l.contains("gst_tracer_record");
        let alive: Vec<_> = log.lines().filter(is_record).collect();
        assert!(log.contains("GST_TRACER"), "{name} was not traced");
        assert!(alive.is_empty(), "{name}: {alive:#?}");
    }
}
