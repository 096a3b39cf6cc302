# SPDX-License-Identifier: MPL-2.0
"""docs/interop.md, written from what the tests of a run saw. Nothing in it changes from run to run but results and versions."""

import foreign
import gst

DOCUMENT = gst.ROOT / "docs" / "interop.md"
TITLES = {"aiortc": "aiortc", "webrtcbin": "webrtcbin (GStreamer)", "chromium": "Chromium", "firefox": "Firefox ESR"}
CODECS = {"OPUS": "Opus"}
COLUMNS = (("send", "offer"), ("send", "answer"), ("receive", "offer"), ("receive", "answer"))
WORDS = {"ok": "yes", "FAIL": "**no**"}

HEAD = """# Interoperability

Written by `tests/interop/run.sh --write-docs` from calls that it made; do not edit. Each cell is a call between
`gst-launch-1.0` with our element and the peer, with `signaller=file`, both on one machine: 2.5 s of pictures that carry
their number, or of a tone. *We send* is `rswebrtcsink`, *we receive* is `rswebrtcsrc` into a file. A cell says yes only if
every picture arrived, but for what the peer itself is known to miss (`tests/interop/calls.py` says how many).
"""


def key(test):
    """(peer, codec, direction, role) of a test that has a cell in the table, or None."""
    return getattr(getattr(test, test._testMethodName, None), "row", None)


def table(cells, notes):
    """One row for each peer and codec, in the order in which they came."""
    lines = ["| peer | codec | we send, we offer | we send, they offer | we receive, we offer | we receive, they offer |", "|---|---|---|---|---|---|"]
    for peer, codec in dict.fromkeys((peer, codec) for peer, codec, _, _ in cells):
        words = []
        for column in COLUMNS:
            outcome, reason = cells[(peer, codec, *column)]
            if outcome == "skip":
                notes.setdefault(reason, len(notes) + 1)
                words.append(f"– [{notes[reason]}]")
            else:
                words.append(WORDS[outcome])
        lines.append(f"| {TITLES[peer]} | {CODECS.get(codec, codec)} | {' | '.join(words)} |")
    return lines


def write(outcomes, expected):
    """Write the document from `outcomes` ({key: (outcome, reason)}); None, or why it was not written."""
    left_out = [row for row in expected if row not in outcomes or foreign.left_out(row[0])]
    if left_out:
        return f"{len(left_out)} of {len(expected)} calls of the tables did not run"
    ordered = {row: outcomes[row] for row in sorted(expected, key=lambda row: (foreign.ALL.index(row[0]), expected.index(row)))}
    single = {row: outcome for row, outcome in ordered.items() if "+" not in row[1]}
    several = {row: outcome for row, outcome in ordered.items() if "+" in row[1]}
    notes = {}
    lines = [HEAD, "## Peers", "", "| peer | version |", "|---|---|"]
    lines += [f"| {TITLES[name]} | {foreign.version(name)} |" for name in foreign.ALL]
    lines += ["", "## One stream", "", *table(single, notes), "", "## Several streams in one call", "", *table(several, notes)]
    lines += [""] + [f"[{number}] {reason}." for reason, number in notes.items()] if notes else []
    text = "\n".join(lines) + "\n"
    if not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
        DOCUMENT.write_text(text, encoding="utf-8")
    return None
