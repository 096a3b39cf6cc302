# SPDX-License-Identifier: MPL-2.0
"""From what the link and the ends noted to figures."""

import re

import scene

# What UDP and IPv4 add to a datagram; the link counts it too.
HEADERS = 28
# A window over which a rate is taken, seconds, and the step by which it moves.
WINDOW, STEP = 1.0, 0.1
# Frames until this long after the first one that arrived are left out, seconds: the start of a call is not what is measured
# here. Of who shows nothing at first, the frames count all the same that were sent so long after the first one.
SETTLE, PATIENCE = 1.0, 3.0
# So are those at the end: nothing comes behind them that would show a receiver what it lacks.
TAIL = 0.5
# A frame is in time within the way, the jitter buffer, and this for encoding, sending and decoding, seconds.
WORK = 0.075


def quantile(values, share):
    """The smallest value that at least `share` of them do not exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, int(-(-share * len(ordered) // 1)) - 1))] if ordered else None


def payload_types(sdp):
    """{payload type: encoding name in lower case} of a description."""
    return {int(number): name.lower() for number, name in re.findall(r"^a=rtpmap:(\d+) ([^/\s]+)", sdp, re.M)}


class Frames:
    """What became of the frames of a flow."""

    def __init__(self, flow, way, latency):
        sent = dict(map(tuple, flow["send"]["sent"]))
        seen = flow["receive"]["seen"]
        first = min((sent[number] for number, intact, _ in seen if intact and number in sent), default=float("inf"))
        begin = min(first + SETTLE, min(sent.values(), default=0) + PATIENCE)
        end = max(sent.values(), default=0) - TAIL
        self.sent = {number: at for number, at in sent.items() if begin <= at < end}
        self.count = len(self.sent)
        # A browser leaves pictures out before it encodes; which ones, only their number tells.
        counts = [(at, sent) for at, sent, *_ in flow["send"].get("counts", []) if begin <= at < end]
        if len(counts) > 1:
            (begin, before), (end, after) = counts[0], counts[-1]
            self.sent = {number: at for number, at in self.sent.items() if begin <= at < end}
            self.count = after - before
        self.shown, self.broken = {}, 0
        for number, intact, at in seen:
            if number not in self.sent:
                continue
            if intact:
                self.shown.setdefault(number, at)
            else:
                self.broken += 1
        self.delays = {number: at - self.sent[number] for number, at in self.shown.items()}
        self.limit = way + latency + WORK
        # What a sink that plays at a constant delay shows, and when; a browser is its own sink.
        due = 0 if flow["receive"].get("shown") else way + latency
        times = sorted(max(at, self.sent[number] + due) for number, at in self.shown.items())
        self.gaps = [b - a for a, b in zip(times, times[1:])]
        if self.sent and times:
            self.gaps.append(max(self.sent.values()) + due - times[-1])

    def span(self):
        """Seconds from the first to the last frame that counts."""
        return max(self.sent.values(), default=0) - min(self.sent.values(), default=0)

    def figures(self):
        count = max(self.count, len(self.shown), 1)
        delays = list(self.delays.values())
        return {
            "frames": self.count,
            "shown": len(self.shown) / span if (span := self.span()) > 0 else None,
            "intact": len(self.shown) / count,
            "in time": sum(delay <= self.limit for delay in delays) / count,
            "broken": self.broken,
            "freeze": max(self.gaps, default=None),
            "latency": quantile(delays, 0.5),
            "latency p95": quantile(delays, 0.95),
        }


def repair(rows, flow, number=0):
    """Media packets that the link lost, and what was sent to repair them, from a to b."""
    names = payload_types(flow["sdp"]["answer"])
    known, lost, media, repairs, bits = set(), 0, 0, 0, 0
    rows = [row for row in rows if row["way"] == "ab" and row["flow"] == number and row["kind"] == "rtp"]
    for row in rows:
        key = (row["ssrc"], row["sequence_number"])
        again = key in known
        known.add(key)
        if again or names.get(row["payload_type"]) in ("rtx", "ulpfec", "flexfec-03", "flexfec"):
            repairs += 1
            continue
        media += 1
        bits += 8 * row["size"]
        lost += row["fate"] != "arrives"
    # A browser also fills the packets by which it probes the bandwidth with old ones; it counts apart what it was asked for.
    counted = flow["send"].get("stats")
    if isinstance(counted, dict):
        repairs = counted.get("retransmittedPacketsSent", repairs)
    seconds = rows[-1]["time"] - rows[0]["time"] if len(rows) > 1 else 1
    return {"media": media, "lost": lost, "repairs": repairs, "repair": repairs / lost if lost else None, "media rate": bits / seconds}


class Capacity:
    """The rate of a link's bottleneck over time, as its description says."""

    def __init__(self, text):
        self.steps = []
        for number, step in enumerate(text.split(";")):
            at = float(re.match(r"\s*([\d.]+)s:", step)[1]) if number else 0.0
            rate = re.search(r"rate=([\d.]+)([Mk])", step)
            if rate:
                self.steps.append((at, float(rate[1]) * {"M": 1e6, "k": 1e3}[rate[2]]))

    def at(self, time):
        return [rate for at, rate in self.steps if at <= time][-1]

    def bits(self, begin, end):
        edges = [begin, *(at for at, _ in self.steps if begin < at < end), end]
        return sum((b - a) * self.at(a) for a, b in zip(edges, edges[1:]))


class Bottleneck:
    """How the flows used the link from a to b."""

    def __init__(self, rows, link, seconds):
        rows = [row for row in rows if row["way"] == "ab"]
        self.capacity, self.seconds = Capacity(link), seconds
        # What was lost behind the bottleneck has used it.
        self.left = sorted((row["time"] + row["queued"], 8 * (row["size"] + HEADERS), row["flow"]) for row in rows if row["fate"] != "overflow")
        self.queue = [(row["time"], row["queued"]) for row in rows]
        self.overflow = sum(row["fate"] == "overflow" for row in rows) / (len(rows) or 1)

    def bits(self, begin, end, flow=None):
        return sum(bits for at, bits, of in self.left if begin <= at < end and flow in (None, of))

    def use(self, begin, end):
        return self.bits(begin, end) / self.capacity.bits(begin, end)

    def rate(self, flow=None):
        """[(middle of a window, bit/s)]"""
        width = 0.5
        count = int(self.seconds / width)
        sums = [0] * count
        for at, bits, of in self.left:
            if flow in (None, of) and at < count * width:
                sums[int(at / width)] += bits
        return [((number + 0.5) * width, bits / width) for number, bits in enumerate(sums)]

    def reaches(self, share, begin, end):
        """Seconds from `begin` to the end of the first WINDOW in which `share` of the link was used; None: not until `end`."""
        at = begin
        while at + WINDOW <= end:
            if self.use(at, at + WINDOW) >= share:
                return at + WINDOW - begin
            at += STEP
        return None

    def calm(self, limit, begin, end):
        """Seconds from `begin` until the queue has been under `limit` for a whole WINDOW; None: not until `end`."""
        over = begin
        for at, queued in self.queue:
            if begin <= at < end and queued > limit:
                if at - over > WINDOW:
                    break
                over = at
        return over - begin if over + WINDOW <= end else None

    def queued(self, share, begin, end):
        return quantile([queued for at, queued in self.queue if begin <= at < end], share)


def cpu(end, begin, seconds):
    """Share of a core that an end used from `begin` on (wall clock)."""
    inside = [(at, used) for at, used in end["cpu"] if begin <= at <= begin + seconds]
    (first, before), (last, after) = inside[0], inside[-1]
    return (after - before) / (last - first)
