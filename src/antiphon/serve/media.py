"""The recordings that a request brings with it: as base64, at an address, or as a file's id. They
become files; what is in them is decoded nowhere but in a process that may die of it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from antiphon.models.record import sha256_of
from antiphon.serve.bodies import Part
from antiphon.serve.problems import refuse
from antiphon.serve.remote import fetch_allowed
from antiphon.serve.service import Service
from antiphon.serve.uploads import Upload, tidy_name, too_large


@dataclass(frozen=True)
class Sound:
    """A recording on the disk; `digest` tells it from others."""

    path: Path
    filename: str
    digest: str


async def stored_file(service: Service, file_id: str, key: str, param: str) -> Upload:
    """Raises Refused (404) for a file that is not there, or another key's."""
    upload: Upload | None = await service.on_disk(service.uploads.find, file_id, key)
    if upload is None:
        raise refuse(404, "file_not_found", f"there is no file {file_id[:100]!r}", param)
    return upload


async def sound_of_file(service: Service, file_id: str, key: str, param: str) -> Sound:
    """A stored file as a recording. Raises Refused as `stored_file`."""
    upload = await stored_file(service, file_id, key, param)
    return Sound(service.uploads.place(upload), upload.filename, upload.sha256)


async def sound_of_part(service: Service, part: Part, key: str, folder: Path) -> Sound | None:
    """What a part of a message holds, if it is sound; new files go to `folder`."""
    if part.type == "input_audio":
        if part.input_audio is None:
            raise refuse(400, "missing_audio", "the part has no input_audio", "input_audio")
        data, name = part.input_audio.data, f"audio.{tidy_name(part.input_audio.format)}"
        if data.startswith("data:"):
            return await _of_url(service, data, folder, "input_audio")
        return await _written(service, _decoded(data, service, "input_audio"), folder, name)
    if part.type == "audio_url":
        if part.audio_url is None:
            raise refuse(400, "missing_audio", "the part has no audio_url", "audio_url")
        return await _of_url(service, part.audio_url.url, folder, "audio_url")
    if part.type == "file":
        return await _of_reference(service, part, key, folder)
    return None


async def _of_reference(service: Service, part: Part, key: str, folder: Path) -> Sound:
    if part.file is not None and part.file.file_id is not None:
        return await sound_of_file(service, part.file.file_id, key, "file")
    if part.file is not None and part.file.file_data is not None:
        data = part.file.file_data
        if data.startswith("data:"):
            return await _of_url(service, data, folder, "file")
        name = tidy_name(part.file.filename or "audio")
        return await _written(service, _decoded(data, service, "file"), folder, name)
    raise refuse(400, "missing_audio", "the part has neither file_id nor file_data", "file")


async def _of_url(service: Service, url: str, folder: Path, param: str) -> Sound:
    scheme, _, rest = url.partition(":")
    scheme = scheme.strip().lower()
    if scheme == "data":
        head, comma, data = rest.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise refuse(400, "bad_data_url", "expected data:audio/…;base64,…", param)
        return await _written(service, _decoded(data, service, param), folder, "audio")
    if scheme == "file":
        return await _below_root(service, url, param)
    # Not among those few threads that everything waits for which is on the disk.
    path = await asyncio.to_thread(
        fetch_allowed, url, folder, service.options.media_hosts, service.caps.audio_bytes
    )
    name = tidy_name(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    return Sound(path, name, await service.on_disk(sha256_of, path))


async def _below_root(service: Service, url: str, param: str) -> Sound:
    """A file that the server's owner has put where requests may name it."""
    root = service.options.media_root
    if root is None:
        raise refuse(403, "file_urls_off", "file:// is not served here; upload the file", param)
    try:
        name = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
        real = Path(os.path.realpath(name))
        inside = real.is_relative_to(os.path.realpath(root)) and real.is_file()
    except (ValueError, OSError):  # no address; a NUL; longer than names are
        inside = False
    if not inside:
        raise refuse(404, "file_not_found", "there is no such file below the media folder", param)
    if real.stat().st_size > service.caps.audio_bytes:
        raise too_large(service.caps.audio_bytes)
    return Sound(real, tidy_name(real.name), await service.on_disk(sha256_of, real))


def _decoded(text: str, service: Service, param: str) -> bytes:
    if len(text) * 3 // 4 > service.caps.audio_bytes + 3:
        raise too_large(service.caps.audio_bytes)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refuse(400, "bad_base64", f"the sound is no base64: {error}", param) from error
    if not data:
        raise refuse(400, "empty_file", "the sound is empty", param)
    return data


async def _written(service: Service, data: bytes, folder: Path, name: str) -> Sound:
    def write() -> Sound:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"sent-{len(os.listdir(folder))}"
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
        return Sound(path, name, hashlib.sha256(data).hexdigest())

    return await service.on_disk(write)
