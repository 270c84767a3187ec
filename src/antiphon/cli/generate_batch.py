"""`antiphon generate-batch`: a file of prompts in, a folder of pieces out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import composing, console, summary, wishes

if TYPE_CHECKING:
    from antiphon.compose.batch.running import BatchResult, Outcome
    from antiphon.settings import Settings

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon generate-batch --prompts prompts.txt --output-dir pieces/ --duration 20\n"
    "    antiphon generate-batch --prompts wishes.csv --output-dir out/ --model musicgen-small/\n"
    "    antiphon generate-batch --prompts wishes.jsonl --output-dir out/ --json > out.json\n\n"
    "A .txt file has one prompt a line, but for lines that begin with '# '; a .csv file begins "
    "with the names of its columns; a .jsonl file has one object a line, as in "
    '{"prompt": "slow blues", "tempo": 70, "output": "a.wav"}. '
    "Fields are the options of generate, with underscores; a row's own go before the command's.\n\n"
    "Run the same command again after an interruption, or when rows were added at the end: what is "
    "done is not done again. Exit code 3: finished, but some rows failed."
)
_BATCH_SIZE = 4  # of a neural model, whose weights are then read once for all of them


def generate_batch(
    context: typer.Context,
    prompts: Annotated[
        Path, typer.Option(metavar="FILE", help="The rows: .txt, .csv or .jsonl, in UTF-8.")
    ],
    output_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the pieces and their descriptions go.")
    ],
    model: composing.ModelName = None,
    model_size: composing.ModelSize = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Pieces side by side; 4 with a neural model."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N rows.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed in an earlier run.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the first row; one more for each row after it.")
    ] = 0,
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
    as_json: Annotated[bool, typer.Option("--json", help="What was made, as JSON.")] = False,
) -> None:
    """Compose a piece for each row of a file; no crash loses what is done.

    The options below are what a row without them takes. The same rows give the same files, whatever
    the batch size; rows that fail are listed in failed.jsonl, and the others go on. Ctrl-C stops at
    once, and what is finished stays.
    """
    given = dict(locals())
    defaults = composing.piece_options(given)
    settings = console.start(context)
    from antiphon.compose.batch.prompt_files import read_rows
    from antiphon.compose.batch.running import BatchOptions, compose_batch
    from antiphon.compose.options import form_of, request_of
    from antiphon.compose.requests import SYNTH

    rows = read_rows(prompts)[:limit]
    # What no row could take is a mistake of the command, not of its rows.
    request_of("", seed, defaults, settings.max_seconds)
    form_of(output_dir / "a.wav", defaults)
    named = composing.named_model(model, model_size)
    composer = composing.load(settings, given)
    options = BatchOptions(
        defaults,
        seed,
        _content(settings, named, adapter),
        # The synth plays piece after piece: together they would only be finished later.
        batch_size or (1 if named == SYNTH else _BATCH_SIZE),
        retry_failed,
        settings.max_seconds,
    )
    rate = composer.sample_rate
    try:
        result = compose_batch(
            composer,
            rows,
            prompts,
            output_dir,
            options,
            shown=lambda samples: composing.shown_pace(composing.Pace(samples, rate)),
            on_failure=lambda outcome: console.note(_failure(prompts, outcome)),
        )
    except KeyboardInterrupt:
        console.note("stopped; the same command goes on with what is missing")
        raise
    if as_json:
        _print_json(result)
    else:
        for outcome in result.outcomes:
            if outcome.path is not None:
                console.print_text(str(outcome.path))
    _report(result, output_dir)
    if result.failures:
        some_went_well = len(result.failures) < len(rows)
        code = console.EXIT_FINISHED_WITH_FAILURES
        raise typer.Exit(code if some_went_well else result.failures[0].exit_code)


def _content(settings: Settings, model: str | None, adapters: list[Path] | None) -> str | None:
    """A checksum of what the model's folder holds; None for the synth."""
    from antiphon.compose.composer import PACKAGED_NAME
    from antiphon.compose.requests import SYNTH

    if model == SYNTH:
        return None
    from antiphon.compose.batch.jobs import checksum_of_model
    from antiphon.compose.loading import GRAPHS
    from antiphon.models.finding import find
    from antiphon.weights import FINGERPRINTS_NAME

    folder = find(model or PACKAGED_NAME, settings.models)
    return checksum_of_model(folder, adapters or (), settings.cache / GRAPHS / FINGERPRINTS_NAME)


def _failure(prompts: Path, outcome: Outcome) -> str:
    reason = " ".join((outcome.error or "").split())
    return f"error: {prompts}, line {outcome.row.line}: {reason}"


def _print_json(result: BatchResult) -> None:
    """One object on one line; written piece by piece, as scores of thousands of rows are large."""
    typer.echo('{"outputs": [', nl=False)
    for number, outcome in enumerate(result.outcomes):
        typer.echo(", " * (number > 0) + json.dumps(outcome.to_dict()), nl=False)
    factor = result.real_time_factor
    rest = {
        "real_time_factor": None if factor is None else round(factor, 4),
        "failed": len(result.failures),
    }
    typer.echo(f"], {json.dumps(rest)[1:]}")


def _report(result: BatchResult, folder: Path) -> None:
    """What was done, on stderr."""
    from antiphon.compose.batch.jobs import FAILURES

    done = [outcome for outcome in result.outcomes if outcome.path is not None]
    new = sum(outcome.is_new for outcome in done)
    parts = [f"{len(done):,} composed, {new:,} of them now"]
    if result.failures:
        parts.append(f"{len(result.failures):,} failed")
    factor = result.real_time_factor
    if factor is not None:
        sound = summary.clock(result.sound_seconds)
        parts.append(f"{factor:.2f} x real time ({sound} of sound)")
    console.note(", ".join(parts))
    if result.failures:
        console.note(f"failures are in {folder / FAILURES}; --retry-failed tries them again")
