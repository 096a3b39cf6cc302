#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""One end of a measured call, of any kind: `end.py PLAN`, with the system's Python, which has GStreamer's bindings.

It tells on standard output when it is up, then sleeps until a command comes on standard input: `go` lets the film run, `look`
tells counters, `first` waits for the first buffer, `trace FILE` writes what the probes noted, if the plan asked for them. So Python costs nothing while CPU
time is measured, which others do from outside.
"""

import json
import os
import pathlib
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import pipelines  # noqa: E402


class Gate:
    """Holds the film back behind its first frame, from which senders learn what they have to offer, and lets it go on: now, not late."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.pad = pipeline.get_by_name("gate").get_static_pad("src")
        self.passed, self.held = False, threading.Event()
        self.probe = self.pad.add_probe(Gst.PadProbeType.BLOCK | Gst.PadProbeType.BUFFER, self._hold)

    def _hold(self, *_):
        if not self.passed:
            self.passed = True
            return Gst.PadProbeReturn.PASS
        self.held.set()
        return Gst.PadProbeReturn.OK

    def open(self):
        if not self.held.wait(20):
            raise TimeoutError("the second frame of the film did not come to the gate")
        self.pad.set_offset(self.pipeline.get_clock().get_time() - self.pipeline.get_base_time())
        self.pad.remove_probe(self.probe)


class Trace:
    """Notes of each access unit at a pad: when, and by what it can be known again at the other end."""

    def __init__(self, pad, leaving):
        self.rows, self.leaving = [], leaving
        pad.add_probe(Gst.PadProbeType.BUFFER, self._see)

    def _see(self, _, info):
        # Before one's own work where a frame arrives, after it where it sets out: that work is no latency.
        came = time.monotonic_ns()
        buffer = info.get_buffer()
        size = buffer.get_size()
        key = slice_size(buffer.extract_dup(0, min(size, 2048)), size), buffer.extract_dup(max(0, size - 24), 24)
        self.rows.append((time.monotonic_ns() if self.leaving else came, key))
        return Gst.PadProbeReturn.OK

    def save(self, path):
        pathlib.Path(path).write_text("".join(f"{at} {size} {last.hex()}\n" for at, (size, last) in self.rows))


def slice_size(head, size):
    """Bytes of the last NAL unit of an access unit that has one slice, told from its first bytes."""
    at = head.find(b"\0\0\1")
    while at >= 0 and at + 3 < len(head):
        if head[at + 3] & 31 in (1, 5):
            return size - at - 3
        at = head.find(b"\0\0\1", at + 3)
    return size


class End:
    """A pipeline, and what is asked of it."""

    def __init__(self, plan):
        self.plan = plan
        self.sends = plan["do"] == "send"
        self.trace = self.first = None
        self.arrived = threading.Event()
        if plan["kind"] == "webrtcbin":
            import webrtcbin
            self.call = webrtcbin.Audience(plan) if plan.get("many") else webrtcbin.Call(plan)
            self.pipeline = self.call.pipeline
        else:
            self.call = None
            self.pipeline = Gst.parse_launch(f"{pipelines.film(plan)} ! {pipelines.sender(plan)}" if self.sends else pipelines.receiver(plan))
        peer = self.pipeline.get_by_name("peer")
        if peer and peer.find_property("stun-server"):
            peer.set_property("stun-server", None)
        self.gate = Gate(self.pipeline) if self.sends and plan.get("gated", True) else None
        if not self.call or self.sends:
            self.built()
        else:
            self.call.built = self.built

    def built(self):
        """The counting element is there: webrtcbin's receiver makes it when the stream comes."""
        self.tap = self.pipeline.get_by_name("pace" if self.sends else "tap")
        if self.plan.get("trace"):
            self.trace = Trace(self.tap.get_static_pad("src" if self.sends else "sink"), self.sends)
        if self.plan.get("trace") and self.plan["kind"] == "null":
            # Both ends in one process with nothing between them: what the probes themselves cost.
            self.other = Trace(self.pipeline.get_by_name("tap").get_static_pad("sink"), False)
        if self.plan.get("first"):
            self.tap.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self._first)

    def _first(self, *_):
        self.first = time.monotonic_ns()
        self.arrived.set()
        return Gst.PadProbeReturn.REMOVE

    def start(self):
        self.began = time.monotonic_ns()
        if self.call:
            self.call.start()
        else:
            self.pipeline.set_state(Gst.State.PLAYING)

    def wait_until_up(self):
        """A sender that has a peer; the rest are up when they play."""
        if self.call:
            self.call.wait_until_up()
        elif self.sends and self.plan["kind"] == "ours" and not self.plan.get("many"):
            self._message(lambda s: s.get_name() == "rswebrtc-negotiated")
        elif self.sends and self.plan["kind"] == "webrtcsink":
            deadline = time.monotonic() + self.plan["limit"]
            while not self.pipeline.get_by_name("peer").get_property("stats").n_fields():
                if time.monotonic() > deadline:
                    raise TimeoutError("nobody came to webrtcsink")
                time.sleep(0.02)

    def _message(self, wanted):
        deadline = time.monotonic() + self.plan["limit"]
        while time.monotonic() < deadline:
            message = self.pipeline.get_bus().timed_pop_filtered(Gst.SECOND // 10, Gst.MessageType.ELEMENT | Gst.MessageType.ERROR)
            if message and message.type == Gst.MessageType.ERROR:
                raise RuntimeError(" ".join(map(str, message.parse_error())))
            if message and wanted(message.get_structure()):
                return
        raise TimeoutError("no peer came")

    def look(self):
        tap = self.tap.get_property("stats") if getattr(self, "tap", None) else None
        error = self.pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        return {
            "buffers": tap.get_value("num-buffers") if tap else 0,
            "bytes": tap.get_value("num-bytes") if tap else 0,
            "lost": sum(stats.get_value("num-lost") + stats.get_value("num-late") for stats in self._jitter_buffers()),
            "setup_ms": (self.first - self.began) / 1e6 if self.first else None,
            "error": " ".join(map(str, error.parse_error())) if error else None,
        }

    def _jitter_buffers(self):
        if self.sends:
            return
        elements = self.pipeline.iterate_all_by_element_factory_name("rtpjitterbuffer")
        while (found := elements.next())[0] == Gst.IteratorResult.OK:
            yield found[1].get_property("stats")

    def obey(self):
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            if word == "go":
                self.gate.open()
            if word == "first":
                self.arrived.wait(self.plan["limit"])
            if word == "trace":
                self.trace.save(rest)
                if self.plan["kind"] == "null":
                    self.other.save(rest + ".other")
            tell(self.look())


def tell(what):
    print(json.dumps(what), flush=True)


def main():
    end = None
    try:
        end = End(json.loads(sys.argv[1]))
        end.start()
        tell({"playing": True})
        end.wait_until_up()
        tell({"up": True})
        end.obey()
    except Exception as error:  # the benchmark reads it, and says which call it was
        tell({"error": f"{type(error).__name__}: {error}"})
    # Threads of libraries may outlive the call; webrtcbin's may hang in NULL.
    os._exit(0)


if __name__ == "__main__":
    main()
