"""How well the trained listener that comes with the package hears, and what its texts say.

    python bench/run.py listener

Pieces are arranged and played here, of seeds that the listener did not learn from: by the
soundfonts it knows, and by one that it does not. What it takes in a process with one core is in
listener_probes.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

REPOSITORY = Path(__file__).parents[1]
for place in ("tests/listen", "tests"):  # where the checker of texts is
    sys.path.insert(0, str(REPOSITORY / place))

from stated_hearing import supported  # noqa: E402

from antiphon.analysis import measure  # noqa: E402
from antiphon.audio import Limits, Waveform  # noqa: E402
from antiphon.controls import ENERGIES, GENRES, INSTRUMENTS  # noqa: E402
from antiphon.data.manifest import Clip, read_manifest  # noqa: E402
from antiphon.data.not_music import HELD_OUT_KINDS, Kind, not_music  # noqa: E402
from antiphon.data.running import RunOptions  # noqa: E402
from antiphon.data.sounds.espeak import find_espeak  # noqa: E402
from antiphon.data.synthesizing import Recipe, synthesize  # noqa: E402
from antiphon.data.varying import Variation  # noqa: E402
from antiphon.description import Heard  # noqa: E402
from antiphon.listen.describer import describe  # noqa: E402
from antiphon.listen.ear import Ear, built_in_ear  # noqa: E402
from antiphon.listen.heads import MOMENT_SECONDS  # noqa: E402
from antiphon.listen.heard import (  # noqa: E402
    energy_confidences,
    genre_confidences,
    heard_in,
    instrument_confidences,
)
from antiphon.listen.phrases_heard import music_of  # noqa: E402
from antiphon.listen.prompts import load_prompt_set  # noqa: E402
from antiphon.listen.tagger import Moments, Tagger  # noqa: E402
from antiphon.score import Score  # noqa: E402
from antiphon.threads import usable_cores  # noqa: E402
from antiphon.train.calibrating import reliability_error  # noqa: E402
from antiphon.train.hearing import sounding_of  # noqa: E402
from antiphon.train.labels import UNKNOWN, labels_of  # noqa: E402
from fonts import KNOWN, UNSEEN, font  # noqa: E402
from report import Part, Row, Table  # noqa: E402

PROBES = Path(__file__).with_name("listener_probes.py")
PIECES, SECONDS, RATE = 560, 30.0, 16_000
SEED = 910_000  # no corpus has it
SHORT_SECONDS = 3.0
SHORTEST_MOMENTS = 25  # of an instrument, to be judged for when it sounds
LATE_SECONDS, NEAR_SECONDS = 4.0, 2.0
TEXTS = 1000
SOUNDS_PER_KIND = 40
REFUSED: tuple[Kind, ...] = ("speech", "applause", "noise", "tone", "silence")
RESAMPLES = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Music:
    """Pieces of one kind: what was heard in each, and what is true of it."""

    name: str
    paths: Sequence[Path]
    fonts: Sequence[str]
    instruments: Floats
    """Confidences [N, 22]."""
    instruments_truth: Floats
    genre: Floats
    genre_truth: NDArray[np.int64]
    energy: Floats
    energy_truth: NDArray[np.int64]
    moments: Sequence[Moments]
    sounding: Sequence[NDArray[np.bool_]]
    """Which of INSTRUMENTS sounds when, [750, 22] of each."""


def run() -> Part:
    """All figures of the trained listener."""
    ear = built_in_ear()
    tagger = Tagger(ear.folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = [font(file) for file in KNOWN]
        music = {
            "same": _music("same fonts", folder / "same", known, tagger, ear, "none"),
            "unseen": _music("unseen", folder / "unseen", [font(UNSEEN)], tagger, ear, "none"),
            "strong": _music("spoilt", folder / "strong", known, tagger, ear, "strong"),
        }
        rows = [
            *accuracy_rows(music),
            *calibration_rows(music),
            *passage_rows(music["same"], ear),
            *passage_rows(music["unseen"], ear),
            text_row(music["same"], ear),
            *refusal_rows(tagger, ear, music["same"]),
            *short_rows(music["same"], ear),
            *speed_rows(music["same"].paths[0]),
            size_row(ear.folder),
        ]
        tables = [_class_table(music), _font_table(music["same"]), _genre_table(music)]
    notes = (
        f"{PIECES} pieces of {SECONDS:.0f} s for each column, of seeds that the listener did not "
        "learn from: keys, tempi, motifs and orders of chords are drawn anew, from the same "
        "styles. Same fonts: "
        f"{', '.join(KNOWN)} and our own synth, played clean; unseen: {UNSEEN}, which "
        "no training has heard; spoilt: the same fonts as most of the training has them, with "
        "rooms, noise, bad encoders, other tunings and bands thinned out. Behind each figure is "
        "its 95 % bootstrap interval, and what the same answer to every piece would reach. An "
        "instrument counts as there when it sounds for .4 s or more."
    )
    return Part("listener", "The trained listener", notes, rows, tables)


def _music(
    name: str,
    folder: Path,
    fonts: Sequence[Path],
    tagger: Tagger,
    ear: Ear,
    variation: Variation,
) -> Music:
    """Play the pieces, and hear them."""
    own = ("synth",) if len(fonts) > 1 else ()
    recipe = Recipe(
        PIECES, SEED, SECONDS, RATE, renderers=(*own, "fluidsynth", "fluidsynth", "fluidsynth"),
        soundfonts=tuple(fonts), variation=variation,
    )  # fmt: skip
    synthesize(recipe, folder, RunOptions(usable_cores()))
    clips = read_manifest(folder / "manifest.parquet").clips
    heard = [tagger.listen(folder / clip.path) for clip in clips]
    sounding = [_sounding(folder, clip) for clip in clips]
    truths = [labels_of(*both) for both in zip(clips, sounding, strict=True)]
    return Music(
        name,
        [folder / clip.path for clip in clips],
        [str(clip.source).removeprefix("antiphon, ") for clip in clips],
        np.stack([instrument_confidences(one, ear.heads) for one in heard]).astype(float),
        np.stack([truth["tags"] for truth in truths]).astype(float),
        np.stack([genre_confidences(one, ear.heads) for one in heard]).astype(float),
        np.array([np.argmax(truth["genre"]) for truth in truths]),
        np.stack([energy_confidences(one, ear.heads) for one in heard]).astype(float),
        np.array([int(truth["energy"]) for truth in truths]),
        heard,
        sounding,
    )


def _sounding(folder: Path, clip: Clip) -> NDArray[np.bool_]:
    assert clip.score is not None, "synthesized"
    return sounding_of(Score.from_json((folder / clip.score).read_bytes()), SECONDS)


# --- what is heard


def accuracy_rows(music: Mapping[str, Music]) -> list[Row]:
    """Instruments, genre, drums and energy, for each column."""
    limits: dict[str, dict[str, float | None]] = {
        "same": {"micro": 0.76, "macro": 0.58, "genre": 0.83, "drums": 0.94, "energy": 0.80},
        "unseen": {"micro": 0.66, "macro": 0.45, "genre": 0.65, "drums": 0.92, "energy": 0.75},
        "strong": {},
    }
    rows = []
    for column, found in music.items():
        known = limits[column]
        for short, what, figure, constant in _figures(found):
            rows.append(
                Row(
                    f"{what}, {found.name}", figure(np.arange(PIECES)), "",
                    at_least=known.get(short), must=column != "strong" and short != "energy",
                    goal={"micro": 0.85, "macro": 0.70, "genre": 0.92}.get(short)
                    if column == "same" else None,
                    beside=f"{_interval(figure)}; a constant answer {constant:.3f}",
                )
            )  # fmt: skip
    return rows


def _figures(
    found: Music,
) -> list[tuple[str, str, Callable[[NDArray[np.int64]], float], float]]:
    """Short name, name, the figure for some of the pieces, and what a constant answer reaches."""
    truth, said = found.instruments_truth, found.instruments >= 0.5
    drums = INSTRUMENTS.index("drums")
    often = [truth[:, c][truth[:, c] != UNKNOWN].mean() for c in range(truth.shape[1])]
    best = max(
        (np.broadcast_to(np.argsort(np.argsort(often))[::-1] < n, truth.shape) for n in range(23)),
        key=lambda answer: f1(answer, truth),
    )
    drum_truth = truth[:, drums]

    def drum_accuracy(rows: NDArray[np.int64]) -> float:
        known = rows[drum_truth[rows] != UNKNOWN]
        return float((said[known, drums] == (drum_truth[known] == 1)).mean())

    def share(confidences: Floats, classes: NDArray[np.int64]) -> Callable[..., float]:
        right = confidences.argmax(1) == classes
        known = classes != UNKNOWN
        return lambda rows: float(right[rows][known[rows]].mean())

    genres = np.bincount(found.genre_truth, minlength=len(GENRES))
    energies = np.bincount(found.energy_truth[found.energy_truth >= 0], minlength=len(ENERGIES))
    present = float((drum_truth[drum_truth != UNKNOWN] == 1).mean())
    return [
        ("micro", "instruments, micro F1", lambda r: f1(said[r], truth[r]), f1(best, truth)),
        (
            "macro", "instruments, macro F1",
            lambda r: float(np.nanmean(f1_by_class(said[r], truth[r]))),
            float(np.nanmean(f1_by_class(np.ones_like(said), truth))),
        ),
        ("genre", "genre", share(found.genre, found.genre_truth), genres.max() / genres.sum()),
        ("drums", "drums present", drum_accuracy, max(present, 1 - present)),
        (
            "energy", "energy class", share(found.energy, found.energy_truth),
            energies.max() / energies.sum(),
        ),
    ]  # fmt: skip


def f1(said: NDArray[np.bool_], truth: Floats) -> float:
    """Over all instruments of all pieces together."""
    known = truth != UNKNOWN
    right = (said & (truth == 1) & known).sum()
    return float(2 * right / max((said & known).sum() + (truth == 1).sum(), 1))


def f1_by_class(said: NDArray[np.bool_], truth: Floats) -> Floats:
    """[C], nan where an instrument is in no piece."""
    found = [f1(said[:, [c]], truth[:, [c]]) for c in range(truth.shape[1])]
    there = (truth == 1).any(0)
    return np.where(there, found, np.nan)


def _interval(figure: Callable[[NDArray[np.int64]], float]) -> str:
    draws = np.random.default_rng(0)
    values = [figure(draws.integers(0, PIECES, PIECES)) for _ in range(RESAMPLES)]
    low, high = np.percentile(values, (2.5, 97.5))
    return f"{low:.3f} to {high:.3f}"


# --- how far confidences are to be believed


def calibration_rows(music: Mapping[str, Music]) -> list[Row]:
    """Expected calibration error over bins of equal width (Naeini et al. 2015)."""
    rows = []
    for column, limit in (("same", 0.05), ("unseen", 0.10), ("strong", None)):
        found = music[column]
        top = found.genre.max(1)
        right = found.genre.argmax(1) == found.genre_truth
        known = found.instruments_truth != UNKNOWN
        rows += [
            Row(
                f"calibration error, genre, {found.name}", reliability_error(top, right),
                at_most=limit, beside=f"mean confidence {top.mean():.3f}, right {right.mean():.3f}",
            ),
            Row(
                f"calibration error, instruments, {found.name}",
                reliability_error(
                    found.instruments[known], found.instruments_truth[known] == 1
                ),
                at_most=limit, beside=f"{known.sum():,} answers",
            ),
        ]  # fmt: skip
    return rows


def short_rows(found: Music, ear: Ear) -> list[Row]:
    """Confidence in 3 s out of the middle of the same pieces, against that in all of each."""
    start = (SECONDS - SHORT_SECONDS) / 2
    parts = [one.between(start, start + SHORT_SECONDS) for one in found.moments]
    genre = np.stack([genre_confidences(part, ear.heads) for part in parts])
    right = genre.argmax(1) == found.genre_truth
    fallen = float(found.genre.max(1).mean() - genre.max(1).mean())
    return [
        Row(
            f"genre confidence in {SHORT_SECONDS:.0f} s: how much lower it is", fallen,
            beside=f"{genre.max(1).mean():.3f} after {found.genre.max(1).mean():.3f}; "
            f"right {right.mean():.3f}, calibration error "
            f"{reliability_error(genre.max(1).astype(float), right):.3f}",
        )
    ]  # fmt: skip


# --- when instruments sound


def passage_rows(found: Music, ear: Ear) -> list[Row]:
    """Of instruments that are there and were heard: how far their passages are those of the score,
    in which rests of two seconds and more are none; and when those come in that come in late."""
    shared, late = [], []
    for moments, sounding in zip(found.moments, found.sounding, strict=True):
        heard = heard_in(moments, ear.heads, ())
        passages = {one.name: one.passages for one in heard.instruments}
        if heard.drums is not None:
            passages["drums"] = heard.drums.passages
        for number, name in enumerate(INSTRUMENTS):
            truth = np.flatnonzero(sounding[:, number])
            if not passages.get(name) or len(truth) < SHORTEST_MOMENTS:
                continue
            told = np.zeros(len(sounding), bool)
            for one in passages[name]:
                first, last = one.start_seconds / MOMENT_SECONDS, one.end_seconds / MOMENT_SECONDS
                told[round(first) : round(last)] = True
            there = _without_rests(truth, len(sounding))
            shared.append((told & there).sum() / (told | there).sum())
            start = passages[name][0].start_seconds
            if start >= LATE_SECONDS:
                late.append(abs(start - truth[0] * MOMENT_SECONDS) <= NEAR_SECONDS)
    return [
        Row(
            f"passages of instruments, shared part of all, {found.name}", float(np.mean(shared)),
            beside=f"{len(shared):,} instruments; of {len(late)} said to come in after "
            f"{LATE_SECONDS:.0f} s, {np.mean(late):.3f} do so within {NEAR_SECONDS:.0f} s",
        )
    ]  # fmt: skip


def _without_rests(moments: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    there = np.zeros(count, bool)
    for part in np.split(moments, np.flatnonzero(np.diff(moments) * MOMENT_SECONDS >= 2.0) + 1):
        there[part[0] : part[-1] + 1] = True
    return there


# --- texts


def text_row(found: Music, ear: Ear) -> Row:
    """Statements of texts that nothing heard or measured supports, by an independent checker."""
    kinds = {
        kind: prompt.max_words
        for name in ("standard", "short")
        for kind, prompt in load_prompt_set(name).kinds.items()
    }
    texts, wrong = 0, []
    for path in found.paths:
        facts = measure(path)
        heard = ear.hear(path, facts, Limits())
        for text in describe(facts, heard, kinds).values():
            wrong += [f"{path.name}: {statement}" for statement in supported(text, facts, heard)]
            texts += 1
        if texts >= TEXTS:
            break
    return Row(
        "texts of these pieces: statements that neither facts nor what was heard support",
        len(wrong), "", at_most=0, must=True, digits=0,
        beside=f"{texts:,} texts" + "".join(f"; {one}" for one in wrong[:2]),
    )  # fmt: skip


# --- what is no music


def refusal_rows(tagger: Tagger, ear: Ear, found: Music) -> list[Row]:
    espeak = find_espeak()
    if espeak is None:
        raise SystemExit("espeak-ng is not installed; apt-get install espeak-ng")
    rows, refused = [], []
    for kind in (*REFUSED, *HELD_OUT_KINDS):
        outcomes = []
        for number in range(SOUNDS_PER_KIND):
            draws = np.random.default_rng((SEED, number))
            source = _espeak_says(espeak.talk, draws) if kind == "speech" else None
            waveform = source or not_music(kind, 12.0, RATE, draws)
            outcomes.append(is_refused(heard_in(tagger.listen(waveform), ear.heads, ())))
        if kind in REFUSED:
            refused += outcomes
        rows.append((kind, float(np.mean(outcomes))))
    taken = np.mean([not is_refused(heard_in(one, ear.heads, ())) for one in found.moments])
    told = ", ".join(f"{kind} {share:.3f}" for kind, share in rows)
    return [
        Row(
            "espeak-ng speech, applause, noise, a tone, silence: not music, or not sure",
            float(np.mean(refused)), at_least=0.95, must=False,
            beside=f"{told}; {' and '.join(HELD_OUT_KINDS)} are in no training",
        ),
        Row("music of the same fonts taken for music, surely", float(taken)),
    ]  # fmt: skip


def _espeak_says(
    talk: Callable[[int, int, np.random.Generator], NDArray[np.float32]],
    draws: np.random.Generator,
) -> Waveform:
    return Waveform(talk(12 * RATE, RATE, draws)[None], RATE)


def is_refused(heard: Heard) -> bool:
    """Whether the texts would say that it is no music, or that this is not sure."""
    return music_of(heard) != "yes"


# --- time and room


def speed_rows(path: Path) -> list[Row]:
    told = json.loads(
        subprocess.run(
            [sys.executable, PROBES, path], capture_output=True, check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        ).stdout
    )  # fmt: skip
    return [
        Row(
            "one core, a clip of 30 s: five texts, decoding and measuring included",
            told["texts_seconds"], " s", at_most=1.0, must=True,
            beside=f"measuring alone {told['measure_seconds']:.3f} s; median of {told['rounds']}",
        ),
        Row(
            "of it, encoder and heads", told["heads_seconds"], " s", at_most=0.15, must=True,
            beside=f"log-mel {told['mel_seconds']:.3f} s; loading, once, "
            f"{told['loading_seconds']:.3f} s",
        ),
    ]  # fmt: skip


def size_row(folder: Path) -> Row:
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    return Row(
        "size in the package", sum(files.values()) / 1e6, " MB", at_most=5.0, must=True,
        beside=", ".join(f"{name} {size / 1e6:.2f}" for name, size in sorted(files.items())),
    )  # fmt: skip


# --- tables


def _class_table(music: Mapping[str, Music]) -> Table:
    header = ["instrument"]
    columns = []
    for found in music.values():
        said = found.instruments >= 0.5
        columns.append(
            (f1_by_class(said, found.instruments_truth), (found.instruments_truth == 1).sum(0))
        )
        header += [f"F1, {found.name}", "pieces"]
    rows = [
        [name, *(text for scores, counts in columns for text in _cells(scores[c], counts[c]))]
        for c, name in enumerate(INSTRUMENTS)
    ]
    return Table("Instruments one by one", header, rows)


def _cells(score: float, count: int) -> tuple[str, str]:
    return ("-" if np.isnan(score) else f"{score:.2f}"), str(count)


def _font_table(found: Music) -> Table:
    rows = []
    for name in sorted(set(found.fonts)):
        some = np.array([font_name == name for font_name in found.fonts])
        said = found.instruments[some] >= 0.5
        genre = found.genre[some].argmax(1) == found.genre_truth[some]
        truth = found.instruments_truth[some]
        rows.append([name, str(some.sum()), f"{f1(said, truth):.3f}", f"{genre.mean():.3f}"])
    return Table("By renderer", ("renderer", "pieces", "instruments, micro F1", "genre"), rows)


def _genre_table(music: Mapping[str, Music]) -> Table:
    rows = []
    for number, name in enumerate(GENRES):
        cells = [name]
        for found in music.values():
            some = found.genre_truth == number
            chosen = found.genre[some].argmax(1)
            wrong = np.bincount(chosen[chosen != number], minlength=len(GENRES))
            most = f", else {GENRES[wrong.argmax()]}" if wrong.any() else ""
            cells.append(f"{(chosen == number).mean():.2f} of {some.sum()}{most}")
        rows.append(cells)
    return Table("Genres one by one", ("genre", *(found.name for found in music.values())), rows)
