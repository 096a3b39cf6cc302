# SPDX-License-Identifier: MPL-2.0
"""What is measured. A scenario gives for each kind of peer a list of runs, each a dictionary of figures; the kinds take turns."""

import collections
import pathlib
import socket
import statistics
import sys
import time

import calls
import films
import load

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import fanout  # noqa: E402

SIZES = (1, 10, 50, 100)
JOIN_RATE = 10
# Seconds between the film's beginning and what is measured.
WARM = 2
# Viewers look each 20 ms, each at its own time: so many frames may be on the one side of the window's two ends or on the other.
EDGE = 2

Scenario = collections.namedtuple("Scenario", "name group title film runs seconds measure")


def taking_turns(bench, scenario, kinds, one):
    """{kind: [figures of each run]}; a call that fails on a busy machine is made once more, then None stands for its run, so that turns stay side by side."""
    results = {kind: [] for kind in kinds}
    for number in range(bench.runs(scenario)):
        for kind in kinds:
            if kind == "null" and number > 1:
                # It hardly varies.
                continue
            for attempt in (1, 2):
                try:
                    results[kind].append(one(kind))
                    bench.progress(scenario, kind, number, results[kind][-1])
                    break
                except (calls.CallFailed, OSError, ValueError) as error:
                    print(f"{scenario.name} {kind}, attempt {attempt}: {error}", file=sys.stderr, flush=True)
            else:
                results[kind].append(None)
    return results


def cpu(bench, scenario):
    """CPU time of sender and receiver in a steady state, by the clocks of their processes; no probe anywhere."""
    codec = "OPUS" if scenario.film == "opus" else "H264"
    path = films.film(scenario.film)
    seconds = bench.seconds(scenario)

    def one(kind):
        if kind == "null":
            return null(bench, path, codec, seconds)
        with calls.Pair(kind, path, bench.environment, codec) as pair:
            sender, receiver = pair.connect()
            sender.do("go")
            time.sleep(WARM)
            seen = calls.Window([sender, receiver], seconds)
        (sent, received), (_, lost) = seen.buffers, seen.lost
        return {"sender": seen.cpu[0], "receiver": seen.cpu[1], "sent": sent, "frames": received, "lost": lost, "socket": seen.drops,
                "sender_mib": seen.memory[0][0], "receiver_mib": seen.memory[1][0], "sender_threads": seen.memory[0][1], "receiver_threads": seen.memory[1][1]}

    return taking_turns(bench, scenario, [*bench.kinds, "null"], one)


def null(bench, path, codec, seconds):
    """The film in its time and nothing sent: what the measured processes need for that alone."""
    with calls.Pair("null", path, bench.environment, codec, gated=False) as pair:
        sender = pair.start("send")
        sender.hear("up")
        time.sleep(WARM)
        seen = calls.Window([sender], seconds)
    return {"sender": seen.cpu[0], "sent": seen.buffers[0], "sender_mib": seen.memory[0][0], "sender_threads": seen.memory[0][1]}


def notes(path):
    """[(time in ns, key)] of a trace."""
    rows = (line.split(" ", 1) for line in pathlib.Path(path).read_text().splitlines())
    return [(int(at), key) for at, key in rows]


def compare(sent, received):
    """Delays of frames that arrived intact, in ms, and how many were sent, from the second second on."""
    begin = sent[2][0] + 1_000_000_000
    sent = [(at, key) for at, key in sent if at >= begin]
    arrivals = {key: at for at, key in reversed(received)}
    delays = sorted((arrivals[key] - at) / 1e6 for at, key in sent if key in arrivals)
    return delays, len(sent)


def share(values, part):
    return values[min(len(values) - 1, int(len(values) * part))] if values else None


def latency(bench, scenario):
    """From an access unit's way into the sink, its payloader or parser, to its last slice out of the receiver, by pad probes."""
    film, _, buffer = scenario.film.partition("/")
    path = films.film(film)
    seconds = bench.seconds(scenario)

    def one(kind):
        with calls.Pair(kind, path, bench.environment, latency=int(buffer), trace=True) as pair:
            if kind == "null":
                sender = pair.start("send")
                sender.hear("up")
            else:
                sender, receiver = pair.connect()
            sender.do("go")
            time.sleep(WARM + seconds)
            files = [pathlib.Path(pair.folder.name) / name for name in ("sent", "received")]
            sender.do(f"trace {files[0]}")
            if kind == "null":
                files[1] = files[0].with_name("sent.other")
            else:
                # What is under way still arrives.
                time.sleep(0.5 + int(buffer) / 1000)
                receiver.do(f"trace {files[1]}")
            delays, sent = compare(*map(notes, files))
        return {"p50": share(delays, 0.5), "p99": share(delays, 0.99), "max": share(delays, 1), "sent": sent, "intact": len(delays),
                "delays": [round(delay, 3) for delay in delays]}

    return taking_turns(bench, scenario, [*bench.kinds, *(["null"] if buffer == "0" and film == "8" else [])], one)


def setup(bench, scenario):
    """From the receiver's PLAYING to its first buffer out; the sender plays key frames only."""
    film, _, buffer = scenario.film.partition("/")
    path = films.film(film)

    def one(kind):
        with calls.Pair(kind, path, bench.environment, latency=int(buffer), gated=False, first=True) as pair:
            sender = pair.start("send")
            sender.hear("playing")
            deadline = time.monotonic() + 10
            while kind in ("ours", "webrtcbin") and not (pathlib.Path(pair.plan["dir"]) / "offer.json").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.5)
            receiver = pair.start("receive")
            receiver.hear("up")
            first = receiver.do("first")["setup_ms"]
        if first is None:
            raise calls.CallFailed(f"{kind}: no buffer came")
        return {"ms": first}

    # webrtcsrc has no such setting in these calls: what it has is its default.
    return taking_turns(bench, scenario, [kind for kind in bench.kinds if buffer != "0" or kind != "webrtcsink"], one)


def audience(bench, kind, size, path, seconds):
    """One sender that serves so many viewers."""
    port = calls.free_port()
    with calls.Pair(kind, path, bench.environment, many=True, gated=False, port=port) as pair:
        sender = pair.start("send")
        sender.hear("up")
        wait_for_server(port)
        alone, _ = calls.memory_and_threads(sender.pid)
        viewers = fanout.Viewers(bench.viewers(), f"http://127.0.0.1:{port}/whep", size, "--rate", JOIN_RATE)
        try:
            ready = viewers.ready()
            if ready != size:
                raise calls.CallFailed(f"{kind}: {ready} of {size} viewers saw a picture")
            time.sleep(WARM)
            viewers.mark()
            seen = calls.Window([sender], seconds)
            summary = viewers.look()
        finally:
            viewers.process.kill()
            viewers.process.wait()
    memory, threads = seen.memory[0]
    if not seen.buffers[0]:
        raise calls.CallFailed(f"{kind}: nothing was sent while it was measured")
    return {"ready": ready, "cpu": seen.cpu[0], "cpu_each": seen.cpu[0] / size, "mib": memory, "mib_each": (memory - alone) / size, "threads": threads, "sent": seen.buffers[0],
            "missing": missing(summary, seen.buffers[0]), "late": sum(viewer["late_by_50_ms"] for viewer in summary), "frames": sum(viewer["frames"] for viewer in summary),
            "first_ms": statistics.median(viewer["first_frame_ms"] for viewer in summary if viewer["first_frame_ms"] is not None)}


def missing(summary, sent):
    """Frames between those that came, and those at the end that others or the sender had: who froze misses all since."""
    gaps = [max(viewer["missing_frames"], 0) for viewer in summary]
    spans = [viewer["frames"] + gap for viewer, gap in zip(summary, gaps)]
    most = max(sent, *spans)
    return sum(gap + max(0, most - span - EDGE) for gap, span in zip(gaps, spans))


def wait_for_server(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise calls.CallFailed("the server does not listen")


def many(bench, scenario):
    path = films.film(scenario.film)
    # They may have to be built, for longer than the film lasts.
    bench.viewers()
    results = {}
    for size in SIZES:
        kinds = [kind for kind in bench.kinds if kind in ("ours", "webrtcbin")]
        for kind, runs in taking_turns(bench, scenario, kinds, lambda kind: audience(bench, kind, size, path, bench.seconds(scenario))).items():
            results[f"{kind} {size}"] = runs
    return results


def loading(bench, scenario):
    """What gst-inspect-1.0 takes where the registry has all but the one plugin, and how large the plugin is."""
    with load.Registry(bench) as registry:
        return taking_turns(bench, scenario, [kind for kind in ("ours", "webrtcbin") if kind in bench.kinds], registry.inspect)


ALL = [
    Scenario("cpu8", "cpu", films.VIDEO["8"].title, "8", 5, 10, cpu),
    Scenario("cpu50", "cpu", films.VIDEO["50"].title, "50", 3, 6, cpu),
    Scenario("cpu100", "cpu", films.VIDEO["100"].title, "100", 3, 6, cpu),
    Scenario("cpu200", "cpu", films.VIDEO["200"].title, "200", 3, 6, cpu),
    Scenario("opus", "cpu", "Opus alone, 48 kbit/s, 50 packets/s", "opus", 3, 10, cpu),
    Scenario("latency0", "latency", "H264 1080p30, 8 Mbit/s, jitter buffer 0", "8/0", 3, 10, latency),
    Scenario("latency200", "latency", "H264 1080p30, 8 Mbit/s, jitter buffer 200 ms, the default", "8/200", 3, 8, latency),
    Scenario("latency100M", "latency", "H264 1080p60, 100 Mbit/s, jitter buffer 200 ms", "100/200", 2, 7, latency),
    Scenario("latency200M", "latency", "H264 1080p60, 200 Mbit/s, jitter buffer 200 ms", "200/200", 2, 7, latency),
    Scenario("setup", "setup", "Set-up, from PLAYING to the first buffer out, jitter buffer 200 ms, the default", "intra/200", 9, 0, setup),
    Scenario("setup0", "setup", "Set-up, from PLAYING to the first buffer out, jitter buffer 0", "intra/0", 9, 0, setup),
    Scenario("fanout", "fanout", films.VIDEO["2.5"].title + ", to many", "2.5", 3, 6, many),
    Scenario("load", "load", "Load of the plugin", None, 15, 0, loading),
]
