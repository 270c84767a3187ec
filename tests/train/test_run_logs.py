"""What a run tells: its metrics, its lines, its view on a terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from antiphon.errors import ConfigError, StorageError
from antiphon.train import logs
from antiphon.train.config import CodecConfig, LogConfig, load_config
from antiphon.train.live import Moment, RunView, Told, block, clock, shown_run
from antiphon.train.logs import RunLog, Sound
from antiphon.train.page import Judged, read_record, write_page

pytestmark = pytest.mark.unit


def tell(log: RunLog, step: int, loss: float = 1.0, bad_steps: int = 0) -> None:
    log.step(
        step,
        {"total": loss, "mel": 0.5},
        learning_rate=1e-3,
        gradient_norm=0.25,
        units_per_second=12_345,
        waited_share=0.03,
        bad_steps=bad_steps,
    )


def entries(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps(folder: Path) -> list[object]:
    return [entry["step"] for entry in entries(folder)]


def sound_in(folder: Path, step: int) -> Sound:
    path = folder / f"samples/step-{step:09}/0.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"RIFF")
    return Sound("validation 0: jazz", path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with lines up to step 30."""
    folder = tmp_path / "run"
    with RunLog(folder, "codes") as log:
        log.begin(0, 100)
        for step in (10, 20, 30):
            tell(log, step, 4 - step / 10)
            log.validation(step, {"total": step / 10})
            log.sounds(step, [sound_in(folder, step)])
            log.saved(step, folder / f"checkpoints/step-{step}.ckpt")
    return folder


def test_every_moment_is_a_line(run: Path) -> None:
    told, validated, heard, saved = entries(run)[:4]
    del told["time"], told["memory_mb"]
    assert told == {
        "step": 10, "losses": {"total": 3.0, "mel": 0.5}, "learning_rate": 1e-3,
        "gradient_norm": 0.25, "codes_per_second": 12_345, "waited_share": 0.03, "bad_steps": 0,
    }  # fmt: skip
    assert validated["validation"] == {"total": 1.0}
    file = "samples/step-000000010/0.wav"
    assert heard["sounds"] == [{"name": "validation 0: jazz", "file": file}]
    assert saved["checkpoint"] == "step-10.ckpt"
    text = (run / "training.log").read_text()
    assert "step 10 of 100: total 3, mel 0.5; lr 0.001" in text
    assert "sounds after 10: samples/step-000000010" in text


def test_numbers_that_are_none_are_null(tmp_path: Path) -> None:
    log = RunLog(tmp_path, "codes")
    log.begin(0, 10)
    tell(log, 1, float("nan"))
    assert entries(tmp_path)[0]["losses"] == {"total": None, "mel": 0.5}


def test_a_run_that_goes_on_drops_what_lies_beyond(run: Path) -> None:
    RunLog(run, "codes").begin(20, 100)
    assert steps(run) == [10] * 4 + [20] * 4
    assert [entry["sounds"] for entry in entries(run) if "sounds" in entry][-1:] == [
        [{"name": "validation 0: jazz", "file": "samples/step-000000020/0.wav"}]
    ]


@pytest.mark.parametrize("tail", [b'{"step": 31, "lo', b"\x00" * 40, b'{"a": "\xff'])
def test_a_line_that_a_kill_has_torn_is_dropped(run: Path, tail: bytes) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    log = RunLog(run, "codes")
    log.begin(40, 100)
    tell(log, 50)
    assert steps(run) == [10] * 4 + [20] * 4 + [30] * 4 + [50]


def test_a_line_without_its_end_does_not_swallow_the_next(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    log = RunLog(run, "codes")
    log.begin(30, 100)
    tell(log, 40)
    assert steps(run) == [10] * 4 + [20] * 4 + [30] * 4 + [40]


def test_whole_metrics_are_left_as_they_are(run: Path) -> None:
    before = (run / "metrics.jsonl").stat()
    RunLog(run, "codes").begin(30, 100)
    after = (run / "metrics.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def without_date(page: str) -> str:
    return page.partition("<dt>drawn")[0] + page.partition("<main>")[2]


def test_the_page_is_the_same_from_memory_and_from_the_file(run: Path) -> None:
    from_memory = (run / "report.html").read_text()
    assert without_date(write_page(run, "run").read_text()) == without_date(from_memory)
    log = RunLog(run, "codes")
    log.begin(20, 100)
    log.saved(20, run / "checkpoints/step-20.ckpt")
    page = (run / "report.html").read_text()
    assert without_date(page) == without_date(write_page(run, "run").read_text())
    assert page.count("<audio") == 2


def test_drawing_the_page_takes_no_longer_for_a_long_run(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunLog(run, "codes")
    log.begin(30, 100)

    def read(folder: Path) -> None:
        pytest.fail("the metrics are read again")

    monkeypatch.setattr("antiphon.train.page.read_record", read)
    log.saved(30, run / "x.ckpt")


def test_a_sound_elsewhere_is_not_shown(run: Path, tmp_path: Path) -> None:
    log = RunLog(run, "codes")
    log.begin(30, 100)
    with pytest.raises(ValueError, match="elsewhere"):
        log.sounds(40, [Sound("a", tmp_path / "elsewhere.wav")])
    assert steps(run)[-1] == 30


def test_a_muted_log_does_nothing(tmp_path: Path) -> None:
    drawn: list[Moment] = []
    shown: list[str] = []
    folder = tmp_path / "run"
    log = RunLog(folder, "codes", show=shown.append, draw=drawn.append, trackers=())
    log.mute()
    log.begin(0, 10)
    tell(log, 1)
    log.took(2)
    log.validation(2, {"total": 1.0})
    log.sounds(2, [Sound("a", folder / "a.wav")])
    log.saved(2, folder / "x")
    log.note("a")
    log.close()
    assert not shown
    assert not drawn
    assert not folder.exists()


def test_a_folder_that_cannot_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        RunLog(tmp_path / "file/run", "codes").begin(0, 10)


# The view: what it is told


def test_lines_of_steps_are_left_to_a_view(tmp_path: Path) -> None:
    shown: list[str] = []
    log = RunLog(tmp_path, "codes", show=shown.append, draw=lambda moment: None)
    log.begin(0, 10)
    tell(log, 1)
    log.validation(1, {"total": 2.0})
    assert shown == ["from step 0 to 10", "validation after 1: total 2"]
    assert "step 1 of 10" in (tmp_path / "training.log").read_text()


def test_a_view_is_told_where_the_run_is(run: Path) -> None:
    drawn: list[Moment] = []
    log = RunLog(run, "codes", draw=drawn.append)
    log.begin(20, 100)
    assert drawn[-1].mean_loss == pytest.approx(2.5)  # of 3 and 2, of before
    assert drawn[-1].best == drawn[0].best == Judged(10, 1.0)
    log.took(21)
    assert (drawn[-1].step, drawn[-1].told) == (21, None)
    tell(log, 30, 1.0, bad_steps=2)
    log.took(31)
    moment = drawn[-1]
    assert (moment.step, moment.last, moment.unit) == (31, 100, "codes")
    assert moment.mean_loss == pytest.approx(2.0)
    assert moment.checkpoint == "step-20.ckpt"
    assert moment.told is not None
    assert (moment.told.losses["total"], moment.told.bad_steps) == (1.0, 2)
    log.validation(31, {"total": 0.5})
    assert (drawn[-1].judged, drawn[-1].best) == (Judged(31, 0.5), Judged(31, 0.5))


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass."""
    now = 100.0

    def let(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    return let


def test_the_time_left_forgets_a_slow_first_step(
    tmp_path: Path, passing: Callable[[float], None]
) -> None:
    drawn: list[Moment] = []
    log = RunLog(tmp_path, "codes", draw=drawn.append)
    log.begin(0, 1000)
    assert drawn[-1].seconds_left is None
    passing(60)
    tell(log, 1)
    assert drawn[-1].seconds_left == pytest.approx(60 * 999)
    for step in range(10, 100, 10):
        passing(5)
        tell(log, step)
    assert drawn[-1].seconds_left == pytest.approx(910 * 9 * 5 / 89)
    log.took(91)
    assert drawn[-1].seconds_left == pytest.approx(909 * 9 * 5 / 89)
    for step in range(100, 1000, 10):  # faster from here on, which is soon all that counts
        passing(1)
        tell(log, step)
    assert drawn[-1].seconds_left == pytest.approx(10 * 0.1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (7384, "2:03:04")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


# The view: what it draws

FULL = Moment(
    1240, 2000, "codes", 751.0,
    Told({"total": 3.214, "mel": 0.5}, 1.23e-3, 0.82, 12_345, 0.03, 2, 1234.0, 4096.0, 0.97),
    3.301, Judged(1000, 3.412), Judged(500, 3.398), "step-000001000.ckpt",
)  # fmt: skip


def console_of(file: io.StringIO, width: int = 100) -> Console:
    return Console(file=file, force_terminal=True, width=width, color_system=None)


def text_of(moment: Moment, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(block(moment))
    return file.getvalue()


def test_the_block_holds_what_one_looks_for() -> None:
    text = text_of(FULL)
    for part in (
        "1,240 of 2,000", "62%", "0:12:31 left", "3.214, mean 3.301 (mel 0.5)",
        "3.412 after 1,000, best 3.398 after 500", "12,345 codes/s", "3% of the time waiting",
        "rate 0.00123, gradient 0.82", "bad steps in a row: 2", "1,234 MB at most",
        "GPU 4,096 MB, 97% busy", "step-000001000.ckpt",
    ):  # fmt: skip
        assert part in text
    assert "bad steps" not in text_of(Moment(1, 2, "codes"))


def test_a_block_before_the_first_step_that_tells_is_short() -> None:
    assert text_of(Moment(0, 2000, "codes")).split()[:4] == ["step", "0", "of", "2,000"]
    assert "left" not in text_of(Moment(0, 2000, "codes"))


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_cuts_rows_and_wraps_none(width: int) -> None:
    lines = text_of(FULL, width).splitlines()
    assert len(lines) == len(text_of(FULL, 200).splitlines())
    assert all(len(line) <= width for line in lines)


def test_a_view_draws_at_most_four_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    file = io.StringIO()
    view = RunView(console_of(file))
    view.draw(Moment(1, 9000, "codes"))
    for step in range(2, 100):
        view.draw(Moment(step, 9000, "codes"))
    assert "99 of 9,000" not in file.getvalue()
    now += 0.3
    view.draw(Moment(100, 9000, "codes"))
    assert "100 of 9,000" in file.getvalue()
    view.draw(Moment(101, 9000, "codes"))
    view.close()
    assert "101 of 9,000" in file.getvalue()  # the last stays
    assert "50 of 9,000" not in file.getvalue()


def test_a_view_starts_no_thread_and_gives_the_cursor_back() -> None:
    before = threading.active_count(), sys.stderr
    file = io.StringIO()
    view = RunView(console_of(file))
    view.draw(FULL)
    assert threading.active_count() == before[0]
    view.line("a [bold]line[/] :smile:")
    view.close()
    view.close()
    assert sys.stderr is before[1]
    text = file.getvalue()
    assert "a [bold]line[/] :smile:" in text
    assert text.index("\x1b[?25l") < text.rindex("\x1b[?25h")


def test_where_nothing_was_drawn_nothing_is_written() -> None:
    file = io.StringIO()
    RunView(console_of(file)).close()
    assert not file.getvalue()


def test_no_terminal_is_given_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[str] = []
    with shown_run(shown.append) as view:
        assert view.draw is None
        view.line("a line")
    assert shown == ["a line"]
    assert capsys.readouterr() == ("", "")


SCRIPT = """
import sys
from pathlib import Path
from antiphon.train.live import shown_run
from antiphon.train.logs import RunLog

def line(text):
    print(text, file=sys.stderr)

with shown_run(line) as shown:
    with RunLog(Path(sys.argv[1]), "codes", show=shown.line, draw=shown.draw) as log:
        log.begin(0, 100)
        for step in range(1, 51):
            log.step(step, {"total": 5.5}, learning_rate=1e-3, gradient_norm=1.0,
                     units_per_second=777, waited_share=0.0, bad_steps=0)
        log.note("a note")
        print("result")
        raise KeyboardInterrupt
"""


def on_terminal(arguments: list[str], **variables: str) -> tuple[str, str]:
    """What a process writes to a terminal as its stderr, and to stdout."""
    pty = pytest.importorskip("pty")  # not on Windows
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stderr=theirs, stdout=subprocess.PIPE,
        env={**environment, "TERM": "xterm", "COLUMNS": "100", **variables}, text=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        written = b"".join(chunks(ours))
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    return written.decode(), out


def chunks(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 1 << 16)
        except OSError:  # the other end is closed
            return
        if not chunk:
            return
        yield chunk


@pytest.mark.integration
def test_a_run_on_a_terminal(tmp_path: Path) -> None:
    text, out = on_terminal([str(tmp_path / "run")])
    assert out == "result\n"
    for part in ("50 of 100", "5.5, mean 5.5", "777 codes/s", "left", "a note"):
        assert part in text
    assert "step 50 of 100" not in text  # its line
    # Ctrl-C leaves a cursor that is seen, below the last block.
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.rindex("\x1b[?25h") < text.index("KeyboardInterrupt")


@pytest.mark.integration
def test_a_run_on_a_terminal_that_cannot_move_its_cursor(tmp_path: Path) -> None:
    text, _ = on_terminal([str(tmp_path / "run")], TERM="dumb")
    assert "step 50 of 100: total 5.5" in text
    assert "\x1b" not in text


# Numbers of the machine


def fake_torch(monkeypatch: pytest.MonkeyPatch, use: Callable[[], int], is_on: bool = True) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: is_on,
        mem_get_info=lambda: (3 * 2**30, 8 * 2**30),
        utilization=use,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


def told_on(folder: Path) -> dict[str, object]:
    log = RunLog(folder, "codes")
    log.begin(0, 10)
    tell(log, 1)
    tell(log, 2)
    return entries(folder)[-1]


def test_numbers_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_torch(monkeypatch, lambda: 97)
    entry = told_on(tmp_path)
    assert (entry["gpu_memory_mb"], entry["gpu_use"]) == (5120.0, 0.97)


def test_a_gpu_whose_use_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def use() -> int:
        asked.append(0)
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    fake_torch(monkeypatch, use)
    entry = told_on(tmp_path)
    assert entry["gpu_memory_mb"] == 5120.0
    assert "gpu_use" not in entry
    assert len(asked) == 1


@pytest.mark.parametrize("has_torch", [False, True])
def test_without_a_gpu_there_are_no_such_numbers(
    has_torch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_torch:
        fake_torch(monkeypatch, lambda: 1, is_on=False)
    else:
        monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not [name for name in told_on(tmp_path) if name.startswith("gpu")]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells by /proc")
def test_memory_is_the_most_that_was_held() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    assert logs._memory_mb() == pytest.approx(int(peak) / 1024, rel=0.05)


# Its config


def test_what_is_told_is_configured() -> None:
    config = load_config(
        CodecConfig, None, ["log.trackers=[tensorboard,wandb]", "log.samples_every_steps=500"]
    )
    assert config.log == LogConfig(trackers=("tensorboard", "wandb"), samples_every_steps=500)
    assert (LogConfig().trackers, LogConfig().samples_every_steps, LogConfig().samples) == (
        (),
        0,
        2,
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("log.samples_every_steps=-1", "samples_every_steps is -1; expected 0 or more"),
        ("log.samples=0", "samples is 0; expected 1 or more"),
        ("log.trackers=[mlflow]", "log.trackers.0.*'tensorboard' or 'wandb'"),
    ],
)
def test_a_wrong_log_config_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(CodecConfig, None, [override])


def test_read_record_is_what_the_log_remembers(run: Path) -> None:
    record = read_record(run)
    assert (record.best, record.checkpoint) == (Judged(10, 1.0), "step-30.ckpt")
