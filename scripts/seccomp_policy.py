"""Which system calls a worker may make, and a build: the tables, with a reason for everything in them.

How to read it
--------------
`BY_NAME` has the system calls that are decided by their name alone: decision, reason, names. `BY_ARGUMENT` has those
that are decided by an argument. `FOR_BUILDS` has what is different for builds. What is in none of them is UNKNOWN and
gets ENOSYS, as from a kernel that does not have it, so that C libraries fall back to what came before. All that existed
when this was written is in one of the tables.

A decision is ALLOW, or the error that the caller gets. PRETEND is "error" 0: nothing is done, and the call succeeds.
EPERM is for what nobody should try, ENOSYS for what programs ask for and can do without. Other errors are those with
which the kernel itself says that something cannot be had here, because programs expect these.

Rules of this file
------------------
1. The default profile of containers is the upper bound: nothing is allowed here that it refuses.
2. An argument is compared as a whole register of 64 bits. The kernel may look at 32 of them only; who puts something
   into the others then matches no case, and is refused. A mask leaves bits unseen, so it is used only where these bits
   do not matter.
3. A filter sees numbers, not what pointers lead to: no decision can depend on a structure, a path or a file.
4. After a change, run `make seccomp`, and commit the programs along with this file.

Sources: syscalls(2), seccomp(2), the manual pages of the calls, include/uapi of Linux 6.18.
"""  # noqa: INP001 - scripts are no package

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ALLOW",
    "BY_ARGUMENT",
    "BY_NAME",
    "FOR_BUILDS",
    "KINDS",
    "PRETEND",
    "UNKNOWN",
    "WHOLE_REGISTER",
    "ByArgument",
    "Decision",
    "decide",
    "decisions",
]

ALLOW: Final = -1
PRETEND: Final = 0
REFUSE: Final = errno.EPERM
ABSENT: Final = errno.ENOSYS
UNKNOWN: Final = ABSENT
"""The decision about everything that is in no table."""

WHOLE_REGISTER: Final = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ByArgument:
    """A decision by one argument.

    Attributes:
        reason: Why, where it is not said elsewhere.
        argument: Its position, from 0 on.
        mask: The bits of it that are compared.
        cases: What is decided for a value of these bits.
        otherwise: The answer to all other values. One that is not UNKNOWN costs instructions.
    """

    reason: str = ""
    argument: int
    mask: int = WHOLE_REGISTER
    cases: Mapping[int, Decision]
    otherwise: int = UNKNOWN


Decision = int | ByArgument


def _each(decision: Decision, **values: int) -> dict[int, Decision]:
    """Decide the same about values, which are given with their names."""
    return dict.fromkeys(values.values(), decision)


BY_NAME: Final[Mapping[int, Mapping[str, str]]] = {
    ALLOW: {
        "files and folders: mounts, permissions and Landlock say which": """
            read write readv writev pread64 pwrite64 preadv pwritev open openat openat2 creat close close_range lseek
            stat fstat lstat newfstatat statx access faccessat faccessat2 getdents getdents64 getcwd chdir fchdir rename
            renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat readlink readlinkat
            chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat umask truncate ftruncate fallocate statfs
            fstatfs utime utimes utimensat futimesat sendfile copy_file_range getxattr lgetxattr fgetxattr listxattr
            llistxattr flistxattr""",
        "descriptors, and to wait for them: RLIMIT_NOFILE bounds their number": """
            dup dup2 dup3 pipe pipe2 select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait
            epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime
            timerfd_gettime""",
        "the process's own memory: the control group bounds it, RLIMIT_MEMLOCK what is locked": """
            brk mprotect munmap mremap mlock mlock2 munlock mlockall munlockall""",
        "processes, threads and signals: the pid namespace bounds whom they reach": """
            fork vfork execve execveat exit exit_group wait4 waitid getpid getppid gettid getpgid getpgrp setpgid getsid
            setsid set_tid_address set_robust_list rseq kill tkill tgkill pidfd_open pidfd_send_signal rt_sigaction
            rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigreturn rt_sigqueueinfo rt_tgsigqueueinfo
            sigaltstack restart_syscall pause""",
        "time: to read clocks, to sleep, and timers, whose number RLIMIT_SIGPENDING bounds": """
            clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times alarm getitimer setitimer
            timer_create timer_settime timer_gettime timer_getoverrun timer_delete""",
        "what a process may know of itself and the machine; its own limits": """
            getuid geteuid getgid getegid getresuid getresgid getgroups capget getrlimit setrlimit getrusage uname
            getcpu getrandom sched_yield sched_getaffinity sched_getscheduler sched_getparam sched_getattr
            sched_get_priority_max sched_get_priority_min sched_rr_get_interval getpriority""",
        "sockets, once there is one: BY_ARGUMENT lets only local ones be made": """
            bind connect listen accept accept4 getsockname getpeername getsockopt recvfrom recvmsg recvmmsg shutdown""",
    },
    PRETEND: {
        "to write through to the disk: the scratch folder has none, and other files' would make the host busy": """
            fsync fdatasync msync sync_file_range""",
        "advice about the page cache: it is common to all, who notice when pages are loaded or dropped": """
            fadvise64 readahead""",
        "locks: the kernel charges nobody for them, and on shared files others notice them; see also fcntl": "flock",
    },
    ABSENT: {
        "newer ways to do what is allowed in older ways; clone3 has its flags in a structure": """
            clone3 futex_waitv futex_wake futex_wait futex_requeue cachestat map_shadow_stack mseal statmount listmount
            lsm_get_self_attr lsm_set_self_attr lsm_list_modules setxattrat getxattrat listxattrat removexattrat
            open_tree_attr file_getattr file_setattr listns""",
        "asynchronous I/O: io_uring evades filters, the older kind counts against one limit of the whole host": """
            io_uring_setup io_uring_enter io_uring_register io_setup io_destroy io_submit io_cancel io_getevents
            io_pgetevents""",
        "memory past the limits of the scratch folder, or memory that lets a process halt the kernel": """
            memfd_create memfd_secret userfaultfd""",
        "to watch files: users share a limit, and who else opens a shared file can be seen": """
            inotify_init inotify_init1 inotify_add_watch inotify_rm_watch""",
        "objects of System V and POSIX that have no descriptors: no limit bounds them; /dev/shm does the same": """
            shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
            mq_timedsend mq_timedreceive mq_notify mq_getsetattr""",
        "to place memory on nodes, to interrupt other processors, to ask what is in the page cache": """
            mbind set_mempolicy set_mempolicy_home_node get_mempolicy membarrier mincore""",
        "rarely used, and code": "remap_file_pages pkey_alloc pkey_free pkey_mprotect",
        "to lock oneself in: programs do without, and nobody is charged for what the kernel remembers of it": """
            landlock_create_ruleset landlock_add_rule landlock_restrict_self""",
        "the inner side of an operator's probes, which the kernel lets through by itself since 6.14": """
            uretprobe uprobe""",
        "names that have nothing behind them": """
            _sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms get_thread_area getpmsg
            lookup_dcookie nfsservctl putpmsg query_module security set_thread_area tuxcall uselib vserver""",
    },
    errno.EINVAL: {
        "to move pages between pipes: many errors in the past; this answer makes programs copy": "splice tee vmsplice",
    },
    errno.EOPNOTSUPP: {
        "extended attributes and access lists, which are memory of the kernel; file systems without them say so": """
            setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr""",
    },
    REFUSE: {
        "namespaces and mounts": """
            unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick
            mount_setattr sethostname setdomainname""",
        "memory, descriptors and state of other processes": """
            ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd get_robust_list
            move_pages migrate_pages""",
        "identity and capabilities: a worker has the one that it should have, and none": """
            setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset""",
        "further filters: nobody is charged for them": "seccomp",
        "keys, which belong to a user and outlive processes": "keyctl add_key request_key",
        "programs within the kernel, and its counters": "bpf perf_event_open",
        "files by handle, past mounts and permissions; to watch whole mounts": """
            name_to_handle_at open_by_handle_at fanotify_init fanotify_mark""",
        "the state of the host: free memory and load, log, file systems": "sysinfo syslog sysfs ustat",
        "the disks of the host": "sync syncfs ioprio_set ioprio_get",
        "administration": """
            kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct quotactl
            quotactl_fd settimeofday clock_settime adjtimex clock_adjtime iopl ioperm modify_ldt vhangup""",
    },
}

_LOCAL_SOCKETS: Final = ByArgument(
    reason="of the local family (AF_UNIX) all types; others have no network to reach, and each family is code",
    argument=0,
    cases=_each(ALLOW, AF_UNIX=1),
    otherwise=errno.EAFNOSUPPORT,
)

_OWN_PROCESS: Final = ByArgument(
    reason="only about the process that asks, whom 0 means: others may be the slot, which serves the next request too",
    argument=0,
    cases=_each(ALLOW, self=0),
    otherwise=REFUSE,
)

_FILE_TYPES: Final = _each(ALLOW, none=0, S_IFIFO=0x1000, S_IFREG=0x8000, S_IFSOCK=0xC000)

BY_ARGUMENT: Final[Mapping[str, ByArgument]] = {
    "clone": ByArgument(
        reason="no namespaces, and with CLONE_PARENT no children that the slot would have to take for its own",
        argument=0,
        mask=0x7E02_0000 | 0x8000,  # CLONE_NEW*, CLONE_PARENT
        cases=_each(ALLOW, none=0),
        otherwise=REFUSE,
    ),
    "socket": _LOCAL_SOCKETS,
    "socketpair": _LOCAL_SOCKETS,
    "prlimit64": _OWN_PROCESS,
    "sched_setaffinity": _OWN_PROCESS,
    "sched_setscheduler": _OWN_PROCESS,
    "sched_setparam": _OWN_PROCESS,
    "sched_setattr": _OWN_PROCESS,
    "setpriority": ByArgument(
        reason="the same, and neither a group of processes nor a user",
        argument=0,
        cases=_each(ByArgument(argument=1, cases=_each(ALLOW, self=0), otherwise=REFUSE), PRIO_PROCESS=0),
        otherwise=REFUSE,
    ),
    "mmap": ByArgument(
        reason="not with MAP_HUGETLB: huge pages come from a store of the host that no limit of a worker bounds",
        argument=3,
        mask=0x4_0000,
        cases=_each(ALLOW, none=0),
        otherwise=errno.ENOMEM,
    ),
    "madvise": ByArgument(
        reason="""not MERGEABLE, whose timing shows what other processes hold; not COLD, PAGEOUT, COLLAPSE, which reach
            the pages of shared files""",
        argument=2,
        cases=_each(ALLOW, NORMAL=0, RANDOM=1, SEQUENTIAL=2, WILLNEED=3, DONTNEED=4, FREE=8, REMOVE=9, DONTFORK=10)
        | _each(ALLOW, DOFORK=11, HUGEPAGE=14, NOHUGEPAGE=15, DONTDUMP=16, DODUMP=17, WIPEONFORK=18, KEEPONFORK=19)
        | _each(ALLOW, POPULATE_READ=22, POPULATE_WRITE=23, DONTNEED_LOCKED=24, GUARD_INSTALL=102, GUARD_REMOVE=103),
        otherwise=errno.EINVAL,
    ),
    "futex": ByArgument(
        reason="not the operations that inherit priority: no worker needs them, and many an exploit has used them",
        argument=1,
        mask=0x7F,  # FUTEX_PRIVATE_FLAG and what is above it change nothing
        cases=_each(ALLOW, WAIT=0, WAKE=1, REQUEUE=3, CMP_REQUEUE=4, WAKE_OP=5, WAIT_BITSET=9, WAKE_BITSET=10),
    ),
    "preadv2": ByArgument(
        reason="not RWF_NOWAIT, which tells what is in the page cache; the C library turns the answer into ENOTSUP",
        argument=5,
        mask=WHOLE_REGISTER ^ 0x17,  # HIPRI, DSYNC, SYNC, APPEND
        cases=_each(ALLOW, none=0),
    ),
    "pwritev2": ByArgument(argument=5, mask=WHOLE_REGISTER ^ 0x17, cases=_each(ALLOW, none=0)),
    "fcntl": ByArgument(
        reason="""locks as for flock. Not to have signals sent, to hear of other users of a file (leases), or to enlarge
            pipes, which is refused as to those who have used up what they may have""",
        argument=1,
        cases=_each(ALLOW, F_DUPFD=0, F_GETFD=1, F_SETFD=2, F_GETFL=3, F_SETFL=4, F_GETLK=5, F_GETOWN=9, F_OFD_GETLK=36)
        | _each(ALLOW, F_DUPFD_CLOEXEC=1030, F_GETPIPE_SZ=1032, F_ADD_SEALS=1033, F_GET_SEALS=1034)
        | _each(PRETEND, F_SETLK=6, F_SETLKW=7, F_OFD_SETLK=37, F_OFD_SETLKW=38)
        | _each(REFUSE, F_SETOWN=8, F_SETSIG=10, F_SETOWN_EX=15, F_SETLEASE=1024, F_NOTIFY=1026, F_SETPIPE_SZ=1031),
        otherwise=errno.EINVAL,
    ),
    "ioctl": ByArgument(
        reason="""to ask what a descriptor is and holds, and to set its flags. Others get the answer of a file system
            that has no clones: `pathlib` then copies the data, while at ENOTTY it gives up""",
        argument=1,
        cases=_each(ALLOW, TCGETS=0x5401, TIOCGPGRP=0x540F, TIOCOUTQ=0x5411, TIOCGWINSZ=0x5413, FIONREAD=0x541B)
        | _each(ALLOW, FIONBIO=0x5421, TIOCGSID=0x5429, FIONCLEX=0x5450, FIOCLEX=0x5451, FIOASYNC=0x5452),
        otherwise=errno.EOPNOTSUPP,
    ),
    "sendto": ByArgument(
        reason="not MSG_OOB: programs do not use it with local sockets, but ways out of other sandboxes did",
        argument=3,
        mask=0x1,
        cases=_each(ALLOW, none=0),
        otherwise=errno.EOPNOTSUPP,
    ),
    "sendmsg": ByArgument(argument=2, mask=0x1, cases=_each(ALLOW, none=0), otherwise=errno.EOPNOTSUPP),
    "sendmmsg": ByArgument(argument=3, mask=0x1, cases=_each(ALLOW, none=0), otherwise=errno.EOPNOTSUPP),
    "setsockopt": ByArgument(
        reason="""not SO_ATTACH_FILTER and the like, which load programs, nor SO_TIMESTAMP, which makes the whole host
            take times. The level does not matter: local sockets know only SOL_SOCKET""",
        argument=2,
        cases=_each(ALLOW, REUSEADDR=2, BROADCAST=6, SNDBUF=7, RCVBUF=8, KEEPALIVE=9, LINGER=13, REUSEPORT=15)
        | _each(ALLOW, PASSCRED=16, RCVLOWAT=18, SNDLOWAT=19, RCVTIMEO=20, SNDTIMEO=21),
        otherwise=errno.ENOPROTOOPT,
    ),
    "prctl": ByArgument(
        reason="""what is harmless. Refused by name is what undoes the lock-down or weakens the machine; others get the
            answer of a kernel that does not know them""",
        argument=0,
        cases=_each(ALLOW, SET_PDEATHSIG=1, GET_PDEATHSIG=2, GET_DUMPABLE=3, SET_NAME=15, GET_NAME=16, GET_SECCOMP=21)
        | _each(ALLOW, CAPBSET_READ=23, GET_SECUREBITS=27, SET_TIMERSLACK=29, GET_TIMERSLACK=30, SVE_GET_VL=51)
        | _each(ALLOW, SET_CHILD_SUBREAPER=36, GET_CHILD_SUBREAPER=37, SET_NO_NEW_PRIVS=38, GET_NO_NEW_PRIVS=39)
        | _each(ALLOW, SET_THP_DISABLE=41, GET_THP_DISABLE=42)
        | _each(REFUSE, SET_DUMPABLE=4, SET_KEEPCAPS=8, SET_SECCOMP=22, CAPBSET_DROP=24, SET_SECUREBITS=28, SET_MM=35)
        | _each(REFUSE, CAP_AMBIENT=47, SET_SPECULATION_CTRL=53, SCHED_CORE=62),
        otherwise=errno.EINVAL,
    ),
    "arch_prctl": ByArgument(
        reason="registers of threads, and matrix instructions, which numeric libraries have to ask for",
        argument=0,
        cases=_each(ALLOW, SET_GS=0x1001, SET_FS=0x1002, GET_FS=0x1003, GET_GS=0x1004)
        | _each(ALLOW, GET_XCOMP_SUPP=0x1021, GET_XCOMP_PERM=0x1022, REQ_XCOMP_PERM=0x1023),
    ),
    "personality": ByArgument(
        reason="to ask, and the plain one; others undo the random layout of memory",
        argument=0,
        mask=0xFFFF_FFFF,  # all that the kernel looks at; C programs say -1 to ask
        cases=_each(ALLOW, PER_LINUX=0, query=0xFFFF_FFFF),
    ),
    "mknod": ByArgument(reason="no devices", argument=1, mask=0xF000, cases=_FILE_TYPES, otherwise=REFUSE),
    "mknodat": ByArgument(argument=2, mask=0xF000, cases=_FILE_TYPES, otherwise=REFUSE),
}


FOR_BUILDS: Final[Mapping[str, ByArgument]] = {
    "socket": ByArgument(
        reason="""TCP besides: a build reaches its index through a socket on the loopback of its own network, where
            nothing else listens""",
        argument=0,
        cases=_each(ALLOW, AF_UNIX=1)
        | _each(ByArgument(argument=1, mask=0xF, cases=_each(ALLOW, SOCK_STREAM=1), otherwise=REFUSE), AF_INET=2),
        otherwise=errno.EAFNOSUPPORT,
    ),
    "setsockopt": ByArgument(
        reason="as for workers, and what clients of HTTP set for TCP",
        argument=1,
        cases=_each(BY_ARGUMENT["setsockopt"], SOL_SOCKET=1)
        | _each(
            ByArgument(
                argument=2,
                cases=_each(ALLOW, NODELAY=1, KEEPIDLE=4, KEEPINTVL=5, KEEPCNT=6, USER_TIMEOUT=18),
                otherwise=errno.ENOPROTOOPT,
            ),
            IPPROTO_TCP=6,
        ),
        otherwise=errno.ENOPROTOOPT,
    ),
}
"""What is decided otherwise for builds of environments, which run compilers and installers (`worker.workshop`)."""

KINDS: Final[Mapping[str, Mapping[str, ByArgument]]] = {"worker": {}, "build": FOR_BUILDS}
"""Who gets a program, and what is different for them."""


def decisions(kind: str = "worker") -> dict[str, Decision]:
    """Return the decision about every system call that the tables name.

    Args:
        kind: One of KINDS.

    Raises:
        ValueError: One is named twice.
    """
    found: dict[str, Decision] = {}
    named: list[tuple[str, Decision]] = [
        (name, decision) for decision, group in BY_NAME.items() for text in group.values() for name in text.split()
    ]
    for name, decision in [*named, *BY_ARGUMENT.items()]:
        if name in found:
            raise ValueError(f"{name} is named twice")
        found[name] = decision
    return found | KINDS[kind]


def decide(decision: Decision, arguments: Sequence[int]) -> int:
    """Return what a decision comes to: ALLOW, PRETEND, or a number of errno.

    Args:
        decision: About a system call.
        arguments: Its six registers, each 0 to 2**64 - 1.
    """
    while isinstance(decision, ByArgument):
        decision = decision.cases.get(arguments[decision.argument] & decision.mask, decision.otherwise)
    return decision
