"""The corpus: every stream gives what its twin says, however it comes cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import pytest

from protocol.connection import Connection
from protocol.control import ControlMessage, decode_control
from protocol.errors import RemoteProtocolError
from protocol.messages import Message
from protocol.states import Role
from tests.corpus.regenerate import FOLDER, contents
from tests.protocol.support import message_from_json, receive_all, split

if TYPE_CHECKING:
    from pathlib import Path

STREAMS = sorted(FOLDER.glob("*/*.bin"))


def expand(value: object) -> object:
    """Put long texts and bytes back to their length."""
    if isinstance(value, dict):
        if value.keys() == {"repeat"}:
            piece, count = value["repeat"]
            return {"hex": piece["hex"] * count} if isinstance(piece, dict) else piece * count
        return {key: expand(item) for key, item in value.items()}
    return [expand(item) for item in value] if isinstance(value, list) else value


def read_message(shown: object) -> Message:
    """A message of a twin."""
    return cast("Message", message_from_json(cast("dict[str, object]", expand(shown))))


def check_error(twin: dict[str, str | None], error: str | None, path: Path) -> None:
    """Check that an error is the one that was expected, and that the file lies in the right folder."""
    assert (path.parent.name == "invalid") == (twin["error"] is not None)
    if twin["error"] is None:
        assert error is None
    else:
        assert error is not None
        assert twin["error"] in error


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_stream_gives_what_its_twin_says(path: Path) -> None:
    """Whole, and one byte at a time."""
    data, twin = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
    expected = [read_message(shown) for shown in twin["messages"]]
    if twin["kind"] == "control":
        try:
            messages: list[Message | ControlMessage] = [decode_control(data)]
            check_error(twin, None, path)
        except RemoteProtocolError as violation:
            messages = []
            check_error(twin, str(violation), path)
        assert messages == expected
        return
    replies = [(after, read_message(shown)) for after, shown in twin["replies"]]
    for size in (max(len(data), 1), 1):
        connection = Connection(Role(twin["receiver"]))
        received, error = receive_all(connection, split(data, size), replies)
        assert received == expected
        check_error(twin, error, path)
        assert connection.at_eof == (error is None)


def test_the_files_are_those_of_the_script() -> None:
    """Nothing is missing, left over, or edited by hand: run `python -m tests.corpus.regenerate`."""
    found = {
        path.relative_to(FOLDER): path.read_bytes() for kind in ("bin", "json") for path in FOLDER.glob(f"*/*.{kind}")
    }
    assert found == contents()
