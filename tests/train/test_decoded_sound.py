"""The sound that a codec learns from: what could not be read is told, and read when it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.data.manifest import read_manifest
from antiphon.data.running import RunOptions
from antiphon.data.synthesizing import Recipe, synthesize
from antiphon.train.codec import CodecTask
from antiphon.train.config import CodecConfig, load_config
from antiphon.train.resuming import require_same_data

pytestmark = pytest.mark.integration


def test_a_clip_that_was_missing_is_read_when_it_is_back(tmp_path: Path) -> None:
    recipe = Recipe(9, seconds=3.0, sample_rate=16_000)
    synthesize(recipe, tmp_path / "m", RunOptions(1))
    manifest = tmp_path / "m/manifest.parquet"
    clip = next(c for c in read_manifest(manifest).clips if c.split == "train")
    path = tmp_path / "m" / clip.path
    hidden = path.rename(path.with_suffix(".away"))
    config = load_config(
        CodecConfig, None, [f"data.manifest={manifest}", f"output_dir={tmp_path / 'run'}"]
    )
    lacking = CodecTask(config)
    (note,) = lacking.notes
    assert note.startswith(f"left out: {clip.id}: ")
    hidden.rename(path)
    whole = CodecTask(config)
    assert not whole.notes
    seconds = [task._train.seconds for task in (lacking, whole)]
    assert seconds[1] - seconds[0] == pytest.approx(3.0)
    with pytest.raises(Exception, match="the data are not those that the run began with"):
        require_same_data(lacking.kept, whole.kept)
