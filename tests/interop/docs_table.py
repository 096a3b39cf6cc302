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

Written by `tests/interop/run.sh --write-docs`, the tables of codecs from calls that it made; do not edit here. Each cell is a call between
`gst-launch-1.0` with our element and the peer, with `signaller=file`, both on one machine: 2.5 s of pictures that carry
their number, or of a tone. *We send* is `rswebrtcsink`, *we receive* is `rswebrtcsrc` into a file. A cell says yes only if
every picture arrived, but for what the peer itself is known to miss (`tests/interop/calls.py` says how many).
"""

# By hand: what has no cell in the tables.
TAIL = """## Two-way calls, data channels, simulcast

Not in the tables; the tests in `tests/interop` show what arrived in each.

| | peers | test |
|---|---|---|
| two-way calls, picture and sound recorded at both ends; echo | aiortc, Chromium, Firefox; both roles | `test_two_way.py` |
| data channels: files, small messages, text and binary, closing, losses | aiortc, webrtcbin, Chromium, Firefox | `test_data.py` |
| three layers by rid from; other layers asked for while it plays | Chromium, Firefox | `test_simulcast.py` |
| three layers by rid to a receiver that picks; the largest alone, by rid and by `SIM` | werift; Chromium | `test_simulcast.py` |
| a remote that goes over to another network | Chromium, viewing and publishing | `test_handover.py` |
| a remote that changes between sources (SSRCs) on one m-line, and goes back | webrtcbin behind an input-selector | `test_changing_source.py` |
| scalable video (SVC), VP9 `L3T3_KEY` and AV1 `L2T2_KEY`: recorded, as RTP, and passed on as RTP to another browser and to two viewers, with its dependency descriptor | Chromium | `test_svc.py` |

## Lines of old descriptions that mean nothing to us

`tests/fixtures/sdp/seed-*.sdp` are descriptions of Chrome, Firefox and aiortc of several years. Of each of their lines
something comes, but for these:

| line | why |
|---|---|
| port and `c=` of an m-line, `a=rtcp:` | with ICE only candidates count (RFC 8839 section 3.1); RTCP goes where RTP goes, and an m-line without `a=rtcp-mux` is refused |
| `a=msid-semantic:WMS` | RFC 8830 took its meaning away; we write it for those who look for it |
| `a=end-of-candidates`, `a=ice-options:trickle` | candidates are taken whenever they come |
| `label` and `mslabel` of `a=ssrc` | the `msid` beside them says the same |
| streams in `a=sctpmap` | SCTP agrees on their number itself (RFC 4960 section 5.1.1) |
| `max-fs`, `max-fr` | limits of a decoder; passed on in RTP caps, but encoders upstream are not held to them |
| `a=extmap` of `video-timing` | Chrome's own measurements; nobody else writes them. `playout-delay`, `video-content-type` and `toffset` pass through with RTP |
| `a=x-google-flag:conference` | made Chrome send layers without saying which; those that `a=ssrc-group:SIM` names are taken |

Plan B is read, a pad for each of its tracks, and answered. As offerer several tracks of one m-line are not written: browsers of
today refuse the whole description (libwebrtc: "Media section has more than one track specified with a=ssrc lines"), and each
of our streams has an m-line of its own.

All layers of a scalable stream go on; none is left out for a viewer whose network carries less. Who makes a scalable stream with
GStreamer 1.22 has no element that writes the dependency descriptor: it comes with RTP from elsewhere. Chromium decodes AV1 of
several spatial layers with its descriptor only, so that a relay of encoded frames (without `application/x-rtp`) shows nothing there.

webrtcbin 1.22 loses what it has not handed on when a data channel closes: up to 8352 of 20000 messages that were sent in one go. The
others have all of them.
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
    text = "\n".join(lines) + "\n\n" + TAIL
    if not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
        DOCUMENT.write_text(text, encoding="utf-8")
    return None
