"""Which setting wins, and what is said of one that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon import settings
from antiphon.audio import Limits
from antiphon.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings of the machine at hand."""
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(f"ANTIPHON_{name.upper()}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def write_user_file(root: Path, text: str) -> Path:
    path = root / "config" / "antiphon" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_each_layer_beats_the_next(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().jobs is None
    user_file = write_user_file(clean, "jobs = 1\nlog_level = 'info'\nlog_format = 'json'\n")
    assert settings.load().jobs == 1
    Path("antiphon.toml").write_text("jobs = 2\nlog_level = 'error'\n")
    assert settings.load().jobs == 2
    monkeypatch.setenv("ANTIPHON_JOBS", "3")
    assert settings.load().jobs == 3
    flags = {"jobs": 4, "log_level": None}
    assert settings.load(flags).jobs == 4

    assert settings.load(flags).log_level == "error"
    origins = settings.origins(flags)
    assert origins["jobs"] == "--jobs"
    assert origins["log_level"] == "antiphon.toml"
    assert origins["log_format"] == str(user_file)
    assert origins["max_seconds"] == "default"
    assert settings.origins()["jobs"] == "ANTIPHON_JOBS"


def test_state_follows_xdg_and_its_own_variable(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.load().state == clean / "state" / "antiphon"
    monkeypatch.setenv("ANTIPHON_STATE", "~/elsewhere")
    assert settings.load().state == Path.home() / "elsewhere"


def test_unknown_key_names_file_and_known_ones() -> None:
    Path("antiphon.toml").write_text("job = 2\n")
    with pytest.raises(ConfigError, match=r"antiphon\.toml: .*'job'.*mean 'jobs'.*log_level, "):
        settings.load()


def test_unknown_flag_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'colour' is not known"):
        settings.load({"colour": "red"})


@pytest.mark.parametrize("content", [b"jobs = = 2\n", b"jobs = 2 # \xff\n"])
def test_broken_file_is_named(content: bytes) -> None:
    Path("antiphon.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"antiphon\.toml is not valid TOML"):
        settings.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jobs", "0"),
        ("jobs", "many"),
        ("log_level", "loud"),
        ("max_seconds", "inf"),
        ("track_timeout_seconds", "-1"),
    ],
)
def test_bad_value_names_itself_and_its_origin(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"ANTIPHON_{name.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=rf"setting {name} is .*{value}.*from {variable}: "):
        settings.load()


def test_default_length_is_the_reader_s() -> None:
    assert settings.load().max_seconds == Limits().max_seconds


def test_every_setting_is_explained() -> None:
    assert all(field.description for field in settings.Settings.model_fields.values())
