"""Arranged pieces with exact truth: score, controls and caption of each are known, not guessed; and
among them, where asked for, sounds that are not music.

Every piece is a pure function of the recipe, the seed and its number.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from antiphon import audio
from antiphon.arrange import arrange
from antiphon.audio import Waveform
from antiphon.audio.waveform import with_channels
from antiphon.controls import ENERGIES, GENRES, INSTRUMENTS, MOODS, Controls
from antiphon.data.manifest import Clip, relative_path, write_manifest
from antiphon.data.not_music import LOWEST_RATE, drawn_kind, not_music
from antiphon.data.running import Item, Record, Result, RunOptions, key_of, run_items
from antiphon.data.sounds.espeak import Espeak, find_espeak
from antiphon.data.tunes import piece_split, tune_group, tune_split
from antiphon.data.varying import (
    VARIATIONS,
    Form,
    Play,
    Variation,
    recorded,
    varied_score,
    varied_sound,
)
from antiphon.data.wording import write_caption
from antiphon.errors import ConfigError
from antiphon.files import atomic_write, storage_error
from antiphon.plain import read_json, write_json
from antiphon.score import Score
from antiphon.synth import FluidSynthPlayer, render

RENDERERS = ("synth", "fluidsynth")
MANIFEST_NAME, RECIPE_NAME = "manifest.parquet", "recipe.json"
LEDGER_NAME = ".synthesize.jsonl"
MAX_SECONDS = 600.0
_SHORT_SECONDS = 12.0
_FOLDER_SIZE = 1000  # pieces in one folder
_RECIPE_VERSION, _LIGHT_VERSION = (
    2,
    3,
)  # goes into every key: raise it when a seed gives another piece

# How often a piece is drawn with what; the rest is left to the arranger.
_WALTZES, _WITHOUT_DRUMS, _REFUSALS, _WISHES = 0.15, 0.35, 0.1, 0.3
_STRONG_WISHES = 0.7
_MOODS, _ENERGIES, _INTROS, _ENDINGS = 0.5, 0.6, 0.2, 0.2
# A piece for composers goes on beyond its sound, by so much of it at most, and one with an ending
# comes to it earlier: else its tempo would be one of the few whose bars fill the length.
_LONGEST, _EARLIEST = 2.5, 0.75
_ANY_TEMPO = 0.15
_ANY_TEMPO_BPM = (50.0, 190.0)
_LATEST_SECONDS = 0.3  # before the end of the sound: what begins later is not heard


@dataclass(frozen=True)
class Recipe:
    """What a corpus is made by. Raises ConfigError for what cannot be made.

    Pieces last `seconds` exactly. `genres` are drawn from evenly, and for each piece one of
    `renderers`; FluidSynth draws one of the `soundfonts`, or takes this machine's own. `variation`
    is how far the sounds differ from each other: `light` for models that compose, of all tempi,
    held out by their opening chords; `strong`, with thinned bands and bad recordings, for models
    that listen. The share `not_music` of the pieces
    is no music; the others are what they are without it.
    """

    count: int
    seed: int = 0
    seconds: float = 30.0
    sample_rate: int = 32_000
    channels: int = 1
    renderers: tuple[str, ...] = ("synth",)
    soundfonts: tuple[Path, ...] = ()
    variation: Variation = "none"
    genres: tuple[str, ...] = GENRES
    not_music: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"count is {self.count}; expected 1 or more pieces")
        if not 2.0 <= self.seconds <= MAX_SECONDS:
            raise ConfigError(f"a piece lasts {self.seconds:g} s; expected 2 to {MAX_SECONDS:g} s")
        if self.channels not in (1, 2):
            raise ConfigError(f"channels is {self.channels}; expected 1 or 2")
        for genre in self.genres:
            if genre not in GENRES:
                raise ConfigError(f"genre {genre!r} is not known; expected some of {GENRES}")
        for renderer in self.renderers:
            if renderer not in RENDERERS:
                raise ConfigError(
                    f"renderer is {renderer!r}; expected one of {', '.join(RENDERERS)}"
                )
        if self.variation not in VARIATIONS:
            raise ConfigError(
                f"variation is {self.variation!r}; expected one of {', '.join(VARIATIONS)}"
            )
        if self.soundfonts and "fluidsynth" not in self.renderers:
            raise ConfigError("a soundfont is for FluidSynth; expected the renderer fluidsynth")
        if not 0.0 <= self.not_music <= 1.0:
            raise ConfigError(f"the share that is not music is {self.not_music:g}; expected 0 to 1")
        if self.not_music and self.sample_rate < LOWEST_RATE:
            raise ConfigError(
                f"sample_rate is {self.sample_rate} Hz; expected {LOWEST_RATE} Hz or more for "
                "sounds that are not music"
            )


@dataclass(frozen=True)
class Piece:
    """One piece before it is played: its score, what is true of it, and its caption."""

    score: Score
    truth: Controls
    caption: str


def synthesize(recipe: Recipe, folder: Path, options: RunOptions) -> Result:
    """Play the pieces of `recipe` into `folder`: FLAC files, each with its score, and a manifest.

    The same call again makes what is missing; a larger count adds to what is there.
    Raises ConfigError for a folder of another recipe, StorageError (DiskFullError), DependencyError
    where FluidSynth is not installed, EngineError for an espeak-ng that does not run.
    """
    espeak = find_espeak() if recipe.not_music else None
    made_by = _made_by(recipe, espeak)
    items = [
        Item(key_of("synthesize", made_by, number), f"piece {number}", number)
        for number in range(recipe.count)
    ]
    _require_same_recipe(folder, made_by)

    def still_there(item: Item[int], record: Record) -> bool:
        paths = [record[name] for name in ("path", "score") if record[name] is not None]
        return all((folder / str(path)).is_file() for path in paths)

    work = _Playing(recipe, folder, espeak)
    result = run_items(items, work, folder / LEDGER_NAME, options, still_there)
    if result.is_complete:
        clips = []
        for item, outcome in zip(items, result.outcomes, strict=True):
            if outcome is None or outcome.record is None:
                continue
            clip = read_json(Clip, write_json(outcome.record), "ledger")
            if recipe.variation != "light":
                # By number again: an earlier version may have written the ledger, with other
                # splits, and without a word on what is music.
                split, music = piece_split(item.payload), is_music(recipe, item.payload)
                clip = replace(clip, split=split, music=music)
            clips.append(clip)
        write_manifest(folder / MANIFEST_NAME, clips)
    return result


def _made_by(recipe: Recipe, espeak: Espeak | None) -> dict[str, object]:
    """What the pieces depend on, but for their numbers."""
    version = _LIGHT_VERSION if recipe.variation == "light" else _RECIPE_VERSION
    made_by: dict[str, object] = {**asdict(recipe), "count": None, "version": version}
    if recipe.not_music:
        # Another speaker, other sounds.
        return {**made_by, "espeak": None if espeak is None else espeak.version}
    # As before there was such a share: corpora of then can be added to.
    del made_by["not_music"]
    return made_by


def _require_same_recipe(folder: Path, made_by: Mapping[str, object]) -> None:
    """Raise ConfigError for a folder with pieces that were made by another recipe."""
    path = folder / RECIPE_NAME
    said = json.dumps(made_by, default=str, indent=1) + "\n"
    try:
        there = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, said.encode())
        return
    except OSError as error:
        raise storage_error("read", path, error) from error
    if there != said:
        raise ConfigError(
            f"{folder} holds pieces that were made another way ({path.name} says how); expected "
            "the same seed, length, rate, renderer, genres, share that is not music, and espeak-ng "
            "for that, or another folder"
        )


def is_music(recipe: Recipe, number: int) -> bool:
    """Whether piece `number` is music; what is not stays so where the share is larger."""
    return Random(f"{recipe.seed} {number} music").random() >= recipe.not_music


def write_piece(recipe: Recipe, number: int) -> Piece:
    """Draw the wishes of piece `number`, write its score and say what is true of it."""
    name = f"{recipe.seed} {number}"
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest())
    rng = Random(seed)
    wishes = _wishes(recipe, rng)
    score = varied_score(arrange(wishes, seed), recipe.variation, Random(f"{name} players"))
    if recipe.variation == "light":
        # A tuning may make it last a little less.
        score = score.beginning(math.ceil(score.seconds_to_bar(1.01 * recipe.seconds)))
    end = score.seconds_to_beat(recipe.seconds - _LATEST_SECONDS)
    heard = [t for t in score.tracks if any(note.start_beat < end for note in t.notes)]
    instruments = tuple(dict.fromkeys(track.instrument for track in heard))
    has_drums = any(track.is_drums for track in heard)
    truth = replace(
        wishes,
        duration_seconds=recipe.seconds,
        tempo_bpm=round(score.tempo_bpm, 2),
        key=score.key,
        metre=f"{score.beats_per_bar}/4",
        instruments=tuple(name for name in instruments if name in INSTRUMENTS),
        # Drums that are not there are true of it, whether somebody refused them or not.
        without=wishes.without if has_drums else tuple(dict.fromkeys((*wishes.without, "drums"))),
        intro=False,
        ending=False,
    )
    told = replace(
        truth,
        tempo_bpm=round(score.tempo_bpm),
        metre=truth.metre if score.beats_per_bar == 3 or rng.random() < 0.2 else None,
        instruments=tuple(name for name in truth.instruments if name != "drums"),
    )
    return Piece(score, truth, write_caption(told, rng))


def _wishes(recipe: Recipe, rng: Random) -> Controls:
    genre = rng.choice(recipe.genres)
    pitched = [name for name in INSTRUMENTS if name != "drums"]
    # For models that listen, so that the rare ones are heard often.
    chance, most = (_STRONG_WISHES, 3) if recipe.variation == "strong" else (_WISHES, 2)
    wanted = rng.sample(pitched, rng.randint(1, most)) if rng.random() < chance else []
    refused = ["drums"] if rng.random() < _WITHOUT_DRUMS else []
    if rng.random() < _REFUSALS:
        refused += [rng.choice([name for name in pitched if name not in wanted])]
    # Energetic is what energy says.
    moods = [mood for mood in MOODS if mood != "energetic"]
    wishes = Controls(
        genre=genre,
        moods=tuple(rng.sample(moods, 1)) if rng.random() < _MOODS else (),
        metre="3/4" if rng.random() < _WALTZES else None,
        instruments=tuple(wanted),
        without=tuple(refused),
        energy=rng.choice(ENERGIES) if rng.random() < _ENERGIES else None,
        duration_seconds=recipe.seconds,
        # In a short piece there is no bar for them.
        intro=rng.random() < _INTROS and recipe.seconds >= _SHORT_SECONDS,
        ending=rng.random() < _ENDINGS and recipe.seconds >= _SHORT_SECONDS,
    )
    if recipe.variation != "light":
        return wishes
    low, high = (_EARLIEST, 1.0) if wishes.ending else (1.0, _LONGEST)
    return replace(
        wishes,
        duration_seconds=recipe.seconds * rng.uniform(low, high),
        tempo_bpm=round(rng.uniform(*_ANY_TEMPO_BPM)) if rng.random() < _ANY_TEMPO else None,
    )


@dataclass(frozen=True)
class _Playing:
    """The work of `synthesize`, as a worker is given it."""

    recipe: Recipe
    folder: Path
    espeak: Espeak | None

    def open(self) -> Callable[[int], Record]:
        rate = self.recipe.sample_rate
        players: list[tuple[str, list[Play]]] = []
        kept = ExitStack()  # to the end of the process
        for renderer in self.recipe.renderers:
            if renderer == "synth":
                players.append((renderer, [partial(render, sample_rate=rate)]))
                continue
            fonts = [
                kept.enter_context(FluidSynthPlayer(font))
                for font in self.recipe.soundfonts or (None,)
            ]
            players.append((renderer, [partial(font.render, sample_rate=rate) for font in fonts]))

        def make(number: int) -> Record:
            if is_music(self.recipe, number):
                return self._play(number, players)
            return self._sound(number)

        return make

    def _play(self, number: int, players: list[tuple[str, list[Play]]]) -> Record:
        recipe = self.recipe
        piece = write_piece(recipe, number)
        score_path = self._stem(number).with_suffix(".score.json")
        rng = Random(f"{recipe.seed} {number} sound")
        renderer, plays = rng.choice(players)
        form = Form(recipe.seconds, recipe.sample_rate, recipe.channels)
        waveform = varied_sound(piece.score, plays, form, recipe.variation, rng)
        atomic_write(score_path, piece.score.to_json().encode())
        clip = replace(
            self._clip(number, renderer, waveform),
            caption=piece.caption,
            controls=piece.truth.to_dict(),
            source=f"antiphon, {renderer}",
            score=relative_path(score_path, self.folder),
            music=True,
        )
        if recipe.variation == "light":
            clip = replace(clip, split=tune_split(piece.score), group=tune_group(piece.score))
        return asdict(clip)

    def _sound(self, number: int) -> Record:
        """A sound that is not music, recorded as the music is."""
        recipe = self.recipe
        rng = Random(f"{recipe.seed} {number} not music")
        draws = np.random.default_rng(rng.getrandbits(64))
        kind = drawn_kind(is_test=piece_split(number) == "test", draws=draws)
        sound = not_music(kind, recipe.seconds, recipe.sample_rate, draws, self.espeak)
        waveform = Waveform(with_channels(sound.samples, recipe.channels), recipe.sample_rate)
        if kind != "silence":  # of which a level would make noise
            waveform = recorded(waveform, recipe.variation, rng)
        clip = replace(
            self._clip(number, "not-music", waveform),
            caption=f"{kind}, not music",
            source=f"synthesized: {kind}",
            music=False,
        )
        return asdict(clip)

    def _clip(self, number: int, maker: str, waveform: Waveform) -> Clip:
        """Write the sound of a piece; what is known of any piece."""
        recipe = self.recipe
        path = self._stem(number).with_suffix(".flac")
        audio.write(path, waveform)
        return Clip(
            id=f"{maker}-{recipe.seed}-{number:06}",
            path=relative_path(path, self.folder),
            content=hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest(),
            seconds=recipe.seconds,
            sample_rate=recipe.sample_rate,
            channels=recipe.channels,
            split=piece_split(number),
            group=f"synthesized:{recipe.seed}:{number}",
            caption_source="synthesized",
            licence="CC0-1.0",
        )

    def _stem(self, number: int) -> Path:
        stem = self.folder / f"{number // _FOLDER_SIZE:03}" / f"{number:06}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        return stem
