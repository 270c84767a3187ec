"""A request as a score: what prompt and flags ask for, arranged; or the user's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from antiphon.analysis import measure
from antiphon.analysis.judging import TEMPO_TOLERANCE
from antiphon.arrange import arrange
from antiphon.audio import Waveform
from antiphon.compose.looping import LEAD_BARS, unrolled
from antiphon.compose.prompt import combine
from antiphon.compose.requests import Loop, Request, with_length
from antiphon.compose.understanding import understand
from antiphon.controls import (
    INSTRUMENTS,
    MAX_DURATION_SECONDS,
    MAX_TEMPO_BPM,
    METRES,
    MIN_TEMPO_BPM,
    Controls,
)
from antiphon.errors import ConfigError
from antiphon.notation import Key
from antiphon.score import Score

# What a score says itself.
_FORM = ("duration", "bars", "sections", "intro", "ending")
_SCORED = ("tempo", "key", "metre", *_FORM)


@dataclass(frozen=True)
class Arranged:
    """A score to be played for a request. `wishes` are what was asked for, by the flags and by what
    the prompt was understood to say; `seconds` is how long it is to last; `notes` are for people.
    """

    score: Score
    wishes: Controls
    seconds: float
    notes: tuple[str, ...]
    start_seconds: float = 0.0
    """Where in the piece the score begins: later than at 0 where a recording goes before."""
    lead_seconds: float = 0.0
    """Of the score, before a loop and after it."""

    def loop(self, sample_rate: int) -> Loop | None:
        """Where in what is played the loop lies, if it is one."""
        if not self.lead_seconds:
            return None
        played = self.seconds + 2 * self.lead_seconds
        return Loop(round(self.lead_seconds * sample_rate), round(played * sample_rate))


def arranged(request: Request) -> Arranged:
    """The score of a request: its own, or one that is arranged by its seed.

    Raises ConfigError for wishes that cannot be arranged, or that the score decides already.
    """
    if request.loop_bars is not None:
        _require_loop(request)
    if request.score is not None:
        return _own(request, request.score, understand(request.prompt).notes)
    wishes, notes = _wished(request)
    if request.loop_bars is not None:
        wishes = _with_bars(wishes, request.loop_bars)
        return _loop(Arranged(arrange(wishes, request.seed), wishes, 0.0, notes))
    wishes = with_length(wishes)
    score = arrange(wishes, request.seed)
    seconds = wishes.duration_seconds or score.duration_seconds
    return Arranged(score, wishes, seconds, notes)


def _wished(request: Request) -> tuple[Controls, tuple[str, ...]]:
    """What flags and prompt ask for together, and what is to be said of it."""
    understood = understand(request.prompt)
    combined = combine(request.controls.to_dict(), understood)
    notes = (*understood.notes, *combined.contradictions)
    if understood.unknown:
        notes = (*notes, f"not understood by the arranger: {', '.join(understood.unknown)}")
    return combined.controls, notes


def _require_loop(request: Request) -> None:
    """Raise ConfigError for what contradicts a loop."""
    given = request.controls.to_dict()
    for name in _FORM:
        if name in given:
            raise ConfigError(f"--{name} and --loop-bars both say its form; expected one of them")
    if request.continuation is not None:
        raise ConfigError("a loop begins as it ends; expected --continue without --loop-bars")


def _with_bars(controls: Controls, bars: int) -> Controls:
    """The same wishes for so many bars; a length or a beginning that the prompt says gives way."""
    return replace(
        controls, duration_seconds=None, bars=bars, sections=(), intro=False, ending=False
    )


def _loop(piece: Arranged) -> Arranged:
    """The score of a piece as a loop of just its bars."""
    score = piece.score
    seconds = score.bar_to_seconds(score.bars)
    return replace(
        piece,
        score=unrolled(score),
        wishes=replace(piece.wishes, bars=None, duration_seconds=seconds),
        seconds=seconds,
        lead_seconds=score.bar_to_seconds(LEAD_BARS),
    )


def arranged_after(request: Request, recording: Waveform) -> Arranged:
    """The score of what goes on from a recording, whose tempo and key it keeps where nothing else
    is asked for; it begins at the recording's last bar line, or where the recording ends.

    Raises ConfigError as `arranged` does.
    """
    if request.score is not None:
        raise ConfigError(
            "--from-score and --continue both say how the piece begins; expected one of them"
        )
    if request.loop_bars is not None:
        _require_loop(request)
    facts = measure(recording)
    wishes, said = _wished(request)
    wishes, notes = with_length(wishes), [*said]
    tempo, key = facts.tempo, facts.key
    if wishes.tempo_bpm is None and tempo.bpm is not None and _is_playable(tempo.bpm):
        wishes = replace(wishes, tempo_bpm=round(tempo.bpm, 2))
        notes.append(f"goes on at the recording's {tempo.bpm:.1f} BPM")
    if wishes.key is None and key.name is not None:
        wishes = replace(wishes, key=Key.parse(key.name))
        notes.append(f"goes on in the recording's {key.name}")
    start = recording.duration_seconds
    if tempo.bpm is not None and wishes.tempo_bpm is not None:
        bars = facts.downbeats.times_seconds or ()
        if abs(wishes.tempo_bpm / tempo.bpm - 1) <= TEMPO_TOLERANCE:
            start = max((time for time in bars if time <= start), default=start)
    seconds = wishes.duration_seconds
    if seconds is not None:
        wishes = replace(wishes, duration_seconds=max(seconds - start, 1.0))
    score = arrange(wishes, request.seed)
    return Arranged(
        score,
        replace(wishes, duration_seconds=seconds),
        start + score.duration_seconds if seconds is None else seconds,
        tuple(notes),
        start_seconds=start,
    )


def _is_playable(bpm: float) -> bool:
    return MIN_TEMPO_BPM <= bpm <= MAX_TEMPO_BPM


def _own(request: Request, score: Score, notes: tuple[str, ...]) -> Arranged:
    for name in request.controls.to_dict():
        if name in _SCORED:
            raise ConfigError(
                f"--{name} is given with --from-score, and the score has its own; expected one of "
                "the two"
            )
    if request.loop_bars is not None:
        score = score.beginning(request.loop_bars)
    seconds = score.duration_seconds
    if seconds > MAX_DURATION_SECONDS:
        raise ConfigError(
            f"the score lasts {seconds:,.0f} s; expected {MAX_DURATION_SECONDS:g} s at most: cut it"
        )
    metre = f"{score.beats_per_bar}/4"
    wishes = replace(
        request.controls,
        genre=request.controls.genre or score.genre,
        tempo_bpm=score.tempo_bpm if _is_playable(score.tempo_bpm) else None,
        key=score.key,
        metre=metre if metre in METRES else None,
        duration_seconds=max(seconds, 1.0),
    )
    piece = Arranged(score, wishes, max(seconds, 1.0), notes)
    return piece if request.loop_bars is None else _loop(piece)


def told_controls(score: Score, wishes: Controls) -> Controls:
    """What a model that follows the score is told of it in words, as its training told it: what is
    played, whether it was asked for or not."""
    names = dict.fromkeys(track.instrument for track in score.tracks if track.notes)
    return Controls(
        genre=wishes.genre or score.genre,
        moods=wishes.moods,
        tempo_bpm=round(score.tempo_bpm, 2) if _is_playable(score.tempo_bpm) else None,
        key=score.key,
        instruments=tuple(name for name in names if name in INSTRUMENTS),
    )
