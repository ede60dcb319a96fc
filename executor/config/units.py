"""Durations, sizes, counts and shares of CPUs: how they are written, read, checked and shown.

A duration is written with its unit, `500ms`, `30s`, `2m`, `1h`, or several of them, `1h30m`; a plain number
means seconds. A size is written with its unit, decimal (`kB`, `MB`, `GB`, `TB`) or binary (`KiB`, `MiB`,
`GiB`, `TiB`); a plain integer means bytes. A share is a plain number of CPUs, `0.5`. Inside the program a
duration is a `float` in seconds, a size an `int` in bytes, and a share a `float`, 1.0 for one CPU all the time.

Source: SI prefixes and IEC 80000-13 for sizes; the notation of durations is that of Go and systemd.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

__all__ = [
    "Count",
    "Cpus",
    "Duration",
    "Quantity",
    "Size",
    "format_cpus",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
]

DURATION_UNITS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
SIZE_UNITS: Final = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
    "TB": 1000**4,
    "TiB": 1024**4,
}
_SHOWN_DURATIONS: Final = ("h", "m", "s", "ms")
_SHOWN_SIZES: Final = ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB")

_NUMBER: Final = r"[0-9]{1,18}(?:\.[0-9]{1,40})?"
_DURATION_PART: Final = re.compile(rf"({_NUMBER})\s*(ms|s|m|h)\s*", re.ASCII)
_DURATION_PATTERN: Final = rf"^\s*(?:{_NUMBER}\s*(?:ms|s|m|h)\s*)+$"
_SIZE_PATTERN: Final = rf"^\s*({_NUMBER})\s*({'|'.join(SIZE_UNITS)})\s*$"
_DURATION: Final = re.compile(_DURATION_PATTERN, re.ASCII)
_SIZE: Final = re.compile(_SIZE_PATTERN, re.ASCII)


def parse_duration(value: object) -> float:
    """Read a duration.

    Args:
        value: Text with units, or a number of seconds.

    Returns:
        Seconds, finite and not negative.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str) and _DURATION.match(value):
        return float(sum(Decimal(number) * DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(value)))
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    raise ValueError("not a duration")


def parse_size(value: object) -> int:
    """Read a size.

    Args:
        value: Text with a unit, or a number of bytes.

    Returns:
        Bytes, not negative.

    Raises:
        ValueError: It is neither, or not a whole number of bytes.
    """
    if isinstance(value, str) and (match := _SIZE.match(value)):
        exact = Decimal(match[1]) * SIZE_UNITS[match[2]]
        if exact == int(exact):
            return int(exact)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("not a size")


def format_duration(seconds: float) -> str:
    """Write a duration in the largest unit that keeps it exact: 600 -> `10m`, 0.5 -> `500ms`."""
    exact = Decimal(repr(seconds))
    for unit in _SHOWN_DURATIONS:
        amount = exact / DURATION_UNITS[unit]
        if amount == int(amount) and (amount != 0 or unit == "s"):
            return f"{int(amount)}{unit}"
    return f"{exact:f}s"


def format_size(size_bytes: int) -> str:
    """Write a size in the largest unit that keeps it exact: 134217728 -> `128 MiB`."""
    for unit in _SHOWN_SIZES:
        if size_bytes and size_bytes % SIZE_UNITS[unit] == 0:
            return f"{size_bytes // SIZE_UNITS[unit]} {unit}"
    return f"{size_bytes} B"


def format_cpus(cpus: float) -> str:
    """Write a share of CPUs without an exponent and without needless zeros: 1.0 -> `1`, 0.25 -> `0.25`."""
    return f"{Decimal(repr(float(cpus))):f}".removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Quantity:
    """Metadata of a pydantic field that holds an amount within a range; use `Duration`, `Size`, `Count` or `Cpus`.

    Attributes:
        kind: What it is, with its article, for messages.
        example: One value as a user would write it.
        low: Smallest value accepted.
        high: Largest value accepted.
        parse: Reads a value; raises `ValueError`.
        show: Writes a value so that `parse`, or YAML, reads it back.
        unit: What the field holds: `s`, `bytes`, `CPUs`; empty for a count.
        pattern: Regular expression of the text form for the JSON Schema; empty when there is none.
    """

    kind: str
    example: str
    low: float
    high: float
    parse: Callable[[object], float]
    show: Callable[[Any], str]
    unit: str = ""
    pattern: str = ""

    @property
    def range(self) -> str:
        """The range in words: `1ms to 24h`."""
        return f"{self.show(self.low)} to {self.show(self.high)}"

    @property
    def expectation(self) -> str:
        """What is accepted, for messages."""
        return f"{self.kind} from {self.range}" + (f", such as {self.example}" if self.example else "")

    def check(self, value: object) -> float:
        """Read and check one value.

        Raises:
            PydanticCustomError: Not readable, or out of range; its context holds `expected`.
        """
        try:
            amount = self.parse(value)
        except ValueError:
            amount = math.nan
        if self.low <= amount <= self.high:
            return amount
        raise PydanticCustomError("quantity", "expected {expected}", {"expected": self.expectation})

    def __get_pydantic_core_schema__(self, _: type[Any], __: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Tell pydantic how to read, check and write the field."""
        shown = core_schema.plain_serializer_function_ser_schema(self.show, when_used="json")
        return core_schema.no_info_plain_validator_function(self.check, serialization=shown if self.pattern else None)

    def __get_pydantic_json_schema__(self, _: core_schema.CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the field to editors."""
        kind = "number" if self.parse in {parse_duration, _parse_cpus} else "integer"
        number = {"type": kind, "minimum": self.low, "maximum": self.high}
        return {"anyOf": [number, {"type": "string", "pattern": self.pattern}]} if self.pattern else number


def Duration(low: str, high: str, example: str = "30s") -> Quantity:  # noqa: N802 - used like a type
    """A duration from `low` to `high`; the field holds seconds."""
    return Quantity(
        kind="a duration",
        example=example,
        low=parse_duration(low),
        high=parse_duration(high),
        parse=parse_duration,
        show=format_duration,
        unit="s",
        pattern=_DURATION_PATTERN,
    )


def Size(low: str, high: str, example: str = "128 MiB") -> Quantity:  # noqa: N802
    """A size from `low` to `high`; the field holds bytes."""
    return Quantity(
        kind="a size",
        example=example,
        low=parse_size(low),
        high=parse_size(high),
        parse=parse_size,
        show=format_size,
        unit="bytes",
        pattern=_SIZE_PATTERN,
    )


def Count(low: int, high: int) -> Quantity:  # noqa: N802
    """A whole number from `low` to `high`."""
    return Quantity(kind="a whole number", example="", low=low, high=high, parse=_parse_count, show=str)


def Cpus(low: float, high: float, example: str = "0.5") -> Quantity:  # noqa: N802
    """A share of the CPUs from `low` to `high`; the field holds a number of CPUs, 1.0 for one all the time."""
    return Quantity(
        kind="a number of CPUs",
        example=example,
        low=low,
        high=high,
        parse=_parse_cpus,
        show=format_cpus,
        unit="CPUs",
    )


def _parse_count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("not a whole number")


def _parse_cpus(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError("not a number")
