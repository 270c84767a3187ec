"""Loads on a service, and what they do to it. Part of serving.py."""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil

from antiphon.arrange import arrange
from antiphon.audio import write
from antiphon.controls import Controls
from antiphon.synth import render
from serve.served import Served, served, wait_for
from serve.storm import JOBS

PACE_PROMPTS = 40
PACE_SECONDS = 10.0
CANCELS = 60
SAMPLE_SECONDS = 20.0


@dataclass(frozen=True)
class Latency:
    """Of many requests, in seconds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Overload:
    sent: int
    accepted: int
    refused: int
    unfinished: int
    refusal_p99: float
    memory_growth: float


@dataclass(frozen=True)
class Pace:
    """Seconds of music in a second, and what it takes."""

    pace: float
    memory_mb: float


@dataclass(frozen=True)
class Cancels:
    count: int
    median: float
    slowest: float
    replaced_share: float
    replaced_seconds: float


@dataclass(frozen=True)
class Stops:
    in_order: int
    refusal_seconds: float


@dataclass(frozen=True)
class Soak:
    requests: int
    errors: int
    memory_drift: float
    handle_drift: float


class Client:
    """HTTP/1.1 over connections that stay open, as cheap as can be: what is measured is the
    server, on the same cores."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.removeprefix("http://").partition(":")
        self._port = int(port)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and whole body."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # else the server has closed it, as it may
                break
            writer.close()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
        if data:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        writer.write(head.encode() + b"\r\n" + data)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(answer.split(maxsplit=2)[1])
        if "transfer-encoding: chunked" in answer:
            content = b""
            while size := int((await reader.readline()).strip(), 16):
                content += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        else:
            length = answer.partition("content-length:")[2].split(maxsplit=1)[0]
            content = await reader.readexactly(int(length))
        self._idle.append((reader, writer))
        return status, content

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


def memory_mb(running: Served) -> float:
    """What all its processes take together: shared pages once."""
    processes = [psutil.Process(running.process.pid), *running.children]
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


def handles(running: Served) -> int:
    total = 0
    for process in [psutil.Process(running.process.pid), *running.children]:
        with suppress(psutil.Error):
            total += process.num_fds()
    return total


async def open_loop(rate: float, seconds: float, send) -> list:  # type: ignore[no-untyped-def, type-arg]
    """`send(number)` so often a second, whatever becomes of the earlier ones; what they give."""
    began, tasks = time.monotonic(), []
    number = 0
    while (due := began + number / rate) < began + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(send(number)))
        number += 1
    return list(await asyncio.gather(*tasks))


def latency(seconds: list[float]) -> Latency:
    ordered = sorted(seconds)
    return Latency(statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))])


def overload(state: Path, seconds: float) -> Overload:
    """Work of 50 ms, one at a time: 20 a second; 200 come, half of them jobs."""
    work = {"most_at_once": 1}
    with served(state, "workers=2", fake=work, caps={"queue": 16}) as running:
        memory: list[float] = []

        async def load() -> list[tuple[int, float, bytes]]:
            client = Client(running.address)

            async def send(number: int) -> tuple[int, float, bytes]:
                began = time.monotonic()
                path = JOBS if number % 2 else "/generate"
                status, content = await client.request("POST", path, {"prompt": "sleep 0.05"})
                return status, time.monotonic() - began, content

            async def warm() -> None:  # everything has been loaded, every thread begun
                await open_loop(100, 10, send)
                memory.append(memory_mb(running))

            await warm()
            found = await open_loop(200, seconds, send)
            memory.append(memory_mb(running))
            client.close()
            return found

        found = asyncio.run(load())
        jobs = [json.loads(content)["id"] for status, _, content in found if status == 202]
        with running.client() as client:
            unfinished = sum(
                wait_for(client, f"{JOBS}/{job}", 60)["status"] != "completed" for job in jobs
            )
    refused = [taken for status, taken, _ in found if status == 429]
    others = sum(status not in (200, 202, 429) for status, _, _ in found)
    accepted = sum(status in (200, 202) for status, _, _ in found)
    return Overload(
        len(found), accepted, len(refused), unfinished + others, latency(refused).p99,
        memory[1] / memory[0] - 1,
    )  # fmt: skip


def overhead(state: Path) -> tuple[Latency, Latency]:
    """A call, and a job followed by its events, 50 a second each."""
    with served(state, "workers=2", fake={}) as running:

        async def load() -> tuple[list[float], list[float]]:
            client = Client(running.address)

            async def call(number: int) -> float:
                began = time.monotonic()
                status, _ = await client.request("POST", "/generate", {"prompt": "nothing"})
                assert status == 200, status
                return time.monotonic() - began

            async def job(number: int) -> float:
                began = time.monotonic()
                _, content = await client.request("POST", JOBS, {"prompt": "nothing"})
                job_id = json.loads(content)["id"]
                _, events = await client.request("GET", f"{JOBS}/{job_id}/events")
                assert b'"completed"' in events, events
                return time.monotonic() - began

            await open_loop(50, 2, call)
            calls = await open_loop(50, 20, call)
            await open_loop(50, 2, job)
            jobs = await open_loop(50, 20, job)
            client.close()
            return calls, jobs

        calls, jobs = asyncio.run(load())
    return latency(calls), latency(jobs)


def throughput(state: Path) -> tuple[Pace, Pace]:
    """As many prompts from four clients: of one service with four workers, and each of its own."""
    only = ("--listener", "none")
    with served(state / "shared", *only, "--workers", "4") as running:
        shared = _pace([running], 4)
    services = []
    stack = [served(state / f"own {i}", *only, "--threads", "1") for i in range(4)]
    try:
        services = [context.__enter__() for context in stack]
        own = _pace(services, 4)
    finally:
        for context in stack[: len(services)]:
            context.__exit__(None, None, None)
    return shared, own


def _pace(services: list[Served], clients: int) -> Pace:
    def compose(number: int) -> None:
        running = services[number % len(services)]
        body = {"prompt": "funk with organ", "duration": PACE_SECONDS, "seed": number}
        answer = httpx2.post(f"{running.address}/generate", json=body, timeout=300)
        assert answer.status_code == 200, answer.text

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(compose, range(2 * clients)))
        began = time.monotonic()
        list(pool.map(compose, range(100, 100 + PACE_PROMPTS)))
        seconds = time.monotonic() - began
        memory = sum(map(memory_mb, services))
    return Pace(PACE_PROMPTS * PACE_SECONDS / seconds, memory)


def cancels(state: Path) -> Cancels:
    """Hang up in the middle of sound (the composer of the package), of words and of sound in real
    time; and where nothing has come yet and the work heeds nobody."""
    seconds, replaced, until_free = [], 0, []
    nothing = {"prompt": "nothing"}
    with served(state / "fake", fake={}) as running, running.client() as client:
        for number in range(CANCELS):
            body = {"input": "sound 30", "response_format": "pcm"}
            with client.stream("POST", "/v1/audio/speech", json=body) as answer:
                next(answer.iter_raw())
            seconds.append(_free_after(client, nothing))
            if number % 10 == 0:
                owner = running.child("composer").pid
                with suppress(httpx2.TimeoutException):
                    client.post("/generate", json={"prompt": "hang 30"}, timeout=0.3)
                until_free.append(_free_after(client, nothing))
                replaced += running.child("composer").pid != owner
    with served(state / "real", "--listener", "none") as running, running.client() as client:
        short = {"prompt": "funk", "duration": 1, "seed": 1}
        usual = statistics.median(_free_after(client, short) for _ in range(5))
        for number in range(CANCELS // 3):
            body = {"input": "funk", "seconds": 120, "seed": number, "response_format": "pcm"}
            with client.stream("POST", "/v1/audio/speech", json=body) as answer:
                next(answer.iter_raw())
            seconds.append(max(0.0, _free_after(client, short) - usual))
    return Cancels(
        len(seconds), statistics.median(seconds), max(seconds), replaced / len(until_free),
        statistics.median(until_free),
    )  # fmt: skip


def _free_after(client: httpx2.Client, body: dict[str, object]) -> float:
    began = time.monotonic()
    assert client.post("/generate", json=body).status_code == 200
    return time.monotonic() - began


def stops(state: Path, count: int) -> Stops:
    """SIGTERM at any moment of some work: half of it ends within the grace, half does not."""
    grace, in_order, slowest = 1.0, 0, 0.0
    for number in range(count):
        place = state / str(number)
        with served(place, f"grace_seconds={grace}", fake={"most_at_once": 1}) as running:
            with running.client() as client:
                work = ("sleep 0.5", "hang 5")[number % 2]
                job = client.post(JOBS, json={"prompt": work}).json()
                waiting = client.post(JOBS, json={"prompt": "nothing"}).json()
                time.sleep(0.05 * (number % 7))
                running.process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                while client.post(JOBS, json={"prompt": "nothing"}).status_code != 503:
                    pass
                slowest = max(slowest, time.monotonic() - began)
            code = running.process.wait(20)
            in_time = time.monotonic() - began <= grace + 2
        left = _left(place, [job["id"], waiting["id"]])
        in_order += code == 0 and in_time and left <= {"queued", "completed"}
    return Stops(in_order, slowest)


def _left(state: Path, ids: list[str]) -> set[str]:
    from antiphon.serve.database import Database
    from antiphon.serve.jobs import JobStore

    store = JobStore(Database(state / "serve"))
    found = [store.brief(job_id) for job_id in ids]
    return {"lost" if job is None else job.status for job in found}


@dataclass
class _Watch:
    """Samples of a service that is used."""

    running: Served
    memory: list[float] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)

    def sample(self) -> None:
        self.memory.append(memory_mb(self.running))
        self.handles.append(handles(self.running))


def soak(state: Path, seconds: float) -> Soak:
    """Everything there is, again and again, by three clients; the last third against the second."""
    song = state / "song.wav"
    state.mkdir(exist_ok=True)
    wishes = Controls.from_options({"genre": "rock", "tempo": 120, "duration": 12})
    write(song, render(arrange(wishes, 3), sample_rate=32_000))
    requests, errors = 0, 0
    with served(state / "state", "--workers", "2") as running:
        watch, end = _Watch(running), time.monotonic() + seconds
        with ThreadPoolExecutor(3) as pool:
            users = [pool.submit(_use, running.address, song, end, seed) for seed in range(3)]
            while time.monotonic() < end:
                time.sleep(min(SAMPLE_SECONDS, max(0.1, end - time.monotonic())))
                watch.sample()
            for user in users:
                done, failed = user.result()
                requests, errors = requests + done, errors + failed
    return Soak(requests, errors, _drift(watch.memory), _drift(watch.handles))


def _drift(samples: list[float] | list[int]) -> float:
    third = max(1, len(samples) // 3)
    before = statistics.median(samples[third : 2 * third] or samples)
    return float(statistics.median(samples[-third:]) / before - 1)


def _use(address: str, song: Path, end: float, seed: int) -> tuple[int, int]:
    """One client: requests, and how many of them failed."""
    done = failed = 0
    with httpx2.Client(base_url=address, timeout=120) as client:
        while time.monotonic() < end:
            seed += 3
            for answer in _round(client, song, seed):
                done += 1
                failed += answer.status_code >= 400
    return done, failed


def _round(client: httpx2.Client, song: Path, seed: int):  # type: ignore[no-untyped-def]
    body: dict[str, object] = {"prompt": "calm waltz for harp", "duration": 4, "seed": seed}
    yield client.post("/generate", json=body)
    speech = {"input": "rock", "seconds": 4, "response_format": "mp3", "seed": seed}
    yield client.post("/v1/audio/speech", json=speech)
    with client.stream("POST", "/v1/audio/speech", json=speech | {"seconds": 60}) as answer:
        next(answer.iter_raw())  # and gone
        yield answer
    kept = client.post("/v1/files", files={"file": (song.name, song.read_bytes())})
    yield kept
    file_id = kept.json()["id"]
    asked = {"file_id": file_id, "text": "Which key is it in?"}
    yield client.post("/api/v1/infer", json=asked)
    described = client.post("/v1/descriptions", json={"file_id": file_id})
    yield described
    wait_for(client, f"/v1/descriptions/{described.json()['id']}")
    part = {"type": "file", "file": {"file_id": file_id}}
    turn = {"role": "user", "content": [part, {"type": "text", "text": "How fast is it?"}]}
    yield client.post("/v1/chat/completions", json={"messages": [turn], "stream": True})
    job = client.post(JOBS, json={"prompt": "funk", "seconds": 5, "seed": seed})
    yield job
    yield client.get(f"{JOBS}/{job.json()['id']}/events")
    yield client.get(f"{JOBS}/{job.json()['id']}/content", params={"format": "flac"})
    yield client.get(JOBS, params={"limit": 20})
    yield client.delete(f"{JOBS}/{job.json()['id']}")
    yield client.delete(f"/v1/files/{file_id}")
    yield client.get("/metrics")
