# SPDX-License-Identifier: BSD-3-Clause
"""A guest and a copy on one disk: what is left for the guest, and how long it takes.

The strategy is slr: each byte is written once, as by the guest alone and by fio's pair."""

import math
import time

import qemu
import tapdisk
from bed import GIB, MIB, Unavailable
from guest import Guest, Load, fio, job, on_file, on_nbd
from load import ByQemu, ByTapdisk, move
from measure.copying import qemu_seconds, tapdisk_seconds

CLOSED = Load(50, depth=16)
OPEN = Load(50, iops=6000)
RATES = [100, 200, 400]                              # MiB/s
FIO_PAIRS = [("128k", 2), ("64k", 1), ("256k", 2)]   # block and depth of the copying pair


def needs_priority(bed):
    if not tapdisk.has_option(bed, "--priority"):
        raise Unavailable("tap-ctl migrate start has no --priority")


def two_images(bed):
    size = bed.size(GIB)
    return (*(bed.image(bed.disk / name, size) for name in ("source", "target")), size)


def by_tapdisk(bed, source, target, **settings):
    return ByTapdisk(bed, f"aio:{source}", f"aio:{target}", "slr", **settings)


def by_qemu(bed, source, target, copy_mode):
    return ByQemu(bed, qemu.file_node(source), qemu.file_node(target), copy_mode)


def balanced(bed):
    needs_priority(bed)
    source, target, size = two_images(bed)
    while True:
        theirs = move(bed, by_qemu(bed, source, target, "background"), CLOSED, size)
        rate = math.ceil(1.05 * size / MIB / theirs.seconds)  # a little more, to be as fast in the mean
        ours = move(bed, by_tapdisk(bed, source, target, priority="balanced", rate=rate), CLOSED, size)
        blocking = move(bed, by_qemu(bed, source, target, "write-blocking"), CLOSED, size)
        bed.trace("same-disk", "tapdisk, balanced", ours)
        bed.trace("same-disk", "blockdev-mirror", theirs)
        yield {"time": ours.seconds / theirs.seconds, "iops": ours.during.iops / theirs.during.iops,
               "p99": ours.during.p99_ms / theirs.during.p99_ms, "ours": ours.keeps, "qemu": theirs.keeps,
               "blocking": blocking.keeps}


def guest_beside_migration(bed, source, target, size, seconds, **settings):
    """The guest alone, and in a span of a migration; MiB/s copied in that."""
    tapdisk.forget(bed, source, target)
    with tapdisk.Disk(bed, f"aio:{source}") as disk, Guest(bed, on_nbd(disk.uri), CLOSED, size) as guest:
        time.sleep(1.2)
        began = time.time()
        with tapdisk.Migration(disk, f"aio:{target}", "slr", **settings) as migration:
            time.sleep(0.5)
            start, copied = time.time(), migration.ask("status")["bytes"]["copied"]
            end = start
            while end - start < seconds:
                time.sleep(0.05)
                end, status = time.time(), migration.ask("status")
                if migration.all_copied(status):
                    break
            copied = status["bytes"]["copied"] - copied
            requests = guest.stop()
            migration.ask("cancel")
            migration.wait_end(60)
    return (requests.window(began - 1, began), requests.window(start, end),
            copied / MIB / (end - start))


def guest_beside_fio(bed, source, target, size, mib_s, block, depth):
    """The guest's requests a second beside a copying pair at that rate; 0 if the pair cannot keep it."""
    tapdisk.forget(bed, source, target)
    with tapdisk.Disk(bed, f"aio:{source}") as disk, Guest(bed, on_nbd(disk.uri), CLOSED, size) as guest:
        time.sleep(0.5)
        start = time.time()
        jobs = fio(f"--bs={block}", f"--iodepth={depth}", f"--size={size}", "--time_based", "--runtime=2",
                   f"--rate={round(mib_s * 1024)}k", *job("read", "--rw=read", *on_file(source)),
                   *job("write", "--rw=write", *on_file(target)))
        end = time.time()
        requests = guest.stop()
    kept = min(jobs[0]["read"]["bw"], jobs[1]["write"]["bw"]) / 1024
    return requests.window(start + 0.7, end - 0.2).iops if kept > 0.9 * mib_s else 0.0


def frontier(bed):
    source, target, size = two_images(bed)
    # Held to the rate, so that both are compared at the same.
    hold = {"priority": "copy"} if tapdisk.has_option(bed, "--priority") else {}
    best = {}
    while True:
        values = {}
        for rate in RATES:
            _, ours, copied = guest_beside_migration(bed, source, target, size, 1.5, rate=rate, **hold)
            pairs = [best[rate]] if rate in best else FIO_PAIRS[:1] if bed.quick else FIO_PAIRS
            beside = {pair: guest_beside_fio(bed, source, target, size, copied, *pair) for pair in pairs}
            best[rate] = max(beside, key=beside.get)
            if not beside[best[rate]]:
                raise Unavailable(f"fio's pair cannot copy {copied:.0f} MiB/s beside the guest here")
            values[str(rate)] = ours.iops / beside[best[rate]]
        yield values


def guest_first(bed):
    needs_priority(bed)
    source, target, size = two_images(bed)
    while True:
        alone, beside, copied = guest_beside_migration(bed, source, target, size, 3, priority="guest")
        yield {"iops": beside.iops / alone.iops, "p99": beside.p99_ms / alone.p99_ms, "mib_s": copied}


def copy_first(bed):
    needs_priority(bed)
    source, target, size = two_images(bed)

    def speed(load):
        theirs = move(bed, by_qemu(bed, source, target, "background"), load, size)
        return theirs.seconds / move(bed, by_tapdisk(bed, source, target, priority="copy"), load, size).seconds

    while True:
        theirs = qemu_seconds(bed, source, target)
        yield {"idle": theirs / tapdisk_seconds(bed, source, target, "--priority", "copy"),
               "closed": speed(CLOSED), "open": speed(OPEN)}
