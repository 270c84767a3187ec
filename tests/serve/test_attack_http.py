"""Attacks by HTTP itself: large and slow bodies, many connections, strange JSON and headers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

import odd_files
from serve.attacks import refusal, unharmed, until, upload
from serve.served import Served, served

pytestmark = pytest.mark.integration

MIB = 1 << 20
JSON = {"content-type": "application/json"}
HOST = b"Host: 127.0.0.1\r\n"


def connected(running: Served) -> socket.socket:
    name, port = running.address.removeprefix("http://").split(":")
    return socket.create_connection((name, int(port)), 20)


def received(line: socket.socket) -> bytes:
    """All there is, to the end of the connection."""
    answer = b""
    with suppress(ConnectionError):
        while block := line.recv(65_536):
            answer += block
    return answer


def raw(running: Served, data: bytes) -> tuple[int, dict[str, Any]]:
    """What exactly these bytes are answered with: the status and the error."""
    with connected(running) as line:
        line.sendall(data)
        head, _, body = received(line).partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower(), head
    return int(head.split(b" ", 2)[1]), json.loads(body)["error"]


# ---- bodies --------------------------------------------------------------------------------------


def test_28_600_mb_that_are_announced(real: Served) -> None:
    """1.9 GB in a plain FastAPI. The answer comes before the body does."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    with unharmed(real, growth_mb=50):
        began = time.monotonic()
        status, error = raw(real, head + b"Content-Length: 629145600\r\n\r\n{")
        assert (status, error["code"]) == (413, "too_large")
        assert time.monotonic() - began < 1.0
        for length in (b"-1", b"9" * 100, b"0x10", b"1e3", b"+5"):
            status, error = raw(real, head + b"Content-Length: " + length + b"\r\n\r\n{")
            assert status in (400, 413)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files", "/v1/audio/transcriptions"])
def test_28_600_mb_that_are_not_announced(real: Served, path: str) -> None:
    """It ends at the first byte over."""
    kind = "application/json" if "chat" in path else "multipart/form-data; boundary=x"
    start = b"" if "chat" in path else (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    )  # fmt: skip
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield start
        while sent < 600 * MIB:
            yield b" " * MIB
            sent += MIB

    with unharmed(real, growth_mb=150), real.client() as client:
        with suppress(httpx2.HTTPError):  # the connection is closed while we send
            answer = client.post(path, content=body(), headers={"content-type": kind})
            refusal(answer, 413, "too_large")
        assert 40 * MIB < sent < 80 * MIB


def test_28_a_compressed_body_is_not_unpacked(real: Served) -> None:
    import gzip

    body = gzip.compress(b'{"prompt": "' + b"a" * 50_000_000 + b'"}')
    with unharmed(real, growth_mb=50), real.client() as client:
        headers = {**JSON, "content-encoding": "gzip"}
        answer = client.post("/v1/music/generations", content=body, headers=headers)
        refusal(answer, 400, "invalid_json")


# ---- connections ---------------------------------------------------------------------------------

CAPS = {"connections": 100, "header_seconds": 1.5, "body_seconds": 1.0}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Few connections, and little patience."""
    state = tmp_path_factory.mktemp("small")
    with served(state, "workers=1", fake={}, caps=CAPS) as running:
        yield running


def held_by(running: Served) -> int:
    """Connections that the service's processes have."""
    return sum(
        one.status == psutil.CONN_ESTABLISHED
        for process in running.children
        for one in process.net_connections("tcp4")
    )


def health_seconds(running: Served, count: int = 20) -> list[float]:
    """How long each of some calls takes, the longest last."""
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        with running.client() as client:
            assert client.get("/health").status_code == 200
        seconds.append(time.monotonic() - began)
    return sorted(seconds)


@pytest.mark.parametrize("said", [b"", b"GET /health HTT", b"GET /health HTTP/1.1\r\nHost: "])
def test_29_half_open_connections(small: Served, said: bytes) -> None:
    """1,100 made a plain uvicorn unreachable for 30 s (slowhttptest -H; xinference #5213)."""
    with unharmed(small), ExitStack() as lines:
        for _ in range(1100):
            line = lines.enter_context(connected(small))
            if said:
                with suppress(ConnectionError):
                    line.sendall(said)
        until(lambda: held_by(small) <= CAPS["connections"], 1.0)
        assert health_seconds(small)[-1] < 0.5
        until(lambda: held_by(small) == 0, 4 * CAPS["header_seconds"])


def test_29_bodies_by_drops(small: Served) -> None:
    """slowhttptest -B."""
    head = b"POST /generate HTTP/1.1\r\n" + HOST
    head += b"Content-Type: application/json\r\nContent-Length: 9999\r\n\r\n{"
    with unharmed(small), ExitStack() as stack:
        lines = [stack.enter_context(connected(small)) for _ in range(40)]
        for line in lines:
            line.sendall(head)
        began = time.monotonic()
        while time.monotonic() - began < 1.6:
            assert health_seconds(small, 1)[-1] < 0.5
            for line in lines:
                with suppress(ConnectionError):
                    line.sendall(b" ")
            time.sleep(0.2)
        for line in lines:
            answer = received(line)
            assert answer.startswith(b"HTTP/1.1 408 ") or not answer
            assert b'"code": "too_slow"' in answer or b'"code":"too_slow"' in answer or not answer
        assert time.monotonic() - began < 4.0


def test_29_answers_that_nobody_reads(small: Served) -> None:
    """slowhttptest -X: when there is no room any more, those go that take nothing."""
    with small.client() as client, unharmed(small), ExitStack() as stack:
        file_id = upload(client, bytes(16 * MIB))
        asked = f"GET /v1/files/{file_id}/content HTTP/1.1\r\n".encode() + HOST + b"\r\n"
        for _ in range(110):
            line = stack.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.settimeout(10)
            name, port = small.address.removeprefix("http://").split(":")
            line.connect((name, int(port)))
            with suppress(ConnectionError):
                line.sendall(asked)
        time.sleep(CAPS["header_seconds"] + 0.5)
        assert health_seconds(small)[-1] < 0.5


# ---- multipart -----------------------------------------------------------------------------------


def part(name: str, data: bytes = b"x", filename: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + data + b"\r\n"


WHOLE = part("file", odd_files.wav(), "a.wav")
MULTIPARTS = {
    "10,000 parts": b"".join(part(f"f{n}") for n in range(10_000)) + WHOLE,
    "10,000 files": WHOLE * 2 + b"".join(part("file", b"x", "a") for _ in range(10_000)),
    "a field of 10 MB": part("purpose", b"x" * 10_000_000) + WHOLE,
    "a header of 10 MB": b"--x\r\nContent-Disposition: " + b"x" * 10_000_000 + b"\r\n\r\n",
    "10,000 headers": b"--x\r\n" + b"a: b\r\n" * 100_000 + b"\r\nx\r\n--x--",
    "10 MB of newlines before": b"\r\n" * 5_000_000 + WHOLE,  # CVE-2024-53981
    "10 MB of dashes": b"--x" + b"-" * 10_000_000,
    "no end": WHOLE[:-100],
    "nothing": b"",
    "no parts": b"--x--\r\n",
}


@pytest.mark.parametrize("name", MULTIPARTS)
def test_30_multipart_bodies(real: Served, name: str) -> None:
    """CVE-2024-53981, CVE-2026-53539, CVE-2024-9056: little time, little memory."""
    headers = {"content-type": "multipart/form-data; boundary=x"}
    body = MULTIPARTS[name]
    if not body.endswith(b"--x--"):
        body += b"" if name in ("no end", "nothing") else b"--x--\r\n"
    with unharmed(real, growth_mb=100), real.client() as client:
        for path in ("/v1/files", "/api/v1/upload", "/v1/audio/transcriptions"):
            began = time.monotonic()
            answer = client.post(path, content=body, headers=headers)
            assert time.monotonic() - began < 3.0
            if answer.status_code == 200:  # the file was whole, and all else was passed over
                assert name in ("10 MB of newlines before", "no end")
            else:
                refusal(answer, 400, "bad_multipart", "missing_file")


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" +
        "x" * 60_000, "multipart/form-data; boundary=\"" + "x;" * 5000, "multipart/form-data" +
        "; a=b" * 10_000, "multipart/form-data; charset=utf-7; boundary=x",
        "multipart/form-data; boundary=x; charset=rot13",
    ],
)  # fmt: skip
def test_30_boundaries(real: Served, kind: str) -> None:
    with unharmed(real, growth_mb=50), real.client() as client:
        began = time.monotonic()
        answer = client.post("/v1/files", content=WHOLE, headers={"content-type": kind})
        assert time.monotonic() - began < 2.0
        refusal(answer, 400, "bad_multipart", "missing_file", "invalid_http")


# ---- ranges --------------------------------------------------------------------------------------


def test_31_ten_thousand_ranges(real: Served) -> None:
    """CVE-2025-62727: at most the whole file once, and at once."""
    with real.client() as client:
        file_id = upload(client, odd_files.wav())
        path = f"/v1/files/{file_id}/content"
        many = [",".join(f"{n}-{n + 1}" for n in range(10_000))]
        many += [",".join(["0-"] * 10_000), "," * 20_000, "-" * 20_000, ",".join(["-1"] * 9_999)]
        with unharmed(real, growth_mb=50):
            for ranges in many:
                began = time.monotonic()
                answer = client.get(path, headers={"range": f"bytes={ranges}"})
                assert time.monotonic() - began < 1.0
                assert len(answer.content) < 2 * len(odd_files.wav())
                assert answer.status_code in (200, 206, 400, 416)


def test_31_ranges_that_there_are_not(real: Served) -> None:
    scratch = real.state / "serve" / "scratch"
    with real.client() as client, unharmed(real):
        file_id = upload(client, odd_files.wav())
        for path in (f"/v1/files/{file_id}/content", f"/v1/files/{file_id}/content?format=wav"):
            for said in ("bytes=99999999999-", "bytes=5-2", "lines=1-2", "bytes", "bytes=-0"):
                answer = client.get(path, headers={"range": said})
                refusal(answer, answer.status_code, "bad_range")
                assert answer.status_code in (400, 416)
            assert client.get(path, headers={"range": "bytes=0-3"}).content == b"RIFF"
        # What was decoded for such a request is gone with it.
        until(lambda: not [one for one in scratch.iterdir() if one.suffix == ".wav"])


# ---- JSON ----------------------------------------------------------------------------------------

DEEP = 100_000
STRANGE_JSON = {
    "lists in lists": b"[" * DEEP + b"]" * DEEP,
    "objects in objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "lists without an end": b"[" * 10_000_000,
    "101 levels": b'{"prompt":' + b"[" * 101 + b"]" * 101 + b"}",
    "a name twice": b'{"prompt": "a", "prompt": "b"}',
    "half a letter": b'{"prompt": "\\ud800"}',
    "half a letter as a name": b'{"\\udfff": 1, "prompt": "a"}',
    "NaN": b'{"prompt": "a", "seconds": NaN}',
    "infinity": b'{"prompt": "a", "seconds": -Infinity}',
    "1e309": b'{"prompt": "a", "seconds": 1e309}',
    "10,000 digits": b'{"prompt": "a", "seed": ' + b"9" * 10_000 + b"}",
    "no UTF-8": b'{"prompt": "\xff\xfe"}',
    "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "a mark of order": b'\xef\xbb\xbf{"prompt": "a"}',
    "a bare NUL": b'{"prompt": "a\x00"}',
    "nothing": b"",
    "null": b"null",
    "a number": b"1",
    "a text": b'"prompt"',
    "two": b'{"prompt": "a"} {"prompt": "b"}',
    "a comment": b'{"prompt": "a" /* */}',
    "60 MB of empty lists": b'{"prompt": [' + b"[]," * 20_000_000 + b"[]]}",
    "60 MB of empty objects": b'{"prompt": [' + b"{}," * 20_000_000 + b"{}]}",
    "60 MB of numbers": b'{"prompt": [' + b"1," * 30_000_000 + b"1]}",
}
JSON_PATHS = ("/v1/music/generations", "/v1/chat/completions", "/v1/audio/transcriptions")


@pytest.mark.parametrize("name", STRANGE_JSON)
def test_32_json_that_is_not_what_it_seems(real: Served, name: str) -> None:
    paths = JSON_PATHS if len(STRANGE_JSON[name]) < 10_000_000 else JSON_PATHS[:1]
    with unharmed(real, growth_mb=300), real.client() as client:
        for path in paths:
            began = time.monotonic()
            answer = client.post(path, content=STRANGE_JSON[name], headers=JSON)
            assert time.monotonic() - began < 3.0
            refusal(answer, 400, "invalid_json", "invalid_value")


def test_32_nobody_waits_for_a_large_body_to_be_read(small: Served) -> None:
    """60 MB with some brackets in them, as a recording beside a schema: the service's one process
    answers others meanwhile."""
    body = b'{"prompt": "' + b"a" * (60 * MIB) + b"[]" * 200 + b'"}'
    with small.client() as client, unharmed(small):
        began = time.monotonic()
        refusal(client.post("/v1/music/generations", content=body, headers=JSON), 400)
        assert time.monotonic() - began < 3.0


def test_32_a_nul_in_a_prompt_is_text(real: Served) -> None:
    with real.client() as client, unharmed(real):
        body = {"prompt": "house\0\x1b[31m", "duration": 1, "seed": 1}
        assert client.post("/generate", json=body).status_code == 200


# ---- requests in requests, and headers -----------------------------------------------------------

SMUGGLED = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /v1/music/understandings HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
AMBIGUOUS = {
    "both": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 99\r\n\r\n{}   ",
    "two lengths in one": b"Content-Length: 5, 99\r\n\r\n{}   ",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "tab": b"Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded": b"X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0x5\r\n\r\n",
    "underscore": b"Content_Length: 99\r\nContent-Length: -5\r\n\r\n",
    "a NUL": b"X: a\0b\r\n\r\n",
    "a bare CR": b"X: a\rTransfer-Encoding: chunked\r\n\r\n",
    "a chunk of too many digits": b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 40 + b"1\r\nx",
    "a chunk that is negative": b"Transfer-Encoding: chunked\r\n\r\n-5\r\nx\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_33_two_lengths_of_one_body(real: Served, name: str) -> None:
    """One answer, a refusal, and an end: what stands behind is no request."""
    with unharmed(real), connected(real) as line:
        line.sendall(POST + AMBIGUOUS[name] + SMUGGLED)
        line.settimeout(1.0)
        answer = b""
        with suppress(TimeoutError, ConnectionError):
            while block := line.recv(65_536):
                answer += block
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1
    code = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    assert code in ("ambiguous_length", "invalid_http")


@pytest.mark.parametrize(
    "line",
    [b"GET", b"GET /health", b"GET /health HTTP/x.y", b"get\0/health HTTP/1.1", b"\0" * 99,
     b"GET [ HTTP/1.1", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0", b"GET  /health HTTP/1.1"],
)  # fmt: skip
def test_33_what_is_no_http(real: Served, line: bytes) -> None:
    with unharmed(real):
        status, error = raw(real, line + b"\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert 400 <= status < 500
        assert error["code"]


def test_34_floods_of_headers_and_cookies(real: Served) -> None:
    many = b"".join(b"X-%d: y\r\n" % n for n in range(500))
    cookies = b"".join(b"Cookie: a%d=b\r\n" % n for n in range(200))
    long = b"X-Long: " + b"y" * 200_000 + b"\r\n"
    cookie = b"Cookie: " + b"; ".join(b"a%d=b" % n for n in range(20_000)) + b"\r\n"
    target = b"GET /" + b"a" * 200_000
    start = b"GET /health HTTP/1.1\r\n" + HOST
    end = b"Connection: close\r\n\r\n"
    with unharmed(real, growth_mb=50):
        for flood in (many, cookies):
            assert raw(real, start + flood + end)[1]["code"] == "too_many_headers"
        for data in (start + long + end, start + cookie + end, target):
            with connected(real) as line:
                with suppress(ConnectionError):
                    line.sendall(data)
                answer = received(line)
            assert not answer or b'"invalid_http"' in answer, answer[:100]


def test_34_a_flood_of_headers_in_an_endless_row(small: Served, tmp_path: Path) -> None:
    """What goes on without an end is cut off at what fits into a request's head."""
    with unharmed(small, growth_mb=50), connected(small) as line:
        sent = 0
        with suppress(ConnectionError):
            line.sendall(b"GET /health HTTP/1.1\r\n")
            while sent < 50_000_000:
                sent += line.send(b"X-Flood: " + b"y" * 10_000 + b"\r\n")
        assert sent < 30_000_000
