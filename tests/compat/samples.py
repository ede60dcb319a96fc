"""The plugins that are compared, read from samples.yaml."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["Request", "Sample", "read_samples"]

SAMPLES: Final = Path(__file__).parent / "samples.yaml"


@dataclass(frozen=True)
class Request:
    """One request, the same for both sides.

    Attributes:
        method: As it is sent.
        path: Below the hook, with the query.
        headers: Besides those of any request.
        body: May be empty.
        first: Whether only the first piece of the answer is taken.
        own: Whether the answer depends on a network that workers do not have.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    first: bool
    own: bool

    @property
    def title(self) -> str:
        """A name for people."""
        return f"{self.method} {self.path.partition('?')[0]}"


@dataclass(frozen=True)
class Sample:
    """One plugin.

    Attributes:
        name: For people.
        repository: `owner/name`, as on GitHub.
        commit: Its full hash.
        folder: Where in the repository; empty for its root.
        settings: Of the hook.
        requests: What it is asked, in this order.
    """

    name: str
    repository: str
    commit: str
    folder: str
    settings: dict[str, Any]
    requests: tuple[Request, ...]


def read_samples(path: Path = SAMPLES) -> tuple[Sample, ...]:
    """Read all samples."""
    return tuple(
        Sample(
            name=entry["name"],
            repository=entry["repository"],
            commit=entry["commit"],
            folder=entry.get("folder", ""),
            settings=entry["settings"],
            requests=tuple(map(_read_request, entry["requests"])),
        )
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    )


def _read_request(entry: dict[str, Any]) -> Request:
    headers = {"User-Agent": "compat", "Accept": "*/*", **entry.get("headers", {})}
    body = entry.get("body", "").encode()
    if "json" in entry:
        body = json.dumps(entry["json"]).encode()
        headers.setdefault("Content-Type", "application/json")
    if "sign" in entry:
        digest = hmac.new(entry["sign"]["key"].encode(), body, hashlib.sha256).digest()
        headers[entry["sign"]["header"]] = base64.b64encode(digest).decode()
    return Request(
        method=entry["method"],
        path=entry["path"],
        headers=headers,
        body=body,
        first=entry.get("first", False),
        own=entry.get("own", False),
    )
