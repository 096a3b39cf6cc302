# SPDX-License-Identifier: MPL-2.0
"""gst-launch-1.0 and other programs as the tests run them, and the two people who copy and paste between them.

Every process is the leader of a process group of its own and is killed, with all its children, when its test
ends. Waits are for an event and have a deadline; nothing here sleeps for a fixed time.
"""

import bisect
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = pathlib.Path(__file__).resolve().parent / "peers"
LOCAL = "ice-addresses=127.0.0.1"
# A message is a line by itself; one that a warning quotes is none.
MESSAGE = re.compile(rb'^\s*(\{.*"type"\s*:.*\})\s*$')
# The report for people on standard error, once the call is up.
NEGOTIATED = re.compile(r"negotiated|connected", re.I)
# What gst-launch-1.0 writes for an error message of the bus.
GST_ERROR = re.compile(r"^ERROR: from element ")


def plugin_dir():
    """Where the plugin is: RSWEBRTC_PLUGIN_DIR, or the freshest of target/release and target/debug."""
    told = os.environ.get("RSWEBRTC_PLUGIN_DIR")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    found = [pathlib.Path(told)] if told else [target / "release", target / "debug"]
    found = [path for path in found if (path / "libgstwebrtcrs.so").exists()]
    if not found:
        raise RuntimeError("no libgstwebrtcrs.so: run `cargo build --release --locked` first, or name its folder in RSWEBRTC_PLUGIN_DIR")
    return max(found, key=lambda path: (path / "libgstwebrtcrs.so").stat().st_mtime).resolve()


def environment(**more):
    """The caller's environment with the plugin in it and without debug settings; the registry is the tests' own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GST_DEBUG", "GST_PLUGIN_PATH"))}
    folder = plugin_dir()
    stamp = (folder / "libgstwebrtcrs.so").stat().st_mtime_ns
    cache = pathlib.Path(os.environ.get("RSWEBRTC_TEST_CACHE") or ROOT / "target" / "interop")
    cache.mkdir(parents=True, exist_ok=True)
    env.update(GST_PLUGIN_PATH=str(folder), GST_REGISTRY=str(cache / f"registry-{abs(hash_text(str(folder)))}-{stamp}.bin"),
               GST_DEBUG_NO_COLOR="1", LC_ALL="C.UTF-8", PYTHONUNBUFFERED="1")
    env.update(more)
    return env


def hash_text(text):
    """A small number that is the same in every process."""
    value = 0
    for char in text.encode():
        value = (value * 131 + char) % 1_000_000_007
    return value


def free_port(kind=socket.SOCK_STREAM):
    """A port of 127.0.0.1 that is free now, for what has to come back at the same address; none that the system gives to others."""
    for port in random.sample(range(10000, 32000), 100):
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("of a hundred ports none is free")


class Lines:
    """Lines of a stream as they come, each with the time of its arrival, for waiting on."""

    def __init__(self, name):
        self.name = name
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()

    def add(self, line):
        with self.changed:
            self.lines.append((time.monotonic(), line))
            self.changed.notify_all()

    def end(self):
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def text(self):
        with self.changed:
            return "\n".join(line for _, line in self.lines)

    def wait_for(self, pattern, timeout, after=0.0):
        """(time, line) of the first line that matches and came later than `after`; AssertionError at the deadline or when the stream ends."""
        expression = re.compile(pattern) if isinstance(pattern, str) else pattern
        deadline = time.monotonic() + timeout
        looked_at = 0
        with self.changed:
            while True:
                for at, line in self.lines[looked_at:]:
                    if at > after and expression.search(line):
                        return at, line
                looked_at = len(self.lines)
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    why = "the stream ended" if self.ended else f"{timeout} s passed"
                    tail = "\n".join(line for _, line in self.lines[-25:])
                    raise AssertionError(f"{self.name}: {why} without a line that matches {expression.pattern!r}; the last lines:\n{tail}")
                self.changed.wait(left)


class Process:
    """A child in its own process group; standard output and error are read by threads as lines."""

    def __init__(self, argv, name, env=None, stdin=subprocess.PIPE, cwd=None, **kwargs):
        self.name = name
        self.argv = [str(word) for word in argv]
        self.out, self.err = Lines(f"{name} (stdout)"), Lines(f"{name} (stderr)")
        self.on_out = None
        self.stdin_lock = threading.Lock()
        self.started = time.monotonic()
        self.ended = None
        self.child = subprocess.Popen(self.argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=cwd,
                                      start_new_session=True, **kwargs)
        self.readers = [threading.Thread(target=self._read, args=(self.child.stdout, self.out), daemon=True),
                        threading.Thread(target=self._read, args=(self.child.stderr, self.err), daemon=True)]

    def go(self):
        """Start reading; `on_out` is set by then."""
        for reader in self.readers:
            reader.start()
        return self

    def _read(self, stream, lines):
        # gst-launch-1.0 ends its progress line with a carriage return only.
        rest, number = b"", stream.fileno()
        while chunk := os.read(number, 65536):
            *whole, rest = re.split(rb"[\r\n]", rest + chunk)
            for line in whole:
                self._line(line, lines)
        if rest:
            self._line(rest, lines)
        lines.end()

    def _line(self, line, lines):
        if lines is self.out and self.on_out:
            self.on_out(line)
        lines.add(line.decode(errors="replace"))

    def write(self, data):
        """Write to standard input; False when nobody reads it any more."""
        with self.stdin_lock:
            try:
                self.child.stdin.write(data)
                self.child.stdin.flush()
                return True
            except (BrokenPipeError, ValueError, OSError):
                return False

    def close_stdin(self):
        with self.stdin_lock:
            try:
                self.child.stdin.close()
            except OSError:
                pass

    def signal(self, number):
        """Send a signal to the program itself, as a shell's `kill PID` does."""
        self.child.send_signal(number)
        return time.monotonic()

    def wait(self, timeout):
        """Exit status within `timeout` seconds, everything read; AssertionError with the output if it does not end."""
        try:
            status = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout} s\n{self.report()}") from None
        self.ended = time.monotonic()
        for reader in self.readers:
            reader.join(5)
        return status

    def stop(self):
        """SIGKILL to the whole group."""
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill(self):
        """End the whole group; nothing is left of it afterwards."""
        self.stop()
        self.child.wait()
        # A writer that waits for us to read ends with its group; a pump that waits for a full pipe ends when that closes.
        if self.child.stdin:
            self.close_stdin()
        for reader in self.readers:
            if reader.is_alive():
                reader.join(5)
        for reader, stream in zip(self.readers, (self.child.stdout, self.child.stderr)):
            if not reader.is_alive():
                stream.close()

    def stderr(self):
        return self.err.text()

    def report(self, limit=40):
        """For a failure: how it ran and what it said."""
        err, out = self.stderr().splitlines(), self.out.text().splitlines()
        lines = [f"--- {self.name}: {shlex.join(self.argv)}", f"    status {self.child.poll()}"]
        lines += [f"    err| {line[:400]}" for line in err[-limit:]]
        lines += [f"    out| {line[:160]}" for line in out[-10:]]
        return "\n".join(lines)


class Joint:
    """Two people at two terminals: every JSON line that one process prints is typed into the other.

    `change(message, from_name)` may alter a message, or return None to keep it back. `all_lines` also passes on what
    is not JSON, as somebody does who marks the whole terminal.
    """

    Passed = collections.namedtuple("Passed", "time origin message")

    def __init__(self, one, two, change=None, all_lines=False, close_on_end=False):
        self.passed = []
        self.changed = threading.Condition()
        self.change = change
        self.all_lines = all_lines
        for origin, target in ((one, two), (two, one)):
            origin.on_out = lambda line, origin=origin, target=target: self._pass(line, origin, target)
            if close_on_end:
                origin.out.end = lambda end=origin.out.end, target=target: (end(), target.close_stdin())
        one.go()
        two.go()

    def _pass(self, line, origin, target):
        found = MESSAGE.search(line)
        if not found:
            if self.all_lines:
                target.write(line + b"\n")
            return
        message = json.loads(found.group(1))
        if self.change:
            message = self.change(message, origin.name)
        if message is None:
            return
        record = Joint.Passed(time.monotonic(), origin.name, message)
        target.write(json.dumps(message).encode() + b"\n")
        with self.changed:
            # The answer to what was just written may be here first.
            bisect.insort(self.passed, record, key=lambda entry: entry.time)
            self.changed.notify_all()

    def of_type(self, kind, origin=None):
        """Messages of this type so far, optionally only those of one end."""
        with self.changed:
            return [entry for entry in self.passed if entry.message.get("type") == kind and origin in (None, entry.origin)]

    def wait_for(self, kind, timeout, origin=None):
        """The first message of this type."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.of_type(kind, origin)
            if found:
                return found[0]
            with self.changed:
                if not self.changed.wait(max(0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    raise AssertionError(f"no message of type {kind!r}{' from ' + origin if origin else ''} within {timeout} s; "
                                         f"passed on so far: {[(entry.origin, entry.message.get('type')) for entry in self.passed]}")


class ProcessTest(unittest.TestCase):
    """A test of processes: a folder of its own, its children killed at its end, their output shown if it fails."""

    limit = 60

    def setUp(self):
        self.processes = []
        self.notes = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rswebrtc-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self._clean)

    def _clean(self):
        # All of them first: one may wait for another to read.
        for process in self.processes:
            process.stop()
        for process in self.processes:
            process.kill()
        panicked = [process for process in self.processes if "panicked" in process.stderr()]
        if panicked:
            raise AssertionError("a panic\n" + panicked[0].report(80))

    def note(self, text):
        """A figure worth printing beside the result."""
        self.notes.append(text)

    def said(self):
        """What all processes of this test said, for a failure."""
        return "\n".join(process.report() for process in self.processes)

    def process(self, argv, name, **kwargs):
        process = Process(argv, name, **kwargs)
        self.processes.append(process)
        return process

    def gst(self, pipeline, name, flags="", env=None, **kwargs):
        """gst-launch-1.0 with `pipeline`; not reading yet: join it, or call `go()`."""
        argv = ["gst-launch-1.0", *shlex.split(flags), *shlex.split(pipeline)]
        return self.process(argv, name, env=environment(**(env or {})), cwd=self.folder, **kwargs)

    def expect_exit(self, process, status, timeout):
        """Wait for the end; `status` is a number, or None for any but 0."""
        got = process.wait(timeout)
        good = got != 0 if status is None else got == status
        self.assertTrue(good, f"{process.name}: exit status {got}, expected {'an error' if status is None else status}\n{self.said()}")

    def expect_error(self, process, *patterns, timeout=15):
        """The program ends with a non-zero status and its bus error holds every pattern, ignoring case."""
        self.expect_exit(process, None, timeout)
        text = process.stderr()
        self.assertRegex(text, re.compile(GST_ERROR.pattern, re.M), f"no bus error\n{self.said()}")
        error = text[re.search(GST_ERROR.pattern, text, re.M).start():]
        for pattern in patterns:
            self.assertRegex(error, re.compile(pattern, re.I | re.S), f"the error text says nothing of this\n{self.said()}")
        return error


def demux(film):
    """What takes `film` apart, with a pad that is there at once."""
    return "matroskademux ! queue" if film.suffix in (".webm", ".mkv") else "qtdemux ! queue"


def wait_until(condition, timeout, what):
    """Poll a condition that has no event (a file that grows, say) up to a deadline; returns its first true value."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        pause.wait(0.02)


def wait_for_size(path, size, timeout, process):
    """Until a recording has at least `size` bytes; fails at once if its writer ends before."""
    def grown():
        if process.child.poll() is not None:
            raise AssertionError(f"the writer of {path.name} has ended\n{process.report()}")
        return path.exists() and path.stat().st_size >= size
    try:
        return wait_until(grown, timeout, f"{path.name} grows to {size} bytes")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{process.report()}") from None
