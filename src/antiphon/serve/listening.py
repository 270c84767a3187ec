"""What the owner of a listener does: measurements, descriptions, answers; a recording that several
ask about is heard once.

The recording lies in the task's folder as `input`; it is decoded in a process that may die of it.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from antiphon.audio import Limits
from antiphon.description import Description, Policy
from antiphon.errors import AntiphonError, ConfigError
from antiphon.listen.claims import find_claims, judge
from antiphon.listen.claims.reading import Moment
from antiphon.listen.engines import Sampling
from antiphon.listen.listener import Listener
from antiphon.listen.prompts import Prompt, PromptSet, load_prompt_set
from antiphon.listen.windows import SAMPLE_RATE, audio_tokens
from antiphon.serve.problems import problem_of
from antiphon.serve.tasks import INPUT, Result, Running, Task

if TYPE_CHECKING:
    from antiphon.facts import Facts
    from antiphon.listen.tracks import Track

MOST_AT_ONCE = 16  # of one recording, one after the other
_TRACKS_KEPT = 8

logger = logging.getLogger(__name__)


class ListenerWork:
    """Implements `tasks.Work`."""

    most_at_once = MOST_AT_ONCE
    lanes = 1  # engines take one call at a time

    def __init__(self, listener: Listener, decoding: Limits) -> None:
        self._listener = listener
        self._decoding = decoding
        # By what is in the file, and by whether it was measured, too.
        self._tracks: OrderedDict[tuple[str, bool], Track] = OrderedDict()
        self._facts: OrderedDict[str, Facts] = OrderedDict()

    def run(self, tasks: Sequence[Running]) -> None:
        """See `Work`."""
        does = {
            "measurement": self._measure,
            "description": self._describe,
            "answer": self._answer,
        }
        for running in tasks:
            if running.is_stopped:
                continue
            try:
                running.done(does[running.task.kind](running))
            except AntiphonError as error:
                logger.info("task %s failed", running.task.id, exc_info=error)
                running.failed(problem_of(error, running.task.id))

    def cancel(self) -> None:
        """See `Work`."""
        self._listener.cancel()

    def close(self) -> None:
        """See `Work`."""
        self._listener.close()

    def _measure(self, running: Running) -> Result:
        from antiphon.analysis import measure

        task = running.task
        if task.request.get("pitch"):
            with _opened(task) as file:
                facts = measure(file, pitch=True, limits=self._decoding, isolated=True)
        else:
            facts = self._measured(task)
        facts = facts.with_path(_name(task))
        return Result(json.loads(facts.to_json()), _summary(facts))

    def _measured(self, task: Task) -> Facts:
        """The facts, which are kept for whoever asks next."""
        from antiphon.analysis import measure

        digest = _digest(task)
        if digest not in self._facts:
            with _opened(task) as file:
                self._facts[digest] = measure(file, limits=self._decoding, isolated=True)
        facts: Facts = _kept(self._facts, digest)
        return facts

    def _describe(self, running: Running) -> Result:
        task = running.task
        asked = task.request
        described: Description
        measured = self._measured(task)
        running.progress(0.5)
        with _opened(task) as file:
            described = self._listener.describe(
                file,
                prompts=_prompts(asked),
                kinds=_list(asked.get("kinds")),
                facts=_policy(asked),
                hint_facts=bool(asked.get("hint_facts")),
                long=asked.get("long") or "truncate",  # type: ignore[arg-type]
                sampling=_sampling(asked),
                measured=measured,
                limits=self._decoding,
                isolated=True,
            )
        name = _name(task)
        described = replace(described, path=name, facts=described.facts.with_path(name))
        value = json.loads(described.to_json()) | {"marks": marks_of(described)}
        heard = described.heard
        summary = _summary(described.facts) | {
            "genre": heard.genre[0].name if heard and heard.genre else None,
            "energy": heard.energy if heard else None,
        }
        return Result(value, summary)

    def _answer(self, running: Running) -> Result:
        task = running.task
        asked = task.request
        policy = _policy(asked)
        track = self._track(task, measured=policy != "off")
        messages = _messages(asked, track)
        schema = asked.get("schema")
        sampling = _sampling(asked)
        if isinstance(schema, Mapping):
            # A schema is asked of one question; what was said before goes before it.
            reply = self._listener.ask(
                track or _needs_sound(), _joined(messages), schema=schema, sampling=sampling,
                facts=policy,
            )  # fmt: skip
        else:
            reply = self._listener.chat(
                messages, facts=policy, sampling=sampling, on_token=running.say
            )
        name = _name(task) if track is not None else None
        reply = replace(reply, path=name)
        value: dict[str, Any] = json.loads(reply.to_json())
        value |= {"heard_tokens": _audio_tokens(track), "facts": None, "heard": None}
        if asked.get("with_facts") and track is not None and track.facts is not None:
            value["facts"] = json.loads(track.facts.with_path(name).to_json())
            if track.heard is not None:
                described = Description(None, {}, track.facts, reply.provenance, heard=track.heard)
                value["heard"] = json.loads(described.to_json())["heard"]
        return Result(value, {"question": reply.question[:200], "answer": reply.answer[:200]})

    def _track(self, task: Task, *, measured: bool) -> Track | None:
        if "digest" not in task.request:
            return None
        key = _digest(task), measured
        if key not in self._tracks:
            known = self._measured(task) if measured else None
            with _opened(task) as file:
                self._tracks[key] = self._listener.hear(
                    file, facts="annotate" if measured else "off", measured=known,
                    limits=self._decoding, isolated=True,
                )  # fmt: skip
        track: Track = _kept(self._tracks, key)
        return track


def marks_of(described: Description) -> dict[str, list[dict[str, object]]]:
    """Every claim in the texts, with its place in the text, the verdict, and the second of the
    recording that it speaks of; found in what is said, whoever wrote it."""
    return {
        kind: [
            {
                "start": found.start,
                "end": found.stop,
                "quantity": found.quantity,
                "said": text[found.start : found.stop],
                "measured": judgement.measured,
                "verdict": judgement.verdict,
                "seconds": found.value.seconds if isinstance(found.value, Moment) else None,
            }
            for found in find_claims(text)
            for judgement in [judge(found, described.facts)]
        ]
        for kind, text in described.texts.items()
    }


def _messages(asked: Mapping[str, object], track: Track | None) -> list[Mapping[str, object]]:
    """The conversation; the recording goes where the request had it."""
    turns = asked["messages"]
    assert isinstance(turns, list), "checked when it was accepted"
    read: list[Mapping[str, object]] = []
    for turn in turns:
        content: object = turn["text"]
        if turn.get("has_audio"):
            assert track is not None, "a recording in the folder"
            content = [{"type": "audio", "audio": track}, {"type": "text", "text": turn["text"]}]
        read.append({"role": turn["role"], "content": content})
    return read


def _joined(messages: Sequence[Mapping[str, object]]) -> str:
    texts = []
    for message in messages:
        content = message["content"]
        text = content if isinstance(content, str) else content[-1]["text"]  # type: ignore[index]
        texts.append(text if len(messages) == 1 else f"{message['role']}: {text}")
    return "\n".join(texts)


def _needs_sound() -> Track:
    raise ConfigError("an answer as JSON of a schema is about a recording; expected one")


def _audio_tokens(track: Track | None) -> int:
    if track is None or track.facts is None:
        return 0
    if track.clips:
        return sum(audio_tokens(len(clip.samples)) for clip in track.clips)
    return audio_tokens(round(track.facts.duration_seconds * SAMPLE_RATE))


def _prompts(asked: Mapping[str, object]) -> PromptSet | None:
    prompt, name = asked.get("prompt"), asked.get("set")
    if prompt is not None:
        return PromptSet("prompt", {"answer": Prompt(str(prompt))})
    return None if name is None else load_prompt_set(str(name))


def _sampling(asked: Mapping[str, object]) -> Sampling:
    given = asked.get("sampling") or {}
    assert isinstance(given, Mapping), "checked when it was accepted"
    return Sampling(**given)


def _policy(asked: Mapping[str, object]) -> Policy:
    return asked.get("facts") or "annotate"  # type: ignore[return-value]


def _list(value: object) -> list[str] | None:
    return [str(one) for one in value] if isinstance(value, list) and value else None


def _opened(task: Task) -> BinaryIO:
    """The recording as a file without a name, so that no message holds a path of ours."""
    return cast(BinaryIO, (task.folder / INPUT).open("rb", buffering=0))


def _digest(task: Task) -> str:
    return str(task.request["digest"])


def _name(task: Task) -> str:
    return str(task.request.get("filename") or "audio")


def _summary(facts: Facts) -> dict[str, object]:
    return {
        "duration_seconds": facts.duration_seconds,
        "tempo": facts.tempo.bpm,
        "key": facts.key.name,
        "metre": facts.metre.beats_per_bar,
        "loudness": facts.loudness.integrated_lufs,
    }


def _kept(kept: OrderedDict[Any, Any], key: object) -> Any:
    """What was found, as the last that was used; the oldest goes."""
    kept.move_to_end(key)
    while len(kept) > _TRACKS_KEPT:
        kept.popitem(last=False)
    return kept[key]
