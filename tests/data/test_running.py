"""Items worked on by several processes: resumed, counted, and none lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from antiphon.data.running import Item, Progress, Record, RunOptions, key_of, run_items
from antiphon.errors import AudioError, DiskFullError, StorageError

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers, and leaves a file for each that it took."""

    folder: Path
    seconds: float = 0.0

    def open(self) -> Callable[[int], Record]:
        def double(number: int) -> Record:
            (self.folder / f"{number}-{time.time_ns()}").touch()
            time.sleep(self.seconds)
            if number == 3:
                raise AudioError("3 cannot be doubled")
            if number == 4:
                raise ZeroDivisionError("oh")
            if number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 6:
                raise DiskFullError("no space left")
            return {"double": 2 * number, "text": "é\n"}

        return double


def items(*numbers: int) -> list[Item[int]]:
    return [Item(key_of("double", number), f"number {number}", number) for number in numbers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "taken").mkdir()
    return tmp_path


def taken(folder: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in (folder / "taken").iterdir())


def test_each_item_is_worked_on_once(folder: Path) -> None:
    told: list[Progress] = []
    options = RunOptions(2, on_progress=told.append)
    work = Doubling(folder / "taken")
    ledger = folder / "deep/ledger.jsonl"
    result = run_items(items(1, 3, 2, 4, 5), work, ledger, options)
    one, three, two, four, five = result.outcomes
    assert one is not None
    assert two is not None
    assert one.record == {"double": 2, "text": "é\n"}
    assert two.record is not None
    assert two.record["double"] == 4
    assert [o.error for o in (three, four, five) if o is not None] == [
        "3 cannot be doubled",
        "unexpected ZeroDivisionError: oh",
        "the process that worked on it ended by signal SIGKILL",
    ]
    assert result.is_complete
    assert told[-1] == Progress(5, 5, 3)
    again = run_items(items(2, 1, 3, 7), work, ledger, options)
    assert [o.is_new for o in again.outcomes if o is not None] == [False, False, False, True]
    assert [r["double"] for r in again.records] == [4, 2, 14]
    assert [f.name for f in again.failures] == ["number 3"]
    assert taken(folder) == [1, 2, 3, 4, 5, 7]
    run_items(items(3, 1), work, ledger, RunOptions(1, retry_failed=True))
    assert taken(folder) == [1, 2, 3, 3, 4, 5, 7]


def test_a_full_disk_ends_the_run_and_a_stop_leaves_the_rest(folder: Path) -> None:
    ledger = folder / "ledger.jsonl"
    with pytest.raises(DiskFullError):
        run_items(items(1, 6, 2), Doubling(folder / "taken"), ledger, RunOptions(1))
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > 1

    options = RunOptions(1, should_stop=should_stop)
    result = run_items(items(1, 2, 7, 8), Doubling(folder / "taken"), ledger, options)
    assert [None if o is None else o.is_new for o in result.outcomes] == [False, True, None, None]
    assert not result.is_complete


def test_what_is_done_survives_a_kill(folder: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path;"
        "from test_running import Doubling, items, run_items, RunOptions;"
        "folder = Path(sys.argv[1]);"
        "run_items(items(*range(10, 40)), Doubling(folder / 'taken', .2),"
        " folder / 'ledger.jsonl', RunOptions(2))"
    )
    ledger = folder / "ledger.jsonl"
    command = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
    process = subprocess.Popen(command)
    while not ledger.exists() or ledger.read_bytes().count(b"\n") < 8:
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(StorageError, match="another run is at work on .*ledger.jsonl"):
        run_items(items(10), Doubling(folder / "taken"), ledger, RunOptions(1))
    process.kill()
    process.wait()
    with ledger.open("ab") as file:
        file.write(b'{"key": "half a li')
    done = ledger.read_bytes().count(b"\n")
    result = run_items(items(*range(10, 40)), Doubling(folder / "taken"), ledger, RunOptions(2))
    assert [r["double"] for r in result.records] == list(range(20, 80, 2))
    assert sum(not o.is_new for o in result.outcomes if o is not None) == done
    assert len(taken(folder)) <= 30 + 2  # what was in work when it was killed
    assert len({json.loads(line)["key"] for line in ledger.read_text().splitlines()}) == 30
