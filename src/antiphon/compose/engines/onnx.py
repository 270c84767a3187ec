"""MusicGen's decoder on processors, by onnxruntime: the graphs of `decoder_graph`, one KV buffer.

I items, R rows (item and branch of guidance), K codebooks, D width, M capacity of the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from antiphon.compose import decoder_graph
from antiphon.compose.checkpoint import MusicGenConfig
from antiphon.compose.engines import Branch, not_finite, require_positions
from antiphon.compose.patterns import Codes
from antiphon.compose.sampling import Sampling, choose, guided
from antiphon.errors import EngineError
from antiphon.graphs import open_graph
from antiphon.weights import Float32

# Known steps are taken in so many at a time: bounded memory, whatever the length of a prompt.
_FEED_STEPS = 64
_CACHE_POSITIONS = 256  # by so many the cache grows: 5 s of music
# Sums over a text must not depend on how far its neighbours reach: they are taken in vectors of 16,
# to which zeros may be appended.
_TEXT_MULTIPLE = 16


class OnnxDecoder:
    """Implements `DecoderEngine`. The rows of a product are computed two at a time by
    onnxruntime's 8-bit kernels and a single one in another order, so rows come in pairs."""

    def __init__(self, folder: Path, config: MusicGenConfig, threads: int) -> None:
        """Load the graphs of `decoder_graph` that lie in `folder`."""
        self.config = config
        self.folder = folder
        self._threads = threads
        self._step = open_graph(folder, decoder_graph.STEP, threads)
        kinds = {value.name: value.type for value in self._step.get_inputs()}
        self.cache_type = np.int8 if kinds["past_key_0"] == "tensor(int8)" else np.float32

    def begin(
        self,
        items: Sequence[Sequence[Branch]],
        weights: tuple[float, ...],
        sampling: Sampling,
        steps: int,
    ) -> OnnxSession:
        """See `DecoderEngine`."""
        return OnnxSession(self, items, weights, sampling, steps)

    def open_condition(self) -> onnxruntime.InferenceSession:
        """The graph that is needed once for a piece, and not kept in memory meanwhile."""
        return open_graph(self.folder, decoder_graph.CONDITION, self._threads)

    def binding(self) -> onnxruntime.IOBinding:
        return self._step.io_binding()

    def run(self, binding: onnxruntime.IOBinding) -> None:
        self._step.run_with_iobinding(binding)


class OnnxSession:
    """Implements `DecoderSession`."""

    def __init__(
        self,
        engine: OnnxDecoder,
        items: Sequence[Sequence[Branch]],
        weights: tuple[float, ...],
        sampling: Sampling,
        steps: int,
        first_position: int = 0,
    ) -> None:
        """`first_position` other than 0 is for calibration: what is fed counts from there."""
        self._engine = engine
        self._first_position = first_position
        self._decoder = engine.config.decoder
        self._weights = weights
        self._sampling = sampling
        self._items = len(items)
        self._branches = len(weights) + 1
        self._binding = engine.binding()
        self._bound: dict[str, NDArray[np.generic]] = {}  # onnxruntime does not keep them alive
        self._offsets = np.arange(self._decoder.codebooks) * (self._decoder.card + 1)
        self._fed = 0  # steps
        # Row r shows item r % I in branch r // I; an odd one out is paired with a copy of itself.
        pairs = _paired(self._items * self._branches)
        self._row_item = pairs % self._items
        self._bind("row_item", self._row_item)
        self._length = np.zeros(len(pairs), np.int64)  # positions of each row in the cache
        branches = [items[row % self._items][row // self._items] for row in pairs]
        self._added = _added(branches, steps, self._decoder.width)
        condition = engine.open_condition()
        prefixes: list[Float32] = []
        if self._decoder.prefix:
            prefixes = [
                self._prefix(condition, b, items[i])
                for b, i in zip(branches, self._row_item, strict=True)
            ]
        else:
            self._bind_text(condition, branches)
        self._prefix_steps = max((len(prefix) for prefix in prefixes), default=0)
        self._most = steps + self._prefix_steps
        require_positions(self._most, engine.config)
        self._capacity = 0
        self._logits = np.zeros(
            (len(pairs), self._decoder.codebooks * self._decoder.card), np.float32
        )
        self._bind_output("logits", self._logits)
        if prefixes:
            self._feed_prefixes(prefixes)

    def feed(self, codes: Codes) -> None:
        """See `DecoderSession`."""
        for start in range(0, codes.shape[-1], _FEED_STEPS):
            self._advance(codes[..., start : start + _FEED_STEPS])

    def logits(self, codes: Codes) -> Float32:
        """See `DecoderSession`."""
        # [B * I, K * V]; copied, since the next step is written over it.
        raw = self._advance(codes[..., None])[: self._items * self._branches].copy()
        if not np.isfinite(raw).all():
            raise EngineError(self._not_finite())
        shape = (self._branches, self._items, self._decoder.codebooks, self._decoder.card)
        return guided(raw.reshape(shape).transpose(1, 0, 2, 3), self._weights)

    def next_codes(self, codes: Codes, draws: NDArray[np.float64]) -> Codes:
        """See `DecoderSession`."""
        return choose(self.logits(codes), draws, self._sampling)

    def _advance(self, codes: Codes) -> Float32:
        """[I, K, S] -> logits [R, K * V] of the last step."""
        tokens = codes.transpose(0, 2, 1) + self._offsets  # [I, S, K]
        new = np.full(len(self._length), codes.shape[-1], np.int64)
        extra = self._added
        if extra.shape[1] > 1:
            extra = np.ascontiguousarray(extra[:, self._fed : self._fed + codes.shape[-1]])
        self._fed += codes.shape[-1]
        return self._run(tokens, extra, new)

    def _run(self, tokens: Codes, extra: Float32, new: NDArray[np.int64]) -> Float32:
        """`new` positions for each row, of which the longest has as many as `tokens` has steps."""
        steps = tokens.shape[1]
        self._reserve(int(self._length.max()) + steps)
        total = self._length + new
        self._bind("tokens", np.ascontiguousarray(tokens))
        self._bind("extra", extra)
        position = self._first_position + self._length[:, None] + np.arange(steps)
        self._bind("position", np.minimum(position, self._decoder.max_positions - 1))
        self._bind("last", (total - 1).astype(np.int32))
        self._bind("longest", np.array(total.max(), np.int32))
        self._bind("new", new.astype(np.int32))
        self._engine.run(self._binding)
        self._length = total
        return self._logits

    def _bind(self, name: str, values: NDArray[np.generic]) -> None:
        value = onnxruntime.OrtValue.ortvalue_from_numpy(values)
        self._binding.bind_ortvalue_input(name, value)
        self._bound[name] = values

    def _reserve(self, positions: int) -> None:
        """Room for so many positions in the cache, one buffer for each layer's keys and values that
        is read and written in place. Attention takes longer the larger it is, filled or not."""
        if positions <= self._capacity:
            return
        decoder = self._decoder
        capacity = min(self._most, -(-positions // _CACHE_POSITIONS) * _CACHE_POSITIONS)
        width = decoder_graph.cached_width(self._engine.config)
        shape = (len(self._length), decoder.heads, capacity, width)
        for number in range(decoder.layers):
            for name in (f"key_{number}", f"value_{number}"):
                buffer = np.zeros(shape, self._engine.cache_type)
                if self._capacity:
                    buffer[:, :, : self._capacity] = self._bound[f"past_{name}"]
                self._bind(f"past_{name}", buffer)
                self._bind_output(f"present_{name}", buffer)
        self._capacity = capacity

    def _bind_output(self, name: str, values: NDArray[np.generic]) -> None:
        value = onnxruntime.OrtValue.ortvalue_from_numpy(values)
        self._binding.bind_ortvalue_output(name, value)

    def cached(self) -> Iterator[tuple[NDArray[np.generic], NDArray[np.generic]]]:
        """Keys and values [R, H, M, D / H] of each layer, as far as they are filled."""
        filled = int(self._length.max())
        for number in range(self._decoder.layers):
            keys, values = (self._bound[f"past_{n}_{number}"] for n in ("key", "value"))
            yield keys[:, :, :filled], values[:, :, :filled]

    def _bind_text(
        self, condition: onnxruntime.InferenceSession, branches: Sequence[Branch]
    ) -> None:
        """Keys and values of the texts, each computed alone; rows without a text attend to none."""
        texts = [
            (row, branch.text) for row, branch in enumerate(branches) if branch.text is not None
        ]
        decoder = self._decoder
        row_cross = np.full(len(branches), len(_paired(len(texts))), np.int64)
        row_cross[[row for row, _ in texts]] = np.arange(len(texts))
        pairs = _paired(len(texts))
        longest = max((len(text) for _, text in texts), default=1)
        length = -(-longest // _TEXT_MULTIPLE) * _TEXT_MULTIPLE
        shape = (len(pairs), decoder.heads, length, decoder.head_width)
        keys = [np.zeros(shape, np.float32) for _ in range(decoder.layers)]
        values = [np.zeros(shape, np.float32) for _ in keys]
        mask = np.zeros((len(pairs), length), np.int32)
        for place, number in enumerate(pairs):
            text = texts[number][1]
            padded = np.zeros((length, text.shape[1]), np.float32)
            padded[: len(text)] = text
            outputs = _conditions(condition, padded)
            for layer in range(decoder.layers):
                keys[layer][place] = outputs[f"key_{layer}"][0]
                values[layer][place] = outputs[f"value_{layer}"][0]
            mask[place, : len(text)] = 1
        self._bind("cross_rows", np.array([texts[number][0] for number in pairs], np.int64))
        self._bind("row_cross", row_cross)
        self._bind("cross_mask", mask)
        for layer in range(decoder.layers):
            self._bind(f"key_{layer}", keys[layer])
            self._bind(f"value_{layer}", values[layer])

    def _prefix(
        self, condition: onnxruntime.InferenceSession, branch: Branch, item: Sequence[Branch]
    ) -> Float32:
        """What stands before the codes, [P, D]: chroma, then text; no text is zeros of the length
        of the item's text, as transformers has it."""
        assert branch.chroma is not None, "this checkpoint takes a melody"
        length = max((len(b.text) for b in item if b.text is not None), default=0)
        text = branch.text
        if text is None:
            text = np.zeros((length, self._engine.config.text.width), np.float32)
        prefix: Float32 = _conditions(condition, text, branch.chroma)["prefix"][0]
        if branch.text is None:
            prefix[len(prefix) - length :] = 0.0  # after the projection, which has a bias
        return prefix

    def _feed_prefixes(self, prefixes: Sequence[Float32]) -> None:
        """Rows may differ in length: the shorter are padded, and the padding does not count."""
        no_codes = self._decoder.codebooks * (self._decoder.card + 1)  # the row of zeros
        for start in range(0, max(map(len, prefixes)), _FEED_STEPS):
            parts = [prefix[start : start + _FEED_STEPS] for prefix in prefixes]
            steps = max(map(len, parts))
            extra = np.zeros((len(parts), steps, self._decoder.width), np.float32)
            for row, part in enumerate(parts):
                extra[row, : len(part)] = part
            shape = (self._items, steps, self._decoder.codebooks)
            self._run(np.full(shape, no_codes), extra, np.array([len(part) for part in parts]))

    def _not_finite(self) -> str:
        """Which layer it began in: the step is taken again, and what each attends to looked at."""
        rows = len(self._length)
        width = self._decoder.heads * decoder_graph.cached_width(self._engine.config)
        attended = [np.zeros((rows, 1, width), np.float32) for _ in range(self._decoder.layers)]
        for number, buffer in enumerate(attended):
            self._bind_output(f"attended_{number}", buffer)
        self._engine.run(self._binding)
        broken = [n for n, buffer in enumerate(attended) if not np.isfinite(buffer).all()]
        step = int(self._length.max()) - 1 - self._prefix_steps
        return not_finite(step, broken, self._decoder.layers)


def _conditions(
    graph: onnxruntime.InferenceSession, text: Float32, chroma: Float32 | None = None
) -> dict[str, Float32]:
    """text [L, W] (and chroma [F, bins]) -> the named outputs of the condition graph."""
    inputs = {"text": text[None]}
    if chroma is not None:
        inputs["chroma"] = chroma[None]
    names = [output.name for output in graph.get_outputs()]
    return dict(zip(names, graph.run(names, inputs), strict=True))


def _added(branches: Sequence[Branch], steps: int, width: int) -> Float32:
    """What scores add to the embedding, for each row and step, [R, S, D]; [1, 1, D] where there is
    no score."""
    if all(branch.added is None for branch in branches):
        return np.zeros((1, 1, width), np.float32)
    added = np.zeros((len(branches), max(steps, 2), width), np.float32)
    for row, branch in enumerate(branches):
        if branch.added is not None:
            added[row, : len(branch.added)] = branch.added
    return added


def _paired(count: int) -> NDArray[np.int64]:
    """0, 1, ... `count` - 1, and the last one again if that makes them even."""
    return np.minimum(np.arange(count + count % 2), count - 1)
