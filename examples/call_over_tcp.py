#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""A call whose signalling this program carries itself (`signaller=application`), here over a TCP connection.

    call_over_tcp.py --listen 127.0.0.1:9000                    sends a test picture to whoever connects
    call_over_tcp.py --connect 127.0.0.1:9000                   shows what it gets
    call_over_tcp.py --connect HOST:PORT [--] PIPELINE          any line of gst-launch-1.0 with our elements in it

A message is a line, which is also what TcpSocketSignaling of aiortc writes and reads: the other end may be one of its
programs (there, who offers listens). Ctrl-C ends the streams, and with them the call. Needs python3-gi, and the plugin in
GST_PLUGIN_PATH.
"""

import argparse
import signal
import socket
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

LOCAL = "ice-addresses=127.0.0.1"
SEND = f"videotestsrc is-live=true ! x264enc tune=zerolatency key-int-max=60 ! rswebrtcsink {LOCAL}"
SHOW = f"rswebrtcsrc {LOCAL} ! decodebin ! videoconvert ! autovideosink"


def carry(element, connection):
    """What `element` says goes to the other side, and the other way round: this is all of it."""

    def send(_element, message):
        try:
            connection.sendall(message.encode() + b"\n")
        except OSError as error:
            print(f"not sent: {error}", file=sys.stderr)

    def receive():
        try:
            for line in connection.makefile(encoding="utf-8", errors="replace"):
                element.emit("handle-signalling-message", line)
        except OSError as error:
            print(f"the connection is lost: {error}", file=sys.stderr)
        # Who is gone says nothing any more.
        element.emit("handle-signalling-message", '{"type": "bye"}')

    element.connect("on-signalling-message", send)
    threading.Thread(target=receive, daemon=True).start()


def meet(arguments):
    """A connection to the other program."""
    host, _, port = (arguments.listen or arguments.connect).rpartition(":")
    if arguments.connect:
        # Either may be started first.
        until = time.monotonic() + 10
        while True:
            try:
                return socket.create_connection((host, int(port)))
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
    with socket.create_server((host, int(port))) as server:
        print("waiting at {}:{}".format(*server.getsockname()), file=sys.stderr, flush=True)
        return server.accept()[0]


def our_element(pipeline):
    """The element that signals. Of two that share a call (`call=NAME`) either will do."""
    found = []
    pipeline.iterate_recurse().foreach(found.append)
    ours = [element for element in found if element.get_factory().get_name() in ("rswebrtcsink", "rswebrtcsrc")]
    if not ours:
        sys.exit("no rswebrtcsink and no rswebrtcsrc in the pipeline")
    ours[0].set_property("signaller", "application")
    return ours[0]


def main():
    parser = argparse.ArgumentParser(description="A call that is signalled over a TCP connection.")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--listen", metavar="HOST:PORT")
    way.add_argument("--connect", metavar="HOST:PORT")
    parser.add_argument("pipeline", nargs="*", help="as for gst-launch-1.0")
    arguments = parser.parse_args()
    Gst.init(None)
    pipeline = Gst.parse_launch(" ".join(arguments.pipeline) or (SEND if arguments.listen else SHOW))
    if not isinstance(pipeline, Gst.Pipeline):
        element, pipeline = pipeline, Gst.Pipeline()
        pipeline.add(element)
    element = our_element(pipeline)
    connection = meet(arguments)
    carry(element, connection)

    loop, status = GLib.MainLoop(), 0

    def watch(_bus, message):
        nonlocal status
        if message.type == Gst.MessageType.ERROR:
            print("error:", message.parse_error()[0].message, file=sys.stderr)
            status = 1
            loop.quit()
        elif message.type == Gst.MessageType.WARNING:
            print("warning:", message.parse_warning()[0].message, file=sys.stderr)
        elif message.type == Gst.MessageType.ELEMENT and message.get_structure().get_name() == "rswebrtc-negotiated":
            print("connected", file=sys.stderr, flush=True)
        elif message.type == Gst.MessageType.EOS:
            loop.quit()

    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message", watch)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGINT, lambda: pipeline.send_event(Gst.Event.new_eos()))
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    connection.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
