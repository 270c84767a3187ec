"""The arranger: plan, harmony and band, then every player through every section, then the feel."""

from __future__ import annotations

from antiphon.arrange.band import Player, cast
from antiphon.arrange.bass import play_bass
from antiphon.arrange.comping import play_chords, play_pad, play_riff
from antiphon.arrange.drums import play_drums
from antiphon.arrange.feel import Feel
from antiphon.arrange.figures import Tone, stream
from antiphon.arrange.melody import play_melody
from antiphon.arrange.parts import Part, make_parts
from antiphon.arrange.plan import make_plan
from antiphon.controls import Controls
from antiphon.score import ChordSpan, Score, Section, Track


def arrange(controls: Controls, seed: int) -> Score:
    """Write the score of a piece; the same controls and seed give the same score everywhere.

    Each choice has a random stream of its own, so a changed control changes what it is about and
    leaves the rest: the same tune at another tempo, the same song without drums.

    Length: `bars` and `sections` are kept exactly (the flags `intro` and `ending` add four bars to
    `sections`, and lie inside `bars`). `duration_seconds` with a tempo ends within half a bar of
    it; without a tempo the tempo is fitted so that the last bar line is exactly there. No note
    rings past it.

    Raises ConfigError when all instruments are refused or the piece would be too long.
    """
    plan = make_plan(controls, seed)
    parts = make_parts(plan)
    players = cast(plan, controls, stream(seed, "band"))
    feel = Feel.of(plan)
    tracks = []
    for number, player in enumerate(players):
        tones = [tone for part in parts for tone in _play(part, player, players)]
        rng = stream(seed, "feel", player.role, number)
        tracks.append(
            Track(
                instrument=player.instrument,
                program=player.program,
                notes=feel.perform(tones, player, rng),
                is_drums=player.role == "drums",
                role=player.role,
                pan=player.pan,
                gain_db=player.gain_db,
            )
        )
    return Score(
        tempo_bpm=plan.tempo_bpm,
        beats_per_bar=plan.beats_per_bar,
        key=plan.key,
        bars=plan.bars,
        sections=tuple(Section(part.label, part.start_bar, part.bars) for part in parts),
        chords=_all_chords(parts),
        tracks=tuple(track for track in tracks if track.notes),
        genre=plan.style.genre,
        seed=seed,
    )


def _all_chords(parts: tuple[Part, ...]) -> tuple[ChordSpan, ...]:
    return tuple(span for part in parts for span in part.chords)


def _play(part: Part, player: Player, players: tuple[Player, ...]) -> list[Tone]:
    if not _is_in(part, player):
        return []
    roles = [other.role for other in players]
    # Without a bass, the chords (or else the pad) carry the roots.
    lowest = next((role for role in ("bass", "chords", "pad") if role in roles), None)
    if player.role == "drums":
        return play_drums(part)
    if player.role == "bass":
        return play_bass(part, player)
    if player.role == "chords":
        return play_chords(part, player, with_bass=lowest != "chords")
    if player.role == "pad":
        return play_pad(part, player, with_bass=lowest != "pad")
    if player.role == "riff":
        return play_riff(part, player)
    return play_melody(part, player, dense=part.label == "solo")


def _is_in(part: Part, player: Player) -> bool:
    """Who plays in which section."""
    if player.role in ("bass", "chords", "drums"):
        return True
    if player.role == "melody":
        return part.label != "intro"
    if player.role == "pad":
        return part.label in ("chorus", "bridge", "ending", "intro")
    if player.role == "riff":
        return part.label in ("chorus", "solo", "intro", "verse")
    return part.label in ("chorus", "solo")
