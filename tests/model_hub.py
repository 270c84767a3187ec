"""A hub on this machine: serves one repository, resumes, and misbehaves when it is told to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

REPO = "org/tiny"
COMMIT = "c0ffee" * 6 + "0000"
CONFIG = b'{"architectures": ["Tiny"]}'
WEIGHTS = bytes(range(256)) * 2_000  # half a megabyte


class Hub:
    """What is served, and what was asked for. All of it may be changed while it runs."""

    def __init__(self) -> None:
        self.address = ""
        self.files = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
        self.commit: str | None = COMMIT
        self.has_list = True
        self.has_checksums = True
        self.listed: list[dict[str, Any]] = []  # beside the files
        self.page_size = 1_000
        self.etag: Callable[[bytes], str | None] = lambda data: f'"{sha256(data)[:16]}"'
        self.honours_if_range = True
        self.break_offs: list[int] = []  # so many bytes, then the line is cut; one per answer
        self.statuses: dict[str, list[int]] = {}  # answers to a name that come before the file
        self.redirect_to: str | None = None  # another hub
        self.headers: dict[str, str] = {}
        self.list_answer: bytes | None = None  # in place of the list
        self.silent_after: int | None = None  # bytes of a file; once, for a while
        self.silent_list = False
        self.asked: list[tuple[str, dict[str, str]]] = []

    def asked_for(self, name: str) -> list[dict[str, str]]:
        """The headers of the requests for a file."""
        return [headers for path, headers in self.asked if path.endswith("/" + name)]

    def listing(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = [{"type": "directory", "path": "part", "oid": "0" * 40}]
        for name, data in self.files.items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": "1"}
            if self.has_checksums and not name.endswith(".json"):
                entry |= {"size": 130, "lfs": {"oid": sha256(data), "size": len(data)}}
            entries.append(entry)
        return entries + self.listed


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = hub  # type: ignore[attr-defined]
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_checkpoint(folder: Path) -> Path:
    """The repository as a folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    return folder


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        path = unquote(path)
        hub.asked.append((path, dict(self.headers)))
        name = path.removeprefix("/").removeprefix(REPO).removeprefix("/")
        name = re.sub(r"^resolve/[^/]+/", "", name)
        if statuses := hub.statuses.get(name if name in hub.files else "api"):
            self.answer(statuses.pop(0), b"")
        elif path.startswith(f"/api/models/{REPO}/revision/") and hub.commit:
            self.answer(200, json.dumps({"sha": hub.commit}).encode())
        elif path.startswith(f"/api/models/{REPO}/tree/") and hub.has_list:
            self.list(hub, query)
        elif name not in hub.files:
            self.answer(404, b"")
        elif hub.redirect_to:
            self.answer(302, b"", Location=f"{hub.redirect_to}{self.path}")
        else:
            self.send_file(hub, hub.files[name])

    def list(self, hub: Hub, query: str) -> None:
        page = int((re.findall(r"page=(\d+)", query) or ["0"])[0])
        entries = hub.listing()[page * hub.page_size :]
        more = f'<{self.path}&page={page + 1}>; rel="next"'
        link = {"Link": more} if len(entries) > hub.page_size else {}
        if hub.silent_list:
            self.answer(200, b"[", **{"Content-Length": "100"})
            time.sleep(0.3)
            return
        body = hub.list_answer or json.dumps(entries[: hub.page_size]).encode()
        self.answer(200, body, **({"Content-Type": "application/json"} | link | hub.headers))

    def send_file(self, hub: Hub, data: bytes) -> None:
        etag = hub.etag(data)
        headers = {"ETag": etag} if etag else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        fresh = not hub.honours_if_range or self.headers.get("If-Range") == etag
        start = int(asked[1]) if asked and fresh else 0
        if start and start >= len(data):
            self.answer(416, b"", **{"Content-Range": f"bytes */{len(data)}"})
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        sent = data[start:][: hub.break_offs.pop(0)] if hub.break_offs else data[start:]
        headers = {"Content-Length": str(len(data) - start)} | headers | hub.headers
        if hub.silent_after and len(sent) > hub.silent_after:
            sent, hub.silent_after = sent[: hub.silent_after], None
            self.answer(200, sent, **headers)
            time.sleep(0.3)
            return
        self.answer(206 if start else 200, sent, **headers)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:  # the other side has seen enough
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
