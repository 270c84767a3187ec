"""Where a server is, which key it may see, and which proxy leads there. Speaks to nobody."""

from __future__ import annotations

import base64
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from antiphon.errors import ConfigError

KEY_VARIABLE = "ANTIPHON_REMOTE_KEY"
OPENAI_KEY_VARIABLE = "OPENAI_API_KEY"
OPENAI_HOST = "api.openai.com"
_TARGET = re.compile(r"[\x21-\x7e]*")  # what may stand in the first line of a request
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """Where the API is: `path` ends in /v1. Shown as it is, for it holds no secret."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = _PORTS[self.scheme] == self.port
        return f"{self.scheme}://{host}{'' if usual else f':{self.port}'}{self.path}"

    @property
    def is_loopback(self) -> bool:
        return (
            self.host in ("localhost", "::1")
            or self.host.endswith(".localhost")
            or re.fullmatch(r"127(\.\d{1,3}){3}", self.host) is not None
        )


def read_address(url: str) -> Address:
    """`http://host`, with or without port, /v1 and what an OpenAI client puts behind that.

    Raises ConfigError, never showing a password.
    """
    try:
        parts = urllib.parse.urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        # Its message may quote a password, as of http://user:pass/word@host.
        raise ConfigError(
            "the server's address cannot be read; expected http://host:port/v1"
        ) from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"the address of {host} holds a user or password, which end up in logs; take them out "
            f"and set {KEY_VARIABLE}"
        )
    if parts.query or parts.fragment:
        raise ConfigError(
            f"the address of {host} has a part from '?' or '#' on; expected http://host:port/v1, "
            f"and the key in {KEY_VARIABLE}"
        )
    scheme: Literal["http", "https"] = "https" if parts.scheme.lower() == "https" else "http"
    is_web = parts.scheme.lower() in _PORTS and _TARGET.fullmatch(parts.path)
    if not is_web or not host or re.search(r"[\x00-\x20\x7f]", host):
        shown = "what was given" if "@" in url else repr(url[:200])
        raise ConfigError(f"{shown} is no server's address; expected http://host:port/v1")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    if not path.endswith("/v1"):
        path += "/v1"
    return Address(scheme, host, port or _PORTS[scheme], path)


def read_key(address: Address) -> str | None:
    """The key for this server: ANTIPHON_REMOTE_KEY, or OPENAI_API_KEY for api.openai.com only,
    for whoever runs another server must not learn it.

    Raises ConfigError, which does not show it.
    """
    name = KEY_VARIABLE
    key = os.environ.get(name, "").strip()
    if not key and address.host == OPENAI_HOST and address.scheme == "https":
        name = OPENAI_KEY_VARIABLE
        key = os.environ.get(name, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise ConfigError(f"{name} holds spaces, line ends or letters beyond ASCII; set it anew")
    return key or None


@dataclass(frozen=True)
class Proxy:
    """A proxy that speaks HTTP; `headers` may hold its password."""

    host: str
    port: int
    headers: Mapping[str, str] = field(repr=False)


def read_proxy(address: Address) -> Proxy | None:
    """What `http_proxy`, `https_proxy` and `no_proxy` say about this server."""
    value = urllib.request.getproxies().get(address.scheme)
    if not value or urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return None
    try:
        parts = urllib.parse.urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(
            f"{address.scheme}_proxy cannot be read; expected http://host:port"
        ) from None
    if parts.scheme.lower() != "http" or not host:
        raise ConfigError(
            f"{address.scheme}_proxy names a proxy of the kind {parts.scheme!r}; expected "
            "http://host:port, or the server in no_proxy"
        )
    headers = {}
    if parts.username is not None:
        pair = urllib.parse.unquote_to_bytes(f"{parts.username}:{parts.password or ''}")
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return Proxy(host, port or 80, headers)
