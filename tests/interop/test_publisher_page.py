# SPDX-License-Identifier: MPL-2.0
"""The publisher page in Chromium and Firefox, used as a person does: what arrives of camera and microphone."""

import sys
import unittest

import media
from test_pages import TOKEN, PageTest


class Publisher(PageTest):
    """What somebody's camera and microphone send is recorded; the file is whole once the page is left."""

    def publishes(self, browser, codec, secure=False):
        suffix, muxer = {"VP8": ("webm", "webmmux"), "H264": ("mp4", "mp4mux")}[codec]
        recording = self.folder / f"recorded.{suffix}"
        secured = {**self.secure(), "location": "https://127.0.0.1:0/whip"} if secure else {}
        secured["more"] = f"video-codecs={codec} {secured.get('more', '')}"
        server = self.whip_server(f"r.video_0 ! queue ! m.video_0  r.audio_0 ! queue ! m.audio_0  {muxer} name=m ! filesink location={recording}", **secured)
        options = {"token": TOKEN, "ignore_certificate_errors": True} if secure else {}
        result = self.visit(browser, server, page="publisher", expect="live", seconds=5, **options).result()
        what = f"{result}\n{self.said()}"
        self.check_visit(result)
        self.assertEqual(result["seen"], {"state": "live", "status": "Live"}, what)
        # The pipeline ends with its only publisher.
        self.expect_exit(server.process, 0, 15)
        self.assertEqual(media.streams(recording), {"video": codec.lower(), "audio": "opus"}, what)
        pictures = media.frame_hashes(recording)
        heard, loudest = media.audio_seconds(recording), media.loudness(recording)
        self.note(f"{result['video']['framesSent']} pictures sent, {len(pictures)} recorded, {heard:.1f} s of sound")
        # Since the page counted, it went on for a moment; before the first key frame nothing can be recorded.
        self.assertGreater(len(pictures), 0.8 * result["video"]["framesSent"], what)
        self.assertGreater(len(pictures), 30, what)
        self.assertGreater(len(set(pictures)), 0.5 * len(pictures), "the fake camera moves")
        self.assertGreater(heard, 4.5, what)
        self.assertGreater(loudest, 0.05, what)

    def test_chromium_vp8(self):
        self.publishes("chromium", "VP8")

    def test_chromium_is_not_held_back(self):
        """The browser finds out soon what the network takes: here, far more than it starts with (300 kbit/s)."""
        server = self.whip_server("r.video_0 ! queue ! fakesink  r.audio_0 ! queue ! fakesink", more="video-codecs=VP8")
        result = self.visit("chromium", server, page="publisher", expect="live", seconds=8).result()
        self.check_visit(result)
        self.note(f"{result['bandwidth'] / 1e6:.2f} Mbit/s")
        self.assertGreater(result["bandwidth"], 1.5e6, result["stats"])

    def test_chromium_h264_over_tls_with_a_token(self):
        self.publishes("chromium", "H264", secure=True)

    def test_firefox_vp8_over_tls_with_a_token(self):
        self.publishes("firefox", "VP8", secure=True)


if __name__ == "__main__":
    sys.exit(unittest.main())
