"""`antiphon models`: what is here, what it may be used for, and how it gets here or goes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console
from antiphon.cli.byte_progress import shown_bytes, size_text
from antiphon.errors import ConfigError, ModelMissingError

if TYPE_CHECKING:
    from antiphon.models.store import Stored
    from antiphon.models.verifying import FileCheck

_NAME = typer.Argument(metavar="NAME", help="A name of `models ls --all`, a quant, or ORG/NAME.")

models = typer.Typer(name="models", help="Models: what is here and what it may be used for.")


@models.callback(invoke_without_command=True)
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@models.command(
    short_help="What is here, and what it may be used for.",
    epilog="Examples:\n\n\b\n    antiphon models ls\n    antiphon models ls --all --json",
)
def ls(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the known models that are not here.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the models on this machine: size, complete or partial, licence and what it allows."""
    folder = console.start(context).models
    from antiphon.models import here, known, locate

    found = here(folder)
    if everything:
        found += [model for model in known() if model not in found]
    by_name = {model.name: model for model in found}

    def show(name: str) -> None:
        stored = locate(by_name[name], folder)
        if as_json:
            console.print_json(json.dumps(_as_fields(stored)))
        else:
            console.print_text(_line(stored))

    console.for_each(list(by_name), show)
    if not found:
        console.note(f"no models in {folder}; 'antiphon models ls --all' shows what is known")


@models.command(
    short_help="Fetch a model.",
    epilog="Examples:\n\n\b\n"
    "    antiphon models pull Q6_K\n"
    "    antiphon models pull nvidia/music-flamingo-hf\n"
    "    antiphon models pull facebook/musicgen-small\n"
    "    antiphon models pull IQ3_M --from /media/usb/models\n\n"
    "Run the same command again after an interruption. A model behind a licence needs HF_TOKEN, "
    "which is sent to https://huggingface.co only.",
)
def pull(
    context: typer.Context,
    name: Annotated[str, _NAME],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FOLDER|URL", help="A folder, or a mirror of the hub."),
    ] = None,
) -> None:
    """Fetch the files of a model into the models folder, and check them.

    Only plain data is fetched: no pickles, no code. Sizes and checksums are recorded beside the
    files, for `models verify`.
    """
    folder = console.start(context).models
    from antiphon.models import get, pull

    for_use = get(name, folder).model
    unknown = "its licence is not known here; its page on the hub says what it allows"
    terms = f"{for_use.licence}, {for_use.allows}" if for_use.licence else unknown
    console.note(f"{for_use.name}: {terms}")
    try:
        with shown_bytes(f"pulling {name}") as show:
            done = pull(
                name,
                folder,
                source=source,
                on_progress=lambda progress: show(progress.done_bytes, progress.total_bytes),
            )
    except KeyboardInterrupt:
        console.note("interrupted; the same command goes on where this one stopped")
        raise
    if done.pickles:
        console.note(f"left out, as pickles can run code: {', '.join(done.pickles)}")
    count = len(done.fetched)
    console.note(
        f"{done.stored.model.name}: {count:,} files fetched, {len(done.kept):,} were here; "
        f"{size_text(done.stored.size_bytes)}"
    )
    console.print_text(str(done.stored.path))


@models.command(
    short_help="Check models for damage.",
    epilog="Examples:\n\n\b\n    antiphon models verify\n    antiphon models verify Q6_K --json",
)
def verify(
    context: typer.Context,
    name: Annotated[str | None, _NAME] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Check the size and the sha256 of every file of a model, or of all that are here.

    Exit code 1 when a file is damaged or missing. A file of which no checksum is known is said to
    be so; `models pull` from where it came from records one.
    """
    folder = console.start(context).models
    from antiphon.models import get, here

    damaged: list[str] = []

    def one(name: str) -> None:
        stored = get(name, folder)
        if stored.state == "absent":
            raise ModelMissingError(
                f"model {name!r} is not in {folder} (ANTIPHON_MODELS); "
                "'antiphon models ls' shows what is"
            )
        checks = _verify_shown(stored)
        if any(check.verdict in ("missing", "damaged") for check in checks):
            damaged.append(name)
        _print_checks(stored, checks, as_json=as_json)

    console.for_each([model.name for model in here(folder)] if name is None else [name], one)
    if damaged:
        raise typer.Exit(1)


@models.command(
    short_help="Where a model is.",
    epilog="Examples:\n\n\b\n    antiphon models path Q6_K",
)
def path(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Print the file (GGUF) or the folder (checkpoint) of a model. Exit code 4 if it is not here
    or only in part."""
    folder = console.start(context).models
    from antiphon.models import find

    console.print_text(str(find(name, folder)))


@models.command(
    short_help="Delete a model.",
    epilog="Examples:\n\n\b\n    antiphon models rm music-flamingo-hf-Q8_0",
)
def rm(
    context: typer.Context,
    name: Annotated[str, _NAME],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the files of a model from the models folder, after asking; never anything outside.

    A projector that another model there needs is kept.
    """
    folder = console.start(context).models
    from antiphon.models import get, remove

    stored = get(name, folder)
    if stored.state != "absent" and not yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"nobody is there to ask whether {name!r} is to go; add --yes")
        what = f"{stored.model.name}, {size_text(stored.size_bytes)} in {stored.folder}"
        try:
            confirmed = typer.confirm(f"delete {what}?", err=True)
        except typer.Abort as error:  # Ctrl-C or Ctrl-D at the question
            raise KeyboardInterrupt from error
        if not confirmed:
            console.note("nothing deleted")
            raise typer.Exit(1)
    remove(stored, folder)
    console.note(f"{stored.model.name} deleted, {size_text(stored.size_bytes)}")


def _line(stored: Stored) -> str:
    model = stored.model
    terms = f"{model.licence}: {model.allows}" if model.licence else "licence not known"
    size = size_text(stored.size_bytes) if stored.size_bytes else "-"
    return f"{model.name:<42}{model.kind or '-':<14}{size:>9}  {stored.state:<9} {terms}"


def _as_fields(stored: Stored) -> dict[str, object]:
    model = stored.model
    return {
        "name": model.name,
        "kind": model.kind,
        "state": stored.state,
        "path": str(stored.path),
        "size_bytes": stored.size_bytes,
        "lacking": list(stored.lacking) if stored.state == "partial" else [],
        "licence": model.licence,
        "allows": model.allows,
        "repo": model.repo,
        "revision": stored.record.revision if stored.record else model.revision,
        "architecture": model.architecture,
        "cap_seconds": model.cap_seconds,
        "quant": model.quant,
    }


def _verify_shown(stored: Stored) -> tuple[FileCheck, ...]:
    from antiphon.models.verifying import bytes_to_read, verify

    total, done = bytes_to_read(stored), 0
    with shown_bytes(f"verifying {stored.model.name}") as show:

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            show(done, total)

        return verify(stored, on_bytes)


def _print_checks(stored: Stored, checks: tuple[FileCheck, ...], *, as_json: bool) -> None:
    verdicts = {check.verdict for check in checks}
    if as_json:
        files = [vars(check) for check in checks]
        ok = not verdicts & {"missing", "damaged"}
        console.print_json(json.dumps({"name": stored.model.name, "ok": ok, "files": files}))
        return
    for check in checks:
        console.print_text(f"{check.verdict:<9}{stored.folder / check.name}: {check.found}")
