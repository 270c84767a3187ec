"""`antiphon evaluate`: judging models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import composing, console

if TYPE_CHECKING:
    from antiphon.evaluate.statistics import Estimate

CIRCLE_EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon evaluate circle\n"
    "    antiphon evaluate circle --prompts 50 --json\n"
    "    antiphon evaluate circle --model runs/composer/composer"
)
_EVERY = 20  # pieces between two lines
evaluate = typer.Typer(name="evaluate", help="Judge models.")


@evaluate.callback()
def _group() -> None:
    """Judge models."""


@evaluate.command(
    short_help="Was what was asked for heard?",
    epilog=CIRCLE_EXAMPLES,
)
def circle(
    context: typer.Context,
    model: composing.ModelName = None,
    model_size: composing.ModelSize = None,
    prompts: Annotated[int, typer.Option(min=2, metavar="N", help="How many.")] = 200,
    adapter: composing.Adapter = None,
    precision: composing.PrecisionName = None,
    threads: composing.Threads = None,
    device: composing.Device = None,
    compile_model: composing.Compile = None,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
) -> None:
    """Ask, play, listen: prompts to the composer, its sound to the listener, and whether what was
    asked for was heard.

    Of each control: the share that was heard, with its 95 % interval (for energy the correlation);
    the same of these scores played by instruments; and of these sounds against other prompts.
    """
    given = dict(locals())
    settings = console.start(context)
    from antiphon.evaluate.circle import play_circle, to_dict

    composer = composing.load(settings, given)

    def tell(done: int, total: int) -> None:
        if done % _EVERY == 0 or done == total:
            console.note(f"heard {done} of {total} pieces")

    result = play_circle(composer, prompts, tell)
    if as_json:
        console.print_json(json.dumps(to_dict(result)))
        return
    lines = [f"{'':<13}{'heard':>20}{'by instruments':>22}{'other prompts':>20}{'wishes':>9}"]
    for row in result.rows:
        cells = (_shown(row.heard), _shown(row.ceiling), _shown(row.chance))
        lines.append(
            f"{row.control:<13}{cells[0]:>20}{cells[1]:>22}{cells[2]:>20}{row.heard.count:>9}"
        )
    lines.append(f"{result.prompts} prompts; the instruments: {result.played_by}")
    console.print_text("\n".join(lines))


def _shown(one: Estimate) -> str:
    if one.value is None:
        return "-"
    return f"{one.value:.2f} ({one.low:.2f}-{one.high:.2f})"
