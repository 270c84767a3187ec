"""A recording to Facts: one pass over its samples, then rhythm, harmony and form. Knows no words.

Here is decided what is measurable at all. A gate that closes gives None and a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.analysis import form, harmony, metre, tempo
from antiphon.analysis.features import (
    CHROMA_RATE,
    MEL_RATE,
    SAMPLE_RATE,
    FeatureExtractor,
    Features,
)
from antiphon.analysis.harmony import ChordPath, Chroma, HarmonicChange
from antiphon.analysis.level import LevelMeter
from antiphon.analysis.linear import DoubleArray
from antiphon.analysis.metre import Bars
from antiphon.analysis.onsets import Onsets, onset_strength, sounding
from antiphon.analysis.pitch import HOP as PITCH_HOP
from antiphon.analysis.pitch import PitchTracker
from antiphon.analysis.timbre import percussive_share
from antiphon.audio import Damage, Limits, Resampler, Source, Waveform, open_stream
from antiphon.audio.memory import WaveformStream
from antiphon.errors import AudioTooShortError
from antiphon.facts import (
    Beats,
    Clipping,
    DamageReport,
    Facts,
    KeyEstimate,
    Metre,
    Pitch,
    Span,
    Spans,
    Tempo,
    TempoCandidate,
    Timbre,
    Tuning,
)
from antiphon.notation import Chord

MIN_RHYTHM_SECONDS = 4.0
MIN_HARMONY_SECONDS = 2.0
MIN_ONSETS = 6  # what never changes still has a ripple, and a ripple has a period
# Measured on rendered music, some of it under noise as loud as itself: pulse 0.10 and more (mostly
# 0.4-0.9), concentration 0.12 and more. Speech, applause, noise: pulse up to 0.08 over minutes,
# concentration up to 0.10.
MIN_PULSE = 0.10  # autocorrelation of onsets at the beat
# What has no pulse recurs by chance, the more so the less there is of it. The largest in 20 pieces
# of babble and random knocks: 0.42 in 5 s, 0.25 in 12 s, 0.17 in 20 s, 0.14 in 40 s. Music in 12 s:
# 0.33 and more.
CHANCE_PULSE = 0.9  # divided by the root of the seconds
MIN_CONCENTRATION = 0.08  # of spectral peaks on one tempered scale
MIN_CONCENTRATION_WITHOUT_PULSE = 0.2
MIN_PITCH_CLASSES = 3.4  # see `harmony.pitch_class_count`; less leaves chords and keys open
MIN_METRE = 0.7  # a guess between two metres has 0.5; clicks that are all alike up to 0.66
MIN_VARIETY = 0.03  # of pitch classes over time, see `harmony.variety`
SILENT_BAND_DB = -70.0  # loudest mel band of the loudest frame
SILENT_TAIL_SECONDS = 0.5  # shorter, it belongs to the music
GRID_SECONDS = 0.5  # chords are looked for on this grid where there is no beat
NO_CHORD_SHARE = 0.03  # of the median salience; below, nothing sounds
MAX_ALTERNATIVES = 4
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class _Heard:
    """What one pass over the samples left."""

    features: Features
    level: LevelMeter
    damage: Damage
    sample_rate: int
    channels: int
    pitch: Pitch | None


def measure(
    source: Source | Waveform,
    *,
    pitch: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    isolated: bool = False,
) -> Facts:
    """Measure a recording: a path, the bytes of a file, a binary file object or a Waveform.

    Streams: memory grows by about 80 MB an hour of sound. `pitch` adds the pitch track of a single
    voice; `limits` and `isolated` are those of `audio.open_stream`, whose errors it raises, also
    AudioTooShortError for a Waveform without samples.
    """
    heard = _hear(source, pitch, limits, isolated)
    features = heard.features
    seconds = features.duration_seconds
    loudness = heard.level.loudness()
    quiet = _silence_reason(features)
    onsets = onset_strength(features)
    chroma = harmony.tuned_chroma(features)
    rhythm = _rhythm(features, onsets, chroma, quiet)
    harmony_reason = quiet or _unpitched_reason(seconds, chroma, rhythm)
    notes_reason = harmony_reason or _too_few_notes(chroma)
    chords = _chord_segments(features, chroma, rhythm)
    bars = None
    if rhythm.beat_frames is not None and chords.on_beats:
        bars = metre.find_bars(rhythm.beat_frames, onsets, chords.path)
    return Facts(
        path=str(source) if isinstance(source, str | Path) else None,
        duration_seconds=round(heard.damage.decoded_seconds, 3),
        sample_rate=heard.sample_rate,
        channels=heard.channels,
        tempo=rhythm.tempo,
        beats=rhythm.beats,
        downbeats=_downbeats(rhythm, bars),
        metre=_metre(rhythm, bars),
        tuning=_tuning(chroma, harmony_reason),
        key=_key(chroma, chords.path, notes_reason),
        chords=_chord_spans(chords, notes_reason, seconds, _end_of_music(features)),
        sections=_sections(features, chroma, rhythm, bars, quiet),
        loudness=loudness,
        dynamics=heard.level.dynamics(),
        silence=heard.level.silence(),
        clipping=Clipping(heard.damage.clipped_samples),
        timbre=_timbre(features, quiet),
        damage=DamageReport(
            round(heard.damage.decoded_seconds, 3),
            _rounded(heard.damage.declared_seconds),
            heard.damage.problems,
        ),
        pitch=heard.pitch,
    )


def _hear(source: Source | Waveform, pitch: bool, limits: Limits, isolated: bool) -> _Heard:
    """Feed every block to the meters."""
    if isinstance(source, Waveform) and not source.frames:
        raise AudioTooShortError("the waveform holds no sound (0 samples)")
    with (
        WaveformStream(source)
        if isinstance(source, Waveform)
        else open_stream(source, limits=limits, isolated=isolated)
    ) as stream:
        extractor = FeatureExtractor()
        level = LevelMeter(stream.sample_rate, stream.channels)
        resampler = Resampler(stream.sample_rate, SAMPLE_RATE, 1)
        tracker = PitchTracker() if pitch else None

        def take(mono: np.ndarray) -> None:
            extractor.push(mono)
            if tracker is not None:
                tracker.push(mono)

        for block in stream.blocks():
            level.push(block)
            mono = block.mean(axis=0, keepdims=True) if len(block) > 1 else block
            take(resampler.process(mono)[0])
        take(resampler.flush()[0])
        return _Heard(
            extractor.finish(),
            level,
            stream.damage(),
            stream.sample_rate,
            stream.channels,
            None if tracker is None else _pitch(tracker),
        )


@dataclass(frozen=True, eq=False)
class _Rhythm:
    """`beat_frames` [N] at MEL_RATE go on through silence, up to the end of the music; which of
    them sound is in `is_sounding` [N]. Both are None where there is no pulse."""

    tempo: Tempo
    beats: Beats
    beat_frames: DoubleArray | None = None
    is_sounding: NDArray[np.bool_] | None = None


def _rhythm(features: Features, onsets: Onsets, chroma: Chroma, quiet: str | None) -> _Rhythm:
    reason = quiet
    seconds = features.duration_seconds
    if reason is None and seconds < MIN_RHYTHM_SECONDS:
        reason = f"{seconds:.2f} s are too short; a tempo needs {MIN_RHYTHM_SECONDS:.0f} s"
    if reason is None and onsets.count < MIN_ONSETS:
        reason = f"too little begins: {onsets.count} onsets; a tempo needs {MIN_ONSETS}"
    pulse = None
    min_pulse = max(MIN_PULSE, CHANCE_PULSE / max(seconds, 1.0) ** 0.5)
    if reason is None:
        pulse = tempo.find_pulse(onsets, HarmonicChange(chroma))
        if pulse is None:
            reason = "no beats could be placed"
        elif pulse.clarity < min_pulse:
            reason = (
                f"no steady pulse: onsets recur with a correlation of {pulse.clarity:.2f}, "
                f"{seconds:.0f} s of music have more than {min_pulse:.2f}"
            )
    if pulse is None or reason is not None:
        return _Rhythm(Tempo(None, reason=reason), Beats(None, reason=reason))
    confidence = _share(pulse.clarity / (3.0 * min_pulse))
    rivals = tuple(
        TempoCandidate(round(bpm, 2), round(probability * confidence, 3))
        for bpm, probability in pulse.rivals[:MAX_ALTERNATIVES]
    )
    frames = pulse.beat_frames[pulse.beat_frames < _end_of_music(features) * MEL_RATE]
    index = np.clip(np.round(frames).astype(np.intp), 0, len(features.log_mel) - 1)
    is_sounding = sounding(features.log_mel)[index]
    times = np.clip(frames[is_sounding] / MEL_RATE, 0.0, seconds)
    return _Rhythm(
        Tempo(round(pulse.bpm, 2), round(pulse.tempo_probability * confidence, 3), rivals),
        Beats(_times(times), round(pulse.phase_probability * confidence, 3)),
        frames,
        is_sounding,
    )


def _end_of_music(features: Features) -> float:
    """Seconds up to which something sounds; what dies away after it has no beats and no parts."""
    heard = np.flatnonzero(sounding(features.log_mel))
    end = float(heard[-1] + 1) / MEL_RATE if heard.size else 0.0
    return (
        end if features.duration_seconds - end > SILENT_TAIL_SECONDS else features.duration_seconds
    )


def _metre(rhythm: _Rhythm, bars: Bars | None) -> Metre:
    if bars is None:
        return Metre(None, reason=rhythm.beats.reason or "too few beats, or no harmony, for bars")
    if bars.metre_confidence < MIN_METRE:
        return Metre(
            None,
            reason="the beats are too much alike to tell bars of three from bars of four "
            f"(confidence {bars.metre_confidence:.2f})",
        )
    return Metre(bars.beats_per_bar, round(bars.metre_confidence, 3))


def _downbeats(rhythm: _Rhythm, bars: Bars | None) -> Beats:
    told = _metre(rhythm, bars)
    if bars is None or rhythm.beat_frames is None or told.beats_per_bar is None:
        return Beats(None, reason=told.reason)
    frames = metre.downbeats(rhythm.beat_frames, bars)
    if rhythm.is_sounding is not None:
        frames = frames[metre.downbeats(rhythm.is_sounding, bars)]
    return Beats(_times(frames / MEL_RATE), round(bars.downbeat_confidence, 3))


@dataclass(frozen=True, eq=False)
class _ChordSegments:
    """Chords between `edges_seconds` [N + 1], which are the beats if `on_beats`."""

    path: ChordPath
    edges_seconds: DoubleArray
    is_sounding: np.ndarray  # [N] bool
    on_beats: bool


def _chord_segments(features: Features, chroma: Chroma, rhythm: _Rhythm) -> _ChordSegments:
    seconds = max(features.duration_seconds, 1.0 / CHROMA_RATE)
    beats = rhythm.beat_frames
    on_beats = beats is not None and len(beats) >= metre.MIN_BEATS
    if beats is not None and on_beats:
        edges = np.append(beats / MEL_RATE, max(seconds, beats[-1] / MEL_RATE + 1e-3))
    else:
        edges = np.linspace(0.0, seconds, max(2, round(seconds / GRID_SECONDS)) + 1)
    salience = harmony.mean_between(chroma.treble.sum(axis=1, keepdims=True), CHROMA_RATE, edges)[
        :, 0
    ]
    is_sounding = salience > NO_CHORD_SHARE * float(np.median(salience)) + 1e-6
    return _ChordSegments(harmony.chord_path(chroma, edges), edges, is_sounding, on_beats)


def _tuning(chroma: Chroma, reason: str | None) -> Tuning:
    if reason is not None:
        return Tuning(None, reason=reason)
    return Tuning(round(chroma.cents, 1), round(_share(chroma.concentration / 0.4), 3))


def _key(chroma: Chroma, chords: ChordPath, reason: str | None) -> KeyEstimate:
    if reason is not None:
        return KeyEstimate(None, reason=reason)
    ranked = harmony.key_names_by_probability(harmony.key_probabilities(chroma, chords))
    (name, confidence), (runner_up, _) = ranked[:2]
    return KeyEstimate(name, round(confidence, 3), runner_up)


def _chord_spans(
    chords: _ChordSegments, reason: str | None, seconds: float, end_of_music: float
) -> Spans:
    if reason is not None:
        return Spans(None, reason=reason)
    labels = [
        Chord(int(state) % 12, "min" if state >= 12 else "maj").label if sounding else "N"
        for state, sounding in zip(chords.path.states, chords.is_sounding, strict=True)
    ]
    edges: list[float] = chords.edges_seconds.tolist()
    if edges[-2] < end_of_music < edges[-1]:
        labels, edges = [*labels, "N"], [*edges[:-1], end_of_music, edges[-1]]
    if edges[0] > 0:  # before the first beat
        labels, edges = [labels[0], *labels], [0.0, *edges]
    spans: list[Span] = []
    for label, start, end in zip(labels, edges[:-1], edges[1:], strict=True):
        end = min(end, seconds)
        if spans and spans[-1].label == label:
            spans[-1] = Span(spans[-1].start_seconds, round(end, 3), label)
        elif end > start:
            spans.append(Span(round(start, 3), round(end, 3), label))
    return Spans(tuple(spans), round(chords.path.confidence, 3))


def _sections(
    features: Features, chroma: Chroma, rhythm: _Rhythm, bars: Bars | None, quiet: str | None
) -> Spans:
    if bars is None or rhythm.beat_frames is None:
        return Spans(None, reason=quiet or f"no bars were found: {_metre(rhythm, bars).reason}")
    seconds = features.duration_seconds
    lines = metre.bar_lines_seconds(rhythm.beat_frames, bars, _end_of_music(features))
    if len(lines) - 1 < form.MIN_BARS:
        return Spans(
            None, reason=f"{len(lines) - 1} bars are too few; sections need {form.MIN_BARS}"
        )
    sections, confidence = form.find_sections(form.bar_features(chroma, features.log_mel, lines))
    spans = tuple(
        Span(round(float(lines[s.start]), 3), round(float(lines[s.stop]), 3), s.label)
        for s in sections
    )
    last = replace(spans[-1], end_seconds=round(seconds, 3))  # with what dies away
    return Spans((*spans[:-1], last), round(confidence, 3))


def _timbre(features: Features, quiet: str | None) -> Timbre:
    share = percussive_share(features.log_mel)
    if quiet is not None or features.centroid_hz is None or share is None:
        return Timbre(None, None, quiet or "the recording is silent")
    return Timbre(round(features.centroid_hz, 1), round(share, 4))


def _pitch(tracker: PitchTracker) -> Pitch:
    hz, aperiodicity = tracker.finish()
    voiced = ~np.isnan(hz)
    values = tuple(None if np.isnan(f) else round(float(f), 2) for f in hz)
    step_seconds = PITCH_HOP / SAMPLE_RATE
    if not voiced.any():
        return Pitch(step_seconds, values, 0.0, "no single periodic voice was found")
    return Pitch(step_seconds, values, round(1.0 - float(aperiodicity[voiced].mean()), 3))


def _silence_reason(features: Features) -> str | None:
    loudest_db = float(features.log_mel.max()) if len(features.log_mel) else -np.inf
    return "the recording is silent" if loudest_db < SILENT_BAND_DB else None


def _unpitched_reason(seconds: float, chroma: Chroma, rhythm: _Rhythm) -> str | None:
    if seconds < MIN_HARMONY_SECONDS:
        return f"{seconds:.2f} s are too short; harmony needs {MIN_HARMONY_SECONDS:.0f} s"
    has_pulse = rhythm.beat_frames is not None
    required = MIN_CONCENTRATION if has_pulse else MIN_CONCENTRATION_WITHOUT_PULSE
    if chroma.concentration < required:
        return (
            "no notes of a tempered scale: the spectral peaks keep to one with a concentration of "
            f"{chroma.concentration:.2f}, music has more than {required}"
        )
    return None


def _too_few_notes(chroma: Chroma) -> str | None:
    """Chords and keys are choices of notes: one or two leave them open."""
    pitch_classes = harmony.pitch_class_count(chroma)
    if pitch_classes < MIN_PITCH_CLASSES:
        return f"only about {pitch_classes:.1f} different notes sound: chords and key are open"
    if harmony.variety(chroma) < MIN_VARIETY:  # overtones of one tone look like a chord
        return "one sound is held or repeated and no note changes: chords and key are open"
    return None


def _times(seconds: DoubleArray) -> tuple[float, ...]:
    return tuple(np.round(seconds, 3).tolist())


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
