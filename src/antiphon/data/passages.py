"""The sound of a clip: a file, or a passage of one, wherever it is worked on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from antiphon.audio import AudioStream, Limits, Recording, open_stream, read
from antiphon.data.manifest import Clip, Manifest, relative_path
from antiphon.facts import Facts


@dataclass(frozen=True)
class Passage:
    """From `start_seconds` to `end_seconds` (None: the end) of the file at `path`."""

    path: Path
    start_seconds: float = 0.0
    end_seconds: float | None = None

    @property
    def is_whole(self) -> bool:
        return self.start_seconds == 0 and self.end_seconds is None

    def stream(self, limits: Limits) -> AudioStream:
        """Raises what `audio.open_stream` does."""
        return open_stream(
            self.path,
            start_seconds=self.start_seconds,
            duration_seconds=self._duration_seconds,
            limits=limits,
        )

    def read(self, limits: Limits) -> Recording:
        """All of it in memory. Raises what `audio.read` does."""
        return read(
            self.path,
            start_seconds=self.start_seconds,
            duration_seconds=self._duration_seconds,
            limits=limits,
        )

    def measure(self, limits: Limits) -> Facts:
        """Its facts; a whole file is measured as a stream, a passage in memory."""
        from antiphon.analysis import measure

        if self.is_whole:
            return measure(self.path, limits=limits)
        recording = self.read(limits)
        facts = measure(recording.waveform, limits=limits)
        # Not the header's length, which is the whole file's.
        damage = replace(facts.damage, problems=recording.damage.problems)
        return replace(facts, damage=damage)

    @property
    def _duration_seconds(self) -> float | None:
        return None if self.end_seconds is None else self.end_seconds - self.start_seconds


def passage_of(clip: Clip, manifest: Manifest) -> Passage:
    return Passage(manifest.path_of(clip), clip.start_seconds, clip.end_seconds)


def name_of(clip: Clip, manifest: Manifest) -> str:
    """For people."""
    path = str(manifest.path_of(clip))
    if clip.start_seconds == 0 and clip.end_seconds is None:
        return path
    end = "its end" if clip.end_seconds is None else f"{clip.end_seconds:g} s"
    return f"{path} from {clip.start_seconds:g} s to {end}"


def seen_from(folder: Path, clip: Clip, manifest: Manifest) -> Clip:
    """The same clip in a manifest that lies in `folder`."""
    score = None if clip.score is None else relative_path(manifest.folder / clip.score, folder)
    return replace(clip, path=relative_path(manifest.path_of(clip), folder), score=score)
