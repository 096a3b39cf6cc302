#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""CPU, latency, set-up, fan-out and load of rswebrtcsink and rswebrtcsrc beside webrtcbin and plain UDP.

Started by benches/run.sh. The tables go to standard output; with --write also, with plots, to docs/performance.md.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Behind: some of these folders have modules of the same names.
sys.path += [str(ROOT / "benches"), str(ROOT / "tests" / "interop")]
import fanout  # noqa: E402
import films  # noqa: E402
import gst  # noqa: E402
import profile_of  # noqa: E402
import report  # noqa: E402
import scenarios  # noqa: E402

KINDS = ("ours", "webrtcbin", "udp", "webrtcsink")


def options():
    parser = argparse.ArgumentParser(prog="benches/run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="only the names of the scenarios")
    parser.add_argument("--only", default="", help="scenarios, or groups of them (cpu, latency, setup, fanout, load), comma-separated")
    parser.add_argument("--kinds", default="", help=f"of {', '.join(KINDS)}, comma-separated; webrtcsink where it is installed")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs, some 6 minutes in all: to see that all works, not to judge")
    parser.add_argument("--runs", type=int, help="runs of each, instead of as many as each scenario has")
    parser.add_argument("--plugin", type=pathlib.Path, help="folder of libgstwebrtcrs.so; else it is built with cargo build --release")
    parser.add_argument("--viewers", help="the light viewers of the fan-out, if they are built")
    parser.add_argument("--profile", action="store_true", help="only where the CPU time of ours goes, by perf; with all scenarios this is done anyway, where perf is installed")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its plots")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for all figures, as results.json; scenarios that are there already stay")
    parser.add_argument("--report", type=pathlib.Path, help="measure nothing: the tables of such a results.json")
    return parser.parse_args()


class Bench:
    """What all scenarios share."""

    def __init__(self, asked):
        self.asked = asked
        self.plugin = (asked.plugin or built_plugin()).resolve()
        os.environ["RSWEBRTC_PLUGIN_DIR"] = str(self.plugin)
        self.environment = gst.environment(RSWEBRTC_TEST_CACHE=str(films.CACHE))
        wanted = [kind for kind in asked.kinds.split(",") if kind] or KINDS
        self.kinds = [kind for kind in wanted if kind != "webrtcsink" or has_element(kind)]
        self._viewers = asked.viewers

    def runs(self, scenario):
        return self.asked.runs or (max(1, scenario.runs // 2) if self.asked.quick else scenario.runs)

    def seconds(self, scenario):
        return min(scenario.seconds, 4) if self.asked.quick else scenario.seconds

    def viewers(self):
        self._viewers = self._viewers or fanout.built_viewers()
        return self._viewers

    @staticmethod
    def progress(scenario, kind, number, figures):
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items() if isinstance(value, (int, float)))
        print(f"  {scenario.name} {kind} {number + 1}: {told}", file=sys.stderr, flush=True)


def built_plugin():
    """The plugin as users build it."""
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"


def has_element(name):
    return subprocess.run(["gst-inspect-1.0", "--exists", name], capture_output=True).returncode == 0


def chosen(asked):
    only = {word for word in asked.only.split(",") if word}
    unknown = only - {word for scenario in scenarios.ALL for word in (scenario.name, scenario.group)}
    if unknown:
        sys.exit(f"no scenario {', '.join(sorted(unknown))}: see --list")
    return [scenario for scenario in scenarios.ALL if not only or {scenario.name, scenario.group} & only]


def show(results, asked):
    for name, text in report.sections(results):
        print(f"\n{text}")
    if asked.write:
        report.write(ROOT / "docs", results)


def profile(bench, asked):
    text = profile_of.table(bench)
    print(f"\n{text}")
    if asked.write:
        report.write_section(ROOT / "docs", "profile", text)


def main():
    asked = options()
    if asked.list:
        for scenario in scenarios.ALL:
            print(f"{scenario.name:12} {scenario.group:8} {scenario.title}")
        return
    if asked.report:
        show(json.loads(asked.report.read_text()), asked)
        return
    began = time.time()
    try:
        # Before whatever else runs on this machine; the measured processes inherit it.
        os.nice(-5)
    except PermissionError:
        pass
    bench = Bench(asked)
    if asked.profile:
        profile(bench, asked)
        return
    kept = asked.keep / "results.json" if asked.keep else None
    results = json.loads(kept.read_text()) if kept and kept.exists() else {}
    for scenario in chosen(asked):
        print(f"{scenario.title}", file=sys.stderr, flush=True)
        results[scenario.name] = {"runs": scenario.measure(bench, scenario), "on": report.circumstances(bench.plugin), "seconds": bench.seconds(scenario)}
        if kept:
            # Each at once: a run that is broken off leaves what it has measured.
            asked.keep.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(results))
    show(results, asked)
    if not asked.only and shutil.which("perf"):
        profile(bench, asked)
    print(f"\n{time.time() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
