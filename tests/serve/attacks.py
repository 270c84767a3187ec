"""What attacks have in common: the ways in, how a refusal looks, and that nothing is harmed."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import psutil

from serve.served import Served, wait_for

# What no answer may hold: of our machine, or of our code.
INSIDE = ("Traceback", "site-packages", "/tmp/", "/home/", "/root/", ".py", "scratch")
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Outcome:
    """What came of sound that was sent: the code of a refusal, or a value."""

    code: str | None
    message: str
    value: Any


def refusal(answer: httpx2.Response, status: int, *codes: str) -> dict[str, Any]:
    """The error of an answer that refuses in our form; without `codes` any will do."""
    said = f"{answer.status_code}: {answer.text[:300]}"
    assert answer.status_code == status, said
    assert answer.headers["content-type"].startswith("application/json"), said
    body = json.loads(answer.content, parse_constant=_no_number)
    assert set(body) == {"error"}, said
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, said
    assert error["message"], said
    assert not codes or error["code"] in codes, said
    assert not [one for one in INSIDE if one in answer.text], said
    retry = answer.headers["x-should-retry"]
    assert retry == ("true" if status in (429, 503) else "false"), said
    return error


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} in an answer")


@contextmanager
def unharmed(running: Served, growth_mb: float | None = None) -> Iterator[None]:
    """The service is alive afterwards, in the same processes; with `growth_mb` these, and those
    they start, took no more at any time."""
    before = {child.pid for child in running.children}
    assert len(before) >= 2
    memory = _Memory(running) if growth_mb is not None else None
    try:
        yield
    finally:
        grown = memory.stop() if memory is not None else 0.0
    assert_alive(running, before)
    assert growth_mb is None or grown < growth_mb, f"{grown:.0f} MB more"


def assert_alive(running: Served, processes: set[int]) -> None:
    with running.client() as client:
        answer = client.get("/health", timeout=10)
        assert answer.status_code == 200
        assert answer.json() == {"status": "ok"}
    assert {child.pid for child in running.children} == processes


class _Memory:
    """The most that a service took since, in a thread."""

    def __init__(self, running: Served) -> None:
        self._parent = psutil.Process(running.process.pid)
        self._before = self._most = self._now()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        self._is_over.set()
        self._thread.join()
        return (self._most - self._before) / 1e6

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            self._most = max(self._most, self._now())

    def _now(self) -> int:
        """Bytes; pages that processes share count once."""
        total = 0
        for process in [self._parent, *self._parent.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total


# ---- the ways in for sound -----------------------------------------------------------------------


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_url(data: bytes) -> str:
    return f"data:audio/wav;base64,{b64(data)}"


def chat(client: httpx2.Client, *parts: dict[str, Any], **more: Any) -> httpx2.Response:
    content = [{"type": "text", "text": "Which tempo?"}, *parts]
    body = {"messages": [{"role": "user", "content": content}], **more}
    return client.post("/v1/chat/completions", json=body)


def audio_part(data: bytes) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": b64(data), "format": "wav"}}


def url_part(url: str) -> dict[str, Any]:
    return {"type": "audio_url", "audio_url": {"url": url}}


def upload(client: httpx2.Client, data: bytes, name: str = "a.wav") -> str:
    answer = client.post("/v1/files", files={"file": (name, data)})
    assert answer.status_code == 200, answer.text
    file_id: str = answer.json()["id"]
    return file_id


def _said(answer: httpx2.Response) -> Outcome:
    if answer.status_code != 200:
        error = refusal(answer, answer.status_code)
        assert answer.status_code < 500, answer.text
        return Outcome(error["code"], error["message"], None)
    kind = answer.headers["content-type"]
    if not kind.startswith("application/json"):
        return Outcome(None, "", answer.content)
    return Outcome(None, "", json.loads(answer.content, parse_constant=_no_number))


def _job(client: httpx2.Client, path: str, body: dict[str, Any]) -> Outcome:
    accepted = client.post(path, json=body)
    if accepted.status_code != 202:
        return _said(accepted)
    job = wait_for(client, f"{path}/{accepted.json()['id']}", 60)
    if job["status"] == "completed":
        return Outcome(None, "", job["result"])
    message = job["error"]["message"]
    assert not [one for one in INSIDE if one in message], message
    return Outcome(job["error"]["code"], message, None)


def _as_file(client: httpx2.Client, data: bytes) -> Outcome:
    part = {"type": "file", "file": {"file_id": upload(client, data)}}
    return _said(chat(client, part))


def _as_file_data(client: httpx2.Client, data: bytes) -> Outcome:
    part = {"type": "file", "file": {"file_data": b64(data), "filename": "a.wav"}}
    return _said(chat(client, part))


def _as_form(client: httpx2.Client, data: bytes) -> Outcome:
    answer = client.post(
        "/v1/audio/transcriptions", files={"file": ("a.wav", data)},
        data={"response_format": "verbose_json"},
    )  # fmt: skip
    return _said(answer)


def _as_json_form(client: httpx2.Client, data: bytes) -> Outcome:
    body = {"input_audio": {"data": b64(data), "format": "wav"}}
    return _said(client.post("/v1/audio/transcriptions", json=body))


def _as_answer(client: httpx2.Client, data: bytes) -> Outcome:
    sent = client.post("/api/v1/upload", files={"file": ("a.wav", data)})
    assert sent.status_code == 200, sent.text
    body = {"file_id": sent.json()["file_id"], "text": "Which key?"}
    return _said(client.post("/api/v1/infer", json=body))


def _as_wav(client: httpx2.Client, data: bytes) -> Outcome:
    return _said(client.get(f"/v1/files/{upload(client, data)}/content?format=wav"))


def _as_measurement(client: httpx2.Client, data: bytes) -> Outcome:
    return _job(client, "/v1/measurements", {"file_id": upload(client, data)})


def _as_description(client: httpx2.Client, data: bytes) -> Outcome:
    return _job(client, "/v1/descriptions", {"file_id": upload(client, data), "set": "short"})


def _as_beginning(client: httpx2.Client, data: bytes) -> Outcome:
    body = {"prompt": "house", "seconds": 2, "continue": upload(client, data)}
    return _job(client, "/v1/music/generations", body)


def _as_melody(client: httpx2.Client, data: bytes) -> Outcome:
    body = {"prompt": "house", "seconds": 2, "melody": upload(client, data)}
    return _job(client, "/v1/music/generations", body)


WAYS: dict[str, Callable[[httpx2.Client, bytes], Outcome]] = {
    "input_audio": lambda client, data: _said(chat(client, audio_part(data))),
    "audio_url": lambda client, data: _said(chat(client, url_part(data_url(data)))),
    "file": _as_file,
    "file_data": _as_file_data,
    "form": _as_form,
    "json_form": _as_json_form,
    "infer": _as_answer,
    "content": _as_wav,
    "measurement": _as_measurement,
    "description": _as_description,
    "continue": _as_beginning,
    "melody": _as_melody,
}


def send(running: Served, way: str, data: bytes) -> Outcome:
    with running.client() as client:
        client.timeout = httpx2.Timeout(120)
        return WAYS[way](client, data)


# ---- bytes that libraries do not write -----------------------------------------------------------


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C1_1DB7 if value >> 31 else value << 1) & 0xFFFF_FFFF
        table.append(value)
    return table


_CRC = _crc_table()


def ogg_page(body: bytes, sizes: list[int], granule: int, number: int, flags: int = 0) -> bytes:
    """A page of Ogg (RFC 3533) with packets of `sizes` < 255."""
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 1, number, 0)
    page = bytearray(head + bytes([len(sizes), *sizes]) + body)
    crc = 0
    for byte in page:
        crc = (crc << 8 ^ _CRC[crc >> 24 ^ byte]) & 0xFFFF_FFFF
    page[22:26] = struct.pack("<I", crc)
    return bytes(page)


def opus_of_empty_packets(seconds: float, declared_seconds: float | None = None) -> bytes:
    """Opus of which two bytes are 120 ms: packets of 48 empty frames (RFC 6716, code 3), a factor
    of 23,000 (CVE-2026-54233). What it declares stands in its last page."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 2, 0, 48_000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I4sI", 4, b"test", 0)
    packet = bytes([16 << 3 | 1 << 2 | 3, 48])  # CELT, 2.5 ms, stereo, 48 frames of one size
    pages = [ogg_page(head, [len(head)], 0, 0, 2), ogg_page(tags, [len(tags)], 0, 1)]
    count = round(seconds / (255 * 0.12))
    for number in range(count):
        granule = (number + 1) * 255 * 5760
        if declared_seconds is not None:
            granule = round(declared_seconds * 48_000)
        last = 4 if number == count - 1 else 0
        pages.append(ogg_page(packet * 255, [2] * 255, granule, number + 2, last))
    return b"".join(pages)


# ---- sockets -------------------------------------------------------------------------------------


@contextmanager
def canary() -> Iterator[tuple[str, list[object]]]:
    """An address on this machine, and who came to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        came: list[object] = []
        is_over = threading.Event()

        def listen() -> None:
            while not is_over.is_set():
                try:
                    visitor, address = server.accept()
                except TimeoutError:
                    continue
                came.append(address)
                visitor.close()

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", came
        finally:
            is_over.set()
            thread.join()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)
