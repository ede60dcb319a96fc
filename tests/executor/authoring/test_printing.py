"""What authors read is plain without a terminal, and nothing in it can steer one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from executor.authoring.curl import curl_commands
from executor.authoring.printing import Printer
from executor.authoring.usage import Use, near_limits, show_amount, show_use, uses_of
from executor.catalog.plugin import load_plugin
from executor.config.limits import Limits
from executor.outcome import Outcome
from tests.e2e.harness import LAB
from tests.executor.figures.support import figures as figures_of


def printed(root: Path, text: str, *, source: str = "traceback") -> str:
    """What is printed of an endpoint's output."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, width=40)
    Printer(console, Path("my_cat"), lambda file: root if file.startswith(f"{root}/") else None).output(
        "warning", source, text
    )
    return stream.getvalue()


def test_a_traceback(tmp_path: Path) -> None:
    """The plugin's own frames first, with the code around the innermost one; then the others."""
    (tmp_path / "a.py").write_text("def f(x):\n\tif x:\n\t\treturn json.loads(x)\n\n\nf('a')\n")
    text = (
        "Traceback (most recent call last):\n"
        f"  File \"{tmp_path}/a.py\", line 6, in <module>\n    f('a')\n"
        f'  File "{tmp_path}/a.py", line 3, in f\n    return json.loads(x)\n           ^^^^\n'
        '  File "/usr/lib/python3.12/json/__init__.py", line 346, in loads\n    return d(s)\n'
        "json.JSONDecodeError: bad\x1b[2J\n"
    )
    assert printed(tmp_path, text).splitlines() == [
        "  json.JSONDecodeError: bad\\x1b[2J",
        "    my_cat/a.py:3 in f",
        "           1 def f(x):",
        "           2     if x:",
        "      >    3         return json.loads(x)",
        "    my_cat/a.py:6 in <module>",
        "      >    6 f('a')",
        "    json/__init__.py:346 in loads",
    ]


def test_no_file_outside_is_read(tmp_path: Path) -> None:
    """What a worker says of where it was is not believed."""
    (tmp_path / "plugin").mkdir()
    (tmp_path / "secret").write_text("the secret\n")
    (tmp_path / "plugin" / "link").symlink_to(tmp_path / "secret")
    for name in ("../secret", "link"):
        text = f'Traceback (most recent call last):\n  File "{tmp_path}/plugin/{name}", line 1, in f\nKeyError: 1\n'
        assert "the secret" not in printed(tmp_path / "plugin", text)


@given(st.text(), st.sampled_from(["traceback", "stdout"]))
def test_any_output(text: str, source: str) -> None:
    """Whatever it is, what is printed is printable."""
    shown = printed(Path("/nowhere"), text, source=source)
    assert all(line.isprintable() for line in shown.split("\n"))


def test_uses() -> None:
    """What was measured, beside what was allowed; a limit that was reached is at 100 % at least."""
    figures = figures_of(bytes_out=900, outcome=Outcome.TIMEOUT_WALL, duration_s=0.9, max_rss_bytes=10 * 1024**2)
    limits = Limits.model_validate({"wall_time": "1s", "response_body": "1000 B", "memory": "64 MiB"})
    uses = {use.name: use for use in uses_of(figures, limits)}
    assert uses["memory"].share == pytest.approx(10 / 64)
    assert [use.name for use in near_limits(figures, limits)] == ["wall_time", "response_body"]
    assert show_use(uses["wall_time"]) == "wall_time 900.0 ms of 1s (100%)"
    assert show_use(uses["response_body"]) == "response_body 900 B of 1 kB (90%)"
    assert Use("request_body", 1, 0).share == 1
    assert Use("request_body", 0, 0).share == 0
    assert [show_amount("memory", size) for size in (0, 1023, 1024, 3 * 1024**3)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 GiB",
    ]


def test_curl_commands() -> None:
    """One for each endpoint, with values for its variables, quoted for a shell."""
    plugin = load_plugin(LAB).plugin
    assert plugin is not None
    commands = dict(
        zip(
            [(one.method, one.path) for one in plugin.endpoints],
            curl_commands(plugin.endpoints, "http://a/e/lab"),
            strict=True,
        )
    )
    zeros = "00000000-0000-0000-0000-000000000000"
    assert (
        commands["GET", "/info/<int:number>/<name>/<uuid:key>/<float:ratio>"]
        == f"curl -N http://a/e/lab/info/1/name/{zeros}/1.5"
    )
    assert commands["GET", "/deep/<path:rest>"] == "curl -N http://a/e/lab/deep/a/b"
    assert commands["PUT", "/echo"] == "curl -N -X PUT --json '{}' http://a/e/lab/echo"
