"""Any codec that we know, by its folder: what its config.json says it is."""

from __future__ import annotations

from pathlib import Path

from antiphon.compose.checkpoint import (
    MUSICGEN_TYPES,
    CodecConfig,
    DecoderConfig,
    read_codec_config,
    read_config,
)
from antiphon.compose.codecs import AudioCodec, StereoCodec
from antiphon.compose.codecs.encodec import load_encodec
from antiphon.compose.codecs.magnitude import load_magnitude_codec
from antiphon.compose.config_values import ConfigValues
from antiphon.errors import ConfigError


def open_codec(
    folder: Path,
    *,
    cache: Path,
    codebooks: int | None = None,
    bandwidth_kbps: float | None = None,
    threads: int = 1,
) -> AudioCodec:
    """The codec of an EnCodec, magnitude codec or MusicGen folder; `cache` keeps its graphs.

    Where the codec offers a choice of codebooks, their number or the bandwidth says how many are
    used, the first ones: for None as many as the decoder beside it writes, or all. Of a MusicGen
    that writes stereo the codec is stereo.

    Raises ConfigError for what it does not offer, ModelError for a folder that holds none,
    StorageError.
    """
    decoder = _decoder_of(folder)
    if decoder is not None and codebooks is None and bandwidth_kbps is None:
        codebooks = decoder.codebooks
    stereo = decoder is not None and decoder.channels == 2
    if stereo and codebooks is not None:
        codebooks //= 2
    mono = _open_mono(folder, cache, threads, codebooks, bandwidth_kbps)
    return StereoCodec(mono) if stereo else mono


def _decoder_of(folder: Path) -> DecoderConfig | None:
    """The decoder beside a codec, if it is a MusicGen's."""
    kind = ConfigValues.load(folder).get("model_type", str, "")
    return read_config(folder).decoder if kind in MUSICGEN_TYPES else None


def _open_mono(
    folder: Path,
    cache: Path,
    threads: int,
    codebooks: int | None,
    bandwidth_kbps: float | None,
) -> AudioCodec:
    config = read_codec_config(folder)
    if isinstance(config, CodecConfig):
        return load_encodec(
            folder,
            config,
            cache=cache,
            threads=threads,
            bandwidth_kbps=bandwidth_kbps,
            codebooks=codebooks,
        )
    if bandwidth_kbps is not None or codebooks not in (None, config.codebooks):
        raise ConfigError(
            f"the codec of {folder} has {config.codebooks} codebooks and offers no choice"
        )
    return load_magnitude_codec(folder, config, cache=cache, threads=threads)
