"""Sound to Facts: `measure`, and Controls against Facts: `adherence`. Resolved on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.analysis.judging import Adherence as Adherence
    from antiphon.analysis.judging import adherence as adherence
    from antiphon.analysis.measuring import measure as measure

ANALYSIS_VERSION = 3  # raised with every change that alters results, so that old ones are redone

__all__ = ["ANALYSIS_VERSION", "Adherence", "adherence", "measure"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "measuring" if name == "measure" else "judging"
    return getattr(import_module(f"{__name__}.{home}"), name)
