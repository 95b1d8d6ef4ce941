# SPDX-License-Identifier: BSD-3-Clause
"""qemu-storage-daemon, driven by QMP: the field's way to move a running disk."""

import json
import queue
import subprocess
import threading

from bed import PATIENCE, Failure


def file_node(path):
    return {"driver": "file", "filename": str(path), "cache": {"direct": True}, "aio": "native",
            "locking": "off"}


def nbd_node(socket):
    return {"driver": "nbd", "server": {"type": "unix", "path": socket}, "export": ""}


class StorageDaemon:
    """Nodes by name. Those of exports are served over NBD by their names; uri is the one of "source"."""

    def __init__(self, bed, exports=("source",), **nodes):
        self.socket = str(bed.disk / "qemu.sock")
        self.uri = self.export("source")
        command = ["qemu-storage-daemon", "--chardev", "stdio,id=qmp", "--monitor", "qmp",
                   "--nbd-server", f"addr.type=unix,addr.path={self.socket}"]
        for name, node in nodes.items():
            command += ["--blockdev", json.dumps(dict(node, **{"node-name": name}))]
        for name in exports:
            command += ["--export", f"type=nbd,id={name},node-name={name},name={name},writable=on"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        bed.started(self.pid)
        self.said = queue.Queue()
        self.events = []
        threading.Thread(target=self._listen, daemon=True).start()
        self.tell("qmp_capabilities")

    def export(self, name):
        return f"nbd+unix:///{name}?socket={self.socket}"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if error[0] is None:
            self.tell("quit")
            self.process.wait(PATIENCE)
        else:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _listen(self):
        for line in self.process.stdout:
            self.said.put(json.loads(line))

    def _hear(self, seconds):
        """The next line that is no event, or None."""
        try:
            said = self.said.get(timeout=seconds)
        except queue.Empty:
            return None
        if "event" in said:
            self.events.append(said)
            return None
        return said

    def tell(self, command, **arguments):
        request = {"execute": command, "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        while True:
            answer = self._hear(PATIENCE)
            if answer is None:
                if self.process.poll() is not None:
                    raise Failure(f"qemu-storage-daemon has ended: exit {self.process.returncode}")
                continue
            if "QMP" in answer:
                continue
            if "error" in answer:
                raise Failure(f"qemu-storage-daemon: {command}: {answer['error']['desc']}")
            return answer["return"]

    def has_said(self, event):
        """Among what has been heard since the mirror began."""
        return any(e["event"] == event for e in self.events)

    def mirror(self, **arguments):
        self.events.clear()
        self.tell("blockdev-mirror", job_id="copy", device="source", target="target", sync="full", **arguments)

    def progress(self):
        """Bytes that have been copied, and that there are to copy; None when it is over."""
        jobs = self.tell("query-jobs")
        return (jobs[0]["current-progress"], jobs[0]["total-progress"]) if jobs else None

    def check(self):
        for event in self.events:
            error = event.get("data", {}).get("error")
            if error or event["event"] == "BLOCK_JOB_ERROR":
                raise Failure(f"blockdev-mirror: {error or event}")
