# SPDX-License-Identifier: MPL-2.0
"""Runs the tests of this folder: a line for each, `N passed, N failed` at the end.

    runner.py [-k NAME]... [-l] [-f] [--write-docs]

-k takes a part of a test's name (module.Class.test) and can be given more than once; -l lists the names; -f stops
at the first failure; --write-docs writes docs/interop.md, if all calls of its tables were run.
"""

import argparse
import pathlib
import signal
import sys
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import docs_table  # noqa: E402


class TooLong(Exception):
    """A test went over its limit."""


class Result(unittest.TestResult):
    """Prints while it runs, and stops a test that goes over its `limit` (seconds)."""

    def __init__(self):
        super().__init__()
        self.passed, self.failed, self.left_out = 0, [], 0
        self.cells = {}

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()
        self.outcome = "ok"
        self.detail = ""
        seconds = getattr(getattr(test, test._testMethodName), "limit", getattr(test, "limit", 60))

        def stop(*_):
            raise TooLong(f"not finished after {seconds} s")
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def stopTest(self, test):
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self.outcome == "ok":
            self.passed += 1
        elif self.outcome == "skip":
            self.left_out += 1
        else:
            self.failed.append(test.id())
        row = docs_table.key(test)
        if row:
            self.cells[row] = (self.outcome, self.detail)
        notes = "; ".join(getattr(test, "notes", []))
        reason = self.detail if self.outcome == "skip" else notes
        print(f"{self.outcome:4} {test.id()} {time.monotonic() - self.begun:.1f} s{'  [' + reason + ']' if reason else ''}", flush=True)
        if self.outcome == "FAIL":
            print("\n".join("     " + line for line in self.detail.splitlines()), flush=True)
        super().stopTest(test)

    def _fail(self, test, error):
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.outcome = "FAIL"
        text = "".join(traceback.format_exception(*error))
        if isinstance(error[1], TooLong) and hasattr(test, "said"):
            text += test.said()
        self.detail += text + "\n"

    def addError(self, test, error):
        super().addError(test, error)
        if not hasattr(test, "_testMethodName"):
            # Loading or class set-up: there is no startTest.
            self.failed.append(str(test))
            print(f"FAIL {test}\n{''.join(traceback.format_exception(*error))}", flush=True)
            return
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
        self.outcome, self.detail = "skip", reason


def flat(suite):
    """All test cases in a suite of suites."""
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from flat(entry)
        else:
            yield entry


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", action="append", default=[], metavar="NAME", help="only tests whose name holds NAME")
    parser.add_argument("-l", action="store_true", help="list the tests")
    parser.add_argument("-f", action="store_true", help="stop at the first failure")
    parser.add_argument("--write-docs", action="store_true", help="write docs/interop.md from what the tests saw")
    asked = parser.parse_args()
    tests = list(flat(unittest.TestLoader().discover(str(HERE), pattern="test_*.py", top_level_dir=str(HERE))))
    rows = [row for row in map(docs_table.key, tests) if row]
    if asked.k:
        tests = [test for test in tests if any(part in test.id() for part in asked.k)]
    if asked.l:
        print("\n".join(test.id() for test in tests))
        return 0
    result = Result()
    result.failfast = asked.f
    unittest.TestSuite(tests).run(result)
    for name in result.failed:
        print(f"failed: {name}")
    if result.left_out:
        print(f"{result.left_out} left out (the reason stands beside each)")
    if asked.write_docs:
        why_not = docs_table.write(result.cells, rows)
        print(f"docs/interop.md is not written: {why_not}" if why_not else "docs/interop.md is written")
    print(f"{result.passed} passed, {len(result.failed)} failed")
    return 1 if result.failed or not result.passed else 0


if __name__ == "__main__":
    sys.exit(main())
