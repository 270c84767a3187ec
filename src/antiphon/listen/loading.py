"""From the name of a model to a listener: which engine it needs, and what no engine gets right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.errors import ConfigError
from antiphon.listen.ear import Ear, built_in_ear, is_listener
from antiphon.listen.engines import ListenerEngine, Sampling

if TYPE_CHECKING:
    from antiphon.listen.engines.transformers_loading import Attention, Precision
    from antiphon.listen.listener import Listener

DEFAULT_SAMPLING = Sampling()


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded; None leaves it to the engine, the file and the machine.

    `context` counts tokens; `gpu_layers` and `context` are for GGUF, `precision`, `attention`,
    `compile` and `adapter` (a LoRA's folder) for checkpoints.
    """

    precision: Precision | None = None
    device: str | None = None
    attention: Attention | None = None
    compile: bool = False
    adapter: Path | None = None
    gpu_layers: int | None = None
    context: int | None = None
    threads: int | None = None


def load_listener(
    spec: str | Path | None = None,
    options: LoadOptions | None = None,
    *,
    sampling: Sampling = DEFAULT_SAMPLING,
    models: Path | None = None,
) -> Listener:
    """The built-in listener, or the one of a model.

    `spec` is the folder of a listener that was trained here, a GGUF file or its quantisation
    (`Q6_K`), a checkpoint's folder or hub name, or the address of an OpenAI-compatible server
    (`http://host/v1`, with `#name` where it has several models). Nothing is downloaded. `models` is
    the folder of models (None: that of the settings).

    Raises ModelMissingError for a model that is not here, ModelError for one that cannot be loaded
    or that its engine would get wrong, DependencyError for an engine that is not installed,
    ConfigError for options that do not fit it.
    """
    from antiphon.listen.listener import Listener

    options = options or LoadOptions()
    ear = ear_of(spec, options, models)
    if ear is not None:
        return Listener(sampling=sampling, ear=Ear(ear))
    return Listener(
        None if spec is None else load_engine(spec, options, models), sampling, built_in_ear()
    )


def ear_of(spec: str | Path | None, options: LoadOptions, models: Path | None) -> Path | None:
    """The folder of the trained listener of ours that `spec` names, if it is one.

    Raises ConfigError for options, of which those have none; ModelMissingError.
    """
    if spec is None or is_address(spec) or not is_listener(path := _located(spec, models)):
        return None
    _refuse(options, str(spec), "a listener that 'antiphon train listener' exported", ())
    return path


def load_engine(spec: str | Path, options: LoadOptions, models: Path | None) -> ListenerEngine:
    """Choose the engine by what `spec` names, and load it."""
    if is_address(spec):
        from antiphon.listen.engines import remote

        _refuse(options, "the address", "a server", allowed=())
        url, _, name = str(spec).partition("#")
        return remote.load(url, model=name or None)
    path = _located(spec, models)
    licence, revision = _known_terms(path)
    if path.is_file():
        from antiphon.listen.engines import gguf

        _refuse(options, str(spec), "a GGUF file", ("gpu_layers", "context", "threads"))
        return gguf.load(
            path,
            gpu_layers=options.gpu_layers,
            context=options.context,
            threads=options.threads,
            licence=licence,
            revision=revision,
        )
    from antiphon.listen.engines import transformers

    fitting = ("precision", "device", "attention", "compile", "adapter", "threads")
    _refuse(options, str(spec), "a checkpoint's folder", fitting)
    return transformers.load(
        path,
        device=options.device,
        precision=options.precision,
        attention=options.attention,
        compile=options.compile,
        adapter=options.adapter,
        threads=options.threads,
        licence=licence,
        revision=revision,
    )


def origin_of(spec: str | Path, options: LoadOptions, models: Path | None) -> str:
    """What tells a model from another of the same name: its address, or its place and age.

    Raises ModelMissingError and ModelError as loading does.
    """
    if is_address(spec):
        return str(spec)
    places = [_located(spec, models), *([options.adapter] if options.adapter else [])]
    weights = [place / "config.json" if place.is_dir() else place for place in places]
    return json.dumps(
        [
            [str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns]
            if file.exists()
            else [str(file.resolve())]
            for file in weights
        ]
    )


def _located(spec: str | Path, models: Path | None) -> Path:
    """A checkpoint's folder, or a GGUF file, also where the folder that holds it was named."""
    from antiphon.models import find

    path = find(spec, models)
    if path.is_dir() and not (path / "config.json").exists() and any(path.glob("*.gguf")):
        from antiphon.listen.engines.gguf_files import model_file

        return model_file(path)
    return path


def is_address(spec: str | Path) -> bool:
    return isinstance(spec, str) and spec.lower().startswith(("http://", "https://"))


def _refuse(options: LoadOptions, spec: str, what: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError for an option that this kind of model has no use for."""
    for name, value in vars(options).items():
        if value is not None and value is not False and name not in allowed:
            shown = f"its options are {', '.join(allowed)}" if allowed else "it has no options"
            raise ConfigError(f"{name} is {value!r}, but {spec} is {what}; {shown}")


def _known_terms(path: Path) -> tuple[str | None, str | None]:
    """Licence of a model whose file or folder has a name of the manifest; its revision as the
    pull wrote it down, or as the manifest knows it.

    Raises ModelError for a record that is not understood.
    """
    from antiphon.models import known
    from antiphon.models.record import read_record

    record = read_record(path if path.is_dir() else path.parent)
    if record is not None and path.is_file() and record.file(path.name) is None:
        record = None  # of other files in the same folder
    pulled = record.revision if record else None
    for model in known():
        if path.name in (model.folder_name, *(file.name for file in model.files or ())):
            return model.licence, pulled or model.revision
    return None, pulled
