# SPDX-License-Identifier: MPL-2.0
"""Ending while nothing has begun: at once, by whatever means."""

import re
import signal
import sys
import unittest

import gst
import media


# Seconds. The end has 0.7 s on a machine that is not busy.
AT_ONCE = 2


class NoPeer(gst.ProcessTest):
    """PLAYING, and nobody there."""

    # It must be over soon.
    alone = True

    def ends(self, pipeline, number, flags="", quiet=True):
        process = self.gst(pipeline, "alone", flags).go()
        # gst-launch-1.0 says so on standard output once the state change is through.
        process.out.wait_for(r"New clock", 10)
        at = process.signal(number)
        process.wait(5)
        self.note(f"{process.ended - at:.2f} s")
        self.assertLess(process.ended - at, AT_ONCE, process.report())
        if quiet:
            self.assertNotRegex(process.stderr(), re.compile(gst.GST_ERROR.pattern, re.M))

    def sink(self):
        return f"filesrc location={media.h264_mp4(4)} ! qtdemux ! h264parse ! rswebrtcsink {gst.LOCAL}"

    def live_sink(self):
        return f"videotestsrc is-live=true ! vp8enc deadline=1 ! rswebrtcsink {gst.LOCAL}"

    def src(self):
        return f"rswebrtcsrc {gst.LOCAL} ! mp4mux ! filesink location={self.folder / 'out.mp4'}"

    def test_sink_sigint(self):
        self.ends(self.sink(), signal.SIGINT)

    def test_sink_sigint_with_e(self):
        self.ends(self.sink(), signal.SIGINT, "-e")

    def test_live_sink_sigint(self):
        self.ends(self.live_sink(), signal.SIGINT)

    def test_live_sink_sigint_with_e(self):
        self.ends(self.live_sink(), signal.SIGINT, "-e")

    def test_src_sigint(self):
        self.ends(self.src(), signal.SIGINT)

    def test_src_sigint_with_e(self):
        # That nothing was recorded may be told as an error: the user asked for a file, and there is none.
        self.ends(self.src(), signal.SIGINT, "-e", quiet=False)

    def test_sink_with_its_offer_out(self):
        """The offer is written, no answer has come."""
        process = self.gst(self.sink(), "alone", "-e").go()
        process.out.wait_for(r'"offer"', 10)
        at = process.signal(signal.SIGINT)
        process.wait(5)
        self.note(f"{process.ended - at:.2f} s")
        self.assertLess(process.ended - at, AT_ONCE, process.report())

    def test_src_with_its_answer_out(self):
        """The answer is written and nobody has read it."""
        sender = self.gst(self.sink(), "sender").go()
        _, line = sender.out.wait_for(r'"offer"', 10)
        process = self.gst(self.src(), "alone", "-e").go()
        process.write(line[line.index("{"):].encode() + b"\n")
        process.out.wait_for(r'"answer"', 10)
        at = process.signal(signal.SIGINT)
        process.wait(5)
        self.note(f"{process.ended - at:.2f} s")
        self.assertLess(process.ended - at, AT_ONCE, process.report())


if __name__ == "__main__":
    sys.exit(unittest.main())
