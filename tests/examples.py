#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Tests the examples: each has a header, each pipeline parses, and those that need no camera or screen run.

    examples.py            everything
    examples.py --parse    only what runs no pipeline

Pipelines of README.md are parsed too. Elements for hardware that this machine does not have are named and replaced by
a software encoder for the parsing. Needs the plugin in RSWEBRTC_PLUGIN_DIR or target/release.
"""

import ctypes
import fcntl
import os
import pathlib
import pty
import re
import shlex
import signal
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "gst-launch-examples"
HARDWARE = {"nvh264enc", "vah264enc", "qsvh264enc", "v4l2h264enc"}
# Other ways to call a script, besides without arguments: environment, arguments.
VARIANTS = {
    "receive-to-screen.sh": [({"AUDIO": "1"}, [])],
    "receive-to-mp4.sh": [({"AUDIO": "1"}, ["other.mp4"])],
    "receive-to-webm.sh": [({"AUDIO": "1"}, [])],
    "receive-to-mkv.sh": [({"AUDIO": "1"}, [])],
    "stdio-receive.sh": [({"AUDIO": "no"}, [])],
    "send-webcam-x264.sh": [({"SOURCE": "test"}, []), ({"MJPEG": "1", "WIDTH": "1280", "HEIGHT": "720"}, [])],
    "publish-to-whip.sh": [({"CODEC": "VP8", "SOURCE": "test"}, ["https://live.example/whip", "token"]), ({"AUDIO": "1", "CA": "ca.pem"}, [])],
    "serve-webcam-page.sh": [({"TOKEN": "token"}, ["https://0.0.0.0:8443/whep"])],
    "record-browser.sh": [({"AUDIO": "no"}, ["http://0.0.0.0:8080/whip", "other.mp4"]), ({}, ["http://0.0.0.0:8080/whip", "other.webm"])],
    "record-from-whep.sh": [({"TOKEN": "token"}, ["https://live.example/whep", "other.mp4"])],
    "watch-stats.sh": [({"LENGTH": "5"}, [])],
    "relay.sh": [({"TOKEN": "one", "WATCH_TOKEN": "two"}, ["https://0.0.0.0:8443/whip", "https://0.0.0.0:8444/whep"])],
    "two-way-call.sh": [({"ROLE": "answer"}, [])],
    "echo.sh": [({"ROLE": "answer"}, [])],
    "talk-to-aiortc.sh": [({}, ["receive"]), ({"ROLE": "answer"}, ["send"]), ({"CODEC": "VP8", "ROLE": "offer"}, ["receive"])],
}
PYTHON = ROOT / ".venv-tests" / "bin" / "python"


class Failure(Exception):
    """A check failed; the text says how."""


class Parser:
    """GStreamer's own parser of pipeline descriptions, in this process."""

    NO_SUCH_ELEMENT = 1

    class Error(ctypes.Structure):
        _fields_ = [("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p)]

    def __init__(self):
        self.gst = ctypes.CDLL("libgstreamer-1.0.so.0")
        self.gst.gst_parse_launchv_full.restype = ctypes.c_void_p
        self.gst.gst_parse_launchv_full.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
        self.gst.gst_object_unref.argtypes = [ctypes.c_void_p]
        self.gst.gst_element_factory_find.restype = ctypes.c_void_p
        self.gst.gst_init(None, None)

    def has(self, element):
        """Whether there is an element of that name."""
        factory = self.gst.gst_element_factory_find(element.encode())
        if factory:
            self.gst.gst_object_unref(factory)
        return bool(factory)

    def parse(self, words):
        """Raises Failure with GStreamer's words unless the pipeline parses, every link of it."""
        argv = (ctypes.c_char_p * (len(words) + 1))(*[word.encode() for word in words], None)
        error = ctypes.POINTER(self.Error)()
        fatal_errors = 1
        pipeline = self.gst.gst_parse_launchv_full(argv, None, fatal_errors, ctypes.byref(error))
        if error:
            raise Failure(f"{error.contents.message.decode()}: {shlex.join(words)}")
        self.gst.gst_object_unref(pipeline)


def scripts():
    """The examples, by name."""
    return sorted(path for path in EXAMPLES.glob("*.sh") if path.name != "env.sh")


def printed(path, environment, words):
    """The pipelines that a script prints, each as a list of words."""
    env = {name: value for name, value in os.environ.items() if name not in ("AUDIO", "SOURCE", "MJPEG", "ROLE", "CODEC", "TOKEN", "CA", "CERT", "LENGTH")}
    done = subprocess.run(["bash", path, "--print", *words], env={**env, **environment}, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    if done.returncode:
        raise Failure(f"--print ends with {done.returncode}: {done.stderr}")
    lines = done.stdout.splitlines()
    if not lines or not all(line.startswith("gst-launch-1.0 ") for line in lines):
        raise Failure(f"--print writes something else than gst-launch-1.0 lines: {done.stdout}")
    return [shlex.split(line)[1:] for line in lines]


def check_header(path):
    """What a reader finds at the top of a script."""
    text = path.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", path], check=True)
    head = re.match(r"#!/usr/bin/env bash\n(?:#.*\n)+", text)
    for wanted in ("SPDX-License-Identifier: MPL-2.0", "In the other terminal", "Expect:", "Needs:"):
        if not head or wanted not in head[0]:
            raise Failure(f"no '{wanted}' in the header")
    if not os.access(path, os.X_OK):
        raise Failure("not executable")
    shown = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=30)
    if shown.returncode or "Expect:" not in shown.stdout or "SPDX" in shown.stdout:
        raise Failure(f"--help shows {shown.stdout!r}")


def check_pipeline(parser, words):
    """Parses a pipeline; returns the hardware elements that are not here."""
    words = [word for word in words if not re.fullmatch(r"-[qevm]+", word)]
    missing = [word for word in words if word in HARDWARE and not parser.has(word)]
    for name in missing:
        at = words.index(name)
        end = words.index("!", at)
        words[at:end] = ["x264enc"]
    # The level of the Raspberry Pi's encoder is nothing for x264enc, and links are checked.
    parser.parse([re.sub(r",level=\(string\)4", "", word) if missing else word for word in words])
    return missing


def readme_pipelines():
    """gst-launch-1.0 lines in README.md's code blocks, lines that go on joined."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"\s*(?:\w+=\S+ +)*gst-launch-1\.0 ", line):
                yield shlex.split(line.partition("gst-launch-1.0 ")[2])


def run_script(folder, name, *words, status=0, expect=(), limit=90, environment=()):
    """Runs an example; what it says must hold all of `expect`."""
    done = subprocess.run(["timeout", "--kill-after=5", str(limit), EXAMPLES / name, *words], cwd=folder, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env={**os.environ, **dict(environment)})
    said = done.stdout + done.stderr
    if (done.returncode == 0) != (status == 0) or any(not re.search(text, said) for text in expect):
        raise Failure(f"{name} {shlex.join(map(str, words))}: exit status {done.returncode}; expected {status} and {expect}\n{said}")


def make_film(path, *description):
    subprocess.run(["gst-launch-1.0", "-q", *shlex.split(" ".join(description)), "!", "filesink", f"location={path}"], check=True, stdin=subprocess.DEVNULL)


PICTURE = "videotestsrc num-buffers=90 pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1 !"
SOUND = "audiotestsrc num-buffers=150 samplesperbuffer=960 ! audio/x-raw,rate=48000 !"


def loopback_tests(folder):
    """(name, function) of the examples that run here without a camera, a screen or a person."""
    vp8, aac, vp9, silent = (folder / name for name in ("vp8.webm", "aac.mkv", "vp9.mkv", "silent.mp4"))
    moved = r"video frames: (\d+) sent, \1 arrived"
    same = "all the same when decoded"

    def sample():
        run_script(folder, "file-transfer.sh", "--verify", expect=[moved, same, "audio frames"])

    def vp8_film():
        if not vp8.exists():
            make_film(vp8, PICTURE, "vp8enc deadline=1 keyframe-max-dist=300 ! m.", SOUND, "opusenc ! m.", "webmmux name=m")
        return vp8

    def webm():
        run_script(folder, "file-transfer.sh", "--verify", vp8_film(), folder / "out.webm", expect=[moved, same])

    def transcoded_sound():
        make_film(aac, PICTURE, "x264enc bframes=0 ! h264parse ! m.", SOUND, "audioconvert ! avenc_aac ! aacparse ! m.", "matroskamux name=m")
        run_script(folder, "file-transfer.sh", "--verify", aac, folder / "out.mkv", expect=[moved, same, "in aac sent"])

    def no_sound():
        make_film(silent, PICTURE, "x264enc bframes=2 ! h264parse ! mp4mux")
        run_script(folder, "file-transfer.sh", "--verify", silent, expect=[moved, same, "B-frames", "received.mp4"])

    def refusals():
        make_film(vp9, PICTURE, "vp9enc deadline=1 cpu-used=8 ! matroskamux")
        run_script(folder, "file-transfer.sh", vp9, status=1, expect=["vp9, and H264 or VP8 is needed: ffmpeg"])
        run_script(folder, "file-transfer.sh", folder / "nothing.mp4", status=1, expect=["cannot read"])
        run_script(folder, "file-transfer.sh", vp8_film(), folder / "out.mp4", status=1, expect=["mp4 cannot hold vp8"])
        run_script(folder, "file-transfer.sh", vp8, vp8, status=1, expect=["is the input"])
        run_script(folder, "talk-to-aiortc.sh", "sideways", status=1, expect=["say send or receive"])

    def aiortc(*words, **environment):
        def run():
            run_script(folder, "talk-to-aiortc.sh", *words, expect=[r"video frames: \d+ in the film, [1-9]\d+ recorded"], environment=environment.items())
        return run

    yield "run file-transfer.sh", sample
    yield "run file-transfer.sh vp8.webm", webm
    yield "run file-transfer.sh aac.mkv", transcoded_sound
    yield "run file-transfer.sh silent.mp4", no_sound
    yield "refusals", refusals
    yield "run stdio-send.sh and stdio-receive.sh", lambda: stdio_pair(folder)
    for sender, receiver, environment, codecs in (
        ("send-test-x264.sh", "receive-to-mp4.sh", {"AUDIO": "1"}, {"h264", "opus"}),
        ("send-test-openh264.sh", "receive-to-mp4.sh", {}, {"h264"}),
        ("send-test-vp8.sh", "receive-to-webm.sh", {"AUDIO": "1"}, {"vp8", "opus"}),
        ("send-test-vp8.sh", "receive-to-mkv.sh", {}, {"vp8"}),
        ("send-test-x264.sh", "receive-to-mkv.sh", {}, {"h264"}),
    ):
        yield f"run {sender} and {receiver}", lambda pair=(sender, receiver, environment, codecs): live_pair(folder, *pair)
    yield "run publish-to-whip.sh, relay.sh and record-from-whep.sh", lambda: relayed(folder)
    yield "run serve-webcam-page.sh and record-from-whep.sh, with TLS and a token", lambda: served(folder)
    yield "run publish-to-whip.sh and record-browser.sh", lambda: published(folder)
    yield "run watch-stats.sh without a terminal", lambda: watched(folder)
    yield "run watch-stats.sh on a terminal that changes its size", lambda: watched_on_terminal(folder)
    for name in ("resized.mkv", "resized.mp4"):
        yield f"run record-browser.sh with a picture that grows, {name}", lambda name=name: resized(folder / name)
    if PYTHON.exists():
        yield "run talk-to-aiortc.sh send", aiortc("send")
        yield "run talk-to-aiortc.sh receive", aiortc("receive")


def joined(folder, sender, receiver):
    """Starts two examples, (name, words, environment), the output of each being the input of the other."""
    to_receiver, to_sender = os.pipe(), os.pipe()
    ends = []
    try:
        for (name, words, environment), reading, writing in ((sender, to_sender[0], to_receiver[1]), (receiver, to_receiver[0], to_sender[1])):
            log = open(folder / f"{name}.log", "w+", encoding="utf-8")
            # The scripts become gst-launch-1.0, so a signal to the process reaches it, and once.
            process = subprocess.Popen([EXAMPLES / name, *words], cwd=folder, stdin=reading, stdout=writing, stderr=log,
                                       env={**os.environ, **environment})
            ends.append((name, log, process))
    finally:
        for end in (*to_receiver, *to_sender):
            os.close(end)
    return ends


def outcome(ends):
    """The exit statuses, and what the two said on standard error. They have a minute to end."""
    statuses, said = [], ""
    deadline = time.monotonic() + 60
    for name, log, process in ends:
        try:
            process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            said += f"{name} does not end\n"
            process.kill()
        statuses.append(process.wait())
        log.seek(0)
        said += f"{name}: {log.read()}\n"
        log.close()
    return statuses, said


def streams(film):
    """Codec and number of frames of each stream."""
    shown = subprocess.run(["ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=codec_name,nb_read_packets", "-of", "csv=p=0", film],
                           capture_output=True, text=True).stdout
    return {codec: int(count) for codec, count in (line.split(",")[:2] for line in shown.split())}


def stdio_pair(folder):
    """The two scripts of the quick start."""
    recording = folder / "stdio.mp4"
    statuses, said = outcome(joined(folder, ("stdio-send.sh", [], {}), ("stdio-receive.sh", [recording], {})))
    if any(statuses) or streams(recording).get("h264") != 240:
        raise Failure(f"exit statuses {statuses}, recorded {streams(recording)} of 240 frames\n{said}")


def live_pair(folder, sender, receiver, environment, codecs):
    """A live sender, and a receiver that is stopped by Ctrl-C once it has recorded a while."""
    recording = folder / f"{sender}.{receiver.rpartition('-')[2].removesuffix('.sh')}"
    ends = joined(folder, (sender, [], {}), (receiver, [recording], environment))
    deadline = time.monotonic() + 30
    while not (recording.exists() and recording.stat().st_size > 200_000) and time.monotonic() < deadline and all(end[2].poll() is None for end in ends):
        time.sleep(0.1)
    ends[1][2].send_signal(signal.SIGINT)
    statuses, said = outcome(ends)
    found = streams(recording)
    if set(found) != codecs or min(found.values()) < 15:
        raise Failure(f"exit statuses {statuses}, recorded {found}, expected {codecs}\n{said}")


def watched(folder):
    """Lines of text about either end, and the exit status of what is watched."""
    about = [r"sink sends to peer-0", r"src receives from peer-0", r"video-0 .*H264 \d+\.\d frames/s", r"freezes \d+", r"round trip +\d", r"of [\d.]+ Mbit/s"]
    run_script(folder, "watch-stats.sh", expect=about, environment={"LENGTH": "4"}.items())
    run_script(folder, "watch-stats.sh", "--", "gst-launch-1.0", "-q", "fakesrc", "num-buffers=3", "!", "fakesink", expect=["EOS"])
    run_script(folder, "watch-stats.sh", "--", "gst-launch-1.0", "nosuchelement", status=1, expect=["nosuchelement"])
    run_script(folder, "watch-stats.sh", "--", "nosuchprogram", status=1, expect=["nosuchprogram"])


def watched_on_terminal(folder):
    """Pictures that fit, and a terminal that is left as it was."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", LENGTH="6")
        os.chdir(folder)
        os.execv(EXAMPLES / "watch-stats.sh", ["watch-stats.sh"])
    said, pictures, deadline = b"", 0, time.monotonic() + 60
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    while time.monotonic() < deadline:
        try:
            said += os.read(terminal, 65536)
        except OSError:
            break
        if pictures < 3 <= said.count(b"\x1b[H"):
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 50, 0, 0))
        pictures = said.count(b"\x1b[H")
    else:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    first, last = (picture.partition(b"\x1b[J")[0].split(b"\n") for picture in (said.split(b"\x1b[H")[1], said.split(b"\x1b[H")[-1]))
    fits = len(last) <= 9 and all(len(line.replace(b"\x1b[K", b"").strip().decode()) <= 50 for line in last)
    left = said.count(b"\x1b[?1049h") == said.count(b"\x1b[?1049l") == said.count(b"\x1b[?25h") == 1
    if status or pictures < 5 or len(first) <= 9 or not fits or not left:
        raise Failure(f"exit status {status}, {pictures} pictures, fits {fits}, left {left}\n{said[-3000:].decode(errors='replace')}")


class Running:
    """An example at work."""

    def __init__(self, folder, name, *words, **environment):
        self.name = name
        self.log = folder / f"{name}.{time.monotonic_ns()}.log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([EXAMPLES / name, *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, "SOURCE": "test", **environment})

    def said(self):
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, what, ready, limit=30):
        """What `ready` gives, once it is something."""
        deadline = time.monotonic() + limit
        while not (found := ready()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failure(f"{self.name}: {what} does not come\n{self.said()}")
            time.sleep(0.05)
        return found

    def urls(self, count=1):
        """Where it listens."""
        return self.wait_for("a URL", lambda: len(found := re.findall(r"listening on (\S+),", self.said())) == count and found)

    def records(self, film):
        """Waits until a recording grows: then media flows."""
        self.wait_for("media", lambda: film.exists() and film.stat().st_size > 100_000)

    def end(self, ask=False):
        """Waits until it ends by itself, or as Ctrl-C makes it end."""
        if ask:
            self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end\n{self.said()}") from None
        if status:
            raise Failure(f"{self.name}: exit status {status}\n{self.said()}")


class Together:
    """Several examples at work; whatever happens, none is left over."""

    def __init__(self, folder):
        self.folder, self.all = folder, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.all:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()

    def start(self, name, *words, **environment):
        self.all.append(Running(self.folder, name, *words, **environment))
        return self.all[-1]

    def said(self):
        return "\n".join(f"{one.name}: {one.said()}" for one in self.all)

    def check(self, film, codecs):
        """What a finished recording holds."""
        found = streams(film)
        if set(found) != codecs or min(found.values()) < 15:
            raise Failure(f"recorded {found}, expected {codecs}\n{self.said()}")


def relayed(folder):
    """One publishes, one watches, and the relay ends, in good order, with its publisher."""
    film = folder / "relayed.mkv"
    with Together(folder) as together:
        relay = together.start("relay.sh", "http://127.0.0.1:0/whip", "http://127.0.0.1:0/whep", TOKEN="one", WATCH_TOKEN="two")
        publish, watch = sorted(relay.urls(2), key=lambda url: url.endswith("whep"))
        publisher = together.start("publish-to-whip.sh", publish, "one")
        recorder = together.start("record-from-whep.sh", watch, film, TOKEN="two")
        recorder.records(film)
        publisher.end(ask=True)
        relay.end()
        recorder.end()
        together.check(film, {"h264", "opus"})


def served(folder):
    """A page, and a viewer who may watch and one who may not."""
    film = folder / "served.mp4"
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["bash", "-c", '. "$0"; make_certificate "$1" "$2"', EXAMPLES / "env.sh", cert, key], check=True, capture_output=True, timeout=30)
    with Together(folder) as together:
        page = together.start("serve-webcam-page.sh", "https://127.0.0.1:0/whep", TOKEN="swordfish", CERT=str(cert), KEY=str(key))
        url, = page.urls()
        trust = ssl.create_default_context(cafile=cert)
        with urllib.request.urlopen(url.removesuffix("whep"), context=trust, timeout=10) as reply:
            if b"<video" not in reply.read():
                raise Failure(f"no page at {url.removesuffix('whep')}")
        run_script(folder, "record-from-whep.sh", url, "no.mp4", status=1, expect=["refuses the token: check auth-token"],
                   environment={"TOKEN": "cod", "CA": str(cert)}.items())
        recorder = together.start("record-from-whep.sh", url, film, TOKEN="swordfish", CA=str(cert))
        recorder.records(film)
        recorder.end(ask=True)
        page.wait_for("a line about the viewer that left", lambda: re.search(r"peer .* left", page.said()))
        page.end(ask=True)
        together.check(film, {"h264", "opus"})


def published(folder):
    """A recording is finished when its publisher stops."""
    film = folder / "published.webm"
    with Together(folder) as together:
        recorder = together.start("record-browser.sh", "http://127.0.0.1:0/whip", film)
        publisher = together.start("publish-to-whip.sh", *recorder.urls(), CODEC="VP8")
        recorder.records(film)
        publisher.end(ask=True)
        recorder.end()
        together.check(film, {"vp8", "opus"})


def resized(film):
    """Browsers change the size of their picture; every frame of a recording can be decoded all the same."""
    def picture(width, height):
        return (f"videotestsrc num-buffers=30 pattern=ball ! video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! "
                "x264enc tune=zerolatency ! video/x-h264,profile=constrained-baseline ! c.")

    with Together(film.parent) as together:
        recorder = together.start("record-browser.sh", "http://127.0.0.1:0/whip", film, AUDIO="no")
        url, = recorder.urls()
        subprocess.run(["gst-launch-1.0", "-q", *shlex.split(f"concat name=c ! rswebrtcsink signaller=whip-client location={url}"),
                        *shlex.split(picture(320, 240)), *shlex.split(picture(640, 480))], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        recorder.end()
        decoded = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "frame=width", "-of", "csv=p=0", film], capture_output=True, text=True)
        widths = re.findall(r"\d+", decoded.stdout)
        if widths != ["320"] * 30 + ["640"] * 30 or decoded.stderr:
            raise Failure(f"{film.name} holds pictures of these widths: {widths}\n{decoded.stderr}\n{together.said()}")


def parse_tests(parser):
    """(name, function) of the tests that run no pipeline."""
    def parse(path, environment, words):
        def run():
            missing = [name for pipeline in printed(path, environment, words) for name in check_pipeline(parser, pipeline)]
            return f"without {', '.join(missing)}, not on this machine" if missing else None
        return run

    for path in scripts():
        yield f"header {path.name}", lambda path=path: check_header(path)
        for environment, words in [({}, []), *VARIANTS.get(path.name, [])]:
            called = " ".join([*(f"{name}={value}" for name, value in environment.items()), path.name, *words])
            yield f"parse {called}", parse(path, environment, words)
    for number, pipeline in enumerate(readme_pipelines(), 1):
        yield f"parse pipeline {number} of README.md", lambda pipeline=pipeline: check_pipeline(parser, pipeline) and None


def main():
    if sys.argv[1:] not in ([], ["--parse"]):
        print(__doc__)
        return 2
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    plugin_dir = pathlib.Path(os.environ.get("RSWEBRTC_PLUGIN_DIR") or target / "release").resolve()
    if not (plugin_dir / "libgstwebrtcrs.so").exists():
        print(f"examples: no libgstwebrtcrs.so in {plugin_dir}: cargo build --release --locked")
        return 1
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(GST_PLUGIN_PATH=str(plugin_dir), RSWEBRTC_PLUGIN_DIR=str(plugin_dir), GST_REGISTRY=os.path.join(folder, "registry.bin"))
        tests = list(parse_tests(Parser()))
        if not sys.argv[1:]:
            tests += loopback_tests(pathlib.Path(folder))
        for name, test in tests:
            began = time.monotonic()
            try:
                note = test()
            except (Failure, subprocess.SubprocessError, OSError) as error:
                failed += 1
                print(f"FAIL {name}\n     " + str(error).strip().replace("\n", "\n     "), flush=True)
            else:
                passed += 1
                print(f"ok   {name} {time.monotonic() - began:.1f} s{f' ({note})' if note else ''}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
