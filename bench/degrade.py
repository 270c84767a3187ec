"""What is done to clean sound before it is measured again: codec, noise, detuning, reverb."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
import soundfile

from antiphon.audio import Waveform, read, resample

MP3_KBPS = 64.0
MP3_COMPRESSION = 0.875  # of libsndfile's scale; constant 64 kbit/s at 44.1 kHz stereo
NOISE_SNR_DB = 10.0
DETUNING_CENTS = 35.0
REVERB_RT60_SECONDS = 2.8
REVERB_WET_DB = 0.0  # level of the reverb against the dry sound


@dataclass(frozen=True)
class Degraded:
    """The sound, and how much faster than the score it plays."""

    waveform: Waveform
    speed: float = 1.0


def clean(waveform: Waveform, rng: np.random.Generator) -> Degraded:
    return Degraded(waveform)


def mp3(waveform: Waveform, rng: np.random.Generator) -> Degraded:
    """To MP3 at 64 kbit/s and back."""
    file = io.BytesIO()
    soundfile.write(
        file,
        waveform.samples.T,
        waveform.sample_rate,
        format="MP3",
        compression_level=MP3_COMPRESSION,
        bitrate_mode="CONSTANT",
    )
    kbps = file.tell() * 8 / 1000 / waveform.duration_seconds
    if abs(kbps / MP3_KBPS - 1) > 0.05:
        raise RuntimeError(f"the MP3 has {kbps:.0f} kbit/s; expected {MP3_KBPS:.0f}")
    return Degraded(read(file.getvalue()).waveform)


def noise(waveform: Waveform, rng: np.random.Generator) -> Degraded:
    """Pink noise, 10 dB below the music. White noise of that level leaves the bass alone."""
    length = scipy.fft.next_fast_len(waveform.frames, real=True)  # a prime would take ten times it
    spectrum = scipy.fft.rfft(rng.standard_normal((waveform.channels, length)), axis=1)
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.shape[1]), 1))  # power falls as 1 / f
    pink = scipy.fft.irfft(spectrum, length, axis=1)[:, : waveform.frames]
    gain = rms(waveform.samples) / rms(pink) * 10 ** (-NOISE_SNR_DB / 20)
    return Degraded(_from_mix(waveform.samples + gain * pink, waveform))


def detuned(waveform: Waveform, rng: np.random.Generator) -> Degraded:
    """Played 35 cents too high and therefore 2 % too fast, as from a tape."""
    speed = 2 ** (DETUNING_CENTS / 1200)
    slower_rate = round(waveform.sample_rate / speed)
    shifted = resample(waveform, slower_rate).samples
    return Degraded(
        Waveform(shifted, waveform.sample_rate), speed=waveform.sample_rate / slower_rate
    )


def reverb(waveform: Waveform, rng: np.random.Generator) -> Degraded:
    """A large hall: noise that decays by 60 dB in 2.8 s, as loud as the dry sound itself."""
    frames = round(REVERB_RT60_SECONDS * waveform.sample_rate)
    decay = 10 ** (-3.0 * np.arange(frames) / frames)
    response = rng.standard_normal((waveform.channels, frames)) * decay
    wet = scipy.signal.oaconvolve(waveform.samples, response, axes=1)[:, : waveform.frames]
    gain = rms(waveform.samples) / rms(wet) * 10 ** (REVERB_WET_DB / 20)
    return Degraded(_from_mix(waveform.samples + gain * wet, waveform))


DEGRADATIONS: dict[str, Callable[[Waveform, np.random.Generator], Degraded]] = {
    "MP3 64 kbit/s": mp3,
    "10 dB pink noise": noise,
    "35 cents detuned": detuned,
    "heavy reverb": reverb,
}


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _from_mix(samples: np.ndarray, like: Waveform) -> Waveform:
    """Brought below full scale, so that nothing but the mix has changed."""
    scale = min(1.0, 0.98 / float(np.abs(samples).max()))
    return Waveform((samples * scale).astype(np.float32), like.sample_rate)
