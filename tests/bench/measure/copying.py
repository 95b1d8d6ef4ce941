# SPDX-License-Identifier: BSD-3-Clause
"""A disk that nobody uses: how fast it is copied, and what that takes."""

import filecmp
import time

import qemu
import tapdisk
from bed import GIB, MIB, Failure, cpu_seconds, peak_mib, run, seconds_of
from guest import Load, copying_pair
from load import ByTapdisk, move

FIO_PAIRS = [("1M", 4), ("256k", 8)]  # block and depth; the faster one counts


def by_tapdisk(disk, target, *options):
    disk.migrate("start", "--to", f"aio:{target}", "--strategy", "lr", "--complete", "auto", "--wait",
                 "--journal-after", "remove", *options)
    run("sync", target)


def by_qemu(daemon, target):
    daemon.mirror()
    while not daemon.has_said("BLOCK_JOB_READY"):
        daemon.progress()
        daemon.check()
        time.sleep(0.005)
    daemon.tell("job-complete", id="copy")
    while daemon.progress():
        daemon.check()
        time.sleep(0.005)
    run("sync", target)


def tapdisk_seconds(bed, source, target, *options):
    tapdisk.forget(bed, source, target)
    with tapdisk.Disk(bed, f"aio:{source}") as disk:
        seconds = seconds_of(by_tapdisk, disk, target, *options)
    if not filecmp.cmp(source, target, shallow=False):
        raise Failure("the copy differs")
    return seconds


def qemu_seconds(bed, source, target):
    with qemu.StorageDaemon(bed, source=qemu.file_node(source), target=qemu.file_node(target)) as daemon:
        return seconds_of(by_qemu, daemon, target)


def nbdcopy_seconds(bed, source, target):
    with qemu.StorageDaemon(bed, exports=("source", "target"), source=qemu.file_node(source),
                            target=qemu.file_node(target)) as daemon:
        return seconds_of(run, "nbdcopy", "--flush", daemon.export("source"), daemon.export("target"))


def idle(bed):
    size = bed.size(GIB)
    source, target = (bed.image(bed.disk / name, size) for name in ("source", "target"))
    while True:
        ours = tapdisk_seconds(bed, source, target)
        theirs = qemu_seconds(bed, source, target)
        fio = min(copying_pair(source, target, size, *pair) for pair in FIO_PAIRS)
        nbdcopy = nbdcopy_seconds(bed, source, target)
        yield {"limit": max(theirs / 1.2, fio / 0.9) / ours, "qemu": theirs / ours, "fio": fio / ours,
               "nbdcopy": nbdcopy / ours, "mib_s": size / MIB / ours}


def cost(bed):
    size = bed.size(GIB)
    source, target = (bed.image(bed.disk / name, size) for name in ("source", "target"))
    while True:
        tapdisk.forget(bed, source, target)
        with tapdisk.Disk(bed, f"aio:{source}") as disk:
            before = cpu_seconds(disk.pid)
            by_tapdisk(disk, target)
            cpu, memory = cpu_seconds(disk.pid) - before, peak_mib(disk.pid)
        with qemu.StorageDaemon(bed, source=qemu.file_node(source), target=qemu.file_node(target)) as daemon:
            before = cpu_seconds(daemon.pid)
            by_qemu(daemon, target)
            qemu_cpu = cpu_seconds(daemon.pid) - before
        loaded = move(bed, ByTapdisk(bed, f"aio:{source}", f"aio:{target}", "aio"), Load(50, depth=32), size)
        yield {"cpu": cpu * GIB / size, "qemu_cpu": qemu_cpu * GIB / size, "idle_memory": memory,
               "memory": loaded.peak_mib - loaded.status["map_bytes"] / MIB}
