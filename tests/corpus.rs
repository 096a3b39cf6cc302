// SPDX-License-Identifier: MPL-2.0
//! Every stored input through every fuzz target, without a fuzzer: the seeds in `fuzz/corpus`, what
//! fuzzing once found in `fuzz/regressions`, and all fixtures.

#[path = "../fuzz/targets/mod.rs"]
#[allow(dead_code)]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A debug build on a busy machine takes its time; a hang takes longer.
const LIMIT: Duration = Duration::from_secs(10);

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The file as it is, and the description in it where it is JSON.
fn inputs(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let sdp = json.and_then(|json| Some(json.get("sdp")?.as_str()?.as_bytes().to_vec()));
    std::iter::once(bytes).chain(sdp).collect()
}

fn survived_by_all_targets(folder: &str) -> usize {
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    for path in &files {
        for input in inputs(path) {
            for (name, run) in targets::ALL {
                let told = format!("{name}: {}", path.display());
                println!("{told}");
                targets::watch::within(LIMIT, &told, || run(&input));
            }
        }
    }
    files.len()
}

#[test]
fn the_seeds_are_survived_by_all_targets() {
    assert!(survived_by_all_targets("fuzz/corpus") > 20);
}

#[test]
fn what_fuzzing_once_found_is_survived_by_all_targets() {
    assert!(survived_by_all_targets("fuzz/regressions") > 0);
}

#[test]
fn the_fixtures_are_survived_by_all_targets() {
    assert!(survived_by_all_targets("tests/fixtures/sdp") > 10);
}
