"""Waiting for changes of a plugin's folder, and of files elsewhere that it depends on."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

from executor.catalog.digest import SKIPPED

__all__ = ["watch_changes"]

QUIET_MS: Final = 60
"""Silence after which a burst of changes is complete: editors write, rename and set times one after another."""

LONGEST_MS: Final = 800
"""Longest wait for that silence."""

RETRY_S: Final = 0.5
"""Between two looks for a folder that is gone."""

IGNORED_FOLDERS: Final = SKIPPED | {".pytest_cache", ".hypothesis", ".tox", ".idea", ".vscode", ".hg", ".svn"}
IGNORED_FILES: Final = re.compile(r".*(\.py[cod]|\.sw.|~|\.tmp|\.___jb_...___)|\.#.*|4913|\.DS_Store|flycheck_.*")
"""What editors leave for a moment, or for themselves."""

OnChange = Callable[[tuple[str, ...]], None]
OnTrouble = Callable[[str], None]


async def watch_changes(folder: Path, files: Iterable[Path], on_change: OnChange, on_trouble: OnTrouble) -> None:
    """Watch, for ever.

    Args:
        folder: Watched with everything in it.
        files: Further files, which need not be there.
        on_change: Told the names of what has changed, burst by burst.
        on_trouble: Told when changes cannot be watched as usual.
    """
    root, others = _sort_out(folder, files)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_watch_folder(root, on_change, on_trouble))
        for parent in {file.parent for file in others}:
            names = {file.name for file in others if file.parent == parent}
            tasks.create_task(_watch_files(parent, names, on_change))


async def _watch_folder(root: Path, on_change: OnChange, on_trouble: OnTrouble) -> None:
    """Watch a folder, also after it was gone; look again and again where the system does not tell."""

    def wanted(_: Change, path: str) -> bool:
        parts = path.removeprefix(f"{root}/").split("/")
        return not IGNORED_FOLDERS.intersection(parts) and not IGNORED_FILES.fullmatch(parts[-1])

    polling: bool | None = None
    while True:
        try:
            async for changes in awatch(
                root, watch_filter=wanted, step=QUIET_MS, debounce=LONGEST_MS, force_polling=polling
            ):
                on_change(tuple(sorted({path.removeprefix(f"{root}/") for _, path in changes})))
                if not _is_folder(root):
                    break
        except FileNotFoundError:
            pass
        except OSError as error:
            on_trouble(f"{root} cannot be watched ({error}); it is looked at again and again instead")
            polling = True
        while not _is_folder(root):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(RETRY_S)
        on_change((root.name,))


async def _watch_files(parent: Path, names: set[str], on_change: OnChange) -> None:
    """Watch files by the folder that they are in, for many programs replace files rather than write to them."""

    def wanted(_: Change, path: str) -> bool:
        return Path(path).name in names

    with contextlib.suppress(FileNotFoundError):
        async for changes in awatch(parent, watch_filter=wanted, step=QUIET_MS, debounce=LONGEST_MS, recursive=False):
            on_change(tuple(sorted({Path(path).name for _, path in changes})))


def _sort_out(folder: Path, files: Iterable[Path]) -> tuple[Path, set[Path]]:
    """Follow links; leave out the files that are in the folder."""
    root = folder.resolve()
    return root, {path for file in files if not (path := file.resolve()).is_relative_to(root)}


def _is_folder(path: Path) -> bool:
    return path.is_dir()
