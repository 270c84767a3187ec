"""A MIDI file, ours or anybody's, as a Score."""

from __future__ import annotations

import io
import math
import re
from bisect import bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from antiphon.errors import ConfigError
from antiphon.files import storage_error
from antiphon.midi.told import (
    DRUM_CHANNEL,
    NO_CHORD,
    PAN_CONTROLLER,
    VOLUME_CONTROLLER,
    ScoreTold,
    TrackTold,
    controller_of,
    gain_of,
    pan_of,
    told_in,
    volume_of,
)
from antiphon.notation import Chord, Key
from antiphon.plain import read_json
from antiphon.score import MAX_TRACKS, ChordSpan, Note, Score, Section, Track

if TYPE_CHECKING:
    import mido

MAX_FILE_BYTES = 2 * 2**20  # mido takes 3 s and 100 MB for each MiB
MAX_SECONDS = 2 * 3600.0
_DEFAULT_TEMPO = 500_000  # microseconds per quarter: 120 BPM, as the standard says
_DEFAULT_VOLUME, _DEFAULT_PAN = 100, 64
_MAX_TICK = 2**40
# No number in a file has this many continuation bytes; mido would add them up for minutes.
_ENDLESS_NUMBER = re.compile(rb"[\x80-\xff]{1024}")
_WAY_OUT = "open it in a notation program or sequencer and export it again"

# The first General MIDI program of each run of instruments; our names where we have one.
_FAMILIES = (
    (0, "piano"), (4, "electric piano"), (6, "harpsichord"), (8, "mallets"), (15, "dulcimer"),
    (16, "organ"), (21, "accordion"), (22, "harmonica"), (23, "accordion"),
    (24, "acoustic guitar"), (26, "electric guitar"), (29, "distorted guitar"),
    (31, "electric guitar"), (32, "bass"), (40, "violin"), (41, "viola"), (42, "cello"),
    (43, "double bass"), (44, "strings"), (46, "harp"), (47, "timpani"), (48, "strings"),
    (52, "choir"), (55, "strings"), (56, "trumpet"), (57, "brass"), (64, "saxophone"),
    (68, "oboe"), (70, "bassoon"), (71, "clarinet"), (72, "flute"), (80, "synth lead"),
    (88, "synth pad"), (104, "sitar"), (105, "banjo"), (106, "shamisen"), (107, "koto"),
    (108, "kalimba"), (109, "bagpipe"), (110, "fiddle"), (111, "shanai"), (112, "percussion"),
    (119, "effects"),
)  # fmt: skip


def read_midi(source: Path | bytes | BinaryIO) -> Score:
    """Read a MIDI file of format 0 or 1. Our own files come back as they were, notes to the tick.

    Of a foreign file is kept what a Score holds:
    - one tempo, that at the first note; where it changes later, notes keep their times in seconds;
    - the first metre and key. 6/8 counts as three quarters; a bar that is no whole number of
      quarters is taken together with the next ones (7/8 as 7/4);
    - notes: a zero-length one lasts a tick, an unended one to the end of its track, and of two that
      overlap on one pitch the first to start is the first to end. Pedal, bends and controllers that
      change while it plays are left out.

    Raises ConfigError for a file that is damaged, without notes, larger than MAX_FILE_BYTES, longer
    than MAX_SECONDS, or that has more tracks or notes than a Score; StorageError for a path that
    cannot be read.
    """
    name, data = _read_bytes(source)
    try:
        return _to_score(_collect(_parse(data)))
    except ConfigError as error:
        raise ConfigError(f"MIDI file {name}: {error}") from error


def instrument_of(program: int) -> str:
    """The name of the instrument that a General MIDI program (0-127) stands for."""
    return next(name for first, name in reversed(_FAMILIES) if first <= program)


def _read_bytes(source: Path | bytes | BinaryIO) -> tuple[str, bytes]:
    """A name for messages, and the content, cut one byte above what is allowed."""
    if isinstance(source, bytes):
        return "in memory", source
    if not isinstance(source, Path):
        return repr(getattr(source, "name", "in memory")), source.read(MAX_FILE_BYTES + 1)
    try:
        with source.open("rb") as file:
            return repr(str(source)), file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise storage_error("read", source, error) from error


def _parse(data: bytes) -> mido.MidiFile:
    import mido
    from mido.midifiles.meta import KeySignatureError

    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(
            f"larger than {MAX_FILE_BYTES / 2**20:g} MiB; expected a file of that size at most: "
            "export it without controller data, or a part of it"
        )
    start = data[:64].find(b"MThd")  # RMID files wrap it in a RIFF header
    if start < 0:
        found = f"begins with {data[:8]!r}" if data else "is empty (0 bytes)"
        raise ConfigError(f"{found}; expected a MIDI file, which begins with b'MThd'")
    try:
        if _ENDLESS_NUMBER.search(data):
            raise ValueError("a number without end")
        file = mido.MidiFile(file=io.BytesIO(data[start:]), clip=True)
    except (EOFError, OSError, ValueError, LookupError, KeySignatureError) as error:
        reason = str(error) or "it breaks off"
        raise ConfigError(
            f"damaged ({reason}); expected a complete Standard MIDI File: {_WAY_OUT}"
        ) from error
    if file.type not in (0, 1) or file.ticks_per_beat <= 0:
        raise ConfigError(
            f"has format {file.type} and {file.ticks_per_beat} ticks per quarter; expected format "
            f"0 or 1 and at least one tick per quarter (no film time code): {_WAY_OUT}"
        )
    return file


@dataclass
class _Voice:
    """The notes of one channel in one track, in ticks."""

    program: int
    volume: int
    pan: int
    notes: list[tuple[int, int, int, int]] = field(default_factory=list)  # start, pitch, end, vel.
    sounding: dict[int, deque[tuple[int, int]]] = field(default_factory=lambda: defaultdict(deque))

    def start(self, tick: int, pitch: int, velocity: int) -> None:
        self.sounding[pitch].append((tick, velocity))

    def end(self, tick: int, pitch: int) -> None:
        if self.sounding[pitch]:
            start, velocity = self.sounding[pitch].popleft()
            self.notes.append((start, pitch, max(tick, start + 1), velocity))


@dataclass
class _Piece:
    """What a file says, in ticks."""

    ticks_per_beat: int
    tempos: list[tuple[int, int]] = field(default_factory=list)
    metres: list[tuple[int, int]] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    markers: list[tuple[int, str]] = field(default_factory=list)
    chords: list[tuple[int, str]] = field(default_factory=list)
    score_told: ScoreTold | None = None
    tracks_told: dict[int, TrackTold] = field(default_factory=dict)
    # By track, port and channel.
    voices: dict[tuple[int, int, int], _Voice] = field(default_factory=dict)
    first_track_ticks: int = 0


def _collect(file: mido.MidiFile) -> _Piece:
    """Go through all messages of all tracks in the order of time."""
    piece = _Piece(file.ticks_per_beat)
    timed: list[tuple[int, int, mido.Message]] = []
    track_ends: list[int] = []
    for number, track in enumerate(file.tracks):
        tick = 0
        for message in track:
            tick += message.time
            timed.append((tick, number, message))
        track_ends.append(tick)
    if not track_ends or max(track_ends) > _MAX_TICK:
        raise ConfigError(f"damaged (no tracks, or times without end); {_WAY_OUT}")
    piece.first_track_ticks = track_ends[0]
    # A program change counts for a note at the same tick, whichever track it is in.
    timed.sort(key=lambda item: (item[0], item[2].type in ("note_on", "note_off")))
    _Collector(piece).take_all(timed)
    for (number, _, _), voice in piece.voices.items():
        for pitch, waiting in voice.sounding.items():
            while waiting:
                voice.end(track_ends[number], pitch)
    return piece


class _Collector:
    """Keeps what is set on each channel while the messages go by."""

    def __init__(self, piece: _Piece) -> None:
        self.piece = piece
        self.ports: dict[int, int] = defaultdict(int)
        self.programs: dict[tuple[int, int], int] = {}
        self.controllers: dict[tuple[int, int, int], int] = {}

    def take_all(self, timed: list[tuple[int, int, mido.Message]]) -> None:
        for tick, number, message in timed:
            if message.is_meta:
                self._take_meta(tick, number, message)
            elif message.type in ("note_on", "note_off"):
                voice = self._voice(number, message.channel)
                if message.type == "note_on" and message.velocity:
                    voice.start(tick, message.note, message.velocity)
                else:
                    voice.end(tick, message.note)
            elif message.type == "program_change":
                self.programs[self.ports[number], message.channel] = message.program
            elif message.type == "control_change":
                place = self.ports[number], message.channel, message.control
                self.controllers[place] = message.value
                if number in self.piece.tracks_told:
                    self._voice(number, message.channel)  # a track of ours may have no notes

    def _voice(self, number: int, channel: int) -> _Voice:
        port = self.ports[number]
        place = number, port, channel
        voice = self.piece.voices.get(place)
        if voice is None or not (voice.notes or any(voice.sounding.values())):
            voice = _Voice(
                program=self.programs.get((port, channel), 0),
                volume=self.controllers.get((port, channel, VOLUME_CONTROLLER), _DEFAULT_VOLUME),
                pan=self.controllers.get((port, channel, PAN_CONTROLLER), _DEFAULT_PAN),
            )
            self.piece.voices[place] = voice
        return voice

    def _take_meta(self, tick: int, number: int, message: mido.MetaMessage) -> None:
        piece = self.piece
        if message.type == "set_tempo":
            piece.tempos.append((tick, message.tempo))
        elif message.type == "time_signature":
            piece.metres.append((message.numerator, message.denominator))
        elif message.type == "key_signature":
            mode = "minor" if message.key.endswith("m") else "major"
            piece.keys.append(Key.parse(f"{message.key.removesuffix('m')} {mode}"))
        elif message.type == "midi_port":
            self.ports[number] = message.port
        elif message.type == "marker":
            piece.markers.append((tick, _decoded(message.text)))
        elif message.type == "text":
            self._take_text(tick, number, message.text)

    def _take_text(self, tick: int, number: int, text: str) -> None:
        told = told_in(text)
        if told is None:
            return
        word, value = told
        if word == "chord":
            self.piece.chords.append((tick, value))
        elif word == "track":
            self.piece.tracks_told[number] = read_json(TrackTold, value, "text event 'track'")
        else:
            self.piece.score_told = read_json(ScoreTold, value, "text event 'score'")


def _decoded(text: str) -> str:
    """UTF-8 where it is that, else the latin-1 that mido took it for."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def _to_score(piece: _Piece) -> Score:
    note_ticks = [(note[0], note[2]) for voice in piece.voices.values() for note in voice.notes]
    if not note_ticks and piece.score_told is None:
        raise ConfigError(f"holds no notes; expected at least one: {_WAY_OUT}")
    tempo_map = _tempo_map(piece, min(note_ticks, default=(0, 0))[0])
    tempo_bpm = 60e6 / tempo_map.tempo
    told = piece.score_told
    if told is not None and round(60e6 / told.tempo_bpm) == tempo_map.tempo:
        tempo_bpm = told.tempo_bpm
    last_beat = tempo_map.beat(max((end for _, end in note_ticks), default=0))
    if last_beat * 60 / tempo_bpm > MAX_SECONDS:
        raise ConfigError(
            f"lasts {last_beat / tempo_bpm / 60:.1f} hours; expected {MAX_SECONDS / 3600:g} hours "
            "at most: export a part of it"
        )
    beats_per_bar = _beats_per_bar(piece)
    # Our first track ends at the last bar line; notes may ring past it.
    length_beats = last_beat if told is None else tempo_map.beat(piece.first_track_ticks)
    bars = max(math.ceil(length_beats / beats_per_bar - 1e-3), 1)
    if len(piece.voices) > MAX_TRACKS:
        raise ConfigError(
            f"has {len(piece.voices)} tracks and channels with notes; expected {MAX_TRACKS} at "
            "most: export fewer of them"
        )
    return Score(
        tempo_bpm=tempo_bpm,
        beats_per_bar=beats_per_bar,
        key=piece.keys[0] if piece.keys else None,
        bars=bars,
        sections=_sections(piece, tempo_map, beats_per_bar, bars),
        chords=_chords(piece, tempo_map),
        tracks=tuple(
            _track(voice, piece.tracks_told.get(place[0]), place[2], tempo_map)
            for place, voice in sorted(piece.voices.items(), key=lambda item: item[0])
        ),
        genre=told.genre if told else None,
        seed=told.seed if told else None,
    )


@dataclass(frozen=True)
class _TempoMap:
    """Ticks into beats of one tempo, `tempo` (microseconds per quarter), keeping times in seconds.

    Each stretch of the file begins at `ticks`, after `quarters` quarters of `tempo`, and moves
    `ratios` quarters of `tempo` for each of its own.
    """

    tempo: int
    ticks_per_beat: int
    ticks: tuple[int, ...]
    quarters: tuple[float, ...]
    ratios: tuple[float, ...]

    def beat(self, tick: int) -> float:
        place = bisect_right(self.ticks, tick) - 1
        since = (tick - self.ticks[place]) / self.ticks_per_beat
        return self.quarters[place] + since * self.ratios[place]

    def length(self, start: int, end: int) -> float:
        """Beats between two ticks; within one stretch free of rounding in what came before."""
        place = bisect_right(self.ticks, start) - 1
        if place == bisect_right(self.ticks, end) - 1:
            return (end - start) / self.ticks_per_beat * self.ratios[place]
        return self.beat(end) - self.beat(start)


def _tempo_map(piece: _Piece, first_note_tick: int) -> _TempoMap:
    """With the tempo at the first note as the one all is told in."""
    tempo_at = {0: _DEFAULT_TEMPO}
    for tick, tempo in piece.tempos:
        if not tempo:
            raise ConfigError(f"has a tempo of 0 microseconds per quarter; {_WAY_OUT}")
        if tempo != next(reversed(tempo_at.values())) or tick in tempo_at:
            tempo_at[tick] = tempo
    ticks, tempos = tuple(tempo_at), tuple(tempo_at.values())
    main = tempos[bisect_right(ticks, first_note_tick) - 1]
    ratios = tuple(tempo / main for tempo in tempos)
    quarters = [0.0]
    for start, end, ratio in zip(ticks, ticks[1:], ratios, strict=False):
        quarters.append(quarters[-1] + (end - start) / piece.ticks_per_beat * ratio)
    return _TempoMap(main, piece.ticks_per_beat, ticks, tuple(quarters), ratios)


def _beats_per_bar(piece: _Piece) -> int:
    numerator, denominator = piece.metres[0] if piece.metres else (4, 4)
    # In lowest terms the numerator is the smallest number of bars that is whole in quarters.
    return Fraction(4 * numerator, denominator).numerator


def _sections(
    piece: _Piece, tempo_map: _TempoMap, beats_per_bar: int, bars: int
) -> tuple[Section, ...]:
    """Markers at the nearest bar line; of several there the last counts, an empty one ends."""
    labels = {round(tempo_map.beat(tick) / beats_per_bar): text for tick, text in piece.markers}
    starts = [bar for bar in sorted(labels) if bar < bars]
    return tuple(
        Section(labels[start], start, end - start)
        for start, end in zip(starts, [*starts, bars][1:], strict=True)
        if labels[start]
    )


def _chords(piece: _Piece, tempo_map: _TempoMap) -> tuple[ChordSpan, ...]:
    return tuple(
        ChordSpan(tempo_map.beat(tick), tempo_map.length(tick, end), Chord.parse(label))
        for (tick, label), (end, _) in zip(piece.chords, piece.chords[1:], strict=False)
        if label != NO_CHORD
    )


def _track(voice: _Voice, told: TrackTold | None, channel: int, tempo_map: _TempoMap) -> Track:
    is_drums = channel == DRUM_CHANNEL
    pan, gain_db = pan_of(voice.pan), gain_of(voice.volume)
    if told is not None:
        # Unrounded, unless another program has since moved the controller.
        pan = told.pan if controller_of(told.pan) == voice.pan else pan
        gain_db = told.gain_db if volume_of(told.gain_db) == voice.volume else gain_db
        instrument, role = told.instrument, told.role
    else:
        instrument, role = "drums" if is_drums else instrument_of(voice.program), ""
    notes = tuple(
        Note(tempo_map.beat(start), tempo_map.length(start, end), pitch, velocity)
        for start, pitch, end, velocity in sorted(voice.notes)
    )
    return Track(instrument, voice.program, notes, is_drums, role, pan, gain_db)
