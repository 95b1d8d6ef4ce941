# SPDX-License-Identifier: BSD-3-Clause
"""Guests: fio, over NBD or on a file."""

import json
import signal
import subprocess
from typing import NamedTuple

from bed import PATIENCE, Failure, run, wait_for
from stats import Requests

READS_PERCENT = {"read-heavy": 90, "mixed": 50, "write-heavy": 10}


class Load(NamedTuple):
    """4 KiB requests at random places: closed loop at a depth, or open loop at a rate."""
    reads_percent: int
    depth: int = 16
    iops: int = 0  # open loop: how many are asked for

    def options(self):
        options = ["--bs=4k", "--rw=randrw", f"--rwmixread={self.reads_percent}", "--norandommap"]
        if not self.iops:
            return options + [f"--iodepth={self.depth}"]
        reads = self.iops * self.reads_percent // 100
        rates = [f"--rate_iops={reads},{self.iops - reads}"] if 0 < reads < self.iops \
            else [f"--rate_iops={self.iops}"]
        # Deep enough that what is late does not hold back what comes next.
        return options + rates + ["--rate_process=poisson", "--iodepth=64"]


def fio(*options):
    """Runs it to its end; the jobs' results."""
    text = run("fio", "--output-format=json", *options)
    return json.loads(text[text.index("{"):])["jobs"]


def job(name, *options):
    return [f"--name={name}", *options]


def on_nbd(uri):
    return ["--ioengine=nbd", f"--uri={uri}"]


def on_file(path):
    return ["--ioengine=libaio", "--direct=1", f"--filename={path}"]


def iops(target, rw, seconds, size, depth=32):
    """4 KiB requests a second at a depth."""
    result = fio("--bs=4k", f"--rw={rw}", f"--iodepth={depth}", f"--size={size}", "--time_based",
                 f"--runtime={seconds}", "--ramp_time=0.5", "--randrepeat=0", *job("guest", *target))[0]
    return result["read"]["iops"] + result["write"]["iops"]


def copying_pair(source, target, size, block, depth):
    """Seconds that one job that reads and one that writes take, at once, for a file each."""
    jobs = fio(f"--bs={block}", f"--iodepth={depth}", f"--size={size}", "--norandommap",
               *job("read", "--rw=read", *on_file(source)), *job("write", "--rw=write", *on_file(target)))
    return max(j["job_runtime"] for j in jobs) / 1000


class Guest:
    """Runs until it is stopped; then all its requests are known."""

    def __init__(self, bed, target, load, size, tag="guest"):
        self.log = bed.disk / tag
        self.begun = bed.disk / f"{tag}.begun"
        self.begun.unlink(missing_ok=True)
        self.output = open(f"{self.log}.out", "w+")
        self.process = subprocess.Popen(
            ["fio", *job("guest", *target, *load.options()), f"--size={size}", "--time_based",
             "--runtime=3600", "--randseed=1", f"--write_lat_log={self.log}", "--log_unix_epoch=1",
             "--disable_clat=1", "--disable_slat=1", "--output-format=terse",
             f"--exec_prerun=touch {self.log}.begun"],
            stdout=self.output, stderr=subprocess.STDOUT, cwd=bed.disk)
        bed.started(self.process.pid)

    def __enter__(self):
        """Once its requests begin: fio takes its time to start."""
        try:
            wait_for("the guest to begin", lambda: self.alive() or self.begun.exists())
        except Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()

    def alive(self):
        if self.process.poll() is not None:
            self.output.seek(0)
            raise Failure(f"the guest has ended:\n{self.output.read()}")

    def stop(self):
        self.alive()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self.output.seek(0)
        words = self.output.read()
        if "error=" in words or "err=" in words and "err= 0" not in words:
            raise Failure(f"the guest saw an error:\n{words}")
        return read_log(f"{self.log}_lat.1.log")


def parse_log(lines):
    """Lines of "milliseconds, latency in ns, ..."."""
    for line in lines:
        time, latency, _ = line.split(",", 2)
        yield int(time) / 1000, int(latency) / 1e6


def read_log(path):
    with open(path) as lines:
        return Requests(parse_log(lines))
