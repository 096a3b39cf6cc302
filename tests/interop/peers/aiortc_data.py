# SPDX-License-Identifier: MPL-2.0
"""aiortc with data channels, by files in a directory.

    aiortc_data.py offer|answer FOLDER [--receive-to FILE] [--send FILE] [--small COUNT] [--echo] ...

Results go to standard output: one JSON object in the last line.
"""

import argparse
import asyncio
import hashlib
import json
import pathlib
import sys
import time

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from file_signalling import Meeting, only_local  # noqa: E402

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

# Bytes that may wait in aiortc.
ROOM = 1 << 20
# Bytes of small messages that may be under way. aiortc goes through all of them for each acknowledgement: with as many as
# the window has room for it answers nothing for so long, STUN neither, that the remote gives it up.
SMALL_UNDER_WAY = 4096


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["offer", "answer"])
    parser.add_argument("folder")
    parser.add_argument("--send", metavar="FILE", help="open a channel and send this file")
    parser.add_argument("--blocksize", type=int, default=16384)
    parser.add_argument("--small", type=int, default=0, help="send so many small messages, text and binary in turn")
    parser.add_argument("--label", default="file")
    parser.add_argument("--echo", action="store_true", help="send back what comes")
    parser.add_argument("--close-after", type=int, default=0, help="close the remote's channel after so many messages")
    parser.add_argument("--keep", action="store_true", help="list the messages in the result")
    parser.add_argument("--unreliable", action="store_true", help="the channel may lose and reorder messages")
    parser.add_argument("--timeout", type=float, default=60)
    return parser.parse_args()


class Call:
    """One call from the first message to the bye."""

    def __init__(self, asked):
        self.asked = asked
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.over = asyncio.Event()
        self.hashes, self.result = {}, {"channels": {}, "messages": []}
        self.connection.on("datachannel", self._opened)
        self.connection.on("connectionstatechange", self._state)

    def _state(self):
        self.result["state"] = self.connection.connectionState
        if self.connection.connectionState in ("closed", "failed"):
            self.over.set()

    def _opened(self, channel):
        about = {"protocol": channel.protocol, "ordered": channel.ordered, "id": channel.id,
                 "maxRetransmits": channel.maxRetransmits, "maxPacketLifeTime": channel.maxPacketLifeTime,
                 "messages": 0, "bytes": 0, "text": 0, "closed": False, "begin": time.monotonic()}
        self.result["channels"][channel.label] = about
        digest = self.hashes[channel.label] = hashlib.sha256()

        @channel.on("message")
        def _(message):
            text = isinstance(message, str)
            data = message.encode() if text else message
            about["messages"] += 1
            about["bytes"] += len(data)
            about["text"] += text
            about["end"] = time.monotonic()
            digest.update(len(data).to_bytes(4, "big") + bytes([text]) + data if self.asked.small < 0 else data)
            if self.asked.keep:
                self.result["messages"].append(["text", message] if text else ["binary", data.hex()])
            if self.asked.echo:
                channel.send(message)
            if self.asked.close_after and about["messages"] == self.asked.close_after:
                channel.close()

        @channel.on("close")
        def _():
            about["closed"] = True
            self.over.set()

    async def _send(self, channel):
        while channel.readyState != "open":
            await asyncio.sleep(0.005)
        digest, count, size = hashlib.sha256(), 0, 0
        begin = time.monotonic()

        async def room():
            while channel.bufferedAmount > ROOM:
                await asyncio.sleep(0.002)
        if self.asked.send:
            with open(self.asked.send, "rb") as source:
                while block := source.read(self.asked.blocksize):
                    await room()
                    channel.send(block)
                    digest.update(block)
                    count, size = count + 1, size + len(block)
        for number in range(self.asked.small):
            while self.connection.sctp._flight_size > SMALL_UNDER_WAY or channel.bufferedAmount > SMALL_UNDER_WAY:
                await asyncio.sleep(0)
            text = f"{number}\n"
            channel.send(text if number % 2 else text.encode())
            digest.update(text.encode())
            count, size = count + 1, size + len(text)
        while channel.bufferedAmount and channel.readyState == "open":
            await asyncio.sleep(0.005)
        self.result["sent"] = {"messages": count, "bytes": size, "sha256": digest.hexdigest(), "seconds": time.monotonic() - begin}
        channel.close()
        while channel.readyState not in ("closed",):
            await asyncio.sleep(0.005)

    async def run(self):
        meeting, loop = Meeting(self.asked.folder), asyncio.get_running_loop()

        async def wait(kind):
            return await loop.run_in_executor(None, meeting.wait, kind, self.asked.timeout)
        sending = None
        if self.asked.send or self.asked.small > 0 or self.asked.role == "offer":
            options = {"ordered": False, "maxRetransmits": 0} if self.asked.unreliable else {}
            channel = self.connection.createDataChannel(self.asked.label, protocol="test", **options)
            if self.asked.send or self.asked.small > 0:
                sending = asyncio.ensure_future(self._send(channel))
        if self.asked.role == "offer":
            await self.connection.setLocalDescription(await self.connection.createOffer())
            meeting.write("offer", only_local(self.connection.localDescription.sdp))
            await self.connection.setRemoteDescription(RTCSessionDescription(await wait("answer"), "answer"))
        else:
            await self.connection.setRemoteDescription(RTCSessionDescription(await wait("offer"), "offer"))
            await self.connection.setLocalDescription(await self.connection.createAnswer())
            meeting.write("answer", only_local(self.connection.localDescription.sdp))
        try:
            await asyncio.wait_for(sending or self.over.wait(), self.asked.timeout)
        except asyncio.TimeoutError:
            self.result["timeout"] = True
        for label, digest in self.hashes.items():
            self.result["channels"][label]["sha256"] = digest.hexdigest()
        meeting.bye()
        print(json.dumps(self.result), flush=True)
        await self.connection.close()


if __name__ == "__main__":
    asyncio.run(Call(arguments()).run())
