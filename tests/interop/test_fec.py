# SPDX-License-Identifier: MPL-2.0
"""Forward error correction, where retransmissions come too late: 300 ms round trip, and receivers that wait 200 ms."""

import pathlib
import re
import sys
import unittest

import foreign
import gst

sys.path.append(str(gst.ROOT / "benches" / "network"))
import measure  # noqa: E402
import over_link  # noqa: E402

SECONDS = 8
WAY, LATENCY = 0.15, 0.2
# Fine until both ends are up. Half of the pictures come too late over it when there is no FEC.
LOSSY = f"delay={int(WAY * 1000)}ms; 4s: delay={int(WAY * 1000)}ms loss=5%"
# Limits for machines that do other things too.
IN_TIME = 0.8


def counter(end, name):
    """The last value of a counter of ours."""
    values = [re.findall(name + r"=\(guint64\)(\d+)", text.replace("\\", "")) for _, text in end["stats"] if text]
    return max((int(value) for found in values for value in found), default=0)


class Fec(gst.ProcessTest):
    limit = 90
    # It counts pictures that come in time.
    alone = True

    def call(self, sender, receiver, codec, properties):
        for name in (sender, receiver):
            if foreign.left_out(name):
                self.skipTest("RSWEBRTC_WITHOUT names it")
        flow = over_link.Flow(sender, receiver, kbit=1000, most=3000, latency=int(LATENCY * 1000), encoder=codec, properties=properties)
        run = over_link.run(LOSSY, LOSSY, [flow], SECONDS, pathlib.Path(self.folder) / "call")
        flow = run.flows[0]
        frames = measure.Frames(flow, WAY, LATENCY).figures()
        lost = measure.repair(run.rows, flow)["lost"]
        self.note(f"{frames['in time']:.1%} of {frames['frames']:.0f} pictures in time, {lost} packets lost")
        self.assertGreater(lost, 10)
        self.assertGreater(frames["frames"], SECONDS * 8)
        return flow, frames

    def ours_to_ours(self, codec, scheme, in_time=IN_TIME):
        flow, frames = self.call("ours", "ours", codec, f"fec={scheme} fec-percentage=50")
        self.assertGreater(counter(flow["send"], "fec-packets-sent"), 100)
        self.assertGreater(counter(flow["receive"], "fec-packets-recovered"), 10)
        self.assertGreater(frames["in time"], in_time, frames)

    def test_ulpfec(self):
        self.ours_to_ours("VP8", "ulpfec")

    def test_flexfec(self):
        # Some 80 %: what one loss leaves unmended makes five pictures late.
        self.ours_to_ours("H264", "flexfec", 0.65)

    def test_automatic(self):
        flow, frames = self.call("ours", "ours", "VP8", "fec=flexfec")
        self.assertGreater(counter(flow["receive"], "fec-packets-recovered"), 0)

    def test_ulpfec_to_chromium(self):
        """It does not count ULPFEC in its statistics: what is shown in time tells."""
        flow, frames = self.call("ours", "chromium", "VP8", "fec=ulpfec fec-percentage=50")
        self.assertIn("ulpfec", flow["sdp"]["answer"])
        self.assertGreater(frames["in time"], IN_TIME, frames)
        self.assertEqual(frames["broken"], 0, frames)

    def test_chromium_to_ours(self):
        """It protects VP8 once it sees that much is lost and that answers take long."""
        flow, frames = self.call("chromium", "ours", "VP8", "fec=ulpfec")
        self.assertIn("ulpfec", flow["sdp"]["answer"])
        self.assertGreater(counter(flow["receive"], "fec-packets-received"), 20)
        self.assertGreater(counter(flow["receive"], "fec-packets-recovered"), 5)


if __name__ == "__main__":
    sys.exit(unittest.main())
