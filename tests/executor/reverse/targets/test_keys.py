"""Keys that are sent with every request."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.confidential import Confidential
from executor.config.references import FromEnv, FromFile, ResolveError
from executor.reverse.targets.keys import read_key


def test_white_space_around_a_key_does_not_count(tmp_path: Path) -> None:
    """Files end with a line end, or two."""
    Path(tmp_path, "key").write_text(" secret-1 \r\n\n")
    assert read_key(Confidential(FromFile("key"), tmp_path)) == "secret-1"


@pytest.mark.parametrize("text", [" ", "two\nlines", "schlüssel", "a\0b"])
def test_keys_that_no_header_can_carry_are_refused(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the place, not the key."""
    Path(tmp_path, "key").write_text(text)
    with pytest.raises(ResolveError, match=r"the key from the file .*/key has to be printable ASCII") as caught:
        read_key(Confidential(FromFile("key"), tmp_path))
    assert not text.strip() or text.strip() not in str(caught.value)
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ResolveError, match="NO_SUCH_KEY is not set"):
        read_key(Confidential(FromEnv("NO_SUCH_KEY")))
