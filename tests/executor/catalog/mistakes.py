"""Everything that can be wrong with a plugin, and what must be said about it.

The first mistake of each code is the example in `docs/declarations.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from executor.catalog.findings import Code
from tests.executor.catalog.plugins import GOOD, Edit, edited

__all__ = ["MISTAKES", "Mistake"]

MANIFEST, GROUP, ENDPOINT, SOURCE = "manifest.yaml", "group/cat.yaml", "endpoints/cat.yaml", "endpoints/cat.py"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A plugin with a mistake.

    Attributes:
        what: The mistake, in some words.
        code: The code that is expected.
        place: The place that is expected, `file:line:column`, or `file` for the file as a whole.
        files: The plugin.
    """

    what: str
    code: Code
    place: str
    files: Mapping[str, str | bytes]


def _edit(what: str, code: Code, place: str, *edit: str) -> Mistake:
    return Mistake(what, code, place, edited(Edit(*edit)))


def _file(what: str, code: Code, place: str, file: str, content: str | bytes) -> Mistake:
    return Mistake(what, code, place, {**GOOD, file: content})


def _rule(what: str, code: Code, path: str) -> Mistake:
    return _edit(what, code, "endpoints/cat.yaml:1:7", ENDPOINT, "/cat/<name>", path)


def _class(what: str, code: Code, place: str, source: str) -> Mistake:
    return _file(what, code, f"{SOURCE}{place}", SOURCE, source)


def _without(file: str) -> dict[str, str | bytes]:
    return {name: content for name, content in GOOD.items() if name != file}


def _settings(count: int) -> str:
    return "settings:\n" + "".join(
        f"  - {{name: s{index}, type: text-input, label: {{en_US: S}}}}\n" for index in range(count)
    )


def _endpoints(count: int) -> str:
    return "endpoints:\n" + "".join(
        f"  - {{path: /{index}, method: GET, extra: {{python: {{source: endpoints/cat.py}}}}}}\n"
        for index in range(count)
    )


SECOND_GROUP = [
    Edit(MANIFEST, "    - group/cat.yaml\n", "    - group/cat.yaml\n    - group/dog.yaml\n"),
]
DOG = """\
settings:
  - name: token
    type: text-input
    label: {en_US: Token}
endpoints:
  - path: /dog
    method: GET
    extra: {python: {source: endpoints/cat.py}}
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
SELECT = "settings:\n  - {name: s, type: select, label: {en_US: S}, options:"
OPTIONS = ", ".join(f'{{value: "{number}", label: {{en_US: O}}}}' for number in range(128))
BASE = "from dify_plugin import Endpoint\n"
INVOKE = "    def _invoke(self, r, values, settings): ...\n"

MISTAKES: tuple[Mistake, ...] = (
    # files
    Mistake("no manifest", Code.FILE_MISSING, "manifest.yaml", _without(MANIFEST)),
    _edit("no such group", Code.FILE_MISSING, "manifest.yaml:15:7", MANIFEST, "group/cat.yaml", "group/dog.yaml"),
    _edit("no such endpoint file", Code.FILE_MISSING, "group/cat.yaml:20:5", GROUP, "endpoints/cat.yaml", "x.yaml"),
    _edit("no such source", Code.FILE_MISSING, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", "cat.py"),
    _edit("below a file", Code.FILE_MISSING, "endpoints/cat.yaml:5:13", ENDPOINT, "/cat.py", "/cat.py/x.py"),
    _edit("folder as source", Code.FILE_KIND, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", "endpoints"),
    _edit("folder as group", Code.FILE_KIND, "manifest.yaml:15:7", MANIFEST, "group/cat.yaml", "group"),
    _edit("parent folder", Code.FILE_OUTSIDE, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", "../../x.py"),
    _edit("parent of group", Code.FILE_OUTSIDE, "manifest.yaml:15:7", MANIFEST, "group/cat.yaml", "a/../../x.yaml"),
    _edit("parent only", Code.FILE_OUTSIDE, "manifest.yaml:15:7", MANIFEST, "group/cat.yaml", '".."'),
    _edit("absolute", Code.FILE_PATH, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", "/etc/passwd"),
    _edit("empty path", Code.FILE_PATH, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", '" "'),
    _edit("NUL in path", Code.FILE_PATH, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", '"a\\0.py"'),
    _edit("long path", Code.FILE_PATH, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", "x" * 2000),
    _edit("long name", Code.FILE_UNREADABLE, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", "x" * 500),
    _file("huge", Code.FILE_TOO_LARGE, "endpoints/cat.yaml", ENDPOINT, "#" * (256 * 1024 + 1)),
    _file("latin-1", Code.FILE_ENCODING, "endpoints/cat.yaml:2:9", ENDPOINT, b"path: /x\nmethod: \xe9"),
    _file("UTF-16", Code.FILE_ENCODING, "manifest.yaml:1:1", MANIFEST, "version: 1".encode("utf-16")),
    _file("NUL", Code.FILE_ENCODING, "group/cat.yaml:1:3", GROUP, b"a: \0".replace(b" ", b"")),
    _file("binary", Code.FILE_ENCODING, "manifest.yaml:1:1", MANIFEST, bytes(range(255, 0, -1))),
    # YAML
    _file("not YAML", Code.YAML_SYNTAX, "endpoints/cat.yaml:2:1", ENDPOINT, "path: [\n"),
    _file("tab", Code.YAML_SYNTAX, "endpoints/cat.yaml:2:1", ENDPOINT, "path:\n\t/x\n"),
    _file("empty", Code.YAML_EMPTY, "group/cat.yaml:1:1", GROUP, ""),
    _file("comments only", Code.YAML_EMPTY, "group/cat.yaml:1:1", GROUP, "# nothing\n"),
    _file("two documents", Code.YAML_DOCUMENTS, "endpoints/cat.yaml:2:1", ENDPOINT, "path: /x\n---\npath: /y\n"),
    _edit("key twice", Code.YAML_DUPLICATE_KEY, "manifest.yaml:3:1", MANIFEST, "author:", "type: plugin\nauthor:"),
    _edit(
        "key twice, deep",
        Code.YAML_DUPLICATE_KEY,
        "endpoints/cat.yaml:6:5",
        ENDPOINT,
        "cat.py",
        "cat.py\n    source: x.py",
    ),
    _edit("integer key", Code.YAML_KEY, "manifest.yaml:17:3", MANIFEST, "  runner:", "  1: x\n  runner:"),
    _edit("list key", Code.YAML_KEY, "manifest.yaml:17:5", MANIFEST, "  runner:", "  ? [a]\n  : x\n  runner:"),
    _edit("Norway", Code.YAML_KEY, "manifest.yaml:6:3", MANIFEST, "  en_US: Cat", "  no: Katt\n  en_US: Cat"),
    _edit("Python tag", Code.YAML_TAG, "manifest.yaml:9:7", MANIFEST, "icon.svg", "!!python/name:os.system icon.svg"),
    _edit("tag of list", Code.YAML_TAG, "manifest.yaml:14:14", MANIFEST, "endpoints:", "endpoints: !!set"),
    _edit("bad number", Code.YAML_NUMBER, "manifest.yaml:12:11", MANIFEST, "268435456", "!!int twelve"),
    _edit("bad tagged bool", Code.YAML_NUMBER, "manifest.yaml:12:11", MANIFEST, "268435456", "!!bool maybe"),
    _edit("no anchor", Code.YAML_ALIAS, "manifest.yaml:9:7", MANIFEST, "icon.svg", "*nothing"),
    _edit("recursion", Code.YAML_ALIAS, "group/cat.yaml:20:12", GROUP, "- endpoints/cat.yaml", "- &x [a, *x]"),
    _file("bomb", Code.YAML_TOO_LARGE, "manifest.yaml:5:8", MANIFEST, BOMB),
    _file("directives", Code.YAML_TOO_LARGE, "manifest.yaml:1:1", MANIFEST, "%TAG !a! b\n" * 200),
    _file("deep", Code.YAML_TOO_LARGE, "manifest.yaml:1:33", MANIFEST, "[" * 100_000),
    _file("wide", Code.YAML_TOO_LARGE, "manifest.yaml:20000:3", MANIFEST, "- x\n" * 60_000),
    # shapes
    _edit("no author", Code.FIELD_MISSING, "manifest.yaml:1:1", MANIFEST, "author: tester\n", ""),
    _edit("empty author", Code.FIELD_MISSING, "manifest.yaml:3:8", MANIFEST, "author: tester", "author:"),
    _edit("no plugins", Code.FIELD_MISSING, "manifest.yaml:1:1", MANIFEST, "plugins:", "extensions:"),
    _edit("no source", Code.FIELD_MISSING, "endpoints/cat.yaml:4:3", ENDPOINT, "  python:", "  node:"),
    _edit("no extra", Code.FIELD_MISSING, "endpoints/cat.yaml:1:1", ENDPOINT, "extra:", "extras:"),
    _edit("no method", Code.FIELD_MISSING, "endpoints/cat.yaml:1:1", ENDPOINT, "method: GET\n", ""),
    _edit("setting without name", Code.FIELD_MISSING, "group/cat.yaml:2:5", GROUP, "name: token", "title: token"),
    _edit("version as number", Code.FIELD_TYPE, "manifest.yaml:1:10", MANIFEST, "0.0.1", "0.1"),
    _edit("name as date", Code.FIELD_TYPE, "manifest.yaml:4:7", MANIFEST, "cat", "2025-01-01"),
    _edit("group as map", Code.FIELD_TYPE, "manifest.yaml:15:7", MANIFEST, "group/cat.yaml", "{a: b}"),
    _edit("endpoints as map", Code.FIELD_TYPE, "manifest.yaml:15:5", MANIFEST, "- group/", "a: group/"),
    _edit("required as text", Code.FIELD_TYPE, "group/cat.yaml:4:15", GROUP, "required: true", 'required: "true"'),
    _edit("settings as text", Code.FIELD_TYPE, "group/cat.yaml:1:11", GROUP, "settings:", "settings: x\nothers:"),
    _edit("setting as text", Code.FIELD_TYPE, "group/cat.yaml:2:5", GROUP, "- name", "- token\n  - name"),
    _edit("endpoint as number", Code.FIELD_TYPE, "group/cat.yaml:20:5", GROUP, "endpoints/cat.yaml", "7"),
    _edit("extra as text", Code.FIELD_TYPE, "endpoints/cat.yaml:3:8", ENDPOINT, "extra:", "extra: x\nextras:"),
    _edit("bad merge", Code.FIELD_TYPE, "manifest.yaml:1:5", MANIFEST, "version", "<<: x\nversion"),
    _file("manifest as list", Code.FIELD_TYPE, "manifest.yaml:1:1", MANIFEST, "- a\n- b\n"),
    _file("endpoint file as text", Code.FIELD_TYPE, "endpoints/cat.yaml:1:1", ENDPOINT, "cat"),
    _edit("no en_US", Code.FIELD_TEXT, "group/cat.yaml:6:7", GROUP, "en_US: Token", "zh_Hans: Token"),
    _edit("label as text", Code.FIELD_TEXT, "manifest.yaml:5:8", MANIFEST, "label:\n  en_US: Cat", "label: Cat"),
    _edit("no label", Code.FIELD_TEXT, "group/cat.yaml:2:5", GROUP, "    label:\n      en_US: Token\n", ""),
    _edit("label as list", Code.FIELD_TEXT, "manifest.yaml:6:10", MANIFEST, "en_US: Cat", "en_US: [Cat]"),
    # manifest
    _edit("type", Code.MANIFEST_TYPE, "manifest.yaml:2:7", MANIFEST, "type: plugin", "type: bundle"),
    _edit("version", Code.MANIFEST_VERSION, "manifest.yaml:1:10", MANIFEST, "0.0.1", "latest"),
    _edit("PEP 440", Code.MANIFEST_VERSION_FORM, "manifest.yaml:1:10", MANIFEST, "0.0.1", "1.2rc1"),
    _edit("author", Code.MANIFEST_AUTHOR, "manifest.yaml:3:9", MANIFEST, "tester", "Some One"),
    _edit("long author", Code.MANIFEST_AUTHOR, "manifest.yaml:3:9", MANIFEST, "tester", "a" * 65),
    _edit("capitals", Code.MANIFEST_AUTHOR_CASE, "manifest.yaml:3:9", MANIFEST, "tester", "Tester"),
    _edit("name", Code.MANIFEST_NAME, "manifest.yaml:4:7", MANIFEST, "name: cat", "name: Rainbow Cat"),
    _edit("name with line", Code.MANIFEST_NAME, "manifest.yaml:4:7", MANIFEST, "name: cat", 'name: "cat\\n"'),
    _edit("created", Code.MANIFEST_CREATED_AT, "manifest.yaml:10:13", MANIFEST, "2025-01-31T12:00:00Z", "yesterday"),
    _edit("no such month", Code.MANIFEST_CREATED_AT, "manifest.yaml:10:13", MANIFEST, "2025-01-31", "2025-13-31"),
    _edit("icon", Code.MANIFEST_ICON, "manifest.yaml:9:7", MANIFEST, "icon.svg", "cat.svg"),
    _edit("icon outside", Code.MANIFEST_ICON, "manifest.yaml:9:7", MANIFEST, "icon.svg", "../../icon.svg"),
    _edit("language", Code.MANIFEST_LANGUAGE, "manifest.yaml:18:15", MANIFEST, "language: python", "language: go"),
    _edit("memory", Code.MANIFEST_MEMORY, "manifest.yaml:12:11", MANIFEST, "268435456", "256 MiB"),
    _edit("no memory", Code.MANIFEST_MEMORY, "manifest.yaml:12:11", MANIFEST, "268435456", "0"),
    _edit(
        "permission", Code.MANIFEST_PERMISSION, "manifest.yaml:13:15", MANIFEST, "268435456", "1\n  permission: [app]"
    ),
    _edit("with a model", Code.MANIFEST_MIXED, "manifest.yaml:16:3", MANIFEST, "meta:", "  models: [m.yaml]\nmeta:"),
    Mistake(
        "two groups", Code.MANIFEST_GROUPS, "manifest.yaml:15:5", {**edited(*SECOND_GROUP), "group/dog.yaml": "{}"}
    ),
    _edit("tools only", Code.MANIFEST_NO_ENDPOINTS, "manifest.yaml:14:3", MANIFEST, "endpoints:", "tools:"),
    _edit("no groups", Code.MANIFEST_NO_ENDPOINTS, "manifest.yaml:14:13", MANIFEST, "\n    - group/cat.yaml", ""),
    _edit("empty list", Code.MANIFEST_NO_ENDPOINTS, "manifest.yaml:14:14", MANIFEST, "\n    - group/cat.yaml", " []"),
    _edit("empty group", Code.MANIFEST_NO_ENDPOINTS, "manifest.yaml:15:5", GROUP, "  - endpoints/cat.yaml", ""),
    # groups
    _file(
        "settings as map",
        Code.GROUP_SETTINGS_FORM,
        "group/cat.yaml:2:3",
        GROUP,
        "settings:\n  token:\n    type: text-input\n    label: {en_US: T}\nendpoints: [endpoints/cat.yaml]",
    ),
    _file(
        "settings null",
        Code.GROUP_SETTINGS_FORM,
        "group/cat.yaml:1:10",
        GROUP,
        "settings:\nendpoints: [endpoints/cat.yaml]",
    ),
    _edit("endpoints null", Code.GROUP_ENDPOINTS_FORM, "group/cat.yaml:19:11", GROUP, "\n  - endpoints/cat.yaml", ""),
    # settings
    _edit("empty name", Code.SETTING_NAME, "group/cat.yaml:2:11", GROUP, "token", '""'),
    _edit("name twice", Code.SETTING_DUPLICATE, "group/cat.yaml:7:11", GROUP, "colour", "token"),
    Mistake("conflict", Code.SETTING_CONFLICT, "group/dog.yaml:2:5", {**edited(*SECOND_GROUP), "group/dog.yaml": DOG}),
    _edit("type", Code.SETTING_TYPE, "group/cat.yaml:3:11", GROUP, "secret-input", "number"),
    _edit("type any", Code.SETTING_TYPE, "group/cat.yaml:3:11", GROUP, "secret-input", "any"),
    _edit("no options", Code.SETTING_OPTIONS, "group/cat.yaml:2:5", GROUP, "secret-input", "select"),
    _edit(
        "empty options", Code.SETTING_OPTIONS, "group/cat.yaml:4:14", GROUP, "secret-input", "select\n    options: []"
    ),
    _edit("option as number", Code.FIELD_TYPE, "group/cat.yaml:14:16", GROUP, "value: blue", "value: 7"),
    _file("many options", Code.SETTING_OPTIONS, "group/cat.yaml:2:57", GROUP, f"{SELECT} [{OPTIONS}]}}"),
    _edit("option twice", Code.SETTING_OPTIONS, "group/cat.yaml:14:16", GROUP, "value: blue", "value: red"),
    _edit(
        "options unused", Code.SETTING_OPTIONS_UNUSED, "group/cat.yaml:11:7", GROUP, "type: select", "type: text-input"
    ),
    _edit("default", Code.SETTING_DEFAULT, "group/cat.yaml:9:14", GROUP, "default: red", "default: green"),
    _edit("number for text", Code.SETTING_DEFAULT, "group/cat.yaml:4:14", GROUP, "required: true", "default: 42"),
    _edit("list for text", Code.SETTING_DEFAULT, "group/cat.yaml:4:14", GROUP, "required: true", "default: [a]"),
    _edit("scope of text", Code.SETTING_SCOPE, "group/cat.yaml:4:12", GROUP, "required: true", "scope: chat"),
    _edit(
        "scope",
        Code.SETTING_SCOPE,
        "group/cat.yaml:4:12",
        GROUP,
        "secret-input\n    required: true",
        "app-selector\n    scope: agent",
    ),
    _file(
        "65 settings",
        Code.SETTING_TOO_MANY,
        "group/cat.yaml:66:5",
        GROUP,
        _settings(65) + "endpoints: [endpoints/cat.yaml]",
    ),
    # endpoints
    _rule("no slash", Code.ENDPOINT_PATH_SLASH, "cat/<name>"),
    _rule("empty", Code.ENDPOINT_PATH_SLASH, '""'),
    _rule("not closed", Code.ENDPOINT_PATH_RULE, "/cat/<name"),
    _rule("no name", Code.ENDPOINT_PATH_RULE, "/cat/<>"),
    _rule("bad argument", Code.ENDPOINT_PATH_RULE, "/cat/<string(size=3):name>"),
    _rule("argument of other type", Code.ENDPOINT_PATH_RULE, "/cat/<int(min=a):name>"),
    _rule("huge argument", Code.ENDPOINT_PATH_RULE, "/cat/<string(length=99999999999999999999):name>"),
    _rule("huge float", Code.ENDPOINT_PATH_RULE, f"/cat/<string(length={'9' * 400}.0):name>"),
    _rule("converter", Code.ENDPOINT_PATH_CONVERTER, "/cat/<regex:name>"),
    _rule("variable twice", Code.ENDPOINT_PATH_VARIABLE, "/cat/<name>/<name>"),
    _rule("costly", Code.ENDPOINT_PATH_COSTLY, "/cat/<a>-<b>-<c>-<d>-<e>-<f>-<g>"),
    _rule("costly list", Code.ENDPOINT_PATH_COSTLY, "/" + "".join(f"<any({'a,' * 19}a):v{name}>" for name in "abcdef")),
    _rule("long", Code.ENDPOINT_PATH_COSTLY, "/" + "x" * 600),
    _rule("many slashes", Code.ENDPOINT_PATH_COSTLY, "/x" * 65),
    _edit("method", Code.ENDPOINT_METHOD, "endpoints/cat.yaml:2:9", ENDPOINT, "GET", "FETCH"),
    _edit("small letters", Code.ENDPOINT_METHOD_FORM, "endpoints/cat.yaml:2:9", ENDPOINT, "GET", "get"),
    _edit("PATCH", Code.ENDPOINT_METHOD_FORM, "endpoints/cat.yaml:2:9", ENDPOINT, "GET", "PATCH"),
    _edit(
        "twice",
        Code.ENDPOINT_DUPLICATE,
        "group/cat.yaml:21:12",
        GROUP,
        "  - endpoints/cat.yaml\n",
        "  - endpoints/cat.yaml\n  - {path: /cat/<other>, method: GET, extra: {python: {source: endpoints/cat.py}}}\n",
    ),
    _edit(
        "file twice", Code.ENDPOINT_DUPLICATE, "endpoints/cat.yaml:1:7", GROUP, "  - e", "  - endpoints/cat.yaml\n  - e"
    ),
    # sources
    _edit("suffix", Code.SOURCE_SUFFIX, "endpoints/cat.yaml:5:13", ENDPOINT, "endpoints/cat.py", "endpoints/cat.yaml"),
    _class("syntax", Code.SOURCE_SYNTAX, ":2:11", "import os\nclass Cat(:\n"),
    _class("nested", Code.SOURCE_SYNTAX, "", "-" * 100_000 + "1"),
    _class("no class", Code.SOURCE_NO_CLASS, ":1:1", "def cat(): ...\n"),
    _class(
        "two classes",
        Code.SOURCE_SEVERAL_CLASSES,
        ":4:1",
        f"{BASE}class A(Endpoint):\n{INVOKE}class B(Endpoint):\n{INVOKE}",
    ),
    _class("no _invoke", Code.SOURCE_NO_INVOKE, ":2:1", f"{BASE}class A(Endpoint):\n    def invoke(self): ...\n"),
    _class(
        "async", Code.SOURCE_ASYNC_INVOKE, ":3:5", f"{BASE}class A(Endpoint):\n{INVOKE.replace('def', 'async def')}"
    ),
    _class(
        "generator", Code.SOURCE_ASYNC_INVOKE, ":3:5", f"{BASE}class A(Endpoint):\n{INVOKE.replace('...', 'yield 1')}"
    ),
    _file(
        "large",
        Code.SOURCE_UNCHECKED,
        "endpoints/cat.yaml:5:13",
        SOURCE,
        f"{BASE}class A(Endpoint):\n{INVOKE}{'#' * 300_000}",
    ),
    _class("braces", Code.SOURCE_UNCHECKED, "", f"{BASE}x = f'{'{1}' * 20_000}'"),
    _class("dots", Code.SOURCE_UNCHECKED, "", f"import a{'.b' * 20_000}"),
    # plugins
    Mistake("no folder", Code.PLUGIN_FOLDER, ".", {}),
    _file("too many endpoints", Code.PLUGIN_TOO_LARGE, "manifest.yaml:15:5", GROUP, _endpoints(257)),
    _edit(
        "too many groups",
        Code.PLUGIN_TOO_LARGE,
        "manifest.yaml:47:7",
        MANIFEST,
        "    - group/cat.yaml\n",
        "    - group/cat.yaml\n" * 33,
    ),
    _file("too many mistakes", Code.PLUGIN_TOO_MANY_FINDINGS, ".", GROUP, "settings: [" + "1, " * 500 + "]"),
)
