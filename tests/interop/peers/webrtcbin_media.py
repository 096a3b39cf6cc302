# SPDX-License-Identifier: MPL-2.0
"""What webrtcbin sends and what becomes of what it receives: numbered pictures, a tone, and counters."""

import math
import pathlib
import struct
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cells  # noqa: E402

# Codec: (encoder and payloader, depayloader and decoder, clock rate, samples a second of sound)
VIDEO, TELEPHONE = 90000, 8000
CODECS = {
    "VP8": ("vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 ! rtpvp8pay picture-id-mode=2", "rtpvp8depay ! vp8dec", VIDEO, 0),
    "VP9": ("vp9enc deadline=1 cpu-used=8 keyframe-max-dist=30 ! rtpvp9pay picture-id-mode=2", "rtpvp9depay ! vp9dec", VIDEO, 0),
    "H264": ("x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! video/x-h264,profile=constrained-baseline ! "
             "rtph264pay config-interval=-1 aggregate-mode=zero-latency", "rtph264depay ! h264parse ! avdec_h264", VIDEO, 0),
    "H265": ("x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! h265parse ! "
             "rtph265pay config-interval=-1 aggregate-mode=zero-latency", "rtph265depay ! h265parse ! avdec_h265", VIDEO, 0),
    "OPUS": ("opusenc ! rtpopuspay", "rtpopusdepay ! opusdec", 48000, 48000),
    "PCMU": ("mulawenc ! rtppcmupay min-ptime=20000000 max-ptime=20000000", "rtppcmudepay ! mulawdec", TELEPHONE, 8000),
    "PCMA": ("alawenc ! rtppcmapay min-ptime=20000000 max-ptime=20000000", "rtppcmadepay ! alawdec", TELEPHONE, 8000),
    # RFC 3551, 4.5.2: the clock of G722 counts half of its samples.
    "G722": ("avenc_g722 ! rtpg722pay min-ptime=20000000 max-ptime=20000000", "rtpg722depay ! avdec_g722", TELEPHONE, 16000),
}
SOUND_MS = 20


OFFERED_H264 = {"packetization-mode": "1", "profile-level-id": "42e01f", "level-asymmetry-allowed": "1"}


def rtp_caps(kind, codec, payload, fmtp=None, ssrc=None):
    """What a transceiver prefers, or what comes to a pad that has told its SSRC."""
    text = f"application/x-rtp,media={kind},encoding-name={codec},clock-rate={CODECS[codec][2]}"
    if codec == "OPUS":
        text += ",encoding-params=(string)2"
    text += f",payload={payload}" + "".join(f",{name}=(string){value}" for name, value in (fmtp or {}).items())
    if ssrc is not None:
        text += f",ssrc=(uint){ssrc}"
    return Gst.Caps.from_string(text)


class Source:
    """One stream to send: `bin` has a source pad with RTP; `run` feeds it in real time."""

    def __init__(self, stream, codec, payload, fmtp, ssrc):
        self.stream, self.kind = stream, stream["kind"]
        self.drawn = 0
        self.sent = threading.Event()
        if self.kind == "video":
            self.width, self.height, self.fps = stream.get("width", 320), stream.get("height", 180), stream.get("fps", 20)
            raw = f"video/x-raw,format=I420,width={self.width},height={self.height},framerate={self.fps}/1"
            self.total, self.each = stream.get("frames", 50), 1 / self.fps
        else:
            self.rate = CODECS[codec][3]
            raw = f"audio/x-raw,format=S16LE,layout=interleaved,channels=1,rate={self.rate}"
            self.total, self.each = int(stream.get("seconds", 2.5) * 1000 / SOUND_MS), SOUND_MS / 1000
        # x264 writes the level that the pictures need; webrtcbin compares letter by letter what was agreed.
        told = f'capssetter caps="{rtp_caps(self.kind, codec, payload, fmtp).to_string()}" ! ' if fmtp else ""
        self.bin = Gst.parse_bin_from_description(
            f"appsrc name=raw is-live=true format=time caps={raw} ! queue ! {CODECS[codec][0]} pt={payload} ssrc={ssrc} ! {told}"
            f'capsfilter caps="{rtp_caps(self.kind, codec, payload, fmtp, ssrc).to_string()}"', True)
        self.bin.get_static_pad("src").add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, self._event)

    def _event(self, _, info):
        # The end of the stream: all of it is beyond this pad. webrtcbin need not know.
        if info.get_event().type != Gst.EventType.EOS:
            return Gst.PadProbeReturn.OK
        self.sent.set()
        return Gst.PadProbeReturn.DROP

    def _data(self):
        if self.kind == "audio":
            count = self.rate * SOUND_MS // 1000
            return struct.pack(f"<{count}h", *(int(9000 * math.sin(2 * math.pi * 500 * at / self.rate)) for at in range(count)))
        row = bytes(40 + 170 * x // self.width for x in range(self.width))
        luma = bytearray(cells.row_of(self.width, self.drawn) * cells.ROWS + row * (self.height - cells.ROWS))
        left = self.drawn * 6 % (self.width - 40)
        for y in range(self.height // 2, self.height // 2 + 30):
            luma[y * self.width + left:y * self.width + left + 40] = b"\xeb" * 40
        return bytes(luma) + b"\x80" * (self.width * self.height // 2)

    def run(self):
        """Feed all of it, then wait until it has left the payloader."""
        raw, clock = self.bin.get_by_name("raw"), self.bin.get_clock()
        base = clock.get_time() - self.bin.get_base_time()
        begin = time.monotonic()
        while self.drawn < self.total:
            buffer = Gst.Buffer.new_wrapped(self._data())
            buffer.pts = base + int(self.drawn * self.each * Gst.SECOND)
            buffer.duration = int(self.each * Gst.SECOND)
            raw.emit("push-buffer", buffer)
            self.drawn += 1
            time.sleep(max(0, begin + self.drawn * self.each - time.monotonic()))
        raw.emit("end-of-stream")
        self.sent.wait(10)


class Counter:
    """What one stream brought: decoded pictures with their numbers, or decoded sound."""

    def __init__(self, kind, codec):
        self.kind, self.codec = kind, codec
        self.packets = self.buffers = self.samples = self.loudest = self.width = 0
        self.tally = cells.Tally()
        raw = "videoconvert ! video/x-raw,format=I420" if kind == "video" else "audioconvert ! audio/x-raw,format=S16LE"
        self.bin = Gst.parse_bin_from_description(
            f"queue max-size-buffers=0 max-size-bytes=0 ! {CODECS[codec][1]} ! {raw} ! "
            "appsink name=out sync=false async=false emit-signals=true", True)
        self.bin.get_by_name("out").connect("new-sample", self._sample)
        self.bin.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self._packet)

    def _packet(self, *_):
        self.packets += 1
        return Gst.PadProbeReturn.OK

    def _sample(self, sink):
        sample = sink.emit("pull-sample")
        buffer, caps = sample.get_buffer(), sample.get_caps().get_structure(0)
        # Not mapped: PyGObject's MapInfo is not fit for several threads.
        data = buffer.extract_dup(0, buffer.get_size())
        if self.kind == "video":
            self.width = caps.get_int("width")[1]
            self.tally.add(cells.read_rows(data, self.width, (self.width + 3) // 4 * 4))
        elif data:
            self.samples += len(data) // 2 // caps.get_int("channels")[1]
            self.loudest = max(self.loudest, *struct.unpack(f"<{len(data) // 2}h", data))
        self.buffers += 1
        return Gst.FlowReturn.OK

    def summary(self):
        common = {"codec": f"{self.kind}/{self.codec}", "packetsReceived": self.packets}
        if self.kind == "video":
            return {**common, "framesDecoded": self.buffers, "width": self.width, "numbers": self.tally.summary()}
        return {**common, "buffers": self.buffers, "samples": self.samples, "loudest": self.loudest}
