"""The documents say what the code does: versions, commands, targets, links, tables."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from executor.cli.commands import ABOUT, load_command
from executor.version import __version__
from tests.outcomes import DOCUMENT, insert_outcomes

ROOT = Path(__file__).parent.parent
DECISION_HEADINGS = ["Context", "Choice", "Rejected", "Consequence"]
LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)|^\[[^\]]+\]: *(\S+)$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]+`")
REGISTRIES = re.compile(r"\b(pypi\.org|pythonhosted\.org|crates\.io|npmjs\.(com|org)|index-url|proxy\.golang\.org)\b")
REGISTRY_MENTIONS = {
    "Makefile": "--no-emit-index-url keeps the address of the index out of the lock files",
    "tests/test_project.py": "this test",
}


def tracked_files() -> list[Path]:
    """All files of the project that git knows, or would take; all files where there is no repository."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def pages() -> list[Path]:
    """All documents in Markdown, but those of plugins in the tests."""
    folders = (ROOT, ROOT / "docs", ROOT / "docs" / "decisions")
    return sorted(page for folder in folders for page in folder.glob("*.md")) + sorted(ROOT.glob("examples/**/*.md"))


def prose(page: Path) -> str:
    """A page without its code."""
    return INLINE_CODE.sub("", FENCE.sub("", page.read_text()))


def code(page: Path) -> str:
    """The code of a page: blocks and inline code, a line each."""
    text = page.read_text()
    blocks = [found[0] for found in FENCE.finditer(text)]
    return "\n".join(blocks + [span.strip("`") for span in INLINE_CODE.findall(FENCE.sub("", text))])


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    found: list[str] = []
    for title in re.findall(r"^#{1,6} +(.*?)\s*$", FENCE.sub("", page.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        repeated = found.count(slug)
        found.append(slug)
        if repeated:
            found.append(f"{slug}-{repeated}")
    return set(found)


def make_targets() -> dict[str, str]:
    """The documented targets of the Makefile, with what `make help` says."""
    return dict(re.findall(r"^([a-z0-9-]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands() -> set[str]:
    """The commands of `executor`, those of groups as `config check`."""
    names = set()
    for name in ABOUT:
        names.add(name)
        names |= {f"{name} {below}" for below in getattr(load_command(name), "commands", {})}
    return names


PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


def test_the_changelog_has_this_version() -> None:
    """The newest release in it is `executor.version`, with a date."""
    releases = re.findall(r"^## \[([^\]]+)\](?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [release for release in releases if release[0] != "Unreleased"]
    assert released[0][0] == __version__
    assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) for _, date in released)


def test_make_help_lists_every_target() -> None:
    """Each phony target is documented, and nothing else is."""
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == set(make_targets())
    command = ["make", "--no-print-directory", "-C", str(ROOT), "help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for target, meaning in make_targets().items():
        assert re.search(rf"^  make {target} +{re.escape(meaning)}$", printed, re.MULTILINE), target


@pytest.mark.parametrize(("given", "sent"), [([], "10000"), (["REQUESTS=500"], "500")])
def test_a_soak_may_be_short(given: list[str], sent: str) -> None:
    """What `make` is told, the test is."""
    command = ["make", "--no-print-directory", "--dry-run", "-C", str(ROOT), "soak", *given]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"SOAK_REQUESTS={sent} " in printed


@PAGES
def test_make_targets_exist(page: Path) -> None:
    """Every `make TARGET` of a page, within code, is one."""
    mentioned = re.findall(r"(?:^|[$;&(]|\s)make ((?:[a-z][a-z0-9-]*|[A-Z]+=\S+)\b)", code(page), re.MULTILINE)
    assert {word for word in mentioned if "=" not in word} <= set(make_targets())


@PAGES
def test_commands_exist(page: Path) -> None:
    """Every `executor COMMAND` of a page, within code, is one, and so are the options on its line."""
    known = commands()
    for line in code(page).splitlines():
        for found in re.finditer(r"(?:^|[/\s$`])executor ([a-z]+)((?: [^|#&;]*)?)", line):
            command, rest = found[1], found[2]
            assert command in known, line
            resolved = load_command(command)
            below = rest.split()[0] if rest.split() else ""
            if f"{command} {below}" in known:
                resolved = resolved.commands[below]
            options = {option for parameter in resolved.params for option in parameter.opts} | {"--help"}
            assert set(re.findall(r"(?<=\s)--[a-z][a-z-]*", rest)) <= options, line


@PAGES
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links of a page lead to files of the project, and to headings in them."""
    for inline, reference in LINK.findall(prose(page)):
        target, _, anchor = (inline or reference).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target}: there is no such file"
        assert path.is_relative_to(ROOT)
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{target}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    """`docs/index.md` leads to each document."""
    linked = {inline.partition("#")[0] for inline, _ in LINK.findall(prose(ROOT / "docs" / "index.md"))}
    docs = ROOT / "docs"
    assert {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"index.md"} <= linked


@pytest.mark.parametrize("record", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda record: record.stem)
def test_decisions_have_their_parts(record: Path) -> None:
    """A number in the title, four headings, and the records are numbered without a gap, each number once."""
    text = record.read_text()
    number = record.name[:4]
    assert text.startswith(f"# {number}: ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == DECISION_HEADINGS
    assert [*record.parent.glob(f"{number}-*.md")] == [record]
    assert number == "0001" or list(record.parent.glob(f"{int(number) - 1:04}-*.md"))


def test_the_table_of_outcomes_is_that_of_the_code() -> None:
    """Run `python -m tests.outcomes` after a change of the code."""
    assert insert_outcomes(DOCUMENT.read_text()) == DOCUMENT.read_text()
    with pytest.raises(ValueError, match="0 places"):
        insert_outcomes("")


def test_no_registry_is_named() -> None:
    """What is installed comes from where the machine is configured to look; no file says another place."""
    for path in tracked_files():
        name = str(path.relative_to(ROOT))
        if name in REGISTRY_MENTIONS or path.suffix in {".bin", ".png"}:
            continue
        found = REGISTRIES.search(path.read_text(errors="replace"))
        assert not found, f"{name}: {found}"
