"""The layers of isolation around a worker: their names, in the order in which they are applied.

A name means the same in the configuration, in what a worker reports of itself, and in what `executor doctor` shows.
Structural layers carry the tree of processes itself: without them there is no worker, so they cannot be switched
off. What is required by default is all that the protection of other tenants depends on; the rest is used where the
host has it.

Source: namespaces(7), cgroups(7), capabilities(7), landlock(7), seccomp(2), setrlimit(2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT_REQUIRED", "LAYERS", "LAYER_NAMES", "STRUCTURAL", "Layer"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    Attributes:
        name: Of the layer, everywhere.
        meaning: What it does to a worker, in one line.
        structural: Whether there are no workers without it.
        required: Whether the service refuses to start without it, unless configured otherwise.
        protects: What an endpoint could reach if this layer alone were missing.
    """

    name: str
    meaning: str
    structural: bool
    required: bool
    protects: str


LAYERS: Final[tuple[Layer, ...]] = (
    Layer(
        name="user_namespace",
        meaning="the worker's users and capabilities mean nothing outside of it",
        structural=True,
        required=True,
        protects="the privileges of the executor's own user on the host",
    ),
    Layer(
        name="pid_namespace",
        meaning="the worker sees no processes but its own, and all of them end with it",
        structural=True,
        required=True,
        protects="the processes of others; the host from daemons that stay",
    ),
    Layer(
        name="network_namespace",
        meaning="the worker has no network but a loopback that is down",
        structural=False,
        required=True,
        protects="the networks of the host, its loopback, and abstract sockets",
    ),
    Layer(
        name="uts_namespace",
        meaning="the worker has a host name of its own",
        structural=False,
        required=True,
        protects="the host's name",
    ),
    Layer(
        name="cgroup_namespace",
        meaning="the worker sees its control group as the root of all",
        structural=False,
        required=False,
        protects="the names of other control groups",
    ),
    Layer(
        name="control_groups",
        meaning="the kernel counts memory, processes and CPU over all that the worker starts",
        structural=False,
        required=False,
        protects="the host's memory, process table and CPUs; without it they are watched instead",
    ),
    Layer(
        name="mount_namespace",
        meaning="the worker sees the interpreter, its plugin and a private folder, and nothing else of the file system",
        structural=True,
        required=True,
        protects="the files of the host, of the executor and of other plugins",
    ),
    Layer(
        name="ipc_namespace",
        meaning="the worker has System V IPC and message queues of its own",
        structural=False,
        required=True,
        protects="shared memory, semaphores and queues of others, and those of the next invocation",
    ),
    Layer(
        name="resource_limits",
        meaning="the kernel bounds descriptors, file sizes and core dumps of each process",
        structural=False,
        required=True,
        protects="the host's tables of files, and its disks from core dumps",
    ),
    Layer(
        name="unprivileged_user",
        meaning="the worker runs as a user without rights, inside its namespace and outside",
        structural=False,
        required=True,
        protects="files and processes of the executor's user; as root, those of concurrent workers",
    ),
    Layer(
        name="capabilities",
        meaning="the worker holds no capability, and can get none",
        structural=False,
        required=True,
        protects="what a namespace lets its root do: mounts, network devices, other users' files",
    ),
    Layer(
        name="no_new_privileges",
        meaning="no program that the worker executes gains rights",
        structural=False,
        required=True,
        protects="the rights that programs with a set-user-id bit or file capabilities give",
    ),
    Layer(
        name="landlock",
        meaning="the kernel checks the worker's access to files, signals and sockets a second time",
        structural=False,
        required=False,
        protects="what a mistake in the view of the file system would give away",
    ),
    Layer(
        name="seccomp",
        meaning="the worker can make only the system calls that an endpoint needs",
        structural=False,
        required=True,
        protects="the kernel's less travelled parts: new namespaces, io_uring, keyrings, bpf, 32-bit calls, sockets",
    ),
)
"""All layers, in the order in which they are applied."""

LAYER_NAMES: Final[tuple[str, ...]] = tuple(layer.name for layer in LAYERS)
"""Their names, in the same order."""

DEFAULT_REQUIRED: Final[tuple[str, ...]] = tuple(layer.name for layer in LAYERS if layer.required)
"""The layers without which the service does not start, unless configured otherwise."""

STRUCTURAL: Final[tuple[str, ...]] = tuple(layer.name for layer in LAYERS if layer.structural)
"""The layers that cannot be switched off."""
