"""Which engine a model gets by what its name finds; the engines themselves stand in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import ConfigError, ModelError, ModelMissingError
from antiphon.listen.engines import gguf, remote, transformers
from antiphon.listen.engines.fake import FakeEngine
from antiphon.listen.loading import LoadOptions, load_listener, origin_of
from antiphon.models.manifest import ModelFile
from antiphon.models.record import Record, write_record

pytestmark = pytest.mark.unit

Q6_K, PROJECTOR = "music-flamingo-hf.Q6_K.gguf", "music-flamingo-hf.mmproj-f16.gguf"
LICENCE = "NVIDIA OneWay Noncommercial"

Loaded = list[tuple[str, Any, dict[str, Any]]]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """What was loaded by which engine, with which options that are not None."""
    calls: Loaded = []

    def stand_in(name: str) -> Any:
        def load(spec: Any, **options: Any) -> FakeEngine:
            given = {key: value for key, value in options.items() if value not in (None, False)}
            calls.append((name, spec, given))
            return FakeEngine()

        return load

    for module, name in ((gguf, "gguf"), (transformers, "transformers"), (remote, "remote")):
        monkeypatch.setattr(module, "load", stand_in(name))
    return calls


def gguf_folder(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names or (Q6_K, PROJECTOR):
        (folder / name).write_bytes(b"GGUF")
    return folder


def checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_an_address_is_a_server(loaded: Loaded) -> None:
    load_listener("http://host:8080/v1")
    load_listener("HTTPS://host/v1#big")
    assert loaded == [
        ("remote", "http://host:8080/v1", {}),
        ("remote", "HTTPS://host/v1", {"model": "big"}),
    ]


def test_a_gguf_file_its_folder_and_its_quant_are_one(loaded: Loaded, tmp_path: Path) -> None:
    folder = gguf_folder(tmp_path / "music-flamingo-hf-Q6_K")
    for spec in (folder / Q6_K, str(folder), "Q6_K"):
        load_listener(spec, LoadOptions(gpu_layers=3), models=tmp_path)
    assert loaded == 3 * [("gguf", folder / Q6_K, {"gpu_layers": 3, "licence": LICENCE})]


def test_a_folder_of_several_models_asks_for_one(loaded: Loaded, tmp_path: Path) -> None:
    folder = gguf_folder(tmp_path / "both", "a.gguf", "b.gguf", "a.mmproj.gguf", "a.imatrix.gguf")
    with pytest.raises(ModelError, match="holds 2 models: a.gguf, b.gguf; name the file"):
        load_listener(folder)
    (folder / "a.gguf").unlink()
    (folder / "b.gguf").unlink()
    with pytest.raises(ModelMissingError, match="holds no model; expected a .gguf file"):
        load_listener(folder)
    assert not loaded


def test_a_checkpoint_goes_to_transformers_though_a_gguf_lies_in_it(
    loaded: Loaded, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path / "mine")
    (folder / "old.gguf").write_bytes(b"GGUF")
    load_listener(folder, LoadOptions(precision="fp32", compile=True))
    assert loaded == [("transformers", folder, {"precision": "fp32", "compile": True})]


def test_a_pulled_revision_is_told_and_only_of_its_own_files(
    loaded: Loaded, tmp_path: Path
) -> None:
    folder = gguf_folder(tmp_path / "pulled", Q6_K, PROJECTOR)
    record = Record("org/repo", "c0ffee", "https://hub", (ModelFile(Q6_K), ModelFile(PROJECTOR)))
    write_record(folder, record, keep_others=False)
    load_listener(folder / Q6_K)
    (folder / "other.gguf").write_bytes(b"GGUF")
    load_listener(folder / "other.gguf")
    assert [options for _, _, options in loaded] == [
        {"licence": LICENCE, "revision": "c0ffee"},
        {},
    ]


def test_files_of_two_pulls_share_a_record_and_tell_no_revision(
    loaded: Loaded, tmp_path: Path
) -> None:
    folder = gguf_folder(tmp_path / "pulled")
    for revision, name in (("aaaa", Q6_K), ("bbbb", "music-flamingo-hf.Q8_0.gguf")):
        record = Record("org/repo", revision, "https://hub", (ModelFile(name),))
        write_record(folder, record, keep_others=True)
    load_listener(folder / Q6_K)
    assert loaded[0][2] == {"licence": LICENCE}


@pytest.mark.parametrize(
    ("options", "of_gguf", "message"),
    [
        (LoadOptions(precision="4bit"), True, "precision is '4bit', but .* is a GGUF file; its"),
        (LoadOptions(adapter=Path("lora")), True, "adapter is .*gpu_layers, context, threads"),
        (LoadOptions(context=512), False, "context is 512, but .* is a checkpoint's folder"),
    ],
)
def test_options_of_another_engine_are_refused(
    loaded: Loaded, tmp_path: Path, options: LoadOptions, of_gguf: bool, message: str
) -> None:
    folder = gguf_folder(tmp_path / "g") if of_gguf else checkpoint(tmp_path / "c")
    with pytest.raises(ConfigError, match=message):
        load_listener(folder, options)
    with pytest.raises(ConfigError, match="the address is a server; it has no options"):
        load_listener("http://host/v1", options)
    assert not loaded


def test_what_is_not_here_says_what_to_get(loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="antiphon models pull"):
        load_listener("nvidia/music-flamingo-hf", models=tmp_path)
    assert not loaded


def test_origins_tell_models_of_one_name_apart(tmp_path: Path) -> None:
    first = gguf_folder(tmp_path / "a") / Q6_K
    second = gguf_folder(tmp_path / "b") / Q6_K
    plain = LoadOptions()
    assert origin_of(first, plain, None) != origin_of(second, plain, None)
    before = origin_of(first, plain, None)
    assert origin_of(first, plain, None) == before
    first.write_bytes(b"GGUF, longer")
    assert origin_of(first, plain, None) != before
    folder = origin_of(first.parent, plain, None)
    first.write_bytes(b"GGUF, longer still")
    assert origin_of(first.parent, plain, None) != folder
    lora = LoadOptions(adapter=checkpoint(tmp_path / "lora"))
    assert origin_of(second, lora, None) != origin_of(second, plain, None)
