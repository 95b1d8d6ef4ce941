#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-3-Clause
"""What could be wrong in the benchmark itself: its arithmetic, its reading of fio, its verdicts."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import guest
import report
import stats
from figures import FIGURES, Figure, Goal


class Numbers(unittest.TestCase):
    def test_median_of_an_odd_number_is_the_middle_one(self):
        self.assertEqual(stats.median([9, 1, 5]), 5)

    def test_median_of_an_even_number_is_between_the_middle_ones(self):
        self.assertEqual(stats.median([4, 1, 100, 2]), 3)

    def test_percentile_is_one_of_the_values_and_not_exceeded_by_so_many(self):
        values = list(range(1, 201))
        self.assertEqual(stats.percentile(values, 99), 198)
        self.assertEqual(stats.percentile(values, 50), 100)
        self.assertEqual(stats.percentile([7], 99), 7)

    def test_fairness_is_one_where_all_are_alike_and_less_where_one_has_everything(self):
        self.assertAlmostEqual(stats.fairness([3, 3, 3, 3]), 1)
        self.assertAlmostEqual(stats.fairness([5, 0, 0, 0]), 0.25)


class Guests(unittest.TestCase):
    # As fio writes it: milliseconds of the epoch, nanoseconds, direction, bytes, offset, priority.
    LOG = ["1700000001500, 2000000, 1, 4096, 0, 0\n",
           "1700000001000, 1000000, 0, 4096, 0, 0\n",
           "1700000002500, 9000000, 0, 4096, 0, 0\n"]

    def setUp(self):
        self.requests = stats.Requests(guest.parse_log(self.LOG))

    def test_a_window_has_what_was_answered_in_it(self):
        window = self.requests.window(1700000001, 1700000002)
        self.assertEqual(window.iops, 2)
        self.assertEqual(window.mean_ms, 1.5)
        self.assertEqual(window.p99_ms, 2)

    def test_a_window_without_an_answer_is_as_slow_as_it_is_long(self):
        self.assertEqual(self.requests.window(1700000003, 1700000005), stats.Window(0, 2000, 2000))

    def test_a_series_leaves_out_steps_without_an_answer(self):
        self.assertEqual([at for at, _ in self.requests.series(1700000001, 1700000003, step=0.5)], [0, 0.5, 1.5])

    def test_a_closed_loop_has_a_depth_and_an_open_one_a_rate(self):
        self.assertIn("--iodepth=8", guest.Load(50, depth=8).options())
        self.assertIn("--rate_iops=90,10", guest.Load(90, iops=100).options())
        self.assertIn("--rate_iops=100", guest.Load(0, iops=100).options())


def result(values, reason=None, **target):
    figure = Figure("name", "1", "what", None, [Goal("key", "words", **target)])
    return report.Measured(figure, {"key": values}, reason=reason).goals()[0]


class Verdicts(unittest.TestCase):
    def test_the_median_is_held_against_the_target(self):
        self.assertEqual(result([0.1, 0.8, 0.9], at_least=0.8).verdict(), "met")
        self.assertEqual(result([0.1, 0.79, 0.9], at_least=0.8).verdict(), "MISSED")
        self.assertEqual(result([1.3], at_most=1.2).verdict(), "MISSED")
        self.assertEqual(result([0], at_least=0, at_most=0).verdict(), "met")
        self.assertEqual(result([1], at_least=0, at_most=0).verdict(), "MISSED")

    def test_what_was_not_measured_has_no_verdict(self):
        self.assertEqual(result([], reason="no such option", at_least=1).verdict(), "not measured")

    def test_a_missed_target_stands_out_in_the_table(self):
        self.assertIn("**MISSED**", report.goal_row(result([1], at_least=2)))

    def test_numbers_are_short(self):
        self.assertEqual([report.number(n) for n in (1209.3, 0.48912, 12, 0.0)], ["1209", "0.489", "12", "0"])

    def test_each_goal_of_a_figure_has_a_key_of_its_own(self):
        for figure in FIGURES:
            keys = [goal.key for goal in figure.goals]
            self.assertEqual(len(keys), len(set(keys)), figure.name)


class Files(unittest.TestCase):
    def setUp(self):
        self.figure = Figure("name", "1", "what", None, [Goal("key", "words", at_least=2)])
        self.directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.directory.name) / "results.json"
        self.addCleanup(self.directory.cleanup)

    def test_what_is_saved_is_what_is_loaded(self):
        report.save(self.path, {}, {"name": report.Measured(self.figure, {"key": [1, 2, 3]}, [0.5])})
        loaded = report.load(self.path, [self.figure])["name"]
        self.assertEqual((loaded.values, loaded.noise), ({"key": [1, 2, 3]}, [0.5]))

    def test_rounds_can_be_added(self):
        measured = report.Measured(self.figure, {"key": [3]})
        measured.add(report.Measured(self.figure, {"key": [1, 2]}))
        self.assertEqual(measured.values, {"key": [1, 2, 3]})

    def test_a_goal_that_was_not_there_yet_is_not_measured(self):
        report.save(self.path, {}, {"name": report.Measured(self.figure, {"key": [1]})})
        newer = self.figure._replace(goals=[*self.figure.goals, Goal("new", "words")])
        self.assertIn("new", report.load(self.path, [newer])["name"].reason)

    def test_there_need_not_be_any_yet(self):
        self.assertEqual(report.load(self.path, [self.figure]), {})


class Tap(unittest.TextTestResult):
    def stopTest(self, test):
        super().stopTest(test)
        bad = any(test is failed for failed, _ in self.failures + self.errors)
        name = test._testMethodName.removeprefix("test_").replace("_", " ")
        print(f"{'not ok' if bad else 'ok'} {self.testsRun} - {name}", flush=True)


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    print(f"1..{suite.countTestCases()}", flush=True)
    done = unittest.TextTestRunner(stream=sys.stderr, resultclass=Tap, verbosity=0).run(suite)
    sys.exit(not done.wasSuccessful())
