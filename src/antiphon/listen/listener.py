"""The listener: a recording in, words out. Loaded once, used for many recordings.

Without an engine it measures, puts the facts into words and answers what a question grammar
understands; with one, a model writes the words and every number in them is checked against what was
measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import antiphon
from antiphon.analysis import ANALYSIS_VERSION
from antiphon.audio import Limits
from antiphon.description import POLICIES, Description, Policy, Provenance, Reply, Setting
from antiphon.errors import ConfigError, ModelMissingError
from antiphon.listen.describer import DESCRIBER_VERSION, check_kinds, describe
from antiphon.listen.engines import (
    Answer,
    ListenerEngine,
    Message,
    OnToken,
    Question,
    Sampling,
    heard_in,
)
from antiphon.listen.prompts import PromptSet, load_prompt_set
from antiphon.listen.tracks import Track, readable_twice, track_by_ear, track_for_model
from antiphon.listen.windows import LONG_MODES, LongMode, plan_parts, read_clips

if TYPE_CHECKING:
    from antiphon.audio import Source, Waveform
    from antiphon.facts import Facts
    from antiphon.listen.ear import Ear

MODEL = "antiphon-signal"  # what makes texts of facts alone
TRAINED_MODEL = "antiphon-listener"  # what makes them of what is heard, too
LICENCE = "Apache-2.0"  # of the texts' maker, which has no weights
ASKING_VERSION = 1  # raise it when texts of a model come out differently
DEFAULT_LIMITS = Limits()
DEFAULT_SAMPLING = Sampling()


class Listener:
    """Describes recordings and answers questions about them; a context manager that frees it.

    `sampling` is how a model's words are chosen unless a call says otherwise; `ear` hears genre,
    instruments and energy, and without one nothing is said of them. Without a model
    questions are answered from what is measured and heard; what only a model can do (a schema, a
    raw prompt) raises ModelMissingError. All raise AudioError or StorageError for what cannot
    be read, ConfigError for what cannot be asked, EngineError for a model that fails.
    """

    def __init__(
        self,
        engine: ListenerEngine | None = None,
        sampling: Sampling = DEFAULT_SAMPLING,
        ear: Ear | None = None,
    ) -> None:
        self._engine = engine
        self._sampling = sampling
        self._ear = ear

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the model; the listener cannot be used afterwards."""
        if self._engine is not None:
            self._engine.close()

    def cancel(self) -> None:
        """End the answer that another thread waits for: it gets what there is within a second."""
        if self._engine is not None:
            self._engine.cancel()

    def require_model(self, what: str) -> None:
        """Raise ModelMissingError if `what` cannot be done for want of a model."""
        self._needed(what)

    def describe(
        self,
        source: Source | Waveform,
        *,
        prompts: PromptSet | None = None,
        kinds: Sequence[str] | None = None,
        facts: Policy = "annotate",
        hint_facts: bool = False,
        long: LongMode = "truncate",
        sampling: Sampling | None = None,
        measured: Facts | None = None,
        limits: Limits = DEFAULT_LIMITS,
        isolated: bool = False,
    ) -> Description:
        """Describe a path, the bytes of a file, a binary file object or a Waveform.

        One text for each of `kinds` (None: all) of `prompts` (None: the set `standard`). With a
        model: `facts` says what becomes of a number in its text that measuring contradicts,
        `hint_facts` puts the measured values into the prompts, `long` says how a recording beyond
        its cap is heard. `measured` spares the measuring where it was done before. `limits` and
        `isolated` are those of `audio.open_stream`.
        """
        from antiphon.analysis import measure

        prompts = prompts or load_prompt_set("standard")
        chosen = prompts.select(kinds)
        _check(facts, long)
        if self._engine is None:
            _check_written_from_facts(prompts, chosen)  # before the work of measuring
        settings: dict[str, Setting] = {"set": prompts.name, "kinds": ",".join(chosen)}
        sampling = sampling or self._sampling
        with readable_twice(source, limits) as again:
            measured = measured or measure(again, limits=limits, isolated=isolated)
            tags = None
            if self._ear is not None:
                tags = self._ear.hear(again, measured, limits, isolated=isolated)
            if self._engine is None:
                limits_of_words = {kind: prompts.kinds[kind].max_words for kind in chosen}
                return Description(
                    path=measured.path,
                    texts=describe(measured, tags, limits_of_words),
                    facts=measured,
                    provenance=self._provenance(settings),
                    heard=tags,
                )
            from antiphon.listen.asking import write_texts

            heard = plan_parts(measured.duration_seconds, self._engine.info.cap_seconds, long)
            texts = write_texts(
                self._engine,
                read_clips(again, heard, limits, isolated=isolated),
                {kind: prompts.kinds[kind] for kind in chosen},
                sampling,
                measured,
                facts,
                hint_facts=hint_facts,
            )
        settings |= {"facts": facts, "hint_facts": hint_facts, "long": long}
        return Description(
            path=measured.path,
            texts={kind: asked.text for kind, asked in texts.items()},
            facts=measured,
            provenance=self._provenance(settings, sampling),
            claims=tuple(claim for asked in texts.values() for claim in asked.claims),
            heard=tags,
            notes=(*heard.notes, *(note for asked in texts.values() for note in asked.notes)),
        )

    def hear(
        self,
        source: Source | Waveform | Track,
        *,
        facts: Policy = "annotate",
        hint_facts: bool = False,
        long: LongMode = "truncate",
        measured: Facts | None = None,
        limits: Limits = DEFAULT_LIMITS,
        isolated: bool = False,
    ) -> Track:
        """Read and measure a recording once, for several questions; `measured` spares the measuring
        where it was done before."""
        if isinstance(source, Track):
            source.require_for(model=self._engine is not None)
            return source
        _check(facts, long)
        if self._engine is None:
            return track_by_ear(source, self._ear, limits, isolated=isolated, measured=measured)
        return track_for_model(
            source,
            self._engine.info.cap_seconds,
            long,
            limits,
            isolated=isolated,
            measured=measured if facts != "off" or hint_facts else "not",
        )

    def ask(
        self,
        source: Source | Waveform | Track,
        question: str,
        *,
        facts: Policy = "annotate",
        hint_facts: bool = False,
        long: LongMode = "truncate",
        sampling: Sampling | None = None,
        schema: Mapping[str, object] | None = None,
        on_token: OnToken | None = None,
        limits: Limits = DEFAULT_LIMITS,
        isolated: bool = False,
    ) -> Reply:
        """Answer one question about a recording; the options are those of `describe`.

        Without a model the answer comes from what is measured and heard, and the options of models
        change nothing. `schema` asks for JSON of that JSON schema. `on_token` gets the answer piece
        by piece, as the model wrote it. Of a recording in several parts the answers follow each
        other, each headed by its times.
        """
        engine = self._engine
        if engine is None and schema is not None:
            self._needed("an answer as JSON of a schema")
        if not question.strip():
            raise ConfigError("the question is empty; ask something about the recording")
        track = self.hear(
            source, facts=facts, hint_facts=hint_facts, long=long, limits=limits, isolated=isolated
        )
        if engine is None:
            return self._answered(question, track, (), on_token)
        from antiphon.listen.asking import answer_question

        sampling = sampling or self._sampling
        asked = answer_question(
            engine,
            track.clips,
            Question(question, schema=schema),
            sampling,
            track.facts,
            facts,
            hint_facts=hint_facts,
            on_token=on_token,
        )
        applied = facts if track.facts is not None else "off"
        settings: dict[str, Setting] = {"facts": applied, "hint_facts": hint_facts, "long": long}
        return Reply(
            path=track.path,
            question=question,
            answer=asked.text,
            claims=asked.claims,
            provenance=self._provenance(settings, sampling),
            notes=(*track.notes, *asked.notes),
            thoughts=asked.thoughts,
        )

    def ask_raw(
        self,
        source: Source | Waveform | Track | None,
        prompt: str,
        *,
        sampling: Sampling | None = None,
        limits: Limits = DEFAULT_LIMITS,
        isolated: bool = False,
    ) -> Reply:
        """Continue a prompt of one's own, to which no template is applied.

        Its `<sound>` stand for the audio. Raises ConfigError when their number is not what the
        model's processor expects.
        """
        engine = self._needed("continuing a raw prompt")
        track = None
        if source is not None:
            track = self.hear(source, facts="off", limits=limits, isolated=isolated)
        sampling = sampling or self._sampling
        answer = engine.raw(track.clips[0] if track else None, prompt, sampling)
        return self._reply(prompt, answer, sampling, track)

    def chat(
        self,
        messages: Sequence[Message | Mapping[str, object]],
        *,
        facts: Policy = "annotate",
        sampling: Sampling | None = None,
        on_token: OnToken | None = None,
        limits: Limits = DEFAULT_LIMITS,
        isolated: bool = False,
    ) -> Reply:
        """The next turn of a conversation.

        `messages` are `{"role": "user", "content": …}` as chat templates take them: text, or a
        list of `{"type": "text", "text": …}` and `{"type": "audio", "audio": …}` with a path, the
        bytes of a file, a Waveform or a Track. One recording in a conversation.
        """
        (reply,) = self._converse([messages], facts, sampling, on_token, limits, isolated)
        return reply

    def batch(
        self,
        conversations: Sequence[Sequence[Message | Mapping[str, object]]],
        *,
        facts: Policy = "annotate",
        sampling: Sampling | None = None,
        limits: Limits = DEFAULT_LIMITS,
        isolated: bool = False,
    ) -> list[Reply]:
        """The next turn of each conversation, at once where the engine can."""
        return self._converse(conversations, facts, sampling, None, limits, isolated)

    def settings_key(
        self,
        prompts: PromptSet | None = None,
        kinds: Sequence[str] | None = None,
        *,
        facts: Policy = "annotate",
        hint_facts: bool = False,
        long: LongMode = "truncate",
        sampling: Sampling | None = None,
    ) -> str:
        """Everything but the recording and the prompts that a result depends on, as one stable
        line of text.

        Raises ConfigError as `describe` does, so that a long run can ask before it begins.
        """
        prompts = prompts or load_prompt_set("standard")
        chosen = prompts.select(kinds)
        _check(facts, long)
        key: dict[str, object] = {
            "model": MODEL if self._ear is None else TRAINED_MODEL,
            "version": antiphon.__version__,
            "analysis": ANALYSIS_VERSION,
            "describer": DESCRIBER_VERSION,
            "ear": self._ear.revision if self._ear is not None else None,
            "set": prompts.name,
        }
        if self._engine is None:
            _check_written_from_facts(prompts, chosen)
        else:
            # Not the cap, where memory decides it, nor the revision, which another pull into the
            # same folder can change: a run that goes on would begin anew.
            info = asdict(self._engine.info)
            del info["cap_seconds"], info["revision"]
            key |= {
                "model": info,
                "describer": ASKING_VERSION,
                "asked": [facts, hint_facts, long, asdict(sampling or self._sampling)],
            }
        return json.dumps(key, ensure_ascii=False)

    def _converse(
        self,
        conversations: Iterable[Sequence[Message | Mapping[str, object]]],
        facts: Policy,
        sampling: Sampling | None,
        on_token: OnToken | None,
        limits: Limits,
        isolated: bool,
    ) -> list[Reply]:
        from antiphon.listen.conversation import read_messages

        _check(facts, "truncate")
        engine = self._engine
        sampling = sampling or self._sampling

        def hear(source: Source | Waveform | Track) -> Track:
            track = self.hear(source, facts=facts, limits=limits, isolated=isolated)
            if len(track.clips) > 1:
                raise ConfigError(
                    f"the recording was heard in {len(track.clips)} parts, and a conversation "
                    "takes one; hear it with long='truncate', or the part you mean by itself"
                )
            return track

        read = [read_messages(messages, hear) for messages in conversations]
        if engine is None:
            return [self._next_turn(messages, track, on_token) for messages, track in read]
        answers = engine.chat([messages for messages, _ in read], sampling, on_token)
        return [
            self._reply(messages[-1].text, answer, sampling, track, facts)
            for (messages, track), answer in zip(read, answers, strict=True)
        ]

    def _next_turn(
        self, messages: Sequence[Message], track: Track | None, on_token: OnToken | None
    ) -> Reply:
        """The next turn of a conversation, without a model."""
        if track is None:  # else the turn with the recording may be without words
            heard_in(messages)
        elif messages[-1].role != "user":
            raise ConfigError(
                f"the conversation ends with a message of the {messages[-1].role}; expected a "
                "message of the user at its end"
            )
        asked = [message.text for message in messages if message.role == "user"]
        question = asked[-1] if asked[-1].strip() else "Describe it."
        return self._answered(question, track, asked[:-1], on_token)

    def _answered(
        self,
        question: str,
        track: Track | None,
        earlier: Sequence[str],
        on_token: OnToken | None,
    ) -> Reply:
        """An answer of the question grammar; the first of a conversation says that it is one."""
        from antiphon.listen.questions import GRAMMAR_VERSION, NOT_A_MODEL, answer

        facts, heard = (None, None) if track is None else (track.facts, track.heard)
        text = answer(question, facts, heard, earlier).text
        if on_token is not None:
            on_token(text)
        return Reply(
            path=track.path if track else None,
            question=question,
            answer=text,
            claims=(),
            provenance=self._provenance({"grammar": GRAMMAR_VERSION}),
            notes=() if earlier else (NOT_A_MODEL,),
        )

    def _reply(
        self,
        question: str,
        answer: Answer,
        sampling: Sampling,
        track: Track | None,
        facts: Policy = "off",
    ) -> Reply:
        from antiphon.listen.asking import checked_answer

        asked = checked_answer(answer, track.facts if track else None, facts)
        return Reply(
            path=track.path if track else None,
            question=question,
            answer=asked.text,
            claims=asked.claims,
            provenance=self._provenance({"facts": facts}, sampling),
            notes=(*(track.notes if track else ()), *asked.notes),
            thoughts=asked.thoughts,
        )

    def _needed(self, what: str) -> ListenerEngine:
        if self._engine is None:
            raise ModelMissingError(
                f"{what} needs a listening model, and none was named; expected --model with a GGUF "
                "file, a checkpoint folder, a hub name or an address; `antiphon models ls --all` "
                "lists what can be got"
            )
        return self._engine

    def _provenance(
        self, settings: Mapping[str, Setting], sampling: Sampling | None = None
    ) -> Provenance:
        if self._engine is None:
            ear, version = self._ear, antiphon.__version__
            if ear is None:
                return Provenance(MODEL, None, LICENCE, settings, version)
            return Provenance(TRAINED_MODEL, ear.revision, ear.heads.licence, settings, version)
        info = self._engine.info
        return Provenance(
            info.model,
            info.revision,
            info.licence,
            {
                **settings,
                "engine": info.engine,
                **info.settings,
                **asdict(sampling or self._sampling),
            },
            antiphon.__version__,
        )


def _check_written_from_facts(prompts: PromptSet, kinds: Sequence[str]) -> None:
    """Raise ConfigError for a kind that needs a model."""
    check_kinds(kinds)
    for kind in kinds:
        if prompts.kinds[kind].schema is not None:
            raise ConfigError(
                f"kind {kind!r} of the set {prompts.name!r} is JSON of a schema, which needs a "
                "model; expected --model, or a set without schemas such as standard"
            )


def _check(facts: str, long: str) -> None:
    if facts not in POLICIES:
        raise ConfigError(f"facts is {facts!r}; expected one of {', '.join(POLICIES)}")
    if long not in LONG_MODES:
        raise ConfigError(f"long is {long!r}; expected one of {', '.join(LONG_MODES)}")
