# SPDX-License-Identifier: BSD-3-Clause
"""Numbers: medians, percentiles, and what a guest saw, request by request."""

import bisect
import math
from typing import NamedTuple


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def percentile(ordered, percent):
    """The smallest of ordered that percent of them do not exceed (nearest rank)."""
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def fairness(values):
    """Jain's index: 1 where all are alike, 1/n where one has everything."""
    return sum(values) ** 2 / (len(values) * sum(v * v for v in values))


class Window(NamedTuple):
    """What a guest got in a span of time; latencies in milliseconds."""
    iops: float
    mean_ms: float
    p99_ms: float


class Requests:
    """Requests with the time of their answer (epoch seconds) and latency (ms), in order of time."""

    def __init__(self, answers):
        self.answers = sorted(answers)
        self.times = [time for time, _ in self.answers]

    def between(self, start, end):
        """The latencies of requests answered from start on and before end."""
        return [latency for _, latency in
                self.answers[bisect.bisect_left(self.times, start):bisect.bisect_left(self.times, end)]]

    def window(self, start, end):
        latencies = sorted(self.between(start, end))
        if not latencies:  # nothing was answered: as slow as the window is long
            return Window(0.0, (end - start) * 1000, (end - start) * 1000)
        return Window(len(latencies) / (end - start), sum(latencies) / len(latencies),
                      percentile(latencies, 99))

    def series(self, start, end, step):
        """(seconds since start, Window) of each step that had an answer."""
        points = []
        for n in range(math.ceil((end - start) / step)):
            at = start + n * step
            if self.between(at, at + step):
                points.append((n * step, self.window(at, at + step)))
        return points
