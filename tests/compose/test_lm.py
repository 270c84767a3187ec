"""The decoder in torch against transformers', and its two ways, whole and by steps, against each
other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from t5_models import CARD, tiny_musicgen
from torch import Tensor

from antiphon.compose.checkpoint import read_config
from antiphon.compose.lm import Decoder
from antiphon.errors import ModelError
from antiphon.weights import Weights, weight_files

pytestmark = pytest.mark.unit

KINDS = ("mono", "stereo", "melody")
CLOSE = 1e-5
LENGTHS = (7, 2, 12)  # of the texts: none the same, so that there is padding
STEPS = 40
FRAMES = 9  # of chroma


@dataclass
class Made:
    model: torch.nn.Module
    decoder: Decoder
    melody: bool

    def inputs(self, seed: int = 0) -> dict[str, Tensor | None]:
        """What `forward` takes: the last row hears no text."""
        random = torch.Generator().manual_seed(seed)
        config = self.decoder.config
        rows, width = len(LENGTHS), config.text.width
        codebooks = config.decoder.codebooks
        mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
        classes = torch.randint(0, 12, (rows, FRAMES), generator=random)
        return {
            "codes": torch.randint(0, CARD + 1, (rows, codebooks, STEPS), generator=random),
            # What stands in the padding must not matter.
            "text": torch.randn(rows, max(LENGTHS), width, generator=random),
            "text_mask": mask,
            "heard": torch.tensor([True, True, False]),
            "chroma": torch.nn.functional.one_hot(classes, 12).float() if self.melody else None,
        }

    def expected(self, inputs: dict[str, Tensor | None]) -> Tensor:
        """[R, K, S, V] by transformers, row by row, so that nothing is padded."""
        rows = []
        for row, length in enumerate(LENGTHS):
            codes, text, _, heard, chroma = (
                None if value is None else value[row : row + 1] for value in inputs.values()
            )
            assert codes is not None
            assert text is not None
            assert heard is not None
            states = self.model.enc_to_dec_proj(text[:, :length]) * heard[:, None, None]
            if chroma is not None:
                states = torch.cat([self.model.audio_enc_to_dec_proj(chroma), states], dim=1)
            logits = self.model.decoder(codes[0], encoder_hidden_states=states).logits
            rows.append(logits[:, -STEPS:])
        return torch.stack(rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    result = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        model = tiny_musicgen(folder, melody=kind == "melody", stereo=kind == "stereo")
        with Weights(weight_files(folder)) as weights:
            decoder = Decoder.load(
                weights, read_config(folder), torch.device("cpu"), torch.float32
            ).eval()
        result[kind] = Made(model, decoder, kind == "melody")
    return result


def by_steps(one: Made, inputs: dict[str, Tensor | None], chunks: list[int]) -> Tensor:
    """[R, K, S, V] by `step`, each row alone; of each chunk of steps only the last is there."""
    decoder = one.decoder
    result = torch.full((len(LENGTHS), *inputs["codes"].shape[1:], CARD), torch.nan)
    for row, length in enumerate(LENGTHS):
        codes, text, _, heard, chroma = (
            None if value is None else value[row : row + 1] for value in inputs.values()
        )
        kept = heard[:, None].expand(1, length)
        condition = decoder.condition(text[:, :length], kept, chroma)
        cache = decoder.new_cache(1, 64)
        attended, done = None, torch.zeros(1, dtype=torch.long)
        if one.melody:
            decoder.step(condition, done, 32, cache, None, None)
            done = done + condition.shape[1]
        elif heard[0]:
            attended = [layer.attended_text(condition) for layer in decoder.layers]
        at = 0
        for chunk in chunks:
            x = decoder.embed(codes[..., at : at + chunk])
            at += chunk
            # The reach is more than there is: the rest must not be seen.
            logits = decoder.step(x, done, 64, cache, attended, None)
            done = done + chunk
            result[row, :, at - 1] = logits[0]
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_those_of_transformers(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    inputs = one.inputs()
    with torch.no_grad():
        ours, expected = one.decoder(**inputs), one.expected(inputs)
    assert ours.shape == (3, 8 if kind == "stereo" else 4, STEPS, CARD)
    assert (ours - expected).abs().max() <= CLOSE
    deaf = inputs | {"heard": torch.tensor([False, True, False])}
    with torch.no_grad():
        assert (one.decoder(**deaf) - ours).abs()[0].max() > 100 * CLOSE  # the prompt counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunks", [[1] * STEPS, [17, 1, 20, 1, 1]])
def test_steps_equal_the_whole(made: dict[str, Made], kind: str, chunks: list[int]) -> None:
    one = made[kind]
    inputs = one.inputs(1)
    with torch.no_grad():
        whole, stepped = one.decoder(**inputs), by_steps(one, inputs, chunks)
    there = ~stepped.isnan()
    assert there[0, 0, :, 0].sum() == len(chunks)
    assert (whole - stepped)[there].abs().max() <= CLOSE


def test_a_row_without_a_text_is_one_that_attends_to_none(made: dict[str, Made]) -> None:
    decoder = made["mono"].decoder
    codes = made["mono"].inputs()["codes"]
    condition = decoder.condition(torch.randn(3, 4, 32), torch.zeros(3, 4, dtype=torch.bool))
    texts = [layer.attended_text(condition) for layer in decoder.layers]
    results = []
    for text in (texts, None):
        cache = decoder.new_cache(3, STEPS)
        done = torch.zeros(3, dtype=torch.long)
        with torch.no_grad():
            results.append(decoder.step(decoder.embed(codes), done, STEPS, cache, text, None))
    assert torch.equal(*results)  # exactly 0 is added


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_extra_is_added_to_the_embedding(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    inputs = one.inputs()
    extra = torch.randn(len(LENGTHS), STEPS, 64)
    with torch.no_grad():
        nothing = one.decoder(**inputs, extra=torch.zeros_like(extra))
        assert torch.equal(nothing, one.decoder(**inputs))
        late = extra.clone()
        late[:, :30] = 0
        changed = (one.decoder(**inputs, extra=late) - nothing).abs().amax(dim=(0, 1, 3))
        assert changed[:30].max() == 0
        assert changed[30:].min() > CLOSE
        # The same as a table with other entries.
        shifted = one.decoder(**inputs, extra=extra[:1, :1].expand_as(extra))
        table = one.decoder.embedding.weight
        table[: CARD + 1] += extra[0, 0]
        moved = one.decoder(**inputs)
        table[: CARD + 1] -= extra[0, 0]
    assert (moved - shifted).abs().max() <= CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    inputs = one.inputs()
    logits = one.decoder(**inputs)
    targets = torch.randint(0, CARD, logits.shape[:-1])
    torch.nn.functional.cross_entropy(logits.flatten(0, 2), targets.flatten()).backward()
    for name, parameter in one.decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
        parameter.grad = None


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_a_checkpoint_has_its_place(made: dict[str, Made], kind: str) -> None:
    decoder = made[kind].decoder
    named = [source for sources in decoder.sources().values() for source in sources]
    assert len(named) == len(set(named))
    of_text = {name for name in decoder.config.shapes() if name.startswith("text_encoder.")}
    assert set(named) == set(decoder.config.shapes()) - of_text
    sizes = decoder.config.shapes()
    for name, parameter in decoder.named_parameters():
        sources = decoder.sources()[name]
        assert parameter.numel() == sum(int(np.prod(sizes[source])) for source in sources)


def test_a_precision_is_that_of_all(made: dict[str, Made], tmp_path: Path) -> None:
    tiny_musicgen(tmp_path)
    with Weights(weight_files(tmp_path)) as weights:
        decoder = Decoder.load(weights, read_config(tmp_path), torch.device("cpu"), torch.bfloat16)
    kinds = {values.dtype for values in (*decoder.parameters(), *decoder.buffers())}
    assert kinds == {torch.bfloat16}
    inputs = made["mono"].inputs()
    assert inputs["text"] is not None
    with torch.no_grad():
        rough = decoder(**inputs | {"text": inputs["text"].bfloat16()})
        exact = made["mono"].decoder(**inputs)
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()


def test_a_tensor_that_is_not_there(tmp_path: Path) -> None:
    tiny_musicgen(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["decoder.model.decoder.layers.1.self_attn.k_proj.weight"]
    save_file(tensors, path)
    with (
        Weights(weight_files(tmp_path)) as weights,
        pytest.raises(ModelError, match=r"has no tensor '.*layers.1.self_attn.k_proj.weight'"),
    ):
        Decoder.load(weights, read_config(tmp_path), torch.device("cpu"), torch.float32)
