"""The trained listener from end to end: a recording and its facts in, what is heard out."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.audio import Limits, Source, Waveform
from antiphon.description import Heard, Presence
from antiphon.facts import Facts
from antiphon.listen.certainty import PLAIN
from antiphon.listen.heads import HEADS_NAME, Heads, read_heads
from antiphon.listen.moods import dance, moods
from antiphon.listen.phrases import FAIR
from antiphon.models.finding import packaged

if TYPE_CHECKING:
    from antiphon.listen.tagger import Tagger

PACKAGED_NAME = "listener"
_DOUBT = 0.7  # below PLAIN: then texts and answers say that it may be music
HEARING_VERSION = 2  # raise it when the same weights are heard to say something else


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
        heard = replace(heard, music=_against(facts, heard.music))
        return replace(heard, moods=moods(heard, facts), dance=dance(heard, facts))

    @cached_property
    def _tagger(self) -> Tagger:
        from antiphon.listen.tagger import Tagger

        return Tagger(self.folder)


def _against(facts: Facts, music: Presence | None) -> Presence | None:
    """Whether it is music, in doubt where it does not sound so and has a key and a plain beat all
    the same, as one in a hundred sounds has that are none."""
    measured = facts.key.confidence >= FAIR and facts.tempo.confidence >= PLAIN
    if music is None or music.present or not measured:
        return music
    return Presence(False, min(music.confidence, _DOUBT))


def is_listener(folder: Path) -> bool:
    """Whether a folder holds a trained listener of ours."""
    return (folder / HEADS_NAME).is_file()


def built_in_ear() -> Ear:
    """The trained listener that comes with the package."""
    return Ear(packaged(PACKAGED_NAME))
