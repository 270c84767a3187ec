"""`antiphon serve`, `jobs` and `keys` as they are typed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from antiphon.cli.main import run
from antiphon.serve.database import Database
from antiphon.serve.jobs import Job, JobStore
from antiphon.serve.service import new_job
from antiphon.serve.tasks import Result

pytestmark = pytest.mark.integration


def store(away: Path) -> JobStore:
    return JobStore(Database(away / "state" / "serve"))


def accepted(away: Path, prompt: str = "waltz") -> Job:
    request = {"prompt": prompt, "seed": 1, "asked": {"prompt": prompt}}
    return store(away).accept(new_job("music", "antiphon-composer", "", request), queue=99)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "port is 70000; expected 1 to 65535"),
        (["--workers", "0"], "workers is 0; expected 1 to 64"),
        (["--composer", "none", "--listener", "none"], "both halves are left out"),
        (["--cors-origin", "music.example"], "expected scheme and host"),
        (["--host", "0.0.0.0"], "there is no key; add one"),
        (["--host", "nowhere.invalid", "--insecure"], "host 'nowhere.invalid' is not known"),
        (["--composer", "nothing-of-that-name"], "neither a file, a folder nor a known name"),
        (["--grace", "-1"], "grace is -1 s"),
    ],
)
def test_what_cannot_be_served_is_said_and_nothing_is_left_running(
    away: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--port", "0", *arguments]) in (1, 2, 4)
    assert message in capsys.readouterr().err


def test_mcp_ends_where_a_model_cannot_be_loaded(away: Path) -> None:
    command = [sys.executable, "-m", "antiphon", "serve", "--mcp", "--composer", "no-such-model"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith("error: model 'no-such-model'")


def test_a_port_that_is_taken_is_named(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    assert f"cannot listen at 127.0.0.1:{port}" in capsys.readouterr().err


def test_ctrl_c_ends_it_in_order_under_its_other_name(away: Path) -> None:
    program = Path(sys.executable).parent / "music-gen-api"
    command = [str(program), "--workers", "2", "--port", "0", "--listener", "none"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    with process.stderr as said:
        assert "antiphon is at http://127.0.0.1:" in said.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        rest = said.read()
    assert process.wait(20) == 0
    assert rest == ""


def test_keys_are_made_listed_and_removed(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "add", "phone"]) == 0
    secret = capsys.readouterr().out.strip()
    assert secret.startswith("ak-")
    assert run(["keys", "ls"]) == 0
    listed = capsys.readouterr().out
    assert "phone" in listed
    assert secret not in listed
    assert run(["keys", "add", "phone"]) == 2
    assert run(["keys", "rm", "tablet"]) == 2
    assert "there is: phone" in capsys.readouterr().err
    assert run(["keys", "rm", "phone"]) == 0
    capsys.readouterr()
    assert run(["keys", "ls", "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_jobs_are_listed_and_shown(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "ls"]) == 0
    assert capsys.readouterr().err == "no jobs\n"
    job, other = accepted(away), accepted(away, "rock")
    store(away).claim([other.id])
    store(away).complete(other.id, Result({"seed": 1}, {"tempo": 120}))
    assert run(["jobs", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [other.id, job.id]
    assert "music: waltz" in lines[1]
    assert run(["jobs", "ls", "--status", "completed", "--json"]) == 0
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (found["id"], found["summary"]) == (other.id, {"tempo": 120})
    assert run(["jobs", "show", other.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"] == {"seed": 1}
    assert run(["jobs", "show", job.id]) == 0
    assert "status: queued" in capsys.readouterr().out
    assert run(["jobs", "show", "music_none"]) == 2
    assert run(["jobs", "ls", "--status", "done"]) == 2
    assert "expected one of queued" in capsys.readouterr().err


def test_jobs_are_cancelled_and_old_ones_removed(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = accepted(away)
    assert run(["jobs", "cancel", job.id]) == 0
    found = store(away).find(job.id, key=None)
    assert found is not None
    assert found.status == "cancelled"
    assert run(["jobs", "cancel", job.id]) == 2
    assert "is cancelled already" in capsys.readouterr().err
    time.sleep(0.01)
    assert run(["jobs", "gc", "--keep-days", "0"]) == 0
    assert "removed 1 jobs, 0 files" in capsys.readouterr().err
    assert store(away).find(job.id, key=None) is None
