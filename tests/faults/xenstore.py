"""xenstore.py - a xenstore, and a tapdisk that says yes, for a real tapback

The store speaks xenstored's protocol on a Unix socket, for libxenstore; transactions see and
make all changes at once. The tapdisk answers what tapback asks.
"""
import os
import socket
import struct
import threading

DIRECTORY, READ, WATCH, UNWATCH, BEGIN, END = 1, 2, 4, 5, 6, 7
WRITE, MKDIR, RM, SET_PERMS, EVENT, ERROR, IS_INTRODUCED = 11, 12, 13, 14, 15, 16, 17
HOME = "/local/domain/0/"


class Xenstore:
    def __init__(self, path):
        self.nodes, self.watches = {}, []  # path: value; (client, path, token)
        self.transactions, self.last = {}, 0
        self.lock = threading.RLock()
        self.on_change = None  # called with a path that has been written or removed
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    # --- for the test ---

    def put(self, *pairs):
        with self.lock:
            for path, value in zip(pairs[::2], pairs[1::2]):
                self.nodes[self.absolute(path)] = value
                self.fire(self.absolute(path))

    def get(self, path):
        with self.lock:
            return self.nodes.get(self.absolute(path))

    def remove(self, path):
        with self.lock:
            at = self.absolute(path)
            self.nodes = {p: v for p, v in self.nodes.items() if not self.below(p, at)}
            self.fire(at, True)

    # --- the protocol ---

    @staticmethod
    def absolute(path):
        return path if path[:1] in "/@" else HOME + path

    @staticmethod
    def below(path, at):
        return path == at or path.startswith(at + "/")

    def fire(self, path, removed=False):
        if self.on_change:
            self.on_change(path)
        for client, watched, token in list(self.watches):
            at = self.absolute(watched)
            if self.below(path, at) or (removed and self.below(at, path)):
                said = path if self.below(path, at) else at
                self.event(client, said if watched[:1] in "/@" else said[len(HOME):], token)

    def event(self, client, path, token):
        self.send(client, EVENT, 0, 0, path + "\0" + token + "\0")

    @staticmethod
    def send(client, kind, request, transaction, text):
        data = text.encode()
        try:
            client.sendall(struct.pack("IIII", kind, request, transaction, len(data)) + data)
        except OSError:
            pass

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            while True:
                head = client.recv(16, socket.MSG_WAITALL)
                if len(head) < 16:
                    break
                kind, request, transaction, size = struct.unpack("IIII", head)
                data = client.recv(size, socket.MSG_WAITALL).decode() if size else ""
                with self.lock:
                    self.answer(client, kind, request, transaction, data)
        except OSError:
            pass
        with self.lock:
            self.watches = [w for w in self.watches if w[0] is not client]

    def answer(self, client, kind, request, transaction, data):
        words = data.split("\0")
        nodes = self.transactions[transaction][0] if transaction in self.transactions else self.nodes
        changed = self.transactions[transaction][1] if transaction in self.transactions else None
        at = self.absolute(words[0])

        def reply(text="OK\0"):
            self.send(client, kind, request, transaction, text)

        def change(removed=False):
            if changed is None:
                self.fire(at, removed)
            else:
                changed.append((at, removed))

        if kind == READ and at in nodes:
            reply(nodes[at])
        elif kind == DIRECTORY and any(self.below(p, at) for p in nodes):
            names = {p[len(at) + 1:].split("/")[0] for p in nodes if p.startswith(at + "/")}
            reply("".join(name + "\0" for name in sorted(names)))
        elif kind == WRITE or kind == MKDIR:
            nodes[at] = words[1] if kind == WRITE else nodes.get(at, "")
            reply()
            change()
        elif kind == RM and any(self.below(p, at) for p in nodes):
            for path in [p for p in nodes if self.below(p, at)]:
                del nodes[path]
            reply()
            change(True)
        elif kind == SET_PERMS:
            reply()
        elif kind == WATCH:
            self.watches.append((client, words[0], words[1]))
            reply()
            self.event(client, words[0], words[1])
        elif kind == UNWATCH:
            self.watches = [w for w in self.watches if w != (client, words[0], words[1])]
            reply()
        elif kind == BEGIN:
            self.last += 1
            self.transactions[self.last] = (dict(self.nodes), [])
            reply("%d\0" % self.last)
        elif kind == END:
            if words[0] == "T":
                self.nodes = nodes
            del self.transactions[transaction]
            reply()
            for path, removed in changed if words[0] == "T" else ():
                self.fire(path, removed)
        elif kind == IS_INTRODUCED:
            reply("T\0")
        else:
            self.send(client, ERROR, request, transaction, "ENOENT\0")


class Tapdisk:
    """Of process pid, which somebody else keeps alive: it takes every ring. asked: what came."""

    ERROR, CONNECT, DISCONNECT, INFO, SIZE = 1, 24, 26, 28, 544

    def __init__(self, run_dir, pid):
        self.asked, self.connected = [], False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(run_dir, "ctl%d" % pid))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            try:
                message = client.recv(self.SIZE, socket.MSG_WAITALL)
                if len(message) == self.SIZE:
                    client.sendall(self.answer(*struct.unpack("HH", message[:4])))
            except OSError:
                pass
            client.close()

    def answer(self, kind, cookie):
        body, self.asked = b"", self.asked + [kind]
        if kind == self.INFO:
            body = struct.pack("QII", 4096, 512, 0)
        elif kind == self.DISCONNECT and not self.connected:
            return struct.pack("HHIi", self.ERROR, cookie, 0, 19).ljust(self.SIZE, b"\0")
        self.connected = kind == self.CONNECT or (self.connected and kind != self.DISCONNECT)
        return (struct.pack("HHI", kind + 1, cookie, 0) + body).ljust(self.SIZE, b"\0")
