"""`antiphon generate`: a prompt and controls in, a sound file out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import composing, console, summary, wishes
from antiphon.cli.arrange import check_apart, unused
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.compose.delivery import Delivered
    from antiphon.score import Score

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon generate 'upbeat jazz with saxophone' --duration 30 --output a.wav\n"
    "    antiphon generate 'warm lo-fi beat' --model musicgen-small/ --tempo 82 --seed 7\n"
    "    antiphon generate 'quiet piano' --model M --section 'full orchestra@12' --duration 40\n"
    "    antiphon generate 'the same, but sadder' --model M --continue a.wav --duration 60\n"
    "    antiphon generate 'techno' --model M --stream --output - | aplay -f S16_LE -r 32000"
)


def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What it should sound like.")],
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where the sound goes; - is stdout, as PCM.")
    ] = None,
    model: composing.ModelName = None,
    model_size: composing.ModelSize = None,
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
    section: composing.SectionTexts = None,
    negative: composing.Negative = None,
    continued: composing.Continue = None,
    melody: composing.Melody = None,
    from_score: composing.FromScore = None,
    loop_bars: composing.LoopBars = None,
    candidates: composing.Candidates = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same piece; else random.")
    ] = None,
    temperature: composing.Temperature = None,
    top_k: composing.TopK = None,
    top_p: composing.TopP = None,
    guidance: composing.Guidance = None,
    score_guidance: composing.ScoreGuidance = None,
    adapter: composing.Adapter = None,
    precision: composing.PrecisionName = None,
    threads: composing.Threads = None,
    device: composing.Device = None,
    compile_model: composing.Compile = None,
    format: composing.Format = None,
    sample_rate: composing.SampleRate = None,
    bit_depth: composing.BitDepth = None,
    channels: composing.Channels = None,
    loudness: composing.LoudnessLufs = None,
    fade_out: composing.FadeOut = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Write as it goes; what is there can be played.")
    ] = False,
    midi: Annotated[Path | None, typer.Option(metavar="FILE", help="The notes: .mid.")] = None,
    score_file: Annotated[
        Path | None, typer.Option("--score", metavar="FILE", help="The score: .json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was made, as JSON.")] = False,
) -> None:
    """Compose a piece from a prompt: with the small model in the package, or a MusicGen checkpoint.

    The sound is measured and heard; asked for and measured values are printed, and lie with model,
    prompt, seed and settings in FILE and in the .json beside it.
    """
    given = dict(locals())
    settings = console.start(context)
    from antiphon.compose.delivery import deliver, deliver_growing, stream_pcm
    from antiphon.compose.forms import sidecar
    from antiphon.compose.options import form_of, requests_of, slug
    from antiphon.score import drawn_seed

    if seed is None:
        seed = drawn_seed()
    elif seed < 0:
        raise ConfigError(f"--seed is {seed}; expected 0 or more")
    to_stdout = output == "-"
    if to_stdout and (as_json or not stream):
        raise ConfigError(
            "--output - gives bare PCM on stdout; expected --stream with it, and no --json"
        )
    options = composing.piece_options(given)
    tries = requests_of(prompt, seed, options, settings.max_seconds)
    name = Path("stdout.wav") if to_stdout else Path(output or f"{slug(prompt)}-{seed}.wav")
    if output is None:
        unused(name)
    form = form_of(name, options)
    if stream and len(tries) > 1:
        raise ConfigError(
            "--candidates needs whole pieces to choose from, and --stream writes the first as it "
            "comes; leave out one of them"
        )
    files = {"output": name, "midi": midi, "score": score_file}
    files |= {} if to_stdout else {"output (its .json)": sidecar(name)}
    for taken in ({"continue": continued}, {"melody": melody}, {"from-score": from_score}):
        check_apart(files | taken)
    for option, path in (("midi", midi), ("score", score_file)):
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"--{option} {str(path)!r}: there is no such folder; create it first")
    started = time.perf_counter()
    composer = composing.load(settings, given)
    loaded = time.perf_counter()
    performance = composer.renderer.perform(tries)
    plan = performance.plans[0]
    if plan.score is None and (midi or score_file):
        _require_transcription("midi" if midi else "score", to_stdout=to_stdout)
    for line in understood_lines(prompt):
        console.note(line)
    if to_stdout:
        rate = sample_rate or composer.sample_rate
        kind = "FLOAT_LE" if bit_depth == 32 else "S16_LE"
        console.note(
            f"raw PCM: {kind}, {rate} Hz, {channels or composer.renderer.channels} channels"
        )
    pace = composing.Pace(len(tries) * plan.samples, composer.sample_rate)
    with composing.shown_pace(pace) as tell:
        if to_stdout:
            stream_pcm(performance, sys.stdout.buffer, form, composer.sample_rate, tell)
            if plan.score is not None:
                _write_score(plan.score, midi, score_file)
            return
        if stream:
            delivered = deliver_growing(composer, performance, form, tell)
        else:
            delivered = deliver(composer, performance, [form], tell)[0]
    if midi or score_file:
        _write_score(delivered.score or _transcribed(delivered.path), midi, score_file)
    factor = (time.perf_counter() - loaded) / delivered.seconds
    if as_json:
        result = {"outputs": [delivered.to_dict()], "real_time_factor": round(factor, 4)}
        console.print_json(json.dumps(result))
        return
    console.print_text("\n".join(delivered_lines(delivered)))
    console.note(
        f"{factor:.2f} x real time ({summary.clock(delivered.seconds)} of sound), "
        f"loading {loaded - started:.1f} s"
    )


def delivered_lines(delivered: Delivered) -> list[str]:
    """What was made, for people: asked for and measured, notes, where it lies."""
    lines = [f"{delivered.provenance['model']}, seed {delivered.seed}"]
    if delivered.adherence:
        lines.append(_obeyed(delivered.adherence))
    lines += [f"note: {note}" for note in delivered.notes]
    return [*lines, str(delivered.path)]


def _obeyed(adherence: Mapping[str, object]) -> str:
    """In one line how well it obeyed: what was kept, and what was measured instead of the rest."""
    kept, missed = [], []
    for name, one in adherence.items():
        assert isinstance(one, dict), "adherence is plain data"
        asked, measured = (summary.plain(one[key]) for key in ("requested", "measured"))
        if one["ok"]:
            kept.append(f"{name} {asked}" + (f" ({measured})" if measured != asked else ""))
        else:
            missed.append(f"{name} {asked}, measured {measured}")
    said = f"kept {len(kept)} of {len(adherence)} wishes: {', '.join(kept) or 'none'}"
    return f"{said}; missed: {'; '.join(missed)}" if missed else said


def understood_lines(prompt: str) -> list[str]:
    """What the prompt was understood to say, for people."""
    from antiphon.compose.understanding import understand

    found = [str(reading) for reading in understand(prompt).readings]
    return [f"understood: {'; '.join(found)}"] if found else []


def _require_transcription(option: str, *, to_stdout: bool) -> None:
    """Raise ConfigError where the notes of a model without a score cannot be heard out of it."""
    from antiphon.analysis.transcribing import WAY_OUT, transcription_model

    if to_stdout or transcription_model() is None:
        way_out = "a file as --output" if to_stdout else f"basic-pitch, to transcribe it: {WAY_OUT}"
        raise ConfigError(
            f"--{option} needs a score, and the model composes sound without one; expected one "
            f"that follows a score (the one in the package, or --model synth), or {way_out}"
        )


def _transcribed(path: Path) -> Score:
    from antiphon.analysis import measure
    from antiphon.analysis.transcribing import transcribe

    console.note("no score was played: the notes are what basic-pitch hears in the sound")
    return transcribe(path, measure(path))


def _write_score(score: Score, midi: Path | None, score_file: Path | None) -> None:
    if midi is not None:
        from antiphon.midi import write_midi

        write_midi(score, midi)
    if score_file is not None:
        from antiphon.files import atomic_write

        atomic_write(score_file, score.to_json().encode())
