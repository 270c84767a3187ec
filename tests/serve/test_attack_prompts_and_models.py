"""Attacks by prompts and numbers, by the files of models, by what is installed; and what leaks."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import signal
import stat
import struct
import sys
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import odd_files
from antiphon.compose.conversion.convert import convert
from antiphon.errors import AntiphonError, ConfigError, ModelError
from antiphon.hearing import load_composer
from antiphon.listen.engines.gguf_files import read_header, read_pair
from antiphon.listen.engines.texts import plain_text
from antiphon.listen.loading import load_listener
from antiphon.listen.prompts import load_prompt_set
from antiphon.serve.database import Database
from antiphon.serve.keys import Keys
from antiphon.weights import Weights
from serve.attacks import INSIDE, audio_part, chat, refusal, send, unharmed, until, upload
from serve.served import Served, served, wait_for

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
JOBS = "/v1/music/generations"
CLIP = odd_files.wav(seconds=1.0)


@pytest.fixture(scope="module")
def two_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, list[str]]]:
    state = tmp_path_factory.mktemp("two keys")
    secrets = [Keys(Database(state / "serve")).add(name)[1] for name in ("ann", "bob")]
    with served(state, fake={}) as running:
        yield running, secrets


# ---- prompts and numbers -------------------------------------------------------------------------


def test_43_prompts_of_10_mb(real: Served) -> None:
    long = "calm waltz. " * 850_000
    with real.client() as client, unharmed(real, growth_mb=300):
        for path, body in (
            (JOBS, {"prompt": long}), ("/generate", {"prompt": long}),
            (JOBS, {"prompt": "house", "negative": long}), ("/v1/audio/speech", {"input": long}),
            ("/v1/music", {"prompt": long}), ("/v1/music/understandings", {"prompt": long}),
            ("/api/v1/infer", {"file_id": "file_x", "text": long}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": long}]}),
            ("/v1/descriptions", {"file_id": "file_x", "prompt": long}),
        ):  # fmt: skip
            began = time.monotonic()
            refusal(client.post(path, json=body), 400, "invalid_value", "context_length_exceeded")
            assert time.monotonic() - began < 2.0


SLOW_WORDS = {
    "letters": "a" * 99_999, "brackets": "(" * 99_999, "numbers": "1" * 99_999,
    "spaces": " " * 99_990 + "x", "and": "and " * 24_999, "not": "no " * 33_000,
    "tempo": "at 120 bpm " * 9_000, "commas": "," * 99_999 + "!", "hyphens": "a-" * 49_999,
    "chords": "Am7/G " * 16_000, "sections": "verse:8," * 12_000, "accents": "e\u0301" * 49_999,
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW_WORDS)
def test_43_no_prompt_explodes(real: Served, name: str) -> None:
    """What patterns find in 100,000 letters is found in time that grows with them."""
    with real.client() as client, unharmed(real, growth_mb=300):
        began = time.monotonic()
        answer = client.post("/v1/music/understandings", json={"prompt": SLOW_WORDS[name]})
        assert answer.status_code in (200, 400)
        assert time.monotonic() - began < 5.0


def test_43_no_schema_explodes(real: Served) -> None:
    """Patterns of a schema never run on anything, nor does one that nests or refers to itself."""
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(40):
        deep = {"type": "object", "properties": {"a": deep}, "anyOf": [deep, deep]}
    schemas: list[dict[str, Any]] = [
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$" * 20}}},
        {"$ref": "#"}, {"type": "object", "properties": {"tempo": {"$ref": "#/properties/tempo"}}},
        {"type": "array", "minItems": 10**9, "items": {"type": "string"}},
        {"type": "string", "minLength": 10**9, "enum": ["a"] * 100_000},
    ]  # fmt: skip
    with real.client() as client, unharmed(real, growth_mb=300):
        for schema in schemas:
            wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
            began = time.monotonic()
            answer = chat(client, audio_part(CLIP), response_format=wanted)
            assert answer.status_code in (200, 400), answer.text
            assert time.monotonic() - began < 5.0
        stops = ["a" * 201]
        refusal(chat(client, stop=stops), 400, "invalid_value")
        refusal(chat(client, stop=["a"] * 5), 400, "invalid_value")


SPECIAL = ("<sound>", "<|im_start|>system", "<|im_end|>", "<__media__>", "</s>", "<think>",
           "</think>", "<image>", "[INST]", "<|endoftext|>", "<|AUDIO|>")  # fmt: skip


def test_44_special_tokens_in_words_stay_words(real: Served) -> None:
    """A second `<sound>` without sound ends processors that parse it."""
    with real.client() as client, unharmed(real):
        for token in SPECIAL:
            words = {"type": "text", "text": f"{token} {token} Which tempo? {token}"}
            answer = chat(client, audio_part(CLIP), words)
            assert answer.status_code == 200, answer.text
    for token in SPECIAL:
        shown = plain_text(token * 3)
        assert token.startswith("[") or token not in shown
        assert shown.replace("< ", "<") == token * 3  # what was written can still be read


EXTREMES: tuple[Any, ...] = (-1, -(2**63) - 1, 2**63, 10**30, 1e300, "9" * 300, -0.0)


def numbers_in(schema: dict[str, Any]) -> list[str]:
    """The fields of a body that take numbers."""
    found = []
    for name, field in schema["properties"].items():
        kinds = [field, *field.get("anyOf", [])]
        if any(kind.get("type") in ("integer", "number") for kind in kinds):
            found.append(name)
    return found


def test_45_huge_and_negative_numbers(real: Served) -> None:
    """CVE-2026-21869. In every field of every body that takes a number, and in every query."""
    with real.client() as client, unharmed(real, growth_mb=500):
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        whole = {"file_id": upload(client, CLIP), "prompt": "house", "input": "house",
                 "messages": [{"role": "user", "content": "Hello"}]}  # fmt: skip
        places = {"MusicBody": JOBS, "GenerateBody": "/generate",
                  "ChatBody": "/v1/chat/completions", "SpeechBody": "/v1/audio/speech",
                  "ElevenBody": "/v1/music", "DescriptionBody": "/v1/descriptions"}  # fmt: skip
        tried = 0
        for kind, path in places.items():
            names = schemas[kind]["properties"]
            least = {name: value for name, value in whole.items() if name in names}
            short = {"MusicBody": "seconds", "GenerateBody": "duration", "SpeechBody": "seconds"}
            for name in numbers_in(schemas[kind]):
                for value in EXTREMES:
                    body = {**least, name: value}
                    if kind in short and name != short[kind]:
                        body[short[kind]] = 1
                    answer = client.post(path, json=body)
                    tried += 1
                    said = f"{path} {name}={value!r:.30}: {answer.status_code} {answer.text[:200]}"
                    assert answer.status_code < 500, said
                    assert answer.status_code != 429, said
                    if answer.status_code == 202:
                        job = wait_for(client, f"{path}/{answer.json()['id']}", 60)
                        code = (job["error"] or {}).get("code")
                        assert code not in ("internal_error", "worker_died"), said
        assert tried > 150
        for path in ("/v1/files", JOBS, "/v1/descriptions", "/v1/measurements"):
            for value in EXTREMES[:-1]:
                answer = client.get(path, params={"limit": value})
                refusal(answer, 400, "invalid_value")


def test_46_many_at_their_limits_are_bounded(tmp_path: Path) -> None:
    caps = {"queue": 5, "running_per_key": 4}
    with served(tmp_path, fake={"most_at_once": 1}, caps=caps) as running:
        body = {"prompt": "sleep 0.3", "duration": 600}
        with running.client() as client, ThreadPoolExecutor(30) as pool, unharmed(running, 100):
            over = [("seconds", 600.5), ("seconds", 1e9), ("candidates", 17), ("bars", 2001)]
            for name, value in over:
                refusal(client.post(JOBS, json={"prompt": "a", name: value}), 400, "invalid_value")
            answers = list(pool.map(lambda _: client.post("/generate", json=body), range(30)))
            for answer in answers:
                if answer.status_code != 200:
                    refusal(answer, 429, "too_many_at_once", "queue_full")
            good = [answer for answer in answers if answer.status_code == 200]
            assert 1 <= len(good) < 30
            jobs = list(
                pool.map(lambda _: client.post(JOBS, json={"prompt": "sleep 1"}), range(30))
            )
            assert {answer.status_code for answer in jobs} == {202, 429}
            assert sum(answer.status_code == 202 for answer in jobs) <= 7


def test_46_more_answers_or_words_than_may_be(real: Served) -> None:
    with real.client() as client, unharmed(real):
        for more in ({"n": 5}, {"n": 16_384}, {"max_tokens": 2049}, {"n": 0},
                     {"max_completion_tokens": 10**9}):  # fmt: skip
            refusal(chat(client, **more), 400, "invalid_value")


def test_47_templates_of_clients_are_never_used(real: Served) -> None:
    template = "{{ cycler.__init__.__globals__.os.popen('touch /tmp/canary').read() }}HACKED"
    more = {
        "chat_template": template, "chat_template_kwargs": {"x": template}, "template": template,
        "tokenizer": "/etc/passwd", "mm_processor_kwargs": {"truncation": False},
        "logits_processors": ["os.system"], "guided_regex": "(a+)+$", "lora_path": "/etc",
    }  # fmt: skip
    with real.client() as client, unharmed(real):
        plain = chat(client, audio_part(CLIP), seed=1)
        tried = chat(client, audio_part(CLIP), seed=1, **more)
        told = [answer.json()["choices"][0]["message"]["content"] for answer in (plain, tried)]
        assert told[0] == told[1]
        assert "HACKED" not in tried.text
        body = {"prompt": "house", "seconds": 1, "chat_template": template}
        refusal(client.post(JOBS, json=body), 400, "invalid_value")  # our own know no such field
    assert not Path("/tmp/canary").exists()


# ---- files of models -----------------------------------------------------------------------------


class _Runs:
    """Unpickling it leaves a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, (f"touch '{self._canary}'",)


def as_archive(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")
    return made.getvalue()


def as_numpy(canary: Path) -> bytes:
    made = io.BytesIO()
    np.save(made, np.array([_Runs(canary)], dtype=object), allow_pickle=True)
    return made.getvalue()


CONFIGS: dict[str, dict[str, Any]] = {
    "musicgen": {"model_type": "musicgen", "architectures": ["MusicgenForConditionalGeneration"]},
    "flamingo": {"model_type": "audioflamingo3",
                 "architectures": ["AudioFlamingo3ForConditionalGeneration"]},
}  # fmt: skip
DOORS: dict[str, Callable[[Path], object]] = {
    "composer": lambda path: load_composer(path),
    "listener": lambda path: load_listener(path),
    "convert": lambda path: convert(path, path.parent / "out"),
    "weights": lambda path: Weights(tuple(sorted(one for one in path.iterdir() if one.is_file()))),
}
FILES = ("pytorch_model.bin", "model.pt", "last.ckpt", "model.th", "state_dict.bin", "model.npy",
         "model.pkl", "model.joblib", "model.safetensors", "adapter_model.bin", "training_args.bin",
         "compression_state_dict.bin", "tokenizer.json", "optimizer.pt")  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_48_no_pickle_is_run(door: str, kind: str, tmp_path: Path) -> None:
    """CVE-2025-32434, CVE-2026-24747, CVE-2026-31221, VU#252619."""
    canary = tmp_path / "canary"
    bare = pickle.dumps(_Runs(canary))
    for number, data in enumerate((bare, as_archive(bare), as_numpy(canary))):
        folder = tmp_path / f"model {number}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(CONFIGS[kind]))
        for name in FILES:
            (folder / name).write_bytes(data)
        with pytest.raises(AntiphonError):
            DOORS[door](folder)
        for name in FILES[:9]:
            with pytest.raises(AntiphonError):
                load_listener(folder / name)
    assert not canary.exists()
    pickle.loads(bare)  # it would have
    assert canary.exists()


def test_48_a_pickle_as_sound(real: Served, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    bare = pickle.dumps(_Runs(canary))
    with unharmed(real):
        for data in (bare, as_archive(bare), as_numpy(canary)):
            assert send(real, "form", data).code == "audio_unreadable"
    assert not canary.exists()


def test_49_what_fails_safely_is_not_tried_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stanza 1.12 went on with an unsafe load."""
    torch = pytest.importorskip("torch")
    tried: list[object] = []
    load = torch.load

    def watched(*given: Any, **options: Any) -> Any:
        tried.append(options.get("weights_only"))
        return load(*given, **options)

    monkeypatch.setattr(torch, "load", watched)
    monkeypatch.setattr(pickle, "loads", lambda *_: tried.append("loads"))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    canary = tmp_path / "canary"
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(CONFIGS["musicgen"]))
    (tmp_path / "model/tokenizer.json").write_text("{}")
    (tmp_path / "model/pytorch_model.bin").write_bytes(pickle.dumps(_Runs(canary), protocol=2))
    with pytest.raises(AntiphonError):
        convert(tmp_path / "model", tmp_path / "out")
    assert set(tried) <= {True}
    assert not canary.exists()


@pytest.mark.parametrize("door", ["composer", "listener", "convert"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_50_no_code_of_a_checkpoint_is_imported(door: str, kind: str, tmp_path: Path) -> None:
    """CVE-2026-4372, CVE-2026-22807, CVE-2026-27893."""
    canary, folder = tmp_path / "canary", tmp_path / "model"
    folder.mkdir()
    code = f"open({str(canary)!r}, 'w').close()\n"
    for name in ("evil.py", "modeling_evil.py", "__init__.py", "custom_generate/generate.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)
    autos = ("Config", "Model", "Processor", "Tokenizer", "ModelForCausalLM", "FeatureExtractor")
    mapped = dict.fromkeys((f"Auto{name}" for name in autos), "evil.Evil")
    evil = {"auto_map": mapped, "custom_code": True, "trust_remote_code": True,
            "_attn_implementation_internal": "evil/kernel:evil", "custom_pipelines": {"x": mapped},
            "attn_implementation": "../model", "quantization_config": {"quant_method": "evil"},
            "tokenizer_class": "evil.Evil", "processor_class": "evil.Evil"}  # fmt: skip
    text = json.dumps({**CONFIGS[kind], **evil})
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "tokenizer.json",
                 "preprocessor_config.json", "generation_config.json",
                 "chat_template.json"):  # fmt: skip
        (folder / name).write_text(text)
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    path = list(sys.path)
    with pytest.raises(AntiphonError):
        DOORS[door](folder)
    assert not canary.exists()
    assert sys.path == path
    assert not [name for name in sys.modules if "evil" in name]


TARGETS = ("os.system", "builtins.exec", "functools.partial", "logging.config.dictConfig",
           "subprocess.run", "hydra.utils.get_class")  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_51_nothing_is_made_by_its_name(target: str, tmp_path: Path) -> None:
    """hydra's own list of what may not be is "best effort" (#3258): here nothing may be."""
    pytest.importorskip("hydra")
    from antiphon.train.config import ComposerConfig, load_config

    canary = tmp_path / "canary"
    made = f"_target_: {target}\n  _args_: ['touch {canary}']\n"
    for number, place in enumerate(("model", "training", "data", "trainer")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(f"{place}:\n  {made}")
        with pytest.raises(ConfigError, match="_target_|_args_"):
            load_config(ComposerConfig, file, [])
        with pytest.raises(ConfigError):
            load_config(ComposerConfig, None, [f"+{place}._target_={target}"])
    assert not canary.exists()


@pytest.mark.parametrize(
    "tag", ["object/apply:os.system", "name:os.system", "object/new:os.system", "module:evil"]
)
def test_52_tags_of_yaml(tag: str, tmp_path: Path) -> None:
    pytest.importorskip("hydra")
    from antiphon.train.config import ComposerConfig, load_config

    canary = tmp_path / "canary"
    file = tmp_path / "evil.yaml"
    file.write_text(f"experiment_name: !!python/{tag} ['touch {canary}']\n")
    with pytest.raises(ConfigError):
        load_config(ComposerConfig, file, [])
    file.write_text(f"name: a\nkinds: !!python/{tag} ['touch {canary}']\n")
    with pytest.raises(ConfigError):
        load_prompt_set(file)
    assert not canary.exists()


def test_52_resolvers_read_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration of others is kept and shown: what is in the environment stays there."""
    pytest.importorskip("hydra")
    from antiphon.train.config import ComposerConfig, load_config

    monkeypatch.setenv("ATTACKED_SECRET", "from the environment")
    file = tmp_path / "evil.yaml"
    for resolver in ("oc.env:ATTACKED_SECRET", "oc.decode:${oc.env:ATTACKED_SECRET}",
                     "oc.env:NOT_THERE,${oc.env:ATTACKED_SECRET}"):  # fmt: skip
        file.write_text(f"experiment_name: ${{{resolver}}}\n")
        with pytest.raises(ConfigError) as caught:
            load_config(ComposerConfig, file, [])
        assert "from the environment" not in str(caught.value)


def gguf(*values: bytes, version: int = 3, tensors: int = 0, keys: int | None = None) -> bytes:
    count = len(values) if keys is None else keys
    return b"GGUF" + struct.pack("<IQQ", version, tensors, count) + b"".join(values)


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def tensor(name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


ARCHITECTURE = key(b"general.architecture", 8, text(b"qwen2"))
BAD_GGUF = {
    "nothing": b"", "magic": b"GGUF", "other magic": b"FUGG" + bytes(99),
    "version 0": gguf(version=0), "version 1": gguf(version=1),
    "version 2^31": gguf(version=1 << 31),
    "2^64 keys": gguf(keys=2**64 - 1), "2^63 keys": gguf(keys=2**63),
    "2^40 keys": gguf(keys=1 << 40),
    "2^64 tensors": gguf(ARCHITECTURE, tensors=2**64 - 1), "one tensor that is not there":
    gguf(ARCHITECTURE, tensors=1), "a key of 2^64 letters": gguf(struct.pack("<Q", 2**64 - 1)),
    "a key of 2^40 letters": gguf(struct.pack("<Q", 1 << 40) + b"a"),
    "a text of 2^63": gguf(key(b"a", 8, struct.pack("<Q", 2**63))),
    "an unknown type": gguf(key(b"a", 99, bytes(8))),
    "type 2^32-1": gguf(key(b"a", 2**32 - 1, b"")),
    "an array of 2^64": gguf(key(b"a", 9, struct.pack("<IQ", 4, 2**64 - 1))),
    "an array of 2^61 doubles": gguf(key(b"a", 9, struct.pack("<IQ", 12, 1 << 61))),
    "arrays in arrays": gguf(key(b"a", 9, struct.pack("<IQ", 9, 1) * 10_000)),
    "an array of unknown": gguf(key(b"a", 9, struct.pack("<IQ", 77, 1))),
    "2^32-1 dimensions": gguf(ARCHITECTURE, text(b"t") + struct.pack("<I", 2**32 - 1), tensors=1,
                              keys=1),
    "dimensions that overflow": gguf(ARCHITECTURE, tensor(b"t", (1 << 62, 1 << 62), 0, 0),
                                     tensors=1, keys=1),
    "an offset past the end": gguf(ARCHITECTURE, tensor(b"t", (32,), 0, 1 << 62), tensors=1,
                                   keys=1),
    "a size past the end": gguf(ARCHITECTURE, tensor(b"t", (1 << 40,), 0, 0), tensors=1, keys=1),
    "an alignment of 0": gguf(ARCHITECTURE, key(b"general.alignment", 4, bytes(4)),
                              tensor(b"t", (32,), 0, 0), tensors=1, keys=2),
    "an alignment that is text": gguf(ARCHITECTURE, key(b"general.alignment", 8, text(b"x")),
                                      tensor(b"t", (32,), 0, 0), tensors=1, keys=2),
    "a name that is no UTF-8": gguf(key(b"\xff\xfe", 8, text(b"\xff"))),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_GGUF)
def test_53_damaged_gguf_is_told_by_its_header(name: str, tmp_path: Path) -> None:
    """CVE-2026-27940, CVE-2025-53630, CVE-2026-7482: refused before llama.cpp sees it."""
    (tmp_path / "m.gguf").write_bytes(BAD_GGUF[name])
    (tmp_path / "m.mmproj-f16.gguf").write_bytes(BAD_GGUF[name])
    began = time.monotonic()
    with pytest.raises(ModelError):
        read_pair(tmp_path / "m.gguf", None)
    with pytest.raises(AntiphonError):
        load_listener(tmp_path / "m.gguf")
    assert time.monotonic() - began < 2.0
    if "past the end" in name or name == "dimensions that overflow":
        try:
            expected = read_header(tmp_path / "m.gguf").expected_bytes
        except ModelError:
            return
        assert expected is None or expected > len(BAD_GGUF[name])


def tensors_file(header: bytes, data: bytes = bytes(8), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape: list[int], start: int, end: int) -> str:
    return json.dumps({"dtype": "F32", "shape": shape, "data_offsets": [start, end]})


BAD_TENSORS = {
    "a header of 2^63": tensors_file(b"{}", length=2**63),
    "a header of 2^64-1": tensors_file(b"{}", length=2**64 - 1),
    "a header of 100 MB": tensors_file(b"{}", length=100_000_001),
    "overlapping": tensors_file(f'{{"a":{entry([1], 0, 4)},"b":{entry([1], 2, 6)}}}'.encode()),
    "the same place": tensors_file(f'{{"a":{entry([2], 0, 8)},"b":{entry([2], 0, 8)}}}'.encode()),
    "a hole": tensors_file(f'{{"a":{entry([1], 4, 8)}}}'.encode()),
    "backwards": tensors_file(f'{{"a":{entry([1], 8, 4)}}}'.encode()),
    "past the end": tensors_file(f'{{"a":{entry([4], 0, 16)}}}'.encode()),
    "2^62 by 4": tensors_file(f'{{"a":{entry([1 << 62, 4], 0, 8)}}}'.encode()),
    "negative": tensors_file(f'{{"a":{entry([-2], 0, 8)}}}'.encode()),
    "no JSON": tensors_file(b"[" * 10_000),
    "one name twice": tensors_file(
        f'{{"a":{entry([2], 0, 8)},"a":{entry([1], 0, 4)}}}'.encode()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_54_damaged_safetensors(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(BAD_TENSORS[name])
    with pytest.raises(ModelError, match="is no whole safetensors file"):
        Weights((path,))


ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c.__init__.__globals__ }}{% endfor %}",
    "{{ messages.__init__.__globals__['__builtins__']['open']('CANARY', 'w') }}",
    "{{ raise_exception.__globals__['os'].system('touch CANARY') }}",
)


@pytest.mark.parametrize("escape", ESCAPES)
def test_55_templates_of_models_stay_in_their_sandbox(escape: str, tmp_path: Path) -> None:
    """CVE-2024-34359. Of GGUF they are no more than text here; transformers' run in a sandbox."""
    canary = tmp_path / "canary"
    template = escape.replace("CANARY", str(canary))
    value = key(b"tokenizer.chat_template", 8, text(template.encode()))
    data = gguf(ARCHITECTURE, value)
    (tmp_path / "m.gguf").write_bytes(data + bytes(-len(data) % 32))
    assert read_header(tmp_path / "m.gguf").text("tokenizer.chat_template") == template
    with pytest.raises(AntiphonError):
        load_listener(tmp_path / "m.gguf")
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    from jinja2.exceptions import SecurityError, UndefinedError

    with pytest.raises((SecurityError, UndefinedError)):
        utils.render_jinja_template([[{"role": "user", "content": "a"}]], chat_template=template)
    assert not canary.exists()


# ---- what is installed ---------------------------------------------------------------------------

FLOORS = {
    "starlette": (0, 49, 1), "python-multipart": (0, 0, 30), "hydra-core": (1, 3, 8),
    "torch": (2, 10), "transformers": (5, 3), "lightning": (2, 6, 6), "h11": (0, 16),
}  # fmt: skip
MALICIOUS = {"lightning==2.6.2", "lightning==2.6.3", "pytorch-lightning==2.6.2",
             "pytorch-lightning==2.6.3"}  # fmt: skip


def version(said: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", said)[:4])


def test_56_versions_are_fixed_and_above_their_floors() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line]
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 80
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.+!]+(\s*;.*)?", pin)] == []
    assert not MALICIOUS & set(pins)
    pinned = dict(pin.split("==") for pin in pins)
    for name, floor in FLOORS.items():
        assert version(pinned[name]) >= floor, name


def test_56_what_the_container_installs_is_locked_by_hashes() -> None:
    text = (ROOT / "containers" / "requirements.lock").read_text()
    locked = re.findall(r"^([\w.-]+)==([\w.]+)(.*\n(?: .*\n)*)", text, re.M)
    assert len(locked) > 50
    assert [name for name, _, rest in locked if "--hash=sha256:" not in rest] == []
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.M)
    pinned = {name.lower().replace("_", "-"): said for name, said in pins}
    differing = [name for name, said, _ in locked if pinned.get(name, said) != said]
    assert differing == []


def test_56_nothing_older_can_be_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    found = {re.split(r"[\[>=<!~ ;]", one)[0].lower(): one for one in wanted}
    for name in ("starlette", "python-multipart", "hydra-core", "transformers", "lightning"):
        floor = re.search(r">=([\d.]+)", found[name])
        assert floor is not None, name
        assert version(floor[1]) >= FLOORS[name], name


# ---- what leaks ----------------------------------------------------------------------------------


def test_57_no_answer_tells_of_our_inside(real: Served) -> None:
    with real.client() as client, unharmed(real):
        client.headers["content-type"] = "application/json"
        answers: list[httpx2.Response] = []
        for path in client.get("/openapi.json").json()["paths"]:
            asked = re.sub(r"\{\w+\}", "..%2f..%2fetc%2fpasswd\u202e", path)
            for method in ("GET", "POST", "DELETE", "PUT"):
                for body in (b"", b"{", b'{"file_id": "../x"}', b'{"model": "/etc/passwd"}'):
                    answers.append(client.request(method, asked, content=body))
        failed = [answer for answer in answers if answer.status_code >= 400]
        assert len(failed) > 200
        for answer in failed:
            refusal(answer, answer.status_code)
            assert answer.status_code < 500
            assert str(real.state) not in answer.text


def test_57_nor_does_a_failure_of_ours(two_keys: tuple[Served, list[str]]) -> None:
    running, (ann, _) = two_keys
    with running.client(headers={"xi-api-key": ann}) as client:
        answer = client.post("/generate", json={"prompt": "fail"})
        error = refusal(answer, 500, "internal_error")
        assert re.search(r"under \w+", error["message"])
        job = client.post(JOBS, json={"prompt": "fail"}).json()
        message = wait_for(client, f"{JOBS}/{job['id']}")["error"]["message"]
        assert not [one for one in (*INSIDE, "as it was told to") if one in message]


def test_58_numbers_have_labels_of_ours_alone(two_keys: tuple[Served, list[str]]) -> None:
    running, (ann, _) = two_keys
    with running.client(headers={"xi-api-key": ann}) as client, unharmed(running):

        def series() -> set[str]:
            lines = client.get("/metrics").text.splitlines()
            return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}

        def ask(number: int) -> None:
            word = f"attack{number}"
            client.get(f"/{word}"), client.get(f"/v1/files/{word}"), client.get(f"/assets/{word}")
            client.get(f"/v1/files?{word}=1"), client.request(word.upper(), "/health")
            client.post("/generate", json={"prompt": f"nothing {word}"})
            client.post("/generate", json={"prompt": "a", "model": word})
            client.post(f"{JOBS}/{word}/cancel"), client.get(f"/v1/models/{word}")

        ask(0)
        series()  # is counted, too
        before = series()
        for number in range(1, 40):
            ask(number)
        after = series()
        assert after == before
        assert not [line for line in after if "attack" in line.lower() or "ann" in line]


def test_59_what_is_of_one_key_is_not_there_for_another(
    two_keys: tuple[Served, list[str]],
) -> None:
    running, (ann, bob) = two_keys
    with (
        running.client(headers={"xi-api-key": ann}) as mine,
        running.client(headers={"xi-api-key": bob}) as theirs,
        unharmed(running),
    ):
        file_id = upload(mine, CLIP)
        job = mine.post(JOBS, json={"prompt": "nothing"}, headers={"idempotency-key": "x"}).json()
        wait_for(mine, f"{JOBS}/{job['id']}")
        place = f"{JOBS}/{job['id']}"
        for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content", place,
                     f"{place}/content", f"{place}/events", f"{place}/stream",
                     f"/v1/files?after={file_id}", f"{JOBS}?after={job['id']}"):  # fmt: skip
            refusal(theirs.get(path), 404, "file_not_found", "job_not_found")
        for method, path in (("DELETE", f"/v1/files/{file_id}"), ("DELETE", place),
                             ("POST", f"{place}/cancel")):  # fmt: skip
            refusal(theirs.request(method, path), 404, "file_not_found", "job_not_found")
        for given in ({"continue": file_id}, {"melody": file_id}, {"continue": job["id"]}):
            answer = theirs.post(JOBS, json={"prompt": "nothing", **given})
            refusal(answer, 404, "file_not_found", "job_not_found")
        assert theirs.get("/v1/files").json()["data"] == []
        assert job["id"] not in theirs.get(JOBS).text
        other = theirs.post(JOBS, json={"prompt": "nothing"}, headers={"idempotency-key": "x"})
        assert other.json()["id"] != job["id"]
        assert mine.get(f"/v1/files/{file_id}").status_code == 200


def test_59_ids_are_not_guessed(two_keys: tuple[Served, list[str]]) -> None:
    """192 random bits: no letter of one says anything of the next."""
    running, (ann, _) = two_keys
    with running.client(headers={"xi-api-key": ann}) as client:
        ids = [upload(client, b"RIFF").partition("_")[2] for _ in range(64)]
    assert len(set(ids)) == 64
    for letters in zip(*ids, strict=True):
        assert len(set(letters)) > 20  # of 64 that there are
    assert {len(one) * 6 for one in ids} == {192}


def modes(folder: Path) -> dict[str, int]:
    return {str(path): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def test_60_temporary_files_are_ours_alone_and_go(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    state = tmp_path / "state"
    scratch = state / "serve" / "scratch"
    environment = {"TMPDIR": str(temporary)}
    with served(state, fake={}, environment=environment) as running:
        assert stat.S_IMODE((state / "serve").stat().st_mode) == 0o700
        with running.client() as client, ThreadPoolExecutor(1) as pool:
            upload(client, bytes(3_000_000))
            sounding = pool.submit(
                client.post, "/v1/audio/speech", json={"input": "sound 1"}, timeout=20
            )
            until(lambda: any(path.name.startswith("call_") for path in scratch.iterdir()))
            assert sounding.result().status_code == 200
            until(lambda: {path.name for path in scratch.iterdir()} <= {"metrics"})
            # Killed while it works: what it leaves goes at the next start.
            client.post(JOBS, json={"prompt": "nothing"})
            left = scratch / "call_left"
            left.mkdir()
            (left / "sound.pcm").write_bytes(b"x")
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    with served(state, fake={}, environment=environment) as running:
        assert not left.exists()
        assert running.stop() == 0
    assert {path.name for path in scratch.iterdir()} <= {"metrics"}
    for name, mode in modes(state / "serve" / "files").items():
        assert mode == 0o600, name
    # Only sockets of the one that was killed may be left, in a folder that nobody else may enter.
    for name, mode in modes(temporary).items():
        assert not mode & 0o077 or "/antiphon-" in name, name
        assert not Path(name).is_file(), name
