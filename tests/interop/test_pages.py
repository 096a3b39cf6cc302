# SPDX-License-Identifier: MPL-2.0
"""The player page in Chromium and Firefox, used as a person does: what is seen and heard, and what is said when it goes wrong."""

import signal
import sys
import unittest

import gst
import http_calls

TOKEN = "correct-horse~battery+staple"
# The screenshots of the last run stay, for people to look at.
PICTURES = gst.ROOT / "target" / "interop" / "pages"


class PageTest(http_calls.HttpTest):
    """A server with a page before which somebody sits."""

    limit = 75
    browser = True

    def visit(self, browser, server, **options):
        """Somebody opens the server's page; a screenshot is kept."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        return self.person(browser, server.page, screenshot=PICTURES / f"{type(self).__name__.lower()}-{self._testMethodName[5:]}.png", **options)

    def secure(self):
        """Properties of a server with TLS and a token, and what a person needs for it."""
        self.secrets.append(TOKEN)
        certificate, key = http_calls.certificate(self.folder)
        return {"more": f"tls-cert={certificate} tls-key={key} auth-token={TOKEN}", "location": "https://127.0.0.1:0/whep"}


class Player(PageTest):
    """What a viewer sees and hears."""

    # It measures how evenly pictures come, and sound with them.
    alone = True

    def plays(self, browser, codec, secure=False):
        server = self.whep_server(http_calls.picture(codec), http_calls.sound(), **(self.secure() if secure else {}))
        options = {"token": TOKEN, "ignore_certificate_errors": True} if secure else {}
        result = self.visit(browser, server, click="details,mute", seconds=5, **options).result()
        self.check_visit(result)
        pace, seen = result["pace"], result["video"]
        what = f"{result}\n{self.said()}"
        self.note(f"{pace['frames']} pictures in {pace['seconds']:.1f} s, {pace['gap'] * 1000:.0f} ms at most between two; A/V {result['avOffset']:.0f} ms")
        self.assertEqual([line["state"] for line in result["states"] if line["state"] != "waiting"],
                         (["connecting", "token"] if secure else []) + ["connecting", "live"], what)
        self.assertEqual(result["seen"], {"state": "live", "status": "Live"}, what)
        # Encoders and browsers leave a picture out on a busy machine.
        self.assertAlmostEqual(pace["frames"] / pace["seconds"], http_calls.FPS, delta=0.1 * http_calls.FPS, msg=what)
        self.assertLess(pace["gap"], 0.5, what)
        self.assertEqual((seen["width"], seen["height"], seen["muted"]), (640, 360, False), what)
        self.assertEqual(result["stats"]["videoCodec"].upper(), codec, what)
        self.assertEqual(result["stats"]["audioCodec"].lower(), "opus", what)
        self.assertGreater(result["audio"]["energy"], 0.1, what)
        self.assertLess(abs(result["avOffset"]), 150, what)
        # The person's last request: who leaves the page hangs up.
        server.process.err.wait_for(r"peer \S+ left", 10)

    def test_chromium_vp8(self):
        self.plays("chromium", "VP8")

    def test_firefox_h264(self):
        self.plays("firefox", "H264")

    def test_chromium_h264_over_tls_with_a_token(self):
        self.plays("chromium", "H264", secure=True)

    def test_firefox_vp8_over_tls_with_a_token(self):
        self.plays("firefox", "VP8", secure=True)


class Trouble(PageTest):
    """What a viewer is told when there is nothing to see, in plain words; it comes right by itself where it can."""

    def test_wrong_token(self):
        secure = self.secure()
        server = self.whep_server(http_calls.picture("VP8"), **secure)
        person = self.visit("chromium", server, token="a-guess", ignore_certificate_errors=True, expect="token,token", seconds=0)
        self.assertEqual(person.sees("token"), "The server asks for a token.")
        self.assertEqual(person.sees("token"), "Wrong token: the server does not accept it.")
        result = person.result()
        self.check_visit(result)
        self.assertNotIn("live", [line["state"] for line in result["states"]])

    def test_server_full_then_a_place(self):
        server = self.whep_server(http_calls.picture("VP8"), more="max-peers=1")
        first = self.viewer(server.url, "r.video_0 ! fakesink")
        first.err.wait_for(gst.NEGOTIATED, 20)
        person = self.visit("chromium", server, expect="full,live", seconds=1)
        self.assertRegex(person.sees("full"), r"(?i)^the server is full.*")
        first.signal(signal.SIGINT)
        self.expect_exit(first, 0, 10)
        self.assertEqual(person.sees("live", 40), "Live")
        self.check_visit(person.result())

    def test_server_killed_and_started_again(self):
        """kill -9, and the same port again."""
        location = f"http://127.0.0.1:{gst.free_port()}/whep"
        first = self.whep_server(http_calls.picture("VP8"), http_calls.sound(), location=location)
        person = self.visit("chromium", first, expect="live,gone,live", seconds=1, timeout=60)
        self.assertEqual(person.sees("live"), "Live")
        first.process.kill()
        self.assertEqual(person.sees("gone"), "The server cannot be reached.")
        self.whep_server(http_calls.picture("VP8"), http_calls.sound(), location=location, name="second server")
        self.assertEqual(person.sees("live", 20), "Live")
        self.check_visit(person.result())

    def test_stream_over_while_the_server_stays(self):
        # The second branch keeps the pipeline, and so the server, when the stream is over.
        server = self.whep_server(http_calls.picture("VP8", "num-buffers=150"), "videotestsrc is-live=true ! fakesink")
        person = self.visit("chromium", server, expect="live,over", seconds=0)
        self.assertEqual(person.sees("live"), "Live")
        self.assertEqual(person.sees("over"), "The stream is over.")
        self.check_visit(person.result())


if __name__ == "__main__":
    sys.exit(unittest.main())
