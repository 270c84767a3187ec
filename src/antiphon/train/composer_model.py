"""A MusicGen to be trained: text encoder, decoder and score adapter, and its loss.

Letters: B batch, K codebooks, F code frames, S steps, L text tokens, D width, V card, W numbers of
a score frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5EncoderModel

from antiphon.compose.checkpoint import DecoderConfig, MusicGenConfig, TextConfig
from antiphon.compose.codecs.magnitude_config import MagnitudeConfig
from antiphon.compose.engines.torch_text import t5_config
from antiphon.compose.lm import Decoder
from antiphon.compose.loading import ADAPTER_NAME
from antiphon.compose.score_adapter import OFFSETS, AdapterConfig, ScoreAdapter
from antiphon.errors import ModelError
from antiphon.models.finding import find
from antiphon.train.base import base_of
from antiphon.train.config import ComposerModelConfig
from antiphon.train.lora import add_lora, freeze
from antiphon.train.task import Batch, Losses
from antiphon.weights import Float32, Weights, weight_files

MAX_POSITIONS = 8192  # sinusoids, of which there are as many as one likes: 109 s at 75 Hz
_TABLE_SCALE, _HEAD_SCALE, _NOISE = 0.3, 0.02, 0.2
_DEVIATION = 0.02  # of first weights, as transformers draws MusicGen's
PAD, END = 0, 1  # token ids of the text


class ScoreAdapterModel(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """`compose.score_adapter` in torch; its last layer begins with zeros, so that at first it adds
    exactly nothing."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.read = nn.Linear(config.score_width * len(OFFSETS), config.hidden)
        self.write = nn.Linear(config.hidden, config.width)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def forward(self, frames: Tensor, steps: int) -> Tensor:
        """Score frames [B, F, W] -> what is added to the embedding of `steps` steps, [B, S, D]."""
        before, after = -OFFSETS[0], steps + OFFSETS[-1]
        padded = functional.pad(frames, (0, 0, before, max(0, after - frames.shape[1])))
        seen = [padded[:, before + offset : before + offset + steps] for offset in OFFSETS]
        return self.write(functional.gelu(self.read(torch.cat(seen, dim=-1))))


@dataclass(frozen=True)
class CodeShape:
    """Of the codes that a decoder writes."""

    codebooks: int
    codebook_size: int
    channels: int
    frame_rate: int


class ComposerModel(nn.Module):  # type: ignore[misc]
    """Gives losses of a batch; see `composer.ComposerTask` for what is in it."""

    def __init__(
        self,
        config: ComposerModelConfig,
        codes: CodeShape,
        seed: int,
        frozen_dtype: torch.dtype = torch.float32,
    ) -> None:
        """`config` is resolved; of a base that is not trained whole, `frozen_dtype` is how its
        linear layers are kept.

        Raises ModelError for a base that is damaged.
        """
        super().__init__()
        base = base_of(config)
        self.musicgen = musicgen_of(config, codes)
        self.text_encoder: T5EncoderModel | None = None
        self.adapter: ScoreAdapterModel | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if config.trains_text:
                self.text_encoder = T5EncoderModel(t5_config(self.musicgen.text, config.dropout))
            if base is None:
                self.decoder = Decoder(self.musicgen)
                self.decoder.apply(_draw)
            else:
                dtype = torch.float32 if config.tune == "all" else frozen_dtype
                self.decoder = _loaded(base[0], self.musicgen, dtype)
            if config.tune != "all":
                freeze(self.decoder, frozen_dtype)
            if config.tune == "lora":
                add_lora(self.decoder, config.lora)
            adapter = adapter_of(config, codes)
            if adapter is not None:
                self.adapter = ScoreAdapterModel(adapter)
        if config.begin:
            self._begin(find(config.begin))
        for layer in self.decoder.layers:
            layer.dropout = config.dropout
        self.decoder.gradient_checkpointing = config.gradient_checkpointing

    def begin_tables(self, codebooks: Float32, seed: int) -> None:
        """Let the tables of codes begin as random projections of the codec's own vectors [K, V, L]:
        codes that sound alike are alike from the first step on. Large, for beside them stand
        positions of the size of 1."""
        decoder = self.musicgen.decoder
        draws = torch.Generator().manual_seed(seed)
        tables, heads = [], []
        for vectors in torch.from_numpy(codebooks):
            vectors = vectors - vectors.mean(0)
            vectors = vectors / vectors.square().mean().sqrt()
            shape = (vectors.shape[1], decoder.width)
            projected = vectors @ torch.randn(shape, generator=draws) / shape[0] ** 0.5  # [V, D]
            noise = torch.randn((2, *projected.shape), generator=draws)
            start = torch.randn((1, decoder.width), generator=draws)
            tables += [_TABLE_SCALE * (projected + _NOISE * noise[0]), _TABLE_SCALE * start]
            heads.append(_HEAD_SCALE * (projected + 2 * _NOISE * noise[1]))
        with torch.no_grad():
            self.decoder.embedding.weight.copy_(torch.cat(tables))
            self.decoder.heads.weight.copy_(torch.cat(heads))

    def _begin(self, folder: Path) -> None:
        """Take over the weights of a composer. Raises ModelError for one of other sizes."""
        assert self.text_encoder is not None, "of a base it would have nothing to take over"
        with Weights(weight_files(folder)) as weights:
            weights.require(self.musicgen.shapes())
            text = weights.below("text_encoder.")
            names = self.musicgen.text.shapes()
            state = {name: torch.from_numpy(text.read(name)) for name in names}
            self.text_encoder.load_state_dict(state, strict=False)  # embed_tokens is shared
            decoder = Decoder.load(weights, self.musicgen, torch.device("cpu"), torch.float32)
        self.decoder.load_state_dict(decoder.state_dict())
        place = folder / ADAPTER_NAME
        if self.adapter is None or not place.is_dir():
            return
        adapter = ScoreAdapter.load(place)
        if adapter.config != self.adapter.config:
            raise ModelError(
                f"the score adapter of {folder} is {adapter.config}; expected {self.adapter.config}"
            )
        tensors = {name: torch.from_numpy(values) for name, values in adapter.tensors.items()}
        self.adapter.load_state_dict(tensors)

    def forward(self, batch: Batch, step: int) -> Losses:
        """`total`, the mean over the codebooks, and `codebook_k` of each, in nats a code."""
        columns = batch["columns"]  # [B, K, S], the card where there is no code
        logits = self.logits(batch)  # [B, K, S, V]
        valid = batch["counted"]  # [B, K, S]
        card = logits.shape[-1]
        # In the order in which the heads wrote them, [B * S * K, V]: another takes a copy, and a
        # softmax across it half of the step.
        flat = logits.transpose(1, 2).flatten(0, 2).float()
        targets = columns.clamp(max=card - 1).transpose(1, 2)  # [B, S, K]
        losses = functional.cross_entropy(flat, targets.flatten(), reduction="none")
        losses = losses.view(targets.shape).transpose(1, 2)  # [B, K, S]
        kept = (losses * valid).sum((0, 2)) / valid.sum((0, 2)).clamp(min=1)  # [K]
        found = {f"codebook_{number}": loss for number, loss in enumerate(kept)}
        return {"total": kept.mean(), **found}

    def logits(self, batch: Batch) -> Tensor:
        """[B, K, S, V]: of each column, given those before it."""
        columns = batch["columns"]
        card = self.musicgen.decoder.card
        inputs = functional.pad(columns[..., :-1], (1, 0), value=card)
        states, mask = self.states(batch)
        extra = self.added(batch, inputs.shape[-1])
        return self.decoder(inputs, states, mask, batch["text_heard"], None, extra)

    def states(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of the texts, [B, L, W], and where there are any, [B, L]."""
        mask = batch["text_mask"]
        if self.text_encoder is None:
            return batch["text_states"], mask
        encoded = self.text_encoder(input_ids=batch["tokens"], attention_mask=mask)
        return encoded.last_hidden_state, mask

    def added(self, batch: Batch, steps: int) -> Tensor | None:
        """What the scores add to the embedding of so many steps, [B, S, D]."""
        if self.adapter is None:
            return None
        added: Tensor = self.adapter(batch["score_frames"], steps)
        return added * batch["score_heard"][:, None, None]


def _loaded(folder: Path, musicgen: MusicGenConfig, linear_dtype: torch.dtype) -> Decoder:
    """The decoder of a checkpoint."""
    with Weights(weight_files(folder)) as weights:
        weights.require(musicgen.shapes())
        device = torch.device("cpu")
        return Decoder.load(weights, musicgen, device, torch.float32, linear_dtype)


def adapter_of(config: ComposerModelConfig, codes: CodeShape) -> AdapterConfig | None:
    """The score adapter of a config that has one."""
    if not config.score_adapter:
        return None
    return AdapterConfig(config.hidden_size, config.adapter_hidden, codes.frame_rate)


def musicgen_of(config: ComposerModelConfig, codes: CodeShape) -> MusicGenConfig:
    """What a config's config.json says; of one without a base, the parts of the codec and of a
    text encoder that is not trained come from their folders."""
    base = base_of(config)
    if base is not None:
        return base[1]
    decoder = DecoderConfig(
        layers=config.layers,
        width=config.hidden_size,
        heads=config.heads,
        ffn_width=config.ffn_size,
        codebooks=codes.codebooks,
        card=codes.codebook_size,
        channels=codes.channels,
        max_positions=MAX_POSITIONS,
        prefix=False,
    )
    return MusicGenConfig(_text_config(config), MagnitudeConfig(), decoder, None, None)


def _text_config(config: ComposerModelConfig) -> TextConfig:
    return TextConfig(
        vocabulary=config.vocabulary,
        width=config.text_width,
        head_width=config.text_width // config.text_heads,
        heads=config.text_heads,
        layers=config.text_layers,
        ffn_width=config.text_ffn_size,
        gated=False,
        activation="relu",
        buckets=32,
        max_distance=128,
        epsilon=1e-6,
        pad=PAD,
        end=END,
    )


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_DEVIATION)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
