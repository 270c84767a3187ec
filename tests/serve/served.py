"""Services in processes of their own, as users start them; and what tests ask them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

_START_SECONDS = 60.0


@dataclass
class Served:
    """A running service."""

    process: subprocess.Popen[str]
    address: str
    state: Path
    log: Path

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def child(self, name: str) -> psutil.Process:
        """The process of an owner, by the lock that it holds."""
        for process in self.children:
            with suppress(psutil.Error):
                held = [file.path for file in process.open_files()]
                if str(self.state / "serve" / f"{name}.lock") in held:
                    return process
        raise AssertionError(f"no process owns {name}")

    def client(self, **more: Any) -> httpx2.Client:
        return httpx2.Client(base_url=self.address, timeout=60, **more)

    def wait_ready(self, seconds: float = 20.0) -> float:
        """How long it takes until it is ready."""
        began = time.monotonic()
        with self.client() as client:
            while time.monotonic() - began < seconds:
                with suppress(httpx2.HTTPError):
                    if client.get("/ready").status_code == 200:
                        return time.monotonic() - began
                time.sleep(0.02)
        raise AssertionError(f"not ready after {seconds} s: {self.log.read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def served(
    state: Path,
    *options: str,
    fake: Mapping[str, object] | None = None,
    caps: Mapping[str, object] | None = None,
    port: int = 0,
    environment: Mapping[str, str] = {},
) -> Iterator[Served]:
    """`antiphon serve` with the options of its command line; or, with `fake`, a service without a
    model, whose `FakeWork` and `ServeOptions` have these fields."""
    state.mkdir(parents=True, exist_ok=True)
    log = state / "log.txt"
    if fake is None:
        command = [sys.executable, "-m", "antiphon", "serve", "--port", str(port), *options]
    else:
        given = {"work": dict(fake), "port": port, "caps": dict(caps or {})}
        given["options"] = [*options]
        command = [
            sys.executable,
            str(Path(__file__).parent / "fake_service.py"),
            json.dumps(given),
        ]
    clean = {name: value for name, value in os.environ.items() if "ANTIPHON" not in name}
    with log.open("a") as file:
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env={**clean, "ANTIPHON_STATE": str(state), **environment},
        )  # fmt: skip
        try:
            yield Served(process, _address(process, file), state, log)
        finally:
            _end(process)


def _address(process: subprocess.Popen[str], log: Any) -> str:
    """What the service says when it is ready; everything else goes to the log."""
    import threading

    assert process.stderr is not None
    said: list[str] = []
    found = threading.Event()

    def listen() -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                with suppress(ValueError):  # the test is over
                    log.write(line)
                    log.flush()
                if line.startswith("antiphon is at http"):
                    said.append(line.split()[-1])
                    found.set()
        found.set()

    threading.Thread(target=listen, daemon=True).start()
    assert found.wait(_START_SECONDS), "the service did not start"
    assert said, f"the service ended: {Path(log.name).read_text()}"
    return said[0]


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    with suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        for one in family:
            with suppress(psutil.Error):
                one.kill()


def wait_for(client: httpx2.Client, path: str, seconds: float = 30.0) -> dict[str, Any]:
    """The job at `path` when it is at its end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job: dict[str, Any] = client.get(path).json()
        if job["status"] in ("completed", "failed", "cancelled"):
            return job
        time.sleep(0.02)
    raise AssertionError(f"{path} is {job['status']} after {seconds} s")
