"""What a training run is made by: plain data, composed from YAML and a command line by Hydra.

Nothing is instantiated by name. An unknown key is an error that names the nearest known ones.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from antiphon.compose.codecs.magnitude_config import MagnitudeConfig
from antiphon.compose.options import suggestion
from antiphon.errors import ConfigError
from antiphon.plain import read_json

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
# Other spellings that people know, of Lightning and of `generate --precision`.
_PRECISIONS: Mapping[str, Precision] = {
    "32": "32-true", "fp32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "fp16": "16-mixed",
    "fp16-mixed": "16-mixed",
}  # fmt: skip
Kind = Literal["codec", "composer", "listener"]  # of runs
ROOT_NAME = "configs"  # the folder that groups such as `model: small` are looked up from
_SCHEMA, _PRIMARY = "antiphon_schema", "antiphon_primary"
_RESOLVER = re.compile(r"\$\{[^}]*:")


@dataclass(frozen=True)
class TrainerConfig:
    """Where it runs: on `devices` of each of `nodes` machines, on each of which it is started."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "bf16-mixed"
    threads: int | None = None
    """Of each process on a CPU; None: all cores between them."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        _require(self, "devices", 1)
        _require(self, "nodes", 1)


@dataclass(frozen=True)
class TrainingConfig:
    """How it learns. A batch is what one process sees at a time; `accumulate` of them make a
    step."""

    batch_size: int = 16
    accumulate: int = 1
    max_steps: int = 1000
    learning_rate: float = 1e-3
    muon_learning_rate: float = 0.0
    """Of the matrices in the model's layers, which Muon (Jordan et al. 2024) moves then instead of
    AdamW, at the scale of Liu et al. 2025; 0: AdamW moves all."""
    warmup_steps: int = 100
    schedule: Literal["cosine", "constant"] = "cosine"
    final_learning_rate: float = 0.0
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    """0: no moving average of the weights."""
    max_bad_steps: int = 20
    """So many steps in a row that are not finite end the run."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        for name in ("batch_size", "accumulate", "max_steps", "max_bad_steps"):
            _require(self, name, 1)
        for name in ("warmup_steps", "learning_rate", "muon_learning_rate", "final_learning_rate",
                     "weight_decay", "clip_norm", "seed"):  # fmt: skip
            _require(self, name, 0)
        for name in ("beta1", "beta2", "ema_decay"):
            _require(self, name, 0, 0.999999)
        if self.muon_learning_rate and not self.learning_rate:
            raise ConfigError(
                "training.learning_rate is 0; expected more beside a muon_learning_rate, which "
                "follows its schedule"
            )


@dataclass(frozen=True)
class CheckpointConfig:
    """When it is saved; beside the newest `keep`, the best is kept."""

    every_steps: int = 500
    keep: int = 2

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        _require(self, "every_steps", 1)
        _require(self, "keep", 1)


@dataclass(frozen=True)
class LogConfig:
    """What is told, and how often; the validation loss decides what is best."""

    every_steps: int = 10
    validate_every_steps: int = 500
    validation_batches: int = 8
    samples_every_steps: int = 0
    """How often sounds are made to be heard on the page; 0: never."""
    samples: int = 2
    """How many of them at a time."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where the numbers go beside metrics.jsonl; each needs its package."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        for name in ("every_steps", "validate_every_steps", "validation_batches", "samples"):
            _require(self, name, 1)
        _require(self, "samples_every_steps", 0)


@dataclass(frozen=True)
class RunConfig:
    """What every kind of run has in its config; each adds its `data` and its `model`."""

    experiment_name: str = ""
    output_dir: str = "runs/${experiment_name}"
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)


@dataclass(frozen=True)
class AudioDataConfig:
    """What a codec learns from: crops of the clips of a manifest."""

    manifest: str = ""
    crop_seconds: float = 1.28
    max_hours: float = 20.0
    """Of sound that is kept decoded on disk, two bytes a sample; the first clips."""


@dataclass(frozen=True)
class CodecConfig(RunConfig):
    """`antiphon train codec`."""

    experiment_name: str = "codec"
    begin: str = ""
    """A codec of the same sizes, but for the number of codebooks, by itself or a part of a
    composer. Its encoder and codebooks stay as they are, so that its codes stay what they are; the
    decoder goes on, and further codebooks are learned."""
    data: AudioDataConfig = field(default_factory=AudioDataConfig)
    model: MagnitudeConfig = field(default_factory=MagnitudeConfig)


@dataclass(frozen=True)
class CodesDataConfig:
    """What a composer learns from: shards of codes, and what of them it is told.

    `lengths` are crop lengths in seconds, each held for an equal part of the run. A caption is
    dropped whole, and so is the score, each by its own chance; controls are added to a caption as
    text, each of them left out by a chance of its own. `all_dropout` drops caption and score
    together, beside that: without either is what guidance counts from.
    """

    codes: str = ""
    codec: str = ""
    """The folder of the codec that the codes are of; empty: the base's, or the one in the
    package."""
    skip_damaged: bool = False
    """Leave shards out that are damaged, where else the run stops and names them."""
    lengths: tuple[float, ...] = (5.0, 10.0)
    text_dropout: float = 0.12
    score_dropout: float = 0.2
    all_dropout: float = 0.0
    controls_share: float = 0.5
    control_dropout: float = 0.15

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        for name in ("text_dropout", "score_dropout", "all_dropout", "controls_share",
                     "control_dropout"):  # fmt: skip
            _require(self, name, 0, 1)
        if not self.lengths or not all(0 < length <= 60 for length in self.lengths):
            raise ConfigError(f"lengths is {self.lengths}; expected seconds, above 0 and up to 60")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adaptation (Hu et al. 2021) of a decoder's linear layers: W + alpha / rank * B A.

    `targets` are named as in transformers: self-attention, cross-attention, and the two layers
    behind them.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    targets: tuple[Literal["self_attn", "encoder_attn", "fc"], ...] = ("self_attn", "encoder_attn")

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        _require(self, "rank", 1)
        _require(self, "alpha", 0)
        _require(self, "dropout", 0, 0.9)
        if not self.targets:
            raise ConfigError("targets is empty; expected one of self_attn, encoder_attn, fc")


@dataclass(frozen=True)
class ComposerModelConfig:
    """A MusicGen: its decoder, a T5 for the text, and a score adapter.

    With a `base` it begins as that checkpoint and has its sizes, else from nothing.
    """

    base: str = ""
    """A MusicGen checkpoint: its folder, or a name of the hub."""
    begin: str = ""
    """A composer of ours, of the same sizes, whose weights, text encoder and tokenizer among them,
    it begins with in place of random ones."""
    tune: Literal["all", "lora", "adapter"] = "all"
    """What of a base is trained: all of its decoder, LoRA, or the score adapter alone."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    text_encoder: str = ""
    """A T5 that stays as it is: a folder, or a name of the hub. Its states, of `text_width`, come
    with the codes (`data preprocess --text-encoder`). Empty: the base's, which stays as it is, too,
    or a small one that is trained, of all the sizes below."""
    hidden_size: int = 256
    layers: int = 6
    heads: int = 8
    ffn_size: int = 1024
    dropout: float = 0.1
    gradient_checkpointing: bool = False
    codebooks: int = 0
    """Of the codes, and the frames a second, and the entries of a codebook; 0: as the data have
    them."""
    frame_rate: int = 0
    codebook_size: int = 0
    text_width: int = 192
    text_layers: int = 2
    text_heads: int = 4
    text_ffn_size: int = 384
    vocabulary: int = 2000
    score_adapter: bool = True
    adapter_hidden: int = 128

    @property
    def trains_text(self) -> bool:
        """Whether the text encoder is its own, trained with the rest."""
        return not (self.text_encoder or self.base)

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        for name in ("hidden_size", "layers", "heads", "ffn_size", "text_width", "text_layers",
                     "text_heads", "text_ffn_size", "adapter_hidden"):  # fmt: skip
            _require(self, name, 1)
        for name in ("codebooks", "frame_rate", "codebook_size"):
            _require(self, name, 0)
        _require(self, "vocabulary", 100)
        _require(self, "dropout", 0, 0.9)
        pairs = [("hidden_size", "heads")]
        if self.trains_text:
            pairs.append(("text_width", "text_heads"))
        for width, heads in pairs:
            if getattr(self, width) % getattr(self, heads):
                raise ConfigError(
                    f"{width} is {getattr(self, width)}; expected a multiple of {heads}, "
                    f"{getattr(self, heads)}"
                )
        if self.tune == "adapter" and not self.score_adapter:
            raise ConfigError("tune is 'adapter'; expected score_adapter to be true")
        if self.begin and not self.trains_text:
            raise ConfigError(
                f"begin is {self.begin!r}; expected none beside a base or a text_encoder: it "
                "brings all of its own"
            )
        if self.base and self.text_encoder:
            raise ConfigError(
                f"text_encoder is {self.text_encoder!r}; expected none beside a base, which has one"
            )


@dataclass(frozen=True)
class ComposerConfig(RunConfig):
    """`antiphon train composer`."""

    experiment_name: str = "composer"
    data: CodesDataConfig = field(default_factory=CodesDataConfig)
    model: ComposerModelConfig = field(default_factory=ComposerModelConfig)


@dataclass(frozen=True)
class HearingDataConfig:
    """What a listener learns from: crops of the clips of some manifests. Their controls say genre,
    instruments and energy, and their scores, where they have some, say when."""

    manifests: tuple[str, ...] = ()
    crop_seconds: float = 6.0
    cache: str = ""
    """Where spectra are kept; empty: in the run's own folder."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        _require(self, "crop_seconds", 1, 30)


@dataclass(frozen=True)
class ListenerModelConfig:
    """An encoder as Audio Flamingo 3 has it, small, and its heads.

    With `base`, the folder of an exported listener or `listener` for the one in the package, it
    begins as that one and has its sizes; `tune` says what of it is trained.
    """

    width: int = 192
    layers: int = 4
    heads: int = 3
    ffn_width: int = 768
    dropout: float = 0.0
    base: str = ""
    tune: Literal["all", "heads"] = "all"

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        for name in ("width", "layers", "heads", "ffn_width"):
            _require(self, name, 1)
        _require(self, "dropout", 0, 0.9)
        if self.width % (2 * self.heads):
            raise ConfigError(
                f"width is {self.width}; expected an even multiple of heads, {self.heads}"
            )
        if self.tune == "heads" and not self.base:
            raise ConfigError(
                "tune is heads, and there is no base; expected model.base=listener, or the folder "
                "of another listener whose heads are to be trained"
            )


@dataclass(frozen=True)
class ListenerConfig(RunConfig):
    """`antiphon train listener`."""

    experiment_name: str = "listener"
    data: HearingDataConfig = field(default_factory=HearingDataConfig)
    model: ListenerModelConfig = field(default_factory=ListenerModelConfig)


C = TypeVar("C")


def load_config(kind: type[C], file: Path | None, overrides: Sequence[str]) -> C:
    """The config of a YAML file (None: the defaults) under overrides in Hydra's grammar, such as
    `training.max_steps=500`, `model=small` for a group, `+` and `~` to add and to delete. A file
    that is not there may be one that comes with the package, such as `configs/composer/small.yaml`.

    Raises ConfigError for a file or an override that is not understood, a key that is not known
    and a value of another type.
    """
    if file is not None and not file.is_file():
        packaged = Path(__file__).parents[1] / file
        file = packaged if packaged.is_file() else file
    values = _composed(asdict(kind()), file, overrides)  # type: ignore[call-overload]
    trainer = values.get("trainer")
    if isinstance(trainer, dict) and "precision" in trainer:
        said = str(trainer["precision"])
        trainer["precision"] = _PRECISIONS.get(said, said)
    where = "the configuration" if file is None else f"{file}, or what is said over it,"
    check_known(values, kind, where)
    return read_json(kind, json.dumps(values), where)


def check_known(values: Mapping[str, object], kind: type[object], where: str) -> None:
    """Raise ConfigError for the first key, at any depth, that `kind` does not have."""
    types = typing.get_type_hints(kind)
    known = [one.name for one in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise ConfigError(
                f"{where}: {name!r} is not known{suggestion(name, known)}; expected one of "
                f"{', '.join(known)}"
            )
        inner = types[name]
        if dataclasses.is_dataclass(inner) and isinstance(value, Mapping):
            check_known(value, typing.cast("type[object]", inner), f"{where}, {name}")


def plain(config: object) -> dict[str, object]:
    """A config as JSON has it, where there are no tuples."""
    values: dict[str, object] = json.loads(json.dumps(asdict(config)))  # type: ignore[call-overload]
    return values


def to_yaml(config: object) -> str:
    """A config as it can be read again."""
    import yaml

    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def changes(old: Mapping[str, object], new: Mapping[str, object], at: str = "") -> list[str]:
    """What differs between two configs, as `training.seed: 1 -> 2`."""
    found = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        place = f"{at}{name}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += changes(before, after, f"{place}.")
        elif before != after:
            found.append(f"{place}: {before} -> {after}")
    return found


def _require(config: object, name: str, lowest: float, highest: float = math.inf) -> None:
    value = getattr(config, name)
    if not lowest <= value <= highest:  # written so that NaN fails, too
        bound = f"{lowest:g} or more" if highest == math.inf else f"{lowest:g} to {highest:g}"
        raise ConfigError(f"{name} is {value:g}; expected {bound}")


def _refuse_resolvers(value: object) -> None:
    """Raise ConfigError for a text that asks for more than another key: `${oc.env:…}` would bring
    what is in the environment into a run that is kept and shown."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            _refuse_resolvers(one)
    elif isinstance(value, str) and _RESOLVER.search(value):
        raise ConfigError(
            f"{value!r} asks a resolver, and none is read here; expected a value, or "
            "${another.key}"
        )


def _composed(
    defaults: dict[str, object], file: Path | None, overrides: Sequence[str]
) -> dict[str, object]:
    import yaml
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    parts: list[object] = [_SCHEMA]
    root = Path.cwd()
    if file is not None:
        if not file.is_file():
            raise ConfigError(f"there is no config {str(file)!r}; expected a YAML file")
        path = file.resolve()
        root = next((p for p in path.parents if p.name == ROOT_NAME), path.parent)
        group = path.relative_to(root).parent.as_posix()
        parts.append(path.stem if group == "." else {f"/{group}@_global_": path.stem})
    store = ConfigStore.instance()
    store.store(name=_SCHEMA, node=defaults)
    store.store(name=_PRIMARY, node={"defaults": [*parts, "_self_"]})
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base=None, config_dir=str(root)):
            composed = compose(_PRIMARY, overrides=[_added(text) for text in overrides])
        _refuse_resolvers(OmegaConf.to_container(composed, resolve=False))
        values = OmegaConf.to_container(composed, resolve=True)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not UTF-8 ({error}); save it as UTF-8 (iconv -f LATIN1 -t UTF-8 OLD > NEW)"
        ) from error
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(_said(error, defaults)) from error
    assert isinstance(values, dict), "a config is a mapping"
    return typing.cast("dict[str, object]", values)


def _added(override: str) -> str:
    """`+a.b=c` adds a key that may be there: the defaults have them all."""
    name = override.partition("=")[0]
    return f"+{override}" if re.fullmatch(r"\+[\w.]*\.[\w.]*", name) else override


def _said(error: Exception, defaults: Mapping[str, object]) -> str:
    """Hydra's message in one line; of a key that is not known, the nearest."""
    text = " ".join(str(error).split())
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown is None:
        return f"the configuration is not understood: {text}"
    *parents, name = unknown[1].split(".")
    known: object = defaults
    for parent in parents:
        known = known.get(parent) if isinstance(known, Mapping) else None
    names = list(known) if isinstance(known, Mapping) else list(defaults)
    wrong = name if isinstance(known, Mapping) else parents[0]
    return (
        f"{unknown[1]!r} is not known{suggestion(wrong, names)}; expected one of {', '.join(names)}"
    )
