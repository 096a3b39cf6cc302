# SPDX-License-Identifier: MPL-2.0
"""An application that serves a stream by WHEP and watches who comes and goes.

    watching_server.py LAUNCH LINE

The line has the server, named `s`. Prints a JSON line for each thing it is told: {"listening": URL}, {"added": ID}, {"removed": ID},
{"error": TEXT}, {"eos": true}, {"navigation": {NAME: VALUE}} for what a viewer does; and for each line on standard input {"stats": {PEER: {STREAM: {NAME: NUMBER OR TEXT}}}}. Ends at the
end of standard input.

    watching_server.py --uri sink|src URI   prints {"factory", "signaller", "uri"} of what Gst.Element.make_from_uri gives
"""

import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402


def say(**what):
    print(json.dumps(what), flush=True)


def plain(value):
    """A structure as a dictionary."""
    if isinstance(value, Gst.Structure):
        return {value.nth_field_name(number): plain(value.get_value(value.nth_field_name(number))) for number in range(value.n_fields())}
    return value if isinstance(value, (int, float, str)) else str(value)


def from_uri(kind, uri):
    direction = {"sink": Gst.URIType.SINK, "src": Gst.URIType.SRC}[kind]
    element = Gst.Element.make_from_uri(direction, uri, None)
    say(factory=element.get_factory().get_name(), signaller=element.get_property("signaller").value_nick, uri=element.get_uri())


class Server:
    """The pipeline and what is told of it."""

    def __init__(self, line):
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.parse_launch(line)
        self.sink = self.pipeline.get_by_name("s")
        self.sink.connect("peer-added", lambda _sink, peer: say(added=peer))
        self.sink.connect("peer-removed", lambda _sink, peer: say(removed=peer))
        for pad in self.sink.sinkpads:
            pad.get_peer().add_probe(Gst.PadProbeType.EVENT_UPSTREAM, self.upstream)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.message)

    @staticmethod
    def upstream(_pad, info):
        event = info.get_event()
        if event.type == Gst.EventType.NAVIGATION:
            say(navigation=plain(event.get_structure()))
        return Gst.PadProbeReturn.OK

    def message(self, _bus, message):
        if message.type == Gst.MessageType.ERROR:
            say(error=str(message.parse_error()))
            self.loop.quit()
        elif message.type == Gst.MessageType.EOS:
            say(eos=True)
        elif message.type == Gst.MessageType.ELEMENT and message.get_structure().get_name() == "rswebrtc-listening":
            say(listening=message.get_structure().get_string("url"))

    def asked(self):
        for _ in sys.stdin:
            say(stats=plain(self.sink.get_property("stats")))
        self.loop.quit()

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        threading.Thread(target=self.asked, daemon=True).start()
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)


Gst.init(None)
if sys.argv[1] == "--uri":
    from_uri(*sys.argv[2:])
else:
    Server(" ".join(sys.argv[1:])).run()
