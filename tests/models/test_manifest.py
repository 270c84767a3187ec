"""The packaged manifest, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from antiphon.errors import ConfigError
from antiphon.models.manifest import Model, ModelFile, known, read_manifest

pytestmark = pytest.mark.unit

GOOD = "{name: a, kind: listener, licence: MIT, allows: all, files: [{name: a.gguf}]}"


def test_the_checkpoints_of_the_contract_are_known() -> None:
    classes = {model.name: (model.architecture, model.cap_seconds) for model in known()}
    old, new = "AudioFlamingo3ForConditionalGeneration", "MusicFlamingoForConditionalGeneration"
    assert (
        classes.items()
        >= {
            "nvidia/audio-flamingo-3-hf": (old, 600),
            "nvidia/music-flamingo-hf": (old, 600),
            "nvidia/music-flamingo-2601-hf": (new, 1200),
            "nvidia/music-flamingo-think-2601-hf": (new, 1200),
            "nvidia/audio-flamingo-next-hf": (new, 1800),
            "nvidia/audio-flamingo-next-captioner-hf": (new, 1800),
        }.items()
    )
    assert {model.quant for model in known() if model.files} == {"IQ3_M", "Q6_K", "Q8_0"}
    for model in known():
        if model.kind in ("listener", "composer"):
            assert "non-commercial" in str(model.allows)
        if model.files:  # the model, then its projector
            assert [("mmproj" in file.name) for file in model.files] == [False, True]


def test_composers_and_their_parts_are_known() -> None:
    kinds = {model.name: (model.kind, model.licence) for model in known()}
    sizes = ["small", "medium", "large", "melody", "melody-large"]
    sizes += [f"stereo-{size}" for size in sizes]
    for size in sizes:
        assert kinds[f"facebook/musicgen-{size}"] == ("composer", "CC-BY-NC 4.0")
    assert kinds["facebook/encodec_32khz"] == kinds["facebook/encodec_24khz"]
    assert kinds["facebook/encodec_32khz"] == ("codec", "see the model card")
    assert kinds["google-t5/t5-base"] == ("text encoder", "Apache-2.0")
    for model in known():
        if model.kind == "composer":
            melody = "Melody" if "melody" in model.name else ""
            assert model.architecture == f"Musicgen{melody}ForConditionalGeneration"
            assert (model.repo, model.files, model.revision) == (model.name, None, None)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: [", "is not valid YAML"),
        ("\xff", "is not valid YAML|holds no list"),
        ("a: 1", "holds no list"),
        ("- 3", "model 1 is 3; expected names"),
        (f"- {GOOD[:-1]}, size: 3}}", "has 'size'; expected one of name, kind, repo, files"),
        (f"- {GOOD.replace('.gguf', '.gguf, bytes: 1')}", "'bytes'.*name, size_bytes, sha256"),
        (f"- {GOOD.replace('licence: MIT,', '')}", r"\(a\) has no licence"),
        (f"- {GOOD.replace('listener', 'singer')}", "kind: Input should be 'listener', 'comp"),
        (f"- {GOOD[:-1]}, cap_seconds: long}}", "cap_seconds: Input should be a valid number"),
        (f"- {GOOD[:-1]}, cap_seconds: 0}}", "cap_seconds is 0; expected more"),
        (f"- {GOOD[:-1]}, repo: alone}}", "repo is 'alone'; expected ORG/NAME"),
        (f"- {GOOD[:-1]}, revision: 2026-01-01}}", "expected text and numbers"),
        (f"- {GOOD.replace('name: a,', 'name: a/b/c,')}", "name is 'a/b/c'"),
        (f"- {GOOD.replace('{name: a.gguf}', '')}", "files is empty"),
        (f"- {GOOD.replace('a.gguf', '../a.gguf')}", "'../a.gguf' is not accepted"),
        (f"- {GOOD.replace('.gguf', '.gguf, size_bytes: -1')}", "size_bytes is -1"),
        (f"- {GOOD.replace('.gguf', '.gguf, sha256: abc')}", "sha256 is 'abc'; expected 64"),
        (f"- {GOOD}\n- {GOOD}", "'a' is there twice"),
    ],
)
def test_what_is_not_understood_is_named(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        read_manifest(text.encode("latin-1"), "mine.yaml")


def test_a_good_one() -> None:
    (model,) = read_manifest(f"- {GOOD}".encode(), "mine.yaml")
    assert model == Model(
        "a", "listener", files=(ModelFile("a.gguf"),), licence="MIT", allows="all"
    )


def test_the_folder_of_a_hub_name_is_that_of_no_other() -> None:
    assert Model("a/b", repo="a/b").folder_name == "a--b"
    for name in ("a--b/c", "a/b--c", "../a", "a/..", "-a/b"):
        with pytest.raises(ConfigError):
            Model("x", repo=name)
