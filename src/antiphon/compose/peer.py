"""The same steps by transformers, in turn with ours: what a checkpoint is compared with.

Needs the extra `torch`. Knows nothing of sound: guided steps of the decoder at fp32.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from antiphon import threads
from antiphon.compose.benchmarking import PROMPT, STEP_POSITIONS, session_at
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.compose.requests import Request
from antiphon.errors import DependencyError

if TYPE_CHECKING:
    import torch

_ROUNDS = 7


def against_transformers(
    folder: Path, options: LoadOptions, on_stage: Callable[[str], None] = lambda stage: None
) -> dict[str, object]:
    """Milliseconds of a guided step by both, one after the other in one loop, at the positions of
    `STEP_POSITIONS`, and how many times faster ours is. Raises DependencyError without torch."""
    try:
        import torch
        from transformers import AutoModelForTextToWaveform
    except ImportError as error:
        raise DependencyError(
            "--against transformers needs torch and transformers; install them with "
            "pip install 'antiphon[torch]'"
        ) from error
    count = options.threads or threads.model_threads()
    torch.set_num_threads(count)
    model = load_musicgen(folder, options)
    (branches,) = model.guidance(Request(PROMPT, seed=0), [PROMPT]).sections
    on_stage("loading it with transformers")
    peer = AutoModelForTextToWaveform.from_pretrained(folder, dtype=torch.float32).eval()
    result: dict[str, object] = {"name": "transformers fp32", "threads": count}
    for position in STEP_POSITIONS:
        on_stage(f"steps at position {position}, in turn")
        session = session_at(model.engine, branches, position)
        theirs = PeerSession(peer, position)
        codes = np.zeros((1, model.config.decoder.codebooks), np.int64)
        ours_ms, theirs_ms = [], []
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            session.logits(codes)
            between = time.perf_counter()
            theirs.step()
            ours_ms.append(1000 * (between - started))
            theirs_ms.append(1000 * (time.perf_counter() - between))
        mine, other = statistics.median(ours_ms), statistics.median(theirs_ms)
        result[f"at_{position}"] = {
            "ours_ms": round(mine, 2),
            "theirs_ms": round(other, 2),
            "times_faster": round(other / mine, 2),
        }
    return result


class PeerSession:
    """A guided step of transformers' decoder with a cache of so many positions."""

    def __init__(self, model: torch.nn.Module, position: int) -> None:
        import torch

        config = model.config
        codebooks = config.decoder.num_codebooks
        self._model = model
        states = torch.randn(1, 16, config.decoder.hidden_size)
        self._states = torch.cat([states, torch.zeros_like(states)])  # as its generate() does
        self._mask = torch.cat([torch.ones(1, 16), torch.zeros(1, 16)])
        self._codes = torch.zeros((2 * codebooks, 1), dtype=torch.long)
        self._cache = None
        if position:
            shown = torch.randint(0, config.decoder.vocab_size, (2 * codebooks, position))
            self._advance(shown)

    def step(self) -> None:
        self._advance(self._codes)

    def _advance(self, codes: torch.Tensor) -> None:
        import torch

        with torch.no_grad():
            output = self._model.decoder(
                input_ids=codes,
                encoder_hidden_states=self._states,
                encoder_attention_mask=self._mask,
                cache=self._cache,
                use_cache=True,
            )
        self._cache = output.cache
