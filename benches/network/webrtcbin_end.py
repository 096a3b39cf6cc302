# SPDX-License-Identifier: MPL-2.0
"""webrtcbin as an end of a measured call, with what it has against loss: NACK, RTX, requests for key frames."""

import pathlib
import random
import sys
import threading
import time

from gi.repository import Gst

import gst_end

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "interop" / "peers"))
import webrtcbin_peer  # noqa: E402
from webrtcbin_media import rtp_caps  # noqa: E402


class Peer(webrtcbin_peer.Peer):
    """The peer of the tests with other sources and sinks."""

    def __init__(self, plan):
        direction = "sendonly" if plan["do"] == "send" else "recvonly"
        super().__init__({**plan, "streams": [{"kind": "video", "direction": direction, "codecs": ["H264"]}]})
        self.bin.set_property("latency", plan["latency"])
        self.source = gst_end.Source(plan) if plan["do"] == "send" else None
        self.sink = gst_end.Sink() if plan["do"] == "receive" else None
        self.rtpbin = self.bin.get_by_name("rtpbin")
        self.rtpbin.connect("new-jitterbuffer", self._jitter_buffer)
        self.ended = False

    def _jitter_buffer(self, _, buffer, *__):
        buffer.set_property("do-retransmission", True)

    def _transceiver(self, peer, transceiver):
        super()._transceiver(peer, transceiver)
        transceiver.set_property("do-nack", True)

    def _pad(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        rest = gst_end.decoder(self.plan) if self.plan["decode"] else "h264parse ! fakesink sync=false"
        made = Gst.parse_bin_from_description(f"queue max-size-buffers=0 max-size-bytes=0 ! rtph264depay request-keyframe=true ! {rest}", True)
        if self.plan["decode"]:
            self.sink.watch(made.get_by_name("out"))
        self.pipeline.add(made)
        made.sync_state_with_parent()
        pad.link(made.get_static_pad("sink"))

    def _send_on(self, index, stream, codec, payload, fmtp):
        ssrc = random.getrandbits(31) + 1
        told = f'capssetter caps="{rtp_caps("video", codec, payload, fmtp).to_string()}" ! ' if fmtp else ""
        made = Gst.parse_bin_from_description(
            f"{self.source.text} ! rtph264pay config-interval=-1 aggregate-mode=zero-latency mtu=1200 pt={payload} ssrc={ssrc} ! {told}"
            f'capsfilter caps="{rtp_caps("video", codec, payload, fmtp, ssrc).to_string()}"', True)
        self.pipeline.add(made)
        pad = self.bin.request_pad_simple(f"sink_{index}")
        made.get_static_pad("src").link(pad)
        made.sync_state_with_parent()
        transceiver = pad.get_property("transceiver")
        transceiver.set_property("direction", webrtcbin_peer.DIRECTIONS[stream["direction"]])
        transceiver.set_property("do-nack", True)
        self.feed = made.get_by_name("in")
        return transceiver


class End:
    """The same as gst_end.Ours, with webrtcbin."""

    def __init__(self, plan):
        self.plan = plan
        self.peer = Peer(plan)
        self.pipeline, self.source, self.sink = self.peer.pipeline, self.peer.source, self.peer.sink
        self.meeting = webrtcbin_peer.Meeting(plan["dir"])
        self.failed, self.done = None, threading.Event()

    def start(self):
        threading.Thread(target=self._call, daemon=True).start()

    def _call(self):
        try:
            limit = self.plan["limit"]
            if self.plan["role"] == "offer":
                self.meeting.write("offer", self.peer.offer())
                self.peer._take("answer", self.meeting.wait("answer", limit))
            else:
                self.meeting.write("answer", self.peer.answer(self.meeting.wait("offer", limit)))
            self.peer.connected(limit)
            if not self.source:
                self.meeting.wait("bye", limit)
                time.sleep(gst_end.TAIL)
        except Exception as error:  # told by over(), which the main thread asks
            self.failed = error
        if not self.source or self.failed:
            self.done.set()

    def send(self):
        while "connected" not in self.peer.states:
            time.sleep(0.005)
        self.source.run(self.peer.feed)
        self.meeting.bye()
        self.done.set()

    def stats(self):
        return None

    def over(self):
        if self.failed:
            raise RuntimeError(str(self.failed))
        error = self.pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        if error:
            raise RuntimeError(" ".join(map(str, error.parse_error())))
        return self.done.is_set()
