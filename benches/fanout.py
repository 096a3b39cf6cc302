#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""What a viewer costs a sink that serves many: CPU, memory, time to the first picture.

A film of 2.5 Mbit/s, encoded once beforehand, is sent in its own time by gst-launch; light viewers
in other processes (benches/viewers) count what arrives. All numbers are of this machine, which
also runs the viewers.

    benches/fanout.py --plugin target/release [--only cost,trouble,visits] [--markdown FILE]
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
URL = "http://127.0.0.1:{port}/whep"
SIZES = (1, 10, 50, 100)


def built_viewers():
    """The light viewers, built as users build the plugin."""
    command = ["cargo", "build", "--release", "--bench", "viewers", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "viewers":
            return message["executable"]
    sys.exit("cargo built no viewers")


def make_film(path, seconds):
    """Noise, so that the bit rate is what it is said to be, with a key frame every 2 s."""
    subprocess.run(
        "gst-launch-1.0 -q videotestsrc pattern=snow num-buffers={} ! video/x-raw,format=I420,width=640,height=360,framerate=30/1"
        " ! x264enc bitrate=2500 tune=zerolatency speed-preset=ultrafast key-int-max=60"
        " ! mp4mux ! filesink location={}".format(30 * seconds, path).split(),
        check=True,
    )


class Sender:
    """One rswebrtcsink in a process of its own."""

    def __init__(self, options, film):
        environment = dict(os.environ, GST_PLUGIN_PATH=str(options.plugin.resolve()))
        environment["GST_REGISTRY"] = str(film.parent / "registry.bin")
        self.url = URL.format(port=options.port)
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            f"gst-launch-1.0 -q filesrc location={film} ! qtdemux ! h264parse ! rswebrtcsink"
            f" signaller=whep-server location={self.url} ice-addresses=127.0.0.1".split(),
            env=environment, stdout=self.log, stderr=self.log,
        )
        for _ in range(200):
            self.log.seek(0)
            if "listening on" in self.log.read():
                return
            time.sleep(0.05)
        sys.exit("the sender does not listen")

    def ticks(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def footprint(self):
        """Open files, threads, resident MiB."""
        base = pathlib.Path(f"/proc/{self.process.pid}")
        status = dict(l.split(":", 1) for l in (base / "status").read_text().splitlines() if ":" in l)
        return (len(os.listdir(base / "fd")), int(status["Threads"]), int(status["VmRSS"].split()[0]) / 1024)

    def load(self, seconds):
        """Cores that it used, over so many seconds."""
        before, began = self.ticks(), time.monotonic()
        time.sleep(seconds)
        return (self.ticks() - before) / TICKS / (time.monotonic() - began)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Viewers:
    """A process of light viewers."""

    def __init__(self, program, url, count, *more):
        command = [program, url, "--count", str(count), *map(str, more)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self):
        return json.loads(self.process.stdout.readline())["ready"]

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def mark(self):
        self.say("mark")

    def look(self):
        """What they saw since the mark."""
        self.say("look")
        return json.loads(self.process.stdout.readline())["viewers"]

    def finish(self):
        self.process.stdin.close()
        summary = json.loads(self.process.stdout.readline())["viewers"]
        self.process.wait(60)
        return summary


def table(head, rows):
    words = any(not isinstance(row[0], int) for row in rows)
    lines = ["| " + " | ".join(head) + " |", ("|---|" if words else "|---:|") + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def cost(options, film):
    """CPU and memory by the number of viewers."""
    rows = []
    for size in SIZES:
        loads, runs = [], []
        for _ in range(options.repeat):
            with Sender(options, film) as sender:
                viewers = Viewers(options.viewers, sender.url, size, "--rate", options.rate)
                ready = viewers.ready()
                time.sleep(2)
                viewers.mark()
                loads.append(sender.load(options.window))
                _, threads, rss = sender.footprint()
                summary = viewers.finish()
            runs.append((ready, threads, rss, summary))
        load = statistics.median(loads)
        ready, threads, rss, summary = runs[loads.index(statistics.median_low(loads))]
        missing = [sum(max(v["missing_frames"], 0) for v in run[3]) for run in runs]
        first = sorted(v["first_frame_ms"] for v in summary if v["first_frame_ms"] is not None)
        rows.append((
            size, ready, f"{100 * load:.1f} %", f"{100 * load / size:.2f} %", f"{rss:.0f}", threads,
            min(v["frames"] for v in summary), "/".join(map(str, missing)),
            first[len(first) // 2] if first else "-", summary[-1]["first_frame_ms"],
            max(v["late_by_50_ms"] for v in summary), max(v["largest_gap_ms"] for v in summary),
        ))
        print(rows[-1], file=sys.stderr)
    head = ("viewers", "saw a picture", "CPU of one core", "a viewer", "RSS, MiB", "threads",
            "fewest frames seen", "missing, by run", "first frame, median ms", "of the last, ms",
            "frames late by 50 ms, worst viewer", "largest gap, ms")
    return table(head, rows)


def trouble(options, film):
    """20 viewers are killed and 20 stopped; what 20 others see before and meanwhile."""
    with Sender(options, film) as sender:
        others = Viewers(options.viewers, sender.url, 20, "--rate", options.rate)
        stalled = Viewers(options.viewers, sender.url, 20, "--rate", options.rate)
        victims = [Viewers(options.viewers, sender.url, 1, "--threads", 1) for _ in range(20)]
        ready = [sum(v.ready() for v in group) for group in ([others], [stalled], victims)]
        time.sleep(3)
        quiet, meanwhile = [], []
        for into, disturbed in ((quiet, False), (meanwhile, True)):
            others.mark()
            began = time.monotonic()
            if disturbed:
                os.kill(stalled.process.pid, signal.SIGSTOP)
                for victim in random.sample(victims, len(victims)):
                    time.sleep(random.uniform(0, 0.3))
                    victim.process.kill()
            time.sleep(max(0, 15 - (time.monotonic() - began)))
            into += others.look()
        files, threads, rss = sender.footprint()
        others.finish()
        stalled.process.kill()
        for process in [stalled, *victims]:
            process.process.wait()

    def row(what, measure):
        return (what, measure(quiet), measure(meanwhile))

    rows = [
        row("fewest frames that one of them saw in 15 s", lambda s: min(v["frames"] for v in s)),
        row("frames missing, all of them", lambda s: sum(v["missing_frames"] for v in s)),
        row("packets lost, all of them", lambda s: sum(v["lost_packets"] for v in s)),
        row("frames late by over 50 ms, all of them", lambda s: sum(v["late_by_50_ms"] for v in s)),
        row("worst delay, ms", lambda s: max(v["delay_max_ms"] for v in s)),
        row("delay of 99 in 100, worst viewer, ms", lambda s: max(v["delay_99_ms"] for v in s)),
        row("largest gap between two frames, ms", lambda s: max(v["largest_gap_ms"] for v in s)),
    ]
    return table((f"of {ready[0]} viewers", "with 40 others", "while these are killed or stopped"), rows) + (
        f"\n\nSaw a picture before: {ready[0]}, of those stopped {ready[1]}, of those killed {ready[2]}."
        f" The sender at the end: {files} files, {threads} threads, {rss:.0f} MiB."
    )


def visits(options, film):
    """So many viewers come and go, 10 at a time."""
    with Sender(options, film) as sender:
        keeper = Viewers(options.viewers, sender.url, 1)
        keeper.ready()
        time.sleep(options.settle)
        rows = []
        visited = 0
        failed, first = 0, []
        steps = [50] + [options.visits // 4] * 4
        for step in steps:
            time.sleep(1)
            if visited:
                rows.append((visited, *(f"{x:.0f}" for x in sender.footprint())))
            guests = Viewers(options.viewers, sender.url, step, "--at-a-time", 10, "--stay", 0.2)
            summary = guests.finish()
            failed += sum(v["first_frame_ms"] is None for v in summary)
            first += [v["first_frame_ms"] for v in summary if v["first_frame_ms"] is not None]
            visited += step
        time.sleep(1)
        rows.append((visited, *(f"{x:.0f}" for x in sender.footprint())))
        kept = keeper.finish()[0]
    first.sort()
    text = table(("visits so far", "files", "threads", "RSS, MiB"), rows)
    return text + (
        f"\n\nWithout a picture: {failed}. First frame: median {first[len(first) // 2]} ms,"
        f" 99 in 100 within {first[len(first) * 99 // 100]} ms. Who watched all the time misses"
        f" {kept['missing_frames']} of {kept['frames']} frames."
    )


PARTS = {
    "cost": ("What a viewer costs", cost),
    "trouble": ("Viewers that are killed or stop reading", trouble),
    "visits": ("Viewers that come and go", visits),
}


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = platform.release().split("-")[0]
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB of memory, Linux {kernel};"
        f" load averages at the end: {load}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plugin", type=pathlib.Path, default=ROOT / "target/release", help="folder of the plugin")
    parser.add_argument("--viewers", help="the light viewers, if they are built")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--rate", type=float, default=10, help="viewers that join in a second")
    parser.add_argument("--window", type=float, default=15, help="seconds over which CPU time is taken")
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--visits", type=int, default=1000)
    # 8192 packets are kept for retransmission: half a minute of this film.
    parser.add_argument("--settle", type=float, default=35, help="seconds until memory is counted")
    parser.add_argument("--film", type=pathlib.Path, help="what is sent, if it is not to be made")
    parser.add_argument("--film-seconds", type=int, default=600)
    parser.add_argument("--markdown", type=pathlib.Path, help="where the tables go; else stdout")
    options = parser.parse_args()
    options.viewers = options.viewers or built_viewers()
    texts = []
    with tempfile.TemporaryDirectory() as folder:
        film = options.film or pathlib.Path(folder) / "film.mp4"
        if not options.film:
            make_film(film, options.film_seconds)
        for name in options.only.split(","):
            title, part = PARTS[name]
            texts.append(f"### {title}\n\n{part(options, film)}\n")
            print(texts[-1], file=sys.stderr)
    day = datetime.date.today().isoformat()
    text = f"{day}, {machine()}.\n\n" + "\n".join(texts)
    if options.markdown:
        options.markdown.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
