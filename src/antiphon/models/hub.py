"""The Hugging Face hub and addresses laid out like it: lists, answers, and who sees the token.

    <base>/<repo>/resolve/<revision>/<file>
    <base>/api/models/<repo>/tree/<revision>?recursive=true

`HF_TOKEN` goes to the hub itself and to nobody else, wherever a redirect leads.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from pathlib import PurePosixPath
from typing import IO

from antiphon.addresses import check_address, shown
from antiphon.errors import ConfigError, ModelError, StorageError
from antiphon.models.manifest import (
    DATA_SUFFIXES,
    PICKLE_SUFFIXES,
    ModelFile,
    is_safe_name,
)

HUB = "https://huggingface.co"
TOKEN_VARIABLE = "HF_TOKEN"
TIMEOUT_SECONDS = 60.0  # without a byte
_JSON_LIMIT_BYTES = 32 << 20
_MAX_PAGES = 100
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_NEXT_PAGE = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')
_COMMIT = re.compile(r"[0-9a-f]{40}")


class AnsweredError(StorageError):
    """The server answered, but not with what was asked for."""

    def __init__(self, message: str, status: int, headers: Message) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers

    @property
    def is_passing(self) -> bool:
        """Whether trying again may help."""
        return self.status in _PASSING


class UnreachableError(StorageError):
    """There was no answer, or it broke off."""


@dataclass(frozen=True)
class Listing:
    """The data files of a repository, and the names of the pickles left out."""

    files: tuple[ModelFile, ...]
    pickles: tuple[str, ...]


@dataclass(frozen=True)
class Mirror:
    """`base` has no `/` at its end; without a repo the files lie right below it."""

    base: str
    repo: str | None

    def __str__(self) -> str:
        return shown(self.base)

    def file_url(self, name: str, revision: str) -> str:
        quoted = urllib.parse.quote(name)
        if self.repo is None:
            return f"{self.base}/{quoted}"
        return f"{self.base}/{self.repo}/resolve/{urllib.parse.quote(revision, safe='')}/{quoted}"

    def open(self, url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """Ask for `url`. Raises AnsweredError, UnreachableError."""
        all_headers = {"User-Agent": "antiphon", "Accept-Encoding": "identity", **(headers or {})}
        request = urllib.request.Request(url, headers=all_headers)
        try:
            _authorise(request)
            opener = urllib.request.build_opener(_Redirects)
            response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                message = f"{shown(url)} answers {error.code} ({error.reason}){self._hint(error)}"
                raise AnsweredError(message, error.code, error.headers) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise UnreachableError(f"{shown(url)} cannot be reached: {reason}") from error
        return response

    def commit(self, revision: str) -> str | None:
        """The commit that `revision` is now; None where the mirror does not tell."""
        if self.repo is None:
            return None
        if _COMMIT.fullmatch(revision):
            return revision
        try:
            answer, _ = self._json(self._api("revision", revision))
        except AnsweredError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise
            return None
        commit = answer.get("sha") if isinstance(answer, dict) else None
        return commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else None

    def listing(self, revision: str) -> Listing | None:
        """What the repository holds at `revision`; None where the mirror has no such list.

        Raises ModelError for a name that leads out of the model's folder, StorageError.
        """
        if self.repo is None:
            return None
        first = self._api("tree", revision) + "?recursive=true"
        url: str | None = first
        entries: list[object] = []
        for _ in range(_MAX_PAGES):
            if url is None:
                break
            try:
                page, url = self._json(url)
            except AnsweredError as error:
                if error.status == http.HTTPStatus.NOT_FOUND and not entries:
                    return None
                raise
            if not isinstance(page, list):
                raise StorageError(f"{shown(first)} answers with no list; use another mirror")
            entries += page
        if url is not None:
            raise StorageError(f"{shown(first)} goes on for over {_MAX_PAGES} pages")
        return self._listing(entries)

    def _listing(self, entries: list[object]) -> Listing:
        files: list[ModelFile] = []
        pickles: list[str] = []
        for entry in entries:
            if not isinstance(entry, dict) or entry.get("type") != "file":
                continue
            name = entry.get("path")
            if not isinstance(name, str):
                raise StorageError(f"{self} lists {entry!r:.100}; expected a file with its path")
            parts = PurePosixPath(name).parts
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in PICKLE_SUFFIXES:
                pickles.append(name)
            elif suffix in DATA_SUFFIXES and not any(re.match(r"\.[^.]", part) for part in parts):
                files.append(self._file(name, entry))
        return Listing(tuple(files), tuple(pickles))

    def _file(self, name: str, entry: dict[str, object]) -> ModelFile:
        if not is_safe_name(name):
            raise ModelError(
                f"{self} lists a file {name!r}, which does not stay inside of the model's folder; "
                "nothing is fetched from there, use another mirror"
            )
        lfs = entry.get("lfs")  # the size and sha256 of what is not kept in git itself
        source = lfs if isinstance(lfs, dict) else entry
        size = source.get("size")
        sha256 = lfs.get("oid") if isinstance(lfs, dict) else None
        try:
            return ModelFile(
                name,
                size if isinstance(size, int) else None,
                sha256 if isinstance(sha256, str) else None,
            )
        except ConfigError as error:
            raise StorageError(f"{self} lists what no file can be: {error}") from error

    def _json(self, url: str) -> tuple[object, str | None]:
        """The answer, and the address of its next page on the same server."""
        try:
            with self.open(url, {"Accept": "application/json"}) as response:
                data = response.read(_JSON_LIMIT_BYTES)
                link = _NEXT_PAGE.search(response.headers.get("Link", ""))
            answer: object = json.loads(data)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{shown(url)} broke off: {error}") from error
        except ValueError as error:
            raise StorageError(
                f"{shown(url)} does not answer with JSON; use a mirror laid out like {HUB}"
            ) from error
        next_url = urllib.parse.urljoin(url, link[1]) if link else None
        if next_url is not None and _origin(next_url) != _origin(url):
            raise StorageError(f"{shown(url)} goes on at another server, {shown(next_url)}")
        return answer, next_url

    def _api(self, what: str, revision: str) -> str:
        quoted = urllib.parse.quote(revision, safe="")
        return f"{self.base}/api/models/{self.repo}/{what}/{quoted}"

    def _hint(self, error: urllib.error.HTTPError) -> str:
        if error.code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            if _origin(self.base) != _origin(HUB):
                return f"; {TOKEN_VARIABLE} is sent to {HUB} only"
            if _token():
                return (
                    f": the token in {TOKEN_VARIABLE} does not open it; accept its licence at "
                    f"{HUB}/{self.repo} with the account of the token, or check the name"
                )
            return (
                f": it is gated, or not there; accept its licence at {HUB}/{self.repo}, make a "
                f"token at {HUB}/settings/tokens and set {TOKEN_VARIABLE} to it"
            )
        if error.code == http.HTTPStatus.NOT_FOUND:
            return ": it is not there; check the name, or use --from with another place"
        if error.code in _PASSING:
            return "; try again later"
        return ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https to http."""

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
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise ConfigError(f"{shown(req.full_url)} leads to {shown(newurl)}, without encryption")
        # Range and If-Range go along; Authorization does not, see `_authorise`.
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            _authorise(request)
        return request


def _authorise(request: urllib.request.Request) -> None:
    """Add the token if the request goes to the hub; urllib does not carry it over to the next."""
    if _origin(request.full_url) == _origin(HUB) and (token := _token()):
        request.add_unredirected_header("Authorization", f"Bearer {token}")


def _token() -> str:
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise ConfigError(f"{TOKEN_VARIABLE} holds characters no token has; set it anew")
    return token


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urllib.parse.urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port
