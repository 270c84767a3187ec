"""The engine on torch: as the one on onnxruntime, an item alone as among others, and on CUDA a
graph as the same step without one."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from decoder_fakes import our_logits
from t5_models import CARD, tiny_musicgen
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from antiphon.compose.checkpoint import read_config
from antiphon.compose.engines import Branch, DecoderEngine
from antiphon.compose.engines import torch as engines_torch
from antiphon.compose.engines.torch import TorchDecoder, TorchPrecision, require_device
from antiphon.compose.engines.torch_block import Block, Shape, choose, guided
from antiphon.compose.lm import Decoder
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.compose.melody import no_melody, one_hot
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.patterns import Codes
from antiphon.compose.sampling import Sampling, draws_of
from antiphon.compose.sampling import choose as choose_by_numpy
from antiphon.compose.sampling import guided as guided_by_numpy
from antiphon.errors import ConfigError, DependencyError, EngineError
from antiphon.weights import Float32, Weights, weight_files

pytestmark = pytest.mark.unit

KINDS = ("mono", "stereo", "melody")
CLOSE = 1e-4  # guided logits
GREEDY = Sampling(temperature=0.0)
CPU = torch.device("cpu")
LENGTHS = (5, 90, 17, 1)  # of texts: on both sides of what they are padded to
CHROMA_FRAMES = 235  # of tiny melody checkpoints

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@dataclass
class Made:
    """A tiny checkpoint, as transformers has it, and as it is loaded for a processor."""

    folder: Path
    model: torch.nn.Module
    onnx: MusicGen

    def engine(
        self,
        *,
        device: torch.device = CPU,
        precision: TorchPrecision = "fp32",
        change: Callable[[torch.nn.Module], None] = lambda _: None,
        block: int | None = None,
        graphs: bool = True,
        compiled: bool = False,
    ) -> TorchDecoder:
        config = read_config(self.folder)
        with Weights(weight_files(self.folder)) as weights:
            engine = TorchDecoder.load(weights, config, device=device, precision=precision)
        change(engine._decoder)
        return TorchDecoder(engine._decoder, block=block, graphs=graphs, compiled=compiled)

    @property
    def codebooks(self) -> int:
        return self.onnx.config.decoder.codebooks

    def items(self, guidance: float = 3.0) -> list[tuple[Branch, ...]]:
        """One for each of LENGTHS."""
        random = np.random.default_rng(0)
        melodic = self.onnx.config.chroma_bins is not None
        nothing = Branch(None, no_melody(CHROMA_FRAMES, 12) if melodic else None)
        result = []
        for number, length in enumerate(LENGTHS):
            classes = random.integers(0, 12, CHROMA_FRAMES - 10 * number)
            text = random.normal(size=(length, 32)).astype(np.float32)
            prompt = Branch(text, one_hot(classes, 12) if melodic else None)
            result.append({3.0: (nothing, prompt), 1.0: (prompt,), 0.0: (nothing,)}[guidance])
        return result

    def some_steps(self, steps: int, items: int = len(LENGTHS)) -> Codes:
        """[I, K, S] of any codes, the first step the start token."""
        codes = np.random.default_rng(1).integers(0, CARD, (items, self.codebooks, steps))
        codes[..., 0] = CARD
        return codes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    cache = tmp_path_factory.mktemp("cache")
    result = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        model = tiny_musicgen(folder, melody=kind == "melody", stereo=kind == "stereo")
        onnx = load_musicgen(folder, LoadOptions("fp32", 1), cache)
        result[kind] = Made(folder, model, onnx)
    return result


def written(
    engine: DecoderEngine,
    items: Sequence[Sequence[Branch]],
    steps: int,
    sampling: Sampling,
    seeds: Sequence[int] = range(len(LENGTHS)),
) -> Codes:
    """[I, K, S], each step fed with the one before, without any pattern."""
    codebooks = engine.config.decoder.codebooks
    draws = [draws_of(seed) for seed in seeds]
    session = engine.begin(items, (3.0,), sampling, steps)
    codes = [np.full((len(items), codebooks), CARD)]
    for _ in range(steps):
        numbers = np.stack([draw.random(codebooks) for draw in draws])
        codes.append(session.next_codes(codes[-1], numbers))
    return np.stack(codes[1:], axis=-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guidance", [3.0, 1.0, 0.0])
def test_guided_logits_equal_those_of_onnxruntime(
    made: dict[str, Made], kind: str, guidance: float
) -> None:
    one = made[kind]
    codes = one.some_steps(24)
    for block in (1, 3, None):
        ours = our_logits(one.engine(block=block), one.items(guidance), codes, guidance)
        expected = our_logits(one.onnx.engine, one.items(guidance), codes, guidance)
        assert ours.shape == (len(LENGTHS), 24, one.codebooks, CARD)
        assert np.abs(ours - expected).max() <= CLOSE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.7, top_k=20, top_p=0.8), GREEDY], ids=str
)
def test_codes_equal_those_of_onnxruntime(
    made: dict[str, Made], kind: str, sampling: Sampling
) -> None:
    one = made[kind]
    ours = written(one.engine(), one.items(), 100, sampling)
    assert np.array_equal(ours, written(one.onnx.engine, one.items(), 100, sampling))
    assert len(np.unique(ours)) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_codes_equal_those_of_transformers(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    nothing, prompt = one.items()[0]
    assert prompt.text is not None
    states = one.model.enc_to_dec_proj(torch.from_numpy(prompt.text))
    conditions = [torch.zeros_like(states), states]
    if kind == "melody":
        for number, branch in enumerate((nothing, prompt)):
            chroma = one.model.audio_enc_to_dec_proj(torch.from_numpy(branch.chroma))
            conditions[number] = torch.cat([chroma, conditions[number]])
    codes = torch.full((one.codebooks, 1), CARD)
    for _ in range(40):  # the whole past again at every step: no cache
        with torch.no_grad():
            without, with_text = (
                one.model.decoder(codes, encoder_hidden_states=condition[None]).logits[:, -1]
                for condition in conditions
            )
        logits = without + 3.0 * (with_text - without)
        codes = torch.cat([codes, logits.argmax(-1, keepdim=True)], dim=1)
    assert np.array_equal(written(one.engine(), one.items()[:1], 40, GREEDY, [0])[0], codes[:, 1:])


@pytest.mark.parametrize("kind", KINDS)
def test_feeding_equals_stepping_beyond_the_first_reach(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    codes = one.some_steps(300)
    stepped = our_logits(one.engine(block=4), one.items(), codes)
    fed = our_logits(one.engine(block=4), one.items(), codes, fed=290)
    assert np.abs(stepped[:, 290:] - fed).max() <= CLOSE
    expected = our_logits(one.onnx.engine, one.items(), codes, fed=290)
    assert np.abs(fed - expected).max() <= CLOSE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guidance", [3.0, 1.0, 0.0])
def test_on_a_processor_an_item_is_the_same_bit_for_bit_in_any_company(
    made: dict[str, Made], kind: str, guidance: float
) -> None:
    one = made[kind]
    engine, items, codes = one.engine(), one.items(guidance), one.some_steps(12)
    for fed in (0, 9):
        alone = our_logits(engine, items[:1], codes[:1], guidance, fed=fed)
        for others in ([0, 1], [3, 0], [2, 0, 1], [1, 2, 3, 0], [0, 0, 0]):
            # A longer neighbour makes room for more steps than the item has.
            among = our_logits(
                engine, [items[i] for i in others], codes[others], guidance, fed=fed, room=300
            )
            assert np.array_equal(among[others.index(0)], alone[0])


def test_branches_may_differ_from_item_to_item(made: dict[str, Made]) -> None:
    """Three branches, of which other ones are without a text in each item."""
    one = made["mono"]
    texts = [branch for _, branch in one.items()]
    nothing = Branch(None)
    items = [
        (nothing, texts[0], texts[1]),
        (texts[2], nothing, texts[3]),
        (nothing, nothing, texts[1]),
    ]
    codes = one.some_steps(6, len(items))
    results = []
    for engine in (one.engine(block=3), one.onnx.engine):
        session = engine.begin(items, (3.0, 0.5), Sampling(), 6)
        results.append(np.stack([session.logits(codes[..., step]) for step in range(6)]))
    assert np.abs(results[0] - results[1]).max() <= CLOSE


def test_sessions_do_not_disturb_each_other_and_leave_their_memory_behind(
    made: dict[str, Made],
) -> None:
    one = made["mono"]
    engine, items, codes = one.engine(block=4), one.items(), one.some_steps(8)
    other = one.some_steps(9)[..., 1:]
    expected = our_logits(engine, items, codes)
    first, second = (engine.begin(items, (3.0,), Sampling(), 8) for _ in range(2))
    for step in range(8):
        second.logits(other[..., step])
        assert np.array_equal(first.logits(codes[..., step]), expected[:, step])
    assert not engine._idle
    del first, second
    gc.collect()
    kept = list(engine._idle)
    assert len(kept) == 2
    assert np.array_equal(our_logits(engine, items, codes), expected)  # nothing of before is left
    assert engine._idle[0] in kept
    our_logits(engine, items, codes, room=300)  # another shape: what does not fit is let go
    gc.collect()
    assert len(engine._idle) == 1
    assert engine._idle[0] not in kept


def tied(random: np.random.Generator) -> Float32:
    """Logits of few values, so that most have many equals."""
    return np.round(random.normal(scale=2.0, size=(50, 4, CARD))).astype(np.float32)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 0, 1, 5, CARD])
@pytest.mark.parametrize("top_p", [0.05, 0.9, 1.0])
def test_codes_are_chosen_by_the_rule_there_is(
    ties: bool, temperature: float, top_k: int | None, top_p: float
) -> None:
    random = np.random.default_rng(0)
    logits = tied(random) if ties else random.normal(size=(50, 4, CARD)).astype(np.float32)
    draws = random.random((50, 4))
    draws[0], draws[1] = 0.0, np.nextafter(1.0, 0.0)
    sampling = Sampling(temperature, top_k, top_p)
    ours = choose(torch.from_numpy(logits), torch.from_numpy(draws), sampling)
    assert np.array_equal(ours.numpy(), choose_by_numpy(logits, draws, sampling))


@pytest.mark.parametrize("weights", [(), (3.0,), (3.0, 0.7)])
def test_guidance_is_the_rule_there_is(weights: tuple[float, ...]) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, len(weights) + 1, 4, CARD)).astype(np.float32)
    ours = guided(torch.from_numpy(logits), weights).numpy()
    np.testing.assert_allclose(ours, guided_by_numpy(logits, weights), rtol=1e-6, atol=1e-6)


class Devices(TorchDispatchMode):
    """Notes the devices that operations have to do with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[str]] = {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor):
                self.seen.setdefault(str(operation), set()).add(leaf.device.type)
        return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampling", [Sampling(1.0, 5, 0.9), GREEDY], ids=["sampled", "greedy"])
def test_a_step_does_not_ask_the_host(made: dict[str, Made], kind: str, sampling: Sampling) -> None:
    """On a device without numbers: who looks at one fails, and what is copied to it is seen. A
    CUDA graph allows neither."""
    one = made[kind]
    with torch.device("meta"):
        decoder = Decoder(one.onnx.config)
    decoder.to("meta")
    heard = ((False, True), (False, True))
    has_score = sampling == GREEDY
    block = Block(decoder, Shape(heard, 64, has_score, 512, (3.0,), sampling), graphs=False)
    with torch.inference_mode(), Devices() as devices:
        block._step(256)
    assert len(devices.seen) > 20
    assert {name: kinds for name, kinds in devices.seen.items() if kinds != {"meta"}} == {}


@pytest.mark.parametrize(("precision", "bound"), [("fp16", 2e-3), ("bf16", 2e-2)])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_near(
    made: dict[str, Made], kind: str, precision: TorchPrecision, bound: float
) -> None:
    one = made[kind]
    codes = one.some_steps(30)
    exact = our_logits(one.engine(), one.items(1.0), codes, 1.0)
    rough = our_logits(one.engine(precision=precision), one.items(1.0), codes, 1.0)
    assert 0 < np.linalg.norm(rough - exact) < bound * np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("layers.0.narrow", "between the attentions of layers 1 and 2 of 2"),
        ("layers.0.qkv", "in the attention of layer 1 of 2, or before it"),
        ("layers.1.narrow", "after the attention of layer 2, the last"),
        ("heads", "after the attention of layer 2, the last"),
    ],
)
def test_numbers_that_are_not_finite_are_an_error(
    made: dict[str, Made], name: str, where: str
) -> None:
    def overflow(decoder: torch.nn.Module) -> None:
        weight = decoder.get_submodule(name).weight
        with torch.no_grad():
            weight.copy_(weight.sign() * 3e38)

    one = made["mono"]
    engine = one.engine(change=overflow)
    session = engine.begin(one.items()[:1], (3.0,), Sampling(), 9)
    session.feed(np.full((1, 4, 5), 3))
    match = f"not finite at step 5, first {where}; the weights are damaged"
    with pytest.raises(EngineError, match=match):
        session.next_codes(np.full((1, 4), 3), np.zeros((1, 4)))


def test_what_was_not_finite_is_forgotten(made: dict[str, Made]) -> None:
    one = made["mono"]
    engine, items, codes = one.engine(), one.items(), one.some_steps(5)
    expected = our_logits(engine, items[1:2], codes[:1])
    text = items[1][1].text
    assert text is not None
    broken = (items[1][0], Branch(np.full_like(text, np.inf)))
    with pytest.raises(EngineError, match="not finite at step 0"):
        our_logits(engine, [broken], codes[:1])
    gc.collect()
    assert len(engine._idle) == 1
    assert np.array_equal(our_logits(engine, items[1:2], codes[:1]), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_more_steps_than_positions_are_refused(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    positions = one.onnx.config.decoder.max_positions
    before = CHROMA_FRAMES + LENGTHS[0] if kind == "melody" else 0
    match = f"{positions + 1} positions are asked of a decoder that has {positions}"
    engine, items = one.engine(), one.items()[:1]
    with pytest.raises(EngineError, match=match):
        engine.begin(items, (3.0,), Sampling(), positions + 1 - before)
    session = engine.begin(items, (3.0,), Sampling(), positions - before)
    codes = one.some_steps(positions - before, items=1)
    session.feed(codes[..., :-1])
    session.logits(codes[..., -1])


@pytest.mark.slow  # most of a minute
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # by torch's own modules
def test_compiled_layers_give_the_same(made: dict[str, Made]) -> None:
    one = made["mono"]
    codes = one.some_steps(300)
    for guidance in (3.0, 1.0):
        items = one.items(guidance)
        expected = our_logits(one.engine(block=4), items, codes, guidance, fed=200)
        compiled = one.engine(block=4, compiled=True)
        assert (
            np.abs(our_logits(compiled, items, codes, guidance, fed=200) - expected).max() <= CLOSE
        )


def test_a_device_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_device("cpu") == CPU
    with pytest.raises(ConfigError, match="device is 'gpu'; expected one of cpu"):
        require_device("gpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert require_device("cuda") == require_device("cuda:0") == torch.device("cuda:0")
    assert require_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="'cuda:2', which this torch .* cpu, cuda:0, cuda:1"):
        require_device("cuda:2")


def test_a_checkpoint_on_a_gpu_makes_what_it_makes_on_a_processor(
    made: dict[str, Made], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a processor in the GPU's place: texts, decoder and codec go together."""
    monkeypatch.setattr(engines_torch, "require_device", lambda _: CPU)
    one = made["stereo"]
    options = LoadOptions("fp32", 1, "cuda")
    loaded = load_musicgen(one.folder, options, tmp_path)
    assert isinstance(loaded.engine, TorchDecoder)
    for text in ("slow jazz", ""):
        np.testing.assert_allclose(loaded.text.encode(text), one.onnx.text.encode(text), atol=1e-5)
    items = [(Branch(None), Branch(loaded.text.encode("slow jazz")))]
    ours = written(loaded.engine, items, 30, Sampling(), [5])
    assert np.array_equal(ours, written(one.onnx.engine, items, 30, Sampling(), [5]))
    assert loaded.codec.channels == 2
    half = load_musicgen(one.folder, replace(options, precision=None), tmp_path)
    assert half.engine._decoder.norm.weight.dtype == torch.float16


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (LoadOptions("8bit", device="cuda"), "'8bit'; expected on cuda one of fp32, fp16, bf16"),
        (LoadOptions("fp16"), "'fp16'; expected on a processor one of fp32"),
        (LoadOptions("fp16", device="cpu"), "'fp16'; expected on a processor one of fp32"),
        (LoadOptions(device="tpu"), "device is 'tpu'; expected one of cpu"),
        (LoadOptions(device="cuda:99"), "device is 'cuda:99', which this torch"),
        (LoadOptions(compile=True), "--compile is for torch, .* --device"),
    ],
)
def test_options_that_do_not_fit_the_device(
    made: dict[str, Made], options: LoadOptions, match: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=match):
        load_musicgen(made["mono"].folder, options, tmp_path)


def test_a_gpu_needs_torch(
    made: dict[str, Made], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "antiphon.compose.engines.torch")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"device is 'cuda', which needs torch.*\[torch\]"):
        load_musicgen(made["mono"].folder, LoadOptions(device="cuda"), tmp_path)


@pytest.mark.gpu
@on_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_writes_what_the_steps_write(made: dict[str, Made], kind: str) -> None:
    one, device = made[kind], torch.device("cuda:0")
    for sampling in (Sampling(), Sampling(0.7, 20, 0.8), GREEDY):
        graphs, eager = (
            written(one.engine(device=device, block=4, graphs=on), one.items(), 300, sampling)
            for on in (True, False)
        )
        assert np.array_equal(graphs, eager)


@pytest.mark.gpu
@on_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_the_logits_of_a_gpu_are_those_of_a_processor(made: dict[str, Made], kind: str) -> None:
    one, codes = made[kind], made[kind].some_steps(300)
    exact = our_logits(one.engine(block=4), one.items(), codes, fed=200)
    scale = np.linalg.norm(exact)
    for precision, bound in (("fp32", 1e-5), ("fp16", 1e-2), ("bf16", 1e-1)):
        engine = one.engine(device=torch.device("cuda:0"), precision=precision)  # type: ignore[arg-type]
        for _ in range(2):  # the second time by the graphs of the first
            ours = our_logits(engine, one.items(), codes, fed=200)
            assert np.linalg.norm(ours - exact) < bound * scale
            gc.collect()
            assert len(engine._idle) == 1


@pytest.mark.gpu
@on_cuda
def test_in_blocks_an_item_is_the_same_in_any_company_on_a_gpu(made: dict[str, Made]) -> None:
    one, codes = made["mono"], made["mono"].some_steps(40)
    for block in (1, 4):
        engine = one.engine(device=torch.device("cuda:0"), precision="fp16", block=block)
        alone = our_logits(engine, one.items()[:1], codes[:1])
        among = our_logits(engine, one.items(), codes)
        assert np.array_equal(among[0], alone[0]), block


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@on_cuda
def test_compiled_layers_inside_a_graph(made: dict[str, Made]) -> None:
    one, codes = made["mono"], made["mono"].some_steps(300)
    device = torch.device("cuda:0")
    plain = our_logits(one.engine(device=device), one.items(), codes, fed=200)
    compiled = our_logits(one.engine(device=device, compiled=True), one.items(), codes, fed=200)
    assert np.abs(plain - compiled).max() <= CLOSE


@pytest.mark.gpu
@pytest.mark.slow
@on_cuda
def test_a_real_checkpoint_on_a_gpu_writes_music(tmp_path: Path) -> None:
    folder = os.environ.get("ANTIPHON_TEST_MUSICGEN")
    if not folder:
        pytest.skip("ANTIPHON_TEST_MUSICGEN names no checkpoint folder")
    loaded = load_musicgen(Path(folder), LoadOptions(device="cuda"), tmp_path)
    items = [(Branch(None), Branch(loaded.text.encode("slow jazz piano")))]
    codes = written(loaded.engine, items, 100, Sampling(), [0])
    assert len(np.unique(codes)) > 50
