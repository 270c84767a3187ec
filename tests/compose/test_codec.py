"""The codec against transformers' EnCodec, in pieces against whole, and what it refuses."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from encodec_models import PUBLISHED, SMALL, as_musicgen, random_model, rewrite
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import EncodecConfig, EncodecModel

from antiphon.compose.checkpoint import read_codec_config
from antiphon.compose.codecs import AudioCodec, Codes, Samples, StereoCodec
from antiphon.compose.codecs.encodec import EncodecCodec
from antiphon.compose.codecs.encodec_graph import WEIGHT_NORMS
from antiphon.compose.codecs.encodec_layers import decoder, shapes
from antiphon.compose.codecs.opening import open_codec
from antiphon.errors import ConfigError, EngineError, ModelError

pytestmark = pytest.mark.unit

KINDS = tuple(SMALL)
EXACT = 1e-6  # pieces against whole
CLOSE = 1e-5  # against transformers


@dataclass(frozen=True)
class Made:
    folder: Path
    model: EncodecModel
    codec: EncodecCodec

    def decoded(self, codes: Codes) -> Samples:
        with torch.no_grad():
            made = self.model.decode(torch.from_numpy(codes)[None, None], [None])
        return made.audio_values[0].numpy()

    def encoded(self, waveform: Samples, bandwidth_kbps: float) -> Codes:
        with torch.no_grad():
            made = self.model.encode(torch.from_numpy(waveform)[None], bandwidth=bandwidth_kbps)
        return made.audio_codes[0, 0].numpy()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, Made]:
    result = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        model = random_model(SMALL[kind])
        model.save_pretrained(folder)
        result[kind] = Made(folder, model, open_codec(folder, cache=cache))
    return result


def some_codes(codec: AudioCodec, frames: int, seed: int = 0) -> Codes:
    random = np.random.default_rng(seed)
    return random.integers(0, codec.codebook_size, (codec.codebooks, frames))


def noise(codec: AudioCodec, samples: int, seed: int = 0) -> Samples:
    random = np.random.default_rng(seed)
    return random.normal(0, 0.3, (codec.channels, samples)).astype(np.float32)


def in_pieces(codec: AudioCodec, codes: Codes, sizes: list[int]) -> Samples:
    """The sizes are used again and again, until all codes are fed."""
    stream = codec.stream()
    made, start = [], 0
    while start < codes.shape[1]:
        for size in sizes:
            made.append(stream.feed(codes[:, start : start + size]))
            start += size
    return np.concatenate([*made, stream.finish()], axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_it_is(made: dict[str, Made], kind: str) -> None:
    codec, config = made[kind].codec, made[kind].model.config
    assert codec.sample_rate == config.sampling_rate
    assert codec.frame_rate == config.frame_rate
    assert codec.hop == config.hop_length
    assert codec.channels == config.audio_channels
    assert codec.codebooks == config.num_quantizers
    assert codec.codebook_size == config.codebook_size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7, 8, 49, 50, 51, 137])
def test_decoding_equals_transformers(made: dict[str, Made], kind: str, frames: int) -> None:
    codes = some_codes(made[kind].codec, frames)
    samples = made[kind].codec.decode(codes)
    expected = made[kind].decoded(codes)
    assert (
        samples.shape
        == expected.shape
        == (made[kind].codec.channels, frames * made[kind].codec.hop)
    )
    assert samples.dtype == np.float32
    assert np.abs(samples - expected).max() <= CLOSE
    assert np.abs(expected).max() > 100 * CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_encoding_equals_transformers_at_any_length(made: dict[str, Made], kind: str) -> None:
    codec = made[kind].codec
    widest = made[kind].model.config.target_bandwidths[-1]
    hop = codec.hop
    around_pieces = [50 * hop + n for n in (-1, 0, 1, hop // 2)]
    lengths = [
        *range(1, 3 * hop, 1 + hop // 9),
        *around_pieces,
        137 * hop - 5,
        120 * hop,
        *range(50 * hop, 52 * hop, 3),
    ]
    for samples in lengths:
        waveform = noise(codec, samples, seed=samples)
        codes = codec.encode(waveform)
        assert codes.shape == (codec.codebooks, -(-samples // hop))
        assert np.array_equal(codes, made[kind].encoded(waveform, widest)), samples


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 160),
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=6).filter(any),
)
def test_pieces_equal_the_whole(
    made: dict[str, Made], kind: str, frames: int, sizes: list[int]
) -> None:
    codec = made[kind].codec
    codes = some_codes(codec, frames)
    samples = in_pieces(codec, codes, sizes)
    expected = made[kind].decoded(codes)
    assert samples.shape == expected.shape
    assert np.abs(samples - codec.decode(codes)).max() <= EXACT
    assert np.abs(samples - expected).max() <= CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_at_a_time_equals_the_whole(made: dict[str, Made], kind: str) -> None:
    codec = made[kind].codec
    codes = some_codes(codec, 40)
    assert np.abs(in_pieces(codec, codes, [1]) - codec.decode(codes)).max() <= EXACT


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_behind_by_its_look_ahead(made: dict[str, Made], kind: str) -> None:
    codec = made[kind].codec
    stream = codec.stream()
    frames = 0
    for fed, frame in enumerate(some_codes(codec, 30).T, start=1):
        frames += stream.feed(frame[:, None]).shape[1] // codec.hop
        behind = max(fed - codec.look_ahead_frames, 0)
        # The reflection at the beginning may hold the first ones back.
        assert frames == behind if fed > 12 else frames <= behind
    assert stream.finish().shape[1] == codec.look_ahead_frames * codec.hop


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_changes_nothing_before_it_but_the_look_ahead(
    made: dict[str, Made], kind: str
) -> None:
    codec = made[kind].codec
    codes = some_codes(codec, 40)
    for frame in (12, 20, 31):
        other = codes.copy()
        other[:, frame] = (other[:, frame] + 1) % codec.codebook_size
        changed = np.abs(codec.decode(other) - codec.decode(codes)).max(axis=0) > 0
        first = np.flatnonzero(changed)[0] // codec.hop
        assert first == frame - codec.look_ahead_frames  # and no later: it is not too careful


@pytest.mark.parametrize(("kind", "frames"), [("24khz", 0), ("32khz", 4)])
def test_the_look_ahead_of_the_published(kind: str, frames: int, tmp_path: Path) -> None:
    EncodecConfig(**PUBLISHED[kind]).save_pretrained(tmp_path)
    assert decoder(read_codec_config(tmp_path)).look_ahead_frames == frames


def test_a_stream_keeps_only_what_it_needs(made: dict[str, Made]) -> None:
    codec = made["32khz"].codec
    stream = codec.stream()
    codes = some_codes(codec, 1000)

    def feed(start: int, stop: int) -> int:
        for first in range(start, stop, 10):
            stream.feed(codes[:, first : first + 10])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early = feed(0, 200)
        late = feed(200, 1000)
    finally:
        tracemalloc.stop()
    assert late - early < 20_000  # 800 frames of hidden states would be 100 kB


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_nothing_out(made: dict[str, Made], kind: str) -> None:
    codec = made[kind].codec
    no_codes = np.zeros((codec.codebooks, 0), np.int64)
    assert codec.decode(no_codes).shape == (codec.channels, 0)
    assert codec.encode(np.zeros((codec.channels, 0), np.float32)).shape == no_codes.shape
    assert codec.stream().finish().shape == (codec.channels, 0)


def test_several_streams_do_not_meet(made: dict[str, Made]) -> None:
    codec = made["32khz"].codec
    codes = [some_codes(codec, 60, seed) for seed in (1, 2)]
    streams = [codec.stream() for _ in codes]
    pieces: list[list[Samples]] = [[], []]
    for start in range(0, 60, 6):
        for stream, rows, made_of_it in zip(streams, codes, pieces, strict=True):
            made_of_it.append(stream.feed(rows[:, start : start + 6]))
    for stream, rows, made_of_it in zip(streams, codes, pieces, strict=True):
        samples = np.concatenate([*made_of_it, stream.finish()], axis=1)
        assert np.abs(samples - codec.decode(rows)).max() <= EXACT


def test_a_bandwidth_chooses_codebooks(made: dict[str, Made], cache: Path) -> None:
    whole = made["24khz"]
    narrow = open_codec(whole.folder, cache=cache, bandwidth_kbps=0.4)
    assert (narrow.codebooks, whole.codec.codebooks) == (1, 4)
    waveform = noise(narrow, 777)
    codes = narrow.encode(waveform)
    assert np.array_equal(codes, whole.encoded(waveform, 0.4))
    assert np.array_equal(codes, whole.codec.encode(waveform)[:1])
    assert np.abs(narrow.decode(codes) - whole.decoded(codes)).max() <= CLOSE


def test_a_bandwidth_that_is_not_offered(made: dict[str, Made], cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"no bandwidth of 2 kbit/s; expected one of 0\.4, 1\.5"):
        open_codec(made["24khz"].folder, cache=cache, bandwidth_kbps=2)


def test_stereo_is_two_sides_whose_codebooks_alternate(made: dict[str, Made]) -> None:
    mono = made["32khz"]
    codec = StereoCodec(mono.codec)
    assert (codec.channels, codec.codebooks, codec.hop) == (2, 8, mono.codec.hop)
    codes = some_codes(codec, 61)
    expected = np.concatenate([mono.decoded(codes[::2]), mono.decoded(codes[1::2])])
    assert np.abs(codec.decode(codes) - expected).max() <= CLOSE
    assert np.abs(in_pieces(codec, codes, [3, 11]) - codec.decode(codes)).max() <= EXACT
    waveform = noise(codec, 1234)
    for side in (0, 1):
        alone = mono.codec.encode(waveform[side : side + 1])
        assert np.array_equal(codec.encode(waveform)[side::2], alone)


def test_a_side_of_stereo_is_mono(made: dict[str, Made]) -> None:
    with pytest.raises(ConfigError, match="the codec has 2 channels, expected 1"):
        StereoCodec(made["deep"].codec)


def test_inside_of_a_musicgen(made: dict[str, Made], cache: Path, tmp_path: Path) -> None:
    codec = open_codec(as_musicgen(made["32khz"].folder, tmp_path / "musicgen"), cache=cache)
    codes = some_codes(codec, 20)
    assert np.array_equal(codec.decode(codes), made["32khz"].codec.decode(codes))


@pytest.mark.parametrize("folded", [False, True])
def test_other_names_of_weight_norm(
    made: dict[str, Made], cache: Path, tmp_path: Path, folded: bool
) -> None:
    change: dict[str, np.ndarray | None] = {}
    for name, values in made["24khz"].model.state_dict().items():
        base, found, part = name.partition(".parametrizations.weight.original")
        if found:
            change[name] = None
            change[f"{base}.{'weight_g' if part == '0' else 'weight_v'}"] = values.numpy()
    if folded:
        modules = made["24khz"].model.named_modules()
        change = dict.fromkeys(change) | {
            f"{name}.weight": module.weight.detach().numpy()
            for name, module in modules
            if name.endswith(".conv")
        }
        old = made["24khz"].model.state_dict()
        change |= {n: None for n in old if ".parametrizations." in n}
    folder = rewrite(made["24khz"].folder, tmp_path / "renamed", change)
    codec = open_codec(folder, cache=cache)
    codes = some_codes(codec, 30)
    assert np.abs(codec.decode(codes) - made["24khz"].codec.decode(codes)).max() <= EXACT


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("decoder.layers.0.conv.bias", None, "no tensor 'decoder.layers.0.conv.bias'"),
        ("encoder.layers.0.conv.bias", np.zeros(5, np.float32), r"has the shape \(5,\); expected"),
        ("quantizer.layers.3.codebook.embed", None, "no tensor 'quantizer.layers.3"),
        ("decoder.layers.1.lstm.weight_hh_l1", np.zeros((8, 8), np.float32), r"shape \(8, 8\)"),
    ],
)
def test_a_checkpoint_that_does_not_fit(
    made: dict[str, Made],
    tmp_path: Path,
    name: str,
    values: np.ndarray | None,
    match: str,
) -> None:
    folder = rewrite(made["24khz"].folder, tmp_path / "damaged", {name: values})
    with pytest.raises(ModelError, match=match):
        open_codec(folder, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()  # before anything is computed


def test_a_codebook_of_another_width(tmp_path: Path) -> None:
    EncodecConfig(**SMALL["24khz"] | {"codebook_dim": 8}).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="codebook_dim is 8; expected the hidden_size, 16"):
        open_codec(tmp_path, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("codes", "match"),
    [
        (np.zeros((3, 5), np.int64), r"shape \(3, 5\)"),
        (np.zeros(5, np.int64), r"shape \(5,\)"),
        (np.zeros((4, 5)), "type float64"),
        (np.full((4, 5), 64), "run from 64 to 64; expected 0 to 63"),
        (np.full((4, 5), -1), "run from -1 to -1"),
    ],
)
def test_codes_that_are_none(made: dict[str, Made], codes: Codes, match: str) -> None:
    codec = made["32khz"].codec
    with pytest.raises(EngineError, match=match):
        codec.decode(codes)
    with pytest.raises(EngineError, match=match):
        codec.stream().feed(codes)


@pytest.mark.parametrize(
    ("waveform", "match"),
    [
        (np.zeros((2, 50), np.float32), r"expected \[1, samples\]"),
        (np.zeros(50, np.float32), r"shape \(50,\)"),
        (np.zeros((1, 50), np.int16), "type int16"),
        (np.full((1, 50), np.nan, np.float32), "not finite"),
    ],
)
def test_a_waveform_that_is_none(made: dict[str, Made], waveform: Samples, match: str) -> None:
    with pytest.raises(EngineError, match=match):
        made["32khz"].codec.encode(waveform)


def test_a_finished_stream_takes_nothing(made: dict[str, Made]) -> None:
    codec = made["32khz"].codec
    stream = codec.stream()
    stream.finish()
    with pytest.raises(EngineError, match="is finished"):
        stream.feed(some_codes(codec, 1))
    with pytest.raises(EngineError, match="is finished"):
        stream.finish()


@pytest.mark.parametrize("kind", [*PUBLISHED, "deep", "trimmed", "steep"])
def test_the_tensors_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    config = EncodecConfig(**(PUBLISHED | SMALL | PUBLISHED)[kind])
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        state = EncodecModel(config).state_dict()
    training = ("inited", "cluster_size", "embed_avg")
    expected = {n: tuple(v.shape) for n, v in state.items() if not n.endswith(training)}
    assert shapes(read_codec_config(tmp_path), WEIGHT_NORMS[0]) == expected


def test_the_graphs_are_written_once(made: dict[str, Made], cache: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.onnx")}
    open_codec(made["32khz"].folder, cache=cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.onnx")} == before
