"""Packages made on the spot, and an index of them: a folder, as pip and uv take one."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["BACKEND", "Index", "make_sdist", "make_wheel"]

BACKEND: Final = '''\
"""A build backend in the source distribution itself: `ATTACK` runs when a wheel is asked for."""

import base64, hashlib, os, zipfile

def attack():
{attack}

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    attack()
    name = "{name}-{version}-py3-none-any.whl"
    info = "{name}-{version}.dist-info"
    files = {{
        "{name}.py": b"value = 1\\n",
        info + "/METADATA": b"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
        info + "/WHEEL": b"Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        record = ""
        for path, content in files.items():
            archive.writestr(path, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{{path}},sha256={{digest}},{{len(content)}}\\n"
        archive.writestr(info + "/RECORD", record + info + "/RECORD,,\\n")
    return name
'''


def make_wheel(name: str, version: str, files: Mapping[str, str], *, requires: tuple[str, ...] = ()) -> bytes:
    """Make a wheel for all versions of Python."""
    info = f"{name}-{version}.dist-info"
    depends = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{depends}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text.encode())}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return buffer.getvalue()


def make_sdist(name: str, version: str, attack: str = "pass") -> bytes:
    """Make a source distribution that runs something when it is built.

    Args:
        name: Of the package.
        version: Of it.
        attack: Lines of Python, run by the build backend.
    """
    indented = "\n".join(f"    {line}" for line in attack.splitlines())
    files = {
        "pyproject.toml": f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n',
        "backend.py": BACKEND.format(attack=indented, name=name, version=version),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Index:
    """A folder that is a package index, with a `dify_plugin` that has what a build looks for.

    Args:
        folder: Made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.add("dify_plugin-9.0.0-py3-none-any.whl", make_wheel("dify_plugin", "9.0.0", {"dify_plugin.py": ""}))

    @property
    def url(self) -> str:
        """Its address."""
        return self._folder.as_uri()

    def add(self, name: str, content: bytes) -> None:
        """Add a file of a package."""
        package = name.split("-", maxsplit=1)[0].replace("_", "-").lower()
        folder = self._folder / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        page = folder / "index.html"
        before = page.read_text() if page.exists() else "<!DOCTYPE html>\n"
        digest = hashlib.sha256(content).hexdigest()
        page.write_text(f'{before}<a href="{name}#sha256={digest}">{name}</a>\n')

    def add_sdist(self, name: str, attack: str = "pass") -> None:
        """Add a source distribution, version 1.0, that runs something when it is built."""
        self.add(f"{name}-1.0.tar.gz", make_sdist(name, "1.0", attack))
