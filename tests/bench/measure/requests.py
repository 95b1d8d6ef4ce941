# SPDX-License-Identifier: BSD-3-Clause
"""A guest's requests through each layer, on one and the same file.

Two files may lie on parts of the storage that are not equally fast. Each round goes through the layers there
and back again, so that a machine that gets slower meanwhile does so for all."""

import contextlib
import os

import qemu
import tapdisk
from bed import GIB, wait_for
from guest import iops, on_file, on_nbd


@contextlib.contextmanager
def paused_migration(disk, target):
    with tapdisk.Migration(disk, f"aio:{target}", "dbt", rate=1) as migration:
        migration.ask("pause")
        yield
        migration.ask("cancel")
        migration.wait_end(60)
    wait_for("the source alone", lambda: disk.name().startswith("aio:"))
    os.unlink(migration.journal)


def data_path(bed):
    size = bed.size(GIB)
    seconds = 0.5 if bed.quick else 1
    source, target = bed.image(bed.disk / "source", size), bed.hole(bed.disk / "target", size)
    with tapdisk.Disk(bed, f"aio:{source}") as disk, \
            qemu.StorageDaemon(bed, source=qemu.file_node(source)) as daemon:
        def through(layer, rw):
            if layer == "raw":
                return iops(on_file(source), rw, seconds, size)
            if layer == "qemu":
                return iops(on_nbd(daemon.uri), rw, seconds, size)
            with paused_migration(disk, target) if layer == "migrate" else contextlib.nullcontext():
                return iops(on_nbd(disk.uri), rw, seconds, size)

        there = ["raw", "qemu", "aio", "migrate"]
        while True:
            values = {}
            for word, rw in ("read", "randread"), ("write", "randwrite"):
                got = dict.fromkeys(there, 0)
                for layer in there + there[::-1]:
                    got[layer] += through(layer, rw)
                values[f"migrate_{word}"] = got["migrate"] / got["aio"]
                values[f"raw_{word}"] = got["aio"] / got["raw"]
                values[f"qemu_{word}"] = got["aio"] / got["qemu"]
            yield values
