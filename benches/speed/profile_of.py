# SPDX-License-Identifier: MPL-2.0
"""Where the CPU time of our sender and receiver goes: samples of perf, by what they say of their function and, in the kernel, of
the system call above it; and by thread, as the scheduler counts."""

import collections
import pathlib
import re
import shutil
import subprocess
import sys
import time

import calls
import films
import report
import scenarios

SECONDS = 12
FREQUENCY = 4000

# The first that fits a sample: (part, where to look, expression). `call` is the kernel's part of the stack, `name` the
# function, `library` the file that it is in.
PARTS = [
    ("sending: `sendmsg`, `sendmmsg`, UDP, loopback", "call", r"sys_send|udp_sendmsg"),
    ("receiving: `recvmsg`, `recvmmsg`", "call", r"sys_recv|udp_recvmsg"),
    ("wake-ups and waiting: futex, epoll, timers", "call", r"futex|epoll|sys_poll|ppoll|nanosleep|eventfd|timerfd"),
    ("reading the film", "call", r"sys_read|sys_pread|vfs_read"),
    ("page faults, mmap", "call", r"page_fault|mmap|munmap|brk|madvise"),
    ("kernel: scheduling and the rest", "library", r"^\[kernel"),
    ("SRTP and DTLS", "name", r"aes|gcm|ghash|gmul|sha1|sha256|sha512|hmac|srtp|dtls|replay|ring_core|aws_lc|polyval|ctr32|bn_|p256"),
    ("our elements: buffers and RTP", "name", r"gst_glue|rswebrtcsink|rswebrtcsrc|gstreamer::|glib::|gstreamer_"),
    ("our transport: sockets, ICE, timers", "name", r"peer::transport|quinn_udp|stun|::ice::|rtc_ice|turn"),
    ("our media path: queues, numbering, pacing, feedback, congestion control", "name", r"gstwebrtcrs::|interceptor|twcc|rtcp"),
    ("tokio: tasks, timers, reactor", "name", r"tokio|mio::|core::task|parking_lot|waker"),
    ("the rest of our library, webrtc-rs in it", "library", r"libgstwebrtcrs"),
    ("payloading and depayloading", "library", r"libgstrtp\.so|libgstrtp-1"),
    ("jitter buffer", "library", r"libgstrtpmanager"),
    ("parsing: h264parse, demultiplexer", "library", r"videoparsers|isomp4|libgstaudioparsers|opusparse|libgstcodecparsers"),
    ("copies and comparisons of memory", "name", r"mem(move|cpy|set|cmp|chr)"),
    ("allocation", "name", r"malloc|free|calloc|realloc|g_slice|_int_|tcache|arena|unlink_chunk"),
    ("GStreamer's core and GLib", "library", r"libgst|libglib|libgobject"),
    ("C library: locks, clock, system calls", "library", r"libc\.|libm\.|libpthread|vdso|ld-linux"),
]
REST = "other"
KERNEL = re.compile(r"^\[(kernel|k|guest)|kernel\.kallsyms|vmlinux|\.ko$")


def part_of(stack):
    """The part of one sample, a list of (function, library) from the innermost on."""
    kernel = " ".join(name for name, library in stack if KERNEL.search(library))
    name, library = stack[0]
    inside = bool(KERNEL.search(library))
    for part, where, expression in PARTS:
        text = {"call": kernel if inside else "", "name": "" if inside else name, "library": "[kernel" if inside else library}[where]
        if text and re.search(expression, text, re.IGNORECASE):
            return part
    return REST


def samples(path):
    """The stacks of a recording."""
    text = subprocess.run(["perf", "script", "-i", str(path), "-F", "ip,sym,dso"], capture_output=True, text=True, errors="replace").stdout
    for block in text.split("\n\n"):
        stack = []
        for line in block.splitlines():
            found = re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line)
            if found:
                name = re.sub(r"\+0x[0-9a-f]+$", "", found[1])
                stack.append((name, "[kernel]" if KERNEL.search(found[2]) else pathlib.PurePath(found[2]).name))
        if stack:
            yield stack


def threads_of(pid):
    """{thread: (name, CPU seconds, times that it went to sleep)}"""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            slept = next(line for line in (task / "status").read_text().splitlines() if line.startswith("voluntary_ctxt"))
            found[task.name] = ((task / "comm").read_text().strip(), int((task / "schedstat").read_text().split()[0]) / 1e9, int(slept.split()[-1]))
        except (OSError, StopIteration):
            continue
    return found


def threads(bench):
    """A table of the threads that use CPU time, for each kind, without perf."""
    rows = []
    for kind in bench.kinds:
        with calls.Pair(kind, films.film("8"), bench.environment) as pair:
            ends = dict(zip(("sender", "receiver"), pair.connect()))
            ends["sender"].do("go")
            time.sleep(scenarios.WARM)
            before = {name: threads_of(end.pid) for name, end in ends.items()}
            time.sleep(SECONDS / 2)
            for name, end in ends.items():
                sums = collections.defaultdict(lambda: [0, 0])
                for number, (thread, used, slept) in threads_of(end.pid).items():
                    _, began, slept_before = before[name].get(number, ("", 0, 0))
                    sums[thread][0] += 200 * (used - began) / SECONDS
                    sums[thread][1] += 2 * (slept - slept_before) / SECONDS
                rows += [(report.SPOKEN[kind], name, f"`{thread}`", f"{load:.2f}", f"{sleeps:.0f}")
                         for thread, (load, sleeps) in sorted(sums.items(), key=lambda item: -item[1][0]) if load >= 0.02]
    return report.table(("", "", "thread", "% of a core", "sleeps a second"), rows)


def record(bench):
    """Of both ends: samples by part, CPU load in percent, samples by function, library and part."""
    counts, loads, functions = {}, {}, {}
    with calls.Pair("ours", films.film("8"), bench.environment) as pair:
        ends = dict(zip(("sender", "receiver"), pair.connect()))
        ends["sender"].do("go")
        time.sleep(scenarios.WARM)
        files = {name: pathlib.Path(pair.folder.name) / f"{name}.perf" for name in ends}
        recorders = [subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-g", "-o", str(files[name]), "-p", str(end.pid), "--", "sleep", str(SECONDS)],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for name, end in ends.items()]
        seen = calls.Window(list(ends.values()), SECONDS)
        for recorder in recorders:
            recorder.wait(60)
        for name, load in zip(ends, seen.cpu):
            stacks = list(samples(files[name]))
            counts[name] = collections.Counter(part_of(stack) for stack in stacks)
            functions[name] = collections.Counter((stack[0], part_of(stack)) for stack in stacks)
            loads[name] = load
    return counts, loads, functions


def table(bench):
    """The shares as a table, parts with the larger shares first."""
    if not shutil.which("perf"):
        sys.exit("--profile needs perf: the package linux-perf, or linux-tools of the running kernel")
    counts, loads, functions = record(bench)
    totals = {name: sum(parts.values()) or 1 for name, parts in counts.items()}
    parts = sorted({part for found in counts.values() for part in found}, key=lambda part: -sum(counts[name][part] / totals[name] for name in counts))
    lines = ["| part | sender | receiver |", "|---|---:|---:|"]
    lines += [f"| {part} | " + " | ".join(f"{100 * counts[name][part] / totals[name]:.1f} %" for name in counts) + " |" for part in parts]
    lines += ["", f"`perf record -e cpu-clock`, {SECONDS} s, {totals['sender']} and {totals['receiver']} samples; with perf at work the sender used "
              f"{loads['sender']:.1f} % of a core and the receiver {loads['receiver']:.1f} %."]
    if bench.asked.keep:
        bench.asked.keep.mkdir(parents=True, exist_ok=True)
        for name, found in functions.items():
            rows = (f"{count / totals[name]:7.2%} {function} ({library}) -> {part}" for ((function, library), part), count in found.most_common(80))
            (bench.asked.keep / f"profile-{name}.txt").write_text("\n".join(rows) + "\n")
    return "\n".join(lines) + f"\n\nThe same call, of each kind and without perf, by threads that use 0.02 % of a core or more, {SECONDS // 2} s:\n\n{threads(bench)}"
