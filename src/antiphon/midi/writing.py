"""A Score as a Standard MIDI File."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from antiphon.files import atomic_write
from antiphon.midi.told import (
    DRUM_CHANNEL,
    NO_CHORD,
    PAN_CONTROLLER,
    TICKS_PER_BEAT,
    VOLUME_CONTROLLER,
    ScoreTold,
    TrackTold,
    controller_of,
    tell,
    tell_chord,
    volume_of,
)
from antiphon.notation import MAJOR_NAMES, MINOR_NAMES, Key
from antiphon.score import Score, Track

if TYPE_CHECKING:
    import mido

_PITCHED_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)
_META_KINDS = frozenset(
    ("set_tempo", "time_signature", "key_signature", "text", "marker", "track_name", "midi_port")
)
# At one tick: first what says how to play, then note ends, then note starts.
_SETTING, _ENDING, _STARTING = range(3)


def write_midi(score: Score, target: Path | BinaryIO) -> None:
    """Write a format 1 file with 960 ticks per beat; a path appears whole or not at all.

    Each track has a channel of its own (drums channel 10; on another port when one port's are
    taken) with its program, and pan and gain as controllers 10 and 7. Sections are markers; chords,
    roles, genre and seed are text events, so that `read_midi` finds them again. Positions are
    rounded to the tick.

    Raises StorageError when `target` cannot be written.
    """
    import mido

    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks.append(_to_mido(_conductor_events(score), _ticks(score.total_beats)))
    drums, pitched = count(), count()
    for track in score.tracks:
        if track.is_drums:
            port, channel = next(drums), DRUM_CHANNEL
        else:
            port, place = divmod(next(pitched), len(_PITCHED_CHANNELS))
            channel = _PITCHED_CHANNELS[place]
        file.tracks.append(_to_mido(_track_events(track, channel, port)))
    buffer = io.BytesIO()
    file.save(file=buffer)
    if isinstance(target, Path):
        atomic_write(target, buffer.getvalue())
    else:
        target.write(buffer.getvalue())


@dataclass(frozen=True, order=True)
class _Event:
    """A message at its tick, with the values mido knows it by."""

    tick: int
    rank: int
    kind: str = field(compare=False)
    values: dict[str, int | str] = field(compare=False)


def _ticks(beat: float) -> int:
    return round(beat * TICKS_PER_BEAT)


def _setting(tick: int, kind: str, **values: int | str) -> _Event:
    return _Event(tick, _SETTING, kind, values)


def _conductor_events(score: Score) -> list[_Event]:
    told = ScoreTold(float(score.tempo_bpm), score.genre, score.seed)
    events = [
        _setting(0, "set_tempo", tempo=round(60e6 / score.tempo_bpm)),
        _setting(0, "time_signature", numerator=score.beats_per_bar, denominator=4),
        _setting(0, "text", text=tell(told)),
    ]
    if score.key is not None:
        events.append(_setting(0, "key_signature", key=_key_name(score.key)))
    spans = [(s.start_bar, s.start_bar + s.bars, s.label) for s in score.sections]
    for bar, label in _with_gaps([(float(a), float(b), label) for a, b, label in spans], ""):
        tick = _ticks(bar * score.beats_per_bar)
        events.append(_setting(tick, "marker", text=_as_latin1(label)))
    chords = [(c.start_beat, c.start_beat + c.duration_beats, c.chord.label) for c in score.chords]
    for beat, label in _with_gaps(chords, NO_CHORD):
        events.append(_setting(_ticks(beat), "text", text=tell_chord(label)))
    return sorted(events)


def _with_gaps(spans: list[tuple[float, float, str]], gap: str) -> list[tuple[float, str]]:
    """Where each span starts, and where nothing follows at once, `gap` at its end."""
    following = [start for start, _, _ in spans[1:]]
    points: list[tuple[float, str]] = []
    for place, (start, end, label) in enumerate(spans):
        points.append((start, label))
        if place == len(following) or _ticks(end) < _ticks(following[place]):
            points.append((end, gap))
    return points


def _key_name(key: Key) -> str:
    names = MAJOR_NAMES if key.mode == "major" else MINOR_NAMES
    return names[key.tonic] + ("m" if key.mode == "minor" else "")


def _as_latin1(text: str) -> str:
    """Text whose latin-1 bytes, which mido writes, are the UTF-8 of `text`."""
    return text.encode().decode("latin-1")


def _track_events(track: Track, channel: int, port: int) -> list[_Event]:
    told = TrackTold(track.instrument, track.role, float(track.pan), float(track.gain_db))
    events = [
        _setting(0, "track_name", name=_as_latin1(track.instrument)),
        _setting(0, "text", text=tell(told)),
        _setting(0, "midi_port", port=port),
        _setting(0, "program_change", channel=channel, program=track.program),
    ]
    for control, value in (
        (VOLUME_CONTROLLER, volume_of(track.gain_db)),
        (PAN_CONTROLLER, controller_of(track.pan)),
    ):
        events.append(_setting(0, "control_change", channel=channel, control=control, value=value))
    for note in track.notes:
        start = _ticks(note.start_beat)
        end = max(_ticks(note.start_beat + note.duration_beats), start + 1)
        on = {"channel": channel, "note": note.pitch, "velocity": note.velocity}
        events.append(_Event(start, _STARTING, "note_on", {**on}))
        events.append(_Event(end, _ENDING, "note_off", {**on, "velocity": 64}))
    return sorted(events)


def _to_mido(events: list[_Event], end_tick: int = 0) -> mido.MidiTrack:
    """Messages with the time since the one before, closed at `end_tick` or the last event."""
    import mido

    track = mido.MidiTrack()
    now = 0
    for event in events:
        message = mido.MetaMessage if event.kind in _META_KINDS else mido.Message
        track.append(message(event.kind, time=event.tick - now, **event.values))
        now = event.tick
    track.append(mido.MetaMessage("end_of_track", time=max(end_tick - now, 0)))
    return track
