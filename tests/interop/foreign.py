# SPDX-License-Identifier: MPL-2.0
"""The other ends of the calls: aiortc, webrtcbin, Chromium and Firefox behind one way to start a call.

A browser is started once and serves all calls of the run; each call of aiortc or webrtcbin is a process.
"""

import atexit
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import threading

import gst

SYSTEM_PYTHON = os.environ.get("RSWEBRTC_SYSTEM_PYTHON", "/usr/bin/python3")
BROWSERS = ("chromium", "firefox")
ALL = ("aiortc", "webrtcbin", *BROWSERS)
# What a browser may need from its start to its first line.
BROWSER_START = 60


class PeerFailed(AssertionError):
    """The other end reports an error, or nothing at all."""


class Browser:
    """One process of browser.mjs."""

    running = {}

    def __init__(self, name):
        self.numbers = itertools.count(1)
        self.answers = {}
        self.changed = threading.Condition()
        self.process = gst.Process(["node", gst.PEERS / "browser.mjs", name], name, env={**os.environ})
        self.process.on_out = self._line
        self.process.go()
        atexit.register(self.stop)
        _, line = self.process.out.wait_for(r'^\{"ready"', BROWSER_START)
        self.version = json.loads(line)["ready"]

    @classmethod
    def get(cls, name):
        """The browser of this name, started if it is not running."""
        found = cls.running.get(name)
        if found is None or found.process.child.poll() is not None:
            found = cls.running[name] = cls(name)
        return found

    def _line(self, line):
        answer = json.loads(line)
        if "id" in answer:
            with self.changed:
                self.answers[answer["id"]] = answer
                self.changed.notify_all()

    def command(self, **words):
        number = next(self.numbers)
        self.process.write(json.dumps({"id": number, **words}).encode() + b"\n")
        return number

    def wait(self, number, seconds):
        with self.changed:
            if not self.changed.wait_for(lambda: number in self.answers, seconds):
                raise PeerFailed(f"no answer within {seconds} s\n{self.process.report()}")
            return self.answers.pop(number)

    def stop(self):
        self.process.close_stdin()
        try:
            self.process.child.wait(8)
        except subprocess.TimeoutExpired:
            pass
        self.process.kill()


class InBrowser:
    """A call whose other end is a page of a browser."""

    def __init__(self, name, words):
        self.name, self.browser = name, Browser.get(name)
        self.number = self.browser.command(**words)
        self.over = False

    def cancel(self):
        """Close the page of a call that nobody waits for any more."""
        if not self.over:
            self.browser.command(do="cancel", call=self.number)

    def done(self):
        """Whether there is a result."""
        return self.number in self.browser.answers or self.browser.process.child.poll() is not None

    def result(self, seconds):
        answer = self.browser.wait(self.number, seconds)
        self.over = True
        return unwrap(self.name, answer, self.browser.process)


class InProcess:
    """A call whose other end is a process of its own."""

    PROGRAMS = {"aiortc": (sys.executable, "aiortc_peer.py"), "webrtcbin": (SYSTEM_PYTHON, "webrtcbin_peer.py")}

    def __init__(self, name, plan, make=gst.Process):
        python, script = self.PROGRAMS[name]
        self.name = name
        # The system's Python must see nothing of ours; webrtcbin_peer.py nothing of the plugin.
        env = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "VIRTUAL_ENV", "GST_PLUGIN_PATH")}
        self.process = make([python, "-B", gst.PEERS / script, json.dumps(plan)], name, env={**env, "PYTHONUNBUFFERED": "1"})
        self.process.go()

    def cancel(self):
        """End the process of a call that nobody waits for any more."""
        self.process.kill()

    def done(self):
        """Whether there is a result."""
        return self.process.child.poll() is not None

    def result(self, seconds):
        self.process.wait(seconds)
        lines = [line for line in self.process.out.text().splitlines() if line.startswith("{")]
        if not lines:
            raise PeerFailed(f"{self.name} printed no result\n{self.process.report()}")
        return unwrap(self.name, json.loads(lines[-1]), self.process)


def unwrap(name, answer, process):
    if "error" in answer:
        raise PeerFailed(f"{name}: {answer['error']}\n{process.report()}")
    return answer["result"]


def start(name, plan, make=gst.Process):
    """A call with `name` at the other end; its `result(seconds)` is what browser.mjs describes. `make` starts processes."""
    if name in BROWSERS:
        return InBrowser(name, {"do": "call", "plan": plan})
    return InProcess(name, plan, make)


def loopback(name, plan, other, seconds=30):
    """A call of a browser with itself: what it can do when nobody else is to blame."""
    return InBrowser(name, {"do": "loopback", "plan": plan, "other": other}).result(seconds)


def left_out(name):
    """Whether the user wants no tests with this peer: RSWEBRTC_WITHOUT=chromium,firefox"""
    return name in os.environ.get("RSWEBRTC_WITHOUT", "").split(",")


def version(name):
    """As the peer itself says it, for people."""
    if name == "aiortc":
        return importlib.metadata.version("aiortc")
    if name in BROWSERS:
        return Browser.get(name).version.split("/")[-1]
    said = subprocess.run([SYSTEM_PYTHON, "-B", gst.PEERS / "webrtcbin_peer.py", "--version"], capture_output=True, text=True, check=True, timeout=30)
    return said.stdout.strip().replace("GStreamer ", "")


def streams(*wanted):
    """A plan's streams from (kind, direction, codec or None) or dictionaries."""
    made = []
    for one in wanted:
        if not isinstance(one, dict):
            kind, direction, codec = one
            one = {"kind": kind, "direction": direction, **({"codecs": [codec]} if codec else {})}
        made.append(one)
    return made
