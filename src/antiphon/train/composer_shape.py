"""A composer and the batches it learns from by their sizes alone; what a dry run needs.

Letters: B batch, K codebooks, F code frames, S steps, L text tokens, D width of their states, W
numbers of a score frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from antiphon.compose.patterns import Pattern, delay, stereo_delay
from antiphon.compose.score_frames import WIDTH
from antiphon.errors import ConfigError
from antiphon.train.base import base_of, resolved
from antiphon.train.composer_model import END, PAD, CodeShape, ComposerModel
from antiphon.train.config import ComposerConfig
from antiphon.train.task import Batch

_USUAL_TOKENS = 96  # of a caption
_DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True, eq=False)
class Row:
    """A clip as it is shown once: codes [K, F]; of its text the `tokens` [L], or the states [L, D]
    of an encoder that stays as it is; `score_frames` [F, W], zeros where it has none."""

    codes: NDArray[np.integer]
    tokens: Sequence[int]
    text_states: NDArray[np.floating] | None
    text_heard: bool
    score_frames: NDArray[np.float32]
    score_heard: bool


class ComposerShape:
    """The model of a config for codes of a shape."""

    def __init__(self, config: ComposerConfig, codes: CodeShape) -> None:
        """Raises ConfigError for codes that are not the model's, ModelMissingError or ModelError
        for a base that cannot be used."""
        model = resolved(config.model)
        if model.tune != "all" and not model.base:
            raise ConfigError(
                f"model.tune is {model.tune!r} and model.base is empty; expected the checkpoint "
                "that is tuned: model.base=FOLDER"
            )
        for name in ("codebooks", "codebook_size", "frame_rate"):
            wanted, found = getattr(model, name), getattr(codes, name)
            if wanted not in (0, found):
                raise ConfigError(
                    f"the codes have a {name} of {found}; expected {wanted}, as the model has it: "
                    "preprocess with its codec"
                )
        base = base_of(model)
        if base and base[1].decoder.channels != codes.channels:
            raise ConfigError(
                f"the codes are of {codes.channels} channels; expected "
                f"{base[1].decoder.channels}, as {model.base} has it"
            )
        self.config = dataclasses.replace(config, model=model)
        self.codes = codes
        self.lengths = [max(1, round(s * codes.frame_rate)) for s in config.data.lengths]
        """Of crops, in frames."""
        stereo = codes.channels == 2
        self.pattern: Pattern = stereo_delay(codes.codebooks) if stereo else delay(codes.codebooks)
        dtype = _DTYPES[config.trainer.precision]
        self.model = ComposerModel(model, codes, config.training.seed, dtype)

    def largest_row(self, share: float = 1.0) -> Batch:
        """See `Task`."""
        frames = max(1, round(max(self.lengths) * share))
        states = None
        if self.model.text_encoder is None:
            states = np.zeros((_USUAL_TOKENS, self.config.model.text_width), np.float32)
        codes = np.zeros((self.codes.codebooks, frames), np.int64)
        score = np.zeros((frames, WIDTH), np.float32)
        row = Row(codes, [END] * _USUAL_TOKENS, states, True, score, True)
        return self.batch_of([row])

    def batch_of(self, rows: Sequence[Row]) -> Batch:
        """`columns` [B, K, S] of codes in the pattern, the card where there is none, `counted`
        where there is one to be predicted; `text_mask` [B, L], `tokens` [B, L] or `text_states`
        [B, L, D], and whether they are `text_heard` [B]; `score_frames` [B, F, W] and whether they
        are `score_heard` [B]. As long as its longest row."""
        card = self.codes.codebook_size
        frames = max(row.codes.shape[1] for row in rows)
        layout = self.pattern.layout(frames)
        columns = np.full((len(rows), len(layout.valid), layout.steps), card, np.int64)
        counted = np.zeros(columns.shape, bool)
        score = np.zeros((len(rows), frames, WIDTH), np.float32)
        for number, row in enumerate(rows):
            known = row.codes.shape[1]
            columns[number] = layout.interleave(row.codes.astype(np.int64), card)
            counted[number] = layout.valid & (layout.frame_of < known)
            score[number, :known] = row.score_frames
        return {
            "columns": torch.from_numpy(columns),
            "counted": torch.from_numpy(counted),
            **_texts(rows),
            "text_heard": torch.tensor([row.text_heard for row in rows]),
            "score_frames": torch.from_numpy(score),
            "score_heard": torch.tensor([row.score_heard for row in rows]),
        }


def _texts(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Of all rows, as long as the longest."""
    first = rows[0].text_states
    if first is None:
        tokens = np.full((len(rows), max(len(row.tokens) for row in rows)), PAD, np.int64)
        for number, row in enumerate(rows):
            tokens[number, : len(row.tokens)] = row.tokens
        return {"tokens": torch.from_numpy(tokens), "text_mask": torch.from_numpy(tokens != PAD)}
    every = [row.text_states for row in rows if row.text_states is not None]
    assert len(every) == len(rows), "all rows have states, or none"
    longest = max(len(states) for states in every)
    padded = np.zeros((len(rows), longest, first.shape[1]), np.float32)
    mask = np.zeros((len(rows), longest), bool)
    for number, states in enumerate(every):
        padded[number, : len(states)] = states
        mask[number, : len(states)] = True
    return {"text_states": torch.from_numpy(padded), "text_mask": torch.from_numpy(mask)}
