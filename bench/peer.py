"""librosa, the peer: what it hears in the same sound. Knows nothing of ours.

Its compiled loops are kept apart from the environment's and made by `prepare`, before several
processes want them: two that compile at once leave a cache that crashes (numba #10128).
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.analysis.harmony import MAJOR_PROFILE, MINOR_PROFILE
from antiphon.audio import Waveform, resample
from antiphon.facts import Span, Spans
from antiphon.notation import ALL_KEYS, Chord
from probes import ONE_THREAD

NUMBA_CACHE = Path(__file__).parents[1] / "runs" / "bench" / "numba"
os.environ["NUMBA_CACHE_DIR"] = str(NUMBA_CACHE)  # read when librosa is imported

WORKERS = 2
SAMPLE_RATE = 22_050  # Hz, librosa's default
HOP = 512  # samples, librosa's default
SHARPNESS = 10.0  # of the softmax over triads
STAY_CHANCE = 0.5  # that a chord lasts another beat
CHORD_OF_MODE = {"major": "maj", "minor": "min"}


@dataclass(frozen=True)
class Reading:
    """Tempo, beats and key; no tempo where it finds none."""

    bpm: float | None
    beats_seconds: tuple[float, ...]
    key: str


def listen(waveform: Waveform) -> Reading:
    """Tempo and beats of `beat_track`; the key out of `chroma_cens`, its best chroma for keys, by
    correlation with the profiles of Albrecht and Shanahan, the best for it."""
    import librosa

    samples = resample(waveform.mono(), SAMPLE_RATE).samples[0]
    tempo, beats = librosa.beat.beat_track(y=samples, sr=SAMPLE_RATE, units="time")
    chroma = librosa.feature.chroma_cens(y=samples, sr=SAMPLE_RATE).mean(axis=1)
    profiles = {"major": MAJOR_PROFILE, "minor": MINOR_PROFILE}
    fits = [np.corrcoef(chroma, np.roll(profiles[key.mode], key.tonic))[0, 1] for key in ALL_KEYS]
    bpm = float(np.atleast_1d(tempo)[0])
    return Reading(bpm if bpm > 0 else None, tuple(beats), ALL_KEYS[int(np.argmax(fits))].name)


@dataclass(frozen=True)
class Outline:
    """What is the usual next step from librosa: chords, and with the truth told, where bars and
    sections begin."""

    chords: Spans
    downbeats_seconds: tuple[float, ...]
    sections: Spans


def outline(waveform: Waveform, beats_per_bar: int, section_count: int) -> Outline:
    """Chords by triad templates on the chroma of the harmonic part (librosa's own example for
    `viterbi_discriminative`) between the beats of `beat_track`; downbeats on those beats of every
    `beats_per_bar` that have the strongest onsets; sections by `agglomerative` clustering of MFCC
    and chroma by the second, which does better than by the beat, into `section_count`."""
    import librosa

    samples = resample(waveform.mono(), SAMPLE_RATE).samples[0]
    # As `beat_track` makes them of samples.
    onsets = librosa.onset.onset_strength(y=samples, sr=SAMPLE_RATE, aggregate=np.median)
    _, beats = librosa.beat.beat_track(onset_envelope=onsets, sr=SAMPLE_RATE)
    harmonic = librosa.effects.harmonic(samples, margin=4)
    chroma = librosa.feature.chroma_cqt(y=harmonic, sr=SAMPLE_RATE)  # [12, F]
    timbre = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE)  # [20, F]
    strengths = [onsets[beats[phase::beats_per_bar]].mean() for phase in range(beats_per_bar)]
    times = librosa.frames_to_time(beats, sr=SAMPLE_RATE)
    starts = np.append(0.0, times)  # of what `sync` makes of the frames: before the first beat too
    end_seconds = len(samples) / SAMPLE_RATE
    chords = _chords(librosa.util.sync(chroma, beats, aggregate=np.median))
    features = librosa.util.normalize(np.vstack([timbre, chroma]), axis=1)
    seconds = np.arange(0, features.shape[1], round(SAMPLE_RATE / HOP))  # as frames
    edges = _edges(librosa.util.sync(features, seconds[1:]), section_count)
    return Outline(
        _spans(starts, chords, end_seconds),
        tuple(times[int(np.argmax(strengths)) :: beats_per_bar]),
        _spans(
            librosa.frames_to_time(seconds[edges], sr=SAMPLE_RATE), [""] * len(edges), end_seconds
        ),
    )


def _chords(chroma: np.ndarray) -> list[str]:
    """The best path through the 24 triads, one a beat; chroma is [12, beats + 1]."""
    import librosa

    triads = np.zeros((len(ALL_KEYS), 12))
    for row, key in enumerate(ALL_KEYS):
        third = 4 if key.mode == "major" else 3
        triads[row, [(key.tonic + step) % 12 for step in (0, third, 7)]] = 1.0
    likeness = triads @ librosa.util.normalize(chroma, norm=2)
    chances = np.exp(SHARPNESS * likeness)
    stay = librosa.sequence.transition_loop(len(triads), STAY_CHANCE)
    path = librosa.sequence.viterbi_discriminative(chances / chances.sum(axis=0), stay)
    labels = [Chord(key.tonic, CHORD_OF_MODE[key.mode]).label for key in ALL_KEYS]
    return [labels[state] for state in path]


def _edges(features: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` stretches begin that are most alike within; features are [D, seconds]."""
    import librosa

    edges: np.ndarray = librosa.segment.agglomerative(features, min(count, features.shape[1]))
    return edges


def _spans(starts: np.ndarray, labels: list[str], end_seconds: float) -> Spans:
    ends = np.append(starts[1:], end_seconds)
    spans = zip(starts, ends, labels, strict=True)
    return Spans(tuple(Span(float(a), float(b), label) for a, b, label in spans if b > a), 1.0)


@contextmanager
def worker_pool() -> Iterator[ProcessPoolExecutor]:
    """WORKERS processes of one thread each, all of which may listen."""
    prepare()
    os.environ.update(ONE_THREAD)  # for the workers: they are spawned
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, context, warnings.simplefilter, ("ignore",)) as pool:
        yield pool


def prepare() -> None:
    """Compile, or find compiled, everything that `listen` and `outline` use."""
    noise = np.random.default_rng(0).standard_normal((1, 4 * SAMPLE_RATE)).astype(np.float32)
    waveform = Waveform(noise, SAMPLE_RATE)
    listen(waveform)
    outline(waveform, 4, 2)
