"""Score -> sound with our own instruments: places each note in a stereo mix with reverb.

Knows no file and no soundfont. Each distinct note is rendered once and reused.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from antiphon.audio.waveform import FloatArray, Waveform
from antiphon.errors import ConfigError
from antiphon.score import Score, Track
from antiphon.synth.drums import drum, render_drum
from antiphon.synth.effects import add_reverb, master, reverb_response, ring_out
from antiphon.synth.instruments import render_note, velocity_layer
from antiphon.synth.timbres import TIMBRES, timbre_name

_TAIL_SECONDS = 4.0
_VELOCITY_EXPONENT = 1.3  # of the amplitude: 100 -> 50 is 8 dB
_UNEVENNESS_DB = 0.5  # no two strokes are alike
_DRUM_TAKES = 2  # renderings of each drum, by turns
_CHOKE_SECONDS = 0.03
_NOTES_DB = -26.0  # weighted level of a pitched note at velocity 127, against full scale
_DRUMS_DB = -9.0  # of a stroke's peak at velocity 127, against full scale


def render(score: Score, *, sample_rate: int = 44100, seed: int | None = None) -> Waveform:
    """Play `score` on our own instruments: stereo [2, T] at about -17 LUFS, peaks below -1 dBFS.

    The same score, seed and sample rate give the same samples; `seed` (the score's own by default)
    decides the small unevenness of strokes. The tail of the last notes rings out after the last
    bar. Raises ConfigError for a sample rate outside 8000-192000 Hz.
    """
    if not 8000 <= sample_rate <= 192000:
        raise ConfigError(f"sample rate is {sample_rate} Hz; expected 8000 to 192000 Hz")
    chosen = (seed if seed is not None else score.seed or 0) % (1 << 63)
    minimum = math.ceil(score.duration_seconds * sample_rate)
    bus = np.zeros((3, minimum + round(_TAIL_SECONDS * sample_rate)), dtype=np.float32)
    for number, track in enumerate(score.tracks):
        play = _play_drums if track.is_drums else _play_notes
        play(bus, score, track, sample_rate, chosen + number)
    add_reverb(bus[:2], bus[2], reverb_response(sample_rate))
    mix = bus[:2]
    master(mix, sample_rate)
    return Waveform(ring_out(mix, sample_rate, minimum), sample_rate)


def _play_notes(bus: FloatArray, score: Score, track: Track, sample_rate: int, seed: int) -> None:
    """Add a pitched track to `bus` [3, T] (left, right, reverb send)."""
    timbre = TIMBRES[timbre_name(track)]
    fade = _fade(timbre.release_seconds, sample_rate)
    starts, stops = _frames(score, track, sample_rate)
    longest: dict[tuple[int, int], int] = defaultdict(int)
    keys = [(note.pitch, velocity_layer(note.velocity)) for note in track.notes]
    for key, start, stop in zip(keys, starts, stops, strict=True):
        longest[key] = max(longest[key], stop - start)
    held = {
        key: render_note(timbre, *key, (frames + fade.size) / sample_rate, sample_rate, seed)
        for key, frames in longest.items()
    }
    gains = _gains(_NOTES_DB + track.gain_db + timbre.level_db, track.pan, timbre.reverb_db)
    strokes = _stroke_gains(track, seed)
    for key, start, stop, stroke in zip(keys, starts, stops, strokes, strict=True):
        _add(bus, start, held[key], gains * stroke, stop - start, fade)


def _play_drums(bus: FloatArray, score: Score, track: Track, sample_rate: int, seed: int) -> None:
    """Add a drum track to `bus` [3, T]; strokes ring out unless their group chokes them."""
    fade = _fade(_CHOKE_SECONDS, sample_rate)
    starts, _ = _frames(score, track, sample_rate)
    ends = [bus.shape[1]] * len(starts)
    choker: dict[str, int] = {}
    for index in sorted(range(len(starts)), key=lambda index: starts[index], reverse=True):
        group = drum(track.notes[index].pitch, track.program).choke
        if group:
            if group in choker:
                ends[index] = starts[choker[group]]
            choker[group] = index
    strokes = _stroke_gains(track, seed)
    for index, note in enumerate(track.notes):
        part = drum(note.pitch, track.program)
        sound = render_drum(
            part, velocity_layer(note.velocity), sample_rate, take=index % _DRUM_TAKES
        )
        pan = max(-1.0, min(1.0, track.pan + part.pan))
        gains = _gains(_DRUMS_DB + track.gain_db + part.level_db, pan, part.reverb_db)
        stop = ends[index] - starts[index]
        _add(bus, starts[index], sound, gains * strokes[index], stop, fade)


def _add(
    bus: FloatArray, start: int, samples: FloatArray, gains: FloatArray, stop: int, fade: FloatArray
) -> None:
    """Add `samples` [1 or 2, T] times `gains` [3] to `bus`, faded out from `stop` frames on."""
    whole = min(stop, samples.shape[1])
    if whole <= 0:  # choked by a stroke of the same moment
        return
    _add_scaled(bus[:, start : start + whole], samples[:, :whole], gains)
    tail = min(fade.size, samples.shape[1] - whole)
    if tail > 0:
        begin = start + whole
        faded = samples[:, whole : whole + tail] * fade[:tail]
        _add_scaled(bus[:, begin : begin + tail], faded, gains)


def _add_scaled(target: FloatArray, samples: FloatArray, gains: FloatArray) -> None:
    """Add `samples` [1 or 2, T] times `gains` [3] to `target` [3, T] by BLAS, without temporaries.

    The reverb is fed by the left channel alone: what comes out of it is diffuse anyway.
    """
    from scipy.linalg.blas import saxpy

    for row, gain in enumerate(gains):
        saxpy(samples[row % samples.shape[0]], target[row], a=gain)


def _frames(score: Score, track: Track, sample_rate: int) -> tuple[list[int], list[int]]:
    per_beat = score.seconds_per_beat * sample_rate
    starts = [round(note.start_beat * per_beat) for note in track.notes]
    stops = [round((note.start_beat + note.duration_beats) * per_beat) for note in track.notes]
    return starts, stops


def _gains(level_db: float, pan: float, reverb_db: float) -> FloatArray:
    """Left, right (constant power) and reverb send, [3]."""
    angle = (pan + 1.0) * math.pi / 4.0
    shares = (math.cos(angle), math.sin(angle), 10.0 ** (reverb_db / 20.0))
    return np.float32(10.0 ** (level_db / 20.0)) * np.array(shares, dtype=np.float32)


def _stroke_gains(track: Track, seed: int) -> FloatArray:
    """The gain of each note by its velocity and a little chance, [N]."""
    rng = np.random.default_rng(seed)
    velocities = np.array([note.velocity for note in track.notes], dtype=np.float32)
    uneven_db = rng.uniform(-_UNEVENNESS_DB, _UNEVENNESS_DB, velocities.size)
    gains = (velocities / 127.0) ** _VELOCITY_EXPONENT * 10.0 ** (uneven_db / 20.0)
    return np.asarray(gains, dtype=np.float32)


def _fade(seconds: float, sample_rate: int) -> FloatArray:
    """From 1 to 0, steep first as a damped string."""
    count = max(2, round(seconds * sample_rate))
    fade: FloatArray = np.linspace(1.0, 0.0, count, dtype=np.float32) ** 3
    return fade
