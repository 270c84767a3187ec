"""What holds of whole training runs: killed and gone on with, learned by heart, dealt out to
processes, fine-tuned in little memory.

The runs are those of the tests, as often as docs/bench.md says. Part of `training.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from report import Row

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests/train"), str(ROOT / "tests/compose")]
KILLS = (1, 5, 20)
SAVING_KILLS = 100
LORA_BATCH, LORA_SECONDS, LORA_STEPS = 4, 10.0, 2
_MB = 2**20

# Run in a process of its own, whose memory is measured: what it says is the peak while it loads,
# and the peak of the steps, in MB.
_LORA = """
import json, sys
from pathlib import Path
from antiphon.train.composer import ComposerTask
from antiphon.train.loop import train
from antiphon.train.logs import RunLog
from antiphon.train.runs import load_run_config

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

config = load_run_config("composer", Path(sys.argv[1]), sys.argv[2:])
task = ComposerTask(config)
loading = peak_mb()
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
train(task, config, log=RunLog(Path(config.output_dir), "codes"))
kinds = {type(module).__name__ for module in task.model.modules()}
print(json.dumps({
    "loading_mb": loading, "steps_mb": peak_mb(), "kinds": sorted(kinds),
    "trained": sum(p.numel() for p in task.model.parameters() if p.requires_grad),
}))
"""


def rows() -> list[Row]:
    """All of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [
            *interrupted_rows(folder / "interrupted"),
            saving_row(folder / "saving"),
            heart_row(folder / "heart"),
            processes_row(folder / "processes"),
            lora_row(folder / "lora"),
        ]


def interrupted_rows(folder: Path) -> list[Row]:
    """Runs of the magnitude codec that were killed at random moments, beside one that was not."""
    import test_resuming as harness

    from antiphon.data.running import RunOptions
    from antiphon.data.synthesizing import Recipe, synthesize

    synthesize(Recipe(12, seed=7, seconds=3.0, sample_rate=16_000), folder / "m", RunOptions(1))
    manifest = folder / "m/manifest.parquet"
    subprocess.run(harness.command(manifest, "whole"), cwd=folder, check=True, capture_output=True)
    whole = folder / "runs/whole"
    found = []
    for kills in KILLS:
        place = folder / str(kills)
        place.mkdir()
        torn = harness.interrupted(manifest, place, kills, seed=100 + kills)
        expected, losses = harness.losses(whole), harness.losses(torn)
        differing = sum(losses.get(step) != loss for step, loss in expected.items())
        differing += not harness.same(torn, whole)
        found.append(
            Row(
                f"kill -9 at {kills} random moments: losses and weight files that differ",
                float(differing), "", at_most=0.0, must=True, digits=0,
                beside=f"of {len(expected)} losses, and weights, average and optimiser",
            )
        )  # fmt: skip
    return found


def saving_row(folder: Path) -> Row:
    """Checkpoints after kills, most of them within a save; the test's own assertions."""
    import test_checkpoints as harness

    folder.mkdir()
    try:
        harness.test_no_kill_leaves_a_checkpoint_that_does_not_load(folder, SAVING_KILLS)
        failed, said = 0.0, "none does not load, none that was told is lost, nothing is left over"
    except AssertionError as error:
        failed, said = 1.0, f"failed: {error}"
    return Row(
        f"{SAVING_KILLS} times kill -9 while saving, TMPDIR on another file system: failures",
        failed, "", at_most=0.0, must=True, digits=0, beside=said,
    )  # fmt: skip


def heart_row(folder: Path) -> Row:
    """Four clips learned by heart."""
    import test_composer_training as harness

    data = harness.data_of(folder / "data")
    folder_of_run = folder / "run"
    harness.learned_by_heart(data, folder_of_run)
    losses = harness.totals(folder_of_run)
    shares = [harness.written_again(folder_of_run / "composer", clip) for clip in data.clips]
    return Row(
        "four clips learned by heart: last loss, times the first",
        losses[-1] / losses[0], "", at_most=0.1, must=True,
        beside=f"of the codes {100 * min(shares):.1f} % at least come again, through the engine of "
        "`generate`",
    )  # fmt: skip


def processes_row(folder: Path) -> Row:
    """Two processes beside one of twice the batch."""
    import test_two_processes as harness

    harness.data_of(folder)
    alone = harness.done(folder, "alone", "training.batch_size=4")
    two = harness.done(folder, "two", "training.batch_size=2", "trainer.devices=2")
    paces = [
        np.median([line["codes_per_second"] for line in lines if "codes_per_second" in line][1:])
        for lines in (metrics(folder / "runs" / name) for name in ("alone", "two"))
    ]
    return Row(
        "two processes (gloo), one thread each, float32: largest difference of the losses",
        float(np.abs(np.array(two) - alone).max()), "", at_most=1e-5, digits=8,
        beside=f"clips of all lengths; {paces[1]:,.0f} codes/s, one process {paces[0]:,.0f}",
    )  # fmt: skip


def lora_row(folder: Path) -> Row:
    """Memory of fine-tuning a checkpoint of the size of MusicGen-small by configs/composer/lora."""
    from t5_models import small_size_musicgen
    from test_fine_tuning import written

    folder.mkdir()
    base = folder / "small"
    small_size_musicgen(base)
    codes = written(folder / "codes", base, codebook_size=2048, frames=round(LORA_SECONDS * 50))
    overrides = (
        f"model.base={base}", f"data.codes={codes}", f"output_dir={folder / 'run'}",
        f"training.max_steps={LORA_STEPS}", "training.accumulate=1", "trainer.accelerator=cpu",
        f"training.batch_size={LORA_BATCH}", f"data.lengths=[{LORA_SECONDS}]",
        "log.validation_batches=1", "log.samples_every_steps=0",
    )  # fmt: skip
    config = ROOT / "configs/composer/lora.yaml"
    done = subprocess.run(
        [sys.executable, "-c", _LORA, str(config), *overrides],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    foreign = [kind for kind in told["kinds"] if "T5" in kind or "Encodec" in kind]
    assert not foreign, f"not to be in memory: {foreign}"
    size = sum(path.stat().st_size for path in base.glob("*.safetensors")) / _MB
    return Row(
        f"LoRA of a MusicGen-small-size checkpoint, {LORA_BATCH} x {LORA_SECONDS:.0f} s: memory of "
        "the process while it trains",
        told["steps_mb"] / 1024, " GiB", digits=2,
        beside=f"codec and text encoder are not in memory; while it loads "
        f"{told['loading_mb'] / 1024:.2f} GiB, the checkpoint has {size / 1024:.2f} GiB; "
        f"{told['trained'] / 1e6:.1f} M parameters are trained",
    )  # fmt: skip


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
