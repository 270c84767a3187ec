"""What `antiphon doctor` looks at: each check tries the thing itself and says what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from antiphon import __version__
from antiphon.errors import AntiphonError
from antiphon.settings import Settings

_LIBRARIES = ("numpy", "scipy", "soundfile", "soxr")
_FORMATS = ("wav", "flac", "mp3", "ogg", "opus")
_CHILD_TIMEOUT_SECONDS = 120.0
_LONG_OGG_SECONDS = 70  # libsndfile kills the process from 48 s on when it is used wrongly
_LOW_DISK_BYTES = 2**30
_LOW_MEMORY_GB = 1.0
_LARGEST_8BIT_ERROR = 0.02  # of a product; 0.006 where all is well


@dataclass(frozen=True)
class Check:
    """One thing that was tried; `fix` says what to do unless all is well."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    fix: str | None = None


def run_checks(settings: Settings) -> list[Check]:
    """All checks, in the order in which one would look."""
    checks: dict[str, Callable[[], Check]] = {
        "versions": _versions,
        "machine": _machine,
        "disk": lambda: _disk(settings.state),
        "temporary": _temporary_folder,
        "state": lambda: _state(settings.state),
        "codecs": _codecs,
        "more codecs": _more_codecs,
        "fluidsynth": _fluidsynth,
        "composing": _composing,
        "gguf models": _gguf,
        "checkpoints": _checkpoints,
        "models": lambda: _models(settings.models),
        "prepared": lambda: _prepared(settings.cache),
        "serving": lambda: _serving(settings.state),
        "measuring": _play_and_measure,
    }
    return [_try(name, check) for name, check in checks.items()]


def _try(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except AntiphonError as error:
        return Check(name, "fail", str(error), "see the message")
    except Exception as error:  # noqa: BLE001 - the other checks go on
        return Check(name, "fail", f"{type(error).__name__}: {error}", "install antiphon again")


def _versions() -> Check:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    python = ".".join(map(str, sys.version_info[:3]))
    found = f"antiphon {__version__}, Python {python}, {libraries}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("versions", "warn", found, "use Python 3.11, 3.12 or 3.13")
    return Check("versions", "ok", found)


def _machine() -> Check:
    from antiphon.threads import usable_cores

    found = f"{usable_cores()} cores, {sys.platform}"
    memory_gb = _memory_gb()
    found = f"{found}, {memory_gb:.1f} GB of memory"
    if memory_gb < _LOW_MEMORY_GB:
        return Check("machine", "warn", found, "use --jobs 1 for libraries")
    return Check("machine", "ok", found)


def _disk(state: Path) -> Check:
    places = {"here": Path.cwd(), "state": _existing(state)}
    free = {name: shutil.disk_usage(path).free for name, path in places.items()}
    found = ", ".join(f"{size / 1e9:.1f} GB free {name}" for name, size in free.items())
    if min(free.values()) < _LOW_DISK_BYTES:
        return Check("disk", "warn", found, "free some space")
    return Check("disk", "ok", found)


def _temporary_folder() -> Check:
    """Only what is fetched from the web goes there; results are written beside their target."""
    folder = Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(dir=folder):
        pass
    same = folder.stat().st_dev == Path.cwd().stat().st_dev
    where = "the same file system as" if same else "another file system than"
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {where} this folder, {free / 1e9:.1f} GB free"
    if free < _LOW_DISK_BYTES:
        return Check("temporary", "warn", found, "set TMPDIR to a folder with more space")
    return Check("temporary", "ok", found)


def _state(folder: Path) -> Check:
    from antiphon.listen.library_state import LibraryState

    LibraryState(folder, "doctor", {}).close()
    return Check("state", "ok", f"{folder} can be written")


def _codecs() -> Check:
    """In a child, which a broken codec may kill."""
    code = "from antiphon.cli.checks import write_and_read; write_and_read()"
    child = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=_CHILD_TIMEOUT_SECONDS,
        check=False,
    )
    if child.returncode:
        last = child.stderr.strip().rpartition("\n")[2]
        found = f"the child ended with {child.returncode}: {last}"
        return Check("codecs", "fail", found, "pip install --force-reinstall soundfile")
    return Check("codecs", "ok", f"{', '.join(_FORMATS)} written and read")


def write_and_read() -> None:
    """Write and read each format, OGG long enough to meet its trap. Runs in a child process."""
    import numpy as np

    from antiphon.audio import Waveform, read, write

    sample_rate = 48_000
    for form in _FORMATS:
        seconds = _LONG_OGG_SECONDS if form == "ogg" else 1
        phase = np.arange(seconds * sample_rate, dtype=np.float32) * (440 / sample_rate)
        tone = 0.1 * np.sin(2 * np.pi * phase, dtype=np.float32)
        with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
            path = Path(folder) / f"tone.{form}"
            write(path, Waveform(np.stack([tone, tone]), sample_rate))
            back = read(path).waveform.duration_seconds
        if abs(back - seconds) > 0.2:
            raise AntiphonError(f"{form}: {seconds} s written, {back:.2f} s read")


def _more_codecs() -> Check:
    if importlib.util.find_spec("av") is None:
        return Check(
            "more codecs",
            "warn",
            "no PyAV: M4A, WebM and WMA cannot be read, damaged files are not salvaged",
            "pip install 'antiphon[codecs]'",
        )
    return Check("more codecs", "ok", f"PyAV {version('av')}: M4A, WebM, WMA")


def _fluidsynth() -> Check:
    from antiphon.arrange import arrange
    from antiphon.controls import Controls
    from antiphon.errors import DependencyError
    from antiphon.synth import find_soundfont, render_fluidsynth

    try:
        soundfont = find_soundfont()
        render_fluidsynth(arrange(Controls(bars=1), seed=0), soundfont)
    except DependencyError as error:
        return Check(
            "fluidsynth",
            "warn",
            f"not usable, our own synth is: {error}",
            "apt-get install fluidsynth musescore-general-soundfont-small; "
            "pip install 'antiphon[synth]'",
        )
    return Check("fluidsynth", "ok", f"plays with {soundfont.name}")


def _composing() -> Check:
    """A product in 8 bits, as composing does thousands a second, against the same in float32."""
    import numpy as np

    from antiphon import threads
    from antiphon.graphs import GraphWriter, open_graph

    generator = np.random.default_rng(0)
    rows = generator.standard_normal((2, 256)).astype(np.float32)
    matrix = generator.standard_normal((256, 256)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        graph = GraphWriter(Path(name), "product", "8bit")
        graph.linear(graph.input("rows", "float", [2, 256]), matrix, name="products")
        graph.output("products", "float", [2, 256])
        graph.save()
        product = open_graph(Path(name), "product", 1).run(None, {"rows": rows})[0]
    exact = rows @ matrix.T
    error = float(np.linalg.norm(product - exact) / np.linalg.norm(exact))
    found = f"onnxruntime {version('onnxruntime')} in 8 bits on {threads.model_threads()} threads"
    if error < _LARGEST_8BIT_ERROR:
        return Check("composing", "ok", found)
    return Check(
        "composing", "fail", f"{found} is off by {error:.1%}", "pip install --upgrade onnxruntime"
    )


def _gguf() -> Check:
    from antiphon.listen.engines.gguf import install_hint

    lines = [f"{backend}: {line}" for backend, line in install_hint()]
    lines.append("or build llama-server yourself and name it: --model http://localhost:8080/v1")
    if importlib.util.find_spec("xllamacpp") is None:
        return Check("gguf models", "warn", "no xllamacpp: GGUF files do not run", "\n".join(lines))
    found = f"xllamacpp {version('xllamacpp')} runs GGUF files in {_memory_gb():.0f} GB of memory"
    return Check("gguf models", "ok", found, "\n".join(["builds for what you have:", *lines]))


def _checkpoints() -> Check:
    """In a child: torch takes seconds to import."""
    missing = [n for n in ("torch", "transformers") if importlib.util.find_spec(n) is None]
    if missing:
        return Check(
            "checkpoints",
            "warn",
            f"no {' and no '.join(missing)}: checkpoints of transformers do not run",
            "pip install 'antiphon[torch]'",
        )
    code = (
        "import torch; cuda = torch.cuda.is_available();"
        "print(f'{torch.cuda.get_device_name()} with "
        "{torch.cuda.get_device_properties(0).total_memory / 1e9:.0f} GB' if cuda else 'the CPU')"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=_CHILD_TIMEOUT_SECONDS,
        check=False,
    )
    if child.returncode:
        last = child.stderr.strip().rpartition("\n")[2]
        return Check("checkpoints", "fail", f"torch does not start: {last}", "install torch again")
    versions = f"torch {version('torch')}, transformers {version('transformers')}"
    return Check("checkpoints", "ok", f"{versions} on {child.stdout.strip()}")


def _models(folder: Path) -> Check:
    from antiphon import models

    here = [model.name for model in models.here(folder)]
    if not here:
        fix = "antiphon models ls --all lists what is known; describe works without any"
        return Check("models", "warn", f"none in {folder}", fix)
    return Check("models", "ok", f"{', '.join(here)} in {folder}")


def _prepared(cache: Path) -> Check:
    """What checkpoints were turned into for this processor: it may be large."""
    from antiphon.cli.byte_progress import size_text
    from antiphon.compose.loading import GRAPHS

    folder = cache / GRAPHS
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = size_text(sum(path.stat().st_size for path in files))
    count = len({path.parent for path in files if path.parent != folder})
    return Check(
        "prepared",
        "ok",
        f"{count} parts of composing models, {size}, in {folder}",
        "deleted, they are made again when needed" if count else None,
    )


def _memory_gb() -> float:
    if not hasattr(os, "sysconf"):  # not on Windows
        return float("nan")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _serving(state: Path) -> Check:
    if importlib.util.find_spec("fastapi") is None:
        return Check("serving", "warn", "no API and no page", "pip install 'antiphon[serve]'")
    from antiphon.serve.database import Database
    from antiphon.serve.keys import Keys
    from antiphon.serve.routes.ops import PAGE

    page = "with the page" if (PAGE / "index.html").is_file() else "built without the page"
    keys = 0
    if (state / "serve").is_dir():
        keys = len(Keys(Database(state / "serve")).all())
    who = f"{keys} keys" if keys else "no key: to this machine alone"
    return Check("serving", "ok", f"FastAPI {version('fastapi')}, {page}, {who}")


def _play_and_measure() -> Check:
    from antiphon.analysis import measure
    from antiphon.arrange import arrange
    from antiphon.controls import Controls
    from antiphon.synth import render

    started = time.monotonic()
    controls = Controls(genre="rock", tempo_bpm=120.0, duration_seconds=20.0)
    facts = measure(render(arrange(controls, seed=0)))
    found = f"20 s arranged, played and measured in {time.monotonic() - started:.1f} s"
    if facts.tempo.bpm is None or abs(facts.tempo.bpm / 120.0 - 1) > 0.04:
        wrong = f"{found}, but 120 BPM were measured as {facts.tempo.bpm}"
        return Check("measuring", "fail", wrong, "install antiphon again")
    return Check("measuring", "ok", found)


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
