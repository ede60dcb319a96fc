"""Attacks on what a process may do: capabilities, identity, set-user-id programs, namespaces."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import subprocess
import sys
import time

from attacks import any_of, attack, bare, off
from attacks.calls import CLONE_NEWUSER, DUMPABLE, call, control, in_child, parent, status

INSIDE_ROOT = ("unprivileged_user", "capabilities", "seccomp")
CLONE_NEWNS = 0x0002_0000
NAMESPACES = {
    "mount": CLONE_NEWNS,
    "uts": 0x0400_0000,
    "ipc": 0x0800_0000,
    "net": 0x4000_0000,
    "cgroup": 0x0200_0000,
    "pid": 0x2000_0000,
    "time": 0x80,
}


def _set(field: str) -> str | None:
    value = status(field)
    return f"{field} {value}" if int(value, 16) else None


def _raise_capabilities() -> None:
    """Make every permitted capability effective and inheritable."""
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x2008_0522, 0))
    sets = ctypes.create_string_buffer(24)
    call("capget", header, sets)
    low, high = (struct.unpack_from("<III", sets.raw, offset)[1] for offset in (0, 12))
    call("capset", header, struct.pack("<6I", low, low, low, high, high, high))


@attack("Holds an effective capability, or can make one effective", proof=off("capabilities", "seccomp"))
def effective_capabilities(_):
    def look() -> str | None:
        try:
            _raise_capabilities()
        except OSError:
            pass
        return _set("CapEff")

    return in_child(look)


@attack("Holds a permitted capability", proof=off("capabilities"))
def permitted_capabilities(_):
    return _set("CapPrm")


@attack("Could get a capability from a program", proof=off("capabilities"))
def bounding_capabilities(_):
    return _set("CapBnd")


@attack("Hands capabilities on to programs", proof=off("capabilities", "seccomp"))
def ambient_capabilities(_):
    def look() -> str | None:
        _raise_capabilities()
        control(47, 2, 21)  # PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN
        return _set("CapAmb")

    return in_child(look)


@attack("Changes what becoming root means: its secure bits", proof=off("capabilities", "seccomp"))
def secure_bits(_):
    def change() -> str:
        _raise_capabilities()
        return f"prctl gave {control(28, 1)}"

    return in_child(change)


LOOK = "print([line for line in open('/proc/self/status') if line.startswith(('CapEff', 'NoNewPrivs', 'Seccomp:'))])"


@attack("Sheds its shackles by executing another program", proof=off(*INSIDE_ROOT, "no_new_privileges", "landlock"))
def execute_free(_):
    output = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOOK], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if output.returncode:
        raise OSError(errno.EACCES, output.stderr.decode(errors="replace"))
    seen = "".join(output.stdout.decode().split()).replace("\\t", "").replace("\\n", "")
    return None if seen == "['CapEff:0000000000000000','NoNewPrivs:1','Seccomp:2']" else seen


@attack("Sheds its shackles by executing a file that is nowhere but in memory", proof=off("seccomp"))
def execute_from_memory(_):
    """The filter holds for programs, too: what is executed may do no more than we."""
    code = "import ctypes, os; print(ctypes.CDLL(None).syscall(250, 0, -3, 1))"
    if os.uname().machine != "x86_64":
        code = code.replace("250", "219")

    def execute() -> str:
        descriptor = call("memfd_create", b"program", 0)
        with open(os.path.realpath(sys.executable), "rb") as file:
            while data := file.read(1 << 20):
                os.write(descriptor, data)
        output = subprocess.run(
            [f"/proc/self/fd/{descriptor}", "-I", "-S", "-c", code],
            env={"PYTHONHOME": sys.base_prefix, "PATH": "/usr/bin:/bin"},
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if not output.stdout.strip().isdigit():
            raise OSError(errno.EPERM, (output.stdout + output.stderr).decode(errors="replace")[-200:])
        return f"keyring {output.stdout.decode().strip()}"

    return in_child(execute)


@attack("Can gain privileges from programs", proof=off("no_new_privileges", "landlock", "seccomp"))
def no_new_privileges(_):
    return None if control(39) == 1 else "no_new_privs is not set"


@attack("Runs a program with the set-user-id bit", proof=bare("nobody"))
def set_user_id_programs(_):
    def look(program: str) -> str | None:
        with subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        ) as child:
            try:
                for _ in range(20):  # the kernel closes descriptors, which is waited for, before it changes the user
                    real, effective, *_ = status("Uid", child.pid).split()
                    if effective != real:
                        break
                    time.sleep(0.005)
            finally:
                child.kill()
        return f"runs as {effective}, started by {real}" if effective != real else None

    return any_of(look, ("/usr/bin/su", "/bin/su", "/usr/bin/sudo", "/usr/bin/passwd", "/usr/bin/newgrp"))


@attack("Makes a file system on which the set-user-id bit counts, or finds one", proof=bare())
def set_user_id_counts(_):
    def look(folder: str) -> str | None:
        return None if os.statvfs(folder).f_flag & os.ST_NOSUID else "set-user-id counts here"

    return any_of(look, ("/tmp", ".", "/", "/usr/bin", "/usr/lib", os.path.dirname(os.__file__), "/dev", "/etc"))


@attack("Becomes root", proof=off(*INSIDE_ROOT))
def become_root(_):
    def change() -> str | None:
        os.setresuid(0, 0, 0)
        return "root" if os.geteuid() == 0 else None

    return in_child(change)


@attack("Joins the group of root", proof=off(*INSIDE_ROOT))
def join_root_group(_):
    def change() -> str | None:
        os.setresgid(0, 0, 0)
        return "group 0" if os.getegid() == 0 else None

    return in_child(change)


@attack("Adds groups to its own", proof=off(*INSIDE_ROOT))
def add_groups(_):
    def change() -> str:
        os.setgroups([0])
        return f"{os.getgroups()}"

    return in_child(change)


@attack("Is root for files only", proof=off(*INSIDE_ROOT))
def root_for_files(_):
    def change() -> str | None:
        call("setfsuid", 0)
        return "file user 0" if call("setfsuid", 2**32 - 1) == 0 else None

    return in_child(change)


@attack("Is root, or one of root's group, from the start", proof=off("unprivileged_user"))
def root_from_start(_):
    ids = {*os.getresuid(), *os.getresgid()}
    return f"{ids}" if 0 in ids else None


@attack("Has groups of the user who has started the service", proof=bare())
def inherited_groups(_):
    groups = set(os.getgroups()) - {65534}
    return f"{groups}" if groups else None


@attack("Has the host's users, not those of a namespace", proof=bare())
def users_of_host(_):
    with open("/proc/self/uid_map") as file:
        inside, outside, count = file.readline().split()
    return f"{inside} -> {outside}, {count} of them" if int(count) > 65535 else None


@attack("Gives a file away", proof=off(*INSIDE_ROOT))
def give_file_away(_):
    with open("/tmp/gift", "w"):
        pass
    os.chown("/tmp/gift", 0 if os.geteuid() else 1000, -1)
    return f"it belongs to {os.stat('/tmp/gift').st_uid}"


@attack("Makes a program that gives capabilities to whoever executes it", proof=off(*INSIDE_ROOT))
def capable_file(_):
    with open("/tmp/capable", "w"):
        pass
    os.setxattr("/tmp/capable", "security.capability", struct.pack("<5I", 0x0200_0001, 1 << 21, 0, 0, 0))
    return "it gives CAP_SYS_ADMIN"


@attack("Makes a user namespace: unshare", proof=bare("nobody"))
def user_namespace_by_unshare(_):
    return in_child(lambda: f"unshare gave {call('unshare', CLONE_NEWUSER)}")


@attack("Makes a user namespace: clone", proof=bare("nobody"))
def user_namespace_by_clone(_):
    return _cloned(lambda: call("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0))


@attack("Makes a user namespace: clone3, which no filter can look into", proof=bare("nobody"))
def user_namespace_by_clone3(_):
    arguments = ctypes.create_string_buffer(struct.pack("<8Q", CLONE_NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
    return _cloned(lambda: call("clone3", arguments, 64))


def _cloned(clone) -> str:
    pid = clone()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return f"process {pid}"


@attack("Makes a user namespace, and is root in it", proof=bare("nobody"))
def root_of_namespace(_):
    uid = os.getuid()

    def enter() -> str | None:
        control(DUMPABLE, 1)
        call("unshare", CLONE_NEWUSER)
        with open("/proc/self/uid_map", "w") as file:
            file.write(f"0 {uid} 1")
        return f"user {os.getuid()}, CapEff {status('CapEff')}"

    return in_child(enter)


@attack("Makes a namespace of any other kind", proof=off(*INSIDE_ROOT))
def other_namespaces(_):
    return any_of(
        lambda kind: in_child(lambda: f"unshare gave {call('unshare', NAMESPACES[kind])}"),
        NAMESPACES,
    )


@attack("Joins a namespace of process 1", proof=bare("root"))
def join_namespaces(_):
    def join(kind: str) -> str:
        descriptor = os.open(f"/proc/{parent()}/ns/{kind}", os.O_RDONLY)
        return in_child(lambda: f"setns gave {call('setns', descriptor, 0)}")

    return any_of(join, ("net", "uts", "ipc", "cgroup", "mnt"))


@attack("Joins namespaces of process 1 by a descriptor of it", proof=bare("root"))
def join_namespaces_by_descriptor(_):
    process = call("pidfd_open", parent(), 0)
    try:
        return any_of(
            lambda kind: in_child(lambda: f"setns gave {call('setns', process, NAMESPACES[kind])}"),
            ("net", "uts", "ipc", "mount"),
        )
    finally:
        os.close(process)
