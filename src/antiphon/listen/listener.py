"""The listener: a recording in, its Description out. Loaded once, used for many recordings.

The built-in one measures and puts the facts into words; it hears no genre and no instrument.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import antiphon
from antiphon.analysis import ANALYSIS_VERSION
from antiphon.audio import Limits
from antiphon.description import Description, Provenance
from antiphon.listen.describer import DESCRIBER_VERSION, check_kinds, describe_facts
from antiphon.listen.prompts import PromptSet, load_prompt_set

if TYPE_CHECKING:
    from antiphon.audio import Source, Waveform

MODEL = "antiphon-signal"
LICENCE = "Apache-2.0"  # of the texts' maker; the built-in one has no weights
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Listener:
    """Describes recordings from what can be measured in them."""

    def describe(
        self,
        source: Source | Waveform,
        *,
        prompts: PromptSet | None = None,
        kinds: Sequence[str] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        isolated: bool = False,
    ) -> Description:
        """Describe a path, the bytes of a file, a binary file object or a Waveform.

        One text for each of `kinds` (None: all) of `prompts` (None: the set `standard`). `limits`
        and `isolated` are those of `audio.open_stream`.

        Raises AudioError or StorageError for what cannot be read, ConfigError for a kind that is
        unknown or that only a model which follows prompts could write.
        """
        from antiphon.analysis import measure

        prompts = prompts or load_prompt_set("standard")
        chosen = prompts.select(kinds)
        check_kinds(chosen)  # before the work of measuring
        facts = measure(source, limits=limits, isolated=isolated)
        return Description(
            path=facts.path,
            texts=describe_facts(facts, {kind: prompts.kinds[kind].max_words for kind in chosen}),
            facts=facts,
            provenance=Provenance(
                model=MODEL,
                revision=None,
                licence=LICENCE,
                settings={"set": prompts.name, "kinds": ",".join(chosen)},
                version=antiphon.__version__,
            ),
        )

    def settings_key(
        self, prompts: PromptSet | None = None, kinds: Sequence[str] | None = None
    ) -> str:
        """Everything but the recording that a result depends on, as one stable line of text.

        Raises ConfigError as `describe` does, so that a long run can ask before it begins.
        """
        prompts = prompts or load_prompt_set("standard")
        chosen = prompts.select(kinds)
        check_kinds(chosen)
        return json.dumps(
            {
                "model": MODEL,
                "version": antiphon.__version__,
                "analysis": ANALYSIS_VERSION,
                "describer": DESCRIBER_VERSION,
                "set": prompts.name,
                "kinds": {kind: asdict(prompts.kinds[kind]) for kind in chosen},
            },
            ensure_ascii=False,
        )


def load_listener() -> Listener:
    """The built-in listener: works offline and needs no weights."""
    return Listener()
