"""A run of any kind by its folder: what it trained, taken out of it."""

from __future__ import annotations

import json
from pathlib import Path

from antiphon.errors import ConfigError, ModelError
from antiphon.plain import read_json
from antiphon.train.checkpoints import STATE_NAME, CheckpointFolder, read_checkpoint
from antiphon.train.codec import CodecTask
from antiphon.train.composer import ComposerTask
from antiphon.train.config import CodecConfig, ComposerConfig
from antiphon.train.loop import CHECKPOINTS, kept_of


def export_run(source: Path, output: Path) -> int:
    """Write the model of a run (its best checkpoint, or its newest if none was validated) or of one
    checkpoint, by the moving average where there is one; the step it is of.

    Raises ConfigError for an output that is not empty, ModelError for a checkpoint that is none.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} is there and not empty; expected a new folder")
    path = source
    if not (source / STATE_NAME).is_file():
        folder = CheckpointFolder(source / CHECKPOINTS, 1)
        best, newest = folder.best(), folder.newest()
        found = best[0] if best else newest
        if found is None:
            raise ModelError(f"{source} holds no checkpoint yet; expected one that was saved")
        path = found
    checkpoint = read_checkpoint(path)
    config = checkpoint.state.get("config")
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict):
        raise ModelError(f"{path} does not say its config; expected a checkpoint of ours")
    text = json.dumps(config)
    task: CodecTask | ComposerTask
    if "codes" in data:
        task = ComposerTask(read_json(ComposerConfig, text, str(path)))
    else:
        task = CodecTask(read_json(CodecConfig, text, str(path)))
    task.adopt(kept_of(checkpoint))
    task.export(output, checkpoint.parts.get("average", checkpoint.parts["model"]))
    return checkpoint.step
