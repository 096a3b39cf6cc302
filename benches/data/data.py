#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""What a data channel moves from rswebrtcsink to rswebrtcsrc, beside webrtc-rs's own driver.

Started by benches/data.sh. Each run is a call of two processes over 127.0.0.1 with one reliable ordered channel; the kinds take
turns. The table goes to standard output, with --write also to docs/performance.md.
"""

import argparse
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT / "benches" / "speed"), str(ROOT / "tests" / "interop")]
import gst  # noqa: E402
import report  # noqa: E402

# Bytes of a message, messages in a run.
SIZES = {1024: 200_000, 65536: 8_000}
LIMIT = 300
SPOKEN = {"ours": "rswebrtc", "events": "webrtc-rs, its example", "limit": "webrtc-rs, its send-buffer limit"}
# Of what webrtc-rs's example moves.
LEAST = 0.6


def options():
    parser = argparse.ArgumentParser(prog="benches/data.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="of each kind and size")
    parser.add_argument("--part", type=float, default=1, help="part of the messages, to see that all works")
    parser.add_argument("--plugin", type=pathlib.Path, help="folder of libgstwebrtcrs.so; else it is built with cargo build --release")
    parser.add_argument("--example", type=pathlib.Path, help="the program of benches/data/webrtc-rs; else it is built")
    parser.add_argument("--write", action="store_true", help="write the table to docs/performance.md")
    return parser.parse_args()


def built(*where):
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT.joinpath(*where), check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT.joinpath(*where, "target")) / "release"


def used(sender, receiver):
    """{end: (CPU time, seconds; peak of resident memory, MiB)}, or nothing when one has ended."""
    try:
        return {"sender": used_by(sender.child.pid), "receiver": used_by(receiver.child.pid)}
    except (OSError, StopIteration):
        return None


def used_by(process):
    with open(f"/proc/{process}/stat") as source:
        after = source.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{process}/status") as source:
        peak = next(int(line.split()[1]) for line in source if line.startswith("VmHWM")) / 1024
    return (int(after[11]) + int(after[12])) / os.sysconf("SC_CLK_TCK"), peak


def ends(kind, asked, folder, count, size):
    """Command lines of the sender and the receiver, and what the receiver says at the begin and at the end."""
    if kind == "ours":
        call = f"signaller=file location={folder} ice-addresses=127.0.0.1"
        sender = f"fakesrc num-buffers={count} sizetype=fixed sizemax={size} filltype=nothing ! s.data_0 rswebrtcsink name=s {call}"
        receiver = f"rswebrtcsrc name=r {call} r.data_0 ! fakesink sync=false"
        lines = ["gst-launch-1.0", "-m", *shlex.split(sender)], ["gst-launch-1.0", "-m", *shlex.split(receiver)]
        return *lines, r"rswebrtc-data-channel.*state=\(string\)open", "^Got EOS"
    words = [folder, count, size, *(["limit"] if kind == "limit" else [])]
    return [asked.example, "send", *words], [asked.example, "receive", *words], "^open", "^end "


def run(kind, asked, size, environment):
    count = max(100, int(SIZES[size] * asked.part))
    with tempfile.TemporaryDirectory(prefix="rswebrtc-data-") as folder:
        sending, receiving, begin, end = ends(kind, asked, folder, count, size)
        receiver = gst.Process(receiving, "receiver", env=environment).go()
        sender = gst.Process(sending, "sender", env=environment).go()
        try:
            began, _ = receiver.out.wait_for(begin, 30)
            before = used_last = used(sender, receiver)
            while not (last := next((entry for entry in receiver.out.lines if gst.re.search(end, entry[1])), None)):
                # An element's process has ended before anybody can ask what it used.
                used_last = used(sender, receiver) or used_last
                if receiver.out.ended or gst.time.monotonic() - began > LIMIT:
                    raise RuntimeError(f"{kind}: no end\n{receiver.report()}")
                gst.time.sleep(0.02)
            ended, line = last
            figures = {"seconds": ended - began}
            for name in used_last:
                cpu, peak = used_last[name]
                figures |= {name: (cpu - before[name][0]) / (count * size) * 1e9, f"{name}_mib": peak}
            if kind == "ours":
                # It ends by itself once all was acknowledged, and says so if it was not.
                whole = sender.wait(30) == 0 and "WARNING" not in sender.out.text()
            else:
                whole = line == f"end {count} {count * size}"
        finally:
            sender.kill()
            receiver.kill()
    if not whole:
        raise RuntimeError(f"{kind}: not everything came: {line}")
    return {**figures, "rate": count * size / figures["seconds"] / 1e6, "messages": count / figures["seconds"]}


def table(results, asked):
    head = ("messages of", "", "MB/s", "messages/s", "sender, CPU s a GB", "receiver, CPU s a GB", "sender, MiB", "receiver, MiB")
    forms = (("rate", "{:.1f}"), ("messages", "{:.0f}"), ("sender", "{:.1f}"), ("receiver", "{:.1f}"), ("sender_mib", "{:.0f}"), ("receiver_mib", "{:.0f}"))
    rows, said = [], []
    for size, kinds in results.items():
        rows += [(f"{size} bytes", SPOKEN[kind], *(report.spread(runs, *form) for form in forms)) for kind, runs in kinds.items()]
        middle = {kind: statistics.median(figures["rate"] for figures in runs) for kind, runs in kinds.items()}
        for kind in ("events", "limit"):
            turns = [ours["rate"] / theirs["rate"] for ours, theirs in zip(kinds["ours"], kinds[kind])]
            ratio = middle["ours"] / middle[kind]
            met = f"; at least {LEAST} is met" if ratio >= LEAST else f"; at least {LEAST} is **not** met"
            said.append(f"{size} bytes: rswebrtc moves {ratio:.2f} of what {SPOKEN[kind]} does ({min(turns):.2f} to {max(turns):.2f}){met if kind == 'events' else ''}.")
    foot = f"{asked.runs} runs of each. {report.circumstances(asked.plugin)}."
    return f"{report.table(head, rows)}\n\n" + "\n".join(f"- {line}" for line in said) + f"\n\n{foot}"


def main():
    asked = options()
    asked.plugin = (asked.plugin or built()).resolve()
    asked.example = (asked.example or built("benches", "data", "webrtc-rs") / "data-example").resolve()
    os.environ["RSWEBRTC_PLUGIN_DIR"] = str(asked.plugin)
    environment = gst.environment()
    results = {size: {kind: [] for kind in SPOKEN} for size in SIZES}
    for size, kinds in results.items():
        for number in range(asked.runs):
            for kind, runs in kinds.items():
                runs.append(run(kind, asked, size, environment))
                print(f"  {size} bytes, {SPOKEN[kind]} {number + 1}: {runs[-1]['rate']:.1f} MB/s", file=sys.stderr, flush=True)
    text = table(results, asked)
    print(f"\n{text}")
    if asked.write:
        report.write_section(ROOT / "docs", "data", text)


if __name__ == "__main__":
    main()
