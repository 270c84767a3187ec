"""Fetching over http from a server on this machine that behaves badly on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import odd_files
from antiphon import audio
from antiphon.errors import AntiphonError, AudioLimitError, ConfigError, StorageError

pytestmark = pytest.mark.integration


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in ("/song.wav", "/unnamed"):
            self.answer(200, odd_files.wav())
        elif path == "/short.wav":
            self.answer(200, odd_files.wav()[:1000], length=5_000)
        elif path == "/no-length.wav":
            self.answer(200, bytes(500_000), length=None)
        elif path == "/endless.wav":
            self.answer(200, b"", length=None)
            self.send_for_ever(bytes(65_536), 0.0)
        elif path == "/trickle.wav":
            self.answer(200, b"", length=1_000_000)
            self.send_for_ever(b"x", 0.02)
        elif path == "/to-file":
            self.answer(302, b"", Location="file:///etc/passwd")
        elif path == "/to-ftp":
            self.answer(302, b"", Location="ftp://127.0.0.1/a.wav")
        elif path == "/to-song":
            self.answer(302, b"", Location="/song.wav")
        elif path == "/round":
            self.answer(302, b"", Location="/round")
        else:
            self.answer(404, b"")

    def answer(self, status: int, body: bytes, length: int | None = -1, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def send_for_ever(self, data: bytes, pause_seconds: float) -> None:
        try:
            while not self.server.stopping:  # type: ignore[attr-defined]
                self.wfile.write(data)
                time.sleep(pause_seconds)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.stopping = False  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stopping = True  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def fetch(url: str, folder: Path, max_bytes: int = 1_000_000, timeout_seconds: float = 5.0) -> Path:
    return audio.fetch(url, folder, max_bytes=max_bytes, timeout_seconds=timeout_seconds)


@pytest.mark.parametrize("name", ["song.wav", "to-song", "song.wav?token=1"])
def test_a_file_arrives_whole_and_private(address: str, tmp_path: Path, name: str) -> None:
    path = fetch(f"{address}/{name}", tmp_path)
    assert path.read_bytes() == odd_files.wav()
    assert path.stat().st_mode & 0o777 == 0o600
    assert audio.read(path).damage.problems == ()
    assert list(tmp_path.iterdir()) == [path]


def test_the_suffix_is_kept_only_if_it_is_one_of_ours(address: str, tmp_path: Path) -> None:
    assert fetch(f"{address}/song.wav", tmp_path).suffix == ".wav"
    assert fetch(f"{address}/unnamed", tmp_path).suffix == ""


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("missing.wav", StorageError, "answers 404"),
        ("short.wav", StorageError, "broke off after 1,000 of 5,000 bytes"),
        ("to-file", StorageError, "file:///etc/passwd.* not allowed"),
        ("to-ftp", ConfigError, "expected http"),
        ("round", StorageError, "redirect"),
    ],
)
def test_what_goes_wrong_is_named_and_leaves_nothing(
    address: str, tmp_path: Path, name: str, error: type[AntiphonError], match: str
) -> None:
    with pytest.raises(error, match=match):
        fetch(f"{address}/{name}", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["song.wav", "no-length.wav", "endless.wav"])
def test_the_size_is_capped_by_header_and_by_count(address: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioLimitError, match="larger than 100,000 bytes"):
        fetch(f"{address}/{name}", tmp_path, max_bytes=100_000)
    assert list(tmp_path.iterdir()) == []


def test_a_trickle_meets_the_deadline(address: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"not fetched within 0\.3 s"):
        fetch(f"{address}/trickle.wav", tmp_path, timeout_seconds=0.3)
    assert time.monotonic() - began < 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a/b.wav", "gopher://a", "song.wav", "http://", "http://[a"]
)
def test_only_the_web_is_fetched_from(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected http|not a web address"):
        fetch(url, tmp_path)


def test_secrets_in_the_address_are_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        fetch("http://user:hunter2@127.0.0.1:9/a.wav?token=hunter2", tmp_path)
    assert "hunter2" not in str(caught.value)
