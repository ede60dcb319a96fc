"""The file `fixtures.yaml`: which calls are answered with what.

    calls:
      - call: app                       # the kind of call
        when: {app_id: "cat-*"}         # fields of its request; texts may hold * and ?
        text: "Miau! You said: ${query}"
        delay: 200ms                    # before each item
      - call: llm
        stream: [...]                   # items as Dify sends them
        error: the model is tired       # after the items

The first one that fits answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from executor.config.complaints import explain_validation
from executor.config.document import read_document
from executor.config.places import ConfigError
from executor.config.section import Section
from executor.config.texts import Text
from executor.config.units import Duration
from executor.reverse.call import CALL_KINDS
from executor.reverse.fixture_shapes import TEXT_KINDS

__all__ = ["Fixture", "load_fixtures"]

MOST_FIXTURES: Final = 10_000
ANSWERED_HERE: Final = frozenset({"storage"})
"""Kinds that no target answers."""

KINDS: Final = tuple(kind for kind in CALL_KINDS if kind not in ANSWERED_HERE)
CallKind = Annotated[str, Text(lambda text: text if text in KINDS else None, "a kind of call", choices=KINDS)]


class Fixture(Section):
    """One answer, and the calls that get it."""

    call: CallKind = Field(description="The kind of call.")
    when: dict[str, Any] = Field(
        default_factory=dict,
        description="What the request must have: fields with their values. In texts `*` and `?` stand for any text and "
        "any character; maps need not be complete.",
    )
    text: str | None = Field(
        default=None,
        description=f"The answer as a text, for {', '.join(TEXT_KINDS)}; put into the form that the call wants, "
        "streamed word by word where it is a stream.",
    )
    answer: dict[str, Any] | None = Field(default=None, description="The answer, where it is one item.")
    stream: tuple[dict[str, Any], ...] | None = Field(default=None, description="The items of the answer.")
    error: str | None = Field(default=None, description="How the call fails, after the items if there are any.")
    delay: Annotated[float, Duration("0s", "10m")] = Field(default=0.0, description="The wait before each item.")

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        given = [name for name in ("text", "answer", "stream") if getattr(self, name) is not None]
        if len(given) > 1 or (not given and self.error is None):
            found = {"expected": "one of text, answer, stream, and error alone or after them"}
            raise PydanticCustomError("fixture", "expected {expected}", found)
        if self.text is not None and self.call not in TEXT_KINDS:
            found = {"expected": f"answer or stream: calls of the kind {self.call} have no text"}
            raise PydanticCustomError("fixture", "expected {expected}", found)
        return self


class _File(Section):
    """The file."""

    calls: tuple[Fixture, ...] = Field(min_length=1, max_length=MOST_FIXTURES, description="Tried in this order.")


def load_fixtures(file: Path) -> tuple[Fixture, ...]:
    """Read a file of fixtures.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong; all problems, with file and line.
    """
    source = read_document(file)
    problems = list(source.problems)
    try:
        fixtures = _File.model_validate(source.data).calls
    except ValidationError as error:
        raise ConfigError((*problems, *explain_validation(error, source, _File))) from None
    if problems:
        raise ConfigError(tuple(problems))
    return fixtures
