# SPDX-License-Identifier: MPL-2.0
"""Two pictures of different codecs and two sounds in one call, with webrtcbin and Chromium, both roles, both directions."""

import sys
import unittest

import calls

VIDEO = ("VP8", "H264")
AUDIO = ("OPUS", "OPUS")
PADS = ("video_0", "video_1", "audio_0", "audio_1")
OFFERED = {"video": ["VP8", "H264"], "audio": ["OPUS"]}


def of_kind(lines, kind):
    """The m-lines of one kind, in their order."""
    return [line for line in lines if line["kind"] == kind]


class ManyStreams(calls.ForeignCall):
    """Each m-line has its own codec and its own numbers, and all of them arrive."""

    limit = 60

    def we_send(self, name, we_offer):
        if name == "webrtcbin" and not we_offer:
            wishes = [{"kind": kind, "direction": "recvonly", "codecs": OFFERED[kind]} for kind in ("video", "video", "audio", "audio")]
        else:
            wishes = [(kind, "recvonly", None) for kind in ("video", "video", "audio", "audio")]
        peer = self.peer(name, "answer" if we_offer else "offer", *wishes)
        sink = self.sink("offer" if we_offer else "answer", *VIDEO, *AUDIO)
        lines = self.outcome(sink, peer)
        video, audio = of_kind(lines, "video"), of_kind(lines, "audio")
        self.assertEqual((len(video), len(audio)), (2, 2), f"{lines}\n{self.said()}")
        for line, codec in zip(video + audio, VIDEO + AUDIO):
            self.check_received(name, codec, line)

    def we_receive(self, name, we_offer):
        peer = self.peer(name, "answer" if we_offer else "offer",
                         *[("video", "sendonly", codec) for codec in VIDEO], *[("audio", "sendonly", codec) for codec in AUDIO])
        src, files = self.src("offer" if we_offer else "answer", *PADS, more="video-streams=2 audio-streams=2" if we_offer else "")
        lines = self.outcome(src, peer)
        for line, codec, pad in zip(of_kind(lines, "video") + of_kind(lines, "audio"), VIDEO + AUDIO, PADS, strict=True):
            self.check_recording(codec, files[pad], line)


def add(name, we_send, we_offer):
    """One test; its `row` is what the table in docs/interop.md says of it."""
    def test(self):
        (self.we_send if we_send else self.we_receive)(name, we_offer)
    test.row = (name, "VP8 + H264 + 2 Opus", "send" if we_send else "receive", "offer" if we_offer else "answer")
    test.__name__ = f"test_{name}_we_{test.row[3]}_and_{test.row[2]}"
    setattr(ManyStreams, test.__name__, test)


for _name in ("webrtcbin", "chromium"):
    for _send in (True, False):
        for _offer in (True, False):
            add(_name, _send, _offer)


if __name__ == "__main__":
    sys.exit(unittest.main())
