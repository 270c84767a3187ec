"""The task of training a composer: codes, what is said of them, and their score.

Letters: B batch, K codebooks, F code frames, S steps, L text tokens, W numbers of a score frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from antiphon import settings
from antiphon.compose.patterns import delay
from antiphon.compose.prompt import render
from antiphon.compose.score_frames import WIDTH
from antiphon.controls import Controls
from antiphon.data.loading import Corpus
from antiphon.data.manifest import Split
from antiphon.data.preprocessing import checksum_of
from antiphon.data.shards import CodecIdentity, CodedClip, shard_paths
from antiphon.errors import ConfigError
from antiphon.models.finding import packaged
from antiphon.train.composer_model import END, PAD, ComposerModel
from antiphon.train.config import ComposerConfig, to_yaml
from antiphon.train.exporting import write_card, write_composer
from antiphon.train.loop import Batch, require_same_data
from antiphon.train.tokenizer import new_tokenizer, texts_of

MAX_TOKENS = 96
_POSITIONS = 4096
_BEGINNINGS = 0.3  # of crops begin where the clip does
_VALIDATION = 1 << 40  # positions that no training step has


@dataclass(frozen=True, eq=False)
class _Row:
    """A clip as it is shown once; `score_frames` [F, W] of zeros where it has none."""

    codes: np.ndarray
    text: str
    text_heard: bool
    score_frames: np.ndarray
    score_heard: bool


class ComposerTask:
    """Implements `Task`."""

    def __init__(self, config: ComposerConfig, *, needs_codec: bool = True) -> None:
        """Without the codec of the codes it can show batches, and is not to be exported.

        Raises ConfigError for data that cannot be trained on, StorageError.
        """
        data = config.data
        if not data.codes:
            raise ConfigError(
                "data.codes is empty; expected a folder that 'antiphon data preprocess' wrote: "
                "data.codes=DIR"
            )
        folder = Path(data.codes)
        self._config = config
        self._train = self._corpus(folder, "train")
        held = Corpus(folder, "validation")
        self._held = held if len(held) else None
        codec = self._train.codec
        self._codec = Path(data.codec) if data.codec else packaged("codec")
        if needs_codec:
            _require_codec(self._codec, codec, folder)
        self._frames = [max(1, round(length * codec.frame_rate)) for length in data.lengths]
        self._pattern = delay(codec.codebooks)
        self.tokenizer = new_tokenizer(texts_of(shard_paths(folder)), config.model.vocabulary)
        self.model = ComposerModel(config.model, codec, _POSITIONS, config.training.seed)

    @property
    def kept(self) -> Mapping[str, str]:
        """See `Task`."""
        return {"tokenizer": self.tokenizer.to_str(), "data": self._train.checksum}

    def adopt(self, kept: Mapping[str, str]) -> None:
        """See `Task`."""
        require_same_data(kept, self.kept)
        self.tokenizer = Tokenizer.from_str(kept["tokenizer"])

    def begin(self) -> None:
        """See `Task`."""

    def batch(self, position: int, rank: int, world: int) -> Batch:
        """See `Task`; what the model reads is said in `_batch`."""
        training = self._config.training
        count = training.batch_size
        first = position * count * world + rank * count
        # The run's lengths one after the other, each for an equal part of it.
        step = position // training.accumulate
        part = min(step * len(self._frames) // training.max_steps, len(self._frames) - 1)
        rows = [
            self._row(self._train, first + number, self._frames[part], training.seed)
            for number in range(count)
        ]
        return self._batch(rows, self._frames[part])

    def validation_batch(self, number: int) -> Batch | None:
        """See `Task`: crops of the last length, with everything that is known of them."""
        if self._held is None:
            return None
        count = self._config.training.batch_size
        rows = [
            self._row(self._held, number * count + n, self._frames[-1], 0, held=True)
            for n in range(count)
        ]
        return self._batch(rows, self._frames[-1])

    def units(self, batch: Batch) -> int:
        """See `Task`: codes."""
        return int(batch["counted"].sum())

    def export(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """See `Task`."""
        write_composer(folder, self.model, weights, self.tokenizer, self._codec)
        codec = self._train.codec
        write_card(folder, to_yaml(self._config), codec, self._train.licences())

    def _corpus(self, folder: Path, split: Split) -> Corpus:
        corpus = Corpus(folder, split)
        if not len(corpus):
            raise ConfigError(f"{folder} holds no clip of the split {split}; expected some")
        return corpus

    def _row(
        self, corpus: Corpus, position: int, frames: int, seed: int, *, held: bool = False
    ) -> _Row:
        """A crop of at most `frames` of the clip at a position, and what of it is told."""
        data = self._config.data
        clip = corpus.clip(seed, position)
        draws = np.random.default_rng((seed, _VALIDATION * held + position))
        spare = max(0, clip.codes.shape[1] - frames)
        begins = draws.random() < _BEGINNINGS
        start = 0 if begins else int(draws.integers(0, spare + 1))
        chances = draws.random(3)
        dropout = 0.0 if held else data.control_dropout
        merged = held or chances[0] < data.controls_share
        text = self._text(clip, draws, dropout) if merged else clip.caption or ""
        scored = clip.score_frames is not None
        score = np.zeros((clip.codes.shape[1], WIDTH), np.float32)
        if clip.score_frames is not None:
            score += clip.score_frames / np.float32(127)
        return _Row(
            clip.codes[:, start : start + frames],
            text,
            bool(text) and (held or chances[1] >= data.text_dropout),
            score[start : start + frames],
            scored and (held or chances[2] >= data.score_dropout),
        )

    def _text(self, clip: CodedClip, draws: np.random.Generator, dropout: float) -> str:
        kept = {
            name: value
            for name, value in (clip.controls or {}).items()
            if draws.random() >= dropout
        }
        return render(clip.caption or "", Controls.from_options(kept))

    def _batch(self, rows: list[_Row], frames: int) -> Batch:
        """`columns` [B, K, S] of codes in the pattern, the card where there is none, `counted`
        where there is one to be predicted; `tokens` [B, L] and whether they are `text_heard` [B];
        `score_frames` [B, F, W], `score_heard` [B]."""
        card = self._train.codec.codebook_size
        layout = self._pattern.layout(frames)
        columns = np.full((len(rows), len(layout.valid), layout.steps), card, np.int64)
        counted = np.zeros(columns.shape, bool)
        score = np.zeros((len(rows), frames, WIDTH), np.float32)
        for number, row in enumerate(rows):
            known = row.codes.shape[1]
            columns[number] = layout.interleave(row.codes.astype(np.int64), card)
            counted[number] = layout.valid & (layout.frame_of < known)
            score[number, :known] = row.score_frames
        ids = [self.tokenizer.encode(row.text).ids[: MAX_TOKENS - 1] or [END] for row in rows]
        ids = [row if row[-1] == END else [*row, END] for row in ids]
        tokens = np.full((len(rows), max(map(len, ids))), PAD, np.int64)
        for number, row_ids in enumerate(ids):
            tokens[number, : len(row_ids)] = row_ids
        return {
            "columns": torch.from_numpy(columns),
            "counted": torch.from_numpy(counted),
            "tokens": torch.from_numpy(tokens),
            "text_heard": torch.tensor([row.text_heard for row in rows]),
            "score_frames": torch.from_numpy(score),
            "score_heard": torch.tensor([row.score_heard for row in rows]),
        }


def _require_codec(folder: Path, codec: CodecIdentity, codes: Path) -> None:
    """Raise ConfigError unless the codes are of the codec in `folder`."""
    found = checksum_of(folder, settings.load().cache / "graphs")
    if found != codec.checksum:
        raise ConfigError(
            f"the codes in {codes} are of the codec {codec.name!r} with the hash "
            f"{codec.checksum[:12]}, and {folder} has {found[:12]}; expected the codec that they "
            "were made with, or codes made anew with 'antiphon data preprocess'"
        )
