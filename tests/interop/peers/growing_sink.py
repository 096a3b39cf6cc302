# SPDX-License-Identifier: MPL-2.0
"""An application whose call grows and shrinks: one live sound, then two, then one again, then the end; `growing_sink.py
PIPELINE`: that of an rswebrtcsink `s` and one sound more, then without, until the pipeline ends.

Each step waits for the one before to be negotiated, and for sound to have been sent. Signalling is that of the
element, on standard input and output; what was negotiated goes to standard error, one JSON list of codecs a line.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

PACKETS = 50
LIVE = "audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1"


class Call:
    """The pipeline, and where in the story it is."""

    def __init__(self):
        self.loop = GLib.MainLoop()
        self.status = 1
        self.sent = 0
        own = sys.argv[1] if len(sys.argv) > 1 else None
        self.pipeline = Gst.parse_launch(own or f"{LIVE} ! mulawenc ! rswebrtcsink name=s ice-addresses=127.0.0.1")
        self.sink = self.pipeline.get_by_name("s")
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.message)
        self.steps = iter([self.add, None, None if own else self.end])

    def message(self, _bus, message):
        if message.type == Gst.MessageType.ERROR:
            print(message.parse_error(), file=sys.stderr)
            self.loop.quit()
        elif message.type == Gst.MessageType.EOS:
            self.status = 0
            self.loop.quit()
        elif message.type == Gst.MessageType.ELEMENT and message.get_structure().get_name() == "rswebrtc-negotiated":
            # PyGObject reads no GstValueList: the text will do.
            text = message.get_structure().to_string()
            print(json.dumps([codec for codec in ("PCMU", "PCMA") if codec in text]), file=sys.stderr, flush=True)
            step = next(self.steps)
            if step:
                step()

    def add(self):
        self.branch = Gst.parse_bin_from_description(f"{LIVE} ! alawenc name=e", True)
        self.pipeline.add(self.branch)
        self.pad = self.sink.request_pad_simple("audio_%u")
        source = self.branch.get_static_pad("src")
        source.add_probe(Gst.PadProbeType.BUFFER, self.count)
        source.link(self.pad)
        self.branch.sync_state_with_parent()

    def count(self, _pad, _info):
        # Those before the answer are dropped, so there are some to spare.
        self.sent += 1
        if self.sent == 2 * PACKETS:
            GLib.idle_add(self.release)
        return Gst.PadProbeReturn.OK

    def release(self):
        self.branch.set_locked_state(True)
        self.branch.set_state(Gst.State.NULL)
        self.pipeline.remove(self.branch)
        self.sink.release_request_pad(self.pad)
        return False

    def end(self):
        self.pipeline.send_event(Gst.Event.new_eos())

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add_seconds(30, self.loop.quit)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        return self.status


Gst.init(None)
sys.exit(Call().run())
