"""Score -> sound through FluidSynth and a General MIDI soundfont; needs the extra `synth`.

Knows none of our own instruments.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from antiphon.audio.waveform import FloatArray, Waveform
from antiphon.errors import ConfigError, DependencyError
from antiphon.score import Score, Track
from antiphon.synth.effects import master, ring_out

SOUNDFONT_FOLDERS = (
    Path("/usr/share/sounds/sf3"),
    Path("/usr/share/sounds/sf2"),
    Path("/usr/share/soundfonts"),
    Path("/usr/local/share/soundfonts"),
    Path("/opt/homebrew/share/soundfonts"),
)
# Tried in this order before any other file of the folders above.
_PREFERRED = ("MuseScore_General.sf3", "MuseScore_General_Lite.sf3", "FluidR3_GM.sf2")

_BLOCK = 64  # frames; FluidSynth starts and stops notes only at the edges of such blocks
_MAX_TAIL_SECONDS = 10.0
_DRUM_BANK = 128
_VOLUME, _PAN = 7, 10  # MIDI controllers


class _Synth(Protocol):
    """The part of pyfluidsynth's `Synth` that is used here."""

    synth: int  # the C object

    def sfload(self, filename: str) -> int: ...
    def program_select(self, chan: int, sfid: int, bank: int, preset: int) -> int: ...
    def cc(self, chan: int, ctrl: int, val: int) -> int: ...
    def noteon(self, chan: int, key: int, vel: int) -> int: ...
    def noteoff(self, chan: int, key: int) -> int: ...
    def get_active_voice_count(self) -> int: ...


@dataclass(frozen=True, order=True)
class _Event:
    """A note that stops (velocity 0) or starts; stops sort before starts of the same moment."""

    frame: int
    velocity: int
    channel: int
    pitch: int


def find_soundfont() -> Path:
    """The General MIDI soundfont of this machine. Raises DependencyError when there is none."""
    found = [
        path
        for folder in SOUNDFONT_FOLDERS
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in (".sf2", ".sf3")
    ]
    for name in _PREFERRED:
        for path in found:
            if path.name == name:
                return path
    if found:
        return found[0]
    folders = ", ".join(str(folder) for folder in SOUNDFONT_FOLDERS)
    raise DependencyError(
        f"no soundfont (.sf2 or .sf3) in {folders}; "
        "try: apt-get install musescore-general-soundfont-small"
    )


def render_fluidsynth(
    score: Score,
    soundfont: Path | None = None,
    *,
    sample_rate: int = 44100,
    reverb: bool = True,
) -> Waveform:
    """Play `score` on FluidSynth: stereo [2, T] at about -17 LUFS, with the tail of the last notes.

    Without a `soundfont` the machine's own is taken (`find_soundfont`); `reverb` switches
    FluidSynth's reverb and chorus. The same score, soundfont and version of FluidSynth give the
    same samples. Raises DependencyError when the Python package, the library or a soundfont is
    missing, ConfigError for a soundfont that cannot be used.
    """
    if not 8000 <= sample_rate <= 96000:
        raise ConfigError(f"sample rate is {sample_rate} Hz; FluidSynth plays at 8000 to 96000 Hz")
    library = _load_library()
    path = find_soundfont() if soundfont is None else soundfont
    _require_soundfont(path)
    with _synthesizer(library, len(score.tracks), sample_rate, reverb=reverb) as synth:
        font = _load_font(synth, path)
        loudest_db = max((track.gain_db for track in score.tracks), default=0.0)
        for channel, track in enumerate(score.tracks):
            _select(library, synth, font, channel, track, path)
            # The controllers' curves of the SoundFont standard: 40 log10(value / 127) dB.
            volume = 127.0 * 10.0 ** ((track.gain_db - loudest_db) / 40.0)
            synth.cc(channel, _VOLUME, round(volume))
            synth.cc(channel, _PAN, round(64 + 63 * track.pan))
        mix = _play(library, synth, score, sample_rate)
    master(mix, sample_rate)
    minimum = round(score.duration_seconds * sample_rate)
    return Waveform(ring_out(mix, sample_rate, minimum), sample_rate)


class FluidSynthPlayer:
    """Plays many scores on one soundfont: the samples that one has needed stay in memory for the
    next, which takes a third of the time. Each sounds as `render_fluidsynth` plays it.

    A context manager; raises as `render_fluidsynth` does.
    """

    def __init__(self, soundfont: Path | None = None) -> None:
        self._path = find_soundfont() if soundfont is None else soundfont
        _require_soundfont(self._path)
        self._library = _load_library()
        # FluidSynth's synthesizers share the samples of a file; this one never plays.
        self._keeping = contextlib.ExitStack()
        self._keeper = self._keeping.enter_context(
            _synthesizer(self._library, 1, 44100, reverb=False)
        )
        self._font = _load_font(self._keeper, self._path)
        self._pin = self._library.cfunc(
            "fluid_synth_pin_preset", ctypes.c_int,
            ("synth", ctypes.c_void_p, 1), ("font", ctypes.c_int, 1),
            ("bank", ctypes.c_int, 1), ("program", ctypes.c_int, 1),
        )  # fmt: skip

    def __enter__(self) -> FluidSynthPlayer:
        return self

    def __exit__(self, *_: object) -> None:
        self._keeping.close()

    def render(self, score: Score, *, sample_rate: int = 44100, reverb: bool = True) -> Waveform:
        """See `render_fluidsynth`."""
        for track in score.tracks:
            bank, program = _select(self._library, self._keeper, self._font, 0, track, self._path)
            self._pin(self._keeper.synth, self._font, bank, program)
        return render_fluidsynth(score, self._path, sample_rate=sample_rate, reverb=reverb)


def _load_font(synth: _Synth, path: Path) -> int:
    font = synth.sfload(str(path))
    if font < 0:
        raise ConfigError(f"soundfont {path} is damaged: FluidSynth cannot load it")
    return font


def _select(
    library: ModuleType, synth: _Synth, font: int, channel: int, track: Track, path: Path
) -> tuple[int, int]:
    """Give `channel` the instrument of `track`; the bank and program that it is."""
    presets = [(0, track.program)]
    if track.is_drums:
        # A font without the kit asked for plays the standard kit, as GS prescribes.
        presets = [(_DRUM_BANK, track.program), (_DRUM_BANK, 0)]
    for bank, program in presets:
        if synth.program_select(channel, font, bank, program) == library.FLUID_OK:
            return bank, program
    raise ConfigError(
        f"soundfont {path} has no preset {program} in bank {bank}, which track "
        f"{track.instrument!r} asks for; take a General MIDI soundfont"
    )


def _require_soundfont(path: Path) -> None:
    """Look at the header ourselves: on other files FluidSynth's loaders write to stderr."""
    try:
        with path.open("rb") as file:
            header = file.read(12)
    except OSError as error:
        raise ConfigError(
            f"soundfont {path} cannot be read ({error.strerror}); "
            "name an .sf2 or .sf3 file, or leave the choice open"
        ) from error
    if header[:4] != b"RIFF" or header[8:] != b"sfbk":
        raise ConfigError(f"{path} is not a soundfont; expected an .sf2 or .sf3 file")


def _load_library() -> ModuleType:
    try:
        # The package prints what it found to stdout where CI is set.
        with contextlib.redirect_stdout(io.StringIO()):
            import fluidsynth
    except ModuleNotFoundError as error:
        raise DependencyError(
            "the package pyfluidsynth is not installed; try: pip install 'antiphon[synth]'"
        ) from error
    except ImportError as error:
        raise DependencyError(
            "the FluidSynth library is not installed; "
            "try: apt-get install fluidsynth musescore-general-soundfont-small"
        ) from error
    library: ModuleType = fluidsynth
    return library


@contextlib.contextmanager
def _synthesizer(
    library: ModuleType, tracks: int, sample_rate: int, *, reverb: bool
) -> Iterator[_Synth]:
    """A FluidSynth with a channel per track, silent on stderr, deleted at the end."""
    silence = library.cfunc(
        "fluid_set_log_function", ctypes.c_void_p,
        ("level", ctypes.c_int, 1), ("function", ctypes.c_void_p, 1), ("data", ctypes.c_void_p, 1),
    )  # fmt: skip
    for level in range(5):
        silence(level, None, None)
    settings = {
        "synth.reverb.active": int(reverb),
        "synth.chorus.active": int(reverb),
        "synth.dynamic-sample-loading": 1,  # only the presets in use are decoded
        "synth.threadsafe-api": 0,
    }
    channels = 16 * max(1, -(-tracks // 16))
    synth = library.Synth(gain=0.2, samplerate=sample_rate, channels=channels, **settings)
    try:
        yield synth
    finally:
        synth.delete()


def _play(library: ModuleType, synth: _Synth, score: Score, sample_rate: int) -> FloatArray:
    """Feed all notes and render between them; [2, T] with the tail, unscaled."""
    write = library.cfunc(
        "fluid_synth_write_float", ctypes.c_int,
        ("synth", ctypes.c_void_p, 1), ("len", ctypes.c_int, 1),
        ("lout", ctypes.c_void_p, 1), ("loff", ctypes.c_int, 1), ("lincr", ctypes.c_int, 1),
        ("rout", ctypes.c_void_p, 1), ("roff", ctypes.c_int, 1), ("rincr", ctypes.c_int, 1),
    )  # fmt: skip
    events = _events(score, sample_rate)
    last = max([round(score.duration_seconds * sample_rate), *(event.frame for event in events)])
    mix = np.zeros((2, last + round(_MAX_TAIL_SECONDS * sample_rate)), dtype=np.float32)
    left, right = mix[0].ctypes.data, mix[1].ctypes.data
    position = 0

    def render_until(frame: int) -> None:
        nonlocal position
        if frame > position:
            write(synth.synth, frame - position, left, position, 1, right, position, 1)
            position = frame

    for event in events:
        render_until(event.frame)
        if event.velocity:
            synth.noteon(event.channel, event.pitch, event.velocity)
        else:
            synth.noteoff(event.channel, event.pitch)
    render_until(last)
    while position < mix.shape[1] and synth.get_active_voice_count():
        render_until(min(position + sample_rate // 4, mix.shape[1]))
    render_until(min(position + 2 * sample_rate, mix.shape[1]))  # the reverb's own tail
    return mix[:, :position]


def _events(score: Score, sample_rate: int) -> list[_Event]:
    """Starts and stops in order of time, moved to the nearest block edge (at most 0.7 ms)."""
    events = []
    for channel, track in enumerate(score.tracks):
        for start, stop, pitch, velocity in _spans(score, track, sample_rate):
            events.append(_Event(start, velocity, channel, pitch))
            events.append(_Event(stop, 0, channel, pitch))
    return sorted(events)


def _spans(score: Score, track: Track, sample_rate: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, pitch, velocity); a note ends where the same pitch starts again.

    On one channel the stop of the first of two overlapping notes would silence the second.
    """

    def frame(beat: float) -> int:
        return round(score.beat_to_seconds(beat) * sample_rate / _BLOCK) * _BLOCK

    spans: list[tuple[int, int, int, int]] = []
    next_start: dict[int, int] = {}
    for note in sorted(track.notes, key=lambda note: note.start_beat, reverse=True):
        start = frame(note.start_beat)
        stop = max(start + _BLOCK, frame(note.start_beat + note.duration_beats))
        following = next_start.get(note.pitch)
        if following == start:
            continue  # the same note twice
        if following is not None:
            stop = min(stop, following)
        next_start[note.pitch] = start
        spans.append((start, stop, note.pitch, note.velocity))
    return spans
