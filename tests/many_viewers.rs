// SPDX-License-Identifier: MPL-2.0
//! One sink, many viewers: what they see, how they come, and what is left when they go.

mod common;
#[path = "common/viewer.rs"]
mod viewer;

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use common::Running;
use gst::prelude::*;
use viewer::{Audience, Viewer};

/// Longer than anything here takes; a test that needs it has failed.
const LIMIT: Duration = Duration::from_secs(20);
/// RTP time of a frame, of 30 in a second.
const STEP: i64 = 3000;
const RAW: &str = "video/x-raw,format=I420,width=160,height=120,framerate=30/1";

/// A sink that serves, and where.
struct Server {
    running: Running,
    url: String,
    /// Signals so far.
    added: Arc<AtomicUsize>,
    removed: Arc<AtomicUsize>,
}

impl Server {
    fn start(source: &str, options: &str) -> Self {
        Self::start_at(source, options, 0)
    }

    fn start_at(source: &str, options: &str, port: u16) -> Self {
        let running = Running::parse(&format!(
            "{source} ! rswebrtcsink name=s signaller=whep-server ice-addresses=127.0.0.1 \
             location=http://127.0.0.1:{port}/whep {options}"
        ));
        let count = |signal: &str| {
            let seen = Arc::new(AtomicUsize::new(0));
            let into = seen.clone();
            running.element("s").connect(signal, false, move |_| {
                into.fetch_add(1, Ordering::SeqCst);
                None
            });
            seen
        };
        let (added, removed) = (count("peer-added"), count("peer-removed"));
        let mut server = Self {
            running,
            url: String::new(),
            added,
            removed,
        };
        server.play();
        server
    }

    fn play(&mut self) {
        self.running.set_state(gst::State::Playing);
        self.url = loop {
            let message = self.running.wait(&[gst::MessageType::Element]);
            let told = message
                .structure()
                .filter(|s| s.name() == "rswebrtc-listening");
            if let Some(structure) = told {
                break structure.get("url").unwrap();
            }
        };
    }
}

/// An encoder that makes key frames only when it is asked.
fn live() -> String {
    format!("videotestsrc is-live=true ! {RAW} ! vp8enc name=e deadline=1 keyframe-max-dist=10000")
}

/// A film of so many frames, with a key frame among `distance`, as it lies on a disk.
fn film(directory: &Path, frames: u32, distance: u32) -> String {
    let path = directory.join("film.mp4");
    Running::play(&format!(
        "videotestsrc num-buffers={frames} ! {RAW} ! x264enc tune=zerolatency \
         speed-preset=ultrafast key-int-max={distance} ! mp4mux ! filesink location={}",
        path.display()
    ))
    .wait_eos();
    format!("filesrc location={} ! qtdemux ! h264parse", path.display())
}

fn join(audience: &Audience, server: &Server, count: usize) -> Vec<Viewer> {
    (0..count)
        .map(|_| audience.join(&server.url, &["VP8", "H264"]))
        .collect()
}

fn wait_frames(viewer: &Viewer, frames: usize) {
    let came = viewer.wait(LIMIT, |s| s.frames.len() >= frames || s.end.is_some());
    let (seen, end) = viewer.look(|s| (s.frames.len(), s.end.clone()));
    assert!(came && seen >= frames, "{seen} of {frames} frames, {end:?}");
}

/// Nothing is missing since its first frame, which was a key frame.
fn assert_whole(viewer: &Viewer) {
    viewer.look(|s| {
        assert!(s.frames[0].key, "begins with something else");
        let steps = s.frames.windows(2).map(|pair| pair[1].time - pair[0].time);
        let steps: Vec<i64> = steps.collect();
        assert_eq!((s.missing(0, STEP), s.lost), (0, 0), "{steps:?}");
    });
}

/// The same for one that may have come late to a film: what is past takes next to no time on the
/// RTP clock, and from there on nothing is missing. Gives the number of frames of the past.
fn assert_whole_since_it_came(viewer: &Viewer) -> usize {
    viewer.look(|s| {
        assert!(s.frames[0].key, "begins with something else");
        let mut steps = s.frames.windows(2).map(|pair| pair[1].time - pair[0].time);
        let past = steps.by_ref().take_while(|step| *step < STEP / 2).count();
        assert!(steps.all(|step| step > 0), "time goes back");
        assert_eq!((s.missing(past, STEP), s.lost), (0, 0));
        past
    })
}

fn wait_count(what: &str, count: &AtomicUsize, wanted: usize) -> Duration {
    let start = Instant::now();
    while count.load(Ordering::SeqCst) < wanted {
        assert!(start.elapsed() < LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// These tests count what the whole process has open, and each needs the machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    common::init();
    ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Open files and threads of this process.
fn footprint() -> (usize, usize) {
    let count = |what: &str| {
        std::fs::read_dir(format!("/proc/self/{what}"))
            .unwrap()
            .count()
    };
    (count("fd"), count("task"))
}

/// Waits until no more is open than `before`: what was cut ends in the background.
fn assert_back_at(before: (usize, usize)) {
    let start = Instant::now();
    loop {
        let (files, threads) = footprint();
        if files <= before.0 && threads <= before.1 {
            return;
        }
        let after = (files, threads);
        assert!(start.elapsed() < LIMIT, "{before:?} -> {after:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_viewer_gets_every_frame_and_at_the_end_the_last_one() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&film(directory.path(), 120, 1000), "");
    let audience = Audience::new(2);
    let viewers = join(&audience, &server, 12);
    server.running.wait_eos();
    let mut last = Vec::new();
    for viewer in &viewers {
        assert!(
            viewer.wait(LIMIT, |s| s.end.is_some()),
            "is not told of the end"
        );
        assert_whole_since_it_came(viewer);
        viewer.look(|s| {
            assert!(s.end.as_ref().is_some_and(Result::is_ok), "{:?}", s.end);
            assert_eq!(
                s.frames.len(),
                120,
                "one that comes late gets the film so far too"
            );
            last.push(s.frames.last().map(|f| f.time));
        });
    }
    assert!(last.windows(2).all(|pair| pair[0] == pair[1]), "{last:?}");
    let late = audience.join(&server.url, &["H264"]);
    assert!(late.wait(LIMIT, |s| s.end.is_some()), "still served");
    let refusal = late
        .look(|s| s.end.clone().unwrap())
        .expect_err("it is over");
    assert!(refusal.contains("410"), "{refusal}");
}

#[test]
fn those_who_come_together_share_one_request_for_a_key_frame() {
    let _alone = alone();
    let server = Server::start(&live(), "min-force-key-unit-interval=500");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let into = asked.clone();
    let encoder = server.running.element("e").static_pad("src").unwrap();
    encoder.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let forces = info
            .event()
            .and_then(|e| e.structure())
            .is_some_and(|s| s.name() == "GstForceKeyUnit");
        if forces {
            into.lock().unwrap().push(Instant::now());
        }
        gst::PadProbeReturn::Ok
    });
    let audience = Audience::new(2);
    let first = join(&audience, &server, 1);
    wait_frames(&first[0], 30);
    let before = asked.lock().unwrap().len();
    let late = join(&audience, &server, 10);
    late.iter().for_each(|viewer| wait_frames(viewer, 15));
    late.iter().chain(&first).for_each(assert_whole);
    let asked = asked.lock().unwrap();
    assert!(asked.len() > before, "nobody asked the encoder");
    for pair in asked.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(
            // 500 ms; they are seen somewhat later than the rule sees them.
            apart >= Duration::from_millis(250),
            "asked again after {apart:?}"
        );
    }
    assert!(asked.len() - before < 10, "one request each");
}

#[test]
fn who_comes_late_to_a_stored_film_gets_the_gop_so_far() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&film(directory.path(), 900, 1000), "");
    let audience = Audience::new(2);
    let first = &join(&audience, &server, 1)[0];
    wait_frames(first, 45);
    let late = &join(&audience, &server, 1)[0];
    wait_frames(late, 1);
    assert!(late.look(|s| s.frames[0].key), "no decoder can start later");
    // It catches up, and goes on with the others.
    let now = first.look(|s| s.frames.len());
    wait_frames(late, now + 5);
    let start = Instant::now();
    while late.look(|s| s.frames.len()) + 5 < first.look(|s| s.frames.len()) {
        assert!(start.elapsed() < LIMIT, "it stays behind");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_whole(first);
    let past = assert_whole_since_it_came(late);
    assert!(past >= 40, "only {past} frames of the past came");
}

#[test]
fn without_a_gop_cache_who_comes_late_begins_with_the_next_key_frame() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&film(directory.path(), 900, 60), "gop-cache=off");
    let audience = Audience::new(2);
    let first = &join(&audience, &server, 1)[0];
    wait_frames(first, 10);
    let here = first.look(|s| s.frames.last().unwrap().time);
    let late = &join(&audience, &server, 1)[0];
    wait_frames(late, 5);
    let began = late.look(|s| s.frames[0].time);
    assert!(began > here, "what was before it came is not kept");
    assert_whole(late);
    assert_whole(first);
}

#[test]
fn viewers_that_vanish_or_stall_are_removed_and_the_others_do_not_notice() {
    let _alone = alone();
    let server = Server::start(&live(), "");
    let (staying, vanishing, stalling) = (Audience::new(2), Audience::new(1), Audience::new(1));
    let viewers = join(&staying, &server, 4);
    let gone = [join(&vanishing, &server, 4), join(&stalling, &server, 4)];
    for viewer in gone.iter().flatten().chain(&viewers) {
        wait_frames(viewer, 5);
    }
    wait_count("all are told", &server.added, 12);
    assert_eq!(server.added.load(Ordering::SeqCst), 12);
    let marks: Vec<_> = viewers.iter().map(|v| v.look(|s| s.frames.len())).collect();
    vanishing.vanish();
    let stalled = stalling.stall();
    let took = wait_count("eight peers are removed", &server.removed, 8);
    // Consent to send ends after some 5 s without an answer.
    assert!(took < Duration::from_secs(10), "removed after {took:?}");
    for (viewer, mark) in viewers.iter().zip(marks) {
        wait_frames(viewer, mark + 60);
        assert_whole(viewer);
        let gap = viewer.look(|s| s.largest_gap(mark));
        // Who waited for those that are gone would wait for 5 s.
        assert!(gap < Duration::from_secs(2), "nothing for {gap:?}");
    }
    assert_eq!(server.removed.load(Ordering::SeqCst), 8, "others too");
    drop(stalled);
}

#[test]
fn viewers_with_other_preferences_share_the_stream_and_one_without_the_codec_is_told() {
    let _alone = alone();
    let server = Server::start(&live(), "");
    let audience = Audience::new(2);
    let wishes: [&[&str]; 3] = [&["VP8"], &["H264", "VP9", "VP8"], &["VP8", "H264", "opus"]];
    let viewers = wishes.map(|codecs| audience.join(&server.url, codecs));
    for viewer in &viewers {
        wait_frames(viewer, 10);
        assert_whole(viewer);
        assert_eq!(viewer.look(|s| s.codec.clone()), "VP8");
    }
    let common = |viewer: &Viewer| viewer.look(|s| s.frames.last().unwrap().time);
    let newest = viewers.iter().map(common).max().unwrap();
    for viewer in &viewers {
        let seen = viewer.wait(LIMIT, |s| s.frames.iter().any(|f| f.time == newest));
        assert!(seen, "not the same stream");
    }
    let stranger = audience.join(&server.url, &["H264"]);
    assert!(stranger.wait(LIMIT, |s| s.end.is_some()));
    let end = stranger.look(|s| s.end.clone().unwrap());
    let text = end.expect_err("it was refused");
    assert!(text.contains("406") && text.contains("VP8"), "{text}");
    assert_eq!(server.removed.load(Ordering::SeqCst), 0);
}

#[test]
fn null_with_viewers_frees_port_threads_and_files() {
    let _alone = alone();
    let serve = || {
        let server = Server::start(&live(), "");
        let audience = Audience::new(2);
        let viewers = join(&audience, &server, 6);
        viewers.iter().for_each(|viewer| wait_frames(viewer, 3));
        let took = server.running.timed_state(gst::State::Null);
        assert!(took < Duration::from_secs(4), "NULL took {took:?}");
        for viewer in &viewers {
            assert!(viewer.wait(LIMIT, |s| s.end.is_some()), "hears nothing");
            assert!(viewer.leave(LIMIT));
        }
        let authority = server.url.split('/').nth(2).unwrap();
        TcpListener::bind(authority).expect("the port is free");
    };
    // What is made once is made by then.
    serve();
    let before = footprint();
    serve();
    assert_back_at(before);
}

#[test]
fn fifty_viewers_one_after_the_other_leave_nothing_behind() {
    let _alone = alone();
    let server = Server::start(&live(), "min-force-key-unit-interval=0");
    let audience = Audience::new(2);
    let visit = || {
        let viewer = audience.join(&server.url, &["VP8"]);
        wait_frames(&viewer, 1);
        assert!(viewer.leave(LIMIT));
    };
    (0..5).for_each(|_| visit());
    wait_count("five have left", &server.removed, 5);
    let (files, threads) = footprint();
    (0..50).for_each(|_| visit());
    wait_count("all have left", &server.removed, 55);
    assert_back_at((files + 2, threads + 2));
    assert_eq!(server.added.load(Ordering::SeqCst), 55);
}

#[test]
fn a_sink_that_plays_again_serves_again_on_its_port() {
    let _alone = alone();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let mut server = Server::start_at(&live(), "", port.unwrap().port());
    let audience = Audience::new(2);
    for _ in 0..3 {
        let viewers = join(&audience, &server, 2);
        viewers.iter().for_each(|viewer| wait_frames(viewer, 3));
        let before = server.url.clone();
        server.running.set_state(gst::State::Ready);
        for viewer in &viewers {
            assert!(viewer.wait(LIMIT, |s| s.end.is_some()), "hears nothing");
        }
        server.play();
        assert_eq!(server.url, before);
    }
}
