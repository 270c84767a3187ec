"""Facts: what was measured in a recording, with units and confidences, as frozen data.

Knows no signal processing: `antiphon.analysis` fills it, the describer reads it. A value that could
not be measured is None and its group carries the `reason`; nothing is ever made up in its place.
Confidences lie in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from antiphon.plain import read_json, write_json

SILENCE_FLOOR_DB = -120.0  # levels below are reported as this


@dataclass(frozen=True)
class TempoCandidate:
    """Another reading of the pulse: half, double, triple or a third of the tempo."""

    bpm: float
    confidence: float


@dataclass(frozen=True)
class Tempo:
    """Beats per minute of the pulse one would tap."""

    bpm: float | None
    confidence: float = 0.0
    alternatives: tuple[TempoCandidate, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Beats:
    """Times of beats, or of downbeats, from the start of the file."""

    times_seconds: tuple[float, ...] | None
    confidence: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Metre:
    """Beats from one downbeat to the next."""

    beats_per_bar: int | None
    confidence: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Tuning:
    """Deviation of the whole recording from A4 = 440 Hz, -50 to 50 cents."""

    cents: float | None
    confidence: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class KeyEstimate:
    """The key of the whole recording, named as in `C# minor`, and the next best one."""

    name: str | None
    confidence: float = 0.0
    runner_up: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Span:
    """A labelled stretch of time: a chord such as `F#:min` (`N` for none), or a section."""

    start_seconds: float
    end_seconds: float
    label: str


@dataclass(frozen=True)
class Spans:
    """Chords or sections, in order and without gaps."""

    spans: tuple[Span, ...] | None
    confidence: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Loudness:
    """Integrated loudness and range by ITU-R BS.1770-4 and EBU Tech 3342, true peak in dBTP."""

    integrated_lufs: float | None
    true_peak_dbtp: float | None
    range_lu: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Dynamics:
    """RMS level in dB full scale per step; SILENCE_FLOOR_DB stands for anything below."""

    step_seconds: float
    level_db: tuple[float, ...]


@dataclass(frozen=True)
class Silence:
    """Share of the duration in which the level is below -60 dB full scale."""

    share: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Clipping:
    """Samples in runs at full scale."""

    samples: int


@dataclass(frozen=True)
class Timbre:
    """Mean spectral centroid, and the share of energy in transients rather than held tones."""

    brightness_hz: float | None
    percussive_share: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Pitch:
    """Fundamental frequency of a single voice per step; None where there is none."""

    step_seconds: float
    hz: tuple[float | None, ...]
    confidence: float
    reason: str | None = None


@dataclass(frozen=True)
class DamageReport:
    """What was decoded against what the header declared (None: it declares nothing)."""

    decoded_seconds: float
    declared_seconds: float | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Everything measured in one recording; the JSON of `antiphon measure`."""

    path: str | None
    duration_seconds: float
    sample_rate: int
    channels: int
    tempo: Tempo
    beats: Beats
    downbeats: Beats
    metre: Metre
    tuning: Tuning
    key: KeyEstimate
    chords: Spans
    sections: Spans
    loudness: Loudness
    dynamics: Dynamics
    silence: Silence
    clipping: Clipping
    timbre: Timbre
    damage: DamageReport
    pitch: Pitch | None = None

    def with_path(self, path: str | None) -> Facts:
        """The same facts under another path."""
        return replace(self, path=path)

    def to_json(self) -> str:
        """One line of strict JSON; a `reason` appears only where something was not measurable."""
        return write_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Facts:
        """Read what `to_json` wrote. Unknown keys and wrong types raise ConfigError."""
        return read_json(cls, text, "facts")
