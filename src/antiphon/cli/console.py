"""What the commands share: settings, errors and results on the terminal, files behind addresses.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from antiphon.errors import AntiphonError, ConfigError, DiskFullError

if TYPE_CHECKING:
    from antiphon.settings import Settings

EXIT_FINISHED_WITH_FAILURES = 3
MAX_DOWNLOAD_BYTES = 2 * 2**30
DOWNLOAD_TIMEOUT_SECONDS = 1800.0

logger = logging.getLogger(__name__)


def start(context: typer.Context, **flags: object) -> Settings:
    """The settings under this command's flags and the global ones; from here on there is a log."""
    from antiphon import log, settings

    loaded = settings.load(global_flags(context) | flags)
    log.configure(loaded.log_level, loaded.log_format)
    return loaded


def global_flags(context: typer.Context) -> dict[str, object]:
    """The settings that were given before the command's name."""
    given = context.find_root().params
    return {name: given[name] for name in ("log_level", "log_format")}


def print_line(line: bytes) -> None:
    """One line of JSON with its newline, whatever encoding the terminal has."""
    typer.echo(line, nl=False)


def print_json(text: str) -> None:
    """A JSON text as one line."""
    from antiphon.exports import json_line

    print_line(json_line(text))


def print_text(text: str) -> None:
    """A line for people; what the terminal's encoding lacks is escaped."""
    typer.echo(printable(text))


def note(text: str) -> None:
    """A line for people beside the results."""
    typer.echo(printable(text), err=True)


def printable(text: str) -> str:
    """`text` with the bytes of file names that are no UTF-8 as `\\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def next_line(is_person: bool) -> str | None:
    """The next line of a session without its end, None for the end of the input."""
    if is_person:
        with suppress(EOFError):
            return input("> ").strip()
        return None
    line = sys.stdin.readline()
    return line.strip() if line else None


def print_error(error: Exception) -> int:
    """One `error: …` line on stderr; the exit code that goes with it."""
    if isinstance(error, AntiphonError):
        message, code = str(error), error.exit_code
    else:
        message = (
            f"unexpected {type(error).__name__}: {error}. This is a defect of antiphon; "
            "--log-level debug shows where it happened"
        )
        code = 1
    logger.debug("traceback of the error below", exc_info=error)
    note("error: " + " ".join(message.split()))
    return code


def for_each(items: Sequence[str], work: Callable[[str], None]) -> None:
    """Do `work` for every item; those that fail do not keep the others from being done.

    Raises the error of a single item. Of several, prints each error and ends the program with 3,
    or with the code of the first when none went well.
    """
    codes: list[int] = []
    for item in items:
        try:
            work(item)
        except (DiskFullError, OSError):  # a closed pipe, a full disk: nothing of the item's
            raise
        except Exception as error:
            if len(items) == 1:
                raise
            codes.append(print_error(error))
    if codes:
        some_went_well = len(codes) < len(items)
        raise typer.Exit(EXIT_FINISHED_WITH_FAILURES if some_went_well else codes[0])


def check_paths(paths: Sequence[str]) -> None:
    """Raise ConfigError for an empty path, which would stand for the current folder, and for an
    address that cannot be fetched."""
    if "" in paths:
        raise ConfigError(
            "a path is empty; expected a file or a folder ('.' is this one). Is a variable not set?"
        )
    for path in paths:
        scheme, mark, _ = path.partition("://")
        if mark and scheme.isalpha() and not is_url(path):
            raise ConfigError(
                f"{path!r} is an address of the kind {scheme}; expected http:// or https://, or "
                "download it first"
            )


def is_url(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


@contextmanager
def local_file(source: str) -> Iterator[Path]:
    """The file that `source` names; what an address holds is there as long as the block lasts."""
    if not is_url(source):
        yield Path(source)
        return
    from antiphon.audio import fetch

    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        yield fetch(
            source,
            folder,
            max_bytes=MAX_DOWNLOAD_BYTES,
            timeout_seconds=DOWNLOAD_TIMEOUT_SECONDS,
        )
