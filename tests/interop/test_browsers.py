# SPDX-License-Identifier: MPL-2.0
"""The browsers with themselves: the measuring device, measured, and the proof of what one of them cannot do."""

import sys
import unittest

import calls
import foreign


class WithItself(calls.ForeignCall):
    """No part of ours takes part: what is missing here is missing everywhere."""

    def call(self, name, codec):
        if foreign.left_out(name):
            self.skipTest("RSWEBRTC_WITHOUT names it")
        kind = calls.kind_of(codec)
        sending, receiving = ({"role": role, "streams": foreign.streams((kind, direction, codec))}
                              for role, direction in (("offer", "sendonly"), ("answer", "recvonly")))
        ends = foreign.loopback(name, sending, receiving)
        (sent,), (received,) = ends["one"]["streams"], ends["other"]["streams"]
        self.assertIn("connected", ends["other"]["states"])
        return sent["sent"], received

    def whole(self, name, codec):
        sent, received = self.call(name, codec)
        # On a busy machine a browser's encoder leaves a picture out.
        self.assertGreaterEqual(sent["framesSent"], 0.9 * calls.FRAMES, sent)
        self.check_received(name, codec, received, sent["framesSent"])

    def test_chromium(self):
        self.whole("chromium", "VP8")

    def test_firefox(self):
        self.whole("firefox", "VP8")

    def test_firefox_agrees_to_h264_and_sends_none(self):
        """Why test_matrix.py leaves H264 of Firefox out. Once this fails, it must not."""
        sent, received = self.call("firefox", "H264")
        self.assertEqual(sent["drawn"], calls.FRAMES)
        self.assertEqual(received["direction"], "recvonly")
        self.assertEqual((sent["packetsSent"], sent["framesSent"]), (0, 0), sent)


if __name__ == "__main__":
    sys.exit(unittest.main())
