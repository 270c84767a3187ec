"""MusicGen's decoder on GPUs, by torch: a step, its guidance and its sampling are one CUDA graph.

A step of the small model is about 490 kernels of a few microseconds each: launched one by one they
wait for Python. Where there is no CUDA the same code runs without a graph. Imports torch, so it is
imported only where torch is asked for. I items, K codebooks, S steps.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from antiphon.compose.checkpoint import MusicGenConfig
from antiphon.compose.engines import Branch, require_positions
from antiphon.compose.engines.torch_block import REACH, Block, Shape, rounded, text_length
from antiphon.compose.lm import Decoder
from antiphon.compose.patterns import Codes
from antiphon.compose.sampling import Sampling
from antiphon.errors import ConfigError, EngineError
from antiphon.weights import Float32, Weights

TorchPrecision = Literal["fp32", "fp16", "bf16"]
TORCH_PRECISIONS: tuple[TorchPrecision, ...] = ("fp32", "fp16", "bf16")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def require_device(name: str) -> torch.device:
    """The device of that name. Raises ConfigError if this torch does not have it."""
    here = ["cpu"]
    here += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    here += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device is {name!r}; expected one of {', '.join(here)}") from error
    number = 0 if device.type == "cuda" and device.index is None else device.index
    full = device.type if number is None else f"{device.type}:{number}"
    if full not in here:
        raise ConfigError(
            f"device is {name!r}, which this torch ({torch.__version__}) does not have; expected "
            f"one of {', '.join(here)}"
        )
    return torch.device(full)


def require_precision(name: str | None, device: str) -> TorchPrecision:
    """The precision of that name; of None fp16, as the published weights are.

    Raises ConfigError for another.
    """
    for precision in TORCH_PRECISIONS:
        if precision == (name or "fp16"):
            return precision
    raise ConfigError(
        f"precision is {name!r}; expected on {device} one of {', '.join(TORCH_PRECISIONS)}"
    )


class TorchDecoder:
    """Implements `DecoderEngine`.

    The matrix products of torch sum in an order that depends on the number of rows. So items are
    computed in blocks of `block` items, of which the last is filled up with copies; None is one
    item on a processor, elsewhere all there are in one. On a processor, and whenever `block` is 1,
    an item is the same bit for bit in any company. On a GPU larger blocks promise it no further
    than the kernels do, and None not at all: a code in thousands may differ, and what follows it.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        block: int | None = None,
        graphs: bool = True,
        compiled: bool = False,
    ) -> None:
        """`graphs` False runs without CUDA graphs; `compiled` fuses each layer by torch.compile,
        which takes a minute at the first steps."""
        self.config = decoder.config
        self._decoder = decoder.eval()
        self._device: torch.device = decoder.norm.weight.device
        self._block_items = 1 if block is None and self._device.type == "cpu" else block
        self._graphs = graphs and self._device.type == "cuda"
        if compiled:  # layer by layer: all have the same code, so that it is compiled once
            for layer in decoder.layers:
                layer.compile()
        self._idle: list[Block] = []  # whose graphs the next session can use

    @classmethod
    def load(
        cls,
        weights: Weights,
        config: MusicGenConfig,
        *,
        device: torch.device,
        precision: TorchPrecision,
        compiled: bool = False,
    ) -> TorchDecoder:
        """Load a checkpoint's decoder. Raises ModelError for weights that do not fit the config,
        EngineError for a device without the memory."""
        try:
            decoder = Decoder.load(weights, config, device, _DTYPES[precision])
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"the decoder does not fit into the memory of {device} as {precision}; try a "
                "smaller model, or --device cpu"
            ) from error
        return cls(decoder, compiled=compiled)

    def begin(
        self,
        items: Sequence[Sequence[Branch]],
        weights: tuple[float, ...],
        sampling: Sampling,
        steps: int,
    ) -> TorchSession:
        """See `DecoderEngine`; what it promises of items side by side is in the class's words."""
        lengths = [
            _prefix_length(branch, item) if self.config.decoder.prefix else 0
            for item in items
            for branch in item
        ]
        needed = steps + max(lengths)
        require_positions(needed, self.config)
        size = self._block_items or len(items)
        members = [
            np.minimum(np.arange(start, start + size), len(items) - 1)
            for start in range(0, len(items), size)
        ]
        shapes = [
            Shape.of([items[i] for i in some], weights, sampling, rounded(needed, REACH))
            for some in members
        ]
        self._idle[:] = [block for block in self._idle if block.shape in shapes]
        try:
            with torch.inference_mode():
                blocks = [self._block(shape) for shape in shapes]
                for block, some in zip(blocks, members, strict=True):
                    block.start([items[i] for i in some])
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"{len(items)} pieces side by side do not fit into the memory of {self._device}; "
                "try fewer at a time (--batch-size)"
            ) from error
        session = TorchSession(blocks, members, len(items))
        # When nobody needs the session any more its blocks can serve another.
        weakref.finalize(session, self._idle.extend, blocks).atexit = False
        return session

    def _block(self, shape: Shape) -> Block:
        for number, block in enumerate(self._idle):
            if block.shape == shape:
                return self._idle.pop(number)
        return Block(self._decoder, shape, self._graphs)


class TorchSession:
    """Implements `DecoderSession`."""

    def __init__(
        self, blocks: Sequence[Block], members: Sequence[NDArray[np.int64]], count: int
    ) -> None:
        """`members` says which items each block holds; all together they are `count`."""
        self._blocks = blocks
        self._members = members
        self._count = count

    def feed(self, codes: Codes) -> None:
        """See `DecoderSession`."""
        with torch.inference_mode():
            for block, some in zip(self._blocks, self._members, strict=True):
                block.feed(codes[some])

    def logits(self, codes: Codes) -> Float32:
        """See `DecoderSession`."""
        self._advance(codes, np.zeros(codes.shape))
        logits: Float32 = np.concatenate([block.logits() for block in self._blocks])[: self._count]
        return logits

    def next_codes(self, codes: Codes, draws: NDArray[np.float64]) -> Codes:
        """See `DecoderSession`."""
        return self._advance(codes, draws)

    def _advance(self, codes: Codes, draws: NDArray[np.float64]) -> Codes:
        with torch.inference_mode():
            for block, some in zip(self._blocks, self._members, strict=True):
                block.launch(codes[some], draws[some])
            chosen: Codes = np.concatenate([block.chosen() for block in self._blocks])
        return chosen[: self._count]


def _prefix_length(branch: Branch, item: Sequence[Branch]) -> int:
    assert branch.chroma is not None, "this checkpoint takes a melody"
    return len(branch.chroma) + (text_length(item) if branch.text is None else len(branch.text))
