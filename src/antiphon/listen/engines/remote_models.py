"""Which model a server has, and whether it can be trusted with music. Knows no connection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from antiphon import models
from antiphon.errors import ConfigError, EngineError, ModelError
from antiphon.listen.windows import WINDOW_SAMPLES, WINDOW_SECONDS, audio_tokens

ServerKind = Literal["llamacpp", "vllm", "other"]

CAP_SECONDS = 600.0  # where the name says nothing
_ROTARY = "MusicFlamingoForConditionalGeneration"  # with rotary time embedding
_ROTARY_NAME = re.compile(r"flamingo.*2601|think-2601|audio-flamingo-next")
_WINDOW_TOKENS = audio_tokens(WINDOW_SAMPLES)  # 750
_TEXT_TOKENS = 1_024  # of a server's context, for question and answer


@dataclass(frozen=True)
class Served:
    """What answers: the name to ask for, and how much sound it takes."""

    model: str
    kind: ServerKind
    cap_seconds: float
    licence: str | None

    @property
    def shown_name(self) -> str:
        """Of a path, as llama-server has it, the file: folders there are nobody's business."""
        is_path = self.model.lower().endswith(".gguf") or self.model.startswith("/")
        return PurePosixPath(self.model.replace("\\", "/")).name if is_path else self.model


def choose(listing: object, model: str | None, llama: bool | None, place: str) -> Served:
    """Take `model`, or the only one there is, from the answer to GET /v1/models.

    `listing` is None where a server has no such list; `llama` says so where a server behind a
    proxy does not show that it is llama.cpp's.

    Raises ConfigError where it is not clear which model is meant, EngineError for a list that is
    none, ModelError for a model that this server would get wrong.
    """
    entries = _entries(listing, place)
    names = [str(entry["id"]) for entry in entries]
    entry: Mapping[str, object] = {}
    if model is not None:
        found = [e for e in entries if model == e["id"] or model in _texts(e.get("aliases"))]
        if entries and not found:
            raise ConfigError(f"{place} has no model {model!r}; it has {_some(names)}")
        entry = found[0] if found else {}
    elif len(entries) == 1:
        entry, model = entries[0], names[0]
    elif entries:
        raise ConfigError(f"{place} has {len(names)} models: {_some(names)}; say which")
    else:
        raise ConfigError(f"{place} does not list its models; say which one is meant")
    kind = _kind(entry, llama)
    _refuse(entry, model, kind, place)
    known = _known(model)
    cap = known.cap_seconds if known and known.cap_seconds else CAP_SECONDS
    return Served(model, kind, min(cap, _fitting_seconds(entry)), known.licence if known else None)


def _entries(listing: object, place: str) -> list[Mapping[str, object]]:
    if listing is None:
        return []
    data = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(data, list):
        raise EngineError(f"{place}/models answers without 'data'; expected a list of models")
    return [entry for entry in data if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _kind(entry: Mapping[str, object], llama: bool | None) -> ServerKind:
    owner = entry.get("owned_by")
    if llama or (llama is None and owner == "llamacpp"):
        return "llamacpp"
    return "vllm" if owner == "vllm" else "other"


def _refuse(entry: Mapping[str, object], model: str, kind: ServerKind, place: str) -> None:
    names = [model, *_texts([entry.get("root")]), *_texts(entry.get("aliases"))]
    for name in names if kind != "other" else ():
        known = _known(name)
        if _ROTARY_NAME.search(name.lower()) or (known and known.architecture == _ROTARY):
            raise ModelError(
                f"{name!r} has a rotary time embedding, which {_PROGRAMS[kind]} at {place} leaves "
                "out, so that its answers would be silently wrong; load the checkpoint with the "
                "transformers engine (pip install 'antiphon[torch]'), or serve music-flamingo-hf"
            )
    shape = entry.get("architecture")
    inputs = _texts(shape.get("input_modalities")) if isinstance(shape, dict) else ()
    if inputs and "audio" not in inputs:
        raise ModelError(
            f"{model!r} at {place} takes {' and '.join(inputs)}, no sound; start llama-server with "
            "the model's projector (--mmproj FILE)"
        )


_PROGRAMS: Mapping[ServerKind, str] = {"llamacpp": "llama.cpp", "vllm": "vLLM"}


def _known(name: str) -> models.Model | None:
    """The listener in our manifest whose name is part of this one: a path, a quantised file."""
    low = name.lower()
    for known in models.known():
        if known.kind == "listener" and known.name.rpartition("/")[2].lower() in low:
            return known
    return None


def _fitting_seconds(entry: Mapping[str, object]) -> float:
    """As much sound as the server's context holds beside a question: `meta.n_ctx` of llama-server,
    `max_model_len` of vLLM. Less than a window is for the server to refuse."""
    meta = entry.get("meta")
    context = meta.get("n_ctx") if isinstance(meta, dict) else entry.get("max_model_len")
    if not isinstance(context, int):
        return float("inf")
    windows = (context - _TEXT_TOKENS) // _WINDOW_TOKENS
    return float(WINDOW_SECONDS * max(windows, 1))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(repr(name) for name in names[:20]) + more
