# SPDX-License-Identifier: MPL-2.0
"""aiortc as the other end of a call, in the way of its `videostream-cli` example.

    aiortc_cli.py offer|answer [what to send] [what to do with what comes]

Signalling is aiortc's own CopyAndPasteSignaling on standard input and output, or TcpSocketSignaling, MediaPlayer and MediaRecorder are
its own too, all of them as they come, but that the recorder gets no sound before a picture (see `Recorded`). Results go to standard error: one JSON object in the last line. Exit status
0 means that the call came up and ended without an error.
"""

import argparse
import asyncio
import fractions
import json
import os
import pathlib
import sys
import time

import aioice.ice
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceCandidate, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer, MediaRecorder
from aiortc.contrib.signaling import BYE, CopyAndPasteSignaling, TcpSocketSignaling
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import stamp  # noqa: E402

CLOCK = 90000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["offer", "answer"])
    parser.add_argument("--pattern", type=int, metavar="FRAMES", help="send this many numbered pictures, then say bye")
    parser.add_argument("--play-from", metavar="FILE", help="send this file with MediaPlayer, say bye at its end")
    parser.add_argument("--passthrough", action="store_true", help="MediaPlayer sends the file's packets as they are")
    parser.add_argument("--count", action="store_true", help="receive and tally the numbers of the pictures")
    parser.add_argument("--record-to", metavar="FILE", help="receive and write with MediaRecorder")
    parser.add_argument("--seconds", type=float, help="when receiving: say bye this long after the first picture (else: wait for the other's)")
    parser.add_argument("--linger", type=float, help="when sending and receiving: say bye this long after all is sent, and not when what comes ends")
    parser.add_argument("--audio", action="store_true", help="when offering to receive: also sound")
    parser.add_argument("--codec", choices=["vp8", "h264"], default="vp8")
    parser.add_argument("--tcp", type=int, metavar="PORT", help="TcpSocketSignaling at this port of 127.0.0.1; who offers listens")
    parser.add_argument("--host", default="127.0.0.1", help="the only local address to gather")
    parser.add_argument("--timeout", type=float, default=45, help="for the whole call")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=int, default=30)
    asked = parser.parse_args()
    asked.sends, asked.receives = bool(asked.pattern or asked.play_from), bool(asked.count or asked.record_to)
    if not asked.sends and not asked.receives:
        parser.error("send (--pattern, --play-from) or receive (--count, --record-to), or both")
    asked.direction = "sendrecv" if asked.sends and asked.receives else "sendonly" if asked.sends else "recvonly"
    return asked


class Pattern(MediaStreamTrack):
    """Numbered pictures in real time. `sent` is set when the last of them has been encoded and sent."""

    kind = "video"

    def __init__(self, width, height, fps, frames):
        super().__init__()
        self.width, self.height, self.fps, self.frames = width, height, fps, frames
        self.number = 0
        self.begin = None
        self.sent = asyncio.Event()

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        if self.number >= self.frames:
            # The sender asks for the next picture once it is done with the one before.
            self.sent.set()
            await asyncio.Event().wait()
        self.begin = self.begin or time.monotonic()
        await asyncio.sleep(max(0, self.begin + self.number / self.fps - time.monotonic()))
        frame = VideoFrame.from_ndarray(stamp.scene(self.width, self.height, self.number, noise=0), format="yuv420p")
        frame.pts, frame.time_base = self.number * CLOCK // self.fps, fractions.Fraction(1, CLOCK)
        self.number += 1
        return frame


class Recorded(MediaStreamTrack):
    """
    What MediaRecorder records of a track. It opens all its encoders with the first packet that one of them makes, and
    its task for the picture dies when that was sound ("Cannot change width after codec is open"): a matter of some
    milliseconds in a call that begins with both. So sound waits for the first picture.
    """

    def __init__(self, track, pictured):
        super().__init__()
        self.kind = track.kind
        self.track, self.pictured, self.begun = track, pictured, False

    async def recv(self):
        if self.kind == "audio":
            await self.pictured.wait()
        elif self.begun:
            # Who asks for the next picture has encoded the one before.
            self.pictured.set()
        try:
            frame = await self.track.recv()
        except MediaStreamError:
            # None comes: sound need not wait for it.
            self.pictured.set()
            raise
        self.begun = True
        return frame


class Call:
    """One call from the first message to the bye."""

    def __init__(self, asked):
        self.asked = asked
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.signaling = TcpSocketSignaling("127.0.0.1", asked.tcp) if asked.tcp else CopyAndPasteSignaling()
        self.result = {"role": asked.role, "codec": asked.codec, "connected": False, "bye": None, "audio_frames": 0}
        self.over = asyncio.Event()
        self.pictured = asyncio.Event()
        # Who sends and receives hangs up when both have ended.
        self.left = {"what is sent", "what comes"} if asked.direction == "sendrecv" else set()
        self.tally = stamp.Tally()
        self.recorder = None
        self.recorder_started = False
        self.player = self.pattern = None
        self.tasks = []
        self.connection.on("connectionstatechange", self._state)
        self.connection.on("track", self._track)

    # ---- events

    def _state(self):
        state = self.connection.connectionState
        if state == "connected":
            self.result["connected"] = True
            if self.pattern:
                self._spawn(self._end_when(self.pattern.sent))
        if state == "failed":
            self._end("ice failed")

    def _track(self, track):
        if not self.left:
            track.on("ended", lambda: self._end("track ended"))
        elif track.kind == "video":
            track.on("ended", lambda: self._ended("what comes"))
        if self.recorder:
            self.recorder.addTrack(Recorded(track, self.pictured))
        else:
            self._spawn(self._read(track))
        if self.asked.seconds and self.recorder and track.kind == "video":
            self._spawn(self._end_later())

    def _end(self, why):
        if not self.over.is_set():
            self.result["ended_by"] = why
            self.over.set()

    def _ended(self, what):
        self.left.discard(what)
        if self.left and self.asked.linger is not None:
            asyncio.get_event_loop().call_later(self.asked.linger, self._ended, *self.left)
        if not self.left:
            self._end("both have ended")

    async def _end_when(self, event):
        await event.wait()
        if self.left:
            self._ended("what is sent")
        else:
            self._end("all sent")

    async def _end_later(self):
        await asyncio.sleep(self.asked.seconds)
        self._end("seconds")

    def _spawn(self, work):
        self.tasks.append(asyncio.ensure_future(work))

    async def _read(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "audio":
                self.result["audio_frames"] += 1
                continue
            if not self.tally.numbers and self.asked.seconds:
                self._spawn(self._end_later())
            self.tally.add(stamp.read(stamp.luma_of(frame)))

    # ---- negotiation

    def _source(self):
        """(video track, audio track or None); the same ones in a call that is negotiated again."""
        if self.asked.play_from:
            if not self.player:
                self.player = MediaPlayer(self.asked.play_from, decode=not self.asked.passthrough)
                self.player.video.on("ended", lambda: self._ended("what is sent") if self.left else self._end("played"))
            return self.player.video, self.player.audio
        if not self.pattern:
            width, height = map(int, self.asked.size.split("x"))
            self.pattern = Pattern(width, height, self.asked.fps, self.asked.pattern)
        return self.pattern, None

    def _prefer(self, transceiver, side):
        wanted = f"video/{self.asked.codec}"
        codecs = side.getCapabilities("video").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType.lower() in (wanted, "video/rtx")])

    async def _offer(self):
        if self.asked.sends:
            video, audio = self._source()
            self._prefer(self.connection.addTransceiver(video, self.asked.direction), RTCRtpSender)
            if audio:
                self.connection.addTransceiver(audio, self.asked.direction)
        else:
            self._prefer(self.connection.addTransceiver("video", "recvonly"), RTCRtpReceiver)
            if self.asked.audio:
                self.connection.addTransceiver("audio", "recvonly")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        await self.signaling.send(self.connection.localDescription)

    async def _answer(self):
        sending = self.asked.sends
        video, audio = self._source() if sending else (None, None)
        for transceiver in self.connection.getTransceivers():
            if transceiver.kind == "video":
                self._prefer(transceiver, RTCRtpSender if sending else RTCRtpReceiver)
            track = video if transceiver.kind == "video" else audio
            if track:
                transceiver.sender.replaceTrack(track)
                transceiver.direction = self.asked.direction
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        await self.signaling.send(self.connection.localDescription)

    async def _consume_signaling(self):
        while True:
            message = await self.signaling.receive()
            if isinstance(message, RTCSessionDescription):
                await self.connection.setRemoteDescription(message)
                if message.type == "offer":
                    await self._answer()
                if self.recorder and not self.recorder_started:
                    self.recorder_started = True
                    if not any(transceiver.kind == "video" for transceiver in self.connection.getTransceivers()):
                        self.pictured.set()
                    await self.recorder.start()
            elif isinstance(message, RTCIceCandidate):
                await self.connection.addIceCandidate(message)
            elif message is BYE:
                self.result["bye"] = "received"
                self._end("bye")
                return

    async def run(self):
        if self.asked.record_to:
            self.recorder = MediaRecorder(self.asked.record_to)
        await self.signaling.connect()
        if self.asked.role == "offer":
            await self._offer()
        listening = asyncio.ensure_future(self._consume_signaling())
        ending = asyncio.ensure_future(self.over.wait())
        try:
            done, _ = await asyncio.wait({listening, ending}, timeout=self.asked.timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self.result["error"] = f"{self.asked.timeout} s passed, connection is {self.connection.connectionState}"
            if self.result.get("ended_by") == "track ended":
                # The end of the media may overtake the bye on its way through somebody's clipboard.
                await asyncio.wait({listening}, timeout=3)
            if listening.done():
                listening.result()
        except Exception as error:  # the result line tells it; a test reads that
            self.result["error"] = f"{type(error).__name__}: {error}"
        listening.cancel()
        ending.cancel()
        await self._finish()

    async def _finish(self):
        for report in (await self.connection.getStats()).values():
            if report.type == "inbound-rtp":
                self.result[f"{report.kind}_packets_received"] = report.packetsReceived
                self.result[f"{report.kind}_packets_lost"] = report.packetsLost
            elif report.type == "outbound-rtp":
                self.result[f"{report.kind}_packets_sent"] = report.packetsSent
        if self.recorder:
            await self.recorder.stop()
        if self.pattern:
            self.result["frames_sent"] = self.pattern.number
        if self.asked.count:
            self.result["received"] = self.tally.summary()
        try:
            await self.signaling.close()
        except BrokenPipeError:
            self.result["bye"] = self.result["bye"] or "could not be sent"
        await self.connection.close()
        for task in self.tasks:
            task.cancel()


async def main():
    asked = arguments()
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [asked.host]
    call = Call(asked)
    await call.run()
    print(json.dumps(call.result), file=sys.stderr, flush=True)
    return 0 if call.result["connected"] and "error" not in call.result else 1


if __name__ == "__main__":
    status = asyncio.run(main())
    sys.stdout.flush()
    # aiortc leaves decoder threads behind that would hold up a normal exit.
    os._exit(status)
