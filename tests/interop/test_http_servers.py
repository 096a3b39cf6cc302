# SPDX-License-Identifier: MPL-2.0
"""Our WHIP and WHEP clients with servers of others: Janus, and for WHEP Meetecho's janus-whep-server before it."""

import signal
import sys
import unittest

import gst
import http_calls
import media
from janus import Janus

TOKEN = "hunter2.hunter2"
FRAMES, FRAMES_A_SECOND = 240, 20


class WithJanus(http_calls.HttpTest):
    """Janus gathers from every address but 127.0.0.1, so our ends use them all too."""

    limit = 50

    def setUp(self):
        super().setUp()
        self.secrets.append(TOKEN)

    def client(self, element, url, rest, name, flags="-e", token=TOKEN):
        words = f"signaller={'whip' if element == 'rswebrtcsink' else 'whep'}-client location={url} auth-token={token}"
        return self.gst(f"{element} name=e {words}  {rest}", name, flags, stdin=gst.subprocess.DEVNULL).go()

    def test_published_viewed_and_interrupted(self):
        """Numbered pictures through Janus; Ctrl-C at both ends, and both take their leave."""
        janus = Janus(self, token=TOKEN)
        film = media.raw_y4m(FRAMES, FRAMES_A_SECOND)
        sound = http_calls.sound(pad="e.audio_0")
        encoder = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=300"
        publisher = self.client("rswebrtcsink", janus.whip, f"filesrc location={film} ! y4mdec ! {encoder} ! queue ! e.video_0  {sound}", "publisher", "")
        publisher.err.wait_for(gst.NEGOTIATED, 20)
        self.assertEqual(janus.answered("POST", "/whip", 1)[1], 201)
        recording = self.folder / "out.mkv"
        branches = ("e.video_0 ! tee name=t ! queue ! m.video_0  t. ! queue ! fakesink name=seen silent=false sync=false  "
                    f"e.audio_0 ! queue ! m.audio_0  matroskamux name=m ! filesink location={recording}")
        viewer = self.client("rswebrtcsrc", janus.whep, branches, "viewer", "-e -v")
        # VideoRoom makes the offer; what the viewer offered is not taken.
        self.assertEqual(janus.answered("POST", "/whep/endpoint/room", 20)[1], 406)
        self.assertEqual(janus.answered("PATCH", "/whep/resource/.*", 10)[1], 204)
        http_calls.wait_for_arrivals(viewer, 60, 20)
        viewer.signal(signal.SIGINT)
        self.assertEqual(janus.answered("DELETE", "/whep/resource/.*", 10)[1], 200)
        self.expect_exit(viewer, 0, 10)
        publisher.signal(signal.SIGINT)
        self.assertEqual(janus.answered("DELETE", "/whip/.*", 10)[1], 200)
        self.expect_exit(publisher, 0, 10)
        self.assertEqual(media.streams(recording), {"video": "vp8", "audio": "opus"})
        numbers = media.stamps(recording).summary()
        self.note(str(numbers))
        self.assertGreaterEqual(numbers["frames"], 60, numbers)
        self.assertEqual((numbers["backwards"], numbers["unreadable"]), (0, 0), numbers)
        # One after the other, from the first to the last.
        self.assertEqual(numbers["last"] - numbers["first"] + 1, numbers["frames"], numbers)
        self.assertGreater(media.loudness(recording), 0.05)

    def test_refusals_are_told(self):
        janus = Janus(self, token=TOKEN)
        camera = http_calls.picture("VP8", pad="e.video_0")
        first = self.client("rswebrtcsink", janus.whip, camera, "publisher")
        first.err.wait_for(gst.NEGOTIATED, 20)
        cases = {
            "second publisher": ("rswebrtcsink", janus.whip, TOKEN, (r"503", r"somebody publishes already")),
            "wrong token": ("rswebrtcsink", janus.whip, "a-guess", (r"401", r"auth-token")),
            "no such server": ("rswebrtcsink", f"{janus.url}/elsewhere", TOKEN, (r"404", r"location")),
            "no such stream": ("rswebrtcsrc", f"{janus.url}/whep/endpoint/none", TOKEN, (r"404", r"location")),
            "wrong token of a viewer": ("rswebrtcsrc", janus.whep, "a-guess", (r"403", r"auth-token")),
        }
        ends = {what: self.client(element, url, camera if element == "rswebrtcsink" else "e. ! fakesink", what, token=token)
                for what, (element, url, token, _) in cases.items()}
        for what, end in ends.items():
            with self.subTest(what):
                error = self.expect_error(end, *cases[what][3], timeout=20)
                self.note(f"{what}: {error.splitlines()[0].split(': ', 2)[2]}")


if __name__ == "__main__":
    sys.exit(unittest.main())
