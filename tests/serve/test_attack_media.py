"""Attacks by addresses and by names of files: what is fetched, what is opened, what is written."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import antiphon
import odd_files
from antiphon.compose.batch.jobs import JobMaker
from antiphon.compose.batch.prompt_files import Row
from antiphon.errors import ConfigError
from antiphon.models.manifest import is_safe_name
from antiphon.serve import media, remote
from antiphon.serve.bodies import AudioUrl, Part
from antiphon.serve.options import ServeOptions
from antiphon.serve.problems import Refused
from antiphon.serve.service import Service
from antiphon.serve.uploads import tidy_name
from serve.attacks import canary, chat, refusal, send, unharmed, upload, url_part
from serve.served import Served, served

pytestmark = pytest.mark.integration

INSIDE_HOSTS = (
    "127.0.0.1", "127.1", "[::1]", "0.0.0.0", "[::]", "169.254.169.254", "10.0.0.1", "172.16.0.1",
    "192.168.1.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "2130706433", "0177.0.0.1",
    "0x7f000001", "0x7f.1", "localhost", "LOCALHOST", "localhost.", "224.0.0.1", "255.255.255.255",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder_of_media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the owner of a service lets be named, beside what they do not."""
    folder = tmp_path_factory.mktemp("owner") / "media"
    (folder / "songs").mkdir(parents=True)
    (folder / "songs/a.wav").write_bytes(odd_files.wav())
    (folder.parent / "secret.wav").write_bytes(odd_files.wav())
    (folder.parent / "media of others").mkdir()
    (folder.parent / "media of others/a.wav").write_bytes(odd_files.wav())
    (folder / "link.wav").symlink_to(folder.parent / "secret.wav")
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe.wav")
    return folder


@pytest.fixture(scope="module")
def open_service(
    tmp_path_factory: pytest.TempPathFactory, folder_of_media: Path
) -> Iterator[Served]:
    """One that may fetch from every host we attack by, and open files below a folder."""
    hosts = [f"--allow-media-host={host.strip('[]').lower()}" for host in INSIDE_HOSTS]
    state = tmp_path_factory.mktemp("open service")
    with served(state, "--media-root", str(folder_of_media), "--composer=none", *hosts) as running:
        yield running


def fetched(running: Served, url: str, status: int, *codes: str) -> None:
    with running.client() as client:
        refusal(chat(client, url_part(url)), status, *codes)


# ---- addresses -----------------------------------------------------------------------------------


def test_17_hosts_inside_are_not_called_even_if_listed(open_service: Served) -> None:
    """CVE-2025-6242, GHSA-7mpg-jvqj-ccxr, CVE-2026-28416: also in other spellings of theirs."""
    with canary() as (address, came), unharmed(open_service):
        port = address.rpartition(":")[2]
        for host in INSIDE_HOSTS:
            with open_service.client() as client:
                answer = chat(client, url_part(f"http://{host}:{port}/a.wav"))
            # Some spellings are no name to this system.
            refusal(answer, answer.status_code, "host_not_allowed", "not_fetched")
        assert came == []


@pytest.mark.parametrize(
    "url",
    [
        "http://user@127.0.0.1/a.wav", "http://127.0.0.1@evil.example/a.wav",
        "http://127.0.0.1\\@evil.example/", "HTTP://EVIL.example/", "gopher://127.0.0.1/_x",
        "ftp://127.0.0.1/a.wav", "ldap://127.0.0.1/", "jar:http://127.0.0.1!/", "//127.0.0.1/a",
        "http:127.0.0.1", "http:///127.0.0.1", "http://[::1/", "http://127.0.0.1:99999/",
        "http://\u2460\u2461\u2466.0.0.1/", "dict://127.0.0.1:11211/stats", "", "a.wav", "http://",
        "http://127.0.0.1.evil.example/", "unix:///run/docker.sock", "data:audio/wav,RIFF",
    ],
)  # fmt: skip
def test_17_addresses_of_other_kinds(open_service: Served, url: str) -> None:
    with unharmed(open_service):
        codes = ("host_not_allowed", "bad_data_url")
        fetched(open_service, url, 400 if url.startswith("data:") else 403, *codes)


def test_17_every_address_inside_is_known_for_one() -> None:
    inside = (
        "127.0.0.1 127.255.255.254 0.0.0.0 10.1.2.3 172.31.0.1 192.168.0.1 169.254.169.254 "
        "100.64.0.1 192.0.0.1 198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255 ::1 :: fd00::1 "
        "fe80::1 fe80::1%eth0 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 "
        "2002:7f00:1:: 2002:a00:1:: 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe ::127.0.0.1 ::7f00:1 "
        "64:ff9b:1::7f00:1 2001:db8::1"
    )
    assert [one for one in inside.split() if remote.is_public(one)] == []
    assert all(map(remote.is_public, ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")))


Handler = Callable[[socket.socket, str], None]


@contextmanager
def host(answer: Handler) -> Iterator[str]:
    """A host that answers requests for a path in its own way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        is_over = threading.Event()

        def serve(visitor: socket.socket) -> None:
            with visitor, suppress(OSError):
                visitor.settimeout(10)
                asked = visitor.recv(65_536)
                answer(visitor, asked.split(b" ")[1].decode())

        def listen() -> None:
            threads = []
            while not is_over.is_set():
                with suppress(TimeoutError):
                    visitor, _ = server.accept()
                    threads.append(threading.Thread(target=serve, args=(visitor,)))
                    threads[-1].start()
            for thread in threads:
                thread.join()

        listening = threading.Thread(target=listen)
        listening.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            is_over.set()
            listening.join()


@pytest.fixture
def _loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address of ours stands for the internet."""
    monkeypatch.setattr(remote, "is_public", lambda address: address == "127.0.0.1")


def fetch(url: str, folder: Path, hosts: Sequence[str] = ("127.0.0.1",), most: int = 1000) -> Path:
    return remote.fetch_allowed(url, folder, hosts, most)


def wrong(url: str, folder: Path, status: int, code: str, **more: Any) -> None:
    with pytest.raises(Refused) as caught:
        fetch(url, folder, **more)
    assert (caught.value.problem.status, caught.value.problem.code) == (status, code)
    assert not folder.exists() or list(folder.iterdir()) == []  # nor is anything left


def redirecting(to: Callable[[str], str]) -> Handler:
    def answer(visitor: socket.socket, path: str) -> None:
        target = to(path)
        if not target:
            visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nRIFF")
            return
        visitor.sendall(f"HTTP/1.1 302 F\r\nLocation: {target}\r\n\r\n".encode())

    return answer


@pytest.mark.usefixtures("_loopback_is_public")
def test_18_every_redirect_is_checked_and_three_are_most(tmp_path: Path) -> None:
    with host(redirecting(lambda path: {"/3": "/2", "/2": "/1", "/1": "/0"}.get(path, ""))) as web:
        assert fetch(f"{web}/3", tmp_path).read_bytes() == b"RIFF"
    with host(redirecting(lambda path: path + "x")) as web:
        wrong(f"{web}/a", tmp_path / "a", 422, "not_fetched")
    targets = (
        "http://127.0.0.2/", "http://evil.example/", "file:///etc/passwd", "gopher://127.0.0.1/",
        "//127.0.0.2/a", "http://u@127.0.0.1/", "http://[::1]/", "//localhost/",
    )  # fmt: skip
    for target in targets:
        with host(redirecting(lambda path, target=target: target)) as web:
            hosts = ("127.0.0.1", "127.0.0.2", "::1")
            wrong(f"{web}/a", tmp_path / "a", 403, "host_not_allowed", hosts=hosts)


def test_19_what_was_checked_is_what_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is another address the second time (DNS rebinding)."""
    answers = [["93.184.215.14"], ["127.0.0.1"], ["127.0.0.1"]]
    asked: list[str] = []
    connected: list[object] = []

    def look_up(name: str, port: int, *_: object, **__: object) -> list[Any]:
        asked.append(name)
        return [(0, 0, 0, "", (one, port)) for one in answers[len(asked) - 1]]

    def connect(address: object, *_: object, **__: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    for scheme, port in (("http", 80), ("https", 443)):
        asked.clear(), connected.clear()
        wrong(f"{scheme}://evil.example/", tmp_path, 422, "not_fetched", hosts=["evil.example"])
        assert asked == ["evil.example"]
        assert connected == [("93.184.215.14", port)]
    answers[0] = ["93.184.215.14", "10.0.0.1"]  # of several, all must be outside
    asked.clear(), connected.clear()
    wrong("http://evil.example/", tmp_path, 403, "host_not_allowed", hosts=["evil.example"])
    assert connected == []


def endless(visitor: socket.socket, path: str) -> None:
    visitor.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        visitor.sendall(bytes(65_536))


def trickling(head: bytes, drop: bytes) -> Handler:
    def answer(visitor: socket.socket, path: str) -> None:
        visitor.sendall(head)
        for _ in range(100):
            visitor.sendall(drop)
            time.sleep(0.05)

    return answer


def answering(data: bytes) -> Handler:
    return lambda visitor, path: visitor.sendall(data)


@pytest.mark.usefixtures("_loopback_is_public")
@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (endless, 413, "too_large"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nRIFF"), 422, "not_fetched"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(5000)), 413,
         "too_large"),
        (answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"), 422,
         "not_fetched"),
        (answering(b"HTTP/1.1 404 No\r\n\r\n"), 422, "not_fetched"),
        (answering(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n"), 422, "not_fetched"),
        (answering(b"HTTP/1.1 200 " + b"a" * 200_000), 422, "not_fetched"),
        (answering(b"\x16\x03\x01 no http"), 422, "not_fetched"),
        (trickling(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), 422, "not_fetched"),
        (trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"x"), 422, "not_fetched"),
        (trickling(b"HTTP/1.1 ", b"2"), 422, "not_fetched"),
        (trickling(b"HTTP/1.1 200 OK\r\n", b"x"), 422, "not_fetched"),
        (trickling(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"), 422,
         "not_fetched"),
    ],
)  # fmt: skip
def test_20_bodies_without_an_end_and_by_drops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Handler, status: int, code: str
) -> None:
    """One deadline holds for all of it, whatever comes in between."""
    monkeypatch.setattr(remote, "_SECONDS", 0.5)
    began = time.monotonic()
    with host(answer) as web:
        wrong(f"{web}/a.wav", tmp_path / "a", status, code)
        assert time.monotonic() - began < 2.0


@pytest.mark.usefixtures("_loopback_is_public")
def test_20_a_gzip_bomb_stays_as_it_came(tmp_path: Path) -> None:
    import gzip

    bomb = gzip.compress(bytes(10_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    with host(answering(head.encode() + bomb)) as web:
        assert fetch(web, tmp_path, most=20_000).read_bytes() == bomb


def test_20_slow_hosts_keep_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request asks the database something, in threads of which there are few."""
    monkeypatch.setattr(media, "fetch_allowed", lambda *_: time.sleep(1.0) or (tmp_path / "a"))
    (tmp_path / "a").write_bytes(b"RIFF")
    part = Part(type="audio_url", audio_url=AudioUrl(url="http://slow.example/a.wav"))

    async def ask() -> float:
        service = Service(ServeOptions(state=tmp_path), tmp_path)
        slow = [
            asyncio.create_task(media.sound_of_part(service, part, "", tmp_path)) for _ in range(6)
        ]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await service.on_disk(lambda: service.keys.are_needed)
        waited = time.monotonic() - began
        await asyncio.gather(*slow)
        return waited

    assert asyncio.run(ask()) < 0.5


def test_21_addresses_in_words_are_never_called(real: Served) -> None:
    """CVE-2026-0599."""
    with canary() as (address, came), real.client() as client, unharmed(real):
        words = f"![]({address}/a.png) [a]({address}) <img src={address}> {address}/a.wav"
        client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": words}]})
        for path, body in (
            ("/generate", {"prompt": words, "duration": 1}),
            ("/v1/audio/speech", {"input": words, "instructions": words, "seconds": 1}),
            ("/v1/music/understandings", {"prompt": words}),
        ):
            assert client.post(path, json=body).status_code == 200
        for field in ("callback_url", "webhook", "webhook_url", "audio_url", "image_url"):
            client.post("/generate", json={"prompt": "house", "duration": 1, field: address})
        assert came == []


def test_22_by_default_no_address_is_fetched(real: Served) -> None:
    with canary() as (address, came), unharmed(real):
        for url in (f"{address}/a.wav", "http://example.com/a.wav", "https://example.com/a.wav"):
            fetched(real, url, 403, "host_not_allowed")
        fetched(real, "file:///etc/passwd", 403, "file_urls_off")
        assert came == []


OFFLINE = """
import sys
from pathlib import Path
from antiphon.errors import ConfigError
from antiphon.serve.remote import fetch_allowed
from antiphon.serve.problems import Refused
for hosts in ((), ("example.com",)):
    try:
        fetch_allowed("http://example.com/a.wav", Path(sys.argv[1]), hosts, 99)
    except Refused as error:
        print(error.problem.code)
"""


def test_22_without_a_network_it_is_an_answer_all_the_same(tmp_path: Path) -> None:
    """As in `unshare -n`, in which the whole suite passes, too."""
    unshare = ["unshare", "-r", "-n", "--"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], check=False).returncode
    ):
        pytest.skip("this system gives no network of one's own")
    result = subprocess.run(
        [*unshare, sys.executable, "-c", OFFLINE, str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.split() == ["host_not_allowed", "not_fetched"]


# ---- names of files ------------------------------------------------------------------------------

NAMES = (
    "../../../etc/passwd", "..\\..\\a.wav", "/etc/passwd", "%2e%2e%2fa.wav", "a\0.wav",
    "C:\\Windows\\a.wav", "C:a.wav", "\\\\host\\share\\a.wav", "CON", "nul.wav", "aux.",
    "a" * 300 + ".wav", "\u202egnp.wav", "a\nb.wav", "a\r\nSet-Cookie: x=y", "..", ".", "~/a.wav",
    "$(touch a).wav", "-rf", '"; filename="b.wav', "\u2028\u2029.wav", "\ud7ff\uffff.wav",
    ".hidden", "serve.sqlite", "<img src=x onerror=alert(1)>.wav",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_23_names_of_uploads_are_for_people_alone(real: Served, name: str) -> None:
    files = real.state / "serve" / "files"
    before = {path for path in real.state.rglob("*") if "scratch" not in path.parts}
    with real.client() as client, unharmed(real):
        file_id = upload(client, odd_files.wav(), name)
        shown = client.get(f"/v1/files/{file_id}").json()["filename"]
        assert shown == tidy_name(name) or "%" in shown  # as clients encode it
        assert re.fullmatch(r"[^/\\\x00-\x1f\u202e\u2028\u2029]{1,200}", shown)
        assert shown not in ("", ".", "..")
        content = client.get(f"/v1/files/{file_id}/content")
        assert content.content == odd_files.wav()
        assert content.headers["content-disposition"].startswith("attachment; filename")
        assert "set-cookie" not in content.headers
        assert re.fullmatch(r"file_[\w-]{32}", file_id)
        (new,) = set(files.iterdir()) - before
        assert new.name == file_id
        client.delete(f"/v1/files/{file_id}")
    after = {path for path in real.state.rglob("*") if "scratch" not in path.parts}
    assert {path for path in after - before if path.suffix not in (".sqlite-wal",)} == set()


@pytest.mark.parametrize(
    "url",
    [
        "file://{root}/../secret.wav", "file://{root}/%2e%2e/secret.wav", "file:///etc/passwd",
        "file://{root}/songs/../../secret.wav", "file://{root} of others/a.wav", "FILE:{up}/a.wav",
        "file://{root}/a.wav%00", "file://{root}/\0", "file://{root}", "file://{root}/songs",
        "file:secret.wav", "file:../secret.wav", "file://host{root}/../secret.wav", "file:",
        "file:///proc/self/environ", "file:///dev/zero", "file://{root}/%252e%252e/secret.wav",
        "file://{root}/..%5csecret.wav", "file://{root}/" + "a" * 5000, "file://[/",
    ],
)  # fmt: skip
def test_23_files_outside_of_the_media_folder(
    open_service: Served, folder_of_media: Path, url: str
) -> None:
    full = url.format(root=folder_of_media, up=folder_of_media.parent)
    with unharmed(open_service):
        fetched(open_service, full, 404, "file_not_found")


def test_24_links_out_of_the_media_folder(open_service: Served, folder_of_media: Path) -> None:
    inside = f"file://{folder_of_media}/songs/a.wav"
    with open_service.client() as client, unharmed(open_service):
        assert chat(client, url_part(inside)).status_code == 200
        for name in ("link.wav", "up/secret.wav", "loop", "pipe.wav", "songs/../up/secret.wav"):
            url = f"file://{folder_of_media}/{name}"
            refusal(chat(client, url_part(url)), 404, "file_not_found")


@pytest.mark.parametrize(
    "output",
    ["../a.wav", "/tmp/a.wav", "a/../../b.wav", "link/a.wav", "a\0.wav", "a\nb.wav", "..", "",
     "a/..", "./../b.wav"],
)  # fmt: skip
def test_25_no_output_leads_out_of_its_folder(tmp_path: Path, output: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    maker = JobMaker(folder, {}, 1, {}, tmp_path / "prompts.jsonl")
    with pytest.raises(ConfigError, match="output"):
        maker.job(Row(1, 0, {"prompt": "house", "output": output}))
    names = maker.job(Row(2, 1, {"prompt": "../../etc/passwd {x} %s $(id)"}))
    assert (folder / names.output).resolve().parent == folder


def test_26_downloads_are_by_ids_alone(real: Served) -> None:
    """CVE-2026-28414: no route takes a path."""
    inside = ("..%2f..%2fserve.sqlite", "..%2fserve.sqlite", "%2e%2e/serve.sqlite", "file_",
              "%2fetc%2fpasswd", "..", "file_%00", "..%5c..%5cserve.sqlite", ".", "*",
              "%25")  # fmt: skip
    paths = [
        f"{before}{name}{after}"
        for name in inside
        for before, after in (
            ("/v1/files/", "/content"), ("/v1/files/", ""), ("/assets/", ""),
            ("/v1/music/generations/", "/content"), ("/v1/descriptions/", "/content"),
            ("/api/v1/infer/", ""), ("/", ""),
        )
    ]  # fmt: skip
    with unharmed(real):
        for path in paths:
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            status, body = raw(real, head.encode())
            assert status in (307, 400, 404, 405) or path in ("/.", "/..", "/v1/files/."), path
            assert b"SQLite" not in body
            assert b"root:" not in body
        with real.client() as client:
            file_id = upload(client, odd_files.wav())
            for query in ("path=/etc/passwd", "filename=../../serve.sqlite", "file=/etc/passwd"):
                answer = client.get(f"/v1/files/{file_id}/content?{query}")
                assert answer.content == odd_files.wav()


def raw(running: Served, data: bytes) -> tuple[int, bytes]:
    """The status of an answer to exactly these bytes, and all of it."""
    name, port = running.address.removeprefix("http://").split(":")
    with socket.create_connection((name, int(port)), 10) as line:
        line.sendall(data)
        answer = b""
        with suppress(ConnectionError):
            while block := line.recv(65_536):
                answer += block
    return int(answer.split(b" ", 2)[1]), answer


def slipping_zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("../../../../tmp/slipped.wav", odd_files.wav())
    return made.getvalue()


def slipping_tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("../../../../tmp/slipped.wav")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"RIFF"))
    return made.getvalue()


def test_27_archives_are_never_unpacked(real: Served) -> None:
    """CVE-2026-24486, CVE-2026-7301: neither by the service, nor anywhere in the package."""
    before = sorted(path for path in real.state.rglob("*") if path.is_file())
    with unharmed(real), ThreadPoolExecutor(2) as pool:
        archives = [slipping_zip(), slipping_tar()]
        outcomes = list(pool.map(lambda data: send(real, "form", data), archives))
        assert [outcome.code for outcome in outcomes] == ["audio_unreadable"] * 2
    assert not Path("/tmp/slipped.wav").exists()
    left = sorted(path for path in real.state.rglob("*") if path.is_file())
    assert [path for path in left if path not in before and path.name == "slipped.wav"] == []
    source = Path(antiphon.__file__).parent
    unpacking = re.compile(r"extractall|unpack_archive|\btarfile\b|\.extract\(")
    found = [path for path in source.rglob("*.py") if unpacking.search(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "serve.sqlite"])
def test_27_names_in_lists_of_files_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    """What a model's index or a hub's listing names: refused, or below the folder."""
    if is_safe_name(name):
        assert (tmp_path / name).resolve().is_relative_to(tmp_path)
        assert not re.search(r"[\\\x00-\x1f:]", name)
