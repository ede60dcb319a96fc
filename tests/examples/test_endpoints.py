"""The example's endpoints by themselves: `_invoke` with requests that werkzeug has built, without processes."""

from __future__ import annotations

import hashlib
import hmac
import importlib
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Request, Response
from werkzeug.test import EnvironBuilder

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "examples" / "rainbow_cat"
SECRET = "s3cret"
SETTINGS = {"webhook_secret": SECRET, "cat_name": "Tama"}

Invoke = Callable[..., Response]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    """Calls the endpoint of a name with the arguments of `EnvironBuilder`; nothing sleeps."""
    for folder in (PLUGIN, ROOT / "worker" / "sdk"):
        monkeypatch.syspath_prepend(str(folder))
    sleeps: list[float] = []
    opened: list[Any] = []
    monkeypatch.setattr("time.sleep", sleeps.append)
    loaded = set(sys.modules)

    def call(name: str, values: dict[str, Any] | None = None, **request: Any) -> Response:
        spec = importlib.util.spec_from_file_location(f"rainbow_cat_{name}", PLUGIN / "endpoints" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        kind = getattr(module, name.capitalize())
        settings = {**SETTINGS, **request.pop("settings", {})}
        builder = EnvironBuilder(**request)
        environ = builder.get_environ()
        r = Request(environ)
        opened.extend((builder, r, environ["wsgi.input"]))
        response: Response = kind(session=None)._invoke(r, values or {}, settings)
        return response

    yield call
    for request in opened:
        request.close()
    assert all(0 <= seconds <= 10 for seconds in sleeps)
    for name in set(sys.modules) - loaded:
        if name.partition(".")[0] in {"cat", "dify_plugin"}:
            del sys.modules[name]


def test_duck_streams_the_value_of_its_path(invoke: Invoke) -> None:
    """As in the tutorial, markup and all."""
    response = invoke("duck", {"app_id": "my-app"})
    assert response.is_streamed
    assert (response.status_code, response.mimetype, response.get_data(as_text=True)) == (
        200,
        "text/html",
        "my-app <br>",
    )


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("text/html", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json", "text/plain"),
    ],
)
def test_neko_is_a_page_for_who_asks_for_pages(invoke: Invoke, accept: str | None, expected: str) -> None:
    """By `Accept`, whatever the client calls itself."""
    headers = {"Accept": accept} if accept else {}
    assert invoke("neko", query_string={"frames": 1}, headers=headers).mimetype == expected


@pytest.mark.parametrize(("asked", "shown"), [("3", 3), ("0", 1), ("-5", 1), ("cat", 60), ("9999999", 1200)])
def test_neko_has_a_bounded_number_of_frames(invoke: Invoke, asked: str, shown: int) -> None:
    """What cannot be is brought into range, and what is no number is the default."""
    first = next(iter(invoke("neko", query_string={"frames": asked}).response))
    assert str(first).endswith(f"frame 1 of {shown}\n")


def test_neko_fills_its_frame_and_leaves_the_cursor_visible(invoke: Invoke) -> None:
    """Every frame has the same size, so that the next one covers it."""
    frames = [str(frame) for frame in invoke("neko", query_string={"frames": 8}).response]
    assert len(frames) == 8
    assert {frame.count("\n") for frame in frames} == {12}
    assert {line.count("▀") for frame in frames for line in frame.splitlines()[:11]} == {72}
    assert all(
        frame.startswith("\x1b[?25l") and frame.splitlines()[11].startswith("\x1b[?25hTama, frame ") for frame in frames
    )


def test_neko_escapes_the_name_of_the_cat(invoke: Invoke) -> None:
    """A setting is text, not markup."""
    page = invoke(
        "neko", query_string={"frames": 1}, headers={"Accept": "text/html"}, settings={"cat_name": "<Tama>"}
    ).get_data(as_text=True)
    assert "&lt;Tama&gt;" in page
    assert "<Tama>" not in page


def sign(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """The header of a caller who knows this secret."""
    return {"X-Signature": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize(
    ("body", "headers", "settings", "status"),
    [
        (b'{"a": 1}', sign(b'{"a": 1}'), {}, 200),
        (b'{"a": 1}', sign(b'{"a": 2}'), {}, 401),
        (b'{"a": 1}', sign(b'{"a": 1}', "another"), {}, 401),
        (b'{"a": 1}', {}, {}, 401),
        (b'{"a": 1}', {"X-Signature": "sha256=\xe9"}, {}, 401),
        (b'{"a": 1}', sign(b'{"a": 1}', ""), {"webhook_secret": ""}, 401),
        (b"{", sign(b"{"), {}, 400),
        (b"\xff", sign(b"\xff"), {}, 400),
    ],
)
def test_webhook_believes_signed_json_only(
    invoke: Invoke, body: bytes, headers: dict[str, str], settings: dict[str, str], status: int
) -> None:
    """A wrong, foreign, missing or odd signature is refused, and so is one made with an empty secret."""
    response = invoke("webhook", method="POST", input_stream=io.BytesIO(body), headers=headers, settings=settings)
    assert response.status_code == status
    assert response.mimetype == "application/json"
    assert ("error" in json.loads(response.get_data(as_text=True))) == (status != 200)


def test_upload_describes_files_of_one_field(invoke: Invoke) -> None:
    """Several files of the same field are several lines."""
    data = {"file": [(io.BytesIO(b"x" * 600_000), "large.bin"), (io.BytesIO(b""), "é.txt")]}
    lines = [
        json.loads(line) for line in invoke("upload", method="POST", data=data).get_data(as_text=True).splitlines()
    ]
    assert [(line["name"], line["size"]) for line in lines] == [("large.bin", 600_000), ("é.txt", 0)]
    assert lines[0]["sha256"] == hashlib.sha256(b"x" * 600_000).hexdigest()


@pytest.mark.parametrize(("count", "sent"), [("2", 2), ("0", 1), ("-1", 1), ("many", 10), ("5000", 1000)])
@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_events_are_bounded_in_number_and_time(invoke: Invoke, count: str, sent: int, interval: str) -> None:
    """No parameter makes the stream fail, sleep for long, or go on forever."""
    text = invoke("events", query_string={"count": count, "interval": interval}).get_data(as_text=True)
    assert text.count("event: meow\n") == sent
    assert text.endswith("\n\n")
