"""Dify's real SDK, oldest and newest: what it asks for, and whether it takes what is answered.

It runs as it does in Dify's own serverless mode, with the stand-in for a daemon at the other end; so these tests hold
the stand-ins to the truth as well.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from executor.config.reverse_targets import DaemonSettings, DifySettings, OpenAiSettings
from executor.reverse.targets.daemon import DaemonTarget
from executor.reverse.targets.dify import DifyTarget
from executor.reverse.targets.kinds import KINDS
from executor.reverse.targets.openai import OpenAiTarget
from tests.environments import build_environment, find_pythons
from tests.executor.reverse.targets.support import REQUESTS, collect, make_call
from tests.stand_ins.daemon import DaemonStandIn
from tests.stand_ins.dify import DifyStandIn
from tests.stand_ins.openai import OpenAiStandIn
from tests.stand_ins.server import running, serving

PYTHON: Final = next(version for version in ("3.12", "3.13", "3.14", "3.11") if version in find_pythons())
OLD: Final = "0.0.1b72"
NEW: Final = "0.10.2" if PYTHON != "3.11" else "0.7.4"  # later ones need Python 3.12

pytestmark = pytest.mark.slow

CHECK: Final = """
import importlib, json, sys
for path, answers in json.load(sys.stdin):
    module, _, name = path.rpartition(".")
    entity = getattr(importlib.import_module(f"dify_plugin.{module}"), name, None)
    if entity is not None:
        for answer in answers:
            entity(**answer)
        print(name, len(answers))
"""

ASK: Final = """
import io, json, sys
from concurrent.futures import ThreadPoolExecutor
from dify_plugin.config.config import InstallMethod
from dify_plugin.core.runtime import Session
from dify_plugin.core.server.tcp.request_reader import TCPReaderWriter
from dify_plugin.entities.model.llm import LLMModelConfig
from dify_plugin.entities.model.message import PromptMessageTool, UserPromptMessage
from dify_plugin.entities.model.moderation import ModerationModelConfig
from dify_plugin.entities.model.rerank import RerankModelConfig
from dify_plugin.entities.model.speech2text import Speech2TextModelConfig
from dify_plugin.entities.model.text_embedding import TextEmbeddingModelConfig
from dify_plugin.entities.model.tts import TTSModelConfig
from dify_plugin.entities.tool import ToolProviderType
from dify_plugin.entities.workflow_node import ClassConfig, ModelConfig, ParameterConfig

method = next(method for method in InstallMethod if method.value in {"serverless", "aws_lambda"})
session = Session(
    session_id="session-1", executor=ThreadPoolExecutor(), reader=TCPReaderWriter("", 0, ""),
    writer=TCPReaderWriter("", 0, ""), install_method=method, dify_plugin_daemon_url=sys.argv[1],
)
names = {"provider": "openai", "model": "m"}
llm = LLMModelConfig(**names, mode="chat", completion_params={"temperature": 0})
node = ModelConfig(**{"provider": "p", "name": "m", "mode": "chat"})
said = [UserPromptMessage(content="one two")]
tool = PromptMessageTool(name="weather", description="Tells it", parameters={"type": "object", "properties": {}})

def dump(value):
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return value.decode() if isinstance(value, bytes) else value

def try_to(do, *arguments):
    try:
        return dump(do(*arguments))
    except Exception as error:
        return f"{type(error).__name__}: {error}"

chat = dict(app_id="chat-app", query="hi", inputs={})
found = {
    "chat": [dump(event) for event in session.app.chat.invoke(**chat, response_mode="streaming")],
    "chat_blocking": session.app.chat.invoke(**chat, response_mode="blocking", conversation_id="mine"),
    "workflow": session.app.workflow.invoke(app_id="workflow", inputs={"a": 1}, response_mode="blocking"),
    "llm": [dump(chunk) for chunk in session.model.llm.invoke(llm, said, stream=True)],
    "llm_tools": [dump(chunk) for chunk in session.model.llm.invoke(llm, said, tools=[tool], stream=True)],
    "llm_whole": dump(session.model.llm.invoke(llm, said, tools=[tool], stop=["x"], stream=False)),
    "summary": session.model.summary.invoke("text " * 500, "briefly"),
    "embedding": dump(session.model.text_embedding.invoke(TextEmbeddingModelConfig(**names), ["a", "bb"])),
    "rerank": dump(session.model.rerank.invoke(
        RerankModelConfig(**names, score_threshold=0.0, top_n=1), ["a long one", "short"], "q")),
    "speech": b"".join(session.model.tts.invoke(TTSModelConfig(**names, voice="alloy"), "Hello there")).decode(),
    "heard": session.model.speech2text.invoke(Speech2TextModelConfig(**names), io.BytesIO(b"spoken")),
    "flagged": session.model.moderation.invoke(ModerationModelConfig(**names), "something bad"),
    "tool": [dump(message) for message in session.tool.invoke_builtin_tool("time", "now", {"zone": "UTC"})],
    "stored": [
        try_to(session.storage.set, "k", b"one"), try_to(session.storage.get, "k"), try_to(session.storage.delete, "k"),
        try_to(session.storage.get, "k"),
    ],
    "uploaded": try_to(session.file.upload, "cat.png", b"picture", "image/png"),
    "no_app": try_to(lambda: session.app.chat.invoke(**{**chat, "app_id": "missing"}, response_mode="blocking")),
}
try:
    found["extracted"] = dump(session.workflow_node.parameter_extractor.invoke(
        [ParameterConfig(name="city", type="string", description="d", required=True)], node, "Oslo"))
    found["classified"] = dump(session.workflow_node.question_classifier.invoke(
        [ClassConfig(id="1", name="first")], node, "q"))
except TypeError as error:  # old versions cannot write their own entities as JSON
    found["extracted"] = found["classified"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module", params=[OLD, NEW])
def python(request: pytest.FixtureRequest) -> Path:
    """An interpreter that has the SDK."""
    environment = build_environment(f"dify_plugin=={request.param}", "msgpack==1.0.8", python=find_pythons()[PYTHON])
    return environment / "bin" / "python"


def run_script(python: Path, script: str, *arguments: str, given: object = None) -> str:
    """Run a script with the SDK."""
    command = [str(python), "-I", "-c", script, *arguments]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _answers_of_models() -> dict[str, list[Any]]:
    """What the target openai makes of a server's answers, by kind; `llm` with calls of tools."""
    tools = [{"name": "weather", "description": "", "parameters": {}}]
    stand_in = OpenAiStandIn("")
    async with serving(stand_in) as url:
        settings = {"url": f"{url}/v1", "summary_model": "small"}
        target = OpenAiTarget(OpenAiSettings.model_validate(settings), "")
        kinds = ("llm_structured_output", "system_summary", "text_embedding", "tts", "speech2text", "moderation")
        found = {kind: await collect(target, make_call(kind)) for kind in kinds}
        for changes in ({}, {"tools": tools}, {"tools": tools, "stream": False}):
            found.setdefault("llm", []).extend(await collect(target, make_call("llm", {**REQUESTS["llm"], **changes})))
        await target.close()
    return found


def test_the_sdk_takes_the_answers_of_models(python: Path) -> None:
    """Each is one of the SDK's entities."""
    found = asyncio.run(_answers_of_models())
    entities = {
        "llm": "entities.model.llm.LLMResultChunk",
        "llm_structured_output": "entities.model.llm.LLMResultChunkWithStructuredOutput",
        "system_summary": "entities.model.llm.SummaryResult",
        "text_embedding": "entities.model.text_embedding.TextEmbeddingResult",
        "tts": "entities.model.tts.TTSResult",
        "speech2text": "entities.model.speech2text.Speech2TextResult",
        "moderation": "entities.model.moderation.ModerationResult",
    }
    printed = run_script(python, CHECK, given=[(entities[kind], answers) for kind, answers in found.items()])
    assert f"LLMResultChunk {len(found['llm'])}\n" in printed
    assert len(printed.splitlines()) >= len(entities) - 1  # structured output came later


def test_the_sdk_and_the_stand_ins_understand_each_other(python: Path) -> None:
    """The SDK gets what the stand-in answers, and asks for what the targets pass on."""
    files, daemon = DifyStandIn(), DaemonStandIn("session-1")
    with running(files) as files_url, running(daemon) as url:
        daemon.upload_url = (
            f"{files_url}/files/upload/for-plugin?sign=signed&filename=cat.png&mimetype=image/png&user_id=u"
        )
        found = json.loads(run_script(python, ASK, url))
    assert [event["event"] for event in found["chat"]] == ["message"] * 3 + ["message_end"]
    assert (found["chat_blocking"]["answer"], found["chat_blocking"]["conversation_id"]) == ("You said: hi", "mine")
    assert found["workflow"]["data"]["outputs"] == {"text": "Inputs: a", "a": 1}
    assert "".join(chunk["delta"]["message"]["content"] for chunk in found["llm"]) == "m heard: one two"
    assert found["llm_whole"]["usage"]["total_tokens"] == 18
    assert found["llm_tools"][-1]["delta"]["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert (found["summary"], found["heard"], found["flagged"]) == ("briefly: text text text text ", "spoken", True)
    assert found["embedding"]["embeddings"] == [[0.125, 0.25, 0.5], [0.25, 0.0, 0.5]]
    assert (found["rerank"]["docs"][0]["text"], found["speech"]) == ("short", "alloy: Hello there")
    assert [message["type"] for message in found["tool"]] == ["text", "json"]
    missing = "Exception: load data failed, please check if the key is correct or you have not set it"
    assert found["stored"] == [None, "one", None, missing]
    assert (found["uploaded"]["name"], found["uploaded"]["size"]) == ("cat.png", 7)
    assert found["no_app"] == "Exception: app not found"
    asyncio.run(_repeat(daemon.calls, found))


async def _repeat(calls: list[dict[str, Any]], found: dict[str, Any]) -> None:
    """Make the calls of the SDK with the targets, and compare."""
    dify, daemon = DifyStandIn(), DaemonStandIn("session-1")
    async with serving(dify) as dify_url, serving(daemon) as daemon_url:
        targets = (
            DifyTarget(DifySettings.model_validate({"url": dify_url, "api_key": "k"}), dify.key),
            DaemonTarget(DaemonSettings.model_validate({"url": daemon_url})),
        )
        for call in calls:
            kind, request = call["type"], call["request"]
            if kind in {"storage", "upload_file"} or request.get("app_id") == "missing":
                continue
            asked = {name for name, value in request.items() if value is not None}
            assert asked - {"model_type"} <= set(KINDS[kind].fields)
            answers = [await collect(target, make_call(kind, request)) for target in targets]
            assert answers[0] == answers[1]
        for target in targets:
            await target.close()
    asked_for = {call["path"] for call in dify.calls}
    assert asked_for >= {"invoke/app", "invoke/llm", "invoke/tool", "invoke/tts", "invoke/rerank", "invoke/summary"}
    assert isinstance(found["extracted"], str) or found["extracted"]["outputs"] == {"city": "Oslo"}
