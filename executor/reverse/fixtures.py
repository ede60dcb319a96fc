"""The target `fixtures`: calls answered from a file, for those who write plugins and have no Dify at hand."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final, final

from executor.reverse.call import CallFailedError, ReverseCall
from executor.reverse.fixture_shapes import shape_text
from executor.reverse.fixtures_file import Fixture

__all__ = ["FixturesTarget", "fill", "fits"]

PLACEHOLDER: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]{0,127})\}")
TELLING: Final = ("app_id", "provider", "model", "tool", "response_mode")
"""Fields that a message about a call shows, when they are texts."""

MOST_SHOWN: Final = 80


@final
class FixturesTarget:
    """Answers calls from fixtures.

    Args:
        fixtures: Tried in order.
        name: Of the file, for messages.
    """

    def __init__(self, fixtures: Sequence[Fixture], name: str) -> None:
        self._fixtures = fixtures
        self._name = name

    async def close(self) -> None:
        """There is nothing to close."""

    async def call(self, call: ReverseCall) -> AsyncIterator[object]:
        """Answer one call."""
        fixture = next(
            (item for item in self._fixtures if item.call == call.kind and fits(item.when, call.request)), None
        )
        if fixture is None:
            if call.kind != "upload_file":
                raise CallFailedError(f"{call.kind}: no fixture in {self._name} fits {_describe(call.request)}")
            yield _describe_upload(call.request)
            return
        for item in _items(fixture, call):
            if fixture.delay:
                await asyncio.sleep(fixture.delay)
            yield item
        if fixture.error is not None:
            raise CallFailedError(str(fill(fixture.error, call.request)))


def fits(wanted: object, found: object) -> bool:
    """Tell whether a value is what a fixture wants: maps may have more, texts may be patterns."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and fits(value, found[name]) for name, value in wanted.items()
        )
    if isinstance(wanted, str) and isinstance(found, str):
        return fnmatchcase(found, wanted)
    return type(wanted) is type(found) and wanted == found


def fill(value: object, request: Mapping[str, object]) -> object:
    """Put fields of the request in the place of `${name}`, in texts at any depth; `${a.b}` is within a map."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: _look_up(match[1], request), value)
    if isinstance(value, Mapping):
        return {key: fill(item, request) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, request) for item in value]
    return value


def _look_up(path: str, request: object) -> str:
    for name in path.split("."):
        request = request.get(name) if isinstance(request, Mapping) else None
    if isinstance(request, str) or request is None:
        return request or ""
    return json.dumps(request, ensure_ascii=False, default=lambda value: f"{len(value)} bytes")


def _items(fixture: Fixture, call: ReverseCall) -> Iterable[object]:
    if fixture.text is not None:
        return shape_text(call, str(fill(fixture.text, call.request)))
    items = fixture.stream or (() if fixture.answer is None else (fixture.answer,))
    return (fill(item, call.request) for item in items)


def _describe(request: Mapping[str, object]) -> str:
    shown = [f"{name}={value[:MOST_SHOWN]!r}" for name in TELLING if isinstance(value := request.get(name), str)]
    return f"a request with {', '.join(shown)}" if shown else "this request"


def _describe_upload(request: Mapping[str, object]) -> dict[str, object]:
    """Describe a file as Dify does, where no fixture does."""
    content, name = request["content"], str(request["filename"])
    data = content if isinstance(content, bytes) else b""
    return {
        "id": hashlib.sha256(data).hexdigest()[:32],
        "name": name,
        "size": len(data),
        "extension": PurePosixPath(name).suffix.removeprefix("."),
        "mime_type": request["mimetype"],
        "preview_url": None,
    }
