"""Attacks on the disk: there is none, but a scratch folder in memory that is bounded in every direction."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess

from attacks import limits
from attacks.deeds import deed

MIB = 1 << 20
FILES = 1200
"""More than the tests allow; also bounds every deed."""

MORE = limits(memory="512 MiB", scratch_size="256 MiB", file_size="256 MiB", scratch_files=200_000)


def _until_full(count: int, make) -> str | None:
    """Make things until there is no room, and tell how many there are if all could be made."""
    for number in range(count):
        try:
            make(number)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMLINK, errno.ENOMEM):
                return None
            raise
    return f"{count} could be made"


@deed("Fills the scratch folder with small files' worth of data", proof=MORE)
def fill(target):
    size = target["bytes"] // MIB
    with open("/tmp/a", "wb", buffering=0) as one, open("/tmp/b", "wb", buffering=0) as other:
        return _until_full(size, lambda number: _write_all((one, other)[number % 2]))


def _write_all(file) -> None:
    if file.write(b"x" * MIB) != MIB:
        raise OSError(errno.ENOSPC, "no room")


@deed("Writes one file that is larger than any may be", proof=MORE)
def large_file(_):
    with open("/tmp/large", "wb", buffering=0) as file:
        return _until_full(6, lambda _: _write_all(file))


@deed("Makes a file that only looks large: a hole", proof=MORE)
def sparse_file(_):
    with open("/tmp/sparse", "wb") as file:
        file.truncate(100 * MIB)
    return f"{os.stat('/tmp/sparse').st_size} bytes"


@deed("Writes far beyond the end of a file", proof=MORE)
def far_end(_):
    with open("/tmp/far", "wb", buffering=0) as file:
        file.seek(100 * MIB)
        file.write(b"x")
    return f"{os.stat('/tmp/far').st_size} bytes"


@deed("Asks for room in a file without writing to it", proof=MORE)
def reserve(_):
    with open("/tmp/reserved", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 100 * MIB)
    return f"{os.stat('/tmp/reserved').st_size} bytes"


@deed("Has a program write, which does not know of limits", proof=MORE)
def program_writes(_):
    """With the signal that ends programs at the limit, which Python ignores, as it usually is."""
    subprocess.run(
        ["/bin/sh", "-c", "exec dd if=/dev/zero of=/tmp/by-program bs=1M count=6 2>/dev/null"],
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_DFL),
        check=False,
    )
    size = os.stat("/tmp/by-program").st_size
    return f"{size} bytes" if size == 6 * MIB else None


@deed("Raises the limit for itself first", proof=MORE)
def raised_limit(_):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 * MIB, 100 * MIB))
    with open("/tmp/raised", "wb") as file:
        file.truncate(100 * MIB)
    return f"{os.stat('/tmp/raised').st_size} bytes"


@deed("Makes empty files without end", proof=MORE)
def many_files(_):
    return _until_full(FILES, lambda number: os.close(os.open(f"/tmp/{number}", os.O_CREAT)))


@deed("Makes folders without end", proof=MORE)
def many_folders(_):
    return _until_full(FILES, lambda number: os.mkdir(f"/tmp/{number}"))


@deed("Makes folders in folders without end", proof=MORE)
def deep_folders(_):
    os.chdir("/tmp")

    def descend(_: int) -> None:
        os.mkdir("d")
        os.chdir("d")

    return _until_full(FILES, descend)


@deed("Makes second names of one file without end", proof=MORE)
def many_names(_):
    open("/tmp/one", "wb").close()
    return _until_full(FILES, lambda number: os.link("/tmp/one", f"/tmp/{number}"))


@deed("Makes symbolic links without end", proof=MORE)
def many_links(_):
    return _until_full(FILES, lambda number: os.symlink("x" * 60, f"/tmp/{number}"))


@deed("Makes sockets and pipes in the file system without end", proof=MORE)
def many_pipes(_):
    return _until_full(FILES, lambda number: os.mkfifo(f"/tmp/{number}"))


@deed("Keeps files that have no names any more", proof=MORE)
def nameless_files(_):
    """A child keeps each 200 of them open."""
    held = []

    def keep(number: int) -> None:
        descriptor = os.open("/tmp/name", os.O_CREAT | os.O_RDWR)
        os.unlink("/tmp/name")
        held.append(descriptor)

    children, made = [], 0
    reads, writes = os.pipe()
    for _ in range(FILES // 200):
        child = os.fork()
        if child == 0:
            got = _until_full(200, keep)
            os.write(writes, b"+" if got else b"-")
            while True:
                signal.pause()
        children.append(child)
        made += os.read(reads, 1) == b"+"
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return f"{made * 200} files" if made == FILES // 200 else None
