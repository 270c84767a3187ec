"""`antiphon chat`: a conversation about a recording, turn by turn."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console, listening, summary
from antiphon.errors import AntiphonError, ConfigError

if TYPE_CHECKING:
    from antiphon.audio import Limits
    from antiphon.listen.claims import Policy
    from antiphon.listen.listener import Listener
    from antiphon.listen.tracks import Track

EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon chat song.mp3\n"
    "    antiphon chat song.mp3 --model Q6_K\n"
    "    echo 'What is the mood?' | antiphon chat song.mp3 --model Q6_K\n\n"
    "In the conversation: a question, or /audio FILE, /facts, /kind NAME, /save FILE, /history, "
    "/quit. Ctrl-C ends an answer, twice the conversation. Without --model the answers come from "
    "what is measured and heard."
)
HELP = (
    "/audio FILE  another recording in place of this one; earlier turns stay as text\n"
    "/facts       what was measured\n"
    "/kind NAME   the text of a kind: full, structure; of another set: teaching/timing\n"
    "/history     the conversation so far\n"
    "/save FILE   the conversation as JSON\n"
    "/quit        the end (also Ctrl-D)"
)


def chat(
    context: typer.Context,
    path: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="A sound file to speak of.")
    ] = None,
    model: listening.ModelName = None,
    facts: listening.FactsPolicy = "annotate",
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
) -> None:
    """Talk about a recording: from what is measured, or with a listening model."""
    settings = console.start(context)
    chosen = listening.chosen_model(settings, model, listening.model_options(locals()))
    policy = listening.policy(facts)
    from antiphon.audio import Limits

    limits = Limits(max_seconds=settings.max_seconds)
    with chosen.listener() as listener:
        conversation = _Conversation(listener, policy, limits, has_model=model is not None)
        if path is not None:
            conversation.take(path)
        failed = _talk(conversation)
    if failed:
        raise typer.Exit(1)


def _talk(conversation: _Conversation) -> bool:
    """Line after line until the end; whether one failed where nobody could try again."""
    is_person = sys.stdin.isatty()
    if is_person:
        console.note(f"{HELP}\n")
    failed = False
    while (line := console.next_line(is_person)) is not None:
        if not line:
            continue
        try:
            if conversation.do(line):
                break
        except AntiphonError as error:  # the conversation goes on
            console.print_error(error)
            failed = not is_person
    return failed


@dataclass
class _Conversation:
    """The turns so far. A new recording replaces the old; earlier turns stay as text."""

    listener: Listener
    policy: Policy
    limits: Limits
    has_model: bool
    track: Track | None = None
    taken_at: int = 0  # how many turns there were
    turns: list[dict[str, str]] = field(default_factory=list)

    def take(self, path: str) -> None:
        with console.local_file(path) as file:
            self.track = self.listener.hear(file, facts="annotate", limits=self.limits)
        self.taken_at = len(self.turns)
        for note in self.track.notes:
            console.note(f"note: {note}")

    def do(self, line: str) -> bool:
        """One line of the user; True at the end."""
        if not line.startswith("/"):
            self._ask(line)
            return False
        command, _, argument = line.partition(" ")
        argument = argument.strip()
        if command in ("/quit", "/exit"):
            return True
        if command == "/audio":
            self.take(argument)
        elif command == "/facts":
            measured = self._heard().facts
            assert measured is not None  # `take` asks for them
            console.print_text("\n".join(summary.facts_lines(measured)))
        elif command == "/kind":
            self._write_kind(argument)
        elif command == "/history":
            for turn in self.turns:
                console.print_text(f"{turn['role']}: {turn['content']}")
        elif command == "/save":
            self._save(argument)
        else:
            console.note(HELP)
        return False

    def _ask(self, question: str) -> None:
        streams = self.policy in ("annotate", "off")  # else the text may still change
        with _ctrl_c_cancels(self.listener):
            reply = self.listener.chat(
                self._messages(question),
                facts=self.policy,
                on_token=_print_piece if streams else None,
            )
        console.print_text("" if streams else reply.answer)
        for line in listening.remarks(reply.claims, reply.notes):
            console.note(line)
        if not reply.answer:
            return  # nothing to go on from
        self.turns += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": reply.answer},
        ]

    def _messages(self, question: str) -> list[Mapping[str, object]]:
        """All turns, with the recording in the first since it was taken: so an engine that keeps
        what it has read need not read it again."""
        messages: list[Mapping[str, object]] = [*self.turns, {"role": "user", "content": question}]
        if self.track is not None:
            message = messages[self.taken_at]
            parts = [
                {"type": "audio", "audio": self.track},
                {"type": "text", "text": message["content"]},
            ]
            messages[self.taken_at] = {"role": "user", "content": parts}
        return messages

    def _write_kind(self, kind: str) -> None:
        from antiphon.listen.prompts import load_prompt_set

        prompt_set, _, name = kind.rpartition("/")
        prompts = load_prompt_set(prompt_set or "standard")
        (chosen,) = prompts.select([name])
        prompt = prompts.kinds[chosen]
        if not self.has_model:
            from antiphon.listen.describer import describe

            track = self._heard()
            assert track.facts is not None  # `take` asks for them
            texts = describe(track.facts, track.heard, {chosen: prompt.max_words})
            console.print_text(texts[chosen])
            return
        reply = self.listener.ask(
            self._heard(),
            prompt.prompt,
            facts=self.policy,
            schema=prompt.schema,
            limits=self.limits,
        )
        console.print_text(reply.answer)
        for line in listening.remarks(reply.claims, reply.notes):
            console.note(line)

    def _save(self, file: str) -> None:
        from antiphon.files import atomic_write

        if not file:
            raise ConfigError("/save needs the name of a file")
        saved = {"path": self.track.path if self.track else None, "turns": self.turns}
        text = json.dumps(saved, ensure_ascii=False, indent=2)
        atomic_write(Path(file), f"{text}\n".encode())
        console.note(f"saved to {file}")

    def _heard(self) -> Track:
        if self.track is None:
            raise ConfigError("no recording was given; /audio FILE takes one")
        return self.track


@contextmanager
def _ctrl_c_cancels(listener: Listener) -> Iterator[None]:
    """The first Ctrl-C ends the answer, a second one the program."""

    def cancel(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        # In a thread of its own: the interrupted call may hold what cancelling needs.
        threading.Thread(target=listener.cancel, daemon=True).start()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _print_piece(piece: str) -> None:
    typer.echo(piece, nl=False)
    sys.stdout.flush()
