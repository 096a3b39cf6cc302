# SPDX-License-Identifier: MPL-2.0
"""What stands in the pipelines: the film in front of every sender, what is behind every receiver, and each kind's own part."""

import collections

MTU = 1200
PAYLOAD = 96
# What the kernel lets a socket have (net.core.rmem_max) is the limit anyway.
SOCKET_BUFFER = 4 << 20

Codec = collections.namedtuple("Codec", "parse pay depay caps rtp media")
CODECS = {
    "H264": Codec("h264parse config-interval=-1", f"rtph264pay config-interval=-1 aggregate-mode=zero-latency mtu={MTU}", "rtph264depay",
                  "video/x-h264,stream-format=byte-stream,alignment=au", "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000", "video"),
    "OPUS": Codec("opusparse", f"rtpopuspay mtu={MTU}", "rtpopusdepay", "audio/x-opus",
                  "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2", "audio"),
}
# A tap counts buffers and bytes in C; neither it nor the sink asks Python anything.
TAP = "identity name=tap silent=true signal-handoffs=false"


def film(plan):
    """The encoded film in its own time: the same in front of all. `gate` is where the benchmark holds it back."""
    codec = CODECS[plan["codec"]]
    return (f'filesrc location="{plan["film"]}" ! qtdemux ! {codec.parse} ! capsfilter name=gate caps="{codec.caps}" '
            f"! identity name=pace sync=true silent=true signal-handoffs=false")


def tail(plan):
    """The end of every receiver: whole access units, dropped."""
    return f'capsfilter caps="{CODECS[plan["codec"]].caps}" ! {TAP} ! fakesink sync=false async=false'


def sender(plan):
    """gst-launch text of what follows the film; of webrtcbin only what comes before it."""
    codec = CODECS[plan["codec"]]
    kind = plan["kind"]
    if kind == "ours":
        where = f"signaller=whep-server location=http://127.0.0.1:{plan['port']}/whep" if plan.get("many") else f"signaller=file location={plan['dir']}"
        # The film comes in its time already, as it does to the others, which makes it look live; webrtcbin holds it too.
        return f"rswebrtcsink name=peer sync=false early-data=hold ice-addresses=127.0.0.1 {where}"
    if kind == "webrtcbin":
        # Nothing that takes the payloader's lists of packets apart may stand behind it: no identity, capsfilter or capssetter. A tee and a queue keep them.
        return f"{codec.pay} name=pay pt={PAYLOAD}" + (" ! tee name=tee allow-not-linked=true" if plan.get("many") else "")
    if kind == "udp":
        return f"{codec.pay} pt={PAYLOAD} ! udpsink host=127.0.0.1 port={plan['port']} sync=false async=false"
    if kind == "webrtcsink":
        return (f"webrtcsink name=peer congestion-control=disabled {codec.media}-caps=\"{codec.caps.split(',', 1)[0]}\" run-signalling-server=true "
                f"signalling-server-host=127.0.0.1 signalling-server-port={plan['port']} signaller::uri=ws://127.0.0.1:{plan['port']}")
    return f"{TAP} ! fakesink sync=false async=false"


def receiver(plan):
    """gst-launch text of the whole receiver; of webrtcbin only what follows it."""
    codec = CODECS[plan["codec"]]
    kind = plan["kind"]
    if kind == "ours":
        return f"rswebrtcsrc name=peer ice-addresses=127.0.0.1 signaller=file location={plan['dir']} latency={plan['latency']} ! {tail(plan)}"
    if kind == "webrtcbin":
        return f"{codec.depay} ! {tail(plan)}"
    if kind == "webrtcsink":
        # It gives single NAL units, which only a parser makes frames of.
        return f"webrtcsrc name=peer connect-to-first-producer=true signaller::uri=ws://127.0.0.1:{plan['port']} ! {codec.parse} ! {tail(plan)}"
    return (f'udpsrc address=127.0.0.1 port={plan["port"]} buffer-size={SOCKET_BUFFER} caps="{codec.rtp},payload={PAYLOAD}" '
            f"! rtpjitterbuffer latency={plan['latency']} ! {codec.depay} ! {tail(plan)}")
