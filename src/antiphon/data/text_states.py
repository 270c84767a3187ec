"""Texts to the states of a frozen text encoder, as shards keep them: so that training needs no text
encoder in memory. Knows no audio and no file of ours. Letters: L text tokens, W width."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from antiphon.compose.checkpoint import read_text_config
from antiphon.compose.prompt import render
from antiphon.compose.text import TOKENIZER_NAME, TextEncoder, load_text_encoder
from antiphon.controls import Controls
from antiphon.data.shards import States, TextEncoderIdentity
from antiphon.errors import EngineError
from antiphon.weights import FINGERPRINTS_NAME, fingerprint, weight_files

_REMEMBERED = 256  # texts; passages of a recording mostly have one caption
_SHOWN = 40  # characters of a text in a message


def open_text_encoder(folder: Path, cache: Path) -> TextEncoder:
    """The text encoder of a T5's or a MusicGen's folder, in float32. Raises ModelError for a folder
    without one, StorageError."""
    return load_text_encoder(folder, read_text_config(folder), cache=cache)


def text_encoder_identity(folder: Path, cache: Path) -> TextEncoderIdentity:
    """Tells a text encoder from others by the hash of its folder's weights. Raises as
    `open_text_encoder` does."""
    checksum = fingerprint(weight_files(folder), cache / FINGERPRINTS_NAME)
    return TextEncoderIdentity(checksum, folder.resolve().name, read_text_config(folder).width)


def tokenizer_checksum(folder: Path, cache: Path) -> str:
    """The hash of a text encoder's tokenizer, without which its states are not told. Raises
    StorageError."""
    return fingerprint((folder / TOKENIZER_NAME,), cache / FINGERPRINTS_NAME)


class TextStates:
    """What is said of clips, as states in float16."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._remembered = lru_cache(_REMEMBERED)(self._encoded)

    def of_caption(self, caption: str | None) -> States | None:
        """[L, W] of a caption alone; None where there is none. Raises EngineError for states that
        float16 cannot hold, ModelError as `TextEncoder.encode` does."""
        return self._remembered(caption) if caption else None

    def of_prompt(
        self, caption: str | None, controls: Mapping[str, object] | None
    ) -> States | None:
        """[L, W] of a caption with the controls after it as `render` writes them; None where that
        is the caption itself. Raises as `of_caption` does."""
        text = render(caption or "", Controls.from_options(dict(controls or {})))
        return None if text == (caption or "") else self._remembered(text)

    def _encoded(self, text: str) -> States:
        states = self._encoder.encode(text)
        with np.errstate(over="ignore"):
            kept = states.astype(np.float16)
        if not np.isfinite(kept).all():
            raise EngineError(
                f"the text encoder's states of {text[:_SHOWN]!r} reach {np.abs(states).max():.3g}; "
                f"expected {np.finfo(np.float16).max:.0f} at most, as shards keep them in float16: "
                "take another --text-encoder, or none"
            )
        return kept
