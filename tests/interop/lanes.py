# SPDX-License-Identifier: MPL-2.0
"""Tests side by side: worker processes that are given one test after the other.

Most tests wait for a film to play, so two of them fit on a small machine. A test says by attributes of its class or of
itself what it cannot share:

    alone = True      nothing else runs meanwhile: it measures time or loss, or must be quick
    browser = True    one lane at a time has a browser; also any test with the name of one in its own name

A worker that dies, or does not end a test that is over its limit, is a failure of that test; the lane gets a new one.
"""

import collections
import contextlib
import multiprocessing.connection
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import foreign

# What a worker may need beyond the limit of a test, to end what the test started.
GRACE = float(os.environ.get("RSWEBRTC_TEST_GRACE", 45))
# In the environment of all that a worker starts.
MARK = "RSWEBRTC_TEST_LANE"

# What became of a test, in plain values.
Report = collections.namedtuple("Report", "name outcome seconds detail notes")


def attribute(test, name, default=None):
    """What the test itself, or else its class, says."""
    return getattr(getattr(test, test._testMethodName, None), name, getattr(test, name, default))


def limit_of(test):
    """Seconds that it may take."""
    return attribute(test, "limit", 60)


def has_browser(test):
    """Whether it needs one."""
    return attribute(test, "browser", False) or any(name in test._testMethodName.lower() for name in foreign.BROWSERS)


class Queue:
    """The tests that are still to be run, in order."""

    def __init__(self, tests):
        self.tests = list(tests)
        # The lane that has browsers; it keeps them, since each start of one costs seconds.
        self.with_browsers = None
        self.lock = threading.Lock()

    def next(self, lane):
        """The next test for this lane, None when there is none for it."""
        with self.lock:
            if not self.tests:
                return None
            if self.with_browsers is None and any(map(has_browser, self.tests)):
                self.with_browsers = lane
            mine = self.with_browsers is lane
            preferred = (test for test in self.tests if has_browser(test) == mine)
            others = iter(self.tests if mine else ())
            test = next(preferred, None) or next(others, None)
            if test is not None:
                self.tests.remove(test)
            return test

    def clear(self):
        """No more tests for anybody."""
        with self.lock:
            self.tests.clear()


class Lane:
    """One worker after the other, in process groups of their own, with a folder for temporary files."""

    def __init__(self, tests):
        # Where the worker finds its tests.
        self.tests = tests
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rswebrtc-lane-"))
        self.mark = f"{self.folder.name}-{os.getpid()}"
        self.worker = self.pipe = None
        # Taken to start a worker and to stop for good: none is started after that.
        self.lock = threading.Lock()
        self.stopped = False

    def _start(self):
        with self.lock:
            if self.stopped:
                raise EOFError
            ours, theirs = socket.socketpair()
            env = {**os.environ, "TMPDIR": str(self.folder), MARK: self.mark}
            argv = [sys.executable, "-B", str(pathlib.Path(__file__).with_name("runner.py")), "--worker", str(theirs.fileno()), "--folder", str(self.tests)]
            self.worker = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=env, start_new_session=True)
            theirs.close()
            self.pipe = multiprocessing.connection.Connection(ours.detach())

    def run(self, test):
        """Its report; of a worker that fails, too."""
        begun = time.monotonic()
        try:
            if self.worker is None:
                self._start()
            self.pipe.send(test.id())
            if self.pipe.poll(limit_of(test) + GRACE):
                return Report(*self.pipe.recv())
            hangs = f"no result {GRACE} s after the limit of {limit_of(test)} s: the process of this lane hangs"
        except Exception:  # a worker that dies can do so in the middle of anything
            hangs = None
        worker = self.worker
        self.kill()
        why = hangs or f"the process of this lane died with status {worker.returncode if worker else 'unknown'}"
        return Report(test.id(), "FAIL", time.monotonic() - begun, why, "")

    def end(self):
        """Let the worker end what it has, browsers above all."""
        if self.worker is not None:
            self.pipe.close()
            try:
                self.worker.wait(GRACE)
            except subprocess.TimeoutExpired:
                pass
            self.kill()

    def kill(self):
        """Nothing is left of the worker, nor of what it started."""
        worker, self.worker = self.worker, None
        if worker is not None:
            kill_all(worker.pid, self.mark)
            worker.wait()
            with contextlib.suppress(OSError):
                self.pipe.close()
            remove_namespaces(worker.pid)

    def stop(self):
        """For good."""
        with self.lock:
            self.stopped = True
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def kill_all(root, mark):
    """SIGKILL to `root`, to all that descends from it, and to all with this mark in their environment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        parents, marked = {}, set()
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state in "ZX":
                    continue
                parents[int(entry.name)] = int(parent)
                if f"{MARK}={mark}\0".encode() in (entry / "environ").read_bytes():
                    marked.add(int(entry.name))
        found = marked | ({root} & parents.keys())
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def remove_namespaces(pid):
    """Network namespaces that a test of this worker could not remove itself."""
    for name in pathlib.Path("/run/netns").glob(f"rswebrtc-{pid}-*"):
        subprocess.run(["ip", "netns", "del", name.name], check=False)


def _phase(tests, folder, count, told, first_only):
    """Runs `tests` in `count` lanes; `told(report)` hears of each, in the order in which they end."""
    queue, telling = Queue(tests), threading.Lock()
    lanes = [Lane(folder) for _ in range(min(count, len(tests)))]
    errors = []

    def work(lane):
        try:
            go_on(lane)
        except BaseException as error:
            # It is not to be lost with its thread.
            errors.append(error)
            queue.clear()

    def go_on(lane):
        while (test := queue.next(lane)) is not None:
            report = lane.run(test)
            if lane.stopped:
                return
            with telling:
                told(report)
            if first_only and report.outcome == "FAIL":
                queue.clear()
        lane.end()
    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in lanes]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for lane in lanes:
            lane.stop()
    if errors:
        raise errors[0]


def run(tests, folder, count, told, first_only=False):
    """Runs all `tests`, which are found in `folder`: first, in `count` lanes, those that bear company, then the others alone."""
    failed = False

    def tell(report):
        nonlocal failed
        failed = failed or report.outcome == "FAIL"
        told(report)
    together = [test for test in tests if not attribute(test, "alone", False)] if count > 1 else tests
    alone = [test for test in tests if test not in together]
    for part, lanes in ((together, count), (alone, 1)):
        if part and not (first_only and failed):
            _phase(part, folder, lanes, tell, first_only)


def serve(number, tests, run_one):
    """The worker's side: takes names of `tests` from the socket `number` and answers with `run_one(test)`, a Report."""
    known = {test.id(): test for test in tests}
    with multiprocessing.connection.Connection(number) as pipe:
        while True:
            try:
                name = pipe.recv()
            except EOFError:
                return
            pipe.send(tuple(run_one(known[name])))
