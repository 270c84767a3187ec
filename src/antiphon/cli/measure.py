"""`antiphon measure`: facts of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antiphon.cli import console, summary

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon measure song.mp3\n"
    "    antiphon measure *.flac --json > facts.jsonl\n"
    "    antiphon measure voice.wav --pitch --json"
)


def measure(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Sound files, folders, https:// files.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    pitch: Annotated[
        bool, typer.Option("--pitch", help="Also the pitch track of a single voice.")
    ] = False,
) -> None:
    """Measure tempo, key, chords, sections, loudness and more; each with its confidence.

    What cannot be measured is said to be so, with the reason; nothing is guessed.
    """
    settings = console.start(context)
    console.check_paths(paths)
    from antiphon.analysis import measure as measure_source
    from antiphon.audio import Limits

    limits = Limits(max_seconds=settings.max_seconds)

    def one(source: str) -> None:
        with console.local_file(source) as path:
            facts = measure_source(path, pitch=pitch, limits=limits).with_path(source)
        if as_json:
            console.print_json(facts.to_json())
        else:
            console.print_text("\n".join([source, *summary.facts_lines(facts), ""]))

    console.for_each(_with_folders(paths), one)


def _with_folders(paths: list[str]) -> list[str]:
    """Folders replaced by the tracks below them."""
    from antiphon.listen.library import Tracks

    found: list[str] = []
    for path in paths:
        if console.is_url(path) or not Path(path).is_dir():
            found.append(path)
            continue
        tracks = [str(track) for track in Tracks((Path(path),))]
        # An empty folder stands for itself, so that opening it says what is wrong.
        found += tracks or [path]
    return found
