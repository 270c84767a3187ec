"""Which models exist, what they may be used for, and where their files are on this machine.

    models.find("Q6_K")                        # the GGUF file
    models.find("nvidia/music-flamingo-hf")    # the checkpoint's folder
    models.projector(models.find("Q6_K"))      # the audio encoder beside it

Nothing here reaches for the network but `pull`. Names are resolved on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.models.finding import find as find
    from antiphon.models.finding import get as get
    from antiphon.models.finding import projector as projector
    from antiphon.models.manifest import Model as Model
    from antiphon.models.manifest import ModelFile as ModelFile
    from antiphon.models.manifest import known as known
    from antiphon.models.pulling import pull as pull
    from antiphon.models.store import Stored as Stored
    from antiphon.models.store import here as here
    from antiphon.models.store import locate as locate
    from antiphon.models.store import remove as remove
    from antiphon.models.verifying import verify as verify

_HOMES = {
    "Model": "manifest",
    "ModelFile": "manifest",
    "Stored": "store",
    "find": "finding",
    "get": "finding",
    "here": "store",
    "known": "manifest",
    "locate": "store",
    "projector": "finding",
    "pull": "pulling",
    "remove": "store",
    "verify": "verifying",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
