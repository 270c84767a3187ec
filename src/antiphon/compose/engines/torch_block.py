"""Items on their way through the decoder in torch: their memory, and a step as a CUDA graph.

A graph runs the same kernels over the same addresses again: nothing in a step may depend on the
host, but for how far attention reaches, and there is a graph for each of these lengths.

I items, B branches, R rows (item and branch of guidance), K codebooks, S steps, P positions of a
prefix, D width, V card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from antiphon.compose.engines import Branch, not_finite
from antiphon.compose.lm import Decoder, KeyValue
from antiphon.compose.patterns import Codes
from antiphon.compose.sampling import Sampling
from antiphon.errors import EngineError
from antiphon.weights import Float32

# Attention reads the cache up to the next multiple of this: one graph for each, and at most so much
# read in vain. The whole cache of a window of 30 s would be 1,536 positions at every step.
REACH = 256
_FEED_STEPS = 64  # known steps are taken in so many at a time, as in onnx.py
_TEXT_MULTIPLE = 64  # texts are padded to it, so that most fit the same graphs
_BROKEN = -1  # instead of a code, where logits are not finite


@dataclass(frozen=True)
class Shape:
    """What the memory of a block, and the graphs over it, are made for."""

    heard: tuple[tuple[bool, ...], ...]
    """[I][B]: which rows attend to a text."""
    text_length: int
    has_score: bool
    capacity: int
    weights: tuple[float, ...]
    sampling: Sampling

    @classmethod
    def of(
        cls,
        items: Sequence[Sequence[Branch]],
        weights: tuple[float, ...],
        sampling: Sampling,
        capacity: int,
    ) -> Shape:
        heard = tuple(tuple(branch.text is not None for branch in item) for item in items)
        lengths = [len(b.text) for item in items for b in item if b.text is not None]
        has_score = any(branch.added is not None for item in items for branch in item)
        length = rounded(max(lengths, default=0), _TEXT_MULTIPLE)
        return cls(heard, length, has_score, capacity, weights, sampling)


class Block:
    """Some items on their way side by side, in memory of their own that stays where it is: graphs
    read and write it by its address."""

    def __init__(self, decoder: Decoder, shape: Shape, graphs: bool) -> None:
        self.shape = shape
        self._decoder = decoder
        self._device: torch.device = decoder.norm.weight.device
        self._items, self._branches = len(shape.heard), len(shape.weights) + 1
        # Row r is item r % I in branch r // I; those with a text come first.
        rows = range(self._items * self._branches)
        prefix = decoder.config.decoder.prefix
        heard = [r for r in rows if shape.heard[r % self._items][r // self._items] and not prefix]
        self._rows = heard + [r for r in rows if r not in heard]
        self._row_item = self._tensor(np.array(self._rows) % self._items)
        self._row_place = self._tensor(np.argsort(self._rows))

        self._cache = decoder.new_cache(len(self._rows), shape.capacity)
        self._text: list[KeyValue] | None = None
        self._text_mask: Tensor | None = None
        if heard:
            self._text = decoder.new_cache(len(heard), shape.text_length)
            like = decoder.norm.weight
            self._text_mask = like.new_zeros(len(heard), 1, 1, shape.text_length)
        # What a score adds to the embedding of each step, and how many were taken in.
        self._added: Tensor | None = None
        if shape.has_score:
            width = decoder.config.decoder.width
            self._added = decoder.norm.weight.new_zeros(len(self._rows), shape.capacity, width)
        self._fed = self._tensor(np.zeros(1, np.int64))
        self._length = self._tensor(np.zeros(len(self._rows), np.int64))
        self._longest = 0  # the same on the host: the graphs count by themselves
        codebooks, card = decoder.config.decoder.codebooks, decoder.config.decoder.card
        exact = np.float32 if self._device.type == "mps" else np.float64  # mps has no float64
        self._codes = self._tensor(np.zeros((self._items, codebooks), np.int64))
        self._draws = self._tensor(np.zeros((self._items, codebooks), exact))
        self._chosen = torch.zeros_like(self._codes)
        self._logits = self._tensor(np.zeros((self._items, codebooks, card), np.float32))
        self._graphs: dict[int, torch.cuda.CUDAGraph] | None = {} if graphs else None
        self._pool = torch.cuda.graph_pool_handle() if graphs else None

    def start(self, items: Sequence[Sequence[Branch]]) -> None:
        """Forget what was, and take in what `items` are conditioned on."""
        for kept in (*self._cache, *(self._text or ())):
            kept.key.zero_()  # a number that is not finite would be seen even where it is masked
            kept.value.zero_()
        self._length.zero_()
        self._fed.zero_()
        self._longest = 0
        branches = [items[row % self._items][row // self._items] for row in self._rows]
        if self._added is not None:
            self._added.zero_()
            for row, branch in enumerate(branches):
                if branch.added is not None:
                    added = self._tensor(branch.added).to(self._added.dtype)
                    self._added[row, : len(added)] = added
        self._prefix_steps = 0
        if self._decoder.config.decoder.prefix:
            owners = [items[row % self._items] for row in self._rows]
            self._feed_prefixes(
                [self._prefix(b, item) for b, item in zip(branches, owners, strict=True)]
            )
        elif self._text is not None and self._text_mask is not None:
            self._text_mask.fill_(-torch.inf)
            for row, branch in enumerate(branches[: len(self._text_mask)]):
                assert branch.text is not None
                self._text_mask[row, ..., : len(branch.text)] = 0.0
                condition = self._condition(branch.text, None, heard=True)
                for layer, kept in zip(self._decoder.layers, self._text, strict=True):
                    attended = layer.attended_text(condition)
                    kept.key[row, :, : len(branch.text)] = attended.key[0]
                    kept.value[row, :, : len(branch.text)] = attended.value[0]

    def feed(self, codes: Codes) -> None:
        """Take in steps [I, K, S]."""
        for chunk in self._tensor(codes).split(_FEED_STEPS, dim=-1):
            x = self._with_score(self._decoder.embed(chunk)[self._row_item])
            self._take_in(x, torch.full_like(self._length, x.shape[1]), x.shape[1])

    def launch(self, codes: Codes, draws: NDArray[np.float64]) -> None:
        """Take in one step [I, K] and choose the next at `draws` [I, K]; wait for nothing."""
        self._codes.copy_(torch.tensor(codes))
        self._draws.copy_(torch.tensor(draws, dtype=self._draws.dtype))
        reach = self._reach(1)
        if self._graphs is None:
            self._step(reach)
        else:
            if reach not in self._graphs:
                self._graphs[reach] = self._captured(reach)
            self._graphs[reach].replay()
        self._longest += 1

    def chosen(self) -> Codes:
        """What the last launch chose, [I, K]. Raises EngineError for logits that are not finite."""
        chosen: Codes = self._chosen.cpu().numpy()
        if (chosen == _BROKEN).any():
            raise EngineError(self._not_finite())
        return chosen.copy()  # on a processor it is the memory that the next step writes

    def logits(self) -> Float32:
        """The guided logits [I, K, V] that the last launch chose from."""
        logits: Float32 = self._logits.cpu().numpy()
        return logits.copy()

    def _step(self, reach: int) -> None:
        """All of a step; what a graph holds."""
        x = self._decoder.embed(self._codes[..., None])[self._row_item]  # [R, 1, D]
        x = self._with_score(x)
        raw = self._decoder.step(
            x, self._length, reach, self._cache, self._text, self._text_mask
        ).float()  # [R, K, V]
        raw = raw[self._row_place].unflatten(0, (self._branches, self._items)).transpose(0, 1)
        logits = guided(raw, self.shape.weights)
        finite = raw.isfinite().flatten(1).all(1)  # [I]
        chosen = choose(logits, self._draws, self.shape.sampling)
        self._logits.copy_(logits)
        # Not `where`: it would copy the number from the host, which a graph may not.
        self._chosen.copy_(chosen.masked_fill(~finite[:, None], _BROKEN))
        self._length.add_(1)

    def _with_score(self, x: Tensor) -> Tensor:
        """The embeddings [R, S, D] of the next steps, with what the score adds to them."""
        if self._added is None:
            return x
        steps = self._fed + torch.arange(x.shape[1], device=self._device)
        self._fed.add_(x.shape[1])
        return x + self._added[:, steps]

    def _captured(self, reach: int) -> torch.cuda.CUDAGraph:
        """A step as a graph; nothing has happened yet when it is there."""
        length, fed = self._length.clone(), self._fed.clone()
        with torch.cuda.device(self._device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._step(reach)  # loads and compiles what a capture may not
                # And so it will read and write in the same places again.
                self._length.copy_(length)
                self._fed.copy_(fed)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                self._step(reach)
        return graph

    def _take_in(self, x: Tensor, new: Tensor, longest: int) -> None:
        """x [R, S, D], of which `new` [R] steps count, at most `longest`."""
        reach = self._reach(x.shape[1])
        self._decoder.step(x, self._length, reach, self._cache, self._text, self._text_mask)
        self._length += new
        self._longest += longest

    def _reach(self, steps: int) -> int:
        """How much of the cache `steps` more steps attend to."""
        needed = self._longest + steps
        assert needed <= self.shape.capacity, f"{needed} positions in {self.shape.capacity}"
        return rounded(needed, REACH)

    def _condition(self, text: Float32, chroma: Float32 | None, *, heard: bool) -> Tensor:
        like = self._decoder.norm.weight
        states, melody = (
            None if values is None else self._tensor(values).to(like.dtype)[None]
            for values in (text, chroma)
        )
        kept = torch.full((1, len(text)), heard, device=self._device)
        return self._decoder.condition(states, kept, melody)

    def _prefix(self, branch: Branch, item: Sequence[Branch]) -> Tensor:
        """What stands before the codes, [P, D]: chroma, then text; no text is zeros of the length
        of the item's text, as transformers has it."""
        text = branch.text
        if text is None:
            text = np.zeros((text_length(item), self._decoder.config.text.width), np.float32)
        return self._condition(text, branch.chroma, heard=branch.text is not None)[0]

    def _feed_prefixes(self, prefixes: Sequence[Tensor]) -> None:
        self._prefix_steps = max(map(len, prefixes))
        """Rows may differ in length: the shorter are padded, and the padding does not count."""
        for start in range(0, max(map(len, prefixes)), _FEED_STEPS):
            parts = [prefix[start : start + _FEED_STEPS] for prefix in prefixes]
            x = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
            self._take_in(x, self._tensor(np.array([len(part) for part in parts])), x.shape[1])

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.tensor(values, device=self._device)

    def _not_finite(self) -> str:
        """Which layer it began in, by what each attends to."""
        newest = self._longest - 1
        broken = [
            number
            for number, kept in enumerate(self._cache)
            if not all(part[:, :, newest].isfinite().all() for part in kept)
        ]
        return not_finite(newest - self._prefix_steps, broken, len(self._cache))


def guided(logits: Tensor, weights: tuple[float, ...]) -> Tensor:
    """As `sampling.guided`: [I, B, K, V] -> [I, K, V]."""
    result = logits[:, 0]
    for number, weight in enumerate(weights):
        result = result + weight * (logits[:, number + 1] - logits[:, number])
    return result


def choose(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """As `sampling.choose`, in the type of `draws`: [..., V] -> [...]."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    count = sampling.kept_of(logits.shape[-1])
    # Not topk: it leaves the order of entries of one likelihood open.
    values, order = logits.sort(dim=-1, descending=True, stable=True)
    kept = values[..., :count].to(draws.dtype) / sampling.temperature
    sums = (kept - kept[..., :1]).exp().cumsum(-1)
    total = sums[..., -1:]
    if sampling.top_p < 1.0:
        last = (sums < sampling.top_p * total).sum(-1, keepdim=True)
        total = sums.gather(-1, last.clamp(max=count - 1))
    place = (sums <= draws[..., None] * total).sum(-1, keepdim=True)
    return order.gather(-1, place.clamp(max=count - 1))[..., 0]


def text_length(item: Sequence[Branch]) -> int:
    """Of the longest text of an item; 0 without any."""
    return max((len(branch.text) for branch in item if branch.text is not None), default=0)


def rounded(count: int, multiple: int) -> int:
    """`count`, rounded up."""
    return -(-count // multiple) * multiple
