"""`data standardize`: every clip as a file of its own, all in one form, in another folder.

Streamed twice, once to measure the level and once to write: memory does not grow with length.
Knows no source and no model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from antiphon import files
from antiphon.analysis.level import LevelMeter
from antiphon.audio import FloatArray, Limits, Resampler, check_form, with_channels, write
from antiphon.audio.writing import FORMATS
from antiphon.data.manifest import Clip, Manifest, read_manifest, write_manifest
from antiphon.data.passages import Passage, name_of, passage_of, seen_from
from antiphon.data.probing import content_of, state_of
from antiphon.data.reporting import (
    Report,
    count_new,
    ledger_of,
    problem_of,
    unfinished,
    write_failures,
)
from antiphon.data.running import Item, Record, RunOptions, key_of, run_items
from antiphon.errors import AudioError, ConfigError

STANDARDIZE_VERSION = 1
MANIFEST_NAME = "manifest.parquet"
MAX_PEAK_DBTP = -1.0  # EBU R 128; a lossy codec adds up to a decibel after it
MIN_LUFS, MAX_LUFS = -60.0, -5.0
_TOLERANCE_LU = 0.5
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Form:
    """What all files are to be; None keeps what a file has.

    `loudness_lufs` is the integrated loudness (ITU-R BS.1770-4), below it where true peaks would
    pass -1 dBTP.
    """

    sample_rate: int | None = None
    channels: int | None = None
    format: str = "flac"
    bit_depth: int | None = None
    loudness_lufs: float | None = None

    def check(self) -> None:
        """Raise ConfigError for a form that no file can have."""
        if self.format not in FORMATS:
            raise ConfigError(f"format is {self.format!r}; expected one of {', '.join(FORMATS)}")
        loudness = self.loudness_lufs
        if loudness is not None and not MIN_LUFS <= loudness <= MAX_LUFS:
            raise ConfigError(
                f"loudness is {loudness:g} LUFS; expected {MIN_LUFS:g} to {MAX_LUFS:g} LUFS"
            )
        check_form(
            f"a.{self.format}",
            sample_rate=self.sample_rate or 48_000,
            channels=self.channels or 1,
            format=self.format,
            bit_depth=self.bit_depth,
        )


@dataclass(frozen=True)
class _Job:
    passage: Passage
    folder: Path
    name: str

    @property
    def target(self) -> Path:
        return self.folder / self.name


@dataclass(frozen=True)
class Standardizing:
    """Writes a passage in the form."""

    form: Form
    limits: Limits

    def open(self) -> Callable[[_Job], Record]:
        return lambda job: _standardize(job, self.form, self.limits)


def standardize(
    manifest_path: Path,
    folder: Path,
    form: Form,
    run: RunOptions,
    limits: Limits = DEFAULT_LIMITS,
) -> Report:
    """Write all clips of a manifest into `folder`, and a manifest of them there.

    Raises ConfigError for a form that cannot be, or where `folder` holds a source, AudioError where
    no clip is left, StorageError.
    """
    form.check()
    manifest = read_manifest(manifest_path)
    _require_clips(manifest, manifest_path)
    _refuse_in_place(manifest, folder)
    names = _names(manifest.clips, form.format)
    items = [
        Item(
            key_of("standardize", STANDARDIZE_VERSION, state_of(passage.path), passage, form, name),
            name_of(clip, manifest),
            _Job(passage, folder, name),
        )
        for clip, name in zip(manifest.clips, names, strict=True)
        for passage in [passage_of(clip, manifest)]
    ]
    output = folder / MANIFEST_NAME
    ledger = ledger_of(output)
    _forget_what_is_gone(ledger)
    result = run_items(items, Standardizing(form, limits), ledger, run)
    if not result.is_complete:
        return unfinished(result)
    clips = [
        _standardized(seen_from(folder, clip, manifest), name, outcome.record)
        for clip, name, outcome in zip(manifest.clips, names, result.outcomes, strict=True)
        if outcome is not None and outcome.record is not None
    ]
    problems = tuple(map(problem_of, result.failures))
    if not clips:
        raise AudioError(f"no clip could be standardized; the first: {problems[0].reason}")
    write_manifest(output, clips)
    write_failures(output, problems)
    notes = []
    softer = sum(bool(record["is_softer"]) for record in result.records)
    if softer:
        notes.append(
            f"{softer:,} clips are softer than {form.loudness_lufs:g} LUFS: their peaks would pass "
            f"{MAX_PEAK_DBTP:g} dBTP"
        )
    return Report(output, len(clips), count_new(result), 0, problems, tuple(notes))


def _require_clips(manifest: Manifest, path: Path) -> None:
    if not manifest.clips:
        raise ConfigError(f"{path} holds no clip (0 rows); make it anew with data prepare")


def _refuse_in_place(manifest: Manifest, folder: Path) -> None:
    own = folder.resolve()
    for clip in manifest.clips:
        source = manifest.path_of(clip).resolve()
        if source.is_relative_to(own):
            raise ConfigError(
                f"the output folder {str(folder)!r} holds a source, {source}; nothing is "
                "standardized in place: choose an empty folder"
            )


def _names(clips: Sequence[Clip], suffix: str) -> list[str]:
    """Where each clip goes: as it was called, with its id where that is no name for one alone."""
    plain = []
    for clip in clips:
        path = Path(clip.path)
        # Nothing leaves the output folder, whatever a manifest says.
        inside = not path.is_absolute() and ".." not in path.parts
        plain.append((path if inside else Path(path.name)).with_suffix(""))
    # Names that differ in case only are one file on some systems.
    times = Counter(str(path).casefold() for path in plain)
    return [
        f"{path.as_posix()}{'' if times[str(path).casefold()] == 1 else f'_{clip.id}'}.{suffix}"
        for path, clip in zip(plain, clips, strict=True)
    ]


def _forget_what_is_gone(ledger: Path) -> None:
    """Take out of the ledger what it calls done and is there no more, or not as it was written."""
    if not ledger.exists():
        return
    lines = ledger.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not _is_gone(line, ledger.parent)]
    if len(kept) < len(lines):
        files.atomic_write(ledger, b"".join(kept))


def _is_gone(line: bytes, folder: Path) -> bool:
    try:
        record = json.loads(line)["record"]
        return bool((folder / record["target"]).stat().st_size != record["bytes"])
    except OSError:
        return True
    except (ValueError, KeyError, TypeError):
        return False  # a failure, or no entry at all: not ours to judge


def _standardized(clip: Clip, name: str, record: Record) -> Clip:
    is_whole = clip.start_seconds == 0 and clip.end_seconds is None
    return replace(
        clip,
        path=name,
        content=str(record["content"]),
        seconds=float(str(record["seconds"])),
        sample_rate=int(str(record["sample_rate"])),
        channels=int(str(record["channels"])),
        start_seconds=0.0,
        end_seconds=None,
        score=clip.score if is_whole else None,  # a score begins where its file did
    )


def _standardize(job: _Job, form: Form, limits: Limits) -> Record:
    gain_db, is_softer = 0.0, False
    rate, channels, frames = 0, 0, 0
    with job.passage.stream(limits) as stream:
        rate = form.sample_rate or stream.sample_rate
        channels = form.channels or stream.channels
    if form.loudness_lufs is not None:
        meter = LevelMeter(rate, channels)
        for block in _blocks(job.passage, rate, channels, limits):
            if block.shape[1]:
                meter.push(block)
        level = meter.loudness()
        if level.integrated_lufs is not None and level.true_peak_dbtp is not None:
            wanted = form.loudness_lufs - level.integrated_lufs
            gain_db = min(wanted, MAX_PEAK_DBTP - level.true_peak_dbtp)
            is_softer = gain_db < wanted - _TOLERANCE_LU
    gain = 10.0 ** (gain_db / 20.0)

    def levelled() -> Iterator[FloatArray]:
        nonlocal frames
        for block in _blocks(job.passage, rate, channels, limits):
            frames += block.shape[1]
            yield block * gain if gain_db else block

    job.target.parent.mkdir(parents=True, exist_ok=True)
    write(job.target, levelled(), sample_rate=rate, format=form.format, bit_depth=form.bit_depth)
    return {
        "target": job.name,
        "bytes": job.target.stat().st_size,
        "content": content_of(job.target),
        "seconds": frames / rate,
        "sample_rate": rate,
        "channels": channels,
        "gain_db": round(gain_db, 2),
        "is_softer": is_softer,
    }


def _blocks(passage: Passage, rate: int, channels: int, limits: Limits) -> Iterator[FloatArray]:
    """[channels, n] at `rate`, as they come."""
    with passage.stream(limits) as stream:
        resampler = Resampler(stream.sample_rate, rate, channels)
        for block in stream.blocks():
            yield resampler.process(with_channels(block, channels))
        yield resampler.flush()
