"""Messages between HTTP workers and owners, over a socket that only this user can open: a length,
then JSON. Sound does not travel here; it lies in files."""

from __future__ import annotations

import asyncio
import json
import struct

MAX_BYTES = 256 << 20
_LENGTH = struct.Struct("<I")

Message = dict[str, object]


def packed(message: Message) -> bytes:
    data = json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(data)) + data


async def received(reader: asyncio.StreamReader) -> Message:
    """The next message. Raises asyncio.IncompleteReadError at the end, ValueError for nonsense."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_BYTES:
        raise ValueError(f"a message of {length:,} bytes")
    message = json.loads((await reader.readexactly(length)).decode("utf-8", "surrogatepass"))
    if not isinstance(message, dict):
        raise ValueError(f"a message that is a {type(message).__name__}")
    return message
