# SPDX-License-Identifier: MPL-2.0
"""Calls over an impaired link: starts the link and the ends, and gathers what they noted."""

import csv
import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "interop"))
import foreign  # noqa: E402
import gst  # noqa: E402
import impaired  # noqa: E402

IN_PYTHON = ("ours", "webrtcbin")
# From the start of both programs to the first picture, and for the end.
SPARE = 30
RESTRICTED = "video/x-h264,profile=constrained-baseline"
# Encoder: (codec, what stands in the pipeline, set for little work and no look-ahead). av1enc of GStreamer 1.22 makes no key
# frame when it is asked to, codes without loss unless it is given quantizers, and libaom then ends the program.
ENCODERS = {
    "x264enc": ("H264", "x264enc name=encoder tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=300 bitrate={kbit} "
                        f"{{vbv}} ! {RESTRICTED}"),
    "openh264enc": ("H264", f"openh264enc name=encoder rate-control=bitrate complexity=low gop-size=300 bitrate={{bits}} ! {RESTRICTED}"),
    "vp8enc": ("VP8", "vp8enc name=encoder deadline=1 cpu-used=8 keyframe-max-dist=300 end-usage=cbr target-bitrate={bits}"),
    "vp9enc": ("VP9", "vp9enc name=encoder lag-in-frames=0 deadline=1 cpu-used=8 keyframe-max-dist=300 end-usage=cbr target-bitrate={bits}"),
    "av1enc": ("AV1", "av1enc name=encoder usage-profile=realtime cpu-used=10 end-usage=cbr min-quantizer=2 max-quantizer=60 keyframe-max-dist=30 target-bitrate={kbit}"),
    "x265enc": ("H265", "x265enc name=encoder tune=zerolatency speed-preset=ultrafast key-int-max=300 bitrate={kbit}"),
}
# What a browser is asked for by the name of its codec, and ours where nothing is said.
# Ours sets its encoder so; others are given the same.
VBV = {"ours": ""}
OTHERS_VBV = "vbv-buf-capacity=100"
BY_CODEC = {"H264": "x264enc", "VP8": "vp8enc"}


class Flow:
    """A sender and a receiver over the link; see gst_end.py for the words of `sender` and `receiver`."""

    def __init__(self, sender, receiver="ours", kbit=2500, most=8000, encoded=False, decode=True, latency=200, properties="", encoder="x264enc"):
        self.sender, self.receiver, self.kbit, self.most, self.encoded, self.decode = sender, receiver, kbit, most, encoded, decode
        self.latency, self.properties, self.encoder = latency, properties, BY_CODEC.get(encoder, encoder)

    def plans(self, folder, seconds):
        codec, encoder = ENCODERS[self.encoder]
        common = {"seconds": seconds, "limit": seconds + SPARE, "latency": self.latency, "kbit": self.kbit, "most": self.most,
                  "properties": self.properties, "codec": codec}
        send = {"peer": self.sender, "do": "send", "role": "offer", "encoder": encoder.format(kbit=self.kbit, bits=1000 * self.kbit, vbv=VBV.get(self.sender, OTHERS_VBV)), "encoded": self.encoded}
        receive = {"peer": self.receiver, "do": "receive", "role": "answer", "decode": self.decode}
        return [{**common, **plan, "dir": str(folder / plan["do"]), "out": str(folder / f"{plan['do']}.json")} for plan in (send, receive)]


class InPython:
    """An end that is a process of gst_end.py."""

    def __init__(self, plan):
        self.out = pathlib.Path(plan["out"])
        keep = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
        env = gst.environment() if plan["peer"] == "ours" else {**keep, "PYTHONUNBUFFERED": "1"}
        self.limit = plan["limit"] + 20
        self.process = gst.Process([foreign.SYSTEM_PYTHON, "-B", HERE / "gst_end.py", json.dumps(plan)], f"{plan['peer']} {plan['do']}", env=env).go()

    def result(self):
        try:
            self.process.wait(self.limit)
            if not self.out.exists():
                raise AssertionError(self.process.report())
            result = json.loads(self.out.read_text())
            if "error" in result:
                raise AssertionError(f"{result['error']}\n{self.process.report()}")
            return result
        finally:
            self.process.kill()

    def close(self):
        self.process.kill()


class Run:
    """What one call, or several at a time, left behind."""

    def __init__(self, rows, flows, link):
        self.rows, self.flows, self.link = rows, flows, link


def end_of(plan):
    if plan["peer"] in IN_PYTHON:
        return InPython(plan)
    import browser_end
    return browser_end.InBrowser(plan)


def run(there, back, flows, seconds, folder, seed=1):
    """Makes the calls of `flows` at the same time, sender at `a`; raises AssertionError if one fails."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "link.csv"
    link = impaired.ImpairedLink(there, back, seed, log)
    posts, ends = [], []
    try:
        for number, flow in enumerate(flows):
            plans = flow.plans(folder / str(number), seconds)
            posts.append(impaired.Post(link, plans[0]["dir"], plans[1]["dir"], number))
            ends.append([end_of(plan) for plan in reversed(plans)][::-1])
        results = [{"send": sender.result(), "receive": receiver.result()} for sender, receiver in ends]
        for post, result in zip(posts, results):
            post.stop()
            result["sdp"] = post.sdp
            (folder / str(post.flow) / "sdp.json").write_text(json.dumps(post.sdp))
        stats = link.close()
    finally:
        for pair in ends:
            for end in pair:
                end.close()
        link.process.kill()
    with open(log, newline="") as file:
        return Run(rows_of(file), results, stats)


def rows_of(file):
    """The link's log: times in seconds, numbers as numbers."""
    rows = []
    for row in csv.DictReader(file):
        for name in ("time", "queued", "arrives"):
            row[name] = int(row[name]) / 1e6 if row[name] else None
        for name in ("flow", "size", "payload_type", "ssrc", "sequence_number"):
            row[name] = int(row[name]) if row[name] else None
        rows.append(row)
    return rows
