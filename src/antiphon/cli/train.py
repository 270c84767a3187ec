"""`antiphon train`: models from data, resumable at any moment."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from antiphon.cli import console
from antiphon.cli.long_run import StopRequest
from antiphon.errors import ConfigError, DependencyError

if TYPE_CHECKING:
    from antiphon.train.config import RunConfig
    from antiphon.train.task import Task

Kind = Literal["codec", "composer", "listener"]
train = typer.Typer(name="train", help="Train models on your own data; kill and resume at will.")

_Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A YAML file, such as those in configs/."),
]
_Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="Over what the file says.")
]
_Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        "--resume-from",
        metavar="CHECKPOINT|auto",
        help="Go on from there; auto: from the newest of the run, if there is one.",
    ),
]
_Print = Annotated[
    bool, typer.Option("--print-config", help="Print what the run would be made by, and end.")
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say how large and how long it would be, and end.")
]
_RESUMED = (
    "Ctrl-C or SIGTERM saves and ends; the same command with --resume auto goes on, and ends with "
    "the same weights as if nothing had happened."
)
_EPILOG = (
    "Examples:\n\n\b\n"
    "    antiphon train codec --config configs/codec/magnitude.yaml data.manifest=m.parquet\n"
    "    antiphon train codec --config c.yaml training.max_steps=500 --resume auto\n"
    f"    antiphon train codec --config c.yaml --print-config\n\n{_RESUMED}"
)
_COMPOSER_EPILOG = (
    "Examples:\n\n\b\n"
    "    antiphon train composer --config configs/composer/small.yaml data.codes=codes "
    "data.codec=codec\n"
    "    antiphon train composer --config configs/composer/lora.yaml data.codes=codes "
    "model.base=musicgen-small\n"
    "    antiphon train composer --config c.yaml model.layers=4 --resume auto\n"
    f"    antiphon train composer --config c.yaml --dry-run\n\n{_RESUMED}"
)
_LISTENER_EPILOG = (
    "Examples:\n\n\b\n"
    "    antiphon train listener --config configs/listener/small.yaml data.manifests=[m.parquet]\n"
    "    antiphon train listener --config configs/listener/heads.yaml data.manifests=[my.parquet]\n"
    "    antiphon train listener --config c.yaml training.max_steps=500 --resume auto\n\n"
    f"{_RESUMED}"
)
PROFILE_EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon profile composer --config configs/composer/small.yaml data.codes=codes\n"
    "    antiphon profile codec --config c.yaml --steps 5 --output codec.json"
)


@train.callback(invoke_without_command=True)
def _train(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@train.command(short_help="The magnitude codec: sound to codes and back.", epilog=_EPILOG)
def codec(
    context: typer.Context,
    overrides: _Overrides = None,
    config: _Config = None,
    resume: _Resume = None,
    print_config: _Print = False,
    dry_run: _DryRun = False,
) -> None:
    """Train the magnitude codec on the clips of a manifest.

    The run lies in output_dir (runs/<experiment_name>): checkpoints, metrics.jsonl, report.html,
    and at the end the codec itself in codec/, for `data preprocess --codec`.
    """
    console.start(context)
    _do("codec", config, overrides, resume, print_config=print_config, dry_run=dry_run)


@train.command(short_help="A composer: captions and scores to codes.", epilog=_COMPOSER_EPILOG)
def composer(
    context: typer.Context,
    overrides: _Overrides = None,
    config: _Config = None,
    resume: _Resume = None,
    print_config: _Print = False,
    dry_run: _DryRun = False,
) -> None:
    """Train a MusicGen on codes that `data preprocess` made: from nothing, or fine-tune one.

    With model.base=FOLDER it begins as that checkpoint, and model.tune says what of it is trained:
    all, lora or adapter. The run lies in output_dir (runs/<experiment_name>): checkpoints,
    metrics.jsonl, report.html, samples, and at the end the composer itself in composer/, for
    `generate --model`.
    """
    console.start(context)
    _do("composer", config, overrides, resume, print_config=print_config, dry_run=dry_run)


@train.command(short_help="A listener: sound to genre and instruments.", epilog=_LISTENER_EPILOG)
def listener(
    context: typer.Context,
    overrides: _Overrides = None,
    config: _Config = None,
    resume: _Resume = None,
    print_config: _Print = False,
    dry_run: _DryRun = False,
) -> None:
    """Train a listener on the clips of manifests: an encoder and its heads, or heads alone.

    Clips that `data synthesize` played have scores, which say what sounds when; of others the
    columns genre, instruments, energy and music of `data prepare`'s CSV are learned from. With
    model.base=listener it begins as the one in the package, and model.tune=heads keeps its encoder.
    The run lies in output_dir (runs/<experiment_name>): checkpoints, metrics.jsonl, report.html,
    and at the end the listener itself in listener/, for `describe --model`.
    """
    console.start(context)
    _do("listener", config, overrides, resume, print_config=print_config, dry_run=dry_run)


def profile(
    context: typer.Context,
    kind: Annotated[
        Kind, typer.Argument(help="What would be trained: codec, composer or listener.")
    ],
    overrides: _Overrides = None,
    config: _Config = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="So many steps are traced.")] = 3,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The trace.")
    ] = Path("trace.json"),
) -> None:
    """Trace training steps by torch's profiler: what takes the time.

    The trace is for chrome://tracing or ui.perfetto.dev; the dearest operations are listed here.
    Nothing is saved of what is learned.
    """
    console.start(context)
    require_training_packages()
    from antiphon.train.profiling import trace
    from antiphon.train.runs import load_run_config, new_task

    chosen = load_run_config(kind, config, overrides or ())
    task = new_task(chosen, _note_decoding)
    console.note(trace(task, chosen, steps, output))
    console.print_text(str(output))


def _do(
    kind: Kind,
    file: Path | None,
    overrides: list[str] | None,
    resume: str | None,
    *,
    print_config: bool,
    dry_run: bool,
) -> None:
    require_training_packages()
    from antiphon.train.config import to_yaml
    from antiphon.train.runs import load_run_config, new_task, size_of_run
    from antiphon.train.trackers import require_trackers

    config = load_run_config(kind, file, overrides or ())
    require_trackers(config.log.trackers)
    if print_config:
        console.print_text(to_yaml(config).rstrip())
    elif dry_run:
        size = size_of_run(config, _note_decoding)
        if size.measured_share < 1:
            console.note(
                f"the pace is that of {size.measured_share:.2%} of a batch; the rest is taken to "
                "cost as much, and attention costs more"
            )
        console.print_text(json.dumps(asdict(size)))
    else:
        start = _start(config, resume)
        _run(kind, new_task(config, _note_decoding), config, start)


def _start(config: RunConfig, resume: str | None) -> Path | None:
    """The checkpoint to go on from; what cannot be gone on with is refused before data are read."""
    from antiphon.train.checkpoints import read_state
    from antiphon.train.config import plain
    from antiphon.train.resuming import find_checkpoint, require_same_run

    output = Path(config.output_dir)
    start = find_checkpoint(output, resume)
    if resume is None and find_checkpoint(output, "auto") is not None:
        raise ConfigError(
            f"{output} holds a run already; expected --resume auto to go on with it, or another "
            "experiment_name"
        )
    if start is not None:
        require_same_run(read_state(start).get("config"), plain(config))
    return start


def _run(kind: Kind, task: Task, config: RunConfig, start: Path | None) -> None:
    from antiphon.compose.conversion.result import whole_folder
    from antiphon.train.checkpoints import read_checkpoint
    from antiphon.train.config import plain
    from antiphon.train.live import shown_run
    from antiphon.train.logs import RunLog
    from antiphon.train.loop import train
    from antiphon.train.runs import UNITS, export_checkpoint

    output = Path(config.output_dir)
    trackers, told = config.log.trackers, plain(config)
    with (
        shown_run(console.note) as shown,
        RunLog(
            output, UNITS[kind], show=shown.line, draw=shown.draw, trackers=trackers, config=told
        ) as log,
        StopRequest("saving" if shown.draw is None else None) as stop,
    ):
        finished = train(task, config, resume=start, should_stop=lambda: stop.is_wanted, log=log)
        if finished.is_first and not finished.stopped:
            path = finished.best or finished.checkpoint
            best = read_checkpoint(path)
            with whole_folder(output / kind, replaces=True) as temporary:
                export_checkpoint(best, temporary, str(path), note_calibrating)
            why = "the best by validation loss" if finished.best else "the last: nothing judged it"
            log.note(f"{kind} of step {best.step}, {why}: {output / kind}")
    if finished.stopped:
        if finished.is_first:
            console.note(f"stopped after step {finished.step}; --resume auto goes on from there")
        raise typer.Exit(stop.exit_code or 1)
    if finished.is_first:
        console.print_text(str(output / kind))


def _note_decoding(done: int, total: int) -> None:
    _note_clips("decoding the sound, once", done, total)


def note_calibrating(done: int, total: int) -> None:
    """Tell how far a listener is calibrated."""
    _note_clips("calibrating what it hears", done, total)


def _note_clips(what: str, done: int, total: int) -> None:
    """At the first, and at every tenth of them."""
    if done == 1 or done * 10 // total > (done - 1) * 10 // total:
        console.note(f"{what}: {done:,} of {total:,} clips")


def require_training_packages() -> None:
    """Raise DependencyError where one of them is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "lightning", "hydra") if find_spec(name) is None]
    if missing:
        raise DependencyError(f"training needs {', '.join(missing)}; pip install 'antiphon[train]'")
