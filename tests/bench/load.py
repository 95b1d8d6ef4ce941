# SPDX-License-Identifier: BSD-3-Clause
"""A disk that moves under a guest: the same course of events for every way to move it.

A guest runs; after a while the move begins; when it has ended the guest goes on a little longer. What it
got before, meanwhile and after is from one run of it, on one connection."""

import contextlib
import os
import time
from typing import NamedTuple

import qemu
import tapdisk
from bed import Failure, peak_mib
from guest import Guest, on_nbd
from stats import Requests, Window

POLL = 0.02  # seconds; of progress, and of whether it has ended


class Outcome(NamedTuple):
    requests: Requests
    began: float  # epoch seconds
    ended: float
    before: Window
    during: Window
    progress: list  # (seconds since it began, part of the disk)
    end: str  # "completed", "once through" (it never got ready to complete) or "given up"
    status: dict  # tapdisk's last word; None for others
    peak_mib: float

    @property
    def seconds(self):
        return self.ended - self.began

    @property
    def keeps(self):
        """Of its requests a second."""
        return self.during.iops / self.before.iops

    @property
    def p99_ratio(self):
        return self.during.p99_ms / self.before.p99_ms


class ByTapdisk:
    """Moves source to target; each is TYPE:NAME."""

    def __init__(self, bed, source, target, strategy, **settings):
        self.bed, self.target = bed, target
        self.strategy, self.settings = strategy, settings
        self.files = [name.rsplit(":", 1)[1] for name in (source, target)]
        tapdisk.forget(bed, *[file for file in self.files if os.path.exists(file)])
        self.disk = tapdisk.Disk(bed, source)
        self.uri, self.pid = self.disk.uri, self.disk.pid
        self.migration = self.status = None
        self.completing = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.migration:
            if error[0] is None and not self.migration.result:
                self.migration.ask("cancel")
                self.migration.wait_end(60)
            self.migration.__exit__(*error)
        self.disk.__exit__(*error)

    def begin(self):
        self.migration = tapdisk.Migration(self.disk, self.target, self.strategy, **self.settings)

    def poll(self):
        """The part that is copied, and how it has ended, if it has."""
        if not self.completing:
            self.status = self.migration.ask("status")
            if self.status["state"] == "paused":
                raise Failure(f"the migration has paused: {self.status['reason']}: {self.status['error']}")
            if self.migration.all_copied(self.status):
                self.completing = True
                self.migration.ask("complete")
            time.sleep(0 if self.completing else POLL)
        else:
            self.migration.wait_end(POLL)
        if self.migration.result:
            self.status = self.migration.result
            return 1.0, self.status["state"]
        return self.status["bytes"]["valid"] / self.status["bytes"]["total"], None


class ByQemu:
    """source and target are nodes (qemu.py)."""

    def __init__(self, bed, source, target, copy_mode):
        self.copy_mode = copy_mode
        self.daemon = qemu.StorageDaemon(bed, source=source, target=target)
        self.uri, self.pid = self.daemon.uri, self.daemon.pid
        self.size = self.status = None
        self.completing = self.over = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if error[0] is None and not self.over:
            with contextlib.suppress(Failure):  # it may have ended by itself just now
                self.daemon.tell("block-job-cancel", device="copy", force=True)
            while self.daemon.progress():
                time.sleep(POLL)
        self.daemon.__exit__(*error)

    def begin(self):
        self.daemon.mirror(copy_mode=self.copy_mode)

    def poll(self):
        progress = self.daemon.progress()
        self.daemon.check()
        if not progress:
            self.over = True
            return 1.0, "completed"
        copied, total = progress
        self.size = self.size or total  # total grows with what is to be copied again
        if not self.completing and self.daemon.has_said("BLOCK_JOB_READY"):
            self.completing = True
            self.daemon.tell("job-complete", id="copy")
        time.sleep(0 if self.completing else POLL)
        return min(copied / self.size, 1.0) if self.size else 0.0, None


def move(bed, mover, load, size, before=1.0, after=0.3, limit=60.0):
    """Runs a guest on what mover serves, and the move under it.

    Where the guest writes as fast as it is copied again, a move that tracks dirty blocks never gets ready
    to complete. If that takes longer than the first pass did, the end of that pass counts as its end."""
    with mover, Guest(bed, on_nbd(mover.uri), load, size) as guest:
        time.sleep(before + 0.2)
        progress, end, once = [], None, None
        began = time.time()
        mover.begin()
        while end is None:
            part, end = mover.poll()
            now = time.time()
            progress.append((now - began, part))
            if part == 1.0 and once is None:
                once = now
            if end is None and once and now - once > 1 + once - began:
                end = "once through"
            elif end is None and now - began > limit:
                end = "given up"
        ended = once if end == "once through" else now
        peak = peak_mib(mover.pid)
        time.sleep(after)
        requests = guest.stop()
        return Outcome(requests, began, ended, requests.window(began - before, began),
                       requests.window(began, ended), progress, end, mover.status, peak)
