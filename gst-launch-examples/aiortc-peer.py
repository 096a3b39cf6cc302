#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""A WebRTC peer by aiortc, to talk to rswebrtcsink or rswebrtcsrc by copy and paste.

    aiortc-peer.py answer --record-to OUT.mp4     next to a sink that offers (its default)
    aiortc-peer.py offer --record-to OUT.mp4      next to a sink with role=answer
    aiortc-peer.py offer --play-from IN.mp4       next to a src that answers (its default)
    aiortc-peer.py answer --play-from IN.mp4      next to a src with role=offer

Run it with .venv-tests/bin/python (made by scripts/setup.sh --tests). One line of JSON goes out and one comes in, as
aiortc's examples have it; MediaPlayer and MediaRecorder are aiortc's own. It ends when the film is over, when the other
end says bye, or when the connection is lost.
"""

import argparse
import asyncio
import json
import os
import sys

import aioice.ice
from aiortc import RTCConfiguration, RTCIceCandidate, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer, MediaRecorder
from aiortc.contrib.signaling import BYE, CopyAndPasteSignaling


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["offer", "answer"], help="write the offer, or wait for one")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--play-from", metavar="FILE", help="send this film")
    what.add_argument("--record-to", metavar="FILE", help="receive, and write it here")
    parser.add_argument("--codec", choices=["H264", "VP8"], help="prefer this one for video")
    parser.add_argument("--no-audio", action="store_true", help="when offering to record: no sound")
    parser.add_argument("--host", metavar="ADDRESS", help="use this local address alone (127.0.0.1 on one machine)")
    return parser.parse_args()


class Call:
    """One call, from the first line of signalling to the bye."""

    def __init__(self, asked):
        self.asked = asked
        # No servers: aiortc would otherwise ask a public STUN server for its address.
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.signaling = CopyAndPasteSignaling()
        self.player = MediaPlayer(asked.play_from) if asked.play_from else None
        self.recorder = MediaRecorder(asked.record_to) if asked.record_to else None
        self.over = asyncio.Event()
        self.peer.on("connectionstatechange", self._state_changed)
        self.peer.on("track", self._track_came)

    def _state_changed(self):
        print(f"aiortc: {self.peer.connectionState}", file=sys.stderr)
        if self.peer.connectionState in ("failed", "closed"):
            self.over.set()

    def _track_came(self, track):
        print(f"aiortc: receives {track.kind}", file=sys.stderr)
        if self.recorder:
            self.recorder.addTrack(track)

    async def run(self):
        """The whole call."""
        await self.signaling.connect()
        if self.asked.role == "offer":
            self._add_streams()
            await self.peer.setLocalDescription(await self.peer.createOffer())
            await self.signaling.send(self.peer.localDescription)
        messages = asyncio.ensure_future(self._take_messages())
        over = asyncio.ensure_future(self.over.wait())
        try:
            await asyncio.wait([messages, over], return_when=asyncio.FIRST_COMPLETED)
            if messages.done():
                messages.result()
        finally:
            for task in (messages, over):
                task.cancel()
            if self.recorder:
                await self.recorder.stop()
            await self._say_bye()
            await self.peer.close()

    async def _say_bye(self):
        try:
            await self.signaling.close()
        except BrokenPipeError:
            # The other end said bye and is gone. What is left in the buffer goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())

    def _add_streams(self):
        if self.player:
            tracks = [track for track in (self.player.video, self.player.audio) if track]
            left = set(tracks)

            def ended(track):
                left.discard(track)
                if not left:
                    self.over.set()

            for track in tracks:
                self.peer.addTrack(track)
                track.on("ended", lambda track=track: ended(track))
        elif self.asked.role == "offer":
            self.peer.addTransceiver("video", direction="recvonly")
            if not self.asked.no_audio:
                self.peer.addTransceiver("audio", direction="recvonly")
        if self.asked.codec:
            wanted = {f"video/{self.asked.codec}".lower(), "video/rtx"}
            codecs = [codec for codec in RTCRtpSender.getCapabilities("video").codecs if codec.mimeType.lower() in wanted]
            for transceiver in self.peer.getTransceivers():
                if transceiver.kind == "video":
                    transceiver.setCodecPreferences(codecs)

    async def _take_messages(self):
        while True:
            try:
                message = await self.signaling.receive()
            except json.JSONDecodeError as error:
                if not error.doc:
                    print("aiortc: the other end is gone", file=sys.stderr)
                    return
                if error.doc.strip():
                    print("aiortc: passed over a line that is not JSON", file=sys.stderr)
                continue
            if message is BYE:
                print("aiortc: bye", file=sys.stderr)
                return
            if isinstance(message, RTCIceCandidate):
                await self.peer.addIceCandidate(message)
            elif isinstance(message, RTCSessionDescription):
                await self._take_description(message)

    async def _take_description(self, description):
        await self.peer.setRemoteDescription(description)
        if self.recorder:
            await self.recorder.start()
        if description.type == "offer":
            self._add_streams()
            await self.peer.setLocalDescription(await self.peer.createAnswer())
            await self.signaling.send(self.peer.localDescription)


async def main():
    asked = arguments()
    if asked.host:
        aioice.ice.get_host_addresses = lambda **_: [asked.host]
    call = Call(asked)
    # The signalling keeps the standard output that it found; the prompts that it prints go to people from now on.
    sys.stdout = sys.stderr
    await call.run()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
