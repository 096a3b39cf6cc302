# SPDX-License-Identifier: MPL-2.0
"""A relay in one line: what one publishes by WHIP, any number view by WHEP; nothing is decoded on the way."""

import sys
import unittest

import gst
import http_calls
import media

FRAMES, FRAMES_A_SECOND = 160, 20


class Relay(http_calls.HttpTest):
    """`rswebrtcsrc signaller=whip-server ! rswebrtcsink signaller=whep-server`."""

    limit = 60

    def relay(self):
        """(process, WHIP URL, WHEP URL)."""
        pipeline = ("rswebrtcsrc name=r signaller=whip-server location=http://127.0.0.1:0/whip  r.video_0 ! queue ! s.video_0  "
                    "r.audio_0 ! queue ! s.audio_0  rswebrtcsink name=s signaller=whep-server location=http://127.0.0.1:0/whep")
        process = self.gst(pipeline, "relay", "-e", stdin=gst.subprocess.DEVNULL).go()
        urls = [http_calls.LISTENING.search(process.err.wait_for(rf"^{name}: listening on", http_calls.START)[1]).group(1) for name in "rs"]
        return process, *urls

    def test_numbered_pictures_reach_two_viewers(self):
        relay, whip, whep = self.relay()
        film = media.raw_y4m(FRAMES, FRAMES_A_SECOND)
        publisher = self.publisher(whip, f"filesrc location={film} ! y4mdec ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=300 ! queue ! s.video_0",
                                   http_calls.sound(f"num-buffers={FRAMES * 48000 // FRAMES_A_SECOND // 1024}"))
        publisher.err.wait_for(gst.NEGOTIATED, 20)
        recordings = [self.folder / f"{number}.mkv" for number in (1, 2)]
        viewers = []
        for number, recording in enumerate(recordings):
            branches = ("r.video_0 ! tee name=t ! queue ! m.video_0  t. ! queue ! fakesink name=seen silent=false sync=false  "
                        f"r.audio_0 ! queue ! m.audio_0  matroskamux name=m ! filesink location={recording}")
            viewers.append(self.viewer(whep, branches, name=f"viewer {number}", flags="-e -v"))
            http_calls.wait_for_arrivals(viewers[-1], 10, 20)
        # The film ends, and with it all who send or view it.
        for process in (publisher, relay, *viewers):
            self.expect_exit(process, 0, 30)
        for recording in recordings:
            numbers = media.stamps(recording).summary()
            self.note(str({name: numbers[name] for name in ("frames", "first", "last", "missing")}))
            self.assertEqual((numbers["backwards"], numbers["unreadable"]), (0, 0), numbers)
            self.assertEqual(numbers["last"], FRAMES - 1, numbers)
            self.assertEqual(numbers["frames"], numbers["last"] - numbers["first"] + 1, numbers)
            self.assertGreater(media.loudness(recording), 0.05)


if __name__ == "__main__":
    sys.exit(unittest.main())
