"""Jobs that are sent while processes of the service are killed, and what became of them."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil

from antiphon.serve.database import Database
from antiphon.serve.jobs import JobStore
from serve.served import Served, served, wait_for

JOBS = "/v1/music/generations"


@dataclass
class Storm:
    """What is left of it; seconds are the slowest until the service was ready again."""

    accepted: list[str] = field(default_factory=list)
    lost: int = 0
    duplicate: int = 0
    unreadable: int = 0
    ready_seconds: float = 0.0
    whole_restarts: int = 0


def storm(state: Path, jobs: int, kills: int, seed: int = 1) -> Storm:
    """Send jobs, each until it is accepted, while one process after the other, the whole service
    among them, is killed; then count. Killed services are started anew at once."""
    dice, port, found = random.Random(seed), free_port(), Storm()
    is_over = threading.Event()
    sender = threading.Thread(target=_send, args=(port, jobs, seed, found, is_over))
    sender.start()
    try:
        done = 0
        while done < kills:
            began = time.monotonic()
            with served(state, "workers=2", fake={}, port=port) as one:
                found.whole_restarts += 1
                found.ready_seconds = max(found.ready_seconds, time.monotonic() - began)
                while done < kills:
                    time.sleep(dice.uniform(0.2, 0.5))
                    done += 1
                    if not _kill_one(one, dice):
                        break
                    found.ready_seconds = max(found.ready_seconds, one.wait_ready())
        with served(state, "workers=2", fake={}, port=port) as one:
            sender.join()
            _count(one, jobs, found)
    finally:
        is_over.set()
        sender.join()
    return found


def _send(port: int, jobs: int, seed: int, found: Storm, is_over: threading.Event) -> None:
    dice = random.Random(seed)
    for number in range(jobs):
        body = {"prompt": f"sleep 0.0{dice.randint(1, 4)}", "seed": number}
        once = {"Idempotency-Key": f"job {number}"}
        while not is_over.is_set():
            with suppress(httpx2.HTTPError):
                url = f"http://127.0.0.1:{port}{JOBS}"
                answer = httpx2.post(url, headers=once, json=body, timeout=10)
                if answer.status_code == 202:
                    found.accepted.append(answer.json()["id"])
                    break
            time.sleep(0.02)


def _kill_one(running: Served, dice: random.Random) -> bool:
    """False where the whole service is gone."""
    victim = dice.choice([psutil.Process(running.process.pid), *running.children])
    with suppress(psutil.NoSuchProcess):
        victim.kill()
    if victim.pid != running.process.pid:
        return True
    running.process.wait()
    return False


def _count(running: Served, jobs: int, found: Storm) -> None:
    with running.client() as client:
        for job_id in found.accepted:
            job = wait_for(client, f"{JOBS}/{job_id}", 120)
            content = client.get(f"{JOBS}/{job_id}/content").content
            found.lost += job["status"] != "completed"
            found.unreadable += content[:4] != b"RIFF"
    found.lost += jobs - len(found.accepted)
    page = JobStore(Database(running.state / "serve")).page(key=None, limit=10 * jobs)
    assert page is not None, "no cursor was given"
    seeds = Counter(job.request["seed"] for job in page.jobs)
    found.duplicate = sum(count - 1 for count in seeds.values())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
