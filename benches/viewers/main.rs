// SPDX-License-Identifier: MPL-2.0
//! Any number of light viewers of a WHEP server, in one process: what `benches/fanout.py` counts
//! with. Not part of the plugin.
//!
//!     cargo bench --bench viewers -- http://127.0.0.1:8080/whep --count 100 --stay 10
//!
//! A line `{"ready": N}` on stdout tells that all see a picture. A line `mark` on stdin begins
//! the time that the summary is about, and `look` asks for one. The end of stdin, or `--stay`, ends
//! it with the last summary.

#[path = "../../tests/common/viewer.rs"]
mod viewer;

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use viewer::{Audience, Viewer};

/// Nobody waits longer for a picture, or for an end.
const LIMIT: Duration = Duration::from_secs(20);

/// Light viewers of a WHEP server.
#[derive(Parser)]
struct Arguments {
    /// The server's endpoint.
    url: String,
    /// How many viewers.
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// So many join in a second; 0: all at once.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// So many at a time, each for `--stay`, until `--count` were there.
    #[arg(long)]
    at_a_time: Option<usize>,
    /// Seconds that they stay, once all (with --at-a-time: the one) see a picture.
    #[arg(long)]
    stay: Option<f64>,
    /// RTP time of a frame.
    #[arg(long, default_value_t = 3000)]
    step: i64,
    /// Threads for all of them.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// What they take.
    #[arg(long, default_value = "H264")]
    codec: String,
    /// `cargo bench` says it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let audience = Audience::new(arguments.threads);
    match arguments.at_a_time {
        Some(at_a_time) => come_and_go(&arguments, &audience, at_a_time),
        None => watch_together(&arguments, &audience),
    }
}

/// All join, watch the same time, and leave.
fn watch_together(arguments: &Arguments, audience: &Audience) -> ExitCode {
    let commands = stdin();
    let began = Instant::now();
    let mut viewers = Vec::new();
    for number in 0..arguments.count {
        if arguments.rate > 0.0 {
            let due = began + Duration::from_secs_f64(number as f64 / arguments.rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        viewers.push(audience.join(&arguments.url, &[&arguments.codec]));
    }
    let mut ready = 0;
    for viewer in &viewers {
        viewer.wait(LIMIT, |s| !s.frames.is_empty() || s.end.is_some());
        ready += usize::from(viewer.first_frame().is_some());
    }
    println!("{}", json!({ "ready": ready }));
    let mut marks = vec![0; viewers.len()];
    let end = arguments
        .stay
        .map(|stay| Instant::now() + Duration::from_secs_f64(stay));
    loop {
        let left = end.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        });
        match commands.recv_timeout(left) {
            Ok(command) if command == "mark" => {
                marks = viewers.iter().map(|v| v.look(|s| s.frames.len())).collect();
            }
            Ok(_) => summary(&viewers, &marks, arguments.step),
            Err(RecvTimeoutError::Disconnected) if end.is_some() => {
                std::thread::sleep(left);
                break;
            }
            Err(_) => break,
        }
    }
    summary(&viewers, &marks, arguments.step);
    let all_left = std::thread::scope(|scope| {
        let leave = |viewer| scope.spawn(move || Viewer::leave(viewer, LIMIT));
        let leaving: Vec<_> = viewers.iter().map(leave).collect();
        let mut left = leaving.into_iter().map(|l| l.join().unwrap_or(false));
        left.all(|left| left)
    });
    if all_left {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What all have seen since their marks.
fn summary(viewers: &[Viewer], marks: &[usize], step: i64) {
    let all = viewers.iter().zip(marks);
    let all: Vec<Value> = all
        .map(|(viewer, mark)| seen(viewer, *mark, step))
        .collect();
    println!("{}", json!({ "viewers": all }));
}

/// What one has seen since `mark`.
fn seen(viewer: &Viewer, mark: usize, step: i64) -> Value {
    let first = viewer.first_frame().map(|first| first.as_millis() as u64);
    viewer.look(|sight| {
        let ms = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        let mut delays = sight.delays(mark);
        delays.sort();
        let at = |share: usize| delays.get((delays.len().saturating_sub(1)) * share / 100);
        json!({
            "first_frame_ms": first,
            "first_is_key": sight.frames.first().is_some_and(|f| f.key),
            "frames": sight.frames.len() - mark,
            "missing_frames": sight.missing(mark, step),
            "lost_packets": sight.lost,
            "largest_gap_ms": ms(sight.largest_gap(mark)),
            "delay_median_ms": at(50).copied().map(ms),
            "delay_99_ms": at(99).copied().map(ms),
            "delay_max_ms": at(100).copied().map(ms),
            "late_by_50_ms": delays.iter().filter(|d| d.as_millis() > 50).count(),
            "end": sight.end.as_ref().map(|end| format!("{end:?}")),
        })
    })
}

/// `at_a_time` threads, in which one viewer follows the other.
fn come_and_go(arguments: &Arguments, audience: &Audience, at_a_time: usize) -> ExitCode {
    let stay = Duration::from_secs_f64(arguments.stay.unwrap_or(0.0));
    let (done, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for lane in 0..at_a_time {
            let done = done.clone();
            scope.spawn(move || {
                for _ in (lane..arguments.count).step_by(at_a_time) {
                    let viewer = audience.join(&arguments.url, &[&arguments.codec]);
                    viewer.wait(LIMIT, |s| !s.frames.is_empty() || s.end.is_some());
                    if viewer.first_frame().is_some() {
                        std::thread::sleep(stay);
                    }
                    let result = seen(&viewer, 0, arguments.step);
                    viewer.leave(LIMIT);
                    let _ = done.send(result);
                }
            });
        }
    });
    drop(done);
    let results: Vec<Value> = results.iter().collect();
    println!("{}", json!({ "viewers": results }));
    ExitCode::SUCCESS
}

/// Lines of stdin; ends with it.
fn stdin() -> mpsc::Receiver<String> {
    let (lines, commands) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    commands
}
