# SPDX-License-Identifier: MPL-2.0
"""What is sent: films made once by ffmpeg and kept in target/speed/films (or below RSWEBRTC_BENCH_CACHE)."""

import collections
import hashlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("RSWEBRTC_BENCH_CACHE") or ROOT / "target" / "speed")

# `noise` makes pictures that need their bit rate. `kbit` is what x264 is asked for, a little more than it then makes.
Video = collections.namedtuple("Video", "title size fps seconds kbit gop noise")
VIDEO = {
    "8": Video("H264 1080p30, 8 Mbit/s", "1920x1080", 30, 24, 9_200, 60, 12),
    "50": Video("H264 1080p60, 50 Mbit/s", "1920x1080", 60, 12, 50_800, 120, 40),
    "100": Video("H264 1080p60, 100 Mbit/s", "1920x1080", 60, 12, 101_200, 120, 60),
    "200": Video("H264 1080p60, 200 Mbit/s", "1920x1080", 60, 12, 203_000, 120, 100),
    "2.5": Video("H264 720p30, 2.5 Mbit/s", "1280x720", 30, 75, 3_000, 60, 4),
    "intra": Video("H264 720p30, 4 Mbit/s, key frames only", "1280x720", 30, 20, 4_000, 1, 0),
}
OPUS_SECONDS = 30


def _options(name):
    if name == "opus":
        # Not of constant rate: qtdemux takes packets of one size for samples, and gives many in one buffer.
        return ["-f", "lavfi", "-i", f"anoisesrc=colour=pink:sample_rate=48000:duration={OPUS_SECONDS}:seed=1", "-ac", "2",
                "-c:a", "libopus", "-b:a", "64k", "-frame_duration", "20"]
    film = VIDEO[name]
    # One slice a frame, so that a frame is intact if its slice is; a buffer of 100 ms, so that frames are about equal.
    return ["-f", "lavfi", "-i", f"testsrc2=size={film.size}:rate={film.fps},noise=alls={film.noise}:allf=t", "-t", str(film.seconds), "-pix_fmt", "yuv420p",
            "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline", "-bf", "0", "-g", str(film.gop),
            "-keyint_min", str(film.gop), "-sc_threshold", "0", "-b:v", f"{film.kbit}k", "-maxrate", f"{film.kbit}k", "-bufsize", f"{film.kbit // 10}k",
            "-x264-params", "sliced-threads=0:slices=1:threads=2:sync-lookahead=0"]


def film(name):
    """The path of a film, made if it is not there."""
    options = _options(name)
    path = CACHE / "films" / f"{name}-{hashlib.sha256(repr(options).encode()).hexdigest()[:8]}.mp4"
    if not path.exists():
        print(f"making {path.name}", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            subprocess.run(["ffmpeg", "-v", "error", "-y", *options, str(part)], check=True)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
    return path
