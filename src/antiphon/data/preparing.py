"""`data prepare`: a source of music to one manifest, the same bytes whenever it is made.

Every file is read once, in several processes; what was read is in a ledger beside the manifest.
Knows no codec and no model.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from antiphon.audio import Limits
from antiphon.data.fingerprints import Joined, group_recordings
from antiphon.data.manifest import (
    DEFAULT_SHARES,
    SPLITS,
    Clip,
    Split,
    relative_path,
    split_of,
    write_manifest,
)
from antiphon.data.probing import Probe, Probing, probe_items
from antiphon.data.reporting import (
    Report,
    count_new,
    ledger_of,
    problem_of,
    unfinished,
    write_failures,
)
from antiphon.data.running import RunOptions, key_of, run_items
from antiphon.data.sources import Problem, Row, Rows
from antiphon.data.tables import require_pyarrow
from antiphon.errors import AudioError, ConfigError

Shares = tuple[float, float, float]
_END_TOLERANCE_SECONDS = 0.5  # tables round; a passage may end a little after its file
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class PrepareOptions:
    """`shares` of the splits, `licences` to which the clips are held (none: any)."""

    shares: Shares = DEFAULT_SHARES
    licences: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True, eq=False)
class _Found:
    """A row and what was found in its file."""

    row: Row
    path: str
    probe: Probe
    start_seconds: float
    end_seconds: float | None

    @property
    def seconds(self) -> float:
        end = self.probe.seconds if self.end_seconds is None else self.end_seconds
        return end - self.start_seconds


def prepare(source: Rows, output: Path, options: PrepareOptions, run: RunOptions) -> Report:
    """Probe the files of all rows and write the manifest `output`.

    Rows that fail are left out and listed beside it; a stop leaves what was done in the ledger.
    Raises ConfigError for an output or shares that cannot be, StorageError, AudioError where no
    row is left.
    """
    require_pyarrow()
    check_output(output)
    shares = checked_shares(options.shares)
    rows, notes = _licensed(source.rows, options.licences)
    items = probe_items(row.path for row in rows)
    result = run_items(items, Probing(options.limits), ledger_of(output), run)
    if not result.is_complete:
        return unfinished(result, source.problems)
    probes: dict[str, Probe] = {}
    failures = {*(problem_of(outcome) for outcome in result.failures)}
    for item, outcome in zip(items, result.outcomes, strict=True):
        if outcome is not None and outcome.record is not None:
            probes[os.path.abspath(item.payload)] = Probe.from_record(outcome.record)
    found: list[_Found] = []
    problems = [*source.problems]
    for row in rows:
        probe = probes.get(os.path.abspath(row.path))
        if probe is None:
            continue  # its file's failure is told once
        try:
            found.append(_fitted(row, probe, output.parent))
        except (AudioError, ConfigError) as error:
            problems.append(Problem(row.name, str(error), error.exit_code))
    problems += sorted(failures, key=lambda one: one.name)
    if not found:
        first = f"; the first: {problems[0].name}: {problems[0].reason}" if problems else ""
        raise AudioError(f"no row is left for {str(output)!r} (0 clips){first}")
    damaged = sum(bool(probe.problems) for probe in probes.values())
    if damaged:
        notes.append(f"{damaged:,} files are damaged and taken as far as they go: see data clean")
    clips = _clips(found, shares, notes)
    write_manifest(output, clips)
    write_failures(output, problems)
    return Report(output, len(clips), count_new(result), 0, tuple(problems), tuple(notes))


def check_output(output: Path) -> None:
    """Raise ConfigError for a name no manifest has: a file named by mistake would be lost."""
    if output.suffix.lower() != ".parquet":
        raise ConfigError(f"output is {str(output)!r}; expected a name that ends in .parquet")


def checked_shares(values: Sequence[float]) -> Shares:
    """Shares of train, validation and test. Raises ConfigError unless they are three that sum to
    1."""
    if len(values) != len(SPLITS) or not (
        all(share >= 0 for share in values) and abs(sum(values) - 1) < 1e-6
    ):
        shown = ", ".join(f"{share:g}" for share in values) or "none"
        raise ConfigError(
            f"the shares of the splits are {shown}; expected three that sum to 1, such as "
            "0.9,0.05,0.05"
        )
    train, validation, test = values
    return train, validation, test


def splits_of(
    groups: Iterable[str], shares: Shares, *, none_empty: bool = True
) -> dict[str, Split]:
    """The split of each group, by its hash: it stays what it is when others come or go.

    With `none_empty` a split that got none takes one of the others', as happens among few groups,
    provided that there are more groups than splits.
    """
    found = {group: split_of(group, shares) for group in groups}
    wanted = [split for split, share in zip(SPLITS, shares, strict=True) if share > 0]
    if not none_empty or len(found) <= len(wanted):
        return found
    for split in wanted:
        taken = Counter(found.values())
        if not taken[split]:
            spare = [group for group, its_split in found.items() if taken[its_split] > 1]
            found[min(spare, key=lambda group: key_of(split, group))] = split
    return found


def _licensed(rows: Sequence[Row], licences: Sequence[str]) -> tuple[list[Row], list[str]]:
    """The rows with one of `licences`, and what of the others is to be told."""
    if not licences:
        return list(rows), []
    wanted = {_plain(licence) for licence in licences}
    kept = [row for row in rows if row.licence is not None and _plain(row.licence) in wanted]
    unknown = sum(row.licence is None for row in rows)
    others = Counter(
        row.licence for row in rows if row.licence is not None and _plain(row.licence) not in wanted
    )
    notes = []
    if unknown:
        notes.append(f"{unknown:,} clips have no known licence and are left out")
    if others:
        shown = ", ".join(f"{licence} ({count:,})" for licence, count in sorted(others.items()))
        notes.append(f"{others.total():,} clips have another licence and are left out: {shown}")
    if not kept:
        raise ConfigError(
            f"no clip has the licence {' or '.join(licences)}; {'; '.join(notes) or 'none is here'}"
        )
    return kept, notes


def _plain(licence: str) -> str:
    """`CC BY 4.0`, `cc-by-4.0` and `CC-BY_4.0` are one."""
    return re.sub(r"[\W_]+", "", licence.casefold())


def _fitted(row: Row, probe: Probe, folder: Path) -> _Found:
    """The row with its passage held to the length of its file."""
    start, end = row.start_seconds, row.end_seconds
    if start >= probe.seconds:
        raise AudioError(
            f"the passage begins at {start:g} s, and {row.path} ends at {probe.seconds:.2f} s"
        )
    if end is not None and end > probe.seconds + _END_TOLERANCE_SECONDS:
        raise AudioError(f"the passage ends at {end:g} s, and {row.path} at {probe.seconds:.2f} s")
    if end is not None and end >= probe.seconds:
        end = None
    path = relative_path(row.path, folder)
    for text in (path, row.caption, row.group, row.licence, row.source, *(row.controls or {})):
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:  # a file's name may be any bytes, JSON has half signs
            raise ConfigError(f"{text!a} is no text (UTF-8); rename the file or mend it") from error
    return _Found(row, path, probe, start, end)


def _clips(found: Sequence[_Found], shares: Shares, notes: list[str]) -> list[Clip]:
    """The clips in the order of their paths and passages."""
    found = sorted(found, key=lambda one: (one.path, one.start_seconds, one.row.name))
    groups = _groups(found)
    splits = _splits(found, groups, shares, notes)
    used: Counter[str] = Counter()
    clips = []
    for one, group, split in zip(found, groups, splits, strict=True):
        row, probe = one.row, one.probe
        passage = f"{probe.content} {one.start_seconds:.3f} {one.end_seconds}"
        plain_id = hashlib.blake2b(passage.encode(), digest_size=8).hexdigest()
        used[plain_id] += 1
        clips.append(
            Clip(
                id=plain_id if used[plain_id] == 1 else f"{plain_id}-{used[plain_id]}",
                path=one.path,
                content=probe.content,
                seconds=one.seconds,
                sample_rate=probe.sample_rate,
                channels=probe.channels,
                split=split,
                group=group,
                start_seconds=one.start_seconds,
                end_seconds=one.end_seconds,
                caption=row.caption,
                caption_source=row.caption_source,
                controls=row.controls,
                licence=row.licence,
                source=row.source or "folder",
                music=row.music,
            )
        )
    again = sum(count - 1 for count in used.values())
    if again:
        notes.append(f"{again:,} clips hold what another holds to the byte; they share its split")
    return clips


def _groups(found: Sequence[_Found]) -> list[str]:
    """For each clip the name of what must stay together: artist, album or video where known, else
    the content; joined where the sound is of the same recording."""
    probes = list({one.probe.content: one.probe for one in found}.values())
    number = {probe.content: index for index, probe in enumerate(probes)}
    recordings = group_recordings([probe.fingerprint for probe in probes])
    named: dict[str, int] = {}
    # A clip joins its recording with its named group: two kinds of things in one numbering.
    joined = Joined(len(probes) + len(found))
    for index, recording in enumerate(recordings):
        joined.join(index, recording)
    for one in found:
        if one.row.group is not None:
            place = named.setdefault(one.row.group, len(probes) + len(named))
            joined.join(number[one.probe.content], place)
    names: dict[int, list[str]] = defaultdict(list)
    for group, place in named.items():
        names[joined.first(place)].append(group)
    contents: dict[int, list[str]] = defaultdict(list)
    for content, index in number.items():
        contents[joined.first(index)].append(content)
    firsts = [joined.first(number[one.probe.content]) for one in found]
    return [
        min(names[first]) if names[first] else f"content:{min(contents[first])[:32]}"
        for first in firsts
    ]


def _splits(
    found: Sequence[_Found],
    groups: Sequence[str],
    shares: Shares,
    notes: list[str],
) -> list[Split]:
    """What the source says wins, also for the other clips of its group."""
    given: dict[str, set[Split]] = defaultdict(set)
    for one, group in zip(found, groups, strict=True):
        if one.row.split is not None:
            given[group].add(one.row.split)
    torn = [group for group, splits in given.items() if len(splits) > 1]
    if torn:
        notes.append(
            f"the source puts {len(torn):,} groups into more than one split, such as {torn[0]}; "
            "data validate names the clips"
        )
    open_groups = [group for group in dict.fromkeys(groups) if group not in given]
    by_hash = splits_of(open_groups, shares, none_empty=not given)
    of_group = {group: min(splits, key=SPLITS.index) for group, splits in given.items()} | by_hash
    return [one.row.split or of_group[group] for one, group in zip(found, groups, strict=True)]
