"""What composing takes on one core, in processes of their own.

python bench/composer_probes.py speed|first_sound
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPT = "energetic funk in E minor, 105 bpm, with organ, no guitar"
SECONDS = 20.0
ROUNDS = 3


def speed() -> dict[str, float]:
    """Of a piece in a process with one core, as `generate` does it; the median of three."""
    return dict(_probe("speed"))


def first_sound() -> float:
    """Seconds from the start of a process with an empty cache to its first block of sound."""
    with tempfile.TemporaryDirectory() as cache:
        return float(_probe("first_sound", ANTIPHON_CACHE=cache)["seconds"])


def _probe(name: str, **more: str) -> dict[str, float]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | more | {"STARTED": repr(time.time())}
    command = [sys.executable, "-W", "ignore", __file__, name]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _speed() -> dict[str, float]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from antiphon.compose.delivery import deliver
    from antiphon.compose.forms import Form
    from antiphon.compose.requests import Request
    from antiphon.controls import Controls
    from antiphon.hearing import load_composer

    composer = load_composer()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS + 1):
            started = time.perf_counter()
            request = Request(PROMPT, number, Controls(duration_seconds=SECONDS))
            performance = composer.renderer.perform([request])
            samples: list[int] = []
            moments: list[float] = []

            def tell(
                count: int, samples: list[int] = samples, moments: list[float] = moments
            ) -> None:
                samples.append(count)
                moments.append(time.perf_counter())

            deliver(composer, performance, [Form(Path(folder) / f"{number}.wav")], tell)
            ended = time.perf_counter()
            assert sum(samples) == SECONDS * composer.sample_rate, "all of the piece"
            rounds.append((ended - started, moments[-1] - started, moments[0] - started))
    # The first one does not count: it loads what later ones have.
    whole, composed, first = (sorted(times)[ROUNDS // 2] for times in zip(*rounds[1:], strict=True))
    return {
        "seconds": SECONDS,
        "spent": whole,
        "factor": whole / SECONDS,
        "composing_factor": composed / SECONDS,
        "first_seconds": first,
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    """Of this process; `getrusage` would tell that of the one that started it."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def _first_sound() -> dict[str, float]:
    from antiphon.compose.requests import Request
    from antiphon.controls import Controls
    from antiphon.hearing import load_composer

    request = Request(PROMPT, 0, Controls(duration_seconds=SECONDS))
    next(iter(load_composer().renderer.perform([request]).blocks()))
    return {"seconds": time.time() - float(os.environ["STARTED"])}


if __name__ == "__main__":
    print(json.dumps({"speed": _speed, "first_sound": _first_sound}[sys.argv[1]]()))
