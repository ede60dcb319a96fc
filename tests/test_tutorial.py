"""`docs/writing-endpoints.md`, followed to the letter."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from executor.catalog.plugin import load_plugin
from tests.e2e.harness import Executor

PAGE = Path(__file__).parent.parent / "docs" / "writing-endpoints.md"
FILE = re.compile(r"^```(?:yaml|python)\n(# (\S+)\n.*?)^```$", re.DOTALL | re.MULTILINE)
HEADERS = {"Authorization": "Bearer s3cret"}


def write_files(page: str, folder: Path) -> None:
    """Write every file of the page; a later version replaces the one before."""
    for content, name in FILE.findall(page):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_the_first_endpoint(tmp_path: Path) -> None:
    """The first three files are a plugin, with the one warning that the page shows."""
    page = PAGE.read_text()
    write_files(page.partition("\n## Settings")[0], tmp_path)
    loaded = load_plugin(tmp_path / "greeter")
    assert loaded.plugin is not None
    assert [str(endpoint.path) for endpoint in loaded.plugin.endpoints] == ["/hello/<name>"]
    assert [f"greeter/{finding}" for finding in loaded.findings] == re.findall(
        r"^greeter/manifest.*$", page, re.MULTILINE
    )


@pytest.mark.e2e
def test_the_whole_plugin(tmp_path: Path) -> None:
    """What the page says that the calls answer."""
    write_files(PAGE.read_text(), tmp_path)
    photo = b"photo" * 50_000
    with Executor("--config", tmp_path / "executor.yaml", environment={"GREETER_TOKEN": "s3cret"}) as executor:
        with executor.client() as client:
            client.base_url = f"{executor.url}/e/greeter/"
            assert client.get("hello/Ada").text == "Good morning, Ada!\n"
            assert client.get("hello/Ada?loud=yes").text == "GOOD MORNING, ADA!\n"
            assert client.post("orders", json={"item": "tea"}).status_code == 401
            orders = {
                item: client.post("orders", json={"item": item}, headers=HEADERS) for item in ("tea", "pie", "moon")
            }
            assert orders["tea"].json() == {"item": "tea", "price": 2}
            assert (orders["pie"].status_code, orders["pie"].text) == (404, "there is no pie here")
            assert (orders["moon"].status_code, orders["moon"].json()["code"]) == (500, "endpoint.raised")
            assert "ZeroDivisionError" in executor.invocation(orders["moon"].headers["x-invocation-id"])["detail"]
            assert client.get("count/3").text == "1\n2\n3\n"
            digest = hashlib.sha256(photo).hexdigest() + "\n"
            assert client.post("upload", files={"file": photo}).text == digest
            assert client.post("upload", content=photo).text == digest
            assert [client.get("visits").text for _ in range(3)] == ["visit 1\n"] * 3, "each in a new process"
        messages = {event["message"] for event in executor.events("endpoint.output")}
        assert {"sold tea", "the till rings"} <= messages
