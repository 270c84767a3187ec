"""Write sound to WAV, FLAC, MP3, OGG and Opus files: in blocks, with metadata, all or nothing."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from antiphon.audio.id3 import TEXT_FRAMES, id3_tag
from antiphon.audio.resampling import resample
from antiphon.audio.waveform import FloatArray, Waveform
from antiphon.errors import AudioError, AudioTooShortError, ConfigError
from antiphon.files import replacing, storage_error

# libsndfile kills the process when a long Vorbis array comes in one call (from 48 s of stereo at
# 44.1 kHz with an 8 MB stack), which it puts on the stack. libsndfile #233, xiph/vorbis #99.
BLOCK_FRAMES = 4_096

METADATA_KEYS = tuple(TEXT_FRAMES)  # what all five formats give back as it was written


@dataclass(frozen=True)
class _Codec:
    """One format that can be written; `subtypes` by bit depth, the one under None is taken."""

    container: str
    subtypes: Mapping[int | None, str]
    max_channels: int
    rates: Container[int]
    rates_text: str
    compression: float | None = None  # libsndfile's scale: 0 is the best sound


_CODECS = {
    "wav": _Codec(
        "WAV",
        {None: "PCM_16", 16: "PCM_16", 24: "PCM_24", 32: "FLOAT"},
        1_024,
        range(1, 768_001),
        "1 to 768,000",
    ),
    "flac": _Codec(
        "FLAC",
        {None: "PCM_16", 16: "PCM_16", 24: "PCM_24"},
        8,
        range(1, 655_351),
        "1 to 655,350",
    ),
    "mp3": _Codec(
        "MP3",
        {None: "MPEG_LAYER_III"},
        2,
        (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        "8,000, 11,025, 12,000, 16,000, 22,050, 24,000, 32,000, 44,100 or 48,000",
        compression=0.2,  # variable bit rate, about 190 kbit/s
    ),
    # Above 200 kHz libvorbis has no tables, and libsndfile dies of that.
    "ogg": _Codec(
        "OGG", {None: "VORBIS"}, 255, range(1_000, 192_001), "1,000 to 192,000", compression=0.4
    ),
    "opus": _Codec(
        "OGG",
        {None: "OPUS"},
        255,
        (8_000, 12_000, 16_000, 24_000, 48_000),
        "8,000, 12,000, 16,000, 24,000 or 48,000",
    ),
}
FORMATS = tuple(_CODECS)
_ADD_PEAK_CHUNK = 0x1050  # libsndfile's SFC_SET_ADD_PEAK_CHUNK


def write(
    path: str | os.PathLike[str],
    waveform_or_blocks: Waveform | Iterable[FloatArray],
    *,
    sample_rate: int | None = None,
    format: str | None = None,
    bit_depth: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a Waveform, or blocks [C, n] with their `sample_rate`, to `path`.

    A Waveform is resampled when `sample_rate` is another than its own. `format` is "wav", "flac",
    "mp3", "ogg" (Vorbis) or "opus", by default what the suffix says. `bit_depth` is 16 (default),
    24 or, in WAV, 32 (float); samples beyond full scale are clipped except in 32 bits.
    `metadata` holds text under METADATA_KEYS. The file appears whole or not at all.

    Raises ConfigError for what the format cannot hold, AudioTooShortError when there is no sample,
    AudioError for samples that are no numbers, StorageError when the path cannot be written.
    """
    tags = _checked(metadata or {})
    if isinstance(waveform_or_blocks, Waveform):
        sample_rate = sample_rate or waveform_or_blocks.sample_rate
        blocks: Iterable[FloatArray] = [resample(waveform_or_blocks, sample_rate).samples]
    elif sample_rate is None:
        raise ConfigError("blocks were given without their sample rate; give sample_rate")
    else:
        blocks = waveform_or_blocks
    codec, subtype = _choose(Path(path), format, bit_depth, sample_rate)
    pieces = _pieces(blocks)
    first = next(pieces, None)
    if first is None:
        raise AudioTooShortError(f"there is no sound to write to {str(path)!r} (0 samples)")
    channels = first.shape[1]
    _check_channels(codec, channels)
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        _encoder(file, codec, subtype, sample_rate, channels, tags) as encode,
    ):
        for piece in chain([first], pieces):
            encode(piece)


@contextmanager
def growing(
    path: str | os.PathLike[str],
    *,
    sample_rate: int,
    channels: int,
    format: str | None = None,
    bit_depth: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Iterator[Callable[[FloatArray], None]]:
    """A file that grows with every block [C, n] given to the function: what was written can be
    played, also when the body is left by an exception, and there while it goes on.

    Takes and raises what `write` does, but a file at `path` is gone from the start.
    """
    codec, subtype = _choose(Path(path), format, bit_depth, sample_rate)
    _check_channels(codec, channels)
    tags = _checked(metadata or {})
    try:
        with (
            open(path, "wb", buffering=0) as file,
            _encoder(file, codec, subtype, sample_rate, channels, tags) as encode,
        ):

            def add(block: FloatArray) -> None:
                for piece in _pieces([block]):
                    encode(piece)

            yield add
    except OSError as error:
        raise storage_error("write", path, error) from error


def check_form(
    path: str | os.PathLike[str],
    *,
    sample_rate: int,
    channels: int,
    format: str | None = None,
    bit_depth: int | None = None,
) -> None:
    """Raise ConfigError if `write` would refuse this, before there is any sound."""
    codec, _ = _choose(Path(path), format, bit_depth, sample_rate)
    _check_channels(codec, channels)


def _choose(
    path: Path, format: str | None, bit_depth: int | None, sample_rate: int
) -> tuple[_Codec, str]:
    key = (format or path.suffix.removeprefix(".")).lower()
    codec = _CODECS.get(key)
    if codec is None:
        raise ConfigError(
            f"cannot write {str(path)!r}: the format is {key!r}; expected one of "
            f"{', '.join(FORMATS)}, as suffix or as format"
        )
    if bit_depth not in codec.subtypes:
        depths = ", ".join(str(depth) for depth in codec.subtypes if depth) or "none: it is lossy"
        raise ConfigError(f"bit_depth is {bit_depth}; expected for {key}: {depths}")
    if sample_rate not in codec.rates:
        raise ConfigError(
            f"{codec.subtypes[None]} cannot hold {sample_rate:,} Hz; expected {codec.rates_text} Hz"
        )
    return codec, codec.subtypes[bit_depth]


def _check_channels(codec: _Codec, channels: int) -> None:
    if channels > codec.max_channels:
        raise ConfigError(
            f"{codec.subtypes[None]} cannot hold {channels} channels; expected at most "
            f"{codec.max_channels}: mix them, or write WAV"
        )


def _checked(metadata: Mapping[str, str]) -> Mapping[str, str]:
    for key, value in metadata.items():
        if key not in METADATA_KEYS:
            raise ConfigError(f"metadata {key!r} is unknown; expected {', '.join(METADATA_KEYS)}")
        if "\0" in value:
            raise ConfigError(f"metadata {key!r} holds a NUL character; remove it")
    return {key: value for key, value in metadata.items() if value}  # libsndfile refuses ""


def _pieces(blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """Blocks [C, n] as pieces [m, C] that are safe to encode."""
    channels = None
    for block in blocks:
        if block.ndim != 2 or (channels or block.shape[0]) != block.shape[0]:
            raise ValueError(f"a block has shape {block.shape}; expected [{channels or 'C'}, n]")
        channels = block.shape[0]
        for at in range(0, block.shape[1], BLOCK_FRAMES):
            piece = block[:, at : at + BLOCK_FRAMES]
            if not np.isfinite(piece).all():
                raise AudioError("the sound to write holds samples that are no numbers (NaN)")
            yield np.ascontiguousarray(piece.T, dtype=np.float32)


@contextmanager
def _encoder(
    file: BinaryIO,
    codec: _Codec,
    subtype: str,
    sample_rate: int,
    channels: int,
    tags: Mapping[str, str],
) -> Iterator[Callable[[FloatArray], None]]:
    """A function that encodes pieces [m, C] into `file`."""
    import soundfile

    if codec.container == "MP3" and tags:
        # libsndfile would store UTF-8 marked as Latin-1: "é" came back as "Ã©".
        file.write(id3_tag(tags))
        tags = {}
    sink = _Sink(file)

    def encode(piece: FloatArray) -> None:
        with _signals_wait():
            encoder.write(piece)
        if sink.error:
            raise sink.error

    try:
        with soundfile.SoundFile(
            sink,
            "w",
            sample_rate,
            channels,
            subtype,
            format=codec.container,
            compression_level=codec.compression,
            bitrate_mode="VARIABLE" if codec.container == "MP3" else None,
        ) as encoder:
            # The chunk of a float WAV for its peak holds the time of day, too: the same sound would
            # not be the same file. soundfile has no name for the command.
            soundfile._snd.sf_command(encoder._file, _ADD_PEAK_CHUNK, soundfile._ffi.NULL, 0)
            for key, value in tags.items():
                setattr(encoder, key, value)
            yield encode
    except (soundfile.SoundFileError, AssertionError) as error:
        if sink.error is None:
            raise AudioError(f"cannot encode the sound as {subtype}: {error}") from error
    if sink.error:
        raise sink.error


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals that come meanwhile are handled at the end: what their handlers raise in a callback
    from C would be printed and forgotten, and a Ctrl-C be lost."""
    if threading.current_thread() is not threading.main_thread():  # there are no handlers
        yield
        return
    came: list[int] = []
    kept = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for missed in came:
            signal.raise_signal(missed)


class _Sink:
    """What the encoder writes to: a file from where it stands on, whose first error is kept.

    libsndfile calls back from C, where an exception would be printed and forgotten.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.error: OSError | None = None
        self._file = file
        self._offset = file.tell()

    def write(self, data: bytes) -> int:
        written = 0
        try:
            # A disk that is getting full takes a part first, and only then raises.
            while written < len(data):
                written += self._file.write(data[written:])
            return written
        except OSError as error:
            self.error = self.error or error
            return 0

    def read(self, count: int) -> bytes:
        return b""

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            position += self._offset
        try:
            return self._file.seek(position, whence) - self._offset
        except OSError as error:  # seeking writes what is buffered
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self._file.tell() - self._offset
