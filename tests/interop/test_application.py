# SPDX-License-Identifier: MPL-2.0
"""Applications that signal by themselves: the programs of examples/, with each other and with aiortc over its TCP signalling."""

import re
import shutil
import socket
import subprocess
import unittest

import foreign
import gst
import media
import test_aiortc
import test_two_way

FRAMES = test_aiortc.FRAMES
EXAMPLES = gst.ROOT / "examples"
WAITING = re.compile(r"waiting at 127\.0\.0\.1:(\d+)")


class OverTcp(test_aiortc.AiortcTest):
    """examples/call_over_tcp.py, with aiortc's TcpSocketSignaling at the other end."""

    def ours(self, way, line, name="application"):
        argv = [foreign.SYSTEM_PYTHON, "-B", EXAMPLES / "call_over_tcp.py", *way, "--", *line.split()]
        return self.process(argv, name, env=gst.environment(), cwd=self.folder).go()

    def port(self, ours):
        _, line = ours.err.wait_for(WAITING, 20)
        return WAITING.search(line).group(1)

    def test_we_send_and_offer(self):
        film = media.vp8_webm(5)
        ours = self.ours(["--listen", "127.0.0.1:0"], f"filesrc location={film} ! matroskademux ! queue ! rswebrtcsink {gst.LOCAL}")
        peer = self.aiortc("answer", "--count", "--codec", "vp8", "--tcp", self.port(ours)).go()
        result = self.result(peer)
        self.expect_exit(ours, 0, 10)
        self.assertEqual(result["bye"], "received", self.said())
        self.check_numbers(result["received"], FRAMES, last=test_aiortc.LAST)

    def test_both_record_on_one_connection(self):
        film = media.h264_opus_mp4(5)
        recorded, theirs = self.folder / "ours.mkv", self.folder / "theirs.mp4"
        line = f"{test_two_way.sending(film)} {gst.LOCAL}  {test_two_way.recording(recorded)}"
        ours = self.ours(["--listen", "127.0.0.1:0"], line)
        peer = self.aiortc("answer", "--play-from", str(film), "--record-to", str(theirs), "--codec", "h264", "--tcp", self.port(ours)).go()
        result = self.result(peer)
        self.expect_exit(ours, 0, 15)
        for file in (recorded, theirs):
            self.assertEqual(set(media.streams(file)), {"video", "audio"}, self.said())
        got = media.stamps(recorded).summary()
        self.assertGreaterEqual(got["frames"], FRAMES - 15, f"{got}\n{self.said()}")
        self.check_numbers(media.stamps(theirs).summary(), FRAMES, last=test_aiortc.LAST + 1)
        self.assertTrue(result["connected"])

    def test_aiortc_offers_and_we_record(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        file = self.folder / "ours.mkv"
        # Either may be started first.
        ours = self.ours(["--connect", f"127.0.0.1:{port}"], f"rswebrtcsrc {gst.LOCAL} ! queue ! matroskamux ! filesink location={file}")
        peer = self.aiortc("offer", "--pattern", "90", "--codec", "vp8", "--tcp", port).go()
        self.assertEqual(self.result(peer)["frames_sent"], 90)
        self.expect_exit(ours, 0, 10)
        self.check_numbers(media.stamps(file).summary(), 90, last=test_aiortc.LAST + 1)

    def test_a_peer_that_vanishes_ends_the_call(self):
        ours = self.ours(["--listen", "127.0.0.1:0"], f"videotestsrc is-live=true ! vp8enc deadline=1 ! rswebrtcsink {gst.LOCAL}")
        with socket.create_connection(("127.0.0.1", int(self.port(ours)))) as peer, peer.makefile() as lines:
            self.assertIn('"type": "offer"', lines.readline())
        # What the program makes of that is a bye, which is no answer.
        self.expect_exit(ours, 1, 15)
        self.assertIn("said bye before the call began", ours.stderr())


class InOneProcess(gst.ProcessTest):
    """examples/one_process.c: both elements, joined by their signals."""

    @unittest.skipUnless(shutil.which("cc") and shutil.which("pkg-config"), "no C compiler")
    def test_in_c(self):
        program = self.folder / "one_process"
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "gstreamer-1.0"], check=True, capture_output=True, text=True).stdout.split()
        subprocess.run(["cc", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", EXAMPLES / "one_process.c", "-o", program, *flags], check=True)
        call = self.process([program], "one_process", env=gst.environment(G_DEBUG="fatal-warnings")).go()
        self.expect_exit(call, 0, 40)
        self.assertEqual(call.out.text(), "90 frames arrived", self.said())
        self.assertEqual(call.stderr(), "", self.said())


if __name__ == "__main__":
    unittest.main()
