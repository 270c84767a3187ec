"""Fetch sound from a host that the server's owner has listed, and from nowhere else.

A name is resolved once, and what it resolves to is what is connected to; addresses inside are
refused, at every redirect anew (CVE-2025-6242, GHSA-7mpg-jvqj-ccxr).
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from antiphon.serve.problems import refuse
from antiphon.serve.uploads import too_large

_MOST_REDIRECTS = 3
_SECONDS = 30.0
_BLOCK_BYTES = 1 << 16
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address is behind it
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that has been given away
_REDIRECTS = (301, 302, 303, 307, 308)


def fetch_allowed(url: str, folder: Path, hosts: Sequence[str], most_bytes: int) -> Path:
    """The file at `url`, in a new file in `folder`, if its host is one of `hosts`.

    Raises Refused: 403 for a host that is not allowed or lies inside, 413 for too many bytes, 422
    for all else.
    """
    deadline = time.monotonic() + _SECONDS
    for _ in range(_MOST_REDIRECTS + 1):
        parts = _checked(url, hosts)
        address = _resolved(parts)
        connection = _connection(parts, address, deadline)
        try:
            with _ended_at(deadline, connection):
                target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
                connection.request(
                    "GET", target,
                    headers={"Host": parts.netloc, "User-Agent": "antiphon",
                             "Accept-Encoding": "identity"},
                )  # fmt: skip
                with connection.getresponse() as response:
                    if response.status in _REDIRECTS:
                        url = urllib.parse.urljoin(url, response.headers.get("Location", ""))
                        continue
                    if response.status != 200:
                        said = f"the address answers {response.status}"
                        raise refuse(422, "not_fetched", said, "url")
                    return _saved(response, folder, most_bytes, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise refuse(
                422, "not_fetched", f"the address cannot be fetched ({type(error).__name__})", "url"
            ) from error
        finally:
            connection.close()
    raise refuse(422, "not_fetched", f"more than {_MOST_REDIRECTS} redirects", "url")


def _checked(url: str, hosts: Sequence[str]) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise refuse(403, "host_not_allowed", "the address is not understood", "url") from None
    named = host if port is None else f"{host}:{port}"
    is_web = parts.scheme.lower() in ("http", "https") and parts.username is None
    allowed = [name.lower() for name in hosts]
    if not is_web or not host or (host not in allowed and named not in allowed):
        raise refuse(
            403, "host_not_allowed",
            "addresses of this host are not fetched here; upload the file, or send it as a data: "
            "URL", "url",
        )  # fmt: skip
    return parts


def _resolved(parts: urllib.parse.SplitResult) -> str:
    """The one address that is connected to; none that lies inside a network."""
    port = parts.port or {"http": 80, "https": 443}[parts.scheme.lower()]
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise refuse(422, "not_fetched", "the host is not known", "url") from error
    addresses = [str(one[4][0]) for one in found]
    if not addresses or not all(map(is_public, addresses)):
        raise refuse(403, "host_not_allowed", "the host lies inside a network", "url")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address lies in the open internet, also what an IPv6 address hides."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
        if ip not in _UNICAST:  # ipaddress takes ::127.0.0.1 for global
            return False
    return ip.is_global and not ip.is_multicast


def _connection(
    parts: urllib.parse.SplitResult, address: str, deadline: float
) -> http.client.HTTPConnection:
    """A connection to the address that was checked, under the host's name."""
    host, seconds = str(parts.hostname), max(0.1, deadline - time.monotonic())
    if parts.scheme.lower() == "https":
        connection: http.client.HTTPConnection = _Pinned(host, parts.port, seconds, address)
    else:
        connection = http.client.HTTPConnection(address, parts.port, timeout=seconds)
    return connection


@contextmanager
def _ended_at(deadline: float, connection: http.client.HTTPConnection) -> Iterator[None]:
    """The timeout of a socket is for one wait: headers that come byte by byte never meet it."""
    connection.connect()
    ours = connection.sock
    timer = threading.Timer(deadline - time.monotonic(), _shut, (ours,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(ours: socket.socket) -> None:
    """What is read from it now is its end."""
    with suppress(OSError):
        ours.shutdown(socket.SHUT_RDWR)


class _Pinned(http.client.HTTPSConnection):
    """TLS for a name, over a socket to an address that is not looked up again."""

    def __init__(self, host: str, port: int | None, seconds: float, address: str) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(host, port, timeout=seconds, context=self._tls)
        self._address = address

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)


def _saved(
    response: http.client.HTTPResponse, folder: Path, most_bytes: int, deadline: float
) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="fetched-", dir=folder)
    path, size = Path(name), 0
    try:
        with os.fdopen(handle, "wb") as file:
            while data := response.read1(_BLOCK_BYTES):
                size += len(data)
                if size > most_bytes:
                    raise too_large(most_bytes)
                if time.monotonic() > deadline:
                    raise TimeoutError
                file.write(data)
        if response.length or time.monotonic() > deadline:
            raise ValueError("it broke off")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
