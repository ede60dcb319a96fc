"""Speaks on the worker's own protocol descriptors: what an endpoint that wants to break its supervisor would do."""

import itertools
import os
import signal
import struct
import time

import msgpack
from dify_plugin import Endpoint
from werkzeug import Response

READS, WRITES = 1022, 1023
NUMBERS = itertools.count()
READY, RESPONSE, CHUNK, END, ERROR, LOG, CALL, CREDIT = range(0x41, 0x49)


def frame(kind, *fields):
    payload = msgpack.packb(list(fields))
    return struct.pack(">IB", len(payload), kind) + payload


def say(*frames):
    data = memoryview(b"".join(frames))
    os.set_blocking(WRITES, True)
    while data:
        data = data[os.write(WRITES, data) :]


def for_ever():
    while True:
        time.sleep(60)


def head(status=200, headers=()):
    return frame(RESPONSE, status, [list(pair) for pair in headers])


ONCE = {
    "garbage": b"\xff" * 4096,
    "oversized": struct.pack(">IB", 0x7FFFFFFF, CHUNK),
    "unknown-type": struct.pack(">IB", 1, 0xEE) + b"\x90",
    "second-ready": frame(READY),
    "chunk-before-head": frame(CHUNK, b"x"),
    "end-before-head": frame(END),
    "status-100": head(100),
    "status-600": head(600),
    "header-injection": head(200, [(b"X", b"a\r\nSet-Cookie: b=c")]),
    "header-name": head(200, [(b"X: a\r\nY", b"b")]),
    "header-count": head(200, [(b"x%d" % number, b"") for number in range(5000)]),
    "unknown-error": frame(ERROR, "surprise", "m", ""),
    "not-msgpack": struct.pack(">IB", 1, RESPONSE) + b"\xc1",
    "bad-log": frame(LOG, 1.0, "loud", "l", "m"),
    "huge-credit": frame(CREDIT, 2**62),
    "forged-load-error": frame(ERROR, "load", "forged", ""),
    "two-heads": head() + head(),
    "two-heads-late": head() + frame(CHUNK, b"first") + head(),
    "too-long": head(200, [(b"Content-Length", b"3")]) + frame(CHUNK, b"firstly") + frame(END),
    "too-short": head(200, [(b"Content-Length", b"9")]) + frame(CHUNK, b"first") + frame(END),
    "two-lengths": head(200, [(b"Content-Length", b"3"), (b"Content-Length", b"5")])
    + frame(CHUNK, b"first")
    + frame(END),
    "after-end": head() + frame(CHUNK, b"first") + frame(END) + frame(CHUNK, b"more") + head(500) + b"\xff" * 4096,
    "after-length": head(200, [(b"Content-Length", b"5")]) + frame(CHUNK, b"first") + frame(CHUNK, b"more"),
    "framing": head(
        200, [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"keep-alive, x-y"), (b"Upgrade", b"h2c")]
    )
    + frame(CHUNK, b"first")
    + frame(END),
    "beyond-credit": head() + frame(CHUNK, b"x" * 65536) * 40,
}


class Forge(Endpoint):
    def _invoke(self, r, values, settings):
        kind = values["kind"]
        if kind in ONCE:
            say(ONCE[kind])
            if kind in ("two-lengths", "framing"):
                os._exit(0)
            for_ever()
        return getattr(self, kind.replace("-", "_"))()

    def die_after_forging(self):
        say(head(), frame(CHUNK, b"first"), frame(END))
        os._exit(0)

    def half_a_frame(self):
        say(struct.pack(">IB", 100, RESPONSE) + b"\x92")
        os._exit(0)

    def killed_within_a_frame(self):
        say(struct.pack(">IB", 100, RESPONSE) + b"\x92")
        os.kill(os.getpid(), signal.SIGKILL)

    def killed_within_a_chunk(self):
        say(head(), frame(CHUNK, b"first"), struct.pack(">IB", 100, CHUNK) + b"\x91")
        os.kill(os.getpid(), signal.SIGSEGV)

    def closed_within_a_frame(self):
        say(struct.pack(">IB", 100, RESPONSE) + b"\x92")
        os.close(WRITES)
        for_ever()

    def credits(self):
        while True:
            say(frame(CREDIT, 1) * 4096)

    def logs(self):
        while True:
            say(frame(LOG, 1.0, "info", "l", "") * 4096)

    def calls(self):
        os.set_blocking(READS, True)
        while True:
            say(frame(CALL, next(NUMBERS), "app", 1, b"\x80"))
            os.read(READS, 1 << 20)

    def calls_unread(self):
        while True:
            say(*(frame(CALL, next(NUMBERS), "app", 1, b"\x80") for _ in range(512)))

    def tiny_chunks(self):
        say(head())
        while True:
            say(frame(CHUNK, b"x") * 1000)

    def endless(self):
        say(head())
        while True:
            say(frame(CHUNK, b"x" * 65536))

    def late_after_length(self):
        say(head(200, [(b"Content-Length", b"5")]), frame(CHUNK, b"first"))
        time.sleep(0.2)
        say(frame(CHUNK, b"more"))
        for_ever()

    def close_all(self):
        os.closerange(0, 1024)
        for_ever()

    def close_reading(self):
        os.close(READS)
        for_ever()

    def close_writing(self):
        os.close(WRITES)
        for_ever()

    def stop(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def stop_late(self):
        say(head(), frame(CHUNK, b"first"))
        os.kill(os.getpid(), signal.SIGSTOP)

    def stderr_and_exit(self):
        for _ in range(16):
            os.write(2, b"e" * 65536)
        os._exit(7)

    def child_keeps_pipes(self):
        if os.fork() == 0:
            os.setsid()
            for_ever()
        os._exit(7)

    def ignore_everything(self):
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True:
            try:
                for_ever()
            except BaseException:
                pass

    def deep_folders(self):
        os.chdir(os.environ["HOME"])
        for _ in range(1200):  # more than Python may recurse
            os.mkdir("d")
            os.chdir("d")
        return Response("deep")

    def surrogates(self):
        os.write(1, b'{"event": "log", "data": {"message": "\\ud800", "level": "info", "timestamp": NaN}}\n')
        os.write(
            1, b'{"event": "log", "data": {"message": [], "level": {}, "timestamp": 1e999}}\n' + b"\xff\x00\x1b[2J\n"
        )
        return Response("logged")
