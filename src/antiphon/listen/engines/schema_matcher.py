"""Only those tokens that a JSON schema allows, by llguidance where it is installed.

Asking for JSON in words is unreliable; with this even a random model writes valid JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from antiphon.errors import ConfigError

if TYPE_CHECKING:
    import torch


class SchemaMatcher:
    """Which token may come next in one answer; `reset` begins it again.

    Raises ConfigError when llguidance is not installed or does not take the schema.
    """

    def __init__(self, tokenizer: Any, schema: Mapping[str, object], vocabulary: int) -> None:
        try:
            import llguidance.hf
        except ImportError as error:
            raise ConfigError(
                "answers of a JSON schema need llguidance, which is not installed; "
                "`pip install llguidance`, or ask without a schema"
            ) from error
        # White space of its own choice is what a model wanders off into: 1 of 3 valid, not 3.
        try:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(
                json.dumps(dict(schema)), defaults={"whitespace_flexible": False}
            )
            tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary)
            self._matcher = llguidance.LLMatcher(tokens, grammar)
            problem = self._matcher.get_error()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the JSON schema is not accepted: {error}") from error
        if problem:
            raise ConfigError(f"the JSON schema is not accepted: {str(problem).splitlines()[0]}")

    def reset(self) -> None:
        self._matcher.reset()

    def allowed(self, logits: torch.Tensor) -> torch.Tensor:
        """`logits` [V] with minus infinity where the schema does not allow the token next."""
        import torch

        # Its torch helper is compiled by inductor at import: half a minute without a cache.
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        free = np.unpackbits(bits, bitorder="little")[: len(logits)].astype(bool)
        return logits.masked_fill(~torch.from_numpy(free).to(logits.device), float("-inf"))

    def consume(self, token: int) -> None:
        self._matcher.consume_token(token)
