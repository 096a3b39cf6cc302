# SPDX-License-Identifier: MPL-2.0
"""Scalable video (SVC) of Chromium, VP9 and AV1 with several layers in one stream: passed through whole, with the dependency descriptor."""

import re
import sys
import unittest

import calls
import gst
import http_calls
import impaired
import media

# Of smaller pictures Chromium makes fewer layers.
WIDTH, HEIGHT, FPS, FRAMES = 960, 540, 15, 75
URI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"


class Packet:
    """An RTP packet (RFC 3550 section 5.1) with its header extensions (RFC 8285)."""

    def __init__(self, data):
        self.marker, self.number = bool(data[1] & 0x80), int.from_bytes(data[2:4], "big")
        self.timestamp = int.from_bytes(data[4:8], "big")
        at = 12 + 4 * (data[0] & 15)
        self.two_bytes, self.extensions = False, {}
        if data[0] & 0x10:
            profile, words = int.from_bytes(data[at:at + 2], "big"), int.from_bytes(data[at + 2:at + 4], "big")
            self.two_bytes = profile >> 4 == 0x100
            self._elements(data[at + 4:at + 4 + 4 * words])
            at += 4 + 4 * words
        self.payload = data[at:]

    def _elements(self, data):
        at = 0
        while at < len(data):
            if not data[at]:
                at += 1
                continue
            key, length, at = (data[at], data[at + 1], at + 2) if self.two_bytes else (data[at] >> 4, (data[at] & 15) + 1, at + 1)
            self.extensions[key] = data[at:at + length]
            at += length


def packets(path):
    """Of a file of rtpstreampay (RFC 4571)."""
    data, at, found = path.read_bytes(), 0, []
    while at + 2 <= len(data):
        size = int.from_bytes(data[at:at + 2], "big")
        found.append(Packet(data[at + 2:at + 2 + size]))
        at += 2 + size
    return found


def vp9_spatial_layer(payload):
    """RFC 9628 section 4.2."""
    at = 1
    if payload[0] & 0x80:
        at += 2 if payload[1] & 0x80 else 1
    return payload[at] >> 1 & 7 if payload[0] & 0x20 else 0


class Svc(calls.ForeignCall):
    """Chromium sends layers that are predicted from each other."""

    # A browser that encodes several layers takes both cores of a small machine.
    alone = True

    limit = 70
    wait = 40
    browser = True

    def publisher(self, codec, mode, frames=FRAMES):
        stream = {"kind": "video", "direction": "sendonly", "codecs": [codec], "encodings": [{"scalabilityMode": mode}],
                  "width": WIDTH, "height": HEIGHT, "fps": FPS, "frames": frames}
        return self.peer("chromium", "offer", stream)

    def caught(self, name):
        """What takes RTP into a file, with its caps."""
        return f"rtpstreampay ! filesink location={self.folder / name}"

    def descriptor_id(self, process):
        """Of the dependency descriptor in the caps that this process told of."""
        found = re.search(rf'extmap-(\d+)=\(string\)"?{re.escape(URI)}', process.out.text().replace("\\", ""))
        self.assertTrue(found, f"no dependency descriptor in RTP caps\n{self.said()}")
        return int(found.group(1))

    def check_descriptors(self, found, key, long):
        """Each packet of a frame has one; that of a key frame tells the structure, and takes the two-byte form if that is `long`."""
        self.assertGreater(len(found), 0.8 * FRAMES)
        descriptors = [packet.extensions.get(key) for packet in found if packet.payload]
        self.assertNotIn(None, descriptors, "a packet without a descriptor")
        self.assertGreater(len(descriptors[0]), 3, "it begins with the structure")
        self.assertEqual((found[0].two_bytes, len(descriptors[0]) > 16), (long, long))
        numbers = [int.from_bytes(one[1:3], "big") for one in descriptors]
        steps = {(after - before) & 0xffff for before, after in zip(numbers, numbers[1:])}
        self.assertLessEqual(steps, {0, 1}, "frame numbers go on by one")
        self.note(f"{len(found)} packets, {sum(p.two_bytes for p in found)} in the two-byte form, {len(set(numbers))} frames of layers")

    def recorded(self, codec, mode, pads):
        """rswebrtcsrc with `pads` behind its pad, after a call with Chromium."""
        peer = self.publisher(codec, mode)
        src = self.gst(f"rswebrtcsrc name=r {self.ours('answer')} video-codecs={codec}  r.video_0 ! {pads}", "rswebrtcsrc", "-v",
                       stdin=gst.subprocess.DEVNULL).go()
        (line,) = self.outcome(src, peer)
        self.assertEqual(line["sent"]["scalability"], mode, line)
        return src

    def as_rtp(self, codec, mode, depayloader=None, long=True):
        """RTP of Chromium in a file, and beside it the frames that GStreamer's own depayloader makes of it, where it has one."""
        frames = self.folder / "out.mkv"
        beside = f"{depayloader} ! matroskamux ! filesink location={frames}" if depayloader else "fakesink"
        src = self.recorded(codec, mode, f"application/x-rtp ! tee name=t  t. ! queue ! {self.caught('rtp')}  t. ! queue ! {beside}")
        found = packets(self.folder / "rtp")
        self.check_descriptors(found, self.descriptor_id(src), long)
        if depayloader:
            self.check_pictures(frames)
        return found

    def check_pictures(self, path):
        """All of the largest layer."""
        summary, sizes = media.stamps(path, HEIGHT).summary(), media.sizes(path)
        self.note(f"{summary} {sizes}")
        self.assertEqual(sizes[-1], (WIDTH, HEIGHT), sizes)
        self.assertEqual((summary["backwards"], summary["last"]), (0, FRAMES - 1), summary)
        self.assertGreaterEqual(summary["frames"], 0.8 * FRAMES, summary)

    def as_frames(self, codec, mode):
        """The pictures of a recording, all layers in one stream."""
        path = self.folder / "out.mkv"
        self.recorded(codec, mode, f"queue ! matroskamux ! filesink location={path}")
        self.check_pictures(path)

    def test_vp9_l3t3_key_as_rtp(self):
        found = self.as_rtp("VP9", "L3T3_KEY", "rtpvp9depay")
        self.assertEqual({vp9_spatial_layer(packet.payload) for packet in found if packet.payload}, {0, 1, 2})

    def test_av1_l1t2_as_rtp(self):
        # Two layers in time alone have a structure that fits the one-byte form.
        self.as_rtp("AV1", "L1T2", long=False)

    def test_av1_l2t2_key_as_rtp(self):
        self.as_rtp("AV1", "L2T2_KEY")

    def test_vp9_l3t3_key_recorded(self):
        self.as_frames("VP9", "L3T3_KEY")

    def test_av1_l2t2_key_recorded(self):
        self.as_frames("AV1", "L2T2_KEY")

    def to_another_browser(self, codec, mode):
        """From one Chromium to another, which decodes the largest layer."""
        publisher, source = self.publisher(codec, mode), f"rswebrtcsrc name=r {self.ours('answer')} video-codecs={codec}"
        self.place = self.folder / "leaving"
        # It is opened last: a page in the background shows no pictures.
        viewer = self.peer("chromium", "answer", ("video", "recvonly", None))
        relay = self.gst(f"{source}  r.video_0 ! application/x-rtp ! queue ! s.video_0  rswebrtcsink name=s {self.ours('offer')}",
                         "relay", "-v", stdin=gst.subprocess.DEVNULL).go()
        (sent,) = publisher.result(self.wait)["streams"]
        (got,) = self.outcome(relay, viewer)
        got = got["received"]
        tally = self.tally(got["numbers"])
        self.note(f"{sent['sent']['scalability']}: {got['framesDecoded']} of {FRAMES} pictures decoded, {tally}")
        self.assertEqual((sent["sent"]["scalability"], got["width"]), (mode, WIDTH), got)
        self.assertGreaterEqual(got["framesDecoded"], 0.8 * FRAMES, got)
        self.assertGreaterEqual(tally["last"], FRAMES - 2, tally)
        self.assertEqual(tally["backwards"], 0, tally)

    def test_vp9_l3t3_key_to_another_browser(self):
        self.to_another_browser("VP9", "L3T3_KEY")

    def test_av1_l2t2_key_to_another_browser(self):
        self.to_another_browser("AV1", "L2T2_KEY")

    def test_two_viewers_of_a_relay_get_the_descriptors_as_they_came(self):
        publisher = self.publisher("VP9", "L3T3_KEY", 2 * FRAMES)
        relay = self.relay("rswebrtcsink name=s signaller=whep-server location=http://127.0.0.1:0/whep")
        server = http_calls.Server(relay)
        viewers = [self.watching(name, f"signaller=whep-client location={server.url} {gst.LOCAL}") for name in ("viewer-1", "viewer-2")]
        self.all_arrives(publisher, relay, *viewers)

    def test_what_is_sent_again_has_its_descriptor(self):
        """Over a link that loses every twentieth packet."""
        publisher, relay_source = self.publisher("VP9", "L3T3_KEY", 2 * FRAMES), self.place
        link = impaired.ImpairedLink("loss=5% delay=20ms", "delay=20ms", make=lambda argv, name: self.process([*argv, "--start", "now"], name))
        near, far = self.folder / "near", self.folder / "far"
        self.addCleanup(impaired.Post(link, near, far).stop)
        self.place = far
        # It is about what is sent again, and not about when.
        viewer = self.watching("viewer", self.ours("answer") + " latency=1000")
        self.place = near
        sink = f"rswebrtcsink name=s {self.ours('offer')}"
        self.place = relay_source
        self.all_arrives(publisher, self.relay(sink), viewer)
        lost = link.stats()["ab"]["lost"]
        self.note(f"{lost} packets lost")
        self.assertGreater(lost, 5)

    def relay(self, sink):
        """From a publisher's call to `sink`, as RTP, which is caught on the way."""
        return self.gst(f"rswebrtcsrc name=r {self.ours('answer')} video-codecs=VP9  r.video_0 ! application/x-rtp ! tee name=t  "
                        f"t. ! queue ! {self.caught('came')}  t. ! queue ! s.video_0  {sink}", "relay", "-v", stdin=gst.subprocess.DEVNULL).go()

    def watching(self, name, call):
        """One of ours that catches what it gets as RTP."""
        return self.gst(f"rswebrtcsrc name=r {call}  r.video_0 ! application/x-rtp ! {self.caught(name)}", name, "-v", stdin=gst.subprocess.DEVNULL).go()

    def all_arrives(self, publisher, relay, *viewers):
        """What each viewer got from its first key frame on is what came to the relay, byte for byte."""
        publisher.result(self.wait)
        for process in (relay, *viewers):
            self.expect_exit(process, 0, 20)
        came = self.descriptors(relay, "came")
        for viewer in viewers:
            got = self.descriptors(viewer, viewer.name)
            self.note(f"{len(got)} of {len(came)} packets")
            self.assertGreater(len(got[0][1]), 16, "it begins with the structure")
            self.assertGreater(len(got), FRAMES)
            self.assertEqual(got, came[came.index(got[0]):])

    def descriptors(self, process, name):
        """(payload, descriptor) of all packets that were caught."""
        key = self.descriptor_id(process)
        return [(packet.payload, packet.extensions[key]) for packet in packets(self.folder / name) if packet.payload]


if __name__ == "__main__":
    sys.exit(unittest.main())
