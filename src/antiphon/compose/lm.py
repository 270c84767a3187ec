"""MusicGen's decoder (Copet et al. 2023) in torch: the reference, for GPUs and for training.

One set of parameters, two ways through it: `forward` sees whole pieces under a causal mask, `step`
takes in a few positions and keeps their keys and values in memory of a fixed size. Imports torch,
so it is imported only where torch is asked for.

R rows (in training the batch; in a step one per item and branch of guidance), X rows that have a
text, K codebooks, S steps, L text tokens, W their width, F chroma frames, P positions of a prefix,
D width, H heads, E = D / H, V card, M capacity of the cache, N positions that are attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from antiphon.compose.checkpoint import DecoderConfig, MusicGenConfig
from antiphon.compose.decoder_graph import positions
from antiphon.weights import Weights

# Below which tensors of a transformers checkpoint ours are kept; of several, one below the other.
_SOURCES = {
    "text_projection": ("enc_to_dec_proj",),
    "chroma_projection": ("audio_enc_to_dec_proj",),
    "norm": ("decoder.model.decoder.layer_norm",),
}
_LAYER_SOURCES = {
    "self_norm": ("self_attn_layer_norm",),
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_out": ("self_attn.out_proj",),
    "cross_norm": ("encoder_attn_layer_norm",),
    "cross_query": ("encoder_attn.q_proj",),
    "cross_key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_out": ("encoder_attn.out_proj",),
    "final_norm": ("final_layer_norm",),
    "widen": ("fc1",),
    "narrow": ("fc2",),
}


class KeyValue(NamedTuple):
    """What one layer attends to: keys and values, each [R, H, M or L, E]."""

    key: Tensor
    value: Tensor


class Slots(NamedTuple):
    """Where in the cache the new keys and values belong: row [R, 1], position [R, S]."""

    row: Tensor
    position: Tensor


class Layer(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Attention, attention to the text (none with a prefix), two products; each normalised before
    and added after."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.dropout = 0.0  # set in training
        self.self_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.self_out = nn.Linear(width, width, bias=False)
        if not config.prefix:
            self.cross_norm = nn.LayerNorm(width)
            self.cross_query = nn.Linear(width, width, bias=False)
            self.cross_key_value = nn.Linear(width, 2 * width, bias=False)
            self.cross_out = nn.Linear(width, width, bias=False)
        self.final_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, config.ffn_width, bias=False)
        self.narrow = nn.Linear(config.ffn_width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        text: KeyValue | None,
        text_mask: Tensor | None,
        cache: KeyValue | None = None,
        slots: Slots | None = None,
    ) -> Tensor:
        """x [R, S, D] -> [R, S, D].

        `mask` [R, 1, S, N] is True, or 0 and not -inf, where a step sees a position, None is
        causal; `text` belongs to the first X rows, and `text_mask` [X, 1, 1, L] says the same of
        its tokens. With a `cache`, the new keys and values are written at `slots`, and its first N
        positions attended to.
        """
        query, key, value = self._apart(self.qkv(self.self_norm(x)), 3)
        if cache is not None and slots is not None and mask is not None:
            cache.key[slots.row, :, slots.position] = key.transpose(1, 2)
            cache.value[slots.row, :, slots.position] = value.transpose(1, 2)
            key, value = (kept[:, :, : mask.shape[-1]] for kept in cache)
        attended = self.self_out(_attend(query, key, value, mask, causal=mask is None))
        x = x + self._dropped(attended)
        if text is not None:
            shown = x[: len(text.key)]
            (query,) = self._apart(self.cross_query(self.cross_norm(shown)), 1)
            added = self._dropped(self.cross_out(_attend(query, *text, text_mask)))
            # The others attend to zeros, whose keys and values are zeros: it would add exactly 0.
            x = torch.cat([shown + added, x[len(shown) :]])
        return x + self._dropped(self.narrow(functional.gelu(self.widen(self.final_norm(x)))))

    def attended_text(self, condition: Tensor) -> KeyValue:
        """condition [X, L, D] -> what the rows attend to at every step, [X, H, L, E]."""
        return KeyValue(*self._apart(self.cross_key_value(condition), 2))

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.dropout:
            return x
        return functional.dropout(x, self.dropout, self.training)

    def _apart(self, product: Tensor, count: int) -> Sequence[Tensor]:
        """[R, S, count * D] -> `count` times [R, H, S, E]."""
        rows, steps, width = product.shape
        shape = (rows, steps, count, self.heads, width // (count * self.heads))
        parts: Sequence[Tensor] = product.view(shape).permute(2, 0, 3, 1, 4).unbind(0)
        return parts


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool = False
) -> Tensor:
    """query [R, H, S, E], key and value [R, H, N, E] -> [R, S, D]."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # On processors torch attends faster in float32: to a text, with its gradient, 3 times.
        mask = mask.float() if mask is not None and mask.is_floating_point() else mask
        with torch.autocast("cpu", enabled=False):
            mixed = functional.scaled_dot_product_attention(
                query.float(), key.float(), value.float(), attn_mask=mask, is_causal=causal
            )
        narrowed: Tensor = mixed.to(query.dtype)
        return narrowed.transpose(1, 2).flatten(2)
    mixed = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal
    )
    return mixed.transpose(1, 2).flatten(2)


class Decoder(nn.Module):  # type: ignore[misc]
    """From codes, and what they are conditioned on, to the logits of the next."""

    def __init__(self, config: MusicGenConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False  # in training: less memory, a third more to compute
        decoder = config.decoder
        width, codebooks, card = decoder.width, decoder.codebooks, decoder.card
        self.text_projection: nn.Module = nn.Identity()
        if config.text.width != width:
            self.text_projection = nn.Linear(config.text.width, width)
        self.chroma_projection: nn.Module = nn.Identity()
        if config.chroma_bins not in (None, width):
            self.chroma_projection = nn.Linear(config.chroma_bins, width)
        # One table: codebook k's entry c is row k * (V + 1) + c, its V the start token.
        self.embedding = nn.Embedding(codebooks * (card + 1), width)
        self.layers = nn.ModuleList(Layer(decoder) for _ in range(decoder.layers))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Linear(width, codebooks * card, bias=False)
        table = torch.from_numpy(positions(decoder.max_positions, width))
        self.register_buffer("positions", table, persistent=False)

    @classmethod
    def load(
        cls,
        weights: Weights,
        config: MusicGenConfig,
        device: torch.device,
        dtype: torch.dtype,
        linear_dtype: torch.dtype | None = None,
    ) -> Decoder:
        """A checkpoint's decoder; its linear layers may be kept in another type.

        Raises ModelError for a tensor that is absent or damaged.
        """
        with torch.device("meta"):  # no time is lost on random weights
            decoder = cls(config)
        linear = {f"{n}.weight" for n, part in decoder.named_modules() if type(part) is nn.Linear}
        tensors = {}
        for name, sources in decoder.sources().items():
            values = np.concatenate([weights.read(source) for source in sources])
            kind = linear_dtype if linear_dtype is not None and name in linear else dtype
            tensors[name] = torch.from_numpy(values).to(device, kind)
        decoder.load_state_dict(tensors, assign=True)
        decoder.positions = decoder.positions.to(device, dtype)
        return decoder

    def sources(self) -> dict[str, tuple[str, ...]]:
        """For each parameter the tensors of a transformers checkpoint that it is made of."""
        numbers = range(self.config.decoder.codebooks)
        whole = _SOURCES | {
            "embedding": tuple(f"decoder.model.decoder.embed_tokens.{n}" for n in numbers),
            "heads": tuple(f"decoder.lm_heads.{n}" for n in numbers),
        }
        names = {}
        for name, _ in self.named_parameters():
            module, _, kind = name.rpartition(".")
            place, _, part = module.rpartition(".")  # "layers.3", "qkv"
            sources = (
                whole[part]
                if not place
                else tuple(
                    f"decoder.model.decoder.{place}.{source}" for source in _LAYER_SOURCES[part]
                )
            )
            names[name] = tuple(f"{source}.{kind}" for source in sources)
        return names

    def forward(
        self,
        codes: Tensor,
        text: Tensor,
        text_mask: Tensor,
        heard: Tensor | None = None,
        chroma: Tensor | None = None,
        extra: Tensor | None = None,
    ) -> Tensor:
        """codes [R, K, S] -> logits [R, K, S, V], each of the step after.

        `text` [R, L, W] counts where `text_mask` [R, L] is True, at one token at least, and only in
        rows that are `heard` [R] (None: all): the others are the branch of guidance without a text.
        `chroma` [R, F, bins] is for checkpoints that know a melody, `extra` [R, S, D] is added to
        the embedding of the codes.
        """
        steps = codes.shape[-1]
        x = self.embed(codes)
        if extra is not None:
            x = x + extra
        kept = text_mask if heard is None else text_mask & heard[:, None]
        condition = self.condition(text, kept, chroma)
        if not self.config.decoder.prefix:
            place = torch.arange(steps, device=x.device)
            texts = [layer.attended_text(condition) for layer in self.layers]
            return self.logits(self._trunk(x, place, None, texts, text_mask[:, None, None]))
        x = torch.cat([condition, x], dim=1)  # [R, P + S, D]
        counted = functional.pad(
            text_mask, (condition.shape[1] - text_mask.shape[1], steps), value=True
        )
        # Padding takes no place: a row has the same positions alone and among longer ones.
        place = (counted.cumsum(1) - 1).clamp(min=0)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        mask = (causal & counted[:, None])[:, None]  # [R, 1, P + S, P + S]
        return self.logits(self._trunk(x, place, mask, None, None)[:, -steps:])

    def step(
        self,
        x: Tensor,
        length: Tensor,
        reach: int,
        cache: Sequence[KeyValue],
        text: Sequence[KeyValue] | None,
        text_mask: Tensor | None,
    ) -> Tensor:
        """x [R, S, D], to come after the first `length` [R] positions in `cache`, -> logits
        [R, K, V] after the last of them.

        Only the first `reach` positions are attended to: as many at least as there are by then.
        """
        last = min(cache[0].key.shape[2], self.config.decoder.max_positions) - 1
        # A row that is padded may reach beyond the end; what it leaves there is never seen.
        place = length[:, None] + torch.arange(x.shape[1], device=x.device)
        place = place.clamp(max=last)
        slots = Slots(torch.arange(len(x), device=x.device)[:, None], place)
        unseen = torch.arange(reach, device=x.device) > place[:, None, :, None]  # [R, 1, S, N]
        # Not as booleans: each layer's attention would make these numbers of them again.
        mask = x.new_zeros(unseen.shape).masked_fill(unseen, -torch.inf)
        states = self._trunk(x, place, mask, text, text_mask, cache, slots)
        return self.logits(states[:, -1:])[:, :, 0]

    def embed(self, codes: Tensor) -> Tensor:
        """codes [R, K, S] -> [R, S, D]."""
        decoder = self.config.decoder
        first = torch.arange(decoder.codebooks, device=codes.device) * (decoder.card + 1)
        return self.embedding(codes + first[:, None]).sum(1)

    def condition(self, text: Tensor, kept: Tensor, chroma: Tensor | None = None) -> Tensor:
        """text [R, L, W], zero where it is not `kept` [R, L], -> what is attended to [R, L, D];
        or, with chroma [R, F, bins] before it, the prefix [R, F + L, D]."""
        # After the projection, which has a bias.
        states = self.text_projection(text) * kept[..., None]
        if not self.config.decoder.prefix:
            return states
        assert chroma is not None, "this checkpoint takes a melody"
        return torch.cat([self.chroma_projection(chroma), states], dim=1)

    def new_cache(self, rows: int, capacity: int) -> list[KeyValue]:
        """Empty memory for every layer, [R, H, M, E]."""
        decoder, like = self.config.decoder, self.norm.weight
        shape = (rows, decoder.heads, capacity, decoder.head_width)
        return [KeyValue(like.new_zeros(shape), like.new_zeros(shape)) for _ in self.layers]

    def logits(self, states: Tensor) -> Tensor:
        """[R, S, D] -> [R, K, S, V]."""
        decoder = self.config.decoder
        logits = self.heads(states).unflatten(-1, (decoder.codebooks, decoder.card))
        return logits.transpose(1, 2)

    def _trunk(
        self,
        x: Tensor,
        place: Tensor,
        mask: Tensor | None,
        text: Sequence[KeyValue] | None,
        text_mask: Tensor | None,
        cache: Sequence[KeyValue] | None = None,
        slots: Slots | None = None,
    ) -> Tensor:
        """Embeddings [R, S, D] at the positions `place` [R or 1, S] -> [R, S, D] for the heads;
        the rest as in `Layer.forward`, of all layers."""
        x = x + self.positions[place]
        for number, layer in enumerate(self.layers):
            seen = (mask, text[number] if text is not None else None, text_mask)
            if self.gradient_checkpointing and self.training:
                x = checkpoint(layer, x, *seen, use_reentrant=False)
            else:
                x = layer(x, *seen, cache[number] if cache is not None else None, slots)
        return self.norm(x)
