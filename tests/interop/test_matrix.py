# SPDX-License-Identifier: MPL-2.0
"""Every peer, codec, role and direction: one call for each. `runner.py --write-docs` makes docs/interop.md of them."""

import sys
import unittest

import calls
import foreign

CODECS = {
    "aiortc": ("VP8", "H264", "OPUS", "PCMU", "PCMA", "G722"),
    "webrtcbin": ("VP8", "VP9", "H264", "H265", "OPUS"),
    "chromium": ("VP8", "VP9", "H264", "AV1", "OPUS"),
    "firefox": ("VP8", "VP9", "H264", "AV1", "OPUS"),
}
# What a stack itself cannot do: (peer, codec, its direction) -> why. test_browsers.py proves it with the stack alone.
CANNOT = {
    ("firefox", "H264", "sendonly"): "Firefox has no H264 encoder unless it downloads one: it agrees to H264 and sends nothing, to itself too",
}
# What webrtcbin, which has no list of its own, offers to receive.
OFFERED = {"video": ["VP8", "H264", "VP9", "H265"], "audio": ["OPUS", "PCMU", "PCMA"]}


def wish(name, codec):
    """A stream in which a peer offers to receive: all that it can, so that we choose."""
    kind = calls.kind_of(codec)
    stream = {"kind": kind, "direction": "recvonly"}
    return {**stream, "codecs": OFFERED[kind]} if name == "webrtcbin" else stream


class Matrix(calls.ForeignCall):
    """rswebrtcsink to the peer, the peer to rswebrtcsrc."""

    def we_send(self, name, codec, we_offer):
        kind = calls.kind_of(codec)
        peer = self.peer(name, "answer" if we_offer else "offer", (kind, "recvonly", None) if we_offer else wish(name, codec))
        sink = self.sink("offer" if we_offer else "answer", codec)
        (line,) = self.outcome(sink, peer)
        self.check_received(name, codec, line)

    def we_receive(self, name, codec, we_offer):
        kind = calls.kind_of(codec)
        peer = self.peer(name, "answer" if we_offer else "offer", (kind, "sendonly", codec))
        other = "audio" if kind == "video" else "video"
        src, files = self.src("offer" if we_offer else "answer", f"{kind}_0", more=f"{kind}-codecs={codec} {other}-codecs='\"\"'")
        (line,) = self.outcome(src, peer)
        self.check_recording(codec, files[f"{kind}_0"], line)


def add(name, codec, we_send, we_offer):
    """One test; its `row` is what the table in docs/interop.md says of it."""
    def test(self):
        (self.we_send if we_send else self.we_receive)(name, codec, we_offer)
    reason = CANNOT.get((name, codec, "recvonly" if we_send else "sendonly"))
    if reason:
        test = unittest.skip(reason)(test)
    test.row = (name, codec, "send" if we_send else "receive", "offer" if we_offer else "answer")
    test.__name__ = f"test_{name}_{codec.lower()}_we_{test.row[3]}_and_{test.row[2]}"
    setattr(Matrix, test.__name__, test)


for _name in foreign.ALL:
    for _codec in CODECS[_name]:
        for _send in (True, False):
            for _offer in (True, False):
                add(_name, _codec, _send, _offer)


if __name__ == "__main__":
    sys.exit(unittest.main())
