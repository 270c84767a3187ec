"""What stands before every route: who asks from where, how much they send and how slowly; and the
headers that go with every answer. An ASGI middleware; knows no route but those that are public."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.serve.options import MIB, ServeOptions, is_loopback
from antiphon.serve.problems import Problem, problem_of
from antiphon.serve.service import Service

PUBLIC = ("/", "/health", "/ready", "/openapi.json", "/v1/server", "/favicon.ico")
PUBLIC_FOLDERS = ("/assets/",)
MULTIPART = ("/v1/files", "/v1/audio/transcriptions", "/api/v1/upload")
_OWN_CHECKS = ("/mcp",)  # speaks JSON-RPC, which has its own answers
_SAFE = ("GET", "HEAD", "OPTIONS")
_MOST_HEADERS = 100
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": (
        b"default-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:; object-src "
        b"'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}


logger = logging.getLogger(__name__)


class TooLarge(HTTPException):
    """The body goes on after it should have ended."""

    def __init__(self) -> None:
        super().__init__(413, "the body is too large")


class TooSlow(HTTPException):
    """The body does not come."""

    def __init__(self) -> None:
        super().__init__(408, "the body came too slowly")


class Guards:
    """The middleware."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._options = service.options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        reference = secrets.token_hex(8)
        scope.setdefault("state", {})["reference"] = reference
        body = _Body(receive, self._service)
        has_begun = False

        async def answer(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in _HEADERS.items() if name not in given]
                more.append((b"x-request-id", reference.encode()))
                if b"cache-control" not in given:
                    more.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *more]
            await send(message)

        problem = self._wrong_with(scope, headers) or await self._stranger(scope, headers)
        if problem is not None:
            await send_problem(problem, answer)
            return
        try:
            await self._app(scope, body.receive, answer)
        except Exception as error:
            # Here and not in a handler of the framework's, which stands before all middleware.
            logger.exception("request %s failed", reference)
            if has_begun:
                raise
            await send_problem(problem_of(error, reference), answer)

    def _wrong_with(self, scope: Scope, headers: Headers) -> Problem | None:
        if len(scope["headers"]) > _MOST_HEADERS:
            return Problem(431, "too_many_headers", f"more than {_MOST_HEADERS} headers")
        if "content-length" in headers and "transfer-encoding" in headers:
            return Problem(400, "ambiguous_length", "two lengths were given for one body")
        if not self._knows_host(headers.get("host", "")):
            return Problem(403, "unknown_host", "the service does not go by this host name")
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, scope, headers):
            return Problem(403, "foreign_origin", "requests from other sites are not taken")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._service.caps.body_bytes:
            return _too_large(self._service.caps.body_bytes)
        has_body = length != "0" or "transfer-encoding" in headers
        path = scope["path"]
        if has_body and scope["method"] not in _SAFE and not path.startswith(_OWN_CHECKS):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            wanted = "multipart/form-data" if path in MULTIPART else "application/json"
            if kind != wanted and not (path in MULTIPART[1:2] and kind == "application/json"):
                return Problem(
                    415, "wrong_content_type", f"expected the content type {wanted}",
                    "Content-Type",
                )  # fmt: skip
        return None

    def _knows_host(self, host: str) -> bool:
        """Against pages that call us by a name of theirs (CVE-2024-28224)."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if is_loopback(name) or name.lower() in (one.lower() for one in self._options.hosts):
            return True
        if self._options.is_loopback or self._options.hosts:
            return False
        return bool(name)

    def _is_own(self, origin: str, scope: Scope, headers: Headers) -> bool:
        return origin in self._options.origins or origin == f"{scope['scheme']}://{headers['host']}"

    async def _stranger(self, scope: Scope, headers: Headers) -> Problem | None:
        """Who asks; their key's id goes with the request."""
        scope["state"]["key"] = ""
        path, keys = scope["path"], self._service.keys
        needed = needs_key(self._options, await self._service.on_disk(lambda: keys.are_needed))
        if not needed or scope["method"] == "OPTIONS":
            return None
        secret = _secret(headers)
        key = None if secret is None else await self._service.on_disk(keys.id_of, secret)
        if key is not None:
            scope["state"]["key"] = key
            return None
        if scope["method"] in _SAFE and (path in PUBLIC or path.startswith(PUBLIC_FOLDERS)):
            return None
        said = "expected a key: Authorization: Bearer ak-…" if secret is None else "no such key"
        return Problem(401, "invalid_api_key", said)


def needs_key(options: ServeOptions, there_are_keys: bool) -> bool:
    """Also without any key where strangers could come."""
    return there_are_keys or not (options.is_loopback or options.insecure)


def _secret(headers: Headers) -> str | None:
    """OpenAI's clients send a bearer, ElevenLabs' a header of their own."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return secret.strip()
    return headers.get("xi-api-key")


class _Body:
    """A body that may not be larger or slower than agreed."""

    def __init__(self, receive: Receive, service: Service) -> None:
        self._receive = receive
        self._caps = service.caps
        self._bytes = 0
        self._began = time.monotonic()
        self._is_complete = False

    async def receive(self) -> Message:
        if self._is_complete:  # what is waited for now is the end of the connection
            return await self._receive()
        allowed = self._caps.body_seconds + self._bytes / MIB
        try:
            async with asyncio.timeout(allowed - (time.monotonic() - self._began)):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow from None
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._is_complete = not message.get("more_body", False)
            if self._bytes > self._caps.body_bytes:
                raise TooLarge
        return message


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"the body is too large; expected at most {most:,} bytes")


def problem_headers(problem: Problem) -> dict[str, str]:
    """What tells OpenAI's clients whether to try again."""
    if problem.retry_after_seconds is None:
        return {"x-should-retry": "false"}
    return {"x-should-retry": "true", "retry-after": str(problem.retry_after_seconds)}


async def send_problem(problem: Problem, send: Send) -> None:
    """A whole answer; what is left of the body is not read."""
    data = json.dumps({"error": problem.to_dict()}).encode()
    headers: Sequence[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(data)).encode()),
        *((name.encode(), value.encode()) for name, value in problem_headers(problem).items()),
    ]
    # What stands behind a body whose length is in doubt is no request (RFC 9112, 6.1).
    if problem.status in (408, 413) or problem.code == "ambiguous_length":
        headers = [*headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem.status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": data})
