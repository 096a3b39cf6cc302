# SPDX-License-Identifier: MPL-2.0
"""webrtcbin as an end of a measured call, as it comes: no NACK, no FEC, its own latency, the descriptions by files or WHEP."""

import http.server
import pathlib
import sys
import threading

from gi.repository import Gst

import pipelines

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "interop" / "peers"))
import webrtcbin_peer  # noqa: E402
from webrtcbin_media import rtp_caps  # noqa: E402

# Between two looks for a description: as good as at once.
PAUSE = 0.001


def retold(pad, info, told):
    """x264 writes its own level; webrtcbin compares letter by letter what was agreed. So the caps go on with what was: one call for each viewer."""
    event, peer = info.get_event(), pad.get_peer()
    if event.type != Gst.EventType.CAPS or not peer:
        return Gst.PadProbeReturn.OK
    caps = event.parse_caps().copy()
    agreed = told.get_structure(0)
    for name in map(agreed.nth_field_name, range(agreed.n_fields())):
        caps.set_value(name, agreed.get_value(name))
    peer.send_event(Gst.Event.new_caps(caps))
    return Gst.PadProbeReturn.HANDLED


class Peer(webrtcbin_peer.Peer):
    """The peer of the tests, fed with RTP that is there already, and ending where all receivers end."""

    def __init__(self, plan, pipeline, feed=None):
        stream = {"kind": pipelines.CODECS[plan["codec"]].media, "direction": "sendonly" if feed else "recvonly", "codecs": [plan["codec"]]}
        super().__init__({"streams": [stream]}, pipeline)
        self.feed, self.call, self.codec = feed, plan, plan["codec"]
        self.built = lambda: None
        if not feed:
            self.bin.set_property("latency", plan["latency"])

    def _send_on(self, index, stream, codec, payload, fmtp):
        """From the one payloader to a pad, with nothing between them that takes lists of packets apart."""
        told = rtp_caps(stream["kind"], codec, payload, fmtp)
        pad = self.bin.request_pad_simple(f"sink_{index}")
        self.pipeline.get_by_name("pay").set_property("pt", payload)
        source = self.feed.get_static_pad("src")
        if self.call.get("many"):
            queue = Gst.ElementFactory.make("queue", None)
            for name, value in (("max-size-buffers", 0), ("max-size-bytes", 0), ("leaky", "downstream")):
                Gst.util_set_object_arg(queue, name, str(value))
            self.pipeline.add(queue)
            queue.get_static_pad("src").link(pad)
            queue.sync_state_with_parent()
            source = self.feed.request_pad_simple("src_%u")
            source.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, retold, told)
            source.link(queue.get_static_pad("sink"))
        else:
            source.link(pad)
        transceiver = pad.get_property("transceiver")
        transceiver.set_property("direction", webrtcbin_peer.DIRECTIONS["sendonly"])
        return transceiver

    def offer(self):
        """Of the codec whatever the film is, so that nothing has to be told otherwise."""
        kind = self.plan["streams"][0]["kind"]
        transceiver = self._send_on(0, self.plan["streams"][0], self.codec, pipelines.PAYLOAD, None)
        transceiver.set_property("codec-preferences", rtp_caps(kind, self.codec, pipelines.PAYLOAD))
        self.pipeline.set_state(Gst.State.PLAYING)
        return self._describe("offer")

    def _pad(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        made = Gst.parse_bin_from_description(pipelines.receiver(self.call), True)
        self.pipeline.add(made)
        self.built()
        made.sync_state_with_parent()
        pad.link(made.get_static_pad("sink"))


class Call:
    """One call, the descriptions by files: the sender offers, as ours does."""

    def __init__(self, plan):
        self.plan = plan
        sends = plan["do"] == "send"
        self.pipeline = Gst.parse_launch(f"{pipelines.film(plan)} ! {pipelines.sender(plan)}") if sends else Gst.Pipeline.new(None)
        self.peer = Peer(plan, self.pipeline, self.pipeline.get_by_name("pay") if sends else None)
        self.meeting = webrtcbin_peer.Meeting(plan["dir"])

    def start(self):
        if self.plan["do"] == "send":
            self.meeting.write("offer", self.peer.offer())
            return
        self.peer.built = self.built
        self.meeting.write("answer", self.peer.answer(self.meeting.wait("offer", self.plan["limit"], PAUSE)))

    def wait_until_up(self):
        if self.plan["do"] == "send":
            self.peer._take("answer", self.meeting.wait("answer", self.plan["limit"], PAUSE))
        self.peer.connected(self.plan["limit"])


class Audience:
    """One webrtcbin for each viewer behind a tee, and as much of WHEP as lets viewers come."""

    def __init__(self, plan):
        self.plan, self.peers = plan, []
        self.pipeline = Gst.parse_launch(f"{pipelines.film(plan)} ! {pipelines.sender(plan)}")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", plan["port"]), self._handler())
        # Peers are made one after the other: a tee and a pipeline are shared.
        self.turn = threading.Lock()

    def _handler(audience):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, status, text="", **headers):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": len(text.encode())}.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_POST(self):
                offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
                answer, number = audience.admit(offer)
                self.reply(201, answer, Content_Type="application/sdp", Location=f"/whep/{number}")

            def do_PATCH(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.reply(204)

            def do_DELETE(self):
                self.reply(200)

            def log_message(self, *_):
                pass
        return Handler

    def admit(self, offer):
        with self.turn:
            peer = Peer(self.plan, self.pipeline, self.pipeline.get_by_name("tee"))
            self.peers.append(peer)
            return peer.answer(offer), len(self.peers)

    def start(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_until_up(self):
        """The server listens since it was made."""
