"""The heads of a trained listener: what they tell, which encoder they belong to, and how far their
logits are to be believed. Plain data beside the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.controls import ENERGIES, GENRES, INSTRUMENTS
from antiphon.errors import ModelError
from antiphon.files import atomic_write, storage_error
from antiphon.listen.mel import HOP, SAMPLE_RATE
from antiphon.models.record import sha256_of
from antiphon.plain import read_json, write_json
from antiphon.weights import WEIGHTS_NAME

HEADS: dict[str, tuple[str, ...]] = {
    "instruments": INSTRUMENTS,
    "genre": GENRES,
    "energy": ENERGIES,
    "music": ("music",),
}
"""The classes of each head, in the order of its logits."""
MOMENT_FRAMES = 4  # mel frames to one frame of the encoder
MOMENT_SECONDS = MOMENT_FRAMES * HOP / SAMPLE_RATE
CONFIG_NAME, HEADS_NAME, HEAD_WEIGHTS_NAME = "config.json", "heads.json", "heads.safetensors"

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """What makes a confidence of a logit: `scale` times it plus `shift` (Platt 1999), less `rival`
    times what the other classes have together, for each of some lengths of what was heard, [L],
    and each class, [L, C]; between the lengths interpolated over their logarithm.

    Where one of the classes is true as a rule, the best of them is surer than each by itself; with
    `rival` at 0 none knows of the others, with 1 they are as in a softmax."""

    seconds: tuple[float, ...]
    scale: tuple[float, ...]
    rival: tuple[float, ...]
    shift: tuple[tuple[float, ...], ...]

    def applied(self, logits: Logits, seconds: float) -> Logits:
        """Logits [..., C] of so many seconds, calibrated."""
        at, known = np.log(max(seconds, 0.1)), np.log(self.seconds)
        scale, rival = np.interp(at, known, self.scale), np.interp(at, known, self.rival)
        shift = [np.interp(at, known, column) for column in np.transpose(self.shift)]
        found = logits * scale + np.array(shift)
        if rival:
            found -= rival * of_others(logits)
        return np.asarray(found, np.float32)


@dataclass(frozen=True)
class Heads:
    """`encoder` and `weights` are the SHA-256 of the encoder's weights and of the heads' own;
    `classes` and `calibration` by head. Without `calibration` a head was trained and never held
    against recordings it did not know."""

    encoder: str
    weights: str
    classes: Mapping[str, tuple[str, ...]]
    calibration: Mapping[str, Calibration]
    licence: str | None = None

    @property
    def fingerprint(self) -> str:
        """Tells these heads from others."""
        return hashlib.sha256(write_json(self).encode()).hexdigest()[:12]

    def applied(self, head: str, logits: Logits, seconds: float) -> Logits:
        """Logits [..., C] of a head, calibrated."""
        known = self.calibration.get(head)
        return logits if known is None else known.applied(logits, seconds)


def of_others(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """[..., C]: for each class the logarithm of the summed odds of all the others."""
    itself = np.eye(logits.shape[-1], dtype=bool)
    return np.asarray(
        np.logaddexp.reduce(np.where(itself, -np.inf, logits[..., None, :]), axis=-1), np.float64
    )


def read_heads(folder: Path) -> Heads:
    """The heads in a folder.

    Raises ModelError for heads that are not understood, that tell other things than ours, or that
    belong to another encoder than the one beside them; StorageError.
    """
    path, encoder = folder / HEADS_NAME, folder / WEIGHTS_NAME
    for file in (path, encoder, folder / HEAD_WEIGHTS_NAME, folder / CONFIG_NAME):
        if not file.is_file():
            raise ModelError(
                f"{folder} has no {file.name}; expected a folder that 'antiphon train listener' "
                "exported"
            )
    try:
        heads = read_json(Heads, path.read_bytes(), str(path))
    except OSError as error:
        raise storage_error("read", path, error) from error
    if dict(heads.classes) != HEADS:
        raise ModelError(
            f"{path} tells other classes than this version of antiphon: "
            f"{', '.join(sorted(heads.classes))}; expected those of {', '.join(HEADS)}"
        )
    if sha256_of(folder / HEAD_WEIGHTS_NAME) != heads.weights:
        raise ModelError(
            f"{folder / HEAD_WEIGHTS_NAME} is not the file that {path} tells of; the two were "
            "written together: put back both"
        )
    found = sha256_of(encoder)
    if found != heads.encoder:
        raise ModelError(
            f"{path} belongs to an encoder with the hash {heads.encoder[:12]}, and {encoder} has "
            f"{found[:12]}; heads only understand the encoder they were trained on: put back that "
            "one, or train heads for this one"
        )
    return heads


def write_heads(
    folder: Path,
    calibration: Mapping[str, Calibration] | None = None,
    licence: str | None = None,
) -> None:
    """Write what is to be told of the weights that lie in a folder. Raises StorageError
    (DiskFullError)."""
    hashes = [sha256_of(folder / name) for name in (WEIGHTS_NAME, HEAD_WEIGHTS_NAME)]
    heads = Heads(hashes[0], hashes[1], HEADS, calibration or {}, licence)
    atomic_write(folder / HEADS_NAME, (write_json(heads) + "\n").encode())
