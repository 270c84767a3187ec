"""`antiphon doctor` and `antiphon config show`: what works here, and what is set where."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from antiphon.cli import console

EXAMPLES = "Examples:\n\n\b\n    antiphon doctor\n    antiphon doctor --json"

config = typer.Typer(name="config", help="Settings, and where each comes from.")


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="The checks as one JSON object.")] = False,
) -> None:
    """Check this installation: versions, machine, folders, codecs, optional parts.

    Each check is ok, warn (something optional is not there) or fail, with what to do. Exit code 1
    when one fails.
    """
    settings = console.start(context)
    from antiphon.cli.checks import run_checks

    checks = run_checks(settings)
    ok = all(check.status != "fail" for check in checks)
    if as_json:
        console.print_json(json.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}))
    else:
        for check in checks:
            indent = f"\n{'':22}"
            fix = f"{indent}-> " + check.fix.replace("\n", f"{indent}   ") if check.fix else ""
            console.print_text(f"{check.status:<6}{check.name:<16}{check.found}{fix}")
    if not ok:
        raise typer.Exit(1)


@config.callback(invoke_without_command=True)
def _config(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@config.command(
    epilog="Examples:\n\n\b\n    antiphon config show\n    ANTIPHON_JOBS=2 antiphon config show"
)
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="The settings as one object.")] = False,
) -> None:
    """Each setting: its value, where that comes from, and what it is.

    A flag beats ANTIPHON_NAME, that beats ./antiphon.toml, that beats the user's config.toml.
    """
    loaded = console.start(context)
    from antiphon.settings import Settings, config_files, origins

    values = loaded.model_dump(mode="json")
    sources = origins(console.global_flags(context))
    if as_json:
        found = {
            name: {"value": values[name], "origin": sources[name], "description": field.description}
            for name, field in Settings.model_fields.items()
        }
        console.print_json(json.dumps(found))
        return
    for name, field in Settings.model_fields.items():
        value = "not set" if values[name] is None else values[name]
        console.print_text(f"{name} = {value}   [{sources[name]}]\n    {field.description}")
    console.print_text("files: " + ", ".join(map(str, config_files())))
