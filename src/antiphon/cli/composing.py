"""What generate, generate-batch, interactive, evaluate and benchmark share: the composing model and
its options, the form of the files, and how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from antiphon.cli import console
from antiphon.cli.listening import truth
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.compose.composer import Composer
    from antiphon.compose.loading import LoadOptions
    from antiphon.settings import Settings

SIZES = ("small", "medium", "large")
_LINE_SECONDS = 5.0  # between progress lines where there is no terminal

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        "--model-path",
        metavar="M",
        help="A MusicGen checkpoint's folder or hub name; synth plays the score exactly.",
    ),
]
ModelSize = Annotated[
    str | None, typer.Option(metavar="SIZE", help="small, medium or large: facebook/musicgen-SIZE.")
]
SectionTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--section",
        metavar="TEXT@SECONDS",
        help="Another prompt from there on; repeatable.",
    ),
]
Adapter = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        help="For --model: a score adapter, with which it follows a score, or a LoRA; repeatable.",
    ),
]
FromScore = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Play this score, .json or .mid, instead of arranging one."),
]
LoopBars = Annotated[
    int | None, typer.Option(metavar="N", help="A loop of exactly so many bars, without a seam.")
]
Candidates = Annotated[
    int | None, typer.Option(metavar="K", help="Compose K, and keep the one that obeys best. [1]")
]
ScoreGuidance = Annotated[
    float | None,
    typer.Option(metavar="G", help="The weight of the score against none. [as --guidance]"),
]
Negative = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What it should not sound like.")
]
Continue = Annotated[
    Path | None, typer.Option("--continue", metavar="FILE", help="Go on from this recording.")
]
Melody = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Follow its melody (melody checkpoints).")
]
Temperature = Annotated[float | None, typer.Option(metavar="T", help="0 is greedy. [1.0]")]
TopK = Annotated[int | None, typer.Option(metavar="K", help="0: no limit. [250]")]
TopP = Annotated[float | None, typer.Option(metavar="P", help="More than 0, up to 1. [1.0]")]
Guidance = Annotated[
    float | None,
    typer.Option(metavar="G", help="The weight of the prompt against none; 1: no guidance. [3.0]"),
]
PrecisionName = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="P", help="8bit (default), fp32, 4bit; fp16 or bf16 on a GPU."
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="At once; 1 on a busy machine.")
]
Device = Annotated[str | None, typer.Option(metavar="D", help="cpu, cuda, cuda:1.")]
Compile = Annotated[
    str | None, typer.Option("--compile", metavar="true|false", help="torch.compile, on a GPU.")
]
Format = Annotated[
    str | None, typer.Option("--format", metavar="F", help="wav, flac, mp3, ogg or opus.")
]
SampleRate = Annotated[
    int | None, typer.Option(metavar="HZ", help="16000, 24000, 32000, 44100 or 48000.")
]
BitDepth = Annotated[int | None, typer.Option(metavar="N", help="16, 24 or, in WAV, 32 (float).")]
Channels = Annotated[int | None, typer.Option(metavar="N", help="1 or 2.")]
LoudnessLufs = Annotated[
    float | None, typer.Option("--loudness", metavar="LUFS", help="Bring it to so many, as in -14.")
]
FadeOut = Annotated[
    float | None, typer.Option("--fade-out", metavar="SECONDS", help="Fall to silence at the end.")
]


def load(settings: Settings, given: Mapping[str, Any]) -> Composer:
    """The composer that a command's parameters name.

    Raises ConfigError for options that contradict each other, ModelMissingError, ModelError.
    """
    from antiphon.compose.requests import SYNTH
    from antiphon.hearing import load_composer

    model = named_model(given["model"], given["model_size"])
    if model == SYNTH:
        # Not --threads: the synth plays on one, which is no more than asked for.
        for name in ("precision", "device", "compile_model", "adapter"):
            if given[name] not in (None, []):
                raise ConfigError(
                    f"--{name.removesuffix('_model')} is an option of a neural model, and the "
                    "synth is none; expected another --model, or none for the one in the package"
                )
    return load_composer(
        model,
        load_options(
            given["precision"],
            given["threads"],
            given["device"],
            given["compile_model"],
            given["adapter"] or (),
        ),
        models=settings.models,
        on_layer=note_preparing,
    )


def load_options(
    precision: str | None,
    threads: int | None,
    device: str | None,
    compile_model: str | None,
    adapters: Sequence[Path] = (),
) -> LoadOptions:
    """The options of a neural model. Raises ConfigError for a `compile_model` that is no truth."""
    from antiphon.compose.loading import LoadOptions

    compiled = compile_model is not None and truth(compile_model)
    return LoadOptions(precision, threads, device, compiled, tuple(adapters))


def note_preparing(done: int, total: int) -> None:
    """A line at the first layer, and at every quarter."""
    if done == 1:
        console.note("preparing the model for this processor; it is kept for the next time")
    elif 4 * done // total > 4 * (done - 1) // total:
        console.note(f"prepared {done} of {total} layers")


def named_model(model: str | None, size: str | None) -> str | None:
    """The model that --model and --model-size name; None: the one in the package. Raises
    ConfigError."""
    if size is not None:
        if size not in SIZES:
            raise ConfigError(f"--model-size is {size!r}; expected one of {', '.join(SIZES)}")
        if model is not None:
            raise ConfigError("--model and --model-size both name a model; expected one of them")
        return f"facebook/musicgen-{size}"
    return model


def piece_options(parameters: Mapping[str, Any]) -> dict[str, object]:
    """Those of a command's parameters that were given and make a piece, by their names."""
    from antiphon.compose.options import NAMES

    values = {**parameters, "continue": parameters["continued"]}
    given = {name: values[name] for name in NAMES}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in given.items()
        if value is not None and value is not False and value != []  # 0 is a value
    }


class Pace:
    """How much sound there is, and how fast it comes."""

    def __init__(self, total_samples: int, sample_rate: int) -> None:
        self.total_seconds = total_samples / sample_rate
        self._rate = sample_rate
        self._samples = 0
        self._started = time.perf_counter()

    def add(self, samples: int) -> None:
        self._samples += samples

    @property
    def seconds(self) -> float:
        """Of sound."""
        return self._samples / self._rate

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work for a second of sound; None before there is any."""
        spent = time.perf_counter() - self._started
        return spent / self.seconds if self._samples else None

    @property
    def left_seconds(self) -> float | None:
        """Of work, by the pace so far."""
        factor = self.real_time_factor
        return None if factor is None else (self.total_seconds - self.seconds) * factor

    def __str__(self) -> str:
        factor, left = self.real_time_factor, self.left_seconds
        known = (
            ""
            if factor is None or left is None
            else f", {factor:.2f} x real time, {left:.0f} s left"
        )
        return f"{self.seconds:.1f} of {self.total_seconds:.1f} s{known}"


@contextmanager
def shown_pace(pace: Pace) -> Iterator[Callable[[int], None]]:
    """A function to be told of new samples; the pace stands on stderr, or comes as a line now and
    then where that is no terminal."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def note(samples: int) -> None:
            nonlocal last
            pace.add(samples)
            if time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                console.note(f"composing: {pace}")

        yield note
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("composing"), BarColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=pace.total_seconds, pace="")

        def show(samples: int) -> None:
            pace.add(samples)
            bar.update(task, completed=pace.seconds, pace=str(pace))

        yield show
