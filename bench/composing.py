"""How well the composing engine does: the numbers of transformers, and how fast, on few cores.

    python bench/run.py composing

The checkpoint is made here: the size of MusicGen-small, random weights. What takes a process of its
own, which is everything, is in composing_probes.py.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/compose"))  # where small tokenizers are made

import t5_models  # noqa: E402

from composing_probes import BATCH, CLIP_SECONDS, LONG_SECONDS, STEPS, probe  # noqa: E402
from report import Part, Row  # noqa: E402

CORES = 2


def run() -> Part:
    """All figures of the composing engine."""
    with checkpoint() as folder:
        first = probe("loading", folder, cores=CORES)
        again = probe("loading", folder, cores=CORES)
        rows = [
            *parity_rows(folder),
            *step_rows(folder),
            divergence_row(folder),
            *clip_rows(folder),
            batch_row(folder),
            *codec_rows(folder),
            Row(
                f"peak memory of a process that composes {LONG_SECONDS:.0f} s, 8-bit",
                probe("memory", folder, cores=CORES)["peak_mb"] / 1000,
                " GB",
                at_most=1.3,
                digits=2,
                beside=f"the weights in fp32 alone: {weights_gb(folder):.2f} GB",
            ),
            Row(
                "loading a prepared model", again["seconds"], " s", at_most=3.0, digits=2,
                beside="imports included",
            ),
            Row("preparing a model", first["seconds"], " s", at_most=60.0, digits=0,
                beside="reading, quantising, calibrating the 8-bit cache; once"),
        ]  # fmt: skip
    notes = (
        "A checkpoint of MusicGen-small's size (24 layers of 1024, T5-base, EnCodec 32 kHz) with "
        "random weights, guidance 3. Steps: one core, one thread, in turn in one loop, medians; "
        f"the clips: {CORES} cores. Beside a step stands what the machine could do at best: the "
        "weights and the cache that it reads, by the bandwidth measured in the same loop (dot "
        "products of arrays far beyond the caches)."
    )
    return Part("composing", "Composing engine", notes, rows)


def parity_rows(folder: Path) -> list[Row]:
    found = probe("parity", folder, cores=CORES)
    return [
        Row(
            f"guided logits against transformers, fp32, {STEPS} steps, padded batch of 3",
            found["largest_difference"] * 1e6,
            "e-6",
            at_most=100.0,
            must=True,
            digits=1,
            beside="largest difference",
        ),
        Row(
            "greedy tokens equal to transformers, same batch",
            100 * found["greedy_equal"],
            " %",
            at_least=100.0,
            must=True,
            digits=1,
        ),
    ]


def step_rows(folder: Path) -> list[Row]:
    found = probe("steps", folder, cores=1)
    asked = {"0": {"fp32": 2.5, "8bit": 8.0}, "1000": {"fp32": 2.5, "8bit": 6.0}}
    rows = []
    for position, limits in asked.items():
        at = found[position]
        for precision, limit in limits.items():
            rows.append(
                Row(
                    f"one core, step at position {position}, {precision}: times faster than "
                    "transformers fp32",
                    at["transformers"] / at[precision],
                    at_least=limit,
                    must=True,
                    digits=1,
                    beside=f"{at[precision]:.1f} and {at['transformers']:.0f} ms",
                )
            )
        rows.append(floor_row(position, at["8bit"], at["bandwidth_gb_s"]))
    return rows


def floor_row(position: str, step_ms: float, bandwidth_gb_s: float) -> Row:
    """A step against what reading its weights and a cache takes.

    The cache counts as float32, as the peer keeps it: what a step must do is the same. Ours has a
    quarter of the bytes; the figure by these stands beside.
    """
    floors = {
        cached: step_bytes(int(position), cached) / (bandwidth_gb_s * 1e6) for cached in (4, 1)
    }
    beside = (
        f"{floors[4]:.1f} ms: {step_bytes(int(position), 4) / 1e6:.0f} MB at "
        f"{bandwidth_gb_s:.0f} GB/s"
    )
    if position != "0":
        beside += (
            f"; by the bytes of our 8-bit cache, {step_bytes(int(position), 1) / 1e6:.0f} MB, it "
            f"is {step_ms / floors[1]:.2f} times"
        )
    return Row(
        f"one core, step at position {position}, 8bit: times what reading 8-bit weights and a "
        "float32 cache takes",
        step_ms / floors[4],
        at_most=1.8,
        must=True,
        digits=2,
        beside=beside,
    )


def step_bytes(position: int, per_cached: int) -> float:
    """What one guided step of MusicGen-small reads: 8-bit weights with a scale for each 128, and a
    cache with `per_cached` bytes for each of its numbers."""
    layers, width, ffn, heads = 24, 1024, 4096, 4 * 2048
    weights = layers * (4 * width**2 + 2 * width**2 + 2 * width * ffn) + width * heads
    return weights * (1 + 4 / 128) + 2 * position * layers * 2 * width * per_cached


def divergence_row(folder: Path) -> Row:
    found = probe("divergence", folder, cores=CORES)
    return Row(
        "KL divergence of 8-bit from fp32, weights and cache",
        found["mean"] * 1e3,
        "e-3",
        at_most=1.0,
        digits=2,
        beside=f"largest of {STEPS} steps {found['largest'] * 1e3:.2f}e-3",
    )


def clip_rows(folder: Path) -> list[Row]:
    found = probe("clip", folder, cores=CORES)
    return [
        Row(
            f"a clip of {CLIP_SECONDS:.0f} s on two cores, 8-bit: real-time factor",
            found["factor"],
            at_most=1.0,
            must=True,
            digits=2,
            beside="text, decoder, sampling and codec; loaded before",
        ),
        Row(
            "first sound of the same",
            found["first_seconds"],
            " s",
            at_most=2.0,
            must=True,
            digits=2,
        ),
    ]


def batch_row(folder: Path) -> Row:
    return Row(
        f"{BATCH} prompts in a batch, throughput against one by one, {CLIP_SECONDS:.0f} s each",
        probe("batch", folder, cores=CORES)["ratio"],
        at_least=2.5,
        digits=2,
    )


def codec_rows(folder: Path) -> list[Row]:
    found = probe("codec", folder, cores=1)
    return [
        Row(
            "streaming codec, one core, for a second of 32 kHz sound",
            found["ms_per_second"],
            " ms",
            at_most=95,
            digits=0,
            beside="in pieces of a second",
        ),
        Row(
            "streamed against whole",
            found["difference"] * 1e6,
            "e-6",
            at_most=1.0,
            digits=2,
            beside="largest difference",
        ),
    ]


def weights_gb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e9


@contextmanager
def checkpoint() -> Iterator[Path]:
    """A checkpoint of MusicGen-small's size, and an empty cache for what is prepared from it."""
    before = os.environ.get("ANTIPHON_CACHE")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "musicgen-small-size"
        t5_models.small_size_musicgen(folder)
        os.environ["ANTIPHON_CACHE"] = str(Path(name) / "cache")
        try:
            yield folder
        finally:
            os.environ.pop("ANTIPHON_CACHE")
            if before is not None:
                os.environ["ANTIPHON_CACHE"] = before
