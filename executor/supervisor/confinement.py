"""What bounds the zygote of an environment, since it imports what a plugin has chosen, and those of its plugins.

It has no rights, no network and no files but its view, by what `worker.zygote` does. From here it gets a control group,
where the host has any, and a pipe for its output.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Final

from executor.isolation.control_groups import ControlGroup
from executor.isolation.host import HostIsolation
from executor.supervisor.control import close_all
from executor.supervisor.slots import remove_group
from executor.supervisor.zygote_output import ZygoteOutput

__all__ = ["Confinement"]

MEMORY_BYTES: Final = 1024**3
PROCESSES: Final = 256
CPUS: Final = 1.0
"""What it may use; slots have groups of their own. It needs 50 to 80 MB with the SDK."""

_numbers = itertools.count()


class Confinement:
    """The means of one zygote.

    Args:
        owner: Whose zygote it is, `plugin` or `environment`, as records have it.
        host: What workers are isolated with.
        loop: The supervisor's event loop.
        flooded: Called when it writes far too much.

    Raises:
        OSError: The kernel refused, or no descriptors are left. Then nothing of it is left.
    """

    def __init__(
        self,
        owner: Mapping[str, str],
        host: HostIsolation,
        loop: asyncio.AbstractEventLoop,
        flooded: Callable[[], None],
    ) -> None:
        self._group: ControlGroup | None = host.create_group(f"zygote-{next(_numbers)}")
        self._output: ZygoteOutput | None = None
        groups: list[int] = []
        try:
            if self._group is not None:
                self._group.apply(memory_bytes=MEMORY_BYTES, processes=PROCESSES, cpu_share=CPUS)
                groups = self._group.open_procs()
            self._output = ZygoteOutput(owner, loop, flooded)
        except OSError:
            close_all(groups)
            if self._group is not None:
                self._group.remove()
            raise
        self._descriptors = [self._output.write_fd, *groups]

    def take_descriptors(self) -> list[int]:
        """Hand over what goes along with FORK_ZYGOTE: the pipe's end, then files to join the group. Once."""
        taken, self._descriptors = self._descriptors, []
        return taken

    async def end(self) -> None:
        """Let go of everything, when the zygote has ended, or was never forked."""
        if self._output is not None:
            self._output.close()
        if self._group is not None:
            await remove_group(self._group)
