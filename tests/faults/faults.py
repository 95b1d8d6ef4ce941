#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""faults.py - every system call fails once (docs/faults.md)

    faults.py --all                  every injection there is
    faults.py --sample N             N of them, by SEED, after those of tests/faults/regressions
    faults.py --run 'INJECTION' ...  these; INJECTION is what a failure has printed
    faults.py --list                 all of them, without making any

    --jobs N      at once (three times as many as there are processors: they mostly wait)
    --only WORD   those that have the word (a scenario, step, program, call ...)
    --results F   written to F, a line each; what F has already is not run again
"""
import argparse
import collections
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from dataclasses import dataclass

import calls
from scenarios import ONE_PROGRAM, SCENARIOS
from world import BUILD, HERE, Failure, World

RUN_SECONDS = 400
# Calls that a guest's requests cause, again and again: the first of a step, and one by chance.
TRAFFIC = {"epoll_wait", "io_submit", "io_getevents", "recvfrom", "recvmsg", "sendmsg", "sendto", "read", "write",
           "readv", "writev", "epoll_ctl", "fdatasync", "fallocate", "mmap"}
PROGRAMS = ("tapdisk", "tap-ctl", "tapback", "tapmigrate-hotp", "xl-migrate-disk")
SCRIPT = ("pipe2", "clone", "execve", "wait4", "read", "write", "openat", "exit_group")  # what a shell does for one


@dataclass(frozen=True)
class Fault:
    scenario: str
    step: str
    program: str
    call: str
    object: str
    count: int
    deed: str  # an errno's name, delay, or kill

    def __str__(self):
        return " ".join(str(x) for x in (self.scenario, self.step, self.program, self.call, self.object, self.count,
                                         self.deed))

    @staticmethod
    def parse(text):
        scenario, step, program, call, about, count, deed = text.split()
        return Fault(scenario, step, program, call, about, int(count), deed)


# --- one run ---------------------------------------------------------------------------------


def play(name, world, step_name=None):
    """Runs a scenario. The names of its steps."""
    names = []
    for step in SCENARIOS[name](world):
        if step is None:
            continue
        # Steps of the same name are told apart by number.
        again = sum(1 for n in names if n.split("+")[0] == step.name)
        names.append(step.name + ("+%d" % again if again else ""))
        world.step(int(step_name == names[-1]) if step_name else len(names), step)
    return names


def stop(*_):
    """What is under way is cleared away, by finally, and only once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def inject(fault):
    """(verdict, why): ok, FAILED, or none where the call was not made."""
    signal.signal(signal.SIGTERM, stop)
    world = World([fault.call], fault)
    try:
        play(fault.scenario, world, fault.step)
        verdict, why = ("ok" if world.page.fired() else "none"), ""
    except Failure as e:
        verdict, why = "FAILED", str(e)
    except Exception:  # of the harness: a failure too, with all there is to see
        verdict, why = "FAILED", traceback.format_exc()
    finally:
        world.clean_up()
    if verdict == "FAILED" and not world.page.fired():
        why = "(without the fault) " + why
    if verdict == "FAILED":
        why = why.replace(world.root, "") + "".join("\n    | " + w for w in world.words[-12:])
    return verdict, why


def in_process(function, queue, *args):
    queue.put(function(*args))


def record(name):
    """All that there is to make fail in a scenario: (step, program, call, object), how often."""
    signal.signal(signal.SIGTERM, stop)
    world = World(list(calls.CALLS))
    try:
        names = play(name, world)
        lines = world.log_lines()
    except Failure as e:
        raise Failure("%s fails without any fault: %s\n%s" % (name, e, "\n".join(world.words)))
    finally:
        world.clean_up()
    counts = collections.Counter()
    for phase, program, call, about, *_ in lines:
        if 0 < int(phase) <= len(names):
            counts[(name, names[int(phase) - 1], program, call, about)] += 1
    return counts


# --- which ---------------------------------------------------------------------------------


def is_file(about):
    return about.startswith("/") and not about.startswith(
        ("/dev/", "/proc/", "/run/nbd", "/run/ctl", "/run/migrate-", "/xenstored"))


def worth(program, call, about):
    """Whether an error of that call is ours to look at."""
    if program not in PROGRAMS or call not in calls.CALLS:
        return False
    if about.startswith(("/lib", "/usr/", "/etc/", "/bin", "/dev/tty")):
        return False  # the loader's, before main()
    if about.startswith(("/proc/N/maps", "/proc/self/maps", "/proc/N/task", "/proc/N/cmdline", "/proc/self/cmdline")):
        return False  # the sanitizers'
    if program.startswith("xl-") and (call not in SCRIPT or "xl-scripts" in about):
        return False
    if call == "mmap" and about == "-":
        return False  # the heap, mostly the loader's
    if call == "fcntl":
        return about.rsplit(",", 1)[-1] in ("24", "25", "26", "6", "7")
    return True


def deeds(program, call, about):
    errors, waits, changes = calls.CALLS[call]
    if call in ("read", "write", "readv", "writev") and not is_file(about):
        waits = False
        # An eventfd that is full does not happen; a descriptor without O_NONBLOCK waits.
        errors = "EINTR" if "pipe" in about or about == "/xenstored" else \
            "EINTR EAGAIN ENOMEM" if about.startswith("/") else "EAGAIN" if call == "read" else ""
    if call in ("open", "openat") and about.rsplit(",", 1)[-1].lstrip("0") and \
            not int(about.rsplit(",", 1)[-1], 16) & 0o100:
        errors = "EIO EMFILE ENOMEM EACCES ESTALE EINTR" + (" EROFS" if int(about.rsplit(",", 1)[-1], 16) & 3 else "")
        changes = False
    if call == "newfstatat" and about.endswith(",1000"):  # of what is open
        errors = calls.CALLS["fstat"][0] if is_file(about) else ""
    result = errors.split()
    if waits and is_file(about):
        result.append("delay")
    if changes:
        result.append("kill")
    return result


def occurrences(call, count, dice):
    """Which of that many are tried."""
    if call in TRAFFIC and count > 3:
        return [1, dice.randint(2, count - 1)]
    if count <= 8:
        return range(1, count + 1)
    return sorted({1, 2, 3, count // 2, count - 1, count})


def all_faults(names, jobs):
    seen, faults = set(), []
    with multiprocessing.Pool(jobs) as pool:
        recorded = pool.map(record, names)
    for counts in recorded:
        for (scenario, step, program, call, about), count in counts.items():
            if not worth(program, call, about):
                continue
            if ONE_PROGRAM.get(scenario, program) != program:
                continue
            # What has been done already, in the same step of another scenario, or earlier in this.
            key = (step.split("+")[0], program, call, about.replace("/second", "/dst"))
            if key in seen:
                continue
            seen.add(key)
            dice = random.Random(" ".join(key))
            for n in occurrences(call, count, dice):
                for deed in deeds(program, call, about):
                    faults.append(Fault(scenario, step, program, call, about, n, deed))
    return faults


def sample(faults, count, dice):
    """Of each scenario and program, errors, delays and deaths in turn."""
    kinds = collections.defaultdict(list)
    for fault in dice.sample(faults, len(faults)):
        kinds[fault.scenario, fault.program, kind(fault.deed)].append(fault)
    chosen = []
    while len(chosen) < min(count, len(faults)):
        chosen += [k.pop() for k in kinds.values() if k][:count - len(chosen)]
    return chosen


# --- all runs --------------------------------------------------------------------------------


class Runs:
    def __init__(self, faults, jobs, results):
        self.todo, self.jobs, self.results = collections.deque(faults), jobs, results
        self.under_way = {}  # process: (fault, queue, since)
        self.verdicts = {}

    def begin(self):
        fault = self.todo.popleft()
        queue = multiprocessing.SimpleQueue()
        process = multiprocessing.Process(target=in_process, args=(inject, queue, fault))
        process.start()
        self.under_way[process] = (fault, queue, time.monotonic())

    def took(self, process):
        fault, queue, since = self.under_way.pop(process)
        if process.is_alive():
            process.terminate()
            verdict, why = "FAILED", "has not ended after %d s" % RUN_SECONDS
        else:
            verdict, why = queue.get() if not queue.empty() else ("FAILED", "the test itself has died")
        process.join()
        self.verdicts[fault] = verdict
        seconds = time.monotonic() - since
        if self.results:
            print("%s\t%.1f\t%s\t%s" % (verdict, seconds, fault, why.replace("\n", "\\n")), file=self.results,
                  flush=True)
        if verdict == "FAILED":
            print("FAILED after %.1f s: %s\n    to repeat: tests/faults/faults.py --run '%s'" % (seconds, why, fault),
                  flush=True)

    def run(self):
        try:
            return self.run_all()
        finally:
            for process in self.under_way:
                process.terminate()
            for process in self.under_way:
                process.join()

    def run_all(self):
        while self.todo or self.under_way:
            while self.todo and len(self.under_way) < self.jobs:
                self.begin()
            for process, (_, queue, since) in list(self.under_way.items()):
                # A delayed join: a process that has put its verdict ends by itself.
                if not process.is_alive() or not queue.empty() or time.monotonic() - since > RUN_SECONDS:
                    process.join(5)
                    self.took(process)
            time.sleep(0.01)
        return self.verdicts


def kind(deed):
    return deed if deed in ("kill", "delay") else "error"


def report(verdicts):
    table = collections.Counter((f.program, kind(f.deed), v) for f, v in verdicts.items())
    print("%-16s %-6s %8s %8s %12s" % ("program", "fault", "made", "failures", "not reached"))
    for program, deed in sorted({key[:2] for key in table}):
        ok, failed, none = (table[(program, deed, v)] for v in ("ok", "FAILED", "none"))
        print("%-16s %-6s %8d %8d %12d" % (program, deed, ok + failed, failed, none))
    total = collections.Counter(verdicts.values())
    print("%d injections, %d failures, %d not reached" % (total["ok"] + total["FAILED"], total["FAILED"], total["none"]))


def regressions():
    with open(os.path.join(HERE, "regressions")) as f:
        return [Fault.parse(line) for line in f if line.strip() and not line.startswith("#")]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--all", action="store_true")
    options.add_argument("--sample", type=int)
    options.add_argument("--run", nargs="+")
    options.add_argument("--list", action="store_true")
    options.add_argument("--jobs", type=int, default=3 * os.cpu_count())
    options.add_argument("--only", nargs="+", default=[])
    options.add_argument("--results")
    o = options.parse_args()
    signal.signal(signal.SIGTERM, stop)
    seed = int(os.environ.get("SEED") or random.randrange(1 << 30))
    if not os.access(BUILD + "/tests/faults/inject", os.X_OK):
        raise SystemExit("make test-programs first")

    if o.run:
        faults = [Fault.parse(text) for text in o.run]
    else:
        faults = all_faults(list(SCENARIOS), o.jobs)
        faults = [f for f in faults if all(word in str(f).split() or word == kind(f.deed) for word in o.only)]
    if o.all:
        random.Random(1).shuffle(faults)  # delays among the others, so that the processors have always work
    if o.list:
        print("\n".join(str(f) for f in faults))
        return 0
    if o.sample:
        print("SEED=%d" % seed)
        faults = regressions() + sample(faults, o.sample, random.Random(seed))
    done = {}
    if o.results and os.path.exists(o.results):
        with open(o.results) as f:
            done = {Fault.parse(line.split("\t")[2]): line.split("\t")[0] for line in f}
    with open(o.results, "a") if o.results else open(os.devnull, "w") as results:
        verdicts = Runs([f for f in faults if f not in done], o.jobs, results).run()
    verdicts.update((f, v) for f, v in done.items() if f in faults)
    report(verdicts)
    return 1 if "FAILED" in verdicts.values() else 0


if __name__ == "__main__":
    sys.exit(main())
