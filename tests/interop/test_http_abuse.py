# SPDX-License-Identifier: MPL-2.0
"""Whatever comes over HTTP, the server answers with the right status or hangs up, and a viewer's pictures go on."""

import json
import signal
import sys
import unittest

import gst
import http_calls

# Between two pictures of the undisturbed viewer, who has a jitter buffer of 200 ms.
LONGEST_GAP = 0.4

# What may come for each kind: statuses, `closed` where the server hangs up without a word.
EXPECTED = {
    "malformed bodies": {"400"},
    "wrong types": {"415", "400"},
    "wrong methods": {"405"},
    "wrong paths": {"404", "405"},
    "no HTTP": {"400", "closed"},
    "oversized heads": {"431"},
    "oversized bodies": {"413"},
    "slow heads": {"408", "closed"},
    "slow bodies": {"408", "closed"},
    "silent connections": {"408", "closed"},
    "many pages": {"200"},
    "many refusals": {"400"},
}


class Abuse(http_calls.HttpTest):
    """One server, one viewer and one who means no good."""

    limit = 120
    # It measures the gap between two pictures.
    alone = True

    def test_viewer_is_not_disturbed(self):
        server = self.whep_server(http_calls.picture("VP8"), more=gst.LOCAL)
        viewer = self.viewer(server.url, "r.video_0 ! fakesink name=seen silent=false sync=false", flags="-v")
        http_calls.wait_for_arrivals(viewer, 30, 20)
        calm = len(http_calls.arrivals(viewer))
        host, port = server.address
        abuser = self.process([sys.executable, "-B", gst.PEERS / "http_abuse.py", host, port, "/whep"], "abuser", stdin=gst.subprocess.DEVNULL).go()
        self.expect_exit(abuser, 0, 100)
        arrived = http_calls.arrivals(viewer)[calm:]
        gap = http_calls.longest_gap(arrived)
        pace = len(arrived) / (arrived[-1] - arrived[0])
        self.note(f"{len(arrived)} pictures in {arrived[-1] - arrived[0]:.1f} s, {gap * 1000:.0f} ms at most between two")
        told = {line["kind"]: line for line in map(json.loads, abuser.out.text().splitlines())}
        self.assertEqual(set(told), set(EXPECTED))
        for kind, allowed in EXPECTED.items():
            with self.subTest(kind):
                self.assertLessEqual(set(told[kind]["statuses"]), allowed, told[kind])
        self.assertIsNone(server.process.child.poll(), self.said())
        self.assertLess(gap, LONGEST_GAP)
        self.assertGreater(pace, 0.95 * http_calls.FPS)
        # It still does what it is there for.
        self.assertEqual(http_calls.request(server.address, "GET", "/")[0], 200)
        second = self.viewer(server.url, "r.video_0 ! fakesink name=seen silent=false sync=false", flags="-v", name="second viewer")
        http_calls.wait_for_arrivals(second, 10, 10)
        for end in (viewer, second, server.process):
            end.signal(signal.SIGINT)
        self.expect_exit(server.process, 0, 10)


if __name__ == "__main__":
    sys.exit(unittest.main())
