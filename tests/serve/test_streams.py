"""Sound that is encoded as it comes, and claims that are found in texts."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from antiphon.audio import read
from antiphon.errors import ConfigError
from antiphon.serve.encoding import Encoder, samples_of, wav_header

pytestmark = pytest.mark.unit
RATE = 16_000


def tone(seconds: float, channels: int = 1) -> bytes:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * 440 * time) * 16_000
    return np.repeat(wave.astype("<i2")[:, None], channels, axis=1).tobytes()


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "ogg", "opus"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_stream_is_whole_and_sounds_the_same(form: str, channels: int) -> None:
    pcm, encoder = tone(12.0, channels), Encoder(form, RATE, channels)
    step = 2 * channels * 1_000
    parts = [encoder.encode(pcm[at : at + step]) for at in range(0, len(pcm), step)]
    parts.append(encoder.finish())
    assert sum(map(bool, parts)) > 2, "it comes in parts"
    heard = read(b"".join(parts)).waveform  # not soundfile's, which a length unknown makes stumble
    assert heard.channels == channels
    assert heard.duration_seconds == pytest.approx(12.0, abs=0.2)  # MP3 pads
    spectrum = np.abs(np.fft.rfft(heard.samples[0, : 2 * heard.sample_rate]))
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)


def test_pcm_stays_as_it_is() -> None:
    encoder = Encoder("pcm", RATE, 1)
    assert encoder.encode(b"1234") + encoder.finish() == b"1234"


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="'aac'; expected one of wav"):
        Encoder("aac", RATE, 1)


def test_samples_of_a_wav_with_words_in_it() -> None:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, "PCM_16", format="WAV") as wav:
        wav.comment = "where the data does not begin at byte 44"
        wav.write(np.array([1, -2, 3], np.int16))
    assert samples_of(file.getvalue()) == np.array([1, -2, 3], "<i2").tobytes()


def test_a_header_of_unknown_length_is_read_by_others() -> None:
    samples, rate = soundfile.read(io.BytesIO(wav_header(RATE, 1) + tone(0.5)))
    assert (len(samples), rate) == (RATE // 2, RATE)
