"""Files looked at once each, in several processes: what they hold, how long they are, how they
sound. Knows no source and no manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from antiphon.audio import Limits, open_stream
from antiphon.data.fingerprints import (
    FINGERPRINT_VERSION,
    Fingerprint,
    FingerprintMeter,
    from_text,
    to_text,
)
from antiphon.data.running import Item, Record, key_of
from antiphon.errors import ConfigError
from antiphon.files import storage_error

PROBE_VERSION = 1
_READ_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Probe:
    """What was found in a file. `content` is its BLAKE2b hash, `seconds` what was decoded."""

    content: str
    seconds: float
    sample_rate: int
    channels: int
    fingerprint: Fingerprint
    problems: tuple[str, ...] = ()

    def to_record(self) -> Record:
        return {
            "content": self.content,
            "seconds": self.seconds,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "fingerprint": to_text(self.fingerprint),
            "problems": list(self.problems),
        }

    @classmethod
    def from_record(cls, record: Record) -> Probe:
        """Raises ConfigError for a record that is none."""
        try:
            problems = record["problems"]
            return cls(
                str(record["content"]),
                float(str(record["seconds"])),
                int(str(record["sample_rate"])),
                int(str(record["channels"])),
                from_text(str(record["fingerprint"])),
                tuple(map(str, problems)) if isinstance(problems, list) else (),
            )
        except (KeyError, ValueError) as error:
            raise ConfigError(f"a ledger holds a damaged entry: {error}; delete it") from error


@dataclass(frozen=True)
class Probing:
    """Probes the file at a path."""

    limits: Limits

    def open(self) -> Callable[[Path], Record]:
        return lambda path: probe(path, self.limits).to_record()


def probe_items(paths: Iterable[Path]) -> list[Item[Path]]:
    """An item for each distinct file; one that was changed is another."""
    distinct = {os.path.abspath(path): path for path in paths}
    return [
        Item(key_of("probe", PROBE_VERSION, FINGERPRINT_VERSION, *state_of(path)), str(path), path)
        for path in distinct.values()
    ]


def state_of(path: Path) -> tuple[object, ...]:
    """What tells whether a file is still the one that was looked at."""
    try:
        known = path.stat()
    except OSError:
        return (os.path.abspath(path),)  # opening it says what is wrong
    return (os.path.abspath(path), known.st_size, known.st_mtime_ns)


def probe(path: Path, limits: Limits) -> Probe:
    """Read and decode the whole file. Raises AudioError, StorageError."""
    with open_stream(path, limits=limits) as stream:
        meter = FingerprintMeter(stream.sample_rate)
        for block in stream.blocks():
            meter.push(block)
        damage = stream.damage()
        return Probe(
            content_of(path),
            damage.decoded_seconds,
            stream.sample_rate,
            stream.channels,
            meter.finish(),
            damage.problems,
        )


def content_of(path: Path) -> str:
    """BLAKE2b (256 bits) of the file's bytes. Raises StorageError."""
    digest = hashlib.blake2b(digest_size=32)
    try:
        with path.open("rb", buffering=0) as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
    except OSError as error:
        raise storage_error("read", path, error) from error
    return digest.hexdigest()
