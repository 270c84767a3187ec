"""Decode in a child process that may crash, hang or grow without harm.

The child is this module run as a program, with the file as its stdin and the request as its
argument. It answers on stdout with the header, then blocks, then the damage report. A block is its
frame count (uint32) and raw float32 samples [C, n]; all else is a count of 0 and a JSON line. An
error is such a line with the keys `error` and `message`, and the last.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import numpy as np

import antiphon
from antiphon.audio.damage import Damage
from antiphon.audio.direct import DirectStream
from antiphon.audio.limits import Limits
from antiphon.audio.sources import OpenSource, Source, on_disk, open_source
from antiphon.audio.stream import BLOCK_FRAMES, AudioStream
from antiphon.audio.waveform import FloatArray
from antiphon.errors import (
    AntiphonError,
    AudioDecodeError,
    AudioLimitError,
    AudioTooShortError,
    DependencyError,
    StorageError,
)

COUNT = struct.Struct("<I")  # frames of the block that follows
MAX_LINE_BYTES = 1 << 16
_ERRORS: dict[str, type[AntiphonError]] = {
    kind.__name__: kind
    for kind in (
        AudioDecodeError,
        AudioLimitError,
        AudioTooShortError,
        DependencyError,
        StorageError,
    )
}
# All that a decoder needs of the environment; keys and tokens in it are none of its business.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT", "VIRTUAL_ENV", "PYTHONHOME")


class IsolatedStream(AudioStream):
    """A recording decoded in a child process, under the caps on time and memory of `limits`."""

    def __init__(
        self,
        source: Source,
        start_seconds: float,
        duration_seconds: float | None,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._frames = 0
        self._damage: Damage | None = None
        opened = open_source(source, limits)
        self._name = opened.name
        try:
            self._child = _start(opened, start_seconds, duration_seconds, limits)
        finally:
            opened.close()
        self._watchdog = _Watchdog(self._child, limits.child_timeout_seconds)
        self._pipe = cast(io.BufferedReader, self._child.stdout)
        try:
            with self._watchdog:
                if self._count():
                    self._fail("sent no header")
                header = self._line()
            self.sample_rate = int(_number(header, "sample_rate"))
            self.channels = int(_number(header, "channels"))
            self.declared_seconds = None
            if header.get("declared_seconds") is not None:
                self.declared_seconds = _number(header, "declared_seconds")
            limits.check_format(self._name, self.sample_rate, self.channels)
        except BaseException:
            self.close()
            raise

    def blocks(self) -> Iterator[FloatArray]:
        while self._damage is None:
            with self._watchdog:
                frames = self._count()
                if not frames:
                    self._damage = _damage(self._line())
                    return
                if frames > BLOCK_FRAMES:
                    self._fail(f"sent a block of {frames:,} frames")
                block = np.empty((self.channels, frames), np.float32)
                self._fill(block.data.cast("B"))
            self._frames += frames
            self._limits.check_length(self._name, self._frames, self.sample_rate, self.channels)
            yield block

    def damage(self) -> Damage:
        if self._damage is not None:
            return self._damage
        return Damage(self._frames / self.sample_rate, self.declared_seconds)

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        self._pipe.close()

    def _count(self) -> int:
        count = bytearray(COUNT.size)
        self._fill(count)
        return int(COUNT.unpack(count)[0])

    def _fill(self, buffer: bytearray | memoryview) -> None:
        if self._pipe.readinto(buffer) < len(buffer):
            self._fail()

    def _line(self) -> dict[str, object]:
        """One JSON line; an error in it is raised here."""
        line = self._pipe.readline(MAX_LINE_BYTES)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self._fail("sent an answer that cannot be read" if line else "")
        if "error" in answer:
            kind = _ERRORS.get(str(answer["error"]), AudioDecodeError)
            raise kind(str(answer.get("message")))
        return answer

    def _fail(self, what: str = "") -> NoReturn:
        """Raise for a child that did not answer as agreed: by default, because it is gone."""
        try:
            code = self._child.wait(timeout=0 if what else 1)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        raise AudioDecodeError(
            f"{self._name} cannot be decoded: the decoding process "
            + (what or _cause_of_death(code, self._watchdog.expired, self._limits))
        )


class _Watchdog:
    """Kills a process when the time waited for it, summed over all waits, runs out."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self.expired = False
        self._child = child
        self._seconds_left = seconds

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._timer = threading.Timer(max(0.0, self._seconds_left), self._expire)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        self._seconds_left -= time.monotonic() - self._began

    def _expire(self) -> None:
        self.expired = True
        self._child.kill()


def _start(
    source: OpenSource, start_seconds: float, duration_seconds: float | None, limits: Limits
) -> subprocess.Popen[bytes]:
    request = {
        "name": source.name,
        "start_seconds": start_seconds,
        "duration_seconds": duration_seconds,
        "limits": dataclasses.asdict(limits),
    }
    environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
    package_root = str(Path(antiphon.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(
        [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    environment["OPENBLAS_NUM_THREADS"] = "1"  # its buffers count as address space
    with on_disk(source) as file:
        # -P: what lies in the working folder is not imported. A session of its own: Ctrl-C at the
        # keyboard is for the parent, which decides whether the item is finished.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "antiphon.audio.isolated", json.dumps(request)],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # mpg123 prints its notes there
            env=environment,
            start_new_session=True,
        )


def _number(fields: dict[str, object], key: str) -> float:
    value = fields.get(key)
    if not (isinstance(value, (int, float)) and abs(value) <= 2**53):  # NaN is not
        raise AudioDecodeError(f"the decoding process sent {value!r} as {key}")
    return value


def _damage(fields: dict[str, object]) -> Damage:
    problems = fields.get("problems")
    declared = fields.get("declared_seconds")
    return Damage(
        decoded_seconds=_number(fields, "decoded_seconds"),
        declared_seconds=None if declared is None else _number(fields, "declared_seconds"),
        problems=tuple(map(str, problems)) if isinstance(problems, list) else (),
        nan_samples=int(_number(fields, "nan_samples")),
        clipped_samples=int(_number(fields, "clipped_samples")),
    )


def _cause_of_death(code: int, expired: bool, limits: Limits) -> str:
    if expired:
        return f"was killed: it took longer than {limits.child_timeout_seconds:g} s"
    if code < 0:
        name = signal.Signals(-code).name
        if name == "SIGXCPU":
            return f"was killed: it computed for more than {limits.child_timeout_seconds:g} s"
        return f"crashed ({name})"
    return f"ended early (exit code {code})"


def main() -> None:
    """The child: decode stdin as the request in the first argument says."""
    # Libraries may print on stdout; what the parent reads goes through a descriptor of our own.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    request = json.loads(sys.argv[1])
    limits = Limits(**request["limits"])
    _limit_this_process(limits)
    source = OpenSource(cast(BinaryIO, io.FileIO(0)), request["name"], ours=True)
    try:
        with DirectStream(
            source, request["start_seconds"], request["duration_seconds"], limits
        ) as stream:
            _send_all(stream, answer)
    except AntiphonError as error:
        _send(answer, {"error": type(error).__name__, "message": str(error)})
    except MemoryError:
        cap = f"{limits.child_memory_bytes / 2**20:,.0f} MiB"
        message = f"{source.name} cannot be decoded in {cap} of memory"
        _send(answer, {"error": "AudioDecodeError", "message": message})


def _limit_this_process(limits: Limits) -> None:
    """Cap address space, processor time, files and core dumps, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the parent's watchdog is all there is
        return
    seconds = math.ceil(limits.child_timeout_seconds)
    for what, cap in (
        (resource.RLIMIT_AS, limits.child_memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        cap = cap if hard == resource.RLIM_INFINITY else min(cap, hard)
        resource.setrlimit(what, (cap, hard))


def _send_all(stream: AudioStream, answer: BinaryIO) -> None:
    header: dict[str, object] = {
        "sample_rate": stream.sample_rate,
        "channels": stream.channels,
        "declared_seconds": stream.declared_seconds,
    }
    _send(answer, header)
    for block in stream.blocks():
        answer.write(COUNT.pack(block.shape[1]))
        answer.write(block.data.cast("B"))
    _send(answer, dataclasses.asdict(stream.damage()))


def _send(answer: BinaryIO, fields: dict[str, object]) -> None:
    answer.write(COUNT.pack(0) + json.dumps(fields).encode() + b"\n")
    answer.flush()


if __name__ == "__main__":
    main()
