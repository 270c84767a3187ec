"""Checkpoints of a run: folders of safetensors and JSON that appear whole or not at all.

Written beside their place, synced and renamed, never through $TMPDIR: Lightning's own writer goes
through it and lost 17 of 30 checkpoints to kill -9 where that is another file system. Knows no
model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from antiphon.errors import ModelError, StorageError
from antiphon.files import atomic_write, storage_error, sync_file, sync_folder

STATE_NAME, BEST_NAME = "state.json", "best.json"
VALIDATION_LOSS = "validation_loss"  # in the state
_NAME = re.compile(r"step-(\d{9})\.ckpt")
_WAY_OUT = "remove that folder, and --resume auto goes on from the one before"
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run goes on from: after `step` steps, tensors by part, and plain data."""

    step: int
    parts: Mapping[str, Tensors]
    state: Mapping[str, object]


class CheckpointFolder:
    """The checkpoints of one run: the newest `keep`, and the best."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    def clean(self) -> None:
        """Make the folder, and clear away what a killed run left half-done. Raises StorageError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{BEST_NAME}.lock").unlink(missing_ok=True)
            for path in self.folder.glob(".*"):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        except OSError as error:
            raise storage_error("write", self.folder, error) from error

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write it and drop what is older than the newest `keep`.

        Raises StorageError (DiskFullError); the checkpoints before are then as they were.
        """
        final = self.path_of(checkpoint.step)
        temporary = final.with_name(f".{final.name}.tmp")
        try:
            if not final.exists():  # the same run, gone on from before it, would write the same
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
                try:
                    _write(temporary, checkpoint)
                    os.rename(temporary, final)
                except BaseException:
                    shutil.rmtree(temporary, ignore_errors=True)
                    raise
                sync_folder(self.folder)
            self._drop(self._outdated())
        except OSError as error:
            raise storage_error("write", final, error) from error
        return final

    def path_of(self, step: int) -> Path:
        """Where the checkpoint of a step lies, or would."""
        return self.folder / f"step-{step:09}.ckpt"

    def newest(self) -> Path | None:
        """The checkpoint of the most steps."""
        found = self._all()
        return found[-1] if found else None

    def best(self) -> tuple[Path, float] | None:
        """The checkpoint of the lowest validation loss, and that."""
        try:
            told = json.loads((self.folder / BEST_NAME).read_bytes())
            path, loss = self.folder / told["checkpoint"], float(told["loss"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{self.folder / BEST_NAME} is damaged: {error}; remove it") from error
        return (path, loss) if path.is_dir() else None

    def mark_if_best(self, path: Path, loss: float | None) -> None:
        """Keep `path`, which is one of ours, as the best if its loss is the lowest."""
        best = self.best()
        if loss is None or (best is not None and best[1] <= loss):
            return
        told = {"checkpoint": path.name, "loss": loss}
        atomic_write(self.folder / BEST_NAME, f"{json.dumps(told)}\n".encode())
        self._drop(self._outdated())

    def _all(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("step-*.ckpt") if _NAME.fullmatch(p.name))

    def _outdated(self) -> list[Path]:
        best = self.best()
        kept = {*self._all()[-self._keep :], *([best[0]] if best else [])}
        return [path for path in self._all() if path not in kept]

    def _drop(self, paths: Iterable[Path]) -> None:
        for path in paths:
            # Renamed first: a kill leaves none that looks whole.
            hidden = path.with_name(f".{path.name}.old")
            os.rename(path, hidden)
            shutil.rmtree(hidden, ignore_errors=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises StorageError if it cannot be read, ModelError for what is none, or damaged."""
    state = read_state(path)
    place = path / STATE_NAME
    try:
        step, names = (
            int(str(state.pop("step"))),
            list(typing.cast("list[str]", state.pop("parts"))),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{place} is damaged: {error}; {_WAY_OUT}") from error
    parts = {}
    for name in names:
        file = path / f"{name}.safetensors"
        try:
            parts[name] = load_file(file)
        except (SafetensorError, FileNotFoundError) as error:
            raise ModelError(f"{file} is damaged or missing: {error}; {_WAY_OUT}") from error
        except OSError as error:
            raise storage_error("read", file, error) from error
    return Checkpoint(step, parts, state)


def read_state(path: Path) -> dict[str, object]:
    """The plain data of a checkpoint. Raises as `read_checkpoint` does."""
    place = path / STATE_NAME
    try:
        state: dict[str, object] = json.loads(place.read_bytes())
        if not isinstance(state, dict):
            raise ValueError("it is no object")
    except FileNotFoundError as error:
        raise ModelError(
            f"{path} is no checkpoint: it has no {STATE_NAME}; expected a folder such as "
            "step-000000500.ckpt of a run"
        ) from error
    except OSError as error:
        raise storage_error("read", place, error) from error
    except ValueError as error:
        raise ModelError(f"{place} is damaged: {error}; {_WAY_OUT}") from error
    return state


def validation_loss(path: Path) -> float | None:
    """What a checkpoint says of itself, without its tensors; None if it was not judged."""
    try:
        loss = read_state(path).get(VALIDATION_LOSS)
    except (ModelError, StorageError):
        return None  # whoever goes on from it will be told
    return float(loss) if isinstance(loss, float | int) else None


def save_tensors(file: Path, tensors: Tensors) -> None:
    """Write a safetensors file, without another copy in memory. Raises OSError."""
    try:
        save_file(dict(tensors), file, metadata={"format": "pt"})
    except SafetensorError as error:
        # It tells what the system said in its text alone, such as that the disk is full.
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise OSError(str(error)) from error
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    for name, tensors in checkpoint.parts.items():
        file = folder / f"{name}.safetensors"
        # Cloned: of weights that two modules share, safetensors wants two.
        save_tensors(file, {key: value.contiguous().clone() for key, value in tensors.items()})
        sync_file(file)
    state = {"step": checkpoint.step, "parts": list(checkpoint.parts), **checkpoint.state}
    place = folder / STATE_NAME
    place.write_text(json.dumps(state, indent=1, allow_nan=False), encoding="utf-8")
    sync_file(place)
    sync_folder(folder)
