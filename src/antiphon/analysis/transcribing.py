"""Sound to notes, by the network of basic-pitch (Bittner et al. 2022) where that is installed.

Only its ONNX file is used: the package itself declares TensorFlow and imports what nobody needs for
this. Letters: T samples, W windows, N frames.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.audio import Waveform, read, resample
from antiphon.errors import DependencyError, EngineError
from antiphon.facts import Facts
from antiphon.graphs import open_graph
from antiphon.notation import Key
from antiphon.score import Note, Score, Track

_PACKAGE = "basic_pitch"
_MODEL = Path("saved_models/icassp_2022/nmp.onnx")
WAY_OUT = "pip install --no-deps basic-pitch"
_INPUT = "serving_default_input_2:0"
_NOTES, _ONSETS = "StatefulPartitionedCall:1", "StatefulPartitionedCall:2"
_RATE, _HOP = 22_050, 256
_WINDOW = 2 * _RATE - _HOP  # samples that the network hears at once
_EDGE_FRAMES = 15  # on either side of a window, of which it knows too little
_LOWEST_PITCH = 21
_ONSET, _SOUNDING = 0.5, 0.3  # how sure the network must be
_GAP_FRAMES = 11  # shorter silences are none
_SHORTEST_SECONDS = 0.06
_USUAL_BPM = 120.0
Floats = NDArray[np.float32]


@cache
def transcription_model() -> Path | None:
    """The network's file; None where basic-pitch is not installed."""
    spec = find_spec(_PACKAGE)
    for folder in () if spec is None else spec.submodule_search_locations or ():
        if (Path(folder) / _MODEL).is_file():
            return Path(folder) / _MODEL
    return None


def transcribe(source: Path | Waveform, facts: Facts) -> Score:
    """The notes that are heard, on one track, in the tempo, metre and key of `facts`.

    Raises DependencyError without basic-pitch, AudioError or StorageError for the source.
    """
    model = transcription_model()
    if model is None:
        raise DependencyError(f"basic-pitch, which transcribes, is not installed: {WAY_OUT}")
    if isinstance(source, Waveform):
        samples = resample(source.mono(), _RATE).samples[0]
    else:
        samples = read(source, sample_rate=_RATE, mono=True).waveform.samples[0]
    times, sounding, onsets = _heard(samples, model)
    bpm = facts.tempo.bpm or _USUAL_BPM
    notes = _notes(times, sounding, onsets, bpm / 60.0)
    beats_per_bar = facts.metre.beats_per_bar or 4
    beats = len(samples) / _RATE * bpm / 60.0
    return Score(
        tempo_bpm=bpm,
        beats_per_bar=beats_per_bar,
        key=None if facts.key.name is None else Key.parse(facts.key.name),
        bars=max(1, math.ceil(beats / beats_per_bar)),
        tracks=(Track("piano", 0, notes),) if notes else (),
    )


def _heard(samples: Floats, model: Path) -> tuple[NDArray[np.float64], Floats, Floats]:
    """Of samples [T]: the time of each frame [N] in seconds, how surely each of 88 pitches sounds
    in it, and begins there, [N, 88]."""
    try:
        session = open_graph(model.parent, model.stem, 1)
    except EngineError as error:
        raise DependencyError(
            f"the network of basic-pitch cannot be loaded: {error.__cause__}; install it again: "
            f"{WAY_OUT}"
        ) from error
    edge = _EDGE_FRAMES * _HOP
    padded = np.pad(samples, (edge, _WINDOW))
    times, sounding, onsets = [], [], []
    step = _WINDOW - 2 * edge
    for start in range(0, max(1, len(samples)), step):
        window = padded[None, start : start + _WINDOW, None].astype(np.float32)
        notes, begins = session.run([_NOTES, _ONSETS], {_INPUT: window})
        inside = slice(_EDGE_FRAMES, _EDGE_FRAMES + math.ceil(step / _HOP))
        sounding.append(notes[0, inside])
        onsets.append(begins[0, inside])
        times.append((start + np.arange(len(sounding[-1])) * _HOP) / _RATE)
    return np.concatenate(times), np.concatenate(sounding), np.concatenate(onsets)


def _notes(
    times: NDArray[np.float64], sounding: Floats, onsets: Floats, beats_per_second: float
) -> tuple[Note, ...]:
    """A note begins at each peak of its onset, and ends where its pitch is no longer heard, or
    begins anew."""
    found = []
    for column in range(sounding.shape[1]):
        heard, begins = sounding[:, column], np.pad(onsets[:, column], 1)
        peaks = (
            (begins[1:-1] >= _ONSET) & (begins[1:-1] >= begins[:-2]) & (begins[1:-1] > begins[2:])
        )
        starts: list[int] = np.flatnonzero(peaks).tolist()
        for start, following in pairwise([*starts, len(heard)]):
            stop = _end(heard[start:following]) + start
            seconds = times[min(stop, len(times) - 1)] - times[start]
            if seconds < _SHORTEST_SECONDS:
                continue
            velocity = int(np.clip(round(float(heard[start:stop].mean()) * 127), 1, 127))
            found.append(
                Note(
                    float(times[start]) * beats_per_second,
                    float(seconds) * beats_per_second,
                    column + _LOWEST_PITCH,
                    velocity,
                )
            )
    return tuple(sorted(found, key=lambda note: (note.start_beat, note.pitch)))


def _end(heard: Floats) -> int:
    """The frame after the last one of a note that begins with the first: the one before the first
    silence that is long enough."""
    silent = np.concatenate([heard < _SOUNDING, np.ones(_GAP_FRAMES, bool)])
    runs = np.lib.stride_tricks.sliding_window_view(silent, _GAP_FRAMES).all(axis=1)
    return int(runs.argmax())
