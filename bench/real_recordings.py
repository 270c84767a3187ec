"""What real sound does: agreement with librosa on freely licensed game music of Debian.

    python bench/real_recordings.py fetch     # 265 MB, unpacked under runs/, not installed
    python bench/real_recordings.py

There is no truth here: two programs that agree are not thereby right. Nothing is gated.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import peer
from antiphon.analysis import measure
from antiphon.audio import AUDIO_SUFFIXES, read
from antiphon.facts import Facts
from judging import OCTAVES, is_same_tempo, key_score
from report import Part, Table

PACKAGES = (
    "ardentryst", "asc-music", "frozen-bubble-data", "hyperrogue-music", "pathological",
    "singularity-music", "warzone2100-music",
)  # fmt: skip
FOLDER = Path(__file__).parents[1] / "runs" / "bench" / "recordings"
MIN_SECONDS = 30.0  # anything shorter is a jingle or a noise
HEADER = (
    "package", "recordings", "minutes", "tempo within 4 %", "octave-tolerant", "key exact",
    "key weighted", "no tempo", "no key", "tempo confidence", "key confidence",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """What we and the peer found in one recording."""

    package: str
    facts: Facts
    reading: peer.Reading

    @property
    def is_same_tempo(self) -> bool:
        return self.tempo_agrees((1.0,))

    def tempo_agrees(self, factors: Sequence[float]) -> bool:
        theirs = self.reading.bpm
        return theirs is not None and is_same_tempo(self.facts.tempo.bpm, theirs, factors)


def fetch() -> None:
    """Download the packages and unpack them beside each other; nothing is installed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", "--quiet", package], cwd=folder, check=True)
            (archive,) = Path(folder).glob("*.deb")
            subprocess.run(["dpkg", "-x", archive, FOLDER / package], check=True)


def compare(path: Path) -> Comparison | None:
    """Both on one file; None for what is too short to be music."""
    waveform = read(path).waveform
    if waveform.duration_seconds < MIN_SECONDS:
        return None
    return Comparison(path.relative_to(FOLDER).parts[0], measure(waveform), peer.listen(waveform))


def run() -> Part:
    """The table of agreement, or a line that says what is missing."""
    title = "Real recordings"
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in AUDIO_SUFFIXES)
    if not paths:
        missing = "Not measured: `python bench/real_recordings.py fetch` gets the recordings."
        return Part("real", title, missing)
    with peer.worker_pool() as pool:
        found = [c for c in pool.map(compare, paths) if c is not None]
    notes = (
        f"{len(found)} freely licensed recordings of at least {MIN_SECONDS:.0f} s from Debian's "
        "game packages. Beside ours librosa's reading (`beat_track`; `chroma_cens` with the "
        "profiles of Albrecht and Shanahan): the shares in which the two agree. There is no truth "
        "here; where we found nothing counts as no agreement. Confidences are medians of ours."
    )
    by_package = [[c for c in found if c.package == package] for package in PACKAGES]
    rows = [line(group[0].package, group) for group in by_package if group]
    rows.append(line("all", found))
    agreed = [c for c in found if c.is_same_tempo]
    others = [c for c in found if not c.is_same_tempo]
    rows += [line("… same tempo", agreed)] if agreed else []
    rows += [line("… other tempo", others)] if others else []
    return Part("real", title, notes, tables=[Table("Agreement with librosa", HEADER, rows)])


def line(label: str, group: Sequence[Comparison]) -> list[str]:
    keys = [(c.reading.key, c.facts.key.name) for c in group]
    shares = (
        [c.is_same_tempo for c in group],
        [c.tempo_agrees(OCTAVES) for c in group],
        [theirs == ours for theirs, ours in keys],
        [key_score(theirs, ours) for theirs, ours in keys],
        [c.facts.tempo.bpm is None for c in group],
        [ours is None for _, ours in keys],
    )
    confidences = (
        [c.facts.tempo.confidence for c in group if c.facts.tempo.bpm is not None],
        [c.facts.key.confidence for c in group if c.facts.key.name is not None],
    )
    minutes = sum(c.facts.duration_seconds for c in group) / 60
    return [
        label,
        str(len(group)),
        f"{minutes:.0f}",
        *(f"{np.mean(values):.2f}" for values in shares),
        *(f"{np.median(values):.2f}" if values else "" for values in confidences),
    ]


if __name__ == "__main__":
    if sys.argv[1:] == ["fetch"]:
        fetch()
    else:
        print(run().markdown())
