"""`antiphon jobs` and `antiphon keys`: what a service keeps, looked at from this machine."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from antiphon.cli import console
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.serve.database import Database
    from antiphon.serve.jobs import Job

jobs = typer.Typer(name="jobs", help="Jobs of the service.", no_args_is_help=True)
keys = typer.Typer(name="keys", help="Keys of the service.", no_args_is_help=True)
_PROMPT_LETTERS = 48


def _database(context: typer.Context) -> Database:
    settings = console.start(context)
    from antiphon.serve.database import Database

    return Database(settings.state / "serve")


def _plain(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "model": job.model,
        "key": job.key or None,
        "status": job.status,
        "progress": job.progress,
        "attempts": job.attempts,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "request": job.request.get("asked"),
        "summary": job.summary,
        "result": job.result,
        "error": None
        if job.problem is None
        else {"code": job.problem.code, "message": job.problem.message},
    }


@jobs.command(
    "ls",
    epilog="Examples:\n\n\b\n    antiphon jobs ls --status failed\n    antiphon jobs ls --json",
)
def list_jobs(
    context: typer.Context,
    status: Annotated[
        str | None,
        typer.Option(help="queued, in_progress, completed, failed or cancelled."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="The newest N.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One object per line.")] = False,
) -> None:
    """The newest jobs of the service, whoever asked for them."""
    database = _database(context)
    from antiphon.serve.jobs import FINAL, JobStore, Status

    known: tuple[Status, ...] = ("queued", "in_progress", *FINAL)
    if status is not None and status not in known:
        raise ConfigError(f"--status is {status!r}; expected one of {', '.join(known)}")
    chosen = [one for one in known if one == status]
    page = JobStore(database).page(key=None, limit=limit, statuses=chosen)
    assert page is not None, "no cursor was given"
    for job in page.jobs:
        if as_json:
            console.print_json(json.dumps(_plain(job)))
            continue
        when = datetime.fromtimestamp(job.created_at)
        console.print_text(f"{job.id}  {job.status:<11} {when:%Y-%m-%d %H:%M:%S}  {_about(job)}")
    if not page.jobs and not as_json:
        console.note("no jobs")


def _about(job: Job) -> str:
    said = str(job.request.get("prompt") or job.request.get("filename") or "")
    return f"{job.kind}: {said[:_PROMPT_LETTERS]}"


@jobs.command(epilog="Examples:\n\n\b\n    antiphon jobs show music_… --json")
def show(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: Annotated[bool, typer.Option("--json", help="With its result.")] = False,
) -> None:
    """One job: what was asked, how it stands, where its files are."""
    database = _database(context)
    from antiphon.serve.jobs import JobStore

    store = JobStore(database)
    job = _found(store.find(job_id, key=None), job_id)
    if as_json:
        console.print_json(json.dumps(_plain(job)))
        return
    for name, value in _plain(job).items():
        if name != "result" and value is not None:
            console.print_text(f"{name}: {value}")
    if (place := store.place(job.id)).is_dir():
        console.print_text(f"files: {place}")


@jobs.command(epilog="Examples:\n\n\b\n    antiphon jobs cancel music_…")
def cancel(context: typer.Context, job_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """End a job that waits or runs."""
    database = _database(context)
    from antiphon.serve.jobs import JobStore

    store = JobStore(database)
    before = _found(store.find(job_id, key=None), job_id)
    if before.is_final:
        raise ConfigError(f"job {job_id} is {before.status} already; only one that is not can end")
    after = store.cancel(job_id)
    running = after is not None and after.status == "in_progress"
    console.note("it runs, and is being ended" if running else "cancelled")


@jobs.command(epilog="Examples:\n\n\b\n    antiphon jobs gc --keep-days 7")
def gc(
    context: typer.Context,
    keep_days: Annotated[float, typer.Option(metavar="D", min=0, help="Keep younger ones.")] = 30.0,
    keep_gb: Annotated[float, typer.Option(metavar="GB", min=0, help="Keep the newest.")] = 20.0,
) -> None:
    """Remove old jobs that are done, old files, and what belongs to nothing."""
    database = _database(context)
    from antiphon.serve.options import Retention
    from antiphon.serve.retention import tidy

    gone = tidy(database, Retention(keep_days, keep_gb))
    console.note(
        f"removed {gone.jobs} jobs, {gone.files} files and {gone.orphans} leftovers, "
        f"{gone.bytes / 1e6:.1f} MB"
    )


def _found(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise ConfigError(f"there is no job {job_id!r}; 'antiphon jobs ls' lists them")
    return job


@keys.command(epilog="Examples:\n\n\b\n    antiphon keys add phone")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose, or what for.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one object.")] = False,
) -> None:
    """Make a key. It is printed once and kept nowhere; from then on the service asks for one."""
    database = _database(context)
    from antiphon.serve.keys import Keys

    key, secret = Keys(database).add(name)
    if as_json:
        console.print_json(json.dumps({"id": key.id, "name": key.name, "key": secret}))
    else:
        console.print_text(secret)
        console.note("keep it: it is not shown again")


@keys.command("ls", epilog="Examples:\n\n\b\n    antiphon keys ls")
def list_keys(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One object per line.")] = False,
) -> None:
    """The keys there are, without their secrets."""
    database = _database(context)
    from antiphon.serve.keys import Keys

    for key in Keys(database).all():
        if as_json:
            console.print_json(json.dumps(vars(key)))
        else:
            when = datetime.fromtimestamp(key.created_at)
            console.print_text(f"{key.id}  {when:%Y-%m-%d %H:%M}  {key.name}")


@keys.command(epilog="Examples:\n\n\b\n    antiphon keys rm phone")
def rm(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME|ID")],
) -> None:
    """Remove a key; requests with it are refused from now on. Its jobs are kept as long as all."""
    database = _database(context)
    from antiphon.serve.keys import Keys

    console.note(f"removed {Keys(database).remove(name).name}")
