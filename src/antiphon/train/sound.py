"""Crops of sound to train a codec on: decoded once, then read from one file of 16-bit samples.

Decoding a crop of FLAC takes as long as a training step. Letters: B crops, T samples.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.audio import read
from antiphon.data.manifest import Clip, Manifest, Split
from antiphon.data.running import OnClip
from antiphon.errors import AntiphonError, ConfigError
from antiphon.files import atomic_write, replacing, storage_error

_FULL_SCALE = 32_767


@dataclass(frozen=True, eq=False)
class Sound:
    """All clips of a split, one after the other, as 16-bit samples at one rate."""

    samples: NDArray[np.int16]
    sample_rate: int
    name: str
    """Tells what it was decoded from."""
    unread: tuple[str, ...] = ()
    """The clips that could not be read, and why."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate

    def crops(self, count: int, length: int, seed: int, position: int) -> NDArray[np.float32]:
        """Crops [B, T] drawn by (seed, position) alone."""
        draws = np.random.default_rng((seed, position))
        starts = draws.integers(0, len(self.samples) - length + 1, count)
        crops = np.stack([self.samples[start : start + length] for start in starts])
        scaled: NDArray[np.float32] = crops.astype(np.float32) / np.float32(_FULL_SCALE)
        return scaled


def decoded(
    manifest: Manifest,
    split: Split,
    sample_rate: int,
    folder: Path,
    max_seconds: float,
    on_clip: OnClip = lambda done, total: None,
) -> Sound:
    """The clips of `split`, decoded into a file in `folder` unless it is there; of them the first
    `max_seconds`. Mono.

    Raises ConfigError for a split without clips that can be read, StorageError (DiskFullError).
    """
    clips: list[Clip] = []
    seconds = 0.0
    for clip in manifest.clips:
        if clip.split == split and seconds < max_seconds:
            clips.append(clip)
            seconds += clip.seconds
    made_from = json.dumps([asdict(clip) for clip in clips] + [sample_rate], sort_keys=True)
    name = hashlib.blake2b(made_from.encode(), digest_size=8).hexdigest()
    path = folder / f"{split}-{sample_rate}-{name}.pcm"
    unread = path.with_suffix(".unread.txt")
    if not path.exists() or _can_be_read_now(manifest, clips, sample_rate, unread):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("write", folder, error) from error
        _decode(manifest, clips, sample_rate, path, on_clip)
    missing = unread.read_text(encoding="utf-8").splitlines() if unread.exists() else ()
    return Sound(np.memmap(path, np.int16, "r"), sample_rate, path.name, tuple(missing))


def _decode(
    manifest: Manifest,
    clips: list[Clip],
    sample_rate: int,
    path: Path,
    on_clip: OnClip,
) -> None:
    unread: list[str] = []
    with replacing(path) as temporary, temporary.open("wb") as file:
        for number, clip in enumerate(clips):
            try:
                samples = _samples(manifest, clip, sample_rate)
            except AntiphonError as error:
                unread.append(f"{clip.id}: {error}\n")
                continue
            file.write(samples.tobytes())
            on_clip(number + 1, len(clips))
        if not file.tell():
            raise ConfigError(
                f"of the {len(clips):,} clips for this split none could be read"
                f"{': ' + unread[0].strip() if unread else ''}; expected sound to learn from in "
                "the splits train and validation"
            )
    told = path.with_suffix(".unread.txt")
    if unread:
        atomic_write(told, "".join(unread).encode())
    else:
        told.unlink(missing_ok=True)


def _can_be_read_now(manifest: Manifest, clips: list[Clip], sample_rate: int, unread: Path) -> bool:
    """Whether any of the clips that an earlier run could not read is there now."""
    lines = unread.read_text(encoding="utf-8").splitlines() if unread.exists() else ()
    names = {line.partition(":")[0] for line in lines}
    for clip in clips:
        if clip.id in names:
            with suppress(AntiphonError):
                _samples(manifest, clip, sample_rate)
                return True
    return False


def _samples(manifest: Manifest, clip: Clip, sample_rate: int) -> NDArray[np.int16]:
    """A clip decoded, [T]. Raises AntiphonError where it cannot be read."""
    end = clip.end_seconds
    recording = read(
        manifest.path_of(clip),
        sample_rate=sample_rate,
        mono=True,
        start_seconds=clip.start_seconds,
        duration_seconds=None if end is None else end - clip.start_seconds,
    )
    samples = np.clip(recording.waveform.samples[0], -1.0, 1.0) * _FULL_SCALE
    rounded: NDArray[np.int16] = np.rint(samples).astype(np.int16)
    return rounded
