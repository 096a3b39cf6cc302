# SPDX-License-Identifier: MPL-2.0
"""aiortc as the other end of one call: `aiortc_peer.py PLAN`, signalling by files.

PLAN is the JSON that browser.mjs describes. The result is one line of JSON on standard output; the exit status is 0 if
there was no error. (aiortc_cli.py is aiortc as people use it, with copy and paste.)
"""

import asyncio
import fractions
import json
import math
import os
import pathlib
import sys
import time

import aioice.ice
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import stamp  # noqa: E402
from file_signalling import Meeting, only_local  # noqa: E402

HOST = "127.0.0.1"
CLOCK = 90000
SOUND_MS = 20
# How long nothing must come before the end is believed.
QUIET = 0.5


class Source(MediaStreamTrack):
    """Gives its frames in real time; `sent` is set when the last of them has been encoded and sent."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream
        self.drawn = 0
        self.begin = None
        self.sent = asyncio.Event()

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        if self.drawn >= self.total:
            # The sender asks for the next frame once it is done with the one before.
            self.sent.set()
            await asyncio.Event().wait()
        self.begin = self.begin or time.monotonic()
        await asyncio.sleep(max(0, self.begin + self.drawn * self.each - time.monotonic()))
        frame = self.frame()
        self.drawn += 1
        return frame


class Pictures(Source):
    """Numbered pictures."""

    kind = "video"

    def __init__(self, stream):
        super().__init__(stream)
        self.total, self.each = stream.get("frames", 50), 1 / stream.get("fps", 20)

    def frame(self):
        picture = stamp.scene(self.stream.get("width", 320), self.stream.get("height", 180), self.drawn, noise=0)
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = int(self.drawn * self.each * CLOCK), fractions.Fraction(1, CLOCK)
        return frame


class Tone(Source):
    """500 Hz."""

    kind = "audio"

    def __init__(self, stream):
        super().__init__(stream)
        codec = (stream.get("codecs") or ["OPUS"])[0].upper()
        self.rate = {"PCMU": 8000, "PCMA": 8000, "G722": 16000}.get(codec, 48000)
        self.total, self.each = int(stream.get("seconds", 2.5) * 1000 / SOUND_MS), SOUND_MS / 1000

    def frame(self):
        count = self.rate * SOUND_MS // 1000
        wave = (9000 * np.sin(2 * math.pi * 500 * np.arange(count) / self.rate)).astype("<i2")
        frame = AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self.rate
        frame.pts, frame.time_base = self.drawn * count, fractions.Fraction(1, self.rate)
        return frame


class Counter:
    """What one stream brought."""

    def __init__(self):
        self.frames = self.samples = self.loudest = self.width = 0
        self.tally = stamp.Tally()

    async def read(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.frames += 1
            if track.kind == "video":
                self.width = frame.width
                self.tally.add(stamp.read(stamp.luma_of(frame)))
            else:
                self.samples += frame.samples
                self.loudest = max(self.loudest, int(np.abs(frame.to_ndarray().astype(int)).max()))


class Peer:
    """One connection with its sources and counters."""

    def __init__(self, plan):
        self.plan = plan
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.sources, self.counters, self.tasks, self.states = {}, {}, [], []
        self.up = asyncio.Event()
        self.connection.on("track", self._track)
        self.connection.on("connectionstatechange", self._state)

    def _state(self):
        self.states.append(self.connection.connectionState)
        if self.states[-1] in ("connected", "failed"):
            self.up.set()

    def _track(self, track):
        counter = self.counters[track] = Counter()
        self.tasks.append(asyncio.ensure_future(counter.read(track)))

    @staticmethod
    def _prefer(transceiver, stream):
        if not stream.get("codecs"):
            return
        side = RTCRtpSender if "send" in stream["direction"] else RTCRtpReceiver
        known = side.getCapabilities(stream["kind"]).codecs
        wanted = [f"{stream['kind']}/{codec}".lower() for codec in stream["codecs"]]
        found = [codec for name in wanted for codec in known if codec.mimeType.lower() == name]
        if not found:
            raise RuntimeError(f"no {stream['codecs']} in aiortc")
        transceiver.setCodecPreferences(found + [codec for codec in known if codec.mimeType.lower() == "video/rtx"])

    def _source(self, stream):
        return (Pictures if stream["kind"] == "video" else Tone)(stream) if "send" in stream["direction"] else None

    async def _describe(self, description):
        await self.connection.setLocalDescription(description)
        return only_local(self.connection.localDescription.sdp, HOST)

    async def offer(self):
        for stream in self.plan["streams"]:
            source = self._source(stream)
            transceiver = self.connection.addTransceiver(source or stream["kind"], stream["direction"])
            self.sources[transceiver] = source
            self._prefer(transceiver, stream)
        if self.plan.get("data"):
            self.connection.createDataChannel("data")
        return await self._describe(await self.connection.createOffer())

    async def answer(self, sdp):
        await self.take("offer", sdp)
        left = self.connection.getTransceivers()
        for stream in self.plan["streams"]:
            transceiver = left.pop(next(at for at, one in enumerate(left) if one.kind == stream["kind"]))
            source = self.sources[transceiver] = self._source(stream)
            if source:
                transceiver.sender.replaceTrack(source)
            transceiver.direction = stream["direction"]
            self._prefer(transceiver, stream)
        return await self._describe(await self.connection.createAnswer())

    async def take(self, kind, sdp):
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type=kind))

    async def drain(self):
        total = -1
        while total != (now := sum(counter.frames for counter in self.counters.values())):
            total = now
            await asyncio.sleep(QUIET)

    async def result(self):
        streams = []
        for transceiver in self.connection.getTransceivers():
            line = {"mid": transceiver.mid, "kind": transceiver.kind, "direction": transceiver.currentDirection}
            source, counter = self.sources.get(transceiver), self.counters.get(transceiver.receiver.track)
            if source:
                line["sent"] = {"drawn": source.drawn, "framesSent": source.drawn,
                                **await self._packets(transceiver.sender, "outbound-rtp", "packetsSent")}
            if counter:
                line["received"] = {**await self._packets(transceiver.receiver, "inbound-rtp", "packetsReceived", "packetsLost"),
                                    "framesDecoded": counter.frames, "samples": counter.samples, "loudest": counter.loudest,
                                    "width": counter.width, "numbers": counter.tally.summary()}
            streams.append(line)
        return {"states": self.states, "streams": streams}

    @staticmethod
    async def _packets(end, kind, *members):
        reports = [report for report in (await end.getStats()).values() if report.type == kind]
        return {member: sum(getattr(report, member) for report in reports) for member in members}


async def wait(meeting, kind, limit):
    """Like Meeting.wait, while aiortc goes on."""
    end = time.monotonic() + limit
    while not meeting.there(kind):
        if time.monotonic() > end:
            raise TimeoutError(f"no {kind}.json within {limit} s")
        await asyncio.sleep(0.02)
    return None if kind == "bye" else meeting.read(kind)


async def call(plan):
    meeting, peer, limit = Meeting(plan["dir"]), Peer(plan), plan.get("timeout", 30)
    if plan["role"] == "offer":
        meeting.write("offer", await peer.offer())
        await peer.take("answer", await wait(meeting, "answer", limit))
    else:
        meeting.write("answer", await peer.answer(await wait(meeting, "offer", limit)))
    if plan.get("describe"):
        return {"states": [], "streams": []}
    await asyncio.wait_for(peer.up.wait(), limit)
    if peer.states[-1] != "connected":
        raise RuntimeError(f"the connection is {peer.states}")
    sources = [source for source in peer.sources.values() if source]
    if sources:
        for source in sources:
            await source.sent.wait()
        result = await peer.result()
        meeting.bye()
    else:
        await wait(meeting, "bye", limit)
        await peer.drain()
        result = await peer.result()
    for task in peer.tasks:
        task.cancel()
    await peer.connection.close()
    return result


def main():
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [HOST]
    try:
        answer = {"result": asyncio.run(call(json.loads(sys.argv[1])))}
    except Exception as error:  # the result line tells it; a test reads that
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    # aiortc leaves decoder threads behind that would hold up a normal exit.
    os._exit(main())
