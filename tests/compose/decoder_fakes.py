"""A decoder without a model: what comes next is a hash of all that an item has seen. And the logits
of any decoder, real or not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from t5_models import tiny_text_config

from antiphon.compose.checkpoint import CodecConfig, DecoderConfig, MusicGenConfig
from antiphon.compose.engines import Branch, DecoderEngine
from antiphon.compose.patterns import Codes
from antiphon.compose.sampling import Sampling, choose
from antiphon.weights import Float32

_DECODER = DecoderConfig(
    layers=1, width=4, heads=1, ffn_width=4, codebooks=4, card=64, channels=1, max_positions=2048,
    prefix=False,
)  # fmt: skip
_CODEC = CodecConfig(
    sample_rate=32_000, channels=1, filters=4, hidden=8, ratios=(8, 5, 4, 4), codebook_size=64,
    codebook_width=8, bandwidths_kbps=(1.2,), lstm_layers=1, residual_layers=1, kernel=7,
    last_kernel=7, residual_kernel=3, dilation_growth=2, compress=2, causal=False, shortcut=False,
    trim_right_ratio=1.0,
)  # fmt: skip


@dataclass
class FakeSession:
    """Implements `DecoderSession`; `seen` are the steps [I, K, S] so far."""

    items: list[bytes]
    sampling: Sampling
    card: int
    room: int
    seen: Codes
    fed: int = 0

    def feed(self, codes: Codes) -> None:
        self.fed += codes.shape[-1]
        self.seen = np.concatenate([self.seen, codes], axis=-1)
        assert self.seen.shape[-1] <= self.room, "more steps than were announced"

    def logits(self, codes: Codes) -> Float32:
        self.seen = np.concatenate([self.seen, codes[..., None]], axis=-1)
        assert self.seen.shape[-1] <= self.room, "more steps than were announced"
        shape = (self.seen.shape[1], self.card)
        rows = []
        for item, steps in zip(self.items, self.seen, strict=True):
            digest = hashlib.sha256(item + np.ascontiguousarray(steps).tobytes()).digest()
            random = np.random.default_rng(np.frombuffer(digest, np.uint32))
            rows.append(random.normal(size=shape).astype(np.float32))
        return np.stack(rows)

    def next_codes(self, codes: Codes, draws: NDArray[np.float64]) -> Codes:
        return choose(self.logits(codes), draws, self.sampling)


@dataclass
class FakeDecoder:
    """Implements `DecoderEngine`; `sessions` are all that were begun."""

    config: MusicGenConfig = field(
        default_factory=lambda: MusicGenConfig(tiny_text_config(), _CODEC, _DECODER, None, None)
    )
    sessions: list[FakeSession] = field(default_factory=list)

    @classmethod
    def stereo(cls) -> FakeDecoder:
        config = cls().config
        return cls(replace(config, decoder=replace(_DECODER, codebooks=8, channels=2)))

    def begin(
        self,
        items: Sequence[Sequence[Branch]],
        weights: tuple[float, ...],
        sampling: Sampling,
        steps: int,
    ) -> FakeSession:
        known = [repr([b.text, b.chroma]).encode() for item in items for b in item]
        per_item = len(known) // len(items)
        texts = [b"".join(known[n : n + per_item]) for n in range(0, len(known), per_item)]
        decoder = self.config.decoder
        seen = np.zeros((len(items), decoder.codebooks, 0), np.int64)
        self.sessions.append(FakeSession(texts, sampling, decoder.card, steps, seen))
        return self.sessions[-1]


def our_logits(
    engine: DecoderEngine,
    items: Sequence[Sequence[Branch]],
    codes: Codes,
    guidance: float = 3.0,
    *,
    fed: int = 0,
    room: int = 0,
) -> Float32:
    """[I, S, K, V] of the steps after the first `fed`, which are taken in at once."""
    weights = () if guidance in (0.0, 1.0) else (guidance,)
    steps = codes.shape[-1]
    session = engine.begin(items, weights, Sampling(guidance=guidance), steps + room)
    if fed:
        session.feed(codes[..., :fed])
    return np.stack([session.logits(codes[..., step]) for step in range(fed, steps)], axis=1)
