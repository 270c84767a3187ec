"""The program `antiphon`: which commands there are, and how it ends."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from typer.exceptions import TyperException

from antiphon import __version__, threads
from antiphon.cli import (
    arrange,
    ask,
    benchmark,
    chat,
    console,
    convert,
    data,
    data_corpus,
    demo,
    describe,
    evaluate,
    generate,
    generate_batch,
    health,
    interactive,
    jobs,
    measure,
    models,
    serve,
    train,
)
from antiphon.errors import AntiphonError, DiskFullError, StorageError

# The one program under all its names; help and errors say the one it was called by.
_NAMES = ("antiphon", "music-gen", "music-gen-train", "music-gen-api")
_SHORT_FOR = {"music-gen-train": ("train", "composer"), "music-gen-api": ("serve",)}
# May stand anywhere on the line, as people put them, though they belong to the program itself.
_GLOBAL_OPTIONS = ("--log-level", "--log-format")

app = typer.Typer(
    name="antiphon",
    help="Music in, true words out; words in, music out. Numbers are measured, never guessed.",
    epilog="Examples:\n\n\b\n"
    "    antiphon demo  (arrange a piece, hear it, see it measured and described)\n"
    "    antiphon describe song.mp3  (measured facts and five descriptions)\n"
    "    antiphon describe music/ --info --jsonl music.jsonl  (a whole library, resumable)",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
)
for _command, _in_short, _examples in (
    (describe.describe, "Recordings, or whole libraries, in words.", describe.EXAMPLES),
    (ask.ask, "One answer about a recording.", ask.EXAMPLES),
    (chat.chat, "A conversation about a recording.", chat.EXAMPLES),
    (measure.measure, "Tempo, key, chords, sections, loudness and more.", measure.EXAMPLES),
    (arrange.arrange, "Write a piece and play it.", arrange.EXAMPLES),
    (generate.generate, "A prompt in, music out.", generate.EXAMPLES),
    (
        generate_batch.generate_batch,
        "A file of prompts in, a folder of pieces out.",
        generate_batch.EXAMPLES,
    ),
    (
        interactive.interactive,
        "Compose, hear it, change one thing, again.",
        interactive.EXAMPLES,
    ),
    (benchmark.benchmark, "How fast a composing model is here.", benchmark.EXAMPLES),
    (train.profile, "Where the time of training steps goes.", train.PROFILE_EXAMPLES),
    (convert.convert, "A safe checkpoint of one that is not.", convert.CONVERT_EXAMPLES),
    (convert.export, "A composing model in another form.", convert.EXPORT_EXAMPLES),
    (serve.serve, "The API and the page.", serve.EXAMPLES),
    (demo.demo, "A first piece: arranged, played, measured, described.", demo.EXAMPLES),
    (health.doctor, "Check this installation.", health.EXAMPLES),
):
    app.command(short_help=_in_short, epilog=_examples)(_command)
data.data.command(
    short_help="Arranged pieces with exact truth.", epilog=data_corpus.SYNTHESIZE_EXAMPLES
)(data_corpus.synthesize)
data.data.command(short_help="Recordings to codes.", epilog=data_corpus.PREPROCESS_EXAMPLES)(
    data_corpus.preprocess
)
data.data.command(short_help="What a composer would be fed.", epilog=data_corpus.INSPECT_EXAMPLES)(
    data_corpus.inspect
)
app.add_typer(data.data)
app.add_typer(train.train)
app.add_typer(evaluate.evaluate)
app.add_typer(models.models)
app.add_typer(jobs.jobs)
app.add_typer(jobs.keys)
app.add_typer(health.config)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"antiphon {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    log_level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="debug, info, warning or error: what is logged."),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORM", help="text, or json for one object per line.")
    ] = None,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code. Every error is one line on stderr."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):  # what the terminal's encoding lacks is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    threads.use_one()
    name = _name()
    given = sys.argv[1:] if arguments is None else arguments
    given = _normalised([*_SHORT_FOR.get(name, ()), *given])
    try:
        code: int | None = app(given, prog_name=name, standalone_mode=False)
    except TyperException as error:
        console.note(_usage_line(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        return console.print_error(_from_the_system(error))
    except Exception as error:  # noqa: BLE001 - the border of the program
        return console.print_error(error)
    return code or 0


def _name() -> str:
    called = Path(sys.argv[0]).stem  # without the .exe of Windows
    return called if called in _NAMES else _NAMES[0]


def _terminate(number: int, frame: FrameType | None) -> None:
    """End by way of every `finally`, so that no temporary file is left."""
    raise SystemExit(128 + number)


def _normalised(arguments: Sequence[str]) -> list[str]:
    """Options with `-` for `_`, the global ones in front; nothing behind `--` is touched."""
    arguments = list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    in_front: list[str] = []
    rest: list[str] = []
    words = _spelled_out(arguments[:end])
    for word in words:
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name = name.replace("_", "-")
        if name not in _GLOBAL_OPTIONS:
            rest.append(name + equals + value)
        elif equals:
            in_front.append(name + equals + value)
        elif (following := next(words, None)) is not None:
            in_front += [name, following]
        else:
            rest.append(name)
    return in_front + rest + arguments[end:]


def _spelled_out(words: list[str]) -> Iterator[str]:
    """`--compile` alone means that it is true; typer knows no value that may be left out."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        is_alone = word == "--compile" and following.lower() not in ("true", "false")
        yield "--compile=true" if is_alone else word


def _usage_line(error: TyperException) -> str:
    """`error: no such option: --foo; antiphon describe --help tells more`."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context: typer.Context | None = getattr(error, "ctx", None)
    command = _name() if context is None else context.command_path
    return f"error: {message[:1].lower()}{message[1:]}; '{command} --help' tells more"


def _from_the_system(error: OSError) -> AntiphonError:
    """What the system refused outside of any file of ours: mostly stdout on a full disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        # What could not be written is still in the buffer, and would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DiskFullError("cannot write the results: no space left; free some space")
    return StorageError(f"the system refused: {error}")
