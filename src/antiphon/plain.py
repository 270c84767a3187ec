"""Frozen dataclasses to JSON, and strictly back: unknown keys and wrong types are errors that name
their place. Knows none of the classes it handles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar, cast

from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
_SHOWN_PROBLEMS = 3
_LEFT_OUT = frozenset({"reason", "pitch"})
_ADAPTERS: dict[type[object], TypeAdapter[object]] = {}


def write_json(value: object) -> str:
    """A dataclass as one line of strict JSON (no NaN).

    A `reason` or a `pitch` of None is left out: the one belongs to values that could not be had,
    the other to those asked for.
    """
    return json.dumps(value, default=_fields, ensure_ascii=False, allow_nan=False)


def _fields(value: object) -> dict[str, object]:
    # Not dataclasses.asdict, which copies every number of every list: 4 ms a track.
    return {k: v for k, v in vars(value).items() if v is not None or k not in _LEFT_OUT}


def read_json(kind: type[T], text: str | bytes, what: str) -> T:
    """Read one JSON object into the dataclass `kind`; `what` names it in messages.

    Raises ConfigError, also those that the dataclass itself raises.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(text)
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


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Built once for each class: building takes milliseconds, reading microseconds."""
    if kind not in _ADAPTERS:
        from pydantic import ConfigDict, TypeAdapter, with_config

        # Marks `kind`; the dataclasses nested in it inherit. They know nothing of pydantic.
        config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
        _ADAPTERS[kind] = TypeAdapter(with_config(config)(kind))
    return cast("TypeAdapter[T]", _ADAPTERS[kind])
