"""How often `antiphon.measure` is right: on the reporting pieces, and on degraded sound.

    python bench/accuracy.py --pieces 28

Every piece is rendered, measured through the public function and forgotten. On a part of them the
same is done after each degradation, and librosa hears what we hear.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import degrade
import judging
import peer
import pieces
from antiphon.analysis import measure
from antiphon.controls import GENRES
from report import Part, Row, Table

CLEAN = "clean"
COMPARED = 4 * len(GENRES)  # pieces that are degraded too, and heard by librosa
RAW = Path("runs/bench/accuracy.json")  # every score of every piece, to look into


@dataclass(frozen=True)
class Result:
    """Scores of one piece by condition: `clean`, or a name of degrade.DEGRADATIONS."""

    plan: pieces.Plan
    ours: dict[str, judging.Scores]
    librosa: dict[str, judging.Scores]


def hear(plan: pieces.Plan, is_compared: bool) -> Result:
    """Render one piece and judge everything that is asked of it."""
    score = pieces.make_score(plan)
    waveform = pieces.render(plan, score)
    conditions = {CLEAN: degrade.clean}
    if is_compared:
        conditions |= degrade.DEGRADATIONS
    result = Result(plan, {}, {})
    for name, change in conditions.items():
        heard = change(waveform, np.random.default_rng(plan.seed))
        result.ours[name] = judging.judge(score, measure(heard.waveform), heard.speed)
        if is_compared:
            result.librosa[name] = judging.judge_peer(
                score, peer.listen(heard.waveform), heard.speed
            )
    if is_compared:
        outline = peer.outline(waveform, score.beats_per_bar, len(score.sections))
        more = judging.judge_outline(
            score, outline.chords, outline.downbeats_seconds, outline.sections, speed=1.0
        )
        result.librosa[CLEAN] = {**result.librosa[CLEAN], **more}
    return result


def hear_all(plans: Sequence[pieces.Plan], compared: int) -> list[Result]:
    """All pieces, on processes of one thread each; the first `compared` in all conditions."""
    is_compared = [number < compared for number in range(len(plans))]
    with peer.worker_pool() as pool:
        return list(pool.map(hear, plans, is_compared))


def mean(scores: Sequence[judging.Scores], name: str) -> float:
    return float(np.mean([score[name] for score in scores]))


def run(piece_count: int | None = None) -> Part:
    """The table of accuracy; fewer pieces than all are for trying this file out."""
    started = time.monotonic()
    plans = pieces.reporting_plans()[:piece_count]
    results = hear_all(plans, min(COMPARED, len(plans)))
    RAW.parent.mkdir(parents=True, exist_ok=True)
    RAW.write_text(json.dumps([asdict(result) for result in results]), encoding="utf-8")
    compared = [result for result in results if result.librosa]
    notes = (
        f"{len(results)} arranged pieces in {len(GENRES)} genres, each genre on both soundfonts "
        f"({' and '.join(pieces.SOUNDFONTS)}) through FluidSynth; none of their seeds was used "
        f"for tuning. {len(compared)} of them were degraded as well, and heard by librosa "
        "(`beat_track`; `chroma_cens` with the profiles of Albrecht and Shanahan; chords by triad "
        "templates on the harmonic part's `chroma_cqt` between its beats, and Viterbi; told the "
        "metre, downbeats on the strongest of its beats; told how many sections there are, their "
        "edges by clustering). What was not "
        "measured counts as wrong. 35 cents detuned means played 2 % faster, tempo and all; "
        f"the noise is pink; the reverb lasts {degrade.REVERB_RT60_SECONDS} s, as loud as the dry "
        f"sound. Took {(time.monotonic() - started) / 60:.0f} min on {peer.WORKERS} processes."
    )
    return Part(
        "accuracy",
        "Accuracy",
        notes,
        rows=[*clean_rows(results, compared), *degraded_rows(compared)],
        tables=[
            groups_table("By genre", results, lambda result: result.plan.genre),
            groups_table("By soundfont", results, lambda result: result.plan.soundfont),
            conditions_table(compared),
        ],
    )


def clean_rows(results: Sequence[Result], compared: Sequence[Result]) -> list[Row]:
    ours = [result.ours[CLEAN] for result in results]
    jazz = [result.ours[CLEAN] for result in results if result.plan.genre == "jazz"]

    def on_same(name: str, genre: str | None = None) -> str:
        both = [result for result in compared if genre in (None, result.plan.genre)]
        theirs = mean([result.librosa[CLEAN] for result in both], name)
        our_own = mean([result.ours[CLEAN] for result in both], name)
        return f"on {len(both)} of them librosa {theirs:.3f}, ours {our_own:.3f}"

    common = max(mean(ours, "is 4/4"), 1 - mean(ours, "is 4/4"))
    return [
        Row("tempo within 4 %", mean(ours, "tempo"), at_least=0.82, goal=0.95, must=True,
            beside=on_same("tempo")),
        Row("tempo within 4 %, octave-tolerant", mean(ours, "tempo octave"), at_least=0.96,
            goal=0.99, must=True, beside=on_same("tempo octave")),
        Row("key exact", mean(ours, "key"), at_least=0.85, goal=0.93, must=True,
            beside=on_same("key")),
        Row("key, mir_eval weighted", mean(ours, "key weighted"), at_least=0.90, goal=0.96,
            must=True, beside=on_same("key weighted")),
        Row("chords major/minor, mir_eval weighted", mean(ours, "chords"), at_least=0.90,
            beside=on_same("chords")),
        Row("the same in jazz (swing)", mean(jazz, "chords"), at_least=0.65,
            beside=on_same("chords", "jazz")),
        Row("metre", mean(ours, "metre"), at_least=0.95,
            beside=f"always the commoner one: {common:.3f}"),
        Row("beat F at 70 ms", mean(ours, "beats"), beside=on_same("beats")),
        Row("downbeat F at 70 ms", mean(ours, "downbeats"), at_least=0.80,
            beside=on_same("downbeats")),
        Row("section boundary F at 3 s", mean(ours, "sections 3 s"), at_least=0.67,
            beside=on_same("sections 3 s")),
        Row("section boundary F at 0.5 s", mean(ours, "sections 0.5 s"),
            beside=on_same("sections 0.5 s")),
        Row("the same at 3 s without first and last edge", mean(ours, "inner edges 3 s"),
            beside=on_same("inner edges 3 s")),
    ]  # fmt: skip


def degraded_rows(compared: Sequence[Result]) -> list[Row]:
    """Tempo and key under each degradation; librosa heard the same sound."""
    rows = []
    for condition in degrade.DEGRADATIONS:
        ours = [result.ours[condition] for result in compared]
        librosa = [result.librosa[condition] for result in compared]
        for what, name in (
            ("tempo octave-tolerant", "tempo octave"),
            ("key weighted", "key weighted"),
        ):
            peer = f"librosa: {mean(librosa, name):.3f}"
            rows.append(Row(f"{condition}: {what}", mean(ours, name), at_least=0.86, beside=peer))
    return rows


SHOWN = (
    "tempo", "tempo octave", "key", "key weighted", "chords", "metre", "beats", "downbeats",
    "sections 3 s",
)  # fmt: skip


def scores_line(label: str, scores: Sequence[judging.Scores]) -> list[str]:
    shown = (f"{mean(scores, name):.2f}" if name in scores[0] else "" for name in SHOWN)
    return [label, str(len(scores)), *shown]


def groups_table(title: str, results: Sequence[Result], group: Callable[[Result], str]) -> Table:
    groups: dict[str, list[judging.Scores]] = {}
    for result in results:
        groups.setdefault(group(result), []).append(result.ours[CLEAN])
    rows = [scores_line(label, scores) for label, scores in groups.items()]
    return Table(title, ("", "pieces", *SHOWN), rows)


def conditions_table(compared: Sequence[Result]) -> Table:
    """Clean and degraded, ours and librosa's, all on the same pieces."""
    rows = []
    for condition in (CLEAN, *degrade.DEGRADATIONS):
        rows.append(scores_line(condition, [result.ours[condition] for result in compared]))
        peers = [result.librosa[condition] for result in compared]
        rows.append(scores_line(f"{condition}, librosa", peers))
    return Table("Clean and degraded, on the same pieces", ("", "pieces", *SHOWN), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", type=int, help="only the first so many; nothing is written")
    print(run(parser.parse_args().pieces).markdown())


if __name__ == "__main__":
    main()
