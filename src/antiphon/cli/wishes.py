"""What arrange, generate and interactive share: the controls as options of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

Genre = Annotated[str | None, typer.Option(help="rock, pop, jazz, house, folk, …")]
Mood = Annotated[str | None, typer.Option(help="happy, calm, dark, …; several with commas.")]
Tempo = Annotated[str | None, typer.Option(metavar="BPM", help="40 to 240.")]
KeyName = Annotated[str | None, typer.Option(help="As in 'C# minor', 'Bb major'.")]
Metre = Annotated[str | None, typer.Option(help="3/4 or 4/4.")]
Instruments = Annotated[str | None, typer.Option(help="piano, bass, saxophone, …; with commas.")]
Without = Annotated[str | None, typer.Option(help="Instruments to leave out.")]
Energy = Annotated[str | None, typer.Option(help="low, medium or high.")]
Duration = Annotated[str | None, typer.Option(metavar="SECONDS", help="The length, or:")]
Bars = Annotated[str | None, typer.Option(metavar="N", help="the length in bars, or:")]
Sections = Annotated[
    str | None, typer.Option(help="the form with bars, as in intro:4,verse:8,chorus:8.")
]
Intro = Annotated[bool, typer.Option("--intro", help="Begin with an introduction.")]
Ending = Annotated[bool, typer.Option("--ending", help="Close with an ending.")]


def control_options(parameters: Mapping[str, Any]) -> dict[str, object]:
    """Those of a command's parameters that are controls, by the names of `Controls`."""
    from antiphon.controls import OPTION_NAMES

    return {name: parameters[name] for name in OPTION_NAMES}
