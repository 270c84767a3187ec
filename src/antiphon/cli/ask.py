"""`antiphon ask`: one question about one recording."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console, listening
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.description import Policy
    from antiphon.listen.windows import LongMode

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon ask song.mp3 'What key and tempo is it in?'\n"
    "    antiphon ask song.mp3 'Compare section A with B'\n"
    "    antiphon ask song.mp3 'Which instruments open the piece?' --model Q6_K\n"
    "    antiphon ask song.mp3 'Which key is it in?' --model http://localhost:8080/v1 --json\n"
    "    antiphon ask take.wav 'Is the intonation steady?' --model nvidia/music-flamingo-hf\n\n"
    "Without --model the answer comes from what is measured and heard: key, tempo, metre, chords, "
    "sections, loudness and the like. A number in a model's answer is checked against what was "
    "measured (--facts)."
)
MAX_SCHEMA_BYTES = 256 * 1024


def ask(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A sound file, or https:// file.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask of it.")],
    model: listening.ModelName = None,
    facts: listening.FactsPolicy = "annotate",
    hint_facts: listening.HintFacts = False,
    long: listening.Long = "truncate",
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Answer as JSON of this JSON schema."),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="QUESTION is the whole prompt; its <sound> is the audio."),
    ] = False,
    max_new_tokens: listening.MaxNewTokens = None,
    temperature: listening.Temperature = None,
    top_p: listening.TopP = None,
    top_k: listening.TopK = None,
    seed: listening.Seed = None,
    precision: listening.PrecisionName = None,
    gpu_layers: listening.GpuLayers = None,
    context_tokens: listening.Context = None,
    threads: listening.Threads = None,
    device: listening.Device = None,
    attention: listening.AttentionName = None,
    compile_model: listening.Compile = None,
    adapter: listening.Adapter = None,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as one object.")] = False,
) -> None:
    """Answer one question about a recording: from what is measured, or with a listening model."""
    settings = console.start(context)
    console.check_paths([path])
    if raw or schema is not None:
        listening.require(model, "--raw" if raw else "--schema")
    chosen = listening.chosen_model(settings, model, listening.model_options(locals()))
    policy, how = listening.policy(facts), listening.long_mode(long)
    wanted = None if schema is None else _read_schema(schema)
    if raw:
        _refuse_beside_raw(policy, hint_facts, how, schema)
    from antiphon.audio import Limits

    limits = Limits(max_seconds=settings.max_seconds)
    with console.local_file(path) as file, chosen.listener() as listener:
        if raw:
            reply = listener.ask_raw(file, question, limits=limits)
        else:
            reply = listener.ask(
                file,
                question,
                facts=policy,
                hint_facts=hint_facts,
                long=how,
                schema=wanted,
                limits=limits,
            )
    if as_json:
        console.print_json(replace(reply, path=path).to_json())
        return
    console.print_text(reply.answer)
    for line in listening.remarks(reply.claims, reply.notes):
        console.note(line)


def _refuse_beside_raw(
    policy: Policy, hint_facts: bool, how: LongMode, schema: Path | None
) -> None:
    """Raise ConfigError for an option that would be ignored."""
    given = {
        f"--facts {policy}": policy not in ("annotate", "off"),
        "--hint-facts": hint_facts,
        f"--long {how}": how != "truncate",
        f"--schema {schema}": schema is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise ConfigError(
                f"{option} does nothing beside --raw, which takes the prompt as it is and checks "
                "nothing; leave out one of them"
            )


def _read_schema(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as opened:
            content = json.loads(opened.read(MAX_SCHEMA_BYTES))
    except OSError as error:
        raise ConfigError(f"--schema {str(file)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--schema {str(file)!r} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"--schema {str(file)!r} holds no object; expected a JSON schema")
    return content
