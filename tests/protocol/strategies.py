"""Hypothesis strategies for every message, and for whole legal conversations."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from protocol import call_messages, control, messages
from protocol.limits import MAX_CALL_BYTES, MAX_CREDIT, MAX_ERROR_TEXT, MAX_ID, MAX_IMPORTS, MAX_LAYERS
from protocol.messages import ERROR_CODES, LOG_LEVELS, VALUE_KINDS, Message
from protocol.states import Role

text = st.text(st.characters(codec="utf-8"), max_size=40)
"""Any text that UTF-8 can express."""
name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
token = st.from_regex(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,40}", fullmatch=True)
header = st.tuples(
    token.map(str.encode),
    st.binary(max_size=60).filter(lambda value: not any(byte in value for byte in b"\r\n\0")),
)
headers = st.lists(header, max_size=12).map(tuple)
plain: Final[st.SearchStrategy[object]] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
    max_leaves=20,
)
plain_map = st.dictionaries(text, plain, max_size=6)
count = st.integers(0, MAX_ID)
paths = st.lists(name, max_size=5).map(tuple)
imports = st.lists(token, max_size=5).map(tuple) | st.just(("json",) * MAX_IMPORTS)
layers = st.lists(token, max_size=5).map(tuple) | st.just(("seccomp",) * MAX_LAYERS)
data = st.binary(min_size=1, max_size=600)


@st.composite
def path_values(draw: st.DrawFn) -> tuple[messages.PathValue, ...]:
    """Values of every kind."""
    kinds = draw(st.lists(st.sampled_from(sorted(VALUE_KINDS)), max_size=5))
    finite = st.floats(allow_nan=False)
    return tuple((draw(name), kind, draw(finite) if kind == "float" else draw(text)) for kind in kinds)


@st.composite
def calls(draw: st.DrawFn) -> call_messages.Call:
    """The beginning of a call."""
    beginning = draw(st.binary(max_size=600))
    size = draw(st.integers(max(len(beginning), 1), MAX_CALL_BYTES))
    return call_messages.Call(draw(count), draw(token), size, beginning)


@st.composite
def call_results(draw: st.DrawFn) -> call_messages.CallResult:
    """A part of an answer."""
    kind = draw(st.sampled_from(sorted(call_messages.CALL_RESULT_KINDS)))
    content = {"response": data, "error": st.binary(max_size=min(600, MAX_ERROR_TEXT)), "end": st.just(b"")}[kind]
    more = draw(st.booleans()) if kind == "response" else False
    return call_messages.CallResult(draw(count), kind, draw(content), more=more)


credit = st.builds(messages.Credit, st.integers(1, MAX_CREDIT))
BY_CLASS: Final[dict[type[Message], st.SearchStrategy[Message]]] = {
    messages.Invoke: st.builds(
        messages.Invoke,
        invocation_id=token,
        source=name,
        method=token,
        scheme=token,
        server_name=text,
        server_port=st.integers(0, 65535),
        root_path=text,
        path=text,
        query=st.binary(max_size=60),
        http_version=token,
        headers=headers,
        remote_addr=st.none() | text,
        values=path_values(),
        settings=plain_map,
        hook_id=name,
        content_length=st.none() | count,
        has_body=st.booleans(),
        debug=st.booleans(),
        after_response_s=st.floats(0.0, 86_400.0),
        keep=st.booleans(),
    ),
    messages.Body: st.builds(messages.Body, data),
    messages.BodyEnd: st.builds(messages.BodyEnd),
    messages.Credit: credit,
    call_messages.CallResult: call_results(),
    call_messages.CallCredit: st.builds(call_messages.CallCredit, count, st.integers(1, MAX_CALL_BYTES)),
    messages.Cancel: st.builds(messages.Cancel, text),
    messages.Ready: st.builds(messages.Ready),
    messages.Response: st.builds(messages.Response, st.integers(200, 599), headers),
    messages.Chunk: st.builds(messages.Chunk, data),
    messages.End: st.builds(messages.End),
    messages.Error: st.builds(messages.Error, st.sampled_from(sorted(ERROR_CODES)), text, text),
    messages.Log: st.builds(messages.Log, st.floats(0, 2.0**40), st.sampled_from(sorted(LOG_LEVELS)), text, text),
    call_messages.Call: calls(),
    call_messages.CallData: st.builds(call_messages.CallData, count, data),
    call_messages.CallCancel: st.builds(call_messages.CallCancel, count),
}
"""By class: any legal message, its sizes kept small."""

HOST_IDS: Final = 2**32 - 1
"""How many user or group ids there are: 0 to one below (uid_t) -1."""


@st.composite
def fork_zygote(draw: st.DrawFn) -> control.ForkZygote:
    """A command with a block of host ids, or with none."""
    ids = draw(st.just(0) | st.integers(1, HOST_IDS - 1))
    first = draw(st.integers(1, HOST_IDS - ids) if ids else st.integers(0, HOST_IDS - 1))
    return control.ForkZygote(
        zygote_id=draw(count),
        name=draw(text),
        preload=draw(paths),
        imports=draw(imports),
        sys_path=draw(paths),
        plugin_root=draw(text),
        environment=draw(text),
        trees=draw(paths),
        first_id=first,
        ids=ids,
        off=draw(layers),
    )


seconds = st.floats(0, 2.0**40)
control_message: Final[st.SearchStrategy[control.ControlMessage]] = st.one_of(
    st.builds(
        control.PrepareWorker,
        sources=paths,
        limits=st.dictionaries(text, count, max_size=5),
        debug=st.booleans(),
    ),
    st.builds(control.ForkWorker, count),
    fork_zygote(),
    st.builds(control.ForkSlot, count, text, st.integers(0, 2**31 - 1), layers),
    st.builds(control.LendFolder, plugin_root=name, copy_private=st.booleans()),
    st.builds(control.Kill, count),
    st.builds(control.Shutdown),
    st.builds(control.ZygoteReady, plain_map),
    st.builds(control.SlotReady, plain_map),
    st.builds(control.Forked, count),
    st.builds(control.ForkFailed, count, st.integers(0, 4095), text),
    st.builds(control.Exited, count, st.integers(0, 65535), seconds, seconds, count, count, count, st.integers(0, 99)),
)


@st.composite
def worker_streams(draw: st.DrawFn) -> list[tuple[Role, Message]]:
    """A whole legal conversation, worker's messages of every kind in every place where they may stand."""

    def some(*classes: type[Message]) -> list[tuple[Role, Message]]:
        return [(Role.WORKER, item) for item in draw(st.lists(st.one_of(*(BY_CLASS[c] for c in classes)), max_size=4))]

    def one(sender: Role, kind: type[Message]) -> list[tuple[Role, Message]]:
        return [(sender, draw(BY_CLASS[kind]))]

    body = draw(st.lists(BY_CLASS[messages.Body], max_size=4))
    way = [*some(messages.Log), *one(Role.WORKER, messages.Ready)]
    way += [*some(messages.Log), *one(Role.SUPERVISOR, messages.Invoke)]
    way += [(Role.SUPERVISOR, item) for item in body]
    way += [*one(Role.SUPERVISOR, messages.BodyEnd), *some(messages.Log)]
    way += [*one(Role.WORKER, messages.Response), *some(messages.Chunk, messages.Log)]
    way += (
        [*one(Role.WORKER, messages.End), *some(messages.Log)]
        if draw(st.booleans())
        else one(Role.WORKER, messages.Error)
    )
    return way
