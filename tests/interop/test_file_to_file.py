# SPDX-License-Identifier: MPL-2.0
"""A film from rswebrtcsink to rswebrtcsrc in two processes: nothing of it is lost, however the call ends."""

import json
import os
import shutil
import signal
import sys
import time
import unittest

import gst
import media

LONG = os.environ.get("RSWEBRTC_LONG") == "1"


class FilmTest(gst.ProcessTest):
    """A sender and a receiver, and what is asked of the recording."""

    def sender(self, film, more="", flags="", demux=None, **kwargs):
        return self.gst(f"filesrc location={film} ! {demux or gst.demux(film)} ! s.video_0  rswebrtcsink name=s {gst.LOCAL} {more}", "sender", flags, **kwargs)

    def receiver(self, recording, more="", flags="", mux=None, **kwargs):
        mux = mux or {".webm": "webmmux", ".mkv": "matroskamux", ".mp4": "mp4mux"}[recording.suffix]
        return self.gst(f"rswebrtcsrc name=r {gst.LOCAL} {more} ! {mux} ! filesink location={recording}", "receiver", flags, **kwargs)

    def both_end(self, sender, receiver, timeout=40):
        self.expect_exit(sender, 0, timeout)
        self.expect_exit(receiver, 0, 10)

    def check_all(self, film, recording):
        """Picture by picture the same, and all of them."""
        self.assertTrue(recording.exists(), self.said())
        wrong = media.difference(media.frame_hashes(film), media.frame_hashes(recording))
        self.assertIsNone(wrong, f"{wrong}\n{self.said()}")

    def check_start(self, film, recording, at_least):
        """The recording is the film's beginning, unbroken; returns the number of its pictures."""
        source, got = media.frame_hashes(film), media.frame_hashes(recording)
        wrong = media.difference(source[:len(got)], got)
        self.assertIsNone(wrong, f"{wrong}\n{self.said()}")
        self.assertGreaterEqual(len(got), at_least, self.said())
        self.note(f"{len(got)} pictures")
        return len(got)

    def transfer(self, film, recording, sender_more="", receiver_more="", joint=gst.Joint):
        sender, receiver = self.sender(film, sender_more), self.receiver(recording, receiver_more)
        joined = joint(sender, receiver)
        self.both_end(sender, receiver)
        self.check_all(film, recording)
        return joined, sender, receiver


class WholeFilm(FilmTest):
    """Sent to the end."""

    def test_h264_three_times_of_three(self):
        film = media.h264_mp4(8)
        for turn in range(3):
            begun = time.monotonic()
            joint, sender, _ = self.transfer(film, self.folder / f"out{turn}.mp4")
            self.assertLess(time.monotonic() - begun, 8 + 5, "the film lasts 8 s")
            self.assertGreater(sender.ended - sender.started, 7.8, "files are played in real time")
            kinds = [(entry.origin, entry.message["type"]) for entry in joint.passed if entry.message["type"] != "candidate"]
            self.assertEqual(kinds[:2], [("sender", "offer"), ("receiver", "answer")])
            self.assertIn(("sender", "bye"), kinds)

    def test_vp8(self):
        self.transfer(media.vp8_webm(8), self.folder / "out.webm")

    def test_vp8_to_mkv(self):
        self.transfer(media.vp8_webm(4), self.folder / "out.mkv")

    def test_h264_with_two_key_frames(self):
        """Key frames each 10 s only: nobody can be asked for another."""
        self.transfer(media.h264_mp4(12), self.folder / "out.mp4")

    def plainly_linked(self, chain, film, suffix):
        """As people write it: nothing but elements and exclamation marks."""
        recording = self.folder / f"out.{suffix}"
        sender = self.gst(f"filesrc location={film} ! {chain} ! rswebrtcsink {gst.LOCAL}", "sender")
        receiver = self.receiver(recording)
        gst.Joint(sender, receiver)
        self.both_end(sender, receiver)
        self.check_all(film, recording)

    def test_linked_by_a_parser(self):
        self.plainly_linked("qtdemux ! h264parse", media.h264_mp4(4), "mp4")

    def test_linked_by_a_queue(self):
        self.plainly_linked("matroskademux ! queue", media.vp8_webm(4), "webm")

    def test_linked_to_a_demuxer(self):
        """The sink's pad is requested only when the demuxer shows its own, in PAUSED."""
        self.plainly_linked("qtdemux", media.h264_mp4(4), "mp4")

    def test_roles_swapped(self):
        joint, _, _ = self.transfer(media.h264_mp4(4), self.folder / "out.mp4", "role=answer", "role=offer video-codecs=H264")
        self.assertEqual(joint.of_type("offer")[0].origin, "receiver")

    def test_everything_pasted(self):
        """Whole terminals marked and pasted: what is not JSON is passed over."""
        self.transfer(media.h264_mp4(4), self.folder / "out.mp4", joint=lambda *ends: gst.Joint(*ends, all_lines=True))

    def test_stdin_closed_after_the_answer(self):
        """`(echo OFFER; cat answer) | gst-launch-1.0 ...`: that no more will come does not end the call."""
        film, recording = media.h264_mp4(4), self.folder / "out.mp4"
        sender, receiver = self.sender(film), self.receiver(recording)
        joint = gst.Joint(sender, receiver)
        joint.wait_for("answer", 10)
        sender.close_stdin()
        receiver.close_stdin()
        self.both_end(sender, receiver)
        self.check_all(film, recording)

    def test_no_prompt_into_pipes(self):
        _, sender, receiver = self.transfer(media.h264_mp4(4), self.folder / "out.mp4")
        for process in (sender, receiver):
            self.assertNotRegex(process.stderr(), r"(?i)\bpaste\b", "nobody is there to paste")

    def test_what_was_negotiated_is_told(self):
        _, sender, receiver = self.transfer(media.h264_mp4(4), self.folder / "out.mp4")
        for process in (sender, receiver):
            for word in (r"127\.0\.0\.1", r"DTLS", r"SRTP", r"H264 high"):
                self.assertRegex(process.stderr(), f"(?i){word}", process.report())

    def test_1080p_with_sound(self):
        film, recording = media.film_1080p(60 if LONG else 6), self.folder / "out.mp4"
        sender = self.gst(f"filesrc location={film} ! qtdemux name=d  d.video_0 ! queue ! s.video_0  d.audio_0 ! queue ! s.audio_0  "
                          f"rswebrtcsink name=s {gst.LOCAL}", "sender")
        receiver = self.gst(f"rswebrtcsrc name=r {gst.LOCAL}  r.video_0 ! queue ! m.video_0  r.audio_0 ! queue ! m.audio_0  "
                            f"mp4mux name=m ! filesink location={recording}", "receiver")
        gst.Joint(sender, receiver)
        self.both_end(sender, receiver, 90)
        self.check_all(film, recording)
        self.assertAlmostEqual(media.audio_seconds(recording), media.audio_seconds(film), delta=0.1, msg=self.said())

    test_1080p_with_sound.limit = 180 if LONG else 60

    def sound_and_picture(self, suffix, mux):
        film, recording = media.flash_and_beep(8), self.folder / f"out.{suffix}"
        sender = self.gst(f"filesrc location={film} ! qtdemux name=d  d.video_0 ! queue ! s.video_0  d.audio_0 ! queue ! s.audio_0  "
                          f"rswebrtcsink name=s {gst.LOCAL}", "sender")
        receiver = self.gst(f"rswebrtcsrc name=r {gst.LOCAL}  r.video_0 ! queue ! m.video_0  r.audio_0 ! queue ! m.audio_0  "
                            f"{mux} name=m ! filesink location={recording}", "receiver")
        gst.Joint(sender, receiver)
        self.both_end(sender, receiver)
        self.assertEqual(media.streams(recording), {"video": "h264", "audio": "opus"})
        self.check_all(film, recording)
        seconds, wanted = media.audio_seconds(recording), media.audio_seconds(film)
        shift = media.sound_behind_picture(recording) - media.sound_behind_picture(film)
        self.note(f"sound {seconds - wanted:+.3f} s long, {shift * 1000:+.1f} ms behind the picture")
        self.assertAlmostEqual(seconds, wanted, delta=0.1, msg=self.said())
        self.assertLessEqual(abs(shift), 0.02, self.said())

    def test_sound_and_picture_in_mp4(self):
        self.sound_and_picture("mp4", "mp4mux")

    def test_sound_and_picture_in_mkv(self):
        self.sound_and_picture("mkv", "matroskamux")


class InTime(FilmTest):
    """How long it takes until something is seen."""

    # It must be there within a second.
    alone = True

    def test_connect_and_first_picture(self):
        film = media.h264_mp4(4)
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        sender = self.sender(film)
        receiver = self.gst(f"rswebrtcsrc {gst.LOCAL} ! fdsink sync=false fd={writer}", "receiver", pass_fds=[writer])
        os.close(writer)
        joint = gst.Joint(sender, receiver)
        answered = joint.wait_for("answer", 10).time
        connected, _ = sender.err.wait_for(gst.NEGOTIATED, 10)
        self.assertTrue(os.read(reader, 1), self.said())
        first = time.monotonic()
        self.note(f"connected {1000 * (connected - answered):.0f} ms, first picture {1000 * (first - answered):.0f} ms after the answer")
        drain = gst.threading.Thread(target=lambda: all(iter(lambda: os.read(reader, 65536), b"")), daemon=True)
        drain.start()
        self.assertLess(connected - answered, 2)
        self.assertLess(first - answered, 2)
        self.both_end(sender, receiver)
        drain.join(5)


class CutShort(FilmTest):
    """The call ends before the film does."""

    def begin(self, film, flags=("", ""), joint=gst.Joint):
        """A call in mid-film: at least a third of the film's bytes are recorded."""
        recording = self.folder / f"out{film.suffix}"
        sender, receiver = self.sender(film, flags=flags[0]), self.receiver(recording, flags=flags[1])
        joint(sender, receiver)
        answered = time.monotonic()
        sender.err.wait_for(gst.NEGOTIATED, 15)
        gst.wait_for_size(recording, film.stat().st_size // 3, 20, receiver)
        return sender, receiver, recording, answered

    def sender_killed(self, film, joint=gst.Joint):
        sender, receiver, recording, _ = self.begin(film, joint=joint)
        written = recording.stat().st_size
        killed = sender.signal(signal.SIGKILL)
        self.expect_exit(receiver, 0, 12)
        self.note(f"finished {receiver.ended - killed:.1f} s after the kill")
        self.assertLess(receiver.ended - killed, 8)
        # No less than what was in the file when the sender died, by its share of the film's bytes.
        count = len(media.frame_hashes(film))
        self.check_start(film, recording, int(count * written / film.stat().st_size * 0.8))

    def test_h264_sender_killed(self):
        self.sender_killed(media.h264_mp4(12))

    def test_vp8_sender_killed(self):
        self.sender_killed(media.vp8_webm(8))

    def test_sender_killed_and_stdin_ends_too(self):
        """In a shell's pipeline the other end of the pipe closes with the program."""
        self.sender_killed(media.h264_mp4(8), joint=lambda *ends: gst.Joint(*ends, close_on_end=True))

    def test_ctrl_c_at_the_receiver(self):
        film = media.h264_mp4(12)
        sender, receiver, recording, _ = self.begin(film, ("", "-e"))
        at = receiver.signal(signal.SIGINT)
        self.expect_exit(receiver, 0, 5)
        self.note(f"receiver ended after {receiver.ended - at:.1f} s")
        self.expect_exit(sender, 0, 5)
        self.check_start(film, recording, 70)

    def test_ctrl_c_at_the_sender(self):
        film = media.h264_mp4(12)
        sender, receiver, recording, _ = self.begin(film, ("-e", ""))
        at = sender.signal(signal.SIGINT)
        self.expect_exit(sender, 0, 5)
        self.expect_exit(receiver, 0, 5)
        self.note(f"receiver ended after {receiver.ended - at:.1f} s")
        self.check_start(film, recording, 70)

    def test_receiver_killed(self):
        """Nobody listens any more: the sender ends by itself and does not hang."""
        sender, receiver, _, _ = self.begin(media.h264_mp4(12))
        at = receiver.signal(signal.SIGKILL)
        status = sender.wait(12)
        self.note(f"sender ended after {sender.ended - at:.1f} s with status {status}")
        self.assertLess(sender.ended - at, 10)


class Directory(FilmTest):
    """signaller=file."""

    def setUp(self):
        super().setUp()
        self.place = self.folder / "call"
        self.place.mkdir()
        self.more = f"signaller=file location={self.place}"

    def call(self, film, first="sender"):
        recording = self.folder / "out.mp4"
        recording.unlink(missing_ok=True)
        make = {"sender": lambda: self.sender(film, self.more, stdin=gst.subprocess.DEVNULL),
                "receiver": lambda: self.receiver(recording, self.more, stdin=gst.subprocess.DEVNULL)}
        order = [first, "receiver" if first == "sender" else "sender"]
        ends = {order[0]: make[order[0]]().go()}
        if first == "sender":
            gst.wait_until(lambda: self.written("offer"), 10, "offer.json is written")
        ends[order[1]] = make[order[1]]().go()
        self.both_end(ends["sender"], ends["receiver"])
        self.check_all(film, recording)

    def written(self, kind):
        """The message in the directory, if it is there and whole."""
        try:
            return json.loads((self.place / f"{kind}.json").read_text())
        except FileNotFoundError:
            return None

    def test_sender_first(self):
        self.call(media.h264_mp4(4))

    def test_receiver_first(self):
        self.call(media.h264_mp4(4), first="receiver")

    def test_three_calls_in_one_directory(self):
        for first in ("sender", "receiver", "sender"):
            self.call(media.h264_mp4(4), first)

    def killed_call(self):
        """A call in mid-film of which both ends were killed: its files are left."""
        film, recording = media.h264_mp4(12), self.folder / "killed.mp4"
        sender = self.sender(film, self.more, stdin=gst.subprocess.DEVNULL).go()
        receiver = self.receiver(recording, self.more, stdin=gst.subprocess.DEVNULL).go()
        sender.err.wait_for(gst.NEGOTIATED, 15)
        for end in (sender, receiver):
            end.signal(signal.SIGKILL)
            end.wait(5)

    def test_after_a_killed_call_sender_first(self):
        self.killed_call()
        film, recording = media.h264_mp4(4), self.folder / "out.mp4"
        stale = self.written("offer")
        sender = self.sender(film, self.more, stdin=gst.subprocess.DEVNULL).go()
        gst.wait_until(lambda: self.written("offer") not in (None, stale), 10, "a new offer.json")
        receiver = self.receiver(recording, self.more, stdin=gst.subprocess.DEVNULL).go()
        self.both_end(sender, receiver)
        self.check_all(film, recording)

    def test_after_a_killed_call_receiver_first(self):
        self.killed_call()
        self.call(media.h264_mp4(4), first="receiver")

    def test_leftovers_of_somebody_else(self):
        """Files of a call that this machine never saw, a bye among them."""
        self.killed_call()
        kept = self.folder / "kept"
        shutil.copytree(self.place, kept)
        (kept / "bye.json").write_text('{"type": "bye"}')
        for first in ("sender", "receiver"):
            shutil.rmtree(self.place)
            shutil.copytree(kept, self.place)
            film, recording = media.h264_mp4(4), self.folder / "out.mp4"
            recording.unlink(missing_ok=True)
            ends = {}
            for name in (first, "receiver" if first == "sender" else "sender"):
                make = self.sender(film, self.more, stdin=gst.subprocess.DEVNULL) if name == "sender" \
                    else self.receiver(recording, self.more, stdin=gst.subprocess.DEVNULL)
                ends[name] = make.go()
            self.both_end(ends["sender"], ends["receiver"])
            self.check_all(film, recording)

    def test_sender_killed(self):
        film, recording = media.h264_mp4(8), self.folder / "out.mp4"
        sender = self.sender(film, self.more, stdin=gst.subprocess.DEVNULL).go()
        receiver = self.receiver(recording, self.more, stdin=gst.subprocess.DEVNULL).go()
        gst.wait_for_size(recording, film.stat().st_size // 3, 20, receiver)
        killed = sender.signal(signal.SIGKILL)
        self.expect_exit(receiver, 0, 12)
        self.assertLess(receiver.ended - killed, 8)
        self.check_start(film, recording, 60)


class BareStream(FilmTest):
    """A .h264 file has no timestamps."""

    def call(self, film, between):
        recording = self.folder / "out.mp4"
        sender = self.gst(f"filesrc location={film} ! {between} ! rswebrtcsink {gst.LOCAL}", "sender")
        return sender, self.receiver(recording), recording

    def works(self, film, between):
        sender, receiver, recording = self.call(film, between)
        gst.Joint(sender, receiver)
        self.both_end(sender, receiver)
        self.check_all(film, recording)
        self.assertGreater(sender.ended - sender.started, 3.8, "in real time: the film lasts 4 s")
        with media.av.open(str(recording)) as container:
            times = [frame.time for frame in container.decode(video=0)]
        self.assertAlmostEqual(times[-1] - times[0], 4 - 1 / media.FPS, delta=0.1)
        said = sender.stderr() + sender.out.text()
        self.assertRegex(said, r"(?is)warning.*(timestamp|frame ?rate)", self.said())

    def test_with_a_frame_rate(self):
        self.works(media.bare_h264(4), "h264parse")

    def test_with_a_frame_rate_in_the_caps(self):
        self.works(media.bare_h264_without_rate(4), "h264parse ! capssetter caps=video/x-h264,framerate=30/1")

    def test_without_a_frame_rate(self):
        # Told before or after the call begins.
        sender, receiver, _ = self.call(media.bare_h264_without_rate(4), "h264parse")
        gst.Joint(sender, receiver)
        self.expect_error(sender, "frame ?rate", timeout=15)


if __name__ == "__main__":
    sys.exit(unittest.main())
