"""How a service is set up: where it listens, what it serves, what it refuses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.audio.limits import Limits
from antiphon.errors import ConfigError
from antiphon.settings import load

MIB = 1 << 20
LISTENER, COMPOSER, SYNTH = "antiphon-listener", "antiphon-composer", "antiphon-composer-synth"


@dataclass(frozen=True)
class Caps:
    """What one client may take. Times are in seconds."""

    body_bytes: int = 64 * MIB
    audio_bytes: int = 50 * MIB
    audio_seconds: float = 1200.0
    audio_parts: int = 16
    piece_seconds: float = 600.0
    prompt_characters: int = 100_000  # about 24,000 tokens
    queue: int = 64  # of each model, for calls that wait and for jobs each
    # Of each HTTP worker, for one key: calls that wait for an answer, and answers that last.
    running_per_key: int = 8
    held_per_key: int = 32
    connections: int = 512  # of each HTTP worker
    header_seconds: float = 10.0
    body_seconds: float = 30.0  # and one more for each MiB
    call_seconds: float = 600.0  # openai-python waits so long
    job_seconds: float = 3600.0

    @property
    def decoding(self) -> Limits:
        """For one recording: the header is refused beyond, and what it turns out to hold."""
        return Limits(
            max_seconds=self.audio_seconds,
            max_decoded_bytes=512 * MIB,  # 1,200 s of stereo at 48 kHz are 461 MB
            max_channels=8,
            max_sample_rate=384_000,
            child_timeout_seconds=60.0,
        )


@dataclass(frozen=True)
class Retention:
    """What is kept of jobs that are done, and of files: `days` long, and `gigabytes` altogether."""

    days: float = 30.0
    gigabytes: float = 20.0


@dataclass(frozen=True)
class ServeOptions:
    """A service. `composer` and `listener` name models as `--model` does; None is the one in the
    package, "none" leaves that half out. `state` is the folder for jobs and files.

    `hosts` are names that a browser may call the service by, beside its address; `origins` other
    sites that may use it; `media_hosts` may be fetched audio from, `media_root` holds files that
    a request may name as file://. Raises ConfigError for what cannot be served.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    composer: str | None = None
    listener: str | None = None
    threads: int | None = None
    state: Path = field(default_factory=lambda: load().state)
    models: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    media_hosts: tuple[str, ...] = ()
    media_root: Path | None = None
    insecure: bool = False
    grace_seconds: float = 30.0
    caps: Caps = field(default_factory=Caps)
    retention: Retention = field(default_factory=Retention)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; expected 1 to 65535, or 0 for a free one")
        if not 1 <= self.workers <= 64:
            raise ConfigError(f"workers is {self.workers}; expected 1 to 64")
        if not 0 <= self.grace_seconds <= 3600:
            raise ConfigError(f"grace is {self.grace_seconds:g} s; expected 0 to 3600")
        if self.composer == self.listener == "none":
            raise ConfigError("both halves are left out; expected --composer or --listener")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ConfigError(
                    f"cors origin {origin!r} is not understood; expected scheme and host, such as "
                    "https://music.example"
                )

    @property
    def folder(self) -> Path:
        """Where everything that outlives the service lies."""
        return self.state / "serve"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def model_ids(self) -> tuple[str, ...]:
        """What is served, as `/v1/models` says it."""
        composers = () if self.composer == "none" else (COMPOSER, SYNTH)
        return (*(() if self.listener == "none" else (LISTENER,)), *composers)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
