"""What a client is told when something fails: a status, a stable code, one sentence, and whether
trying again can help. Never a path of ours, never a traceback."""

from __future__ import annotations

import re
from dataclasses import dataclass

from antiphon.errors import (
    AntiphonError,
    AudioDecodeError,
    AudioError,
    AudioLimitError,
    AudioTooShortError,
    ConfigError,
    DiskFullError,
    ModelMissingError,
)

_OPTION = re.compile(r"--([a-z][a-z-]*)")


@dataclass(frozen=True)
class Problem:
    """`param` is the field of the request that is meant; `retry_after_seconds` says when to try
    again, None that it cannot help."""

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after_seconds: int | None = None

    @property
    def kind(self) -> str:
        """OpenAI's `type`."""
        if self.status in (401, 403):
            return {401: "authentication_error", 403: "permission_error"}[self.status]
        if self.status == 429:
            return "rate_limit_error"
        return "invalid_request_error" if self.status < 500 else "server_error"

    def to_dict(self) -> dict[str, object]:
        """The body's `error`, as OpenAI has it."""
        return {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code
        }  # fmt: skip


class Refused(Exception):
    """A request that ends with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def refuse(status: int, code: str, message: str, param: str | None = None) -> Refused:
    """A problem that trying again does not mend."""
    return Refused(Problem(status, code, message, param))


def draining() -> Problem:
    return Problem(
        503, "draining", "the service is being stopped and takes no new work; try again soon",
        None, 5,
    )  # fmt: skip


def too_slow(seconds: float) -> Problem:
    return Problem(504, "deadline", f"it was not done within {seconds:g} s and was ended")


def problem_of(error: Exception, reference: str) -> Problem:
    """What to say of an error that a request met. Of one that is not the request's own only
    `reference` is said, under which it is in the log."""
    said = spoken(str(error))
    if isinstance(error, Refused):
        return error.problem
    if isinstance(error, ConfigError):
        return Problem(400, "invalid_value", said)
    if isinstance(error, ModelMissingError):
        return Problem(400, "needs_a_model", said)
    if isinstance(error, AudioLimitError):
        said = f"{said.partition('. Read a part')[0]}; send a part of it"
    for kind, code in (
        (AudioLimitError, "audio_too_long"),
        (AudioTooShortError, "audio_too_short"),
        (AudioDecodeError, "audio_unreadable"),
        (AudioError, "audio_unusable"),
    ):
        if isinstance(error, kind):
            return Problem(422, code, said)
    if isinstance(error, DiskFullError):
        return Problem(503, "disk_full", "the server's disk is full", None, 60)
    what = "the model failed" if isinstance(error, AntiphonError) else "something went wrong here"
    return Problem(500, "internal_error", f"{what}; the server's log has it under {reference}")


def spoken(message: str) -> str:
    """A message in the words of the API: fields where the command line has options."""
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), message)
