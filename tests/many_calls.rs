// SPDX-License-Identifier: MPL-2.0
//! Call after call in one process leaves nothing behind.

mod common;

use std::fs;

use common::{Running, meet};

/// Threads, open files and resident kilobytes of this process.
fn footprint() -> (usize, usize, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |key: &str| {
        let line = status.lines().find(|l| l.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let files = fs::read_dir("/proc/self/fd").unwrap().count();
    (number("Threads:"), files, number("VmRSS:"))
}

fn call(meet: &str) {
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink"));
    let sender = Running::play(&format!(
        "videotestsrc num-buffers=3 ! video/x-raw,width=160,height=120 ! vp8enc deadline=1 \
         ! rswebrtcsink sync=false {meet}"
    ));
    sender.wait_eos();
    receiver.wait_eos();
}

#[test]
fn a_hundred_calls_leave_threads_files_and_memory_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    // What is made once (runtime, caches, allocator arenas) is made by then.
    (0..20).for_each(|_| call(&meet));
    let (threads, files, memory) = footprint();
    (0..80).for_each(|_| call(&meet));
    // Idle threads of pools come and go; one a call would be 80. Those of the last call may be about
    // to end.
    let start = std::time::Instant::now();
    let (threads_after, files_after, memory_after) = loop {
        let now = footprint();
        if now.0 <= threads + 4 && now.1 <= files + 4 {
            break now;
        }
        assert!(
            start.elapsed() < std::time::Duration::from_secs(10),
            "{threads} -> {} threads, {files} -> {} files",
            now.0,
            now.1
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let limit = memory + 6 * 1024;
    assert!(
        memory_after <= limit,
        "{memory} -> {memory_after} kB resident"
    );
    println!(
        "{threads}->{threads_after} threads, {files}->{files_after} files, {memory}->{memory_after} kB"
    );
}
