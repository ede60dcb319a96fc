"""What the host has that a worker must not find: sockets that answer, shared memory, queues, files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import selectors
import socket
import tempfile
import threading
from pathlib import Path
from typing import Final, Self

__all__ = ["Lures"]

IPC_CREAT: Final = 0o1000
IPC_RMID: Final = 0
READABLE: Final = 0o666

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Lures:
    """Everything is there while the context lasts. Whoever gets to a socket is greeted, and given the folder `/`."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._selector = selectors.DefaultSelector()
        self._word = secrets.token_hex(8)

    def __enter__(self) -> Self:
        """Put everything out."""
        with contextlib.ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-lures-")))
            self.folder.chmod(0o1777)
            self.abstract = f"sandbox-lure-{self._word}"
            self.socket = self.folder / "socket"
            self._listen(stack, socket.SOCK_STREAM, "\0" + self.abstract)
            self._listen(stack, socket.SOCK_STREAM, str(self.socket))
            self.socket.chmod(READABLE)
            self.udp_port = self._listen_udp(stack)
            self.file = self._write(stack, Path(tempfile.gettempdir()))
            self.shared_file = self._write(stack, Path("/dev/shm"))
            self.key = self._make_segment(stack)
            self.queue = self._make_queue(stack)
            self._serve(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Take everything away."""
        self._stack.close()

    def _listen(self, stack: contextlib.ExitStack, kind: int, address: str) -> None:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        listener.bind(address)
        listener.listen()
        self._selector.register(listener, selectors.EVENT_READ, _greet)

    def _listen_udp(self, stack: contextlib.ExitStack) -> int:
        receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.bind(("127.0.0.1", 0))
        self._selector.register(receiver, selectors.EVENT_READ, _echo)
        return int(receiver.getsockname()[1])

    def _write(self, stack: contextlib.ExitStack, folder: Path) -> Path:
        path = folder / f"sandbox-lure-{self._word}"
        path.write_text("found\n")
        path.chmod(READABLE)
        stack.callback(path.unlink)
        return path

    def _make_segment(self, stack: contextlib.ExitStack) -> int:
        """Make shared memory of System V, as shmget(2) does; its key."""
        key = secrets.randbelow(2**30) + 1
        segment = _libc.shmget(ctypes.c_int(key), ctypes.c_size_t(4096), ctypes.c_int(IPC_CREAT | READABLE))
        assert segment != -1, os.strerror(ctypes.get_errno())
        stack.callback(_libc.shmctl, ctypes.c_int(segment), ctypes.c_int(IPC_RMID), None)
        return key

    def _make_queue(self, stack: contextlib.ExitStack) -> str:
        """Make a message queue of POSIX; its name as the kernel takes it."""
        name = f"sandbox-lure-{self._word}"
        flags = ctypes.c_int(os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        small = (ctypes.c_long * 8)(0, 1, 16)  # flags, messages, size: what a user may have in queues is little
        queue = _libc.mq_open(f"/{name}".encode(), flags, ctypes.c_uint(READABLE), ctypes.byref(small))
        assert queue != -1, os.strerror(ctypes.get_errno())
        os.fchmod(queue, READABLE)
        stack.callback(_libc.mq_unlink, f"/{name}".encode())
        stack.callback(os.close, queue)
        return name

    def _serve(self, stack: contextlib.ExitStack) -> None:
        reads, writes = socket.socketpair()
        stack.enter_context(self._selector)
        stack.enter_context(reads)
        self._selector.register(reads, selectors.EVENT_READ, None)
        thread = threading.Thread(target=self._answer, name="lures")
        stack.callback(thread.join)
        stack.enter_context(writes)  # closed first: the thread sees the end and stops
        thread.start()

    def _answer(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)


def _greet(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    root = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
    with connection, contextlib.suppress(OSError):
        socket.send_fds(connection, [b"welcome"], [root])
    os.close(root)


def _echo(receiver: socket.socket) -> None:
    data, sender = receiver.recvfrom(512)
    receiver.sendto(data, sender)
