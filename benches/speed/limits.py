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
        return [value for value in self.turns(scenario, key, name) if value is not None]

    def turns(self, scenario, key, name):
        """One for each turn, None for a run that failed."""
        runs = self.results.get(scenario, {}).get("runs", {}).get(key) or []
        return [run and run.get(name) for run in runs]

    def line(self, what, limit, measured, met, scenario, ours="ours"):
        """A limit is not met where a run of ours failed."""
        runs = self.results[scenario]["runs"][ours]
        failed = sum(run is None for run in runs)
        return Line(what, limit, f"{measured}; {failed} of {len(runs)} runs failed" if failed else measured, met and not failed)

    def asked(self, scenario, key):
        """Whether it was tried at all."""
        return bool(self.results.get(scenario, {}).get("runs", {}).get(key))

    def ratio(self, what, most, scenario, name, over, ours="ours"):
        """Median over median, with the least and the most of runs that were made in turn."""
        if not self.asked(scenario, ours) or not self.asked(scenario, over):
            return None
        mine, theirs = self.values(scenario, ours, name), self.values(scenario, over, name)
        if not mine or not theirs or not statistics.median(theirs):
            return self.line(what, f"at most {most}", "nothing to compare", False, scenario, ours)
        middle = statistics.median(mine) / statistics.median(theirs)
        each = [a / b for a, b in zip(self.turns(scenario, ours, name), self.turns(scenario, over, name)) if a is not None and b]
        return self.line(what, f"at most {most}", f"{middle:.2f}" + (f" ({min(each):.2f} to {max(each):.2f})" if each else ""), middle <= most, scenario, ours)

    def under(self, what, most, unit, scenario, name, key="ours"):
        if not self.asked(scenario, key):
            return None
        values = self.values(scenario, key, name)
        if not values:
            return self.line(what, f"under {most} {unit}", "nothing", False, scenario, key)
        middle = statistics.median(values)
        return self.line(what, f"under {most} {unit}", f"{middle:.2f} {unit} ({min(values):.2f} to {max(values):.2f})", middle < most, scenario, key)

    def none(self, what, scenario, key, *names):
        """A sum over all runs that must be 0."""
        if not self.asked(scenario, key):
            return None
        found = [self.values(scenario, key, name) for name in names]
        total = sum(map(sum, found))
        return self.line(what, "0", f"{total:.0f}" if all(found) else "nothing", total == 0, scenario, key)

    def intact(self, what, scenario):
        if not self.asked(scenario, "ours"):
            return None
        sent, intact = self.values(scenario, "ours", "sent"), self.values(scenario, "ours", "intact")
        return self.line(what, "all", f"{sum(intact)} of {sum(sent)}", sum(intact) == sum(sent) > 0, scenario)


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
        f.ratio("set-up, default latency, to webrtcbin's", 0.25, "setup", "ms", "webrtcbin"),
        f.ratio("load of the plugin, to webrtcbin's", 1, "load", "first_ms", "webrtcbin"),
        f.under("stripped library", 12, "MB", "load", "mb"),
    ]
    return [line for line in lines if line]
