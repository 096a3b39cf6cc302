#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Shows the statistics of rswebrtcsink and rswebrtcsrc while a pipeline runs.

    watch-stats.py COMMAND [ARGUMENT...]   runs gst-launch-1.0 (with -m, so that it prints messages)
    watch-stats.py -                       reads what `gst-launch-1.0 -m` prints from standard input

On a terminal: a screen with bars and sparklines. Elsewhere, and with TERM=dumb: a line for each stream each time, on
standard error where standard output is no terminal either, since that may carry signalling.
"""

import collections
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time

MESSAGE = re.compile(r'^Got message #\d+ from \S+ "(?P<element>[^"]*)" \(element\): rswebrtc-stats, (?P<rest>.*)$')
HISTORY = 120
KEPT_LINES = 200
UTF8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
SPARKS = "▁▂▃▄▅▆▇█" if UTF8 else "_.-:=+*#"
FULL, EMPTY = ("█", "░") if UTF8 else ("#", ".")


def value_at(text, at):
    """The value that starts at `at`, without quotes and escapes, and where it ends."""
    if text[at : at + 1] == '"':
        out = []
        at += 1
        while at < len(text) and text[at] != '"':
            at += text[at] == "\\"
            out.append(text[at : at + 1])
            at += 1
        return "".join(out), at + 1
    if text[at : at + 1] == "[":
        # Newer GStreamer puts structures in brackets.
        depth, start, quoted = 0, at + 1, False
        while at < len(text):
            if text[at] == "\\":
                at += 1
            elif text[at] == '"':
                quoted = not quoted
            elif not quoted and text[at] in "[]":
                depth += 1 if text[at] == "[" else -1
                if depth == 0:
                    break
            at += 1
        return text[start:at].strip(), at + 1
    end = re.compile(r"[,;]").search(text, at)
    end = end.start() if end else len(text)
    return text[at:end].strip(), end


def fields(text):
    """name → value of a serialised GstStructure's fields; structures inside are dicts, with their name as ''."""
    found, at = {}, 0
    field = re.compile(r"\s*,?\s*([A-Za-z][\w/:.+-]*)=\(([^)]*)\)")
    while match := field.match(text, at):
        value, at = value_at(text, match.end())
        kind = match[2].strip()
        if kind in ("structure", "GstStructure"):
            name, _, rest = value.partition(",")
            found[match[1]] = {"": name.strip().rstrip(";"), **fields(rest)}
        elif kind in ("string", "gchararray"):
            found[match[1]] = value
        else:
            try:
                found[match[1]] = float(value)
            except ValueError:
                found[match[1]] = value
    return found


def parse(line):
    """(element, statistics) of a line that gst-launch-1.0 -m prints; None for any other line."""
    match = MESSAGE.match(line)
    return (match["element"], fields(match["rest"])) if match else None


def bits(rate):
    """2.43 Mbit/s"""
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate:.0f} bit/s"


def bar(share, width):
    filled = round(max(0.0, min(1.0, share)) * width)
    return FULL * filled + EMPTY * (width - filled)


def spark(values, width, top=0.0):
    """The last values as a line, against the highest of them or `top`."""
    shown = list(values)[-width:]
    high = max([top, *shown]) or 1.0
    line = "".join(SPARKS[min(len(SPARKS) - 1, int(value / high * (len(SPARKS) - 0.01)))] for value in shown)
    return line.rjust(width)


class Series:
    """Histories by name, and the change of counters since the last time."""

    def __init__(self):
        self.history = collections.defaultdict(lambda: collections.deque(maxlen=HISTORY))
        self.before = {}

    def add(self, key, value):
        self.history[key].append(value)
        return self.history[key]

    def change(self, key, value):
        delta = value - self.before.get(key, value)
        self.before[key] = value
        return max(0.0, delta)


class View:
    """What is known, and how it looks."""

    def __init__(self):
        self.series = Series()
        self.known = {}

    def take(self, element, stats):
        self.known[element] = [
            part for peer, data in stats.items() if isinstance(data, dict) and peer.startswith("peer-") for part in self.peer(element, peer, data)
        ]

    def peer(self, element, peer, data):
        """Of one peer: (text, value for the sparkline history, highest, share for a bar) for each line."""
        key = (element, peer)
        pair = data.get("candidate-pair", {})
        streams = [(name, s) for name, s in data.items() if isinstance(s, dict) and s[""] in ("outbound-rtp", "inbound-rtp")]
        sends = any(s[""] == "outbound-rtp" for _, s in streams)
        yield (f"{element} {'sends to' if sends else 'receives from'} {peer}", None, 0, None)
        if "current-round-trip-time" in pair:
            rtt = pair["current-round-trip-time"] * 1000
            yield (f"  round trip  {rtt:8.1f} ms", self.series.add((*key, "rtt"), rtt), 20, None)
        if sends:
            yield from self.path(key, pair)
        for name, stream in streams:
            yield from (self.outbound if stream[""] == "outbound-rtp" else self.inbound)((*key, name), name, stream)

    def path(self, key, pair):
        sending, target = pair.get("sending-bitrate", 0.0), pair.get("available-outgoing-bitrate")
        if target:
            text = f"  bitrate     {bits(sending):>11} of {bits(target)}"
            yield (text, self.series.add((*key, "rate"), sending), target, sending / target)
        else:
            yield (f"  bitrate     {bits(sending):>11}", self.series.add((*key, "rate"), sending), 0, None)
        delay = pair.get("queue-delay", 0.0) * 1000
        yield (f"  queue       {delay:8.1f} ms", self.series.add((*key, "queue"), delay), 20, None)
        if "fraction-lost" in pair:
            lost = pair["fraction-lost"] * 100
            yield (f"  lost        {lost:8.1f} %", self.series.add((*key, "lost"), lost), 5, None)

    def outbound(self, key, name, s):
        rate = s.get("bitrate", 0.0)
        text = f"  {name:10}  {bits(rate):>11}  {s.get('codec', '')} {s.get('frames-per-second', 0):.1f} frames/s"
        yield (text, self.series.add((*key, "rate"), rate), 0, None)
        repeated = self.series.change((*key, "rtx"), s.get("retransmitted-packets-sent", 0.0))
        text = f"    sent again {s.get('retransmitted-packets-sent', 0):.0f}, FEC {s.get('fec-packets-sent', 0):.0f}, dropped frames {s.get('frames-dropped', 0):.0f}, PLI {s.get('pli-count', 0):.0f}"
        yield (text, self.series.add((*key, "rtx"), repeated), 10, None)

    def inbound(self, key, name, s):
        rate = s.get("bitrate", 0.0)
        frames = f" {s.get('frames-per-second', 0):.1f} frames/s" if "frames-received" in s else ""
        text = f"  {name:10}  {bits(rate):>11}  {s.get('codec', '')}{frames}, latency {s.get('latency', 0):.0f} ms"
        yield (text, self.series.add((*key, "rate"), rate), 0, None)
        repaired = s.get("packets-repaired", 0.0)
        change = self.series.change((*key, "repaired"), repaired)
        text = f"    repaired {repaired:.0f}, lost {s.get('packets-lost', 0):.0f}, late {s.get('packets-late', 0):.0f}, jitter {s.get('jitter', 0) * 1000:.1f} ms"
        yield (text, self.series.add((*key, "repaired"), change), 10, None)
        if "freeze-count" in s:
            frozen = self.series.change((*key, "frozen"), s.get("total-freezes-duration", 0.0))
            text = f"    freezes {s['freeze-count']:.0f} ({s.get('total-freezes-duration', 0):.1f} s), broken frames {s.get('frames-broken', 0):.0f}, dropped {s.get('frames-dropped', 0):.0f}, PLI {s.get('pli-count', 0):.0f}"
            yield (text, self.series.add((*key, "frozen"), frozen), 1, None)

    def plain(self, element):
        """Lines without any drawing."""
        now = time.strftime("%H:%M:%S")
        return [f"{now} {text}" for text, *_ in self.known.get(element, [])]

    def screen(self, width, height, notes):
        """At most `height` lines of at most `width` columns."""
        lines = []
        for element in sorted(self.known):
            for text, history, top, share in self.known[element]:
                drawing = max(0, min(40, width - 72))
                line = text
                if history is not None and drawing:
                    line = f"{text[:70]:70} {spark(history, drawing, top)}"
                if share is not None and width >= 72:
                    line = f"{text[:48]:48} {bar(share, 21)} {line[71:]}"
                lines.append(line[:width])
            lines.append("")
        room = max(1, height - len(notes))
        if len(lines) > room:
            lines = [*lines[: room - 1], f"… {len(lines) - room + 1} lines more: a taller window shows them"[:width]]
        return [*lines, *(note[:width] for note in notes)][:height]


class Terminal:
    """The other screen of a terminal, from the first picture to the end."""

    def __init__(self, out):
        self.out = out
        self.active = False

    def draw(self, view, notes):
        if not self.active:
            self.out.write("\x1b[?1049h\x1b[?25l")
            self.active = True
        size = shutil.get_terminal_size()
        lines = view.screen(size.columns, max(1, size.lines - 1), notes)
        self.out.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self.out.flush()

    def restore(self):
        if self.active:
            self.out.write("\x1b[?25h\x1b[?1049l")
            self.out.flush()
            self.active = False


def with_messages(command):
    """gst-launch-1.0 has to print messages, and must not be quiet."""
    if os.path.basename(command[0]) != "gst-launch-1.0":
        return command
    options, rest = [], list(command[1:])
    while rest and re.fullmatch(r"-[a-zA-Z]+|--[a-z-]+", rest[0]):
        option = rest.pop(0)
        if option not in ("-q", "--quiet"):
            options.append(option)
    if not {"-m", "--messages"} & set(options):
        options.insert(0, "-m")
    return [command[0], *options, *rest]


def lines_of(stream, pending):
    """The complete lines that have come; None at the end."""
    data = os.read(stream, 65536)
    if not data:
        return None
    *lines, pending[stream] = (pending.get(stream, b"") + data).split(b"\n")
    return [line.decode(errors="replace") for line in lines]


def main():
    words = sys.argv[1:]
    if words[:1] == ["--"]:
        words.pop(0)
    if not words or words[0] in ("-h", "--help"):
        sys.exit(__doc__)
    child = None
    if words != ["-"]:
        try:
            child = subprocess.Popen(with_messages(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            sys.exit(f"watch-stats: {words[0]}: {error.strerror}")
    on_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    plain_to = sys.stdout if sys.stdout.isatty() or child is None else sys.stderr
    terminal, view, kept = Terminal(sys.stdout), View(), collections.deque(maxlen=KEPT_LINES)
    # A signal wakes the loop; the size is read anew with each picture.
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGWINCH, lambda *_: None)
    stopping = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: stopping.append(number))
    selector = selectors.DefaultSelector()
    sources = [child.stdout.fileno(), child.stderr.fileno()] if child else [sys.stdin.fileno()]
    for source in (*sources, wake_read):
        selector.register(source, selectors.EVENT_READ)
    pending, passed_on = {}, 0
    try:
        while sources:
            changed = False
            for key, _ in selector.select():
                if key.fd == wake_read:
                    os.read(wake_read, 4096)
                    changed = terminal.active
                    continue
                lines = lines_of(key.fd, pending)
                if lines is None:
                    selector.unregister(key.fd)
                    sources.remove(key.fd)
                    continue
                for line in lines:
                    told = parse(line)
                    if told:
                        view.take(*told)
                        changed = True
                        if not on_terminal:
                            print(*view.plain(told[0]), sep="\n", file=plain_to, flush=True)
                    elif line.startswith("Got message #"):
                        pass
                    elif terminal.active:
                        kept.append((key.fd, line))
                    else:
                        print(line, file=sys.stderr if child and key.fd == child.stderr.fileno() else sys.stdout, flush=True)
            if changed and on_terminal:
                terminal.draw(view, [line for _, line in list(kept)[-2:]])
            while len(stopping) > passed_on:
                # Ctrl-C goes to the whole group by itself; what comes to us alone is passed on.
                number = stopping[passed_on]
                passed_on += 1
                if child is None or passed_on > 3:
                    return 128 + number
                if number != signal.SIGINT or not sys.stdin.isatty():
                    child.send_signal(number if number != signal.SIGHUP else signal.SIGTERM)
    finally:
        terminal.restore()
        for source, line in kept:
            print(line, file=sys.stderr if child and source == child.stderr.fileno() else sys.stdout)
        if child and child.poll() is None and sources:
            child.terminate()
    if child:
        status = child.wait()
        return status if status >= 0 else 128 - status
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        os._exit(1)
