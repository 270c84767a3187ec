"""The magnitude codec against its torch module, in pieces against whole, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from encodec_models import rewrite
from hypothesis import given, settings
from hypothesis import strategies as st
from magnitude_models import SINES_HZ, SMALL, sine, trained_model
from safetensors.torch import load_file, save_file
from t5_models import tiny_musicgen

from antiphon.compose.codecs import Codes, Samples, StereoCodec, magnitude
from antiphon.compose.codecs.magnitude import MagnitudeCodec
from antiphon.compose.codecs.magnitude_config import MagnitudeConfig, read_magnitude_config
from antiphon.compose.codecs.magnitude_graph import CODEBOOKS, shapes
from antiphon.compose.codecs.opening import open_codec
from antiphon.compose.composer import load_composer
from antiphon.compose.conversion.export import export
from antiphon.compose.loading import LoadOptions
from antiphon.compose.requests import Request
from antiphon.controls import Controls
from antiphon.errors import ConfigError, EngineError, ModelError
from antiphon.train.magnitude_model import MagnitudeModel

pytestmark = pytest.mark.unit

EXACT = 1e-6  # pieces against whole
CLOSE = 1e-4  # log-magnitudes against torch


@dataclass(frozen=True)
class Made:
    folder: Path
    model: MagnitudeModel
    codec: MagnitudeCodec


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("codec")
    model = trained_model()
    model.save(folder)
    return Made(folder, model, open_codec(folder, cache=folder / "cache"))


def some_codes(codec: MagnitudeCodec, frames: int, seed: int = 0) -> Codes:
    random = np.random.default_rng(seed)
    return random.integers(0, codec.codebook_size, (codec.codebooks, frames))


def tune(samples: int, seed: int = 0) -> Samples:
    """Sines that change, over a little noise: [1, T]."""
    random = np.random.default_rng(seed)
    sound = random.normal(0, 0.01, samples).astype(np.float32)
    for start in range(0, samples, 1111):
        piece = sound[start : start + 1111]
        piece += sine(random.choice(SINES_HZ), len(piece), random.uniform(0, 0.3))
    return sound[None]


def in_pieces(codec: MagnitudeCodec, codes: Codes, sizes: list[int]) -> Samples:
    """The sizes are used again and again, until all codes are fed."""
    stream = codec.stream()
    made, start = [], 0
    while start < codes.shape[1]:
        for size in sizes:
            made.append(stream.feed(codes[:, start : start + size]))
            start += size
    return np.concatenate([*made, stream.finish()], axis=1)


def test_it_says_what_it_is(made: Made) -> None:
    codec = made.codec
    assert (codec.sample_rate, codec.hop, codec.frame_rate, codec.channels) == (16_000, 160, 100, 1)
    assert (codec.codebooks, codec.codebook_size) == (2, 32)
    published = MagnitudeConfig()
    assert published.hop == 640
    assert published.sample_rate // published.hop == 25


def test_codes_equal_torch(made: Made) -> None:
    waveform = tune(400 * made.codec.hop)
    codes = made.codec.encode(waveform)
    with torch.no_grad():
        expected = made.model.encode(torch.from_numpy(waveform))[0].numpy()
    assert codes.shape == expected.shape == (2, 400)
    assert codes.dtype == np.int64
    assert (codes == expected).all(axis=0).mean() > 0.99  # the rest are near ties
    assert len(np.unique(codes, axis=1).T) > 5


def test_log_magnitudes_equal_torch(made: Made) -> None:
    codes = some_codes(made.codec, 90)
    with torch.no_grad():
        expected = made.model.decode(torch.from_numpy(codes)[None])[0].numpy()
    found = made.codec.log_magnitudes(codes)
    assert found.shape == expected.shape == (4 * 90, SMALL.bins)
    assert np.abs(found - expected).max() < CLOSE
    assert expected.std() > 100 * CLOSE


def test_a_published_size_equals_torch(tmp_path: Path) -> None:
    model = MagnitudeModel(MagnitudeConfig(), seed=1).eval()
    model.quantiser.codebooks.normal_(generator=torch.Generator().manual_seed(0))
    model.quantiser.mark_started()
    model.save(tmp_path)
    codec = open_codec(tmp_path, cache=tmp_path / "cache")
    waveform = tune(16_000)
    with torch.no_grad():
        expected = model.encode(torch.from_numpy(waveform))[0]
        logs = model.decode(expected[None])[0].numpy()
    assert (codec.encode(waveform) == expected.numpy()).mean() > 0.95
    assert np.abs(codec.log_magnitudes(expected.numpy()) - logs).max() < CLOSE
    assert codec.decode(expected.numpy()).shape == (1, 16_000)


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 50 * 160 - 1, 50 * 160 + 1, 12_345])
def test_lengths(made: Made, samples: int) -> None:
    codec = made.codec
    codes = codec.encode(tune(samples))
    assert codes.shape == (2, -(-samples // codec.hop))
    assert codec.decode(codes).shape == (1, codes.shape[1] * codec.hop)
    assert codec.decode(codes).dtype == np.float32


@pytest.mark.parametrize("piece", [1, 7, 50])
def test_encoding_in_pieces_equals_the_whole(
    made: Made, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waveform = tune(200 * made.codec.hop - 5)
    monkeypatch.setattr(magnitude, "_PIECE_FRAMES", 1000)
    whole = made.codec.encode(waveform)
    monkeypatch.setattr(magnitude, "_PIECE_FRAMES", piece)
    assert (made.codec.encode(waveform) == whole).all(axis=0).mean() > 0.99


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 120),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any),
)
def test_a_stream_equals_decoding(made: Made, frames: int, sizes: list[int]) -> None:
    codec = made.codec
    codes = some_codes(codec, frames, seed=frames)
    samples = in_pieces(codec, codes, sizes)
    assert samples.shape == (1, frames * codec.hop)
    assert np.abs(samples - codec.decode(codes)).max() <= EXACT


def test_one_frame_at_a_time_equals_decoding(made: Made) -> None:
    codes = some_codes(made.codec, 90)
    assert np.abs(in_pieces(made.codec, codes, [1]) - made.codec.decode(codes)).max() <= EXACT


def test_decoding_by_blocks_decodes_the_magnitudes_of_the_whole(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the phases are found for are the magnitudes of torch, blocks or not."""
    fed: list[np.ndarray] = []

    def take(self: object, magnitudes: np.ndarray) -> np.ndarray:
        fed.append(magnitudes)
        return np.zeros(0, np.float32)

    monkeypatch.setattr(magnitude.PhaseStream, "feed", take)
    codes = some_codes(made.codec, 101)
    made.codec.decode(codes)
    with torch.no_grad():
        logs = made.model.decode(torch.from_numpy(codes)[None])[0].numpy()
    expected = np.maximum(np.exp(logs) - SMALL.log_floor, 0)
    assert len(fed) > 3
    assert np.abs(np.concatenate(fed) - expected).max() < CLOSE * expected.max()


def test_a_frame_waits_for_its_look_ahead_at_most(made: Made) -> None:
    codec = made.codec
    stream = codec.stream()
    samples, waited = 0, []
    for fed, code in enumerate(some_codes(codec, 150).T, start=1):
        complete = samples // codec.hop
        samples += stream.feed(code[:, None]).shape[1]
        # Frame n needs itself and those that follow it.
        waited += [fed - (frame + 1) for frame in range(complete, samples // codec.hop)]
    assert len(waited) > 100
    assert max(waited) == codec.look_ahead_frames


def test_a_stream_keeps_only_what_it_needs(made: Made) -> None:
    codec = made.codec
    stream = codec.stream()
    codes = some_codes(codec, 1040)
    kept = []
    tracemalloc.start()
    try:
        # Of as many frames as a block of phases has: what waits for its block is the same.
        for start in range(0, codes.shape[1], 16):
            stream.feed(codes[:, start : start + 16])
            kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert kept[-1] - kept[20] < 4_000  # codes of 700 frames are 11 kB, their magnitudes 1.4 MB


def test_memory_does_not_grow_with_the_length(made: Made) -> None:
    def peak_bytes(frames: int) -> int:
        """Beside what goes in and what comes out."""
        waveform = tune(frames * made.codec.hop)
        codes = some_codes(made.codec, frames)
        tracemalloc.start()
        try:
            made.codec.encode(waveform)
            encoding = tracemalloc.get_traced_memory()[1] - codes.nbytes
            tracemalloc.reset_peak()
            made.codec.decode(codes)
            # The samples are there twice for a moment, as pieces and as a whole.
            decoding = tracemalloc.get_traced_memory()[1] - 3 * codes.nbytes - 3 * waveform.nbytes
        finally:
            tracemalloc.stop()
        return max(encoding, decoding)

    short = peak_bytes(200)
    assert peak_bytes(1600) < 1.5 * short


def test_silence_comes_back_as_silence(made: Made) -> None:
    silence = np.zeros((1, 16_000), np.float32)
    back = made.codec.decode(made.codec.encode(silence))
    assert np.sqrt(np.square(back).mean()) < 1e-3  # -60 dB
    loud = made.codec.decode(made.codec.encode(sine(1000, 16_000)[None]))
    assert np.sqrt(np.square(loud).mean()) > 0.1


@pytest.mark.parametrize("hz", SINES_HZ)
def test_a_steady_sine_comes_back_at_its_frequency(made: Made, hz: float) -> None:
    back = made.codec.decode(made.codec.encode(sine(hz, 16_000)[None]))[0]
    spectrum = np.abs(np.fft.rfft(back * np.hanning(len(back))))
    assert spectrum.argmax() == pytest.approx(hz, abs=15)  # a bin of the codec is 62.5 Hz
    assert np.sqrt(np.square(back).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.15)


def test_stereo_is_two_sides(made: Made) -> None:
    codec = StereoCodec(made.codec)
    codes = np.concatenate([some_codes(made.codec, 30, seed) for seed in (1, 2)])[[0, 2, 1, 3]]
    expected = [made.codec.decode(some_codes(made.codec, 30, seed))[0] for seed in (1, 2)]
    assert np.array_equal(codec.decode(codes), expected)


def test_a_finished_stream_takes_no_more(made: Made) -> None:
    stream = made.codec.stream()
    assert stream.finish().shape == (1, 0)
    with pytest.raises(EngineError, match="this stream is finished"):
        stream.feed(some_codes(made.codec, 1))
    with pytest.raises(EngineError, match="this stream is finished"):
        stream.finish()


def test_what_is_no_sound_and_no_code(made: Made) -> None:
    with pytest.raises(EngineError, match=r"shape \(2, 100\).*expected \[1, samples\]"):
        made.codec.encode(np.zeros((2, 100), np.float32))
    with pytest.raises(EngineError, match="not finite"):
        made.codec.encode(np.full((1, 100), np.nan, np.float32))
    with pytest.raises(EngineError, match="codes run from 0 to 32; expected 0 to 31"):
        made.codec.decode(np.array([[0], [32]]))
    with pytest.raises(EngineError, match=r"expected \[2, frames\]"):
        made.codec.stream().feed(np.zeros((4, 5), np.int64))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model_type": "vorbis"}, "is of the kind 'vorbis', not a composer"),
        ({"model_type": None}, "model_type is None"),
        ({"window": 255}, "window is 255 and stft_hop 40; expected even numbers"),
        ({"stft_hop": 130}, "stft_hop 130; expected even numbers, the hop at most half"),
        ({"window": "256"}, "window is '256'; expected int"),
        ({"width": 24.0}, "width is 24.0; expected int"),
        ({"codebooks": True}, "codebooks is True; expected int"),
        ({"codebooks": 0}, "codebooks is 0; expected more than 0"),
        ({"log_floor": -1.0}, "log_floor is -1.0; expected more than 0"),
        ({"log_floor": float("nan")}, "log_floor is nan; expected more than 0"),
        ({"sample_rate": 16_001}, "sample_rate is 16001; expected a multiple of the 160 samples"),
        ({"griffin_lim_iterations": 10**9}, "1000000000; expected at most 1000"),
        ({"widht": 24}, "widht is 24; expected none of that name; known are sample_rate, window"),
    ],
)
def test_a_config_that_is_not_accepted(
    made: Made, tmp_path: Path, change: dict[str, object], match: str
) -> None:
    values = json.loads((made.folder / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match=match) as caught:
        open_codec(tmp_path, cache=tmp_path / "cache")
    assert str(tmp_path) in str(caught.value)


def test_a_config_in_code_is_held_to_the_same() -> None:
    with pytest.raises(ConfigError, match="latent_width is 0; expected more than 0"):
        MagnitudeConfig(latent_width=0)


def test_a_config_comes_back(made: Made) -> None:
    assert read_magnitude_config(made.folder) == SMALL


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        (CODEBOOKS, None, "no tensor 'quantiser.codebooks'"),
        (
            CODEBOOKS,
            np.zeros((2, 32, 4), np.float32),
            r"shape \(2, 32, 4\); expected \(2, 32, 16\)",
        ),
        ("encoder.blocks.1.scale", None, "no tensor 'encoder.blocks.1.scale'"),
        ("decoder.norm.bias", np.full(24, np.nan, np.float32), "decoder.norm.bias"),
    ],
)
def test_weights_that_do_not_fit(
    made: Made, tmp_path: Path, name: str, values: np.ndarray | None, match: str
) -> None:
    folder = rewrite(made.folder, tmp_path / "damaged", {name: values})
    with pytest.raises(ModelError, match=match):
        open_codec(folder, cache=tmp_path / "cache")


def test_a_folder_that_is_not_whole(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json"):
        open_codec(tmp_path, cache=tmp_path / "cache")
    (tmp_path / "config.json").write_bytes((made.folder / "config.json").read_bytes())
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        open_codec(tmp_path, cache=tmp_path / "cache")
    weights = (made.folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="no whole safetensors file"):
        open_codec(tmp_path, cache=tmp_path / "cache")


def test_a_musicgen_may_have_a_magnitude_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    tiny_musicgen(tmp_path)
    config = dataclasses.replace(SMALL, codebooks=4, codebook_size=64)
    model = MagnitudeModel(config)
    with torch.no_grad():
        model.quantiser.codebooks.normal_()
    tensors = load_file(tmp_path / "model.safetensors")
    tensors = {name: t for name, t in tensors.items() if not name.startswith("audio_encoder.")}
    state = model.state_dict()
    tensors |= {f"audio_encoder.{name}": state[name].contiguous() for name in shapes(config)}
    save_file(tensors, tmp_path / "model.safetensors")
    values = json.loads((tmp_path / "config.json").read_text())
    values["audio_encoder"] = config.values()
    (tmp_path / "config.json").write_text(json.dumps(values))

    composer = load_composer(tmp_path, LoadOptions("fp32", 1))
    assert composer.sample_rate == 16_000
    (piece, beside) = composer.compose(
        [Request(prompt, 1, Controls(duration_seconds=1.013)) for prompt in ("jazz", "folk")]
    )
    assert piece.waveform.samples.shape == beside.waveform.samples.shape == (1, 16_208)
    assert np.isfinite(piece.waveform.samples).all()
    assert np.abs(piece.waveform.samples).max() > 1e-3
    again = composer.generate("jazz", duration_seconds=1.013, seed=1)
    np.testing.assert_array_equal(again.waveform.samples, piece.waveform.samples)
    with pytest.raises(ModelError, match="has a magnitude codec; expected an EnCodec for this"):
        export(tmp_path, tmp_path / "exported")
