"""Any codec that we know, by its folder: what its config.json says it is."""

from __future__ import annotations

from pathlib import Path

from antiphon.compose.checkpoint import CodecConfig, read_codec_config
from antiphon.compose.codecs import AudioCodec
from antiphon.compose.codecs.encodec import load_encodec
from antiphon.compose.codecs.magnitude import load_magnitude_codec
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
    used, the first ones: all for None. Raises ConfigError for what it does not offer, ModelError
    for a folder that holds none, StorageError.
    """
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
