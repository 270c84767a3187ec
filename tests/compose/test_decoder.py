"""The decoder on onnxruntime against transformers', an item alone against the same among others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from decoder_fakes import our_logits
from published_musicgen import DECODERS, published_model
from safetensors.torch import load_file, save_file
from t5_models import CARD, tiny_musicgen

from antiphon.compose.checkpoint import read_config
from antiphon.compose.engines import Branch
from antiphon.compose.generation import Item, write_codes
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.compose.melody import no_melody
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.patterns import Codes
from antiphon.compose.sampling import Sampling, draws_of
from antiphon.compose.windows import Window
from antiphon.errors import EngineError, ModelError
from antiphon.weights import Float32

pytestmark = pytest.mark.unit

KINDS = ("mono", "stereo", "melody")
WIDTHS = {"wide": 256, "narrow": 48}  # mono; heads of 64, and of 12, which are padded in the cache
PRECISIONS = ("fp32", "8bit", "4bit")
CLOSE = 1e-4  # guided logits and samples, against transformers in fp32
TEXTS = ((17, 90, 3, 40, 5, 61, 1), (30, 1), (80, 81, 82, 20, 21, 22, 23, 24, 25, 26, 27, 1))
NEGATIVE = (66, 67, 68, 1)
GREEDY = Sampling(temperature=0.0)


@dataclass
class Made:
    """A tiny checkpoint, as transformers has it and as we load it."""

    folder: Path
    cache: Path
    model: torch.nn.Module
    loaded: dict[tuple[str, int], MusicGen] = field(default_factory=dict)

    def ours(self, precision: str = "fp32", threads: int = 1) -> MusicGen:
        if (precision, threads) not in self.loaded:
            options = LoadOptions(precision=precision, threads=threads)
            self.loaded[precision, threads] = load_musicgen(self.folder, options, self.cache)
        return self.loaded[precision, threads]

    def states(self, text: Sequence[int]) -> Float32:
        """[L, W] of one prompt, by transformers."""
        with torch.no_grad():
            return self.model.text_encoder(torch.tensor([text])).last_hidden_state[0].numpy()

    @property
    def codebooks(self) -> int:
        return int(self.model.decoder.num_codebooks)

    def some_steps(self, items: int, steps: int, seed: int = 0) -> Codes:
        """[I, K, S] of any codes, the first step the start token."""
        random = np.random.default_rng(seed)
        codes = random.integers(0, CARD, (items, self.codebooks, steps))
        codes[..., 0] = CARD
        return codes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    cache = tmp_path_factory.mktemp("cache")
    result = {}
    for kind in (*KINDS, *WIDTHS):
        folder = tmp_path_factory.mktemp(kind)
        model = tiny_musicgen(
            folder,
            melody=kind == "melody",
            stereo=kind == "stereo",
            width=WIDTHS.get(kind, 64),
        )
        result[kind] = Made(folder, cache, model)
    return result


def some_melody(frames: int = 235, seed: int = 0) -> Float32:
    return np.eye(12, dtype=np.float32)[np.random.default_rng(seed).integers(0, 12, frames)]


def padded(texts: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    longest = max(map(len, texts))
    rows = [[*text, *[0] * (longest - len(text))] for text in texts]
    ids = torch.tensor(rows)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def expected_logits(
    made: Made, texts: Sequence[Sequence[int]] | None, codes: Codes, melody: Float32 | None
) -> Float32:
    """[I, S, K, V] of one branch, teacher-forced by transformers; texts of None: without prompt."""
    items, codebooks, steps = codes.shape
    given: dict[str, object] = {}
    if texts is not None:
        given |= padded(texts)
    elif melody is None:
        given["encoder_outputs"] = (torch.zeros(items, 1, 32),)
        given["attention_mask"] = torch.zeros(items, 1, dtype=torch.long)
    if melody is not None:
        given["input_features"] = torch.from_numpy(melody)[None]
    with torch.no_grad():
        ids = torch.from_numpy(codes.reshape(items * codebooks, steps))
        logits = made.model(**given, decoder_input_ids=ids).logits
    shaped = logits.reshape(items, codebooks, -1, CARD)[:, :, -steps:]
    return shaped.numpy().transpose(0, 2, 1, 3)


@pytest.mark.parametrize("kind", ["mono", "stereo", *WIDTHS])
def test_guided_logits_equal_transformers_in_a_padded_batch(
    made: dict[str, Made], kind: str
) -> None:
    one = made[kind]
    codes = one.some_steps(len(TEXTS), 200)
    text = expected_logits(one, TEXTS, codes, None)
    nothing = expected_logits(one, None, codes, None)
    items = [(Branch(None), Branch(one.states(text))) for text in TEXTS]
    ours = our_logits(one.ours().engine, items, codes)
    assert np.abs(ours - (nothing + 3.0 * (text - nothing))).max() <= CLOSE
    assert np.abs(text - nothing).max() > 1000 * CLOSE  # the prompt counts


@pytest.mark.parametrize("with_melody", [True, False])
def test_guided_logits_of_a_melody_checkpoint_equal_transformers(
    made: dict[str, Made], with_melody: bool
) -> None:
    one = made["melody"]
    codes = one.some_steps(len(TEXTS), 200)
    nothing = no_melody(235, 12)
    melody = some_melody() if with_melody else nothing
    # Each alone: in a padded batch transformers attends to the padding of this kind.
    expected = []
    for text, steps in zip(TEXTS, codes[:, None], strict=True):
        with_text = expected_logits(one, [text], steps, melody)
        model = one.model
        prefix = model.audio_enc_to_dec_proj(torch.from_numpy(nothing)[None])
        prefix = torch.cat([prefix, torch.zeros(1, len(text), 64)], dim=1)
        with torch.no_grad():
            found = model(
                encoder_hidden_states=prefix, decoder_input_ids=torch.from_numpy(steps[0])
            )
        without = found.logits[:, -200:].numpy().transpose(1, 0, 2)[None]
        expected.append(without + 3.0 * (with_text - without))
    items = [(Branch(None, nothing), Branch(one.states(text), melody)) for text in TEXTS]
    ours = our_logits(one.ours().engine, items, codes)
    assert np.abs(ours - np.concatenate(expected)).max() <= CLOSE


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_a_negative_prompt_takes_the_place_of_none(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    codes = one.some_steps(len(TEXTS), 60)
    text = expected_logits(one, TEXTS, codes, None)
    negative = expected_logits(one, [NEGATIVE] * len(TEXTS), codes, None)
    items = [(Branch(one.states(NEGATIVE)), Branch(one.states(text))) for text in TEXTS]
    ours = our_logits(one.ours().engine, items, codes)
    assert np.abs(ours - (negative + 3.0 * (text - negative))).max() <= CLOSE


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_guidance_1_is_the_prompt_and_0_none(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    codes = one.some_steps(len(TEXTS), 60)
    engine = one.ours().engine
    with_text = our_logits(engine, [(Branch(one.states(t)),) for t in TEXTS], codes, 1.0)
    assert np.abs(with_text - expected_logits(one, TEXTS, codes, None)).max() <= CLOSE
    without = our_logits(engine, [(Branch(None),) for _ in TEXTS], codes, 0.0)
    assert np.abs(without - expected_logits(one, None, codes, None)).max() <= CLOSE


@pytest.mark.parametrize(
    ("kind", "with_melody"),
    [("mono", False), ("stereo", False), ("melody", True), ("melody", False)],
)
@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_greedy_codes_and_sound_equal_those_of_transformers_generate(
    made: dict[str, Made], kind: str, with_melody: bool, guidance: float
) -> None:
    one = made[kind]
    ours = one.ours()
    frames, text = 61, TEXTS[0]
    chroma = nothing = None
    given: dict[str, torch.Tensor] = padded([text])
    if kind == "melody":
        chroma = nothing = no_melody(235, 12)
        if with_melody:
            chroma = some_melody(100)
            given["input_features"] = torch.from_numpy(chroma)[None]
            chroma = np.resize(chroma, (235, 12))  # transformers repeats what is too short
    seen: list[torch.Tensor] = []
    decode = one.model.audio_encoder.decode

    def spy(codes: torch.Tensor, **rest: object) -> object:
        seen.append(codes[0, 0])
        return decode(codes, **rest)

    steps = frames + ours.pattern.longest_delay
    one.model.audio_encoder.decode = spy
    try:
        sound = one.model.generate(
            **given, do_sample=False, guidance_scale=guidance, max_new_tokens=steps
        )
    finally:
        del one.model.audio_encoder.decode
    expected = seen[0]
    if kind == "stereo":
        expected = torch.stack(seen, dim=1).flatten(0, 1)

    branches: tuple[Branch, ...] = (Branch(one.states(text), chroma),)
    if guidance == 3.0:
        branches = (Branch(None, nothing), *branches)
    item = Item(
        (Window(0, 0, frames, 0),),
        (branches,),
        np.zeros((one.codebooks, 0), np.int64),
        draws_of(0),
    )
    weights = (3.0,) if guidance == 3.0 else ()
    written = write_codes(ours.engine, [item], weights, GREEDY, ours.pattern)
    codes = np.stack([frame.codes for (frame,) in written], axis=1)
    assert np.array_equal(codes, expected.numpy())
    assert len(np.unique(codes)) > 5
    samples = ours.codec.decode(codes)
    assert np.abs(samples - sound[0].numpy()).max() <= CLOSE
    assert np.abs(samples).max() > 100 * CLOSE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_feeding_equals_stepping(made: dict[str, Made], kind: str, precision: str) -> None:
    one = made[kind]
    engine = one.ours(precision).engine
    nothing, melody = (no_melody(235, 12), some_melody()) if kind == "melody" else (None, None)
    items = [(Branch(None, nothing), Branch(one.states(text), melody)) for text in TEXTS]
    codes = one.some_steps(len(TEXTS), 140)
    stepped = our_logits(engine, items, codes)
    fed = our_logits(engine, items, codes, fed=131)
    # An 8-bit product rounds its input: what differs in the last bit may differ by a step.
    near = CLOSE if precision == "fp32" else 0.05 * float(np.abs(stepped).max())
    assert np.abs(stepped[:, 131:] - fed).max() <= near


@pytest.mark.parametrize("kind", [*KINDS, *WIDTHS])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("guidance", [3.0, 1.0, 0.0])
def test_an_item_is_the_same_bit_for_bit_alone_and_among_others(
    made: dict[str, Made], kind: str, precision: str, guidance: float
) -> None:
    one = made[kind]
    chroma = [some_melody(235, seed) if kind == "melody" else None for seed in range(6)]
    nothing = no_melody(235, 12) if kind == "melody" else None
    random = np.random.default_rng(0)
    lengths = (17, 64, 130, 1, 300, 65)  # of texts: around the multiples that are padded to
    prompts = [
        Branch(random.normal(size=(length, 32)).astype(np.float32), melody)
        for length, melody in zip(lengths, chroma, strict=True)
    ]
    without = Branch(None, nothing)
    items = [
        {3.0: (without, prompt), 1.0: (prompt,), 0.0: (without,)}[guidance] for prompt in prompts
    ]
    codes = one.some_steps(len(items), 12)
    for fed in (0, 9):
        alone = our_logits(one.ours(precision).engine, items[:1], codes[:1], guidance, fed=fed)
        places = ((1, 0), (2, 0), (2, 1), (3, 1), (5, 4))
        for threads, size, place in [(1, *where) for where in places] + [(2, 1, 0), (2, 5, 2)]:
            order = [1, 2, 3, 4, 5][: size - 1]
            order.insert(place, 0)
            among = our_logits(
                one.ours(precision, threads).engine,
                [items[i] for i in order],
                codes[order],
                guidance,
                fed=fed,
                room=50 * place,
            )
            assert np.array_equal(among[place], alone[0]), (fed, threads, size, place)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sampled_codes_are_the_same_alone_and_beside_longer_pieces(
    made: dict[str, Made], precision: str
) -> None:
    one = made["stereo"]
    ours = one.ours(precision)

    def item(number: int, frames: int, text: int) -> Item:
        states = np.random.default_rng(number).normal(size=(text, 32)).astype(np.float32)
        branches = (Branch(None), Branch(states))
        known = np.zeros((one.codebooks, 0), np.int64)
        return Item((Window(0, 0, frames, 0),), (branches,), known, draws_of(number))

    def written(items: Callable[[], list[Item]], wanted: int) -> Codes:
        moments = write_codes(ours.engine, items(), (3.0,), Sampling(), ours.pattern)
        frames = [frame for moment in moments for frame in moment if frame.item == wanted]
        return np.stack([frame.codes for frame in frames], axis=1)

    alone = written(lambda: [item(7, 20, 9)], 0)
    among = written(lambda: [item(1, 31, 80), item(2, 9, 3), item(7, 20, 9)], 2)
    assert alone.shape == (8, 20)
    assert np.array_equal(alone, among)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_changes_nothing_before_it(made: dict[str, Made], kind: str) -> None:
    one = made[kind]
    engine = one.ours().engine
    melody = some_melody() if kind == "melody" else None
    items = [(Branch(one.states(TEXTS[0]), melody),)]
    codes = one.some_steps(1, 40)
    before = our_logits(engine, items, codes, 1.0)
    for step in (0, 17, 38):
        other = codes.copy()
        other[0, 1, step] = (other[0, 1, step] + 1) % CARD
        after = our_logits(engine, items, other, 1.0)
        assert np.array_equal(after[:, :step], before[:, :step])
        changed = np.abs(after - before).max(axis=(0, 2, 3))[step:]
        assert changed.min() > 0  # and all after it hear of it


def test_no_step_that_is_fed_hears_of_a_later_one(made: dict[str, Made]) -> None:
    one = made["mono"]
    items = [(Branch(one.states(TEXTS[0])),)]
    codes = one.some_steps(1, 40)
    sessions = []
    for last in (codes[..., 30], (codes[..., 30] + 1) % CARD):
        changed = codes.copy()
        changed[..., 30] = last
        session = one.ours().engine.begin(items, (), Sampling(guidance=1.0), 40)
        session.feed(changed[..., :31])
        sessions.append([keys for keys, _ in session.cached()])  # type: ignore[attr-defined]
    for one_layer, other in zip(*sessions, strict=True):
        assert np.array_equal(one_layer[:, :, :30], other[:, :, :30])
        assert not np.array_equal(one_layer[:, :, 30], other[:, :, 30])


def test_outliers_of_keys_and_values_do_not_spoil_the_8_bit_cache(
    made: dict[str, Made], tmp_path: Path
) -> None:
    """Trained decoders have a few channels that are far larger than the others."""

    def plant(tensors: dict[str, torch.Tensor]) -> None:
        for name, values in tensors.items():
            if name.endswith(("self_attn.k_proj.weight", "self_attn.v_proj.weight")):
                values[5::64] *= 30.0
            if name.endswith(("self_attn.q_proj.weight",)):
                values[5::64] /= 30.0
            if name.endswith("self_attn.out_proj.weight"):
                values[:, 5::64] /= 30.0

    one = made["wide"]
    folder = changed_copy(one.folder, tmp_path / "outliers", plant)
    codes = one.some_steps(len(TEXTS), 60)
    items = [(Branch(one.states(text)),) for text in TEXTS]
    found = [
        our_logits(
            load_musicgen(place, LoadOptions(precision, 1), tmp_path / "cache").engine,
            items,
            codes,
            1.0,
        ).astype(np.float64)
        for place, precision in ((folder, "fp32"), (folder, "8bit"), (one.folder, "8bit"))
    ]
    exact, planted, plain = (torch.from_numpy(x).log_softmax(-1).numpy() for x in found)
    # The same function as without outliers, and no further from it.
    divergence, usual = ((np.exp(exact) * (exact - x)).sum(-1).mean() for x in (planted, plain))
    assert usual < 2e-3
    assert divergence < 2 * usual


@pytest.mark.parametrize(("precision", "bound"), [("8bit", 2e-3), ("4bit", 0.1)])
def test_coarser_weights_stay_near(made: dict[str, Made], precision: str, bound: float) -> None:
    one = made["wide"]
    codes = one.some_steps(len(TEXTS), 60)
    items = [(Branch(one.states(text)),) for text in TEXTS]
    exact = our_logits(one.ours().engine, items, codes, 1.0).astype(np.float64)
    rough = our_logits(one.ours(precision).engine, items, codes, 1.0).astype(np.float64)
    log_p, log_q = (torch.from_numpy(x).log_softmax(-1).numpy() for x in (exact, rough))
    divergence = (np.exp(log_p) * (log_p - log_q)).sum(-1)
    assert divergence.mean() < bound
    # What ignored the codes and the prompt altogether would be this far off.
    flat = (np.exp(log_p) * (log_p + np.log(CARD))).sum(-1)
    assert flat.mean() > 5 * bound


def changed_copy(
    folder: Path, place: Path, change: Callable[[dict[str, torch.Tensor]], None]
) -> Path:
    place.mkdir()
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, place / "model.safetensors")
    return place


@pytest.mark.parametrize(
    ("name", "where"),
    [
        (
            "decoder.model.decoder.layers.0.fc2.weight",
            "first between the attentions of layers 1 and 2 of 2",
        ),
        (
            "decoder.model.decoder.layers.0.self_attn.v_proj.weight",
            "first in the attention of layer 1 of 2, or before it",
        ),
        (
            "decoder.model.decoder.layers.1.fc2.weight",
            "first after the attention of layer 2, the last",
        ),
    ],
)
def test_numbers_that_are_not_finite_are_an_error(
    made: dict[str, Made], tmp_path: Path, name: str, where: str
) -> None:
    def overflow(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = torch.sign(tensors[name]) * 3e38

    folder = changed_copy(made["mono"].folder, tmp_path / "huge", overflow)
    ours = load_musicgen(folder, LoadOptions("fp32", 1), tmp_path / "cache")
    session = ours.engine.begin([(Branch(None),)], (), Sampling(guidance=0.0), 9)
    session.feed(np.full((1, 4, 5), 3))
    with pytest.raises(EngineError, match=f"not finite at step 5, {where}; the weights are dam"):
        session.logits(np.full((1, 4), 3))


def test_damaged_weights_are_not_loaded(made: dict[str, Made], tmp_path: Path) -> None:
    def poke(tensors: dict[str, torch.Tensor]) -> None:
        tensors["decoder.lm_heads.1.weight"][3, 4] = float("nan")

    folder = changed_copy(made["mono"].folder, tmp_path / "nan", poke)
    with pytest.raises(ModelError, match=r"lm_heads.1.weight.* is not finite; the file is damaged"):
        load_musicgen(folder, LoadOptions("fp32", 1), tmp_path / "cache")
    assert list(tmp_path.glob("cache/graphs/*.tmp")) == []


@pytest.mark.parametrize(
    ("part", "name", "value", "match"),
    [
        ("decoder", "num_hidden_layers", 3, "no tensor 'decoder.model.decoder.layers.2."),
        ("decoder", "hidden_size", 32, r"shape \(65, 64\); expected \(65, 32\) by config.json"),
        ("decoder", "ffn_dim", 97, r"fc1.weight' has the shape \(96, 64\); expected \(97, 64\)"),
        ("decoder", "num_codebooks", 5, "writes 5 codebooks of 64 codes .* the codec has 4 of 64"),
        ("decoder", "vocab_size", 63, r"shape \(65, 64\); expected \(64, 64\)"),
        ("decoder", "num_attention_heads", 3, "expected a multiple of num_attention_heads, 3"),
        ("decoder", "audio_channels", 3, "audio_channels is 3; expected 1 or 2"),
        (
            "decoder",
            "activation_function",
            "relu",
            "activation_function is 'relu'; expected 'gelu'",
        ),
        ("text_encoder", "d_model", 24, r"expected .*24.* by config.json"),
        ("audio_encoder", "num_filters", 5, r"has the shape .*; expected"),
    ],
)
def test_weights_that_do_not_fit_the_config(
    made: dict[str, Made], tmp_path: Path, part: str, name: str, value: object, match: str
) -> None:
    folder = changed_copy(made["mono"].folder, tmp_path / "other", lambda _: None)
    content = json.loads((folder / "config.json").read_text())
    content[part][name] = value
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=match):
        load_musicgen(folder, LoadOptions("fp32", 1), tmp_path / "cache")


def test_either_name_of_the_text_embedding_will_do(made: dict[str, Made], tmp_path: Path) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        shared = tensors.pop("text_encoder.shared.weight", None)
        tensors["text_encoder.encoder.embed_tokens.weight"] = (
            shared if shared is not None else tensors["text_encoder.encoder.embed_tokens.weight"]
        )

    folder = changed_copy(made["mono"].folder, tmp_path / "renamed", rename)
    other = load_musicgen(folder, LoadOptions("fp32", 1), tmp_path / "cache")
    assert np.array_equal(other.text.encode("jazz"), made["mono"].ours().text.encode("jazz"))


def test_more_steps_than_positions_are_refused(made: dict[str, Made]) -> None:
    with pytest.raises(EngineError, match="4097 positions are asked of a decoder that has 4096"):
        made["mono"].ours().engine.begin([(Branch(None),)], (), Sampling(guidance=0.0), 4097)


@pytest.mark.parametrize("name", DECODERS)
def test_the_tensors_of_the_published_checkpoints_are_those_we_ask_for(
    name: str, tmp_path: Path
) -> None:
    model = published_model(name)
    model.config.save_pretrained(tmp_path)
    expected = {
        tensor: tuple(values.shape)
        for tensor, values in model.state_dict().items()
        if not tensor.startswith("audio_encoder.")  # the codec has a test of its own
        # The same tensor as text_encoder.shared.weight; files hold one of the two.
        and tensor != "text_encoder.encoder.embed_tokens.weight"
    }  # positions are buffers that no file holds
    config = read_config(tmp_path)
    assert config.shapes() == expected
    sizes = DECODERS[name]
    assert (config.decoder.layers, config.decoder.width) == (
        sizes["num_hidden_layers"], sizes["hidden_size"],
    )  # fmt: skip
    assert config.decoder.channels == (2 if "stereo" in name else 1)
    assert (config.chroma_bins, config.chroma_frames) == (
        (12, 235) if "melody" in name else (None, None)
    )
