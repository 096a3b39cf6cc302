# SPDX-License-Identifier: MPL-2.0
"""aiortc as the other end of a call that is negotiated more than once: answers every offer, until a bye.

Lines of JSON on standard input and output. The last line on standard error is the result: offers answered, and the
frames of each track, in the order in which they came.
"""

import asyncio
import json
import sys

import aioice.ice
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


async def receive(track, counts, index):
    try:
        while True:
            await track.recv()
            counts[index] += 1
    except MediaStreamError:
        pass


async def main():
    loop = asyncio.get_running_loop()
    connection, counts, offers, tasks = RTCPeerConnection(), [], 0, []

    @connection.on("track")
    def on_track(track):
        counts.append(0)
        tasks.append(loop.create_task(receive(track, counts, len(counts) - 1)))

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        message = json.loads(line)
        if message["type"] == "bye":
            break
        if message["type"] != "offer":
            continue
        await connection.setRemoteDescription(RTCSessionDescription(message["sdp"], "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        offers += 1
        print(json.dumps({"sdp": connection.localDescription.sdp, "type": "answer"}), flush=True)
    await connection.close()
    print(json.dumps({"offers": offers, "frames": counts}), file=sys.stderr, flush=True)


asyncio.run(asyncio.wait_for(main(), 40))
