# SPDX-License-Identifier: MPL-2.0
"""An application with the two legs of one call in two pipelines: `leaving_legs.py DIRECTORY`.

The source begins late, leaves and comes back, then the sink does, while the other leg goes on. Prints a line for each
step; exit status 0 when all of them came about.
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

LIMIT = 15
Gst.init(None)
CALL = f"call=legs role=offer signaller=file location={sys.argv[1]} ice-addresses=127.0.0.1"
SINK = Gst.parse_launch("videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=20/1 ! vp8enc deadline=1 keyframe-max-dist=20 ! "
                        f"s.video_0  rswebrtcsink name=s {CALL}")
SOURCE = Gst.parse_launch(f"rswebrtcsrc audio-streams=0 video-codecs=VP8 {CALL}")
SRC = Gst.Pipeline.new()
SRC.add(SOURCE)
received = 0


def came(*_):
    global received
    received += 1


def added(_, pad):
    fakesink = Gst.ElementFactory.make("fakesink")
    fakesink.set_property("signal-handoffs", True)
    fakesink.set_property("sync", False)
    fakesink.set_property("async", False)
    fakesink.connect("handoff", came)
    SRC.add(fakesink)
    pad.link(fakesink.get_static_pad("sink"))
    fakesink.sync_state_with_parent()


def sent():
    """Pictures that the connection carried so far, by the sink's own account."""
    stats = SINK.get_by_name("s").get_property("stats")
    peer = stats.get_value("peer-0") if stats.has_field("peer-0") else None
    names = [peer.nth_field_name(number) for number in range(peer.n_fields())] if peer else []
    streams = [peer.get_value(name) for name in names if name.startswith("video")]
    return sum(stream.get_value("frames-sent") for stream in streams if stream.has_field("frames-sent"))


def until(what, condition):
    """Waits for it, and for no error."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        for pipeline in (SINK, SRC):
            message = pipeline.get_bus().timed_pop_filtered(20 * Gst.MSECOND, Gst.MessageType.ERROR)
            if message:
                sys.exit(f"{what}: {message.parse_error()}")
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {LIMIT} s")
    print(what, flush=True)


def more(count, least=30):
    before = count()
    return lambda: count() >= before + least


SOURCE.connect("pad-added", added)
SINK.set_state(Gst.State.PLAYING)
until("the sink alone sends", more(sent))
SRC.set_state(Gst.State.PLAYING)
until("a late source receives", more(lambda: received))
SRC.set_state(Gst.State.NULL)
until("the sink goes on alone", more(sent))
SRC.set_state(Gst.State.PLAYING)
until("the source is back", more(lambda: received))
SINK.set_state(Gst.State.NULL)
until("the source goes on alone", more(lambda: received))
SINK.set_state(Gst.State.PLAYING)
until("the sink is back", more(sent))
until("both go on", more(lambda: received))
SRC.set_state(Gst.State.NULL)
SINK.set_state(Gst.State.NULL)
