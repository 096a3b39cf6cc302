# SPDX-License-Identifier: MPL-2.0
"""Calls over a link that loses or is narrow: pictures keep coming, whole. benches/network.sh measures the same at length."""

import pathlib
import sys
import unittest

import foreign
import gst

sys.path.append(str(gst.ROOT / "benches" / "network"))
import measure  # noqa: E402
import over_link  # noqa: E402

SECONDS = 6
LOSSY = "delay=25ms loss=5%"
# Limits for machines that do other things too; docs/network.md has what a quiet one reaches.
INTACT, FREEZE, REPAIRS = 0.8, 0.5, 2.0
# Of Firefox one sees only what it paints, and it paints no picture that the next one overtakes.
PAINTED = 0.6


class BadNetwork(gst.ProcessTest):
    """50 ms round trip; where nothing else is said, 5 % of all packets are lost both ways."""

    limit = 60
    # It counts pictures that come in time.
    alone = True

    def call(self, sender, receiver):
        for name in (sender, receiver):
            if foreign.left_out(name):
                self.skipTest("RSWEBRTC_WITHOUT names it")
        flow = over_link.Flow(sender, receiver, kbit=1500, most=1500, properties="max-bitrate=1500000")
        run = over_link.run(LOSSY, LOSSY, [flow], SECONDS, pathlib.Path(self.folder) / "call")
        frames = measure.Frames(run.flows[0], 0.025, 0.2).figures()
        repair = measure.repair(run.rows, run.flows[0])
        self.note(f"{frames['intact']:.1%} of {frames['frames']:.0f} pictures intact, longest gap {1000 * (frames['freeze'] or 0):.0f} ms, "
                  f"{repair['lost']} packets lost, {repair['repairs']} repairs")
        what = f"{frames}\n{repair}"
        # What loss can do is seen only if there was some.
        self.assertGreater(repair["lost"], 10, what)
        self.assertGreater(frames["frames"], SECONDS * 8, what)
        self.assertGreaterEqual(frames["intact"], PAINTED if receiver == "firefox" else INTACT, what)
        self.assertLess(frames["freeze"], FREEZE, what)
        # A browser also fills the packets by which it probes the bandwidth with repairs.
        if sender == "ours":
            self.assertLess(repair["repair"], REPAIRS, what)

    def test_ours_to_ours(self):
        self.call("ours", "ours")

    def test_ours_to_chromium(self):
        self.call("ours", "chromium")

    def test_chromium_to_ours(self):
        self.call("chromium", "ours")

    def test_ours_to_firefox(self):
        self.call("ours", "firefox")

    def test_an_encoder_follows_a_narrow_link(self):
        """From 2 Mbit/s on a link of 800 kbit/s: without adaptation half of all packets would find its queue full."""
        link = "rate=800k queue=300ms delay=25ms"
        flow = over_link.Flow("ours", "ours", kbit=2000, properties="start-bitrate=2000000")
        run = over_link.run(link, "delay=25ms", [flow], SECONDS + 2, pathlib.Path(self.folder) / "call")
        narrow = measure.Bottleneck(run.rows, link, SECONDS + 2)
        use, queued = narrow.use(4, SECONDS), narrow.queued(0.5, 4, SECONDS)
        bitrates = [kbit for _, kbit in run.flows[0]["send"]["bitrate"]]
        self.note(f"{use:.0%} of the link used, queue {1000 * queued:.0f} ms, x264enc from {bitrates[0]:.0f} to {min(bitrates):.0f} kbit/s")
        self.assertLess(min(bitrates), 800)
        # 71 to 83 % were seen on a busy machine.
        self.assertGreater(use, 0.5)
        self.assertLess(queued, 0.2)


if __name__ == "__main__":
    sys.exit(unittest.main())
