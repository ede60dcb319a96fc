"""Control datagrams: their bytes, their round trip, their limits, and everything that can be wrong."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.control import (
    CONTROL_TYPES,
    ControlMessage,
    Exited,
    Forked,
    ForkFailed,
    ForkSlot,
    ForkWorker,
    ForkZygote,
    Kill,
    LendFolder,
    PrepareForks,
    PrepareWorker,
    Shutdown,
    SlotReady,
    StoreBytecode,
    ZygoteReady,
    decode_control,
    encode_control,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import (
    MAX_CONTROL,
    MAX_ENTRIES,
    MAX_ID,
    MAX_IMPORT,
    MAX_IMPORTS,
    MAX_LAYERS,
    MAX_LIMITS_BYTES,
    MAX_NAME,
    MAX_PATH,
    MAX_PATHS,
    MAX_WORD,
)
from tests.protocol import strategies

FORK_WORKER = ForkWorker(7)
PREPARE_WORKER = PrepareWorker(
    sources=("endpoints/duck.py",),
    limits={"memory": 2**29, "cpu_time": 60, "processes": 0},
    debug=False,
)
LEAST = PrepareWorker(sources=(), limits={}, debug=True)
EXITED = Exited(7, 9, 0.5, 0.25, 2**26, 300, 1, 2)
FORK_ZYGOTE = ForkZygote(
    zygote_id=1,
    name="plugin",
    preload=("dify_plugin",),
    imports=("json", "yaml:safe_load"),
    sys_path=("/venv/lib",),
    plugin_root="/plugins/rainbow",
    environment="/environments/rainbow",
    trees=("/opt/python3.12",),
    first_id=200000,
    ids=65536,
    off=("landlock",),
)
ROOTLESS = replace(FORK_ZYGOTE, first_id=0, ids=0)
FORK_SLOT = ForkSlot(2, "plugin 1", 1, ("landlock",))
HOST_IDS = strategies.HOST_IDS
EXAMPLES: list[ControlMessage] = [
    FORK_WORKER,
    FORK_ZYGOTE,
    Kill(7),
    Shutdown(),
    FORK_SLOT,
    StoreBytecode(),
    PREPARE_WORKER,
    LendFolder(plugin_root="/plugins/rainbow", copy_private=True),
    PrepareForks(),
    ZygoteReady({"python": "3.11.7"}),
    Forked(7),
    ForkFailed(7, 11, "Resource temporarily unavailable"),
    EXITED,
    SlotReady({"seccomp": {"held": False}}),
]


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (PrepareWorker(sources=("a.py",), limits={"m": 9}, debug=False), "94 07 91 a4612e7079 81 a16d 09 c2"),
        (LEAST, "94 07 90 80 c3"),
        (ForkWorker(7), "92 01 07"),
        (
            ForkZygote(
                zygote_id=1,
                name="p",
                preload=("m",),
                imports=("a.b:c",),
                sys_path=(),
                plugin_root="/p",
                environment="",
                trees=(),
                first_id=200000,
                ids=2,
                off=("x",),
            ),
            "9c 02 01 a170 91 a16d 91 a5612e623a63 90 a22f70 a0 90 ce00030d40 02 91 a178",
        ),
        (Kill(300), "92 03 cd012c"),
        (Shutdown(), "91 04"),
        (ForkSlot(7, "s", 3, ()), "95 05 07 a173 03 90"),
        (StoreBytecode(), "91 06"),
        (LendFolder(plugin_root="/p", copy_private=True), "93 08 a22f70 c3"),
        (PrepareForks(), "91 09"),
        (ZygoteReady({}), "92 41 80"),
        (Forked(7), "92 42 07"),
        (ForkFailed(7, 11, "x"), "94 43 07 0b a178"),
        (Exited(1, 9, 0.5, 0.0, 1, 2, 3, 4), "99 44 01 09 cb3fe0000000000000 cb0000000000000000 01 02 03 04"),
        (SlotReady({"a": None}), "92 45 81 a161 c0"),
    ],
)
def test_the_bytes_of_a_datagram(message: ControlMessage, data: str) -> None:
    """Datagrams written by hand from the specification."""
    assert encode_control(message) == bytes.fromhex(data)
    assert decode_control(bytes.fromhex(data)) == message


def test_every_message_has_an_example() -> None:
    """The list above is complete."""
    assert [type(message) for message in EXAMPLES] == list(CONTROL_TYPES.values())


@given(strategies.control_message)
def test_round_trip(message: ControlMessage) -> None:
    """What is encoded is decoded to the same."""
    assert decode_control(encode_control(message)) == message


@given(st.binary(max_size=200) | strategies.plain.map(msgpack.packb))
def test_garbage_gives_only_the_remote_error(data: bytes) -> None:
    """Whatever comes, nothing else escapes."""
    with suppress(RemoteProtocolError):
        decode_control(data)


@given(strategies.control_message, st.data())
def test_mutated_datagrams_give_only_the_remote_error(message: ControlMessage, data: st.DataObject) -> None:
    """A datagram with one byte changed is another message or a remote error."""
    raw = bytearray(encode_control(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(RemoteProtocolError):
        decode_control(bytes(raw))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_every_truncation_is_refused(message: ControlMessage) -> None:
    """A datagram that was cut short is never another message."""
    data = encode_control(message)
    for size in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            decode_control(data[:size])
    with pytest.raises(RemoteProtocolError):
        decode_control(data + b"\xc0")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        [None],
        ["x"],
        [True],
        [[1]],
        [9, 1],
        [0x46, 1],
        [1],
        [1, 7, 8],
        [1, None],
        [1, -1],
        [7, []],
        [7, [], {}],
        [7, [], {}, False, None],
        [7, {}, {}, False],
        [7, "a.py", {}, False],
        [7, [""], {}, False],
        [7, [b"a.py"], {}, False],
        [7, [["a.py"]], {}, False],
        [7, [], [], False],
        [7, [], {1: 1}, False],
        [7, [], {"memory": -1}, False],
        [7, [], {"memory": 1.5}, False],
        [7, [], {"memory": True}, False],
        [7, [], {"memory": None}, False],
        [7, [], {}, 0],
        [7, [], {}, None],
        [4, 1],
        [2, 1, "", [], []],
        [2, 1, "", [[1]], [], "", 0, 0, []],
        [2, 1, "", [], [], "", 0, 1, []],
        [2, 1, "", [], [], "", 0, 0, "x"],
        [5, 1, "", 0],
        [5, 1, "", -1, []],
        [5, 1, "", 0, [""]],
        [0x41, 2, {}],
        [0x42, 7, 8],
        [0x45, []],
    ],
)
def test_wrong_datagrams(value: object) -> None:
    """Not an array, an unknown type, a wrong number of fields, a wrong field, what former versions had."""
    with pytest.raises(RemoteProtocolError):
        decode_control(msgpack.packb(value))


COUNTS = [-1, True, 1.0, None, "1", MAX_ID + 1]
OFF = [(), ("seccomp",), ("a" * MAX_WORD,) * MAX_LAYERS]
NOT_OFF = [["a"], None, "a", ("",), (1,), ("a" * (MAX_WORD + 1),), ("a",) * (MAX_LAYERS + 1)]
NO_SOURCES = [["a"], None, "a", ("",), (b"a",), ("a" * (MAX_PATH + 1),), ("a",) * (MAX_PATHS + 1), ("\ud800",)]
LIMITS = [
    {},
    {"memory": 0, "": MAX_ID},
    {"a" * (MAX_LIMITS_BYTES - 5): 1},
    {str(i): i for i in range(MAX_ENTRIES)},
]
NO_LIMITS: list[object] = [
    *(None, [], {"a": -1}, {"a": True}, {"a": 1.0}, {"a": "1"}, {"a": None}, {"a": {}}),
    *({"a": MAX_ID + 1}, {"a": 2**64}, {1: 1}, {b"a": 1}, {"\ud800": 1}),
    {"a" * (MAX_LIMITS_BYTES - 4): 1},
    {str(i): i for i in range(MAX_ENTRIES + 1)},
]
REPORTS = [{}, {"a": [1]}]
NO_REPORTS: list[object] = [[], None, {1: 1}, {"a": (1,)}, {"a": "b" * MAX_CONTROL}]


@pytest.mark.parametrize(
    ("message", "field", "legal", "illegal"),
    [
        (FORK_WORKER, "worker_id", [0, MAX_ID], COUNTS),
        (PREPARE_WORKER, "sources", [(), ("a" * MAX_PATH,), ("a",) * MAX_PATHS], NO_SOURCES),
        (PREPARE_WORKER, "limits", LIMITS, NO_LIMITS),
        (PREPARE_WORKER, "debug", [True, False], [None, 0, 1, "yes"]),
        (FORK_ZYGOTE, "zygote_id", [0, MAX_ID], COUNTS),
        (FORK_ZYGOTE, "name", ["", "a" * MAX_NAME], [None, "a" * (MAX_NAME + 1)]),
        (FORK_ZYGOTE, "imports", [(), ("a" * MAX_IMPORT,), ("a",) * MAX_IMPORTS], [["a"], ("a" * 129,), ("a",) * 129]),
        (FORK_ZYGOTE, "preload", [(), ("a" * MAX_PATH,), ("a",) * MAX_PATHS], [["a"], ("a" * 4097,), ("a",) * 257]),
        (FORK_ZYGOTE, "sys_path", [(), ("a" * MAX_PATH,), ("a",) * MAX_PATHS], [[""], ("",), (b"a",)]),
        (FORK_ZYGOTE, "plugin_root", ["", "/", "a" * MAX_PATH], [None, b"/", "\ud800", "a" * (MAX_PATH + 1)]),
        (FORK_ZYGOTE, "environment", ["", "/", "a" * MAX_PATH], [None, b"/", "\ud800", "a" * (MAX_PATH + 1)]),
        (FORK_ZYGOTE, "trees", [(), ("a" * MAX_PATH,), ("a",) * MAX_PATHS], [[""], ("",), (b"a",)]),
        (FORK_ZYGOTE, "first_id", [1, HOST_IDS - 65536], [0, HOST_IDS - 65535, HOST_IDS, *COUNTS]),
        (FORK_ZYGOTE, "ids", [0, 1, HOST_IDS - 200000], [HOST_IDS, 2**32, *COUNTS]),
        (ROOTLESS, "first_id", [0, 1, HOST_IDS - 1], [HOST_IDS, *COUNTS]),
        (FORK_ZYGOTE, "off", OFF, NOT_OFF),
        (FORK_SLOT, "slot_id", [0, MAX_ID], COUNTS),
        (FORK_SLOT, "name", ["", "a" * MAX_NAME], [None, "a" * (MAX_NAME + 1)]),
        (FORK_SLOT, "number", [0, 2**31 - 1], [2**31, *COUNTS]),
        (FORK_SLOT, "off", OFF, NOT_OFF),
        (Kill(1), "worker_id", [0, MAX_ID], COUNTS),
        (ZygoteReady({}), "report", REPORTS, NO_REPORTS),
        (SlotReady({}), "report", REPORTS, NO_REPORTS),
        (Forked(1), "id", [0, MAX_ID], COUNTS),
        (ForkFailed(1, 1, ""), "id", [0, MAX_ID], COUNTS),
        (ForkFailed(1, 1, ""), "errno", [0, 4095], [4096, *COUNTS]),
        (ForkFailed(1, 1, ""), "message", ["", "a" * MAX_PATH], [None, "a" * (MAX_PATH + 1)]),
        (EXITED, "id", [0, MAX_ID], COUNTS),
        (EXITED, "status", [0, 65535], [65536, *COUNTS]),
        (EXITED, "utime_s", [0.0, 2.0**40], [1, -0.1, float("nan")]),
        (EXITED, "stime_s", [0.0, 2.0**40], [1, -0.1, float("inf")]),
        (EXITED, "max_rss_bytes", [0, MAX_ID], COUNTS),
        (EXITED, "minor_faults", [0, MAX_ID], COUNTS),
        (EXITED, "major_faults", [0, MAX_ID], COUNTS),
        (EXITED, "killed_descendants", [0, MAX_ID], COUNTS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_field_at_its_limit_and_beyond(
    message: ControlMessage, field: str, legal: list[object], illegal: list[object]
) -> None:
    """Every field takes what is allowed and refuses what is not."""
    for value in legal:
        assert getattr(replace(message, **{field: value}), field) is value  # type: ignore[arg-type]  # on purpose
    for value in illegal:
        with pytest.raises(LocalProtocolError, match=f"^{field}"):
            replace(message, **{field: value})  # type: ignore[arg-type]  # on purpose
    assert field in {item.name for item in fields(message)}


@pytest.mark.parametrize(
    ("first_id", "ids", "legal"),
    [
        (0, 0, True),
        (1000, 0, True),
        (1, HOST_IDS - 1, True),
        (HOST_IDS - 1, 1, True),
        (0, 1, False),
        (0, HOST_IDS, False),
        (2, HOST_IDS - 1, False),
        (HOST_IDS - 1, 2, False),
    ],
)
def test_a_block_of_host_ids_is_never_that_of_root(first_id: int, ids: int, legal: bool) -> None:  # noqa: FBT001
    """It does not begin at 0, and ends before (uid_t) -1; where there is none, its beginning means nothing."""
    if legal:
        block = replace(FORK_ZYGOTE, first_id=first_id, ids=ids)
        assert decode_control(encode_control(block)) == block
    else:
        with pytest.raises(LocalProtocolError, match=r"^(first_id|ids): "):
            replace(FORK_ZYGOTE, first_id=first_id, ids=ids)


def test_long_commands_take_keywords_only() -> None:
    """Eight positions, of which two are counts of ids, would be too easy to confuse."""
    with pytest.raises(TypeError):
        ForkZygote(1, "p", (), (), (), "/p", "", (), 1, 1, ())  # type: ignore[call-arg]  # that is what is tested
    with pytest.raises(TypeError):
        PrepareWorker((), {}, False)  # type: ignore[call-arg]  # likewise


def test_datagrams_have_a_largest_size() -> None:
    """At the limit it goes through both ways, one byte beyond neither way."""
    overhead = len(encode_control(ZygoteReady({"a": "b" * 60000}))) - 60000
    largest = ZygoteReady({"a": "b" * (MAX_CONTROL - overhead)})
    data = encode_control(largest)
    assert len(data) == MAX_CONTROL
    assert decode_control(data) == largest
    with pytest.raises(LocalProtocolError, match=f"{MAX_CONTROL + 1} bytes, at most {MAX_CONTROL}"):
        encode_control(ZygoteReady({"a": "b" * (MAX_CONTROL - overhead + 1)}))
    with pytest.raises(RemoteProtocolError, match=f"{MAX_CONTROL + 1} bytes, at most {MAX_CONTROL}"):
        decode_control(data + b"\xc0")
