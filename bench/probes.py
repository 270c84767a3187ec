"""Measurements that need a process of their own: `probe` starts this file in one and reads JSON.

Neither a pinned core, nor a single thread, nor a peak of memory can be had in a process that has
done other things before.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
RUNS = 5


def probe(name: str, path: Path) -> list[float]:
    """What the probe `name` finds at `path`, in a fresh process with one thread."""
    command = [sys.executable, "-W", "ignore", __file__, name, str(path)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of `work`."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ours(path: str) -> list[float]:
    """Seconds of each of RUNS measurements of a file, on one core; the first imports."""
    pin_to_one_core()
    from antiphon.analysis import measure

    return [timed(lambda: measure(path)) for _ in range(RUNS)]


def librosa(path: str) -> list[float]:
    """Seconds of each of RUNS times librosa's load, beat_track and chroma_cqt, on one core."""
    pin_to_one_core()
    import peer

    peer.prepare()
    import librosa

    def listen() -> None:
        samples, rate = librosa.load(path)
        librosa.beat.beat_track(y=samples, sr=rate)
        librosa.feature.chroma_cqt(y=samples, sr=rate)

    return [timed(listen) for _ in range(RUNS)]


def memory(path: str) -> list[float]:
    """Peak resident memory in MB of measuring a file, and the seconds it took."""
    from antiphon.analysis import measure

    seconds = timed(lambda: measure(path))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return [peak_kb * 1024 / 1e6, seconds]


def describing(folder: str) -> list[float]:
    """Seconds of describing every file of a folder, one after the other."""
    from antiphon.listen.listener import load_listener

    listener = load_listener()
    paths = sorted(Path(folder).iterdir())
    listener.describe(paths[0])  # imports
    return [timed(lambda: [listener.describe(path) for path in paths])]


def synth(_: str) -> list[float]:
    """Times real time at which our own instruments play, on one core: the median of a piece in
    every genre, and the slowest."""
    pin_to_one_core()
    from antiphon.arrange import arrange
    from antiphon.controls import GENRES, Controls
    from antiphon.synth import render

    paces = []
    for genre in GENRES:
        score = arrange(Controls(genre=genre, duration_seconds=60.0), seed=0)
        render(score)  # imports, and the hall
        seconds = timed(lambda score=score: render(score))
        paces.append(score.duration_seconds / seconds)
    return [statistics.median(paces), min(paces)]


PROBES: dict[str, Callable[[str], list[float]]] = {
    "ours": ours,
    "librosa": librosa,
    "memory": memory,
    "synth": synth,
    "describing": describing,
}


def pin_to_one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]](sys.argv[2])))
