# SPDX-License-Identifier: MPL-2.0
"""Figures as tables, limits that are met or not, and plots."""

import datetime
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import bars
import limits

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "network"))
import plot  # noqa: E402

SPOKEN = {"ours": "rswebrtc", "webrtcbin": "webrtcbin", "udp": "plain UDP", "webrtcsink": "webrtcsink", "null": "nothing sent"}
RATES = ("cpu8", "cpu50", "cpu100", "cpu200", "opus")
SETUPS = ("setup", "setup0")
DELAYS = ("latency0", "latency200", "latency100M", "latency200M")
TITLES = {
    "cpu8": "8 Mbit/s", "cpu50": "50 Mbit/s", "cpu100": "100 Mbit/s", "cpu200": "200 Mbit/s", "opus": "Opus alone",
    "setup": "jitter buffer 200 ms", "setup0": "jitter buffer 0",
    "latency0": "8 Mbit/s, jitter buffer 0", "latency200": "8 Mbit/s, 200 ms", "latency100M": "100 Mbit/s, 200 ms", "latency200M": "200 Mbit/s, 200 ms",
}


def circumstances(plugin):
    """When and on what something was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    said = subprocess.run(["gst-launch-1.0", "--version"], capture_output=True, text=True).stdout.splitlines()
    version = next((text for text in said if text.startswith("GStreamer")), "GStreamer")
    built = datetime.datetime.fromtimestamp((plugin / "libgstwebrtcrs.so").stat().st_mtime, datetime.timezone.utc)
    return (f"{datetime.date.today().isoformat()}, {os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB of memory, "
            f"Linux {platform.release().split('-')[0]}, {version}, plugin built {built:%Y-%m-%d %H:%M} UTC; load at the end {os.getloadavg()[0]:.1f}")


def spread(runs, name, form):
    """`median (least to most)` of one figure; nothing where no run has it."""
    values = [run[name] for run in runs if run.get(name) is not None]
    if not values:
        return ""
    middle, least, most = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


def made(results, name):
    """{kind: runs} of a scenario, without those that failed."""
    return {kind: [run for run in runs if run] for kind, runs in results.get(name, {}).get("runs", {}).items()}


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)] + ["| " + " | ".join(row) + " |" for row in rows])


def foot(results, names):
    """How many runs, when, on what; once where it is the same for all."""
    lines = []
    for name in names:
        runs = {len(found) for found in made(results, name).values()}
        seconds = results[name]["seconds"]
        lines.append((f"{min(runs)} to {max(runs)} runs" if len(runs) > 1 else f"{max(runs)} runs") + (f" of {seconds} s" if seconds else ""))
    said = lines[0] if len(set(lines)) == 1 else "; ".join(f"{TITLES.get(name, name)}: {line}" for name, line in zip(names, lines))
    return f"\n{said}. {results[names[-1]]['on']}."


def have(results, names):
    return [name for name in names if name in results]


def cpu_section(results):
    names = have(results, RATES)
    if not names:
        return None
    head = ("", "", "sender, % of a core", "receiver, % of a core", "frames or packets sent", "came out", "lost, jitter buffer", "lost, socket")
    rows = []
    for name in names:
        for kind, runs in made(results, name).items():
            if runs:
                rows.append((TITLES[name], SPOKEN[kind], spread(runs, "sender", "{:.2f}"), spread(runs, "receiver", "{:.2f}"), spread(runs, "sent", "{:.0f}"),
                             spread(runs, "frames", "{:.0f}"), spread(runs, "lost", "{:.0f}"), spread(runs, "socket", "{:.0f}")))
    return table(head, rows) + "\n" + foot(results, names)


def memory_section(results):
    runs = made(results, "cpu8")
    if not runs:
        return None
    head = ("8 Mbit/s", "sender, MiB", "threads", "receiver, MiB", "threads")
    rows = [(SPOKEN[kind], *(spread(found, f"{end}_{what}", "{:.0f}") for end in ("sender", "receiver") for what in ("mib", "threads"))) for kind, found in runs.items() if found]
    return table(head, rows) + "\n" + foot(results, ["cpu8"])


def latency_section(results):
    names = have(results, DELAYS)
    if not names:
        return None
    head = ("", "", "p50, ms", "p99, ms", "max, ms", "frames intact")
    rows = []
    for name in names:
        for kind, runs in made(results, name).items():
            if runs:
                intact = [{"share": 100 * run["intact"] / run["sent"]} for run in runs if run["sent"]]
                what = "the probes alone" if kind == "null" else SPOKEN[kind]
                rows.append((TITLES[name], what, *(spread(runs, figure, "{:.2f}") for figure in ("p50", "p99", "max")), spread(intact, "share", "{:.1f} %")))
    return table(head, rows) + "\n" + foot(results, names)


def setup_section(results):
    names = have(results, SETUPS)
    if not names:
        return None
    rows = [(TITLES[name], SPOKEN[kind], spread(runs, "ms", "{:.0f}")) for name in names for kind, runs in made(results, name).items() if runs]
    return table(("", "", "first buffer after, ms"), rows) + "\n" + foot(results, names)


def fanout_section(results):
    if "fanout" not in results:
        return None
    head = ("viewers", "", "saw a picture", "CPU a viewer, % of a core", "memory a viewer, MiB", "threads", "frames seen", "missing", "late by 50 ms", "first frame, ms")
    rows = []
    for key, runs in made(results, "fanout").items():
        kind, size = key.split(" ")
        if runs:
            forms = (("ready", "{:.0f}"), ("cpu_each", "{:.3f}"), ("mib_each", "{:.2f}"), ("threads", "{:.0f}"), ("frames", "{:.0f}"), ("missing", "{:.0f}"), ("late", "{:.0f}"), ("first_ms", "{:.0f}"))
            rows.append((size, SPOKEN[kind], *(spread(runs, name, form) for name, form in forms)))
    return table(head, rows) + "\n" + foot(results, ["fanout"])


def load_section(results):
    if "load" not in results:
        return None
    head = ("", "plugin not in the registry, ms", "CPU, ms", "in the registry, ms", "stripped library, MB")
    names = {"ours": "`gst-inspect-1.0 rswebrtcsink`", "webrtcbin": "`gst-inspect-1.0 webrtcbin`"}
    forms = (("first_ms", "{:.0f}"), ("first_cpu_ms", "{:.0f}"), ("again_ms", "{:.0f}"), ("mb", "{:.2f}"))
    rows = [(names[kind], *(spread(runs, name, form) for name, form in forms)) for kind, runs in made(results, "load").items() if runs]
    return table(head, rows) + "\n" + foot(results, ["load"])


def limits_section(results):
    found = limits.all_of(results)
    if not found:
        return None
    return table(("", "limit", "measured", "met"), [(line.what, line.limit, line.measured, "yes" if line.met else "no") for line in found])


SECTIONS = {"limits": limits_section, "cpu": cpu_section, "memory": memory_section, "latency": latency_section, "setup": setup_section,
            "fanout": fanout_section, "load": load_section}


def sections(results):
    """[(name, text)] of what there are figures for."""
    made = ((name, section(results)) for name, section in SECTIONS.items())
    return [(name, text) for name, text in made if text]


def cpu_plot(results):
    groups = []
    for name in have(results, RATES):
        for end in ("sender", "receiver"):
            runs = {SPOKEN[kind]: [run[end] for run in found if end in run] for kind, found in made(results, name).items()}
            groups.append((f"{TITLES[name]}, {end}", {kind: values for kind, values in runs.items() if values}))
    groups = [group for group in groups if group[1]]
    return bars.svg("CPU time, % of a core", groups) if groups else None


def setup_plot(results):
    groups = [(TITLES[name], {SPOKEN[kind]: [run["ms"] for run in found] for kind, found in made(results, name).items() if found}) for name in have(results, SETUPS)]
    groups = [group for group in groups if group[1]]
    return bars.svg("From PLAYING to the first buffer out, ms", groups) if groups else None


def latency_plot(results):
    if "latency0" not in results:
        return None
    # To five times the largest median; the table has what lies beyond.
    lines = []
    for kind, runs in made(results, "latency0").items():
        delays = sorted(delay for run in runs for delay in run["delays"])
        if delays and kind != "null":
            lines.append((SPOKEN[kind], plot.thin([(delay, 100 * (number + 1) / len(delays)) for number, delay in enumerate(delays)], 300), statistics.median(delays)))
    if not lines:
        return None
    panel = plot.Panel("Frames that were out, jitter buffer 0", "% of those that arrived", [line[:2] for line in lines], 5 * max(line[2] for line in lines), 100, height=230)
    return plot.svg([panel], "ms since the access unit went in")


def fanout_plot(results):
    runs = made(results, "fanout")
    panels = []
    for name, title, unit in (("cpu_each", "CPU time a viewer", "% of a core"), ("mib_each", "Memory a viewer", "MiB")):
        lines = {}
        for key, found in runs.items():
            kind, size = key.split(" ")
            if found:
                lines.setdefault(SPOKEN[kind], []).append((int(size), statistics.median(run[name] for run in found)))
        if lines:
            panels.append(plot.Panel(title, unit, list(lines.items()), max(size for line in lines.values() for size, _ in line)))
    return plot.svg(panels, "viewers") if panels else None


PLOTS = {"cpu": cpu_plot, "latency": latency_plot, "setup": setup_plot, "fanout": fanout_plot}
ALTERNATIVES = {"cpu": "CPU time by bit rate and peer", "latency": "Distribution of latency", "setup": "Time to the first buffer", "fanout": "Cost of a viewer by their number"}


def write(docs, results):
    """Tables into docs/performance.md, each between its marks, and the plots beside it. The rest stays."""
    images = docs / "performance"
    images.mkdir(exist_ok=True)
    for name, text in sections(results):
        picture = PLOTS[name](results) if name in PLOTS else None
        if picture:
            (images / f"{name}.svg").write_text(picture)
            text += f"\n\n![{ALTERNATIVES[name]}](performance/{name}.svg)"
        write_section(docs, name, text)


def write_section(docs, name, inside):
    page = docs / "performance.md"
    text = page.read_text()
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"docs/performance.md has no place for {name}: {begin.strip()} ... {end.strip()}")
    page.write_text(text[:text.index(begin) + len(begin)] + "\n" + inside + "\n" + text[text.index(end):])
