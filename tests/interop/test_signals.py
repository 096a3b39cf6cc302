# SPDX-License-Identifier: MPL-2.0
"""What an application is told by a server of ours, and the elements that URIs give it."""

import json
import signal
import sys
import unittest

import foreign
import gst
import http_calls


class Application(http_calls.HttpTest):
    """peers/watching_server.py, in the system's Python."""

    limit = 60

    def application(self, *words):
        env = {name: value for name, value in gst.environment().items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
        return self.process([foreign.SYSTEM_PYTHON, "-B", gst.PEERS / "watching_server.py", *words], "application", env=env).go()

    def told(self, application, what, after=0.0, seconds=20):
        """(time, value) of the next line of this kind."""
        at, line = application.out.wait_for(rf'^\{{"{what}"', seconds, after=after)
        return at, json.loads(line)[what]


class Server(Application):
    """A WHEP server and its viewers."""

    def stats(self, application):
        """What the property says now."""
        lines = sum('"stats"' in line for line in application.out.text().splitlines())
        application.write(b"\n")
        gst.wait_until(lambda: sum('"stats"' in line for line in application.out.text().splitlines()) > lines, 5, "an answer")
        return json.loads([line for line in application.out.text().splitlines() if '"stats"' in line][-1])["stats"]

    def start(self):
        line = f"rswebrtcsink name=s signaller=whep-server location=http://127.0.0.1:0/whep  {http_calls.picture('VP8')} {http_calls.sound()}"
        return self.application(line)

    def test_peers_come_and_go(self):
        application = self.start()
        at, url = self.told(application, "listening")
        self.assertRegex(url, r"^http://127\.0\.0\.1:[1-9]\d*/whep$")
        viewers, peers = [], []
        for number in (1, 2):
            viewers.append(self.viewer(url, "r.video_0 ! fakesink name=seen silent=false sync=false  r.audio_0 ! fakesink", name=f"viewer {number}", flags="-v"))
            http_calls.wait_for_arrivals(viewers[-1], 20, 20)
            at, peer = self.told(application, "added", after=at)
            peers.append(peer)
        self.assertNotEqual(*peers)
        before = self.stats(application)
        self.assertEqual(set(before), {f"peer-{peer}" for peer in peers}, before)
        http_calls.wait_for_arrivals(viewers[0], 20, 20)
        now = self.stats(application)
        for peer in peers:
            streams = now[f"peer-{peer}"]
            self.assertGreater(streams.pop("candidate-pair")["sending-bitrate"], 0)
            self.assertEqual(set(streams), {"video-0", "audio-1"} if "video-0" in streams else {"audio-0", "video-1"}, now)
            for name, stream in streams.items():
                was = before[f"peer-{peer}"][name]
                self.assertGreater(stream["packets-sent"], was["packets-sent"], now)
                self.assertGreater(stream["bytes-sent"], was["bytes-sent"], now)
        # Each has a stream of its own, with its own SSRC.
        self.assertEqual(len({stream["ssrc"] for streams in now.values() for stream in streams.values()}), 4, now)
        viewers[0].signal(signal.SIGINT)
        at, gone = self.told(application, "removed", after=at)
        self.assertEqual(gone, peers[0])
        self.assertEqual(set(self.stats(application)), {f"peer-{peers[1]}"})
        # Whoever goes without a word is missed after a while.
        viewers[1].kill()
        _, gone = self.told(application, "removed", after=at, seconds=40)
        self.assertEqual(gone, peers[1])
        self.assertEqual(self.stats(application), {})
        application.close_stdin()
        self.expect_exit(application, 0, 10)

    def test_every_peer_is_removed_at_the_end(self):
        application = self.start()
        at, url = self.told(application, "listening")
        viewer = self.viewer(url, "r.video_0 ! fakesink name=seen silent=false sync=false", flags="-v")
        http_calls.wait_for_arrivals(viewer, 5, 20)
        at, peer = self.told(application, "added", after=at)
        application.close_stdin()
        self.expect_exit(application, 0, 10)
        self.assertEqual(self.told(application, "removed", after=at, seconds=1)[1], peer)


class Uris(Application):
    """Gst.Element.make_from_uri, and what programs like gst-play-1.0 do with it."""

    def check(self, kind, uri, factory, signaller):
        application = self.application("--uri", kind, uri)
        self.expect_exit(application, 0, 15)
        made = json.loads(application.out.text().splitlines()[-1])
        self.assertEqual((made["factory"], made["signaller"], made["uri"]), (factory, signaller, uri))

    def test_sink(self):
        self.check("sink", "whip://127.0.0.1:8080/live/whip?room=1", "rswebrtcsink", "whip-client")
        self.check("sink", "whips://example.org/whip", "rswebrtcsink", "whip-client")

    def test_src(self):
        self.check("src", "whep://127.0.0.1:8080/live/whep", "rswebrtcsrc", "whep-client")
        self.check("src", "wheps://example.org/whep", "rswebrtcsrc", "whep-client")

    def test_playbin_plays_a_server(self):
        server = self.whep_server(http_calls.picture("VP8"), http_calls.sound())
        uri = server.url.replace("http://", "whep://")
        player = self.gst(f"playbin3 uri={uri} video-sink='fakesink name=seen silent=false' audio-sink=fakesink", "player", "-v",
                          stdin=gst.subprocess.DEVNULL).go()
        http_calls.wait_for_arrivals(player, 60, 30)
        player.signal(signal.SIGINT)
        server.process.err.wait_for(r"peer \S+ left", 10)


if __name__ == "__main__":
    sys.exit(unittest.main())
