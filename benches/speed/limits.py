# SPDX-License-Identifier: MPL-2.0
"""What the elements are to reach, as ratios of runs that followed each other, and whether they do."""

import collections
import statistics

Line = collections.namedtuple("Line", "what limit measured met")


class Figures:
    """Looks figures up; None where something was not measured."""

    def __init__(self, results):
        self.results = results

    def values(self, scenario, key, name):
        runs = self.results.get(scenario, {}).get("runs", {}).get(key) or []
        return [run[name] for run in runs if run.get(name) is not None]

    def ratio(self, what, most, scenario, name, over, ours="ours"):
        """Median over median, with the least and the most of runs that were made in turn."""
        mine, theirs = self.values(scenario, ours, name), self.values(scenario, over, name)
        if not mine or not theirs or not statistics.median(theirs):
            return None
        middle = statistics.median(mine) / statistics.median(theirs)
        each = [a / b for a, b in zip(mine, theirs) if b]
        return Line(what, f"at most {most}", f"{middle:.2f} ({min(each):.2f} to {max(each):.2f})", middle <= most)

    def under(self, what, most, unit, scenario, name, key="ours"):
        values = self.values(scenario, key, name)
        if not values:
            return None
        middle = statistics.median(values)
        return Line(what, f"under {most} {unit}", f"{middle:.2f} {unit} ({min(values):.2f} to {max(values):.2f})", middle < most)

    def none(self, what, scenario, key, *names):
        """A sum over all runs that must be 0."""
        found = [self.values(scenario, key, name) for name in names]
        if not any(found):
            return None
        total = sum(map(sum, found))
        return Line(what, "0", f"{total:.0f}", total == 0)

    def intact(self, what, scenario):
        sent, intact = self.values(scenario, "ours", "sent"), self.values(scenario, "ours", "intact")
        if not sent:
            return None
        return Line(what, "all", f"{sum(intact)} of {sum(sent)}", sum(intact) == sum(sent))


def all_of(results):
    """All lines for which there are figures."""
    f = Figures(results)
    lines = []
    for end in ("sender", "receiver"):
        lines += [f.ratio(f"8 Mbit/s, {end}'s CPU time, to webrtcbin's", 0.55, "cpu8", end, "webrtcbin"),
                  f.ratio(f"8 Mbit/s, {end}'s CPU time, to plain UDP's", 1.1, "cpu8", end, "udp"),
                  f.ratio(f"100 Mbit/s, {end}'s CPU time, to webrtcbin's", 0.4, "cpu100", end, "webrtcbin")]
    lines += [
        f.intact("100 Mbit/s, frames intact", "latency100M"),
        f.none("200 Mbit/s, packets lost", "cpu200", "ours", "lost"),
        f.ratio("50 viewers, CPU time of each, to webrtcbin's", 0.35, "fanout", "cpu_each", "webrtcbin 50", "ours 50"),
        f.ratio("50 viewers, memory of each, to webrtcbin's", 0.25, "fanout", "mib_each", "webrtcbin 50", "ours 50"),
        f.none("100 viewers, frames missing or late by 50 ms", "fanout", "ours 100", "missing", "late"),
        f.ratio("latency, jitter buffer 0, p50, to plain UDP's", 1.15, "latency0", "p50", "udp"),
        f.ratio("latency, jitter buffer 0, p50, to webrtcbin's", 0.6, "latency0", "p50", "webrtcbin"),
        f.under("latency, jitter buffer 0, p99", 2, "ms", "latency0", "p99"),
        f.ratio("set-up, to webrtcbin's", 0.25, "setup", "ms", "webrtcbin"),
        f.ratio("load of the plugin, to webrtcbin's", 1, "load", "first_ms", "webrtcbin"),
        f.under("stripped library", 12, "MB", "load", "mb"),
    ]
    return [line for line in lines if line]
