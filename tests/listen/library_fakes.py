"""A describer that takes its orders from the content of a file, and a command that runs a library
with it, to be killed."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.description import Description, Provenance
from antiphon.errors import AudioDecodeError, DiskFullError
from antiphon.facts import Facts
from antiphon.listen.library import Describe, Outputs, RunOptions, Summary, Tracks, describe_library
from bare_facts import bare_facts


@dataclass(frozen=True)
class FakeDescribing:
    """Says the hash of a file, or does what the file says. Notes every call in `calls`."""

    settings_key: str = "fake 1"
    kinds: Mapping[str, str] = field(default_factory=lambda: {"full": "1"})
    seconds: float = 0.0
    calls: Path | None = None  # a folder
    broken: bool = False

    def load(self) -> Describe:
        if self.broken:
            raise AudioDecodeError("the model is broken")
        return self._describe

    def _describe(self, track: Path, kinds: tuple[str, ...], measured: Facts | None) -> Description:
        content = track.read_bytes()
        if self.calls is not None:
            call = f"{track.name}.{'+'.join(kinds)}.{'known' if measured else 'new'}"
            (self.calls / f"{call}.{os.getpid()}.{time.monotonic_ns()}").touch()
        time.sleep(self.seconds)
        order = content.split(b":")[0]
        if order == b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if order == b"hang":
            time.sleep(3600)
        if order == b"damaged":
            raise AudioDecodeError(f"{track.name} is damaged beyond use")
        if order == b"bug":
            raise ZeroDivisionError("a bug of ours")
        if order == b"full":
            raise DiskFullError("cannot write: no space left")
        if order == b"edit":
            track.write_bytes(b"edited")
        text = f"A piece of hash {hashlib.sha256(content).hexdigest()}."
        texts = {kind: f"{text} ({self.kinds[kind]})" for kind in kinds}
        provenance = Provenance("fake", None, None, {"kinds": ",".join(kinds)}, "1")
        facts = measured or bare_facts(str(track))
        return Description(str(track), texts, facts, provenance)


def fill(folder: Path, count: int) -> None:
    """`count` small tracks, in folders of ten."""
    for number in range(count):
        track = folder / f"disc {number // 10}" / f"track {number:04}.wav"
        track.parent.mkdir(parents=True, exist_ok=True)
        track.write_bytes(f"sound:{number}".encode())


def run_fake(
    folder: Path,
    state: Path,
    outputs: Outputs | None = None,
    describing: FakeDescribing | None = None,
    *,
    jobs: int = 2,
    timeout_seconds: float = 60.0,
    retry_failed: bool = False,
    limit: int | None = None,
) -> Summary:
    return describe_library(
        Tracks((folder,), limit),
        describing or FakeDescribing(),
        outputs or Outputs(),
        state,
        RunOptions(jobs, timeout_seconds, retry_failed),
    )


if __name__ == "__main__":
    folder, out, state = map(Path, sys.argv[1:4])
    run_fake(
        folder,
        state,
        Outputs(jsonl=out, info=True, captions=True),
        FakeDescribing(seconds=float(sys.argv[4])),
    )
