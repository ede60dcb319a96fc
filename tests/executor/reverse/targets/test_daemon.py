"""A Dify daemon that runs its plugins here: every kind of call, and what may go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from executor.config.reverse_targets import DaemonSettings
from executor.reverse.targets.daemon import DaemonTarget
from executor.reverse.targets.kinds import KINDS
from tests.executor.reverse.targets.support import REQUESTS, collect, failure_of, make_call, take
from tests.stand_ins.daemon import DaemonStandIn
from tests.stand_ins.dify import DifyStandIn
from tests.stand_ins.dify_answers import ANSWERS, STREAMS
from tests.stand_ins.server import serving


@asynccontextmanager
async def daemon(**settings: Any) -> AsyncIterator[tuple[DaemonTarget, DaemonStandIn]]:
    """A target, and the daemon that it asks, which knows `session-1`."""
    stand_in = DaemonStandIn("session-1")
    async with serving(stand_in) as url:
        target = DaemonTarget(DaemonSettings.model_validate({"url": url, **settings}))
        try:
            yield target, stand_in
        finally:
            await target.close()


def run(test: Callable[[DaemonTarget, DaemonStandIn], Awaitable[None]], **settings: Any) -> None:
    """Run a test against a daemon."""

    async def within() -> None:
        async with daemon(**settings) as (target, stand_in):
            await test(target, stand_in)

    asyncio.run(within())


@pytest.mark.parametrize("zips", [True, False])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"upload_file"}))
def test_each_kind_is_asked_and_answered(kind: str, zips: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """With the session in the header and the event, compressed or not."""

    async def test(target: DaemonTarget, stand_in: DaemonStandIn) -> None:
        stand_in.zips = zips
        answers = await collect(target, make_call(kind))
        (call,) = stand_in.calls
        path = KINDS[kind].path
        expected = ANSWERS[path](call["request"])
        if kind == "fetch_app":
            expected = expected["data"]
        assert answers == (expected if path in STREAMS else [expected])
        assert (call["type"], call["session_id"]) == (kind, "session-1")

    run(test)


def test_storage_is_the_daemons() -> None:
    """Values are hexadecimal digits, in text or bytes; a missing key is an error."""

    async def test(target: DaemonTarget, stand_in: DaemonStandIn) -> None:
        async def ask(**request: Any) -> Any:
            return (await collect(target, make_call("storage", request)))[0]

        assert await ask(opt="set", key="a", value=b"one".hex()) == {"data": "ok"}
        assert await ask(opt="set", key="b", value=b"two") == {"data": "ok"}
        assert stand_in.storage == {"a": b"one", "b": b"two"}
        assert await ask(opt="get", key="a") == {"data": b"one".hex()}
        assert await ask(opt="exist", key="a") == {"data": True, "exist_num": 1}
        assert await ask(opt="del", key="a") == {"data": "ok", "deleted_num": 1}
        message = (await failure_of(target, make_call("storage", {"opt": "get", "key": "a"}))).message
        assert message == "load data failed, please check if the key is correct or you have not set it"

    run(test)


def test_a_file_is_uploaded_to_a_place_that_is_named() -> None:
    """The daemon gives the URL; the file does not go through it."""

    async def test_with(files: DifyStandIn, url: str) -> None:
        place = f"{url}/files/upload/for-plugin?sign=signed&filename=cat.png&mimetype=image/png&user_id="
        async with daemon(files_url=[url]) as (target, stand_in):
            stand_in.upload_url = place
            (file,) = await collect(target, make_call("upload_file"))
            assert (file["name"], file["size"]) == ("cat.png", 14)
            assert len(files.uploads) == 1
        async with daemon() as (target, stand_in):
            stand_in.upload_url = place
            message = (await failure_of(target, make_call("upload_file"))).message
            assert "files may be sent to nowhere: the operator has to name that place in `files_url`" in message
            assert len(files.uploads) == 1

    async def within() -> None:
        files = DifyStandIn()
        async with serving(files) as url:
            await test_with(files, url)

    asyncio.run(within())


def test_a_session_that_the_daemon_has_forgotten_is_told() -> None:
    """As the daemon says it; and one that cannot be is not asked for."""

    async def test(target: DaemonTarget, _: DaemonStandIn) -> None:
        message = (await failure_of(target, make_call("llm", session_id="gone"))).message
        assert "Dify's daemon answered 400: failed to get session info from cache: SessionNotFound" in message
        for wrong in ("", "a\r\nb", "ä", "x" * 257):
            message = (await failure_of(target, make_call("llm", session_id=wrong))).message
            assert message == "this invocation has no session of a Dify daemon"

    run(test)


def test_requests_that_are_too_large_for_the_daemon_are_not_sent() -> None:
    """It would take them for broken, and not answer."""

    async def test(target: DaemonTarget, stand_in: DaemonStandIn) -> None:
        large = {**REQUESTS["moderation"], "text": "x" * (6 * 1024**2)}
        message = (await failure_of(target, make_call("moderation", large))).message
        assert message.endswith("more than the 6291456 that Dify's daemon takes")
        assert stand_in.calls == []

    run(test)


@pytest.mark.parametrize("zips", [True, False])
@pytest.mark.parametrize(
    ("fault", "text", "error_type"),
    [
        ("cut_head", "Dify's daemon broke the connection off: ", "InvokeConnectionError"),
        ("cut_line", "Dify's daemon broke the connection off: ", "InvokeConnectionError"),
        ("empty", "Dify's daemon broke its answer off: there is no end of it", "InvokeConnectionError"),
        ("encoded", "the content encoding 'zstd', which was not asked for", ""),
        ("endless", "Dify's daemon answered with more than the 2097152 bytes that `part_size` allows", ""),
        ("error", "read llm model failed: request failed: no more tokens", ""),
        ("garbage", "Dify's daemon broke its answer off", "InvokeConnectionError"),
        ("gzip_bomb", "Dify's daemon answered with more than the 2097152 bytes that `part_size` allows", ""),
        ("html", "Dify's daemon answered 502: <html>", "InvokeServerUnavailableError"),
        ("huge_line", "Dify's daemon answered with more than the 2097152 bytes that `part_size` allows", ""),
        ("no_end", "Dify's daemon broke its answer off: there is no end of it", "InvokeConnectionError"),
        ("not_json", "Dify's daemon answered with what is not JSON", "InvokeServerUnavailableError"),
        ("other_call", "Dify's daemon answered another call than ours", "InvokeServerUnavailableError"),
        ("other_event", "something else than an answer to a call", "InvokeServerUnavailableError"),
        ("redirect", "Dify's daemon answered 307, a redirect", "InvokeConnectionError"),
    ],
)
def test_whatever_the_daemon_does_is_an_error_with_its_cause(
    fault: str,
    text: str,
    error_type: str,
    zips: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """And with the id of the request; but in the daemon's own words where it has some."""

    async def test(target: DaemonTarget, stand_in: DaemonStandIn) -> None:
        stand_in.fault, stand_in.zips = fault, zips
        error = await failure_of(target, make_call("llm"))
        assert text in error.message
        assert error.error_type == error_type
        assert ("(request id " in error.message) == (fault != "error")
        assert "session-1" not in error.message

    run(test, part_size="2 MiB", answer_size="16 MiB")


def test_events_come_one_by_one_and_closing_ends_the_request() -> None:
    """Also compressed, and however they are cut."""

    async def test(target: DaemonTarget, stand_in: DaemonStandIn) -> None:
        stand_in.fault = "bytewise"
        assert len(await collect(target, make_call("llm"))) == 5
        stand_in.fault = "stalls"
        assert len(await take(target.call(make_call("llm")), 1)) == 1
        assert await asyncio.to_thread(stand_in.left.wait, 60)

    run(test)


def test_cancelling_a_call_ends_the_request() -> None:
    """While it waits for more."""

    async def test(target: DaemonTarget, stand_in: DaemonStandIn) -> None:
        stand_in.fault = "stalls"
        task = asyncio.ensure_future(collect(target, make_call("tool")))
        assert await asyncio.to_thread(stand_in.asked.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stand_in.left.wait, 60)

    run(test)
