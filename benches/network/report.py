# SPDX-License-Identifier: MPL-2.0
"""Figures as lines, tables and plots."""

import datetime
import os
import platform
import subprocess

import plot

SPOKEN = {"ours": "ours", "webrtcbin": "webrtcbin", "chromium": "Chromium", "firefox": "Firefox"}


def percent(value):
    return f"{100 * value:.1f} %"


def milliseconds(value):
    return f"{1000 * value:.0f} ms"


def seconds(value):
    return f"{value:.1f} s"


# Figure: (head of its column, how it is written)
COLUMNS = {
    "frames": ("frames", lambda value: f"{value:.0f}"),
    "shown": ("intact frames a second", lambda value: f"{value:.1f}"),
    "intact": ("intact", percent),
    "in time": ("intact within 300 ms", percent),
    "freeze": ("longest gap", milliseconds),
    "latency": ("latency", milliseconds),
    "latency p95": ("latency p95", milliseconds),
    "lost": ("packets lost", lambda value: f"{value:.0f}"),
    "repair": ("repairs per lost", lambda value: f"{value:.2f}"),
    "media rate": ("media", lambda value: f"{value / 1e6:.2f} Mbit/s"),
    "reaches 85 %": ("85 % of the link after", seconds),
    "use": ("use after 5 s", percent),
    "queue p50": ("queue p50", milliseconds),
    "queue p95": ("queue p95", milliseconds),
    "overflow": ("dropped by the queue", percent),
    "calm again": ("queue under 150 ms, after the fall", seconds),
    "use low": ("use at 700 kbit/s", percent),
    "queue p95 low": ("queue p95 at 700 kbit/s", milliseconds),
    "up again": ("85 % again after", seconds),
    "share": ("share of the first flow", percent),
    "sender": ("sender, of one core", percent),
    "receiver": ("receiver, of one core", percent),
}


def name_of(pair):
    """For people; where both ends are the same, it is named once."""
    def one(word):
        word, _, codec = word.partition(":")
        sender, _, receiver = word.partition("-")
        ends = SPOKEN[sender] + (f" to {SPOKEN[receiver]}" if receiver not in ("", sender) else "")
        return ends + (codec and f", {codec}")
    return " beside ".join(map(one, pair.split("+")))


def written(name, value):
    return "never" if value is None else COLUMNS[name][1](value)


def line(scenario, pair, result):
    """For a terminal."""
    if isinstance(result, str):
        return f"  {name_of(pair):24} {result}"
    figures = [f"{COLUMNS[name][0]} {written(name, value)}" for name, value in result[0].items() if name in COLUMNS]
    return f"  {name_of(pair):24} " + ", ".join(figures)


def table(rows):
    """Markdown; the columns are the figures that any of the rows has."""
    names = [name for name in COLUMNS if any(not isinstance(result, str) and name in result[0] for result in rows.values())]
    lines = ["| | " + " | ".join(COLUMNS[name][0] for name in names) + " |", "|---|" + "---:|" * len(names)]
    for pair, result in rows.items():
        cells = [result] + [""] * (len(names) - 1) if isinstance(result, str) else [written(name, result[0].get(name)) if name in result[0] else "" for name in names]
        lines.append(f"| {name_of(pair)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def delays(rows):
    lines = [(name_of(pair), plot.thin(result[1]["delays"])) for pair, result in rows.items() if not isinstance(result, str) and result[1]]
    if not any(points for _, points in lines):
        return None
    panel = plot.Panel("Frames that were shown intact, by their latency", "% of all frames", lines, 500, 100, height=230)
    return plot.svg([panel], "ms from the sender's encoder to the receiver's decoder")


def rates(scenario, rows):
    panels = []
    good = [(pair, result[1]) for pair, result in rows.items() if not isinstance(result, str) and result[1]]
    if not good:
        return None
    capacity = good[0][1]["capacity"]
    limit = []
    for at, rate in capacity.steps:
        limit += ([(at, limit[-1][1])] if limit else []) + [(at, rate / 1e6)]
    limit.append((scenario.seconds, limit[-1][1]))
    if any("+" in pair for pair, _ in good):
        for pair, series in good:
            lines = [(f"{number}: {name_of(one)}", [(x, y / 1e6) for x, y in rate]) for number, (one, rate) in enumerate(zip(pair.split("+"), series["rates"]), 1)]
            panels.append(plot.Panel(name_of(pair), "Mbit/s", lines, scenario.seconds, limit=limit, limit_name="link"))
    else:
        lines = [(name_of(pair), [(x, y / 1e6) for x, y in series["rates"][0]]) for pair, series in good]
        panels.append(plot.Panel("Rate through the bottleneck", "Mbit/s", lines, scenario.seconds, limit=limit, limit_name="link"))
        queues = [(name_of(pair), plot.thin([(at, 1000 * queued) for at, queued in series["queue"] if at <= scenario.seconds])) for pair, series in good]
        panels.append(plot.Panel("Time in the bottleneck's queue", "ms", queues, scenario.seconds))
    return plot.svg(panels, "seconds since the first media packet")


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = platform.release().split("-")[0]
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB of memory, Linux {kernel}; load at the end {os.getloadavg()[0]:.1f}"


def versions():
    gst = subprocess.run(["gst-launch-1.0", "--version"], capture_output=True, text=True).stdout.splitlines()
    return next((text for text in gst if text.startswith("GStreamer")), "GStreamer")


def write(docs, results, asked):
    """Tables into docs/network.md, each between the marks of its scenario, and the plots beside it. The rest stays."""
    runs = "one run" if asked.repeat == 1 else f"median of {asked.repeat} runs"
    images = docs / "network"
    images.mkdir(exist_ok=True)
    page = docs / "network.md"
    text = page.read_text()
    for scenario, rows in results:
        out = [f"There `{scenario.there}`, back `{scenario.back}`; {scenario.length(asked.quick)} s, {runs}.", "", table(rows), ""]
        picture = rates(scenario, rows) if scenario.group == "bottleneck" else delays(rows) if scenario.group in ("repair", "browsers") else None
        if picture:
            (images / f"{scenario.name}.svg").write_text(picture)
            out += [f"![{scenario.title}](network/{scenario.name}.svg)", ""]
        out.append(f"{datetime.date.today().isoformat()}, {machine()}, {versions()}.")
        text = between(text, scenario.name, "\n".join(out))
    page.write_text(text)


def between(text, name, inside):
    """`text` with `inside` between the two marks of `name`."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"docs/network.md has no place for {name}: {begin.strip()} ... {end.strip()}")
    return text[:text.index(begin) + len(begin)] + "\n" + inside + "\n" + text[text.index(end):]
