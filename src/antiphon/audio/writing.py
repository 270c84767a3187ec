"""Write sound to WAV, FLAC, MP3, OGG and Opus files: in blocks, with metadata, all or nothing."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.audio.waveform import FloatArray, Waveform
from antiphon.errors import AudioError, ConfigError, DiskFullError, StorageError

# libsndfile kills the process when a long Vorbis array comes in one call (from 48 s of stereo at
# 44.1 kHz with an 8 MB stack), which it puts on the stack. libsndfile #233, xiph/vorbis #99.
BLOCK_FRAMES = 4_096


@dataclass(frozen=True)
class _Codec:
    """One format that can be written. `rates` None: any. `subtypes` by bit depth; 0 is lossy."""

    container: str
    subtypes: Mapping[int, str]
    max_channels: int
    rates: tuple[int, ...] | None = None


_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_CODECS = {
    "wav": _Codec("WAV", {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}, 1024),
    "flac": _Codec("FLAC", {16: "PCM_16", 24: "PCM_24"}, 8),
    "mp3": _Codec("MP3", {0: "MPEG_LAYER_III"}, 2, _MP3_RATES),
    "ogg": _Codec("OGG", {0: "VORBIS"}, 255),
    "opus": _Codec("OGG", {0: "OPUS"}, 255, _OPUS_RATES),
}
# What libsndfile can store as text, in all five formats.
METADATA_KEYS = (
    "title", "artist", "album", "comment", "date", "genre", "tracknumber",
    "copyright", "software", "license",
)  # fmt: skip


def write(
    path: str | os.PathLike[str],
    waveform_or_blocks: Waveform | Iterable[FloatArray],
    *,
    sample_rate: int | None = None,
    format: str | None = None,
    bit_depth: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a Waveform, or blocks [C, n] with their `sample_rate`, to `path`."""
    import soundfile

    target = Path(path)
    codec, subtype = _codec(target, format, bit_depth)
    if isinstance(waveform_or_blocks, Waveform):
        sample_rate = waveform_or_blocks.sample_rate
        blocks: Iterable[FloatArray] = (waveform_or_blocks.samples,)
    else:
        blocks = waveform_or_blocks
    if sample_rate is None:
        raise ConfigError("blocks come without a sample rate; give sample_rate")
    pieces = _pieces(blocks)
    first = next(pieces, None)
    if first is None:
        raise AudioError(f"there is nothing to write to {target}")
    with (
        _replacing(target) as temporary,
        soundfile.SoundFile(
            temporary, "w", sample_rate, first.shape[1], subtype, format=codec.container
        ) as file,
    ):
        for key, value in (metadata or {}).items():
            setattr(file, key, value)
        file.write(first)
        for piece in pieces:
            file.write(piece)


def _codec(path: Path, format: str | None, bit_depth: int | None) -> tuple[_Codec, str]:
    key = (format or path.suffix.lstrip(".")).lower()
    if key not in _CODECS:
        raise ConfigError(
            f"cannot write {key or 'a file without suffix'!r}; expected one of {', '.join(_CODECS)}"
        )
    codec = _CODECS[key]
    depth = bit_depth or min(codec.subtypes)
    return codec, codec.subtypes[depth]


def _pieces(blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """Blocks [C, n] cut to [4096, C]."""
    for block in blocks:
        for at in range(0, block.shape[1], BLOCK_FRAMES):
            yield np.ascontiguousarray(block[:, at : at + BLOCK_FRAMES].T)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[str]:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield str(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if shutil.disk_usage(path.parent).free < 1 << 20:
            raise DiskFullError(f"no space left to write {path}") from error
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
