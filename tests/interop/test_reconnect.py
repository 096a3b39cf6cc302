# SPDX-License-Identifier: MPL-2.0
"""A server that is killed in mid-stream and comes back: whoever published publishes again, and a recording holds both parts."""

import signal
import subprocess
import sys
import threading
import unittest

import av

import gst
import http_calls
import media
import stamp
from janus import Janus

# How long the server is away: whatever a client's back-off may reach in this time.
AWAY = 5
# From the server's return to the first picture that arrives there.
RETURN = 3


class Reconnect(http_calls.HttpTest):
    """kill -9, some seconds of nothing, and the same address again."""

    limit = 60

    def away(self, kill):
        """The server dies, and its port stays closed for a while."""
        kill()
        threading.Event().wait(AWAY)

    def recording_ends(self, viewer, recording):
        """Ctrl-C: the file is finished and plays; its pictures' mean brightness and times."""
        viewer.signal(signal.SIGINT)
        self.expect_exit(viewer, 0, 15)
        with av.open(str(recording)) as container:
            return [(frame.time, float(stamp.luma_of(frame).mean())) for frame in container.decode(video=0)]

    def check_both_parts(self, pictures, audio=True):
        """White pictures from before, black ones from after, and time only goes on."""
        white = [at for at, brightness in pictures if brightness > 180]
        black = [at for at, brightness in pictures if brightness < 60]
        self.note(f"{len(white)} pictures from before, {len(black)} from after, {black[0] - white[-1] if white and black else 0:.1f} s between")
        self.assertGreaterEqual(len(white), 30, self.said())
        self.assertGreaterEqual(len(black), 30, self.said())
        self.assertLess(white[-1], black[0])
        times = [at for at, _ in pictures]
        self.assertEqual(times, sorted(times), "no time goes backwards")
        # The first ones of a connection come in a burst, and rtpjitterbuffer may give two of a burst one time.
        self.assertLessEqual(len(times) - len(set(times)), 2, f"times that are there twice: {times}")
        # The gap in the file is the gap that there was.
        self.assertGreater(black[0] - white[-1], AWAY - 1)

    def records_both(self, codec, suffix, muxer):
        location = f"http://127.0.0.1:{gst.free_port()}/whep"
        first = self.whep_server(http_calls.picture(codec, "pattern=white"), http_calls.sound(), location=location, name="first")
        recording = self.folder / f"out.{suffix}"
        viewer = self.viewer(location, "r.video_0 ! tee name=t ! queue ! m.video_0  t. ! queue ! fakesink name=seen silent=false sync=false  "
                             f"r.audio_0 ! queue ! m.audio_0  {muxer} name=m ! filesink location={recording}", flags="-e -v")
        http_calls.wait_for_arrivals(viewer, 60, 20)
        self.away(first.process.kill)
        second = self.whep_server(http_calls.picture(codec, "pattern=black"), http_calls.sound(), location=location, name="second")
        listening, _ = second.process.err.wait_for(http_calls.LISTENING, 1)
        before = len(http_calls.arrivals(viewer))
        http_calls.wait_for_arrivals(viewer, 60, 30)
        first_again = http_calls.arrivals(viewer)[before]
        self.note(f"first picture {first_again - listening:.1f} s after the return")
        pictures = self.recording_ends(viewer, recording)
        self.assertEqual(media.streams(recording), {"video": codec.lower(), "audio": "opus"})
        self.check_both_parts(pictures)
        self.assertGreater(media.audio_seconds(recording), 3.5, self.said())

    def test_viewer_records_both_parts_in_mkv(self):
        self.records_both("VP8", "mkv", "matroskamux")

    def test_viewer_records_both_parts_in_mp4(self):
        self.records_both("H264", "mp4", "mp4mux")

    def recorded_until_the_end(self, more, end, seconds):
        """The viewer ends by itself once `end(server)` is done; its recording plays."""
        server = self.whep_server(http_calls.picture("VP8", "num-buffers=90"), http_calls.sound("num-buffers=140"))
        recording = self.folder / "out.mkv"
        viewer = self.viewer(server.url, "r.video_0 ! tee name=t ! queue ! m.video_0  t. ! queue ! fakesink name=seen silent=false sync=false  "
                             f"r.audio_0 ! queue ! m.audio_0  matroskamux name=m ! filesink location={recording}", more=more, flags="-e -v")
        http_calls.wait_for_arrivals(viewer, 30, 20)
        end(server)
        self.expect_exit(viewer, 0, seconds)
        self.assertGreaterEqual(len(media.frame_hashes(recording)), 30)
        self.assertGreater(media.audio_seconds(recording), 0.5)

    def test_recording_ends_with_the_stream(self):
        """The server says that it is over: nothing is tried again."""
        self.recorded_until_the_end("", lambda server: self.expect_exit(server.process, 0, 15), 5)

    def test_recording_ends_when_nobody_comes_back(self):
        self.recorded_until_the_end("max-reconnects=2", lambda server: server.process.kill(), 20)

    def test_recording_ends_at_once_without_reconnect(self):
        self.recorded_until_the_end("reconnect=false", lambda server: server.process.kill(), 15)

    def published_again(self, start, seen):
        """`start(port)` starts the server; `seen(server)` gives the time of the first picture there. The publisher goes on."""
        port = gst.free_port()
        url, first = start(port)
        publisher = self.publisher(url, http_calls.picture("VP8"), http_calls.sound(), more="")
        seen(first)
        self.away(first.process.kill)
        self.assertIsNone(publisher.child.poll(), self.said())
        _, second = start(port)
        return publisher, second

    def test_publisher_publishes_again(self):
        def start(port):
            server = self.whip_server("r.video_0 ! queue ! fakesink name=seen silent=false sync=false", flags="-v", more=gst.LOCAL,
                                      location=f"http://127.0.0.1:{port}/whip")
            return server.url, server

        def seen(server):
            http_calls.wait_for_arrivals(server.process, 30, 20)
        publisher, second = self.published_again(start, seen)
        listening, _ = second.process.err.wait_for(http_calls.LISTENING, 1)
        seen(second)
        took = http_calls.arrivals(second.process)[0] - listening
        self.note(f"first picture {took:.1f} s after the return")
        self.assertLess(took, RETURN, self.said())
        publisher.signal(signal.SIGINT)
        self.expect_exit(publisher, 0, 10)

    def test_publisher_publishes_again_at_janus(self):
        """Its viewer, too, comes again by itself."""
        port = gst.free_port()
        first = Janus(self, port)
        publisher = self.gst(f"rswebrtcsink name=s signaller=whip-client location={first.whip}  {http_calls.picture('VP8')}", "publisher", "-e",
                             stdin=subprocess.DEVNULL).go()
        publisher.err.wait_for(gst.NEGOTIATED, 20)
        viewer = self.gst(f"rswebrtcsrc name=r signaller=whep-client location={first.whep} ! fakesink name=seen silent=false sync=false", "viewer",
                          "-v", stdin=subprocess.DEVNULL).go()
        http_calls.wait_for_arrivals(viewer, 30, 20)
        self.away(first.process.kill)
        second = Janus(self, port, name="janus-again")
        posted, status = second.answered("POST", "/whip", 20)
        self.note(f"published {posted - second.ready_at:.1f} s after the return")
        self.assertEqual(status, 201)
        self.assertLess(posted - second.ready_at, RETURN, self.said())
        http_calls.wait_for_arrivals(viewer, 30, 20)
        for end in (viewer, publisher):
            end.signal(signal.SIGINT)
        self.expect_exit(publisher, 0, 10)


if __name__ == "__main__":
    sys.exit(unittest.main())
