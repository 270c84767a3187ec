"""How much of a machine llama.cpp takes for a model: tokens of context, threads.

What memory has to do with it is decided in the worker, which knows the devices.
"""

from __future__ import annotations

from antiphon.errors import ConfigError
from antiphon.listen.engines import MAX_NEW_TOKENS
from antiphon.listen.engines.gguf_files import ARCHITECTURE, GgufHeader
from antiphon.listen.windows import WINDOW_SECONDS

CAP_SECONDS = 600  # of the AudioFlamingo3 class
WINDOW_TOKENS = 750  # llama.cpp makes as many of every window, however little is in it
TEXT_TOKENS = 2_048  # that the context has room for beside the longest clip
TEMPLATE_TOKENS = 64  # roles, line ends, the template's own system message
TURN_TOKENS = 8


def context_tokens(model: GgufHeader, context: int | None) -> int:
    trained = model.number(f"{ARCHITECTURE}.context_length")
    if context is None:
        windows = CAP_SECONDS // WINDOW_SECONDS
        return min(windows * WINDOW_TOKENS + TEXT_TOKENS + MAX_NEW_TOKENS, trained)
    least = least_context(context)
    if not least <= context <= trained:
        raise ConfigError(
            f"context is {context} tokens; expected {least} (one window of 30 s) to {trained} "
            f"(what {model.path.name} was trained with)"
        )
    return context


def least_context(context: int | None) -> int:
    """One window with little text where the user says so, else five windows with what is usual."""
    if context is not None:
        return WINDOW_TOKENS + 2 * TEMPLATE_TOKENS
    return 5 * WINDOW_TOKENS + TEXT_TOKENS + MAX_NEW_TOKENS


def windows_in(context: int) -> int:
    """How many windows the context has room for beside text and answer, which come first only in
    a large one."""
    room = context - TEXT_TOKENS - MAX_NEW_TOKENS
    return max(room // WINDOW_TOKENS, context // 2 // WINDOW_TOKENS, 1)


def at_least(least: int, name: str, value: int | None) -> int | None:
    if value is not None and value < least:
        raise ConfigError(f"{name} is {value}; expected {least} or more")
    return value
