"""The task of training a listener. B crops, F mel frames (10 ms), T moments (40 ms), C classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from antiphon.controls import GENRES, INSTRUMENTS
from antiphon.data.manifest import read_manifest
from antiphon.data.running import OnClip
from antiphon.errors import ConfigError
from antiphon.listen.heads import MOMENT_FRAMES
from antiphon.listen.mel import BANDS, HOP, SAMPLE_RATE, WINDOW_FRAMES
from antiphon.train.calibrating import calibrate
from antiphon.train.config import ListenerConfig
from antiphon.train.hearing import Hearing, heard, mels_of
from antiphon.train.labels import labels_of
from antiphon.train.listener_export import (
    encoder_hash,
    load_into,
    write_listener,
    write_listener_card,
)
from antiphon.train.listener_model import ListenerModel
from antiphon.train.resuming import require_same_data
from antiphon.train.task import Batch

_VALIDATION = 1 << 40  # positions that no training step has


class ListenerTask:
    """Implements `Task`."""

    def __init__(self, config: ListenerConfig, on_clip: OnClip = lambda done, total: None) -> None:
        """Raises ConfigError for data that cannot be trained on, ModelError for a base that cannot
        be read, StorageError."""
        if not config.data.manifests:
            raise ConfigError(
                "data.manifests is empty; expected the manifests of the sound to learn from: "
                "data.manifests=[FILE.parquet]"
            )
        manifests = [read_manifest(Path(file)) for file in config.data.manifests]
        folder = spectra_folder(config)
        train = heard(manifests, "train", folder, on_clip)
        if train is None:
            raise ConfigError(
                f"{', '.join(config.data.manifests)}: no clip of the split train; expected some"
            )
        self._config = config
        self._train = train
        self._held = heard(manifests, "validation", folder, on_clip)
        self._frames = crop_frames(config)
        self.model = ListenerModel(config.model, config.training.seed)
        if config.model.base:
            load_into(self.model, config.model.base)
        self._encoder = encoder_hash(config.model)

    @property
    def kept(self) -> Mapping[str, str]:
        """See `Task`."""
        held = "" if self._held is None else self._held.checksum
        unread = [line.partition(":")[0] for line in self._unread()]
        data = " ".join([self._train.checksum, held, *unread])
        return {"data": data, "encoder": self._encoder}

    @property
    def notes(self) -> Sequence[str]:
        """See `Task`."""
        return [f"left out: {line}" for line in self._unread()]

    def adopt(self, kept: Mapping[str, str]) -> None:
        """See `Task`."""
        require_same_data(kept, self.kept)
        if kept.get("encoder") != self._encoder:
            raise ConfigError(
                f"model.base, {self._config.model.base}, is another listener than the run began "
                "as; expected the same one, or begin a new run under another experiment_name"
            )

    def begin(self) -> None:
        """See `Task`."""

    def batch(self, position: int, rank: int, world: int) -> Batch:
        """`mels` [B, F, 128] of crops that begin `offsets` [B] encoder steps into a window; which
        instruments are `sounding` [B, T, C], and whether that is known: `timed` [B]; `tags` [B, C],
        `genre` [B, C] and `music` [B, 1], each 1, 0 or UNKNOWN; `energy` [B], a class or
        UNKNOWN."""
        count = self._config.training.batch_size
        first = (position * world + rank) * count
        return self._batch(self._train, first, self._config.training.seed)

    def validation_batch(self, number: int) -> Batch | None:
        """See `Task`."""
        if self._held is None:
            return None
        return self._batch(self._held, _VALIDATION + number * self._config.training.batch_size, 0)

    def largest_row(self, share: float = 1.0) -> Batch:
        """See `Task`."""
        return row_of_nothing(max(1, round(self._frames * share / MOMENT_FRAMES)))

    def units(self, batch: Batch) -> int:
        """See `Task`: mel frames."""
        return int(batch["mels"].shape[0] * batch["mels"].shape[1])

    def figures(self) -> Mapping[str, float]:
        """See `Task`."""
        return {}

    def samples(self, folder: Path, count: int) -> Sequence[tuple[str, Path]]:
        """See `Task`: a listener makes no sound."""
        return ()

    def _unread(self) -> Sequence[str]:
        return [*self._train.unread, *(self._held.unread if self._held is not None else ())]

    def _batch(self, hearing: Hearing, first: int, seed: int) -> Batch:
        """Crops drawn by (seed, position) alone."""
        rows: dict[str, list[NDArray[np.generic]]] = {}
        for position in range(first, first + self._config.training.batch_size):
            draws = np.random.default_rng((seed, position))
            number = int(hearing.kept[_place(len(hearing.kept), seed, position)])
            for name, value in self._row(hearing, number, draws).items():
                rows.setdefault(name, []).append(value)
        return {name: torch.from_numpy(np.stack(values)) for name, values in rows.items()}

    def _row(
        self, hearing: Hearing, number: int, draws: np.random.Generator
    ) -> dict[str, NDArray[np.generic]]:
        clip = hearing.clips[number]
        known = min(WINDOW_FRAMES, int(clip.seconds * SAMPLE_RATE / HOP))
        spare = max(0, known - self._frames) // MOMENT_FRAMES
        start = int(draws.integers(0, spare + 1)) * MOMENT_FRAMES
        moments = slice(start // MOMENT_FRAMES, (start + self._frames) // MOMENT_FRAMES)
        sounding = np.array(hearing.sounding[number, moments])
        return {
            "mels": mels_of(hearing.mels[number, start : start + self._frames]),
            # Anywhere in a window: a crop shall be heard alike wherever it lies.
            "offsets": np.array(draws.integers(0, (WINDOW_FRAMES - self._frames) // 2 + 1)),
            "sounding": sounding,
            **labels_of(clip, sounding),
        }


class ListenerShape:
    """Implements `sizing.Sizable`: what a config would train, without its data."""

    def __init__(self, config: ListenerConfig) -> None:
        self._moments = crop_frames(config) // MOMENT_FRAMES
        self.model = ListenerModel(config.model, config.training.seed)

    def largest_row(self, share: float = 1.0) -> Batch:
        """See `Task`."""
        return row_of_nothing(max(1, round(self._moments * share)))


def export_listener(
    folder: Path,
    config: ListenerConfig,
    weights: Mapping[str, Tensor],
    kept: Mapping[str, str],
    metrics: Mapping[str, float],
    on_clip: OnClip = lambda done, total: None,
) -> None:
    """Write what a run trained as a listener with its card, calibrated on its validation clips,
    which must still be there; `on_clip` is told which of how many is heard.

    Raises ConfigError where they are not, or the base is another; StorageError (DiskFullError).
    """
    write_listener(folder, config, weights, kept)
    manifests = [read_manifest(Path(file)) for file in config.data.manifests]
    held = heard(manifests, "validation", spectra_folder(config))
    fitted = () if held is None else calibrate(folder, held, on_clip)
    clips = [clip for manifest in manifests for clip in manifest.clips]
    write_listener_card(folder, config, clips, metrics, fitted)


def spectra_folder(config: ListenerConfig) -> Path:
    """Where spectra are kept."""
    return Path(config.data.cache or Path(config.output_dir) / "hearing")


def crop_frames(config: ListenerConfig) -> int:
    """Mel frames of a crop, a whole number of moments."""
    rate = SAMPLE_RATE // HOP
    return round(config.data.crop_seconds * rate / MOMENT_FRAMES) * MOMENT_FRAMES


def row_of_nothing(moments: int) -> Batch:
    """A batch of one row of so many moments."""
    return {
        "mels": torch.zeros(1, moments * MOMENT_FRAMES, BANDS),
        "offsets": torch.zeros(1, dtype=torch.int64),
        "sounding": torch.zeros(1, moments, len(INSTRUMENTS), dtype=torch.bool),
        "timed": torch.ones(1, dtype=torch.bool),
        "tags": torch.zeros(1, len(INSTRUMENTS)),
        "genre": torch.zeros(1, len(GENRES)),
        "energy": torch.zeros(1, dtype=torch.int64),
        "music": torch.ones(1, 1),
    }


def _place(count: int, seed: int, position: int) -> int:
    """Which of `count` clips comes at a position: each once an epoch."""
    epoch, index = divmod(position, count)
    return int(_order(count, seed, epoch)[index])


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)
