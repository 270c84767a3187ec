"""`data clean`: what is no use to training goes to a quarantine, with the reason; nothing is lost.

What is to be done is first written down as a plan, then done step by step, each of which may be
done again: after a kill the same command finishes it. `restore` undoes it all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from antiphon.analysis import ANALYSIS_VERSION
from antiphon.audio import Limits
from antiphon.data.manifest import Clip, Manifest, read_manifest
from antiphon.data.passages import Passage, name_of, passage_of
from antiphon.data.probing import state_of
from antiphon.data.quarantine import Entry, Quarantine
from antiphon.data.reporting import count_new, problem_of
from antiphon.data.running import Item, Record, RunOptions, key_of, run_items
from antiphon.data.sources import Problem
from antiphon.errors import (
    AudioDecodeError,
    AudioLimitError,
    AudioTooShortError,
    ConfigError,
    StorageError,
)
from antiphon.files import locked, storage_error

CLEAN_VERSION = 1
MAX_SILENT_SHARE = 0.95  # of the time below -60 dB full scale
MAX_CLIPPED_SHARE = 0.005  # of all samples, in runs of three and more at full scale
_LOCK_SECONDS = 1.0
MIN_JUDGED_SECONDS = 4.0  # below, no tempo can be measured
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class CleanOptions:
    """Lengths that are kept, in seconds."""

    min_seconds: float = 1.0
    max_seconds: float = 3_600.0
    limits: Limits = DEFAULT_LIMITS

    def check(self) -> None:
        if not 0 <= self.min_seconds < self.max_seconds:
            raise ConfigError(
                f"the shortest clip is {self.min_seconds:g} s and the longest "
                f"{self.max_seconds:g} s; expected the first to be smaller, and 0 or more"
            )


@dataclass(frozen=True)
class CleanReport:
    """`entries` went to the quarantine, or would go; `moved` counts their files. `finished` says
    that an earlier run, killed, was finished first."""

    kept: int
    entries: tuple[Entry, ...]
    moved: int
    new: int
    not_reached: int
    failures: tuple[Problem, ...]
    finished: int = 0


@dataclass(frozen=True)
class Judging:
    """Measures a passage."""

    limits: Limits

    def open(self) -> Callable[[Passage], Record]:
        return lambda passage: _measured(passage, self.limits)


def clean(
    manifest_path: Path, options: CleanOptions, run: RunOptions, *, dry_run: bool = False
) -> CleanReport:
    """Measure all clips of a manifest and put aside those that are of no use.

    A file goes to `quarantine/` beside the manifest, under the path it had, when none of its clips
    is kept; their rows go from the manifest into the table there. What cannot be read for a reason
    that is not the file's (it is missing) is a failure, and stays.
    Raises ConfigError, StorageError.
    """
    options.check()
    with _alone(manifest_path):
        return _clean(manifest_path, options, run, dry_run=dry_run)


def _clean(
    manifest_path: Path, options: CleanOptions, run: RunOptions, *, dry_run: bool
) -> CleanReport:
    quarantine = Quarantine(manifest_path)
    finished = 0 if dry_run else quarantine.finish()
    manifest = read_manifest(manifest_path)
    items = [
        Item(
            key_of("clean", CLEAN_VERSION, ANALYSIS_VERSION, state_of(passage.path), passage),
            name_of(clip, manifest),
            passage,
        )
        for clip in manifest.clips
        for passage in [passage_of(clip, manifest)]
    ]
    ledger = manifest_path.with_name(f"{manifest_path.name}.clean.jsonl")
    result = run_items(items, Judging(options.limits), ledger, run)
    reasons: dict[int, str] = {}
    for position, outcome in enumerate(result.outcomes):
        reason = None
        if outcome is not None and outcome.record is not None:
            reason = reason_against(outcome.record, options)
        if reason is not None:
            reasons[position] = reason
    entries = _entries(manifest, reasons)
    if not dry_run and result.is_complete:
        entries = quarantine.put_aside(entries)
    return CleanReport(
        kept=len(manifest.clips) - len(entries),
        entries=entries,
        moved=len({entry.moved_to for entry in entries} - {None}),
        new=count_new(result),
        not_reached=result.outcomes.count(None),
        failures=tuple(map(problem_of, result.failures)),
        finished=finished,
    )


def restore(manifest_path: Path) -> tuple[Entry, ...]:
    """Undo what `clean` did with this manifest: every file and row is back where it was.

    Raises StorageError where a place is taken by another file or a file has gone from the
    quarantine; then nothing is done.
    """
    with _alone(manifest_path):
        quarantine = Quarantine(manifest_path)
        quarantine.finish()
        return quarantine.restore()


@contextmanager
def _alone(manifest_path: Path) -> Iterator[None]:
    """Nobody else cleans with this manifest meanwhile."""
    with ExitStack() as stack:
        try:
            stack.enter_context(
                locked(manifest_path.with_name(f"{manifest_path.name}.clean"), _LOCK_SECONDS)
            )
        except StorageError as error:
            raise StorageError(
                f"another run is cleaning with {manifest_path}; wait until it has ended"
            ) from error
        except OSError as error:
            raise storage_error("lock", manifest_path, error) from error
        yield


def reason_against(record: Record, options: CleanOptions) -> str | None:
    """Why a passage is of no use, None if it is. The first reason that holds."""
    kind, text = record.get("error_kind"), str(record.get("error"))
    if kind is not None:
        return f"{kind}: {text}"
    seconds = _number(record, "seconds")
    problems = record.get("problems")
    clipped, silent = _number(record, "clipped_share"), _number(record, "silent_share")
    if isinstance(problems, list) and problems:
        return f"damaged: {'; '.join(map(str, problems))}"
    if seconds < options.min_seconds:
        return f"too short: {seconds:.2f} s; at least {options.min_seconds:g} s are kept"
    if seconds > options.max_seconds:
        return f"too long: {seconds:,.0f} s; at most {options.max_seconds:,.0f} s are kept"
    if silent > MAX_SILENT_SHARE:
        return f"silent: {silent:.0%} of the time; at most {MAX_SILENT_SHARE:.0%} are kept"
    if clipped > MAX_CLIPPED_SHARE:
        return (
            f"clipped: {clipped:.1%} of the samples stand at full scale; at most "
            f"{MAX_CLIPPED_SHARE:.1%} are kept"
        )
    if seconds >= MIN_JUDGED_SECONDS and not record.get("is_music"):
        return f"not music: {record.get('not_music')}"
    return None


def _number(record: Record, name: str) -> float:
    return float(str(record[name]))


def _measured(passage: Passage, limits: Limits) -> Record:
    """What `reason_against` judges; trouble that is the file's own is a finding, no failure."""
    try:
        facts = passage.measure(limits)
    except AudioDecodeError as error:
        return {"error_kind": "damaged", "error": str(error)}
    except AudioTooShortError as error:
        return {"error_kind": "too short", "error": str(error)}
    except AudioLimitError as error:
        return {"error_kind": "beyond the limits", "error": str(error)}
    samples = max(1.0, facts.duration_seconds * facts.sample_rate * facts.channels)
    # Speech and noise have neither; a drum solo has a pulse, singing alone has notes.
    has_pulse, has_notes = facts.tempo.bpm is not None, facts.tuning.cents is not None
    return {
        "seconds": facts.duration_seconds,
        "problems": list(facts.damage.problems),
        "silent_share": facts.silence.share or 0.0,
        "clipped_share": facts.clipping.samples / samples,
        "is_music": has_pulse or has_notes,
        "not_music": f"{facts.tempo.reason}; {facts.tuning.reason}",
    }


def _entries(manifest: Manifest, reasons: dict[int, str]) -> tuple[Entry, ...]:
    """What is to be put aside: rows, and the files that no row is left of."""
    clips_of: dict[str, list[int]] = defaultdict(list)
    for position, clip in enumerate(manifest.clips):
        clips_of[clip.path].append(position)
    return tuple(
        Entry(position - gone, reason, _moved_to(clip, clips_of[clip.path], reasons), clip)
        for gone, (position, reason) in enumerate(sorted(reasons.items()))
        for clip in [manifest.clips[position]]
    )


def _moved_to(clip: Clip, positions: Sequence[int], reasons: dict[int, str]) -> str | None:
    """Where the clip's file goes, below the quarantine; None where it stays for other clips."""
    if any(position not in reasons for position in positions):
        return None
    path = Path(clip.path)
    inside = path.relative_to(path.anchor)
    if path.is_absolute() or ".." in path.parts:
        parts = [part for part in inside.parts if part != ".."]
        return Path("outside", *parts).as_posix()
    return inside.as_posix()
