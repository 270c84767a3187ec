"""How well the composer that comes with the package does what it is told.

    python bench/run.py composer

Prompts of seeds, chords and motifs that it did not learn from, one sample each; beside every figure
the same for instruments that play the same scores, for these sounds as codes and back, and for the
composed ones against another score of the same genre. What needs a process of its own is in
composer_probes.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import yaml

import codec
from antiphon.analysis import measure
from antiphon.audio import Waveform, resample
from antiphon.compose.arranging import arranged
from antiphon.compose.choosing import choose, judge
from antiphon.compose.codecs import AudioCodec
from antiphon.compose.composer import PEAK_DBTP, Composer
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.requests import Request
from antiphon.controls import ENERGIES, GENRES, Controls
from antiphon.data.synthesizing import Recipe, write_piece
from antiphon.data.tunes import motif, opening_chords, tune_split
from antiphon.evaluate.circle import SECONDS, Asked, composed, energy_level, held_out_prompts
from antiphon.evaluate.statistics import Estimate, correlation_of, mean_of
from antiphon.facts import Facts
from antiphon.hearing import hear, load_composer
from antiphon.models.finding import packaged
from antiphon.score import Score
from antiphon.synth import FluidSynthPlayer, fit_length, render
from antiphon.threads import usable_cores
from composer_probes import first_sound, speed
from ear import BenchEar, Opinion, trained
from fonts import LEARNED, UNSEEN, font
from judging import chord_overlap, is_same_tempo, judge_key, judge_tempo
from report import Part, Row

PROMPTS = 14 * 15  # each genre as often
CANDIDATES, CHOSEN_PROMPTS = 4, 98
HAND_PROMPTS = Path(__file__).with_name("hand_prompts.yaml")
LEARNED_RECIPE = Recipe(30_000, 21, 12.0, 16_000, variation="light")  # of recipes/composer.sh
COMPARED_PIECES = 6000
SILENT_LUFS = -50.0
NOISE_FLATNESS, NOISE_HZ, NOISE_SECONDS = 0.3, (200, 7000), 0.5
NOISE_STEADY_DB, NOISE_BELOW_DB = 6.0, 20.0
NAMES = ("composed", "real", "codec", "chance")


@dataclass(frozen=True)
class Take:
    """One sound of a piece: what is measured in it, and what the listener hears."""

    facts: Facts
    drums: bool | None
    energy: float | None
    ends_in_noise: bool


@dataclass(frozen=True, eq=False)
class Takes:
    """The sounds of all pieces, one way."""

    every: Sequence[Take]
    opinion: Opinion


def run() -> Part:
    """All figures of the composer."""
    asked = list(held_out_prompts(PROMPTS))
    composer = load_composer()
    assert isinstance(composer.renderer, MusicGen), "the composer in the package"
    with tempfile.TemporaryDirectory() as name, processes() as pool:
        ear = trained(Path(name), [font(file) for file in (*LEARNED, UNSEEN)])
        real = list(played(asked))
        sounds = {
            "composed": list(composed(composer, [one.request for one in asked])),
            "real": real,
            "codec": [again(composer.renderer.codec, sound) for sound in real],
        }
        takes = {
            way: Takes(list(pool.map(take, some, chunksize=8)), ear.hear(some))
            for way, some in sounds.items()
        }
        rows = [
            *codec.codec_rows(),
            *obeyed_rows(asked, takes),
            genre_row(asked, takes, ear),
            *drum_rows(asked, takes),
            energy_row(asked, takes),
            *broken_rows(takes, sounds["composed"]),
            candidates_row(composer, asked[:CHOSEN_PROMPTS], takes["real"], pool),
            *hand_rows(composer, ear, pool),
            copies_row(asked),
        ]
    rows += speed_rows()
    notes = (
        f"{PROMPTS} prompts, each genre as often, in the words of captions, with seeds whose "
        f"scores open with chords of the test split; {SECONDS:.0f} s, one sample each, usual "
        "settings. Beside each figure its 95 % bootstrap interval; the same scores played by the "
        "instruments that the composer learned from (real); these sounds as codes and back "
        "(codec); and the composed sounds against another score of the same genre, for genre and "
        "energy against the wishes of any other prompt (chance). "
        "Tempo, key and chords are measured by `antiphon measure`, drums heard by the listener in "
        "the package; genre and energy by a network that is trained for this bench alone, on "
        f"other seeds, by the composer's soundfonts and one more. {codec.NOTES}"
    )
    return Part("composer", "The composer in the package", notes, rows)


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(usable_cores(), get_context("spawn"))


def played(asked: Sequence[Asked]) -> Iterator[Waveform]:
    """The scores by our own instruments and the three soundfonts in turn, mono at 16 kHz."""
    with ExitStack() as stack:
        fonts = [stack.enter_context(FluidSynthPlayer(font(file))) for file in LEARNED]
        players: list[Callable[[Score], Waveform]] = [render, *(one.render for one in fonts)]
        for number, one in enumerate(asked):
            # Each genre by all of them.
            play = players[(number + number // len(GENRES)) % len(players)]
            sound = fit_length(play(one.score), SECONDS)
            yield resample(sound.mono(), LEARNED_RECIPE.sample_rate)


def again(codec: AudioCodec, sound: Waveform) -> Waveform:
    """What is left of a sound when it was codes."""
    samples = codec.decode(codec.encode(sound.samples))[:, : sound.frames]
    return Waveform(samples, sound.sample_rate)


def take(sound: Waveform) -> Take:
    facts = measure(sound)
    heard = hear(sound, facts)
    drums = None if heard.drums is None else heard.drums.present
    return Take(facts, drums, energy_level(heard), ends_in_noise(sound))


def ends_in_noise(sound: Waveform) -> bool:
    """Whether its end is noise: flat in each frame (Wiener entropy), as no tone is, and steady, as
    no cymbal is, and not far below the whole."""
    samples = sound.samples.mean(0)
    last = samples[-round(NOISE_SECONDS * sound.sample_rate) :]
    frames = np.lib.stride_tricks.sliding_window_view(last, 1024)[::512] * np.hanning(1024)
    low, high = (round(hertz * 1024 / sound.sample_rate) for hertz in NOISE_HZ)
    power = np.abs(np.fft.rfft(frames))[:, low:high] ** 2 + 1e-12
    flatness = np.exp(np.log(power).mean(1)) / power.mean(1)
    level_db = 10 * np.log10((frames**2).mean(1) + 1e-12)
    below_db = 10 * np.log10((samples**2).mean() + 1e-12) - 10 * np.log10((last**2).mean() + 1e-12)
    is_steady = np.ptp(level_db) < NOISE_STEADY_DB and level_db.max() > SILENT_LUFS
    return bool(flatness.min() > NOISE_FLATNESS and is_steady and below_db < NOISE_BELOW_DB)


# --- tempo, key, chords


def obeyed_rows(asked: Sequence[Asked], takes: dict[str, Takes]) -> list[Row]:
    """What the score says, as it is measured."""

    def found(figure: Callable[[Score, Facts], float]) -> dict[str, Estimate]:
        return compared(asked, takes, lambda one, sound: figure(one.score, sound.facts))

    def tempo(name: str) -> dict[str, Estimate]:
        return found(lambda score, facts: judge_tempo(score, facts.tempo.bpm, 1.0)[name])

    def key(name: str) -> dict[str, Estimate]:
        return found(lambda score, facts: judge_key(score, facts.key.name)[name])

    strict, octave, exact, weighted = (
        tempo("tempo"),
        tempo("tempo octave"),
        key("key"),
        key("key weighted"),
    )
    chords = found(lambda score, facts: chord_overlap(cut(score), facts.chords, 1.0))
    return [
        row("codec alone: key exact", exact, "codec", at_least=0.78),
        row("codec alone: tempo within 4 %, octave-tolerant", octave, "codec", at_least=0.93),
        row("tempo within 4 %", strict, at_least=0.95 * value(strict["real"]), must=True),
        row("tempo within 4 %, octave-tolerant", octave, at_least=0.92, must=True),
        row("key exact", exact, at_least=0.92 * value(exact["real"]), must=True),
        row("key weighted (MIREX)", weighted, at_least=0.80, must=True),
        row("chords of the score heard (mir_eval, major and minor)", chords, at_least=0.70),
    ]


def cut(score: Score) -> Score:
    """What of a score sounds within the prompt's length."""
    return score.beginning(min(score.bars, int(np.ceil(score.seconds_to_bar(SECONDS)))))


def compared(
    asked: Sequence[Asked],
    takes: dict[str, Takes],
    figure: Callable[[Asked, Take], float | None],
) -> dict[str, Estimate]:
    """A figure for each way, over the pieces that have it; chance is by another score of the same
    genre."""
    others = shuffled_in_genre(asked)
    found = {}
    for name in NAMES:
        scores, way = (others, "composed") if name == "chance" else (asked, name)
        values = [figure(*pair) for pair in zip(scores, takes[way].every, strict=True)]
        found[name] = mean_of([one for one in values if one is not None])
    return found


def shuffled_in_genre(asked: Sequence[Asked]) -> list[Asked]:
    """For each piece another one of its genre: the next in an order that is drawn."""
    found = list(asked)
    for genre in GENRES:
        places = [n for n, one in enumerate(asked) if one.wishes.genre == genre]
        Random(genre).shuffle(places)
        for here, there in zip(places, [*places[1:], *places[:1]], strict=True):
            found[here] = asked[there]
    return found


def row(
    what: str,
    found: dict[str, Estimate],
    way: str = "composed",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    must: bool = False,
) -> Row:
    shown = found[way]
    beside = [f"{shown.low:.3f} to {shown.high:.3f} of {shown.count}"]
    beside += [f"{name} {value(one):.3f}" for name, one in found.items() if name != way]
    return Row(what, value(shown), "", at_least, at_most, None, must, "; ".join(beside))


def value(one: Estimate) -> float:
    assert one.value is not None, "some pieces have it"
    return one.value


# --- what is heard


def genre_row(asked: Sequence[Asked], takes: dict[str, Takes], ear: BenchEar) -> Row:
    truth = np.array([GENRES.index(str(one.wishes.genre)) for one in asked])
    found = {
        name: mean_of([float(one) for one in takes[name].opinion.genre == truth])
        for name in ("composed", "real", "codec")
    }
    others = np.random.default_rng(0).permutation(truth)
    found["chance"] = mean_of([float(one) for one in takes["composed"].opinion.genre == others])
    told = row("genre, by a classifier of its own", found, at_least=0.85, must=True)
    more = f"{told.beside}; the classifier on {ear.judged} other real pieces {ear.accuracy:.3f}"
    return replace(told, beside=more)


def drum_rows(asked: Sequence[Asked], takes: dict[str, Takes]) -> list[Row]:
    def heard(one: Asked, sound: Take, *, wanted: bool) -> float | None:
        refused = "drums" in one.wishes.without
        played = any(track.is_drums and track.notes for track in cut(one.score).tracks)
        is_case = (played and not refused) if wanted else refused
        # Where nothing was heard, neither wish is kept.
        there = bool(sound.drums) if wanted else sound.drums is not False
        return float(there) if is_case else None

    asked_for = compared(asked, takes, partial(heard, wanted=True))
    refused = compared(asked, takes, partial(heard, wanted=False))
    del asked_for["chance"], refused["chance"]  # of one genre most have drums
    return [
        row("drums heard when they are in the score", asked_for, at_least=0.95, must=True),
        row(
            "drums heard when refused", refused, at_most=value(refused["real"]) + 0.10, must=True
        ),
    ]  # fmt: skip


def energy_row(asked: Sequence[Asked], takes: dict[str, Takes]) -> Row:
    cases = [n for n, one in enumerate(asked) if one.wishes.energy is not None]
    wanted = [ENERGIES.index(str(asked[n].wishes.energy)) / 2 for n in cases]
    found = {
        name: correlation_of(wanted, some.opinion.energy[cases].tolist())
        for name, some in takes.items()
    }
    others = np.random.default_rng(0).permutation(wanted).tolist()
    found["chance"] = correlation_of(others, takes["composed"].opinion.energy[cases].tolist())
    by_listener = {
        name: correlation_of(
            *zip(
                *((w, e) for w, n in zip(wanted, cases, strict=True)
                  if (e := some.every[n].energy) is not None),
                strict=True,
            )
        )
        for name, some in takes.items()
    }  # fmt: skip
    told = row("energy, correlation", found, at_least=0.7)
    more = ", ".join(f"{name} {value(one):.3f}" for name, one in by_listener.items())
    return replace(told, beside=f"{told.beside}; by the listener in the package: {more}")


def broken_rows(takes: dict[str, Takes], composed: Sequence[Waveform]) -> list[Row]:
    def is_silent(sound: Take) -> bool:
        lufs = sound.facts.loudness.integrated_lufs
        return lufs is None or lufs < SILENT_LUFS

    kinds: dict[str, Callable[[Take], bool]] = {
        "silent": is_silent,
        "clipped": lambda sound: sound.facts.clipping.samples > 0,
        "ending in noise": lambda sound: sound.ends_in_noise,
    }
    ceiling = 10 ** (PEAK_DBTP / 20)
    turned = sum(bool(np.isclose(np.abs(one.samples).max(), ceiling)) for one in composed)
    more = {"clipped": f"; {turned} were turned down, as they would have been"}
    return [
        Row(
            f"pieces {kind}", sum(map(is_kind, takes["composed"].every)), at_most=0, must=True,
            digits=0, beside=f"real {sum(map(is_kind, takes['real'].every))}{more.get(kind, '')}",
        )
        for kind, is_kind in kinds.items()
    ]  # fmt: skip


# --- candidates, prompts by hand, copies


def candidates_row(
    composer: Composer,
    asked: Sequence[Asked],
    real: Takes,
    pool: ProcessPoolExecutor,
) -> Row:
    """Of several seeds of each prompt, and so of several scores, of chords of any split, the one
    that is kept."""
    tries = []
    for number in range(CANDIDATES):
        requests = [replace(one.request, seed=one.request.seed + number) for one in asked]
        plans = [composer.renderer.perform([request]).plans[0] for request in requests]
        sounds = composed(composer, requests)
        judged = pool.map(partial(judge, hear=hear), plans, sounds, chunksize=8)
        tries.append(list(zip(plans, judged, strict=True)))
    kept, first = [], []
    for candidates in zip(*tries, strict=True):
        obeying = [obeys(plan.score, one.facts) for plan, one in candidates if plan.score]
        kept.append(obeying[choose([one for _, one in candidates])])
        first.append(obeying[0])
    of_real = mean_of(
        [obeys(one.score, sound.facts) for one, sound in zip(asked, real.every, strict=False)]
    )
    shown = mean_of(kept)
    return Row(
        f"`--candidates {CANDIDATES}`: tempo within 4 % and key exact together", value(shown),
        at_least=value(of_real),
        beside=f"{shown.low:.3f} to {shown.high:.3f} of {shown.count}; the first alone "
        f"{np.mean(first):.3f}; real {value(of_real):.3f}",
    )  # fmt: skip


def obeys(score: Score, facts: Facts) -> float:
    """Whether both tempo and key are there."""
    tempo = judge_tempo(score, facts.tempo.bpm, 1.0)["tempo"]
    return tempo * judge_key(score, facts.key.name)["key"]


def hand_rows(composer: Composer, ear: BenchEar, pool: ProcessPoolExecutor) -> list[Row]:
    """Prompts that no template made."""
    asked = yaml.safe_load(HAND_PROMPTS.read_text(encoding="utf-8"))
    controls = Controls(duration_seconds=SECONDS)
    requests = [Request(one["prompt"], number, controls) for number, one in enumerate(asked)]
    sounds = list(composed(composer, requests))
    every = list(pool.map(take, sounds, chunksize=8))
    opinion = ear.hear(sounds)
    genres = [GENRES[number] for number in opinion.genre]
    understood = [arranged(request).wishes.genre for request in requests]
    genre = [float(one["genre"] == found) for one, found in zip(asked, genres, strict=True)]
    tempo = [
        float(is_same_tempo(sound.facts.tempo.bpm, one["tempo"]))
        for one, sound in zip(asked, every, strict=True)
        if "tempo" in one
    ]
    drums = [
        float(sound.drums == one["drums"])
        for one, sound in zip(asked, every, strict=True)
        if "drums" in one
    ]
    read = np.mean([one["genre"] == found for one, found in zip(asked, understood, strict=True)])
    rows = []
    for what, values, least, more in (
        ("genre", genre, 0.75, f"; understood in the words {read:.3f}"),
        ("tempo when said, within 4 %", tempo, 0.8, ""),
        ("drums when said", drums, 0.9, ""),
    ):
        shown = mean_of(values)
        beside = f"{shown.low:.3f} to {shown.high:.3f} of {shown.count}{more}"
        rows.append(
            Row(
                f"{len(asked)} prompts written by hand: {what}",
                value(shown),
                at_least=least,
                beside=beside,
            )
        )
    return rows


def copies_row(asked: Sequence[Asked]) -> Row:
    """How many of the scores are a piece that it learned from: both in the chords of the bars that
    they have in common, and in the first two bars of the melody."""
    pieces = [write_piece(LEARNED_RECIPE, number).score for number in range(COMPARED_PIECES)]
    learned = [score for score in pieces if tune_split(score) == "train"]
    by_motif: dict[str, list[str]] = {}
    for score in learned:
        by_motif.setdefault(motif(score), []).append(opening_chords(score))
    same_motif, copies = 0, 0
    for one in asked:
        others = by_motif.get(motif(one.score), []) if motif(one.score) else []
        chords = opening_chords(one.score)
        same_motif += bool(others)
        copies += any(chords.startswith(other) or other.startswith(chords) for other in others)
    return Row(
        "held-out scores that are a training piece in chords and motif", copies, digits=0,
        beside=f"of {len(asked)}, against {len(learned):,} of the 27,000; {same_motif} have the "
        "first two bars of one's melody, counted in intervals and sixteenths",
    )  # fmt: skip


# --- speed


def speed_rows() -> list[Row]:
    found, fresh = speed(), first_sound()
    size = sum(one.stat().st_size for one in packaged("composer").rglob("*") if one.is_file())
    return [
        Row(
            "one core, 8-bit: real-time factor, all included", found["factor"], at_most=0.15,
            must=True, beside=f"{found['seconds']:.0f} s composed, measured and heard in "
            f"{found['spent']:.2f} s, loaded before; composing alone "
            f"{found['composing_factor']:.3f}",
        ),
        Row("first audio", found["first_seconds"], " s", at_most=0.7, must=True, digits=2),
        Row(
            "memory of the process, at most", found["peak_mb"], " MB", at_most=400, must=True,
            digits=0,
        ),
        Row(
            "first sound after the install: a new process, nothing prepared", fresh, " s",
            at_most=10, digits=1,
        ),
        Row("size in the package", size / 1e6, " MB", at_most=20, digits=1),
    ]  # fmt: skip
