#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""GStreamer's webrtcbin with a data channel, by files in a directory: `webrtcbin_data.py offer|answer FOLDER [--send COUNT]`.

Runs with the system's Python, which has GStreamer's bindings. With --send it opens a channel and sends COUNT messages that are
their numbers, text and binary in turn; without, it takes what comes on the remote's. The result is one line of JSON.
"""

import argparse
import hashlib
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from file_signalling import Meeting  # noqa: E402
from webrtcbin_peer import GLib, Gst, Peer  # noqa: E402

# Bytes that may wait in webrtcbin.
ROOM = 1 << 18


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["offer", "answer"])
    parser.add_argument("folder")
    parser.add_argument("--send", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=60)
    return parser.parse_args()


class DataPeer(Peer):
    """Without media; one channel counts, the first."""

    def __init__(self, asked):
        super().__init__({"streams": []})
        self.asked, self.channel = asked, None
        self.opened, self.closed = threading.Event(), threading.Event()
        self.digest = hashlib.sha256()
        self.came = {"messages": 0, "bytes": 0, "text": 0, "begin": None, "end": None}
        self.bin.connect("on-data-channel", lambda _, channel: self._take_channel(channel))
        self.pipeline.set_state(Gst.State.READY)
        if asked.send or asked.role == "offer":
            self._take_channel(self.bin.emit("create-data-channel", "of webrtcbin", None), own=True)

    def _take_channel(self, channel, own=False):
        # One that it made to have an m-line is not the one on which the remote sends.
        if self.channel and (own or self.asked.send):
            return
        self.kept.append(channel)
        self.channel = channel
        channel.connect("on-open", lambda _: self.opened.set())
        channel.connect("on-close", lambda _: self.closed.set())
        channel.connect("on-message-string", lambda _, text: self._message((text or "").encode(), True))
        channel.connect("on-message-data", lambda _, data: self._message(data.get_data() if data else b"", False))

    def _message(self, data, text):
        came = self.came
        came["begin"] = came["begin"] or time.monotonic()
        came["end"] = time.monotonic()
        came["messages"] += 1
        came["bytes"] += len(data)
        came["text"] += text
        self.digest.update(data)

    def take_the_rest(self):
        """webrtcbin tells of the end on another thread than of messages, and not behind them."""
        until = time.monotonic() + 10
        while time.monotonic() < until and time.monotonic() - (self.came["end"] or 0) < 1:
            time.sleep(0.02)

    def send_numbers(self):
        if not self.opened.wait(self.asked.timeout):
            raise TimeoutError("the channel does not open")
        begin = time.monotonic()
        for number in range(self.asked.send):
            while self.channel.get_property("buffered-amount") > ROOM:
                time.sleep(0.001)
            if number % 2:
                self.channel.emit("send-string", f"{number}\n")
            else:
                self.channel.emit("send-data", GLib.Bytes.new(f"{number}\n".encode()))
        while self.channel.get_property("buffered-amount"):
            time.sleep(0.001)
        seconds = time.monotonic() - begin
        self.channel.emit("close")
        self.closed.wait(5)
        return {"messages": self.asked.send, "seconds": seconds}


def main():
    asked = arguments()
    meeting, peer = Meeting(asked.folder), DataPeer(asked)
    if asked.role == "offer":
        meeting.write("offer", peer.offer())
        peer._take("answer", meeting.wait("answer", asked.timeout))
    else:
        meeting.write("answer", peer.answer(meeting.wait("offer", asked.timeout)))
    peer.connected(asked.timeout)
    sent = peer.send_numbers() if asked.send else None
    over = sent is not None or peer.closed.wait(asked.timeout)
    peer.take_the_rest()
    came = {**peer.came, "sha256": peer.digest.hexdigest(), "closed": peer.closed.is_set()}
    print(json.dumps({"over": over, "sent": sent, "came": came, **peer.result()}), flush=True)
    meeting.bye()
    peer.pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()
