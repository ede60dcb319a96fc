"""Compare our service with Dify's SDK, plugin by plugin: `python -m tests.compat --help`."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import yaml

from tests.compat.answers import differences
from tests.compat.ours import running_ours
from tests.compat.reference import running_reference
from tests.compat.report import Result, render, write
from tests.compat.samples import Sample, read_samples
from tests.compat.sources import SourceError, provide_source

BUILD: Final = Path(__file__).parents[2] / "build" / "compat"
VERSIONS: Final = """
from importlib.metadata import version
from platform import python_version
print(version("dify_plugin"), python_version())
"""


def compare(sample: Sample, mirror: str | None, *, verbose: bool) -> Result:
    """Ask both sides the same, in the same order."""
    result = Result(sample)
    try:
        source = provide_source(sample, BUILD / "sources", mirror)
        with tempfile.TemporaryDirectory(prefix="compat-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            ours_copy, sdk_copy = folder / "ours", folder / "sdk"
            for copy in (ours_copy, sdk_copy):
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".git"))
            try:
                _compare(result, ours_copy, sdk_copy, verbose=verbose)
            except AssertionError as error:
                result.problem = f"{_last_line(error)}; {_try_sdk(str(error), sdk_copy, sample)}"
    except SourceError as error:
        result.problem = str(error)
    except RuntimeError as error:
        result.problem = _last_line(error)
    return result


def _compare(result: Result, ours_copy: Path, sdk_copy: Path, *, verbose: bool) -> None:
    sample = result.sample
    manifest = yaml.safe_load((ours_copy / "manifest.yaml").read_text(encoding="utf-8"))
    with running_ours(ours_copy, manifest["name"], sample.settings, BUILD / "state") as ours:
        environment = ours.environment
        result.sdk, result.python = _ask_versions(environment)
        with running_reference(sdk_copy, environment, sample.settings) as reference:
            for request in sample.requests:
                theirs, mine = reference.ask(request), ours.ask(request)
                found = list(differences(theirs, mine, body=not request.own))
                result.asked += 1
                result.same += not found
                result.calls += len(mine.calls)
                result.notes += [f"{request.title}: {one}" for one in found]
                if verbose:
                    print(f"  {request.title}: {theirs.status or theirs.problem}, {mine.status or mine.problem}")
                    print("\n".join(f"    {one}" for one in found) or "    alike")


def _try_sdk(log: str, sdk_copy: Path, sample: Sample) -> str:
    """Tell whether the SDK can run a plugin that our service could not start, going by our log."""
    found = re.findall(r'"environment": "(/[^"]+)"', log)
    if not found:
        return "there is no environment for it"
    try:
        with running_reference(sdk_copy, Path(found[-1]), sample.settings):
            return "the SDK can run it"
    except RuntimeError as error:
        return f"the SDK cannot run it either: {_last_line(error)}"


def _last_line(error: Exception) -> str:
    """The line of a log that tells most: the first error of Python, or else the last line; without paths."""
    text = str(error).strip() or type(error).__name__
    found = re.search(r"\b[A-Za-z]+Error: .*", text)
    line = found[0] if found else text.splitlines()[-1]
    return re.sub(r" ?\(?/[^ )]*\)?", "", line)[:300]


def _ask_versions(environment: Path) -> tuple[str, str]:
    done = subprocess.run(
        [environment / "bin" / "python", "-c", VERSIONS], capture_output=True, text=True, check=True, cwd="/"
    )
    sdk, python = done.stdout.split()
    return sdk, python


def main() -> int:
    """Compare, print the table, and write it if that is wanted; the exit status says whether all were alike."""
    parser = argparse.ArgumentParser(prog="make compat", description=__doc__)
    parser.add_argument("names", nargs="*", help="plugins of tests/compat/samples.yaml; none: all")
    parser.add_argument("--mirror", help="where repositories are, such as /srv/{owner}/{name}.git; GitHub unless given")
    parser.add_argument("--write", action="store_true", help="write the table into docs/compatibility.md")
    parser.add_argument("--verbose", action="store_true", help="tell what was answered to each request")
    options = parser.parse_args()
    samples = read_samples()
    unknown = set(options.names) - {sample.name for sample in samples}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))} in tests/compat/samples.yaml")
    results = []
    for sample in samples:
        if not options.names or sample.name in options.names:
            print(f"{sample.name}:", file=sys.stderr, flush=True)
            result = compare(sample, options.mirror, verbose=options.verbose)
            print(f"{sample.name}: {result.problem or f'{result.same} of {result.asked} alike'}", flush=True)
            results.append(result)
    print(f"\n{render(results)}")
    if options.write:
        write(results)
    return 0 if all(result.works for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
