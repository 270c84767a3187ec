"""The values of a checkpoint's config.json, each held to a type. Knows no architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, TypeVar, cast

from antiphon.errors import ModelError
from antiphon.files import storage_error

CONFIG_NAME = "config.json"
_LIMIT_BYTES = 1 << 20

T = TypeVar("T", bool, int, float, str)


class ConfigValues:
    """The values of a config.json, or of a part of it, asked for one by one."""

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self._values = values
        self.where = where

    @classmethod
    def load(cls, folder: Path, name: str = CONFIG_NAME) -> ConfigValues:
        path = folder / name
        if not folder.is_dir():
            raise ModelError(f"{folder} is no folder; expected a MusicGen checkpoint folder")
        if not path.is_file():
            audiocraft = (folder / "state_dict.bin").is_file()
            raise ModelError(
                f"{folder} has the layout of audiocraft, pickles that may run code when they are "
                f"loaded; 'antiphon convert {folder}' makes a safe checkpoint of it"
                if audiocraft
                else f"{folder} has no {name}; expected a MusicGen checkpoint folder"
            )
        try:
            with path.open("rb") as file:
                values = json.loads(file.read(_LIMIT_BYTES))
        except OSError as error:
            raise storage_error("read", path, error) from error
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{path} is no valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise ModelError(f"{path} holds {type(values).__name__}; expected names with values")
        return cls(values, str(path))

    def values(self) -> dict[str, object]:
        return dict(self._values)

    def part(self, name: str) -> ConfigValues:
        values = self._values.get(name)
        if not isinstance(values, dict):
            self.refuse(name, "names with values")
        return ConfigValues(cast("Mapping[str, object]", values), f"{self.where}, {name}")

    def get(self, name: str, kind: type[T], default: T) -> T:
        value = self._values.get(name, default)
        if kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            self.refuse(name, kind.__name__)
        return value

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number above 0."""
        if default is None and name not in self._values:
            self.refuse(name, "a whole number above 0")
        number = self.get(name, int, 0 if default is None else default)
        if number < 1:
            self.refuse(name, "a whole number above 0")
        return number

    def numbers(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        values = self._values.get(name, default)
        if (
            not isinstance(values, list | tuple)
            or not values
            or not all(isinstance(v, int | float) and v > 0 for v in values)
        ):
            self.refuse(name, "a list of numbers above 0")
        return tuple(cast("list[float]", values))

    def expect(self, name: str, expected: object, default: object) -> None:
        if self._values.get(name, default) != expected:
            self.refuse(name, repr(expected))

    def refuse(self, name: str, expected: str) -> NoReturn:
        raise ModelError(f"{self.where}: {name} is {self._values.get(name)!r}; expected {expected}")
