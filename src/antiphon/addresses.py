"""Addresses on the web: which may be fetched, and how they are shown. Fetches nothing."""

from __future__ import annotations

import urllib.parse

from antiphon.errors import ConfigError

SCHEMES = ("http", "https")


def check_address(url: str) -> None:
    """Raise ConfigError unless `url` is an address on the web."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise ConfigError(f"{url!r} is not a web address: {error}") from error
    if parts.scheme.lower() not in SCHEMES or not host:
        raise ConfigError(f"{shown(url)!r} cannot be fetched; expected http://… or https://…")


def shown(url: str) -> str:
    """The address without what may be secret in it: user, password, query."""
    parts = urllib.parse.urlsplit(url)
    place = parts.netloc.rpartition("@")[2] + parts.path
    return f"{parts.scheme}://{place}" if parts.netloc else url
