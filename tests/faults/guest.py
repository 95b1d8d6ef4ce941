"""guest.py - a guest of a disk, over NBD: it knows what each block must hold, and when it was answered

It connects again when its server has died. What it was told is written must be there then; of
what it was not told, the old or the new, and from then on only that.
"""
import errno
import os
import random
import socket
import struct
import threading
import time

BLOCK = 4096
READ, WRITE, FLUSH, ZERO = 0, 1, 3, 6


class Gone(Exception):
    """the connection has ended"""


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.settimeout(60)
            self.socket.connect(path)
            self.get(18)
            self.socket.sendall(struct.pack(">I", 3))
            self.socket.sendall(struct.pack(">QII", 0x49484156454F5054, 1, 0))
            self.size, _ = struct.unpack(">QH", self.get(10))
        except OSError as e:
            self.close()
            raise Gone(str(e))

    def get(self, size):
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except OSError as e:
                raise Gone(str(e))
            if not more:
                raise Gone("end")
            data += more
        return data

    def ask(self, kind, offset=0, size=0, data=b""):
        """(errno or 0, what was read)"""
        try:
            self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, 1, offset, size) + data)
        except OSError as e:
            raise Gone(str(e))
        _, error, _ = struct.unpack(">IIQ", self.get(16))
        return error, self.get(size) if kind == READ and not error else b""

    def close(self):
        self.socket.close()


class Guest(threading.Thread):
    """where() is the path of the disk's socket now, or None. contents: what the disk holds."""

    PACE = 0.004

    def __init__(self, name, where, contents, seed, writes):
        super().__init__(daemon=True)
        self.name, self.where, self.writes = name, where, writes
        self.blocks = [contents[i:i + BLOCK] for i in range(0, len(contents), BLOCK)]
        self.doubt = {}  # block: what it may hold too, for a write that was not answered
        self.random = random.Random(seed)
        self.answers = []  # (asked, answered) in seconds
        self.errors, self.wrong, self.lost = [], [], 0
        self.asked = None  # the time, while a request is under way
        self.going, self.stopping, self.still = True, False, threading.Event()
        self.client = None

    # --- one request ---

    def connect(self):
        while self.going and not self.stopping:
            path = self.where()
            try:
                if path:
                    self.client = Client(path)
                    return True
            except Gone:
                pass
            time.sleep(0.01)
        return False

    def right(self, index, data):
        """Whether the block may hold that; from then on it must."""
        if index in self.doubt:
            if data not in (self.blocks[index], self.doubt[index]):
                return False
            self.blocks[index] = data
            del self.doubt[index]
            return True
        return data == self.blocks[index]

    def read(self, index, count):
        error, data = self.client.ask(READ, index * BLOCK, count * BLOCK)
        for i in range(0 if error else count):
            if not self.right(index + i, data[i * BLOCK:(i + 1) * BLOCK]):
                self.wrong.append("block %d of %s is wrong: %s" % (
                    index + i, self.name, data[i * BLOCK:i * BLOCK + 16].hex()))
        return error

    def write(self, kind, index, count):
        new = [b"\0" * BLOCK if kind == ZERO else self.random.randbytes(16) * (BLOCK // 16)
               for _ in range(count)]
        for i in range(count):
            self.doubt[index + i] = new[i]
        error, _ = self.client.ask(kind, index * BLOCK, count * BLOCK, b"" if kind == ZERO else b"".join(new))
        for i in range(0 if error else count):
            self.blocks[index + i] = new[i]
            del self.doubt[index + i]
        return error

    def request(self):
        kind = self.random.choice((READ, READ, WRITE, WRITE, WRITE, WRITE, FLUSH, ZERO) if self.writes else (READ,))
        count = self.random.choice((1, 1, 2, 16))
        index = self.random.randrange(len(self.blocks) - count)
        # What is in doubt is looked at before it is written: only one write is under way.
        unclear = sorted(self.doubt)
        if unclear and kind != FLUSH:
            kind, index, count = READ, unclear[0], 1
        self.asked = time.monotonic()
        if kind == READ:
            error = self.read(index, count)
        elif kind == FLUSH:
            error, _ = self.client.ask(FLUSH)
        else:
            error = self.write(kind, index, count)
        self.answers.append((self.asked, time.monotonic()))
        self.asked = None
        if error:
            self.errors.append("%s of %d blocks at %d of %s: %s" % (
                {READ: "read", WRITE: "write", FLUSH: "flush", ZERO: "zeroes"}[kind], count, index, self.name,
                os.strerror(error)))

    def run(self):
        while not self.stopping:
            if not self.going:
                self.still.set()
                time.sleep(0.005)
                continue
            try:
                if self.client or self.connect():
                    self.request()
            except Gone:
                self.asked = None
                self.lost += 1
                self.client.close()
                self.client = None
            time.sleep(self.PACE)

    # --- for the test ---

    def rest(self):
        """No request is under way when this returns; False if one is not answered."""
        self.still.clear()
        self.going = False
        return self.still.wait(60)

    def go_on(self):
        self.going = True

    def late(self, began, ended):
        """Whether a request that was asked in the first half of this time was not answered in it."""
        asked = self.asked
        spans = list(self.answers) + ([(asked, float("inf"))] if asked else [])
        return any(a < (began + ended) / 2 and b > ended for a, b in spans)

    def stop(self):
        self.stopping = True
        self.join(70)
        if self.client:
            self.client.close()

    def expected(self):
        return b"".join(self.blocks)


def read_all(path, size):
    client = Client(path)
    data = b""
    while len(data) < size:
        error, part = client.ask(READ, len(data), min(65536, size - len(data)))
        if error:
            raise OSError(error, os.strerror(error) if error in errno.errorcode else "error %d" % error)
        data += part
    client.close()
    return data
