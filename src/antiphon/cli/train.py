"""`antiphon train`: models from data, resumable at any moment."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console
from antiphon.cli.long_run import StopRequest
from antiphon.errors import ConfigError, DependencyError

if TYPE_CHECKING:
    from antiphon.train.loop import RunConfig, Task

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
    "    antiphon train composer --config c.yaml model.layers=4 --resume auto\n"
    f"    antiphon train composer --config c.yaml --dry-run\n\n{_RESUMED}"
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
    require_training_packages()
    from antiphon.train.config import CodecConfig, load_config, to_yaml

    chosen = load_config(CodecConfig, config, overrides or ())
    if print_config:
        console.print_text(to_yaml(chosen).rstrip())
        return
    from antiphon.train.codec import CodecTask

    task = CodecTask(chosen, _note_decoding)
    if dry_run:
        _say_how_large(task, chosen)
        return
    _run(task, chosen, resume, "samples", "codec")


@train.command(short_help="A composer: captions and scores to codes.", epilog=_COMPOSER_EPILOG)
def composer(
    context: typer.Context,
    overrides: _Overrides = None,
    config: _Config = None,
    resume: _Resume = None,
    print_config: _Print = False,
    dry_run: _DryRun = False,
) -> None:
    """Train a MusicGen from nothing on codes that `data preprocess` made.

    The run lies in output_dir (runs/<experiment_name>): checkpoints, metrics.jsonl, report.html,
    and at the end the composer itself in composer/, for `generate --model`.
    """
    console.start(context)
    require_training_packages()
    from antiphon.train.config import ComposerConfig, load_config, to_yaml

    chosen = load_config(ComposerConfig, config, overrides or ())
    if print_config:
        console.print_text(to_yaml(chosen).rstrip())
        return
    from antiphon.train.composer import ComposerTask

    task = ComposerTask(chosen)
    if dry_run:
        _say_how_large(task, chosen)
        return
    _run(task, chosen, resume, "codes", "composer")


def _run(task: Task, config: RunConfig, resume: str | None, unit: str, name: str) -> None:
    from antiphon.train.checkpoints import read_checkpoint
    from antiphon.train.logs import RunLog
    from antiphon.train.loop import find_checkpoint, train

    output = Path(config.output_dir)
    start = find_checkpoint(output, resume)
    if resume is None and find_checkpoint(output, "auto") is not None:
        raise ConfigError(
            f"{output} holds a run already; expected --resume auto to go on with it, or another "
            "experiment_name"
        )
    log = RunLog(output, unit, show=console.note)
    with StopRequest("saving") as stop:
        finished = train(task, config, resume=start, should_stop=lambda: stop.is_wanted, log=log)
    if finished.stopped and not finished.is_first:
        raise typer.Exit(stop.exit_code or 1)
    if finished.stopped:
        console.note(f"stopped after step {finished.step}; --resume auto goes on from there")
        raise typer.Exit(stop.exit_code or 1)
    if not finished.is_first:
        return
    best = read_checkpoint(finished.best or finished.checkpoint)
    task.export(output / name, best.parts.get("average", best.parts["model"]))
    why = "the best by validation loss" if finished.best else "the last: nothing judged it"
    console.note(f"{name} of step {best.step}, {why}")
    console.print_text(str(output / name))


def _say_how_large(task: Task, config: RunConfig) -> None:
    """A few steps tell the pace; nothing is written but decoded sound."""
    import torch

    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    # Weights, gradients and two moments, in float32; what is computed comes on top.
    memory = 16 * parameters
    task.begin()
    training = config.training
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    seconds = []
    for step in range(3):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, config.trainer.precision == "bf16-mixed"):
            total = task.model(task.batch(step, 0, 1), step)["total"]
        total.backward()
        seconds.append(time.perf_counter() - started)
    pace = min(seconds) * training.accumulate
    told = {
        "parameters": parameters,
        "memory_mb": round(memory / 1e6),
        "steps": training.max_steps,
        "seconds_per_step": round(pace, 3),
        "hours": round(pace * training.max_steps / 3600, 3),
    }
    console.print_text(json.dumps(told))


def _note_decoding(done: int, total: int) -> None:
    if done == 1 or done * 10 // total > (done - 1) * 10 // total:
        console.note(f"decoding the sound, once: {done:,} of {total:,} clips")


def require_training_packages() -> None:
    """Raise DependencyError where one of them is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "lightning", "hydra") if find_spec(name) is None]
    if missing:
        raise DependencyError(f"training needs {', '.join(missing)}; pip install 'antiphon[train]'")
