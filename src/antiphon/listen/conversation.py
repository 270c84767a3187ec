"""Conversations as chat templates take them, read into the messages that engines take.

Knows no model and reads no file: how a recording is heard is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from antiphon.errors import ConfigError
from antiphon.listen.engines import HOW_TO_COMPARE, Message, Role

if TYPE_CHECKING:
    from antiphon.listen.tracks import Track

ROLES: tuple[Role, ...] = get_args(Role)


def read_messages(
    messages: Sequence[Message | Mapping[str, object]], hear: Callable[[Any], Track]
) -> tuple[list[Message], Track | None]:
    """The messages, and the recording that they speak of, if any.

    Raises ConfigError for what is no conversation, or one about two recordings.
    """
    read: list[Message] = []
    heard: list[Track] = []
    for number, message in enumerate(messages, start=1):
        where = f"message {number}"
        if isinstance(message, Message):
            read.append(message)
            continue
        role, text, sources = _parts_of(message, where)
        track = None
        for source in sources:
            if heard:
                raise ConfigError(
                    f"{where} has a second recording, and a model hears one; {HOW_TO_COMPARE}"
                )
            track = hear(source)
            heard.append(track)
        read.append(Message(role, text, track.clips[0] if track and track.clips else None))
    return read, heard[0] if heard else None


def _parts_of(message: object, where: str) -> tuple[Role, str, list[object]]:
    """Role, text and recordings of one message."""
    if not isinstance(message, Mapping):
        raise ConfigError(f"{where} is a {type(message).__name__}; expected role and content")
    role, content = message.get("role"), message.get("content")
    unknown = set(message) - {"role", "content"}
    if role not in ROLES or unknown:
        problem = f"has {sorted(map(str, unknown))[0]!r}" if unknown else f"has the role {role!r}"
        raise ConfigError(
            f"{where} {problem}; expected role (one of {', '.join(ROLES)}) and content"
        )
    if isinstance(content, str):
        return role, content, []
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise ConfigError(f"{where} has no content; expected text, or a list of parts")
    texts: list[str] = []
    sources: list[object] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "audio" and (source := part.get("audio", part.get("path"))) is not None:
            sources.append(_checked_source(source, where))
        else:
            raise ConfigError(
                f"{where} has a part {str(part)[:60]!r}; expected "
                '{"type": "text", "text": …} or {"type": "audio", "audio": …}'
            )
    return role, "\n".join(texts), sources


def _checked_source(source: object, where: str) -> object:
    if isinstance(source, str) and source.lower().startswith(("http://", "https://", "data:")):
        raise ConfigError(
            f"{where} has audio at an address; expected a file, its bytes or a Waveform: "
            "download it first"
        )
    is_sound = isinstance(source, str | Path | bytes) or hasattr(source, "read")
    if is_sound or hasattr(source, "samples") or hasattr(source, "clips"):
        return source
    raise ConfigError(
        f"{where} has audio of type {type(source).__name__}; expected a path, the bytes of a file, "
        "a binary file object, a Waveform or a Track"
    )
