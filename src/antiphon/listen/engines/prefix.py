"""Several answers from one hearing: the audio is computed once, its keys and values are repeated,
and the prompts go on from there in one batch, padded on the left.

Knows token ids and a Flamingo model of transformers; no text, no file. The loop is our own and not
`generate`: a row draws from a generator of its own, ends at a limit of its own and leaves the
batch when it is done, and the answers can be stopped between two layers.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from antiphon.listen.engines import Finish, Sampling

if TYPE_CHECKING:
    import threading

    import torch

    from antiphon.listen.engines.schema_matcher import SchemaMatcher

LOOP_CHECK = 16  # tokens between two looks for a loop


class Stopped(Exception):
    """The call was cancelled while a layer ran."""


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the tokens up to the end of the audio, per layer each [1, H, N, D]."""

    length: int
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]


@dataclass
class Row:
    """One answer being written: `ids` go on from `prefix`; then `written` grows."""

    ids: Sequence[int]
    limit: int
    prefix: Prefix | None = None
    matcher: SchemaMatcher | None = None
    written: list[int] = field(default_factory=list)
    finish: Finish | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Rules:
    """What ends an answer and who is told: `tell` after each token, `loops` now and then."""

    sampling: Sampling
    ends: frozenset[int]
    pad: int
    stop: threading.Event
    tell: Callable[[Row], object]
    loops: Callable[[Row], bool]


def cache_name(model: Any) -> str:
    """transformers 5.24 renamed the argument; its old name warns there."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def prefill(model: Any, ids: Sequence[int], features: dict[str, Any]) -> Prefix:
    """Hear the audio; `ids` [N] end with it."""
    import torch

    device = model.get_input_embeddings().weight.device
    # The headless model: logits of 30,000 audio tokens are 18 GB, and nobody reads them.
    out = model.model(
        input_ids=torch.tensor([list(ids)], device=device),
        use_cache=True,
        **{name: value.to(device) for name, value in features.items()},
    )
    layers = getattr(out, cache_name(model)).layers
    return Prefix(len(ids), tuple((layer.keys, layer.values) for layer in layers))


def write(model: Any, rows: Sequence[Row], rules: Rules) -> None:
    """Write the answers of `rows` in one batch; what it wrote before a cancel stays in them."""
    import torch

    begun = time.perf_counter()
    active = list(rows)
    name = cache_name(model)
    device = model.get_input_embeddings().weight.device
    ids, mask, cache = _left_padded(model, active, rules.pad, device)
    draws = {id(row): torch.Generator().manual_seed(rules.sampling.seed) for row in rows}
    while active:
        places = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        try:
            out = model(
                input_ids=ids,
                # None is what `generate` makes of a mask of ones: the same kernel, the same bits.
                attention_mask=None if bool(mask.all()) else mask,
                position_ids=places,
                use_cache=True,
                logits_to_keep=1,
                **{name: cache},
            )
        except Stopped:
            break
        cache = getattr(out, name)
        tokens = _choose(out.logits[:, -1], active, rules.sampling, draws)
        for row, token in zip(active, tokens, strict=True):
            _append(row, token, rules)
        now = time.perf_counter()
        for row in active:
            row.seconds += (now - begun) / len(active)
        begun = now
        if rules.stop.is_set():
            break
        kept = [at for at, row in enumerate(active) if row.finish is None]
        ids = torch.tensor([[tokens[at]] for at in kept], device=device)
        if len(kept) < len(active):
            active = [active[at] for at in kept]
            rest = torch.tensor(kept, device=device, dtype=torch.long)
            mask = mask[rest]
            if kept:
                cache.batch_select_indices(rest)
        mask = torch.cat([mask, mask.new_ones(len(kept), 1)], dim=1)
    for row in active:
        row.finish = row.finish or "cancelled"


def _append(row: Row, token: int, rules: Rules) -> None:
    if row.matcher is not None:
        row.matcher.consume(token)
    if token in rules.ends:
        row.finish = "stop"
        return
    row.written.append(token)
    rules.tell(row)
    if len(row.written) >= row.limit:
        row.finish = "length"
    elif len(row.written) % LOOP_CHECK == 0 and rules.loops(row):
        row.finish = "repetition"


def _left_padded(
    model: Any, rows: Sequence[Row], pad: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """ids [B, L], mask [B, N + L] and the cache of N tokens: `pad pad prefix pad ids` per row."""
    import torch
    from transformers import DynamicCache

    before = max(row.prefix.length if row.prefix else 0 for row in rows)  # N
    width = max(len(row.ids) for row in rows)  # L
    ids = torch.full((len(rows), width), pad, device=device)
    mask = torch.zeros((len(rows), before + width), dtype=torch.long, device=device)
    for at, row in enumerate(rows):
        ids[at, width - len(row.ids) :] = torch.tensor(list(row.ids), device=device)
        mask[at, before + width - len(row.ids) :] = 1
        if row.prefix:
            mask[at, before - row.prefix.length : before] = 1
    cache = DynamicCache(config=model.config.get_text_config())
    some = next((row.prefix for row in rows if row.prefix), None)
    for layer, pair in enumerate(some.layers if some else ()):
        wide = [
            tensor.new_zeros(len(rows), tensor.shape[1], before, tensor.shape[3]) for tensor in pair
        ]  # [B, H, N, D]
        for at, row in enumerate(rows):
            if row.prefix:
                for target, source in zip(wide, row.prefix.layers[layer], strict=True):
                    target[at, :, before - row.prefix.length :] = source[0]
        cache.update(wide[0], wide[1], layer)
    return ids, mask, cache


def _choose(
    logits: torch.Tensor, rows: Sequence[Row], sampling: Sampling, draws: dict[int, torch.Generator]
) -> list[int]:
    """The next token of each row from its logits [B, V]."""
    for at, row in enumerate(rows):
        if row.matcher is not None:
            logits[at] = row.matcher.allowed(logits[at])
    if sampling.temperature == 0.0:
        return [int(token) for token in logits.argmax(-1).tolist()]
    return [draw(logits[at], sampling, draws[id(row)]) for at, row in enumerate(rows)]


def draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token of logits [V]: temperature, then top_k, then top_p, as in transformers.

    The number comes from the CPU's `generator`, so that a seed is the same on every device.
    """
    import torch

    chances, order = torch.softmax(logits.float() / sampling.temperature, -1).sort(descending=True)
    if sampling.top_k:
        chances = chances[: sampling.top_k]
    if sampling.top_p < 1.0:
        chances = chances / chances.sum()
        chances = chances[chances.cumsum(-1) - chances < sampling.top_p]
    edges = chances.double().cpu().cumsum(-1)
    point = torch.rand(1, generator=generator, dtype=torch.float64) * edges[-1]
    return int(order[int(torch.searchsorted(edges, point, right=True).clamp(max=len(edges) - 1))])


@contextmanager
def stopping(modules: Sequence[Any], stop: threading.Event) -> Iterator[None]:
    """While it lasts, `stop` ends a forward pass at the next of `modules`."""

    def check(*_: object) -> None:
        if stop.is_set():
            raise Stopped

    hooks = [module.register_forward_pre_hook(check) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def encode_in_chunks(tower: Any, windows: Callable[[], int]) -> None:
    """The encoder takes a few windows at a time, which changes no bit of what it gives.

    Here and not around `get_audio_features`: Music Flamingo counts the windows there.
    """
    import torch

    whole = tower.forward

    def forward(input_features: Any, input_features_mask: Any = None, **options: Any) -> Any:
        step = windows()
        parts = [
            whole(
                input_features[first : first + step],
                input_features_mask=input_features_mask[first : first + step],
                **options,
            )
            for first in range(0, len(input_features), step)
        ]
        parts[0].last_hidden_state = torch.cat([part.last_hidden_state for part in parts])
        return parts[0]

    tower.forward = forward


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error of torch says; the CPU's allocator has words of its own."""
    says = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in says for words in ("out of memory", "allocate memory", "not enough memory")
    )
