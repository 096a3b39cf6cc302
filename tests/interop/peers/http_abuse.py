# SPDX-License-Identifier: MPL-2.0
"""Treats an HTTP server badly, in a process of its own so that whoever measures is not held up.

    http_abuse.py HOST PORT PATH

Each kind of abuse prints a line {"kind", "statuses": {STATUS or "closed" or "silent": COUNT}, "seconds"}; at most CONNECTIONS
are open at a time, only to the given address, and each waits WAIT seconds at most.
"""

import asyncio
import collections
import json
import resource
import sys
import time

CONNECTIONS = 1000
WAIT = 15
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


def post(path, body, content_type="application/sdp", more=""):
    data = body if isinstance(body, bytes) else body.encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\n{more}\r\n".encode() + data


def get(path, method="GET", more=""):
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()


def kinds(path):
    """(kind, requests): each request is the bytes of one connection."""
    long = "x" * 100_000
    video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"
    yield "malformed bodies", [post(path, body) for body in (
        "", "not SDP", SDP, SDP + video, b"\xff\xfe\x00" * 100, "v=0\r\n" * 10_000, SDP + video * 500, "m=video 99999999999 X -1\r\n",
        SDP + video + "a=ice-ufrag:" + "u" * 5000 + "\r\n")]
    yield "wrong types", [post(path, SDP, kind) for kind in ("text/html", "application/json", "", "application/sdp; charset=utf-8x", "x" * 3000)]
    yield "wrong methods", [get(path, method) for method in ("GET", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "HEAD")]
    yield "wrong paths", [get(place) for place in ("/nothing", "/whep/", "//", "/../../etc/passwd", "/%00", "/whep/..%2f", "/" + "a" * 5000)] + [
        get(f"{path}/{'0' * 32}", method) for method in ("DELETE", "PATCH", "POST", "GET")]
    yield "no HTTP", [b"\0" * 4000 + b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 500 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                      b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"]
    yield "oversized heads", [get("/", more=f"X: {long}\r\n"), get("/" + long), get("/", more="".join(f"X-{n}: y\r\n" for n in range(500)))]
    yield "oversized bodies", [post(path, SDP + long * 20), post(path, long * 20, more="Expect: 100-continue\r\n"),
                               b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 99999999999\r\n\r\n" + long.encode() * 20,
                               b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n\r\n"
                               + b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n"]


async def ask(host, port, request, pause=None):
    """The status line's number, `closed` if there is none, `silent` if nothing comes in time. `pause`: seconds between two bytes."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), WAIT)
    except (OSError, asyncio.TimeoutError):
        return "closed"
    try:
        if pause is None:
            writer.write(request)
            writing = asyncio.create_task(writer.drain())
        else:
            writing = asyncio.create_task(trickle(writer, request, pause))
        line = await asyncio.wait_for(reader.readline(), WAIT)
        while b" 100 " in line:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT)
            line = await asyncio.wait_for(reader.readline(), WAIT)
        return line.split(b" ")[1].decode() if line.startswith(b"HTTP/") else "closed"
    except asyncio.TimeoutError:
        return "silent"
    except (OSError, asyncio.IncompleteReadError, ValueError):
        return "closed"
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        writer.close()


async def trickle(writer, request, pause):
    for byte in request:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(pause)


async def run(host, port, kind, requests, pause=None):
    gate = asyncio.Semaphore(CONNECTIONS)

    async def one(request):
        async with gate:
            return await ask(host, port, request, pause)
    begun = time.monotonic()
    statuses = collections.Counter(await asyncio.gather(*map(one, requests)))
    print(json.dumps({"kind": kind, "statuses": statuses, "seconds": round(time.monotonic() - begun, 2)}), flush=True)


async def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
    host, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    for kind, requests in kinds(path):
        await run(host, port, kind, requests)
    await run(host, port, "slow heads", [get("/", more="X: " + "y" * 500 + "\r\n")] * 400, pause=0.2)
    await run(host, port, "slow bodies", [post(path, SDP * 20)] * 40, pause=0.2)
    await run(host, port, "silent connections", [b""] * 400)
    await run(host, port, "many pages", [get("/", more="Connection: close\r\n")] * 5000)
    await run(host, port, "many refusals", [post(path, "not SDP", more="Connection: close\r\n")] * 5000)


asyncio.run(main())
