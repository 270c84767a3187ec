"""Fetch a sound file over http(s) into a local file, with caps on size and time.

For the command line, whose user names the address; it does not keep a server from reaching into
its own network.
"""

from __future__ import annotations

import http.client
import os
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from antiphon.addresses import check_address, shown
from antiphon.audio import AUDIO_SUFFIXES
from antiphon.errors import AudioLimitError, StorageError

BLOCK_BYTES = 1 << 16


def fetch(
    url: str, directory: str | os.PathLike[str], *, max_bytes: int, timeout_seconds: float
) -> Path:
    """Fetch `url` into a new file in `directory`, readable by its owner only; the caller's to keep.

    Raises ConfigError for an address that is not http(s), also one that is redirected to,
    AudioLimitError for more than `max_bytes`, StorageError for everything that fails on the way or
    is not done after `timeout_seconds`. No file is left behind by an error.
    """
    check_address(url)
    deadline = time.monotonic() + timeout_seconds
    named = repr(shown(url))
    request = urllib.request.Request(
        url, headers={"User-Agent": "antiphon", "Accept-Encoding": "identity"}
    )
    try:
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(request, timeout=timeout_seconds) as response:
            return _save(response, url, Path(directory), max_bytes, deadline)
    except urllib.error.HTTPError as error:
        raise StorageError(f"{named} answers {error.code} ({error.reason})") from error
    except urllib.error.URLError as error:
        raise StorageError(f"{named} cannot be fetched: {error.reason}") from error
    except TimeoutError as error:
        raise StorageError(f"{named} was not fetched within {timeout_seconds:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StorageError(f"{named} cannot be fetched: {error}") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only: urllib itself would go on to ftp."""

    max_redirections = 5

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _save(
    response: http.client.HTTPResponse, url: str, folder: Path, max_bytes: int, deadline: float
) -> Path:
    length = response.headers.get("Content-Length", "")
    declared = int(length) if length.isdigit() else None
    suffix = Path(urllib.parse.urlsplit(url).path).suffix.lower()
    handle, name = tempfile.mkstemp(
        prefix="antiphon-", suffix=suffix if suffix in AUDIO_SUFFIXES else "", dir=folder
    )
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _check_size(declared or 0, url, max_bytes)
            received = 0
            # read1: what has come, so that a trickle meets the deadline.
            while data := response.read1(BLOCK_BYTES):
                received += len(data)
                _check_size(received, url, max_bytes)
                if time.monotonic() > deadline:
                    raise TimeoutError
                file.write(data)
        if declared is not None and received < declared:
            raise StorageError(
                f"{shown(url)!r} broke off after {received:,} of {declared:,} bytes; try again"
            )
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _check_size(size: int, url: str, max_bytes: int) -> None:
    if size > max_bytes:
        raise AudioLimitError(
            f"{shown(url)!r} is larger than {max_bytes:,} bytes; "
            "fetch it yourself, or raise the cap"
        )
