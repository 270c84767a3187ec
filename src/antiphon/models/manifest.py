"""What a model is, and `models.yaml`: the models antiphon knows. Knows no disk and no network."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files as resources
from typing import Literal

from antiphon.errors import ConfigError

Kind = Literal["listener", "composer", "codec", "text encoder"]

RECORD_NAME = "antiphon-model.json"  # of ours, beside the files; see record.py
# Plain data. Everything else in a repository is not needed, or may run code when it is loaded.
DATA_SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".jinja", ".model", ".gguf", ".md"})
WEIGHT_SUFFIXES = frozenset({".safetensors", ".gguf"})
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy"})

PROJECTOR = "mmproj"  # in the name of the audio encoder that goes with a GGUF model
CALIBRATION = "imatrix"  # in the name of what such models are made with

_MANIFEST = "models.yaml"
_REQUIRED = ("name", "kind", "licence", "allows")
_NAME_LIMIT_BYTES = 200  # file systems allow 255; the rest is for what we add
# Neither a way out of the folder nor a name that Windows refuses, and no hidden file.
_PART = re.compile(r"[^\\/:*?\"<>|\x00-\x1f\x7f.\s][^\\/:*?\"<>|\x00-\x1f\x7f]*(?<![. ])")
# What the hub allows: `--` and `..` do not occur, so that `org--name` is one folder of one model.
_HUB_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: `name` is relative to its folder, with `/`; None is what nobody knows.

    Raises ConfigError for a name that leads out of the folder, and for values no file can have.
    """

    name: str
    size_bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not is_safe_name(self.name):
            raise ConfigError(
                f"file name {self.name!r} is not accepted; expected a relative name such as "
                "'model.safetensors' or 'part/model.gguf'"
            )
        if self.size_bytes is not None and self.size_bytes < 0:
            raise ConfigError(f"{self.name}: size_bytes is {self.size_bytes}; expected 0 or more")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ConfigError(
                f"{self.name}: sha256 is {self.sha256!r}; expected 64 of 0-9 and a-f, or null"
            )


@dataclass(frozen=True)
class Model:
    """A model, known or only named: then `kind`, `licence` and `allows` are None.

    `repo` is where the hub has it, `revision` a commit there. The first of `files` is the model
    itself; None means a checkpoint whose list only the hub knows. `architecture` is the class
    transformers loads, `cap_seconds` the longest recording it takes in, `quant` another name.
    """

    name: str
    kind: Kind | None = None
    repo: str | None = None
    files: tuple[ModelFile, ...] | None = None
    revision: str | None = None
    licence: str | None = None
    allows: str | None = None
    architecture: str | None = None
    cap_seconds: float | None = None
    quant: str | None = None

    def __post_init__(self) -> None:
        if self.repo is not None and not is_hub_name(self.repo):
            raise ConfigError(f"{self.name}: repo is {self.repo!r}; expected ORG/NAME or null")
        if not is_hub_name(self.name) and not (is_safe_name(self.name) and "/" not in self.name):
            raise ConfigError(f"name is {self.name!r}; expected NAME or ORG/NAME")
        if self.cap_seconds is not None and self.cap_seconds <= 0:
            raise ConfigError(
                f"{self.name}: cap_seconds is {self.cap_seconds:g}; expected more than 0"
            )
        if self.files is not None and not self.files:
            raise ConfigError(f"{self.name}: files is empty; expected files, or null if not known")

    @property
    def folder_name(self) -> str:
        """The folder its files belong into, below ANTIPHON_MODELS."""
        return (self.repo or self.name).replace("/", "--")


def is_hub_name(text: str) -> bool:
    """Whether `text` can be the name of a repository: `org/name`."""
    return _HUB_NAME.fullmatch(text) is not None


def is_safe_name(name: str) -> bool:
    """Whether a file of this relative name stays in the folder it is put into."""
    return (
        len(os.fsencode(name)) <= _NAME_LIMIT_BYTES
        and all(_PART.fullmatch(part) for part in name.split("/"))
        and name != RECORD_NAME
    )


def is_main_file(name: str) -> bool:
    """Whether a GGUF file of this name can be a model, rather than something beside one."""
    return PROJECTOR not in name.lower() and CALIBRATION not in name.lower()


@cache
def known() -> tuple[Model, ...]:
    """The models of the packaged manifest, in its order."""
    data = (resources("antiphon.models") / _MANIFEST).read_bytes()
    return read_manifest(data, _MANIFEST)


def licence_of(repo: str | None) -> str | None:
    """The licence of what lies at `repo` on the hub; None where it is not known."""
    return next((model.licence for model in known() if model.repo and model.repo == repo), None)


def read_manifest(data: bytes, origin: str) -> tuple[Model, ...]:
    """Read a manifest, a YAML list of models; `origin` names it in messages.

    Raises ConfigError for everything that is not understood, naming the model, the value and what
    was expected.
    """
    import yaml

    try:
        entries = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{origin} is not valid YAML: {problem}") from error
    if not isinstance(entries, list):
        raise ConfigError(f"{origin} holds no list; expected a list of models")
    models = tuple(
        _read_model(entry, f"{origin}, model {number}")
        for number, entry in enumerate(entries, start=1)
    )
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{origin}: {name!r} is there twice; expected each name once")
    return models


def _read_model(entry: object, where: str) -> Model:
    from antiphon.plain import read_json

    fields_given = _known_fields(entry, Model, where)
    where = f"{where} ({fields_given.get('name')})"
    for name in _REQUIRED:
        if fields_given.get(name) is None:
            raise ConfigError(f"{where} has no {name}; expected {', '.join(_REQUIRED)}")
    listed = fields_given.get("files")
    for file in listed if isinstance(listed, list) else ():
        _known_fields(file, ModelFile, f"{where}, files")
    try:
        text = json.dumps(entry)
    except TypeError as error:  # YAML has dates
        raise ConfigError(f"{where}: {error}; expected text and numbers") from error
    return read_json(Model, text, where)


def _known_fields(
    entry: object, kind: type[Model] | type[ModelFile], where: str
) -> Mapping[object, object]:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is {entry!r}; expected names with values")
    names = [field.name for field in fields(kind)]
    for name in entry:
        if name not in names:
            raise ConfigError(f"{where} has {name!r}; expected one of {', '.join(names)}")
    return entry
