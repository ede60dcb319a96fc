"""What pydantic found, in our words: where it was given, what was found, what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from executor.catalog.findings import shorten, show
from executor.config.confidential import Confidential
from executor.config.places import KeyPath, Problem, Source, dotted

__all__ = ["describe", "explain_validation", "field_names", "is_secret"]

_EXPECTED: Final = {
    "bool_type": "true or false",
    "dict_type": "a map",
    "list_type": "a list",
    "model_type": "a map",
    "string_type": "a text",
    "too_short": "at least one item",
    "tuple_type": "a list",
}


def explain_validation(error: ValidationError, source: Source, model: type[BaseModel]) -> list[Problem]:
    """Turn pydantic's errors into problems, in the order of the document.

    Args:
        error: What validation raised.
        source: The document that was validated.
        model: What it was validated as.
    """
    details = error.errors(include_url=False)
    # what follows from a value that is wrong itself
    told = [detail for detail in details if detail["type"] != "default_factory_not_called"]
    return [_explain(detail, source, model) for detail in told]


def describe(value: object, *, secret: bool = False) -> str:
    """Show a value that was found, shortened; only its kind when it may be a secret."""
    match value:
        case None:
            return "nothing"
        case bool():
            text = str(value).lower()
        case int() | float():
            text = str(value)
        case str():
            return "a text" if secret else show(value)
        case Mapping():
            return "a map"
        case list():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
    if secret:
        return "a boolean" if isinstance(value, bool) else "a number"
    return shorten(text)


def is_secret(path: KeyPath) -> bool:
    """Tell whether the value there must not be shown: the settings of a hook and anything within them."""
    return path[:1] == ("hooks",) and path[2:3] == ("settings",)


def field_names(model: type[BaseModel], path: KeyPath) -> list[str]:
    """List the keys that the map at `path` may have; empty when it is not a section of the model."""
    section = _section(_annotation(model, path)) if path else model
    return [] if section is None else list(section.model_fields)


def _explain(detail: ErrorDetails, source: Source, model: type[BaseModel]) -> Problem:
    path, key = detail["loc"], False
    if path[-1:] == ("[key]",):
        path, key = path[:-1], True
    secret = is_secret(path) or _is_confidential(model, path)
    kind, found = detail["type"], describe(detail["input"], secret=secret)
    expected = str(detail.get("ctx", {}).get("expected", "")) or _EXPECTED.get(kind, detail["msg"])
    message = f"expected {expected}, found {found}"
    if kind == "missing":
        found, expected = "nothing", "a value"
        message = "it is required and missing"
    elif kind == "extra_forbidden":
        key = True
        found = str(path[-1])
        expected, message = _unknown(path, model)
    return Problem(
        name=dotted(path),
        place=source.locate(path, key=key),
        found=found,
        expected=expected,
        message=message,
    )


def _unknown(path: KeyPath, model: type[BaseModel]) -> tuple[str, str]:
    """Tell which names there are, and which one was probably meant."""
    names = field_names(model, path[:-1])
    expected = f"one of {', '.join(names)}"
    close = difflib.get_close_matches(str(path[-1]), names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
    return expected, f"there is no such setting; {hint}"


def _is_confidential(model: type[BaseModel], path: KeyPath) -> bool:
    annotation = _annotation(model, path)
    return Confidential in (annotation, *get_args(annotation))


def _annotation(model: type[BaseModel], path: KeyPath) -> Any:
    """Find the annotation of what is at `path`; `None` when there is no such place."""
    section: type[BaseModel] | None = model
    annotation: Any = None
    for part in path:
        if section is not None:
            field = section.model_fields.get(str(part))
            annotation = None if field is None else field.annotation
        else:
            annotation = _item(annotation)
        section = _section(annotation)
    return annotation


def _item(annotation: Any) -> Any:
    """Find the annotation of the items of a map or list."""
    arguments = get_args(annotation)
    return arguments[1] if get_origin(annotation) is dict else arguments[0] if arguments else None


def _section(annotation: Any) -> type[BaseModel] | None:
    """Find the section that an annotation stands for, through `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return _section(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return next((found for part in get_args(annotation) if (found := _section(part))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
