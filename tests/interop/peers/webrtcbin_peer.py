#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""GStreamer's webrtcbin as the other end of one call: `webrtcbin_peer.py PLAN`.

Runs with the system's Python, which has GStreamer's bindings. PLAN is the JSON that browser.mjs describes. The result
is one line of JSON on standard output; the exit status is 0 if there was no error.
"""

import json
import os
import pathlib
import random
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("Nice", "0.1")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC, Nice  # noqa: E402, F401 (GLib is for webrtcbin_data.py)

Gst.init(None)
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from file_signalling import Meeting, only_local  # noqa: E402
from webrtcbin_media import CODECS, OFFERED_H264, Counter, Source, rtp_caps  # noqa: E402

HOST = "127.0.0.1"
FIRST_PAYLOAD = 96
# How long nothing must come before the end is believed; webrtcbin's jitter buffer keeps things for 200 ms.
QUIET = 0.5
DIRECTIONS = {nick: getattr(GstWebRTC.WebRTCRTPTransceiverDirection, nick.upper()) for nick in ("sendonly", "recvonly", "sendrecv", "inactive")}


def media_lines(sdp):
    """The m-lines of a description: [{kind, codecs: [(payload type, name, fmtp)]}]"""
    lines = []
    for line in sdp.splitlines():
        if line.startswith("m="):
            words = line[2:].split(" ")
            lines.append({"kind": words[0], "order": words[3:], "names": {}, "fmtp": {}})
        elif line.startswith("a=rtpmap:") and lines:
            payload, name = line[9:].split(" ", 1)
            lines[-1]["names"][payload] = name.split("/")[0].upper()
        elif line.startswith("a=fmtp:") and lines:
            payload, fmtp = line[7:].split(" ", 1)
            lines[-1]["fmtp"][payload] = fmtp
    return lines


def pick(line, codecs):
    """(codec, payload type, fmtp) of the first wanted codec that the m-line has; H264 in the form that all speak."""
    static = {"0": "PCMU", "8": "PCMA", "9": "G722"}
    named = [(line["names"].get(payload, static.get(payload)), payload) for payload in line["order"]]
    for codec in codecs or [name for name, _ in named if name in CODECS]:
        found = [payload for name, payload in named if name == codec.upper()]
        fitness = [("packetization-mode=1" in line["fmtp"].get(payload, "")) * 2 + ("=42" in line["fmtp"].get(payload, "")) for payload in found]
        if found:
            payload = found[fitness.index(max(fitness))]
            return codec.upper(), int(payload), line["fmtp"].get(payload, "")
    raise RuntimeError(f"none of {codecs} in {named}")


def fmtp_of_h264(codec, fmtp):
    """The parameters by which webrtcbin tells one H264 from another."""
    pairs = dict(pair.strip().split("=", 1) for pair in fmtp.split(";") if "=" in pair)
    return {name: pairs[name] for name in OFFERED_H264 if name in pairs} if codec == "H264" else None


class Peer:
    """One webrtcbin and what hangs on it."""

    def __init__(self, plan, pipeline=None):
        self.plan = plan
        self.states = []
        self.changed = threading.Condition()
        self.sources, self.counters, self.kept = {}, {}, []
        self.pipeline = pipeline or Gst.Pipeline.new(None)
        self.bin = Gst.ElementFactory.make("webrtcbin", None)
        self.bin.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.bin)
        # libnice leaves 127.0.0.1 out unless told. A reference is kept: PyGObject would take webrtcbin's own away.
        self.ice = self.bin.get_property("ice-agent")
        agent = self.ice.get_property("agent")
        address = Nice.Address.new()
        address.set_from_string(HOST)
        agent.add_local_address(address)
        agent.set_property("upnp", False)
        agent.set_property("ice-tcp", False)
        self.bin.connect("notify::connection-state", self._state)
        self.bin.connect("pad-added", self._pad)
        # Where there are no transceivers of one's own, webrtcbin makes them while it reads the offer.
        self.bin.connect("on-new-transceiver", self._transceiver)

    def _state(self, *_):
        with self.changed:
            self.states.append(self.bin.get_property("connection-state").value_nick)
            self.changed.notify_all()

    def _transceiver(self, _, transceiver):
        self.kept.append(transceiver)

    def _pad(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        caps = (pad.get_current_caps() or pad.query_caps(None)).get_structure(0)
        index = pad.get_property("transceiver").get_property("mlineindex")
        counter = Counter(caps.get_string("media"), caps.get_string("encoding-name"))
        self.pipeline.add(counter.bin)
        counter.bin.sync_state_with_parent()
        linked = pad.link(counter.bin.get_static_pad("sink"))
        if linked != Gst.PadLinkReturn.OK:
            raise RuntimeError(f"a pad does not link: {linked}")
        self.counters[index] = counter

    def _ask(self, signal, *words):
        """Emit a signal that takes a promise; its reply."""
        promise = Gst.Promise.new()
        self.bin.emit(signal, *words, promise)
        promise.wait()
        reply = promise.get_reply()
        # The values live as long as the reply, the reply as long as the promise.
        self.kept += [promise, reply]
        if reply is not None and reply.has_field("error"):
            raise RuntimeError(f"{signal}: {reply.get_value('error')}")
        return reply

    def _describe(self, kind):
        made = self._ask(f"create-{kind}", None)
        if made is None or not made.has_field(kind):
            raise RuntimeError(f"create-{kind}: {made.to_string() if made else 'no reply'}")
        description = made.get_value(kind)
        self.kept.append(description)
        self._ask("set-local-description", description)
        end = time.monotonic() + 10
        while self.bin.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            if time.monotonic() > end:
                raise TimeoutError("candidates are not complete after 10 s")
            time.sleep(0.001)
        return only_local(self.bin.get_property("local-description").sdp.as_text(), HOST)

    def _take(self, kind, sdp):
        _, message = GstSdp.SDPMessage.new_from_text(sdp)
        sort = GstWebRTC.WebRTCSDPType.OFFER if kind == "offer" else GstWebRTC.WebRTCSDPType.ANSWER
        self._ask("set-remote-description", GstWebRTC.WebRTCSessionDescription.new(sort, message))

    def _send_on(self, index, stream, codec, payload, fmtp):
        source = Source(stream, codec, payload, fmtp, random.getrandbits(31) + 1)
        self.sources[index] = source
        self.pipeline.add(source.bin)
        pad = self.bin.request_pad_simple(f"sink_{index}")
        source.bin.get_static_pad("src").link(pad)
        source.bin.sync_state_with_parent()
        transceiver = pad.get_property("transceiver")
        transceiver.set_property("direction", DIRECTIONS[stream["direction"]])
        return transceiver

    def offer(self):
        for index, stream in enumerate(self.plan["streams"]):
            names = [codec.upper() for codec in stream.get("codecs") or (["VP8"] if stream["kind"] == "video" else ["OPUS"])]
            payload = FIRST_PAYLOAD + 10 * index
            caps = Gst.Caps.new_empty()
            for at, codec in enumerate(names):
                caps.append(rtp_caps(stream["kind"], codec, payload + at, OFFERED_H264 if codec == "H264" else None))
            if "send" in stream["direction"]:
                fmtp = OFFERED_H264 if names[0] == "H264" else None
                self._send_on(index, stream, names[0], payload, fmtp).set_property("codec-preferences", caps)
            else:
                self.kept.append(self.bin.emit("add-transceiver", DIRECTIONS[stream["direction"]], caps))
        if self.plan.get("data"):
            self.pipeline.set_state(Gst.State.READY)
            self.kept.append(self.bin.emit("create-data-channel", "data", None))
        self.pipeline.set_state(Gst.State.PLAYING)
        return self._describe("offer")

    def answer(self, sdp):
        picked = {}
        left = list(enumerate(media_lines(sdp)))
        for stream in self.plan["streams"]:
            at = next(at for at, (_, line) in enumerate(left) if line["kind"] == stream["kind"])
            index, line = left.pop(at)
            if stream["direction"] != "inactive":
                picked[index] = (stream, *pick(line, stream.get("codecs")))
        self.pipeline.set_state(Gst.State.PLAYING)
        self.bin.sync_state_with_parent()
        for index, (stream, codec, payload, fmtp) in picked.items():
            if "send" in stream["direction"]:
                transceiver = self._send_on(index, stream, codec, payload, fmtp_of_h264(codec, fmtp))
                transceiver.set_property("codec-preferences", rtp_caps(stream["kind"], codec, payload))
        self._take("offer", sdp)
        for transceiver in self.kept:
            if isinstance(transceiver, GstWebRTC.WebRTCRTPTransceiver):
                self._settle(transceiver, picked)
        return self._describe("answer")

    @staticmethod
    def _settle(transceiver, picked):
        """Codec and direction of a transceiver that the offer made."""
        index = transceiver.get_property("mlineindex")
        if index not in picked:
            transceiver.set_property("direction", DIRECTIONS["inactive"])
            return
        stream, codec, payload, _ = picked[index]
        transceiver.set_property("codec-preferences", rtp_caps(stream["kind"], codec, payload))
        transceiver.set_property("direction", DIRECTIONS[stream["direction"]])

    def connected(self, seconds):
        with self.changed:
            self.changed.wait_for(lambda: {"connected", "failed", "closed"} & set(self.states), seconds)
            if "connected" not in self.states:
                raise RuntimeError(f"not connected within {seconds} s: {self.states}")

    def send(self):
        threads = [threading.Thread(target=source.run, daemon=True) for source in self.sources.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # From the payloader through webrtcbin to the socket.
        time.sleep(0.1)

    def drain(self):
        """Until nothing has come for a while."""
        total = -1
        while total != (now := sum(counter.buffers for counter in self.counters.values())):
            total = now
            time.sleep(QUIET)

    def result(self):
        wrong = self.pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        if wrong:
            raise RuntimeError(" ".join(map(str, wrong.parse_error())))
        streams = []
        for index in sorted({*self.sources, *self.counters}):
            line = {"mlineindex": index, "kind": (self.sources.get(index) or self.counters[index]).kind}
            if index in self.sources:
                line["sent"] = {"drawn": self.sources[index].drawn, "framesSent": self.sources[index].drawn}
            if index in self.counters:
                line["received"] = self.counters[index].summary()
            streams.append(line)
        return {"states": self.states, "streams": streams}


def call(plan):
    meeting, peer, limit = Meeting(plan["dir"]), Peer(plan), plan.get("timeout", 30)
    if plan["role"] == "offer":
        meeting.write("offer", peer.offer())
        peer._take("answer", meeting.wait("answer", limit))
    else:
        meeting.write("answer", peer.answer(meeting.wait("offer", limit)))
    if plan.get("describe"):
        return {"states": [], "streams": []}
    peer.connected(limit)
    if peer.sources:
        peer.send()
        meeting.bye()
    else:
        meeting.wait("bye", limit)
        peer.drain()
    return peer.result()


def main():
    if sys.argv[1:] == ["--version"]:
        print(Gst.version_string())
        return 0
    try:
        answer = {"result": call(json.loads(sys.argv[1]))}
    except Exception as error:  # the result line tells it; a test reads that
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    # webrtcbin's threads may outlive it.
    os._exit(main())
