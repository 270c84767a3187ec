"""`antiphon arrange`: what is asked for, as a score and its sound."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon import __version__
from antiphon.cli import console, summary, wishes
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.controls import Controls
    from antiphon.score import Score

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon arrange --genre jazz --tempo 140 --key 'Bb major' --bars 32 --output swing.wav\n"
    "    antiphon arrange --genre house --sections intro:8,verse:16,ending:8 --midi house.mid\n"
    "    antiphon arrange --mood calm --without drums --duration 60 --seed 7 --output calm.flac"
)
_OPUS_RATE = 48_000  # Hz; Opus knows no 44,100


def arrange(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The sound: .wav, .flac, .mp3, .ogg or .opus."),
    ] = None,
    midi: Annotated[Path | None, typer.Option(metavar="FILE", help="The notes: .mid.")] = None,
    score_file: Annotated[
        Path | None, typer.Option("--score", metavar="FILE", help="The score: .json.")
    ] = None,
    genre: wishes.Genre = None,
    mood: wishes.Mood = None,
    tempo: wishes.Tempo = None,
    key: wishes.KeyName = None,
    metre: wishes.Metre = None,
    instruments: wishes.Instruments = None,
    without: wishes.Without = None,
    energy: wishes.Energy = None,
    duration: wishes.Duration = None,
    bars: wishes.Bars = None,
    sections: wishes.Sections = None,
    intro: wishes.Intro = False,
    ending: wishes.Ending = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed gives the same piece; else random.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was made, as JSON.")] = False,
) -> None:
    """Write a piece by musical rules and play it on the built-in instruments.

    What is not asked for is chosen by the style and the seed. With none of --output, --midi and
    --score the sound goes to GENRE-SEED.wav in the current folder.
    """
    given = wishes.control_options(locals())
    console.start(context)
    from antiphon.arrange import arrange as write_score
    from antiphon.controls import Controls
    from antiphon.score import drawn_seed

    controls = Controls.from_options(given)
    score = write_score(controls, drawn_seed() if seed is None else seed)
    if output is None and midi is None and score_file is None:
        output = unused(Path(f"{score.genre or 'piece'}-{score.seed}.wav"))
    files = {"output": output, "midi": midi, "score": score_file}
    check_apart(files)
    # The sound first: it is what can fail, by its format or for want of space.
    seconds = score.duration_seconds if output is None else play_to(output, score, controls)
    if midi is not None:
        from antiphon.midi import write_midi

        write_midi(score, midi)
    if score_file is not None:
        from antiphon.files import atomic_write

        atomic_write(score_file, score.to_json().encode())

    written = {name: str(path) for name, path in files.items() if path is not None}
    if as_json:
        made = {"requested": controls.to_dict(), "made": _made(score), "seconds": seconds}
        console.print_json(json.dumps({"files": written, "seed": score.seed, **made}))
    else:
        console.print_text("\n".join([*score_lines(score, seconds), *written.values()]))


def play_to(path: Path, score: Score, controls: Controls) -> float:
    """Play `score` into the file `path`, which says what it was made from; its seconds.

    A duration that was asked for is kept to the sample.
    """
    from antiphon.audio import write
    from antiphon.synth import fit_length, render

    waveform = render(score, sample_rate=_OPUS_RATE if path.suffix.lower() == ".opus" else 44_100)
    if controls.duration_seconds is not None:
        waveform = fit_length(waveform, controls.duration_seconds)
    made_by = {"software": f"antiphon {__version__}", "seed": score.seed, **controls.to_dict()}
    write(path, waveform, metadata={"genre": score.genre or "", "comment": json.dumps(made_by)})
    return waveform.duration_seconds


def score_lines(score: Score, seconds: float) -> list[str]:
    """What the piece is, for people."""
    key = "no key" if score.key is None else score.key.name
    return [
        f"{score.genre}, {score.tempo_bpm:g} BPM, {score.beats_per_bar}/4, {key}; "
        f"{score.bars} bars, {summary.clock(seconds)}; seed {score.seed}",
        f"played by {', '.join(track.instrument for track in score.tracks)}",
        "form: " + ", ".join(f"{section.label} {section.bars}" for section in score.sections),
    ]


def _made(score: Score) -> dict[str, object]:
    """The score under the names of the controls."""
    return {
        "genre": score.genre,
        "tempo": score.tempo_bpm,
        "key": None if score.key is None else score.key.name,
        "metre": f"{score.beats_per_bar}/4",
        "instruments": [track.instrument for track in score.tracks],
        "bars": score.bars,
        "sections": [f"{section.label}:{section.bars}" for section in score.sections],
    }


def check_apart(files: Mapping[str, Path | None]) -> None:
    """Raise ConfigError if two of the options would write over each other."""
    seen: dict[str, str] = {}
    for name, path in files.items():
        if path is None:
            continue
        place = os.path.realpath(path)
        if place in seen:
            raise ConfigError(
                f"--{seen[place]} and --{name} are both {str(path)!r}; give each a file of its own"
            )
        seen[place] = name


def unused(path: Path) -> Path:
    """The path, for a name that we chose. Raises ConfigError if it is taken."""
    if path.exists():
        raise ConfigError(
            f"{str(path)!r}, where the piece would go, exists already; name a file with --output"
        )
    return path
