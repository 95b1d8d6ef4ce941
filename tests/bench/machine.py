# SPDX-License-Identifier: BSD-3-Clause
"""The machine: what it is, and whether somebody else is using it."""

import os
import platform
import re
import time

from bed import MIB, run

NOISE_LIMIT = 0.10  # of the processors, while we do nothing


def describe(bed):
    memory = re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read()).group(1)
    model = re.search(r"model name\s+: (.*)", open("/proc/cpuinfo").read())
    system = re.search(r'PRETTY_NAME="(.*)"', open("/etc/os-release").read()).group(1)
    return {
        "processors": f"{os.cpu_count()} x {model.group(1) if model else platform.machine()}",
        "memory": f"{int(memory) / MIB:.0f} GiB",
        "system": f"{system}, Linux {'.'.join(platform.release().split('.')[:2])}",
        "file system": run("findmnt", "-no", "FSTYPE", "-T", bed.disk).strip(),
        "qemu-storage-daemon": re.search(r"[\d.]+", run("qemu-storage-daemon", "--version")).group(0),
        "fio": run("fio", "--version").strip().removeprefix("fio-"),
        "nbdcopy": run("nbdcopy", "--version").split()[1],
    }


def _busy():
    """Seconds that the processors have worked, and that were stolen from them; and all of them."""
    words = [int(word) for word in open("/proc/stat").readline().split()[1:]]
    idle = words[3] + words[4]
    return sum(words[:8]) - idle, sum(words[:8])


def noise(seconds=0.4):
    """The part of the processors that others use, or have taken away, while we do nothing."""
    busy, total = _busy()
    time.sleep(seconds)
    busy_after, total_after = _busy()
    return (busy_after - busy) / max(total_after - total, 1)
