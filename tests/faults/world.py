"""world.py - one run: a private directory, two disks of one tapdisk, their guests, an operator, a judge

The operator gives the commands of a scenario, and again what has failed. Where a tapdisk has
died he makes its disks again, of what the tools tell him. Failure is what must not be.
"""
import errno
import json
import mmap
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

from guest import Gone, Guest, read_all

BUILD = os.path.realpath(os.environ.get("BUILD", "build"))
HERE = os.path.dirname(os.path.realpath(__file__))
SCRIPTS = os.path.join(HERE, "../../xl-scripts")
PATIENCE = 30  # seconds until a condition that never comes is called a failure
COMMAND_SECONDS = 150
REST_SECONDS = 0.2
SIZE = 2 << 20


class Failure(Exception):
    pass


class Result:
    def __init__(self, status, out, said):
        self.status, self.out, self.said = status, out, said


class Page:
    """What a run shares with its inject processes: see inject.c."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.truncate(4096)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)

    def set_phase(self, phase):
        self.map[0:4] = struct.pack("I", phase)

    def fired(self):
        return struct.unpack("I", self.map[4:8])[0] != 0

    def times(self):
        began, ended = struct.unpack("QQ", self.map[8:24])
        return began / 1e9, ended / 1e9

    def pid(self):
        return struct.unpack("I", self.map[24:28])[0]


class World:
    def __init__(self, calls, fault=None, seed=1):
        """calls: the names of those that are looked at. fault: None to record them all."""
        self.calls, self.fault = calls, fault
        self.root = os.path.realpath(tempfile.mkdtemp(prefix="tf.", dir="/var/tmp"))
        self.env = dict(os.environ, BLKTAP_RUN_DIR=self.root + "/run", TAPMIGRATE_STATE_DIR=self.root + "/state",
                        TAPDISK=BUILD + "/tapdisk")
        for name in ("run", "state"):
            os.mkdir(self.path(name))
        self.page = Page(self.path("page"))
        self.seed = seed
        self.pid, self.minors = None, {}  # of the disks "a" and "b"
        self.images = {}  # what each is made of, as far as the operator knows
        self.guests = {}
        self.noticed = False  # that the fault has happened
        self.words = []  # what happened, for a failure
        self.extra = {}  # processes that are not tapdisks

    # --- files and processes ---

    def path(self, *names):
        return os.path.join(self.root, *names)

    def image(self, name, seed):
        data = random.Random(seed).randbytes(SIZE)
        with open(self.path(name), "wb") as f:
            f.write(data)
            os.fsync(f.fileno())
        return data

    def wrapped(self, command):
        fault = []
        if self.fault:
            f = self.fault
            deed = f.deed if f.deed == "kill" else "delay\t3000" if f.deed == "delay" else "error\t%d" % getattr(
                errno, f.deed)
            fault = ["1\t%s\t%s\t%s\t%d\t%s" % (f.program, f.call, f.object, f.count,
                                                 deed if "\t" in deed else deed + "\t0")]
        return [BUILD + "/tests/faults/inject", self.path("page"), self.path("log"), self.root,
                self.fault.call if self.fault else ",".join(self.calls), *fault, "--", *command]

    def run(self, command, wrap=False, quiet=False, env=None):
        if wrap:
            command = self.wrapped(command)
        # Files, not pipes: a process that is left behind must not keep us here.
        with tempfile.TemporaryFile(dir=self.root) as out, tempfile.TemporaryFile(dir=self.root) as said:
            p = subprocess.Popen(command, env=env or self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=said,
                                 cwd=self.root)
            try:
                status = p.wait(COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise Failure("%s has not ended after %d s" % (" ".join(command[-8:]), COMMAND_SECONDS))
            texts = []
            for f in (out, said):
                f.seek(0)
                texts.append(f.read().decode(errors="replace"))
        if not quiet:
            self.words.append("%s: exit %d %s%s" % (" ".join(command).split(" -- ")[-1].replace(self.root, ""),
                                                    status, texts[1].strip().replace(self.root, ""),
                                                    " [%s]" % texts[0].strip().replace(self.root, "")[:200]))
        return Result(status, *texts)

    def tap(self, *args, wrap=False, quiet=False):
        return self.run([BUILD + "/tap-ctl", *[str(a) for a in args]], wrap, quiet)

    def alive(self, pid=None):
        """Its number may outlive it for a while."""
        proc = "/proc/%d" % (pid or self.pid)
        try:
            with open(proc + "/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] not in "ZX" or len(os.listdir(proc + "/task")) > 1
        except OSError:
            return False

    def ours(self):
        """The processes of this run, with their names."""
        found = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open("/proc/%s/environ" % name, "rb") as f:
                    if self.root.encode() in f.read():
                        with open("/proc/%s/comm" % name) as g:
                            found[int(name)] = g.read().strip()
            except OSError:
                pass
        return found

    def log_lines(self):
        try:
            with open(self.path("log"), errors="replace") as f:
                return [line.rstrip("\n").split("\t") for line in f]
        except FileNotFoundError:
            return []

    def clean_up(self):
        for guest in self.guests.values():
            guest.stopping = True
        for _ in range(3):
            mine = [pid for pid, name in self.ours().items() if pid != os.getpid()]
            for pid in mine:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            if not mine:
                break
            time.sleep(0.02)
        shutil.rmtree(self.root, ignore_errors=True)

    # --- what the tools tell ---

    def vbds(self):
        listed = self.tap("list", quiet=True).out
        return [dict(zip(("pid", "minor", "state", "args"), (int(m[1]), int(m[2]), m[3], m[4] or "")))
                for m in re.finditer(r"^pid=(\d+) +minor=(\d+) +state=(\w+)(?: args=(.*))?$", listed, re.M)]

    def vbd(self, disk):
        return next((v for v in self.vbds() if v["pid"] == self.pid and v["minor"] == self.minors.get(disk)), None)

    def state(self, disk):
        v = self.vbd(disk)
        return v and v["state"]

    def runs_on(self, disk, *images):
        v = self.vbd(disk)
        return v is not None and v["args"] in images

    def status(self):
        r = self.tap("migrate", "status", *self.named("a"), "--json", quiet=True)
        try:
            return json.loads(r.out)
        except ValueError:
            return {}

    def named(self, disk):
        return ["-p", self.pid, "-m", self.minors[disk]]

    def socket(self, disk):
        if self.pid is None or disk not in self.minors:
            return None
        return self.path("run", "nbd%d.%d" % (self.pid, self.minors[disk]))

    def wait_for(self, what, condition, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise Failure("gave up waiting: " + what)
            time.sleep(0.01)

    # --- disks and their guests ---

    def found(self, disk, image):
        """There is a VBD of that image, wherever: it is the disk."""
        for v in self.vbds():
            if v["args"] == image:
                self.pid, self.minors[disk], self.images[disk] = v["pid"], v["minor"], image
                return True
        return False

    def guest(self, disk, contents, writes):
        self.guests[disk] = Guest(disk, lambda: self.socket(disk), contents, self.seed, writes)
        self.guests[disk].start()

    def told(self, said, image):
        """What to open instead of an image that is refused."""
        m = re.search(r"(migrate:\S+?|has moved to (aio:\S+?))[,;:.)]*(\s|$)", said)
        return (m[2] or m[1]) if m else image

    def revive(self):
        """The tapdisk has died: its disks again, of what the tools tell."""
        self.words.append("the tapdisk has died; again")
        dead, minors, image = self.pid, dict(self.minors), self.images.get("a")
        self.pid = None
        for minor in minors.values():
            self.tap("free", "-m", minor)
        if "a" not in minors:
            return
        for _ in range(4):
            r = self.tap("create", "-a", image)
            if r.status == 0 or self.told(r.said, image) == image:
                break
            image = self.told(r.said, image)
        if r.status:
            self.pid = dead
            raise Failure("the disk cannot be made again: " + r.said)
        self.minors = {"a": int(r.out.strip().rsplit("-", 1)[1])}
        self.wait_for("the new disk is listed", lambda: any(v["minor"] == self.minors["a"] for v in self.vbds()))
        self.pid = next(v["pid"] for v in self.vbds() if v["minor"] == self.minors["a"])
        if "b" in minors:
            minor = int(self.tap("allocate").out.strip().rsplit("-", 1)[1])
            self.tap("attach", "-p", self.pid, "-m", minor)
            if "b" in self.images:
                r = self.tap("open", "-p", self.pid, "-m", minor, "-a", self.images["b"])
                if r.status:
                    raise Failure("the second disk cannot be made again: " + r.said)
            self.minors["b"] = minor

    # --- the operator ---

    def step(self, phase, step):
        """phase: 1 for the step that the fault is in, 0 for others; or their numbers, to record."""
        if step.before:
            step.before()
        r = self.attempt(step, phase, wrap=True)
        if r is not None and r.status:
            self.notice(step)
            if not (step.done or step.moot or (lambda: False))():
                self.resume()
                again = self.attempt(step)
                if again.status == errno.EALREADY:
                    self.wait_for(step.name + " ends", step.done or (lambda: True))
                elif again.status and not (step.done and step.done()):
                    raise Failure("%s: a second attempt fails: %s" % (step.name, again.said.strip()))
        if step.after:
            step.after()
        self.notice(step)

    def attempt(self, step, phase=0, wrap=False):
        self.page.set_phase(phase)
        r = step.command(wrap)
        time.sleep(0.02)  # what a tapdisk still does for it
        self.page.set_phase(0)
        if r is None:
            return None
        if r.status == 0:
            try:
                self.wait_for("", step.done or (lambda: True), 10)
            except Failure:
                if not self.expected_dead() and not (self.was_killed() and self.fault.program == step.program):
                    raise Failure("%s says that it has succeeded, and has not" % step.name)
                return Result(1, "", "the tapdisk has died")
        elif r.status < 0 and not self.was_killed():
            raise Failure("%s dies by signal %d" % (step.name, -r.status))
        elif not r.said.strip() and not self.was_killed():
            raise Failure("%s fails with %d without a word" % (step.name, r.status))
        return r

    def resume(self):
        """What is wanted of the operator where a migration cannot go on."""
        status = self.status() if self.images.get("a") and self.pid else {}
        if str(status.get("reason")).startswith("journal"):
            self.wait_for("the journal is written again", lambda: not self.status().get("reason"))
        elif status.get("reason"):
            self.tap("migrate", "resume", *self.named("a"))

    def was_killed(self):
        return self.fault and self.fault.deed == "kill" and self.page.fired()

    def expected_dead(self):
        return self.was_killed() and self.fault.program == "tapdisk" and \
            (self.pid is None or not self.alive())

    def command(self, *args):
        return lambda wrap: self.tap(*[a() if callable(a) else a for a in args], wrap=wrap)

    # --- the judge ---

    def notice(self, step):
        """Just after the fault: who still answers, and whether somebody spins."""
        if self.was_killed() and self.pid == self.page.pid():
            self.wait_for("the tapdisk dies", lambda: not self.alive())
        if self.pid and not self.alive() and not step.ends:
            if not self.expected_dead():
                raise Failure("%s: the tapdisk is dead" % step.name)
            self.revive()
        if self.noticed or not self.page.fired():
            return
        self.noticed = True
        if self.fault.deed == "delay":
            self.wait_for("the delay ends", lambda: self.page.times()[1])
            self.nobody_waited(step)
        if not step.ends and self.pid:
            for guest in self.guests.values():
                self.answers(guest)
        self.nobody_spins()

    def answers(self, guest):
        if not guest.going:
            return
        before = len(guest.answers)

        def answered():
            return len(guest.answers) > before + 1

        try:
            self.wait_for("", answered, 10)
        except Failure:
            self.resume()
            self.wait_for("%s's guest gets an answer" % guest.name, answered)

    def nobody_waited(self, step):
        began, ended = self.page.times()
        for name, guest in self.guests.items():
            # A disk waits for its own images, and while it is told to.
            if (name == "b" or self.fault.program != "tapdisk") and not step.ends and guest.going:
                if guest.late(began, ended):
                    raise Failure("%s: %s's guest waits for a %s that takes long" % (step.name, name, self.fault.call))

    def runnable(self, pid):
        """Nanoseconds that it has run or wanted to."""
        total = 0
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                total += sum(int(n) for n in f.read().split()[:2])
        return total

    def nobody_spins(self):
        going = [g for g in self.guests.values() if g.going]
        for g in going:
            if not g.rest():
                raise Failure("%s's guest is not answered" % g.name)
        for pid, name in self.ours().items():
            if name not in ("tapdisk", "tapback"):
                continue
            # Who spins always does; a process that has something to do now and then is not that.
            for _ in range(25):
                try:
                    before = self.runnable(pid)
                    time.sleep(REST_SECONDS)
                    after = self.runnable(pid)
                except OSError:
                    break
                if after - before < REST_SECONDS * 1e9 / 2:
                    break
            else:
                raise Failure("%s %d spins" % (name, pid))
        for g in going:
            g.go_on()

    def own_path(self):
        """Whether the fault is on the guest's own way to the only copy: an answer may be an error."""
        f = self.fault
        return f and self.page.fired() and f.program == "tapdisk" and (
            (f.call == "io_submit" and f.deed == "EIO") or
            (f.call in ("fdatasync", "fallocate", "pwrite64", "pwritev", "lseek", "newfstatat") and
             f.object.split(",")[0] in ("/src", "/dst", "/second", "/other", "/#N_(deleted)")))

    def guests_are_well(self):
        for g in self.guests.values():
            if g.wrong:
                raise Failure("; ".join(g.wrong[:3]))
            if g.errors and not self.own_path():
                raise Failure("the guest gets an error: " + "; ".join(g.errors[:3]))
            if len(g.errors) > 16:
                raise Failure("the guest gets %d errors: %s" % (len(g.errors), g.errors[0]))

    def same(self, guest, data, where):
        for i in range(len(data) // 4096):
            if not guest.right(i, data[i * 4096:(i + 1) * 4096]):
                raise Failure("block %d of %s is wrong in %s" % (i, guest.name, where))

    def judge(self):
        """In the end, with the disks still there."""
        for g in self.guests.values():
            if not g.rest():
                raise Failure("%s's guest is not answered" % g.name)
        self.guests_are_well()
        for disk, g in self.guests.items():
            v = self.vbd(disk)
            if not v or v["state"] != "0":
                raise Failure("disk %s is not running: %s" % (disk, v))
            try:
                self.same(g, read_all(self.socket(disk), SIZE), "the disk")
            except (OSError, Gone) as e:
                raise Failure("reading all of %s: %s" % (disk, e))
        self.nobody_spins()

    def judge_image(self, guest, image):
        """The disk has gone; what it was made of holds what it held."""
        with open(image.split(":", 1)[1], "rb") as f:
            self.same(guest, f.read(), image)
