"""`antiphon demo`: ask, play, listen: the whole circle in one piece."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import composing, console, summary

if TYPE_CHECKING:
    from antiphon.compose.delivery import Delivered

EXAMPLES = "Examples:\n\n\b\n    antiphon demo\n    antiphon demo --output-dir /tmp/first"

_PROMPT = "energetic funk in E minor, 105 bpm, with organ and drums"
_SECONDS, _SEED, _CANDIDATES = 20, 7, 4


def demo(
    context: typer.Context,
    output_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the sound and the notes go.")
    ] = Path("demo"),
) -> None:
    """Compose a piece with the model in the package, then measure and describe the recording.

    Prints what was asked beside what was measured and heard, the five texts, and the commands that
    do the same with words and recordings of your own.
    """
    settings = console.start(context)
    from antiphon.audio import Limits
    from antiphon.compose.delivery import deliver
    from antiphon.compose.options import form_of, requests_of
    from antiphon.files import storage_error
    from antiphon.hearing import load_composer
    from antiphon.listen.loading import load_listener
    from antiphon.midi import write_midi

    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error("write", output_dir, error) from error
    sound, notes = output_dir / "demo.wav", output_dir / "demo.mid"
    composer = load_composer(on_layer=composing.note_preparing)
    options = {"duration": _SECONDS, "candidates": _CANDIDATES}
    requests = requests_of(_PROMPT, _SEED, options, settings.max_seconds)
    performance = composer.renderer.perform(requests)
    (piece,) = deliver(composer, performance, [form_of(sound, {})])
    assert piece.score is not None, "the composer in the package follows a score"
    write_midi(piece.score, notes)
    command = (
        f"antiphon generate {shlex.quote(_PROMPT)} --duration {_SECONDS} --seed {_SEED} "
        f"--candidates {_CANDIDATES}"
    )
    console.print_text(
        "\n".join(["1. A prompt becomes a score, and the score music", f"   {command}"])
    )
    _print_indented([f"sound {sound}, notes {notes}", *piece.notes])
    console.print_text("\n2. The recording is measured and heard; asked for, and what is there:")
    _print_indented(_adherence_lines(piece))
    description = load_listener().describe(sound, limits=Limits(max_seconds=settings.max_seconds))
    console.print_text("\n3. It is described, as if it were unknown")
    _print_indented(summary.description_lines(description))
    console.print_text(
        "\nNow with words and recordings of your own:\n"
        '   antiphon generate "slow jazz in Bb major with piano, 72 bpm" --candidates 4\n'
        "   antiphon describe song.mp3\n"
        "   antiphon describe music/ --info --jsonl music.jsonl"
    )


def _adherence_lines(piece: Delivered) -> list[str]:
    lines = [f"{'':<10}{'asked':>12}{'found':>12}"]
    for name, one in piece.adherence.items():
        assert isinstance(one, dict), "adherence is plain data"
        asked, measured = (summary.plain(one[key]) for key in ("requested", "measured"))
        verdict = "ok" if one["ok"] else "missed"
        lines.append(f"{name:<10}{asked:>12}{measured:>12}  {verdict}")
    return lines


def _print_indented(lines: list[str]) -> None:
    console.print_text("\n".join(f"   {line}".rstrip() for line in lines))
