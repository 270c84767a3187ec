"""Fetch a sound file over http(s) to a local file, with caps on size and time."""

from __future__ import annotations

from pathlib import Path


def fetch(url: str, directory: str | Path, *, max_bytes: int, timeout_seconds: float) -> Path:
    """Fetch `url` into `directory`; the caller deletes the file."""
    raise NotImplementedError("fetch")
