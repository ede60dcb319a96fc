"""Fuzzes a connection, and control datagrams: `python -m tests.fuzz --seconds 60`.

What must hold, whatever a peer sends:

1. Nothing but `RemoteProtocolError` escapes.
2. After it the connection is dead: every call raises it again, and the states are what they were.
3. A message that was received is legal: it can be encoded, and comes back the same.
4. However the bytes come cut, the messages and the error are the same.
5. Windows stay within 0..MAX_CREDIT.
6. What is received costs a bounded multiple of what was sent (the receive buffer refuses more).

Rules 1 and 3 hold for control datagrams and for values of reverse calls too.

atheris drives it where it is installed (`make fuzz`); elsewhere a mutator of our own does, which knows frames.
The first byte of an input is the receiver's role, whether the preface is put before the rest for free, or that the
rest is a control datagram or a value; the second one is the size of the pieces.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgpack

from protocol.call_messages import Call
from protocol.codec import TYPES, decode_message, encode_message
from protocol.connection import Connection
from protocol.control import decode_control, encode_control
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.frames import HEADER_SIZE, PREFACE, frame_header
from protocol.limits import MAX_CREDIT, MAX_NODES, MAX_OPEN_CALLS
from protocol.messages import Message
from protocol.states import Role, SupervisorState, WorkerState
from protocol.values import pack_value, unpack_value
from tests.fuzz.fuzz_package import fuzz_packages
from tests.protocol.support import EXAMPLES, INVOKE, PEER

CORPUS: Final = Path(__file__).parent.parent / "corpus"
FOR_WORKER: Final = 1
WITH_PREFACE: Final = 2
CONTROL: Final = 4
VALUE: Final = 8
NO_STREAM: Final = CONTROL | VALUE
READY: Final = EXAMPLES[Role.WORKER][0]
CALLS: Final = (Call(0, "llm", 1, b"\x80"), Call(1, "llm", 1, b"\x80"), Call(2, "llm", 2, b"\x81"))
"""Those that the corpus answers."""
CODES: Final = {(role, row.message): code for role, rows in TYPES.items() for code, row in rows.items()}
MAX_INPUT: Final = 1 << 16
VALUES: Final[list[object]] = [
    {"app_id": "a", "inputs": {"x": [1, 2.5, None, True]}, "query": "é", "content": b"\0\xff"},
    [[0.5] * 20] * 20,
    {"": {"": {"": []}}, "long": "a" * 40, "big": 2**64 - 1, "small": -(2**63)},
]
"""Requests, and items of answers."""


def check(data: bytes) -> int:
    """Check one input; an AssertionError or any other exception is a finding.

    Returns:
        How many messages it held, to tell whether the fuzzer gets anywhere.
    """
    flags, size, stream = data[:1] or b"\0", data[1:2] or b"\1", data[2:]
    if flags[0] & CONTROL:
        return check_control(stream)
    if flags[0] & VALUE:
        return check_value(stream)
    role = Role.WORKER if flags[0] & FOR_WORKER else Role.SUPERVISOR
    if flags[0] & WITH_PREFACE:
        stream = PREFACE + stream
    whole = receive(Connection(role), role, [stream] if stream else [])
    step = max(size[0], len(stream) // 64, 1)
    pieces = [stream[start : start + step] for start in range(0, len(stream), step)]
    assert receive(Connection(role), role, pieces) == whole
    return len(whole[0])


def check_control(data: bytes) -> int:
    """Check a control datagram, and return how many messages it holds, 0 or 1."""
    try:
        message = decode_control(data)
    except RemoteProtocolError:
        return 0
    again = decode_control(encode_control(message))
    assert type(again) is type(message)
    assert encode_control(again) == encode_control(message)
    return 1


def check_value(data: bytes) -> int:
    """Check a value of a reverse call, and return how many there are, 0 or 1."""
    try:
        value = unpack_value(data, nodes=MAX_NODES)
    except RemoteProtocolError:
        return 0
    assert pack_value(unpack_value(pack_value(value))) == pack_value(value)
    return 1


def receive(connection: Connection, role: Role, pieces: list[bytes]) -> tuple[list[bytes], str | None]:
    """Feed pieces and the end of the stream to a connection, and answer like an obliging peer.

    Returns:
        The frames of the messages, and the text of the error that ended them, if one did.
    """
    frames: list[bytes] = []
    oblige(connection)
    for piece in [*pieces, b""]:
        connection.receive_data(piece)
        while True:
            states = connection.our_state, connection.their_state
            try:
                message = connection.next_message()
            except RemoteProtocolError as error:
                check_dead(connection, (connection.our_state, connection.their_state) == states)
                return frames, str(error)
            if message is None:
                break
            frames.append(check_message(PEER[role], message))
            assert 0 <= connection.send_window <= MAX_CREDIT
            assert 0 <= connection.receive_window <= MAX_CREDIT
            assert connection.calls.count <= MAX_OPEN_CALLS
            oblige(connection)
    assert connection.at_eof
    return frames, None


def check_message(sender: Role, message: Message) -> bytes:
    """Check that a message can be sent as well, and return its frame."""
    frame = encode_message(sender, message)
    again = decode_message(sender, CODES[sender, type(message)], frame[HEADER_SIZE:])
    assert type(again) is type(message)
    assert encode_message(sender, again) == frame
    return frame


def check_dead(connection: Connection, unchanged: bool) -> None:  # noqa: FBT001 - a fact, not an option
    """Check that a connection takes nothing more after a violation."""
    assert unchanged
    assert not connection.at_eof
    for call in (connection.next_message, lambda: connection.receive_data(b"x"), lambda: connection.send(READY)):
        try:
            call()
        except RemoteProtocolError:
            continue
        raise AssertionError("a dead connection took a call")


def oblige(connection: Connection) -> None:
    """Send what lets the peer go on; a worker makes calls that can be answered."""
    if connection.our_state is WorkerState.INVOKED and connection.calls.next_id == 0:
        for call in CALLS:
            connection.send(call)
    wanted: dict[object, Message] = {
        (SupervisorState.START, WorkerState.READY): INVOKE,
        (WorkerState.START, SupervisorState.START): READY,
    }
    while True:
        message = wanted.get((connection.our_state, connection.their_state))
        if message is None:
            return
        try:
            connection.send(message)
        except LocalProtocolError as error:
            raise AssertionError("an obliging message was refused") from error


def seeds() -> list[bytes]:
    """The corpus as inputs: datagrams, and streams for either role, preface cut off and given for free."""
    files = sorted((path.name.startswith("control"), path.read_bytes()) for path in CORPUS.glob("*/*.bin"))
    streams = [data for control, data in files if not control]
    datagrams = [data for control, data in files if control]
    values = [bytes([VALUE, 1]) + msgpack.packb(value) for value in VALUES]
    return [*values, *(bytes([CONTROL, 1]) + data for data in datagrams if len(data) < MAX_INPUT // 8)] + [
        bytes([role | WITH_PREFACE, 7]) + stream[len(PREFACE) :]
        for stream in streams
        if stream.startswith(PREFACE) and len(stream) < MAX_INPUT // 8
        for role in (0, FOR_WORKER)
    ]


def split_frames(stream: bytes) -> list[bytes]:
    """The frames of a stream without its preface; the last one may be cut short."""
    frames = []
    while len(stream) >= HEADER_SIZE:
        end = HEADER_SIZE + int.from_bytes(stream[:4], "big")
        frames.append(stream[:end])
        stream = stream[end:]
    return frames


class Mutator:
    """Makes new inputs of old ones, with a knowledge of frames.

    Args:
        seed: Of the random numbers; the same seed gives the same inputs.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seeds = seeds()
        self._streams = [data for data in self._seeds if not data[0] & NO_STREAM]

    def next_input(self) -> bytes:
        """Return the next input."""
        data = self._random.choice(self._seeds)
        if data[0] & NO_STREAM:
            return data[:2] + self._change_datagram(data[2:])
        frames = split_frames(data[2:])
        for _ in range(self._random.randint(1, 3)):
            self._change(frames)
        stream = b"".join(frames)
        if self._random.random() < 0.3:
            stream = self._damage(stream)
        return bytes([data[0], self._random.randint(1, 255)]) + stream[:MAX_INPUT]

    def _change_datagram(self, data: bytes) -> bytes:
        """Damage a datagram, or put other values in place of its fields behind the type."""
        if self._random.random() < 0.5:
            return self._damage(data)
        kept = self._random.randint(2, 6)
        return data[:kept] + b"".join(msgpack.packb(self._value(0)) for _ in range(self._random.randint(0, 8)))

    def _change(self, frames: list[bytes]) -> None:
        index = self._random.randint(0, len(frames))
        choice = self._random.randint(0, 5)
        if choice == 0 or index == len(frames):
            frames[index:index] = split_frames(self._random.choice(self._streams)[2:])
        elif choice == 1:
            del frames[index]
        elif choice == 2:
            frames.insert(index, frames[index])
        else:
            code, payload = frames[index][4], frames[index][HEADER_SIZE:]
            if choice == 3:
                payload = msgpack.packb([self._value(0) for _ in range(self._random.randint(0, 4))])
            else:
                payload = self._damage(payload)
            frames[index] = frame_header(code, len(payload)) + payload

    def _damage(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._random.randint(1, 4)):
            start = self._random.randint(0, len(changed))
            stop = min(len(changed), start + self._random.choice((0, 1, 1, 4)))
            changed[start:stop] = self._random.randbytes(self._random.choice((0, 1, 1, 4)))
        return bytes(changed)

    def _value(self, depth: int) -> object:
        choice = self._random.randint(0, 9 if depth < 40 else 6)
        scalars = (None, True, 0, -1, 2**64 - 1, "é", b"\xff")
        if choice < len(scalars):
            return scalars[choice]
        inner = [self._value(depth + 1) for _ in range(self._random.randint(0, 2))]
        return inner if choice < 9 else {str(index): value for index, value in enumerate(inner)}


def fuzz_plainly(seconds: float, seed: int) -> tuple[int, int]:
    """Fuzz with the mutator above.

    Returns:
        How many inputs were tried, and how many messages they held.
    """
    mutator, inputs, messages = Mutator(seed), 0, 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        data = mutator.next_input()
        try:
            messages += check(data)
        except BaseException:
            sys.stderr.write(f"input {inputs} of seed {seed}: {data.hex()}\n")
            raise
        inputs += 1
    return inputs, messages


def fuzz_with_atheris(seconds: float, arguments: list[str]) -> None:
    """Fuzz with coverage, from the corpus. Does not return: libFuzzer exits."""
    atheris = importlib.import_module("atheris")

    def check_input(data: bytes) -> None:
        check(data)

    with tempfile.TemporaryDirectory() as folder:
        for index, data in enumerate(seeds()):
            Path(folder, str(index)).write_bytes(data)
        options = [f"-max_total_time={int(seconds)}", f"-max_len={MAX_INPUT}", *arguments, folder]
        atheris.Setup([sys.argv[0], *options], check_input)
        atheris.Fuzz()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fuzz the protocol, or the reader of packages.")
    parser.add_argument("--target", choices=("protocol", "package"), default="protocol", help="what is fuzzed")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="of the plain mutator (default: the time)")
    parser.add_argument("--plain", action="store_true", help="do not use atheris")
    options, rest = parser.parse_known_args()
    if options.target == "package":
        seed = time.time_ns() if options.seed is None else options.seed
        tried, files = fuzz_packages(options.seconds, seed)
        sys.stdout.write(f"{tried} inputs with {files} files, seed {seed}: nothing found\n")
        return
    if not options.plain and importlib.util.find_spec("atheris") is not None:
        fuzz_with_atheris(options.seconds, rest)
    seed = time.time_ns() if options.seed is None else options.seed
    inputs, messages = fuzz_plainly(options.seconds, seed)
    sys.stdout.write(f"{inputs} inputs with {messages} messages, seed {seed}: nothing found\n")
