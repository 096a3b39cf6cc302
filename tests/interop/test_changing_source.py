# SPDX-License-Identifier: MPL-2.0
"""A remote that changes between sources on one m-line, and goes back to the first."""

import os
import re
import sys
import unittest

import foreign
import gst


class WithWebrtcbin(gst.ProcessTest):
    """webrtcbin behind an input-selector: another SSRC with each turn, and key frames only when asked."""

    def test_both_cameras_are_seen_whenever_it_is_their_turn(self):
        meeting = self.folder / "meeting"
        receiver = self.gst(
            f"rswebrtcsrc signaller=file location={meeting} role=answer ice-addresses=127.0.0.1 ! vp8dec name=seen ! fakesink name=out silent=false",
            "receiver", flags="-v").go()
        peer = self.process([foreign.SYSTEM_PYTHON, "-B", gst.PEERS / "changing_source.py", meeting], "webrtcbin", env={**os.environ}).go()
        self.expect_exit(peer, 0, 60)
        self.expect_exit(receiver, 0, 20)
        turns = []
        for line in receiver.out.text().splitlines():
            if found := re.search(r"seen\.GstPad:src: caps = .*width=\(int\)(\d+)", line):
                turns.append([int(found[1]), 0])
            elif turns and "out" in line and "last-message = chain" in line:
                turns[-1][1] += 1
        self.note(f"{turns}")
        self.assertEqual([width for width, _ in turns], [160, 320, 160, 320], self.said())
        # Of 60; a source that comes back is known after 0.3 s, and then the key frame that is asked for has to come.
        self.assertGreater(min(frames for _, frames in turns), 25, self.said())


if __name__ == "__main__":
    sys.exit(unittest.main())
