"""Loops: so many bars exactly, and no seam when they are played one after the other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from t5_models import tiny_musicgen
from test_following import model_of, write_random_adapter

from antiphon.analysis import measure
from antiphon.arrange import arrange
from antiphon.audio import Waveform
from antiphon.compose.arranging import arranged
from antiphon.compose.composer import Composer, collect, load_composer
from antiphon.compose.loading import LoadOptions
from antiphon.compose.looping import LoopCut, unrolled
from antiphon.compose.requests import Loop, Request
from antiphon.controls import Controls
from antiphon.errors import ConfigError

pytestmark = pytest.mark.integration

RATE = 8_000


def test_a_bar_before_and_a_bar_after() -> None:
    score = arrange(Controls(genre="rock", bars=4, metre="4/4"), 3)
    longer = unrolled(score)
    assert longer.bars == 6
    for before, after in zip(score.tracks, longer.tracks, strict=True):
        middle = [n for n in after.notes if 4 <= n.start_beat < 20]
        assert [n.start_beat - 4 for n in middle] == pytest.approx(
            [n.start_beat for n in before.notes]
        )
        lead = [n.pitch for n in after.notes if n.start_beat < 4]
        assert lead == [n.pitch for n in before.notes if n.start_beat >= 12]
        tail = [n.pitch for n in after.notes if n.start_beat >= 20]
        assert tail == [n.pitch for n in before.notes if n.start_beat < 4]
    assert longer.chords[0].chord == score.chords[-1].chord
    assert sum(span.duration_beats for span in longer.chords) == pytest.approx(24)
    assert sum(section.bars for section in longer.sections) == 6


@pytest.mark.parametrize("size", [37, 1000, 8000, 10**6])
def test_what_is_cut_goes_over_into_its_beginning(size: int) -> None:
    """A tone whose period does not fit: only the fade makes its ends meet."""
    loop, samples = Loop(2000, 14_000), 10_000
    played = np.sin(2 * np.pi * 330.7 * np.arange(14_000) / RATE).astype(np.float32)[None]
    cut = LoopCut(loop, samples, RATE)
    parts = [cut.take(played[:, at : at + size]) for at in range(0, played.shape[1], size)]
    found = np.concatenate(parts, axis=1)
    assert found.shape == (1, samples)
    assert np.array_equal(found[:, :9_000], played[:, 2000:11_000])
    # The last sample is the one that went before the first.
    assert found[0, -1] == pytest.approx(played[0, 1999], abs=1e-6)
    twice = np.concatenate([found, found], axis=1)[0]
    step = np.abs(np.diff(twice))
    assert step[samples - 1] <= step[: samples - 1].max()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    folder: Path = tmp_path_factory.mktemp("loop")
    tiny_musicgen(folder)
    options = LoadOptions(precision="fp32", threads=1)
    plain = model_of(load_composer(folder, options))
    write_random_adapter(folder / "adapter", plain.config.decoder.width, plain.codec.frame_rate)
    return load_composer(folder, options)


def test_both_renderers_give_whole_bars(tiny: Composer) -> None:
    asked = Request("house", 1, Controls(tempo_bpm=123.0, metre="4/4"), loop_bars=2)
    for composer in (tiny, load_composer("synth")):
        performance = composer.renderer.perform([asked])
        (plan,) = performance.plans
        seconds = 2 * 4 * 60 / 123
        assert plan.samples == round(seconds * composer.sample_rate)
        assert plan.wishes.duration_seconds == pytest.approx(seconds)
        (sound,) = collect(performance)
        assert sound.shape[1] == plan.samples


def test_a_loop_of_the_synth_keeps_its_beat_over_the_seam() -> None:
    composer = load_composer("synth")
    asked = Request("rock", 5, Controls(genre="rock", tempo_bpm=118.0), loop_bars=8)
    (sound,) = collect(composer.renderer.perform([asked]))
    twice = Waveform(np.concatenate([sound, sound], axis=1), composer.sample_rate)
    facts = measure(twice)
    assert facts.tempo.bpm == pytest.approx(118.0, rel=0.01)
    assert facts.beats.times_seconds is not None
    gaps = np.diff(facts.beats.times_seconds)
    seam = sound.shape[1] / composer.sample_rate
    near = [g for t, g in zip(facts.beats.times_seconds, gaps, strict=False) if abs(t - seam) < 2]
    assert np.abs(np.array(near) - 60 / 118).max() < 0.06
    # A click would be a step that the music itself does not make.
    steps = np.abs(np.diff(twice.samples, axis=1))
    place = sound.shape[1] - 1
    assert steps[:, place].max() <= np.quantile(steps, 0.999)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"controls": Controls(bars=4)}, "--bars and --loop-bars both say its form"),
        ({"controls": Controls(ending=True)}, "--ending and --loop-bars both say"),
        ({"continuation": Waveform(np.zeros((1, RATE), np.float32), RATE)}, "--continue without"),
    ],
)
def test_what_contradicts_a_loop(changes: dict[str, object], match: str) -> None:
    asked = dataclasses.replace(Request("rock", 1, loop_bars=4), **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=match):
        arranged(asked)


def test_a_loop_of_no_bars_is_refused() -> None:
    with pytest.raises(ConfigError, match="loop bars is 0; expected 1 to 2000"):
        Request("rock", 1, loop_bars=0)
