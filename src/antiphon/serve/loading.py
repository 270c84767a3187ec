"""Which owners a service has, and what loads their models: light, since it travels to processes
that load something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.audio.limits import Limits
from antiphon.serve.options import COMPOSER, LISTENER, SYNTH, ServeOptions
from antiphon.serve.owner import OwnerSpec
from antiphon.threads import usable_cores

if TYPE_CHECKING:
    from antiphon.serve.tasks import Work


@dataclass(frozen=True)
class LoadComposers:
    """The composer of `spec`, and the synth beside it."""

    spec: str | None
    threads: int | None
    models: Path | None
    decoding: Limits
    most_seconds: float

    def __call__(self) -> Work:
        from antiphon.compose.loading import LoadOptions
        from antiphon.hearing import load_composer
        from antiphon.serve.composing import ComposerWork

        # The packaged composer fits into the cache of a core.
        lanes = usable_cores() if self.spec is None and self.threads is None else 1
        options = LoadOptions(threads=self.threads if lanes == 1 else 1)
        composers = {
            COMPOSER: load_composer(self.spec, options, models=self.models),
            SYNTH: load_composer("synth"),
        }
        return ComposerWork(composers, self.decoding, self.most_seconds, lanes)


@dataclass(frozen=True)
class LoadListener:
    """The listener of `spec`."""

    spec: str | None
    threads: int | None
    models: Path | None
    decoding: Limits

    def __call__(self) -> Work:
        from antiphon.listen.loading import LoadOptions, load_listener
        from antiphon.serve.listening import ListenerWork

        threads = None if self.spec is None else self.threads  # the packaged one takes none
        listener = load_listener(self.spec, LoadOptions(threads=threads), models=self.models)
        return ListenerWork(listener, self.decoding)


def owner_specs(options: ServeOptions) -> list[OwnerSpec]:
    """An owner for each model that is served."""
    found, decoding = [], options.caps.decoding
    if options.listener != "none":
        load = LoadListener(options.listener, options.threads, options.models, decoding)
        found.append(OwnerSpec("listener", (LISTENER,), load))
    if options.composer != "none":
        compose = LoadComposers(
            options.composer, options.threads, options.models, decoding,
            options.caps.piece_seconds,
        )  # fmt: skip
        found.append(OwnerSpec("composer", (COMPOSER, SYNTH), compose))
    return found
