"""A prompt into the states a decoder attends to: T5's tokenizer, its limit, its encoder.

Each prompt is encoded alone, so its states cannot depend on its neighbours. Letters: L tokens,
W width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from antiphon.compose.checkpoint import TextConfig
from antiphon.compose.text_graph import check_text_weights, write_text_graph
from antiphon.errors import EngineError, ModelError
from antiphon.files import storage_error
from antiphon.graphs import GraphWriter, kept, open_graph
from antiphon.weights import (
    FINGERPRINTS_NAME,
    Float32,
    Weights,
    fingerprint,
    weight_files,
)

MAX_TEXT_TOKENS = 512
"""The longest text T5 was trained on, its end token included; with the distances it has buckets
for a longer one would run, but nobody knows what it does then."""

TOKENIZER_NAME = "tokenizer.json"
_SENTENCEPIECE_NAME = "spiece.model"
_TOKENIZER_LIMIT_BYTES = 64 << 20  # T5's has 2.4 MB
_GRAPH_NAME = "text"
_PART = "text_encoder."  # before the names of the tensors, where a T5 is a part of a MusicGen


class TextModel(Protocol):
    """The encoder itself, whatever runs it."""

    def __call__(self, ids: NDArray[np.int64]) -> Float32:
        """Token ids [L] -> states [L, W]."""


class TextEncoder:
    """Prompts to states, by any `TextModel`."""

    def __init__(self, tokenizer: Tokenizer, config: TextConfig, model: TextModel) -> None:
        self.config = config
        self._tokenizer = tokenizer
        self._model = model

    def encode(self, text: str) -> Float32:
        """The states [L, W] of one prompt, the end token's among them.

        A text above MAX_TEXT_TOKENS is cut: `cut_tokens` tells by how much.
        Raises ModelError for a tokenizer that cannot cope, EngineError for states that are not
        finite.
        """
        states = self._model(np.array(self.tokens(text), np.int64))
        if not np.isfinite(states).all():
            raise EngineError(
                "the text encoder gave numbers that are not finite; its weights are damaged "
                "('antiphon models verify' tells) or the precision is too low for them"
            )
        return states

    def tokens(self, text: str) -> tuple[int, ...]:
        """The ids [L] of one prompt as the tokenizer has them, T5's with an end token last, which
        stays when a text is cut to the limit; where there would be none at all, the end token.

        Half a surrogate pair, which is no character, counts as U+FFFD.
        """
        ids = self._all_ids(text)
        if len(ids) > MAX_TEXT_TOKENS:
            ending = self._all_ids("")  # what the tokenizer adds to every text
            ids = ids[: MAX_TEXT_TOKENS - len(ending)] + ending
        return tuple(ids) or (self.config.end,)

    def cut_tokens(self, text: str) -> int:
        """How many tokens at the end of the text are beyond the limit: mostly 0."""
        return max(0, len(self._all_ids(text)) - MAX_TEXT_TOKENS)

    def _all_ids(self, text: str) -> list[int]:
        # Pairs of surrogates, as JSON escapes leave them, become one character.
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        try:
            ids: list[int] = self._tokenizer.encode(whole).ids
        except Exception as error:  # tokenizers raises nothing more specific
            raise ModelError(f"{TOKENIZER_NAME} cannot read {text[:40]!r}: {error}") from error
        return ids


class OnnxTextModel:
    """Implements `TextModel`. A T5-base takes 340 MB, once for each piece: not kept meanwhile."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads

    def __call__(self, ids: NDArray[np.int64]) -> Float32:
        session = open_graph(self._folder, _GRAPH_NAME, self._threads, mapped=True)
        states: Float32 = session.run(["states"], {"ids": ids[None]})[0][0]
        return states


def load_text_encoder(
    folder: Path, config: TextConfig, *, cache: Path, threads: int = 1
) -> TextEncoder:
    """The text encoder of a MusicGen checkpoint, or of a folder that holds a T5 alone.

    Its graph is written when it is not in `cache`, in fp32 whatever the decoder's precision: it
    runs once for a piece, and at 8 bits its states would be 2 % off. Threads do not change them.

    Raises ModelError for a folder that lacks something, or whose parts do not belong together;
    EngineError for a graph that does not load; StorageError.
    """
    tokenizer = load_tokenizer(folder, config)
    files = weight_files(folder)
    with Weights(files) as weights:
        part = text_part(weights)
        check_text_weights(part, config)

        def build(graphs: Path) -> None:
            write_text_graph(GraphWriter(graphs, _GRAPH_NAME), part, config)

        content = fingerprint(files, cache / FINGERPRINTS_NAME)
        graphs = kept(cache, f"text {config} {content}", build)
    return TextEncoder(tokenizer, config, OnnxTextModel(graphs, threads))


def text_part(weights: Weights) -> Weights:
    """The tensors of the T5 alone, of a MusicGen checkpoint or of a T5's."""
    return weights.below(_PART) if any(name.startswith(_PART) for name in weights) else weights


def load_tokenizer(folder: Path, config: TextConfig) -> Tokenizer:
    """The tokenizer of a checkpoint. Raises ModelError if it is absent, damaged or of another model
    than the config, StorageError if it cannot be read."""
    path = folder / TOKENIZER_NAME
    if not path.is_file():
        raise ModelError(_no_tokenizer(folder))
    try:
        with path.open("rb") as file:
            data = file.read(_TOKENIZER_LIMIT_BYTES)
    except OSError as error:
        raise storage_error("read", path, error) from error
    try:
        tokenizer = Tokenizer.from_buffer(data)
        tokenizer.no_truncation()  # some files are saved with one of the two switched on
        tokenizer.no_padding()
        highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    except Exception as error:  # tokenizers raises nothing more specific
        raise ModelError(
            f"{path} is no whole tokenizer: {error}; fetch it again, or copy the one of the T5 "
            "that the checkpoint was made with"
        ) from error
    if highest >= config.vocabulary:
        raise ModelError(
            f"{path} has token ids up to {highest}; expected less than {config.vocabulary}, the "
            "vocab_size in config.json: it belongs to another model; fetch the checkpoint again"
        )
    return tokenizer


def _no_tokenizer(folder: Path) -> str:
    has = (
        f"has {_SENTENCEPIECE_NAME}, which is not read, but no {TOKENIZER_NAME}"
        if (folder / _SENTENCEPIECE_NAME).is_file()
        else f"has no {TOKENIZER_NAME}"
    )
    return (
        f"{folder} {has}; copy {TOKENIZER_NAME} from the repository of the T5 it was made with "
        f"(google-t5/t5-base for the published ones), or run 'antiphon convert {folder}'"
    )
