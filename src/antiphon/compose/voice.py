"""One item's way from codes to sound, and how a recording goes over into what continues it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from antiphon.audio import FloatArray, Waveform, resample, with_channels
from antiphon.audio.stream import BLOCK_FRAMES
from antiphon.compose.codecs import AudioCodec, DecodingStream
from antiphon.compose.looping import LoopCut
from antiphon.compose.patterns import Codes
from antiphon.compose.planning import Planned

_FIRST_FRAMES, _FRAMES = 25, 50  # of codes that are decoded at a time: half a second, then one
_WARM_SECONDS = 1.0  # of a continued file that the codec decodes before it goes on
_JOIN_SECONDS = 0.05  # over which the file fades into what it is continued with


class Voice:
    """One item's way from codes to sound: exactly the planned samples."""

    def __init__(self, codec: AudioCodec, planned: Planned) -> None:
        self._codec = codec
        self._stream: DecodingStream = codec.stream()
        self._left = planned.plan.played_samples
        loop = planned.plan.loop
        self._cut = None
        if loop is not None:
            self._cut = LoopCut(loop, planned.plan.samples, codec.sample_rate)
        self._pending: list[Codes] = []
        self._wanted = _FIRST_FRAMES
        self._frames_left = planned.windows[-1].end - planned.windows[0].start
        self._before = self._joint = np.zeros((codec.channels, 0), np.float32)
        self._skip = 0
        self.known = np.zeros((codec.codebooks, 0), np.int64)
        if planned.plan.request.continuation is not None:
            first = planned.windows[0]
            self._continue(
                planned.plan.request.continuation, first.start, first.start - first.shown
            )

    def _continue(self, sound: Waveform, known: int, context: int) -> None:
        """Encode the last `context` frames of the first `known`, and make the join ready."""
        hop, rate = self._codec.hop, self._codec.sample_rate
        # Channels first: what they become is mostly less.
        sound = Waveform(with_channels(sound.samples, self._codec.channels), sound.sample_rate)
        samples = resample(sound, rate).samples
        samples = samples[:, : known * hop]
        self.known = self._codec.encode(samples[:, (known - context) * hop :])[:, :context]
        warm = min(context, round(_WARM_SECONDS * self._codec.frame_rate))
        self._joint = samples[:, samples.shape[1] - min(round(_JOIN_SECONDS * rate), warm * hop) :]
        self._before = samples[:, : samples.shape[1] - self._joint.shape[1]]
        self._skip = warm * hop - self._joint.shape[1]
        self._pending = list(self.known[:, context - warm :].T)
        self._wanted += warm

    def begin(self) -> Iterator[FloatArray]:
        """What there is before the first frame is written: the file that is continued."""
        for start in range(0, self._before.shape[1], BLOCK_FRAMES):
            yield self._counted(self._before[:, start : start + BLOCK_FRAMES])
        self._before = self._before[:, :0]

    def add(self, codes: Codes) -> None:
        """One more frame [K]."""
        self._pending.append(codes)
        self._frames_left -= 1

    @property
    def is_due(self) -> bool:
        """Whether there are enough frames to be decoded together, or the last ones."""
        return len(self._pending) >= self._wanted or not self._frames_left

    def sound(self) -> FloatArray:
        """The samples [C, n] of the frames there are, as far as they are ready; n may be 0."""
        samples = self._stream.feed(np.stack(self._pending, axis=1))
        if not self._frames_left:
            samples = np.concatenate([samples, self._stream.finish()], axis=1)
        self._pending, self._wanted = [], _FRAMES
        return self._counted(self._joined(samples))

    def _joined(self, samples: FloatArray) -> FloatArray:
        """Without what only warmed the codec up, and with the file faded into it."""
        skipped = min(self._skip, samples.shape[1])
        self._skip -= skipped
        samples = samples[:, skipped:]
        length = self._joint.shape[1]
        if not length or not samples.shape[1]:
            return samples
        assert samples.shape[1] >= length, "the first block is shorter than the join"
        rise = np.linspace(0.0, 1.0, length, dtype=np.float32)
        joint = samples[:, :length] * rise + self._joint * (1.0 - rise)
        self._joint = self._joint[:, :0]
        return np.concatenate([joint, samples[:, length:]], axis=1)

    def _counted(self, samples: FloatArray) -> FloatArray:
        """No more than is left: frames are longer than the last samples that were asked for."""
        samples = samples[:, : self._left]
        self._left -= samples.shape[1]
        return samples if self._cut is None else self._cut.take(samples)
