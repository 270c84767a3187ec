"""The states of texts that are kept in shards: those that `generate` would have computed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from antiphon.compose.checkpoint import read_config
from antiphon.compose.prompt import render
from antiphon.compose.text import MAX_TEXT_TOKENS, TextEncoder, load_text_encoder
from antiphon.controls import Controls
from antiphon.data.text_states import TextStates, open_text_encoder, text_encoder_identity
from antiphon.errors import EngineError, ModelError

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from t5_models import tiny_musicgen, tiny_text_config, tiny_tokenizer

pytestmark = pytest.mark.integration

CONTROLS = {"tempo": 90.0, "key": "C minor", "duration": 30.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("musicgen")
    tiny_musicgen(folder)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text encoder of the same model, in a folder of its own."""
    place = tmp_path_factory.mktemp("t5")
    tiny_musicgen_text(folder).save_pretrained(place)
    tiny_tokenizer().save(str(place / "tokenizer.json"))
    return place


def tiny_musicgen_text(folder: Path) -> torch.nn.Module:
    from transformers import MusicgenForConditionalGeneration

    return MusicgenForConditionalGeneration.from_pretrained(folder).text_encoder.eval()


def transformers_states(folder: Path, text: str) -> NDArray[np.float32]:
    ids = tiny_tokenizer().encode(text).ids
    with torch.no_grad():
        states = tiny_musicgen_text(folder)(torch.tensor([ids])).last_hidden_state[0]
    return states.numpy()


def test_they_are_the_encoders_in_half_precision(folder: Path, alone: Path, tmp_path: Path) -> None:
    whole = TextStates(open_text_encoder(folder, tmp_path))
    part = TextStates(open_text_encoder(alone, tmp_path))
    generates = load_text_encoder(folder, read_config(folder).text, cache=tmp_path)
    text = "a slow jazz piano. bpm: 90.0. key: c minor"
    assert render("a slow jazz piano.", Controls.from_options(CONTROLS)) == text
    for found, said in (
        (whole.of_caption("a slow jazz piano."), "a slow jazz piano."),
        (whole.of_prompt("a slow jazz piano.", CONTROLS), text),
    ):
        assert found is not None
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, generates.encode(said).astype(np.float16))
        np.testing.assert_allclose(found, transformers_states(folder, said), rtol=2e-3, atol=2e-3)
        assert found.shape[0] == len(generates.tokens(said))  # the end token is among them
    np.testing.assert_array_equal(
        part.of_prompt("a slow jazz piano.", CONTROLS),
        whole.of_prompt("a slow jazz piano.", CONTROLS),
    )


def test_texts_that_are_empty_or_the_same_have_none(folder: Path, tmp_path: Path) -> None:
    states = TextStates(open_text_encoder(folder, tmp_path))
    assert states.of_caption(None) is None
    assert states.of_caption("") is None
    assert states.of_prompt(None, None) is None
    assert states.of_prompt("slow jazz.", {}) is None
    assert states.of_prompt("slow jazz", {"duration": 30.0}) is None  # no field carries it
    alone = states.of_prompt(None, {"tempo": 90.0})
    assert alone is not None
    np.testing.assert_array_equal(alone, states.of_caption("bpm: 90.0"))


def test_texts_are_cut_where_generate_cuts(folder: Path, tmp_path: Path) -> None:
    encoder = open_text_encoder(folder, tmp_path)
    found = TextStates(encoder).of_caption("jazz " * 700)
    assert found is not None
    assert found.shape == (MAX_TEXT_TOKENS, 32)
    np.testing.assert_array_equal(found, encoder.encode("jazz " * 511).astype(np.float16))


def test_states_that_half_precision_cannot_hold_are_refused() -> None:
    def model(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.full((len(ids), 32), 7e4, np.float32)

    states = TextStates(TextEncoder(tiny_tokenizer(), tiny_text_config(), model))
    with pytest.raises(
        EngineError, match="states of 'slow jazz' reach 7e.04; expected 65504 at most"
    ):
        states.of_caption("slow jazz")


def test_identities_tell_encoders_apart(
    folder: Path, alone: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    tiny_musicgen(other, seed=1)
    found = text_encoder_identity(folder, tmp_path)
    assert (found.name, found.width) == (folder.name, 32)
    assert found == text_encoder_identity(folder, tmp_path)
    assert found.checksum != text_encoder_identity(other, tmp_path).checksum
    assert text_encoder_identity(alone, tmp_path).width == 32
    (tmp_path / "none").mkdir()
    with pytest.raises(ModelError, match="none"):
        open_text_encoder(tmp_path / "none", tmp_path)
