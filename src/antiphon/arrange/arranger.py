"""The arranger: plan, harmony and band, then every player through every section, then the feel."""

from __future__ import annotations

from antiphon.arrange.band import Player, cast
from antiphon.arrange.bass import play_bass
from antiphon.arrange.comping import play_chords, play_pad, play_riff
from antiphon.arrange.drums import play_drums
from antiphon.arrange.feel import Feel
from antiphon.arrange.figures import Tone
from antiphon.arrange.layers import choose_layers
from antiphon.arrange.melody import play_counter, play_melody, play_second
from antiphon.arrange.parts import Part, make_parts
from antiphon.arrange.plan import Plan, make_plan
from antiphon.controls import Controls
from antiphon.score import Score, Section, Track


def arrange(controls: Controls, seed: int) -> Score:
    """Write the score of a piece; the same controls and seed give the same score everywhere.

    Each choice has a random stream of its own, so that a changed control changes what it is about
    and leaves the rest: the same tune at another tempo, the same song without drums.

    Length: `bars` and `sections` are kept exactly (the flags `intro` and `ending` add four bars to
    `sections`, and lie inside `bars`). `duration_seconds` together with a tempo is met within half
    a bar; without a tempo, the tempo is fitted so that the last bar line is exactly there. No note
    rings past it.

    Raises ConfigError when all instruments are refused or the piece would be too long.
    """
    plan = make_plan(controls, seed)
    parts = make_parts(plan)
    players = cast(plan, controls)
    tones: dict[Player, list[Tone]] = {player: [] for player in players}
    for number, (part, layer) in enumerate(zip(parts, choose_layers(parts, players), strict=True)):
        for player, played in _play(part, number, layer).items():
            tones[player] += played
    pitched = any(player.role != "drums" for player in players)
    return Score(
        tempo_bpm=plan.tempo_bpm,
        beats_per_bar=plan.beats_per_bar,
        # Drums alone have neither key nor chords.
        key=plan.key if pitched else None,
        bars=plan.bars,
        sections=tuple(Section(part.label, part.start_bar, part.bars) for part in parts),
        chords=tuple(span for part in parts for span in part.chords) if pitched else (),
        tracks=_tracks(plan, tones),
        genre=plan.style.genre,
        seed=seed,
    )


def _tracks(plan: Plan, tones: dict[Player, list[Tone]]) -> tuple[Track, ...]:
    feel = Feel.of(plan)
    tracks: list[Track] = []
    for player, played in tones.items():
        rng = plan.stream("feel", player.role, player.desk)
        track = Track(
            instrument=player.instrument,
            program=player.program,
            notes=feel.perform(played, rng),
            is_drums=player.role == "drums",
            role=player.role,
            pan=player.pan,
            gain_db=player.gain_db,
        )
        if track.notes:
            tracks.append(track)
    return tuple(tracks)


def _play(part: Part, number: int, layer: list[Player]) -> dict[Player, list[Tone]]:
    """What each player of a part plays."""
    roles = [player.role for player in layer]
    # Without a bass the chords carry the roots, or else the pad.
    lowest = next((role for role in ("bass", "chords", "pad") if role in roles), None)
    played: dict[Player, list[Tone]] = {}
    for player in layer:
        with_roots = player.role == lowest and player.desk == 0
        match player.role:
            case "drums":
                played[player] = play_drums(part)
            case "bass":
                played[player] = play_bass(part, player)
            case "chords":
                played[player] = play_chords(part, player, with_roots=with_roots)
            case "pad":
                played[player] = play_pad(part, player, with_roots=with_roots)
            case "riff":
                played[player] = play_riff(part, player)
            case "counter":
                played[player] = play_counter(part, player)
            case "melody":
                pass
    return played | _play_tunes(part, number, layer)


def _play_tunes(part: Part, number: int, layer: list[Player]) -> dict[Player, list[Tone]]:
    """Several melody players take turns in leading; the others join in where it is full."""
    singers = [player for player in layer if player.role == "melody"]
    if not singers:
        return {}
    lead = singers[number % len(singers)]
    tune = play_melody(part, lead, solo=part.label == "solo")
    played = {lead: tune}
    if part.label in ("chorus", "ending") or part.is_last:
        for second in singers:
            if second is not lead:
                played[second] = play_second(part, second, tune)
    return played
