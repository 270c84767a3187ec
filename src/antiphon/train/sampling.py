"""Codes that a composer writes while it is trained, to be listened to. K codebooks, F frames."""

from __future__ import annotations

import numpy as np
import torch

from antiphon.compose.patterns import Codes, Pattern
from antiphon.compose.sampling import Sampling, choose, draws_of, guided
from antiphon.train.composer_model import ComposerModel
from antiphon.train.task import Batch


def sampled_codes(
    model: ComposerModel, batch: Batch, frames: int, pattern: Pattern, seed: int
) -> Codes:
    """Codes [K, F] for the text and score of a batch of one row, as MusicGen samples: guided by
    both against nothing. Not for stereo patterns of several items; in float32 throughout."""
    device = next(model.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    decoder, card = model.decoder, model.musicgen.decoder.card
    layout = pattern.layout(frames)
    sampling, draws = Sampling(), draws_of(seed)
    with torch.autocast(device.type, enabled=False), torch.inference_mode():
        states, mask = model.states(batch)
        condition = decoder.condition(states.float(), mask & batch["text_heard"][:, None])
        texts = [layer.attended_text(condition) for layer in decoder.layers]
        added = model.added(batch, layout.steps)
        cache = decoder.new_cache(2, layout.steps)
        columns = np.full((layout.valid.shape[0], layout.steps), card)
        column = np.full(len(columns), card)
        for step in range(layout.steps):
            shown = torch.from_numpy(column).to(device).expand(2, -1)[..., None]
            x = decoder.embed(shown)  # [2, 1, D]: with the conditions, and without
            if added is not None:
                x = x + torch.cat([added[:, step : step + 1], torch.zeros_like(x[:1])])
            length = torch.full((2,), step, device=device)
            logits = decoder.step(x, length, step + 1, cache, texts, mask[:, None, None])
            rows = logits.float().cpu().numpy()[::-1][None]  # [1, 2, K, V]: without comes first
            mixed = guided(np.ascontiguousarray(rows), (sampling.guidance,))
            chosen = choose(mixed, draws.random((1, len(columns))), sampling)[0]
            column = np.where(layout.valid[:, step], chosen, card)
            columns[:, step] = column
    return layout.deinterleave(columns)
