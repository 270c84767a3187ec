"""`antiphon interactive`: compose, hear it, change one thing, again."""

from __future__ import annotations

import io
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from antiphon.cli import composing, console, wishes
from antiphon.cli.session import Asked, Session, help_text

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon interactive\n"
    "    antiphon interactive --model musicgen-small/ --duration 10 --output-dir ideas/\n"
    "    printf 'slow blues\\n/tempo 92\\n/save blues.wav\\n' | antiphon interactive\n\n"
    "In the session: a prompt, or /tempo 92, /key A minor, /seed, /again, /history, /back N, "
    "/save FILE, /play, /help, /quit. Ctrl-C ends a piece, at the prompt the session."
)


def interactive(
    context: typer.Context,
    model: composing.ModelName = None,
    model_size: composing.ModelSize = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the pieces go. [antiphon-session-DATE-TIME]"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the first piece; else random.")
    ] = None,
    genre: wishes.Genre = None,
    mood: wishes.Mood = None,
    tempo: wishes.Tempo = None,
    key: wishes.KeyName = None,
    metre: wishes.Metre = None,
    instruments: wishes.Instruments = None,
    without: wishes.Without = None,
    energy: wishes.Energy = None,
    duration: wishes.Duration = None,
    bars: wishes.Bars = None,
    sections: wishes.Sections = None,
    intro: wishes.Intro = False,
    ending: wishes.Ending = False,
    section: composing.SectionTexts = None,
    negative: composing.Negative = None,
    continued: composing.Continue = None,
    melody: composing.Melody = None,
    from_score: composing.FromScore = None,
    loop_bars: composing.LoopBars = None,
    candidates: composing.Candidates = None,
    temperature: composing.Temperature = None,
    top_k: composing.TopK = None,
    top_p: composing.TopP = None,
    guidance: composing.Guidance = None,
    score_guidance: composing.ScoreGuidance = None,
    adapter: composing.Adapter = None,
    precision: composing.PrecisionName = None,
    threads: composing.Threads = None,
    device: composing.Device = None,
    compile_model: composing.Compile = None,
    format: composing.Format = None,
    sample_rate: composing.SampleRate = None,
    bit_depth: composing.BitDepth = None,
    channels: composing.Channels = None,
    loudness: composing.LoudnessLufs = None,
    fade_out: composing.FadeOut = None,
) -> None:
    """A session: type a prompt, hear the piece, change one thing, hear it again.

    The options below are what the session begins with. Each piece goes to a file of its own in the
    session's folder, with its description beside it and a line in history.jsonl.
    """
    given = dict(locals())
    options = composing.piece_options(given)
    settings = console.start(context)
    composer = composing.load(settings, given)
    if output_dir is None:
        output_dir = Path(f"antiphon-session-{datetime.now():%Y%m%d-%H%M%S}")
    if seed is None:
        from antiphon.score import drawn_seed

        seed = drawn_seed()
    session = Session(composer, output_dir, settings.max_seconds, Asked("", seed, options))
    session.accepted(session.asked)
    _talk(session)


def _talk(session: Session) -> None:
    """Line after line until the end. No line's error is the session's."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    is_person = sys.stdin.isatty()
    if is_person:
        console.note(f"{help_text()}\n")
    while (line := console.next_line(is_person)) is not None:
        if not line:
            continue
        try:
            if session.do(line):
                break
        except KeyboardInterrupt:
            console.note("stopped; the settings stay as they are")
        except BrokenPipeError:  # nobody reads what is said
            raise
        except Exception as error:  # noqa: BLE001 - the session goes on
            console.print_error(error)
