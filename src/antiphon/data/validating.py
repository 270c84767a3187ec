"""`data validate`: is a manifest fit to train from? Every finding names its clip and a way out.

Every file is read again: a check that trusted what was noted down would check the notes.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from antiphon.audio import Limits
from antiphon.data.fingerprints import group_recordings
from antiphon.data.manifest import SPLITS, Clip, Manifest, duplicated_ids, read_manifest
from antiphon.data.probing import Probe, Probing, probe_items
from antiphon.data.running import RunOptions, run_items

Level = Literal["error", "warning"]

MIN_WORDS = 3
MAX_TOKENS = 256  # of the text encoder; what is beyond is cut off in training
_TOKENS_PER_WORD = 1.35  # of T5 on English captions, roughly
_CHARACTERS_PER_TOKEN = 4.0
MAX_OTHER_SCRIPT_SHARE = 0.3  # of a caption's letters
SECONDS_TOLERANCE = 0.1
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Finding:
    """What is wrong: an error makes a manifest unfit, a warning is for a person to judge."""

    level: Level
    check: str
    clip: str | None
    message: str


@dataclass(frozen=True)
class Validation:
    """The findings, and what there is in numbers. `not_reached` files were left out by a stop."""

    path: str
    clips: int
    hours: float
    splits: Mapping[str, int]
    captioned: int
    words_median: float | None
    tokens_max: int | None
    other_script_share: float
    licences: Mapping[str, int]
    files_read: int
    not_reached: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        return not self.not_reached and all(one.level != "error" for one in self.findings)


def validate(
    manifest_path: Path,
    run: RunOptions,
    limits: Limits = DEFAULT_LIMITS,
    *,
    read_audio: bool = True,
) -> Validation:
    """Check rows, captions, splits and, with `read_audio`, every file.

    Raises ConfigError for what is no manifest at all, StorageError.
    """
    manifest = read_manifest(manifest_path, checked=False)
    clips = manifest.clips
    findings = [*_rows(clips), *_captions(clips), *_splits(clips)]
    manifest = Manifest(manifest.folder, tuple(clip for clip in clips if clip.path))
    findings += _missing(manifest)
    probes: dict[str, Probe] = {}
    not_reached = 0
    if read_audio and clips:
        probes, trouble, not_reached = _probed(manifest, manifest_path, run, limits)
        findings += [*trouble, *_files(manifest, probes), *_same_sound(manifest, probes)]
    words = [len(clip.caption.split()) for clip in clips if clip.caption]
    order = {"error": 0, "warning": 1}
    return Validation(
        path=str(manifest_path),
        clips=len(clips),
        hours=round(sum(c.seconds for c in clips if c.seconds == c.seconds) / 3600, 4),
        splits={split: sum(clip.split == split for clip in clips) for split in SPLITS},
        captioned=len(words),
        words_median=sorted(words)[len(words) // 2] if words else None,
        tokens_max=max((tokens(c.caption) for c in clips if c.caption), default=None),
        other_script_share=round(other_script_share(" ".join(c.caption or "" for c in clips)), 4),
        licences=dict(sorted(Counter(clip.licence or "unknown" for clip in clips).items())),
        files_read=len(probes),
        not_reached=not_reached,
        findings=tuple(sorted(findings, key=lambda one: order[one.level])),
    )


def tokens(text: str) -> int:
    """Roughly how many tokens a T5 tokenizer makes of a caption."""
    return round(max(len(text.split()) * _TOKENS_PER_WORD, len(text) / _CHARACTERS_PER_TOKEN))


def other_script_share(text: str) -> float:
    """The share of letters that belong to no Latin alphabet. It tells Cyrillic or Chinese captions
    from English ones, and not French from English."""
    letters = [sign for sign in text if sign.isalpha()]
    others = sum(not unicodedata.name(sign, "").startswith(("LATIN", "FULLWIDTH LATIN"))
                 for sign in letters)  # fmt: skip
    return others / len(letters) if letters else 0.0


def report_lines(validation: Validation, most: int = 20) -> list[str]:
    """For people: what there is, then the findings, of each check `most` at most."""
    splits = ", ".join(f"{name} {count:,}" for name, count in validation.splits.items())
    licences = ", ".join(f"{name} ({count:,})" for name, count in validation.licences.items())
    lines = [
        f"{validation.path}: {validation.clips:,} clips, {validation.hours:.2f} h",
        f"  splits      {splits}",
        f"  captions    {validation.captioned:,} of {validation.clips:,}"
        + (
            f", {validation.words_median:.0f} words in the middle, about "
            f"{validation.tokens_max} tokens at most"
            if validation.words_median is not None
            else ""
        ),
        f"  letters     {validation.other_script_share:.1%} of no Latin alphabet",
        f"  licences    {licences or 'none'}",
        f"  files       {validation.files_read:,} read"
        + (f", {validation.not_reached:,} not reached" if validation.not_reached else ""),
    ]
    by_check: dict[tuple[Level, str], list[Finding]] = defaultdict(list)
    for finding in validation.findings:
        by_check[finding.level, finding.check].append(finding)
    for (level, check), found in by_check.items():
        lines.append(f"{level}: {check} ({len(found):,})")
        lines += [f"  {one.clip + ': ' if one.clip else ''}{one.message}" for one in found[:most]]
        if len(found) > most:
            lines.append(f"  … {len(found) - most:,} more (--json lists all)")
    count = Counter(finding.level for finding in validation.findings)
    verdict = "sound" if validation.is_sound else "not sound"
    lines.append(f"{verdict}: {count['error']:,} errors, {count['warning']:,} warnings")
    return lines


def _rows(clips: Iterable[Clip]) -> Iterator[Finding]:
    clips = list(clips)
    if not clips:
        yield Finding("error", "schema", None, "the manifest holds no clip (0 rows)")
    for clip in clips:
        for problem in clip.problems():
            yield Finding("error", "schema", clip.id, problem)
    for again in duplicated_ids(clips):
        yield Finding("error", "schema", again, "the id is there more than once")
    unlicensed = sum(clip.licence is None for clip in clips)
    if unlicensed:
        message = f"{unlicensed:,} clips have no known licence; prepare --licence leaves them out"
        yield Finding("warning", "licence", None, message)


def _captions(clips: Iterable[Clip]) -> Iterator[Finding]:
    without = 0
    for clip in clips:
        text = clip.caption
        if text is None:
            without += 1
            continue
        words, count = len(text.split()), tokens(text)
        if not words:
            yield Finding(
                "error", "caption", clip.id, "the caption is empty; expected text or none"
            )
            continue
        if words < MIN_WORDS:
            message = f"{text!r} has {words} words; expected {MIN_WORDS} or more"
            yield Finding("warning", "caption", clip.id, message)
        if count > MAX_TOKENS:
            message = (
                f"about {count} tokens; what is beyond {MAX_TOKENS} is cut off: {text[:60]!r}…"
            )
            yield Finding("warning", "caption", clip.id, message)
        share = other_script_share(text)
        if share > MAX_OTHER_SCRIPT_SHARE:
            message = f"{share:.0%} of its letters are of no Latin alphabet: {text[:60]!r}"
            yield Finding("warning", "language", clip.id, message)
    if without:
        message = f"{without:,} clips have no caption; data caption writes some"
        yield Finding("warning", "caption", None, message)


def _splits(clips: Iterable[Clip]) -> Iterator[Finding]:
    clips = list(clips)
    yield from _leaks(clips, "group", lambda clip: clip.group)
    yield from _leaks(clips, "content", lambda clip: clip.content)
    counts = Counter(clip.split for clip in clips)
    if clips and not counts["train"]:
        yield Finding("error", "splits", None, "no clip is in the split train; prepare it anew")
    if clips and not counts["validation"]:
        message = "no clip is in the split validation: training cannot tell when it gets worse"
        yield Finding("warning", "splits", None, message)
    seen: dict[tuple[str, float, float | None], str] = {}
    for clip in clips:
        first = seen.setdefault((clip.content, clip.start_seconds, clip.end_seconds), clip.id)
        if first != clip.id:
            message = f"holds the same bytes as {first}; it counts double in training"
            yield Finding("warning", "duplicate", clip.id, message)


def _leaks(clips: Iterable[Clip], what: str, of: Callable[[Clip], str]) -> Iterator[Finding]:
    """Clips that have something in common and lie in different splits."""
    splits: dict[str, dict[str, str]] = defaultdict(dict)
    for clip in clips:
        splits[of(clip)].setdefault(clip.split, clip.id)
    for value, ids in splits.items():
        if len(ids) > 1:
            shown = ", ".join(f"{split} ({clip})" for split, clip in sorted(ids.items()))
            message = f"{what} {value!r:.60} is in {shown}; prepare puts it on one side"
            yield Finding("error", "leakage", next(iter(ids.values())), message)


def _missing(manifest: Manifest) -> Iterator[Finding]:
    for clip in manifest.clips:
        path = manifest.path_of(clip)
        if not path.is_file():
            message = f"{path} is missing; put it back or prepare the manifest anew"
            yield Finding("error", "file", clip.id, message)


def _probed(
    manifest: Manifest, manifest_path: Path, run: RunOptions, limits: Limits
) -> tuple[dict[str, Probe], list[Finding], int]:
    """What the files hold, by absolute path; what could not be read; how many a stop left out."""
    of_path: dict[str, str] = {}
    for clip in manifest.clips:
        if manifest.path_of(clip).is_file():
            of_path.setdefault(os.path.abspath(manifest.path_of(clip)), clip.id)
    items = probe_items(map(Path, of_path))
    ledger = manifest_path.with_name(f"{manifest_path.name}.validate.jsonl")
    result = run_items(items, Probing(limits), ledger, run)
    if result.is_complete:
        ledger.unlink(missing_ok=True)  # the next check reads all anew
    probes: dict[str, Probe] = {}
    trouble = []
    for (path, clip_id), outcome in zip(of_path.items(), result.outcomes, strict=True):
        if outcome is not None and outcome.record is not None:
            probes[path] = Probe.from_record(outcome.record)
        elif outcome is not None:
            trouble.append(Finding("error", "file", clip_id, outcome.error or "cannot be read"))
    return probes, trouble, result.outcomes.count(None)


def _files(manifest: Manifest, probes: Mapping[str, Probe]) -> Iterator[Finding]:
    for clip in manifest.clips:
        probe = probes.get(os.path.abspath(manifest.path_of(clip)))
        if probe is None:
            continue
        if probe.content != clip.content:
            message = f"{clip.path} is another file than when it was prepared; prepare it anew"
            yield Finding("error", "hash", clip.id, message)
        end = probe.seconds if clip.end_seconds is None else clip.end_seconds
        if end > probe.seconds + SECONDS_TOLERANCE:
            message = f"ends at {end:g} s, and {clip.path} at {probe.seconds:.2f} s"
            yield Finding("error", "range", clip.id, message)
        elif abs(end - clip.start_seconds - clip.seconds) > SECONDS_TOLERANCE:
            message = f"is {end - clip.start_seconds:.2f} s long; the row says {clip.seconds:g} s"
            yield Finding("error", "range", clip.id, message)
        for name in ("sample_rate", "channels"):
            told, found = getattr(clip, name), getattr(probe, name)
            if told != found:
                message = f"{name} is {found} in {clip.path}; the row says {told}"
                yield Finding("error", "range", clip.id, message)
        for problem in probe.problems:
            message = f"{clip.path} is damaged: {problem}; data clean puts it aside"
            yield Finding("warning", "damage", clip.id, message)


def _same_sound(manifest: Manifest, probes: Mapping[str, Probe]) -> Iterator[Finding]:
    """Recordings that are in several files, told by their fingerprints."""
    by_content = {probe.content: probe for probe in probes.values()}
    contents = list(by_content)
    firsts = group_recordings([by_content[content].fingerprint for content in contents])
    recording = {content: contents[first] for content, first in zip(contents, firsts, strict=True)}
    clips = []
    for clip in manifest.clips:
        probe = probes.get(os.path.abspath(manifest.path_of(clip)))
        if probe is not None:
            clips.append((clip, recording[probe.content], probe.content))
    first_of: dict[str, tuple[Clip, str]] = {}
    for clip, name, content in clips:
        first, its_content = first_of.setdefault(name, (clip, content))
        if content == its_content:
            continue  # the same bytes: told already
        if clip.split != first.split:
            message = (
                f"sounds like {first.id} ({first.path}), which is in {first.split} while this is "
                f"in {clip.split}; prepare puts them on one side"
            )
            yield Finding("error", "leakage", clip.id, message)
        else:
            message = f"sounds like {first.id} ({first.path}); it counts double in training"
            yield Finding("warning", "duplicate", clip.id, message)
