"""Plain JSON into frozen dataclasses, strictly: unknown keys and wrong types are errors that name
their place. Knows none of the classes it fills."""

from __future__ import annotations

from typing import TypeVar

from antiphon.errors import ConfigError

T = TypeVar("T")
_SHOWN_PROBLEMS = 3


def read_json(kind: type[T], text: str | bytes, what: str) -> T:
    """Read one JSON object into the dataclass `kind`; `what` names it in messages.

    Raises ConfigError, also those that the dataclass itself raises.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

    # Marks `kind`; the dataclasses nested in it inherit. They themselves know nothing of pydantic.
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    try:
        return TypeAdapter(with_config(config)(kind)).validate_json(text)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc']) or what}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        more = len(problems) - _SHOWN_PROBLEMS
        raise ConfigError(
            f"{what} is not valid: {'; '.join(problems[:_SHOWN_PROBLEMS])}"
            + (f"; and {more} more" if more > 0 else "")
        ) from error
