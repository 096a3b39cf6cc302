# SPDX-License-Identifier: MPL-2.0
"""An impaired link between the two ends of a call: the program impaired-link, and the descriptions led through it."""

import json
import os
import pathlib
import shutil
import subprocess
import threading

import gst

PROGRAM = "impaired-link"
PAUSE = 0.01


def program():
    """The relay: RSWEBRTC_LINK, or the one that Cargo has built, or builds now."""
    told = os.environ.get("RSWEBRTC_LINK")
    if told:
        return pathlib.Path(told)
    cargo = shutil.which("cargo") or pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo") / "bin" / "cargo"
    command = [cargo, "build", "--release", "--locked", "-p", PROGRAM, "--message-format=json"]
    done = subprocess.run(command, cwd=gst.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == PROGRAM:
            return pathlib.Path(message["executable"])
    raise RuntimeError(f"cargo built no {PROGRAM}")


class ImpairedLink:
    """The link between `a` and `b`, and further pairs of peers as flows 1, 2 …; `there` and `back` as in impaired-link --help."""

    def __init__(self, there, back, seed=1, log=None, make=gst.Process):
        argv = [program(), "--ab", there, "--ba", back, "--seed", seed] + (["--log", log] if log else [])
        self.process = make(argv, PROGRAM)
        self.answers = []
        self.changed = threading.Condition()
        self.process.on_out = self._line
        self.asking = threading.Lock()
        self.process.go()
        try:
            # It needs little, but that at its time. Who may not do this measures on a machine that does nothing else.
            os.setpriority(os.PRIO_PROCESS, self.process.child.pid, -10)
        except PermissionError:
            pass

    def _line(self, line):
        with self.changed:
            self.answers.append(json.loads(line))
            self.changed.notify_all()

    def _answer(self, seconds=10):
        with self.changed:
            if not self.changed.wait_for(lambda: self.answers, seconds):
                raise AssertionError(f"no answer within {seconds} s\n{self.process.report()}")
            return self.answers.pop(0)

    def _ask(self, **request):
        with self.asking:
            self.process.write(json.dumps(request).encode() + b"\n")
            answer = self._answer()
        if "error" in answer:
            raise AssertionError(f"{PROGRAM}: {answer['error']}")
        return answer

    def lead(self, flow, side, message):
        """The description `message` of `side` ("a" or "b") as the other side must see it."""
        return {**message, "sdp": self._ask(flow=flow, side=side, sdp=message["sdp"])["sdp"]}

    def stats(self):
        """Counters of both directions."""
        return self._ask(do="stats")["stats"]

    def close(self):
        """Ends the program, with its log complete; the last counters."""
        self.process.close_stdin()
        self.process.wait(10)
        return self.answers[-1]["stats"] if self.answers else None


class Post:
    """Carries offer.json, answer.json and bye.json between the directories of two ends, through the link.

    Each end has a directory of its own, as if it were on another machine; the descriptions are kept in `sdp`.
    """

    def __init__(self, link, one, other, flow=0):
        self.link, self.flow = link, flow
        self.ends = {"a": (pathlib.Path(one), pathlib.Path(other)), "b": (pathlib.Path(other), pathlib.Path(one))}
        for folder, _ in self.ends.values():
            folder.mkdir(parents=True, exist_ok=True)
        # What was carried: it must not be carried back.
        self.carried = set()
        self.sdp = {}
        self.error = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.over.wait(PAUSE):
                for side, (source, target) in self.ends.items():
                    for kind in ("offer", "answer", "bye"):
                        self._carry(side, kind, source / f"{kind}.json", target)
        except Exception as error:  # told by the test, which waits for something that does not come
            self.error = error

    def _carry(self, side, kind, file, target):
        if kind in self.carried or not file.exists():
            return
        message = json.loads(file.read_text())
        if kind != "bye":
            self.sdp[kind] = message["sdp"]
            message = self.link.lead(self.flow, side, message)
        self.carried.add(kind)
        part = target / f".{kind}-post.tmp"
        part.write_text(json.dumps(message))
        part.rename(target / file.name)

    def stop(self):
        self.over.set()
        self.thread.join(5)
        if self.error:
            raise self.error
