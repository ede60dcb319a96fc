"""Reading the configuration: defaults, files, and every problem at once with its place."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from executor.config.load import load_config
from executor.config.places import ConfigError
from tests.executor.config.support import load, problems_of, write

BOMB = b"a: &a [x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 8)) for name in b"bcdefgh"
)


def test_everything_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is needed."""
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    config = load_config(None)
    assert (config.listen.host, config.listen.port) == ("127.0.0.1", 8080)
    assert (config.admin.host, config.admin_port) == ("127.0.0.1", 8081)
    assert config.state_dir == Path("/var/state/endpoint-executor")
    assert config.limits.wall_time == 600
    assert config.limits.request_body == 128 * 1024**2
    assert config.admission.concurrency == 64
    assert config.http.header_count == 100
    assert config.cors is None
    assert config.notes == ()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "null\n", "{}\n"])
def test_an_empty_file_is_fine(tmp_path: Path, text: str) -> None:
    """It means the defaults."""
    assert load(tmp_path, text).listen.port == 8080


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """Every section, in the forms that people write."""
    (tmp_path / "secret.txt").write_text("from a file\n", encoding="utf-8")
    config = load(
        tmp_path,
        """
        listen: {host: 0.0.0.0, port: 0}
        admin: {allowed_hosts: [metrics.example]}
        debug: true
        compat: {routing: dify}
        cors: {origins: ["https://app.example"], max_age: 1h}
        trusted_proxies: [10.0.0.0/8, "::1"]
        state_dir: state
        log: {format: json, level: debug}
        drain: {grace_time: 5}
        limits: {wall_time: 2m, request_body: 1 MiB}
        isolation: {require: [seccomp], off: [landlock], ids: {first: 3000000000, count: 1000}}
        plugins:
          - ./cat
          - path: ../dog
            limits: {concurrency: 2}
        hooks:
          cat-1:
            plugin: cat
            settings:
              text: hello
              number: 3
              model: {provider: openai, mode: null}
              secret: {from_file: secret.txt}
              when: 2026-11-22
            limits: {wall_time: 1s}
          cat-2: {plugin: cat, enabled: false}
        """,
    )
    assert config.admin_port == 0
    assert config.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
    assert config.state_dir == tmp_path / "state"
    assert [plugin.path.resolve() for plugin in config.plugins] == [tmp_path / "cat", tmp_path.parent / "dog"]
    assert config.plugins[1].limits.model_fields_set == {"concurrency"}
    assert config.hooks["cat-1"].values == {
        "text": "hello",
        "number": 3,
        "model": {"provider": "openai", "mode": None},
        "secret": "from a file",
        "when": "2026-11-22",
    }
    assert not config.hooks["cat-2"].enabled
    assert (config.isolation.require, config.isolation.off) == (("seccomp",), ("landlock",))
    assert (config.isolation.ids.first, config.isolation.ids.count) == (3_000_000_000, 1000)


def test_every_problem_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    """In the order of the file, each with line, column, name, what was found and what was expected."""
    problems = problems_of(
        tmp_path,
        """\
        listen:
          hots: 127.0.0.1
          port: 99999
        limits: {wall_time: 3x, concurency: 3}
        log: {level: chatty}
        plugins:
          - path: ./dog
            limits: {request_body: lots}
          - {}
        trusted_proxies: [10.0.0.1/8]
        cors: {origins: [], credentials: 1}
        drain: fast
        hooks:
          cat:
            enabled: "yes"
            settings: {missing: {from_env: THIS_IS_NOT_SET_ANYWHERE}}
          "a b": {}
          7: {}
        debug: 1
        debug: true
        """,
    )
    told = [(p.place.line, p.place.column, p.name, p.found) for p in problems]
    assert told == [
        (2, 3, "listen.hots", "hots"),
        (3, 9, "listen.port", "99999"),
        (4, 21, "limits.wall_time", '"3x"'),
        (4, 25, "limits.concurency", "concurency"),
        (5, 14, "log.level", '"chatty"'),
        (8, 28, "plugins[0].limits.request_body", '"lots"'),
        (9, 5, "plugins[1].path", "nothing"),
        (10, 19, "trusted_proxies[0]", '"10.0.0.1/8"'),
        (11, 17, "cors.origins", "a list"),
        (11, 34, "cors.credentials", "1"),
        (12, 8, "drain", '"fast"'),
        (15, 14, "hooks.cat.enabled", '"yes"'),
        (16, 25, "hooks.cat.settings.missing", "nothing"),
        (17, 3, "hooks.a b", '"a b"'),
        (18, 3, "", "the integer 7 as a key"),
        (19, 8, "debug", "1"),
        (20, 1, "", '"debug" again, first on line 19'),
    ]
    assert all(p.place.file == tmp_path / "executor.yaml" and p.severity == "error" for p in problems)
    assert "a size from 0 B to 1 TiB, such as 128 MiB" in str(problems[5])


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("limits: {wall_tim: 3s}", "did you mean wall_time?"),
        ("lisen: {port: 3}", "did you mean listen?"),
        ("hooks: {a: {setings: {}}}", "did you mean settings?"),
        ("cors: {origin: []}", "did you mean origins?"),
        ("plugins: [{pth: x}]", "did you mean path?"),
        ("drain: {zzz: 1}", "there are grace_time"),
    ],
)
def test_unknown_keys_get_a_suggestion(tmp_path: Path, text: str, hint: str) -> None:
    """The closest name of that section, or all of them."""
    assert any(hint in problem.message for problem in problems_of(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: [", "not found|expected YAML"),
        (b"- 1\n", "a map of settings, found a list"),
        (b"text", "a map of settings, found a text"),
        (b"debug: \xff", "text in UTF-8"),
        (b"debug: \x00", "expected YAML"),
        (b"debug: !!python/object:os.system {}", "expected plain data"),
        (b"a: &a [*a]", "stands before it"),
        (BOMB, "at most"),
        (b"---\n{}\n---\n{}\n", "one document"),
        (b"x" * 2_000_000, "at most 1048576 bytes"),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_sentence(tmp_path: Path, content: bytes, expected: str) -> None:
    """Never a traceback, never a construction of objects, never a bomb."""
    file = tmp_path / "executor.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_config(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigError, match=r"expected a readable file, found a folder"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r"nope\.yaml: expected a readable file, found no such file"):
        load_config(tmp_path / "nope.yaml")


def test_a_relative_file_has_its_folder_as_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command was started."""
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner, "plugins: [./cat, ~/dog]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    config = load_config(Path("inner/executor.yaml"))
    assert [plugin.path for plugin in config.plugins] == [inner / "cat", Path("/home/somebody/dog")]


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """Neither as names nor as values."""
    text = '"\\e[31m": 1\nlog: {level: "\\e[2J"}\nhooks: {"\\e]0;x\\a": {}}\n'
    for problem in problems_of(tmp_path, text):
        assert str(problem).isprintable()
