from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from t5_models import VOCABULARY, FeedForward, tiny_musicgen, tiny_text_config, tiny_tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.models.t5.modeling_t5 import T5Attention

from antiphon.compose.checkpoint import TextConfig, read_config
from antiphon.compose.engines.torch_text import Dtype, load_torch_text_encoder
from antiphon.compose.text import MAX_TEXT_TOKENS, TextEncoder, load_text_encoder
from antiphon.compose.text_graph import distance_buckets
from antiphon.errors import DependencyError, EngineError, ModelError
from antiphon.weights import Float32

pytestmark = pytest.mark.unit

PROMPTS = (
    "slow jazz piano in the key of a minor",
    "fast",
    "",
    "guitar, bpm: 120.0. " * 12,  # further apart than the last distance with a bucket of its own
    "party 🎵👩‍🎤 ﬁne",
    "موسيقى هادئة \u202eevitaler\u202c",
    "a\x00b\tc\r\n\x1b[31md\ufeff",
    "</s> in the middle <pad>",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mono")


@pytest.fixture(scope="module")
def model(folder: Path) -> torch.nn.Module:
    return tiny_musicgen(folder)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def encoder(folder: Path, model: torch.nn.Module, cache: Path) -> TextEncoder:
    return load_text_encoder(folder, read_config(folder).text, cache=cache)


def reference_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
    )


def reference(model: torch.nn.Module, folder: Path, prompts: tuple[str, ...]) -> list[Float32]:
    """What transformers gives for the prompts in one padded batch, without the padding."""
    batch = reference_tokenizer(folder)(
        list(prompts), padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        states = model.text_encoder(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
    mask = batch["attention_mask"].bool()
    return [row[kept].numpy() for row, kept in zip(states, mask, strict=True)]


def check(encoder: TextEncoder, expected: list[Float32]) -> None:
    for prompt, states in zip(PROMPTS, expected, strict=True):
        ours = encoder.encode(prompt)
        assert ours.shape == states.shape
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, states, rtol=0, atol=1e-5)


def test_states_equal_those_of_transformers_in_a_padded_batch(
    encoder: TextEncoder, model: torch.nn.Module, folder: Path
) -> None:
    check(encoder, reference(model, folder, PROMPTS))


@pytest.mark.parametrize("feed_forward", ["gelu", "gated-gelu"])
def test_other_feed_forwards(feed_forward: FeedForward, tmp_path: Path) -> None:
    model = tiny_musicgen(tmp_path / "model", feed_forward=feed_forward)
    config = read_config(tmp_path / "model").text
    assert config == tiny_text_config(feed_forward.startswith("gated"), "gelu")
    encoder = load_text_encoder(tmp_path / "model", config, cache=tmp_path)
    check(encoder, reference(model, tmp_path / "model", PROMPTS))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_shards_of_half_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = tiny_musicgen(folder, dtype=dtype, shard_size="50KB", seed=1)
    assert len(list(folder.glob("model-*.safetensors"))) > 3
    config = read_config(folder).text
    encoder = load_text_encoder(folder, config, cache=tmp_path)
    check(encoder, reference(model, folder, PROMPTS))


def test_a_t5_alone_under_either_name_of_its_embedding(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    start = "text_encoder."
    tensors = load_file(folder / "model.safetensors")
    alone = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    renamed = {n.replace("shared.", "encoder.embed_tokens."): t for n, t in alone.items()}
    whole = {start + n: t for n, t in renamed.items()}
    assert set(renamed) != set(alone)
    for number, content in enumerate((alone, renamed, whole)):
        place = tmp_path / str(number)
        place.mkdir()
        save_file(content, place / "model.safetensors")
        tiny_tokenizer().save(str(place / "tokenizer.json"))
        other = load_text_encoder(place, encoder.config, cache=tmp_path)
        assert np.array_equal(other.encode(PROMPTS[0]), encoder.encode(PROMPTS[0]))


def test_threads_change_no_bit(encoder: TextEncoder, folder: Path, cache: Path) -> None:
    one, two = (
        load_text_encoder(folder, encoder.config, cache=cache, threads=count) for count in (1, 2)
    )
    for prompt in (*PROMPTS, "slow jazz piano " * 200):
        assert np.array_equal(one.encode(prompt), two.encode(prompt))


def test_torch_gives_the_same_states(encoder: TextEncoder, folder: Path, tmp_path: Path) -> None:
    other = load_torch_text_encoder(folder, encoder.config, device="cpu")
    check(other, [encoder.encode(prompt) for prompt in PROMPTS])
    assert other.tokens(PROMPTS[0]) == encoder.tokens(PROMPTS[0])
    tiny_musicgen(tmp_path / "gated", feed_forward="gated-gelu")
    config = tiny_text_config(gated=True, activation="gelu")
    exact = load_text_encoder(tmp_path / "gated", config, cache=tmp_path)
    bounds: dict[Dtype, float] = {"float16": 2e-3, "bfloat16": 2e-2}
    for dtype, bound in bounds.items():
        half = load_torch_text_encoder(tmp_path / "gated", config, device="cpu", dtype=dtype)
        states = exact.encode(PROMPTS[0])
        error = np.linalg.norm(half.encode(PROMPTS[0]) - states) / np.linalg.norm(states)
        assert 0 < error < bound


def test_torch_that_is_not_installed_is_named(
    encoder: TextEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyError, match=r"needs torch and transformers.*antiphon\[torch\]"):
        load_torch_text_encoder(folder, encoder.config, device="cpu")


def test_distances_that_make_no_buckets_are_refused(
    folder: Path, model: torch.nn.Module, tmp_path: Path
) -> None:
    for name, value in (
        ("relative_attention_num_buckets", 3),
        ("relative_attention_max_distance", 8),
    ):
        content = json.loads((folder / "config.json").read_text())
        content["text_encoder"][name] = value
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match=f"{name} is {value}; expected"):
            read_config(tmp_path)


@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (32, 512), (8, 20), (4, 2)])
def test_every_distance_is_in_the_bucket_it_was_trained_in(buckets: int, furthest: int) -> None:
    config = replace(tiny_text_config(), buckets=buckets, max_distance=furthest)
    distance = torch.arange(-2 * furthest, 2 * furthest + 1)
    expected = T5Attention._relative_position_bucket(
        distance, num_buckets=buckets, max_distance=furthest
    )
    within = np.clip(distance.numpy(), -furthest, furthest) + furthest
    assert distance_buckets(config)[within].tolist() == expected.tolist()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_tokens_equal_those_of_transformers(
    prompt: str, encoder: TextEncoder, folder: Path
) -> None:
    assert list(encoder.tokens(prompt)) == reference_tokenizer(folder)(prompt)["input_ids"]
    assert encoder.cut_tokens(prompt) == 0


def test_an_empty_prompt_is_the_end_token(encoder: TextEncoder) -> None:
    assert encoder.tokens("") == (1,)
    assert encoder.encode("").shape == (1, 32)


def test_ten_thousand_words_are_cut(
    encoder: TextEncoder, folder: Path, model: torch.nn.Module
) -> None:
    prompt = "jazz " * 10_000  # a token each
    states = encoder.encode(prompt)
    assert states.shape == (MAX_TEXT_TOKENS, 32)
    assert encoder.cut_tokens(prompt) == 10_000 - 511
    # Sums over 512 tokens: transformers' own states are as far from those in float64.
    np.testing.assert_allclose(states, reference(model, folder, (prompt,))[0], rtol=0, atol=5e-5)


def test_the_limit_itself_is_not_cut(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = "jazz " * (MAX_TEXT_TOKENS - 1)
    assert len(encoder.encode(prompt)) == len(encoder.tokens(prompt)) == MAX_TEXT_TOKENS
    assert encoder.cut_tokens(prompt) == 0
    assert not caplog.records
    assert encoder.cut_tokens(prompt + "jazz") == 1


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_joined(encoder: TextEncoder) -> None:
    assert encoder.tokens("a \ud83c jazz\udfb5") == encoder.tokens("a \ufffd jazz\ufffd")
    assert encoder.tokens("\ud83c\udfb5 jazz") == encoder.tokens("🎵 jazz")
    assert np.isfinite(encoder.encode("\ud800")).all()


def test_padding_and_truncation_of_the_file_do_not_count(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    def switched_on(place: Path) -> None:
        tokenizer = tiny_tokenizer()
        tokenizer.enable_padding(length=40)
        tokenizer.enable_truncation(4)
        tokenizer.save(str(place / "tokenizer.json"))

    other = with_changes(folder, tmp_path, encoder.config, switched_on)
    assert other.tokens(PROMPTS[0]) == encoder.tokens(PROMPTS[0])


def with_changes(
    folder: Path, place: Path, config: TextConfig, change: Callable[[Path], None]
) -> TextEncoder:
    """Load a copy of `folder` in which something was changed."""
    copy = place / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    change(copy)
    return load_text_encoder(copy, config, cache=place / "cache")


def remove_tokenizer(place: Path) -> None:
    (place / "tokenizer.json").unlink()


def leave_sentencepiece(place: Path) -> None:
    (place / "tokenizer.json").rename(place / "spiece.model")


def cut_tokenizer(place: Path) -> None:
    path = place / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:1000])


def unknown_beyond(place: Path) -> None:
    path = place / "tokenizer.json"
    path.write_text(path.read_text().replace('"unk_id": 2', '"unk_id": 999'))


def without_an_end(place: Path) -> None:
    path = place / "tokenizer.json"
    content = json.loads(path.read_text())
    content["post_processor"] = None
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_tokenizer, r"has no tokenizer.json; copy tokenizer.json .* 'antiphon convert"),
        (leave_sentencepiece, r"has spiece.model, which is not read, but no tokenizer.json; copy"),
        (cut_tokenizer, r"tokenizer.json is no whole tokenizer: .*EOF while parsing .*fetch it"),
        (unknown_beyond, r"tokenizer.json is no whole tokenizer: .*UnkIdNotInVocabulary"),
    ],
)
def test_a_bad_tokenizer_is_refused(
    change: Callable[[Path], None],
    message: str,
    encoder: TextEncoder,
    folder: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match=message):
        with_changes(folder, tmp_path, encoder.config, change)


def test_a_tokenizer_that_adds_no_end_is_taken_as_it_is(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    other = with_changes(folder, tmp_path, encoder.config, without_an_end)
    assert (*other.tokens(PROMPTS[0]), 1) == encoder.tokens(PROMPTS[0])
    assert other.tokens("") == (1,)
    assert len(other.tokens("jazz " * 600)) == MAX_TEXT_TOKENS


def test_a_damaged_tokenizer_keeps_the_cause(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        with_changes(folder, tmp_path, encoder.config, cut_tokenizer)
    assert "EOF" in str(caught.value.__cause__)


def test_a_tokenizer_without_unknown_token_is_named(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    def no_unknown(place: Path) -> None:
        path = place / "tokenizer.json"
        path.write_text(path.read_text().replace('"unk_id": 2', '"unk_id": null'))

    other = with_changes(folder, tmp_path, encoder.config, no_unknown)
    assert other.tokens("jazz") == encoder.tokens("jazz")
    with pytest.raises(ModelError, match=r"tokenizer.json cannot read '🎵'"):
        other.tokens("🎵")


def test_token_ids_beyond_the_config_are_refused(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    small = replace(encoder.config, vocabulary=80)
    with pytest.raises(ModelError, match="token ids up to 82; expected less than 80, the vocab"):
        load_text_encoder(folder, small, cache=tmp_path)


def test_weights_are_checked_before_anything_is_computed(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    for wrong in ({"layers": 3}, {"width": 48}, {"gated": True}, {"vocabulary": VOCABULARY + 1}):
        config = replace(encoder.config, **wrong)
        with pytest.raises(ModelError, match="text_encoder.*config.json"):
            load_text_encoder(folder, config, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_decoder_may_be_of_another_config(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    tensors = load_file(folder / "model.safetensors")
    text = {name: values for name, values in tensors.items() if name.startswith("text_encoder.")}

    def text_alone(place: Path) -> None:
        save_file(text, place / "model.safetensors")

    other = with_changes(folder, tmp_path, encoder.config, text_alone)
    assert np.array_equal(other.encode("jazz"), encoder.encode("jazz"))


def test_states_that_are_not_finite_are_an_error(encoder: TextEncoder) -> None:
    def broken(ids: NDArray[np.int64]) -> Float32:
        return np.full((len(ids), 32), math.nan, np.float32)

    with pytest.raises(EngineError, match="not finite; its weights are damaged"):
        TextEncoder(tiny_tokenizer(), encoder.config, broken).encode("jazz")


def test_a_broken_graph_in_the_cache_is_named(
    encoder: TextEncoder, folder: Path, tmp_path: Path
) -> None:
    other = load_text_encoder(folder, encoder.config, cache=tmp_path)
    next(tmp_path.glob("*/text.onnx")).write_bytes(b"nonsense")
    with pytest.raises(EngineError, match="cannot load .*text.onnx.*delete"):
        other.encode("jazz")
