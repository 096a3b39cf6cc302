# SPDX-License-Identifier: MPL-2.0
"""A call that is negotiated again while it lasts, with aiortc, which numbers its descriptions anew each time."""

import json
import re
import sys
import unittest

import gst


class WithAiortc(gst.ProcessTest):
    """A pad is added to rswebrtcsink and released again."""

    def test_a_stream_comes_and_goes_and_the_first_goes_on(self):
        sink = self.process(["/usr/bin/python3", "-B", gst.PEERS / "growing_sink.py"], "application", env=gst.environment())
        peer = self.process([sys.executable, "-B", gst.PEERS / "aiortc_again.py"], "aiortc", env=gst.environment())
        gst.Joint(sink, peer)
        self.assertEqual((sink.wait(40), peer.wait(20)), (0, 0), self.said())
        # The element writes to the same standard error, perhaps into the same line.
        negotiated = [json.loads(text) for text in re.findall(r'\["PCM[^]]*\]', sink.stderr())]
        self.assertEqual(negotiated, [["PCMU"], ["PCMU", "PCMA"], ["PCMU"]], self.said())
        result = json.loads(peer.stderr().splitlines()[-1])
        self.assertEqual(result["offers"], 3, self.said())
        first, second = result["frames"]
        self.assertGreaterEqual(second, 50, self.said())
        self.assertGreaterEqual(first, second, self.said())
        self.note(f"{first} and {second} frames of sound")


if __name__ == "__main__":
    sys.exit(unittest.main())
