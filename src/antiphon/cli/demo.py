"""`antiphon demo`: ask, play, listen: the whole circle in one piece."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console, summary
from antiphon.cli.arrange import play_to, score_lines

if TYPE_CHECKING:
    from antiphon.analysis import Adherence

EXAMPLES = "Examples:\n\n\b\n    antiphon demo\n    antiphon demo --output-dir /tmp/first"

_ASKED = {
    "genre": "pop",
    "mood": "happy",
    "tempo": "112",
    "key": "G major",
    "metre": "4/4",
    "bars": "20",
    "intro": True,
    "ending": True,
}
_SEED = 7


def demo(
    context: typer.Context,
    output_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the sound and the notes go.")
    ] = Path("demo"),
) -> None:
    """Arrange a piece, play it, then measure and describe the recording as if it were unknown.

    Prints what was asked beside what was measured, the five texts, and the commands that do the
    same with a file of your own.
    """
    settings = console.start(context)
    from antiphon.analysis import adherence
    from antiphon.arrange import arrange
    from antiphon.audio import Limits
    from antiphon.controls import Controls
    from antiphon.files import storage_error
    from antiphon.listen.loading import load_listener
    from antiphon.midi import write_midi

    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error("write", output_dir, error) from error
    controls = Controls.from_options(_ASKED)
    score = arrange(controls, _SEED)
    sound, notes = output_dir / "demo.wav", output_dir / "demo.mid"
    seconds = play_to(sound, score, controls)
    write_midi(score, notes)
    command = "antiphon arrange " + " ".join(_options())
    console.print_text("\n".join(["1. A piece is arranged and played", f"   {command}"]))
    _print_indented([*score_lines(score, seconds), f"sound {sound}, notes {notes}"])

    description = load_listener().describe(sound, limits=Limits(max_seconds=settings.max_seconds))
    console.print_text("\n2. The recording is measured; asked for and measured:")
    _print_indented(_adherence_lines(adherence(controls, description.facts)))
    console.print_text("\n3. It is described from what was measured and heard")
    _print_indented(summary.description_lines(description))
    console.print_text(
        "\nNow with a recording of your own:\n"
        "   antiphon describe song.mp3\n"
        "   antiphon measure song.mp3 --json\n"
        "   antiphon describe music/ --info --jsonl music.jsonl"
    )


def _options() -> list[str]:
    options = [
        f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}"
        for name, value in _ASKED.items()
    ]
    return [*options, f"--seed {_SEED}", "--output demo.wav"]


def _adherence_lines(found: dict[str, Adherence]) -> list[str]:
    lines = [f"{'':<10}{'asked':>12}{'measured':>12}"]
    for name, one in found.items():
        verdict = "ok" if one.ok else "missed"
        lines.append(f"{name:<10}{_shown(one.requested):>12}{_shown(one.measured):>12}  {verdict}")
    return lines


def _shown(value: float | int | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _print_indented(lines: list[str]) -> None:
    console.print_text("\n".join(f"   {line}".rstrip() for line in lines))
