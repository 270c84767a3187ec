"""The task of training the magnitude codec. B crops, T samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from antiphon.audio import Waveform, write
from antiphon.audio.waveform import FloatArray
from antiphon.compose.codecs.magnitude import magnitude_checksum
from antiphon.compose.codecs.phase import PhaseStream
from antiphon.data.manifest import read_manifest
from antiphon.data.running import OnClip
from antiphon.errors import ConfigError
from antiphon.models.finding import find
from antiphon.train.base import require_same_parts
from antiphon.train.config import CodecConfig
from antiphon.train.magnitude_model import (
    LATENTS_PER_ENTRY,
    MagnitudeModel,
    first_collected,
)
from antiphon.train.optimizing import load_trained_state
from antiphon.train.resuming import require_same_data
from antiphon.train.sound import decoded
from antiphon.train.task import Batch, Losses

_STATISTICS_CROPS = 256
# Positions that no training step has.
_VALIDATION, _STATISTICS, _SAMPLES = 1 << 40, 1 << 41, 1 << 42
_SAMPLE_SECONDS = 5.0


class CodecTask:
    """Implements `Task`."""

    def __init__(self, config: CodecConfig, on_clip: OnClip = lambda done, total: None) -> None:
        """Raises ConfigError for data that cannot be trained on, StorageError."""
        if config.trainer.devices * config.trainer.nodes > 1:
            raise ConfigError(
                "trainer.devices: the codebooks follow what one process sees; expected 1 device "
                "for a codec"
            )
        if not config.data.manifest:
            raise ConfigError(
                "data.manifest is empty; expected the manifest of the sound to learn from: "
                "data.manifest=FILE.parquet"
            )
        self._codec = _new_codec(config)
        self._parts = _parts_of(config)
        starts = 0
        rate = config.model.sample_rate
        self._length = round(config.data.crop_seconds * rate)
        if not self._codec.quantising:
            starts = _first_quantised(config, self._length, self._codec.quantiser.fixed)
        if config.training.max_steps <= starts:
            raise ConfigError(
                f"training.max_steps is {config.training.max_steps}; expected more than {starts}: "
                "the quantiser starts then, with so many crops of such a length a step"
            )
        manifest = read_manifest(Path(config.data.manifest))
        folder, most = Path(config.output_dir) / "sound", config.data.max_hours * 3600
        self._config = config
        self._train = decoded(manifest, "train", rate, folder, most, on_clip)
        self._held = None
        if any(clip.split == "validation" for clip in manifest.clips):
            self._held = decoded(manifest, "validation", rate, folder, most, on_clip)
        for sound in filter(None, (self._train, self._held)):
            if len(sound.samples) < self._length:
                raise ConfigError(
                    f"there are {sound.seconds:g} s of sound, and a crop has "
                    f"{config.data.crop_seconds:g} s; expected more sound or a smaller "
                    "data.crop_seconds"
                )
        self.model = _Losses(self._codec)

    @property
    def kept(self) -> Mapping[str, str]:
        """See `Task`."""
        sounds = [sound for sound in (self._train, self._held) if sound is not None]
        unread = [line.partition(":")[0] for sound in sounds for line in sound.unread]
        data = " ".join([*(sound.name for sound in sounds), *unread])
        return {"data": data, **self._parts}

    @property
    def notes(self) -> Sequence[str]:
        """See `Task`."""
        sounds = [sound for sound in (self._train, self._held) if sound is not None]
        return [f"left out: {line}" for sound in sounds for line in sound.unread]

    def adopt(self, kept: Mapping[str, str]) -> None:
        """See `Task`."""
        require_same_data(kept, self.kept)
        require_same_parts(kept, self._parts, group="")

    def begin(self) -> None:
        """See `Task`."""
        if self._codec.is_begun:
            return
        seed = self._config.training.seed
        crops = self._train.crops(_STATISTICS_CROPS, self._length, seed, _STATISTICS)
        self._codec.fit_statistics(torch.from_numpy(crops).to(self._codec.mean.device))

    def batch(self, position: int, rank: int, world: int) -> Batch:
        """See `Task`: [B, T]."""
        training = self._config.training
        count = training.batch_size
        crops = self._train.crops(count * world, self._length, training.seed, position)
        return {"waveforms": torch.from_numpy(crops[rank * count : (rank + 1) * count])}

    def validation_batch(self, number: int) -> Batch | None:
        """See `Task`; none before there is a quantiser: without one the loss is lower."""
        if self._held is None or not self._codec.quantising:
            return None
        count = self._config.training.batch_size
        crops = self._held.crops(count, self._length, 0, _VALIDATION + number)
        return {"waveforms": torch.from_numpy(crops)}

    def units(self, batch: Batch) -> int:
        """See `Task`: samples."""
        return int(batch["waveforms"].numel())

    def largest_row(self, share: float = 1.0) -> Batch:
        """See `Task`."""
        return {"waveforms": torch.zeros(1, round(self._length * share))}

    def figures(self) -> Mapping[str, float]:
        """See `Task`."""
        return {}

    def samples(self, folder: Path, count: int) -> Sequence[tuple[str, Path]]:
        """See `Task`: crops, and beside each what is left of it when it was codes."""
        sound = self._held or self._train
        length = round(_SAMPLE_SECONDS * sound.sample_rate)
        crops = sound.crops(count, min(length, len(sound.samples)), 0, _SAMPLES)
        found = []
        for number, crop in enumerate(crops if self._codec.quantising else ()):
            for name, samples in (("original", crop), ("decoded", self._decoded(crop))):
                path = folder / f"{number}-{name}.flac"
                write(path, Waveform(samples[None], sound.sample_rate))
                found.append((f"crop {number}, {name}", path))
        return found

    def _decoded(self, samples: FloatArray) -> FloatArray:
        """What is left of samples [T] when they were codes."""
        config = self._codec.config
        waveform = torch.from_numpy(samples[None]).to(self._codec.mean.device)
        logs = self._codec.decode(self._codec.encode(waveform))[0].float().cpu().numpy()
        magnitudes = np.maximum(np.exp(logs) - config.log_floor, 0)
        stream = PhaseStream(config.window, config.stft_hop, config.griffin_lim_iterations)
        return np.concatenate([stream.feed(magnitudes), stream.finish()])[: len(samples)]


def _first_quantised(config: CodecConfig, length: int, fixed: int) -> int:
    """The step, counted from 0, in which the quantiser starts."""
    latents = config.training.batch_size * -(-length // config.model.hop)
    return (
        first_collected(fixed) + -(-LATENTS_PER_ENTRY * config.model.codebook_size // latents) - 1
    )


def export_codec(
    folder: Path, config: CodecConfig, weights: Mapping[str, Tensor], kept: Mapping[str, str]
) -> None:
    """Write what a run trained as a codec, whole; `weights` and `kept` are as its checkpoints have
    them.

    Raises ConfigError where the codec that it began with is another now, ModelMissingError where it
    is no more, StorageError (DiskFullError).
    """
    require_same_parts(kept, _parts_of(config), group="")
    losses = _Losses(_new_codec(config))
    load_trained_state(losses, weights)
    losses.codec.save(folder)


def _new_codec(config: CodecConfig) -> MagnitudeModel:
    begin = find(config.begin) if config.begin else None
    return MagnitudeModel(config.model, config.training.seed, begin)


def _parts_of(config: CodecConfig) -> dict[str, str]:
    """The hash of the codec that a run begins with: its encoder and codebooks are in no
    checkpoint."""
    return {"begin": magnitude_checksum(find(config.begin))} if config.begin else {}


class _Losses(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The codec as the loop calls it."""

    def __init__(self, codec: MagnitudeModel) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, batch: Batch, step: int) -> Losses:
        return vars(self.codec.losses(batch["waveforms"], step))
