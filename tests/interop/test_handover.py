# SPDX-License-Identifier: MPL-2.0
"""A browser whose network goes away in mid-call: it goes over to its other one, and the call goes with it.

Two machines, as network namespaces, with two networks between them.
"""

import json
import os
import subprocess
import sys
import unittest

import foreign
import gst
import http_calls

PLAYS = "fakesink name=seen silent=false sync=false"


class Handover(http_calls.HttpTest):
    """Chromium, viewing or publishing, loses the network that its call uses."""

    limit = 90
    # A browser that gets no time for a while seems to have lost its network.
    alone = True

    def setUp(self):
        super().setUp()
        if foreign.left_out("chromium"):
            self.skipTest("RSWEBRTC_WITHOUT names it")
        names = [f"rswebrtc-{os.getpid()}-{end}" for end in ("server", "client")]
        for name in names:
            made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
            if made.returncode:
                self.skipTest(f"no network namespace can be made here: {made.stderr.strip()}")
            self.addCleanup(self.ip, "netns", "del", name)
            self.ip("-n", name, "link", "set", "lo", "up")
        self.server_side, self.client_side = names
        for number in (1, 2):
            self.ip("-n", names[0], "link", "add", f"s{number}", "type", "veth", "peer", "name", f"c{number}", "netns", names[1])
            for end, name in (("s", names[0]), ("c", names[1])):
                self.ip("-n", name, "address", "add", f"10.77.{number}.{1 if end == 's' else 2}/24", "dev", f"{end}{number}")
                self.ip("-n", name, "link", "set", f"{end}{number}", "up")

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    def serve(self, pipeline):
        argv = ["ip", "netns", "exec", self.server_side, "gst-launch-1.0", "-v", "-e", *pipeline.split()]
        process = self.process(argv, "server", env=gst.environment(), cwd=self.folder, stdin=subprocess.DEVNULL).go()
        return http_calls.Server(process)

    def browser(self, what, server):
        argv = ["ip", "netns", "exec", self.client_side, "node", gst.PEERS / "handover.mjs", what, server.url]
        driver = self.process(argv, "browser", env=gst.environment(), stdin=subprocess.DEVNULL).go()
        self.addCleanup(self.leave, driver)
        return driver

    @staticmethod
    def leave(driver):
        """The browser is in a process group of its own, and ends only if its driver is let do that."""
        driver.signal(gst.signal.SIGTERM)
        driver.wait(15)

    def frames(self, browser, more, seconds, after=0.0, local=r"10\.77\.\d\.2"):
        """The state once there were so many more frames, by this address."""
        at, line = browser.out.wait_for(rf'"frames".*"local":"{local}"', seconds, after)
        wanted = json.loads(line)["frames"] + more
        while json.loads(line)["frames"] < wanted:
            at, line = browser.out.wait_for(rf'"frames".*"local":"{local}"', seconds, at)
        return at, json.loads(line)

    def goes_over(self, what, server):
        browser = self.browser(what, server)
        at, state = self.frames(browser, 30, 30)
        network = state["local"].split(".")[2]
        self.ip("-n", self.client_side, "link", "set", f"c{network}", "down")
        other = {"1": "2", "2": "1"}[network]
        over, line = browser.out.wait_for(rf'"local":"10\.77\.{other}\.2"', 30, at)
        self.frames(browser, 60, 30, over, rf"10\.77\.{other}\.2")
        self.note(f"{over - at:.1f} s from one network to the other")
        self.assertIsNone(server.process.child.poll(), self.said())
        self.assertNotRegex(server.process.stderr(), r"peer \S+ (left|failed|lost)", self.said())

    def test_viewer(self):
        server = self.serve(f"rswebrtcsink name=s signaller=whep-server location=http://10.77.1.1:0/whep  {http_calls.picture('VP8')}")
        self.goes_over("view", server)

    def test_publisher(self):
        server = self.serve(f"rswebrtcsrc name=r signaller=whip-server location=http://10.77.1.1:0/whip  r.video_0 ! {PLAYS}")
        self.goes_over("publish", server)
        http_calls.wait_for_arrivals(server.process, 60, 20)


if __name__ == "__main__":
    sys.exit(unittest.main())
