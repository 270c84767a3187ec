"""From what a user calls a model to its files: a known name, a quant, a hub name, a path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from antiphon.errors import ModelError, ModelMissingError
from antiphon.models.manifest import (
    CALIBRATION,
    PROJECTOR,
    Model,
    is_hub_name,
    is_safe_name,
    known,
)
from antiphon.models.store import Stored, locate

PACKAGED = ("composer", "listener")  # that come with the package


def find(spec: str | os.PathLike[str], models: Path | None = None) -> Path:
    """The file (GGUF) or folder (checkpoint) of a model on this machine.

    `spec` is one of `PACKAGED` (a folder of that name is `./composer`), an existing path, a known
    name, a quant (`Q6_K`), a file name of a known model, a hub name (`org/name`), or what lies
    under this name in `models` (None: the setting of that name). What a path holds is not looked
    at.

    Raises ModelMissingError with what to do if it is not here, or only in part; ModelError for a
    file that belongs to a model but is none.
    """
    models = models_folder(models)
    text = os.fspath(spec)
    if text in PACKAGED:
        return packaged(text)
    path = os.path.expanduser(text)
    if text and os.path.exists(path):  # also where it reads like `org/name`, as in transformers
        return _checked(Path(path))
    if os.path.isfile(models / text):
        return _checked(models / text)
    stored = [locate(model, models) for model in resolve(text, models)]
    for one in stored:
        if one.state == "complete":
            return one.path
    for one in stored:
        if one.state == "partial":
            raise ModelMissingError(_partly_here(one))
    raise ModelMissingError(_missing(stored[0].model, models))


def get(spec: str, models: Path | None = None) -> Stored:
    """How the model `spec` lies in `models`: what is here goes before what only could be.

    Raises ModelMissingError for a name that nobody knows, ModelError as `find` does.
    """
    models = models_folder(models)
    stored = [locate(model, models) for model in resolve(spec, models)]
    order = ("complete", "partial", "absent")
    return min(stored, key=lambda one: order.index(one.state))


def projector(model_file: Path) -> Path:
    """The audio encoder that belongs to a GGUF model: `*mmproj*.gguf` beside it.

    Raises ModelMissingError if there is none, ModelError if it is not clear which.
    """
    siblings = sorted(model_file.parent.glob("*.gguf"))
    found = [path for path in siblings if PROJECTOR in path.name.lower()]
    ours = [m for m in known() if m.files and m.files[0].name == model_file.name]
    names = [file.name for model in ours for file in model.files or ()]
    listed = [path for path in found if path.name in names]
    if not found:
        expected = names[1] if len(names) > 1 else "*mmproj*.gguf"
        raise ModelMissingError(
            f"{model_file} has no projector beside it, without which it hears nothing; expected "
            f"{expected} in {model_file.parent}"
        )
    if not listed and len(found) > 1:
        raise ModelError(
            f"{model_file} has {len(found)} projectors beside it: "
            f"{', '.join(path.name for path in found)}; keep the one that belongs to it"
        )
    return (listed or found)[0]


def packaged(name: str) -> Path:
    """The folder of one of `PACKAGED`; the composer's holds its codec."""
    folder = Path(__file__).parent / "packaged" / name
    assert folder.is_dir(), f"{folder} belongs to the package"
    return folder


def resolve(spec: str, models: Path) -> Sequence[Model]:
    """The models `spec` may mean, the likeliest first; at least one. Looks at names only.

    Raises ModelMissingError for a name that nobody knows, ModelError for what is no model.
    """
    if not is_hub_name(spec) or spec.lower().endswith(".gguf"):
        _check_name(spec)
    wanted = spec.lower()
    found = [model for model in known() if wanted == model.name.lower()]
    found = found or [model for model in known() if wanted in _other_names(model)]
    if found:
        return found
    if is_hub_name(spec):
        return [Model(spec, repo=spec)]
    if is_safe_name(spec) and "/" not in spec and (models / spec).is_dir():
        return [Model(spec)]
    raise ModelMissingError(_unknown(spec))


def models_folder(models: Path | None) -> Path:
    """`models`, or the setting."""
    if models is not None:
        return models
    from antiphon import settings

    return settings.load().models


def _other_names(model: Model) -> set[str]:
    names = [model.quant, model.files[0].name if model.files else None]
    return {name.lower() for name in names if name}


def _checked(path: Path) -> Path:
    if path.is_file():
        _check_name(path.name)
    return path


def _check_name(name: str) -> None:
    low = name.lower()
    if CALIBRATION in low:
        raise ModelError(
            f"{name!r} is calibration data for making quantised models, not a model; "
            "name the .gguf beside it, such as music-flamingo-hf.Q6_K.gguf"
        )
    if PROJECTOR in low:
        raise ModelError(
            f"{name!r} is the projector of a model, not the model; name the .gguf beside it: "
            "the projector is found by itself"
        )


def file_names(model: Model) -> str:
    """The files of a model, as a message names them."""
    names = [file.name for file in model.files or ()]
    return " and ".join(names) or f"the files of {model.name}"


def _missing(model: Model, models: Path) -> str:
    more = "" if model.repo else " --from FOLDER|URL"
    return (
        f"model {model.name!r} is not on this machine; fetch it with 'antiphon models pull "
        f"{model.name}{more}', or put {file_names(model)} into {models / model.folder_name} "
        f"(ANTIPHON_MODELS is {models})"
    )


def _partly_here(stored: Stored) -> str:
    more = len(stored.lacking) - 1
    others = f" and {more} more are" if more else " is"
    return (
        f"model {stored.model.name!r} is only partly here: {stored.lacking[0]}{others} missing or "
        f"cut short in {stored.folder}; 'antiphon models pull {stored.model.name}' goes on "
        f"with it, or put the rest there yourself (ANTIPHON_MODELS sets where models are)"
    )


def _unknown(spec: str) -> str:
    names = [model.name for model in known()]
    quants = dict.fromkeys(model.quant for model in known() if model.quant)
    short = [name.rpartition("/")[2] for name in names]
    close = get_close_matches(spec, [*names, *quants, *short], n=3)
    full = dict.fromkeys(names[short.index(name)] if name in short else name for name in close)
    suggestion = f" (did you mean {' or '.join(map(repr, full))}?)" if close else ""
    return (
        f"model {spec!r} is neither a file, a folder nor a known name{suggestion}; expected a "
        f"path, ORG/NAME, {' or '.join(PACKAGED)}, or a name that 'antiphon models ls --all' lists"
    )
