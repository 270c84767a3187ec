"""Sound in and out: files, bytes and streams to and from float32 blocks [C, n].

    recording = audio.read("song.mp3", sample_rate=16_000, mono=True)
    recording.waveform.samples       # [1, T]
    recording.damage.problems        # ("ends after 90.0 of 180.0 s",)

    with audio.open_stream("long.flac") as stream:
        for block in stream.blocks():    # [C, n], n <= 65,536
            ...

Names are resolved on first use: importing this package loads neither soundfile nor soxr.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.audio.damage import Damage as Damage
    from antiphon.audio.fetching import fetch as fetch
    from antiphon.audio.limits import Limits as Limits
    from antiphon.audio.reading import Recording as Recording
    from antiphon.audio.reading import open_stream as open_stream
    from antiphon.audio.reading import read as read
    from antiphon.audio.resampling import Resampler as Resampler
    from antiphon.audio.resampling import resample as resample
    from antiphon.audio.sources import Source as Source
    from antiphon.audio.sources import reusable as reusable
    from antiphon.audio.stream import AudioStream as AudioStream
    from antiphon.audio.waveform import FloatArray as FloatArray
    from antiphon.audio.waveform import Waveform as Waveform
    from antiphon.audio.waveform import with_channels as with_channels
    from antiphon.audio.writing import check_form as check_form
    from antiphon.audio.writing import growing as growing
    from antiphon.audio.writing import write as write

# Suffixes worth trying when a folder is searched; what a file is, its first bytes say.
AUDIO_SUFFIXES = frozenset(
    {
        ".wav",
        ".flac",
        ".mp3",
        ".ogg",
        ".oga",
        ".opus",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".caf",
        ".w64",
        ".m4a",
        ".mp4",
        ".aac",
        ".webm",
        ".mka",
        ".wma",
        ".wv",
        ".ape",
    }
)

_HOMES = {
    "AudioStream": "stream",
    "Damage": "damage",
    "FloatArray": "waveform",
    "Limits": "limits",
    "Recording": "reading",
    "Resampler": "resampling",
    "Source": "sources",
    "Waveform": "waveform",
    "check_form": "writing",
    "fetch": "fetching",
    "growing": "writing",
    "open_stream": "reading",
    "read": "reading",
    "resample": "resampling",
    "with_channels": "waveform",
    "reusable": "sources",
    "write": "writing",
}
__all__ = ["AUDIO_SUFFIXES", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
