"""Attacks on the network: an endpoint has none. The tests listen outside, for whoever gets through."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct

from attacks import any_of, attack, bare, off
from attacks.calls import read

NETWORK = ("network_namespace", "landlock", "seccomp")
INSIDE_ROOT = ("unprivileged_user", "capabilities", "seccomp")
TIME_S = 2.0


def _ask(address: object, path: str) -> str | None:
    with socket.create_connection(tuple(address), timeout=TIME_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return f"{connection.recv(64)!r}"


@attack("Calls another hook, past whatever protects the service from outside", proof=off(*NETWORK))
def public_listener(target):
    return _ask(target["public"], "/e/lab/status/200")


@attack("Asks the service's admin listener for metrics and workers", proof=off(*NETWORK))
def admin_listener(target):
    return _ask(target["admin"], "/workers")


def _route(address: str) -> str:
    """Connecting a socket of UDP sends nothing; it succeeds when there is a way to the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.connect((address, 9))
        return f"a way from {sender.getsockname()[0]}"


@attack("Reaches the metadata service of a cloud", proof=off("network_namespace", "seccomp"))
def metadata_service(_):
    return _route("169.254.169.254")


@attack("Reaches machines of the internet, and of the host's own network", proof=off("network_namespace", "seccomp"))
def outside(_):
    return any_of(_route, ("198.51.100.1", "203.0.113.1", "10.0.0.1", "172.17.0.1", "2001:db8::1"))


@attack("Asks a name server on the host's loopback", proof=off("network_namespace", "seccomp"))
def name_server(target):
    question = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + b"\x06secret\x07example\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(TIME_S)
        sender.sendto(question, ("127.0.0.1", target["udp"]))
        return f"answer: {sender.recv(512)!r}"


@attack("Waits for connections", proof=off("landlock", "seccomp"))
def listen(_):
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        return f"at {listener.getsockname()}"


@attack("Makes a socket of IPv6", proof=off("seccomp"))
def version_6(_):
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    return "made"


@attack("Makes a raw socket: sends what it likes in anybody's name", proof=off(*INSIDE_ROOT))
def raw_socket(_):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return "made"


@attack("Listens to all packets (CVE-2020-14386)", proof=off(*INSIDE_ROOT))
def packet_socket(_):
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    return "made"


@attack("Talks to the kernel by netlink: interfaces, routes, sockets of others", proof=off("seccomp"))
def netlink(_):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.settimeout(TIME_S)
        kernel.send(struct.pack("<IHHII16x", 32, 18, 0x301, 1, 0))
        return f"{len(kernel.recv(65536))} bytes about interfaces"


@attack("Reaches the hypervisor by a virtual socket", proof=off("seccomp"))
def virtual_socket(_):
    socket.socket(40, socket.SOCK_STREAM).close()
    return "made"


KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW, 10)


def _make(family: int, kind: int) -> str | None:
    try:
        socket.socket(family, kind, 0).close()
    except OSError:
        return None
    return f"{family}/{kind}"


@attack("Makes a socket of any other family: AF_ALG, AF_KEY, CAN, TIPC, XDP, SMC, ...", proof=off("seccomp"))
def other_families(_):
    made = (_make(family, kind) for family in range(48) if family != socket.AF_UNIX for kind in KINDS)
    return ", ".join(name for name in made if name)


@attack("Makes a pair of sockets of another family", proof=off("seccomp"))
def other_pairs(_):
    """Few families have pairs. Of the others the kernel makes two sockets first, and says then that they do not."""

    def make(family: int) -> str:
        try:
            pair = socket.socketpair(family, socket.SOCK_STREAM)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return "two sockets were made, but cannot be paired"
            raise
        for one in pair:
            one.close()
        return "made"

    return any_of(make, (2, 10, 30, 40, 43))


@attack("Talks to an abstract socket of the host", proof=off("network_namespace", "landlock"))
def abstract_socket(target):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIME_S)
        connection.connect("\0" + target["abstract"])
        return f"{connection.recv(64)!r}"


@attack("Is given a folder of the host by a friend there", proof=off("network_namespace", "landlock"))
def given_descriptor(target):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIME_S)
        connection.connect("\0" + target["abstract"])
        _, descriptors, _, _ = socket.recv_fds(connection, 64, 1)
    return f"{os.listdir(descriptors[0])}"


@attack("Talks to a socket of the host by its path", proof=bare())
def path_socket(target):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIME_S)
        connection.connect(target["socket"])
        return f"{connection.recv(64)!r}"


@attack("Talks to whoever listens below /run: D-Bus, Docker, containerd, systemd", proof=bare())
def well_known_sockets(target):
    def look(folder: str) -> str | None:
        found = [
            os.path.join(root, name)
            for root, _, names in os.walk(folder)
            for name in names
            if os.path.exists(os.path.join(root, name)) and os.stat(os.path.join(root, name)).st_mode >> 12 == 12
        ]
        return f"{found[:5]}" if found else None

    return any_of(look, ("/run", "/var/run", target["lures"]))


@attack("Puts a socket where others on the host find it", proof=bare())
def bind_for_others(target):
    path = f"{target['lures']}/bound-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
    os.unlink(path)
    return path


@attack("Says by a socket that it is process 1", proof=off(*INSIDE_ROOT))
def forge_credentials(_):
    left, right = socket.socketpair()
    with left, right:
        right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        left.sendmsg([b"x"], [(socket.SOL_SOCKET, 2, struct.pack("<3i", 1, os.getuid(), os.getgid()))])
        _, ancillary, _, _ = right.recvmsg(16, socket.CMSG_SPACE(12))
        return f"{struct.unpack('<3i', ancillary[0][2])} was believed"


@attack("Sees interfaces of the host", proof=off("network_namespace"))
def interfaces(_):
    with open("/proc/self/net/dev") as file:
        names = {line.partition(":")[0].strip() for line in file if ":" in line} - {"lo"}
    return f"{names}" if names else None


def _flags_of_loopback(asker: socket.socket) -> int:
    request = array.array("B", struct.pack("16s24x", b"lo"))
    fcntl.ioctl(asker, 0x8913, request, True)  # SIOCGIFFLAGS
    return struct.unpack_from("<H", request, 16)[0]


@attack("Finds a loopback that is up", proof=off("network_namespace", "seccomp"))
def loopback_up(_):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        return "lo is up" if _flags_of_loopback(asker) & 1 else None


@attack("Brings the loopback up, for itself and for the next", proof=off(*INSIDE_ROOT))
def raise_loopback(_):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        fcntl.ioctl(asker, 0x8914, struct.pack("16sH22x", b"lo", 0x49))  # SIOCSIFFLAGS
        return "lo is up" if _flags_of_loopback(asker) & 1 else None


@attack("Lists the sockets of the host", proof=off("network_namespace"))
def list_sockets(target):
    port = f":{target['public'][1]:04X}"
    with open("/proc/self/net/tcp") as tcp, open("/proc/self/net/unix") as unix:
        found = [line for line in tcp if port in line] + [line for line in unix if target["abstract"] in line]
    return f"{found[0]!r}" if found else None


@attack("Lists the network's files of the host by other ways", proof=bare())
def network_files(_):
    paths = ("/proc/net/tcp", "/proc/1/net/tcp", "/sys/class/net/lo/address", "/etc/resolv.conf")
    return any_of(read, paths)
