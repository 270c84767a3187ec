"""`antiphon benchmark`: how fast a composing model is on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from antiphon.cli import composing, console
from antiphon.errors import ConfigError

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon benchmark musicgen-small/\n"
    "    antiphon benchmark musicgen-small/ --precision fp32 --threads 1 --json\n"
    "    antiphon benchmark musicgen-small/ --against transformers  (with torch installed)"
)
_PEERS = ("transformers",)


def benchmark(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A MusicGen checkpoint's folder or hub name.")
    ],
    seconds: Annotated[
        float, typer.Option("--duration", min=1.0, max=30.0, help="Of the piece that is composed.")
    ] = 10.0,
    precision: composing.PrecisionName = None,
    threads: composing.Threads = None,
    device: composing.Device = None,
    compile_model: composing.Compile = None,
    against: Annotated[
        str | None, typer.Option(metavar="PEER", help="transformers, in turn with ours.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> None:
    """Compose a piece and time it: steps, real-time factor, first sound, memory.

    A factor below 1 is faster than real time; loading is not counted. Beside it stands how fast
    this machine reads memory, which is what bounds a decoder.
    """
    settings = console.start(context)
    from antiphon.compose.benchmarking import benchmark as measure
    from antiphon.models import find

    if against not in (None, *_PEERS):
        raise ConfigError(f"--against is {against!r}; expected {', '.join(_PEERS)}")
    folder = find(model, settings.models)
    options = composing.load_options(precision, threads, device, compile_model)
    figures: dict[str, object] = asdict(measure(folder, options, seconds, console.note))
    if against is not None:
        from antiphon.compose.peer import against_transformers

        figures["against"] = against_transformers(folder, options, console.note)
    if as_json:
        console.print_json(json.dumps(figures))
        return
    for name, value in figures.items():
        shown = json.dumps(value) if isinstance(value, dict) else value
        console.print_text(f"{name.replace('_', ' '):<22} {shown}")
