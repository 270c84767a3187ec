"""The order in which codebooks are written: it can be undone, and MusicGen's are as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MusicgenForCausalLM
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

from antiphon.compose.patterns import Codes, Pattern, delay, parallel, stereo_delay

pytestmark = pytest.mark.unit

EMPTY = 64
PATTERNS = st.lists(st.integers(0, 6), min_size=1, max_size=9).map(
    lambda delays: Pattern(tuple(d - min(delays) for d in delays))
)


def some_codes(codebooks: int, frames: int, items: int | None = None) -> Codes:
    shape = (codebooks, frames) if items is None else (items, codebooks, frames)
    return np.random.default_rng(frames).integers(0, EMPTY, shape)


@settings(deadline=None)
@given(PATTERNS, st.integers(0, 40))
def test_any_layout_can_be_undone(pattern: Pattern, frames: int) -> None:
    layout = pattern.layout(frames)
    codes = some_codes(len(pattern.delays), frames, items=2)
    steps = layout.interleave(codes, EMPTY)
    assert steps.shape == (*codes.shape[:-1], layout.steps)
    assert np.array_equal(layout.deinterleave(steps), codes)
    # Nothing else is in the steps, and all of it is where the layout says.
    assert np.array_equal(steps[0] != EMPTY, layout.valid)
    assert layout.valid.sum() == codes[0].size


@settings(deadline=None)
@given(PATTERNS, st.integers(1, 30), st.data())
def test_every_code_is_written_delays_steps_after_its_frame(
    pattern: Pattern, frames: int, data: st.DataObject
) -> None:
    layout = pattern.layout(frames)
    codes = some_codes(len(pattern.delays), frames)
    steps = layout.interleave(codes, EMPTY)
    codebook = data.draw(st.integers(0, len(pattern.delays) - 1))
    frame = data.draw(st.integers(0, frames - 1))
    step = frame + pattern.delays[codebook]
    assert layout.step_of[codebook, frame] == step
    assert layout.frame_of[codebook, step] == frame
    assert steps[codebook, step] == codes[codebook, frame]


@settings(deadline=None)
@given(PATTERNS, st.integers(1, 30), st.integers(0, 40))
def test_missing_frames_are_empty_and_those_beyond_are_dropped(
    pattern: Pattern, frames: int, known: int
) -> None:
    layout = pattern.layout(frames)
    codes = some_codes(len(pattern.delays), known)
    back = layout.deinterleave(layout.interleave(codes, EMPTY))
    kept = min(known, frames)
    assert np.array_equal(back[:, :kept], codes[:, :kept])
    assert (back[:, kept:] == EMPTY).all()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("frames", "known"), [(3, 0), (7, 0), (20, 5), (20, 19)])
def test_musicgens_patterns_are_those_of_transformers(
    channels: int, frames: int, known: int
) -> None:
    codebooks = 4 * channels  # of less than 3 frames transformers makes no pattern
    model = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=2048, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=8,
            num_codebooks=codebooks, audio_channels=channels,
        )
    )  # fmt: skip
    pattern = delay(codebooks) if channels == 1 else stereo_delay(codebooks)
    layout = pattern.layout(frames)
    codes = some_codes(codebooks, known)
    # As `generate` calls it: the start token, then what is known; -1 where codes are to come.
    start = np.full((codebooks, 1), EMPTY)
    ids = torch.from_numpy(np.concatenate([start, codes], axis=1))
    begun, mask = model.build_delay_pattern_mask(ids, EMPTY, max_length=1 + layout.steps)
    ours = layout.interleave(codes, EMPTY)
    ours[layout.valid & (layout.frame_of >= known)] = -1
    assert np.array_equal(np.concatenate([start, ours], axis=1), mask.numpy())
    assert begun.shape[-1] == known + 1  # its first step to sample is ours


def test_the_delays_by_name() -> None:
    assert delay(4).delays == (0, 1, 2, 3)
    assert stereo_delay(8).delays == (0, 0, 1, 1, 2, 2, 3, 3)
    assert parallel(3).delays == (0, 0, 0)
    assert parallel(3).layout(5).steps == 5
    assert delay(4).layout(5).steps == 8
    assert delay(4).layout(0).steps == 0


def test_a_pattern_that_begins_late_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="do not begin at 0"):
        Pattern((1, 2))
