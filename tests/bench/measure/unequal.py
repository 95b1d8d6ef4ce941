# SPDX-License-Identifier: BSD-3-Clause
"""A disk, and one ten times as slow in everything: modelled ones, with their data in memory."""

import os
import time

import tapdisk
from bed import MIB, Failure
from guest import Guest, Load, fio, job, on_nbd
from load import ByTapdisk, move

SIZE = 64 * MIB
LARGER = 256 * MIB              # so that few reads meet the chunks that are being copied
WRITES = Load(0, iops=400)      # a third of what the slow disk can take
TOO_MANY = Load(0, depth=16)
BLOCK = 4096


def until_delayed(migration, seconds=1.5):
    """When the threshold was reached, if it was within that time, or when that was over."""
    delayed = migration.ask("status")["delayed_writes_total"]
    start = end = time.time()
    while end - start < seconds:
        time.sleep(0.02)
        if migration.ask("status")["delayed_writes_total"] != delayed:
            break
        end = time.time()
    return end


def slow_destination(bed):
    source, target = (bed.image(bed.memory / name, SIZE) for name in ("source", "target"))

    def latency(strategy, load):
        """Mean latency of the guest's writes while it is copied, and then, by that on the source alone."""
        tapdisk.forget(bed, source, target)
        with tapdisk.Disk(bed, f"model:ssd:{source}") as disk, Guest(bed, on_nbd(disk.uri), load, SIZE) as guest:
            time.sleep(1.2)
            began = time.time()
            with tapdisk.Migration(disk, f"model:ssd/10:{target}", strategy) as migration:
                while not migration.all_copied(status := migration.ask("status")):
                    time.sleep(0.05)
                    if time.time() - began > 60:
                        raise Failure(f"{strategy} does not get through: {status}")
                time.sleep(0.3)  # what the copier has left to be written
                copied = time.time()
                end = until_delayed(migration) if load == WRITES else copied + 1.5
                time.sleep(max(end - time.time(), 0))
                requests = guest.stop()
                migration.ask("cancel")
                migration.wait_end(60)
        alone = requests.window(began - 1, began).mean_ms
        return (requests.window(began, copied).mean_ms / alone, requests.window(copied, end).mean_ms / alone)

    while True:
        copying, copied = latency("aio", WRITES)
        yield {"aio_copying": copying, "aio": copied, "mirror": latency("mirror", WRITES)[1],
               "dbt": latency("dbt", WRITES)[1], "aio_beyond": latency("aio", TOO_MANY)[1]}


# --- to a fast one ----------------------------------------------------------------------

def patchy(path):
    """Of 64 MiB, a quarter is a hole and a quarter zeroes; the 4 KiB blocks that are data."""
    with open(path, "wb") as image:
        image.truncate(SIZE)
        for chunk in range(SIZE // MIB):
            image.seek(chunk * MIB)
            if chunk % 4 == 2:
                image.write(bytes(MIB))
            elif chunk % 4 != 3:
                image.write(os.urandom(MIB))
        os.fsync(image.fileno())
    return {block for block in range(SIZE // BLOCK) if block * BLOCK // MIB % 4 < 2}


def written_blocks(bed, uri, count):
    """A guest writes that many blocks, each once, at random places; which ones."""
    log = bed.disk / "blocks"
    fio("--bs=4k", "--rw=randwrite", "--iodepth=8", f"--size={SIZE}", f"--number_ios={count}", "--randseed=7",
        "--log_offset=1", f"--write_lat_log={log}", *job("guest", *on_nbd(uri)))
    with open(f"{log}_lat.1.log") as lines:
        blocks = {int(line.split(",")[4]) // BLOCK for line in lines}
    if len(blocks) != count:
        raise Failure(f"the guest wrote {len(blocks)} blocks, not {count}")
    return blocks


def exact(bed):
    """Bytes that should not be: written to the destination beyond what was copied and what the guest wrote;
    and copied beyond what nobody but the copier could bring.

    The guest writes before anything is copied, then the copier goes through while the guest reads."""
    source, target = bed.memory / "patchy", bed.image(bed.memory / "patchy-target", SIZE)
    traffic = f"{target}.traffic"
    data = patchy(source)
    tapdisk.forget(bed, target)
    with tapdisk.Disk(bed, f"model:ssd/10:{source}") as disk:
        with tapdisk.Migration(disk, f"model:ssd:{target}", "lr", paused=True) as migration:
            written = written_blocks(bed, disk.uri, 1000)
            migration.ask("resume")
            with Guest(bed, on_nbd(disk.uri), Load(100, depth=4), SIZE):
                while not migration.all_copied(migration.ask("status")):
                    time.sleep(0.05)
            migration.ask("complete")
            if not migration.wait_end(60):
                raise Failure("the migration does not end")
            status = migration.result
    with open(traffic) as lines:
        to_target = int(lines.readlines()[-1].split()[1])
    os.unlink(source)
    expected = len(data - written) * BLOCK
    return (to_target - status["bytes"]["copied"] - status["written"]["destination"]["guest"],
            status["bytes"]["copied"] - expected)


def fast_destination(bed):
    size = bed.size(LARGER)
    source, target = (bed.image(bed.memory / name, size) for name in ("source", "target"))
    while True:
        outcome = move(bed, ByTapdisk(bed, f"model:ssd/10:{source}", f"model:ssd:{target}", "lr"),
                       Load(50, depth=4), size)
        quarter = outcome.requests.window(outcome.ended - outcome.seconds / 4, outcome.ended)
        bed.trace("lr-to-fast", "lr", outcome)
        written, copied = exact(bed)
        yield {"iops": quarter.iops / outcome.before.iops, "written": written, "copied": copied}
