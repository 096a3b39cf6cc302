# SPDX-License-Identifier: MPL-2.0
"""Calls with aiortc: both roles, both directions, both codecs, and its MediaPlayer, MediaRecorder and bye."""

import json
import os
import signal
import sys
import time
import unittest

import gst
import media

FRAMES = 150
# aiortc's decoder starts late by a picture or so, and its jitter buffer keeps the last one until the next comes.
LATE, LAST = 3, 1
CONTAINER = {"vp8": ("webmmux", "webm"), "h264": ("mp4mux", "mp4")}


class AiortcTest(gst.ProcessTest):
    """What calls with aiortc have in common."""

    def aiortc(self, role, *options, name="aiortc"):
        argv = [sys.executable, "-B", gst.PEERS / "aiortc_cli.py", role, *options]
        return self.process(argv, name, env={**os.environ, "PYTHONUNBUFFERED": "1"}, cwd=self.folder)

    def result(self, peer, timeout=50):
        """aiortc's own account of the call; it ended without an error."""
        status = peer.wait(timeout)
        lines = [line for line in peer.stderr().splitlines() if line.startswith("{")]
        self.assertTrue(lines, f"aiortc printed no result\n{self.said()}")
        result = json.loads(lines[-1])
        self.assertEqual((status, result.get("error"), result["connected"]), (0, None, True), self.said())
        return result

    def check_numbers(self, got, sent, late=LATE, last=0):
        """`got` (a tally's summary) holds every picture of `sent`, but at most `late` at the start and `last` at the end."""
        what = f"{got}\n{self.said()}"
        self.assertTrue(got["frames"], what)
        self.assertEqual((got["unreadable"], got["missing"], got["duplicates"], got["backwards"]), (0, 0, 0, 0), what)
        self.assertLessEqual(got["first"], late, what)
        self.assertGreaterEqual(got["last"], sent - 1 - last, what)
        self.note(f"{got['frames']} of {sent} pictures")


class AiortcWithItself(AiortcTest):
    """The measuring device, measured: what is lost here is aiortc's own."""

    def call(self, offers, codec):
        sending, receiving = ["--pattern", "90", "--codec", codec], ["--count", "--codec", codec]
        offerer = self.aiortc("offer", *(sending if offers == "sender" else receiving), name="aiortc offering")
        answerer = self.aiortc("answer", *(receiving if offers == "sender" else sending), name="aiortc answering")
        gst.Joint(offerer, answerer)
        sender, receiver = (offerer, answerer) if offers == "sender" else (answerer, offerer)
        self.assertEqual(self.result(sender)["frames_sent"], 90)
        self.check_numbers(self.result(receiver)["received"], 90, last=LAST + 1)

    def test_vp8(self):
        self.call("sender", "vp8")

    def test_h264_receiver_offers(self):
        self.call("receiver", "h264")


class ToAiortc(AiortcTest):
    """rswebrtcsink sends a file, aiortc decodes and tallies."""

    def call(self, codec, sink_offers):
        film = media.vp8_webm(5) if codec == "vp8" else media.h264_mp4(5, "baseline")
        peer = self.aiortc("answer" if sink_offers else "offer", "--count", "--codec", codec)
        sink = self.gst(f"filesrc location={film} ! {gst.demux(film)} ! s.video_0  "
                        f"rswebrtcsink name=s {gst.LOCAL} role={'offer' if sink_offers else 'answer'}",
                        "rswebrtcsink", "-q")
        joint = gst.Joint(sink, peer)
        result = self.result(peer)
        self.expect_exit(sink, 0, 10)
        self.assertEqual(result["bye"], "received", self.said())
        self.check_numbers(result["received"], FRAMES, last=LAST)
        self.assertEqual(result["video_packets_lost"], 0, self.said())
        self.assertEqual(len(joint.of_type("bye", "rswebrtcsink")), 1, "exactly one bye")

    def test_vp8_we_offer(self):
        self.call("vp8", True)

    def test_vp8_aiortc_offers(self):
        self.call("vp8", False)

    def test_h264_we_offer(self):
        self.call("h264", True)

    def test_h264_aiortc_offers(self):
        self.call("h264", False)


class FromAiortc(AiortcTest):
    """aiortc sends numbered pictures, rswebrtcsrc records; aiortc's bye ends the recording."""

    def call(self, codec, src_offers):
        mux, suffix = CONTAINER[codec]
        recording = self.folder / f"out.{suffix}"
        peer = self.aiortc("answer" if src_offers else "offer", "--pattern", str(FRAMES), "--codec", codec)
        role = f"role=offer video-codecs={codec.upper()}" if src_offers else "role=answer"
        src = self.gst(f"rswebrtcsrc {gst.LOCAL} {role} ! {mux} ! filesink location={recording}", "rswebrtcsrc", "-q")
        gst.Joint(src, peer)
        result = self.result(peer)
        self.expect_exit(src, 0, 10)
        self.assertEqual(result["frames_sent"], FRAMES)
        self.assertEqual(media.streams(recording), {"video": codec})
        self.check_numbers(media.stamps(recording).summary(), FRAMES)

    def test_vp8_we_answer(self):
        self.call("vp8", False)

    def test_vp8_we_offer(self):
        self.call("vp8", True)

    def test_h264_we_answer(self):
        self.call("h264", False)

    def test_h264_we_offer(self):
        self.call("h264", True)

    def test_a_machine_that_stands_still_loses_no_picture(self):
        # What came meanwhile comes in a burst, to which the jitter buffer gives one time.
        for suffix, mux in (("mkv", "matroskamux"), ("mp4", "mp4mux")):
            with self.subTest(suffix):
                recording = self.folder / f"out.{suffix}"
                peer = self.aiortc("offer", "--pattern", "90", "--codec", "h264")
                src = self.gst(f"rswebrtcsrc {gst.LOCAL} role=answer ! {mux} ! filesink location={recording}", "rswebrtcsrc", "-q")
                gst.Joint(src, peer)
                src.err.wait_for("video_0: video/x-h264", 10)
                for _ in range(2):
                    os.kill(src.child.pid, signal.SIGSTOP)
                    time.sleep(1.2)
                    os.kill(src.child.pid, signal.SIGCONT)
                    time.sleep(0.3)
                self.result(peer)
                self.expect_exit(src, 0, 10)
                self.check_numbers(media.stamps(recording).summary(), 90)


class Files(AiortcTest):
    """aiortc's MediaPlayer and MediaRecorder at the other end."""

    def test_media_recorder_and_our_bye(self):
        film, recording = media.h264_mp4(5, "baseline"), self.folder / "aiortc.mp4"
        peer = self.aiortc("answer", "--record-to", str(recording), "--codec", "h264")
        sink = self.gst(f"filesrc location={film} ! qtdemux ! h264parse ! rswebrtcsink {gst.LOCAL}", "rswebrtcsink", "-q")
        gst.Joint(sink, peer)
        result = self.result(peer)
        self.expect_exit(sink, 0, 10)
        self.assertEqual(result["bye"], "received", self.said())
        # MediaRecorder writes a constant 30 frames/s by picture count, so every picture shows.
        self.check_numbers(media.stamps(recording).summary(), FRAMES, last=LAST + 1)

    def test_media_recorder_with_sound(self):
        film, recording = media.h264_opus_mp4(5), self.folder / "aiortc.mp4"
        peer = self.aiortc("answer", "--record-to", str(recording), "--codec", "h264")
        sink = self.gst(f"filesrc location={film} ! qtdemux name=d  d.video_0 ! queue ! s.video_0  d.audio_0 ! queue ! s.audio_0  "
                        f"rswebrtcsink name=s {gst.LOCAL}", "rswebrtcsink", "-q")
        gst.Joint(sink, peer)
        result = self.result(peer)
        self.expect_exit(sink, 0, 10)
        self.assertEqual((result["bye"], set(media.streams(recording))), ("received", {"video", "audio"}), self.said())
        self.check_numbers(media.stamps(recording).summary(), FRAMES, last=LAST + 1)
        self.assertAlmostEqual(media.audio_seconds(recording), 5, delta=0.4)

    def test_bye_of_a_receiving_aiortc(self):
        """aiortc hangs up in mid-film: our sink ends by itself, with status 0."""
        film, recording = media.vp8_webm(8), self.folder / "aiortc.mp4"
        peer = self.aiortc("answer", "--record-to", str(recording), "--seconds", "3", "--codec", "vp8")
        sink = self.gst(f"filesrc location={film} ! matroskademux ! queue ! s.video_0  rswebrtcsink name=s {gst.LOCAL}", "rswebrtcsink", "-q")
        gst.Joint(sink, peer)
        result = self.result(peer)
        self.expect_exit(sink, 0, 5)
        self.assertEqual(result["ended_by"], "seconds", self.said())
        self.assertEqual(media.stamps(recording).summary()["missing"], 0)

    def test_media_player_with_sound(self):
        film, recording = media.h264_opus_mp4(5), self.folder / "out.mkv"
        peer = self.aiortc("offer", "--play-from", str(film), "--codec", "h264")
        src = self.gst(f"rswebrtcsrc name=r {gst.LOCAL}  r.video_0 ! queue ! m.video_0  r.audio_0 ! queue ! m.audio_0  "
                       f"matroskamux name=m ! filesink location={recording}", "rswebrtcsrc", "-q")
        gst.Joint(src, peer)
        self.result(peer)
        self.expect_exit(src, 0, 10)
        self.assertEqual(media.streams(recording), {"video": "h264", "audio": "opus"})
        # The player's track ends before its last picture is encoded, and aiortc hangs up at once.
        self.check_numbers(media.stamps(recording).summary(), FRAMES, last=15)
        self.assertAlmostEqual(media.audio_seconds(recording), 5, delta=0.6)

    def test_media_player_passing_packets_through(self):
        """Sent as they are, the pictures arrive as they are."""
        film, recording = media.h264_ts(5), self.folder / "out.mp4"
        peer = self.aiortc("offer", "--play-from", str(film), "--passthrough", "--codec", "h264")
        src = self.gst(f"rswebrtcsrc {gst.LOCAL} ! mp4mux ! filesink location={recording}", "rswebrtcsrc", "-q")
        gst.Joint(src, peer)
        self.result(peer)
        self.expect_exit(src, 0, 10)
        source, got = media.frame_hashes(film), media.frame_hashes(recording)
        self.assertGreaterEqual(len(got), FRAMES - 5, self.said())
        self.assertIsNone(media.difference(source[:len(got)], got))


if __name__ == "__main__":
    sys.exit(unittest.main())
