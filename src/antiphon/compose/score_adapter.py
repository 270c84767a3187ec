"""The score adapter: frames of a score to what is added to a decoder's embedding of codes.

Small beside the decoder, and in a file of its own: without it, or with a last layer of zeros, the
decoder computes what it did before. Plain numpy; `train/` has the same in torch.
Letters: F code frames, W numbers of a frame, S steps, H hidden, D the decoder's width.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.compose import score_frames
from antiphon.compose.config_values import CONFIG_NAME, ConfigValues
from antiphon.errors import ModelError
from antiphon.files import atomic_write
from antiphon.weights import WEIGHTS_NAME, Float32, Weights

MODEL_TYPE = "antiphon_score_adapter"
# The frames that a step sees, counted from the one whose first codebook it predicts: the codebooks
# of MusicGen's delay belong to frames before it.
OFFSETS = (-5, -4, -3, -2, -1, 0, 1, 2)


@dataclass(frozen=True)
class AdapterConfig:
    """The config.json of an adapter. It fits decoders of `width` on codes of `frame_rate`."""

    width: int
    hidden: int
    frame_rate: int
    score_width: int = score_frames.WIDTH
    score_frames: int = score_frames.VERSION

    def shapes(self) -> dict[str, tuple[int, ...]]:
        inputs = self.score_width * len(OFFSETS)
        return {
            "read.weight": (self.hidden, inputs),
            "read.bias": (self.hidden,),
            "write.weight": (self.width, self.hidden),
            "write.bias": (self.width,),
        }

    def values(self) -> dict[str, object]:
        """What config.json holds."""
        return {"model_type": MODEL_TYPE, **asdict(self)}


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Raises ModelError for a folder that holds no adapter, or one of other frames than ours."""
    values = ConfigValues.load(folder)
    values.expect("model_type", MODEL_TYPE, None)
    values.expect("score_frames", score_frames.VERSION, None)
    values.expect("score_width", score_frames.WIDTH, None)
    return AdapterConfig(values.count("width"), values.count("hidden"), values.count("frame_rate"))


def shown_frames(frames: NDArray[np.float32], steps: int) -> Float32:
    """Score frames [F, W] -> what each of `steps` steps sees, [S, len(OFFSETS) * W]; zeros beyond
    both ends."""
    count, width = frames.shape
    before, after = -OFFSETS[0], steps + OFFSETS[-1]
    padded = np.zeros((before + max(count, after), width), np.float32)
    padded[before : before + count] = frames
    seen = [padded[before + offset : before + offset + steps] for offset in OFFSETS]
    return np.concatenate(seen, axis=1)


class ScoreAdapter:
    """An adapter, loaded."""

    def __init__(self, config: AdapterConfig, tensors: dict[str, Float32]) -> None:
        self.config = config
        self.tensors = tensors

    @classmethod
    def load(cls, folder: Path) -> ScoreAdapter:
        """Raises ModelError for a folder that holds none."""
        config = read_adapter_config(folder)
        path = folder / WEIGHTS_NAME
        if not path.is_file():
            raise ModelError(f"{folder} has no {WEIGHTS_NAME}; expected a score adapter's folder")
        with Weights((path,)) as weights:
            weights.require(config.shapes())
            return cls(config, {name: weights.read(name) for name in config.shapes()})

    @property
    def checksum(self) -> str:
        """Of its weights."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            digest.update(self.tensors[name].tobytes())
        return digest.hexdigest()

    def extra(self, frames: NDArray[np.float32], steps: int) -> Float32:
        """Score frames [F, W] -> what is added to the embedding of `steps` steps, [S, D]."""
        tensors = self.tensors
        x = shown_frames(frames, steps) @ tensors["read.weight"].T + tensors["read.bias"]
        # GELU by the error function, as torch has it.
        from scipy.special import erf

        x = 0.5 * x * (1.0 + erf(x / np.sqrt(np.float32(2.0))))
        added: Float32 = (x @ tensors["write.weight"].T + tensors["write.bias"]).astype(np.float32)
        return added


def write_adapter(folder: Path, config: AdapterConfig, tensors: dict[str, Float32]) -> None:
    """Write an adapter's folder. Raises StorageError (DiskFullError)."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS_NAME, save(tensors))
    atomic_write(folder / CONFIG_NAME, f"{json.dumps(config.values(), indent=2)}\n".encode())
