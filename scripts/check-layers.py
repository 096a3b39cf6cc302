#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Checks the boundaries between the layers in src/, and a few house rules. docs/architecture.md says why.

    check-layers.py              exit status 1 if a rule is broken; warnings alone do not fail
    check-layers.py --self-test  shows that each rule catches a breach of it

A line may say `// infallible: REASON` (or have that in the comment right above) where an unwrap, an expect, a
panic or an index cannot fail.
"""

import re
import sys

sys.dont_write_bytecode = True

import rust_source  # noqa: E402

ELEMENTS = {"rswebrtcsink", "rswebrtcsrc"}
CORE = {"session", "peer", "sdp", "media", "signalling"}
# What a module may name in this crate; a module that is not listed here may name all.
MAY_NAME = {
    "media": {"media"},
    "sdp": {"sdp", "media"},
    "signalling": {"signalling"},
    "peer": {"peer", "sdp", "media", "runtime"},
    "session": {"session", "peer", "sdp", "media", "signalling", "runtime"},
}
# What a program in src/bin may name of the library.
PROGRAMS = {"sdp", "signalling"}
LIBRARY = "gstwebrtcrs"
HTTP = {"axum", "hyper", "hyper_util", "hyper_rustls", "reqwest", "http", "http_body", "http_body_util", "tower", "tower_http", "rustls", "tokio_rustls"}
MODULES = CORE | ELEMENTS | {"gst_glue", "runtime", "logging"}

IS_GST = re.compile(r"^(gst|gst_\w+|gstreamer\w*|glib|gio)$")
PANICS = re.compile(r"\.\s*(unwrap|expect|unwrap_err|expect_err)\s*\(|\b(panic|unreachable|todo|unimplemented)!")
INDEX = re.compile(r"[\w)\]?]\[(?!\s*\.\.\s*\])")
SERVER = re.compile(r"\b(?:stun|turn)s?:(?://)?(?!host\b|user\b|[\w.-]*\bexample\b)[A-Za-z0-9]|\b(?:stun|turn)\d*\.[\w-]+\.\w+")

FILE_LINES, FILE_LINES_MAX = 500, 700
FUNCTION_LINES, FUNCTION_LINES_MAX = 80, 120


class Report:
    """What was found, as `file:line: text`."""

    def __init__(self):
        self.errors, self.warnings = [], []

    def error(self, file, position, text):
        self.errors.append(f"{file.name}:{file.line(position)}: {text}")

    def size(self, file, position, what, lines, limit, maximum):
        if lines > maximum:
            self.error(file, position, f"{what} has {lines} lines, more than {maximum}: split it")
        elif lines > limit:
            self.warnings.append(f"{file.name}:{file.line(position)}: {what} has {lines} lines, more than {limit}")


def check(file, only_tests, report):
    """All rules on one file."""
    if "SPDX-License-Identifier: MPL-2.0" not in "\n".join(file.text.splitlines()[:3]):
        report.error(file, 0, "no `SPDX-License-Identifier: MPL-2.0` line at the top")
    check_names(file, report)
    check_unsafe(file, report)
    if not only_tests:
        check_block_on(file, report)
        check_panics(file, report)
        check_servers(file, report)
        check_sizes(file, report)


def check_names(file, report):
    """Who may name whom."""
    module = (file.module_path() or ["lib"])[0]
    seen = set()
    for position, path in file.paths():
        first, _, rest = path.partition("::")
        second = rest.partition("::")[0]
        found = (file.line(position), first, second)
        if found in seen:
            continue
        seen.add(found)
        if module in CORE | {"bin"} and IS_GST.match(first):
            report.error(file, position, f"{module} names GStreamer (`{path}`): only the elements and gst_glue do")
        if first in ("webrtc", "rtc") and module != "peer":
            report.error(file, position, f"{module} names webrtc-rs (`{path}`): only peer does")
        if first in HTTP and not file.name.startswith("src/signalling/http"):
            report.error(file, position, f"`{path}`: HTTP and TLS crates belong under src/signalling/http")
        if module == "bin" and first == LIBRARY and second not in PROGRAMS:
            report.error(file, position, f"{module} names `{path}`: it may name only {', '.join(sorted(PROGRAMS))}")
        if first == "crate" and second in MODULES and module in MAY_NAME and second not in MAY_NAME[module]:
            allowed = ", ".join(sorted(MAY_NAME[module]))
            report.error(file, position, f"{module} names `{path}`: it may name only {allowed}")


def check_unsafe(file, report):
    """The core and the session do without `unsafe`."""
    module = (file.module_path() or ["lib"])[0]
    if module in CORE:
        for found in re.finditer(r"\bunsafe\s*(?:\{|fn\b|impl\b|extern\b)", file.code):
            report.error(file, found.start(), f"`unsafe` in {module}")


def check_block_on(file, report):
    """`block_on` has one place. A function of that name (webrtc's runtime trait wants one) may hand on to another."""
    own = [(start, file.line(start) + lines) for start, name, lines in file.functions() if name == "block_on"]
    for found in re.finditer(r"\bblock_on\b", file.code):
        inside = any(file.line(start) <= file.line(found.start()) < end for start, end in own)
        if file.name != "src/runtime.rs" and not inside and not file.in_test(found.start()):
            report.error(file, found.start(), "`block_on` outside src/runtime.rs")


def check_panics(file, report):
    """What could panic on input from outside."""
    for pattern, what in ((PANICS, "can panic"), (INDEX, "an index can be out of bounds: use get()")):
        for found in pattern.finditer(file.code):
            if not file.in_test(found.start()) and not says_infallible(file, file.line(found.start())):
                text = file.text.splitlines()[file.line(found.start()) - 1].strip()
                report.error(file, found.start(), f"`{text}`: {what} (or say why not: `// infallible: REASON`)")


def says_infallible(file, line):
    """Whether the line, or the comment right above it, gives a reason."""
    reason = re.compile(r"//\s*infallible:\s*\w")
    above = line - 1
    while file.is_comment_only(above):
        if reason.search(file.comment(above)):
            return True
        above -= 1
    return bool(reason.search(file.comment(line)))


def check_servers(file, report):
    """No STUN or TURN server that the user did not name."""
    for position, body in file.strings:
        if SERVER.search(body) and not file.in_test(position):
            report.error(file, position, f"a STUN or TURN server in the code: \"{body.strip()[:60]}\"")


def check_sizes(file, report):
    """Nothing grows beyond what one can read."""
    report.size(file, 0, "the file", file.lines_outside_tests(), FILE_LINES, FILE_LINES_MAX)
    for position, name, lines in file.functions():
        if not file.in_test(position):
            report.size(file, position, f"`fn {name}`", lines, FUNCTION_LINES, FUNCTION_LINES_MAX)


SPDX = "// SPDX-License-Identifier: MPL-2.0\n"
BREACHES = [
    ("src/peer/mod.rs", "fn a() {}", "no `SPDX"),
    ("src/media/codec.rs", SPDX + "use gst::prelude::*;", "names GStreamer"),
    ("src/session/mod.rs", SPDX + "fn a(x: glib::Bytes) {}", "names GStreamer"),
    ("src/sdp/mod.rs", SPDX + "use {std::fmt, gst_video as video};", "names GStreamer"),
    ("src/session/mod.rs", SPDX + "use webrtc::peer_connection::Peer;", "names webrtc-rs"),
    ("src/rswebrtcsink/imp.rs", SPDX + "fn a() { ::rtc::b(); }", "names webrtc-rs"),
    ("src/signalling/stdio.rs", SPDX + "use crate::media::codec::Codec;", "it may name only"),
    ("src/signalling/stdio/mod.rs", SPDX + "use super::super::{session::A, signalling::B};", "it may name only"),
    ("src/peer/mod.rs", SPDX + "use crate::{media::codec, session::Session};", "it may name only"),
    ("src/peer/connection.rs", SPDX + "fn a() { crate::signalling::b() }", "it may name only"),
    ("src/session/mod.rs", SPDX + "use crate::rswebrtcsink;", "it may name only"),
    ("src/bin/rswebrtc-sdp.rs", SPDX + "use gstwebrtcrs::{peer::Peer, sdp::Remote};", "it may name only"),
    ("src/bin/rswebrtc-sdp.rs", SPDX + "use gst::prelude::*;", "names GStreamer"),
    ("src/signalling/file.rs", SPDX + "use reqwest::Client;", "HTTP and TLS"),
    ("src/session/actor.rs", SPDX + "fn a() { handle.block_on(b); }", "`block_on`"),
    ("src/media/queue.rs", SPDX + "fn a() { unsafe { b() } }", "`unsafe`"),
    ("src/gst_glue/caps.rs", SPDX + "fn a() { b().unwrap(); }", "can panic"),
    ("src/gst_glue/caps.rs", SPDX + 'fn a() { b()\n    .expect("c"); }', "can panic"),
    ("src/media/h264.rs", SPDX + "fn a(b: &[u8]) -> u8 { b[0] }", "out of bounds"),
    ("src/media/h264.rs", SPDX + "fn a(b: &[u8]) { c(&b[1..]); }", "out of bounds"),
    ("src/rswebrtcsrc/settings.rs", SPDX + 'const A: &str = "stun://stun.l.elsewhere.net:19302";', "STUN or TURN"),
    ("src/session/mod.rs", SPDX + "//\n" * 800, "more than 700"),
    ("src/session/mod.rs", SPDX + "fn a() {\n" + "    b();\n" * 130 + "}", "more than 120"),
]
CLEAN = SPDX + r'''
//! `gst::Element` and webrtc::x in a comment are nobody's business, nor is b.unwrap().
use super::mailbox::{Mailbox, Slot as S};
fn a<'a>(b: &'a [u8], c: [u8; 4]) -> Option<&'a u8> {
    let text = r#"gst::parse("x") .unwrap() stun.example"#;
    let quote = ('"', '\'', b'[');
    // infallible: an array of 4 has a first.
    let first = c[0];
    let all = &c[..];
    let url = format!("stun:{text}");
    trait R { fn block_on(&self) { other.block_on(); } }
    let help = "one server, stun://host:port or turn://user:password@host:port";
    vec![first].first().and_then(|_| b.get(1)) // and not .unwrap()
}
#[cfg(test)]
mod tests {
    use super::super::message;
    fn a() { b().unwrap()[0]; c("stun://stun.elsewhere.net") }
}
'''


def self_test():
    """Every breach is caught by its rule and by no other; clean code passes."""
    failures = []

    def errors(name, text):
        report = Report()
        check(rust_source.RustFile(name, text), False, report)
        return report.errors

    for name, text, expected in BREACHES:
        found = errors(name, text)
        if len(found) != 1 or expected not in found[0]:
            failures.append(f"{text[-60:]!r}: expected one error with {expected!r}, got {found}")
    found = errors("src/signalling/stdio/mod.rs", CLEAN)
    if found:
        failures.append(f"clean code: {found}")
    files = {"src/a/mod.rs": rust_source.RustFile("src/a/mod.rs", "#[cfg(test)]\nmod fake;\nmod real;"),
             "src/a/fake.rs": rust_source.RustFile("src/a/fake.rs", ""), "src/a/real.rs": rust_source.RustFile("src/a/real.rs", "")}
    if rust_source.test_files(files) != {"src/a/fake.rs"}:
        failures.append(f"test modules: {rust_source.test_files(files)}")
    for failure in failures:
        print(f"check-layers: self-test: {failure}")
    print(f"check-layers: self-test: {len(BREACHES) + 2 - len(failures)} of {len(BREACHES) + 2} pass")
    return bool(failures)


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if sys.argv[1:]:
        print(__doc__)
        return 2
    report = Report()
    files, only_tests = rust_source.load()
    for file in files:
        check(file, file.name in only_tests, report)
    for warning in report.warnings:
        print(f"warning: {warning}")
    for error in report.errors:
        print(f"error: {error}")
    print(f"check-layers: {len(files)} files, {len(report.errors)} errors, {len(report.warnings)} warnings")
    return bool(report.errors)


if __name__ == "__main__":
    sys.exit(main())
