"""Measure everything that docs/bench.md states, and write it.

    python bench/run.py                      # all of it
    python bench/run.py accuracy speed       # these parts; the others stay as they are on the page

Ends with status 1 when a figure that must hold does not.
"""

from __future__ import annotations

import argparse
import ctypes.util
import os
import platform
import re
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from report import PAGE, Part, update_page

PARTS = {
    "accuracy": "accuracy",
    "speed": "speed",
    "real": "real_recordings",
    "listening": "listening",
    "composing": "composing",
    "training": "training",
    "listener": "listener",
    "composer": "composer",
    "serve": "serving",
}
PACKAGES = ("numpy", "scipy", "soundfile", "soxr", "pyfluidsynth", "librosa", "mir_eval")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all if none is named")
    chosen = parser.parse_args().parts or list(PARTS)
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        parser.error(f"part {unknown[0]!r} is not known; expected any of {', '.join(PARTS)}")
    failed = []
    for name in PARTS:
        if name not in chosen:
            continue
        part: Part = import_module(PARTS[name]).run()
        print(part.markdown(), end="\n\n", flush=True)
        update_page(head(), part, tuple(PARTS))
        if part.has_failed:
            failed.append(name)
    print(f"written to {PAGE}")
    if failed:
        raise SystemExit(f"rows that must hold do not: {', '.join(failed)}")


def head() -> str:
    """The top of the page: what is measured where."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        "# Bench\n\n"
        "Written by `make bench`, which measures all of it anew. Rows marked ! must hold. "
        "The machine of the latest run:\n\n"
        f"- {cpu_model()}, {os.cpu_count()} cores, {memory_gb():.0f} GB, "
        f"{platform.system()} {platform.machine()}\n"
        f"- Python {platform.python_version()}, {packages}\n"
        f"- FluidSynth {fluidsynth_version()}"
    )


def cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor()


def memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def fluidsynth_version() -> str:
    name = ctypes.util.find_library("fluidsynth")
    if name is None:
        return "not installed"
    library = ctypes.CDLL(name)
    library.fluid_version_str.restype = ctypes.c_char_p
    return str(library.fluid_version_str().decode())


if __name__ == "__main__":
    main()
