# SPDX-License-Identifier: MPL-2.0
"""The films that the tests send, and what the tests ask of a recording.

A film is made once and kept in `target/interop/media` under a name that holds a hash of how it was made;
`RSWEBRTC_TEST_CACHE` names another place.
"""

import fcntl
import hashlib
import inspect
import os
import pathlib
import re
import subprocess
import tempfile
import wave

import av
import numpy as np

import stamp

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("RSWEBRTC_TEST_CACHE") or ROOT / "target" / "interop") / "media"
FPS = 30
WIDTH, HEIGHT = 640, 360

# One key frame at the start and then each 10 s, no B-frames, nothing that moves key frames about.
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "300", "-keyint_min", "300", "-sc_threshold", "0",
        "-pix_fmt", "yuv420p", "-threads", "1"]
VPX = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-g", "9999", "-keyint_min", "9999",
       "-auto-alt-ref", "0", "-lag-in-frames", "0", "-pix_fmt", "yuv420p", "-threads", "1"]
OPUS = ["-c:a", "libopus", "-b:a", "64k", "-frame_duration", "20"]


class ToolFailed(Exception):
    """A program that makes or reads media failed."""


def run(argv, **kwargs):
    """Run a tool to its end; its standard error is in the exception if it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
    if done.returncode:
        raise ToolFailed(f"{' '.join(map(str, argv))}\nexit {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout


def _kept(name, make, *recipe):
    """The path of `name`, made by `make(path)` if it is not there yet."""
    sources = inspect.getsource(stamp) + inspect.getsource(make) + inspect.getsource(_encode)
    key = hashlib.sha256(repr((recipe, sources, X264, VPX, OPUS)).encode()).hexdigest()[:10]
    stem, dot, suffix = name.partition(".")
    path = CACHE / f"{stem}-{key}{dot}{suffix}"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = CACHE / f".{os.getpid()}-{path.name}"
        # Another lane may be making it.
        with open(CACHE / f".{path.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if not path.exists():
                    make(part)
                    part.rename(path)
            finally:
                part.unlink(missing_ok=True)
    return path


def _encode(path, pictures, options, sound=None, size=(WIDTH, HEIGHT)):
    """Feed raw `pictures` (and a WAV file) to ffmpeg."""
    argv = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{size[0]}x{size[1]}", "-r", str(FPS), "-i", "-"]
    argv += ["-i", str(sound)] if sound else []
    with tempfile.TemporaryFile() as errors:
        ffmpeg = subprocess.Popen([*argv, *options, str(path)], stdin=subprocess.PIPE, stderr=errors)
        try:
            for picture in pictures:
                ffmpeg.stdin.write(picture.tobytes())
            ffmpeg.stdin.close()
        except BrokenPipeError:
            pass
        if ffmpeg.wait():
            errors.seek(0)
            raise ToolFailed(f"making {path.name}: {errors.read().decode(errors='replace')[-2000:]}")


def _scenes(seconds):
    return (stamp.scene(WIDTH, HEIGHT, number) for number in range(int(seconds * FPS)))


def h264_mp4(seconds=8, profile="high"):
    """Stamped H264 without B-frames, key frames each 10 s only. aiortc and many browsers want profile `baseline`."""
    options = [*X264, "-profile:v", profile]
    return _kept(f"h264-{profile}-{seconds}s.mp4", lambda path: _encode(path, _scenes(seconds), options), seconds, options)


def h264_opus_mp4(seconds=8):
    """The same in constrained baseline, with a tone in Opus beside it."""
    options = ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={seconds}", "-map", "0:v", "-map", "1:a",
               *X264, "-profile:v", "baseline", *OPUS]
    return _kept(f"h264-opus-{seconds}s.mp4", lambda path: _encode(path, _scenes(seconds), options), seconds, options)


def h264_ts(seconds=5):
    """Constrained baseline in an MPEG transport stream, hence in Annex B: what aiortc can pass through as it is."""
    options = [*X264, "-profile:v", "baseline"]
    return _kept(f"h264-{seconds}s.ts", lambda path: _encode(path, _scenes(seconds), options), seconds, options)


def vp8_webm(seconds=8):
    """Stamped VP8, one key frame at the start."""
    return _kept(f"vp8-{seconds}s.webm", lambda path: _encode(path, _scenes(seconds), VPX), seconds)


def bare_h264(seconds=4):
    """Annex B, no container, frame rate in the VUI of the SPS."""
    options = [*X264, "-bsf:v", "h264_mp4toannexb", "-f", "h264"]
    return _kept(f"bare-{seconds}s.h264", lambda path: _encode(path, _scenes(seconds), options), seconds, options)


def bare_h264_without_rate(seconds=4):
    """Annex B whose SPS says nothing about time: nobody can know its frame rate."""
    def make(path):
        source = bare_h264(seconds).read_bytes()
        units = re.split(rb"\x00*\x00\x00\x01", source)[1:]
        path.write_bytes(b"".join(b"\0\0\0\1" + (_without_timing(unit) if unit[0] & 31 == 7 else unit) for unit in units))
    return _kept(f"bare-norate-{seconds}s.h264", make, seconds, inspect.getsource(_without_timing))


def raw_y4m(frames, fps=20, width=320, height=180):
    """Stamped pictures that an encoder of the pipeline takes: `filesrc ! y4mdec`."""
    def make(path):
        with open(path, "wb") as out:
            out.write(f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
            for number in range(frames):
                out.write(b"FRAME\n" + stamp.scene(width, height, number, noise=0).tobytes())
    return _kept(f"raw-{width}x{height}-{fps}fps-{frames}.y4m", make, frames, fps, width, height)


def film_1080p(seconds):
    """What people have: 1080p30 at 8 Mbit/s, no B-frames, with sound."""
    options = ["-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "300", "-pix_fmt", "yuv420p",
               "-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "8M", "-x264-params", "nal-hrd=cbr", *OPUS]

    def make(path):
        run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=1920x1080:r={FPS}:d={seconds},noise=alls=6:allf=t",
             "-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={seconds}", *options, str(path)])
    return _kept(f"film-1080p-{seconds}s.mp4", make, seconds, options)


def flash_and_beep(seconds=8, suffix="mp4"):
    """Once a second, at the very same time, a white picture for 100 ms and a 1 kHz tone for 100 ms; H264 and Opus."""
    def make(path):
        dark = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        dark[:HEIGHT] = 16
        light = dark.copy()
        light[:HEIGHT] = 235
        rate = 48000
        at = np.arange(seconds * rate) / rate
        tone = np.sin(2 * np.pi * 1000 * at) * (((at % 1) >= 0.5) & ((at % 1) < 0.6)) * 0.6
        with tempfile.NamedTemporaryFile(suffix=".wav") as sound:
            with wave.open(sound.name, "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(rate)
                out.writeframes((tone * 32767).astype("<i2").tobytes())
            pictures = (light if FPS // 2 <= number % FPS < FPS // 2 + 3 else dark for number in range(seconds * FPS))
            _encode(path, pictures, ["-map", "0:v", "-map", "1:a", *X264, *OPUS], sound.name)
    return _kept(f"flash-{seconds}s.{suffix}", make, seconds)


# ---- reading recordings

def frame_hashes(path):
    """One MD5 for each decoded picture, in order, no frame doubled or dropped on the way."""
    text = run(["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]).decode()
    return [line.split(",")[5].strip() for line in text.splitlines() if line and not line.startswith("#")]


def difference(expected, actual):
    """None if both lists of hashes are equal, else a sentence about what is missing."""
    if expected == actual:
        return None
    first = next((at for at, (a, b) in enumerate(zip(expected, actual)) if a != b), min(len(expected), len(actual)))
    known = set(expected)
    strange = sum(frame not in known for frame in actual)
    lost = len(known - set(actual))
    return (f"{len(expected)} pictures expected, {len(actual)} recorded; the first difference is at number {first}; "
            f"{lost} of the source are nowhere in the recording, {strange} of the recording are nowhere in the source")


def stamps(path, height=None):
    """Decode a recording and tally its frame numbers; `height` is that of the picture that they were drawn into."""
    tally = stamp.Tally()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            rows = stamp.ROWS * frame.height // (height or frame.height)
            tally.add(stamp.read(stamp.luma_of(frame), rows))
    return tally


def sizes(path):
    """The sizes of the pictures of a recording, each as often as it follows another one: [(width, height), ...]."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if not found or found[-1] != (frame.width, frame.height):
                found.append((frame.width, frame.height))
    return found


def streams(path):
    """Codec names by kind, e.g. {'video': 'h264', 'audio': 'opus'}."""
    with av.open(str(path)) as container:
        return {stream.type: stream.codec_context.name.replace("lib", "").replace("dav1d", "av1") for stream in container.streams}


def audio_seconds(path):
    """Length of what the first audio stream decodes to."""
    samples, rate = 0, 48000
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples, rate = samples + frame.samples, frame.sample_rate
    return samples / rate


def loudness(path):
    """The greatest sample of the first audio stream, 1.0 being full scale."""
    greatest = 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            wave_ = np.abs(frame.to_ndarray().astype(np.float64)).max()
            greatest = max(greatest, wave_ if frame.format.name.startswith("flt") else wave_ / 32768)
    return greatest


def onsets(path):
    """Times in the container at which a picture turns light, and at which sound starts."""
    lights, sounds = [], []
    with av.open(str(path)) as container:
        before = 0.0
        for frame in container.decode(video=0):
            level = stamp.luma_of(frame).mean()
            if level > 120 >= before:
                lights.append(frame.time)
            before = level
    with av.open(str(path)) as container:
        quiet_since = 1.0
        for frame in container.decode(audio=0):
            wave_ = frame.to_ndarray().astype(np.float64)
            wave_ = wave_.reshape(-1, len(frame.layout.channels))[:, 0] if frame.format.is_packed else wave_[0]
            loud = np.abs(wave_) > (0.1 if frame.format.name.startswith("flt") else 3276)
            at = frame.time
            for sample in np.flatnonzero(loud):
                now = at + sample / frame.sample_rate
                if now - quiet_since > 0.2 or not sounds and now >= 0:
                    sounds.append(now)
                quiet_since = now
    return lights, sounds


def sound_behind_picture(path):
    """Median of (sound onset - picture onset) in seconds, over the pairs that lie within 300 ms."""
    lights, sounds = onsets(path)
    pairs = [min((sound - light for sound in sounds), key=abs) for light in lights] if sounds else []
    pairs = [offset for offset in pairs if abs(offset) < 0.3]
    if len(pairs) < 3:
        raise ToolFailed(f"{path}: {len(lights)} flashes, {len(sounds)} beeps, {len(pairs)} pairs of them")
    return float(np.median(pairs))


# ---- SPS

class _Bits:
    """Reads and copies the bits of an SPS."""

    def __init__(self, data):
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, count):
        value = self.bits[self.at:self.at + count]
        self.at += count
        return int(value or "0", 2)

    def golomb(self):
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _without_timing(sps):
    """The SPS with `timing_info_present_flag` cleared (H.264, 7.3.2.1.1 and E.1.1); enough for what x264 writes."""
    raw = sps.replace(b"\0\0\3", b"\0\0").rstrip(b"\0")
    bits = _Bits(raw)
    bits.take(8)
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128):
        if bits.golomb() == 3:
            bits.take(1)
        bits.golomb()
        bits.golomb()
        bits.take(1)
        assert not bits.take(1), "scaling lists are not expected"
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    assert order != 1, "picture order count type 1 is not expected"
    bits.golomb()
    bits.take(1)
    bits.golomb()
    bits.golomb()
    if not bits.take(1):
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        for _ in range(4):
            bits.golomb()
    if not bits.take(1):
        return sps
    if bits.take(1) and bits.take(8) == 255:
        bits.take(32)
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):
        bits.golomb()
        bits.golomb()
    flag = bits.at
    if not bits.take(1):
        return sps
    end = bits.bits.rindex("1")
    kept = bits.bits[:flag] + "0" + bits.bits[flag + 1 + 65:end] + "1"
    kept += "0" * (-len(kept) % 8)
    plain = bytes(int(kept[at:at + 8], 2) for at in range(0, len(kept), 8))
    out = bytearray()
    for byte in plain:
        if byte <= 3 and out[-2:] == b"\0\0":
            out.append(3)
        out.append(byte)
    return bytes(out)
