# SPDX-License-Identifier: BSD-3-Clause
"""Disks served by tapdisk, and their migrations."""

import json
import os
import pathlib
import re
import select
import signal
import socket
import time
import uuid

from bed import MIB, Failure, gone, run, wait_for


class Disk:
    """A tapdisk with one VBD, open on TYPE:NAME and served over NBD."""

    def __init__(self, bed, name):
        self.bed = bed
        # The tapdisk of the tests has the modelled disks; the other one is the product.
        binary = "tapdisk" if name.startswith("aio:") else "tests/tapdisk"
        marker = self.tap("create", "-a", name, env=dict(bed.env, TAPDISK=str(bed.build / binary))).strip()
        self.minor = int(marker.rsplit("tapdisk-", 1)[1])
        self.pid = int(re.search(r"pid=(\d+)", self.tap("list", "-m", self.minor)).group(1))
        bed.started(self.pid)
        self.socket = f"{bed.env['BLKTAP_RUN_DIR']}/nbd{self.pid}.{self.minor}"
        self.uri = f"nbd+unix:///?socket={self.socket}"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if error[0] is None:
            self.tap("destroy", "-p", self.pid, "-m", self.minor)
        elif not gone(self.pid):
            os.kill(self.pid, signal.SIGKILL)
        wait_for(f"tapdisk {self.pid} to end", lambda: gone(self.pid))

    def tap(self, *words, **options):
        options.setdefault("env", self.bed.env)
        return run(self.bed.build / "tap-ctl", *words, **options)

    def migrate(self, command, *words):
        return self.tap("migrate", command, "-p", self.pid, "-m", self.minor, *words)

    def name(self):
        return re.search(r" args=(\S+)", self.tap("list", "-p", self.pid, "-m", self.minor)).group(1)


def has_option(bed, option):
    return option in run(bed.build / "tap-ctl", "migrate", "start", "--help", env=bed.env)


def forget(bed, *images):
    """The migrations that images have been in: they may be used again only if somebody says so."""
    for image in images:
        run(bed.build / "tap-ctl", "migrate", "unmark", image, env=bed.env)
        pathlib.Path(f"{image}.migrate").unlink(missing_ok=True)


class Migration:
    """Of a disk to TYPE:NAME, through the migration's own socket; it never completes by itself.

    settings are options of tap-ctl migrate set: {"rate": 100, "priority": "guest"}. paused: until it is
    told to resume, where to is not aio:."""

    def __init__(self, disk, to, strategy, paused=False, **settings):
        self.disk = disk
        self.journal = f"{to.rsplit(':', 1)[1]}.migrate"
        self.result = None  # the last status, once it has ended
        self.partial = b""
        if to.startswith("aio:"):
            words = [word for key, value in settings.items() for word in (f"--{key}", value)]
            disk.migrate("start", "--to", to, "--strategy", strategy, "--complete", "manual",
                         "--journal", self.journal, *words)
            name = json.loads(disk.migrate("status", "--json"))["uuid"]
        else:
            name = self._start_by_hand(to, strategy, paused)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{disk.bed.env['BLKTAP_RUN_DIR']}/migrate-{name}")
        if settings and not to.startswith("aio:"):
            disk.migrate("set", *[word for key, value in settings.items() for word in (f"--{key}", value)])

    def _start_by_hand(self, to, strategy, paused):
        """As tap-ctl migrate start does, which only takes aio: for a destination."""
        disk, name = self.disk, str(uuid.uuid4())
        source = disk.name()
        head = {"source": source, "destination": to, "chunk": MIB}
        note = {"state": "new", "strategy": strategy, "threshold": 32, "rate_mib_s": 0, "depth": 4,
                "paused": paused, "complete": "manual"}
        run(disk.bed.build / "tests/live/new-journal", self.journal, name,
            os.path.getsize(source.rsplit(":", 1)[1]) // 512, json.dumps(head), json.dumps(note))
        disk.tap("pause", "-p", disk.pid, "-m", disk.minor)
        disk.tap("unpause", "-p", disk.pid, "-m", disk.minor, "-a", f"migrate:{self.journal}")
        return name

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()

    def _line(self, timeout):
        """The next object that is sent, or None."""
        while b"\n" not in self.partial:
            if not select.select([self.socket], [], [], timeout)[0]:
                return None
            received = self.socket.recv(1 << 16)
            if not received:
                raise Failure("the migration has hung up")
            self.partial += received
        line, self.partial = self.partial.split(b"\n", 1)
        answer = json.loads(line)
        if answer.get("final"):
            self.result = answer["status"]
        return answer

    def ask(self, command, **arguments):
        """The status after the command, or the last one if it has ended meanwhile."""
        if self.result:
            return self.result
        try:
            self.socket.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
        except BrokenPipeError:
            pass  # its last words are still to be read
        answer = self._line(60)
        if answer is None:
            raise Failure(f"no answer to {command}")
        if not answer.get("ok") and not self.result:
            raise Failure(f"{command}: {answer['error']['message']}")
        return answer["status"]

    def wait_end(self, seconds):
        """Whether it ended within that time."""
        end = time.monotonic() + seconds
        while not self.result and time.monotonic() < end:
            self._line(max(end - time.monotonic(), 0))
        return self.result is not None

    def all_copied(self, status):
        """Ready to complete. Dirty block tracking may never be so by itself: once through is enough."""
        return status["state"] == "synchronised" or (
            status["strategy"] == "dbt" and status["bytes"]["copied"] >= status["bytes"]["total"])
