"""A decoder that follows a score: what the adapter adds reaches each step, in every engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from t5_models import tiny_musicgen

from antiphon.arrange import arrange
from antiphon.audio import read
from antiphon.cli.main import run
from antiphon.compose.batch.jobs import checksum_of_model
from antiphon.compose.checkpoint import read_config
from antiphon.compose.composer import Composer, collect, load_composer
from antiphon.compose.conversion.export import export
from antiphon.compose.engines import Branch
from antiphon.compose.engines.torch import TorchDecoder
from antiphon.compose.lm import Decoder
from antiphon.compose.loading import LoadOptions
from antiphon.compose.lora import LORA_WEIGHTS_NAME, read_lora, tuned
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.requests import Request
from antiphon.compose.sampling import Sampling
from antiphon.compose.score_adapter import OFFSETS, AdapterConfig, ScoreAdapter, write_adapter
from antiphon.compose.score_frames import score_frames
from antiphon.controls import Controls
from antiphon.errors import ConfigError, ModelError
from antiphon.weights import Weights, weight_files

pytestmark = pytest.mark.integration

STEPS = 90
WISHES = Controls(genre="funk", tempo_bpm=120.0, duration_seconds=2.0)


def write_random_adapter(folder: Path, width: int, frame_rate: int) -> None:
    config = AdapterConfig(width, 16, frame_rate)
    random = np.random.default_rng(3)
    tensors = {
        name: random.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    write_adapter(folder, config, tensors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("scored")
    tiny_musicgen(place)
    plain = model_of(load_composer(place, LoadOptions(precision="fp32", threads=1)))
    write_random_adapter(place / "adapter", plain.config.decoder.width, plain.codec.frame_rate)
    return place


@pytest.fixture(scope="module")
def composer(folder: Path) -> Composer:
    return load_composer(folder, LoadOptions(precision="fp32", threads=1))


def model_of(composer: Composer) -> MusicGen:
    assert isinstance(composer.renderer, MusicGen)
    return composer.renderer


def request(seed: int = 1, sampling: Sampling | None = None) -> Request:
    return Request("funk with organ", seed, WISHES, sampling or Sampling())


def sound(composer: Composer, *requests: Request) -> list[np.ndarray]:
    return collect(composer.renderer.perform(list(requests)))


def added(model: MusicGen, steps: int) -> np.ndarray:
    assert model.adapter is not None
    frames = score_frames(arrange(WISHES, 1), model.codec.frame_rate, steps)
    return model.adapter.extra(frames, steps)


def logits(engine: object, items: list[tuple[Branch, ...]], codes: np.ndarray) -> np.ndarray:
    """[S, I, K, V], some of the steps fed at once."""
    session = engine.begin(items, (3.0,), Sampling(), STEPS)  # type: ignore[attr-defined]
    session.feed(codes[..., :70])
    return np.stack([session.logits(codes[..., step]) for step in range(70, STEPS)])


def test_engines_agree_and_the_score_counts(composer: Composer, folder: Path) -> None:
    model = model_of(composer)
    text = model.text.encode("funk")
    items = [
        (Branch(None), Branch(text, added=added(model, STEPS))),
        (Branch(None), Branch(text)),
    ]
    decoder = model.config.decoder
    codes = np.random.default_rng(0).integers(0, decoder.card, (2, decoder.codebooks, STEPS))
    ours = logits(model.engine, items, codes)
    with Weights(weight_files(folder)) as weights:
        engine = TorchDecoder.load(
            weights, model.config, device=torch.device("cpu"), precision="fp32"
        )
    theirs = logits(engine, items, codes)
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(ours).max()
    assert np.abs(ours[:, 0] - ours[:, 1]).max() > 0.1
    alone = logits(model.engine, items[:1], codes[:1])
    assert np.array_equal(alone[:, 0], ours[:, 0])


def test_the_same_piece_alone_and_beside_others(composer: Composer) -> None:
    (alone,) = sound(composer, request(4))
    assert np.array_equal(sound(composer, request(7), request(4))[1], alone)


def test_what_is_planned_is_the_score(composer: Composer) -> None:
    (plan,) = composer.renderer.perform([request()]).plans
    assert plan.score == arrange(replace(WISHES, instruments=("organ",)), 1)
    assert plan.text is not None
    assert plan.text.startswith("funk with organ. bpm: 120.0. key: ")
    assert ". genre: funk" in plan.text
    assert "instrument: " in plan.text


@pytest.mark.parametrize(
    ("sampling", "same_as"),
    [
        (Sampling(score_guidance=3.0), Sampling()),
        (Sampling(guidance=2.0, score_guidance=2.0), Sampling(guidance=2.0)),
    ],
)
def test_equal_weights_are_one(composer: Composer, sampling: Sampling, same_as: Sampling) -> None:
    one, other = (sound(composer, request(sampling=given))[0] for given in (sampling, same_as))
    assert np.array_equal(one, other)


def test_the_score_has_a_weight_of_its_own(composer: Composer) -> None:
    weights = [(3.0, 0.0), (3.0, 1.0), (3.0, 3.0), (1.0, 3.0), (0.0, 3.0), (0.0, 1.0), (0.0, 0.0)]
    pieces = [
        sound(composer, request(sampling=Sampling(guidance=text, score_guidance=score)))[0]
        for text, score in weights
    ]
    for number, piece in enumerate(pieces):
        assert not any(np.array_equal(piece, other) for other in pieces[:number])


def test_guidance_in_three_rows_is_what_it_says(composer: Composer) -> None:
    model = model_of(composer)
    codes = np.random.default_rng(0).integers(0, 60, (1, model.config.decoder.codebooks, 5))
    text, score = model.text.encode("funk"), added(model, 5)

    def after(branches: tuple[Branch, ...], weights: tuple[float, ...]) -> np.ndarray:
        session = model.engine.begin([branches], weights, Sampling(), 5)
        session.feed(codes[..., :4])
        return session.logits(codes[..., 4])

    nothing, told, all_of_it = (
        after((branch,), ()) for branch in (Branch(None), Branch(text), Branch(text, added=score))
    )
    guided = after((Branch(None), Branch(text), Branch(text, added=score)), (2.0, 4.0))
    expected = nothing + 2.0 * (told - nothing) + 4.0 * (all_of_it - told)
    assert np.abs(guided - expected).max() < 1e-4


def test_later_windows_go_on_in_the_score(composer: Composer) -> None:
    model = model_of(composer)
    frames = np.random.default_rng(1).normal(size=(60, model.adapter.config.score_width))  # type: ignore[union-attr]
    frames = frames.astype(np.float32)
    view = model.score_view(frames)
    planner = replace(model._planner, window_seconds=0.4)
    planned = planner.plan(request())
    assert len(planned.windows) > 3
    window = planned.windows[2]
    whole = model.adapter.extra(frames, 60)  # type: ignore[union-attr]
    seen = view(window, 10)
    # Inside of a window a step sees what it would in the whole piece.
    first = -OFFSETS[0]
    assert np.allclose(seen[first:8], whole[window.shown + first : window.shown + 8], atol=1e-5)


def test_adapters_of_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    write_random_adapter(tmp_path / "wide", 999, 50)
    with pytest.raises(ModelError, match="is for a decoder of width 999 on 50 frames"):
        load_composer(folder, LoadOptions(precision="fp32", adapters=(tmp_path / "wide",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="has no config.json"):
        load_composer(folder, LoadOptions(precision="fp32", adapters=(tmp_path / "empty",)))


def test_without_an_adapter_there_is_no_score(folder: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    tiny_musicgen(plain)
    composer = load_composer(plain, LoadOptions(precision="fp32", threads=1))
    score = arrange(WISHES, 1)
    for given, match in (
        (replace(request(), score=score), "--from-score needs a model that follows a score"),
        (replace(request(), loop_bars=4), "--loop-bars needs a model that follows a score"),
        (request(sampling=Sampling(score_guidance=2.0)), "--score-guidance needs a model"),
    ):
        with pytest.raises(ConfigError, match=match):
            composer.renderer.perform([given])
    named = load_composer(
        plain, LoadOptions(precision="fp32", threads=1, adapters=(folder / "adapter",))
    )
    (plan,) = named.renderer.perform([request()]).plans
    assert plan.score == arrange(replace(WISHES, instruments=("organ",)), 1)
    assert isinstance(model_of(named).adapter, ScoreAdapter)


def test_lora_of_other_models_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    def lora(name: str, tensors: dict[str, np.ndarray], **config: object) -> Path:
        place = tmp_path / name
        place.mkdir()
        values = {"peft_type": "LORA", "r": 2, "lora_alpha": 4.0} | config
        (place / "adapter_config.json").write_text(json.dumps(values))
        save_file(tensors, place / "adapter_model.safetensors")
        return place

    module = "base_model.model.decoder.model.decoder.layers.0.self_attn.q_proj"
    down, up = np.ones((2, 7), np.float32), np.ones((9, 2), np.float32)
    pair = {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}
    for place, match in (
        (lora("shape", pair), r"layers.0.self_attn.q_proj.weight of the shape \(9, 7\)"),
        (lora("elsewhere", {k.replace("layers.0", "layers.77"): v for k, v in pair.items()}),
         "the model has no such tensor; expected the model that it was trained for"),
        (lora("half", {f"{module}.lora_A.weight": down}), "more than lora_A and lora_B"),
        (lora("dora", pair, use_dora=True), "use_dora is True; expected none"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=match):
            load_composer(folder, LoadOptions(precision="fp32", adapters=(place,)))
    both = (folder / "adapter", folder / "adapter")
    with pytest.raises(ConfigError, match="are score adapters; expected one of them"):
        load_composer(folder, LoadOptions(precision="fp32", adapters=both))


def test_an_adapter_goes_into_8_bits_with_the_rest(folder: Path, tmp_path: Path) -> None:
    for precision, kind, difference in (("8bit", "I8", 0.02), ("fp16", "F32", 0.0)):
        place = tmp_path / precision
        export(folder, place, format="transformers", precision=precision, threads=1)
        with Weights((place / "adapter/model.safetensors",)) as weights:
            assert weights.kind("read.weight") == kind
        before, after = (ScoreAdapter.load(one / "adapter") for one in (folder, place))
        assert after.config == before.config
        frames = score_frames(arrange(WISHES, 1), 50, 100)
        expected, found = before.extra(frames, 100), after.extra(frames, 100)
        assert np.abs(found - expected).max() <= difference * np.abs(expected).max()


def lora_of(folder: Path, place: Path, alpha: float = 8.0) -> Path:
    """A LoRA of rank 2 for the first layer's queries."""
    from safetensors.numpy import save_file

    module = "decoder.model.decoder.layers.0.self_attn.q_proj"
    with Weights(weight_files(folder)) as weights:
        rows, columns = weights.shape(f"{module}.weight")
    draws = np.random.default_rng(0)
    tensors = {
        f"base_model.model.{module}.lora_A.weight": draws.normal(size=(2, columns)),
        f"base_model.model.{module}.lora_B.weight": draws.normal(size=(rows, 2)),
    }
    place.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": alpha, "use_rslora": None}
    (place / "adapter_config.json").write_text(json.dumps(config))
    save_file({n: t.astype(np.float32) for n, t in tensors.items()}, place / LORA_WEIGHTS_NAME)
    return place


def test_several_adapters_on_the_command_line(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    lora = lora_of(folder, tmp_path / "my lora")
    asked = ["generate", "slow jazz", "--model", str(folder), "--precision", "fp32"]
    asked += ["--duration", "1", "--seed", "1", "--json", "--adapter", str(folder / "adapter")]
    sounds = []
    for more in ([], [str(lora)], [str(lora), str(lora)]):
        named = [part for place in more for part in ("--adapter", place)]
        assert run([*asked, *named, "--output", f"{len(more)}.wav"]) == 0
        (piece,) = json.loads(capsys.readouterr().out)["outputs"]
        names = [one["name"] for one in piece["provenance"]["settings"]["adapters"]]
        assert names == ["adapter", *["my lora"] * len(more)]
        assert piece["score"] is not None
        sounds.append(read(f"{len(more)}.wav").waveform.samples)
    assert not np.array_equal(sounds[0], sounds[1])
    assert not np.array_equal(sounds[1], sounds[2])
    assert run([*asked, "--adapter", "nowhere", "--output", "x.wav"]) != 0
    assert "adapter 'nowhere' is no folder" in capsys.readouterr().err


def test_pieces_of_other_adapters_are_others(folder: Path, tmp_path: Path) -> None:
    """A batch makes them anew."""
    one, other = (lora_of(folder, tmp_path / str(alpha), alpha) for alpha in (8.0, 16.0))
    named = ([], [one], [other], [one, one], [one, other])
    sums = [checksum_of_model(folder, some, tmp_path / "memory.json") for some in named]
    assert len(set(sums)) == len(named)
    assert checksum_of_model(folder, [one], tmp_path / "memory.json") == sums[1]


def test_torch_adds_what_a_lora_adds(folder: Path, tmp_path: Path) -> None:
    lora = read_lora(lora_of(folder, tmp_path / "lora"))
    config = read_config(folder)
    name = "layers.0.qkv.weight"
    with Weights(weight_files(folder)) as whole, tuned(whole, [lora]) as weights:
        plain, changed = (
            Decoder.load(one, config, torch.device("cpu"), torch.float32).state_dict()[name]
            for one in (whole, weights)
        )
    rows = len(plain) // 3
    assert not torch.equal(plain[:rows], changed[:rows])  # the queries
    assert torch.equal(plain[rows:], changed[rows:])
