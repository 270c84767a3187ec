"""`antiphon describe`: one recording at once, or a library that may be interrupted."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console, summary
from antiphon.cli.long_run import StopRequest, shown_progress
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.description import Description
    from antiphon.listen.library import Summary, Tracks
    from antiphon.listen.library_outputs import Outputs
    from antiphon.listen.prompts import PromptSet
    from antiphon.settings import Settings

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon describe song.mp3\n"
    "    antiphon describe song.mp3 --kind full --kind technical --json\n"
    "    antiphon describe music/ --jsonl music.jsonl --info --jobs 4\n\n"
    "Run the same command again after an interruption, or when tracks were added: what is done is "
    "not done again. Exit code 3: finished, but some tracks failed."
)
_SHOWN_FAILURES = 10


def describe(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Sound files, an https:// file, folders (any depth)."),
    ],
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only this kind of text; may be repeated."),
    ] = None,
    prompt_set: Annotated[
        str, typer.Option("--set", metavar="NAME|FILE", help="standard, short, or a YAML file.")
    ] = "standard",
    info: Annotated[bool, typer.Option("--info", help="Write .INFO beside each track.")] = False,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all records, ordered by path.")
    ] = None,
    captions: Annotated[
        bool, typer.Option("--captions", help="Write the texts to .txt beside each track.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes; one per core.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N tracks.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed in an earlier run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace texts that another model wrote, and .txt.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Describe recordings in words that rest on what was measured in them.

    A folder, or several files, is a library run: each recording is measured once, whatever its
    name, and no crash loses what is done. Damaged files are listed with the reason, and the others
    go on. Ctrl-C once finishes the tracks in work, twice stops at once.
    """
    settings = console.start(context, jobs=jobs)
    from antiphon.listen.library_outputs import Outputs
    from antiphon.listen.prompts import load_prompt_set

    prompts = load_prompt_set(prompt_set)
    outputs = Outputs(jsonl, info, captions, overwrite, prompts.name)
    outputs.check()
    show = _shower(as_json, outputs)
    describing = _ListenerDescribing(prompts, prompts.select(kind or None), settings)
    if len(paths) == 1 and not Path(paths[0]).is_dir():
        _describe_one(paths[0], describing, outputs, show)
        return
    if any(map(console.is_url, paths)):
        raise ConfigError("an address is described alone; give it in a command of its own")
    from antiphon.listen.library import Tracks

    tracks = Tracks(tuple(map(Path, paths)), limit)
    _describe_library(tracks, describing, outputs, show, retry_failed=retry_failed)


@dataclass(frozen=True)
class _ListenerDescribing:
    """How a worker comes to its listener."""

    prompts: PromptSet
    kinds: tuple[str, ...]
    settings: Settings

    @property
    def settings_key(self) -> str:
        from antiphon.listen.listener import load_listener

        return load_listener().settings_key(self.prompts, self.kinds)

    def load(self) -> Callable[[Path], Description]:
        from antiphon import log
        from antiphon.audio import Limits
        from antiphon.listen.listener import load_listener

        log.configure(self.settings.log_level, self.settings.log_format)
        listener = load_listener()
        limits = Limits(max_seconds=self.settings.max_seconds)

        def describe_track(track: Path) -> Description:
            return listener.describe(track, prompts=self.prompts, kinds=self.kinds, limits=limits)

        return describe_track


def _shower(as_json: bool, outputs: Outputs) -> Callable[[Description], None] | None:
    """How results are printed; not at all when they go to files and JSON is not asked for."""
    if as_json:
        return lambda description: console.print_json(description.to_json())
    if outputs.jsonl or outputs.beside:
        return None
    return lambda description: console.print_text(
        "\n".join([str(description.path), *summary.description_lines(description), ""])
    )


def _describe_one(
    source: str,
    describing: _ListenerDescribing,
    outputs: Outputs,
    show: Callable[[Description], None] | None,
) -> None:
    """Describe a single recording in this process; nothing of it is remembered."""
    from antiphon.exports import json_line
    from antiphon.files import atomic_write

    if console.is_url(source) and outputs.beside:
        raise ConfigError("--info and --captions write beside a file; an address has none")
    with console.local_file(source) as path:
        found = describing.load()(path)
    description = replace(found, path=source, facts=found.facts.with_path(source))
    if outputs.beside:
        outputs.write_beside(Path(source), description)
    if outputs.jsonl:
        atomic_write(outputs.jsonl, json_line(description.to_json()))
    if show:
        show(description)


def _describe_library(
    tracks: Tracks,
    describing: _ListenerDescribing,
    outputs: Outputs,
    show: Callable[[Description], None] | None,
    *,
    retry_failed: bool,
) -> None:
    from antiphon.listen.library import RunOptions, describe_library, usable_cores

    settings = describing.settings
    jobs = settings.jobs or usable_cores()
    options = RunOptions(jobs, settings.track_timeout_seconds, retry_failed)
    with StopRequest() as stop, shown_progress("describing") as on_progress:
        done = describe_library(
            tracks,
            describing,
            outputs,
            settings.state,
            options,
            on_progress=on_progress,
            should_stop=lambda: stop.exit_code is not None,
        )
    if show:
        _show_all(tracks, describing, show)
    _report(done)
    if stop.exit_code is not None:
        raise typer.Exit(stop.exit_code)
    if done.tally.failed:
        raise typer.Exit(console.EXIT_FINISHED_WITH_FAILURES)


def _show_all(
    tracks: Tracks, describing: _ListenerDescribing, show: Callable[[Description], None]
) -> None:
    from antiphon.description import Description
    from antiphon.listen.library_outputs import standings
    from antiphon.listen.library_state import LibraryState

    with closing(LibraryState(describing.settings.state, describing.settings_key)) as state:
        for standing in standings(tracks, state):
            if standing.line is not None:
                show(Description.from_json(standing.line))


def _report(done: Summary) -> None:
    """What was done, and the first of the failures, on stderr."""
    tally = done.tally
    parts = [f"{tally.done:,} described, {done.described:,} of them now"]
    if tally.failed:
        parts.append(f"{tally.failed:,} failed")
    if tally.not_reached:
        parts.append(f"{tally.not_reached:,} not reached: the same command goes on with them")
    console.note(f"{', '.join(parts)} ({done.seconds:.1f} s)")
    if tally.ledger:
        with tally.ledger.open(encoding="utf-8") as lines:
            for line in itertools.islice(lines, _SHOWN_FAILURES):
                failure = json.loads(line)
                console.note(f"failed: {failure['path']}: {failure['reason']}")
        console.note(f"all failures are in {tally.ledger}; --retry-failed tries them again")
