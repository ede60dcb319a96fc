"""HTTP by hand, for clients that do what no library would."""

from __future__ import annotations

import contextlib
import socket
from typing import Self

__all__ = ["RawConnection"]


class RawConnection:
    """A TCP connection on which HTTP is written by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def __enter__(self) -> Self:
        """Keep it open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def read_until(self, mark: bytes) -> bytes:
        """Read to the end of `mark`.

        Raises:
            EOFError: The connection ended first.
        """
        while mark not in self._buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self._buffer[-2000:])
            self._buffer += data
        end = self._buffer.index(mark) + len(mark)
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return found

    def read_exactly(self, size: int) -> bytes:
        """Read so many bytes.

        Raises:
            EOFError: The connection ended first.
        """
        pieces = [self._buffer[:size]]
        self._buffer = self._buffer[size:]
        missing = size - len(pieces[0])
        while missing:
            data = self.sock.recv(missing)
            if not data:
                raise EOFError
            pieces.append(data)
            missing -= len(data)
        return b"".join(pieces)

    def read_all(self) -> bytes:
        """Read to the end of the connection."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.sock.recv(65536):
                self._buffer += data
        found, self._buffer = self._buffer, b""
        return found
