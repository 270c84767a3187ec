"""Sound as llama.cpp needs it, here or in a server, so that it hears what transformers hears.

Knows no engine.
"""

from __future__ import annotations

import io
import wave

import numpy as np

from antiphon.audio import FloatArray
from antiphon.listen.windows import SAMPLE_RATE, WINDOW_SAMPLES

# The most of a last window that gets no window of silence after it (ggml-org/llama.cpp#27697).
FULL_SAMPLES = WINDOW_SAMPLES - 161
SHORTEST_TAIL = 5 * SAMPLE_RATE


def fit_windows(samples: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Samples [T] at 16 kHz for llama.cpp, and what was changed that a listener could notice.

    llama.cpp pads the last window with silence that its encoder does not mask, and models hear
    it. So what does not fill a window is repeated until it does; a tail below 5 s is left out; a
    full window loses at most 161 samples (10 ms).

    On a small model this moved the log-probabilities of the right answer, against transformers, by
    .19 at 45 s and .07 at 55 s; llama.cpp's padding by .38 and .22, and there tokens changed.
    """
    windows, tail = divmod(len(samples), WINDOW_SAMPLES)
    if not len(samples):
        return samples, ()
    if tail == 0 or tail > FULL_SAMPLES:
        return samples[: (windows + (tail > 0)) * WINDOW_SAMPLES - 161], ()
    if windows and tail < SHORTEST_TAIL:
        note = f"the last {tail / SAMPLE_RATE:.1f} s were left out"
        return samples[: windows * WINDOW_SAMPLES - 161], (note,)
    last = samples[windows * WINDOW_SAMPLES :]
    filled = np.tile(last, -(-FULL_SAMPLES // tail))[:FULL_SAMPLES]
    if FULL_SAMPLES - tail <= 161:
        return np.concatenate([samples[: windows * WINDOW_SAMPLES], filled]), ()
    note = f"the last {tail / SAMPLE_RATE:.1f} s were repeated to fill a window of 30 s"
    return np.concatenate([samples[: windows * WINDOW_SAMPLES], filled]), (note,)


def wav_bytes(samples: FloatArray) -> bytes:
    """[T] at 16 kHz as 16-bit WAV: our own, the only file llama.cpp's decoder gets to see."""
    scaled = np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(scaled.tobytes())
    return file.getvalue()
