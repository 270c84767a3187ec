"""What a listener learns from: log-mel spectra of clips, and what sounds when, computed once.

Two files that are read in place: `mels.i8` [N, F, 128] and `sounding.u1` [N, T, C]. Letters: N
clips, F mel frames (10 ms), T moments of 40 ms, C instruments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from antiphon.audio import read
from antiphon.controls import INSTRUMENTS
from antiphon.data.manifest import Clip, Manifest, Split, read_score
from antiphon.data.running import Item, OnClip, Record, RunOptions, key_of, run_items
from antiphon.errors import ConfigError
from antiphon.files import storage_error
from antiphon.listen.heads import MOMENT_FRAMES, MOMENT_SECONDS
from antiphon.listen.mel import BANDS, SAMPLE_RATE, WINDOW_FRAMES, WINDOW_SECONDS, log_mel
from antiphon.score import Score
from antiphon.threads import usable_cores

MOMENTS = WINDOW_FRAMES // MOMENT_FRAMES
_MELS_NAME, _SOUNDING_NAME, _LEDGER_NAME = "mels.i8", "sounding.u1", ".hearing.jsonl"
_LABELS = MOMENTS * len(INSTRUMENTS)
_LARGEST = 1.5  # mels lie between its negative and this
_SCALE = 127 / _LARGEST
_VERSION = 1  # goes into every key: raise it when mels or labels change


@dataclass(frozen=True, eq=False)
class Hearing:
    """The clips of one split: `mels` [N, F, 128], and when each of INSTRUMENTS is `sounding`
    [N, T, C], for clips that have a score; `kept` are the rows of those that could be read, and has
    a row as often as manifests list its clip."""

    mels: NDArray[np.int8]
    sounding: NDArray[np.bool_]
    kept: NDArray[np.int64]
    clips: tuple[Clip, ...]
    manifest: NDArray[np.int64]
    """The number of the manifest that each clip is of, [N]."""
    checksum: str
    """Tells what it was computed from."""
    unread: tuple[str, ...]
    """The clips that could not be read, and why."""


def mels_of(numbers: NDArray[np.int8]) -> NDArray[np.float32]:
    """What `Hearing.mels` holds, as `log_mel` gave it, within .006."""
    return numbers.astype(np.float32) / np.float32(_SCALE)


def sounding_of(score: Score, seconds: float) -> NDArray[np.bool_]:
    """When each of INSTRUMENTS sounds, [T, C] of a window; nothing after `seconds`."""
    found = np.zeros((MOMENTS, len(INSTRUMENTS)), bool)
    for track in score.tracks:
        if track.instrument not in INSTRUMENTS:
            continue
        column = found[:, INSTRUMENTS.index(track.instrument)]
        for note in track.notes:
            start = score.beat_to_seconds(note.start_beat)
            stop = score.beat_to_seconds(note.start_beat + note.duration_beats)
            first = int(start / MOMENT_SECONDS)
            column[first : max(first + 1, int(stop / MOMENT_SECONDS))] = True
    found[int(seconds / MOMENT_SECONDS) :] = False
    return found


def heard(
    manifests: Sequence[Manifest],
    split: Split,
    folder: Path,
    on_clip: OnClip = lambda done, total: None,
) -> Hearing | None:
    """The clips of `split`, of each the first 30 s, computed into `folder` unless they are there;
    None where there are none.

    Raises ConfigError where none can be read, StorageError (DiskFullError).
    """
    found = [
        (number, manifest.folder, clip)
        for number, manifest in enumerate(manifests)
        for clip in manifest.clips
        if clip.split == split
    ]
    clips = [clip for *_, clip in found]
    if not clips:
        return None
    keys = [key_of("hearing", _VERSION, asdict(clip)) for clip in clips]
    checksum = hashlib.blake2b("".join(keys).encode(), digest_size=16).hexdigest()
    place = folder / f"{split}-{checksum[:12]}"
    work = _Computing(place, len(clips))
    work.make_room()
    rows: dict[str, int] = {}  # of each key the first: a clip that is listed twice is read once
    for number, key in enumerate(keys):
        rows.setdefault(key, number)
    items = [
        Item(key, clip.id, (rows[key], root, clip))
        for key, (_, root, clip) in zip(keys, found, strict=True)
    ]
    options = RunOptions(usable_cores(), on_progress=lambda p: on_clip(p.settled, p.total))
    result = run_items(items, work, place / _LEDGER_NAME, options, lambda item, record: True)
    kept = [
        rows[key]
        for key, outcome in zip(keys, result.outcomes, strict=True)
        if outcome and outcome.record
    ]
    unread = tuple(f"{outcome.name}: {outcome.error}" for outcome in result.failures)
    if not kept:
        raise ConfigError(
            f"of the {len(clips):,} clips of the split {split} none could be read: {unread[0]}"
        )
    return Hearing(
        work.mels("r"),
        work.sounding("r"),
        np.array(kept, np.int64),
        tuple(clips),
        np.array([number for number, *_ in found], np.int64),
        checksum,
        unread,
    )


@dataclass(frozen=True)
class _Computing:
    """The work of `heard`, as a worker is given it."""

    folder: Path
    count: int

    def make_room(self) -> None:
        """The files at their full size; they take as much of the disk as is written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, size in ((_MELS_NAME, WINDOW_FRAMES * BANDS), (_SOUNDING_NAME, _LABELS)):
                with (self.folder / name).open("ab") as file:
                    file.truncate(self.count * size)
        except OSError as error:
            raise storage_error("write", self.folder, error) from error

    def mels(self, mode: Literal["r", "r+"]) -> NDArray[np.int8]:
        shape = (self.count, WINDOW_FRAMES, BANDS)
        return np.memmap(self.folder / _MELS_NAME, np.int8, mode, shape=shape)

    def sounding(self, mode: Literal["r", "r+"]) -> NDArray[np.bool_]:
        shape = (self.count, MOMENTS, len(INSTRUMENTS))
        return np.memmap(self.folder / _SOUNDING_NAME, np.bool_, mode, shape=shape)

    def open(self) -> Callable[[tuple[int, Path, Clip]], Record]:
        mels, sounding = self.mels("r+"), self.sounding("r+")

        def compute(placed: tuple[int, Path, Clip]) -> Record:
            number, root, clip = placed
            recording = read(
                root / clip.path,
                sample_rate=SAMPLE_RATE,
                mono=True,
                start_seconds=clip.start_seconds,
                duration_seconds=min(clip.seconds, WINDOW_SECONDS),
            )
            samples = recording.waveform.samples[0][: WINDOW_SECONDS * SAMPLE_RATE]
            found = log_mel(np.pad(samples, (0, WINDOW_SECONDS * SAMPLE_RATE - len(samples))))
            mels[number] = np.rint(np.clip(found, -_LARGEST, _LARGEST) * _SCALE)
            if clip.score is not None:
                score = read_score(root / clip.score)
                sounding[number] = sounding_of(score, len(samples) / SAMPLE_RATE)
            return {"number": number}

        return compute
