# SPDX-License-Identifier: BSD-3-Clause
"""What is measured, and what it must come to. What is measured how is in measure/.

A figure has goals. Its measurement is a generator: each round it yields a value for every goal, by the
goal's key, all taken in turn within that round. The median of the rounds is held against the target."""

import functools
from typing import Callable, NamedTuple, Optional

from measure import copying, journal, matrix, requests, scale, underload, unequal


class Goal(NamedTuple):
    key: str
    what: str
    unit: str = "x"
    at_least: Optional[float] = None
    at_most: Optional[float] = None  # neither: shown to compare with

    def met(self, value):
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def target(self):
        if self.at_least is not None and self.at_least == self.at_most:
            return f"= {self.at_least:g}"
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else "-"


class Figure(NamedTuple):
    name: str
    point: str  # of what must be shown; the number
    what: str
    measure: Callable
    goals: list
    quick: bool = True  # is part of a quick run


FIGURES = [
    Figure("idle-copy", "1", "Copying 1 GiB that nobody uses, by lr", copying.idle, [
        Goal("limit", "speed / the lesser of 1.2 of blockdev-mirror's and 0.9 of fio's", at_least=1),
        Goal("qemu", "speed / blockdev-mirror's", at_least=1),
        Goal("fio", "speed / fio's reading and writing at once"),
        Goal("nbdcopy", "speed / nbdcopy's, between two exports of qemu-storage-daemon"),
        Goal("mib_s", "speed", "MiB/s"),
    ]),
    Figure("guest-balanced", "2", "A guest at depth 16, mixed, beside the copy: balanced, as long as QEMU takes",
           underload.balanced, [
        Goal("time", "time / blockdev-mirror's", at_most=1.1),
        Goal("iops", "guest's requests a second / beside blockdev-mirror", at_least=3),
        Goal("p99", "guest's 99th percentile / beside blockdev-mirror", at_most=0.333),
        Goal("ours", "guest keeps, of what it has alone"),
        Goal("qemu", "guest keeps, beside blockdev-mirror (background)"),
        Goal("blocking", "guest keeps, beside blockdev-mirror (write-blocking)"),
    ]),
    Figure("frontier", "2", "Guest's requests a second at a given rate of copying / beside fio's best copying pair",
           underload.frontier, [
        Goal("100", "at 100 MiB/s", at_least=0.8),
        Goal("200", "at 200 MiB/s", at_least=0.8),
        Goal("400", "at 400 MiB/s", at_least=0.8),
    ]),
    Figure("guest-first", "3", "--priority guest, a guest at depth 16, mixed", underload.guest_first, [
        Goal("iops", "guest keeps, of what it has alone", at_least=0.9),
        Goal("p99", "guest's 99th percentile / alone", at_most=1.5),
        Goal("mib_s", "copied meanwhile", "MiB/s", at_least=1),
    ]),
    Figure("copy-first", "4", "--priority copy: speed / blockdev-mirror's", underload.copy_first, [
        Goal("idle", "nobody on the disk", at_least=1),
        Goal("closed", "a guest at depth 16, mixed", at_least=1),
        Goal("open", "a guest at 6,000 requests a second, mixed", at_least=1),
    ]),
    Figure("data-path", "5", "4 KiB at random places, depth 32", requests.data_path, [
        Goal("migrate_read", "paused migrate: / aio:, reads", at_least=0.97),
        Goal("migrate_write", "paused migrate: / aio:, writes", at_least=0.97),
        Goal("raw_read", "aio: over NBD / the raw file, reads", at_least=0.7),
        Goal("raw_write", "aio: over NBD / the raw file, writes", at_least=0.7),
        Goal("qemu_read", "aio: / qemu-storage-daemon's export, reads", at_least=1),
        Goal("qemu_write", "aio: / qemu-storage-daemon's export, writes", at_least=1),
    ]),
    Figure("slow-destination", "6", "Latency of a guest's writes / on the source alone; the destination ten times "
           "slower", unequal.slow_destination, [
        Goal("aio", "aio, below its threshold", at_most=1.2),
        Goal("mirror", "mirror"),
        Goal("dbt", "dbt"),
        Goal("aio_copying", "aio, while it is copied"),
        Goal("aio_beyond", "aio, a guest that the destination cannot follow"),
    ]),
    Figure("fast-destination", "7", "lr to a destination ten times faster", unequal.fast_destination, [
        Goal("iops", "guest's requests a second in the last quarter / on the source alone", at_least=1),
        Goal("written", "written to the destination - copied - guest's", "bytes", at_least=0, at_most=0),
        Goal("copied", "copied - (disk - written by the guest before - holes - zeroes)", "bytes", at_least=0,
             at_most=0),
    ]),
    Figure("cost", "8", "What tapdisk takes", copying.cost, [
        Goal("cpu", "processor, for each GiB copied", "s", at_most=0.35),
        Goal("qemu_cpu", "the same of qemu-storage-daemon", "s"),
        Goal("idle_memory", "memory above the map, nobody on the disk", "MiB", at_most=64),
        Goal("memory", "memory above the map, a guest at depth 32", "MiB", at_most=64),
    ]),
    Figure("sparse", "9", "16 TiB with 1 GiB of data in them", scale.sparse, [
        Goal("time", "time / of 1 GiB that is all data", at_most=1.2),
    ], quick=False),
    Figure("fifty", "9", "Fifty migrations at once, each with a guest", scale.fifty, [
        Goal("completed", "that complete", "", at_least=50),
        Goal("slowest", "the slowest one's time / the median's", at_most=2),
        Goal("fairness", "fairness of the guests' mean latency (Jain)", "", at_least=0.9),
    ], quick=False),
    Figure("journal-cost", "issue 4", "4 KiB writes, a flush every 32, by lr with its journal", journal.cost, [
        Goal("twice", "requests a second / aio: flushing twice", at_least=0.8),
        Goal("plain", "requests a second / plain aio:"),
    ]),
    Figure("journal-open", "issue 4", "Reading the journal of 16 TiB with a million extents", journal.opening, [
        Goal("seconds", "time", "s", at_most=2),
        Goal("memory", "memory", "MiB", at_most=200),
    ]),
    Figure("map-memory", "issue 2", "The map of 1 TiB", scale.map_memory, [
        Goal("rest", "at rest", "MiB", at_most=1),
        Goal("written", "after random 4 KiB writes all over", "MiB", at_most=80),
    ]),
    *[Figure(f"matrix-{pair}", "-", f"Every way to move a disk, under every load: {what}",
             functools.partial(matrix.measure, name=pair), matrix.goals(Goal, pair), quick=False)
      for pair, what in [("same", "two images on one disk"), ("ssd-hdd", "from flash to a spindle"),
                         ("hdd-ssd", "from a spindle to flash")]],
]
