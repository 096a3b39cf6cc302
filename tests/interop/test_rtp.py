# SPDX-License-Identifier: MPL-2.0
"""RTP into rswebrtcsink and out of rswebrtcsrc: payloaders, depayloaders and sockets that are not ours."""

import signal
import sys
import unittest

import calls
import gst
import media

# Neither the payload type nor the SSRC is one that a call agrees on by itself.
OWN = "pt=77 ssrc=3735928559"
PAYLOADERS = {
    "VP8": f"rtpvp8pay picture-id-mode=2 {OWN}",
    "H264": f"rtph264pay config-interval=-1 aggregate-mode=zero-latency {OWN}",
    "OPUS": f"rtpopuspay {OWN}",
}
DEPAYLOADERS = {"VP8": "rtpvp8depay", "H264": "rtph264depay ! h264parse", "OPUS": "rtpopusdepay ! opusparse"}
CAPS = {
    "VP8": "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000",
    "H264": "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,packetization-mode=(string)1,profile-level-id=(string)42c01f",
}


class RtpTest(calls.ForeignCall):
    """Parts of pipelines in which RTP stands where frames stood."""

    def setUp(self):
        super().setUp()
        self.recording = self.folder / "out.mkv"

    def launch(self, pipeline, name, flags="-q"):
        return self.gst(pipeline, name, flags, stdin=gst.subprocess.DEVNULL).go()

    def sending(self, chain, codec, flags="-q"):
        return self.launch(f"{chain} ! s.{calls.kind_of(codec)}_0  rswebrtcsink name=s {self.ours('offer')}", "rswebrtcsink", flags)

    def receiving(self, codec, between):
        """rswebrtcsrc with `between` its pad and the rest."""
        return self.launch(f"rswebrtcsrc name=r {self.ours('answer')}  r.{calls.kind_of(codec)}_0 ! {between}", "rswebrtcsrc")

    def muxed(self, codec):
        return f"queue ! m.{calls.kind_of(codec)}_0  matroskamux name=m ! filesink location={self.recording}"

    def check(self, codec, late=0, last=0):
        """The recording has everything but `late` pictures at the start and `last` at the end."""
        kind = calls.kind_of(codec)
        self.assertEqual(media.streams(self.recording), {kind: codec.lower()}, self.said())
        if kind == "audio":
            seconds = media.audio_seconds(self.recording)
            self.note(f"{seconds:.2f} s of {calls.SECONDS} s")
            self.assertAlmostEqual(seconds, calls.SECONDS, delta=0.06, msg=self.said())
            self.assertGreater(media.loudness(self.recording), 0.05, self.said())
            return
        numbers = media.stamps(self.recording).summary()
        what = f"{numbers}\n{self.said()}"
        self.note(f"{numbers['frames']} of {calls.FRAMES} pictures")
        self.assertEqual((numbers["unreadable"], numbers["missing"], numbers["duplicates"], numbers["backwards"]), (0, 0, 0, 0), what)
        self.assertLessEqual(numbers["first"], late, what)
        self.assertGreaterEqual(numbers["last"], calls.FRAMES - 1 - last, what)

    def both_end(self, sink, src):
        self.expect_exit(sink, 0, self.wait)
        self.expect_exit(src, 0, 15)


class Payloaders(RtpTest):
    """In one process with ours."""

    def rtp_in(self, codec):
        src = self.receiving(codec, self.muxed(codec))
        sink = self.sending(f"{calls.pipeline_of(codec)} ! {PAYLOADERS[codec]}", codec)
        self.both_end(sink, src)
        self.check(codec)

    def rtp_out(self, codec):
        src = self.receiving(codec, f"application/x-rtp ! {DEPAYLOADERS[codec]} ! {self.muxed(codec)}")
        sink = self.sending(calls.pipeline_of(codec), codec)
        self.both_end(sink, src)
        self.check(codec)

    def test_vp8_in(self):
        self.rtp_in("VP8")

    def test_h264_in(self):
        self.rtp_in("H264")

    def test_opus_in(self):
        self.rtp_in("OPUS")

    def test_vp8_out(self):
        self.rtp_out("VP8")

    def test_h264_out(self):
        self.rtp_out("H264")

    def test_opus_out(self):
        self.rtp_out("OPUS")

    def test_in_and_out(self):
        src = self.receiving("H264", f"application/x-rtp ! {DEPAYLOADERS['H264']} ! {self.muxed('H264')}")
        sink = self.sending(f"{calls.pipeline_of('H264')} ! {PAYLOADERS['H264']}", "H264")
        self.both_end(sink, src)
        self.check("H264")

    def test_into_a_browser(self):
        """Payload type and SSRC are mapped to what was agreed: a browser would drop anything else."""
        for codec in ("VP8", "H264"):
            with self.subTest(codec):
                self.place = self.folder / codec
                peer = self.peer("chromium", "answer", ("video", "recvonly", None))
                sink = self.sending(f"{calls.pipeline_of(codec)} ! {PAYLOADERS[codec]}", codec)
                (line,) = self.outcome(sink, peer)
                self.check_received("chromium", codec, line)

    test_into_a_browser.browser = True


class Sockets(RtpTest):
    """RTP from another program and to another program, as cameras and media servers do it."""

    def from_socket(self, codec):
        port = gst.free_port(gst.socket.SOCK_DGRAM)
        src = self.receiving(codec, self.muxed(codec))
        sink = self.sending(f'udpsrc address=127.0.0.1 port={port} caps="{CAPS[codec]},payload=77"', codec, "-q -e")
        sink.err.wait_for(gst.NEGOTIATED, 15)
        camera = self.launch(f"{calls.pipeline_of(codec)} ! {PAYLOADERS[codec]} ! udpsink host=127.0.0.1 port={port}", "camera")
        self.expect_exit(camera, 0, 20)
        sink.signal(signal.SIGINT)
        self.both_end(sink, src)
        # What is in the socket when the sink is told to end.
        self.check(codec, last=1)

    def to_socket(self, codec):
        port = gst.free_port(gst.socket.SOCK_DGRAM)
        third = self.launch(f'udpsrc address=127.0.0.1 port={port} caps="{CAPS[codec]}" ! {DEPAYLOADERS[codec]} ! {self.muxed(codec)}', "third", "-e")
        third.out.wait_for("PLAYING", 10)
        src = self.receiving(codec, f"application/x-rtp ! udpsink host=127.0.0.1 port={port}")
        sink = self.sending(calls.pipeline_of(codec), codec)
        self.both_end(sink, src)
        third.signal(signal.SIGINT)
        self.expect_exit(third, 0, 10)
        self.check(codec, last=5)

    def test_vp8_from_a_socket(self):
        self.from_socket("VP8")

    def test_h264_from_a_socket(self):
        self.from_socket("H264")

    def test_vp8_to_a_socket(self):
        self.to_socket("VP8")

    def test_h264_to_a_socket(self):
        self.to_socket("H264")


if __name__ == "__main__":
    sys.exit(unittest.main())
