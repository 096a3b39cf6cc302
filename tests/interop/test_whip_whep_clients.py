# SPDX-License-Identifier: MPL-2.0
"""Our servers with WHIP and WHEP clients of others (from npm, see scripts/setup.sh), which run in Chromium on another origin."""

import json
import sys
import unittest

import foreign
import gst
import http_calls
import media

TOKEN = "tr0ub4dor-and-3"
FRAMES = 60


class OtherClient(http_calls.HttpTest):
    """One call of such a client, with a token; it ends it with DELETE."""

    limit = 50
    browser = True

    def call(self, client, role, server):
        """The client's account of a call that it ended."""
        argv = ["node", gst.PEERS / "npm_clients.mjs", "--client", client, "--role", role, "--url", server.url, "--token", TOKEN, "--frames", FRAMES]
        process = self.process(argv, "client", stdin=gst.subprocess.DEVNULL).go()
        process.wait(40)
        lines = [line for line in process.out.text().splitlines() if line.startswith('{"result"')]
        self.assertTrue(lines, self.said())
        result = json.loads(lines[-1])["result"]
        what = f"{result}\n{self.said()}"
        self.assertNotIn("error", result, what)
        # Whoever closes the connection and then deletes the session may find that the server has heard the first already.
        self.assertEqual([error for error in result["errors"] if "status of 404" not in error], [], what)
        self.assertGreaterEqual(result["video"]["frames"], FRAMES, what)
        self.assertGreater(result["audio"]["bytes"], 1000, what)
        asked = [(entry["method"], entry["status"]) for entry in result["requests"] if entry["method"] != "OPTIONS"]
        self.note(" ".join(f"{method} {status}" for method, status in asked))
        self.assertEqual(asked[0], ("POST", 201), what)
        self.assertIn(asked[-1], (("DELETE", 200), ("DELETE", 404)), what)
        self.assertFalse([entry for entry in asked[:-1] if entry[1] >= 400], what)
        return result

    def setUp(self):
        super().setUp()
        self.secrets.append(TOKEN)
        if foreign.left_out("chromium"):
            self.skipTest("RSWEBRTC_WITHOUT names it")

    def published(self, client):
        recording = self.folder / "out.webm"
        rest = f"r.video_0 ! queue ! m.video_0  r.audio_0 ! queue ! m.audio_0  webmmux name=m ! filesink location={recording}"
        server = self.whip_server(rest, more=f"auth-token={TOKEN} video-codecs=VP8 {gst.LOCAL}")
        result = self.call(client, "publish", server)
        # The pipeline ends with its only publisher.
        self.expect_exit(server.process, 0, 10)
        self.assertEqual(media.streams(recording), {"video": "vp8", "audio": "opus"})
        self.assertGreater(len(media.frame_hashes(recording)), 0.7 * result["video"]["frames"], self.said())
        self.assertGreater(media.loudness(recording), 0.05)

    def viewed(self, client):
        server = self.whep_server(http_calls.picture("H264"), http_calls.sound(), more=f"auth-token={TOKEN} {gst.LOCAL}")
        result = self.call(client, "view", server)
        self.assertEqual((result["video"]["width"], result["video"]["height"], result["video"]["codec"]), (640, 360, "H264"))
        server.process.err.wait_for(r"peer \S+ left", 5)
        # Its place is free and its address gone.
        resource = next(entry["path"] for entry in result["requests"] if entry["method"] == "DELETE")
        status, _, _ = http_calls.request(server.address, "DELETE", resource, headers={"Authorization": f"Bearer {TOKEN}"})
        self.assertEqual(status, 404)

    def test_whip_whep_publishes(self):
        self.published("whip-whep")

    def test_whip_whep_views(self):
        self.viewed("whip-whep")

    def test_eyevinn_whip_web_client_publishes(self):
        self.published("eyevinn")

    def test_eyevinn_webrtc_player_views(self):
        self.viewed("eyevinn")


if __name__ == "__main__":
    sys.exit(unittest.main())
