"""A recording that is heard once and may be asked about many times."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from antiphon.errors import ConfigError
from antiphon.listen.windows import Clip, LongMode, plan_parts, read_clips, recording_seconds

if TYPE_CHECKING:
    from antiphon.audio import Limits, Source, Waveform
    from antiphon.description import Heard
    from antiphon.facts import Facts
    from antiphon.listen.ear import Ear


@dataclass(frozen=True, eq=False)
class Track:
    """A recording that was heard once and may be asked about many times (`Listener.hear`).

    `clips` are what a model hears, none without one; `heard` is what a trained listener of ours
    hears. `facts` is None where nothing was to be measured; `notes` say what the clips leave out.
    """

    path: str | None
    clips: tuple[Clip, ...]
    facts: Facts | None
    notes: tuple[str, ...] = ()
    heard: Heard | None = None

    def require_for(self, *, model: bool) -> None:
        """Raise ConfigError where it holds nothing for what is to answer: a model, or none."""
        if not model and self.facts is None:
            raise ConfigError(
                "the track was heard without measuring (facts='off'), and without a model there is "
                "nothing else to answer from; hear it again with this listener"
            )
        if model and not self.clips:
            raise ConfigError(
                "the track was heard without a model; hear it again with the listener that has one"
            )


def track_for_model(
    source: Source | Waveform,
    cap_seconds: float,
    long: LongMode,
    limits: Limits,
    *,
    isolated: bool,
    measured: Facts | Literal["not"] | None,
) -> Track:
    """What a model hears, which hears `cap_seconds` at once, and the facts, unless they are not
    wanted; those that are `measured` already are taken."""
    facts = None
    with readable_twice(source, limits) as again:
        if measured != "not":
            from antiphon.analysis import measure

            facts = measured or measure(again, limits=limits, isolated=isolated)
            seconds = facts.duration_seconds
        else:
            seconds = recording_seconds(again, limits, isolated=isolated)
        hearing = plan_parts(seconds, cap_seconds, long)
        clips = tuple(read_clips(again, hearing, limits, isolated=isolated))
    return Track(_path_of(source), clips, facts, hearing.notes)


def track_by_ear(
    source: Source | Waveform,
    ear: Ear | None,
    limits: Limits,
    *,
    isolated: bool,
    measured: Facts | None = None,
) -> Track:
    """What there is to answer from without a model: facts, and what is heard."""
    from antiphon.analysis import measure

    with readable_twice(source, limits) as again:
        facts = measured or measure(again, limits=limits, isolated=isolated)
        heard = None if ear is None else ear.hear(again, facts, limits, isolated=isolated)
    return Track(_path_of(source), (), facts, heard=heard)


def readable_twice(
    source: Source | Waveform, limits: Limits
) -> AbstractContextManager[Source | Waveform]:
    """A source to measure and to hear: what can be read once only is kept."""
    from antiphon.audio import Waveform, reusable

    return nullcontext(source) if isinstance(source, Waveform) else reusable(source, limits)


def _path_of(source: Source | Waveform) -> str | None:
    return str(source) if isinstance(source, str | Path) else None
