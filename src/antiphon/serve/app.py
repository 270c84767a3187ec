"""The API as an ASGI application: `antiphon serve`, or for development

uvicorn antiphon.serve.app:app --reload
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon import __version__
from antiphon.errors import AntiphonError
from antiphon.serve.guards import Guards, problem_headers
from antiphon.serve.metrics import counted
from antiphon.serve.options import ServeOptions
from antiphon.serve.problems import Problem, Refused, problem_of
from antiphon.serve.routes import chat, composing, files, jobs, listening, ops
from antiphon.serve.service import Service
from antiphon.serve.tools import http_app

_DESCRIPTION = """Music in, true words out; words in, music out.

Long work is a job: it is accepted for good, survives everything, and has one result. Every request
that fails is answered with `{"error": {message, type, param, code}}`, and with the header
`x-should-retry`, which says whether trying again can help.
"""

logger = logging.getLogger(__name__)


def create_app(options: ServeOptions, runtime: Path, parent: Connection | None = None) -> FastAPI:
    """The application of one HTTP worker; the owners' sockets lie in `runtime`. The parent says
    when no new work is to be taken, and when to end."""
    service = Service(options, runtime)
    mcp, while_served = http_app(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.connected(), while_served():
            if parent is not None:
                loop = asyncio.get_running_loop()
                loop.add_reader(parent.fileno(), _told, parent, app)
            yield

    app = FastAPI(
        title="antiphon", version=__version__, description=_DESCRIPTION, lifespan=lifespan,
        docs_url=None, redoc_url=None, separate_input_output_schemas=False,
    )  # fmt: skip
    app.state.service = service
    app.state.on_stop = None
    for part in (jobs, chat, composing, files, listening, ops):
        app.include_router(part.router)
    app.router.routes.extend(mcp.routes)
    _answer_errors(app)
    app.add_middleware(Guards, service=service)
    app.add_middleware(_Counting)
    if options.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=options.origins, allow_methods=["*"],
            allow_headers=["*"], expose_headers=["x-request-id", "retry-after", "location"],
        )  # fmt: skip
    return app


def _told(parent: Connection, app: FastAPI) -> None:
    """By the parent: "drain", then "stop"; its death is ours."""
    try:
        word, _ = parent.recv()
    except (EOFError, OSError):
        os._exit(1)
    app.state.service.is_draining = True
    if word == "stop" and app.state.on_stop is not None:
        asyncio.get_running_loop().remove_reader(parent.fileno())
        app.state.service.stop()
        app.state.on_stop()


def _answer_errors(app: FastAPI) -> None:
    """Every failure in one form."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return _answer(error.problem)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        places = [str(one) for one in first["loc"][1:]]
        name = ".".join(places)
        return _answer(
            Problem(400, "invalid_value", f"{name or 'the body'}: {first['msg']}"[:500],
                    name[:200] or None)
        )  # fmt: skip

    @app.exception_handler(HTTPException)
    async def from_the_framework(request: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}
        code = codes.get(error.status_code, "invalid_request")
        answer = _answer(Problem(error.status_code, code, str(error.detail)))
        answer.headers.update(error.headers or {})
        if error.status_code in (408, 413):
            answer.headers["connection"] = "close"
        return answer

    @app.exception_handler(AntiphonError)
    async def ours(request: Request, error: AntiphonError) -> Response:
        problem = problem_of(error, request.state.reference)
        if problem.status >= 500:
            logger.error("request %s failed", request.state.reference, exc_info=error)
        return _answer(problem)


def _answer(problem: Problem) -> JSONResponse:
    return JSONResponse(
        {"error": problem.to_dict()}, status_code=problem.status, headers=problem_headers(problem)
    )


class _Counting:
    """How many requests, how fast, by route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                seconds = time.perf_counter() - started
                counted(route, scope["method"], message["status"], seconds)
            await send(message)

        await self._app(scope, receive, watched)


def __getattr__(name: str) -> FastAPI:
    """`app`, for development: one process with the models' owners beside it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from antiphon.serve.loading import owner_specs
    from antiphon.serve.supervisor import Owners

    options = ServeOptions()
    runtime = Path(tempfile.mkdtemp(prefix="antiphon-"))
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    made = create_app(options, runtime)
    inner = made.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Owners(options, runtime, owner_specs(options)):
            async with inner(app):
                yield

    made.router.lifespan_context = lifespan
    globals()["app"] = made
    return made
