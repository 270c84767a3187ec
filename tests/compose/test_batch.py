"""Batches: what is composed when, what is remembered, and that company changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from t5_models import tiny_musicgen

from antiphon.compose.batch import ledger as batch_ledger
from antiphon.compose.batch.prompt_files import Row
from antiphon.compose.batch.running import BatchOptions, BatchResult, Outcome, compose_batch
from antiphon.compose.composer import Composer, load_composer
from antiphon.compose.options import merged, request_of
from antiphon.compose.requests import Block, Plan, Request
from antiphon.controls import Controls
from antiphon.errors import ConfigError, DiskFullError, EngineError, StorageError

pytestmark = pytest.mark.integration

RATE = 16_000


@dataclass
class Fake:
    """A renderer of noise: fails for some prompts, and for others only in company."""

    sample_rate: int = RATE
    channels: int = 1
    model: str = "fake"
    threads: int = 1
    performed: list[list[str]] = field(default_factory=list)

    def perform(self, requests: Sequence[Request]) -> FakePerformance:
        return FakePerformance(self, requests)

    def provenance(self, request: Request) -> Mapping[str, object]:
        settings = {"threads": self.threads}
        return {"model": self.model, "revision": None, "licence": None, "settings": settings}


class FakePerformance:
    def __init__(self, renderer: Fake, requests: Sequence[Request]) -> None:
        self.renderer, self.requests = renderer, requests
        self.plans = tuple(
            Plan(
                request,
                round((request.controls.duration_seconds or 1.0) * RATE),
                Controls(),
                None,
                None,
                (),
                group=request.negative,
            )
            for request in requests
        )

    def blocks(self) -> Iterator[Block]:
        prompts = [request.prompt for request in self.requests]
        self.renderer.performed.append(prompts)
        for item, (request, plan) in enumerate(zip(self.requests, self.plans, strict=True)):
            noise = np.random.default_rng(request.seed).uniform(-0.5, 0.5, (1, plan.samples))
            yield Block(item, noise[:, : RATE // 2].astype(np.float32))
            if "full" in prompts:
                raise DiskFullError("no space left")
            if "bad" in prompts or ("shy" in prompts and len(prompts) > 1):
                raise EngineError("the model failed")
            if "defect" in prompts:
                raise ZeroDivisionError("of ours")
            yield Block(item, noise[:, RATE // 2 :].astype(np.float32))


@dataclass
class Batch:
    """A folder, a model and what was told."""

    folder: Path
    renderer: Fake = field(default_factory=Fake)
    composer: Composer | None = None  # in place of the fake
    told: list[int] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)

    def run(
        self, *rows: str | dict[str, object], size: int = 1, retry: bool = False, **defaults: object
    ) -> BatchResult:
        self.renderer.performed.clear()
        self.told.clear()
        self.failed.clear()

        @contextmanager
        def shown(total: int) -> Iterator[Callable[[int], None]]:
            self.told.append(-total)
            yield self.told.append

        return compose_batch(
            self.composer or Composer(self.renderer),
            [
                Row(number, number + 1, {"prompt": row} if isinstance(row, str) else row)
                for number, row in enumerate(rows)
            ],
            self.folder / "rows.txt",
            self.folder / "out",
            BatchOptions(defaults, 0, None, size, retry, 600.0),
            shown=shown,
            on_failure=self.failed.append,
        )

    @property
    def performed(self) -> list[list[str]]:
        return self.renderer.performed

    def files(self) -> dict[str, bytes]:
        """But for the ledger."""
        found = sorted((self.folder / "out").rglob("*"))
        return {p.name: p.read_bytes() for p in found if p.is_file() and p.name[0] != "."}


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


def test_what_is_done_is_not_done_again(batch: Batch) -> None:
    result = batch.run("one", "two", {"prompt": "three", "output": "deep/3.wav", "seed": "9"})
    assert [one.path for one in result.outcomes] == [
        batch.folder / "out" / name for name in ("0000-one.wav", "0001-two.wav", "deep/3.wav")
    ]
    assert [one.to_dict()["seed"] for one in result.outcomes] == [0, 1, 9]
    assert all(one.is_new for one in result.outcomes)
    assert result.sound_seconds == pytest.approx(3.0)
    before = batch.files()
    assert len(before) == 6

    again = batch.run("one", "two", {"prompt": "three", "output": "deep/3.wav", "seed": "9"})
    assert batch.performed == []
    assert not any(one.is_new for one in again.outcomes)
    assert again.real_time_factor is None
    assert [one.to_dict() for one in again.outcomes] == [one.to_dict() for one in result.outcomes]

    # A row with a name and a seed of its own is known wherever it stands.
    batch.run({"prompt": "three", "output": "deep/3.wav", "seed": "9"})
    assert batch.performed == []

    for lost in ("0001-two.wav", "0000-one.json"):
        (batch.folder / "out" / lost).unlink()
    batch.run("one", "two")
    assert batch.performed == [["one"], ["two"]]
    assert batch.files() == before


def test_what_changed_is_made_again(batch: Batch) -> None:
    first = {"prompt": "one", "output": "a.wav"}
    batch.run(first)
    before = batch.files()
    for changed, defaults in (
        ({**first, "seed": 3}, {}),
        ({**first, "prompt": "other"}, {}),
        (first, {"loudness": -20.0}),
        (first, {}),  # what was done at first has been written over since
    ):
        batch.run(changed, **defaults)
        assert len(batch.performed) == 1
        batch.run(changed, **defaults)
        assert batch.performed == []
    assert batch.files() == before
    batch.renderer.threads = 2  # changes no piece
    batch.run(first)
    assert batch.performed == []
    batch.renderer.model = "another"
    batch.run(first)
    assert batch.performed == [["one"]]


def test_a_changed_recording_is_a_change(batch: Batch) -> None:
    recording = batch.folder / "r.wav"
    for prompt in ("a", "b"):
        batch.run({"prompt": prompt, "output": "r.wav"})
        recording.write_bytes((batch.folder / "out" / "r.wav").read_bytes())
        row = {"prompt": "go on", "continue": str(recording), "output": "more.wav"}
        assert batch.run(row).failures == ()
        assert batch.performed == [["go on"]]
        batch.run(row)
        assert batch.performed == []
    recording.write_bytes(b"RIFF but no more")
    (failure,) = batch.run(row).failures
    assert "r.wav" in str(failure.error)
    recording.unlink()
    (failure,) = batch.run(row).failures
    assert (failure.exit_code, "does not exist" in str(failure.error)) == (74, True)


def test_a_piece_takes_no_place_of_what_it_is_made_from(batch: Batch) -> None:
    batch.run({"prompt": "a", "output": "mine.wav"})
    mine = batch.folder / "out" / "mine.wav"
    before = mine.read_bytes()
    row = {"prompt": "go on", "continue": str(mine), "output": "mine.wav"}
    (failure,) = batch.run(row).failures
    assert "would take the place of the row's own continue file" in str(failure.error)
    assert mine.read_bytes() == before


def test_bad_rows_are_named_and_the_others_go_on(batch: Batch) -> None:
    rows = (
        "good",
        "bad",
        {"prompt": "x", "tempo": "fast"},
        {"tempo": 90},
        {"prompt": 7},
        {"prompt": "x", "output": "0000-good.wav"},
        {"prompt": "x", "output": "0000-Good.FLAC"},  # one sidecar
        {"prompt": "x", "output": "../x.wav"},
        {"prompt": "x", "output": "/x.wav"},
        {"prompt": "x", "output": "."},
        {"prompt": "x", "output": "a\0b.wav"},
        {"prompt": "x", "output": "x.json", "format": "wav"},
        {"prompt": "x", "output": "failed.jsonl", "format": "wav"},
        {"prompt": "x", "output": "../rows.txt", "format": "wav"},
        {"prompt": "x", "output": "0000-good.wav/x.wav"},
        {"prompt": "x", "format": "../../x"},
        {"prompt": "x", "output": "x.xyz"},
        {"prompt": "x", "duration": 10**400},
        {"prompt": "x", "seed": -1},
        {"prompt": "x", "seed": 1.5},
        {"prompt": "x", "section": "no second"},
        {"prompt": "x", "intro": "perhaps"},
        "defect",
        "also good",
    )
    result = batch.run(*rows)
    assert [one.row.number for one in result.outcomes] == list(range(len(rows)))
    good = [one.row.number for one in result.outcomes if one.path is not None]
    assert good == [0, len(rows) - 1]
    reasons = {one.row.number: str(one.error) for one in result.failures}
    for number, expected in enumerate((
        "", "the model failed", "tempo is 'fast'", "prompt is None", "prompt is 7",
        "so does the row of line 1", "so does the row of line 1", "leads out", "leads out",
        "leads out", "expected the name of a file", "its own description", "this run's own",
        "leads out", "so does the row of line 1", "leads out", "'xyz'", "duration is 1000",
        "seed is -1", "seed is 1.5", "'no second'", "expected true or false",
        "unexpected ZeroDivisionError: of ours",
    )):  # fmt: skip
        assert expected in reasons.get(number, "")
    assert sorted(one.row.number for one in batch.failed) == sorted(reasons)
    listed = [json.loads(line) for line in batch.files()["failed.jsonl"].splitlines()]
    assert [(one["row"], one["line"], one["error"]) for one in listed] == [
        (number, number + 1, reason) for number, reason in reasons.items()
    ]
    assert not (batch.folder / "x.wav").exists()
    assert not list(batch.folder.rglob("*.tmp"))


def test_a_link_out_of_the_folder(batch: Batch) -> None:
    (batch.folder / "out").mkdir()
    (batch.folder / "out" / "link").symlink_to(batch.folder)
    (failure,) = batch.run({"prompt": "x", "output": "link/x.wav"}).failures
    assert "leads out" in str(failure.error)


def test_failures_are_tried_again_when_asked_for(batch: Batch) -> None:
    (failure,) = batch.run("good", "bad").failures
    assert batch.performed == [["good"], ["bad"]]
    (again,) = batch.run("good", "bad").failures
    assert batch.performed == []
    assert again == failure
    assert batch.failed == [failure]
    batch.run("good", "bad", retry=True)
    assert batch.performed == [["bad"]]
    assert batch.run("good").failures == ()
    assert "failed.jsonl" not in batch.files()


def test_like_lengths_go_together(batch: Batch) -> None:
    rows = [
        {"prompt": name, "duration": seconds, "negative": negative}
        for name, seconds, negative in (
            ("a", 4, "x"), ("b", 1, "x"), ("c", 1.2, "x"), ("d", 1.3, "x"), ("e", 1, "y"),
            ("f", 1.1, "x"), ("g", 1, "x"),
        )
    ]  # fmt: skip
    batch.run(*rows, size=3)
    assert batch.performed == [["a"], ["b", "g", "f"], ["c", "d"], ["e"]]
    assert sum(batch.told) == 0  # as much as was announced


def test_files_do_not_depend_on_company_or_order(batch: Batch) -> None:
    rows = [
        {"prompt": name, "seed": seed, "output": f"{name}.wav"} for seed, name in enumerate("abcd")
    ]
    batch.run(*rows, size=4)
    assert batch.performed == [list("abcd")]
    other = Batch(batch.folder / "other")
    other.run(*reversed(rows))
    assert batch.files() == other.files()


def test_of_a_failed_batch_each_is_tried_alone(batch: Batch) -> None:
    (failure,) = batch.run("a", "shy", "bad", "b", size=4).failures
    assert batch.performed == [["a", "shy", "bad", "b"], ["a"], ["shy"], ["bad"], ["b"]]
    assert failure.row.fields["prompt"] == "bad"
    assert sum(batch.told) == 0


def test_a_full_disk_ends_the_run(batch: Batch) -> None:
    with pytest.raises(DiskFullError):
        batch.run("a", "full", "b")
    assert batch.performed == [["a"], ["full"]]
    batch.run("a", "b")
    assert batch.performed == [["b"]]


def test_a_torn_or_spoilt_ledger(batch: Batch) -> None:
    batch.run("a", "b", "c")
    ledger = batch.folder / "out" / batch_ledger.NAME
    lines = ledger.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    ledger.write_bytes(
        b"".join(lines[:3]) + b'{"nonsense": 1}\n\xff\n3\n' + lines[3] + lines[5][:9]
    )
    batch.run("a", "b", "c")
    assert batch.performed == [["c"]]
    batch.run("a", "b", "c")
    assert batch.performed == []


def test_one_run_in_a_folder_at_a_time(batch: Batch) -> None:
    batch.run("a")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from antiphon.compose.batch import ledger\n"
            "with ledger.opened(Path(sys.argv[1])):\n"
            "    print(flush=True); time.sleep(60)",
            str(batch.folder / "out"),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    started = time.monotonic()
    with pytest.raises(StorageError, match="another run is composing into"):
        batch.run("a", "b")
    assert time.monotonic() - started < 10
    holder.kill()
    holder.communicate()
    batch.run("a", "b")
    assert batch.performed == [["b"]]


def test_options_over_options() -> None:
    base = {"duration": "20", "tempo": "90", "without": "drums"}
    assert merged(base, {"bars": 8}) == {"bars": 8, "tempo": "90", "without": "drums"}
    assert merged(base, {"tempo": 100}) == {**base, "tempo": 100}
    seed = 2**62 + 1
    request = request_of(
        "x", seed, {"intro": "yes", "temperature": "0", "section": "a@1; b@2.5"}, 1
    )
    assert (request.seed, request.controls.intro, request.sampling.temperature) == (seed, True, 0)
    assert [(one.text, one.start_seconds) for one in request.sections] == [("a", 1.0), ("b", 2.5)]
    with pytest.raises(ConfigError, match="top_k is 1.5"):
        request_of("x", 0, {"top_k": 1.5}, 1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composer]:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_musicgen(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIPHON_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_composer(folder)


def test_the_batch_size_changes_no_byte(
    tiny: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "a slow jazz", "duration": 1.0},
        {"prompt": "fast piano", "duration": 1.2},
        {"prompt": "the guitar", "duration": 1.1, "output": "b.flac"},
        {"prompt": "a slow jazz", "duration": 1.0, "seed": 0, "output": "same.wav"},
        {"prompt": "music", "duration": 2.0, "temperature": 0},
        {"prompt": "music", "duration": 1.0, "section": ["fast@0.5"]},
    ]
    alone, together = (Batch(tmp_path / name, composer=tiny) for name in ("1", "4"))
    assert alone.run(*rows, size=1).failures == ()
    sizes = []
    perform = tiny.renderer.perform

    def counting(requests: Sequence[Request]) -> object:
        sizes.append(len(requests))
        return perform(requests)

    monkeypatch.setattr(tiny.renderer, "perform", counting)
    assert together.run(*rows, size=4).failures == ()
    assert sizes == [1] * len(rows) + [4, 1, 1]  # first each is planned
    files = alone.files()
    assert together.files() == files
    assert len(files) == 12
    assert files["same.wav"] == files["0000-a-slow-jazz.wav"]
