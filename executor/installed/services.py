"""Telling the running services of a state folder that the store has changed, and hearing what came of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from executor.config.instance import Instance, find_instances

__all__ = ["Told", "tell_services"]

TIMEOUT_S: Final = 600.0
"""A service tries new versions with a worker before it serves them, and may have to start zygotes for that."""

MAX_ANSWER_BYTES: Final = 16 * 1024**2

_opener: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Without the proxies of the environment, which cannot reach the loopback of this machine."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one service answered.

    Attributes:
        instance: The service.
        failed: Why hooks are not served as the store says, by id.
        problem: Why it could not read the store, or did not answer; empty when all went well.
        folders: Folders of plugins that it serves requests from.
    """

    instance: Instance
    failed: Mapping[str, str]
    problem: str
    folders: tuple[str, ...] = ()


def tell_services(state_dir: Path) -> tuple[Told, ...]:
    """Tell all of them, one after another; each answers when what the store says is in force there."""
    return tuple(_tell(instance) for instance in find_instances(state_dir))


def _tell(instance: Instance) -> Told:
    request = urllib.request.Request(f"{instance.admin}/refresh", data=b"", method="POST")  # noqa: S310 - from our own file
    try:
        with _opener.open(request, timeout=TIMEOUT_S) as answer:
            content = json.loads(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        return Told(instance, {}, f"it answered {error.code} {error.reason}")
    except (OSError, HTTPException, ValueError) as error:
        return Told(instance, {}, f"it did not answer: {error}")
    return _read(instance, content)


def _read(instance: Instance, content: Any) -> Told:
    if not isinstance(content, dict):
        return Told(instance, {}, "its answer is not that of an executor")
    failed, problem = content.get("failed"), content.get("problem")
    if not isinstance(failed, dict) or not isinstance(problem, str):
        return Told(instance, {}, "its answer is not that of an executor")
    reasons = {str(hook_id): str(text) for hook_id, text in failed.items()}
    return Told(instance, reasons, problem, tuple(map(str, content.get("folders") or ())))
