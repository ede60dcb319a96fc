"""Asking the admin listener of a running executor, from another process."""

from __future__ import annotations

import functools
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from executor.config.instance import find_instances
from executor.errors import ExecutorError

__all__ = ["AskError", "ask", "find_admin_url"]

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024**2


class AskError(ExecutorError):
    """There is no executor to ask, or it gave no answer."""

    code = "admin.ask"


def find_admin_url(url: str | None, state_dir: Path) -> str:
    """Find the admin listener.

    Args:
        url: What the user says; anything else is only looked at when this is `None`.
        state_dir: Where running executors announce themselves.

    Raises:
        AskError: None runs, or several do.
    """
    if url is not None:
        if not _is_web_url(url):
            raise AskError(f"not a URL of an admin listener: {url!r}; it looks like http://127.0.0.1:8081")
        return url.rstrip("/")
    instances = find_instances(state_dir)
    if not instances:
        raise AskError(
            f"no running executor found in {state_dir}; start one with `executor serve`, or give --url or --state-dir"
        )
    if len(instances) > 1:
        listed = "\n".join(
            f"  --url {instance.admin}   pid {instance.pid}, {instance.public}" for instance in instances
        )
        raise AskError(f"{len(instances)} running executors found in {state_dir}; choose one:\n{listed}")
    return instances[0].admin


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def ask(admin_url: str, path: str) -> Any:
    """Get one of the JSON documents of the admin listener.

    Raises:
        AskError: It cannot be reached, or answers something else.
    """
    url = f"{admin_url}{path}"
    try:
        with _make_opener().open(url, timeout=TIMEOUT_S) as response:  # http or https: `find_admin_url` has checked
            return json.loads(response.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            raise AskError(f"{url} answered {error.code} {error.reason}; is it an admin listener?") from error
    except (OSError, ValueError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise AskError(f"{url} gave no answer: {reason}") from error


@functools.cache
def _make_opener() -> urllib.request.OpenerDirector:
    """Do without the proxies of the environment, which cannot reach the loopback of this machine.

    It reads the certificates of the system, which takes too long for commands and services that never ask.
    """
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
