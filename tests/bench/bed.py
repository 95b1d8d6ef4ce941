# SPDX-License-Identifier: BSD-3-Clause
"""The test bed: a private directory on a disk, one in memory, images, and the processes started.

All of it is gone when the bed is left."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

MIB = 1 << 20
GIB = 1 << 30
PATIENCE = 60  # seconds until what never comes is called a failure


class Failure(Exception):
    """The benchmark itself cannot go on; its text is for people."""


class Unavailable(Exception):
    """A figure needs something that this build or machine has not got."""


def run(*command, **options):
    """The command's output; raises with its words if it fails."""
    done = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, **options)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr or done.stdout}")
    return done.stdout


def wait_for(what, condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"gave up waiting for {what}")
        time.sleep(0.01)


def gone(pid):
    """Nothing is left of it but its number, which init may take its time to give back."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def seconds_of(action, *arguments):
    start = time.monotonic()
    action(*arguments)
    return time.monotonic() - start


def cpu_seconds(pid):
    """What all threads of a process have used of the processors."""
    nanoseconds = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def peak_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise Failure(f"no peak of memory in /proc/{pid}/status")


class Bed(contextlib.ExitStack):
    def __init__(self, build, quick):
        super().__init__()
        self.build = pathlib.Path(build).resolve()
        self.quick = quick
        self.traces = {}  # of plots: name -> {label: Outcome}

        self.disk = self._directory("/var/tmp")  # short, for Unix sockets
        self.memory = self._directory("/dev/shm")
        self.env = dict(os.environ, BLKTAP_RUN_DIR=str(self.disk / "run"),
                        TAPMIGRATE_STATE_DIR=str(self.disk / "state"))
        (self.disk / "run").mkdir()
        (self.disk / "state").mkdir()

    def _directory(self, parent):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="tmbench.", dir=parent))
        self.callback(shutil.rmtree, directory, ignore_errors=True)
        return directory

    def size(self, whole):
        """Bytes of an image: a quarter in a quick run."""
        return whole // 4 if self.quick else whole

    def started(self, pid):
        """A process that must not outlive the bed."""
        def end():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.callback(end)

    def image(self, path, size):
        """Full of data, so that no run pays for the file system."""
        with open(path, "wb") as image, open("/dev/urandom", "rb") as noise:
            for _ in range(size // MIB):
                image.write(noise.read(MIB))
            image.flush()
            os.fsync(image.fileno())
        return path

    def hole(self, path, size):
        with open(path, "wb") as image:
            image.truncate(size)
        return path

    def trace(self, plot, label, outcome):
        """Keeps the first of each label for a plot."""
        self.traces.setdefault(plot, {}).setdefault(label, outcome)
