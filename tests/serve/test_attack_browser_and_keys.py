"""Attacks by pages of others in a user's browser, and by those who have no key, or another's."""

from __future__ import annotations

import hmac
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import odd_files
from antiphon.errors import ConfigError
from antiphon.serve import keys as keys_module
from antiphon.serve.database import Database
from antiphon.serve.guards import MULTIPART, PUBLIC, needs_key
from antiphon.serve.keys import Keys
from antiphon.serve.options import ServeOptions
from antiphon.serve.supervisor import serve
from serve.attacks import refusal, unharmed, upload
from serve.served import Served, served, wait_for

pytestmark = pytest.mark.integration

EVIL = "http://evil.example"
BODY = {"prompt": "house", "seconds": 1}
JOBS = "/v1/music/generations"
METHODS = ("get", "post", "put", "patch", "delete", "head")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """A service with two keys, and these by name; another site may use it, which has a name."""
    state = tmp_path_factory.mktemp("locked")
    secrets = {name: Keys(Database(state / "serve")).add(name)[1] for name in ("ann", "bob")}
    options = ['origins=["https://music.example"]', 'hosts=["music.lan"]']
    with served(state, *options, fake={}) as running:
        yield running, secrets


def as_key(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


# ---- pages of others -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "",
     "evil.example#127.0.0.1", "127.0.0.1@evil.example", "evil.example/127.0.0.1", "0.0.0.0",
     "192.168.0.1", "[::ffff:10.0.0.1]", "localhost.", "xlocalhost", "127.0.0.1 evil.example",
     "127.0.0.1:80:80", "music.lan.evil.example"],
)  # fmt: skip
def test_35_names_that_are_not_ours(real: Served, host: str) -> None:
    """CVE-2024-28224: by DNS, a page's own name becomes this machine's address."""
    with real.client() as client, unharmed(real):
        for method, path in (("GET", "/v1/files"), ("GET", "/"), ("POST", JOBS)):
            answer = client.request(method, path, headers={"host": host}, json=BODY)
            refusal(answer, answer.status_code, "unknown_host", "invalid_http")
            assert answer.status_code in (400, 403)


def test_35_no_name_at_all(real: Served) -> None:
    name, port = real.address.removeprefix("http://").split(":")
    for head in (b"GET /v1/files HTTP/1.0\r\n\r\n", b"GET /v1/files HTTP/1.1\r\n\r\n"):
        with socket.create_connection((name, int(port)), 10) as line:
            line.sendall(head)
            assert line.recv(1000).startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))


def test_35_names_that_are_ours(locked: tuple[Served, dict[str, str]]) -> None:
    running, secrets = locked
    with running.client(headers=as_key(secrets["ann"])) as client:
        for host in ("127.0.0.1", "localhost:80", "[::1]:8000", "music.lan", "MUSIC.lan:8000"):
            assert client.get("/v1/files", headers={"host": host}).status_code == 200
        refusal(client.get("/v1/files", headers={"host": "x.lan"}), 403, "unknown_host")


SIMPLE = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "")


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "http://127.0.0.1", "http://localhost", "file://"]
)
def test_36_requests_of_other_sites(real: Served, origin: str) -> None:
    """Also on another port of this machine (the attacks on ComfyUI-Manager, April 2026)."""
    with real.client() as client, unharmed(real):
        before = client.get(JOBS).json()
        for kind in (*SIMPLE, "application/json"):
            headers = {"origin": origin, "content-type": kind}
            for path in (JOBS, "/v1/files", "/api/v1/upload", "/generate", f"{JOBS}/x/cancel"):
                answer = client.post(path, content=b'{"prompt": "house"}', headers=headers)
                refusal(answer, 403, "foreign_origin")
            refusal(client.get("/v1/files", headers=headers), 403, "foreign_origin")
            refusal(client.delete("/v1/files/x", headers=headers), 403, "foreign_origin")
        assert client.get(JOBS).json() == before


def test_36_json_has_a_content_type_that_no_form_can_send(real: Served) -> None:
    with real.client() as client, unharmed(real):
        bodies = {
            path: methods.get("post", {}).get("requestBody", {}).get("content", {})
            for path, methods in client.get("/openapi.json").json()["paths"].items()
        }
        taking_json = [path for path, kinds in bodies.items() if "application/json" in kinds]
        assert len(taking_json) >= 10
        for path in taking_json:
            for kind in SIMPLE:
                answer = client.post(path, content=b"{}", headers={"content-type": kind})
                refusal(answer, 415, "wrong_content_type")
        own = {"origin": real.address}
        assert client.post(JOBS, json=BODY, headers=own).status_code == 202


def test_36_no_cookie_is_given_or_taken(locked: tuple[Served, dict[str, str]]) -> None:
    running, secrets = locked
    with running.client() as client:
        for name in ("key", "token", "session", "authorization", "api_key"):
            headers = {"cookie": f"{name}={secrets['ann']}"}
            refusal(client.get("/v1/files", headers=headers), 401, "invalid_api_key")
        for path in ("/", "/health", "/v1/server"):
            assert "set-cookie" not in client.get(path).headers


def test_37_no_other_site_may_read(real: Served) -> None:
    with real.client() as client, unharmed(real):
        for origin in (EVIL, "null"):
            for method in ("OPTIONS", "GET", "POST"):
                headers = {"origin": origin, "access-control-request-method": "POST",
                           "access-control-request-headers": "content-type"}  # fmt: skip
                answer = client.request(method, JOBS, headers=headers)
                assert answer.status_code == 403
                assert not [name for name in answer.headers if name.startswith("access-control")]


def test_37_one_that_may_is_no_door_for_others(locked: tuple[Served, dict[str, str]]) -> None:
    running, secrets = locked
    key = as_key(secrets["ann"])
    with running.client() as client:
        allowed = client.get("/v1/files", headers={"origin": "https://music.example", **key})
        assert allowed.headers["access-control-allow-origin"] == "https://music.example"
        assert allowed.headers.get("access-control-allow-credentials") is None
        near = ("https://music.example.evil", "http://music.example", "https://evil.music.example",
                "https://music.example:8443", "https://music.example/", "null")  # fmt: skip
        for origin in near:
            answer = client.get("/v1/files", headers={"origin": origin, **key})
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers


SCRIPT = '<img src=x onerror=alert(1)></script><script>alert(1)</script>{{7*7}}"'


def test_38_what_users_write_is_never_a_page(real: Served) -> None:
    """In prompts, names and questions: it comes back as JSON, or as a file to be saved."""
    with real.client() as client, unharmed(real):
        file_id = upload(client, odd_files.wav(), SCRIPT + ".html")
        job = client.post(JOBS, json=BODY | {"prompt": SCRIPT}).json()
        wait_for(client, f"{JOBS}/{job['id']}")
        asked = {"file_id": file_id, "text": SCRIPT}
        infer = client.post("/api/v1/infer", json=asked)
        paths = ("/v1/files", f"/v1/files/{file_id}", f"/v1/files/{file_id}/content", JOBS,
                 f"{JOBS}/{job['id']}", f"{JOBS}/{job['id']}/content", f"/nothing/{SCRIPT}",
                 f"{JOBS}/{job['id']}/content?format=json", f"/v1/models/{SCRIPT}",
                 f"/v1/files/{SCRIPT}", f"/v1/files?order={SCRIPT}")  # fmt: skip
        for answer in [infer, *(client.get(path) for path in paths)]:
            kind = answer.headers["content-type"].partition(";")[0]
            assert kind in ("application/json", "audio/wav", "application/octet-stream")
            if kind != "application/json" or "format=json" in str(answer.url):
                named = answer.headers["content-disposition"]
                assert named.startswith("attachment; filename")
                assert not re.search(r"[<>\r\n]", named)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'self'")
            assert "unsafe" not in policy


def test_38_the_page_has_no_script_of_its_own_inside(real: Served) -> None:
    """And puts what users write into it as text."""
    with real.client() as client:
        page = client.get("/")
        if not page.headers["content-type"].startswith("text/html"):
            pytest.skip("installed without the page")
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|javascript:", page.text)
        assert "unsafe" not in page.headers["content-security-policy"]
    sources = Path(__file__).parents[2] / "web" / "src"
    writing = re.compile(r"\.(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|srcdoc")
    found = [file.name for file in sources.rglob("*.ts") if writing.search(file.read_text("utf-8"))]
    assert found == []


def test_39_nothing_is_framed_sniffed_or_shown_inline(
    locked: tuple[Served, dict[str, str]],
) -> None:
    running, secrets = locked
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
    key = as_key(secrets["ann"])
    with running.client() as client:
        answers = [client.get("/"), client.get("/health"), client.get("/nothing"),
                   client.get("/v1/files"), client.get("/health", headers={"host": "evil"}),
                   client.get("/health", headers={"origin": EVIL})]  # fmt: skip
        client.headers.update(key)
        answers.append(client.get("/nothing"))
        for name in ("a.svg", "a.html", "a.xml", "a.js", "a.wav", "a.pdf", "a.svgz", "a"):
            content = client.get(f"/v1/files/{upload(client, svg, name)}/content")
            assert content.headers["content-disposition"].startswith("attachment")
            kind = content.headers["content-type"]
            assert kind == "application/octet-stream" or kind.startswith("audio/")
            answers.append(content)
        for answer in answers:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "object-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"


# ---- keys ----------------------------------------------------------------------------------------


def routes_of(client: httpx2.Client, key: dict[str, str]) -> list[tuple[str, str]]:
    """Every method of every route, as the OpenAPI has them and as it does not."""
    paths: dict[str, dict[str, Any]] = client.get("/openapi.json", headers=key).json()["paths"]
    found = [(path, method) for path, methods in paths.items() for method in methods]
    assert len(found) >= 30
    more = ("/mcp", "/mcp/", "/docs", "/redoc", "/nothing", "/health/", "/%2e/health",
            "/metrics", "/HEALTH", "/assets", "/v1/server/", "/v1//files")  # fmt: skip
    return [*found, *((path, method) for path in more for method in METHODS)]


WRONG_KEYS: tuple[dict[str, str], ...] = (
    {}, {"authorization": "Bearer ak-wrong"}, {"authorization": "Bearer"},
    {"authorization": "Basic YTpi"}, {"xi-api-key": "ak-wrong"}, {"xi-api-key": ""},
    {"authorization": "Bearer ak-" + "a" * 10_000}, {"authorization": "bearer %"},
)  # fmt: skip


def test_40_every_route_asks_for_the_key(locked: tuple[Served, dict[str, str]]) -> None:
    """All but a public list, from which nothing of a user's can be had."""
    running, secrets = locked
    with running.client() as client, unharmed(running):
        for path, method in routes_of(client, as_key(secrets["ann"])):
            asked = re.sub(r"\{\w+\}", "x", path)
            if asked in PUBLIC and method in ("get", "head"):
                continue
            kind = "multipart/form-data" if asked in MULTIPART else "application/json"
            for wrong in WRONG_KEYS if path == "/v1/files" else WRONG_KEYS[:2]:
                headers = {**wrong, "content-type": kind}
                body = b"{}" if method in ("post", "put", "patch") else None
                answer = client.request(method, asked, headers=headers, content=body)
                if method == "head":
                    assert answer.status_code == 401, asked
                else:
                    refusal(answer, 401, "invalid_api_key")
        for path in PUBLIC:
            text = client.get(path).text
            assert client.get(path).status_code in (200, 404), path
            assert not [one for one in (*secrets, *secrets.values()) if f'"{one}"' in text]
        assert client.get("/v1/files", headers=as_key(secrets["ann"])).status_code == 200
        answer = client.get("/v1/files", headers={"xi-api-key": secrets["bob"]})
        assert answer.status_code == 200


def test_40_a_key_in_the_address_is_none(locked: tuple[Served, dict[str, str]]) -> None:
    running, secrets = locked
    with running.client() as client:
        for name in ("key", "api_key", "token", "access_token", "authorization", "xi-api-key"):
            answer = client.get("/v1/files", params={name: secrets["ann"]})
            refusal(answer, 401, "invalid_api_key")


def test_41_every_hash_is_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(Database(tmp_path))
    secrets = [keys.add(name)[1] for name in ("a", "b", "c")]
    compared: list[tuple[str, str]] = []

    def watched(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(keys_module, "hmac", type("Hmac", (), {"compare_digest": watched}))
    for secret in (*secrets, "ak-wrong", "", "\ud800"):
        compared.clear()
        assert (keys.id_of(secret) is not None) == (secret in secrets)
        assert len(compared) == 3  # also when the first is the right one
        assert not [pair for pair in compared if secret and secret in "".join(pair)]


def test_41_a_key_is_nowhere_to_be_read(locked: tuple[Served, dict[str, str]]) -> None:
    """Not in the log, the database, the numbers, or what is said of failures."""
    running, secrets = locked
    secret, wrong = secrets["bob"], "ak-a-wrong-one-that-is-told-from-others"
    with running.client() as client:
        said = []
        for given in (secret, wrong):
            key = as_key(given)
            client.get(f"/v1/files?key={given}")
            said += [
                client.post("/generate", json={"prompt": "fail"}, headers=key),
                client.post(JOBS, json={"prompt": "fail"}, headers=key),
                client.get("/v1/files/x", headers=key), client.get("/metrics", headers=key),
                client.post(JOBS, json={"prompt": 1}, headers=key),
                client.get("/v1/server", headers=key), client.get(JOBS, headers=key),
            ]  # fmt: skip
    assert {200, 202, 400, 401, 404, 500} <= {answer.status_code for answer in said}
    for answer in said:
        assert secret not in answer.text + str(answer.headers)
        assert wrong not in answer.text + str(answer.headers)
    files = [path for path in running.state.rglob("*") if path.is_file()]
    assert running.log in files
    assert len(files) > 4
    for path in files:
        data = path.read_bytes()
        assert secret.encode() not in data, path.name
        assert wrong.encode() not in data, path.name


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "music.example", "[::]"])
def test_42_strangers_need_a_key(host: str, tmp_path: Path) -> None:
    """It is refused before anything listens (175,108 open hosts of Ollama)."""
    options = ServeOptions(host=host, port=0, state=tmp_path)
    with pytest.raises(ConfigError, match="there is no key; add one with 'antiphon keys add NAME'"):
        serve(options, [])
    # Nor does the last key open the door when it is removed.
    assert needs_key(options, there_are_keys=False)
    assert not needs_key(ServeOptions(host=host, state=tmp_path, insecure=True), False)
    assert not needs_key(ServeOptions(state=tmp_path), False)
    assert needs_key(ServeOptions(state=tmp_path, insecure=True), there_are_keys=True)
