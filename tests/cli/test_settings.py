"""Settings: which wins, where each came from, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.settings import (
    MEANINGS,
    Resolved,
    Settings,
    check_ignores,
    load,
    project_file,
)
from steelyard.errors import ConfigError
from steelyard.rules.ignores import Ignore

TODAY = date(2026, 11, 23)

# Setting, as TOML and its value; as an environment variable and its value; on the command line.
LAYERS: list[tuple[str, str, Any, str, Any, Any]] = [
    ("fail_on", '"warning"', "warning", "note", "note", "never"),
    ("strict", "true", True, "false", False, True),
    ("format", '["json"]', ["json"], "markdown,json=r.json", ["markdown", "json=r.json"], ["text"]),
    ("only", '["code"]', ["code"], "card,law", ["card", "law"], ["license"]),
    ("digest", "false", False, "true", True, False),
    ("scan_values", "true", True, "0", False, True),
    ("offline", "true", True, "no", False, True),
    ("allow_empty", "true", True, "no", False, True),
    ("market", '["eu"]', ["eu"], "us-ca,kr", ["us-ca", "kr"], ["all"]),
    ("role", '["provider"]', ["provider"], "host,modifier", ["host", "modifier"], ["adopter"]),
    ("packs", '["/a.yaml"]', ["/a.yaml"], "/b.yaml,/c.yaml", ["/b.yaml", "/c.yaml"], ["/d.yaml"]),
    ("lineage", "false", False, "true", True, False),
    ("registries", '["/a"]', ["/a"], "/b,/c", ["/b", "/c"], ["/d"]),
    ("lineage_budget", '"1MB"', "1MB", "2MB", "2MB", "3MB"),
    ("cache_dir", '"/a"', "/a", "/b", "/b", "/c"),
]
NAMES = [row[0] for row in LAYERS]


def resolve(
    folder: Path,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved:
    return load(
        overrides or {},
        environ=environ or {},
        folder=folder,
        user_folder=folder.parent / "user",
        default_cache=Path("/cache"),
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def value(resolved: Resolved, name: str) -> Any:
    return getattr(resolved.settings, name)


def test_every_setting_is_tried() -> None:
    assert {*NAMES, "facts", "ignore"} == set(MEANINGS)


@pytest.mark.parametrize(("name", "toml", "in_file", "text", "in_environ", "stated"), LAYERS)
def test_the_nearer_to_the_user_wins(
    folder: Path, name: str, toml: str, in_file: Any, text: str, in_environ: Any, stated: Any
) -> None:
    line = f"{name.replace('_', '-')} = {toml}\n"
    variable = f"STEELYARD_{name.upper()}"

    assert resolve(folder).origins[name] == "default"
    user = write(folder.parent / "user" / "steelyard.toml", line)
    resolved = resolve(folder)
    assert (value(resolved, name), resolved.origins[name]) == (in_file, str(user))
    project = write(folder / "steelyard.toml", line)
    resolved = resolve(folder)
    assert (value(resolved, name), resolved.origins[name]) == (in_file, str(project))
    resolved = resolve(folder, environ={variable: text})
    assert (value(resolved, name), resolved.origins[name]) == (in_environ, variable)
    resolved = resolve(folder, {name: stated}, {variable: text})
    assert (value(resolved, name), resolved.origins[name]) == (stated, "command line")


def test_a_project_wins_over_the_user(folder: Path) -> None:
    write(folder.parent / "user" / "steelyard.toml", 'fail-on = "note"\nstrict = true\n')
    write(folder / "steelyard.toml", 'fail-on = "warning"\n')
    settings = resolve(folder).settings
    assert (settings.fail_on, settings.strict) == ("warning", True)


def test_the_defaults(folder: Path) -> None:
    settings = resolve(folder).settings
    assert settings == Settings(cache_dir="/cache")
    assert (settings.fail_on, settings.digest, settings.offline) == ("error", True, False)


def test_the_nearest_file_upward(folder: Path) -> None:
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    write(folder / "pyproject.toml", '[tool.steelyard]\nfail-on = "note"\n')
    assert resolve(below).settings.fail_on == "note"
    write(folder / "a" / "pyproject.toml", "[tool.other]\nx = 1\n")
    assert resolve(below).settings.fail_on == "note"
    nearer = write(folder / "a" / "steelyard.toml", 'fail-on = "warning"\n')
    assert project_file(below) == nearer
    assert resolve(below).settings.fail_on == "warning"


def test_steelyard_toml_wins_over_pyproject_beside_it(folder: Path) -> None:
    write(folder / "pyproject.toml", '[tool.steelyard]\nfail-on = "note"\n')
    own = write(folder / "steelyard.toml", "")
    assert project_file(folder) == own


def test_facts_of_all_files_are_joined(folder: Path) -> None:
    write(
        folder.parent / "user" / "steelyard.toml",
        "[facts]\ntraining.tokens = 1e9\nmodel.narrow = true\n",
    )
    write(folder / "steelyard.toml", '[facts]\n"training.tokens" = 2e9\n')
    assert resolve(folder).settings.facts == {"training.tokens": 2e9, "model.narrow": True}


def test_packs_and_cache_are_found_from_the_file_that_names_them(folder: Path) -> None:
    below = folder / "a"
    below.mkdir()
    write(folder / "steelyard.toml", 'packs = ["own.yaml"]\ncache-dir = "digests"\n')
    settings = resolve(below).settings
    assert settings.packs == [str(folder / "own.yaml")]
    assert settings.cache_dir == str(folder / "digests")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("fail-onn", "fail-on"), ("scan_value", "scan-values"), ("zzz", "config show")],
)
def test_an_unknown_setting_names_its_file_and_the_nearest(
    folder: Path, name: str, hint: str
) -> None:
    path = write(folder / "steelyard.toml", f"{name} = 1\n")
    with pytest.raises(ConfigError) as refused:
        resolve(folder)
    assert name.replace("_", "-") in refused.value.what
    assert hint in refused.value.fix
    assert refused.value.file == str(path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("steelyard.toml", "fail-on = \n"),
        ("steelyard.toml", 'fail-on = "all"\n'),
        ("steelyard.toml", "strict = [1]\n"),
        ("steelyard.toml", 'format = "json"\n'),
        ("steelyard.toml", "facts = 3\n"),
        ("steelyard.toml", "ignore = 3\n"),
        ("steelyard.toml", "a = " + "[" * 5000),
        ("pyproject.toml", "tool = 3\n"),
        ("pyproject.toml", "[tool]\nsteelyard = 3\n"),
        ("pyproject.toml", "[tool.steelyard\n"),
    ],
)
def test_a_malformed_file_is_refused_by_name(folder: Path, file: str, text: str) -> None:
    path = write(folder / file, text)
    if text == "tool = 3\n":
        assert resolve(folder).settings.fail_on == "error"
        return
    with pytest.raises(ConfigError) as refused:
        resolve(folder)
    assert refused.value.file == str(path)


def test_a_file_that_is_not_utf8(folder: Path) -> None:
    (folder / "steelyard.toml").write_bytes(b'fail-on = "\xff"\n')
    with pytest.raises(ConfigError):
        resolve(folder)


def test_a_malformed_variable_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(folder, environ={"STEELYARD_STRICT": "perhaps"})
    assert refused.value.file == "STEELYARD_STRICT"


IGNORE = {"rule": '"DOC005"', "reason": '"being set up"', "expires": "2027-01-31"}


def table(**changes: str | None) -> str:
    entries = {**IGNORE, **changes}
    lines = [f"{key} = {text}" for key, text in entries.items() if text is not None]
    return "\n".join(["[[ignore]]", *lines, ""])


def test_an_ignore(folder: Path) -> None:
    write(folder / "steelyard.toml", table(source='"models/*"') + 'approved-by = "me"\n')
    (ignore,) = resolve(folder).settings.ignore
    assert (ignore.rule, ignore.expires) == ("DOC005", date(2027, 1, 31))
    assert (ignore.source, ignore.approved_by) == ("models/*", "me")


@pytest.mark.parametrize(
    ("missing", "instead"),
    [("reason", None), ("reason", '""'), ("expires", None), ("expires", '"soon"'),
     ("rule", None), ("rule", '""'), ("until", "2027-01-31")],
)  # fmt: skip
def test_an_ignore_needs_rule_reason_and_expiry(
    folder: Path, missing: str, instead: str | None
) -> None:
    write(folder / "steelyard.toml", table(**{missing: instead}))
    with pytest.raises(ConfigError, match=missing):
        resolve(folder)


@pytest.mark.parametrize("key", ["until", "approved_by"])
def test_an_ignore_has_no_other_keys(folder: Path, key: str) -> None:
    path = write(folder / "steelyard.toml", table(**{key: '"me"'}))
    with pytest.raises(ConfigError, match=f"{key}: there is no such key") as refused:
        resolve(folder)
    assert refused.value.file == str(path)


def test_nothing_waits_for_pydantic_where_nothing_is_set(folder: Path) -> None:
    settings = (
        "from pathlib import Path\n"
        "from steelyard.cli.settings import load\n"
        "load({'fail_on': 'note'}, environ={}, folder=Path(), user_folder=Path('u'),\n"
        "     default_cache=Path('c'))\n"
        "import sys\n"
        "assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", settings], cwd=folder, check=True, timeout=60)


@pytest.mark.parametrize("days", [-1, 0, 366])
def test_an_ignore_holds_for_a_year_at_most(days: int) -> None:
    good = Ignore("DOC005", "being set up", TODAY + timedelta(days))
    check_ignores([good], today=TODAY)
    bad = Ignore("DOC005", "being set up", TODAY + timedelta(367))
    with pytest.raises(ConfigError, match="DOC005"):
        check_ignores([good, bad], today=TODAY)


def test_the_examined_model_gives_no_settings(folder: Path) -> None:
    model = folder / "model"
    write(folder / "steelyard.toml", 'fail-on = "note"\n')
    own = write(model / "steelyard.toml", 'fail-on = "never"\n')
    assert project_file(model) == own
    assert project_file(model, examined=model) == folder / "steelyard.toml"
    assert project_file(model / "sub", examined=model) == folder / "steelyard.toml"
    assert project_file(folder, examined=model) == folder / "steelyard.toml"
