# SPDX-License-Identifier: BSD-3-Clause
"""Every way to move a disk, under every load, between every pair of disks.

Unequal disks are modelled ones (disk-model.h). QEMU sees them over NBD, from the same tapdisk."""

import contextlib
from typing import NamedTuple

import qemu
import tapdisk
from bed import MIB
from guest import READS_PERCENT, Load
from load import ByQemu, ByTapdisk, move

STRATEGIES = ["lr", "slr", "aio", "mirror", "dbt"]
QEMU_MODES = ["background", "write-blocking"]
WAYS = STRATEGIES + QEMU_MODES
LOOPS = ["closed", "open"]
VALUES = {"s": ("seconds", "s"), "keeps": ("guest's requests a second / alone", "x"),
          "p99": ("guest's 99th percentile / alone", "x"), "flash": ("written to flash / size of the disk", "x")}


class Pair(NamedTuple):
    source: str
    target: str
    size: int  # bytes
    depth: int  # of a closed loop
    iops: int  # of an open one
    before: float  # seconds that the guest has before the move: a spindle's is to have had some requests


PAIRS = {
    "same": Pair("aio", "aio", 512 * MIB, depth=16, iops=6000, before=0.7),
    "ssd-hdd": Pair("model:ssd", "model:hdd", 128 * MIB, depth=8, iops=40, before=2),
    "hdd-ssd": Pair("model:hdd", "model:ssd", 128 * MIB, depth=8, iops=40, before=2),
}


def key(*parts):
    return "/".join(parts)


def goals(goal, pair):
    return [goal(key(load, loop, way, value), f"{load}, {loop} loop, {way}: {what}", unit)
            for load in READS_PERCENT for loop in LOOPS for way in WAYS
            for value, (what, unit) in VALUES.items() if value != "flash" or pair != "same"]


@contextlib.contextmanager
def mover(bed, pair, images, way):
    names = [f"{kind}:{image}" for kind, image in zip((pair.source, pair.target), images)]
    if way in STRATEGIES:
        yield ByTapdisk(bed, *names, way)
        return
    tapdisk.forget(bed, *images)
    if pair.source == "aio":
        yield ByQemu(bed, *map(qemu.file_node, images), way)
        return
    with tapdisk.Disk(bed, names[0]) as source, tapdisk.Disk(bed, names[1]) as target:
        yield ByQemu(bed, qemu.nbd_node(source.socket), qemu.nbd_node(target.socket), way)


def written(image):
    """What a modelled disk has taken when it was last open."""
    with open(f"{image}.traffic") as lines:
        return int(lines.readlines()[-1].split()[1])


def measure(bed, name):
    pair = PAIRS[name]
    directory = bed.disk if pair.source == "aio" else bed.memory
    images = [bed.image(directory / f"disk{n}", pair.size) for n in (0, 1)]
    while True:
        values = {}
        for load, reads in READS_PERCENT.items():
            for loop, guest in zip(LOOPS, (Load(reads, depth=pair.depth), Load(reads, iops=pair.iops))):
                for way in WAYS:
                    with mover(bed, pair, images, way) as by:
                        outcome = move(bed, by, guest, pair.size, before=pair.before, after=0.2, limit=30)
                    cell = {"s": outcome.seconds, "keeps": outcome.keeps, "p99": outcome.p99_ratio}
                    if name != "same":
                        cell["flash"] = written(images[0 if pair.source == "model:ssd" else 1]) / pair.size
                    values.update({key(load, loop, way, v): n for v, n in cell.items()})
                    if load == "mixed" and loop == "closed":
                        bed.trace(f"matrix-{name}", way, outcome)
        yield values
