"""How fast, how small: measuring, memory, start, install, and what a library run adds.

python bench/speed.py
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

import soundfile

import pieces
from antiphon.arrange import arrange
from antiphon.audio import Waveform, write
from antiphon.controls import GENRES, Controls
from antiphon.synth import render, render_fluidsynth
from probes import RUNS, probe, timed
from report import Part, Row

REPOSITORY = Path(__file__).parents[1]
RATE = 44_100  # Hz

SONG_SECONDS = 180
MP3_KBPS, MP3_COMPRESSION = 192, 0.42  # of libsndfile's scale, at a constant bit rate
LONG_SECONDS = 2 * 3600
STARTS = 7
LIBRARY_FILES, LIBRARY_SECONDS = 200, 30
LIBRARY_ROUNDS = 3
LARGEST_DEPENDENCIES_MB = 284  # numpy, scipy and onnxruntime alone; the limit's origin


def run() -> Part:
    """All figures of speed and size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            *measuring_rows(folder),
            synth_row(folder),
            *start_rows(),
            install_row(folder),
            *library_rows(folder),
        ]
    notes = (
        f"`measure`: a rendered rock song of {SONG_SECONDS} s as stereo MP3 at 44.1 kHz and "
        f"{MP3_KBPS} kbit/s, in a process pinned to one core with one thread; median of {RUNS}, "
        "decoding included, imports not. Memory: the peak (VmHWM) of a process that measures a "
        "stereo FLAC of the same song again and again. The library run describes "
        f"{LIBRARY_FILES} different FLAC files of {LIBRARY_SECONDS} s with the command line; the "
        f"least of {LIBRARY_ROUNDS} rounds, beside describing them in a plain loop."
    )
    return Part("speed", "Speed and size", notes, rows)


def measuring_rows(folder: Path) -> list[Row]:
    song = rendered_song()
    mp3, flac = folder / "song.mp3", folder / "long.flac"
    write_mp3(mp3, song)
    ours, librosa = probe("ours", mp3), probe("librosa", mp3)
    write(flac, (song.samples for _ in range(LONG_SECONDS // SONG_SECONDS)), sample_rate=RATE)
    peak_mb, seconds = probe("memory", flac)
    flac.unlink()
    whole_mb = LONG_SECONDS * RATE * 2 * 4 / 1e6
    return [
        Row(
            "`measure` on a 3 min stereo MP3, times real time on one core",
            SONG_SECONDS / statistics.median(ours),
            at_least=120,
            goal=300,
            must=True,
            digits=0,
            beside="librosa's load + beat_track + chroma_cqt: "
            f"{SONG_SECONDS / statistics.median(librosa):.0f}; "
            f"the first call, which imports: {SONG_SECONDS / ours[0]:.0f}",
        ),
        Row(
            "peak memory for a 2 h stereo FLAC",
            peak_mb,
            " MB",
            at_most=300,
            must=True,
            digits=0,
            beside=f"its samples alone, whole: {whole_mb:,.0f} MB; "
            f"{LONG_SECONDS / seconds:.0f} times real time",
        ),
    ]


def synth_row(folder: Path) -> Row:
    median, slowest = probe("synth", folder)
    return Row(
        "our own synth, stereo at 44.1 kHz, times real time on one core",
        median,
        at_least=200,
        digits=0,
        beside=f"median of a piece of 60 s in each of {len(GENRES)} genres; slowest: {slowest:.0f}",
    )


def start_rows() -> list[Row]:
    help_seconds = median_wall([str(command_line()), "--help"])
    python_seconds = median_wall([sys.executable, "-c", "pass"])
    return [
        Row(
            "`antiphon --help`",
            help_seconds,
            " s",
            at_most=0.3,
            must=True,
            digits=2,
            beside=f"`python -c pass`: {python_seconds:.2f} s; medians of {STARTS}",
        )
    ]


def install_row(folder: Path) -> Row:
    """The base install in an empty environment, less pip, which every environment has."""
    source, environment = folder / "source", folder / "environment"
    # A copy: building in place would leave its traces in the working tree.
    shutil.copytree(
        REPOSITORY / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "*.pyc")
    )
    for path in (*REPOSITORY.glob("*.toml"), *REPOSITORY.glob("*.md"), REPOSITORY / "LICENSE"):
        shutil.copy(path, source)
    venv.create(environment, with_pip=True)
    constraints = REPOSITORY / "constraints.txt"
    chosen = ["--constraint", str(constraints)] if constraints.exists() else []
    install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", *chosen]
    subprocess.run([environment / "bin" / "python", *install, source], check=True)
    packages = next(environment.glob("lib/python*/site-packages"))
    sizes = {path.name: folder_mb(path) for path in packages.iterdir()}
    total = sum(mb for name, mb in sizes.items() if not name.startswith(("pip", "setuptools")))
    largest = sorted(sizes, key=lambda name: -sizes[name])[:4]
    shown = ", ".join(f"{name} {sizes[name]:.0f}" for name in largest)
    return Row(
        "base install, unpacked",
        total,
        " MB",
        at_most=450,
        must=True,
        digits=0,
        beside=f"largest: {shown}; the limit leaves room for onnxruntime and weights: with numpy "
        f"and scipy alone it takes {LARGEST_DEPENDENCIES_MB} MB",
    )


def library_rows(folder: Path) -> list[Row]:
    """The same files in a plain loop, by the command line on one worker and on two.

    Rounds are interleaved, so that a busy moment of the machine does not fall on one of them.
    """
    library, single = folder / "library", folder / "single"
    write_library(library)
    single.mkdir()
    shutil.copy(next(library.iterdir()), single)
    loops, starts, ones, twos = [], [], [], []
    for _ in range(LIBRARY_ROUNDS):
        loops += probe("describing", library)
        starts.append(library_run_seconds(single, jobs=1))
        ones.append(library_run_seconds(library, jobs=1))
        twos.append(library_run_seconds(library, jobs=2))
    loop, start, one, two = min(loops), min(starts), min(ones), min(twos)
    per_track = loop / LIBRARY_FILES
    # A run of one file is all that happens once: start, imports, the end.
    overhead = (one - start) / (LIBRARY_FILES - 1) - per_track
    return [
        Row(
            "library run: overhead per track",
            overhead * 1000,
            " ms",
            at_most=5,
            digits=1,
            beside=f"describing takes {per_track * 1000:.0f} ms a track; "
            f"a run of one file takes {start:.2f} s, start and imports included",
        ),
        Row(
            "library run: 2 workers against 1, whole run",
            one / two,
            " times",
            at_least=1.8,
            digits=2,
            beside=f"{one:.1f} s and {two:.1f} s for {LIBRARY_FILES} tracks; "
            f"without the start {(one - start) / (two - start):.2f}",
        ),
    ]


def library_run_seconds(folder: Path, jobs: int) -> float:
    with tempfile.TemporaryDirectory() as state:
        command = [str(command_line()), "describe", str(folder), "--jobs", str(jobs)]
        output = ["--jsonl", str(Path(state) / "records.jsonl")]
        environment = os.environ | {"ANTIPHON_STATE": state}
        return timed(
            lambda: subprocess.run(
                [*command, *output], env=environment, stderr=subprocess.DEVNULL, check=True
            )
        )


def command_line() -> Path:
    return Path(sys.executable).with_name("antiphon")


def median_wall(command: Sequence[str]) -> float:
    return statistics.median(
        timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))
        for _ in range(STARTS)
    )


def folder_mb(path: Path) -> float:
    files = [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def rendered_song() -> Waveform:
    """Exactly SONG_SECONDS of a rock song on the first soundfont."""
    score = arrange(Controls(genre="rock", duration_seconds=SONG_SECONDS), seed=0)
    font = pieces.find_soundfont(pieces.SOUNDFONTS[0])
    waveform = render_fluidsynth(score, font, sample_rate=RATE)
    return Waveform(waveform.samples[:, : SONG_SECONDS * RATE], RATE)


def write_mp3(path: Path, song: Waveform) -> None:
    """At a constant bit rate, which the package itself does not offer."""
    soundfile.write(
        path,
        song.samples.T,
        song.sample_rate,
        format="MP3",
        compression_level=MP3_COMPRESSION,
        bitrate_mode="CONSTANT",
    )
    kbps = path.stat().st_size * 8 / 1000 / song.duration_seconds
    if abs(kbps / MP3_KBPS - 1) > 0.05:
        raise RuntimeError(f"the MP3 has {kbps:.0f} kbit/s; expected {MP3_KBPS}")


def write_library(folder: Path) -> None:
    """Short pieces in all genres on our own instruments, no two alike."""
    folder.mkdir()
    for seed in range(LIBRARY_FILES):
        genre = GENRES[seed % len(GENRES)]
        score = arrange(Controls(genre=genre, duration_seconds=LIBRARY_SECONDS), seed)
        write(folder / f"{seed:03}.flac", render(score, sample_rate=RATE))


if __name__ == "__main__":
    print(run().markdown())
