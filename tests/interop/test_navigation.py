# SPDX-License-Identifier: MPL-2.0
"""Viewers who steer: mouse and keyboard of somebody before the player page come out upstream of the sink, if both sides allow it."""

import json
import sys
import unittest

import gst
import http_calls
import test_pages
import test_signals

TOKEN = test_pages.TOKEN
STEERED = f"enable-data-channel-navigation=true auth-token={TOKEN}"


class Steering(test_signals.Application):
    """peers/watching_server.py with pictures of 640x360, and a browser in a window of another shape."""

    browser = True
    limit = 75

    def serve(self, more):
        self.secrets.append(TOKEN)
        line = f"rswebrtcsink name=s signaller=whep-server location=http://127.0.0.1:0/whep {more}  {http_calls.picture('VP8')}"
        application = self.application(*line.split())
        _, url = self.told(application, "listening")
        return application, url.rsplit("/", 1)[0] + "/"

    def events(self, application):
        """What came upstream so far."""
        lines = application.out.text().splitlines()
        return [json.loads(line)["navigation"] for line in lines if line.startswith('{"navigation"')]

    def steers(self, browser):
        application, page = self.serve(STEERED)
        # 1000x800: the picture is 1.5625 times as large, with 118.75 pixels of black above it.
        person = self.person(browser, page, token=TOKEN, size="1000x800", expect="live", steer="250,200", seconds=1)
        result = person.result()
        self.check_visit(result)
        self.assertTrue(result["steers"], self.said())
        # The person left with a key held down.
        application.out.wait_for(r'"key-release".*"x"', 10)
        events = self.events(application)
        what = f"{events}\n{self.said()}"
        for event in events:
            if "pointer_x" in event and event["event"] != "mouse-move":
                self.assertAlmostEqual(event["pointer_x"], 160, delta=1, msg=what)
                self.assertAlmostEqual(event["pointer_y"], 52, delta=1, msg=what)
        last_move = [event for event in events if event["event"] == "mouse-move"][-1]
        self.assertAlmostEqual(last_move["pointer_x"], 160, delta=1, msg=what)
        buttons = [(event["event"], event["button"]) for event in events if "button" in event]
        self.assertEqual(buttons, [(f"mouse-button-{way}", button) for button in (1, 3) for way in ("press", "release")], what)
        scrolled = sum(event["delta_pointer_y"] for event in events if event["event"] == "mouse-scroll")
        self.assertAlmostEqual(scrolled, -120, delta=1, msg=what)
        keys = [(event["event"], event["key"]) for event in events if "key" in event]
        self.assertEqual(keys, [("key-press", "Return"), ("key-release", "Return"), ("key-press", "Shift_L"), ("key-press", "A"),
                                ("key-release", "A"), ("key-release", "Shift_L"), ("key-press", "x"), ("key-release", "x")], what)

    def test_chromium(self):
        self.steers("chromium")

    def test_firefox(self):
        self.steers("firefox")

    def test_chromium_without_the_property(self):
        """Neither the page nor one who does without it."""
        application, page = self.serve(f"auth-token={TOKEN}")
        result = self.person("chromium", page, token=TOKEN, expect="live", steer="250,200", intrude=True, seconds=1).result()
        self.check_visit(result)
        self.assertFalse(result["steers"], self.said())
        application.err.wait_for("opened a data channel 'input'; what comes on it is dropped", 10)
        self.assertEqual(self.events(application), [], self.said())

    def test_the_property_needs_a_token(self):
        line = "videotestsrc ! vp8enc ! rswebrtcsink signaller=whep-server location=http://127.0.0.1:0/whep enable-data-channel-navigation=true"
        self.expect_error(self.gst(line, "server").go(), "auth-token")


if __name__ == "__main__":
    sys.exit(unittest.main())
