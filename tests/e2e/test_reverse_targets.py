"""Endpoints that call back, through the real service and its workers, to stand-ins of those who answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests import plain_http
from tests.e2e.harness import Executor
from tests.environments import build_environment, find_pythons
from tests.stand_ins.daemon import DaemonStandIn
from tests.stand_ins.dify import DifyStandIn
from tests.stand_ins.openai import OpenAiStandIn
from tests.stand_ins.server import running

PLUGIN: Final = Path(__file__).parent.parent / "plugins" / "calls"
KEY: Final = "inner-key"
BUNDLED: Final = "bundled"
PYTHON: Final = next(version for version in ("3.12", "3.13", "3.14", "3.11") if version in find_pythons())
OLD: Final = "0.0.1b72"
NEW: Final = "0.10.2" if PYTHON != "3.11" else "0.7.4"  # later ones need Python 3.12

pytestmark = pytest.mark.e2e


def serve(target: str, sdk: str = BUNDLED, *, kept: str = "here", **settings: Any) -> Executor:
    """A service of the plugin `calls`, with one target."""
    plugin = {"path": str(PLUGIN)}
    if sdk != BUNDLED:
        python = find_pythons()[PYTHON]
        plugin["environment"] = str(build_environment(f"dify_plugin=={sdk}", "msgpack==1.0.8", python=python))
    config = {
        "log": {"format": "json"},
        "plugins": [plugin],
        "reverse": {"target": target, "tenant": "workspace-1", target: settings, "storage": {"kept": kept}},
    }
    return Executor(config=config, environment={"DIFY_KEY": KEY, "MODEL_KEY": "model-key"})


def call(service: Executor, name: str, content: str = "hi there") -> Any:
    """Have the endpoint make a call, and return what came of it."""
    answer = plain_http.post(f"{service.url}/e/calls/call/{name}", content=content)
    assert answer.status_code in {200, 502}, answer.text
    return answer.json()


@pytest.fixture(scope="module", params=[BUNDLED, pytest.param(OLD, marks=pytest.mark.sdk), NEW])
def sdk(request: pytest.FixtureRequest) -> str:
    """The SDK that the endpoint imports: ours, or a version of Dify's."""
    version: str = request.param
    return version


@pytest.fixture(scope="module")
def dify(sdk: str) -> Iterator[tuple[Executor, DifyStandIn]]:
    """A service with Dify."""
    stand_in = DifyStandIn(KEY)
    with running(stand_in) as url, serve("dify", sdk, url=url, api_key={"from_env": "DIFY_KEY"}) as service:
        yield service, stand_in
        assert service.own_failures() == []
        assert KEY not in service.log_text()


EXPECTED: Final[dict[str, Any]] = {
    "workflow": {"data": {"outputs": {"text": "hi there"}}},
    "app_info": {"opening_statement": "This is hi there"},
    "llm": {"model": "m", "message": {"content": "m heard: hi there"}, "usage": {"total_tokens": 18}},
    "structured": {"structured_output": {"city": "city of hi there"}},
    "summary": "briefly: hi therehi therehi t",
    "embedding": {"embeddings": [[1.0, 0.0, 0.5], [0.125, 0.0, 0.5]]},
    "rerank": {"docs": [{"index": 1, "text": "short", "score": 1 / 6}]},
    "tts": "alloy: hi there",
    "speech2text": "hi there",
    "moderation": False,
    "storage": ["hi there", True, None],
}


LATER: Final = {"app_info": "fetch_app", "structured": "llm_structured_output", "storage": "exist"}
"""What the oldest SDK does not have."""


def contains(found: Any, expected: Any) -> bool:
    """Whether everything that is expected was found; maps may have more."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(contains(found.get(key), value) for key, value in expected.items())
    return bool(found == expected)


@pytest.mark.parametrize("name", EXPECTED)
def test_dify_answers(dify: tuple[Executor, DifyStandIn], sdk: str, name: str) -> None:
    """Each kind of call gets what Dify says."""
    found = call(dify[0], name)
    if sdk == OLD and name in LATER:
        assert found["error"].endswith(f"has no attribute '{LATER[name]}'")
        return
    assert contains(found, EXPECTED[name]), found


def test_dify_knows_the_workspace_and_the_caller(dify: tuple[Executor, DifyStandIn]) -> None:
    """The user is the same each time, and so conversations go on."""
    service, stand_in = dify
    stand_in.calls.clear()
    for _ in range(2):
        answer = call(service, "chat")
        assert (answer["answer"], answer["conversation_id"]) == ("You said: hi there", "mine")
    requests = [made["request"] for made in stand_in.calls]
    assert {request["tenant_id"] for request in requests} == {"workspace-1"}
    assert len({request["user_id"] for request in requests}) == 1
    assert requests[0]["user_id"]


def test_streams_of_parts(dify: tuple[Executor, DifyStandIn]) -> None:
    """Of a model, and of a tool."""
    chunks = call(dify[0], "llm_stream")
    assert "".join(chunk["delta"]["message"]["content"] for chunk in chunks) == "m heard: hi there"
    assert [message["type"] for message in call(dify[0], "tool")] == ["text", "json"]


def test_a_file_is_carried_to_dify(dify: tuple[Executor, DifyStandIn]) -> None:
    """The worker has no network; the executor uploads."""
    service, stand_in = dify
    file = call(service, "upload", "picture")
    assert (file["name"], file["size"], file["mime_type"]) == ("cat.png", 7, "image/png")
    assert stand_in.uploads[-1]["content"] == b"picture"


def test_a_failure_is_told_with_its_cause(dify: tuple[Executor, DifyStandIn]) -> None:
    """As an exception in the endpoint, which goes on."""
    service, stand_in = dify
    stand_in.fail("error_part", "invoke/llm")
    try:
        error = call(service, "llm")["error"]
    finally:
        stand_in.fail("", "invoke/llm")
    assert "Dify failed: [openai] Error: the model is on holiday (request id " in error


def test_an_answer_streams_from_the_app_to_the_client(dify: tuple[Executor, DifyStandIn]) -> None:
    """And when the client goes, the request to Dify ends."""
    service, stand_in = dify
    stand_in.left.clear()
    stand_in.fail("stalls", "invoke/app")
    try:
        with plain_http.stream("POST", f"{service.url}/e/calls/chat", content="hi there") as answer:
            assert next(answer.iter_text()) == "You"
        assert stand_in.left.wait(60)
    finally:
        stand_in.fail("", "invoke/app")
    answer_text = plain_http.post(f"{service.url}/e/calls/chat", content="hi there").text
    assert answer_text == "You said: hi there"


def test_a_daemon_answers() -> None:
    """In the session of the request, which is the invocation's id where no daemon has named one."""
    stand_in = DaemonStandIn()
    stand_in.knows_all = True
    with running(stand_in) as url, serve("daemon", kept="target", url=url, files_url=[url]) as service:
        answer = call(service, "chat")
        assert (answer["answer"], answer["conversation_id"]) == ("You said: hi there", "mine")
        assert contains(call(service, "llm"), EXPECTED["llm"])
        assert call(service, "speech2text") == "hi there"
        assert call(service, "storage") == ["hi there", True, None]
        assert {"set", "get", "exist", "del"} == {made["request"].get("opt") for made in stand_in.calls} - {None}
        assert call(service, "upload", "picture")["name"] == "cat.png"
        assert stand_in.files.uploads == [{"filename": "cat.png", "mimetype": "image/png", "content": b"picture"}]
        stand_in.fault = "error"
        assert "read llm model failed: request failed: no more tokens" in call(service, "llm")["error"]
        assert service.own_failures() == []


def test_a_server_of_models_answers() -> None:
    """What it can; the rest is told."""
    stand_in = OpenAiStandIn()
    settings: dict[str, Any] = {
        "api_key": {"from_env": "MODEL_KEY"},
        "models": {"openai/m": "llama"},
        "summary_model": "llama",
        "apps": {"chat-app": {"model": "llama", "instructions": "Be brief."}},
    }
    with running(stand_in) as url, serve("openai", url=f"{url}/v1", **settings) as service:
        assert call(service, "chat")["answer"] == "You said: hi there"
        result = call(service, "llm")
        assert (result["message"]["content"], result["usage"]["total_tokens"]) == ("You said: hi there", 13)
        assert call(service, "structured")["structured_output"] == {"city": "city of hi there"}
        assert call(service, "embedding")["embeddings"] == [[2.0, 1.0, -0.5], [0.25, 1.0, -0.5]]
        assert call(service, "tts") == "alloy: hi there"
        assert call(service, "speech2text") == "hi there"
        assert call(service, "moderation") is False
        assert call(service, "summary").startswith("You said: hi there")
        assert "calls of the kind tool need Dify" in call(service, "tool")["error"]
        assert call(service, "storage") == ["hi there", True, None]
        assert {made["request"].get("model", "llama") for made in stand_in.calls} == {"llama"}
        assert service.own_failures() == []
        assert "model-key" not in service.log_text()
