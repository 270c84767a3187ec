"""`antiphon data`: from raw recordings to a manifest that is fit to train from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console, listening
from antiphon.cli.long_run import StopRequest, shown_progress
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.audio import Limits
    from antiphon.data.cleaning import CleanReport
    from antiphon.data.reporting import Report
    from antiphon.data.running import RunOptions
    from antiphon.data.sources import Problem
    from antiphon.settings import Settings

_SHOWN_FAILURES = 10
_JOBS_WITH_A_MODEL = 2  # one clip is read and measured while the model answers for another

ManifestPath = Annotated[
    Path, typer.Argument(metavar="MANIFEST", help="What data prepare wrote (.parquet).")
]
Jobs = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Worker processes; one per core.")
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try again what failed in an earlier run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="What was done, as one JSON object.")]

_AGAIN = (
    "Run the same command again after an interruption: what is done is not done again. Exit code "
    "3: finished, but some failed."
)

data = typer.Typer(name="data", help="Recordings to a manifest, and all that makes it fit.")


@data.callback(invoke_without_command=True)
def _data(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data.command(
    short_help="Recordings and captions to one manifest.",
    epilog="Examples:\n\n\b\n"
    "    antiphon data prepare music/ --output music.parquet\n"
    "    antiphon data prepare music/ --captions captions.csv --output music.parquet\n"
    "    antiphon data prepare music/ --licence CC0-1.0 --licence CC-BY-4.0 --output free.parquet\n"
    "    antiphon data prepare wav/ --captions musiccaps-public.csv --dataset musiccaps "
    "--output caps.parquet\n\n"
    "A table has a column path (file, audio), and any of caption (text, description), "
    "start_seconds, end_seconds, artist, album, title, licence, source, split, and the controls of "
    "generate: genre, mood, tempo (bpm), key, metre, instruments and so on. Without a table the "
    f".txt or .json beside a track says these. {_AGAIN}",
)
def prepare(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of any depth, or a table itself.")
    ],
    output: Annotated[Path, typer.Option(metavar="MANIFEST", help="Where to (.parquet).")],
    captions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table, .csv or .jsonl, in UTF-8.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="musiccaps: its CSV over local audio.")
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option("--licence", "--license", metavar="L", help="Only these; may be repeated."),
    ] = None,
    splits: Annotated[
        str, typer.Option(metavar="T,V,T", help="Shares of train, validation and test.")
    ] = "0.9,0.05,0.05",
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Read every recording once and write a manifest: a row for each clip.

    Artists, albums and recordings stay on one side of the splits; the same recording is known by
    its sound. The same files give the same manifest, to the byte.
    """
    settings = console.start(context, jobs=jobs)
    from antiphon.data.preparing import PrepareOptions, check_output, prepare
    from antiphon.data.sources import read_source

    check_output(output)
    shares = _shares(splits)
    rows = read_source(source, captions, dataset)
    options = PrepareOptions(shares, tuple(licence or ()), _limits(settings))
    for note in rows.notes:
        console.note(note)
    with long_run("preparing", settings, retry_failed=retry_failed) as (stop, run):
        report = prepare(rows, output, options, run)
    _end(report, stop, as_json=as_json)


@data.command(
    short_help="All clips in one form, in another folder.",
    epilog="Examples:\n\n\b\n"
    "    antiphon data standardize music.parquet --output-dir std/ --sample-rate 32000 --channels 1"
    "\n"
    "    antiphon data standardize music.parquet --output-dir std/ --loudness -16 --format flac\n\n"
    f"The new manifest is DIR/manifest.parquet. {_AGAIN}",
)
def standardize(
    context: typer.Context,
    manifest: ManifestPath,
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="Another folder.")],
    sample_rate: Annotated[
        int | None, typer.Option(metavar="HZ", help="None: as each file is.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="1 mixes down. None: as each file is.")
    ] = None,
    format: Annotated[str, typer.Option(metavar="F", help="flac, wav, mp3, ogg, opus.")] = "flac",
    bit_depth: Annotated[
        int | None, typer.Option(metavar="BITS", help="16, 24, or 32 (float, wav only).")
    ] = None,
    loudness: Annotated[
        float | None,
        typer.Option(metavar="LUFS", help="Integrated; peaks stay at -1 dBTP or below."),
    ] = None,
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Write every clip as a file of its own in one form; passages become whole files.

    Streamed, so that long files need no more memory. The sources stay as they are.
    """
    settings = console.start(context, jobs=jobs)
    from antiphon.data.standardizing import Form, standardize

    form = Form(sample_rate, channels, format, bit_depth, loudness)
    with long_run("standardizing", settings, retry_failed=retry_failed) as (stop, run):
        report = standardize(manifest, output_dir, form, run, _limits(settings))
    _end(report, stop, as_json=as_json)


@data.command(
    short_help="Put aside what is of no use; nothing is deleted.",
    epilog="Examples:\n\n\b\n"
    "    antiphon data clean music.parquet --dry-run\n"
    "    antiphon data clean music.parquet --min-seconds 5\n"
    "    antiphon data clean music.parquet --undo\n\n"
    "Files go to quarantine/ beside the manifest, under the path they had; "
    "quarantine/quarantine.jsonl has the reasons and the rows. After an interruption the same "
    "command finishes what was begun. Exit code 3: some could not be judged, and stay.",
)
def clean(
    context: typer.Context,
    manifest: ManifestPath,
    min_seconds: Annotated[
        float, typer.Option(metavar="S", help="Shorter clips are put aside.")
    ] = 1.0,
    max_seconds: Annotated[
        float, typer.Option(metavar="S", help="Longer clips are put aside.")
    ] = 3600.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Bring back every file and row that went.")
    ] = False,
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Measure all clips and put aside the damaged, silent, clipped, too short, too long, and what
    is no music: nothing in it has a pulse or notes."""
    settings = console.start(context, jobs=jobs)
    from antiphon.data.cleaning import CleanOptions, clean, restore

    if undo:
        if dry_run:
            raise ConfigError("--undo and --dry-run exclude each other; give one of them")
        entries = restore(manifest)
        if as_json:
            console.print_json(json.dumps({"restored": [asdict(entry) for entry in entries]}))
        files = len({entry.moved_to for entry in entries} - {None})
        console.note(f"{len(entries):,} rows and {files:,} files brought back")
        return
    options = CleanOptions(min_seconds, max_seconds, _limits(settings))
    with long_run("measuring", settings, retry_failed=retry_failed) as (stop, run):
        report = clean(manifest, options, run, dry_run=dry_run)
    _show_cleaned(report, dry_run=dry_run, as_json=as_json)
    leave(stop, _codes(report.failures), report.kept + len(report.entries))


@data.command(
    short_help="Is a manifest fit to train from?",
    epilog="Examples:\n\n\b\n"
    "    antiphon data validate music.parquet\n"
    "    antiphon data validate music.parquet --json > report.json\n"
    "    antiphon data validate music.parquet --quick  (rows and captions, no sound)\n\n"
    "Exit code 0: sound. 1: not sound. Warnings are for a person to judge.",
)
def validate(
    context: typer.Context,
    manifest: ManifestPath,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read the sound.")] = False,
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Check rows, ranges, captions, hashes, missing files, leakage between splits, duplicates.

    Every file is read again, and compared by content and by sound.
    """
    settings = console.start(context, jobs=jobs)
    from antiphon.data.validating import report_lines, validate

    with long_run("validating", settings, retry_failed=retry_failed) as (stop, run):
        validation = validate(manifest, run, _limits(settings), read_audio=not quick)
    if as_json:
        found = {"is_sound": validation.is_sound, **asdict(validation)}
        console.print_json(json.dumps(found))
    else:
        console.print_text("\n".join(report_lines(validation)))
    if stop.exit_code is not None:
        raise typer.Exit(stop.exit_code)
    if not validation.is_sound:
        raise typer.Exit(1)


@data.command(
    short_help="Captions by the listening half.",
    epilog="Examples:\n\n\b\n"
    "    antiphon data caption music.parquet --output captioned.parquet\n"
    "    antiphon data caption music.parquet --output all.parquet --overwrite --set standard "
    "--kind full\n"
    "    antiphon data caption music.parquet --output c.parquet --model Q6_K\n\n"
    f"{_AGAIN}",
)
def caption(
    context: typer.Context,
    manifest: ManifestPath,
    output: Annotated[Path, typer.Option(metavar="MANIFEST", help="The new one (.parquet).")],
    model: listening.ModelName = None,
    prompt_set: Annotated[
        str, typer.Option("--set", metavar="NAME|FILE", help="Prompts, as in describe.")
    ] = "short",
    kind: Annotated[str, typer.Option(metavar="KIND", help="Which text of the set.")] = "brief",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also where there is a caption.")
    ] = False,
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Write captions where there are none, by what is measured or by a model.

    Tempo, key and metre become controls where they are sure and none was given. caption_source
    says who wrote each caption.
    """
    settings = console.start(context, jobs=jobs)
    from contextlib import nullcontext

    from antiphon.data.captioning import Captioning, caption
    from antiphon.data.manifest import read_manifest
    from antiphon.listen.engine_host import hosted

    chosen = listening.chosen_model(settings, model, {})
    read_manifest(manifest)  # before a model is loaded for nothing
    with (
        nullcontext() if chosen.load is None else hosted(chosen.load) as engine,
        long_run(
            "captioning", settings, retry_failed=retry_failed, has_model=engine is not None
        ) as (stop, run),
    ):
        captioning = Captioning(
            prompt_set,
            kind,
            engine,
            chosen.origin,
            chosen.sampling,
            _limits(settings),
            chosen.ear,
        )
        report = caption(manifest, output, captioning, run, overwrite=overwrite)
    _end(report, stop, as_json=as_json)


def _limits(settings: Settings) -> Limits:
    from antiphon.audio import Limits

    return Limits(max_seconds=settings.max_seconds)


def _shares(text: str) -> tuple[float, float, float]:
    from antiphon.data.preparing import checked_shares

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--splits is {text!r}; expected three shares such as 0.9,0.05,0.05"
        ) from error
    return checked_shares(values)


@contextmanager
def long_run(
    verb: str, settings: Settings, *, retry_failed: bool, has_model: bool = False
) -> Iterator[tuple[StopRequest, RunOptions]]:
    """How items are worked on: with progress, until somebody asks to stop."""
    from antiphon.data.running import RunOptions
    from antiphon.threads import usable_cores

    jobs = settings.jobs or (_JOBS_WITH_A_MODEL if has_model else usable_cores())
    with StopRequest() as stop, shown_progress(verb) as on_progress:
        yield (
            stop,
            RunOptions(
                jobs,
                retry_failed,
                # Where workers share a model each waits for the others' answers too.
                settings.track_timeout_seconds * (jobs if has_model else 1),
                on_progress,
                lambda: stop.exit_code is not None,
            ),
        )


def _end(report: Report, stop: StopRequest, *, as_json: bool) -> None:
    """Say what was done, and leave with the code that goes with it."""
    if as_json:
        output = None if report.output is None else str(report.output)
        failures = [{"name": one.name, "reason": one.reason} for one in report.failures]
        done = {**vars(report), "output": output, "failures": failures}
        console.print_json(json.dumps(done))
    elif report.output is not None:
        console.print_text(str(report.output))
    for note in report.notes:
        console.note(note)
    parts = [f"{report.clips:,} clips, {report.new:,} worked on now"]
    if report.output is None:
        parts = [f"stopped, {report.new:,} worked on now"]
        parts.append(f"{report.not_reached:,} not reached: the same command goes on with them")
    if report.failures:
        parts.append(f"{len(report.failures):,} failed")
    console.note(", ".join(parts))
    _show_failures(report.failures)
    if report.failures and report.output is not None:
        from antiphon.data.reporting import failures_of

        listed = failures_of(report.output)
        console.note(f"all failures are in {listed}; --retry-failed tries them again")
    leave(stop, _codes(report.failures), report.clips)


def _show_cleaned(report: CleanReport, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        done = {
            "kept": report.kept,
            "put_aside": [asdict(entry) for entry in report.entries],
            "dry_run": dry_run,
            "not_reached": report.not_reached,
            "failures": [{"name": one.name, "reason": one.reason} for one in report.failures],
        }
        console.print_json(json.dumps(done))
    else:
        for entry in report.entries:
            console.print_text(f"{entry.clip.path}: {entry.reason}")
    if report.finished:
        console.note(f"an earlier run was finished first: {report.finished:,} rows")
    if report.not_reached:
        count = f"{report.not_reached:,}"
        console.note(f"stopped, {count} not reached; nothing was moved: run the same command again")
        return
    verb = "would go" if dry_run else "went"
    console.note(
        f"{report.kept:,} clips are kept, {len(report.entries):,} {verb} to the quarantine with "
        f"{report.moved:,} files"
    )
    _show_failures(report.failures)


def _show_failures(failures: Sequence[Problem]) -> None:
    for one in failures[:_SHOWN_FAILURES]:
        reason = " ".join(one.reason.split())
        console.note(f"error: {reason if one.name in reason else f'{one.name}: {reason}'}")


def _codes(failures: Sequence[Problem]) -> list[int]:
    return [one.exit_code for one in failures]


def leave(stop: StopRequest, failures: Sequence[int], went_well: int) -> None:
    """End with the code that goes with what was done; `failures` have codes of their own."""
    if stop.exit_code is not None:
        raise typer.Exit(stop.exit_code)
    if failures:
        code = console.EXIT_FINISHED_WITH_FAILURES
        raise typer.Exit(code if went_well else failures[0])
