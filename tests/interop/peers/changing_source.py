#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""A webrtcbin behind an input-selector: `changing_source.py FOLDER` offers one video and sends two cameras on it in turn, each with its
SSRC and size, and goes back to each. Their encoders make key frames only when asked."""

import os
import sys
import threading

from webrtcbin_peer import DIRECTIONS, Gst, Meeting, Peer

WIDTHS = (160, 320)
TURNS = 4
# Frames of each turn, 30 a second.
LENGTH = 60
LIMIT = 30


class Cameras(Peer):
    """One pad of webrtcbin, on which two cameras take turns."""

    def __init__(self):
        super().__init__({"streams": []})
        camera = ("videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width={width},height=120,framerate=30/1 ! "
                  "vp8enc deadline=1 keyframe-mode=disabled ! rtpvp8pay pt=96 ssrc={width} ! queue ! choice.")
        both = "  ".join(camera.format(width=width) for width in WIDTHS)
        caps = "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96"
        source = Gst.parse_bin_from_description(f"{both}  input-selector name=choice sync-streams=false ! capsfilter caps={caps}", True)
        self.choice, self.sent, self.over = source.get_by_name("choice"), 0, threading.Event()
        self.pipeline.add(source)
        pad = self.bin.request_pad_simple("sink_0")
        source.get_static_pad("src").link(pad)
        pad.get_property("transceiver").set_property("direction", DIRECTIONS["sendonly"])

    def take_turns(self, limit):
        """Until each camera had its turns; the probe is where a turn ends."""
        self.choice.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self._passed)
        if not self.over.wait(limit):
            raise TimeoutError(f"{self.sent} frames in {limit} s")

    def _passed(self, _, info):
        if info.get_buffer().has_flags(Gst.BufferFlags.MARKER):
            self.sent += 1
            turn, rest = divmod(self.sent, LENGTH)
            if rest == 0 and turn < TURNS:
                self.choice.set_property("active-pad", self.choice.sinkpads[turn % len(WIDTHS)])
            elif turn == TURNS:
                self.over.set()
        return Gst.PadProbeReturn.OK


def main():
    meeting, peer = Meeting(sys.argv[1]), Cameras()
    meeting.write("offer", peer.offer())
    peer._take("answer", meeting.wait("answer", LIMIT))
    peer.connected(LIMIT)
    peer.take_turns(LIMIT)
    meeting.bye()


if __name__ == "__main__":
    main()
    # webrtcbin's threads may outlive it.
    os._exit(0)
