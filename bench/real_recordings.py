"""What real sound does: agreement with librosa on freely licensed game music of Debian, and what
the texts say of it.

    python bench/real_recordings.py fetch     # 265 MB, unpacked under runs/, not installed
    python bench/real_recordings.py
    python bench/real_recordings.py texts     # writes docs/real-recordings.md

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
from antiphon.audio import AUDIO_SUFFIXES, open_stream, read
from antiphon.facts import Facts
from antiphon.listen.loading import load_listener
from judging import OCTAVES, is_same_tempo, key_score
from report import Part, Table

PACKAGES = (
    "ardentryst", "asc-music", "frozen-bubble-data", "hyperrogue-music", "pathological",
    "singularity-music", "warzone2100-music",
)  # fmt: skip
FOLDER = Path(__file__).parents[1] / "runs" / "bench" / "recordings"
PAGE = Path(__file__).parents[1] / "docs" / "real-recordings.md"
TOLD_PER_PACKAGE = 6  # recordings whose texts are printed
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


def write_texts() -> None:
    """The page of texts, for people to judge."""
    chosen = [path for package in PACKAGES for path in _some_of(FOLDER / package)]
    blocks = [_told(path) for path in chosen]
    head = (
        "# What is heard in real recordings\n\n"
        f"{len(chosen)} freely licensed recordings from Debian's game packages, the first of each "
        f"that last {MIN_SECONDS:.0f} s, as `antiphon describe` puts them into words with the "
        "listener that comes with the package. It learned from music that antiphon arranged and "
        "played, and from no recording: judge for yourself. Beside our tempo and key stand "
        "librosa's. Written by `python bench/real_recordings.py texts`.\n"
    )
    PAGE.write_text("\n".join([head, *blocks]), encoding="utf-8")
    print(f"{len(chosen)} recordings: {PAGE}")


def _some_of(folder: Path) -> list[Path]:
    """Spread over the package, in the order of their names."""
    long_enough = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in AUDIO_SUFFIXES and _seconds(path) >= MIN_SECONDS
    ]
    step = max(1, len(long_enough) // TOLD_PER_PACKAGE)
    return long_enough[::step][:TOLD_PER_PACKAGE]


def _seconds(path: Path) -> float:
    with open_stream(path) as stream:
        return stream.declared_seconds or 0.0


def _told(path: Path) -> str:
    description = load_listener().describe(path)
    facts, heard = description.facts, description.heard
    theirs = peer.listen(read(path).waveform)
    tempo = "none" if facts.tempo.bpm is None else f"{facts.tempo.bpm:.0f} BPM"
    their_tempo = "none" if theirs.bpm is None else f"{theirs.bpm:.0f} BPM"
    tags = "nothing"
    if heard is not None:
        named = [*heard.genre, *heard.instruments]
        tags = ", ".join(f"{tag.name} {tag.confidence:.2f}" for tag in named) or "nothing"
        if heard.music is not None and heard.music.confidence < 0.9:
            tags += f"; music {heard.music.present} {heard.music.confidence:.2f}"
    rows = [
        f"## {path.relative_to(FOLDER).parts[0]}: {path.stem}",
        "",
        f"tempo {tempo} (librosa {their_tempo}), key {facts.key.name or 'none'} (librosa "
        f"{theirs.key}); heard: {tags}",
        "",
        *(f"- *{kind}*: {text}" for kind, text in description.texts.items()),
        "",
    ]
    return "\n".join(rows)


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
    elif sys.argv[1:] == ["texts"]:
        write_texts()
    else:
        print(run().markdown())
