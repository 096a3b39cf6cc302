# SPDX-License-Identifier: MPL-2.0
"""The links, who is called over them, and which figures are taken."""

import dataclasses

import measure
import over_link

# One way, seconds; the round trip is twice that.
WAY = 0.025
LATENCY = 0.2
# Bit/s that the encoder of the repair scenarios makes, and from which those of the others start.
FULL, START = 2_500_000, 500_000
CALM = 0.15


@dataclasses.dataclass
class Scenario:
    name: str
    group: str
    title: str
    there: str
    back: str
    seconds: int
    pairs: tuple
    measure: object
    start: int = FULL
    # Longest it may spend: the encoder's or the congestion control's limit.
    most: int = FULL
    # Whether the schedule of the link needs all of the time.
    fixed: bool = False
    # Times at which the rate falls and rises.
    falls: float = None
    rises: float = None
    encoded: bool = False
    decode: bool = True

    def length(self, quick):
        """Of a call, seconds."""
        return min(self.seconds, 12) if quick and not self.fixed else self.seconds

    def flows(self, pair, properties=""):
        """The calls that are made at the same time; a pair is SENDER-RECEIVER, one word for both, or two of them by `+`; behind `:` is the
        encoder, or of browsers the codec, where it is not x264enc and H264."""
        made = []
        for one in pair.split("+"):
            one, _, encoder = one.partition(":")
            sender, _, receiver = one.partition("-")
            own = f"start-bitrate={self.start} max-bitrate={self.most} {properties}"
            made.append(over_link.Flow(sender, receiver or sender, kbit=self.start // 1000, most=self.most // 1000, encoded=self.encoded,
                                   decode=self.decode, latency=int(LATENCY * 1000), properties=own, encoder=encoder or "x264enc"))
        return made


def of_repair(scenario, run, seconds):
    flow = run.flows[0]
    frames = measure.Frames(flow, WAY, LATENCY)
    figures = {**frames.figures(), **measure.repair(run.rows, flow)}
    delays = sorted(1000 * delay for delay in frames.delays.values())
    return figures, {"delays": [(delay, 100 * (at + 1) / max(1, frames.count, len(delays))) for at, delay in enumerate(delays)]}


def of_bottleneck(scenario, run, seconds):
    link = measure.Bottleneck(run.rows, scenario.there, seconds)
    end = seconds
    until = scenario.falls or end
    figures = {
        "reaches 85 %": link.reaches(0.85, 0, until),
        "use": link.use(5, until),
        "queue p50": link.queued(0.5, 5, until),
        "queue p95": link.queued(0.95, 5, until),
        "overflow": link.overflow,
    }
    if scenario.falls:
        figures["calm again"] = link.calm(CALM, scenario.falls, scenario.rises)
        figures["use low"] = link.use(scenario.falls + 2, scenario.rises)
        figures["queue p95 low"] = link.queued(0.95, scenario.falls + 2, scenario.rises)
        figures["up again"] = link.reaches(0.85, scenario.rises, end)
    if len(run.flows) > 1:
        shares = [link.bits(seconds / 3, end, number) for number in range(len(run.flows))]
        figures["share"] = shares[0] / (sum(shares) or 1)
    frames = measure.Frames(run.flows[0], WAY, LATENCY).figures()
    figures.update({name: frames[name] for name in ("shown", "intact", "freeze", "latency p95")})
    rates = [link.rate(number if len(run.flows) > 1 else None) for number in range(len(run.flows))]
    return figures, {"rates": rates, "queue": link.queue, "capacity": link.capacity}


def of_cpu(scenario, run, seconds):
    flow = run.flows[0]
    begin = flow["receive"]["cpu"][0][0] + 2 if not flow["send"]["sent"] else flow["send"]["sent"][0][1] + 2
    frames = measure.repair(run.rows, flow)
    return {"sender": measure.cpu(flow["send"], begin, seconds - 3), "receiver": measure.cpu(flow["receive"], begin, seconds - 3),
            "media rate": frames["media rate"]}, None


THREE = ("ours", "webrtcbin", "chromium")
# Firefox has no encoder of H264.
CROSS = ("ours-chromium", "chromium-ours", "ours-firefox", "ours-firefox:VP8", "firefox-ours:VP8", "chromium-firefox")
PLAIN = "delay=25ms"
QUEUE = "queue=200ms delay=25ms"

ALL = [
    Scenario("loss10", "repair", "10 % random loss, RTT 50 ms", f"{PLAIN} loss=10%", f"{PLAIN} loss=10%", 40, THREE, of_repair),
    Scenario("loss20", "repair", "20 % random loss, RTT 50 ms", f"{PLAIN} loss=20%", f"{PLAIN} loss=20%", 40, THREE, of_repair),
    Scenario("burst", "repair", "50 ms of each second lost, RTT 50 ms", f"{PLAIN} burst=50ms/1s", PLAIN, 40, THREE, of_repair),
    Scenario("reorder", "repair", "2 % of packets 20 ms late, 5 ms jitter, 1 % twice, RTT 50 ms", f"{PLAIN} jitter=5ms reorder=2%/20ms duplicate=1%", PLAIN, 20,
             THREE, of_repair),
    Scenario("browsers5", "browsers", "5 % random loss, RTT 50 ms", f"{PLAIN} loss=5%", f"{PLAIN} loss=5%", 30, CROSS, of_repair),
    Scenario("steady", "bottleneck", "2 Mbit/s, RTT 50 ms, queue 200 ms", f"rate=2M {QUEUE}", PLAIN, 30, (*THREE, "chromium:VP8"), of_bottleneck, START, 8_000_000),
    Scenario("change", "bottleneck", "2 Mbit/s, from 20 s on 700 kbit/s, from 35 s on 2 Mbit/s", f"rate=2M {QUEUE}; 20s: rate=700k; 35s: rate=2M", PLAIN, 50,
             ("ours", "chromium"), of_bottleneck, START, 8_000_000, True, 20, 35),
    Scenario("lossy", "bottleneck", "3 Mbit/s and 5 % random loss", f"rate=3M {QUEUE} loss=5%", PLAIN, 30, ("ours", "chromium"), of_bottleneck, START, 8_000_000),
    Scenario("two", "bottleneck", "two flows share 2 Mbit/s", f"rate=2M {QUEUE}", PLAIN, 60, ("ours+ours", "chromium+chromium", "ours+chromium"),
             of_bottleneck, START, 8_000_000),
    Scenario("encoders", "bottleneck", "1 Mbit/s, each software encoder", f"rate=1M {QUEUE}", PLAIN, 20,
             ("ours", "ours:openh264enc", "ours:vp8enc", "ours:vp9enc", "ours:av1enc", "ours:x265enc"), of_bottleneck, START, 8_000_000),
    Scenario("cpu0", "cpu", "CPU without loss, RTT 50 ms", PLAIN, PLAIN, 25, ("ours", "webrtcbin"), of_cpu, encoded=True, decode=False),
    Scenario("cpu10", "cpu", "CPU at 10 % random loss, RTT 50 ms", f"{PLAIN} loss=10%", f"{PLAIN} loss=10%", 25, ("ours", "webrtcbin"), of_cpu,
             encoded=True, decode=False),
]
