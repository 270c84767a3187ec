"""Checkpoints of other layouts against those of transformers they were made from."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from audiocraft_folders import Model, codec_state, lm_state, save, write_audiocraft
from safetensors.torch import load_file
from t5_models import CARD, tiny_musicgen
from transformers import MusicgenForConditionalGeneration

from antiphon.compose.conversion import convert as converting
from antiphon.compose.conversion.convert import convert
from antiphon.compose.conversion.result import whole_folder
from antiphon.compose.conversion.tensors import Tensor
from antiphon.compose.engines import Branch
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.compose.melody import no_melody
from antiphon.compose.sampling import Sampling
from antiphon.errors import (
    ConfigError,
    DependencyError,
    EngineError,
    ModelError,
    ModelMissingError,
    StorageError,
)
from antiphon.models.record import read_record

pytestmark = pytest.mark.unit

KINDS: dict[str, dict[str, bool]] = {
    "mono": {},
    "stereo": {"stereo": True},
    "melody": {"melody": True},
}


@dataclass
class Tiny:
    folder: Path
    model: Model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tiny]:
    made = {}
    for kind, options in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        made[kind] = Tiny(folder, tiny_musicgen(folder, **options))
    return made


@pytest.fixture
def mono(tiny: dict[str, Tiny]) -> Tiny:
    return tiny["mono"]


def states(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def nothing_left(folder: Path) -> bool:
    """Neither a result nor anything on the way to one."""
    return not [path for path in folder.iterdir() if "out" in path.name]


class TestAudiocraft:
    @pytest.mark.parametrize("kind", KINDS)
    def test_logits_tokens_and_sound_are_those_of_transformers(
        self, tiny: dict[str, Tiny], kind: str, tmp_path: Path
    ) -> None:
        one = tiny[kind]
        source = write_audiocraft(tmp_path / "source", one.model)
        made = convert(source, tmp_path / "out", text_encoder=one.folder)
        assert (made.precision, made.parity.max_difference, made.parity.ok) == ("fp32", 0.0, True)

        loaded, info = type(one.model).from_pretrained(made.output, output_loading_info=True)
        assert not any(info.values())
        kept = one.model.state_dict()
        assert all(torch.equal(values, kept[name]) for name, values in loaded.state_dict().items())
        assert len(loaded.state_dict()) == len(kept)
        assert loaded.generation_config.decoder_start_token_id == CARD

        ours = load_musicgen(made.output, LoadOptions("fp32", 1), tmp_path / "cache")
        codebooks = one.model.decoder.num_codebooks
        codes = np.random.default_rng(1).integers(0, CARD, (codebooks, 6))
        codes[:, 0] = CARD
        text = torch.tensor([[7, 20, 33, 1]])
        with torch.no_grad():
            states = one.model.text_encoder(text).last_hidden_state
            inputs = {"input_ids": text, "decoder_input_ids": torch.from_numpy(codes)}
            chroma = None
            if kind == "melody":
                frames, bins = ours.config.chroma_frames, ours.config.chroma_bins
                assert frames is not None
                assert bins is not None
                chroma = no_melody(frames, bins)
                inputs["input_features"] = torch.from_numpy(chroma)[None]
            expected = one.model(**inputs).logits[:, -1].numpy()  # [K, V]
        branch = Branch(states[0].numpy(), chroma)
        session = ours.engine.begin([[branch]], (), Sampling(), codes.shape[1])
        session.feed(codes[None, :, :-1])
        logits = session.logits(codes[None, :, -1])[0]
        assert np.abs(logits - expected).max() < 1e-4
        assert (logits.argmax(-1) == expected.argmax(-1)).all()

        again = load_musicgen(one.folder, LoadOptions("fp32", 1), tmp_path / "cache")
        codes = codes[:, 1:]
        np.testing.assert_array_equal(ours.codec.decode(codes), again.codec.decode(codes))

    def test_half_precision_stays(self, mono: Tiny, tmp_path: Path) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model, dtype=torch.float16)
        made = convert(source, tmp_path / "out", text_encoder=mono.folder)
        found = states(made.output)
        assert found["decoder.lm_heads.0.weight"].dtype == torch.float16
        assert found["text_encoder.shared.weight"].dtype == torch.float32
        assert made.precision == "mixed"
        loaded = MusicgenForConditionalGeneration.from_pretrained(made.output)
        assert loaded.dtype == torch.float32

    def test_a_codec_that_is_only_named(self, mono: Tiny, tmp_path: Path) -> None:
        name = "//pretrained/facebook/encodec_32khz"
        source = write_audiocraft(tmp_path / "source", mono.model, pretrained=name)
        with pytest.raises(ModelMissingError, match="encodec_32khz.*models pull.*--codec DIR"):
            convert(source, tmp_path / "out", text_encoder=mono.folder, models=tmp_path / "models")
        assert nothing_left(tmp_path)
        codec = tmp_path / "models/facebook--encodec_32khz"
        mono.model.audio_encoder.save_pretrained(codec)
        made = convert(
            source, tmp_path / "out", text_encoder=mono.folder, models=tmp_path / "models"
        )
        kept = mono.model.state_dict()
        assert all(torch.equal(values, kept[n]) for n, values in states(made.output).items())
        by_name = convert(source, tmp_path / "out2", text_encoder=mono.folder, codec=mono.folder)
        assert states(by_name.output).keys() == states(made.output).keys()

    def test_the_text_encoder_is_looked_for(self, mono: Tiny, tmp_path: Path) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        with pytest.raises(ModelMissingError, match="google-t5/t5-base.*--text-encoder DIR"):
            convert(source, tmp_path / "out", models=tmp_path / "models")
        t5 = tmp_path / "models/google-t5--t5-base"
        mono.model.text_encoder.save_pretrained(t5)
        with pytest.raises(ModelError, match="has no tokenizer.json"):
            convert(source, tmp_path / "out", models=tmp_path / "models")
        shutil.copy(mono.folder / "tokenizer.json", t5)
        made = convert(source, tmp_path / "out", models=tmp_path / "models")
        assert "tokenizer.json" in made.files

    def test_heads_are_told_by_the_settings_else_by_their_width(
        self, mono: Tiny, tmp_path: Path
    ) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model, settings="a: 1")
        made = convert(source, tmp_path / "out", text_encoder=mono.folder)
        config = json.loads((made.output / "config.json").read_text())
        assert config["decoder"]["num_attention_heads"] == 64 // 64

    def test_padding_of_another_kind_is_said(self, mono: Tiny, tmp_path: Path) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        settings = "{sample_rate: 32000, seanet: {pad_mode: constant}}"
        save(
            source / "compression_state_dict.bin",
            codec_state(mono.model.audio_encoder, 4),
            settings,
        )
        made = convert(source, tmp_path / "out", text_encoder=mono.folder)
        assert "constant padding" in made.notes[0]

    def test_files_of_torch_before_1_6(self, mono: Tiny, tmp_path: Path) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        state = {
            "best_state": {"model": lm_state(mono.model)},
            "xp.cfg": "transformer_lm: {num_heads: 4}",
        }
        torch.save(state, source / "state_dict.bin", _use_new_zipfile_serialization=False)
        assert convert(source, tmp_path / "out", text_encoder=mono.folder).parity.ok

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"emb.3.weight": None}, "3 codebooks and its codec 4.*--codec"),
            ({"out_norm.bias": None}, "has no tensor 'out_norm.bias'"),
            ({"linears.0.weight": torch.zeros(63, 64)}, "63 codes and its codec 64"),
            ({"transformer.layers.1.linear1.weight": torch.zeros(9, 64)}, r"\(9, 64\); expected"),
            ({"transformer.layers.0.linear1.bias": torch.zeros(96)}, "1 tensors that no MusicGen"),
            (
                {
                    "condition_provider.conditioners.self_wav.output_proj.weight": torch.zeros(
                        64, 12
                    )
                },
                "attention to the text besides a melody",
            ),
            (
                {
                    "condition_provider.conditioners.description.output_proj.weight": torch.zeros(
                        64, 9
                    )
                },
                "text states of width 9.*--text-encoder",
            ),
            ({"out_norm.bias": torch.full((64,), torch.nan)}, "'out_norm.bias'.*is not finite"),
            ({"out_norm.bias": "x"}, "'out_norm.bias' is str; expected a tensor"),
            ({"out_norm.bias": torch.zeros(64, dtype=torch.complex64)}, "of type torch.complex64"),
        ],
    )
    def test_what_is_no_such_decoder(
        self, mono: Tiny, change: Mapping[str, object], match: str, tmp_path: Path
    ) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        state = {k: v for k, v in (lm_state(mono.model) | change).items() if v is not None}
        save(source / "state_dict.bin", state, "transformer_lm: {num_heads: 4}")
        with pytest.raises(ModelError, match=match):
            convert(source, tmp_path / "out", text_encoder=mono.folder)
        assert nothing_left(tmp_path)

    @pytest.mark.parametrize(
        ("settings", "dropped", "match"),
        [
            ("{}", "", "names no sample_rate"),
            ("{sample_rate: 32000, encodec: {renormalize: true}}", "", "normalises the sound"),
            ("{sample_rate: 32000}", "convtr", "is no EnCodec"),
            ("{sample_rate: 32000}", ".lstm.", "num_lstm_layers is 0"),
            ("{sample_rate: 32000}", "layers.0._codebook.embed", "no tensor 'quantizer"),
            ("{a: [", "", "no valid YAML"),
        ],
    )
    def test_what_is_no_such_codec(
        self, mono: Tiny, settings: str, dropped: str, match: str, tmp_path: Path
    ) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        state = codec_state(mono.model.audio_encoder, 4)
        state = {k: v for k, v in state.items() if not dropped or dropped not in k}
        save(source / "compression_state_dict.bin", state, settings)
        with pytest.raises(ModelError, match=match):
            convert(source, tmp_path / "out", text_encoder=mono.folder)
        assert nothing_left(tmp_path)

    def test_files_that_are_none(self, mono: Tiny, tmp_path: Path) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        (source / "compression_state_dict.bin").unlink()
        with pytest.raises(ModelError, match="lacks compression_state_dict.bin.*--codec DIR"):
            convert(source, tmp_path / "out", text_encoder=mono.folder)
        path = source / "state_dict.bin"
        whole = path.read_bytes()
        for data in (b"", b"\x80\x02", whole[: len(whole) // 2], b"PK\x03\x04 no archive"):
            path.write_bytes(data)
            with pytest.raises(ModelError, match="state_dict.bin (is no whole file|is refused)"):
                convert(source, tmp_path / "out", text_encoder=mono.folder)
        torch.save([1], path)
        with pytest.raises(ModelError, match="holds list; expected names"):
            convert(source, tmp_path / "out", text_encoder=mono.folder)
        torch.save({"version": "1"}, path)
        with pytest.raises(ModelError, match="has version; expected best_state"):
            convert(source, tmp_path / "out", text_encoder=mono.folder)
        torch.save({"best_state": {}}, path)
        with pytest.raises(ModelError, match="best_state holds dict; expected tensors by name"):
            convert(source, tmp_path / "out", text_encoder=mono.folder)

    def test_a_pickle_that_needs_code_is_refused(self, mono: Tiny, tmp_path: Path) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        evil = tmp_path / "evil"
        torch.save({"best_state": {}, "xp.cfg": _Runs(evil)}, source / "state_dict.bin")
        with pytest.raises(ModelError, match=r"asks for \w+.system: only tensors and plain values"):
            convert(source, tmp_path / "out", text_encoder=mono.folder)
        assert not evil.exists()
        assert nothing_left(tmp_path)

    def test_without_torch(
        self, mono: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(DependencyError, match=r"pip install 'antiphon\[torch\]'"):
            convert(source, tmp_path / "out", text_encoder=mono.folder)


class _Runs:
    """Unpickling it runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.path}",)


class TestWholeOrNotAtAll:
    def test_a_folder_that_is_not_empty(self, mono: Tiny, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine.txt").write_text("x")
        with pytest.raises(ConfigError, match="out is not empty; expected a new folder"):
            convert(mono.folder, tmp_path / "out")
        with pytest.raises(ConfigError, match="mine.txt is a file; expected a new folder"):
            convert(mono.folder, tmp_path / "out/mine.txt")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
        with pytest.raises(StorageError, match="create its folder first"):
            convert(mono.folder, tmp_path / "none/out")

    def test_an_interruption_leaves_nothing(self, mono: Tiny, tmp_path: Path) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        for stage in ("writing", "comparing", "taking checksums"):

            def interrupt(now: str, done: int, total: int, stage: str = stage) -> None:
                assert 0 < done <= total
                if now == stage:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                convert(source, tmp_path / "out", text_encoder=mono.folder, on_progress=interrupt)
            assert nothing_left(tmp_path)

    def test_an_empty_folder_and_a_leftover_are_taken_over(
        self, mono: Tiny, tmp_path: Path
    ) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)
        (tmp_path / "out").mkdir()
        (tmp_path / ".out.tmp").mkdir()
        (tmp_path / ".out.tmp/half").write_text("x")
        made = convert(source, tmp_path / "out", text_encoder=mono.folder)
        found = {path.name for path in made.output.iterdir()}
        assert found == {*made.files, "antiphon-model.json"}
        assert {path.name for path in tmp_path.iterdir()} == {"source", "out"}
        record = read_record(made.output)
        assert record is not None
        assert [file.name for file in record.files] == list(made.files)
        assert made.size_bytes == sum(file.size_bytes or 0 for file in record.files)

    def test_two_at_a_time(
        self, mono: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("antiphon.compose.conversion.result._LOCK_SECONDS", 0.05)
        with whole_folder(tmp_path / "out"), pytest.raises(StorageError, match="locked by another"):
            convert(mono.folder, tmp_path / "out")

    def test_a_result_that_differs_is_thrown_away(
        self, mono: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_audiocraft(tmp_path / "source", mono.model)

        def wrong(lm: object, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
            made = right(lm, shapes)  # type: ignore[arg-type]
            first, second = (f"decoder.model.decoder.layers.{n}.fc1.weight" for n in (0, 1))
            return made | {first: made[second], second: made[first]}

        right = converting.audiocraft.decoder_tensors
        monkeypatch.setattr(converting.audiocraft, "decoder_tensors", wrong)
        with pytest.raises(EngineError, match="differs from its source by .*; expected at most 0"):
            convert(source, tmp_path / "out", text_encoder=mono.folder)
        assert nothing_left(tmp_path)
