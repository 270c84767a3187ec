"""Runs of any kind: their configs and tasks, and what they trained, taken out of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from antiphon.compose.conversion.result import whole_folder
from antiphon.data.loading import Corpus
from antiphon.data.running import OnClip
from antiphon.errors import ConfigError, ModelError
from antiphon.files import storage_error
from antiphon.plain import read_json
from antiphon.train.base import resolved
from antiphon.train.checkpoints import STATE_NAME, Checkpoint, CheckpointFolder, read_checkpoint
from antiphon.train.codec import CodecTask, export_codec
from antiphon.train.composer import ComposerTask, export_composer, shape_of
from antiphon.train.composer_model import CodeShape
from antiphon.train.composer_shape import ComposerShape
from antiphon.train.config import CodecConfig, ComposerConfig, Kind, ListenerConfig, load_config
from antiphon.train.listener import ListenerShape, ListenerTask, export_listener
from antiphon.train.listener_export import resolved_listener
from antiphon.train.resuming import CHECKPOINTS, kept_of, kind_of
from antiphon.train.sizing import Size, size_of
from antiphon.train.task import Task

# What each kind is counted in.
UNITS: Mapping[Kind, str] = {"codec": "samples", "composer": "codes", "listener": "frames"}
AnyConfig = CodecConfig | ComposerConfig | ListenerConfig


def load_run_config(kind: Kind, file: Path | None, overrides: Sequence[str]) -> AnyConfig:
    """A config as `config.load_config` gives it, with the sizes of the checkpoints that it names.

    Raises as that does, and ModelMissingError or ModelError for those checkpoints.
    """
    if kind == "codec":
        return load_config(CodecConfig, file, overrides)
    if kind == "listener":
        listener = load_config(ListenerConfig, file, overrides)
        return dataclasses.replace(listener, model=resolved_listener(listener.model))
    config = load_config(ComposerConfig, file, overrides)
    return dataclasses.replace(config, model=resolved(config.model))


def new_task(config: AnyConfig, on_clip: OnClip) -> Task:
    """What a config trains; `on_clip` is told which clip of how many is decoded."""
    if isinstance(config, CodecConfig):
        return CodecTask(config, on_clip)
    if isinstance(config, ListenerConfig):
        return ListenerTask(config, on_clip)
    return ComposerTask(config)


def size_of_run(config: AnyConfig, on_clip: OnClip) -> Size:
    """How large and how long it would be. A listener's data need not be there yet, nor a composer's
    where the model says what their codes are.

    Raises ConfigError where neither says it.
    """
    if isinstance(config, CodecConfig):
        return size_of(CodecTask(config, on_clip), config)
    if isinstance(config, ListenerConfig):
        return size_of(ListenerShape(config), config)
    lengths = config.data.lengths
    return size_of(ComposerShape(config, _code_shape(config)), config, mean(lengths) / max(lengths))


def _code_shape(config: ComposerConfig) -> CodeShape:
    if config.data.codes:
        return shape_of(Corpus(Path(config.data.codes), "train").codec)
    model = config.model
    if not (model.codebooks and model.codebook_size and model.frame_rate):
        raise ConfigError(
            "data.codes is empty, and the model does not say what its codes are; expected "
            "data.codes=DIR, or model.codebooks, model.codebook_size and model.frame_rate"
        )
    return CodeShape(model.codebooks, model.codebook_size, 1, model.frame_rate)


def export_run(source: Path, output: Path, on_clip: OnClip = lambda done, total: None) -> int:
    """Write the model of a run (its best checkpoint, or its newest if none was validated) or of one
    checkpoint; the step it is of. A listener is calibrated on data of its run, other models need
    none; `on_clip` is told which clip of how many is heard.

    Raises ConfigError for an output that is not empty, ModelError for a checkpoint that is none.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error("write", output, error) from error
    with whole_folder(output) as temporary:
        path = find_trained(source)
        checkpoint = read_checkpoint(path)
        export_checkpoint(checkpoint, temporary, str(path), on_clip)
    return checkpoint.step


def export_checkpoint(
    checkpoint: Checkpoint,
    folder: Path,
    where: str,
    on_clip: OnClip = lambda done, total: None,
) -> None:
    """Write the model of a checkpoint that lies at `where`, by the moving average where there is
    one.

    Raises ModelError for one that does not say what it is of, StorageError (DiskFullError).
    """
    config = checkpoint.state.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("data"), dict):
        raise ModelError(f"{where} does not say its config; expected a checkpoint of ours")
    weights = checkpoint.parts.get("average", checkpoint.parts["model"])
    text = json.dumps(config)
    losses = checkpoint.state.get("validation")
    metrics = losses if isinstance(losses, dict) else {}
    kind = kind_of(config)
    if kind == "listener":
        listener = read_json(ListenerConfig, text, where)
        export_listener(folder, listener, weights, kept_of(checkpoint), metrics, on_clip)
    elif kind == "composer":
        composer = read_json(ComposerConfig, text, where)
        export_composer(folder, composer, weights, kept_of(checkpoint), metrics)
    else:
        export_codec(folder, read_json(CodecConfig, text, where), weights, kept_of(checkpoint))


def find_trained(run: Path) -> Path:
    """The checkpoint that a run is exported by: its best, or its newest; `run` may be one itself.

    Raises ModelError for a run that has none.
    """
    if (run / STATE_NAME).is_file():
        return run
    folder = CheckpointFolder(run / CHECKPOINTS, 1)
    best, newest = folder.best(), folder.newest()
    found = best[0] if best else newest
    if found is None:
        raise ModelError(f"{run} holds no checkpoint yet; expected one that was saved")
    return found
