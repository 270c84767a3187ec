"""antiphon: music in, true words out; words in, music out.

The public names below are resolved when first used, so that importing antiphon stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from antiphon.analysis import measure as measure
    from antiphon.audio import Waveform as Waveform
    from antiphon.compose.composer import Composer as Composer
    from antiphon.compose.composer import Piece as Piece
    from antiphon.controls import Controls as Controls
    from antiphon.description import Description as Description
    from antiphon.errors import AntiphonError as AntiphonError
    from antiphon.errors import AudioError as AudioError
    from antiphon.errors import ConfigError as ConfigError
    from antiphon.errors import ModelMissingError as ModelMissingError
    from antiphon.facts import Facts as Facts
    from antiphon.hearing import load_composer as load_composer
    from antiphon.listen.engines import Sampling as Sampling
    from antiphon.listen.listener import Listener as Listener
    from antiphon.listen.loading import LoadOptions as LoadOptions
    from antiphon.listen.loading import load_listener as load_listener
    from antiphon.score import Score as Score

_HOMES = {
    "AntiphonError": "antiphon.errors",
    "AudioError": "antiphon.errors",
    "Composer": "antiphon.compose.composer",
    "ConfigError": "antiphon.errors",
    "Controls": "antiphon.controls",
    "Description": "antiphon.description",
    "Facts": "antiphon.facts",
    "Listener": "antiphon.listen.listener",
    "LoadOptions": "antiphon.listen.loading",
    "ModelMissingError": "antiphon.errors",
    "Piece": "antiphon.compose.composer",
    "Sampling": "antiphon.listen.engines",
    "Score": "antiphon.score",
    "Waveform": "antiphon.audio",
    "load_composer": "antiphon.hearing",
    "load_listener": "antiphon.listen.loading",
    "measure": "antiphon.analysis",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> object:
    if name == "__version__":  # asked of the installed package, which takes 70 ms
        from importlib.metadata import version

        return version("antiphon")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'antiphon' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
