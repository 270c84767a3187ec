"""The small listener to be trained: Audio Flamingo 3's encoder, small, and heads on its frames.

Parameters have the names of transformers' `AudioFlamingo3Encoder`. Letters: B crops, F mel frames
(10 ms), S steps of attention (20 ms), T frames of the encoder (40 ms), D width, C classes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon.listen.heads import HEADS
from antiphon.listen.mel import BANDS, centres_hz
from antiphon.listen.tagger_graph import positions
from antiphon.train.config import ListenerModelConfig
from antiphon.train.labels import UNKNOWN
from antiphon.train.task import Batch, Losses

# What lets only a part of the bands pass: how often, between which octaves of hertz it begins and
# ends, and how steep it is, in 40 dB for an octave.
_NARROWED = 0.3
_LOW_CUT, _HIGH_CUT = (math.log2(50), math.log2(500)), (math.log2(2500), math.log2(8000))
_SLOPE = (0.3, 3.0)
_WEIGHTS = {"frames": 4.0, "clip": 2.0, "genre": 4.0, "energy": 1.0, "music": 0.25}


class Attention(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Of every step to every step."""

    def __init__(self, config: ListenerModelConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)  # as in Whisper
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D]"""
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        # Not torch's own attention: forward and backward in bfloat16 take it twice as long on CPUs.
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
        mixed = scores.softmax(-1).to(value.dtype) @ value
        found: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return found


class Layer(nn.Module):  # type: ignore[misc]
    """Attention and two products, each normalised before and added after."""

    def __init__(self, config: ListenerModelConfig) -> None:
        super().__init__()
        width = config.width
        self.dropout = config.dropout
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = Attention(config)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.ffn_width)
        self.fc2 = nn.Linear(config.ffn_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D]"""
        x = x + self._dropped(self.self_attn(self.self_attn_layer_norm(x)))
        wide = functional.gelu(self.fc1(self.final_layer_norm(x)))
        return x + self._dropped(self.fc2(wide))

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


class ListenerEncoder(nn.Module):  # type: ignore[misc]
    """Whisper's encoder with every two frames averaged, as Audio Flamingo 3 has it."""

    def __init__(self, config: ListenerModelConfig) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv1d(BANDS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(width)
        self.register_buffer("positions", torch.from_numpy(positions(width)), persistent=False)

    def forward(self, mels: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Mels [B, F, 128] of crops that begin `offsets` [B] steps (20 ms) into a window, to
        [B, T, D]."""
        x = functional.gelu(self.conv1(mels.transpose(1, 2)))
        x = functional.gelu(self.conv2(x)).transpose(1, 2)  # [B, S, D]
        steps = torch.arange(x.shape[1], device=x.device)
        place = steps if offsets is None else offsets[:, None] + steps
        x = x + self.positions[place]
        for layer in self.layers:
            x = layer(x)
        averaged = functional.avg_pool1d(x.transpose(1, 2), 2).transpose(1, 2)  # [B, T, D]
        found: Tensor = self.layer_norm(averaged)
        return found


class ListenerModel(nn.Module):  # type: ignore[misc]
    """Gives losses of a batch; see `listener.ListenerTask.batch` for what is in it."""

    def __init__(self, config: ListenerModelConfig, seed: int) -> None:
        super().__init__()
        self.only_heads = config.tune == "heads"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = ListenerEncoder(config)
            self.heads = nn.ModuleDict(
                {name: nn.Linear(config.width, len(classes)) for name, classes in HEADS.items()}
            )
        self.encoder.requires_grad_(not self.only_heads)

    def forward(self, batch: Batch, step: int) -> Losses:
        """`total`, and what it is made of, in nats: `frames`, of which instruments sound when,
        `clip`, which sound at all, `genre`, `energy` and `music`."""
        mels = batch["mels"]
        if self.training and not self.only_heads:
            mels = spoilt(mels)
        found = self.hear(mels, batch["offsets"])
        losses = {
            "frames": _mean(
                functional.binary_cross_entropy_with_logits(
                    found["instruments"], batch["sounding"].float(), reduction="none"
                ).mean((1, 2)),
                batch["timed"],
            ),
            "clip": _mean(
                functional.binary_cross_entropy(
                    pooled(found["instruments"]), batch["tags"].clamp(0, 1), reduction="none"
                ),
                batch["tags"] != UNKNOWN,
            ),
        }
        for name in ("genre", "music"):
            truth = batch[name]
            each = functional.binary_cross_entropy_with_logits(
                found[name].mean(1), truth.clamp(0, 1), reduction="none"
            )
            losses[name] = _mean(each, truth != UNKNOWN)
        energy = functional.cross_entropy(
            found["energy"].mean(1), batch["energy"], ignore_index=UNKNOWN, reduction="sum"
        )
        losses["energy"] = energy / (batch["energy"] != UNKNOWN).sum().clamp(min=1)
        return {"total": sum(_WEIGHTS[n] * loss for n, loss in losses.items()), **losses}

    def hear(self, mels: Tensor, offsets: Tensor | None = None) -> dict[str, Tensor]:
        """Logits of every head for every frame, [B, T, C]."""
        states = self.encoder(mels, offsets)
        return {name: head(states).float() for name, head in self.heads.items()}


def pooled(logits: Tensor) -> Tensor:
    """Probabilities of a whole crop from those of its frames [B, T, C]: each weighed by itself
    (linear softmax, Wang et al. 2019), so that what sounds in a part of it counts."""
    shares = logits.sigmoid()
    found = (shares * shares).sum(1) / shares.sum(1).clamp(min=1e-6)
    return found.clamp(1e-6, 1 - 1e-6)


def _mean(losses: Tensor, known: Tensor) -> Tensor:
    """Of the losses that `known` marks; 0 where there are none."""
    return (losses * known).sum() / known.sum().clamp(min=1)


def spoilt(mels: Tensor) -> Tensor:
    """Mels [B, F, 128] as other rooms, recorders and players would have it: at another level, with
    more or less between soft and loud, through another equaliser, and a share of them through
    something that lets only a part of the bands pass, as a telephone does."""
    count, _, bands = mels.shape

    def drawn(least: float, most: float) -> Tensor:
        return torch.empty(count, 1, 1, device=mels.device).uniform_(least, most)

    place = torch.linspace(-1, 1, bands, device=mels.device)
    wave = torch.sin(drawn(0.5, 4.0) * math.pi * place + drawn(0, 2 * math.pi))
    middle = mels.mean((1, 2), keepdim=True)
    changed = middle + (mels - middle) * drawn(0.85, 1.15)
    # A step of 1 is 40 dB.
    changed = changed + drawn(-0.25, 0.1) + drawn(-0.2, 0.2) * place + drawn(0, 0.1) * wave
    octave = torch.from_numpy(np.log2(centres_hz())).to(mels)
    low, high = drawn(*_LOW_CUT), drawn(*_HIGH_CUT)
    beyond = (low - octave).clamp(min=0) + (octave - high).clamp(min=0)
    changed = changed - beyond * drawn(*_SLOPE) * (drawn(0, 1) < _NARROWED)
    floor = changed.amax((1, 2), keepdim=True) - 2.0 + drawn(0, 0.5)
    return torch.maximum(changed, floor)
