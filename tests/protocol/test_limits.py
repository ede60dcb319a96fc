"""Limits: they fit each other, and every frame limit holds the largest legal message of its type."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

import pytest

from protocol import limits
from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.codec import FRAME_LIMITS, TYPES, decode_message, encode_message
from protocol.frames import HEADER_SIZE
from protocol.messages import (
    Body,
    BodyEnd,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Invoke,
    Log,
    Message,
    Ready,
    Response,
)
from protocol.states import Role

FLOAT = 1.5
HEADERS = ((b"a", b"b" * (limits.MAX_HEADER_BYTES // limits.MAX_HEADERS - 1)),) * limits.MAX_HEADERS
WIDE = [[None]] * (limits.MAX_NODES // 2 - 100)


def text(size: int) -> str:
    """A text of a size."""
    return "t" * size


LARGEST: dict[Role, list[Message]] = {
    Role.SUPERVISOR: [
        Invoke(
            invocation_id=text(limits.MAX_WORD),
            source=text(limits.MAX_PATH),
            method=text(limits.MAX_WORD),
            scheme=text(limits.MAX_WORD),
            server_name=text(limits.MAX_NAME),
            server_port=65535,
            root_path=text(limits.MAX_URL_PART),
            path=text(limits.MAX_URL_PART),
            query=bytes(limits.MAX_URL_PART),
            http_version=text(limits.MAX_WORD),
            headers=HEADERS,
            remote_addr=text(limits.MAX_NAME),
            values=((text(limits.MAX_NAME), "str", text(1024)),) * limits.MAX_PATH_VALUES,
            settings={"wide": WIDE, "long": text(limits.MAX_SETTINGS_BYTES - 2 * len(WIDE) - 50)},
            hook_id=text(limits.MAX_NAME),
            content_length=limits.MAX_ID,
            has_body=True,
            debug=True,
            after_response_s=86_400.0,
        ),
        Body(bytes(limits.MAX_DATA)),
        BodyEnd(),
        Credit(limits.MAX_CREDIT),
        CallResult(limits.MAX_ID, "response", bytes(limits.MAX_DATA), more=True),
        Cancel(text(limits.MAX_NAME)),
        CallCredit(limits.MAX_ID, limits.MAX_CALL_BYTES),
    ],
    Role.WORKER: [
        Ready(),
        Response(599, HEADERS),
        Chunk(bytes(limits.MAX_DATA)),
        End(),
        Error("not_found", text(limits.MAX_ERROR_TEXT), text(limits.MAX_ERROR_TEXT)),
        Log(FLOAT, "critical", text(limits.MAX_LOGGER_NAME), text(limits.MAX_LOG_MESSAGE)),
        Call(limits.MAX_ID, text(limits.MAX_WORD), limits.MAX_CALL_BYTES, bytes(limits.MAX_DATA)),
        Credit(limits.MAX_CREDIT),
        CallData(limits.MAX_ID, bytes(limits.MAX_DATA)),
        CallCredit(limits.MAX_ID, limits.MAX_CALL_BYTES),
        CallCancel(limits.MAX_ID),
    ],
}


@pytest.mark.parametrize(
    ("role", "code", "message"),
    [
        pytest.param(role, code, message, id=f"{role.value}-{type(message).__name__}")
        for role, messages in LARGEST.items()
        for code, message in zip(TYPES[role], messages, strict=True)
    ],
)
def test_the_largest_message_fits_its_frame(role: Role, code: int, message: Message) -> None:
    """Whatever a message may hold can be sent, and received."""
    assert type(message) is TYPES[role][code].message
    frame = encode_message(role, message)
    assert frame[4] == code
    assert len(frame) - HEADER_SIZE <= FRAME_LIMITS[role][code]
    assert decode_message(role, code, frame[HEADER_SIZE:]) == message


def test_the_limits_fit_each_other() -> None:
    """A full frame of data fits the credit; the largest frame fits the buffer; the initial credit is legal."""
    assert limits.MAX_DATA <= limits.INITIAL_CREDIT <= limits.MAX_CREDIT
    assert max(max(by_type.values()) for by_type in FRAME_LIMITS.values()) == limits.MAX_FRAME
    assert limits.MAX_FRAME + limits.MAX_DATA < limits.MAX_RECEIVE_BUFFER
    assert limits.MAX_NODES < limits.MAX_PAYLOAD_NODES
    assert limits.MAX_DATA <= limits.INITIAL_CALL_CREDIT <= limits.MAX_CALL_BYTES
    assert limits.MAX_ERROR_TEXT <= limits.MAX_DATA


def test_every_limit_is_final_and_explained() -> None:
    """Each constant is Final and followed by a docstring with a unit or a reason."""
    path = Path(limits.__file__)
    body = ast.parse(path.read_text()).body
    seen = []
    for statement, following in pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert ast.unparse(statement.annotation) == "Final"
            if not statement.target.id.startswith("_"):
                seen.append(statement.target.id)
                assert isinstance(following, ast.Expr)
                assert isinstance(following.value, ast.Constant)
                assert str(following.value.value).endswith(".")
    assert sorted(seen) == sorted(limits.__all__)
