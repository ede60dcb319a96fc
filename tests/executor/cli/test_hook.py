"""`executor hook`: create, list, show, set, enable, disable, rotate, remove."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from executor.cli.desk import open_desk
from executor.cli.hooks import describe_hooks
from executor.installed.hooks import HookDesk
from executor.store.records import InstalledPlugin
from executor.store.store import open_store
from tests.executor.installed.support import Lab

TOKEN = {"T": "a-long-secret"}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """One version installed."""
    lab = Lab(tmp_path)
    lab.install("0.0.1")
    return lab


def create(lab: Lab, *arguments: str) -> dict[str, Any]:
    """Make a hook with a token."""
    text = lab("hook", "create", "cat", "--from-env", "token=T", *arguments, "--format", "json", environment=TOKEN)
    made: dict[str, Any] = json.loads(text)
    return made


def show(lab: Lab, hook: str) -> dict[str, Any]:
    """Show a hook."""
    shown: dict[str, Any] = json.loads(lab("hook", "show", hook, "--format", "json"))
    return shown


def test_a_hook_is_made(lab: Lab) -> None:
    """With an id that cannot be guessed, defaults filled in, and the secret masked."""
    one, two = create(lab), create(lab)
    assert one["hook_id"] != two["hook_id"]
    assert len(one["hook_id"]) == 16
    assert one["hook_id"].isalnum()
    assert one["settings"] == {"token": "a-*********et", "colour": "red"}
    assert (one["plugin"], one["version"], one["enabled"], one["tenant_id"]) == ("tester/cat", "0.0.1", True, "default")
    assert one["endpoints"] == [{"method": "GET", "path": f"/e/{one['hook_id']}/cat/<name>"}]
    assert show(lab, one["hook_id"]) == one
    text = lab("hook", "show", one["hook_id"])
    assert text.startswith(f"hook     {one['hook_id']}"), "there is no head, not even an empty one"
    assert "a-*********et" in text
    assert f"/e/{one['hook_id']}/cat/<name>" in text


def test_a_hook_is_made_to_order(lab: Lab) -> None:
    """Id, version, tenant, disabled."""
    lab.install("0.0.2")
    made = json.loads(
        lab(
            *("hook", "create", "tester/cat:0.0.1", "--id", "my-cat", "--tenant", "acme", "--disabled"),
            *("--from-env", "token=T", "--set", "colour=blue", "--format", "json"),
            environment=TOKEN,
        )
    )
    assert (made["hook_id"], made["version"], made["tenant_id"], made["enabled"]) == ("my-cat", "0.0.1", "acme", False)
    assert made["settings"]["colour"] == "blue"
    assert "there is a hook my-cat already" in lab.refuse(
        "hook", "create", "cat", "--id", "my-cat", "--from-env", "token=T", environment=TOKEN
    )
    assert "--id: expected 1 to 128 of the characters" in lab.refuse("hook", "create", "cat", "--id", "../x")
    assert "--tenant: expected" in lab.refuse("hook", "create", "cat", "--tenant", "")


def test_hooks_are_listed(lab: Lab) -> None:
    """All, or those of a plugin."""
    assert "there is no hook" in lab("hook", "list")
    create(lab, "--id", "one")
    create(lab, "--id", "two", "--disabled")
    listed = json.loads(lab("hook", "list", "--plugin", "cat", "--format", "json"))["hooks"]
    assert [(one["hook_id"], one["enabled"]) for one in listed] == [("one", True), ("two", False)]
    assert "settings" not in listed[0]
    table = lab("hook", "list")
    assert "enabled" in table
    assert "disabled" in table
    assert "no installed plugin is called dog" in lab.refuse("hook", "list", "--plugin", "dog")


class Asked:
    """Versions that can be asked for, and what was asked."""

    def __init__(self, hooks: HookDesk) -> None:
        self.hooks = hooks
        self.identifiers: list[str] = []

    def version_of(self, identifier: str) -> InstalledPlugin:
        """Look a version up."""
        self.identifiers.append(identifier)
        return self.hooks.version_of(identifier)


def test_a_list_of_many_hooks_looks_each_version_up_once(lab: Lab) -> None:
    """A hundred thousand hooks are hooks of few versions."""
    identifiers = {create(lab, "--id", hook_id)["identifier"] for hook_id in ("one", "two", "three")}
    with open_desk(None, lab.state_dir) as desk:
        asked = Asked(desk.hooks)
        described = describe_hooks(replace(desk, hooks=cast("HookDesk", asked)), desk.store.hooks.list())
    assert len(described) == 3
    assert asked.identifiers == [*identifiers]


def test_where_there_is_no_hook_it_is_said_what_makes_one(lab: Lab) -> None:
    """Rather than naming none."""
    refused = lab.refuse("hook", "show", "one")
    assert refused == "error: there is no hook one; there is none yet; `executor hook create PLUGIN` makes one\n"


def test_a_wrong_version_is_told_with_its_option(lab: Lab) -> None:
    """As it was given."""
    create(lab, "--id", "one")
    for wrong in ("9", "dog:1"):
        assert f"error: --version {wrong}: " in lab.refuse("hook", "set", "one", "--version", wrong)


def test_what_there_is_is_named_in_part(lab: Lab) -> None:
    """A message stays a message, however many hooks there are."""
    for number in range(12):
        create(lab, "--id", f"hook-{number:02}")
    ten = ", ".join(f"hook-{number:02}" for number in range(10))
    assert f"there is no hook nope; there are: {ten} and 2 more\n" in lab.refuse("hook", "show", "nope")
    assert f"can be served; there are: {ten} and 2 more\n" in lab.refuse("limits", "nope")
    assert f"serves the hooks {ten} and 2 more; upgrade or remove them first" in lab.refuse(
        "plugin", "remove", "cat:0.0.1"
    )


def test_values_are_changed(lab: Lab) -> None:
    """Those that are given; others stay; a default takes the place of one that is taken away."""
    create(lab, "--id", "one")
    lab("hook", "set", "one", "--set", "colour=blue")
    assert show(lab, "one")["settings"] == {"token": "a-*********et", "colour": "blue"}
    lab("hook", "set", "one", "--unset", "colour", "--from-file", "token=-", stdin="other secret\n")
    assert show(lab, "one")["settings"] == {"token": "ot********et", "colour": "red"}
    assert "there is nothing to change" in lab.refuse("hook", "set", "one")
    assert "setting token: expected a text, found nothing" in lab.refuse("hook", "set", "one", "--unset", "token")
    assert "there is no hook two; there are: one" in lab.refuse("hook", "set", "two", "--set", "colour=red")


def test_a_masked_secret_stays_as_it_is(lab: Lab) -> None:
    """What was shown may be given back, changed or not."""
    create(lab, "--id", "one")
    settings = show(lab, "one")["settings"]
    file = lab.folder / "settings.json"
    file.write_text(json.dumps(settings | {"colour": "blue"}))
    lab("hook", "set", "one", "--settings-file", file)
    assert show(lab, "one")["settings"] == settings | {"colour": "blue"}
    with open_store(None, lab.state_dir) as store:
        before = store.hooks.get("one")
    assert before is not None
    assert before.settings == {"colour": "blue"}
    assert list(before.secrets) == ["token"]


def test_a_hook_is_switched_on_and_off(lab: Lab) -> None:
    """Several at once; one that is not there changes none."""
    create(lab, "--id", "one")
    create(lab, "--id", "two")
    lab("hook", "disable", "one", "two")
    assert [show(lab, one)["enabled"] for one in ("one", "two")] == [False, False]
    assert "there is no hook three" in lab.refuse("hook", "enable", "one", "three")
    assert not show(lab, "one")["enabled"]
    lab("hook", "enable", "one")
    assert [show(lab, one)["enabled"] for one in ("one", "two")] == [True, False]


def test_a_hook_gets_a_new_id(lab: Lab) -> None:
    """Its values move along, secrets included; the old id is gone."""
    create(lab, "--id", "one")
    rotated = json.loads(lab("hook", "rotate", "one", "--format", "json"))
    assert len(rotated["hook_id"]) == 16
    assert rotated["settings"] == {"token": "a-*********et", "colour": "red"}
    assert "there is no hook one" in lab.refuse("hook", "show", "one")
    lab("hook", "rotate", rotated["hook_id"], "--id", "two")
    assert show(lab, "two")["settings"]["token"] == "a-*********et"
    create(lab, "--id", "three")
    assert "there is a hook three already" in lab.refuse("hook", "rotate", "two", "--id", "three")


def test_hooks_are_removed(lab: Lab) -> None:
    """Several at once; one that is not there removes none."""
    create(lab, "--id", "one")
    create(lab, "--id", "two")
    assert "there is no hook three" in lab.refuse("hook", "remove", "one", "three")
    assert lab("hook", "remove", "one", "two").splitlines() == ["removed hook one", "removed hook two"]
    assert json.loads(lab("hook", "list", "--format", "json")) == {"hooks": []}


def test_a_hook_that_is_named_twice_is_removed_once(lab: Lab) -> None:
    """And it is no error."""
    create(lab, "--id", "one")
    assert lab("hook", "remove", "one", "one") == "removed hook one\n"


def test_all_hooks_of_a_plugin_are_removed(lab: Lab) -> None:
    """When that is confirmed, or need not be; those of others stay."""
    lab.install("0.0.1", author="other")
    kept = lab("hook", "create", "other/cat", "--id", "kept", "--from-env", "token=T", environment=TOKEN)
    assert "kept" in kept
    for hook in ("one", "two"):
        lab("hook", "create", "tester/cat", "--id", hook, "--from-env", "token=T", environment=TOKEN)
    assert "cat may be other/cat or tester/cat" in lab.refuse("hook", "remove", "--plugin", "cat", "--yes")
    for answer in ("n\n", ""):
        refused = lab.run("hook", "remove", "--plugin", "tester/cat", stdin=answer)
        assert refused.exit_code == 1
        assert "Remove 2 hooks of tester/cat (one, two), with what they alone have stored?" in refused.stderr
        assert "error: not confirmed, so nothing was done; --yes asks nothing" in refused.stderr
    done = lab("hook", "remove", "--plugin", "tester/cat", stdin="y\n")
    assert done.splitlines()[-1] == "removed 2 hooks of tester/cat: one, two"
    assert [one["hook_id"] for one in json.loads(lab("hook", "list", "--format", "json"))["hooks"]] == ["kept"]
    assert "tester/cat has no hook, so there is nothing to remove" in lab.refuse(
        "hook", "remove", "--plugin", "tester/cat", "--yes"
    )
    assert lab("hook", "remove", "--plugin", "other/cat", "--yes") == "removed 1 hook of other/cat: kept\n"


def test_hooks_of_one_version_are_listed_and_removed(lab: Lab) -> None:
    """A name that says the version means no other."""
    lab.install("0.0.2")
    for hook, version in (("old", "0.0.1"), ("new", "0.0.2")):
        lab("hook", "create", f"cat:{version}", "--id", hook, "--from-env", "token=T", environment=TOKEN)
    listed = json.loads(lab("hook", "list", "--plugin", "cat:0.0.2", "--format", "json"))["hooks"]
    assert [one["hook_id"] for one in listed] == ["new"]
    assert "executor hook remove --plugin tester/cat:0.0.1`" in lab.refuse("plugin", "remove", "cat:0.0.1")
    assert lab("hook", "remove", "--plugin", "cat:0.0.1", "--yes") == "removed 1 hook of cat:0.0.1: old\n"
    lab("plugin", "remove", "cat:0.0.1")
    assert show(lab, "new")["enabled"]


@pytest.mark.parametrize(("hooks", "said"), [([], "--plugin"), (["one", "--plugin", "cat"], "and not both")])
def test_what_to_remove_must_be_clear(lab: Lab, hooks: list[str], said: str) -> None:
    """Hooks or a plugin; the command line is wrong otherwise."""
    create(lab, "--id", "one")
    refused = lab.run("hook", "remove", *hooks, "--yes")
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert show(lab, "one")["enabled"]


def test_all_problems_are_told_at_once(lab: Lab) -> None:
    """Names, values, what is missing; and no secret in any of them."""
    refused = lab.refuse("hook", "create", "cat", "--set", "colour=green", "--set", "color=red", "--set", "token=hush")
    assert "hush" not in refused
    assert refused == (
        "error: setting token: it is secret, and others can read the command line; give it with --from-env "
        "token=VARIABLE, --from-file token=PATH or --settings-file FILE, or let the command ask for it\n"
    )
    refused = lab.refuse("hook", "create", "cat", "--set", "colour=green", "--set", "color=red")
    assert refused.splitlines() == [
        "error: setting color: the plugin has no such setting; it has: token, colour",
        'error: setting colour: expected one of red, blue, found "green"',
        "error: setting token: expected a text, found nothing",
    ]


def test_a_hook_whose_secret_cannot_be_read_can_be_mended(lab: Lab) -> None:
    """The key is lost: giving the value again is enough, as the message says."""
    create(lab, "--id", "one")
    (lab.state_dir / "secrets.key").unlink()
    shown = lab.run("hook", "show", "one", "--format", "json")
    assert json.loads(shown.stdout)["settings"] == {"colour": "red", "token": None}
    assert "warning: hook one: the secret setting token cannot be decrypted" in shown.stderr
    assert "cannot be decrypted" in lab.refuse("hook", "set", "one", "--set", "colour=blue")
    lab("hook", "set", "one", "--from-env", "token=T", environment={"T": "another secret"})
    assert show(lab, "one")["settings"]["token"] == "an**********et"
