"""Where both halves meet: a composer that hears what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.audio import Limits, Waveform
from antiphon.compose.composer import Composer
from antiphon.compose.composer import load_composer as load_deaf_composer

if TYPE_CHECKING:
    from antiphon.compose.loading import LoadOptions
    from antiphon.description import Heard
    from antiphon.facts import Facts
    from antiphon.listen.ear import Ear


def load_composer(
    spec: str | Path | None = None,
    options: LoadOptions | None = None,
    *,
    models: Path | None = None,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> Composer:
    """A composer as `compose.composer.load_composer` gives it, which judges by the ear of the
    listener in the package, too: whether genre and drums that were asked for are there."""
    return load_deaf_composer(spec, options, models=models, on_layer=on_layer, hear=hear)


def hear(source: Path | Waveform, facts: Facts) -> Heard:
    """What the listener in the package hears. Raises AudioError, StorageError, EngineError."""
    return _ear().hear(source, facts, Limits())


@cache
def _ear() -> Ear:
    from antiphon.listen.ear import built_in_ear

    return built_in_ear()
