"""Captioning: what people wrote stays, what was measured is true, and who said it is told."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from corpus_pieces import RATE, noise, piece, write_pieces

from antiphon.analysis import measure
from antiphon.arrange import arrange
from antiphon.audio import read, write
from antiphon.controls import Controls
from antiphon.data.captioning import Captioning, caption, measured_controls
from antiphon.data.manifest import Clip, read_manifest, write_manifest
from antiphon.data.preparing import PrepareOptions, prepare
from antiphon.data.reporting import ledger_of
from antiphon.data.running import RunOptions
from antiphon.data.sources import read_source
from antiphon.errors import AudioError, ConfigError
from antiphon.listen.loading import load_listener
from antiphon.listen.prompts import load_prompt_set
from antiphon.synth import render

pytestmark = pytest.mark.integration

ONE = RunOptions(1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    music = folder / "music"
    write_pieces(music, 1)
    write(music / "2.flac", piece(2, "house", 14.0, 124.0, "A minor"))
    write(music / "3.flac", noise())
    (music / "1.txt").write_text("Somebody wrote this.")
    (music / "1.json").write_text('{"bpm": 61, "key": "F# major"}')
    prepare(read_source(music), folder / "m.parquet", PrepareOptions(), ONE)
    return folder


@pytest.fixture
def manifest(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path / "m.parquet"


def captioned(manifest: Path, *, overwrite: bool = False, **options: str) -> tuple[Clip, ...]:
    output = manifest.parent / "deep/c.parquet"
    caption(manifest, output, Captioning(**options), ONE, overwrite=overwrite)  # type: ignore[arg-type]
    return read_manifest(output).clips


def test_words_where_there_are_none(manifest: Path) -> None:
    before = manifest.read_bytes()
    written, house, hiss = captioned(manifest)
    assert manifest.read_bytes() == before
    assert (written.caption, written.caption_source) == ("Somebody wrote this.", "txt")
    # What was given holds against what is measured; what was not is filled in.
    assert written.controls is not None
    assert (written.controls["tempo"], written.controls["key"]) == (61, "F# major")
    assert house.controls == {
        "tempo": pytest.approx(124.0, abs=1),
        "key": "A minor",
        "metre": "4/4",
    }
    assert house.caption_source == "antiphon-listener"
    assert house.caption is not None
    assert "124 BPM" in house.caption
    assert hiss.controls is None
    manifest_ = read_manifest(manifest.parent / "deep/c.parquet")
    assert all(manifest_.path_of(clip).is_file() for clip in manifest_.clips)


def test_the_same_again_and_overwriting(manifest: Path) -> None:
    output = manifest.parent / "c.parquet"
    report = caption(manifest, output, Captioning(), ONE)
    assert (report.new, report.notes) == (3, ("1 captions were there and stay",))
    first = output.read_bytes()
    assert caption(manifest, output, Captioning(), ONE).new == 0
    assert output.read_bytes() == first
    assert caption(manifest, output, Captioning(), ONE, overwrite=True).new == 1
    rewritten = read_manifest(output).clips[0]
    assert rewritten.caption_source == "antiphon-listener"
    assert rewritten.controls is not None
    assert rewritten.controls["tempo"] == 61
    report = caption(manifest, output, Captioning(kind="very_brief"), ONE)
    assert report.new == 3
    assert len(str(read_manifest(output).clips[1].caption)) < 60


def test_captions_are_the_listeners(manifest: Path) -> None:
    _, house, _ = captioned(manifest, prompt_set="standard", kind="technical")
    prompts = load_prompt_set("standard")
    description = load_listener().describe(
        manifest.parent / "music/2.flac", prompts=prompts, kinds=["technical"]
    )
    assert house.caption == description.texts["technical"]


def test_a_passage_is_heard_alone(manifest: Path) -> None:
    (clip,) = (clip for clip in read_manifest(manifest).clips if clip.path.endswith("2.flac"))
    part = replace(clip, start_seconds=2.0, end_seconds=12.0, seconds=10.0)
    write_manifest(manifest, [part])
    (told,) = captioned(manifest, kind="technical")
    heard = read(manifest.parent / "music/2.flac", start_seconds=2, duration_seconds=10).waveform
    prompts = load_prompt_set("short")
    expected = load_listener().describe(heard, prompts=prompts, kinds=["technical"])
    assert told.caption == expected.texts["technical"]


def test_what_is_measured_is_sure_or_not_said() -> None:
    """Of random pieces nine of ten tempos that become controls are right, and nearly all keys."""
    said = {"tempo": 0, "key": 0, "metre": 0}
    right = dict(said)
    for seed in range(24):
        score = arrange(Controls(duration_seconds=15), 500 + seed)
        found = measured_controls(measure(render(score, sample_rate=RATE)))
        Controls.from_options(found)
        truth = {"key": score.key.name, "metre": f"{score.beats_per_bar}/4"}
        for name, value in found.items():
            said[name] += 1
            if name == "tempo":
                right[name] += abs(float(str(value)) / score.tempo_bpm - 1) < 0.04
            else:
                right[name] += value == truth[name]
    assert min(said.values()) > 12
    assert right["tempo"] >= 0.85 * said["tempo"]
    assert right["key"] >= 0.9 * said["key"]
    assert right["metre"] >= 0.95 * said["metre"]


def test_guards(manifest: Path) -> None:
    with pytest.raises(ConfigError, match="the manifest itself; name a new one"):
        caption(manifest, manifest.parent / "music/../m.parquet", Captioning(), ONE)
    with pytest.raises(ConfigError, match="expected a name that ends in .parquet"):
        caption(manifest, manifest.with_suffix(".csv"), Captioning(), ONE)
    with pytest.raises(ConfigError, match="nonsense"):
        captioned(manifest, kind="nonsense")
    (manifest.parent / "music/2.flac").unlink()
    output = manifest.parent / "c.parquet"
    report = caption(manifest, output, Captioning(), ONE)
    assert [Path(one.name).name for one in report.failures] == ["2.flac"]
    assert read_manifest(output).clips[1].caption is None  # it keeps what it had
    assert ledger_of(output).exists()
    for path in (manifest.parent / "music").iterdir():
        path.unlink()
    with pytest.raises(AudioError, match="no clip could be captioned; the first: .*1.flac"):
        caption(manifest, output, Captioning(), ONE)
    write_manifest(manifest, [])
    with pytest.raises(ConfigError, match=r"holds no clip \(0 rows\)"):
        caption(manifest, output, Captioning(), ONE)
