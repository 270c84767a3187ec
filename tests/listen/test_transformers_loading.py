"""Loading a checkpoint: what goes together, what is missing, and that nothing is made up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import flamingo
import pytest

from antiphon.errors import ConfigError, DependencyError, ModelError
from antiphon.listen.engines import Question, Sampling
from antiphon.listen.engines import prefix as decoding
from antiphon.listen.engines import transformers_loading as loading
from antiphon.listen.engines.transformers import TransformersEngine, load
from antiphon.listen.windows import Clip

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.integration

QUESTIONS = [Question(text) for text in flamingo.QUESTIONS]
SHORT = Sampling(max_new_tokens=12)


def texts(engine: TransformersEngine, sound: str, questions: list[Question]) -> list[str]:
    heard = Clip(flamingo.toy_sound(sound, 33.0, 3))
    return [answer.text for answer in engine.answer(heard, questions, SHORT)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"precision": "4bit"}, ConfigError, "4bit, which needs CUDA, on cpu"),
        ({"precision": "int3"}, ConfigError, "'int3'; expected fp32, bf16"),
        ({"attention": "flash"}, ConfigError, "flash, which needs CUDA"),
        ({"attention": "flash", "compile": True}, ConfigError, "they exclude each other"),
        ({"attention": "fast"}, ConfigError, "'fast'; expected flash, sdpa or eager"),
        ({"device": "toaster"}, ConfigError, "'toaster'; expected auto, cpu"),
        ({"encoder_chunk": 0}, ConfigError, "encoder_chunk is 0; expected 1"),
        ({"cap_seconds": -1.0}, ConfigError, "cap_seconds is -1.0"),
        ({"adapter": Path("none")}, ModelError, "none has no adapter_model.safetensors"),
    ],
)
def test_options_that_do_not_go_together(
    tiny_af3: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load(tiny_af3, **{"device": "cpu", **options})


def test_rocm_refuses_what_fails_there(tiny_af3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    with pytest.raises(ConfigError, match="compile is on, which fails on ROCm"):
        load(tiny_af3, device="cpu", compile=True)
    with pytest.raises(ConfigError, match="8bit, which bitsandbytes gets wrong on ROCm"):
        load(tiny_af3, device="cpu", precision="8bit")


@pytest.mark.parametrize(("attention", "precision"), [("eager", "fp32"), ("sdpa", "bf16")])
def test_other_kernels_hear_the_same(toy: Path, attention: Any, precision: Any) -> None:
    other = load(toy, device="cpu", attention=attention, precision=precision)
    expected = [flamingo.toy_answer(one.text, "a rising siren") for one in QUESTIONS]
    assert texts(other, "a rising siren", QUESTIONS) == expected
    assert other.info.settings["attention"] == attention


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["config.json"], "config.json cannot be read"),
        (["processor_config.json"], "processor_config.json or preprocessor_config.json"),
        (["tokenizer.json", "chat_template.jinja"], "tokenizer.json or vocab.json, chat_template"),
        (["model.safetensors"], "lacks weights: model.safetensors$"),
    ],
)
def test_what_is_missing_is_named(
    tiny_af3: Path, tmp_path: Path, missing: list[str], message: str
) -> None:
    folder = flamingo.copy_without(tiny_af3, tmp_path / "part", *missing)
    with pytest.raises(ModelError, match=message):
        load(folder, device="cpu")


def test_odd_checkpoints_are_refused(tiny_af3: Path, tmp_path: Path) -> None:
    folder = flamingo.copy_without(tiny_af3, tmp_path / "part", "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(ModelError, match="a pickle such as"):
        loading.check_folder(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "two.safetensors"}}')
    with pytest.raises(ModelError, match="lacks weights: two.safetensors"):
        loading.check_folder(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match="is damaged"):
        loading.check_folder(folder)
    (folder / "model.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder, device="cpu")
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(ModelError, match="names LlamaForCausalLM; expected AudioFlamingo3"):
        loading.check_folder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        loading.check_folder(folder)


def test_weights_that_are_not_all_there_are_refused(tiny_af3: Path, tmp_path: Path) -> None:
    """transformers would draw the others at random, with a line in the log."""
    from safetensors.torch import load_file, save_file

    folder = flamingo.copy_without(tiny_af3, tmp_path / "part")
    tensors = load_file(folder / "model.safetensors")
    gone = [name for name in tensors if "multi_modal_projector.linear_1" in name]
    rest = {name: tensor for name, tensor in tensors.items() if name not in gone}
    save_file(rest, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="lacks 2 tensors, .*linear_1"):
        load(folder, device="cpu")


def test_without_torch_the_extra_is_named(tiny_af3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"pip install 'antiphon\[torch\]'"):
        load(tiny_af3)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_changes_what_is_said(tiny_af3: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = transformers.AudioFlamingo3ForConditionalGeneration.from_pretrained(tiny_af3)
    torch.manual_seed(1)
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    peft.get_peft_model(model, lora).save_pretrained(tmp_path / "rock")
    engine = load(tiny_af3, device="cpu", adapter=tmp_path / "rock")
    assert engine.info.settings["adapter"] == "rock"
    said = texts(engine, "clicks", QUESTIONS)
    plain = load(tiny_af3, device="cpu")
    assert said != texts(plain, "clicks", QUESTIONS)
    # One by one as all together, so the layers are in the model and not around it.
    assert said == [texts(engine, "clicks", [one])[0] for one in QUESTIONS]


def test_the_published_configuration_has_the_shapes_we_lean_on() -> None:
    """The 8B checkpoints as they are published, without their weights."""
    audio = transformers.AudioFlamingo3EncoderConfig()
    text = transformers.Qwen2Config(
        vocab_size=151_672, hidden_size=3584, num_hidden_layers=28, num_attention_heads=28,
        num_key_value_heads=4, intermediate_size=18_944, tie_word_embeddings=False,
    )  # fmt: skip
    for name, make in (
        ("AudioFlamingo3Config", loading.ARCHITECTURES[0]),
        ("MusicFlamingoConfig", loading.ARCHITECTURES[1]),
    ):
        config = getattr(transformers, name)(audio_config=audio, text_config=text)
        with torch.device("meta"):
            model = getattr(transformers, make)(config)
        shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
        assert 8.2e9 < sum(tensor.numel() for tensor in model.parameters()) < 8.4e9
        assert shapes["model.audio_tower.conv1.weight"] == (1280, 128, 3)
        assert shapes["model.audio_tower.embed_positions.weight"] == (1500, 1280)
        assert shapes["model.audio_tower.layers.31.fc1.weight"] == (5120, 1280)
        assert shapes["model.multi_modal_projector.linear_1.weight"] == (3584, 1280)
        assert shapes["model.language_model.layers.27.self_attn.k_proj.weight"] == (512, 3584)
        assert shapes["lm_head.weight"] == (151_672, 3584)
        assert model.get_input_embeddings().weight.shape == (151_672, 3584)
        assert decoding.cache_name(model) in ("cache", "past_key_values")
