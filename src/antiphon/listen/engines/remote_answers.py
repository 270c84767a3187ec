"""What a server says, as text: one JSON object, or server-sent events that each bring a little.

Knows no connection. What a server may get wrong, it gets wrong here: see the messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from antiphon.errors import ConfigError
from antiphon.listen.engines import Answer, Finish, OnToken
from antiphon.listen.engines.remote_calls import RemoteError
from antiphon.listen.engines.texts import Telling, repeats, split_thoughts

EVENTS = "text/event-stream"
_DONE = b"[DONE]"
_FINISHES: Mapping[object, Finish] = {"stop": "stop", "length": "length"}
_LOOK_CHARACTERS = 64  # of new text before it is searched for a loop again
_TOO_LONG = re.compile(r"maximum (context|model) length|context window|exceeds? the .*context size")

Shown = Callable[[object], str]


class Transcript:
    """An answer as far as it has come; `shown` makes what a server said fit for a message."""

    def __init__(self, shown: Shown, on_token: OnToken | None = None) -> None:
        self._shown = shown
        self._on_token = on_token
        self._telling = Telling()
        self._text = ""
        self._looked_at = 0
        self._thoughts = ""
        self._finish: Finish | None = None
        self._counts: tuple[int, int] | None = None

    def read(self, content_type: str, blocks: Iterable[bytes]) -> None:
        """Raises RemoteError for what is no answer, ConfigError for a question that is too long."""
        if content_type != EVENTS:
            data = b"".join(blocks)
            self._add(self._parsed(data), "message")
        else:
            for event in events(blocks):
                if event == _DONE:
                    break
                self._add(self._parsed(event), "delta")
                if self._is_loop():
                    self._finish = "repetition"
                    break
        if self._finish is None:
            raise RemoteError(
                "the server's answer ends without a finish_reason, so it broke off after "
                f"{len(self._text)} characters; try again"
            )
        if repeats(self._text or self._thoughts):
            self._finish = "repetition"
        self._tell(self._telling.end())

    def answer(
        self, seconds: float, notes: tuple[str, ...], finish: Finish | None = None
    ) -> Answer:
        """What has come; `finish` in place of the server's."""
        text, thoughts = split_thoughts(self._text)
        thoughts = "\n".join(filter(None, (self._thoughts.strip(), thoughts))) or None
        finish = finish or self._finish or "cancelled"
        if self._counts is None and finish in ("stop", "length"):
            notes += ("the server does not tell how many tokens it read",)
        prompt, cached = self._counts or (0, 0)
        return Answer(text, finish, prompt, cached, seconds, thoughts, notes)

    def _parsed(self, data: bytes) -> Mapping[str, object]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RemoteError(f"the server answers {self._shown(data)} in place of JSON") from error
        if not isinstance(value, dict):
            raise RemoteError(f"the server answers {self._shown(data)}; expected a JSON object")
        if value.get("error"):
            raise failure(RemoteError(f"the server failed: {self._shown(value)}", body=value))
        return value

    def _add(self, chunk: Mapping[str, object], part: str) -> None:
        self._count(chunk)
        choices = chunk.get("choices")
        if choices == [] and part == "delta":
            return  # the last one, of counts only
        choice = choices[0] if isinstance(choices, list) and choices else None
        said = choice.get(part) if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(said, dict):
            raise RemoteError(
                f"the server's answer has no choices with a {part}: {self._shown(chunk)}; "
                "expected an OpenAI-compatible server"
            )
        text, thoughts = said.get("content"), said.get("reasoning_content", said.get("reasoning"))
        if not isinstance(text, str | None):
            raise RemoteError(f"the server's text is {self._shown(chunk)}; expected a string")
        if isinstance(thoughts, str):
            self._thoughts += thoughts
        if text:
            self._text += text
            self._tell(self._telling.feed(text))
        reason = choice.get("finish_reason")
        if reason is not None and reason not in _FINISHES:
            raise RemoteError(f"the server ended the answer by {reason!r}; expected stop or length")
        self._finish = _FINISHES.get(reason, self._finish)

    def _count(self, chunk: Mapping[str, object]) -> None:
        usage = chunk.get("usage")
        if not isinstance(usage, dict):
            return
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        counts = [
            n if isinstance(n, int) and n >= 0 else 0 for n in (usage.get("prompt_tokens"), cached)
        ]
        self._counts = (counts[0], counts[1])

    def _is_loop(self) -> bool:
        length = len(self._text) + len(self._thoughts)
        if length - self._looked_at < _LOOK_CHARACTERS:
            return False
        self._looked_at = length
        return repeats(self._text or self._thoughts)

    def _tell(self, piece: str) -> None:
        if piece and self._on_token is not None:
            self._on_token(piece)


def events(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of server-sent events, whatever the blocks cut in two; comments are left out."""
    data: list[bytes] = []
    for line in _lines(blocks):
        if not line:
            if data:
                yield b"\n".join(data)
            data = []
        name, _, value = line.partition(b":")
        if name in (b"data", b"error"):  # llama-server named the second so for a while
            value = value.removeprefix(b" ")
            data.append(value if name == b"data" or b'"error"' in value else _as_error(value))
    if data:
        yield b"\n".join(data)


def _as_error(value: bytes) -> bytes:
    return b'{"error":' + value + b"}"


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that end in LF, CRLF or CR, and what is left at the end."""
    rest: list[bytes] = []
    for block in blocks:
        rest.append(block)
        if b"\n" not in block and b"\r" not in block and not rest[0].endswith(b"\r"):
            continue  # 16 MB without an end are not searched for one at each block
        # A CR at the end may be the first half of CRLF.
        *lines, last = re.split(rb"\r\n|\n|\r(?!\n|\Z)", b"".join(rest))
        yield from lines
        rest = [last] if last else []
    yield from (line for line in b"".join(rest).split(b"\r") if line)


def failure(error: RemoteError) -> RemoteError | ConfigError:
    """`error`, or what it means where the question was longer than the server's context.

    llama-server has numbers in its answer, vLLM and OpenAI a sentence.
    """
    body = error.body.get("error", error.body) if isinstance(error.body, dict) else None
    if not isinstance(body, dict):
        return error
    if body.get("type") == "exceed_context_size_error":
        return ConfigError(
            f"sound and text are {body.get('n_prompt_tokens')} tokens, and the server's context "
            f"holds {body.get('n_ctx')}; give llama-server a larger --ctx-size (750 per 30 s of "
            "sound, and the answer), or a shorter recording"
        )
    message = body.get("message")
    if isinstance(message, str) and _TOO_LONG.search(message):
        return ConfigError(f"sound and text are too long for the model: {error}")
    return error
