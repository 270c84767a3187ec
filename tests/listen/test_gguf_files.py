"""GGUF headers: against the `gguf` package, and files that are not what they seem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.errors import ModelError, ModelMissingError
from antiphon.listen.engines.gguf_files import (
    BLOCKS,
    QUANTISATIONS,
    model_file,
    read_header,
    read_pair,
)

gguf = pytest.importorskip("gguf", reason="the gguf package writes the files")

pytestmark = pytest.mark.unit


def write(path: Path, architecture: str, **text: str) -> Path:
    """A file whose header is like that of a model, or of a projector where it says `clip`."""
    out = gguf.GGUFWriter(path, architecture)
    for key, value in text.items():
        out.add_string(key.replace("__", "."), value)
    if architecture == "clip":
        out.add_type("mmproj")
        out.add_audio_projection_dim(64)
    else:
        out.add_context_length(32_768)
        out.add_embedding_length(64)
        out.add_block_count(2)
        out.add_head_count(4)
        out.add_head_count_kv(1)
        out.add_file_type(gguf.LlamaFileType.MOSTLY_Q6_K)
        out.add_token_list(["a", "<sound>"])
        out.add_token_types([1, 3])
    out.add_tensor("one", np.ones((3, 32), np.float32))
    out.add_tensor("two", np.ones((7, 32), np.float16))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def pair(folder: Path, **text: str) -> Path:
    write(folder / "m.mmproj-f16.gguf", "clip", clip__projector_type="musicflamingo")
    return write(folder / "m.Q6_K.gguf", "qwen2", **text)


def test_the_tables_are_those_of_the_format() -> None:
    for kind, sizes in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)] == sizes
    for number, name in QUANTISATIONS.items():
        known = gguf.LlamaFileType(number).name
        assert known in (f"MOSTLY_{name}", f"ALL_{name}")


def test_a_header_tells_what_it_is(tmp_path: Path) -> None:
    model, projector = read_pair(pair(tmp_path), None)
    assert model.architecture == "qwen2"
    assert model.quantisation == "Q6_K"
    assert model.bytes_per_token == 2 * 2 * 1 * 16 * 2
    assert projector.path.name == "m.mmproj-f16.gguf"
    # The last tensor is padded to the alignment of 32.
    size = model.path.stat().st_size
    assert model.expected_bytes is not None
    assert 0 <= size - model.expected_bytes < 32


def test_a_truncated_file_is_told_by_its_header(tmp_path: Path) -> None:
    data = pair(tmp_path).read_bytes()
    expected = read_header(tmp_path / "m.Q6_K.gguf").expected_bytes
    cut = tmp_path / "cut.gguf"
    for length in range(4, expected or 0, 7):
        cut.write_bytes(data[:length])
        with pytest.raises(ModelError, match=r"cut\.gguf is truncated"):
            read_header(cut)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    wav = tmp_path / "song.gguf"
    wav.write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(ModelError, match=r"not a GGUF file: it begins with b'RIFF'"):
        read_header(wav)
    wav.write_bytes(b"")
    with pytest.raises(ModelError, match="not a GGUF file"):
        read_header(wav)
    with pytest.raises(ModelMissingError, match="does not exist"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(ModelError, match="cannot be read"):
        read_header(tmp_path)


def test_a_model_without_its_projector(tmp_path: Path) -> None:
    model = write(tmp_path / "m.Q6_K.gguf", "qwen2")
    with pytest.raises(ModelError, match=r"no projector beside it.*expected \*mmproj\*\.gguf"):
        read_pair(model, None)


@pytest.mark.parametrize(
    ("name", "architecture", "text", "message"),
    [
        ("m.gguf", "clip", {}, "is the projector of a model"),
        ("m.gguf", "llama", {}, "architecture 'llama'; expected 'qwen2'"),
        ("m.imatrix.gguf", "qwen2", {}, "is calibration data"),
        ("m.gguf", "qwen2", {"general__type": "imatrix"}, "is calibration data"),
        ("m.gguf", "qwen2", {"general__type": "adapter"}, "is an adapter"),
        ("music-flamingo-2601-hf.Q6_K.gguf", "qwen2", {}, "The transformers engine can"),
        ("m.gguf", "qwen2", {"general__name": "Music Flamingo Think 2601 Hf"}, "silently wrong"),
        ("m.gguf", "qwen2", {"general__name": "Audio Flamingo Next Hf"}, "silently wrong"),
        ("m.gguf", "qwen2", {"tokenizer__chat_template": "<|sound_bos|>"}, "silently wrong"),
    ],
)
def test_models_that_are_none_or_would_be_wrong(
    tmp_path: Path, name: str, architecture: str, text: dict[str, str], message: str
) -> None:
    write(tmp_path / "m.mmproj-f16.gguf", "clip", clip__projector_type="musicflamingo")
    with pytest.raises(ModelError, match=message):
        read_pair(write(tmp_path / name, architecture, **text), None)


def test_projectors_of_others(tmp_path: Path) -> None:
    model = write(tmp_path / "m.gguf", "qwen2")
    vision = write(tmp_path / "v.gguf", "clip", clip__projector_type="qwen2vl_merger")
    with pytest.raises(ModelError, match="'qwen2vl_merger'; expected 'musicflamingo'"):
        read_pair(model, vision)
    with pytest.raises(ModelError, match="architecture 'qwen2'; expected a projector"):
        read_pair(model, model)
    out = gguf.GGUFWriter(tmp_path / "w.gguf", "clip")
    out.add_string("clip.audio.projector_type", "musicflamingo")
    out.add_audio_projection_dim(3584)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    with pytest.raises(ModelError, match=r"vectors of 3584 numbers, m\.gguf takes 64"):
        read_pair(model, tmp_path / "w.gguf")


def test_a_folder_names_its_one_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="holds no model"):
        model_file(tmp_path)
    model = pair(tmp_path)
    assert model_file(tmp_path) == model_file(model) == model
    write(tmp_path / "m.Q8_0.gguf", "qwen2")
    with pytest.raises(ModelError, match=r"2 models: m\.Q6_K\.gguf, m\.Q8_0\.gguf; name the"):
        model_file(tmp_path)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_a_damaged_header_is_a_model_error_or_none(tmp_path: Path, data: st.DataObject) -> None:
    whole = tmp_path / "whole.gguf"
    if not whole.exists():
        write(whole, "qwen2", general__name="x")
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(content)
    try:
        header = read_header(damaged)
        assert header.quantisation is None or isinstance(header.quantisation, str)
    except ModelError:
        pass
