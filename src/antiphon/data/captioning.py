"""`data caption`: captions by the listening half, merged with what a manifest has already.

What people wrote stays, what was measured is put where nothing was given. Knows no source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.audio import Limits
from antiphon.controls import MAX_TEMPO_BPM, METRES, MIN_TEMPO_BPM
from antiphon.data.manifest import Clip, read_manifest, write_manifest
from antiphon.data.passages import Passage, name_of, passage_of, seen_from
from antiphon.data.preparing import check_output
from antiphon.data.probing import state_of
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
from antiphon.listen.ear import Ear, built_in_ear
from antiphon.listen.listener import Listener
from antiphon.listen.prompts import load_prompt_set

if TYPE_CHECKING:
    from antiphon.facts import Facts
    from antiphon.listen.engine_host import HostAddress
    from antiphon.listen.engines import Sampling

CAPTION_VERSION = 1
DEFAULT_SET, DEFAULT_KIND = "short", "brief"
# Of 112 arranged pieces of 20 s, eight each of 14 genres: with this confidence 92 tempos, of which
# .95 are right (all: .86), 107 keys (.99; all: .96), 108 metres (1.0; all: .97).
MIN_TEMPO_CONFIDENCE = 0.6
MIN_KEY_CONFIDENCE = 0.6
MIN_METRE_CONFIDENCE = 0.8
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class _Job:
    """`wants_words`: not where a caption stays as it is, since a model takes its time."""

    passage: Passage
    wants_words: bool


@dataclass(frozen=True)
class Captioning:
    """Describes a passage: by what is measured and heard, or by the model behind `engine`.

    `origin` tells that model from another of its name; `ear` is the folder of the trained listener
    that hears, None for the one in the package.
    """

    prompt_set: str = DEFAULT_SET
    kind: str = DEFAULT_KIND
    engine: HostAddress | None = None
    origin: str = ""
    sampling: Sampling | None = None
    limits: Limits = DEFAULT_LIMITS
    ear: Path | None = None

    def check(self) -> None:
        """Raise ConfigError for a set or a kind that is not there."""
        self.settings_key()

    def settings_key(self) -> str:
        prompts = load_prompt_set(self.prompt_set)
        prompts.select([self.kind])
        key = self._listener().settings_key(prompts, [self.kind])
        return f"{key} {prompts.kinds[self.kind]} {self.origin}"

    def open(self) -> Callable[[_Job], Record]:
        listener, prompts = self._listener(), load_prompt_set(self.prompt_set)

        def describe(job: _Job) -> Record:
            passage = job.passage
            facts = passage.measure(self.limits)
            found: dict[str, object] = {"controls": measured_controls(facts)}
            if job.wants_words:
                whole = passage.is_whole
                description = listener.describe(
                    passage.path if whole else passage.read(self.limits).waveform,
                    prompts=prompts,
                    kinds=[self.kind],
                    sampling=self.sampling,
                    measured=facts,
                    limits=self.limits,
                )
                found["caption"] = description.texts[self.kind]
                found["by"] = description.provenance.model
            return found

        return describe

    def _listener(self) -> Listener:
        from antiphon.listen.engine_host import EngineClient

        engine = None if self.engine is None else EngineClient(self.engine)
        ear = built_in_ear() if self.ear is None else Ear(self.ear)
        return Listener(engine, ear=ear)


def caption(
    manifest_path: Path,
    output: Path,
    captioning: Captioning,
    run: RunOptions,
    *,
    overwrite: bool = False,
) -> Report:
    """Write a manifest `output` in which every clip that can be read has a caption.

    Captions that are there stay unless `overwrite`; `caption_source` says who wrote one. Measured
    tempo, key and metre become controls where they are sure and none was given. Clips that fail
    keep what they had. Raises ConfigError, AudioError where all fail, StorageError.
    """
    check_output(output)
    captioning.check()
    if output.resolve() == manifest_path.resolve():
        raise ConfigError(f"output is {str(output)!r}, the manifest itself; name a new one")
    manifest = read_manifest(manifest_path)
    if not manifest.clips:
        raise ConfigError(f"{manifest_path} holds no clip (0 rows); make it anew with data prepare")
    settings = captioning.settings_key()
    items = [
        Item(
            key_of("caption", CAPTION_VERSION, settings, state_of(job.passage.path), job),
            name_of(clip, manifest),
            job,
        )
        for clip in manifest.clips
        for job in [_Job(passage_of(clip, manifest), overwrite or not clip.caption)]
    ]
    result = run_items(items, captioning, ledger_of(output), run)
    if not result.is_complete:
        return unfinished(result)
    problems = tuple(map(problem_of, result.failures))
    if len(problems) == len(items):
        raise AudioError(f"no clip could be captioned; the first: {problems[0].reason}")
    clips = []
    for clip, outcome in zip(manifest.clips, result.outcomes, strict=True):
        seen = seen_from(output.parent, clip, manifest)
        record = None if outcome is None else outcome.record
        clips.append(seen if record is None else merged(seen, record))
    write_manifest(output, clips)
    write_failures(output, problems)
    kept = 0 if overwrite else sum(bool(clip.caption) for clip in manifest.clips)
    notes = (f"{kept:,} captions were there and stay",) if kept else ()
    return Report(output, len(clips), count_new(result), 0, problems, notes)


def merged(clip: Clip, record: Record) -> Clip:
    """The clip with what was heard in it; what was given of controls holds."""
    heard = record["controls"]
    controls = {**(heard if isinstance(heard, Mapping) else {}), **(clip.controls or {})}
    clip = replace(clip, controls=controls or None)
    if "caption" not in record:
        return clip
    return replace(clip, caption=str(record["caption"]), caption_source=str(record["by"]))


def measured_controls(facts: Facts) -> dict[str, object]:
    """Tempo, key and metre by their option names, where they are sure enough to learn from."""
    found: dict[str, object] = {}
    tempo, key, metre = facts.tempo, facts.key, facts.metre
    sure = tempo.confidence >= MIN_TEMPO_CONFIDENCE
    if tempo.bpm is not None and sure and MIN_TEMPO_BPM <= tempo.bpm <= MAX_TEMPO_BPM:
        found["tempo"] = round(tempo.bpm, 1)
    if key.name is not None and key.confidence >= MIN_KEY_CONFIDENCE:
        found["key"] = key.name
    name = f"{metre.beats_per_bar}/4"
    if name in METRES and metre.confidence >= MIN_METRE_CONFIDENCE:
        found["metre"] = name
    return found
