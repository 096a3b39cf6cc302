#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Loss, bursts and bottlenecks: what arrives through rswebrtcsink and rswebrtcsrc, webrtcbin and Chromium, on the same links.

Started by benches/network.sh. Each scenario is a link (tests/link) with a seed, and for each pair of peers a call over it.
The tables go to standard output; with --write also, with plots, to docs/network.md.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import over_link  # noqa: E402
import report  # noqa: E402
import scenarios  # noqa: E402

# Share of datagrams that the link may let out more than 1 ms late before it says so.
LATE = 0.01


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="Scenarios: " + ", ".join(s.name for s in scenarios.ALL))
    parser.add_argument("--only", default="", help="scenarios, or groups of them (repair, browsers, bottleneck, cpu), comma-separated")
    parser.add_argument("--peers", default="", help="pairs, comma-separated: ours, webrtcbin, chromium, chromium-ours, ours-chromium, firefox-ours, ours-firefox")
    parser.add_argument("--repeat", type=int, default=1, help="runs with seeds 1, 2 ..., of which the median is shown")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--quick", action="store_true", help="shorter calls: to see that all works, not to judge")
    parser.add_argument("--properties", default="", help="of our elements, NAME=VALUE ..., those that they have are set; sink: and src: may stand before a name")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for all that was noted")
    parser.add_argument("--write", action="store_true", help="write docs/network.md and its plots")
    parser.add_argument("--list", action="store_true", help="only the names of the scenarios and their pairs")
    return parser.parse_args()


def chosen(asked):
    """[(scenario, [pair…])]"""
    only = {word for word in asked.only.split(",") if word}
    peers = {word for word in asked.peers.split(",") if word}
    unknown = only - {s.name for s in scenarios.ALL} - {s.group for s in scenarios.ALL}
    if unknown:
        sys.exit(f"no scenario {', '.join(sorted(unknown))}: see --help")
    found = []
    for scenario in scenarios.ALL:
        pairs = [pair for pair in scenario.pairs if not peers or pair in peers]
        if pairs and (not only or {scenario.name, scenario.group} & only):
            found.append((scenario, pairs))
    return found


def median(runs):
    """The median of each figure of several runs."""
    figures = {}
    for name in runs[0]:
        values = [run[name] for run in runs if run[name] is not None]
        # Who does not reach something in most of the runs does not reach it.
        figures[name] = statistics.median(values) if len(values) * 2 > len(runs) else None
    return figures


def measure(scenario, pair, asked, folder):
    """(figures, series of the first run) of one pair, or the text of its failure."""
    runs, series = [], None
    for number in range(asked.repeat):
        place = folder / scenario.name / pair / str(number)
        shutil.rmtree(place, ignore_errors=True)
        seconds = scenario.length(asked.quick)
        for attempt in (1, 2):
            try:
                done = over_link.run(scenario.there, scenario.back, scenario.flows(pair, asked.properties), seconds, place, asked.seed + number)
                break
            except (AssertionError, TimeoutError) as error:
                # A start that fails on a busy machine is tried once more; the second time it is a result.
                print(f"{scenario.name} {pair}: {str(error)[:1500]}", file=sys.stderr)
                if attempt == 2:
                    return f"failed: {str(error).splitlines()[0][:80]}"
        late = done.link["late"] / max(1, done.link["ab"]["datagrams"] + done.link["ba"]["datagrams"])
        if late > LATE:
            print(f"{scenario.name} {pair}: {late:.1%} of all datagrams left the link more than 1 ms late: the machine is too busy", file=sys.stderr)
        figures, first = scenario.measure(scenario, done, seconds)
        runs.append(figures)
        series = series or first
        (place / "figures.json").write_text(json.dumps(figures))
    return median(runs), series


def main():
    asked = options()
    if asked.list:
        for scenario, pairs in chosen(asked):
            print(f"{scenario.name:12} {scenario.group:11} {' '.join(pairs)}")
        return
    began = time.time()
    try:
        # Before whatever else runs on this machine; the browsers and pipelines inherit it.
        os.nice(-5)
    except PermissionError:
        pass
    with tempfile.TemporaryDirectory(prefix="rswebrtc-network-") as temporary:
        folder = asked.keep or pathlib.Path(temporary)
        for scenario, pairs in chosen(asked):
            print(f"\n{scenario.title}\n  a to b: {scenario.there}\n  b to a: {scenario.back}", flush=True)
            rows = {}
            for pair in pairs:
                rows[pair] = measure(scenario, pair, asked, folder)
                print(report.line(scenario, pair, rows[pair]), flush=True)
            # Each at once: a run that is broken off leaves what it has measured.
            if asked.write:
                report.write(ROOT / "docs", [(scenario, rows)], asked)
    print(f"\n{time.time() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
