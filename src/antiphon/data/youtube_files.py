"""Local files of videos, by the names that downloaders give them. Knows no audio."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from antiphon.errors import AudioError

_BRACKETED = re.compile(r"\[(.+)\]-\[(\d+)-(\d+)\]")  # [ID]-[30-40].wav


class YoutubeFiles:
    """Finds `ID.*`, and passages that were cut already: `ID_30*`, `[ID]-[30-40].*`."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._whole: dict[str, Path] = {}
        self._cut: dict[tuple[str, int], Path] = {}
        for path in paths:
            self._whole.setdefault(path.stem, path)
            if bracketed := _BRACKETED.fullmatch(path.stem):
                self._cut.setdefault((bracketed[1], int(bracketed[2])), path)
                continue
            # An ID may itself hold `_` and digits: every reading of the name counts.
            for split in re.finditer(r"_(\d+)(?!\d)", path.stem):
                key = path.stem[: split.start()], int(split[1])
                self._cut.setdefault(key, path)

    def find(self, video: str, start_seconds: float) -> tuple[Path, bool]:
        """The file, and whether it is the passage already. Raises AudioError if there is none."""
        start = int(start_seconds)
        cut = self._cut.get((video, start))
        if cut is not None:
            return cut, True
        if video in self._whole:
            return self._whole[video], False
        raise AudioError(
            f"there is no audio of {video!r} here; expected {video}.*, {video}_{start}.* or "
            f"[{video}]-[{start}-…].*"
        )
