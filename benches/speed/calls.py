# SPDX-License-Identifier: MPL-2.0
"""Processes of a measured call: started, told what to do, measured from outside, and ended."""

import json
import os
import pathlib
import queue
import socket
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
SYSTEM_PYTHON = os.environ.get("RSWEBRTC_SYSTEM_PYTHON", "/usr/bin/python3")
# Nobody waits longer for a call to come up.
LIMIT = 30


class CallFailed(Exception):
    """A call that did not come to be, or ended by itself."""


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    """CPU time that a process has used, user and system, all its threads; in ns steps, which /proc has not."""
    # clock_getcpuclockid(3): CPUCLOCK_SCHED of another process.
    return time.clock_gettime((~pid << 3) | 2)


def memory_and_threads(pid):
    """(resident MiB, threads)"""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"])


def socket_drops():
    """Datagrams that the kernel had no room for, whole machine."""
    names, values = [line.split() for line in pathlib.Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")]
    return int(values[names.index("RcvbufErrors")])


class End:
    """A process with one end of a call."""

    def __init__(self, plan, environment):
        self.what = f"{plan['do']} {plan['kind']}"
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen([SYSTEM_PYTHON, "-B", str(HERE / "end.py"), json.dumps({"limit": LIMIT, **plan})], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=1)
        self.pid = self.process.pid
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))
        self.lines.put({"error": "ended"})

    def hear(self, key, seconds=LIMIT):
        """The next line that has `key`."""
        while True:
            try:
                said = self.lines.get(timeout=seconds)
            except queue.Empty:
                said = {"error": f"said nothing within {seconds} s"}
            if said.get("error"):
                self.errors.seek(0)
                raise CallFailed(f"{self.what}: {said['error']}\n{self.errors.read()[-2000:]}")
            if key in said:
                return said

    def do(self, command):
        self.process.stdin.write(command + "\n")
        return self.hear("buffers")

    def stop(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            try:
                stream.close()
            except BrokenPipeError:
                pass


class Pair:
    """A sender and a receiver in processes of their own."""

    def __init__(self, kind, film, environment, codec="H264", latency=200, **more):
        self.folder = tempfile.TemporaryDirectory(prefix="rswebrtc-speed-")
        self.plan = {"kind": kind, "film": str(film), "codec": codec, "latency": latency, "dir": self.folder.name + "/call", "port": free_port(), **more}
        pathlib.Path(self.plan["dir"]).mkdir()
        self.environment = environment
        self.ends = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in self.ends:
            end.stop()
        self.folder.cleanup()

    def start(self, do):
        end = End({**self.plan, "do": do}, self.environment)
        self.ends.append(end)
        return end

    def connect(self):
        """Both ends, with the film still held back."""
        sender = self.start("send")
        sender.hear("playing")
        receiver = self.start("receive")
        receiver.hear("up")
        sender.hear("up")
        return sender, receiver


class Window:
    """What ends used between its beginning and its end."""

    def __init__(self, ends, seconds):
        before = [end.do("look") for end in ends]
        drops, used, began = socket_drops(), [cpu_seconds(end.pid) for end in ends], time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        self.cpu = [100 * (cpu_seconds(end.pid) - use) / took for end, use in zip(ends, used)]
        self.drops = socket_drops() - drops
        after = [end.do("look") for end in ends]
        self.buffers = [late["buffers"] - early["buffers"] for early, late in zip(before, after)]
        self.lost = [late["lost"] - early["lost"] for early, late in zip(before, after)]
        self.memory = [memory_and_threads(end.pid) for end in ends]
