"""Composed sound into files: first beside its place as it comes, then at its level and in its form.

Memory does not grow with the length of a piece, but for a recording that is continued.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from antiphon.analysis.level import LevelMeter
from antiphon.audio import FloatArray, Resampler, growing, with_channels, write
from antiphon.audio.stream import BLOCK_FRAMES
from antiphon.compose.choosing import Candidate, Judgement, choose, judge, said_of
from antiphon.compose.composer import PEAK_DBTP, Composer, below_full_scale
from antiphon.compose.forms import Form, sidecar
from antiphon.compose.requests import Performance, Plan
from antiphon.errors import ConfigError
from antiphon.files import atomic_write, storage_error
from antiphon.score import Score

_LOOP_EDGE_SECONDS = 0.1
_COMMENT_BYTES = 2_000  # libsndfile reads no longer one in WAV, and no Opus file with 50 kB


@dataclass(frozen=True, eq=False)
class Delivered:
    """One written piece, as it goes into results."""

    path: Path
    seconds: float
    seed: int
    requested: Mapping[str, object]
    measured: Mapping[str, object]
    adherence: Mapping[str, object]
    score: Score | None
    provenance: Mapping[str, object]
    notes: tuple[str, ...]
    candidates: tuple[Candidate, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain data under the names of the JSON output."""
        return vars(self) | {
            "path": str(self.path),
            "score": None if self.score is None else json.loads(self.score.to_json()),
            "notes": list(self.notes),
            "candidates": [asdict(one) for one in self.candidates],
        }


def write_sidecar(delivered: Delivered) -> None:
    """Write the description of a piece beside it. Raises StorageError."""
    plain = delivered.to_dict() | {"path": delivered.path.name}
    text = json.dumps(plain, ensure_ascii=False, indent=1)
    atomic_write(sidecar(delivered.path), (text + "\n").encode("utf-8", "backslashreplace"))


def deliver(
    composer: Composer,
    performance: Performance,
    forms: Sequence[Form],
    on_samples: Callable[[int], None] | None = None,
) -> tuple[Delivered, ...]:
    """Play what `composer` has planned and write each piece, with its sidecar, in its form;
    `on_samples` is told of every block how long it is.

    There may be several plans for each form, one after the other: of these candidates the best is
    written. Everything that can be refused is refused before anything is computed. A file appears
    whole or not at all. Raises ConfigError, EngineError, StorageError (DiskFullError).
    """
    with played(composer, performance, forms, on_samples) as pieces:
        return tuple(write() for write in pieces)


@contextmanager
def played(
    composer: Composer,
    performance: Performance,
    forms: Sequence[Form],
    on_samples: Callable[[int], None] | None = None,
) -> Iterator[tuple[Callable[[], Delivered], ...]]:
    """The same up to the files: as long as the block lasts, each function writes one piece."""
    renderer = composer.renderer
    count = len(performance.plans) // len(forms)
    assert count * len(forms) == len(performance.plans), "as many candidates for each"
    fitted = [form.fitted(renderer.sample_rate, renderer.channels) for form in forms]
    forms = [form for form in fitted for _ in range(count)]
    with ExitStack() as stack:
        spools = [
            stack.enter_context(
                _Spool(form, form.channels or renderer.channels, renderer.sample_rate, plan.samples)
            )
            for form, plan in zip(forms, performance.plans, strict=True)
        ]
        for block in performance.blocks():
            spools[block.item].add(block.samples)
            if on_samples:
                on_samples(block.samples.shape[1])
        written = list(zip(performance.plans, forms, spools, strict=True))
        yield tuple(
            partial(_finished, composer, written[first : first + count])
            for first in range(0, len(written), count)
        )


def deliver_growing(
    composer: Composer,
    performance: Performance,
    form: Form,
    on_samples: Callable[[int], None] | None = None,
) -> Delivered:
    """Play the one piece of `performance` into a file that grows as it goes; what is there at an
    interruption stays and can be played. Its level is what the model gives: beyond full scale it is
    clipped, and the result says so.
    """
    _require_no_end(form)
    renderer = composer.renderer
    form = form.fitted(renderer.sample_rate, renderer.channels)
    (plan,) = performance.plans
    provenance = composer.provenance(plan)
    clipped = 0
    formed = _formed(_spoken(performance, on_samples), form, renderer.sample_rate)
    first = next(formed)  # a model that fails at once leaves what is there alone
    with suppress(OSError):
        sidecar(form.path).unlink()  # it describes what is no more
    with growing(
        form.path,
        sample_rate=form.sample_rate or renderer.sample_rate,
        channels=form.channels or renderer.channels,
        format=form.format,
        bit_depth=form.bit_depth,
        metadata=_metadata(plan, provenance),
    ) as add:
        for samples in chain([first], formed):
            clipped += int((np.abs(samples) > 1.0).sum()) if form.bit_depth != 32 else 0
            add(samples)
    notes = (f"{clipped} samples were beyond full scale and are clipped",) if clipped else ()
    return _delivered(composer, plan, form, notes)


def stream_pcm(
    performance: Performance,
    file: BinaryIO,
    form: Form,
    sample_rate: int,
    on_samples: Callable[[int], None] | None = None,
) -> None:
    """Play the one piece of `performance`, which comes at `sample_rate`, as bare PCM into an open
    file, such as a player's pipe: 16-bit little endian, or float32 for a bit depth of 32, channels
    interleaved."""
    _require_no_end(form)
    if form.format is not None:
        raise ConfigError(f"--format is {form.format!r}; expected none: raw PCM has no format")
    if form.bit_depth not in (None, 16, 32):
        raise ConfigError(f"bit depth is {form.bit_depth}; expected for raw PCM: 16 or 32 (float)")
    blocks = _spoken(performance, on_samples)
    for samples in _formed(blocks, form, sample_rate):
        file.write(samples.T.astype("<f4").tobytes() if form.bit_depth == 32 else pcm16(samples))
        file.flush()


def pcm16(samples: FloatArray) -> bytes:
    """Samples [C, n] in 16 bits, little endian, channels interleaved; clipped at full scale."""
    return np.rint(np.clip(samples.T, -1.0, 1.0) * 32_767).astype("<i2").tobytes()


def _require_no_end(form: Form) -> None:
    if form.loudness_lufs is not None or form.fade_seconds:
        raise ConfigError(
            "loudness and fade need the whole piece, and a stream has only its beginning; leave "
            "out --stream, or them"
        )


class _Spool:
    """A piece as it comes, with the channels and the fade of its file, in a nameless file beside
    its place; and how loud it is."""

    def __init__(self, form: Form, channels: int, sample_rate: int, total: int) -> None:
        self._path = form.path
        self._channels = channels
        self._fade = round(form.fade_seconds * sample_rate)
        self._total = total
        try:
            self._file = tempfile.TemporaryFile(dir=form.path.parent)  # noqa: SIM115 - see __exit__
        except OSError as error:
            raise storage_error("write", form.path, error) from error
        self.meter = LevelMeter(sample_rate, channels)
        self._highest = 0.0
        self._sample_rate = sample_rate
        self.samples = 0

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *unused: object) -> None:
        with suppress(OSError):  # on a full disk what is left in the buffer cannot be written
            self._file.close()

    def add(self, block: FloatArray) -> None:
        block = self._faded(with_channels(block, self._channels))
        try:
            self._file.write(np.ascontiguousarray(block.T).tobytes())
        except OSError as error:
            raise storage_error("write", self._path, error) from error
        self.meter.push(block)
        self._highest = max(self._highest, float(np.abs(block).max(initial=0.0)))
        self.samples += block.shape[1]

    def peak(self, sample_rate: int | None) -> float:
        """The highest sample; at another rate it may be one that lies between them."""
        between = self.meter.loudness().true_peak_dbtp
        if sample_rate in (None, self._sample_rate) or between is None:
            return self._highest
        return max(self._highest, float(10 ** (between / 20)))

    def _faded(self, block: FloatArray) -> FloatArray:
        """The last samples of the piece fall to nothing."""
        left = self._total - self.samples
        if not self._fade or left - block.shape[1] >= self._fade:
            return block
        fall = np.arange(left, left - block.shape[1], -1) / self._fade
        return block * np.minimum(fall, 1.0).astype(np.float32)

    def blocks(self) -> Iterator[FloatArray]:
        size = BLOCK_FRAMES * self._channels * 4
        try:
            self._file.seek(0)
            while data := self._file.read(size):
                yield np.frombuffer(data, np.float32).reshape(-1, self._channels).T
        except OSError as error:
            raise storage_error("write", self._path, error) from error


def _finished(composer: Composer, candidates: Sequence[tuple[Plan, Form, _Spool]]) -> Delivered:
    """The best of some candidates for one file, written."""
    if len(candidates) == 1:
        ((plan, form, spool),) = candidates
        notes = _write(composer, plan, form, spool, form.path)
        return _delivered(composer, plan, form, notes)
    judged = []
    place = candidates[0][1].path
    with tempfile.TemporaryDirectory(prefix=f".{place.stem}-", dir=place.parent) as folder:
        for number, (plan, form, spool) in enumerate(candidates):
            path = Path(folder) / f"{number}{place.suffix}"
            notes = _write(composer, plan, form, spool, path)
            judged.append((judge(plan, path, composer.hear, form.loudness_lufs), plan, path, notes))
        best = choose([judgement for judgement, *_ in judged])
        judgement, plan, path, notes = judged[best]
        os.replace(path, place)
    found = tuple(
        Candidate(plan.request.seed, one.kept, len(one.adherence), number == best)
        for number, (one, plan, *_) in enumerate(judged)
    )
    return _told(composer, judged[best][1], place, judgement, notes, found)


def _write(
    composer: Composer, plan: Plan, form: Form, spool: _Spool, path: Path
) -> tuple[str, ...]:
    """Write one piece to `path`; what is to be said of it."""
    assert spool.samples == plan.samples, f"{spool.samples} samples of {plan.samples} planned"
    gain, notes = _gain(form, spool)
    provenance = composer.provenance(plan)
    rate = composer.renderer.sample_rate
    scaled = (block * np.float32(gain) for block in spool.blocks())
    if plan.loop is not None and form.sample_rate not in (None, rate):
        formed = _formed_loop(scaled, form, rate, plan.samples)
    else:
        formed = _formed(scaled, form, rate)
    write(
        path,
        formed,
        sample_rate=form.sample_rate or rate,
        format=form.format,
        bit_depth=form.bit_depth,
        metadata=_metadata(plan, provenance),
    )
    return notes


def _gain(form: Form, spool: _Spool) -> tuple[float, tuple[str, ...]]:
    """The factor that brings a piece to its loudness, or only below full scale."""
    if form.loudness_lufs is None:
        if form.bit_depth == 32:
            return 1.0, ()
        return below_full_scale(spool.peak(form.sample_rate))
    loudness = spool.meter.loudness()
    if loudness.integrated_lufs is None or loudness.true_peak_dbtp is None:
        return 1.0, ("the loudness cannot be measured: it is left as it is",)
    wanted = form.loudness_lufs - loudness.integrated_lufs
    possible = PEAK_DBTP - loudness.true_peak_dbtp
    if wanted <= possible:
        return float(10 ** (wanted / 20)), ()
    reached = loudness.integrated_lufs + possible
    return float(10 ** (possible / 20)), (
        f"{form.loudness_lufs:g} LUFS would clip: it is {reached:.1f} LUFS, with peaks at "
        f"{PEAK_DBTP:g} dBTP",
    )


def _formed(blocks: Iterator[FloatArray], form: Form, sample_rate: int) -> Iterator[FloatArray]:
    """Blocks with the channels and at the rate of the file."""
    resampler: Resampler | None = None
    for block in blocks:
        block = with_channels(block, form.channels or block.shape[0])
        if resampler is None:
            resampler = Resampler(sample_rate, form.sample_rate or sample_rate, block.shape[0])
        yield resampler.process(block)
    if resampler is not None:
        yield resampler.flush()


def _formed_loop(
    blocks: Iterator[FloatArray], form: Form, sample_rate: int, samples: int
) -> Iterator[FloatArray]:
    """The same of a loop of `samples`: what is before its beginning is its end, and its beginning
    follows it; a rate changed without these would click at the seam."""
    whole = np.concatenate(list(blocks), axis=1)
    rate = form.sample_rate or sample_rate
    edge = min(round(_LOOP_EDGE_SECONDS * sample_rate), samples)
    around = np.concatenate([whole[:, samples - edge :], whole, whole[:, :edge]], axis=1)
    found = np.concatenate(list(_formed(iter([around]), form, sample_rate)), axis=1)
    start = round(edge * rate / sample_rate)
    yield found[:, start : start + round(samples * rate / sample_rate)]


def _spoken(
    performance: Performance, on_samples: Callable[[int], None] | None
) -> Iterator[FloatArray]:
    for block in performance.blocks():
        if on_samples:
            on_samples(block.samples.shape[1])
        yield block.samples


def _metadata(plan: Plan, provenance: Mapping[str, object]) -> dict[str, str]:
    """What the file itself says of its making; of long texts their beginning, as the sidecar has
    them whole."""
    for length in (10_000, 400, 100, 30, 5):
        said = json.dumps(_shortened(provenance, length), ensure_ascii=False)
        comment = said.encode("utf-8", "backslashreplace")
        if len(comment) <= _COMMENT_BYTES:
            break
    return {"genre": plan.wishes.genre or "", "comment": comment.decode()}


def _shortened(value: object, length: int) -> object:
    """Plain data with every text in it cut."""
    if isinstance(value, Mapping):
        return {name: _shortened(inner, length) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner, length) for inner in value[:length]]
    if isinstance(value, str) and len(value) > length:
        return value[: length - 1] + "…"
    return value


def _delivered(composer: Composer, plan: Plan, form: Form, notes: tuple[str, ...]) -> Delivered:
    judgement = judge(plan, form.path, composer.hear, form.loudness_lufs)
    return _told(composer, plan, form.path, judgement, notes)


def _told(
    composer: Composer,
    plan: Plan,
    path: Path,
    judgement: Judgement,
    notes: tuple[str, ...],
    candidates: tuple[Candidate, ...] = (),
) -> Delivered:
    """What was written, with its sidecar."""
    facts = judgement.facts
    delivered = Delivered(
        path=path,
        seconds=facts.duration_seconds,
        seed=plan.request.seed,
        requested=plan.wishes.to_dict(),
        measured={
            "tempo": facts.tempo.bpm,
            "key": facts.key.name,
            "metre": facts.metre.beats_per_bar,
            "duration": facts.duration_seconds,
            "loudness": facts.loudness.integrated_lufs,
            **judgement.heard_values,
        },
        adherence={name: asdict(one) for name, one in judgement.adherence.items()},
        score=plan.score,
        provenance=composer.provenance(plan),
        notes=(*plan.notes, *notes, *said_of(judgement, plan, candidates)),
        candidates=candidates,
    )
    write_sidecar(delivered)
    return delivered
