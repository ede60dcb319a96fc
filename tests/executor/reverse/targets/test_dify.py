"""Dify's inner API: every kind of call, and what may go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from executor.config.reverse_targets import DifySettings
from executor.reverse.targets.dify import DifyTarget
from executor.reverse.targets.kinds import KINDS
from tests.executor.reverse.targets.support import REQUESTS, collect, failure_of, make_call, take
from tests.stand_ins.dify import DifyStandIn
from tests.stand_ins.dify_answers import ANSWERS, CONVERSATION, STREAMS
from tests.stand_ins.server import serving

KEY = "inner-key"


@asynccontextmanager
async def dify(**settings: Any) -> AsyncIterator[tuple[DifyTarget, DifyStandIn]]:
    """A target, and the Dify that it asks."""
    stand_in = DifyStandIn(KEY)
    async with serving(stand_in) as url:
        target = DifyTarget(DifySettings.model_validate({"url": url, "api_key": KEY, **settings}), KEY)
        try:
            yield target, stand_in
        finally:
            await target.close()


def run(test: Callable[[DifyTarget, DifyStandIn], Awaitable[None]], **settings: Any) -> None:
    """Run a test against a Dify."""

    async def within() -> None:
        async with dify(**settings) as (target, stand_in):
            await test(target, stand_in)

    asyncio.run(within())


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"upload_file"}))
def test_each_kind_is_asked_and_answered(kind: str) -> None:
    """At the path of the contract, with the key; the answer is Dify's own, part for part."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        answers = await collect(target, make_call(kind))
        (call,) = stand_in.calls
        path, request = call["path"], call["request"]
        expected = ANSWERS[path](request)
        if kind == "fetch_app":
            expected = expected["data"]
        assert answers == (expected if path in STREAMS else [expected])
        assert call["headers"]["x-inner-api-key"] == KEY
        assert (request["tenant_id"], request["type"]) == ("tenant-1", kind)

    run(test)


def test_a_request_has_the_fields_of_dify_and_no_others() -> None:
    """A plugin cannot say whose call it is; what is null is left out; model types are Dify's own."""
    forged = {**REQUESTS["llm"], "tenant_id": "other", "user_id": "other", "type": "tool", "credentials": {}}

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        await collect(target, make_call("llm", forged))
        request = stand_in.calls[0]["request"]
        assert set(request) == {
            *("tenant_id", "user_id", "type", "provider", "model", "mode"),
            *("completion_params", "prompt_messages", "stream"),
        }
        assert (request["tenant_id"], request["type"]) == ("tenant-1", "llm")

    run(test)


def test_an_app_answers_in_one_piece_or_many() -> None:
    """As `response_mode` says; the conversation goes on."""

    async def test(target: DifyTarget, _: DifyStandIn) -> None:
        events = await collect(target, make_call("app"))
        assert [event["event"] for event in events] == ["message"] * 4 + ["message_end"]
        blocking = {**REQUESTS["app"], "response_mode": "blocking"}
        (answer,) = await collect(target, make_call("app", blocking))
        assert (answer["answer"], answer["conversation_id"]) == ("You said: hello there", CONVERSATION)
        (answer,) = await collect(target, make_call("app", {**blocking, "conversation_id": "mine"}))
        assert answer["conversation_id"] == "mine"

    run(test)


def test_the_caller_has_a_user_of_its_own() -> None:
    """A UUID, which is what Dify looks up; the same for the same caller, another one for another."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        for user, tenant in [("a", "t"), ("a", "t"), ("b", "t"), ("a", "u")]:
            await collect(target, make_call("moderation", user_id=user, tenant_id=tenant))
        known = "9f9bfb0e-42b8-4d34-8e6c-6f0f1e5f4a10"
        await collect(target, make_call("moderation", user_id=known))
        await collect(target, make_call("moderation", user_id=""))
        first, again, *others = [call["request"]["user_id"] for call in stand_in.calls]
        assert first == again
        assert len({first, *others}) == 5
        assert others[-2:] == [known, ""]

    run(test)


def test_a_dify_that_knows_no_users_is_asked_for_nobody() -> None:
    """Once it has said so, at once."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.knows_users = False
        for _ in range(2):
            assert await collect(target, make_call("moderation")) == [{"result": True}]
        assert [call["request"]["user_id"] for call in stand_in.calls] == ["", ""]
        assert stand_in.refusals == ["user not found"]

    run(test)


def test_calls_can_be_made_for_nobody() -> None:
    """`end_users` of the settings."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        await collect(target, make_call("moderation"))
        assert stand_in.calls[0]["request"]["user_id"] == ""

    run(test, end_users=False)


def test_a_file_is_uploaded() -> None:
    """Asked for, then sent to where Dify said, without the key."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        (file,) = await collect(target, make_call("upload_file"))
        assert set(file) == {"id", "name", "size", "extension", "mime_type", "preview_url"}
        assert (file["name"], file["size"], file["extension"], file["mime_type"]) == (
            "cat.png",
            14,
            ".png",
            "image/png",
        )
        (upload,) = stand_in.uploads
        assert upload == {"filename": "cat.png", "mimetype": "image/png", "content": b"\x89PNG and so on"}
        assert "content" not in stand_in.calls[0]["request"]

    run(test)


def test_slow_streams_come_part_by_part() -> None:
    """A part is given when it has come, not when all have; and however it was cut."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.fail("bytewise")
        assert len(await collect(target, make_call("llm"))) == 5
        stand_in.fail("stalls")
        assert (await take(target.call(make_call("llm")), 1))[0]["delta"]["message"]["content"] == "gpt-4o"

    run(test)


def test_closing_an_answer_ends_the_request() -> None:
    """Dify sees the client go."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.fail("stalls")
        await take(target.call(make_call("app")), 1)
        assert await asyncio.to_thread(stand_in.left.wait, 60)

    run(test)


@pytest.mark.parametrize(("fault", "kind"), [("stalls", "llm"), ("silent", "llm"), ("silent", "moderation")])
def test_cancelling_a_call_ends_the_request(fault: str, kind: str) -> None:
    """While it waits for the head, or for more."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.fail(fault)
        task = asyncio.ensure_future(collect(target, make_call(kind)))
        assert await asyncio.to_thread(stand_in.asked.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stand_in.left.wait, 60)

    run(test)


@pytest.mark.parametrize(
    ("fault", "kind", "text", "error_type"),
    [
        ("cut_head", "llm", "Dify broke the connection off: ", "InvokeConnectionError"),
        ("empty", "moderation", "Dify answered with what is not JSON (", "InvokeServerUnavailableError"),
        ("encoded", "llm", "Dify answered with the content encoding 'zstd', which was not asked for", ""),
        ("endless", "moderation", "Dify answered with more than the 2097152 bytes that `part_size` allows", ""),
        ("endless", "llm", "a part begins with 0x20, not with 0x0f", "InvokeServerUnavailableError"),
        ("garbage", "moderation", "not UTF-8", "InvokeServerUnavailableError"),
        ("garbage", "llm", "a part begins with 0xff, not with 0x0f", "InvokeServerUnavailableError"),
        ("gzip_bomb", "moderation", "more than the 2097152 bytes that `part_size` allows", ""),
        ("html", "llm", "Dify answered 502: <html><h1>502 Bad Gateway</h1></html>", "InvokeServerUnavailableError"),
        ("long_header", "moderation", "Dify broke the connection off: ", "InvokeConnectionError"),
        ("redirect", "llm", "Dify answered 307, a redirect, which is not followed", "InvokeConnectionError"),
        ("unavailable", "tool", "Dify answered 503: overloaded: try again later", "InvokeServerUnavailableError"),
        ("cut_part", "llm", "Dify broke the connection off: ", "InvokeConnectionError"),
        ("error_part", "llm", "Dify failed: [openai] Error: the model is on holiday", ""),
        ("huge_part", "llm", "a part has 4294967295 bytes, more than the 2097152", "InvokeServerUnavailableError"),
        ("part_not_json", "llm", "Dify answered with what is not JSON (", "InvokeServerUnavailableError"),
        ("wrong_header", "llm", "the header of a part has 12 bytes, not 10", "InvokeServerUnavailableError"),
    ],
)
def test_whatever_dify_does_is_an_error_with_its_cause(fault: str, kind: str, text: str, error_type: str) -> None:
    """And with the id of the request, which is Dify's own where it gives one."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.fail(fault)
        error = await failure_of(target, make_call(kind))
        assert text in error.message
        assert error.error_type == error_type
        number = "theirs-7" if fault == "unavailable" else stand_in.calls[0]["headers"]["x-request-id"]
        assert error.message.endswith(f"(request id {number})")
        assert KEY not in error.message

    run(test, part_size="2 MiB", answer_size="4 MiB")


def test_all_parts_together_are_bounded() -> None:
    """Those that were within the bound are given."""

    async def test(target: DifyTarget, _: DifyStandIn) -> None:
        text = "x" * 1000
        call = make_call("tts", {**REQUESTS["tts"], "content_text": text})
        error = await failure_of(target, call)
        assert "Dify answered with more than the 4096 bytes that `answer_size` allows" in error.message

    run(test, answer_size="4 KiB")


def test_parts_that_keep_the_connection_alive_are_no_answers() -> None:
    """Dify sends `event: ping` now and then."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.fail("keep_alives")
        assert len(await collect(target, make_call("app"))) == 5

    run(test)


@pytest.mark.parametrize("kind", ["llm", "moderation"])
def test_dify_has_a_time_to_answer_in(kind: str) -> None:
    """For the head as for what follows."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.fail("silent")
        error = await failure_of(target, make_call(kind))
        assert error.message.startswith("Dify sent nothing for 50ms (request id ")
        assert error.error_type == "InvokeServerUnavailableError"
        assert await asyncio.to_thread(stand_in.left.wait, 60)

    run(test, read_time="50ms")


def test_a_dify_that_is_not_there_is_told() -> None:
    """Without its address, which is the operator's."""

    async def test(target: DifyTarget, _: DifyStandIn) -> None:
        error = await failure_of(target, make_call("llm"))
        assert error.message.startswith("Dify could not be reached: ")
        assert "127.0.0.1" not in error.message
        assert error.error_type == "InvokeConnectionError"
        assert error.__cause__ is not None

    run(test, url="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("kind", "request_", "text"),
    [
        ("app", {**REQUESTS["app"], "app_id": "missing"}, "Dify answered 400: invalid_param: app not found"),
        ("llm", {"provider": "p", "model": "m"}, "Dify answered 400: invalid_param: invalid payload: mode"),
        ("app", {**REQUESTS["app"], "inputs": {"file": b"bytes"}}, "the request cannot be written as JSON: "),
        ("app", {**REQUESTS["app"], "inputs": {"number": float("nan")}}, "the request cannot be written as JSON: "),
        ("speech2text", {**REQUESTS["speech2text"], "file": "no digits"}, "`file` has to be bytes in hexadecimal"),
        ("upload_file", {"filename": "a", "mimetype": "image/png"}, "`content` has to be the bytes of the file"),
        ("upload_file", {"filename": "a\r\nb", "mimetype": "a/b", "content": b""}, "`filename` has to be"),
        ("upload_file", {"filename": "a", "mimetype": "a/b\r\nX: y", "content": b""}, "`mimetype` has to be"),
        ("storage", {"opt": "get", "key": "k"}, "Dify's inner API does not answer calls of the kind storage"),
    ],
)
def test_requests_that_cannot_be_answered_are_told(kind: str, request_: dict[str, Any], text: str) -> None:
    """In Dify's words, or before it is asked."""

    async def test(target: DifyTarget, _: DifyStandIn) -> None:
        assert text in (await failure_of(target, make_call(kind, request_))).message

    run(test)


def test_a_wrong_key_is_told_from_a_wrong_address() -> None:
    """Dify answers 404 to both."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.key = "another"
        message = (await failure_of(target, make_call("llm"))).message
        assert "Dify answered 404: not_found: Not Found: is `url` right, and is `api_key`?" in message
        assert KEY not in message

    run(test)


def test_an_unknown_workspace_is_told() -> None:
    """With what the operator has to do."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.tenants = {"workspace-1"}
        message = (await failure_of(target, make_call("llm"))).message
        assert "tenant not found" in message
        assert message.endswith("the operator has to set `reverse.tenant` to the id of the workspace")
        assert await collect(target, make_call("llm", tenant_id="workspace-1"))

    run(test)


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.1:1",
        "https://127.0.0.1",
        "http://user:password@{host}",
        "http://{host}@127.0.0.1:1",
        "//127.0.0.1:1",
        "file://",
        "http://[::1]:70000",
    ],
)
def test_files_go_only_where_they_may(place: str) -> None:
    """To Dify's own address, and those that the operator names; whatever Dify says."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        stand_in.files_url = place.format(host=target._settings.url.removeprefix("http://"))
        message = (await failure_of(target, make_call("upload_file"))).message
        assert "files may be sent to" in message or "named no place to upload the file to" in message
        assert stand_in.uploads == []

    run(test)


def test_files_go_to_another_place_that_is_named() -> None:
    """Or to the first such place, when Dify gives only a path."""

    async def test(target: DifyTarget, stand_in: DifyStandIn) -> None:
        other = DifyStandIn("none")
        async with serving(other) as url:
            settings = target._settings.model_copy(update={"files_url": (url,)})
            there = DifyTarget(settings, KEY)
            for files_url in (url, ""):
                stand_in.files_url = files_url
                await collect(there, make_call("upload_file"))
            await there.close()
        assert (len(other.uploads), stand_in.uploads) == (2, [])

    run(test)


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests with the key go where the configuration says."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def test(target: DifyTarget, _: DifyStandIn) -> None:
        assert await collect(target, make_call("moderation")) == [{"result": True}]

    run(test)


def test_a_proxy_can_be_configured() -> None:
    """Then everything goes there."""

    async def test(target: DifyTarget, _: DifyStandIn) -> None:
        message = (await failure_of(target, make_call("moderation"))).message
        assert message.startswith("Dify could not be reached")

    run(test, proxy="http://127.0.0.1:1")
