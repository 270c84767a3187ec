"""The models folder: which models are in it, whole or in part. Knows no network.

A model lies in `<models>/<org>--<name>/`. Files that somebody put there by hand count as much as
pulled ones; only what they must be is then not known.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from antiphon.errors import ConfigError, ModelError, ModelMissingError, StorageError
from antiphon.files import storage_error
from antiphon.models.manifest import (
    DATA_SUFFIXES,
    RECORD_NAME,
    WEIGHT_SUFFIXES,
    Model,
    ModelFile,
    is_hub_name,
    is_main_file,
    is_safe_name,
    known,
)
from antiphon.models.record import Record, forget, read_record

LOCK_TIMEOUT_SECONDS = 5.0  # a pull takes hours: say so rather than wait
CONFIG_NAME = "config.json"
PART_SUFFIX = ".part"
VALIDATOR_SUFFIX = ".part.etag"
_INDEX = "model.safetensors.index.json"
_PREPARED_SUFFIXES = (".onnx", ".weights")  # of an exported model; never pulled


@dataclass(frozen=True)
class Stored:
    """A model as it lies on this machine.

    `folder` is where its files are, or belong. `files` are those it must have, with what is known
    of them; `lacking` names those that are not there or have another size. `size_bytes` is what it
    takes on the disk.
    """

    model: Model
    folder: Path
    state: Literal["complete", "partial", "absent"]
    files: tuple[ModelFile, ...]
    lacking: tuple[str, ...]
    size_bytes: int
    record: Record | None

    @property
    def path(self) -> Path:
        """What an engine loads: the first file where files are listed, else the folder."""
        return self.folder / self.model.files[0].name if self.model.files else self.folder


def locate(model: Model, models: Path) -> Stored:
    """Look for `model` below the folder `models`.

    Raises ModelError for a broken record, StorageError for what cannot be read.
    """
    folder = _folder_of(model, models)
    record = read_record(folder)
    files = expected_files(model, folder, record)
    lacking = tuple(file.name for file in files if not _is_whole(folder / file.name, file))
    present = _present(model, folder)
    if not present:
        return Stored(model, folder, "absent", files, lacking, 0, record)
    state: Literal["complete", "partial"] = "partial" if lacking else "complete"
    size = sum(path.stat().st_size for path in present)
    return Stored(model, folder, state, files, lacking, size, record)


def here(models: Path) -> list[Model]:
    """The models of which at least a part is below `models`; also those nobody knows.

    Raises StorageError for a folder that cannot be read.
    """
    found = [model for model in known() if _present(model, _folder_of(model, models))]
    taken = {_folder_of(model, models) for model in found}
    return found + [
        Model(repo or folder.name, repo=repo)
        for folder in _subfolders(models)
        if folder not in taken and _has_model(folder) and is_safe_name(folder.name)
        for hub_name in [folder.name.replace("--", "/", 1)]
        for repo in [hub_name if is_hub_name(hub_name) else None]
    ]


def expected_files(model: Model, folder: Path, record: Record | None) -> tuple[ModelFile, ...]:
    """The files the model must have in `folder`: by the manifest, else by the record of its pull,
    else by its own index."""
    if model.files is not None:
        return tuple(_with_recorded(file, record) for file in model.files)
    if record is not None:
        return record.files
    return _by_its_own_index(folder)


def remove(stored: Stored, models: Path) -> None:
    """Delete the files of a model, in `models` only; what another model there needs is kept.

    Raises ModelMissingError if there is nothing, ConfigError for a place outside of `models`,
    StorageError, also while the model is being pulled.
    """
    if stored.state == "absent":
        raise ModelMissingError(f"model {stored.model.name!r} is not in {models}; nothing removed")
    folder = stored.folder
    only_a_link = folder.is_symlink() and stored.model.files is None
    # Resolved, so that no link leads the deletion to another place.
    place = (folder.parent if only_a_link else folder).resolve()
    if not place.is_relative_to(models.resolve()):
        raise ConfigError(f"{folder} leads to {place}, outside of {models}; delete it yourself")
    with locked(folder, models):
        try:
            if stored.model.files is not None:
                _remove_files(stored, models)
            elif only_a_link:
                folder.unlink()
            else:
                shutil.rmtree(folder)
        except OSError as error:
            raise storage_error("remove", folder, error) from error


def _remove_files(stored: Stored, models: Path) -> None:
    """Of a model that is single files: the projector stays as long as another may need it."""
    folder, names = stored.folder, [file.name for file in stored.files]
    others = [
        path
        for path in folder.glob("*.gguf*")
        if is_main_file(path.name) and not path.name.startswith(names[0])
    ]
    names = names[:1] if others else names
    for name in names:
        for suffix in ("", PART_SUFFIX, VALIDATOR_SUFFIX):
            (folder / (name + suffix)).unlink(missing_ok=True)
    forget(folder, names)
    if folder != models and not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def locked(folder: Path, models: Path) -> Iterator[None]:
    """Keep other processes and threads from pulling into, or removing, the same folder.

    The lock lies in `models`, so that a folder can go while it is held; it ends with the process.

    Raises StorageError when another has it.
    """
    from filelock import FileLock, Timeout

    path = models / f".{folder.name}.lock"
    try:
        # filelock tries some errors again until the time is up.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o666))
        lock = FileLock(path, timeout=LOCK_TIMEOUT_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise StorageError(
            f"{folder} is in use by another process, which pulls or removes a model; "
            "wait until that is done"
        ) from error
    except OSError as error:
        raise storage_error("write", path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):  # before the release, as in files.py
            path.unlink()
        lock.release()


def _folder_of(model: Model, models: Path) -> Path:
    """Where the model is, or belongs."""
    holding = (folder for folder in _candidates(model, models) if _holds(folder, model))
    return next(holding, models / model.folder_name)


def _candidates(model: Model, models: Path) -> Iterator[Path]:
    yield models / model.folder_name
    if model.files is None:
        yield models.joinpath(*model.name.split("/"))  # as people lay them out themselves
    else:
        yield models
        yield from _subfolders(models)


def _holds(folder: Path, model: Model) -> bool:
    if model.files is None:
        return folder.is_dir() and any(folder.iterdir())
    main = model.files[0].name
    return any((folder / (main + suffix)).is_file() for suffix in ("", PART_SUFFIX))


def _present(model: Model, folder: Path) -> list[Path]:
    """Files of the model that are there, finished or not; empty unless the model itself is."""
    if model.files is None:
        return [
            path
            for path in _walk(folder)
            if _is_data(path) or path.name.endswith((PART_SUFFIX, *_PREPARED_SUFFIXES))
        ]
    if not _holds(folder, model):
        return []
    both = [folder / (f.name + suffix) for f in model.files for suffix in ("", PART_SUFFIX)]
    return [path for path in both if path.is_file()]


def data_files(folder: Path) -> list[str]:
    """Relative names, with `/`, of the data files below `folder`, in order."""
    return [path.relative_to(folder).as_posix() for path in _walk(folder) if _is_data(path)]


def _walk(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _is_data(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.name == RECORD_NAME
    return path.suffix.lower() in DATA_SUFFIXES and not hidden


def _has_model(folder: Path) -> bool:
    if (folder / RECORD_NAME).is_file() or (folder / CONFIG_NAME).is_file():
        return True
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in WEIGHT_SUFFIXES]
    return any(map(is_main_file, names))


def _is_whole(path: Path, file: ModelFile) -> bool:
    try:
        return file.size_bytes in (None, path.stat().st_size) and path.is_file()
    except OSError:
        return False


def _with_recorded(file: ModelFile, record: Record | None) -> ModelFile:
    recorded = record.file(file.name) if record else None
    if recorded is None:
        return file
    size = recorded.size_bytes if file.size_bytes is None else file.size_bytes
    return replace(file, size_bytes=size, sha256=file.sha256 or recorded.sha256)


def _by_its_own_index(folder: Path) -> tuple[ModelFile, ...]:
    """A checkpoint put there by hand: its configuration, and the shards its index names."""
    weights = [n for n in data_files(folder) if Path(n).suffix.lower() in WEIGHT_SUFFIXES]
    if weights and all(name.endswith(".gguf") for name in weights):
        return tuple(map(ModelFile, weights))
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        shards = sorted({str(name) for name in index["weight_map"].values()})
        return tuple(ModelFile(name) for name in (CONFIG_NAME, *shards))
    except (FileNotFoundError, NotADirectoryError):
        names = weights or ["model.safetensors"]
        return tuple(ModelFile(name) for name in (CONFIG_NAME, *names))
    except (ConfigError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / _INDEX} is not understood: {error}; delete it and pull the model again"
        ) from error


def _subfolders(models: Path) -> list[Path]:
    try:
        return sorted(path for path in models.iterdir() if path.is_dir() and path.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise storage_error("read", models, error) from error
