"""What GGUF files say of themselves, and whether llama.cpp would make words or nonsense of them.

Reads the header alone, within bounds; the format is llama.cpp's docs/gguf.md, version 2 and 3.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from antiphon import models
from antiphon.errors import ModelError, ModelMissingError

MAGIC = b"GGUF"
ARCHITECTURE = "qwen2"  # the language model of every Flamingo checkpoint
PROJECTOR_ARCHITECTURE = "clip"
PROJECTOR_TYPE = "musicflamingo"  # as llama.cpp calls the one of AudioFlamingo3

_MAX_HEADER_BYTES = 64 << 20  # 152,000 tokens and their merges are 6 MB
_MAX_COUNT = 1 << 20  # of keys, tensors, dimensions
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_STRING, _ARRAY = 8, 9
_DEFAULT_ALIGNMENT = 32

# Number of a tensor's type -> values in a block, bytes of a block.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2),
}  # fmt: skip
# `general.file_type` -> the name that is in file names.
QUANTISATIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
}  # fmt: skip
# Names of checkpoints that need the rotary time embedding, which llama.cpp does not have. Somebody
# converted them by calling them AudioFlamingo3: they load, and do not know when they hear what.
_ROTARY_TIME = ("2601", "audio-flamingo-next", "musicflamingoforconditional")


@dataclass(frozen=True)
class GgufHeader:
    """The single values of the header (no arrays), and how large the file must be by it."""

    path: Path
    values: Mapping[str, str | float]
    expected_bytes: int | None  # None where a tensor is of a type that we do not know

    def text(self, key: str) -> str:
        return str(self.values.get(key, ""))

    def number(self, key: str) -> int:
        """Raises ModelError if it is not there."""
        value = self.values.get(key)
        if isinstance(value, str) or value is None:
            raise ModelError(f"{self.path} has {key} = {value!r} in its header; expected a number")
        return int(value)

    @property
    def architecture(self) -> str:
        return self.text("general.architecture")

    @property
    def quantisation(self) -> str | None:
        kind = self.values.get("general.file_type")
        return None if kind is None or isinstance(kind, str) else QUANTISATIONS.get(int(kind))

    @property
    def bytes_per_token(self) -> int:
        """What the memory of one token takes: keys and values of all layers, 16 bits each."""
        heads = self.number(f"{ARCHITECTURE}.attention.head_count")
        kv_heads = self.number(f"{ARCHITECTURE}.attention.head_count_kv")
        width = self.number(f"{ARCHITECTURE}.embedding_length") // max(heads, 1)
        return self.number(f"{ARCHITECTURE}.block_count") * 2 * kv_heads * width * 2


def model_file(path: Path) -> Path:
    """`path` itself, or the one model in the folder `path`.

    Raises ModelMissingError if there is none, ModelError if there are several.
    """
    if not path.is_dir():
        return path
    found = [
        file
        for file in sorted(path.glob("*.gguf"))
        if "mmproj" not in file.name.lower() and "imatrix" not in file.name.lower()
    ]
    if not found:
        raise ModelMissingError(f"{path} holds no model; expected a .gguf file in it")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ModelError(f"{path} holds {len(found)} models: {names}; name the file that you want")
    return found[0]


def read_pair(model: Path, projector: Path | None) -> tuple[GgufHeader, GgufHeader]:
    """The headers of a model and of its projector (None: the one beside it).

    Raises ModelError for files that llama.cpp could not load, or would get silently wrong.
    """
    first = read_header(model)
    _check_model(first)
    second = read_header(projector or models.projector(model))
    _check_projector(second, first)
    return first, second


def read_header(path: Path) -> GgufHeader:
    """Raises ModelMissingError, or ModelError for what is no GGUF file, or not all of one."""
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            data = file.read(_MAX_HEADER_BYTES)
    except FileNotFoundError as error:
        raise ModelMissingError(f"{path} does not exist; expected a .gguf file") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if data[:4] != MAGIC:
        raise ModelError(
            f"{path} is not a GGUF file: it begins with {data[:4]!r}; expected {MAGIC!r}. "
            "Checkpoints in other formats are named by their folder"
        )
    try:
        header = _Reader(path, data).header()
    except (struct.error, UnicodeDecodeError, _DamagedError) as error:
        cause = "truncated" if size < _MAX_HEADER_BYTES else "damaged"
        raise ModelError(
            f"{path} is {cause} in its header ({size:,} bytes); fetch it again"
        ) from error
    if header.expected_bytes is not None and size < header.expected_bytes:
        raise ModelError(
            f"{path} is truncated: it has {size:,} of {header.expected_bytes:,} bytes; fetch the "
            "rest of it"
        )
    return header


class _DamagedError(Exception):
    """A count, a length or a type that no file has."""


class _Reader:
    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._data = data
        self._at = 4

    def header(self) -> GgufHeader:
        if self._one("I") not in (2, 3):
            raise _DamagedError
        tensors, keys = self._count(), self._count()
        values: dict[str, str | float] = {}
        for _ in range(keys):
            key, value = self._string(), self._value(int(self._one("I")))
            if value is not None:
                values[key] = value
        end: int | None = 0  # of the last tensor, from the beginning of their data
        for _ in range(tensors):
            self._string()
            count = 1
            for _ in range(self._count(8, "I")):
                count *= int(self._one("Q"))
            kind, offset = int(self._one("I")), int(self._one("Q"))
            if kind not in BLOCKS or end is None:
                end = None
                continue
            block, size = BLOCKS[kind]
            end = max(end, offset + count // block * size)
        alignment = values.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int):
            raise _DamagedError
        begin = -(-self._at // max(alignment, 1)) * alignment
        return GgufHeader(self._path, values, None if end is None else begin + end)

    def _one(self, code: str) -> float:
        value: float = struct.unpack_from("<" + code, self._data, self._at)[0]
        self._at += struct.calcsize("<" + code)
        return value

    def _count(self, most: int = _MAX_COUNT, code: str = "Q") -> int:
        count = int(self._one(code))
        if count > most:
            raise _DamagedError
        return count

    def _string(self) -> str:
        begin = self._skip_string()
        return self._data[begin : self._at].decode("utf-8", "replace")

    def _skip_string(self) -> int:
        """Where its bytes begin."""
        length = self._count(len(self._data))
        begin = self._at
        self._skip(length)
        return begin

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise _DamagedError

    def _value(self, kind: int) -> str | float | None:
        """None for an array."""
        if kind == _STRING:
            return self._string()
        if kind in _SCALARS:
            return self._one(_SCALARS[kind])
        if kind != _ARRAY:
            raise _DamagedError
        inner, count = int(self._one("I")), self._count(len(self._data))
        if inner in _SCALARS:
            self._skip(count * struct.calcsize("<" + _SCALARS[inner]))
        elif inner == _STRING:
            for _ in range(count):
                self._skip_string()
        else:
            raise _DamagedError  # arrays of arrays: the format has them, no file does
        return None


def _check_model(header: GgufHeader) -> None:
    path, kind = header.path, header.text("general.type")
    if kind == "mmproj" or header.architecture == PROJECTOR_ARCHITECTURE:
        raise ModelError(
            f"{path} is the projector of a model, not the model; name the .gguf file beside it"
        )
    if kind == "imatrix" or "imatrix" in path.name.lower():
        raise ModelError(f"{path} is calibration data for making quantised models, not a model")
    if kind == "adapter":
        raise ModelError(f"{path} is an adapter, not a model; expected a whole model")
    if header.architecture != ARCHITECTURE:
        raise ModelError(
            f"{path} has the architecture {header.architecture!r}; expected {ARCHITECTURE!r}, that "
            "of Audio Flamingo 3 and Music Flamingo"
        )
    told = " ".join(
        [path.name, *(str(v) for k, v in header.values.items() if k.startswith("general."))]
    )
    plain = told.lower().replace(" ", "-").replace("_", "-")
    if any(name in plain for name in _ROTARY_TIME) or "sound_bos" in header.text(
        "tokenizer.chat_template"
    ):
        raise ModelError(
            f"{path} is of the MusicFlamingo class, whose rotary time embedding llama.cpp does not "
            "have: its texts would be silently wrong. The transformers engine can: name its "
            "checkpoint, such as nvidia/music-flamingo-2601-hf"
        )


def _check_projector(header: GgufHeader, model: GgufHeader) -> None:
    path = header.path
    if header.architecture != PROJECTOR_ARCHITECTURE:
        raise ModelError(
            f"{path} has the architecture {header.architecture!r}; expected a projector "
            f"({PROJECTOR_ARCHITECTURE!r}), such as *mmproj-f16.gguf"
        )
    kind = header.text("clip.audio.projector_type") or header.text("clip.projector_type")
    if kind != PROJECTOR_TYPE:
        raise ModelError(
            f"{path} is a projector of type {kind!r}; expected {PROJECTOR_TYPE!r}, that of Audio "
            "Flamingo 3 and Music Flamingo"
        )
    given = header.number("clip.audio.projection_dim")
    wanted = model.number(f"{ARCHITECTURE}.embedding_length")
    if given != wanted:
        raise ModelError(
            f"{path} makes vectors of {given} numbers, {model.path.name} takes {wanted}; expected "
            "the projector that was converted with it"
        )
