# SPDX-License-Identifier: MPL-2.0
"""Simulcast of browsers, three layers by rid: the largest, a named one and all of them recorded, and changes between them."""

import json
import os
import pathlib
import sys
import unittest

import calls
import foreign
import gst
import media

# Of smaller pictures Chromium makes fewer layers.
WIDTH, HEIGHT, FPS = 960, 540, 15
RIDS = ("h", "m", "l")
SIZES = {"h": (960, 540), "m": (480, 270), "l": (320, 180)}
ENCODINGS = [{"rid": rid, "scaleResolutionDownBy": WIDTH / SIZES[rid][0]} for rid in RIDS]


class Simulcast(calls.ForeignCall):
    """A browser sends, we record."""

    # A browser that encodes three layers takes both cores of a small machine: nothing beside it is in time.
    alone = True

    limit = 70
    wait = 40

    def record(self, name, layer, pads=("video_0",), frames=120, turns=(), codec="VP8"):
        stream = {"kind": "video", "direction": "sendonly", "codecs": [codec], "encodings": ENCODINGS, "turns": list(turns),
                  "width": WIDTH, "height": HEIGHT, "fps": FPS, "frames": frames}
        peer = self.peer(name, "offer", stream)
        src, files = self.src("answer", *pads, more=f"simulcast-layer={layer}")
        (line,) = self.outcome(src, peer)
        return line["sent"], files

    def whole(self, file):
        """The pictures' numbers and sizes: each can be read, and none comes twice or late."""
        numbers, sizes = media.stamps(file, HEIGHT), media.sizes(file)
        summary = numbers.summary()
        self.note(f"{summary} {sizes}")
        self.assertEqual(summary["backwards"], 0, summary)
        self.assertLessEqual(summary["unreadable"], 2, summary)
        return summary, sizes

    def best(self, name):
        """The largest layer comes, and goes on to the end."""
        sent, files = self.record(name, "best")
        self.assertEqual(sent["ssrcs"], 3, sent)
        summary, sizes = self.whole(files["video_0"])
        self.assertEqual(sizes[-1], SIZES["h"], sizes)
        self.assertEqual(summary["last"], 119, summary)
        self.assertGreaterEqual(summary["frames"], 90, summary)

    def named(self, name, layer, rid):
        """Only the layer that was asked for comes."""
        _, files = self.record(name, layer)
        summary, sizes = self.whole(files["video_0"])
        self.assertEqual(sizes, [SIZES[rid]])
        self.assertGreaterEqual(summary["frames"], 80, summary)

    def all_layers(self, name):
        """Each layer comes out of a pad of its own, with the same pictures."""
        _, files = self.record(name, "all", pads=("video_0", "video_1", "video_2"))
        for rid, pad in zip(RIDS, sorted(files)):
            summary, sizes = self.whole(files[pad])
            self.assertEqual(sizes, [SIZES[rid]], rid)
            self.assertGreaterEqual(summary["frames"], 80, summary)

    def changed(self, name):
        """The application asks for other layers while it plays: each comes, from a key frame on."""
        stream = {"kind": "video", "direction": "sendonly", "codecs": ["VP8"], "encodings": ENCODINGS,
                  "width": WIDTH, "height": HEIGHT, "fps": FPS, "frames": 220}
        peer = self.peer(name, "offer", stream)
        recording = self.folder / "out.mkv"
        pipeline = (f"rswebrtcsrc name=r {self.ours('answer')} simulcast-layer=l  "
                    f"r.video_0 ! identity name=n ! queue ! matroskamux ! filesink location={recording}")
        argv = [foreign.SYSTEM_PYTHON, "-B", gst.PEERS / "changing_layer.py", pipeline, 40, "h", "m", "lowest", "best"]
        application = self.process(argv, "application", env=gst.environment(), cwd=self.folder, stdin=gst.subprocess.DEVNULL).go()
        self.outcome(application, peer)
        summary, sizes = self.whole(recording)
        self.assertEqual(sizes[-5:], [SIZES[rid] for rid in "lhmlh"], sizes)
        self.assertEqual(summary["last"], 219, summary)
        # Until the key frame of the layer that was asked for, that of before goes on.
        self.assertGreaterEqual(summary["frames"], 200, summary)

    def stopped(self, name):
        """The sender stops the largest layer and begins it again: the next one takes its place meanwhile."""
        turns = [{"at": 50, "encodings": {"h": {"active": False}}}, {"at": 90, "encodings": {"h": {"active": True}}}]
        _, files = self.record(name, "best", frames=160, turns=turns)
        summary, sizes = self.whole(files["video_0"])
        self.assertEqual(sizes[-3:], [SIZES["h"], SIZES["m"], SIZES["h"]], sizes)
        self.assertEqual(summary["last"], 159, summary)
        # Half a second until each change, and what the encoder leaves out.
        self.assertGreaterEqual(summary["frames"], 135, summary)


for _name in foreign.BROWSERS:
    for _test, _words in (("best", ()), ("named", ("m", "m")), ("named", ("lowest", "l")), ("all_layers", ()), ("changed", ()), ("stopped", ())):
        def test(self, name=_name, what=_test, words=_words):
            getattr(self, what)(name, *words)
        test.__name__ = "_".join(("test", _name, _test, *_words[:1]))
        setattr(Simulcast, test.__name__, test)


class SimulcastOut(calls.ForeignCall):
    """We send three layers of one picture."""

    limit = 60
    wait = 40

    def layers(self, more, frames=100):
        """rswebrtcsink with a tee to three encoders, the largest in the middle of the pads."""
        sizes = (("m", 320, 180), ("h", 640, 360), ("l", 160, 90))
        rids = " ".join(f"video_{number}::rid={rid}" for number, (rid, _, _) in enumerate(sizes))
        branches = "  ".join(
            f"t. ! queue ! videoscale ! video/x-raw,width={width},height={height} ! vp8enc deadline=1 cpu-used=8 ! s.video_{number}"
            for number, (_, width, height) in enumerate(sizes))
        source = f"filesrc location={media.raw_y4m(frames, 20, 640, 360)} ! y4mdec ! tee name=t"
        return f"rswebrtcsink name=s {rids} {more}  {source}  {branches}"

    def send(self, more=""):
        return self.gst(self.layers(f"{self.ours('offer')} {more}"), "rswebrtcsink", "-q", stdin=gst.subprocess.DEVNULL).go()

    def werift(self, sink=""):
        named = [os.environ.get(name) for name in ("RSWEBRTC_WERIFT", "RSWEBRTC_NODE_TESTS")]
        folders = [*(pathlib.Path(name) for name in named if name), gst.ROOT / ".node-tests"]
        folder = next((path for path in folders if (path / "node_modules" / "werift").exists()), None)
        self.assertTrue(folder, "there is no werift: run 'scripts/setup.sh --tests' first")
        peer = self.process(["node", gst.PEERS / "werift_receiver.mjs", "--dir", self.place], "werift",
                            env={**os.environ, "RSWEBRTC_WERIFT": str(folder)}).go()
        ours = self.send(sink)
        self.expect_exit(ours, 0, self.wait)
        self.expect_exit(peer, 0, 10)
        return json.loads(peer.out.text().splitlines()[-1])["layers"], ours

    def test_each_layer_reaches_a_receiver_that_picks_by_rid(self):
        layers, _ = self.werift()
        self.note(f"{layers}")
        self.assertEqual(set(layers), {"h", "m", "l"})
        for rid, layer in layers.items():
            self.assertGreaterEqual(layer["frames"], 90, rid)
            self.assertEqual(len(layer["ssrcs"]), 1, rid)
            self.assertLessEqual(layer["missing"], 0, rid)
            self.assertGreaterEqual(layer["keysAsked"], 1, rid)
        self.assertGreater(layers["h"]["bytes"], layers["l"]["bytes"])

    def test_the_largest_layer_is_stopped_when_the_network_carries_too_little(self):
        layers, _ = self.werift(sink="max-bitrate=240000")
        self.note(f"{layers}")
        self.assertLess(layers.get("h", {"frames": 0})["frames"], 50, layers)
        for rid in ("m", "l"):
            self.assertGreaterEqual(layers[rid]["frames"], 85, rid)

    def test_layers_go_on_while_a_sound_comes_and_goes(self):
        """Two more offers during the call: each layer stays what it was, to the last picture."""
        files = {rid: self.folder / f"{rid}.mkv" for rid in ("h", "m", "l")}
        recorded = "  ".join(f"r.video_{number} ! queue ! matroskamux name=m{number} ! filesink location={file}"
                             for number, file in enumerate(files.values()))
        src = self.gst(f"rswebrtcsrc name=r {gst.LOCAL} simulcast-layer=all  {recorded}  r.audio_0 ! fakesink name=sound async=false", "rswebrtcsrc", "-q")
        application = self.process([foreign.SYSTEM_PYTHON, "-B", gst.PEERS / "growing_sink.py", self.layers(gst.LOCAL, 200)], "application",
                                   env=gst.environment(), cwd=self.folder)
        joint = gst.Joint(application, src)
        self.expect_exit(application, 0, self.wait)
        self.expect_exit(src, 0, 15)
        self.assertEqual(len(joint.of_type("offer")), 3, self.said())
        for rid, file in files.items():
            summary, sizes = media.stamps(file, 360).summary(), media.sizes(file)
            self.note(f"{rid}: {summary['first']} to {summary['last']}, {summary['missing']} missing")
            self.assertEqual(sizes, [{"h": (640, 360), "m": (320, 180), "l": (160, 90)}[rid]])
            self.assertEqual((summary["missing"], summary["backwards"], summary["last"]), (0, 0, 199), (rid, summary))

    def chromium(self, more):
        """Chromium takes no simulcast as a receiver: it shows the largest layer, however they are written."""
        peer = self.peer("chromium", "answer", ("video", "recvonly", "VP8"))
        (line,) = self.outcome(self.send(more), peer)
        got = line["received"]
        self.note(f"{got['framesDecoded']} of 100 pictures, {got['width']} wide")
        self.assertEqual(got["width"], 640, got)
        self.assertGreaterEqual(got["framesDecoded"], 85, got)
        tally = self.tally(got["numbers"])
        self.assertEqual(tally["backwards"], 0, tally)

    def test_chromium_gets_the_largest_of_layers_by_rid(self):
        self.chromium("")

    def test_chromium_gets_the_largest_of_layers_by_ssrc(self):
        self.chromium("simulcast=ssrc")


if __name__ == "__main__":
    sys.exit(unittest.main())
