"""The trained listener from end to end: a recording and its facts in, what is heard out."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.audio import Limits, Source, Waveform
from antiphon.description import Heard
from antiphon.facts import Facts
from antiphon.listen.heads import HEADS_NAME, Heads, read_heads
from antiphon.listen.moods import dance, moods
from antiphon.models.finding import packaged

if TYPE_CHECKING:
    from antiphon.listen.tagger import Tagger

PACKAGED_NAME = "listener"
HEARING_VERSION = 1  # raise it when the same weights are heard to say something else


class Ear:
    """A folder that `antiphon train listener` exported; loaded when something is to be heard."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError for a folder that is no listener of ours."""
        self.folder = folder
        self.heads: Heads = read_heads(folder)

    @property
    def revision(self) -> str:
        """Tells these weights, and what is made of them, from all others."""
        return f"{self.heads.fingerprint}-{HEARING_VERSION}"

    def hear(
        self, source: Source | Waveform, facts: Facts, limits: Limits, *, isolated: bool = False
    ) -> Heard:
        """What is heard of a recording, as a whole and in its measured sections.

        Raises AudioError and StorageError as `audio.open_stream`, EngineError.
        """
        from antiphon.listen.heard import heard_in

        moments = self._tagger.listen(source, limits, isolated=isolated)
        heard = heard_in(moments, self.heads, facts.sections.spans or ())
        return replace(heard, moods=moods(heard, facts), dance=dance(heard, facts))

    @cached_property
    def _tagger(self) -> Tagger:
        from antiphon.listen.tagger import Tagger

        return Tagger(self.folder)


def is_listener(folder: Path) -> bool:
    """Whether a folder holds a trained listener of ours."""
    return (folder / HEADS_NAME).is_file()


def built_in_ear() -> Ear:
    """The trained listener that comes with the package."""
    return Ear(packaged(PACKAGED_NAME))
