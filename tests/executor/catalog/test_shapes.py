"""Every shape of declarations that real plugins use is understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.catalog.plugin import Plugin
from executor.catalog.settings import SettingType
from tests.executor.catalog.plugins import GOOD, Edit, edited, load, places

INLINE = "{path: %s, method: %s, extra: {python: {source: endpoints/cat.py}}}"


def _load(root: Path, files: dict[str, str | bytes] | dict[str, str], warnings: tuple[str, ...] = ()) -> Plugin:
    loaded = load(root, {**GOOD, **files})
    assert [finding.code for finding in loaded.findings] == list(warnings)
    assert loaded.plugin is not None
    return loaded.plugin


def test_what_a_plugin_tells(tmp_path: Path) -> None:
    """All that the service needs is read."""
    plugin = _load(tmp_path, {})

    assert (plugin.author, plugin.name, plugin.version) == ("tester", "cat", "0.0.1")
    assert str(plugin.label) == "Cat"
    assert plugin.root == tmp_path.resolve()
    assert plugin.groups == (Path("group/cat.yaml"),)
    assert plugin.memory_hint_bytes == 268435456
    (endpoint,) = plugin.endpoints
    assert (endpoint.path, endpoint.method, endpoint.source) == ("/cat/<name>", "GET", "endpoints/cat.py")
    assert (endpoint.declared_in, endpoint.line, endpoint.hidden) == (Path("endpoints/cat.yaml"), 1, False)
    token, colour = plugin.settings
    assert (token.name, token.type, token.required, token.secret) == ("token", SettingType.SECRET_INPUT, True, True)
    assert [option.value for option in colour.options] == ["red", "blue"]
    assert colour.default == "red"


def test_settings_as_map(tmp_path: Path) -> None:
    """The form of Dify's documentation is understood; the key becomes the name."""
    group = "settings:\n  token:\n    type: text-input\n    label: {en_US: T}\nendpoints: [endpoints/cat.yaml]\n"

    plugin = _load(tmp_path, {"group/cat.yaml": group}, ("group.settings_form",))

    assert [setting.name for setting in plugin.settings] == ["token"]


@pytest.mark.parametrize(
    ("settings", "warnings"), [("", ()), ("settings: []\n", ()), ("settings:\n", ("group.settings_form",))]
)
def test_no_settings(tmp_path: Path, settings: str, warnings: tuple[str, ...]) -> None:
    """Missing, empty and null settings are no settings."""
    plugin = _load(tmp_path, {"group/cat.yaml": f"{settings}endpoints: [endpoints/cat.yaml]\n"}, warnings)

    assert plugin.settings == ()


def test_endpoints_inline_and_by_file(tmp_path: Path) -> None:
    """Both may stand in one list; the order is kept; two endpoints may share a source or a path."""
    group = f"endpoints:\n  - {INLINE % ('/a', 'GET')}\n  - endpoints/cat.yaml\n  - {INLINE % ('/a', 'POST')}\n"

    plugin = _load(tmp_path, {"group/cat.yaml": group})

    assert [(endpoint.method, endpoint.path) for endpoint in plugin.endpoints] == [
        ("GET", "/a"),
        ("GET", "/cat/<name>"),
        ("POST", "/a"),
    ]
    assert [endpoint.line for endpoint in plugin.endpoints] == [2, 1, 4]


def test_several_groups(tmp_path: Path) -> None:
    """Endpoints of all groups are served; settings are merged by name."""
    files = edited(Edit("manifest.yaml", "    - group/cat.yaml\n", "    - group/cat.yaml\n    - group/dog.yaml\n"))
    files["group/dog.yaml"] = (
        "settings:\n"
        "  - {name: bone, type: boolean, default: 1, label: {en_US: Bone}}\n"
        "  - {name: token, type: secret-input, required: true, label: {en_US: The same token}}\n"
        f"endpoints: [{INLINE % ('/dog', 'GET')}]\n"
    )

    plugin = _load(tmp_path, files, ("manifest.groups",))

    assert [setting.name for setting in plugin.settings] == ["token", "colour", "bone"]
    assert plugin.settings[2].default is True
    assert [endpoint.path for endpoint in plugin.endpoints] == ["/cat/<name>", "/dog"]
    assert plugin.groups == (Path("group/cat.yaml"), Path("group/dog.yaml"))


def test_hidden_endpoints_are_endpoints(tmp_path: Path) -> None:
    """`hidden` is for people; such an endpoint is served."""
    files = edited(Edit("endpoints/cat.yaml", "method: GET", "method: GET\nhidden: true"))

    assert _load(tmp_path, files).endpoints[0].hidden


def test_unknown_keys_are_ignored_everywhere(tmp_path: Path) -> None:
    """At every level, whatever they hold."""
    files = edited(
        Edit("manifest.yaml", "version: 0.0.1", "new: {a: [1, 2.5, null, {b: c}]}\nversion: 0.0.1"),
        Edit("manifest.yaml", "  memory", "  disk: 1\n  memory"),
        Edit("manifest.yaml", "plugins:", "plugins:\n  robots: [r.yaml]"),
        Edit("manifest.yaml", "  en_US: Cat", "  en_US: Cat\n  zh_Hant: 貓\n  tlh: [1]"),
        Edit("group/cat.yaml", "settings:", "name: x\nlabel: 1\nsettings:"),
        Edit("group/cat.yaml", "    required: true", "    required: true\n    helper: {en_US: Help}"),
        Edit("group/cat.yaml", "      - value: red", "      - icon: 1\n        value: red"),
        Edit("endpoints/cat.yaml", "extra:", "label: {}\nextra:\n  node: {source: x}"),
    )

    assert _load(tmp_path, files).label.texts == {"en_US": "Cat"}


def test_languages(tmp_path: Path) -> None:
    """A misspelt language of real plugins counts, and what is missing falls back to English."""
    files = edited(Edit("manifest.yaml", "  en_US: Cat", "  en_US: Cat\n  ja_Jp: 猫\n  pt_BR:"))

    label = _load(tmp_path, files).label

    assert [label.get(locale) for locale in ("ja_JP", "pt_BR", "zh_Hans")] == ["猫", "Cat", "Cat"]


@pytest.mark.parametrize(
    "created_at",
    [
        "2024-12-17T11:05:59.151918+08:00",
        '"2024-09-26T18:04:48.085858404-04:00"',
        "'2025-02-10T00:00:00Z'",
        "2025-01-01",
        "",
    ],
)
def test_created_at(tmp_path: Path, created_at: str) -> None:
    """Quoted or not, with or without fractions, or not at all."""
    files = edited(Edit("manifest.yaml", "2025-01-31T12:00:00Z", created_at))

    assert _load(tmp_path, files).name == "cat"


@pytest.mark.parametrize("version", ["0.0.1", "9999.9999.9999", "1.2.3-beta", "1.2.3-rc_1"])
def test_versions(tmp_path: Path, version: str) -> None:
    """What Dify's daemon accepts is accepted without a word."""
    assert _load(tmp_path, edited(Edit("manifest.yaml", "0.0.1", version))).version == version


@pytest.mark.parametrize("version", ["1.2.3.4", "1!2.0", "2.0.post1", "1.0+local.7", "v1.2.3", '"12"'])
def test_versions_of_the_sdk(tmp_path: Path, version: str) -> None:
    """What only Dify's SDK accepts is served, with a warning."""
    plugin = _load(tmp_path, edited(Edit("manifest.yaml", "0.0.1", version)), ("manifest.version_form",))

    assert plugin.version == version.strip('"')


def test_tools_beside_endpoints(tmp_path: Path) -> None:
    """Other parts of a plugin are not looked at."""
    files = edited(Edit("manifest.yaml", "plugins:", "plugins:\n  tools: [nowhere.yaml]"))

    assert _load(tmp_path, files).name == "cat"


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    """The conveniences of YAML work: aliases are values, merged keys give way to written ones."""
    group = (
        "common: &common\n  type: text-input\n  required: true\n  label: &label {en_US: Name}\n"
        "settings:\n"
        "  - {<<: *common, name: first}\n"
        "  - {<<: [*common], name: second, required: false, label: *label}\n"
        "endpoints: [endpoints/cat.yaml]\n"
    )

    first, second = _load(tmp_path, {"group/cat.yaml": group}).settings

    assert (first.required, str(first.label)) == (True, "Name")
    assert (second.required, str(second.label)) == (False, "Name")


def test_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    """Files from Windows are read, and places in them are right."""
    files = {name: text.replace("\n", "\r\n") for name, text in GOOD.items() if isinstance(text, str)}
    files["endpoints/cat.yaml"] = "\ufeff" + files["endpoints/cat.yaml"].replace("GET", "get")

    loaded = load(tmp_path, files)

    assert places(loaded.findings) == [("endpoint.method_form", "endpoints/cat.yaml:2:9")]
    assert loaded.plugin is not None


@pytest.mark.parametrize("source", ["./endpoints/cat.py", "endpoints//cat.py", "endpoints/../endpoints/./cat.py"])
def test_sources_are_normalised(tmp_path: Path, source: str) -> None:
    """The same file has one name, however it was written."""
    plugin = _load(tmp_path, edited(Edit("endpoints/cat.yaml", "endpoints/cat.py", source)))

    assert plugin.endpoints[0].source == "endpoints/cat.py"


def test_the_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    """A link to the plugin's folder is followed once."""
    load(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert load(tmp_path / "link", {}).plugin == load(tmp_path / "real", {}).plugin
