"""Attacks on secrets: of the service, of other hooks, of earlier requests.

The tests put canaries there: `CANARY-`, where it was put, and 16 hexadecimal digits. The target does not name them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import socket
import struct
import sys

from attacks import any_of, attack, bare, off
from attacks.calls import DUMPABLE, call, control, parent, read

CANARY = re.compile(rb"CANARY-([a-z]+)-[0-9a-f]{16}")


def _find(data: bytes) -> str | None:
    found = CANARY.search(data)
    return f"the canary of {found[1].decode()}" if found else None


def _find_in(path: str) -> str | None:
    with open(path, "rb") as file:
        return _find(file.read())


def _regions(process: object) -> list[tuple[int, int]]:
    with open(f"/proc/{process}/maps") as file:
        lines = [line.split() for line in file]
    spans = [
        line[0].split("-") for line in lines if line[1][0] == "r" and not line[-1].startswith(("[vvar", "[vsyscall"))
    ]
    return [(int(start, 16), int(end, 16)) for start, end in spans]


@attack("Reads the supervisor's environment", proof=bare())
def environment_of_supervisor(target):
    return _find_in(f"/proc/{target['supervisor']}/environ")


@attack("Reads the environment of any process", proof=bare())
def environment_of_others(_):
    others = [f"/proc/{name}/environ" for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    return any_of(_find_in, [*others, f"/proc/{parent()}/environ", "/proc/1/environ"])


@attack("Finds more in its environment than is documented", proof=bare())
def environment(_):
    more = set(os.environ) - {"PATH", "LANG", "HOME", "TMPDIR"}
    return f"{sorted(more)}" if more else None


@attack("Finds in its C library more of an environment than Python shows", proof=bare())
def environment_of_c(_):
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    names, index = [], 0
    while environ and environ[index]:
        names.append(environ[index].partition(b"=")[0].decode())
        index += 1
    more = set(names) - {"PATH", "LANG", "HOME", "TMPDIR"}
    return f"{sorted(more)}" if more else None


@attack("Reads the environment with which its program was started", proof=bare())
def first_environment(_):
    control(DUMPABLE, 1)
    return _find_in("/proc/self/environ")


@attack("Searches all of its own memory for what others have left there", proof=bare())
def own_memory(_):
    """By reading it, byte by byte: nothing can forbid that."""
    for start, end in _regions("self"):
        if got := _find(ctypes.string_at(start, end - start)):
            return got
    return None


@attack("Searches its own memory by the file that shows it", proof=bare())
def own_memory_by_file(_):
    control(DUMPABLE, 1)
    return _search_file("self")


def _search_file(process: object) -> str | None:
    descriptor = os.open(f"/proc/{process}/mem", os.O_RDONLY)
    try:
        for start, end in _regions(process):
            try:
                data = os.pread(descriptor, min(end - start, 64 << 20), start)
            except OSError:
                continue
            if got := _find(data):
                return got
    finally:
        os.close(descriptor)
    return None


@attack("Searches the memory of process 1 and of the supervisor", proof=bare())
def memory_of_others(target):
    return any_of(_search_file, [parent(), 1, target["supervisor"]])


@attack("Searches the memory of process 1 by number, at the addresses of its own", proof=bare())
def memory_of_parent_by_number(_):
    for start, end in _regions("self"):
        size = min(end - start, 16 << 20)
        buffer = ctypes.create_string_buffer(size)
        vectors = [struct.pack("<QQ", address, size) for address in (ctypes.addressof(buffer), start)]
        try:
            call("process_vm_readv", parent(), vectors[0], 1, vectors[1], 1, 0)
        except OSError as error:
            if error.errno == 14:  # not mapped there
                continue
            raise
        if got := _find(buffer.raw):
            return got
    return None


@attack("Searches the objects of the interpreter that it was forked with", proof=bare())
def objects(_):
    for one in gc.get_objects():
        try:
            if got := _find(repr(list(one.items()) if isinstance(one, dict) else one).encode(errors="replace")):
                return got
        except Exception:
            continue
    return None


@attack("Searches the variables of whoever has called it", proof=bare())
def frames(_):
    frame = sys._getframe()
    while frame is not None:
        if got := _find(repr([*frame.f_locals.values(), frame.f_globals]).encode(errors="replace")):
            return got
        frame = frame.f_back
    return None


@attack("Reads the executor's configuration, with the settings of all hooks", proof=bare())
def configuration(target):
    return _find_in(target["config"])


@attack("Reads a file that holds a setting of another hook", proof=bare())
def secret_file(target):
    return _find_in(target["secret_file"])


@attack("Reads the service's log", proof=bare())
def service_log(target):
    return read(target["log"])


@attack("Reads command lines: of the service, and of everybody", proof=bare())
def command_lines(_):
    others = [f"/proc/{name}/cmdline" for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    return any_of(read, [*others, "/proc/1/cmdline"])


@attack("Finds the host's name", proof=off("uts_namespace"))
def host_name(target):
    names = {os.uname().nodename, socket.gethostname()}
    return f"{names}" if target["host_name"] in names else None


@attack("Finds names of control groups of the host", proof=off("cgroup_namespace"))
def control_groups(_):
    with open("/proc/self/cgroup") as file:
        names = {line.rstrip("\n").split(":", 2)[2] for line in file}
    return f"{names}" if names - {"/"} else None
