"""Settings: what may be set once instead of on every command line, and where a value came from.

A flag beats ANTIPHON_<NAME>, that beats ./antiphon.toml, that beats the user's config.toml, and
that beats the defaults below. Knows no command.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from antiphon.errors import ConfigError, StorageError

ENVIRONMENT_PREFIX = "ANTIPHON_"
PROJECT_FILE = Path("antiphon.toml")


def _default_state() -> Path:
    return platformdirs.user_state_path("antiphon", appauthor=False)


def _default_models() -> Path:
    # Data, not a cache: weights may have been put there by hand, and take hours to come again.
    return platformdirs.user_data_path("antiphon", appauthor=False) / "models"


def _default_cache() -> Path:
    return platformdirs.user_cache_path("antiphon", appauthor=False)


class Settings(BaseSettings):
    """Every setting with its default; frozen."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="how much is logged on stderr"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="one sentence, or one JSON object, per logged line"
    )
    jobs: int | None = Field(
        None, ge=1, le=1024, description="worker processes of a library run (unset: one per core)"
    )
    max_seconds: float = Field(
        4 * 3600.0,
        gt=0,
        allow_inf_nan=False,
        description="longest recording that is accepted, in seconds",
    )
    track_timeout_seconds: float = Field(
        1800.0,
        gt=0,
        allow_inf_nan=False,
        description="a library run gives one track up after this many seconds",
    )
    state: Path = Field(
        default_factory=_default_state,
        description="folder in which library runs keep what is done",
    )
    models: Path = Field(
        default_factory=_default_models,
        description="folder in which models lie, each in a folder of its own",
    )

    cache: Path = Field(
        default_factory=_default_cache,
        description="folder for what can be made again: models prepared for this processor",
    )

    @field_validator("state", "models", "cache")
    @classmethod
    def _whole_path(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """First source wins. No .env file and no secrets folder: nobody would look for them."""
        return init_settings, env_settings, *map(_TomlFile, config_files())


class _TomlFile(TomlConfigSettingsSource):
    """One config file, absent or valid."""

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(Settings, toml_file=path)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from error
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        for name in self.toml_data:
            if name not in Settings.model_fields:
                raise ConfigError(f"{path}: {_unknown(name)}")


def config_files() -> tuple[Path, Path]:
    """The project's file and the user's file, the stronger one first; they need not exist."""
    return PROJECT_FILE, platformdirs.user_config_path("antiphon", appauthor=False) / "config.toml"


def load(flags: Mapping[str, object] | None = None) -> Settings:
    """All settings; a flag that is None was not given.

    Raises ConfigError for a key that is unknown or a value that does not fit, naming its origin.
    """
    given = _given(flags)
    for name in given:
        if name not in Settings.model_fields:
            raise ConfigError(_unknown(name))
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        raise ConfigError(
            f"setting {name} is {problem['input']!r}, from {origins(flags)[name]}: "
            f"{problem['msg']} ({Settings.model_fields[name].description})"
        ) from error


def origins(flags: Mapping[str, object] | None = None) -> dict[str, str]:
    """For every setting the place its value comes from: flag, variable, file or `default`."""
    found = dict.fromkeys(Settings.model_fields, "default")
    for path in reversed(config_files()):
        found.update(dict.fromkeys(_TomlFile(path)(), str(path)))
    for name in EnvSettingsSource(Settings)():
        found[name] = ENVIRONMENT_PREFIX + name.upper()
    for name in _given(flags):
        found[name] = "--" + name.replace("_", "-")
    return found


def _given(flags: Mapping[str, object] | None) -> dict[str, object]:
    return {name: value for name, value in (flags or {}).items() if value is not None}


def _unknown(name: str) -> str:
    close = get_close_matches(name, Settings.model_fields, n=1)
    suggestion = f" (did you mean {close[0]!r}?)" if close else ""
    return (
        f"setting {name!r} is not known{suggestion}; "
        f"expected one of {', '.join(Settings.model_fields)}"
    )
