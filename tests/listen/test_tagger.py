"""The trained listener at work: the same as transformers' encoder, whatever the sound is cut into,
and a clear word about folders that are not what they should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from toy_listener import CONFIG, write_toy
from transformers.models.audioflamingo3.modeling_audioflamingo3 import AudioFlamingo3Encoder

from antiphon.audio import Waveform, write
from antiphon.errors import AntiphonError, ModelError
from antiphon.listen.heads import HEAD_WEIGHTS_NAME, HEADS, HEADS_NAME, MOMENT_SECONDS, Calibration
from antiphon.listen.mel import SAMPLE_RATE, log_mel
from antiphon.listen.tagger import Tagger
from antiphon.weights import SCALES, WEIGHTS_NAME, in_8_bits

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "listener")


@pytest.fixture(scope="module")
def tagger(folder: Path) -> Tagger:
    return Tagger(folder)


def sound(seconds: float, seed: int = 0, rate: int = SAMPLE_RATE) -> Waveform:
    """A tone that rises, in noise."""
    times = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (200 + 20 * times) * times)
    noise = np.random.default_rng(seed).normal(0, 0.02, len(times))
    return Waveform((0.3 * tone + noise).astype(np.float32)[None], rate)


def test_it_hears_as_transformers_does(folder: Path, tagger: Tagger) -> None:
    mels = log_mel(sound(10).samples[0])
    encoder, told = AudioFlamingo3Encoder.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values())
    padded = torch.zeros(1, 128, 3000)
    padded[0, :, : len(mels)] = torch.from_numpy(mels.T)
    mask = torch.zeros(1, 3000, dtype=torch.long)
    mask[0, : len(mels)] = 1
    with torch.no_grad():
        states = encoder(padded, mask).last_hidden_state[0, : len(mels) // 4].numpy()
    heads = load_file(folder / HEAD_WEIGHTS_NAME)
    found = tagger.of_mels(mels)
    for name in HEADS:
        expected = states @ heads[f"{name}.weight"].T + heads[f"{name}.bias"]
        # The last moments of theirs see the zeros of the padding through the second convolution.
        assert np.abs(found[name] - expected)[:-1].max() < 2e-3
        assert np.abs(expected).max() > 1


@pytest.mark.parametrize("seconds", [0.15, 3.0, 29.99, 30.0, 30.3, 61.0])
def test_every_moment_is_heard_once(tagger: Tagger, seconds: float) -> None:
    moments = tagger.listen(sound(seconds))
    assert len(moments) == pytest.approx(seconds / MOMENT_SECONDS, abs=1.01)
    for name, classes in HEADS.items():
        assert moments.logits[name].shape == (len(moments), len(classes))
        assert np.isfinite(moments.logits[name]).all()
    assert moments.audible.all()


def test_the_last_window_reaches_back(tagger: Tagger) -> None:
    """So that what is heard of a rest of 2 s is what is heard at the end of the last 30 s."""
    waveform = sound(32)
    moments = tagger.listen(waveform)
    last = tagger.listen(Waveform(waveform.samples[:, -30 * SAMPLE_RATE :], SAMPLE_RATE))
    for name in HEADS:
        np.testing.assert_array_equal(moments.logits[name][750:], last.logits[name][-50:])


def test_a_file_is_heard_as_its_samples(tagger: Tagger, tmp_path: Path) -> None:
    waveform = sound(35, rate=44_100)
    write(tmp_path / "a b.flac", waveform, bit_depth=24)
    from_file, from_memory = tagger.listen(tmp_path / "a b.flac"), tagger.listen(waveform)
    assert len(from_file) == len(from_memory)
    for name in HEADS:
        assert np.abs(from_file.logits[name] - from_memory.logits[name]).max() < 0.05


def test_silence_is_not_audible(tagger: Tagger) -> None:
    waveform = sound(20)
    waveform.samples[:, : 10 * SAMPLE_RATE] = 0
    moments = tagger.listen(waveform)
    assert not moments.audible[:249].any()
    assert moments.audible[251:].all()
    assert moments.audible_seconds == pytest.approx(10, abs=0.1)
    assert not len(tagger.listen(Waveform(np.zeros((1, 100), np.float32), SAMPLE_RATE)))


def test_what_is_not_finite_is_taken_for_silence(tagger: Tagger) -> None:
    waveform = sound(5)
    waveform.samples[0, 100:200] = np.nan
    waveform.samples[0, 300] = np.inf
    moments = tagger.listen(waveform)
    assert all(np.isfinite(rows).all() for rows in moments.logits.values())


def test_in_8_bits_it_hears_nearly_the_same(folder: Path, tagger: Tagger, tmp_path: Path) -> None:
    packed = shutil.copytree(folder, tmp_path / "packed")
    tensors = {}
    for name, values in load_file(folder / WEIGHTS_NAME).items():
        if values.ndim > 1:
            tensors[name], tensors[name + SCALES] = in_8_bits(values)
        else:
            tensors[name] = values
    save_file(tensors, packed / WEIGHTS_NAME)
    with pytest.raises(ModelError, match="belongs to an encoder with the hash"):
        Tagger(packed)
    _rewrite_hash(packed)
    mels = log_mel(sound(10).samples[0])
    ours, theirs = Tagger(packed).of_mels(mels), tagger.of_mels(mels)
    for name in HEADS:
        assert np.corrcoef(ours[name].ravel(), theirs[name].ravel())[0, 1] > 0.995


def _rewrite_hash(folder: Path) -> None:
    from antiphon.models.record import sha256_of

    values = json.loads((folder / HEADS_NAME).read_text())
    values["encoder"] = sha256_of(folder / WEIGHTS_NAME)
    (folder / HEADS_NAME).write_text(json.dumps(values))


def test_confidence_falls_with_less_sound(tmp_path: Path) -> None:
    scales = Calibration((3.0, 30.0), (0.5, 1.0), (0.0, 0.0), ((0.0,) * 14, (0.2,) * 14))
    logits = np.array([[-2.0, 4.0] + [0.0] * 12], np.float32)
    long, short = scales.applied(logits, 30), scales.applied(logits, 3)
    np.testing.assert_allclose(long[0, :2], [-1.8, 4.2], rtol=1e-6)
    np.testing.assert_allclose(short[0, :2], [-1, 2], rtol=1e-6)
    # Outside of what was measured it stays as at the end; inside it lies between.
    np.testing.assert_array_equal(scales.applied(logits, 300), long)
    np.testing.assert_array_equal(scales.applied(logits, 0.5), short)
    assert 2 < scales.applied(logits, 10)[0, 1] < 4.2


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda f: (f / HEADS_NAME).unlink(), "has no heads.json"),
        (lambda f: (f / WEIGHTS_NAME).unlink(), "has no model.safetensors"),
        (lambda f: (f / HEADS_NAME).write_text("{"), "not valid"),
        (lambda f: _set(f / HEADS_NAME, "classes", {"genre": ["polka"]}), "other classes"),
        (lambda f: _set(f / "config.json", "hidden_size", 64), "conv1.weight"),
        (lambda f: _set(f / "config.json", "model_type", "whisper"), "model_type is 'whisper'"),
        (lambda f: _set(f / "config.json", "num_mel_bins", 80), "num_mel_bins is 80"),
        (lambda f: (f / "config.json").write_text("[]"), "no config of a listener's encoder"),
        (lambda f: (f / HEAD_WEIGHTS_NAME).write_bytes(b"\x80pickle"), "is not the file that"),
        (lambda f: (f / WEIGHTS_NAME).write_bytes(b"other"), "belongs to an encoder with the hash"),
    ],
)
def test_folders_that_are_refused(folder: Path, tmp_path: Path, damage, match: str) -> None:  # type: ignore[no-untyped-def]
    copy = shutil.copytree(folder, tmp_path / "listener")
    damage(copy)
    with pytest.raises(AntiphonError, match=match):
        Tagger(copy)


def test_heads_of_another_encoder_are_refused(folder: Path, tmp_path: Path) -> None:
    other = write_toy(tmp_path / "other", seed=1)
    for name in (HEADS_NAME, HEAD_WEIGHTS_NAME):
        shutil.copy(other / name, tmp_path / name)
    copy = shutil.copytree(folder, tmp_path / "listener")
    for name in (HEADS_NAME, HEAD_WEIGHTS_NAME):
        shutil.copy(tmp_path / name, copy / name)
    with pytest.raises(ModelError, match="belongs to an encoder with the hash .* put back"):
        Tagger(copy)


def _set(path: Path, name: str, value: object) -> None:
    values = json.loads(path.read_text())
    values[name] = value
    path.write_text(json.dumps(values))


def test_its_config_is_one_of_transformers() -> None:
    from transformers import AudioFlamingo3EncoderConfig

    from antiphon.listen.tagger_graph import encoder_config_json

    found = AudioFlamingo3EncoderConfig(**json.loads(encoder_config_json(CONFIG)))
    assert (found.hidden_size, found.num_attention_heads) == (32, 2)
