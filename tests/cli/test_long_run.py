"""How far a long command is, in lines and in seconds."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import pytest

from antiphon.cli import long_run
from antiphon.cli.long_run import StopRequest, shown_progress

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class At:
    settled: int
    total: int = 1000
    failed: int = 0


def test_lines_tell_the_time_left_by_the_pace_of_this_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(long_run.time, "monotonic", lambda: now)
    with shown_progress("describing") as show:
        show(At(500))  # done by an earlier run
        now += 5
        show(At(505))
        now += 5
        show(At(520, failed=2))
        now += 1
        show(At(522))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "describing: 520 of 1,000, 2 failed, about 240 s left\n"


def test_no_pace_yet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(long_run.time, "monotonic", lambda: now)
    with shown_progress("describing") as show:
        now = 60.0  # the workers took their time to start
        show(At(1))
    assert capsys.readouterr().err == "describing: 1 of 1,000\n"


def signal_twice() -> None:
    with StopRequest() as stop:
        assert stop.exit_code is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.exit_code == 130
        os.kill(os.getpid(), signal.SIGTERM)


def test_first_signal_asks_and_second_ends(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit, match="130"):
        signal_twice()
    assert signal.getsignal(signal.SIGINT) is before
    assert "once more to stop at once" in capfd.readouterr().err
