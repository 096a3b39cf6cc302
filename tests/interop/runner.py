# SPDX-License-Identifier: MPL-2.0
"""Runs the tests of this folder: a line for each, `N passed, N failed` at the end.

    runner.py [-k NAME]... [-l] [-f] [--lanes N] [--again N] [--write-docs]

-k takes a part of a test's name (module.Class.test) and can be given more than once; -l lists the names; -f stops
at the first failure; --lanes says how many tests run at a time (2), but for those that must be alone, which come last;
--again N gives up to N tests that failed one more attempt, alone, and names those that pass then: a machine with browsers
on it that has to stand still for a second is no fault of ours, and more than N failures are no chance (0);
--write-docs writes docs/interop.md, if all calls of its tables were run.
"""

import argparse
import pathlib
import re
import signal
import sys
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import docs_table  # noqa: E402
import lanes  # noqa: E402


class TooLong(Exception):
    """A test went over its limit."""


class Result(unittest.TestResult):
    """Of one test; stops it when it goes over its `limit` (seconds)."""

    def __init__(self):
        super().__init__()
        self.outcome, self.detail = "ok", ""

    def startTest(self, test):
        super().startTest(test)
        seconds = lanes.limit_of(test)

        def stop(*_):
            raise TooLong(f"not finished after {seconds} s")
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def stopTest(self, test):
        signal.setitimer(signal.ITIMER_REAL, 0)
        super().stopTest(test)

    def _fail(self, test, error):
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.outcome = "FAIL"
        text = "".join(traceback.format_exception(*error))
        if isinstance(error[1], TooLong) and hasattr(test, "said"):
            text += test.said()
        self.detail += text + "\n"

    def addError(self, test, error):
        # Also of loading a module and of a class's set-up.
        super().addError(test, error)
        self._fail(test, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._fail(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self._fail(test, error)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if self.outcome != "FAIL":
            self.outcome, self.detail = "skip", reason

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.outcome, self.detail = "FAIL", "it was expected to fail"


def run_one(test):
    """Runs a test, in this process."""
    result, begun = Result(), time.monotonic()
    unittest.TestSuite([test]).run(result)
    return lanes.Report(test.id(), result.outcome, time.monotonic() - begun, result.detail, "; ".join(getattr(test, "notes", [])))


class Summary:
    """Prints what became of each test, and counts."""

    def __init__(self, tests):
        self.rows = {test.id(): row for test in tests if (row := docs_table.key(test))}
        self.passed, self.left_out = 0, 0
        # Why each failed; and why at first did what passed at its second attempt.
        self.failed, self.unsteady = {}, {}
        self.cells = {}
        self.seen = set()

    def add(self, report):
        self.seen.add(report.name)
        if report.outcome == "ok":
            self.passed += 1
            if report.name in self.failed:
                self.unsteady[report.name] = self.failed.pop(report.name)
        elif report.outcome == "skip":
            self.left_out += 1
        else:
            self.failed[report.name] = reason_of(report.detail)
        if report.name in self.rows:
            self.cells[self.rows[report.name]] = (report.outcome, report.detail)
        reason = report.detail if report.outcome == "skip" else report.notes
        print(f"{report.outcome:4} {report.name} {report.seconds:.1f} s{'  [' + reason + ']' if reason else ''}", flush=True)
        if report.outcome == "FAIL":
            print("\n".join("     " + line for line in report.detail.splitlines()), flush=True)

    def tell(self):
        """What failed and why, at the end, where it is found."""
        for name, reason in self.failed.items():
            print(f"failed: {name}: {reason}")
        for name, reason in self.unsteady.items():
            print(f"unsteady: {name} passed at its second attempt, alone; at the first: {reason}")
        if self.left_out:
            print(f"{self.left_out} left out (the reason stands beside each)")


def reason_of(detail):
    """The line of a failure that says most, shortened."""
    lines = detail.splitlines()
    found = next((line for line in lines if re.match(r"(\w+\.)*\w*(Error|TooLong|Exception)\b", line)), lines[0] if lines else "")
    return found[:200]


def flat(suite):
    """All test cases in a suite of suites."""
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from flat(entry)
        else:
            yield entry


def stop(number, _):
    """What was started is ended, and nothing disturbs that."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", action="append", default=[], metavar="NAME", help="only tests whose name holds NAME")
    parser.add_argument("-l", action="store_true", help="list the tests")
    parser.add_argument("-f", action="store_true", help="stop at the first failure")
    parser.add_argument("--lanes", type=int, default=2, metavar="N", help="tests that run at a time (2)")
    parser.add_argument("--again", type=int, default=0, metavar="N", help="up to N failed tests have a second attempt, alone (0)")
    parser.add_argument("--write-docs", action="store_true", help="write docs/interop.md from what the tests saw")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, default=HERE, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    tests = list(flat(unittest.TestLoader().discover(str(asked.folder), pattern="test_*.py", top_level_dir=str(asked.folder))))
    if asked.worker is not None:
        lanes.serve(asked.worker, tests, run_one)
        return 0
    if asked.lanes < 1:
        parser.error("--lanes takes 1 or more")
    rows = [row for row in map(docs_table.key, tests) if row]
    if asked.k:
        tests = [test for test in tests if any(part in test.id() for part in asked.k)]
    if asked.l:
        print("\n".join(test.id() for test in tests))
        return 0
    summary = Summary(tests)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    stopped = None
    try:
        lanes.run(tests, asked.folder, asked.lanes, summary.add, asked.f)
        if not asked.f and 0 < len(summary.failed) <= asked.again:
            print(f"a second attempt, alone: {len(summary.failed)}", flush=True)
            lanes.run([test for test in tests if test.id() in summary.failed], asked.folder, 1, summary.add)
    except KeyboardInterrupt as error:
        stopped = str(error)
    if not stopped and not asked.f:
        # Whatever became of it: it was not run.
        summary.failed.update(dict.fromkeys(sorted({test.id() for test in tests} - summary.seen), "not run"))
    summary.tell()
    if asked.write_docs and not stopped:
        why_not = docs_table.write(summary.cells, rows)
        print(f"docs/interop.md is not written: {why_not}" if why_not else "docs/interop.md is written")
    if stopped:
        print(f"stopped by {stopped}")
    print(f"{summary.passed} passed, {len(summary.failed)} failed")
    if stopped:
        return 130
    return 1 if summary.failed or not summary.passed else 0


if __name__ == "__main__":
    sys.exit(main())
