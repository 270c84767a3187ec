"""`antiphon describe`: one recording at once, or a library that may be interrupted."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console, listening, summary
from antiphon.cli.long_run import StopRequest, shown_progress
from antiphon.errors import ConfigError, ModelMissingError

if TYPE_CHECKING:
    from antiphon.audio import Limits
    from antiphon.description import Description
    from antiphon.facts import Facts
    from antiphon.listen.claims import Policy
    from antiphon.listen.engine_host import HostAddress
    from antiphon.listen.engines import Sampling
    from antiphon.listen.library import Describe, Summary, Tracks
    from antiphon.listen.library_outputs import Outputs
    from antiphon.listen.listener import Listener
    from antiphon.listen.prompts import PromptSet
    from antiphon.listen.windows import LongMode
    from antiphon.settings import Settings

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon describe song.mp3\n"
    "    antiphon describe song.mp3 --kind full --kind technical --json\n"
    "    antiphon describe music/ --jsonl music.jsonl --info --jobs 4\n"
    "    antiphon describe music/ --model Q6_K --facts correct --info\n"
    "    antiphon describe song.mp3 --model Q6_K --prompt 'Who would dance to this?'\n\n"
    "Run the same command again after an interruption, or when tracks were added: what is done is "
    "not done again. Exit code 3: finished, but some tracks failed."
)
_SHOWN_FAILURES = 10
_JOBS_WITH_A_MODEL = 2  # one track is read and measured while the model answers for another


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
        str,
        typer.Option(
            "--set",
            metavar="NAME|FILE",
            help="standard, short, teaching, structured, or a YAML file.",
        ),
    ] = "standard",
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="One text by this prompt of your own, in place of a set."
        ),
    ] = None,
    model: listening.ModelName = None,
    facts: listening.FactsPolicy = "annotate",
    hint_facts: listening.HintFacts = False,
    long: listening.Long = "truncate",
    info: Annotated[bool, typer.Option("--info", help="Write .INFO beside each track.")] = False,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all records, ordered by path.")
    ] = None,
    captions: Annotated[
        bool, typer.Option("--captions", help="Write the texts to .txt beside each track.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Worker processes; one per core, two with a model."),
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
    max_new_tokens: listening.MaxNewTokens = None,
    temperature: listening.Temperature = None,
    top_p: listening.TopP = None,
    top_k: listening.TopK = None,
    seed: listening.Seed = None,
    precision: listening.PrecisionName = None,
    gpu_layers: listening.GpuLayers = None,
    context_tokens: listening.Context = None,
    threads: listening.Threads = None,
    device: listening.Device = None,
    attention: listening.AttentionName = None,
    compile_model: listening.Compile = None,
    adapter: listening.Adapter = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Describe recordings in words that rest on what was measured in them.

    A folder, or several files, is a library run: each recording is measured once, whatever its
    name, and no crash loses what is done. Damaged files are listed with the reason, and the others
    go on. Ctrl-C once finishes the tracks in work, twice stops at once.
    """
    settings = console.start(context, jobs=jobs)
    console.check_paths(paths)
    from antiphon.listen.library_outputs import Outputs

    if prompt is not None and model is None:
        raise ModelMissingError("--prompt needs a listening model, and none is named: add --model")
    chosen = listening.chosen_model(settings, model, listening.model_options(locals()))
    prompts = _prompts(prompt, prompt_set, kind)
    asking = Asking(
        prompts,
        prompts.select(kind or None),
        listening.policy(facts),
        hint_facts,
        listening.long_mode(long),
    )
    outputs = Outputs(jsonl, info, captions, overwrite, prompts.name)
    outputs.check()
    show = _shower(as_json, outputs)
    if len(paths) == 1 and not Path(paths[0]).is_dir():
        _describe_one(paths[0], chosen, asking, settings, outputs, show)
        return
    if any(map(console.is_url, paths)):
        raise ConfigError("an address is described alone; give it in a command of its own")
    from antiphon.listen.library import Tracks

    tracks = Tracks(tuple(map(Path, paths)), limit)
    _describe_library(tracks, chosen, asking, settings, outputs, show, retry_failed=retry_failed)


@dataclass(frozen=True)
class Asking:
    """What is asked of each recording."""

    prompts: PromptSet
    kinds: tuple[str, ...]
    facts: Policy
    hint_facts: bool
    long: LongMode

    def settings_key(self, listener: Listener) -> str:
        return listener.settings_key(
            self.prompts,
            self.kinds,
            facts=self.facts,
            hint_facts=self.hint_facts,
            long=self.long,
        )

    def describe(
        self,
        listener: Listener,
        limits: Limits,
        track: Path,
        kinds: tuple[str, ...],
        measured: Facts | None = None,
    ) -> Description:
        return listener.describe(
            track,
            prompts=self.prompts,
            kinds=kinds,
            facts=self.facts,
            hint_facts=self.hint_facts,
            long=self.long,
            measured=measured,
            limits=limits,
        )


@dataclass(frozen=True)
class _WorkerDescribing:
    """How a worker comes to its listener: its own, or the one model that all share."""

    asking: Asking
    settings: Settings
    engine: HostAddress | None
    origin: str
    sampling: Sampling
    ear: Path

    @property
    def settings_key(self) -> str:
        return f"{self.asking.settings_key(self._listener())} {self.origin}"

    @property
    def kinds(self) -> Mapping[str, str]:
        return {kind: repr(self.asking.prompts.kinds[kind]) for kind in self.asking.kinds}

    def load(self) -> Describe:
        from antiphon import log
        from antiphon.audio import Limits

        log.configure(self.settings.log_level, self.settings.log_format)
        limits = Limits(max_seconds=self.settings.max_seconds)
        return partial(self.asking.describe, self._listener(), limits)

    def _listener(self) -> Listener:
        from antiphon.listen.ear import Ear
        from antiphon.listen.engine_host import EngineClient
        from antiphon.listen.listener import Listener

        engine = None if self.engine is None else EngineClient(self.engine)
        return Listener(engine, self.sampling, Ear(self.ear))


def _prompts(prompt: str | None, prompt_set: str, kinds: list[str] | None) -> PromptSet:
    """The named set, or the one question of the command line as a set of its own."""
    from antiphon.listen.prompts import Prompt, PromptSet, load_prompt_set

    if prompt is None:
        return load_prompt_set(prompt_set)
    if prompt_set != "standard" or kinds:
        raise ConfigError("--prompt stands in place of --set and --kind; give one or the other")
    if not prompt.strip():
        raise ConfigError("--prompt is empty; expected what to ask of the model")
    return PromptSet("own", {"answer": Prompt(prompt)})


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
    chosen: listening.Chosen,
    asking: Asking,
    settings: Settings,
    outputs: Outputs,
    show: Callable[[Description], None] | None,
) -> None:
    """Describe a single recording in this process; nothing of it is remembered."""
    from antiphon.audio import Limits, open_stream
    from antiphon.exports import json_line
    from antiphon.files import atomic_write

    if console.is_url(source) and outputs.beside:
        raise ConfigError("--info and --captions write beside a file; an address has none")
    limits = Limits(max_seconds=settings.max_seconds)
    with console.local_file(source) as path:
        open_stream(path, limits=limits).close()  # before a model is loaded for nothing
        with chosen.listener() as listener:
            found = asking.describe(listener, limits, path, asking.kinds)
    description = replace(found, path=source, facts=found.facts.with_path(source))
    if outputs.beside:
        outputs.write_beside(Path(source), description)
    if outputs.jsonl:
        atomic_write(outputs.jsonl, json_line(description.to_json()))
    if show:
        show(description)


def _describe_library(
    tracks: Tracks,
    chosen: listening.Chosen,
    asking: Asking,
    settings: Settings,
    outputs: Outputs,
    show: Callable[[Description], None] | None,
    *,
    retry_failed: bool,
) -> None:
    from antiphon.listen.engine_host import hosted
    from antiphon.listen.library import RunOptions, check_tracks, describe_library
    from antiphon.threads import usable_cores

    check_tracks(tracks)  # before a model is loaded for nothing

    jobs = settings.jobs or (usable_cores() if chosen.load is None else _JOBS_WITH_A_MODEL)
    # Where workers share a model each waits for the others' answers too.
    waiting = 1 if chosen.load is None else jobs
    options = RunOptions(jobs, waiting * settings.track_timeout_seconds, retry_failed)
    with (
        nullcontext() if chosen.load is None else hosted(chosen.load) as engine,
        StopRequest() as stop,
        shown_progress("describing") as on_progress,
    ):
        describing = _WorkerDescribing(
            asking, settings, engine, chosen.origin, chosen.sampling, chosen.ear
        )
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
    tracks: Tracks, describing: _WorkerDescribing, show: Callable[[Description], None]
) -> None:
    from antiphon.description import Description
    from antiphon.listen.library_outputs import standings
    from antiphon.listen.library_state import LibraryState

    state = LibraryState(describing.settings.state, describing.settings_key, describing.kinds)
    with closing(state):
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
                path, reason = failure["path"], failure["reason"]
                console.note(f"failed: {reason if path in reason else f'{path}: {reason}'}")
        console.note(f"all failures are in {tally.ledger}; --retry-failed tries them again")
