"""`antiphon serve`: the API and the page, or an MCP server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antiphon.cli import console
from antiphon.errors import DependencyError

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon serve  (the page at http://127.0.0.1:8000)\n"
    "    antiphon serve --workers 4 --port 9000 --listener Q6_K --composer musicgen-small/\n"
    "    antiphon keys add phone && antiphon serve --host 0.0.0.0 --allow-host music.lan\n"
    "    antiphon serve --mcp  (tools for an assistant, over stdin and stdout)"
)


def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Where to listen; others than this machine need a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(metavar="N", help="HTTP processes; they share the models.")
    ] = 1,
    composer: Annotated[
        str | None,
        typer.Option(metavar="M", help="A checkpoint's folder or hub name; none. [the packaged]"),
    ] = None,
    listener: Annotated[
        str | None,
        typer.Option(metavar="M", help="A GGUF file, checkpoint or address; none. [the packaged]"),
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="For each model.")] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Speak MCP on stdin and stdout, and serve no HTTP.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that browsers may call it by; repeatable."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Another site that may use it; repeatable."),
    ] = None,
    allow_media_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Fetch sound from there when asked; repeatable."),
    ] = None,
    media_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="file:// may name what is below it.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let others in without a key.")
    ] = False,
    queue: Annotated[
        int, typer.Option(metavar="N", min=1, help="Requests that may wait for each model.")
    ] = 64,
    grace: Annotated[
        float, typer.Option(metavar="S", help="Seconds for what runs when it is stopped.")
    ] = 30.0,
    keep_days: Annotated[
        float, typer.Option(metavar="D", min=0, help="How long results and files are kept.")
    ] = 30.0,
    keep_gb: Annotated[
        float, typer.Option(metavar="GB", min=0, help="How much is kept altogether.")
    ] = 20.0,
) -> None:
    """Serve both halves to applications and people: an API in OpenAI's shape, jobs that survive
    anything, and a page.

    One process owns each model; jobs and files lie in the state folder. Ctrl-C finishes what runs;
    twice ends at once.
    """
    settings = console.start(context)
    from antiphon.serve.options import Caps, Retention, ServeOptions

    options = ServeOptions(
        host=host,
        port=port,
        workers=workers,
        composer=composer,
        listener=listener,
        threads=threads,
        state=settings.state,
        models=settings.models,
        hosts=tuple(allow_host or ()),
        origins=tuple(cors_origin or ()),
        media_hosts=tuple(allow_media_host or ()),
        media_root=media_root,
        insecure=insecure,
        grace_seconds=grace,
        caps=Caps(queue=queue),
        retention=Retention(keep_days, keep_gb),
    )
    try:
        if mcp:
            from antiphon.serve.tools import serve_stdio

            serve_stdio(options)
            return
        from antiphon.serve.supervisor import serve as run

        code = run(options, on_ready=lambda address: console.note(f"antiphon is at {address}"))
    except ImportError as error:
        raise DependencyError(
            f"serving needs a package that is not installed: {error.name}; "
            "`pip install 'antiphon[serve]'`"
        ) from error
    raise typer.Exit(code)
