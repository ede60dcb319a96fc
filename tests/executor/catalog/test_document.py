"""`docs/declarations.md` says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from executor.catalog import files, i18n, nodes, plugin, rules, setting, settings, values
from executor.catalog.endpoint import METHODS
from executor.catalog.findings import MAX_FINDINGS
from executor.catalog.settings import SettingType
from executor.cli.check import Checked, render_json
from tests.executor.catalog.plugins import load
from tests.executor.catalog.tables import DOCUMENT, insert_findings

TEXT = DOCUMENT.read_text(encoding="utf-8")
EXAMPLE: dict[str, str] = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))


def test_the_list_of_findings_is_drawn_from_the_code() -> None:
    """`python -m tests.executor.catalog.tables` brings it up to date."""
    assert insert_findings(TEXT) == TEXT


def test_the_example_is_a_good_plugin(tmp_path: Path) -> None:
    """A reader may copy it."""
    loaded = load(tmp_path, {**EXAMPLE, "_assets/icon.svg": "<svg/>"})

    assert loaded.findings == ()
    assert loaded.plugin is not None
    assert [(endpoint.method, endpoint.path) for endpoint in loaded.plugin.endpoints] == [
        ("GET", "/cat/<name>"),
        ("POST", "/cat/<name>/stroke"),
    ]


def test_the_example_of_json_is_real(tmp_path: Path) -> None:
    """The shape and the values are those of the command."""
    broken = {
        **EXAMPLE,
        "_assets/icon.svg": "",
        "endpoints/cat.yaml": EXAMPLE["endpoints/cat.yaml"].replace(": /", ": "),
    }
    document = render_json([Checked(Path("cat"), load(tmp_path, broken))])
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)

    assert json.loads(shown) == document
    assert document["plugins"][0]["findings"][0]["message"] in TEXT.split("```console")[1]


def test_limits_are_those_of_the_code() -> None:
    """Every number in the text is a constant."""
    flat = " ".join(TEXT.split())
    for phrase in (
        f"files of groups, at most {plugin.MAX_GROUPS}",
        f"at most {plugin.MAX_ENDPOINTS} in a plugin",
        f"at most {settings.MAX_SETTINGS} settings",
        f"at most {setting.MAX_OPTIONS}, each",
        f"of these, {values.MAX_DEPTH} levels deep",
        f"at most {rules.MAX_RULE} characters and {rules.MAX_SEGMENTS} slashes",
        *(f"up to {int(rules.MAX_WAYS ** (1 / count))}" for count in (2, 3, 4)),
        f"more than {files.MAX_FILE_BYTES // 1024} KiB",
        f"at most {files.MAX_FILE_BYTES // 1024} KiB; {nodes.MAX_NODES:,} values and {nodes.MAX_DEPTH} levels",
        f"{MAX_FINDINGS} findings in a plugin",
        *(f"| `{kind.value}` |" for kind in SettingType),
        *(f"`{method}`" for method in METHODS),
        *(f"`{locale}`" for locale in (*i18n.LOCALES, *i18n.SPELLINGS)),
    ):
        assert phrase in flat
