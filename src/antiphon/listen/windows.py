"""From a recording to what a Flamingo model hears: 16 kHz mono in windows of 30 s, within its cap.

Knows no model: an engine's own needs are met in the engine, on the `Clip` that it gets.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from antiphon.audio import FloatArray, Limits, Waveform, open_stream, read, resample
from antiphon.errors import AudioError, AudioTooShortError

if TYPE_CHECKING:
    from antiphon.audio import Source

SAMPLE_RATE = 16_000  # Hz, mono
WINDOW_SECONDS = 30
WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLE_RATE
MEL_HOP = 160  # samples = 10 ms
MIN_SECONDS = 0.1
SILENT_PEAK = 1e-4  # -80 dBFS
SLIDE_OVERLAP = 0.25  # of a part: what lies on an edge of one is inside another

LongMode = Literal["truncate", "chunk", "slide"]
LONG_MODES: tuple[LongMode, ...] = ("truncate", "chunk", "slide")


@dataclass(frozen=True, eq=False)
class Clip:
    """Sound for a model: samples float32 [T] at 16 kHz, from `start_seconds` of the recording."""

    samples: FloatArray
    start_seconds: float = 0.0

    @property
    def duration_seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def stop_seconds(self) -> float:
        return self.start_seconds + self.duration_seconds

    @cached_property
    def digest(self) -> str:
        """The same for the same samples: what an engine's cache goes by."""
        data = np.ascontiguousarray(self.samples, "<f4").tobytes()
        return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Hearing:
    """Which parts of a recording a model hears, as (start, stop) in seconds.

    `cut_seconds` is what none of them holds.
    """

    duration_seconds: float
    parts: tuple[tuple[float, float], ...]
    mode: LongMode
    cut_seconds: float

    @property
    def notes(self) -> tuple[str, ...]:
        """What the model does not hear, or does not hear at once; empty for a whole recording."""
        if self.cut_seconds > 0.0:
            start, stop = self.parts[0]
            return (f"only the first {stop - start:.0f} s of {self.duration_seconds:.0f} s heard",)
        if len(self.parts) > 1:
            return (f"heard in {len(self.parts)} parts ({self.mode})",)
        return ()


def plan_parts(duration_seconds: float, cap_seconds: float, mode: LongMode) -> Hearing:
    """Divide a recording for a model that hears `cap_seconds` at once.

    `truncate` keeps the beginning; `chunk` makes parts of equal length, so that no tiny tail is
    left; `slide` makes parts as long as the cap, or a little shorter, that overlap by a quarter.
    """
    if duration_seconds <= cap_seconds:
        return Hearing(duration_seconds, ((0.0, duration_seconds),), mode, 0.0)
    if mode == "truncate":
        return Hearing(
            duration_seconds, ((0.0, cap_seconds),), mode, duration_seconds - cap_seconds
        )
    if mode == "chunk":
        count = math.ceil(duration_seconds / cap_seconds)
        length = step = duration_seconds / count
    else:
        step = cap_seconds * (1.0 - SLIDE_OVERLAP)
        count = 1 + math.ceil((duration_seconds - cap_seconds) / step)
        length = duration_seconds / (1.0 + (count - 1) * (1.0 - SLIDE_OVERLAP))
        step = length * (1.0 - SLIDE_OVERLAP)
    parts = tuple(
        (index * step, min(index * step + length, duration_seconds)) for index in range(count)
    )
    return Hearing(duration_seconds, parts, mode, 0.0)


def recording_seconds(source: Source | Waveform, limits: Limits, *, isolated: bool) -> float:
    """How long a recording is; decodes it where its header does not say."""
    if isinstance(source, Waveform):
        return source.duration_seconds
    with open_stream(source, limits=limits, isolated=isolated) as stream:
        if stream.declared_seconds is not None:
            return stream.declared_seconds
        for _ in stream.blocks():
            pass
        return stream.damage().decoded_seconds


def read_clips(
    source: Source | Waveform, hearing: Hearing, limits: Limits, *, isolated: bool
) -> Iterator[Clip]:
    """The parts of a recording one by one, so that hours of it take the memory of one part.

    Raises AudioTooShortError below 0.1 s, AudioError where all parts are silent; a part without
    sound beside others that have some is left out.
    """
    silent = 0
    for start, stop in hearing.parts:
        clip = Clip(_samples(source, start, stop, limits, isolated), start)
        if clip.duration_seconds < MIN_SECONDS and len(hearing.parts) == 1:
            raise AudioTooShortError(
                f"{clip.duration_seconds:.3f} s of sound; a model needs {MIN_SECONDS} s or more"
            )
        if clip.duration_seconds < MIN_SECONDS or _is_silent(clip.samples):
            silent += 1
            continue
        yield clip
    if silent == len(hearing.parts):
        raise AudioError(
            "the recording is silent: its peak is below -80 dBFS, and a model would invent what "
            "it hears; `antiphon measure` says what can be measured"
        )


def _samples(
    source: Source | Waveform, start: float, stop: float, limits: Limits, isolated: bool
) -> FloatArray:
    """[T] at 16 kHz mono; where the recording ends early, what there is."""
    if isinstance(source, Waveform):
        first, last = (round(seconds * source.sample_rate) for seconds in (start, stop))
        # A Waveform handed in may hold what a decoder would have cleaned.
        samples = np.nan_to_num(source.samples[:, first:last], nan=0.0, posinf=0.0, neginf=0.0)
        heard = resample(Waveform(samples, source.sample_rate).mono(), SAMPLE_RATE)
        return np.ascontiguousarray(heard.samples[0])
    recording = read(
        source,
        sample_rate=SAMPLE_RATE,
        mono=True,
        start_seconds=start,
        duration_seconds=max(stop - start, 1.0 / SAMPLE_RATE),
        limits=limits,
        isolated=isolated,
    )
    return np.ascontiguousarray(recording.waveform.samples[0])


def _is_silent(samples: FloatArray) -> bool:
    return float(max(samples.max(initial=0.0), -samples.min(initial=0.0))) < SILENT_PEAK


def audio_tokens(samples: int) -> int:
    """How many tokens the Flamingo encoder makes of 16 kHz samples: per window of 30 s with L mel
    frames, L1 = (L - 1) // 2 + 1 and (L1 - 2) // 2 + 1 tokens (Audio Flamingo 3's processor)."""
    tokens = 0
    for first in range(0, samples, WINDOW_SAMPLES):
        frames = math.ceil(min(samples - first, WINDOW_SAMPLES) / MEL_HOP)
        tokens += ((frames - 1) // 2 + 1 - 2) // 2 + 1
    return tokens
