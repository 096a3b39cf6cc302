# SPDX-License-Identifier: MPL-2.0
"""An application that changes `simulcast-layer` while it plays: changing_layer.py PIPELINE FRAMES LAYER...

PIPELINE has an rswebrtcsrc `r` and an `identity name=n` behind its pad. Each layer is asked for once so many more frames came.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402


def main(pipeline, frames, *layers):
    Gst.init(None)
    loop = GLib.MainLoop()
    pipeline = Gst.parse_launch(pipeline)
    source, left = pipeline.get_by_name("r"), list(layers)
    status, came = [1], [0]

    def change():
        layer = left.pop(0)
        source.set_property("simulcast-layer", layer)
        print(f"{came[0]}: {layer}", flush=True)

    def count(_pad, _info):
        came[0] += 1
        if came[0] % int(frames) == 0 and came[0] // int(frames) <= len(layers):
            GLib.idle_add(change)
        return Gst.PadProbeReturn.OK

    def message(_bus, what):
        if what.type == Gst.MessageType.ERROR:
            print(what.parse_error(), file=sys.stderr)
            loop.quit()
        elif what.type == Gst.MessageType.EOS:
            status[0] = 0
            loop.quit()

    pipeline.get_by_name("n").get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, count)
    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message", message)
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    return status[0]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
