"""After the answer: what the endpoint has started may go on for a while (`worker.after_response`).

Threads are waited for, daemon threads among them. Where there is gevent's loop, what runs in it is waited for: threads
that are greenlets in truth, and greenlets that were spawned. What can never go on is not, such as a greenlet that reads
from a queue to which nobody writes.
"""

from __future__ import annotations

import logging
import threading
from threading import current_thread
from time import monotonic, sleep

from worker.channel import Cancelled, NotTheWorkerError
from worker.greenlets import is_loop_of_threads, wait_for_greenlets

__all__ = ["let_finish"]

FOREIGN_PAUSE_S = 0.05
"""Between two looks at a thread that `threading` has not started, and so cannot wait for."""

log = logging.getLogger("worker")


def let_finish(seconds: float) -> bool:
    """Wait for everything that the endpoint has started in this process.

    Args:
        seconds: Longest wait.

    Returns:
        Whether nothing is left.
    """
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        try:
            if wait_for_greenlets(left) and (is_loop_of_threads() or _wait_for_threads(deadline)):
                return True
        except (Cancelled, NotTheWorkerError):
            raise
        except BaseException:  # what a greenlet raises may end all of them: SystemExit, for instance
            log.exception("what went on after the answer raised")
    return False


def _wait_for_threads(deadline: float) -> bool:
    """Wait for all other threads; whether none is left."""
    while others := [thread for thread in threading.enumerate() if thread is not current_thread()]:
        left = deadline - monotonic()
        if left <= 0:
            return False
        if isinstance(others[0], threading._DummyThread):  # noqa: SLF001 - one that C code or `_thread` has started
            sleep(min(left, FOREIGN_PAUSE_S))
        else:
            others[0].join(left)
    return True
