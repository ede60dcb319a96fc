"""A plugin, read from its folder: manifest, groups, endpoints, sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.catalog.cursor import Cursor
from executor.catalog.digest import compute_digest
from executor.catalog.endpoint import Endpoint, EndpointDraft
from executor.catalog.files import FileError, PluginFiles
from executor.catalog.findings import Code, Finding, Findings, has_errors
from executor.catalog.group import Group, read_group
from executor.catalog.i18n import LocalText
from executor.catalog.imports import find_imports
from executor.catalog.manifest import MANIFEST, Manifest, read_manifest
from executor.catalog.permissions import NO_PERMISSIONS, Permissions
from executor.catalog.scalars import Kind
from executor.catalog.setting import SettingDraft
from executor.catalog.settings import MAX_SETTINGS, Setting
from executor.catalog.source_check import OUR_PYTHON, SourceCheck
from executor.catalog.yaml_source import read_yaml
from executor.environments.environment import Environment

__all__ = ["MAX_ENDPOINTS", "MAX_GROUPS", "Loaded", "Plugin", "load_plugin"]

MAX_GROUPS: Final = 32
"""Groups of a plugin; real ones have one."""

MAX_ENDPOINTS: Final = 256
"""Endpoints of a plugin; real ones have at most ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin that can be served.

    Attributes:
        root: Its folder, with links followed.
        name: From the manifest.
        author: From the manifest.
        version: From the manifest, as it was written.
        label: Name for people.
        groups: Paths of its groups' files, relative to `root`.
        endpoints: Of all groups, in order of declaration.
        settings: Of all groups, each name once.
        memory_hint_bytes: What its author thinks is enough; not a limit. `None` when not given.
        digest: SHA-256 over its files, in hexadecimal.
        environment: What its workers import from; `None` for the executor's own. Nothing in its folder says which.
        permissions: What it may ask of Dify.
        imports: What its sources import from outside of `root` (`executor.catalog.imports`).
    """

    root: Path
    name: str
    author: str
    version: str
    label: LocalText
    groups: tuple[Path, ...]
    endpoints: tuple[Endpoint, ...]
    settings: tuple[Setting, ...]
    memory_hint_bytes: int | None
    digest: str
    environment: Environment | None = None
    permissions: Permissions = NO_PERMISSIONS
    imports: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The files of its endpoints, each once."""
        return tuple(dict.fromkeys(endpoint.source for endpoint in self.endpoints))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What came of reading a plugin.

    Attributes:
        plugin: The plugin; `None` when there are errors.
        findings: Everything that was found, errors and warnings.
    """

    plugin: Plugin | None
    findings: tuple[Finding, ...]


def load_plugin(root: Path, environment: Environment | None = None, *, python: str = "") -> Loaded:
    """Read a plugin and check everything that can be checked without running it.

    Args:
        root: Its folder. Nothing outside of it is read, and nothing in it is run.
        environment: What its workers will import from; not looked into.
        python: The version of Python that it will be run by, as `3.12`, where there is no environment yet.

    Returns:
        The plugin or what is wrong with it. Never raises, whatever the folder holds.
    """
    findings = Findings()
    try:
        is_folder = root.is_dir()
    except (OSError, ValueError):
        is_folder = False
    if not is_folder:
        _refuse_root(root, findings)
        return Loaded(plugin=None, findings=findings.close())
    plugin = _Loader(PluginFiles(root), findings, environment, python).load()
    found = findings.close()
    return Loaded(plugin=None if has_errors(found) else plugin, findings=found)


def _refuse_root(root: Path, findings: Findings) -> None:
    hint = "`executor plugin install` takes packages" if root.suffix in {".difypkg", ".zip"} else ""
    findings.add(
        Code.PLUGIN_FOLDER, Path(), None, what="", found="none", expected=f"a folder with a {MANIFEST}", hint=hint
    )


class _Loader:
    """Reads one plugin."""

    def __init__(self, files: PluginFiles, findings: Findings, environment: Environment | None, python: str) -> None:
        self._files = files
        self._findings = findings
        self._environment = environment
        self._python = python or OUR_PYTHON
        self._endpoint_files = 0

    def load(self) -> Plugin | None:
        """Read everything; `None` when there is no manifest to start from."""
        top = read_yaml(self._files, MANIFEST, self._findings)
        if top is None:
            return None
        manifest = read_manifest(top)
        tops = self._read_groups(manifest)
        groups = [read_group(at, self._follow_endpoint) for at in tops]
        drafts = [draft for group in groups for draft in group.endpoints]
        self._check_count(top, groups, drafts)
        self._check_duplicates(drafts)
        self._check_icons(manifest.icons)
        endpoints = self._finish_endpoints(drafts)
        return Plugin(
            root=self._files.root,
            name=manifest.name,
            author=manifest.author,
            version=manifest.version,
            label=manifest.label,
            groups=tuple(at.file for at in tops),
            endpoints=endpoints,
            settings=self._merge_settings([draft for group in groups for draft in group.settings]),
            memory_hint_bytes=manifest.memory_hint_bytes,
            digest=compute_digest(self._files.root),
            environment=self._environment,
            permissions=manifest.permissions,
            imports=find_imports(self._files, dict.fromkeys(endpoint.source for endpoint in endpoints)),
        )

    def _read_groups(self, manifest: Manifest) -> list[Cursor]:
        """Go to the tops of the groups' files."""
        if len(manifest.groups) > MAX_GROUPS:
            manifest.groups[MAX_GROUPS].add(
                Code.PLUGIN_TOO_LARGE, found=f"{len(manifest.groups)} groups", expected=f"at most {MAX_GROUPS}"
            )
        tops = [self._follow(named) for named in manifest.groups[:MAX_GROUPS]]
        return [top for top in tops if top is not None]

    def _follow(self, named: Cursor) -> Cursor | None:
        path = self._locate(named)
        return None if path is None else read_yaml(self._files, path, self._findings)

    def _follow_endpoint(self, named: Cursor) -> Cursor | None:
        self._endpoint_files += 1
        return self._follow(named) if self._endpoint_files <= MAX_ENDPOINTS else None

    def _locate(self, named: Cursor) -> str | None:
        """Check a path where it is named, so that the finding is there and not in the file that is not there."""
        if not named.is_a(Kind.TEXT):
            return None
        try:
            return self._files.locate(named.text())
        except FileError as error:
            named.add(error.code, found=error.found, expected=error.expected)
            return None

    def _check_count(self, top: Cursor, groups: Sequence[Group], drafts: Sequence[EndpointDraft]) -> None:
        """Refuse plugins without endpoints, and with too many."""
        count = max(len(drafts), self._endpoint_files)
        at = top.key("plugins").key("endpoints")
        if count > MAX_ENDPOINTS:
            at.add(Code.PLUGIN_TOO_LARGE, found=f"{count} endpoints", expected=f"at most {MAX_ENDPOINTS} endpoints")
        elif groups and count == 0:
            at.add(Code.MANIFEST_NO_ENDPOINTS, found="groups without endpoints", expected="at least one endpoint")

    def _check_duplicates(self, drafts: Sequence[EndpointDraft]) -> None:
        seen: dict[tuple[str, str], EndpointDraft] = {}
        for draft in drafts:
            if not draft.equivalence or not draft.method:
                continue
            first = seen.setdefault((draft.method, draft.equivalence), draft)
            if first is not draft:
                draft.at.key("path").add(
                    Code.ENDPOINT_DUPLICATE,
                    found=f"{draft.method} {draft.path} again, first in {first.at.file}:{first.at.line}",
                    expected="each method of a route once",
                )

    def _check_icons(self, icons: Sequence[Cursor]) -> None:
        for icon in icons:
            try:
                self._files.locate(f"_assets/{icon.text()}")
            except FileError as error:
                icon.add(Code.MANIFEST_ICON, found=error.found, expected=error.expected)

    def _finish_endpoints(self, drafts: Sequence[EndpointDraft]) -> tuple[Endpoint, ...]:
        endpoints = []
        python = self._environment.version if self._environment is not None else self._python
        check = SourceCheck(self._files, self._findings, python)
        for draft in drafts:
            source = self._locate(draft.source) or ""
            if source:
                check.check(source, draft.source)
            endpoints.append(
                Endpoint(
                    path=draft.path,
                    method=draft.method,
                    source=source,
                    hidden=draft.hidden,
                    declared_in=draft.at.file,
                    line=draft.at.line,
                )
            )
        return tuple(endpoints)

    def _merge_settings(self, drafts: Sequence[SettingDraft]) -> tuple[Setting, ...]:
        merged: dict[str, SettingDraft] = {}
        for draft in drafts:
            first = merged.setdefault(draft.setting.name, draft)
            if first.setting != draft.setting and not _same_values(first.setting, draft.setting):
                draft.at.add(
                    Code.SETTING_CONFLICT,
                    found=f"another {draft.setting.name}",
                    expected=f"the same as in {first.at.file}:{first.at.line}",
                )
        settings = tuple(draft.setting for draft in merged.values())
        if len(settings) > MAX_SETTINGS:
            drafts[MAX_SETTINGS].at.add(
                Code.SETTING_TOO_MANY, found=f"{len(settings)} settings", expected=f"at most {MAX_SETTINGS} settings"
            )
        return settings


def _same_values(one: Setting, other: Setting) -> bool:
    """Tell whether two settings take the same values, whatever their texts for people."""

    def values(setting: Setting) -> tuple[object, ...]:
        options = tuple(option.value for option in setting.options)
        return (setting.type, setting.required, setting.default, options, setting.scope, setting.multiple)

    return values(one) == values(other)
