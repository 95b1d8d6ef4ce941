# SPDX-License-Identifier: BSD-3-Clause
"""Large disks, and many at once."""

import contextlib
import select
import time

import tapdisk
from bed import GIB, MIB, Failure, run, seconds_of
from guest import Guest, Load, on_nbd
from measure.copying import by_tapdisk
from stats import fairness, median

TIB = 1 << 40
LARGE = 16 * TIB - MIB  # as large as a file on ext4 can be, in whole chunks
PIECES = 16             # of data, all over the large disk
DISKS = 50


def map_memory(bed):
    while True:
        rest, written = run(bed.build / "tests/bench/map-memory").split()
        yield {"rest": int(rest) / MIB, "written": int(written) / MIB}


def sparse(bed):
    """Both destinations are made anew, so both pay for the file system."""
    dense = bed.image(bed.disk / "dense", GIB)
    large = bed.hole(bed.disk / "large", LARGE)
    with open(dense, "rb") as data, open(large, "r+b") as image:
        for piece in range(PIECES):
            image.seek(LARGE // PIECES * piece // MIB * MIB)
            image.write(data.read(GIB // PIECES))
    run("sync", large)

    def seconds(source):
        tapdisk.forget(bed, source)
        target = bed.disk / "target"
        with tapdisk.Disk(bed, f"aio:{source}") as disk:
            taken = seconds_of(by_tapdisk, disk, target, "--create")
        target.unlink()
        return taken

    while True:
        yield {"time": seconds(large) / seconds(dense)}


def fifty(bed):
    size = bed.size(32 * MIB)
    pairs = [tuple(bed.image(bed.disk / f"{name}{n}", size) for name in ("source", "target"))
             for n in range(DISKS)]
    while True:
        for pair in pairs:
            tapdisk.forget(bed, *pair)
        with contextlib.ExitStack() as stack:
            disks = [stack.enter_context(tapdisk.Disk(bed, f"aio:{source}")) for source, _ in pairs]
            guests = [stack.enter_context(Guest(bed, on_nbd(disk.uri), Load(50, iops=20), size, f"guest{n}"))
                      for n, disk in enumerate(disks)]
            time.sleep(1)
            began, seconds = completed(disks, [target for _, target in pairs], stack)
            latencies = [guest.stop().window(began, began + max(seconds)).mean_ms for guest in guests]
        yield {"completed": len(seconds), "slowest": max(seconds) / median(seconds),
               "fairness": fairness(latencies)}


def completed(disks, targets, stack):
    """Lets all go at the same moment; that moment, and the seconds after which each had completed."""
    migrations = [stack.enter_context(tapdisk.Migration(disk, f"aio:{target}", "slr", rate=1))
                  for disk, target in zip(disks, targets)]
    for migration in migrations:
        migration.ask("set", rate_mib_s=0, complete="auto")
    began, seconds = time.time(), []
    while migrations and time.time() - began < 100:
        readable = select.select([migration.socket for migration in migrations], [], [], 1)[0]
        for migration in [m for m in migrations if m.socket in readable]:
            migration.wait_end(1)
            if migration.result["state"] != "completed":
                raise Failure(f"a migration is {migration.result['state']}")
            seconds.append(time.time() - began)
            migrations.remove(migration)
    return began, seconds
