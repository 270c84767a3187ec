"""Where a run goes on, and whether it may."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from antiphon.errors import ConfigError, ModelError
from antiphon.train.checkpoints import Checkpoint, CheckpointFolder
from antiphon.train.config import Kind, changes

CHECKPOINTS = "checkpoints"  # the folder of them in a run's
# What may change between the parts of a run: none of it changes what a step computes, though
# another device or number of threads may round it another way.
_FREE = frozenset({"experiment_name", "output_dir", "checkpoint", "log", "begin"})
_FREE_OF = {
    "trainer": frozenset({"accelerator", "threads"}),
    # Where things lie: what they hold is held against the hashes that a run keeps.
    "data": frozenset({"codes", "codec", "manifest", "manifests", "skip_damaged", "cache"}),
    "model": frozenset({"base", "begin", "text_encoder"}),
}


def find_checkpoint(output: Path, resume: str | None) -> Path | None:
    """What `--resume` names: a checkpoint, a run (its newest), or with `auto` the newest of the run
    in `output`, if any.

    Raises ConfigError for a checkpoint of that run that is not its newest: two courses of one run
    would lie in one folder.
    """
    if resume is None:
        return None
    newest = CheckpointFolder(output / CHECKPOINTS, 1).newest()
    if resume == "auto":
        return newest
    path = Path(resume)
    path = CheckpointFolder(path / CHECKPOINTS, 1).newest() or path
    if newest is not None and path.resolve() != newest.resolve():
        raise ConfigError(
            f"{output} holds a run already, whose newest checkpoint is {newest.name} and not "
            f"{path}; expected --resume auto to go on with it, or another experiment_name for a "
            "run that begins there"
        )
    return path


def require_same_run(old: object, new: Mapping[str, object]) -> None:
    """Raise ConfigError, naming what differs, for configs between which a run cannot go on."""
    if not isinstance(old, Mapping):
        raise ModelError("the checkpoint does not say its config; expected one of a run of ours")

    kinds = [kind_of(one) for one in (old, new)]
    if kinds[0] != kinds[1]:
        raise ModelError(f"the checkpoint is of a {kinds[0]}; expected one of a {kinds[1]}")
    found = changes(_fixed(old), _fixed(new))
    if found:
        raise ConfigError(
            f"the run cannot go on with another config: {'; '.join(found)}; expected the same, or "
            "begin a new run under another experiment_name"
        )


def kind_of(config: Mapping[str, object]) -> Kind:
    """What a run of this config trains; each kind has data of its own."""
    data = _part(config, "data")
    if "codes" in data:
        return "composer"
    return "listener" if "cache" in data else "codec"


def kept_of(checkpoint: Checkpoint) -> Mapping[str, str]:
    """What a task had put into a checkpoint."""
    kept = checkpoint.state.get("kept")
    return kept if isinstance(kept, dict) else {}


def require_same_data(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Raise ConfigError for a run that would go on with other data."""
    if old.get("data") != new["data"]:
        raise ConfigError(
            "the data are not those that the run began with; expected the same, or begin a new run "
            "under another experiment_name"
        )


def _fixed(config: Mapping[str, object]) -> dict[str, object]:
    """What of a config must stay."""
    kept = {name: value for name, value in config.items() if name not in _FREE}
    for name, free in _FREE_OF.items():
        kept[name] = {n: value for n, value in _part(config, name).items() if n not in free}
    return kept


def _part(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = config.get(name)
    return part if isinstance(part, Mapping) else {}
