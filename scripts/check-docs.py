#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Checks that README.md, the plugin (as gst-inspect-1.0 shows it) and the names that users rely on agree.

    check-docs.py [libgstwebrtcrs.so]  by default the newest of target/release and target/debug
    check-docs.py --self-test          shows that a difference is found

In README.md, each element has a heading that ends in its name and below it a table
`| property | type | default | … |`. Types are written as in TYPES below; a default is in backquotes, or – for none.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]

HTTP = {"auth-token", "tls-ca", "tls-cert", "tls-key", "max-peers", "timeout", "reconnect", "max-reconnects"}
BOTH = {"signaller", "location", "role", "stun-server", "turn-servers", "ice-addresses", "stats", "stats-interval"} | HTTP

# What pipelines rely on; more is welcome.
CONTRACT = {
    "rswebrtcsink": {
        "klass": "Sink/Network/WebRTC",
        "properties": BOTH | {"sync", "gop-cache", "min-force-key-unit-interval", "congestion-control", "min-bitrate", "start-bitrate",
                              "max-bitrate", "estimated-bitrate", "bitrate-policy", "bitrate-element", "bitrate-property"},
        "defaults": {"max-peers": "256", "gop-cache": "auto", "min-force-key-unit-interval": "500", "sync": "true", "congestion-control": "gcc",
                     "bitrate-policy": "min"},
        "signallers": {"stdio", "file", "application", "whip-client", "whep-server"},
        "signals": {"peer-added", "peer-removed", "on-signalling-message"},
        "uris": {"whip", "whips"},
        "pads": {"SINK template: 'video_%u'", "SINK template: 'audio_%u'"},
        "caps": {"video/x-vp8", "video/x-h264", "video/x-vp9", "video/x-h265", "video/x-av1", "audio/x-opus", "audio/x-mulaw",
                 "audio/x-alaw", "application/x-rtp"},
    },
    "rswebrtcsrc": {
        "klass": "Source/Network/WebRTC",
        "properties": BOTH | {"latency", "audio-latency", "video-latency", "latency-mode", "broken-frames"},
        "defaults": {"max-peers": "1", "latency": "200", "audio-latency": "-1", "video-latency": "-1", "latency-mode": "fixed", "broken-frames": "drop"},
        "signallers": {"stdio", "file", "application", "whep-client", "whip-server"},
        "signals": {"peer-added", "peer-removed", "on-signalling-message"},
        "uris": {"whep", "wheps"},
        "pads": {"SRC template: 'video_%u'", "SRC template: 'audio_%u'"},
        "caps": {"video/x-vp8", "video/x-h264", "video/x-vp9", "video/x-h265", "video/x-av1", "audio/x-opus", "audio/x-mulaw",
                 "audio/x-alaw", "application/x-rtp"},
    },
}
DEFAULTS = {"stats-interval": "1000", "signaller": "stdio", "role": "auto", "reconnect": "true", "max-reconnects": "-1", "timeout": "10000"}

# Those of GObject, GstObject, GstElement and GstBin are not ours to describe.
INHERITED = {"name", "parent", "async-handling", "message-forward"}

# How gst-inspect-1.0 shows what else is in the contract.
NAMED = {
    "signallers": r"^ +\(\d+\): {} +-",
    "signals": r'^  "{}" :',
    "uris": r"^    {}$",
}

# README's word: what gst-inspect-1.0 says.
TYPES = {
    "boolean": r"Boolean",
    "string": r"String",
    "enum": r"Enum ",
    "flags": r"Flags ",
    "integer": r"(Unsigned )?Integer(64)?\b",
    "number": r"(Float|Double)\b",
    "array of string": r"(GstValueArray|Boxed pointer of type \"GStrv\"|.*GstValueArray)",
    "structure": r"Boxed pointer of type \"GstStructure\"",
    "object": r"Object of type",
}
NONE = {"", "–", "-"}


def inspect(library, element, registry):
    """What gst-inspect-1.0 says about an element of this very file."""
    env = {**os.environ, "GST_PLUGIN_PATH": str(library.parent), "GST_REGISTRY": registry, "LC_ALL": "C.UTF-8", "GST_DEBUG_NO_COLOR": "1"}
    done = subprocess.run(["gst-inspect-1.0", "--no-colors", element], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"check-docs: gst-inspect-1.0 finds no {element} in {library}\n{done.stdout}{done.stderr}")
    shown = re.search(r"^\s*Filename\s+(.+)$", done.stdout, re.M)
    if shown and pathlib.Path(shown[1]).resolve() != library.resolve():
        sys.exit(f"check-docs: {element} came from {shown[1]}, not from {library}")
    return done.stdout


def properties(text):
    """name → (type as gst-inspect has it, default, flags) of the element's own properties."""
    section = re.search(r"^Element Properties:\s*\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    found = {}
    if not section:
        return found
    # A property starts at two blanks, what belongs to it is indented further.
    for name, body in re.findall(r"^  ([a-z][\w-]*) *: (.*?)(?=^  [a-z][\w-]* *: |\Z)", section[1], re.M | re.S):
        if name in INHERITED:
            continue
        lines = [line.strip() for line in body.splitlines()]
        flags = next((line.partition(":")[2].strip() for line in lines if line.startswith("flags:")), "")
        kind = next((line for line in lines[1:] if line and not line.startswith(("flags:", "Default:"))), "")
        quoted = re.search(r'Default: (?:-?\d+, )?"([^"]*)"', kind)
        plain = re.search(r"Default: *(\S*)", kind)
        default = quoted[1] if quoted else plain[1] if plain else ""
        found[name] = (kind, "" if default in ("null", "NULL", "(null)") else default, flags)
    return found


def tables(readme):
    """element → {property: (type, default)} of README's tables."""
    found, element, inside = {}, None, False
    for line in readme.splitlines():
        if line.startswith("#"):
            words = line.replace("`", "").split()
            element, inside = (words[-1] if words[-1] in CONTRACT else None), False
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if element and cells[:3] == ["property", "type", "default"]:
            inside = True
            found[element] = {}
        elif not cells:
            inside = False
        elif inside and not set("".join(cells)) <= set("-: "):
            found[element][cells[0].strip("`")] = (cells[1], cells[2].strip("`"))
    return found


def compare(element, text, table):
    """Sentences about every difference."""
    contract = CONTRACT[element]
    real = properties(text)
    for what in ("pads", "caps"):
        for name in sorted(contract[what]):
            if name not in text:
                yield f"{element} has no {name}"
    if not re.search(rf"^\s*Klass\s+{re.escape(contract['klass'])}\s*$", text, re.M):
        yield f"{element} is not of klass {contract['klass']}"
    for name in sorted(contract["properties"] - set(real)):
        yield f"{element} has no property {name}"
    for what, pattern in NAMED.items():
        for name in sorted(contract[what]):
            if not re.search(pattern.format(re.escape(name)), text, re.M):
                yield f"{element} has no {name} among its {what}"
    for name, default in (DEFAULTS | contract["defaults"]).items():
        if name in real and real[name][1] != default:
            yield f"{element}: {name} is {real[name][1] or 'nothing'} by default, and users rely on {default}"
    if table is None:
        yield f"README.md has no table of properties under a heading that ends in {element}"
        return
    for name in sorted(set(real) - set(table)):
        yield f"{element}: README.md does not list {name}"
    for name in sorted(set(table) - set(real)):
        yield f"{element}: README.md lists {name}, which the element does not have"
    for name in sorted(set(table) & set(real)):
        (word, default), (kind, real_default, _) = table[name], real[name]
        word = word.partition(",")[0].strip()
        if word not in TYPES:
            yield f"{element}: README.md says {name} is of type '{word}'; the words are {', '.join(TYPES)}"
        elif not re.match(TYPES[word], kind):
            yield f"{element}: README.md says {name} is of type {word}; it is {kind}"
        if word not in ("structure", "array of string", "object") and (default if default not in NONE else "") != real_default:
            yield f"{element}: README.md says {name} is {default} by default; it is {real_default or 'nothing'}"


def newest_library():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    found = [path for path in (target / profile / "libgstwebrtcrs.so" for profile in ("release", "debug")) if path.exists()]
    if not found:
        sys.exit(f"check-docs: no libgstwebrtcrs.so in {target}: build first")
    return max(found, key=lambda path: path.stat().st_mtime)


INSPECTED = '''Factory Details:
  Klass                    Source/Network/WebRTC

Pad Templates:
  SRC template: 'audio_%u'
    Capabilities: audio/x-opus audio/x-mulaw audio/x-alaw application/x-rtp
  SRC template: 'video_%u'
    Capabilities: video/x-vp8 video/x-h264 video/x-vp9 video/x-h265 video/x-av1

URI handling capabilities:
  Element can act as source.
  Supported URI protocols:
    whep
    wheps

Element Properties:

  async-handling      : The bin will handle Asynchronous state changes
                        flags: readable, writable
                        Boolean. Default: false

  auth-token          : Token
                        flags: readable, writable
                        String. Default: null

  ice-addresses       : Addresses: which
                        flags: readable, writable
                        String. Default: null

  audio-latency       : Of sound
                        flags: readable, writable
                        Integer. Range: -1 - 60000 Default: -1

  broken-frames       : Broken frames
                        flags: readable, writable
                        Enum "GstRsWebRtcBrokenFrames" Default: 0, "drop"
                           (0): drop             - Dropped
                           (1): pass             - Passed on

  fec                 : Correction
                        flags: readable, writable
                        Enum "GstRsWebRtcFec" Default: 0, "none"
                           (0): none             - None

  latency             : Jitter buffer (ms)
                        flags: readable, writable, changeable in NULL, READY, PAUSED or PLAYING state
                        Unsigned Integer. Range: 0 - 4294967295 Default: 200

  latency-mode        : Latency mode
                        flags: readable, writable
                        Enum "GstRsWebRtcLatencyMode" Default: 0, "fixed"
                           (0): fixed            - As set

  video-latency       : Of pictures
                        flags: readable, writable
                        Integer. Range: -1 - 60000 Default: -1

  stats-interval      : Of the message
                        flags: readable, writable
                        Unsigned Integer. Range: 0 - 3600000 Default: 1000

  location            : Directory
                        flags: readable, writable
                        String. Default: null

  max-peers           : Peers
                        flags: readable, writable
                        Unsigned Integer. Range: 1 - 10000 Default: 1

  max-reconnects      : Tries
                        flags: readable, writable
                        Integer. Range: -1 - 2147483647 Default: -1

  reconnect           : Make it again
                        flags: readable, writable
                        Boolean. Default: true

  role                : Role
                        flags: readable, writable
                        Enum "GstRsWebRtcRole" Default: 0, "auto"
                           (0): auto             - As the signaller has it
                           (1): offer            - Offer

  signaller           : Signaller
                        flags: readable, writable
                        Enum "GstRsWebRtcSignaller" Default: 0, "stdio"
                           (0): stdio            - Copy and paste
                           (1): file             - Files
                           (2): whep-client      - Views
                           (3): whip-server      - Is published to
                           (4): application      - By the application

  stats               : Statistics
                        flags: readable
                        Boxed pointer of type "GstStructure"

  stun-server         : One server
                        flags: readable, writable
                        String. Default: null

  timeout             : Of a request
                        flags: readable, writable
                        Unsigned Integer. Range: 100 - 600000 Default: 10000

  tls-ca              : Authorities
                        flags: readable, writable
                        String. Default: null

  tls-cert            : Certificate
                        flags: readable, writable
                        String. Default: null

  tls-key             : Key
                        flags: readable, writable
                        String. Default: null

  turn-servers        : Servers
                        flags: readable, writable
                        Default: "<  >"
                        GstValueArray of GValues of type "gchararray"

Element Signals:
  "peer-added" :  void user_function (GstElement* object, gchararray arg0)
  "peer-removed" :  void user_function (GstElement* object, gchararray arg0)
  "on-signalling-message" :  void user_function (GstElement* object, gchararray arg0)
'''
DESCRIBED = '''
### Properties of `rswebrtcsrc`

| property | type | default | meaning |
|---|---|---|---|
| `audio-latency` | integer, ms | `-1` | q |
| `auth-token` | string | – | i |
| `broken-frames` | enum | `drop` | r |
| `fec` | enum | `none` | s |
| `ice-addresses` | string | – | a |
| `latency` | integer, ms | `200` | b |
| `latency-mode` | enum | `fixed` | t |
| `stats-interval` | integer, ms | `1000` | u |
| `video-latency` | integer, ms | `-1` | v |
| `location` | string | – | c |
| `max-peers` | integer | `1` | j |
| `max-reconnects` | integer | `-1` | k |
| `reconnect` | boolean | `true` | l |
| `role` | enum | `auto` | `auto`, `offer` |
| `signaller` | enum | `stdio` | d |
| `stats` | structure | read-only | e |
| `stun-server` | string | – | f |
| `timeout` | integer, ms | `10000` | m |
| `tls-ca` | string | – | n |
| `tls-cert` | string | – | o |
| `tls-key` | string | – | p |
| `turn-servers` | array of string | – | g |
'''


def self_test():
    """Agreement is silent, and each change of one side is found."""
    changes = [
        (lambda inspected, described: (inspected, described), None),
        (lambda inspected, described: (inspected.replace("Default: 200", "Default: 100"), described), "users rely on 200"),
        (lambda inspected, described: (inspected, described.replace("`200`", "`50`")), "latency is 50 by default"),
        (lambda inspected, described: (inspected, described.replace("| `location` | string", "| `location` | boolean")), "it is String"),
        (lambda inspected, described: (inspected, described.replace("| `role` | enum | `auto` | `auto`, `offer` |\n", "")), "does not list role"),
        (lambda inspected, described: (inspected, described + "| `bitrate` | integer | `1` | h |\n"), "lists bitrate"),
        (lambda inspected, described: (inspected.replace("video_%u", "src_%u"), described), "has no SRC template: 'video_%u'"),
        (lambda inspected, described: (inspected.replace("Source/Net", "Src/Net"), described), "klass"),
        (lambda inspected, described: (inspected.replace("  stun-server  ", "  stun  "), described), "has no property stun-server"),
        (lambda inspected, described: (inspected.replace("(3): whip-server", "(3): whip"), described), "no whip-server among its signallers"),
        (lambda inspected, described: (inspected.replace('"peer-added"', '"peer"'), described), "no peer-added among its signals"),
        (lambda inspected, described: (inspected.replace("    wheps\n", ""), described), "no wheps among its uris"),
        (lambda inspected, described: (inspected, "nothing"), "no table"),
    ]
    failures = []
    for change, expected in changes:
        inspected, described = change(INSPECTED, DESCRIBED)
        found = list(compare("rswebrtcsrc", inspected, tables(described).get("rswebrtcsrc")))
        if bool(found) != bool(expected) or expected and not any(expected in text for text in found):
            failures.append(f"expected {expected!r}, got {found}")
    for failure in failures:
        print(f"check-docs: self-test: {failure}")
    print(f"check-docs: self-test: {len(changes) - len(failures)} of {len(changes)} pass")
    return bool(failures)


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    library = pathlib.Path(sys.argv[1]) if sys.argv[1:] else newest_library()
    described = tables((ROOT / "README.md").read_text(encoding="utf-8"))
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        for element in CONTRACT:
            text = inspect(library.resolve(), element, os.path.join(folder, "registry.bin"))
            errors += compare(element, text, described.get(element))
    for error in errors:
        print(f"error: {error}")
    print(f"check-docs: {library}: {len(errors)} errors")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
