"""What describe, ask and chat share: the options of a listening model, and how it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from antiphon.description import Claim, Policy
    from antiphon.listen.engines import ListenerEngine, Sampling
    from antiphon.listen.listener import Listener
    from antiphon.listen.windows import LongMode
    from antiphon.settings import Settings

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="M",
        help="A GGUF file or its quantisation (Q6_K), a checkpoint's folder or hub name, "
        "http://host/v1; none: facts alone.",
    ),
]
FactsPolicy = Annotated[
    str,
    typer.Option(
        "--facts",
        metavar="POLICY",
        help="What becomes of a number that measuring contradicts: annotate, correct, drop, off.",
    ),
]
HintFacts = Annotated[
    bool, typer.Option("--hint-facts", help="Give the measured facts to the model.")
]
Long = Annotated[
    str,
    typer.Option(
        "--long",
        metavar="HOW",
        help="Beyond what the model hears at once: truncate, chunk or slide.",
    ),
]
MaxNewTokens = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="At most so many tokens a text.")
]
Temperature = Annotated[float | None, typer.Option(metavar="T", help="0 is greedy (default).")]
TopP = Annotated[float | None, typer.Option(metavar="P", help="Nucleus of probability, up to 1.")]
TopK = Annotated[int | None, typer.Option(min=0, metavar="K", help="0: no limit.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Of the sampling.")]
PrecisionName = Annotated[
    str | None, typer.Option("--precision", metavar="P", help="fp32, bf16, fp16, 8bit or 4bit.")
]
GpuLayers = Annotated[int | None, typer.Option(min=0, metavar="N", help="GGUF: layers on a GPU.")]
Context = Annotated[
    int | None, typer.Option("--context", min=512, metavar="N", help="GGUF: tokens of context.")
]
Threads = Annotated[int | None, typer.Option(min=1, metavar="N", help="Of the processor.")]
Device = Annotated[str | None, typer.Option(metavar="D", help="cpu, cuda, cuda:1, mps.")]
AttentionName = Annotated[
    str | None, typer.Option("--attention", metavar="A", help="flash, sdpa or eager.")
]
Compile = Annotated[
    str | None,
    typer.Option("--compile", metavar="true|false", help="torch.compile; not with flash."),
]
Adapter = Annotated[Path | None, typer.Option(metavar="DIR", help="A LoRA for the checkpoint.")]


@dataclass(frozen=True)
class Chosen:
    """The model that a command line names, and how it is used."""

    spec: str | None
    load: Callable[[], ListenerEngine] | None  # pickles; None without a model
    origin: str  # tells it from another model of the same name
    sampling: Sampling
    ear: Path  # the folder of a trained listener of ours

    def listener(self) -> Listener:
        """The listener, loaded in this process."""
        from antiphon.listen.ear import Ear
        from antiphon.listen.listener import Listener

        engine = None if self.load is None else self.load()
        return Listener(engine, self.sampling, Ear(self.ear))


def chosen_model(settings: Settings, spec: str | None, given: dict[str, Any]) -> Chosen:
    """Check the options of the model; `given` holds them by name, None where not given.

    Raises ConfigError for a value that is not known, or options without a model.
    """
    from antiphon.listen.ear import PACKAGED_NAME
    from antiphon.listen.engines import Sampling
    from antiphon.listen.engines.transformers_loading import Attention, Precision
    from antiphon.listen.loading import LoadOptions, ear_of, load_engine, origin_of
    from antiphon.models.finding import packaged

    named = {name: value for name, value in given.items() if value is not None}
    if spec is None and named:
        option = "--" + next(iter(named)).replace("_", "-")
        raise ConfigError(f"{option} is an option of a model, and none is named; expected --model")
    for name, known in (("precision", Precision), ("attention", Attention)):
        if name in named and named[name] not in get_args(known):
            raise ConfigError(
                f"--{name} is {named[name]!r}; expected one of {', '.join(get_args(known))}"
            )
    if "compile" in named:
        named["compile"] = truth(named["compile"])
    sampling = Sampling(**{k: named.pop(k) for k in _SAMPLING if k in named})
    options = LoadOptions(**named)
    own_ear = ear_of(spec, options, settings.models)
    ear = own_ear or packaged(PACKAGED_NAME)
    if spec is None or own_ear is not None:
        return Chosen(spec, None, "", sampling, ear)
    load = partial(load_engine, spec, options, settings.models)
    return Chosen(spec, load, origin_of(spec, options, settings.models), sampling, ear)


def require(spec: str | None, what: str) -> None:
    """Raise ModelMissingError where `what` cannot be done without a model, and none is named."""
    if spec is None:
        from antiphon.listen.listener import Listener

        Listener().require_model(what)


def policy(word: str) -> Policy:
    """`--facts`, checked."""
    from antiphon.description import POLICIES

    if word not in POLICIES:
        raise ConfigError(f"--facts is {word!r}; expected one of {', '.join(POLICIES)}")
    return word


def long_mode(word: str) -> LongMode:
    """`--long`, checked."""
    from antiphon.listen.windows import LongMode

    if word not in get_args(LongMode):
        raise ConfigError(f"--long is {word!r}; expected one of {', '.join(get_args(LongMode))}")
    return cast("LongMode", word)


_SAMPLING = ("max_new_tokens", "temperature", "top_p", "top_k", "seed")
_MODEL_OPTIONS = (*_SAMPLING, "precision", "gpu_layers", "context", "threads", "device",
                  "attention", "compile", "adapter")  # fmt: skip

# Python and typer have other uses for these names.
_PARAMETERS = {"compile": "compile_model", "context": "context_tokens"}


def model_options(parameters: dict[str, Any]) -> dict[str, Any]:
    """Those of a command's parameters that belong to the model, by the names of LoadOptions."""
    return {name: parameters[_PARAMETERS.get(name, name)] for name in _MODEL_OPTIONS}


def remarks(claims: Sequence[Claim], notes: Sequence[str]) -> list[str]:
    """What to say beside an answer: claims that were not confirmed, and notes."""
    found = [
        f"{claim.quantity}: {claim.said!r} is {claim.verdict}"
        + (f"; measured {claim.measured}" if claim.measured else "")
        for claim in claims
        if claim.verdict != "confirmed"
    ]
    return [*found, *(f"note: {note}" for note in notes)]


def truth(word: str) -> bool:
    if word.lower() not in ("true", "false"):
        raise ConfigError(f"--compile is {word!r}; expected true or false")
    return word.lower() == "true"
