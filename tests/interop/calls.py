# SPDX-License-Identifier: MPL-2.0
"""Calls between one of our elements in gst-launch-1.0 and a foreign peer, by signaller=file: what goes in, what comes out."""

import cells
import foreign
import gst
import media

FRAMES, FPS = 50, 20
SECONDS = FRAMES / FPS
# Packets of 20 ms.
SOUNDS = int(SECONDS * 50)

VIDEO = ("VP8", "VP9", "H264", "H265", "AV1")
AUDIO = ("OPUS", "PCMU", "PCMA", "G722")
ENCODERS = {
    "VP8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30",
    "VP9": "vp9enc deadline=1 cpu-used=8 threads=2 keyframe-max-dist=30",
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! video/x-h264,profile=constrained-baseline",
    "H265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30",
    # Faster ones smear the cells of some pictures, without any network.
    "AV1": "av1enc usage-profile=realtime cpu-used=6 keyframe-max-dist=30",
    "OPUS": "opusenc",
    "PCMU": "mulawenc",
    "PCMA": "alawenc",
    "G722": "avenc_g722",
}
RATES = {"OPUS": 48000, "PCMU": 8000, "PCMA": 8000, "G722": 16000}
# As FFmpeg, which reads the recordings, calls them.
RECORDED = {"H265": "hevc", "PCMU": "pcm_mulaw", "PCMA": "pcm_alaw"}

# Pictures that a peer may miss: at its start (aiortc's decoder starts late) and at the end (its jitter buffer keeps the
# last one until the next comes; Firefox as offerer is ready later than it says). Of sound: packets of 20 ms.
LOST_PICTURES = {"aiortc": (3, 1), "firefox": (5, 0)}
LOST_SOUNDS = 6
# Pictures that are there, but whose number a peer's hasty encoder has smeared (aiortc's VP8: always the same two).
SMEARED = 3


def kind_of(codec):
    return "video" if codec in VIDEO else "audio"


def pipeline_of(codec):
    """What makes SECONDS of this codec, the pictures numbered."""
    if codec in VIDEO:
        return f"filesrc location={media.raw_y4m(FRAMES, FPS)} ! y4mdec ! {ENCODERS[codec]}"
    rate = RATES[codec]
    return (f"audiotestsrc num-buffers={SOUNDS} samplesperbuffer={rate // 50} ! audio/x-raw,rate={rate},channels={2 if codec == 'OPUS' else 1} ! "
            f"{ENCODERS[codec]}")


class ForeignCall(gst.ProcessTest):
    """One call; `limit` and all waits are generous, for a machine that does other things too."""

    limit = 50
    wait = 25

    def setUp(self):
        super().setUp()
        self.place = self.folder / "call"

    def peer(self, name, role, *streams):
        """The other end; `role` is the other end's own."""
        if foreign.left_out(name):
            self.skipTest("RSWEBRTC_WITHOUT names it")
        plan = {"dir": str(self.place), "role": role, "timeout": self.wait, "streams": foreign.streams(*streams)}
        peer = foreign.start(name, plan, self.process)
        self.addCleanup(peer.cancel)
        return peer

    def ours(self, role):
        """Properties of our element."""
        return f"signaller=file location={self.place} role={role} {gst.LOCAL}"

    def sink(self, role, *codecs, more=""):
        """rswebrtcsink with a pad for each of these codecs, in their order."""
        numbers = {"video": 0, "audio": 0}
        branches = []
        for codec in codecs:
            kind = kind_of(codec)
            branches.append(f"{pipeline_of(codec)} ! s.{kind}_{numbers[kind]}")
            numbers[kind] += 1
        return self.gst(f"rswebrtcsink name=s {self.ours(role)} {more}  {'  '.join(branches)}", "rswebrtcsink", "-q", stdin=gst.subprocess.DEVNULL).go()

    def src(self, role, *pads, more=""):
        """rswebrtcsrc that records each of these pads into a file of its own; (process, {pad: file})."""
        files = {pad: self.folder / f"{pad}.mkv" for pad in pads}
        # The muxer's pad is named: a queue would take the first kind that it has.
        branches = [f"r.{pad} ! queue ! m-{pad}.{pad.split('_')[0]}_0  matroskamux name=m-{pad} ! filesink location={file}" for pad, file in files.items()]
        src = self.gst(f"rswebrtcsrc name=r {self.ours(role)} {more}  {'  '.join(branches)}", "rswebrtcsrc", "-q", stdin=gst.subprocess.DEVNULL).go()
        return src, files

    def outcome(self, ours, peer):
        """The peer's account of the call, once both ends are done; what both said if one of them failed."""
        gst.wait_until(lambda: peer.done() or ours.child.poll() not in (None, 0), self.wait + 5, "the other end has a result")
        if not peer.done():
            peer.cancel()
            self.expect_exit(ours, 0, 5)
        try:
            result = peer.result(5)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None
        self.expect_exit(ours, 0, 15)
        self.assertIn("connected", result["states"], self.said())
        return result["streams"]

    # ---- what arrived

    def check_codec(self, report, codec):
        """The peer's statistics name the codec; aiortc has none that do."""
        if "codec" in report:
            self.assertEqual((report["codec"] or "").lower(), f"{kind_of(codec)}/{codec}".lower(), self.said())

    def check_received(self, name, codec, line, frames=FRAMES):
        """A peer received what was sent: `frames` pictures or SECONDS of a tone."""
        got = line.get("received")
        self.assertTrue(got, f"{name} received nothing\n{line}\n{self.said()}")
        self.check_codec(got, codec)
        what = f"{got}\n{self.said()}"
        if kind_of(codec) == "audio":
            self.note(f"{got['packetsReceived']} of {SOUNDS} packets")
            # An encoder may add one packet at its end, for what it looked ahead.
            self.assertTrue(SOUNDS - 1 <= got["packetsReceived"] <= SOUNDS + 1, what)
            self.assertGreater(got.get("loudest", 0) or got.get("totalAudioEnergy", 0), 0, what)
            return
        late, last = LOST_PICTURES.get(name, (0, 0))
        numbers = self.tally(got["numbers"])
        self.note(f"{got['framesDecoded']} of {frames} pictures, {numbers['frames']} looked at")
        self.assertTrue(frames - late - last <= got["framesDecoded"] <= frames, what)
        # av1enc in a hurry smears some of the numbers; that all pictures came is counted above.
        odd = numbers["unreadable"] + numbers["backwards"]
        if name not in foreign.BROWSERS:
            # A page may be told of a picture before it is drawn, and look at the next one twice; of what was decoded
            # none is there twice, see above.
            odd += numbers["duplicates"]
        self.assertLessEqual(odd, 10 if codec == "AV1" else 0, what)
        # A browser draws no picture that is overtaken by the next one, and says how many it has decoded.
        least = 0.3 if name in foreign.BROWSERS else 1
        self.assertGreaterEqual(numbers["frames"], least * got["framesDecoded"], what)
        self.assertGreaterEqual(numbers["last"], FRAMES - 1 - last - (1 if least < 1 else 0), what)
        self.assertEqual(got["width"], 320, what)

    @staticmethod
    def tally(numbers):
        """A summary, from a browser's list of numbers too."""
        if isinstance(numbers, dict):
            return numbers
        tally = cells.Tally()
        for number in numbers:
            tally.add(number)
        return tally.summary()

    def check_recording(self, codec, file, line):
        """We recorded what the peer sent, all of it."""
        sent = line.get("sent")
        self.assertTrue(sent, f"nothing was sent\n{line}\n{self.said()}")
        self.check_codec(sent, codec)
        kind = kind_of(codec)
        try:
            recorded = media.streams(file)
        except media.av.FFmpegError as error:
            raise AssertionError(f"no recording: {error}\n{sent}\n{self.said()}") from None
        self.assertEqual(recorded, {kind: RECORDED.get(codec, codec.lower())}, self.said())
        if kind == "audio":
            seconds, loudest = media.audio_seconds(file), media.loudness(file)
            self.note(f"{seconds:.2f} s of {SECONDS} s")
            self.assertGreaterEqual(seconds, SECONDS - LOST_SOUNDS * 0.02, self.said())
            self.assertGreater(loudest, 0.05, self.said())
            return
        numbers = media.stamps(file).summary()
        what = f"{numbers}\n{sent}\n{self.said()}"
        self.note(f"{numbers['frames']} of {sent['framesSent']} pictures")
        # A browser's encoder leaves pictures out where the machine is busy; what it made is all there.
        self.assertGreaterEqual(sent["framesSent"], 0.6 * FRAMES, what)
        self.assertEqual(numbers["backwards"], 0, what)
        self.assertLessEqual(numbers["unreadable"], SMEARED, what)
        self.assertEqual(numbers["frames"], sent["framesSent"], what)
        self.assertEqual(numbers["last"], FRAMES - 1, what)
