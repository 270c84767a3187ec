"""How the program is called and how it ends."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon import __version__
from antiphon.cli import health
from antiphon.cli.main import run
from antiphon.errors import AudioError

PROGRAM = [sys.executable, "-m", "antiphon"]


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = run(arguments)
    out, err = capsys.readouterr()
    return code, out, err


class TestUsage:
    pytestmark = pytest.mark.unit

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["measure", "--foo", "x"], "no such option: --foo"),
            (["describ", "x"], "no such command 'describ'.*'describe'"),
            (["describe"], "missing argument"),
            (["describe", "x", "--jobs", "many"], "'--jobs'"),
            (["arrange", "--genre", "jaz"], "genre 'jaz' is not known.*'jazz'"),
            (["arrange", "--tempo", "fast"], "tempo is 'fast'"),
            (["arrange", "--bars", "4", "--duration", "9"], "by one of them"),
            (["--log-level", "loud", "config", "show"], "log_level is 'loud', from --log-level"),
            (["describe", "x", "--set", "nope"], "prompt set 'nope'"),
            (["describe", "x", "--kind", "nope"], "kind 'nope'"),
        ],
    )
    def test_a_mistake_is_one_line_and_code_2(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
    ) -> None:
        code, out, err = ended(capsys, *arguments)
        assert (code, out) == (2, "")
        assert re.fullmatch(rf"error: .*{message}.*\n", err)

    def test_help_and_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, bare, _ = ended(capsys)
        assert code == 0
        assert ended(capsys, "--help") == (0, bare, "")
        assert ended(capsys, "--version") == (0, f"antiphon {__version__}\n", "")
        for command in ("describe", "measure", "arrange", "demo", "doctor"):
            assert command in bare
            code, text, _ = ended(capsys, command, "-h")
            assert code == 0
            assert f"antiphon {command}" in text.partition("Examples:")[2]

    def test_underscores_mean_dashes(self, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["describe", "x", "--retry_failed", "--set=a_b"]
        assert "prompt set 'a_b'" in ended(capsys, *arguments)[2]
        assert "--no_such.wav" in ended(capsys, "measure", "--", "--no_such.wav")[2]

    def test_global_options_stand_anywhere(self, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments in (
            ["--log-level", "debug", "config", "show", "--json"],
            ["config", "show", "--json", "--log_level=debug"],
            ["config", "--log-level", "debug", "show", "--json"],
        ):
            _, out, _ = ended(capsys, *arguments)
            assert json.loads(out)["log_level"]["value"] == "debug"
            assert json.loads(out)["log_level"]["origin"] == "--log-level"
        assert "--log-level" in ended(capsys, "config", "show", "--log-level")[2]


class TestErrors:
    pytestmark = pytest.mark.unit

    def fail_with(self, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(*_: object) -> None:
            raise error

        monkeypatch.setattr(health.console, "start", start)

    def test_ours_is_one_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.fail_with(AudioError("a name\nin two lines"), monkeypatch)
        assert ended(capsys, "doctor") == (1, "", "error: a name in two lines\n")

    def test_a_defect_tells_how_to_see_more(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.fail_with(ZeroDivisionError("division by zero"), monkeypatch)
        code, _, err = ended(capsys, "doctor")
        assert code == 1
        assert re.fullmatch(r"error: unexpected ZeroDivisionError.*--log-level debug.*\n", err)

    def test_ctrl_c(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.fail_with(KeyboardInterrupt(), monkeypatch)
        assert ended(capsys, "doctor")[0] == 130


class TestConfig:
    pytestmark = pytest.mark.unit

    def test_shows_value_origin_and_meaning(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("antiphon.toml").write_text("jobs = 2\n")
        monkeypatch.setenv("ANTIPHON_MAX_SECONDS", "60")
        found = json.loads(ended(capsys, "config", "show", "--json")[1])
        assert (found["jobs"]["value"], found["jobs"]["origin"]) == (2, "antiphon.toml")
        assert found["max_seconds"]["origin"] == "ANTIPHON_MAX_SECONDS"
        assert found["log_level"] == {
            "value": "warning",
            "origin": "default",
            "description": "how much is logged on stderr",
        }
        text = ended(capsys, "config", "show")[1]
        assert "jobs = 2   [antiphon.toml]" in text


class TestProgram:
    pytestmark = pytest.mark.integration

    def test_help_imports_nothing_heavy(self) -> None:
        code = "import sys; from antiphon.cli.main import run; run(['--help']); print(*sys.modules)"
        modules = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        heavy = {"numpy", "scipy", "pydantic", "soundfile", "sqlite3", "rich", "yaml", "mido"}
        assert not heavy & set(modules)

    def test_help_is_quick(self) -> None:
        def cpu_seconds() -> float:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([*PROGRAM, "--help"], capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        # 0.3 s is the promise, on a machine that does nothing else.
        assert min(cpu_seconds() for _ in range(3)) < 0.5

    def test_ctrl_c_while_it_starts_is_no_traceback(self) -> None:
        code = (
            "import signal, sys, antiphon.__main__ as program\n"
            "class Slow:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'antiphon.cli.main': signal.raise_signal(signal.SIGINT)\n"
            "sys.meta_path.insert(0, Slow())\n"
            "sys.exit(program.run())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")

    def test_a_closed_pipe_is_no_error(self) -> None:
        program = subprocess.Popen(
            [*PROGRAM, "config", "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert program.stdout is not None
        program.stdout.close()
        _, err = program.communicate()
        assert err == b""

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_full_disk_behind_stdout(self) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*PROGRAM, "config", "show"], stdout=full, stderr=subprocess.PIPE, text=True,
                check=False,
            )  # fmt: skip
        assert done.returncode == 75
        assert re.fullmatch(r"error: .*no space left.*\n", done.stderr)

    def test_completion_completes(self) -> None:
        environment = os.environ | {
            "_ANTIPHON_COMPLETE": "complete_bash",
            "COMP_WORDS": "antiphon me",
            "COMP_CWORD": "1",
        }
        done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["measure"]


@pytest.mark.parametrize(
    "command", [["describe", ""], ["describe", "", "--captions"], ["measure", "a.wav", ""]]
)
def test_an_empty_path_is_not_the_current_folder(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 2
    assert "a path is empty" in capsys.readouterr().err
