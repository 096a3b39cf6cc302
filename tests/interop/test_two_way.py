# SPDX-License-Identifier: MPL-2.0
"""Two-way calls: one gst-launch-1.0 line sends and records on one connection, or sends back what comes."""

import sys
import unittest

import calls
import foreign
import gst
import media
import test_aiortc

FRAMES = test_aiortc.FRAMES


def sending(film):
    """What sends a film with sound."""
    return (f"filesrc location={film} ! qtdemux name=d  d.video_0 ! queue ! s.video_0  d.audio_0 ! queue ! s.audio_0  "
            "rswebrtcsink name=s call=a")


def recording(file):
    """What records picture and sound of the other side."""
    return (f"rswebrtcsrc name=r call=a  r.video_0 ! queue ! m.video_0  r.audio_0 ! queue ! m.audio_0  "
            f"matroskamux name=m ! filesink location={file}")


class WithAiortc(test_aiortc.AiortcTest):
    """aiortc's MediaPlayer and MediaRecorder at the other end of one connection."""

    # aiortc encodes, decodes and encodes again for its recorder, in one process: beside another test it falls behind.
    alone = True

    def both_record(self, we_offer):
        film = media.h264_opus_mp4(5)
        ours, theirs = self.folder / "ours.mkv", self.folder / "theirs.mp4"
        peer = self.aiortc("answer" if we_offer else "offer", "--play-from", str(film), "--record-to", str(theirs), "--codec", "h264")
        # What belongs to the call may be said by either element.
        line = f"{sending(film)} role={'offer' if we_offer else 'answer'}  {recording(ours)}"
        line = line.replace("rswebrtcsrc name=r", f"rswebrtcsrc name=r {gst.LOCAL}")
        call = self.gst(line, "both", "-q")
        joint = gst.Joint(call, peer)
        result = self.result(peer)
        self.expect_exit(call, 0, 15)
        # RTCP BYE says it once: where that is lost, we hang up when nothing has come for a while.
        self.assertIn(result["ended_by"], ("both have ended", "bye"), self.said())
        self.assertEqual([entry.message["type"] for entry in joint.passed if entry.message["type"] in ("offer", "answer")],
                         ["offer", "answer"], "one connection, negotiated once")
        for file in (ours, theirs):
            self.assertEqual(set(media.streams(file)), {"video", "audio"}, self.said())
        # aiortc's player ends before its last pictures are encoded, and its encoder, which is short of time when it
        # decodes as well, smears the numbers of some; all of them come. Its recorder gets all of ours.
        got = media.stamps(ours).summary()
        self.assertGreaterEqual(got["frames"], FRAMES - 15, f"{got}\n{self.said()}")
        self.assertLessEqual(got["missing"] - got["unreadable"], 2, f"{got}\n{self.said()}")
        self.check_numbers(media.stamps(theirs).summary(), FRAMES, last=test_aiortc.LAST + 1)
        self.assertAlmostEqual(media.audio_seconds(ours), 5, delta=0.6)
        self.assertAlmostEqual(media.audio_seconds(theirs), 5, delta=0.4)
        self.note(f"{got['frames']} of {FRAMES} pictures from aiortc")

    def test_both_record_we_offer(self):
        self.both_record(True)

    def test_both_record_we_answer(self):
        self.both_record(False)

    def echo(self, we_offer):
        peer = self.aiortc("answer" if we_offer else "offer", "--pattern", "90", "--count", "--linger", "2", "--codec", "vp8")
        role = "role=offer" if we_offer else "role=answer"
        call = self.gst(f"rswebrtcsrc call=a video-codecs=VP8 audio-streams=0 ! queue ! s.video_0  rswebrtcsink name=s call=a {role} {gst.LOCAL}", "echo", "-q")
        gst.Joint(call, peer)
        result = self.result(peer)
        self.expect_exit(call, 0, 10)
        # What comes before the first key frame that is sent back is lost, and aiortc makes that when it is asked.
        self.check_numbers(result["received"], 90, late=30, last=test_aiortc.LAST + 1)

    def test_echo_we_offer(self):
        self.echo(True)

    def test_echo_we_answer(self):
        self.echo(False)


class WithOurselves(gst.ProcessTest):
    """Two gst-launch-1.0 lines; neither side hangs up, both have ended when both films have."""

    def test_both_record(self):
        film = media.h264_opus_mp4(5)
        place, files = self.folder / "call", [self.folder / "one.mkv", self.folder / "two.mkv"]
        lines = [self.gst(f"{sending(film)} signaller=file location={place} role={role} {gst.LOCAL}  {recording(file)}",
                          role, "-q", stdin=gst.subprocess.DEVNULL).go() for role, file in zip(("offer", "answer"), files)]
        for line in lines:
            self.expect_exit(line, 0, 30)
        for file in files:
            summary = media.stamps(file).summary()
            self.assertEqual((summary["frames"], summary["missing"]), (FRAMES, 0), f"{summary}\n{self.said()}")
            self.assertAlmostEqual(media.audio_seconds(file), 5, delta=0.1)

    def test_legs_come_late_leave_and_come_back(self):
        place = self.folder / "call"
        ours = self.process([foreign.SYSTEM_PYTHON, "-B", gst.PEERS / "leaving_legs.py", place], "legs", env=gst.environment()).go()
        other = self.gst("videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=20/1 ! vp8enc deadline=1 keyframe-max-dist=20 ! "
                         f"rswebrtcsink call=a role=answer signaller=file location={place} {gst.LOCAL}  "
                         "rswebrtcsrc call=a audio-streams=0 ! fakesink sync=false", "other", "-q", stdin=gst.subprocess.DEVNULL).go()
        self.expect_exit(ours, 0, 55)
        self.assertEqual(len(ours.out.text().splitlines()), 7, self.said())
        # gst-launch-1.0 links each pad once, and what came back has another.
        other.wait(10)

    def test_a_disagreement_is_an_error_with_cause_and_cure(self):
        line = self.gst(f"videotestsrc ! vp8enc ! rswebrtcsink call=a role=offer  rswebrtcsrc call=a role=answer {gst.LOCAL} ! fakesink", "line").go()
        self.expect_error(line, "call=a", "role is offer on one and answer on the other|role is answer on one and offer on the other", "same on both")

    def test_http_is_refused(self):
        line = self.gst("videotestsrc ! vp8enc ! rswebrtcsink call=a signaller=whep-server location=http://127.0.0.1:0/whep", "line").go()
        self.expect_error(line, "one way", "signaller=file")


class WithBrowsers(calls.ForeignCall):
    """A browser sends and shows on one connection, with sound."""

    limit = 70
    STREAMS = (("video", "sendrecv", "VP8"), ("audio", "sendrecv", "OPUS"))

    def both_record(self, name, we_offer):
        peer = self.peer(name, "answer" if we_offer else "offer", *self.STREAMS)
        files = {"VP8": self.folder / "video.mkv", "OPUS": self.folder / "audio.mkv"}
        line = (f"rswebrtcsink name=s call=a {self.ours('offer' if we_offer else 'answer')}  {calls.pipeline_of('VP8')} ! s.video_0  "
                f"{calls.pipeline_of('OPUS')} ! s.audio_0  rswebrtcsrc name=r call=a  "
                f"r.video_0 ! queue ! v.video_0  matroskamux name=v ! filesink location={files['VP8']}  "
                f"r.audio_0 ! queue ! o.audio_0  matroskamux name=o ! filesink location={files['OPUS']}")
        call = self.gst(line, "both", "-q", stdin=gst.subprocess.DEVNULL).go()
        lines = self.outcome(call, peer)
        self.assertEqual([line["direction"] for line in lines], ["sendrecv"] * 2, f"{lines}\n{self.said()}")
        for line in lines:
            codec = "VP8" if line["kind"] == "video" else "OPUS"
            self.check_received(name, codec, line)
            self.check_recording(codec, files[codec], line)

    def echo(self, name, we_offer):
        peer = self.peer(name, "answer" if we_offer else "offer", *self.STREAMS)
        line = (f"rswebrtcsrc name=r call=a  r.video_0 ! queue ! s.video_0  r.audio_0 ! queue ! s.audio_0  "
                f"rswebrtcsink name=s call=a {self.ours('offer' if we_offer else 'answer')}")
        call = self.gst(line, "echo", "-q", stdin=gst.subprocess.DEVNULL).go()
        lines = self.outcome(call, peer)
        for line in lines:
            got, sent = line["received"], line["sent"]
            what = f"{line}\n{self.said()}"
            if line["kind"] == "audio":
                self.assertGreater(got["totalAudioEnergy"], 0, what)
                continue
            self.note(f"{got['framesDecoded']} of {sent['framesSent']} pictures came back")
            self.assertGreaterEqual(got["framesDecoded"], 0.5 * sent["framesSent"], what)
            # It may not have painted the very last one.
            self.assertGreaterEqual(self.tally(got["numbers"])["last"], calls.FRAMES - 2, what)


def add(name, what, we_offer):
    """One test with one browser."""
    def test(self):
        getattr(self, what)(name, we_offer)
    test.__name__ = f"test_{what}_{name}_we_{'offer' if we_offer else 'answer'}"
    setattr(WithBrowsers, test.__name__, test)


for _name in foreign.BROWSERS:
    for _what in ("both_record", "echo"):
        for _offer in (True, False):
            add(_name, _what, _offer)


if __name__ == "__main__":
    sys.exit(unittest.main())
