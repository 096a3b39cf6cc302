#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""One end of a measured call in GStreamer, ours or webrtcbin: `gst_end.py PLAN`, with the system's Python.

PLAN is JSON: {"peer": "ours"|"webrtcbin", "do": "send"|"receive", "role": "offer"|"answer", "dir": FOLDER (signalling),
"seconds": of pictures, "limit": seconds at most, "codec": "H264", "VP8" ... (webrtcbin: H264), "encoder": description, "encoded": BOOL (encode all before the call, for
measurements of CPU), "properties": "NAME=VALUE ...", of our element; sink: or src: may stand before a name, "latency": ms, "decode": BOOL, "out": FILE}. The file holds JSON:
"sent" [[number, time]], "seen" [[number, intact, time]], "cpu" [[time, seconds]], "bitrate" [[time, kbit/s]], "stats". Times are
those of the wall clock, in seconds, which all ends of one machine share.
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
import scene  # noqa: E402

RAW = f"video/x-raw,format=I420,width={scene.WIDTH},height={scene.HEIGHT},framerate={scene.FPS}/1"
H264 = "video/x-h264,stream-format=byte-stream,alignment=au"
# What the call may take to come up, seconds: pictures are given from the start on.
START = 1.5
# Waited for, after the last picture, until the receiver has it.
TAIL = 2


def encoded(encoder, frames):
    """Access units of `frames` pictures, made as fast as it goes."""
    pipeline = Gst.parse_launch(f"appsrc name=raw format=time caps={RAW} ! {encoder} ! h264parse config-interval=-1 ! {H264} ! appsink name=out sync=false max-buffers=0")
    raw, out = pipeline.get_by_name("raw"), pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    pictures = scene.Scene()
    units = []

    def feed():
        for number in range(frames):
            buffer = Gst.Buffer.new_wrapped(pictures.draw(number))
            buffer.pts = number * Gst.SECOND // scene.FPS
            raw.emit("push-buffer", buffer)
        raw.emit("end-of-stream")
    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    while (sample := out.emit("pull-sample")) is not None:
        buffer = sample.get_buffer()
        units.append((buffer.extract_dup(0, buffer.get_size()), bool(buffer.get_flags() & Gst.BufferFlags.DELTA_UNIT)))
    pipeline.set_state(Gst.State.NULL)
    return units


class Source:
    """Gives pictures, or access units, at their times to the appsrc of a pipeline."""

    def __init__(self, plan):
        self.frames = int((plan["seconds"] + START) * scene.FPS)
        self.sent = []
        self.units = encoded(plan["encoder"], self.frames) if plan.get("encoded") else None
        caps = f"{H264},width={scene.WIDTH},height={scene.HEIGHT},framerate={scene.FPS}/1,profile=constrained-baseline" if self.units else RAW
        head = f"appsrc name=in is-live=true do-timestamp=true format=time max-buffers=30 leaky-type=downstream caps={caps}"
        # The queue: an encoder that is late must not delay the pictures' clock.
        self.text = f"{head} ! queue" if self.units else f"{head} ! queue ! {plan['encoder']}"

    def run(self, appsrc):
        pictures = scene.Scene()
        begin = time.monotonic()
        for number in range(self.frames):
            time.sleep(max(0, begin + number / scene.FPS - time.monotonic()))
            data, delta = self.units[number] if self.units else (pictures.draw(number), False)
            buffer = Gst.Buffer.new_wrapped(data)
            buffer.duration = Gst.SECOND // scene.FPS
            buffer.offset = number
            if delta:
                buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
            self.sent.append((number, time.time()))
            if appsrc.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return
        time.sleep(TAIL)
        appsrc.emit("end-of-stream")


class Sink:
    """Notes each picture that a decoder gives out, when it does."""

    def __init__(self):
        self.seen = []

    def watch(self, appsink):
        appsink.connect("new-sample", self._sample)

    def _sample(self, appsink):
        sample = appsink.emit("pull-sample")
        at = time.time()
        buffer, caps = sample.get_buffer(), sample.get_caps().get_structure(0)
        width, height = caps.get_int("width")[1], caps.get_int("height")[1]
        data = buffer.extract_dup(0, width * height)
        number, intact = scene.read(data, width, height, (width + 3) // 4 * 4)
        self.seen.append((number, intact, at))
        return Gst.FlowReturn.OK


# One thread: frame threads would keep pictures back.
DECODERS = {"H264": "h264parse ! avdec_h264 max-threads=1", "H265": "h265parse ! avdec_h265 max-threads=1", "VP8": "vp8dec", "VP9": "vp9dec",
            "AV1": "av1dec"}
SHOWN = "videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false emit-signals=true"


def decoder(plan):
    """What decodes the pictures of a plan and gives them to its `Sink`."""
    return f"{DECODERS[plan['codec']]} ! {SHOWN}"


class Ours:
    """rswebrtcsink or rswebrtcsrc, as a user would write it."""

    def __init__(self, plan):
        common = f"signaller=file location={plan['dir']} role={plan['role']} ice-addresses=127.0.0.1"
        self.source = self.sink = None
        if plan["do"] == "send":
            self.source = Source(plan)
            self.pipeline = Gst.parse_launch(f"{self.source.text} ! rswebrtcsink name=peer {common}")
        else:
            self.sink = Sink()
            rest = decoder(plan) if plan.get("decode", True) else "fakesink sync=false"
            self.pipeline = Gst.parse_launch(f"rswebrtcsrc name=peer latency={plan.get('latency', 200)} {common}  peer.video_0 ! {rest}")
            if plan.get("decode", True):
                self.sink.watch(self.pipeline.get_by_name("out"))
        self.element = self.pipeline.get_by_name("peer")
        side = "sink" if plan["do"] == "send" else "src"
        for word in plan.get("properties", "").split():
            self._set(*word.split("=", 1), side)

    def _set(self, name, value, side):
        """Sets a property if the element has it: bounds of the bitrate are for the sink only, say."""
        only, _, name = name.rpartition(":")
        if only in ("", side) and self.element.find_property(name):
            Gst.util_set_object_arg(self.element, name, value)

    def start(self):
        self.pipeline.set_state(Gst.State.PLAYING)

    def send(self):
        self.source.run(self.pipeline.get_by_name("in"))

    def stats(self):
        stats = self.element.get_property("stats")
        return stats.to_string() if stats else None

    def over(self):
        """Whether the call has ended; RuntimeError if by an error."""
        return ended(self.pipeline)


def ended(pipeline):
    message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR | Gst.MessageType.EOS)
    if message and message.type == Gst.MessageType.ERROR:
        raise RuntimeError(" ".join(map(str, message.parse_error())))
    return message is not None


class Observer(threading.Thread):
    """Notes CPU time, the encoder's bitrate and the statistics while the call runs."""

    def __init__(self, end, encoder):
        super().__init__(daemon=True)
        self.end, self.encoder = end, encoder
        self.cpu, self.bitrate, self.stats = [], [], []
        self.over = threading.Event()

    def run(self):
        beats = 0
        while not self.over.wait(0.1):
            now = time.time()
            if self.encoder:
                element, name, unit = self.encoder
                self.bitrate.append((now, element.get_property(name) * unit / 1000))
            if beats % 10 == 0:
                used = os.times()
                self.cpu.append((now, used.user + used.system))
                self.stats.append((now, self.end.stats()))
            beats += 1


class Encoded:
    """Which pictures an encoder made a frame of: an element may leave some out before it, as a browser does."""

    def __init__(self, encoder):
        self.numbers, self.made = {}, set()
        for name, noted in (("sink", self._came), ("src", self._left)):
            encoder.get_static_pad(name).add_probe(Gst.PadProbeType.BUFFER, noted)

    def _came(self, _, info):
        buffer = info.get_buffer()
        self.numbers[buffer.pts] = buffer.offset
        return Gst.PadProbeReturn.OK

    def _left(self, _, info):
        self.made.add(self.numbers.get(info.get_buffer().pts))
        return Gst.PadProbeReturn.OK

    def of(self, sent):
        """Those of `sent` that were made, unless the encoder gives its frames other times."""
        known = [(number, at) for number, at in sent if number in self.made]
        return known if len(known) * 2 > len(sent) else sent


# Where an encoder's bitrate stands, and its unit, bit/s.
BITRATES = {"x264enc": ("bitrate", 1000), "x265enc": ("bitrate", 1000), "openh264enc": ("bitrate", 1), "vp8enc": ("target-bitrate", 1),
            "vp9enc": ("target-bitrate", 1), "av1enc": ("target-bitrate", 1000)}


def encoder_of(pipeline):
    """(element, property, its unit) of the encoder that is called so, if there is one and it is known."""
    element = pipeline.get_by_name("encoder")
    known = element and BITRATES.get(element.get_factory().get_name())
    return (element, *known) if known else None


def call(plan):
    if plan["peer"] == "webrtcbin":
        import webrtcbin_end
        end = webrtcbin_end.End(plan)
    else:
        end = Ours(plan)
    driven = encoder_of(end.pipeline) if plan["do"] == "send" else None
    encoded = driven and Encoded(driven[0])
    observer = Observer(end, driven)
    deadline = time.monotonic() + plan["limit"]
    end.start()
    observer.start()
    if plan["do"] == "send":
        threading.Thread(target=end.send, daemon=True).start()
    while not end.over() and time.monotonic() < deadline:
        time.sleep(0.02)
    observer.over.set()
    sent = end.source.sent if end.source else []
    result = {"sent": encoded.of(sent) if encoded else sent, "seen": end.sink.seen if end.sink else [],
              "cpu": observer.cpu, "bitrate": observer.bitrate, "stats": observer.stats}
    end.pipeline.set_state(Gst.State.NULL)
    return result


def main():
    plan = json.loads(sys.argv[1])
    try:
        result = call(plan)
    except Exception as error:  # the file tells it; the bench reads that
        result = {"error": f"{type(error).__name__}: {error}"}
    out = pathlib.Path(plan["out"])
    part = out.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.rename(out)
    return 1 if "error" in result else 0


if __name__ == "__main__":
    # Threads of libraries may outlive the call.
    os._exit(main())
