"""What a plugin may ask of Dify, as its manifest declares it: `resource.permission`.

Source: `PluginPermissionRequirement` of Dify's daemon. What is not declared is not allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from executor.catalog.cursor import Cursor
from executor.catalog.findings import Code
from executor.catalog.scalars import Kind

__all__ = ["MODEL_KINDS", "NO_PERMISSIONS", "Permissions", "read_permissions"]

SIMPLE: Final = ("tool", "node", "endpoint", "app", "storage")
"""Permissions that `enabled` alone gives."""

MODEL_KINDS: Final = ("llm", "text_embedding", "rerank", "tts", "speech2text", "moderation")
"""Kinds of models, each of which `model` may give where `model.enabled` is true."""

STORAGE_LEAST: Final = 1024
STORAGE_MOST: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Permissions:
    """What is allowed.

    Attributes:
        allowed: Of `tool`, `node`, `endpoint`, `app`, `storage`, and the kinds of models.
        storage_bytes: Most that may be kept; 0 when nothing was declared.
    """

    allowed: frozenset[str] = frozenset()
    storage_bytes: int = 0


NO_PERMISSIONS: Final = Permissions()


def read_permissions(resource: Cursor) -> Permissions:
    """Read the permissions of a manifest.

    Args:
        resource: Its section `resource`.
    """
    at = resource.key("permission") if resource.is_a(Kind.MAP) else resource
    if not at.is_a(Kind.MAP):
        if at.given and resource.is_a(Kind.MAP):
            at.add(Code.MANIFEST_PERMISSION, expected="a map of permissions")
        return NO_PERMISSIONS
    allowed = {name for name in SIMPLE if _is_enabled(at.key(name))}
    model = at.key("model")
    if _is_enabled(model):
        allowed |= {name for name in MODEL_KINDS if _is_true(model.key(name))}
    return Permissions(frozenset(allowed), _read_size(at.key("storage")) if "storage" in allowed else 0)


def _is_enabled(at: Cursor) -> bool:
    if at.is_a(Kind.MAP):
        return _is_true(at.key("enabled"))
    if at.given:
        at.add(Code.MANIFEST_PERMISSION, expected="a map with `enabled`")
    return False


def _is_true(at: Cursor) -> bool:
    value = at.plain() if at.given else False
    if not isinstance(value, bool):
        at.add(Code.MANIFEST_PERMISSION, expected="true or false")
        return False
    return value


def _read_size(storage: Cursor) -> int:
    at = storage.key("size")
    value = at.plain() if at.given else 0
    if isinstance(value, int) and not isinstance(value, bool) and STORAGE_LEAST <= value <= STORAGE_MOST:
        return value
    where = at if at.given else storage
    where.add(Code.MANIFEST_PERMISSION, expected=f"a size of {STORAGE_LEAST} to {STORAGE_MOST} bytes")
    return 0
