# SPDX-License-Identifier: BSD-3-Clause
"""What the journal costs a guest that flushes, and what opening a large one takes."""

import tapdisk
from bed import MIB, Failure, run
from guest import fio, job, on_nbd


def flushed_iops(uri):
    result = fio("--bs=4k", "--rw=randwrite", "--iodepth=8", "--fsync=32", f"--size={256 * MIB}", "--time_based",
                 "--runtime=1", "--ramp_time=0.5", "--randrepeat=0", *job("guest", *on_nbd(uri)))[0]
    return result["write"]["iops"]


def cost(bed):
    """A disk whose every flush is two, a plain one, and a migration of which nothing is copied yet (rate 1):
    every first write of a block changes the map."""
    source, target = (bed.image(bed.disk / name, bed.size(1024 * MIB)) for name in ("source", "target"))
    faults = bed.disk / "faults"
    faults.write_text("again flush\n")
    while True:
        tapdisk.forget(bed, source, target)
        with tapdisk.Disk(bed, f"aio:{source}") as disk:
            plain = flushed_iops(disk.uri)
        with tapdisk.Disk(bed, f"fault:{faults}:{source}") as disk:
            twice = flushed_iops(disk.uri)
        with tapdisk.Disk(bed, f"aio:{source}") as disk:
            with tapdisk.Migration(disk, f"aio:{target}", "lr", rate=1) as migration:
                ours = flushed_iops(disk.uri)
                migration.ask("set", rate_mib_s=0)  # what the guest wrote is to be copied back
                migration.ask("cancel")
                if not migration.wait_end(60):
                    raise Failure("the migration has not been taken back within a minute")
        yield {"twice": ours / twice, "plain": ours / plain}


def opening(bed):
    while True:
        seconds, memory = run(bed.build / "tests/bench/journal-open").split()
        yield {"seconds": float(seconds), "memory": int(memory) / MIB}
