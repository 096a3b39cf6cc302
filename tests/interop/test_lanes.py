# SPDX-License-Identifier: MPL-2.0
"""The runner itself: tests side by side, and what becomes of those that die, hang or are stopped."""

import pathlib
import signal
import sys
import textwrap
import unittest

import gst

RUNNER = pathlib.Path(__file__).resolve().with_name("runner.py")


class Runner(gst.ProcessTest):
    """runner.py with tests of its own, in a folder of this test."""

    def runner(self, tests, *words):
        """It runs `tests`, the methods of a class."""
        text = "import os, pathlib, signal, subprocess, sys, threading, time, unittest\n\nHERE = pathlib.Path(__file__).parent\n\n\nclass A(unittest.TestCase):\n"
        (self.folder / "test_a.py").write_text(text + textwrap.indent(textwrap.dedent(tests), "    "))
        argv = [sys.executable, "-B", RUNNER, "--folder", self.folder, *words]
        env = {**gst.os.environ, "RSWEBRTC_TEST_GRACE": "1"}
        return self.process(argv, "runner", stdin=gst.subprocess.DEVNULL, env=env).go()

    # Of two tests that wait for each other.
    MEETING = """
        def meet(self, mine, other):
            (HERE / mine).touch()
            while not (HERE / other).exists():
                time.sleep(0.01)

        def test_one(self):
            self.meet("one", "two")

        def test_two(self):
            self.meet("two", "one")
    """

    def test_two_at_a_time(self):
        runner = self.runner(self.MEETING)
        self.expect_exit(runner, 0, 20)
        self.assertIn("2 passed, 0 failed", runner.out.text())

    def test_one_at_a_time_and_the_alone_ones_last(self):
        runner = self.runner("""
            def told(self):
                with open(HERE / "order", "a") as order:
                    order.write(self._testMethodName[5:])

            def test_1(self):
                self.told()
            test_1.alone = True

            def test_2(self):
                self.told()
        """)
        self.expect_exit(runner, 0, 20)
        self.assertEqual((self.folder / "order").read_text(), "21")

    def test_browsers_keep_to_one_lane(self):
        runner = self.runner("""
            def only(self):
                with open(HERE / "browser", "x"):
                    time.sleep(0.2)
                (HERE / "browser").unlink()

            def test_chromium(self):
                self.only()

            def test_firefox(self):
                self.only()

            def test_page(self):
                self.only()
            test_page.browser = True
        """)
        self.expect_exit(runner, 0, 20)
        self.assertIn("3 passed, 0 failed", runner.out.text())

    def test_a_test_that_kills_its_process_fails_and_the_others_go_on(self):
        runner = self.runner("""
            def test_1_dies(self):
                os.kill(os.getpid(), signal.SIGSEGV)

            def test_2(self):
                pass
        """, "--lanes", "1")
        self.expect_exit(runner, 1, 20)
        self.assertRegex(runner.out.text(), r"FAIL test_a\.A\.test_1_dies .*\n.*died with status -11\nok   test_a\.A\.test_2 ")
        self.assertIn("failed: test_a.A.test_1_dies: the process of this lane died with status -11\n1 passed, 1 failed", runner.out.text())

    # Of three tests: one passes at its second attempt, and one never does.
    ATTEMPTS = """
        def test_1_good(self):
            pass

        def test_2_bad(self):
            self.fail("never")

        def test_3_unsteady(self):
            seen = (HERE / "seen").exists()
            (HERE / "seen").touch()
            self.assertTrue(seen)
    """

    def test_what_failed_once_is_told_and_passes_when_it_does_so_alone(self):
        runner = self.runner(self.ATTEMPTS, "-k", "unsteady", "-k", "good", "--again", "1")
        self.expect_exit(runner, 0, 20)
        self.assertIn("unsteady: test_a.A.test_3_unsteady passed at its second attempt, alone; at the first: AssertionError: False is not true\n2 passed, 0 failed",
                      runner.out.text())

    def test_what_fails_twice_has_failed(self):
        runner = self.runner(self.ATTEMPTS, "--again", "2")
        self.expect_exit(runner, 1, 20)
        self.assertRegex(runner.out.text(), r"failed: test_a\.A\.test_2_bad: AssertionError: never\nunsteady: .*\n2 passed, 1 failed")

    def test_more_failures_than_that_have_no_second_attempt(self):
        runner = self.runner(self.ATTEMPTS, "--again", "1")
        self.expect_exit(runner, 1, 20)
        self.assertIn("1 passed, 2 failed", runner.out.text())
        self.assertNotIn("second attempt", runner.out.text())

    def test_a_test_that_cannot_be_stopped_fails_and_nothing_is_left_of_it(self):
        runner = self.runner("""
            def test_hangs(self):
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
                (HERE / "pid").write_text(str(child.pid))
                threading.Event().wait()
            test_hangs.limit = 0.5
        """)
        self.expect_exit(runner, 1, 20)
        self.assertRegex(runner.out.text(), r"FAIL test_a\.A\.test_hangs .*\n.*the process of this lane hangs")
        self.assert_gone((self.folder / "pid").read_text())

    def test_a_test_over_its_limit_is_stopped(self):
        runner = self.runner("""
            def test_slow(self):
                time.sleep(100)
            test_slow.limit = 0.5
        """)
        self.expect_exit(runner, 1, 20)
        self.assertIn("TooLong: not finished after 0.5 s", runner.out.text())

    def stopped_by(self, number):
        runner = self.runner("""
            def test_waits(self):
                child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
                (HERE / "part").write_text(str(child.pid))
                (HERE / "part").rename(HERE / "pid")
                child.wait()
        """)
        gst.wait_until((self.folder / "pid").exists, 20, "the test runs")
        runner.signal(number)
        self.expect_exit(runner, 130, 10)
        self.assertIn(f"stopped by {number.name}", runner.out.text())
        self.assert_gone((self.folder / "pid").read_text())

    def test_ctrl_c_ends_all_that_was_started(self):
        self.stopped_by(signal.SIGINT)

    def test_sigterm_ends_all_that_was_started(self):
        self.stopped_by(signal.SIGTERM)

    def assert_gone(self, pid):
        """What is left of a process whose parent did not wait for it runs no more."""
        stat = pathlib.Path(f"/proc/{pid}/stat")
        self.assertTrue(not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z", f"{pid} still runs")

    def test_a_module_that_cannot_be_loaded_is_a_failure(self):
        (self.folder / "test_b.py").write_text("import no_such_module\n")
        runner = self.runner("""
            def test_1(self):
                pass
        """)
        self.expect_exit(runner, 1, 20)
        self.assertRegex(runner.out.text(), r"FAIL unittest\.loader\._FailedTest\.test_b")


if __name__ == "__main__":
    sys.exit(unittest.main())
