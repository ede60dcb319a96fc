"""Folders made to break the reader: links, pipes, bombs, garbage. Nothing raises, nothing hangs, nothing leaks out."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from executor.catalog import nodes
from executor.catalog.files import FileError, PluginFiles
from executor.catalog.findings import Code, has_errors
from executor.catalog.plugin import Loaded, load_plugin
from tests.executor.catalog.plugins import GOOD, load, places, write_plugin

REFERENCES = {
    "group/cat.yaml": ("manifest.yaml", "manifest.yaml:15:7"),
    "endpoints/cat.yaml": ("group/cat.yaml", "group/cat.yaml:20:5"),
    "endpoints/cat.py": ("endpoints/cat.yaml", "endpoints/cat.yaml:5:13"),
}
"""The files of the good plugin, and where each is named."""

PROPERTY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a good plugin, with a secret beside it."""
    (tmp_path / "secret.yaml").write_text("path: /secret\n")
    (tmp_path / "secrets").mkdir()
    return write_plugin(tmp_path / "plugin")


def _check(loaded: Loaded) -> None:
    """Hold what must be true of whatever was loaded."""
    assert (loaded.plugin is None) == has_errors(loaded.findings)
    for finding in loaded.findings:
        assert str(finding).isprintable()
        assert finding.message
        assert (finding.line is None) == (finding.column is None)
        assert finding.line is None or finding.line > 0
        assert finding.column is None or finding.column > 0
    if loaded.plugin is None:
        return
    assert loaded.plugin.name
    assert loaded.plugin.endpoints
    for endpoint in loaded.plugin.endpoints:
        assert endpoint.path.startswith("/")
        assert endpoint.method.isupper()
        assert (loaded.plugin.root / endpoint.source).is_file()
    for setting in loaded.plugin.settings:
        assert setting.name


@pytest.mark.parametrize("file", REFERENCES)
@pytest.mark.parametrize("target", ["../../secret.yaml", "/etc/hostname", "/proc/self/environ"])
def test_a_link_out_of_the_plugin_is_refused(root: Path, file: str, target: str) -> None:
    """A link cannot make the service read a file elsewhere; what is in it is not shown."""
    (root / file).unlink()
    (root / file).symlink_to(target)

    findings = load_plugin(root).findings

    assert places(findings) == [("file.outside", REFERENCES[file][1])]
    assert "secret" not in findings[0].message.replace("secret.yaml", "")


def test_a_folder_that_is_a_link_out_is_refused(root: Path) -> None:
    """Links on the way count as well."""
    (root / "endpoints" / "cat.yaml").unlink()
    (root / "endpoints" / "cat.py").unlink()
    (root / "endpoints").rmdir()
    (root / "endpoints").symlink_to("../secrets")
    (root.parent / "secrets" / "cat.yaml").write_text("path: /x")

    assert [code for code, _ in places(load_plugin(root).findings)] == ["file.outside"]


def test_a_manifest_that_is_a_link_out_is_refused(root: Path) -> None:
    """Also the first file of all."""
    (root / "manifest.yaml").unlink()
    (root / "manifest.yaml").symlink_to("../secret.yaml")

    assert places(load_plugin(root).findings) == [("file.outside", "manifest.yaml")]


def test_a_link_inside_of_the_plugin_is_followed(root: Path) -> None:
    """Links as such are fine."""
    (root / "endpoints" / "cat.py").rename(root / "real.py")
    (root / "endpoints" / "cat.py").symlink_to("../real.py")

    loaded = load_plugin(root)

    assert loaded.plugin is not None
    assert loaded.plugin.endpoints[0].source == "endpoints/cat.py"


@pytest.mark.parametrize("file", REFERENCES)
def test_a_circle_of_links_is_refused(root: Path, file: str) -> None:
    """A link to itself ends in a finding."""
    (root / file).unlink()
    (root / file).symlink_to(Path(file).name)

    assert places(load_plugin(root).findings) == [("file.unreadable", REFERENCES[file][1])]


@pytest.mark.parametrize("file", REFERENCES)
def test_a_named_pipe_is_not_opened(root: Path, file: str) -> None:
    """A pipe without a writer would block forever."""
    (root / file).unlink()
    os.mkfifo(root / file)

    findings = load_plugin(root).findings

    assert places(findings) == [("file.kind", REFERENCES[file][1])]
    assert "a named pipe" in findings[0].message


def test_a_manifest_that_is_a_pipe(root: Path) -> None:
    """Also the first file of all."""
    (root / "manifest.yaml").unlink()
    os.mkfifo(root / "manifest.yaml")

    assert places(load_plugin(root).findings) == [("file.kind", "manifest.yaml")]


def test_a_socket_is_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a socket."""
    (root / "endpoints" / "cat.py").unlink()
    monkeypatch.chdir(root / "endpoints")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("cat.py")

        assert places(load_plugin(root).findings) == [("file.kind", REFERENCES["endpoints/cat.py"][1])]


def test_a_file_that_is_swapped_for_a_pipe(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the reading the file may change; it is looked at again when it is open."""
    files = PluginFiles(root)
    (root / "pipe").touch()
    path = files._stat("pipe")
    (root / "pipe").unlink()
    os.mkfifo(root / "pipe")
    monkeypatch.setattr(files, "_stat", lambda _: path)

    with pytest.raises(FileError) as caught:
        files.read("pipe")

    assert caught.value.code is Code.FILE_KIND


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(root: Path) -> None:
    """What cannot be read is a finding."""
    (root / "group" / "cat.yaml").chmod(0)

    assert places(load_plugin(root).findings) == [("file.unreadable", "group/cat.yaml")]


def test_a_bomb_is_given_up_early(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A document that would unfold to 10**100 values makes fewer than a hundred nodes."""
    made = 0
    post_init = nodes.Node.__init__

    def count(self: nodes.Node, **values: Any) -> None:
        nonlocal made
        made += 1
        post_init(self, **values)

    monkeypatch.setattr(nodes.Node, "__init__", count)
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 100))

    findings = load(tmp_path, {**GOOD, "manifest.yaml": bomb}).findings

    assert [finding.code for finding in findings] == ["yaml.too_large"]
    assert made < 100


def test_a_bomb_of_merge_keys_is_given_up(tmp_path: Path) -> None:
    """Merging counts as well."""
    bomb = f"a0: &a0 {{{', '.join(f'k{n}: 1' for n in range(1000))}}}\n"
    bomb += "".join(f"a{n}: {{<<: *a0}}\n" for n in range(1, 100))

    findings = load(tmp_path, {**GOOD, "manifest.yaml": bomb}).findings

    assert [finding.code for finding in findings] == ["yaml.too_large"]


def test_an_alias_cannot_make_a_document_deep(tmp_path: Path) -> None:
    """Levels are counted with aliases unfolded."""
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))

    findings = load(tmp_path, {**GOOD, "manifest.yaml": chain}).findings

    assert places(findings) == [("yaml.too_large", "manifest.yaml:32:12")]


def test_endpoint_files_are_read_a_bounded_number_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of names of one large file do not keep the reader busy."""
    reads = 0
    read = PluginFiles.read

    def count(self: PluginFiles, path: str) -> bytes:
        nonlocal reads
        reads += 1
        return read(self, path)

    monkeypatch.setattr(PluginFiles, "read", count)

    findings = load(tmp_path, {**GOOD, "group/cat.yaml": "endpoints:\n" + "- endpoints/cat.yaml\n" * 5000}).findings

    assert "plugin.too_large" in [finding.code for finding in findings]
    assert reads < 300


BYTES = st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(max_size=20)
    | st.sampled_from(
        [*REFERENCES, "plugin", "select", "text-input", "boolean", "model-selector", "GET", "post", "/", "/<x>", "1.0"]
    )
)
KEYS = st.sampled_from(
    [
        *("version", "type", "author", "name", "label", "description", "icon", "created_at", "resource", "memory"),
        *("plugins", "endpoints", "tools", "meta", "runner", "language", "settings", "required", "default", "options"),
        *("scope", "multiple", "placeholder", "help", "url", "value", "en_US", "ja_Jp", "path", "method", "hidden"),
        *("extra", "python", "source", "<<"),
    ]
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=8), max_leaves=30
)
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(KEYS, LEAVES, max_size=3)


def _mutations() -> st.SearchStrategy[bytes]:
    """Yield files of the good plugin with one piece cut out or replaced."""
    pieces = st.sampled_from(
        [b"", b"\0", b"\t", b"&a ", b"*a", b"- ", b": ", b"{", b"]", b"'", b"\n---\n", b"!!", b"<<: *a"]
    )

    def mutate(content: str | bytes, start: int, length: int, piece: bytes) -> bytes:
        data = content if isinstance(content, bytes) else content.encode()
        start %= len(data)
        return data[:start] + piece + data[start + length :]

    numbers = st.integers(0, 1000)
    return st.builds(mutate, st.sampled_from(list(GOOD.values())), numbers, st.integers(0, 30), pieces)


CONTENTS = BYTES | _mutations() | DOCUMENTS.map(lambda data: yaml.safe_dump(data, allow_unicode=True).encode())


@pytest.fixture(scope="module")
def folders() -> Iterator[Path]:
    """Give one folder for all examples of a property."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@PROPERTY
@given(file=st.sampled_from(["manifest.yaml", *REFERENCES]), content=CONTENTS)
@example(file="manifest.yaml", content=b"? a\n: b")
@example(file="group/cat.yaml", content=b"endpoints: [endpoints/cat.yaml]\nsettings: {2025-01-01: {type: text-input}}")
@example(file="group/cat.yaml", content=b"a: &a {<<: &b {}, *b : 1}\nendpoints: *b")
def test_garbage_gives_findings_or_a_plugin(folders: Path, file: str, content: bytes) -> None:
    """Whatever is in one of the files, nothing raises, and what is called a plugin can be served."""
    _check(load(folders, {**GOOD, file: content}))


@PROPERTY
@given(manifest=DOCUMENTS, group=DOCUMENTS, endpoint=DOCUMENTS)
def test_wrong_documents_give_findings_or_a_plugin(folders: Path, manifest: Any, group: Any, endpoint: Any) -> None:
    """Well-formed documents of all shapes, in all three places at once."""
    documents = {"manifest.yaml": manifest, "group/cat.yaml": group, "endpoints/cat.yaml": endpoint}

    _check(load(folders, {**GOOD, **{name: yaml.safe_dump(document) for name, document in documents.items()}}))


@PROPERTY
@given(
    settings=st.lists(st.dictionaries(KEYS, VALUES, max_size=8), max_size=3),
    endpoint=st.dictionaries(KEYS, VALUES),
)
def test_wrong_declarations_give_findings_or_a_plugin(folders: Path, settings: Any, endpoint: Any) -> None:
    """Settings and endpoints of all shapes where settings and endpoints belong."""
    group = {"settings": settings, "endpoints": [endpoint, "endpoints/cat.yaml"]}

    _check(load(folders, {**GOOD, "group/cat.yaml": yaml.safe_dump(group)}))
