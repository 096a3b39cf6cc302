#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Checks that every send on a channel in src/ says what happens when the channel is full.

    check-overflow.py              exit status 1 if a send says nothing
    check-overflow.py --self-test  shows that the check catches one

Each `.send(`, `.try_send(`, `.blocking_send(` and `.send_timeout(` outside tests has, on its line or in the four
before it, a comment `overflow: WORD`, and WORD is one of

    awaited   the sender waits for room; the reader never waits for the sender
    nudge     a wake-up; when the channel is full one is under way already
    detached  sent from a task of its own, which may wait
    retained  only the newest value matters (watch), or there is room for all that can ever come (oneshot)
    DROPS     something is lost, and counted

`self.send(` is passed over: it is a method of ours, and the send in it is looked at.
Every unbounded channel has a comment `unbounded: REASON` in the same place.
"""

import re
import sys

sys.dont_write_bytecode = True

import rust_source  # noqa: E402

SEND = re.compile(r"(?<!\bself)\.\s*(?:send|try_send|blocking_send|send_timeout)\s*\(")
UNBOUNDED = re.compile(r"\b(?:unbounded_channel|unbounded)\s*(?:::<[^(]*>)?\s*\(|(?<!sync_)\bmpsc::channel\s*\(\s*\)")
POLICY = re.compile(r"overflow:\s*(?:awaited|nudge|detached|retained|DROPS)\b")
REASON = re.compile(r"unbounded:\s*\w")
BEFORE = 4


def check(file):
    """(line, text) of each send without a policy."""
    for pattern, comment, missing in ((SEND, POLICY, "no `overflow:` comment that names a policy"), (UNBOUNDED, REASON, "no `unbounded:` comment with a reason")):
        for found in pattern.finditer(file.code):
            line = file.line(found.start())
            if not file.in_test(found.start()) and not any(comment.search(file.comment(near)) for near in range(line - BEFORE, line + 1)):
                yield line, missing


def self_test():
    """Sends with and without a policy, in code, comments, strings and tests."""
    cases = [
        ("fn a() { tx.send(1); }", 1),
        ("fn a() { tx.try_send(1); } // overflow: no idea", 1),
        ("// overflow: nudge\nfn a() {\n    self.tx\n        .blocking_send(1);\n}", 0),
        ("fn a(&self) { self.send(1); self.b.send(1); }", 1),
        ("// overflow: DROPS (counted)\n\n\n\n\ntx.send(1);", 1),
        ("tx.send(1).await; // overflow: awaited", 0),
        ('// tx.send(1)\nlet a = "tx.send(1)";', 0),
        ("#[cfg(test)]\nmod tests {\n    fn a() { tx.send(1); }\n}", 0),
        ("let (tx, rx) = mpsc::unbounded_channel();", 1),
        ("// unbounded: one message for each peer\nlet (tx, rx) = mpsc::unbounded_channel::<Event>();", 0),
        ("let (tx, rx) = mpsc::channel(4);", 0),
    ]
    failures = [text for text, expected in cases if len(list(check(rust_source.RustFile("src/a.rs", text)))) != expected]
    for failure in failures:
        print(f"check-overflow: self-test: {failure!r}")
    print(f"check-overflow: self-test: {len(cases) - len(failures)} of {len(cases)} pass")
    return bool(failures)


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if sys.argv[1:]:
        print(__doc__)
        return 2
    files, only_tests = rust_source.load()
    errors = [(file.name, *error) for file in files if file.name not in only_tests for error in check(file)]
    for name, line, text in errors:
        print(f"error: {name}:{line}: {text}")
    print(f"check-overflow: {len(files)} files, {len(errors)} errors")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
