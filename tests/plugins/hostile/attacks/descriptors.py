"""Attacks on descriptors: a worker has five, its own; outside, the tests hand some more down, as a careless parent would."""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import socket
import stat

from attacks import attack, bare, limits

MOST = 4096


def _open_descriptors() -> dict[int, os.stat_result]:
    """Every open descriptor, found by trying: no listing is needed."""
    found = {}
    for number in range(MOST):
        try:
            found[number] = os.fstat(number)
        except OSError:
            continue
    return found


def _found(test) -> str | None:
    found = [number for number, seen in _open_descriptors().items() if test(number, seen)]
    return f"descriptors {found}" if found else None


@attack("Has more descriptors than three for the standard streams and two pipes", proof=bare())
def more_than_own(_):
    pipes = [number for number, seen in _open_descriptors().items() if number > 2 and stat.S_ISFIFO(seen.st_mode)]
    others = [number for number in _open_descriptors() if number > 2 and number not in pipes]
    return f"pipes {pipes}, others {others}" if len(pipes) != 2 or others else None


@attack("Has a socket, such as the one by which zygotes get their commands", proof=bare())
def sockets(_):
    return _found(lambda _, seen: stat.S_ISSOCK(seen.st_mode))


@attack("Has a folder of the host, from which .. leads everywhere", proof=bare())
def folders(_):
    return _found(lambda _, seen: stat.S_ISDIR(seen.st_mode))


@attack("Climbs out of the sandbox from a folder that it has", proof=bare())
def climb_out(target):
    for number, seen in _open_descriptors().items():
        if stat.S_ISDIR(seen.st_mode):
            path = f"{'../' * 32}{target['folder']}"
            return f"{os.listdir(os.open(path, os.O_RDONLY, dir_fd=number))}"
    return None


@attack("Has a file of the host", proof=bare())
def files(_):
    return _found(lambda _, seen: stat.S_ISREG(seen.st_mode))


@attack("Has an epoll, a timer, a process or other object of its parents", proof=bare())
def nameless_objects(_):
    return _found(lambda _, seen: seen.st_mode & stat.S_IFMT(0o177777) == 0)


@attack("Has a device other than /dev/null", proof=bare())
def devices(_):
    null = os.stat("/dev/null").st_rdev
    return _found(lambda _, seen: stat.S_ISCHR(seen.st_mode) and seen.st_rdev != null)


@attack("Reads what the service's own input has", proof=bare())
def standard_input(_):
    os.set_blocking(0, False)
    data = os.read(0, 64)
    return f"{data!r}" if data else None


@attack("Writes past the supervisor, to where the service's own output goes", proof=bare())
def standard_output(_):
    return _found(lambda number, seen: number in {1, 2} and not stat.S_ISFIFO(seen.st_mode))


@attack("Uses both ends of a pipe: reads what it has sent, or sends what it is to read", proof=bare())
def both_ends(_):
    """Outside, the tests hand down both ends of one pipe."""
    ends: dict[int, set[int]] = {}
    for number, seen in _open_descriptors().items():
        if stat.S_ISFIFO(seen.st_mode):
            ends.setdefault(seen.st_ino, set()).add(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE)
    return f"{ends}" if any(len(modes) > 1 for modes in ends.values()) else None


@attack("Finds an object of Python that still holds a socket of a parent", proof=bare())
def objects_with_sockets(_):
    found = [one.fileno() for one in gc.get_objects() if isinstance(one, socket.socket) and _is_socket(one.fileno())]
    return f"{found}" if found else None


def _is_socket(number: int) -> bool:
    try:
        return number >= 0 and stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


@attack("Opens more files than the host can bear", proof=limits(open_files=MOST))
def exhaust(_):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = []
    try:
        while len(opened) < 2048:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    finally:
        for number in opened:
            os.close(number)
    return f"{len(opened)}" if len(opened) > 1024 else None


@attack("Raises its limit of files", proof=limits(open_files=MOST))
def raise_limit(_):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return f"{most}" if most > 1024 else None


@attack("Lists descriptors of its parents", proof=bare())
def list_descriptors(_):
    """The listing itself has one that is gone afterwards."""
    listed = {int(name) for name in os.listdir("/proc/self/fd")}
    still = {number for number in listed if number in _open_descriptors()}
    return f"{sorted(still)}" if len(still) > 5 else None
