"""scenarios.py - what is done to a disk in a run, a command a step"""
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import Callable

from world import BUILD, HERE, SCRIPTS, Failure, Result
from xenstore import Tapdisk, Xenstore


@dataclass
class Step:
    name: str
    command: Callable  # (wrap): a Result, or None
    done: Callable = None  # whether what is wanted is so; None: only the command can tell
    moot: Callable = None  # whether there is nothing left to do for it, after a failure
    before: Callable = None
    after: Callable = None
    ends: bool = False  # a disk is gone, or is to be
    program: str = "tap-ctl"


def second(w, contents):
    """A second disk of the same tapdisk, with a guest that only reads."""
    other = "aio:" + w.path("other")

    def allocated(wrap):
        r = w.tap("allocate", wrap=wrap)
        if r.status == 0:
            w.minors["b"] = int(r.out.strip().rsplit("-", 1)[1])
        return r

    def attached():
        return any(v["pid"] == w.pid and v["minor"] == w.minors["b"] for v in w.vbds())

    def opened():
        w.images["b"] = other

    yield Step("allocate", allocated)
    yield Step("attach", lambda wrap: w.tap("attach", *w.named("b"), wrap=wrap), attached)
    yield Step("open", lambda wrap: w.tap("open", *w.named("b"), "-a", other, wrap=wrap),
               lambda: w.runs_on("b", other), after=opened)
    w.guest("b", contents, False)


def create(w):
    """A disk with its guest, and a second one."""
    src = "aio:" + w.path("src")
    contents, others = w.image("src", 1), w.image("other", 2)
    yield Step("create", w.command("create", "-a", src), lambda: w.found("a", src))
    w.guest("a", contents, True)
    yield from second(w, others)


def end(w):
    """Both disks go, and their images hold what they held."""
    w.judge()
    image, guest = w.vbd("b")["args"], w.guests.pop("b")
    guest.stop()
    w.images.pop("b")
    minor, pid = w.minors.pop("b"), w.pid
    yield Step("destroy-b", lambda wrap: w.tap("destroy", "-p", pid, "-m", minor, wrap=wrap),
               lambda: not any(v["pid"] == pid and v["minor"] == minor for v in w.vbds()))
    w.judge_image(guest, image)

    image, guest = w.vbd("a")["args"], w.guests["a"]
    if not guest.rest():
        raise Failure("the guest is not answered")
    guest.stop()
    yield Step("destroy-a", lambda wrap: w.tap("destroy", *w.named("a"), wrap=wrap), lambda: w.vbd("a") is None,
               ends=True)
    w.judge_image(guest, image)
    w.wait_for("the tapdisk ends", lambda: not w.alive())


def start(w, destination, *options):
    dst = "aio:" + w.path(destination)

    def done():
        return w.runs_on("a", dst, "migrate:%s.migrate" % w.path(destination))

    return Step("start", lambda wrap: w.tap("migrate", "start", *w.named("a"), "--to", dst, "--chunk", "64K", *options,
                                            wrap=wrap),
                done)


def migrate(w, command, *options, done=None, name=None):
    def over():  # a tapdisk that dies at the end is opened again on what is left
        v = w.vbd("a")
        return v is not None and not v["args"].startswith("migrate:")

    return Step(name or command, lambda wrap: w.tap("migrate", command, *w.named("a"), *options, wrap=wrap), done,
                moot=None if done else over)


def ended_on(w, name):
    def done():
        image = "aio:" + w.path(name)
        if not w.runs_on("a", image):
            return False
        return True

    return done


def complete(w):
    yield from create(w)
    yield start(w, "dst", "--create", "--strategy", "slr", "--complete", "manual", "--wait")
    journal = w.path("dst.migrate")
    yield migrate(w, "status", "--json")
    yield Step("list", w.command("migrate", "list"))
    yield Step("inspect", w.command("migrate", "inspect", journal))
    yield Step("check", w.command("migrate", "check", journal))
    yield Step("mark", w.command("migrate", "mark", w.path("src")))
    yield migrate(w, "complete", "--wait", done=ended_on(w, "dst"))
    yield from end(w)
    yield Step("unmark", w.command("migrate", "unmark", w.path("src")), ends=True)


def cancel(w):
    yield from create(w)
    yield start(w, "dst", "--create", "--strategy", "lr", "--complete", "manual", "--rate", "1")
    yield migrate(w, "pause")
    yield migrate(w, "resume")
    yield migrate(w, "set", "--rate", "0")
    yield migrate(w, "cancel", "--wait", done=ended_on(w, "src"))
    w.image("second", 3)  # it is there, and holds something else
    yield start(w, "second", "--strategy", "dbt", "--complete", "auto", "--wait", "--journal-after", "remove")
    yield migrate(w, "complete", "--wait", done=ended_on(w, "second"), name="complete-again") \
        if not ended_on(w, "second")() else None
    yield from end(w)


def reopen(w):
    yield from create(w)
    yield start(w, "dst", "--create", "--strategy", "mirror", "--rate", "1")

    def killed(wrap):
        os.kill(w.pid, signal.SIGKILL)
        w.wait_for("the tapdisk dies", lambda: not w.alive())
        return None

    journal = w.path("dst.migrate")
    minor = w.minors.pop("b")
    neighbour = w.guests.pop("b")
    neighbour.stop()
    yield Step("kill", killed, ends=True)
    for number in (minor, w.minors["a"]):
        yield Step("free", w.command("free", "-m", number), lambda: not os.path.exists(
            w.path("run/tapdisk/tapdisk-%d" % number)), ends=True)
    pid, w.pid = w.pid, None
    yield Step("reopen", w.command("create", "-a", "migrate:" + journal), lambda: w.found("a", "migrate:" + journal))
    if w.pid == pid:
        raise Failure("it has not died")
    yield from second(w, neighbour.expected())
    yield migrate(w, "set", "--rate", "0", "--complete", "auto")
    yield migrate(w, "complete", "--wait", done=ended_on(w, "dst"))
    yield from end(w)


def plain(w):
    yield from create(w)
    src = "aio:" + w.path("src")
    guest = w.guests["a"]
    yield Step("pause", lambda wrap: w.tap("pause", *w.named("a"), wrap=wrap),
               lambda: w.state("a") not in (None, "0"), before=guest.rest)
    yield Step("unpause", lambda wrap: w.tap("unpause", *w.named("a"), wrap=wrap),
               lambda: w.state("a") == "0", after=guest.go_on)
    yield Step("stats", lambda wrap: w.tap("stats", *w.named("a"), wrap=wrap))
    yield Step("list", lambda wrap: w.tap("list", wrap=wrap))
    yield Step("close", lambda wrap: w.tap("close", *w.named("a"), wrap=wrap),
               lambda: not w.runs_on("a", src), before=guest.rest)
    yield Step("open", lambda wrap: w.tap("open", *w.named("a"), "-a", src, wrap=wrap),
               lambda: w.runs_on("a", src), after=guest.go_on)
    yield from end(w)


# --- a guest of Xen ---------------------------------------------------------------------------

FRONT, BACK, TWIN = "/local/domain/7/device/vbd/51712", "backend/vbd3/7/51712", "backend/vbd/7/51712"


class Tapback:
    """A tapback that is started again when it has died, as init would."""

    def __init__(self, w):
        self.w, self.pid_file = w, w.path("tapback.pid")
        self.store = Xenstore(w.path("xenstored"))
        w.env["XENSTORED_PATH"] = w.path("xenstored")
        self.host = subprocess.Popen(["sleep", "1000"], env=w.env)  # a process id of a tapdisk's
        self.tapdisk = Tapdisk(w.path("run"), self.host.pid)

    def pid(self):
        try:
            with open(self.pid_file) as f:
                return int(f.read())
        except (OSError, ValueError):
            return None

    def runs(self):
        pid = self.pid()
        return pid is not None and self.w.alive(pid)

    def start(self, wrap):
        r = self.w.run([BUILD + "/tapback", "-p", self.pid_file], wrap)
        return r

    def may_die(self):
        """Of a fault of its own, or where its connection to xenstore fails: systemd starts it again."""
        f = self.w.fault
        return f and self.w.page.fired() and f.program == "tapback" and (
            f.deed == "kill" or "xenstored" in f.object)

    def reaches(self, name, condition, *pairs, then=None):
        def command(wrap):
            self.store.put(*pairs)
            if then:
                then()
            try:
                self.w.wait_for(name, lambda: condition() or not self.runs(), 20)
            except Failure:
                if not self.w.page.fired():
                    raise
            if condition():
                return Result(0, "", "")
            if not self.runs():
                if not self.may_die():
                    raise Failure("tapback is dead")
                self.start(False)
            return Result(1, "", "%s has not come" % name)

        def done():
            try:
                self.w.wait_for(name, condition, 20)
            except Failure:
                return False
            return True

        return Step(name, command, done, program="tapback")

    def back(self, state):
        return lambda: self.store.get(BACK + "/state") == state


def tapback(w):
    t = Tapback(w)
    put = t.store.put
    yield Step("tapback", t.start, lambda: t.runs() and len(t.store.watches) > 1, program="tapback")
    put(FRONT + "/state", "1", TWIN + "/script", "/etc/xen/scripts/block-tapmigrate", TWIN + "/frontend", FRONT,
        TWIN + "/online", "1")
    yield t.reaches("twin", lambda: t.store.get(TWIN + "/state") == "2", TWIN + "/state", "1")
    put(FRONT + "/backend", "/local/domain/0/" + BACK, FRONT + "/backend-id", "0")
    yield t.reaches("add", t.back("2"), BACK + "/physical-device-path", w.path("run", "nbd%d.3" % t.host.pid),
                    BACK + "/frontend", FRONT, BACK + "/mode", "w", BACK + "/online", "1",
                    BACK + "/hotplug-status", "connected")
    yield t.reaches("connect", lambda: t.back("4")() and t.tapdisk.connected, FRONT + "/ring-ref", "8",
                    FRONT + "/event-channel", "15", FRONT + "/protocol", "x86_64-abi", FRONT + "/state", "3")
    put(FRONT + "/state", "4")
    yield t.reaches("detach", lambda: not t.tapdisk.connected and t.store.get(TWIN + "/state") == "6",
                    TWIN + "/online", "0", TWIN + "/state", "5", then=lambda: t.store.remove(FRONT))
    w.nobody_spins()
    t.store.remove(BACK)

    def stop(wrap):
        pid = t.pid()
        if pid and t.runs():
            os.kill(pid, signal.SIGTERM)
        return Result(0, "", "")

    yield Step("stop", stop, lambda: not t.runs(), program="tapback")
    t.host.kill()
    t.host.wait()


def dom0(w):
    """The environment of xl's scripts; xenstore's programs, and xl, are tests/xl/fake-xen."""
    xen, fake = w.path("xen"), os.path.join(HERE, "../xl/fake-xen")
    os.makedirs(xen + "/bin")
    for name in ("xenstore-read", "xenstore-write", "xenstore-rm", "xenstore-exists", "xenstore-list", "xenstore-chmod",
                 "xl"):
        os.symlink(fake, "%s/bin/%s" % (xen, name))
    for name in ("tap-ctl", "tapmigrate-hotplug"):
        os.symlink("%s/%s" % (BUILD, name), "%s/bin/%s" % (xen, name))
    with open(xen + "/state", "w") as f:
        f.write("--p---\n")  # the domain is being built
    return dict(w.env, XEN=xen, PATH="%s/bin:%s:/usr/sbin:/usr/bin:/sbin:/bin" % (xen, SCRIPTS))


def hotplug(w):
    """block-tapmigrate, add and remove, as libxl calls it."""
    src = "aio:" + w.path("src")
    contents = w.image("src", 1)
    store = Xenstore(w.path("xenstored"))
    log = w.path("hotplug.log")
    env = dict(dom0(w), XENSTORED_PATH=w.path("xenstored"), XENBUS_PATH=TWIN, SYSFS=w.path("sys"), XEN_HOTPLUG_LOG=log)

    def tapback_answers(path):
        if path.endswith(BACK + "/hotplug-status") and store.get(BACK + "/state") != "2":
            store.put(BACK + "/state", "2")

    def script(command):
        def run(wrap):
            r = w.run([os.path.join(SCRIPTS, "block-tapmigrate"), command], wrap, env=env)
            if r.status > 0:  # libxl shows one of these
                r.said += store.get(TWIN + "/hotplug-error") or ""
                if os.path.exists(log):
                    with open(log) as f:
                        r.said += f.read()
                w.words.append(r.said)
            return r

        return run

    def added():
        return store.get(TWIN + "/hotplug-status") == "connected" and w.found("a", src)

    store.on_change = tapback_answers
    store.put(FRONT + "/state", "1", FRONT + "/backend", "/local/domain/0/" + TWIN, TWIN + "/frontend", FRONT,
              TWIN + "/params", src, TWIN + "/mode", "w", TWIN + "/state", "2",
              TWIN + "/script", "/etc/xen/scripts/block-tapmigrate")
    yield Step("add", script("add"), added, program="tapmigrate-hotp")
    if len(w.vbds()) != 1:
        raise Failure("add has left %s" % w.vbds())
    w.guest("a", contents, True)
    w.answers(w.guests["a"])
    w.judge()
    guest = w.guests["a"]
    guest.rest()
    guest.stop()
    yield Step("remove", script("remove"), lambda: not w.vbds() and store.get(TWIN + "/tapdisk") is None, ends=True,
               program="tapmigrate-hotp")
    w.judge_image(guest, src)
    w.wait_for("the tapdisk ends", lambda: not w.alive())


def xl(w):
    """xl-migrate-disk."""
    env = dom0(w)

    def put(*pairs):
        w.run(["xenstore-write", *pairs], env=env, quiet=True)

    yield from create(w)
    src = w.vbd("a")["args"]
    for node in (TWIN, BACK, "/libxl/7/device/vbd/51712"):
        put(node + "/params", src, node + "/dev", "xvda", node + "/mode", "w", node + "/script",
            "/etc/xen/scripts/block-tapmigrate")
    put(BACK + "/physical-device-path", w.socket("a"))
    yield Step("xl-migrate-disk", lambda wrap: w.run(["xl-migrate-disk", "g", "xvda", w.path("dst"), "slr"], wrap,
                                                     env=env),
               lambda: w.runs_on("a", "aio:" + w.path("dst")), program="xl-migrate-disk")
    yield from end(w)


SCENARIOS = {"plain": plain, "complete": complete, "cancel": cancel, "reopen": reopen, "tapback": tapback,
             "hotplug": hotplug, "xl": xl}
# Of these one program only: what the others do for it, other scenarios have.
ONE_PROGRAM = {"hotplug": "tapmigrate-hotp", "xl": "xl-migrate-disk"}
