"""What servers of others do wrong: ways to answer a request that no client should be hurt by."""

from __future__ import annotations

import gzip
from typing import Final

from tests.stand_ins.server import CutError, Exchange

__all__ = ["FAULTS", "answer_wrongly"]

MEBIBYTE: Final = 1 << 20
HTML: Final = b"<html><h1>502 Bad Gateway</h1></html>"

ANSWERS: Final[dict[str, tuple[int, bytes, dict[str, str]]]] = {
    "empty": (200, b"", {}),
    "encoded": (200, b"\x28\xb5\x2f\xfd", {"content-encoding": "zstd"}),
    "garbage": (200, b"\xff\xfe no, nothing of the kind", {}),
    "html": (502, HTML, {"content-type": "text/html"}),
    "long_header": (200, b"{}", {"x-long": "x" * MEBIBYTE}),
    "redirect": (307, b"", {"location": "http://127.0.0.1:1/elsewhere"}),
    "unavailable": (503, b'{"message": "try again later", "code": "overloaded"}', {"x-request-id": "theirs-7"}),
}
FAULTS: Final = (*ANSWERS, "cut_head", "endless", "gzip_bomb", "silent")


async def answer_wrongly(exchange: Exchange, fault: str) -> None:
    """Answer a request as `fault` says; it returns when the client has gone, or has its answer."""
    match fault:
        case "cut_head":
            raise CutError
        case "endless":
            await exchange.start(200, {})
            for _ in range(512):  # far more than anybody should take
                await exchange.send(b" " * MEBIBYTE)
            await exchange.end()
        case "gzip_bomb":
            await exchange.answer(200, gzip.compress(b" " * (256 * MEBIBYTE), 1), {"content-encoding": "gzip"})
        case "silent":
            await exchange.wait_for_disconnect()
        case _:
            await exchange.answer(*ANSWERS[fault])
