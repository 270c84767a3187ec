"""From a model's answers to the texts of a description: limits kept, parts joined, claims checked.

Knows no engine but by its seam, and reads no file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from antiphon.description import Claim
from antiphon.facts import Facts, Spans
from antiphon.listen.claims import Policy, check_text
from antiphon.listen.claims.reading import sentences
from antiphon.listen.describer import count_words
from antiphon.listen.engines import Answer, ListenerEngine, OnToken, Question, Sampling
from antiphon.listen.phrases import clock
from antiphon.listen.prompts import Prompt
from antiphon.listen.windows import Clip

Schema = Mapping[str, object]

_FINISHED = re.compile(r"[.!?][\"')\]]*\s*$")
_HINT_CONFIDENCE = 0.5
_RETRY_TEMPERATURE = 0.7  # what repeats itself when greedy needs another way through
_ENDINGS = {
    "length": "cut at its limit of tokens",
    "repetition": "it repeats itself",
    "cancelled": "cancelled before its end",
}
_NOTHING_LEFT = "nothing is left: every sentence had a claim that measuring contradicts"


@dataclass(frozen=True)
class Asked:
    """One text: what is said, the claims in it, and what was done otherwise than asked."""

    text: str
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]
    thoughts: str | None = None


def write_texts(
    engine: ListenerEngine,
    clips: Iterable[Clip],
    prompts: Mapping[str, Prompt],
    sampling: Sampling,
    facts: Facts,
    policy: Policy,
    *,
    hint_facts: bool,
) -> dict[str, Asked]:
    """One text for each of `prompts` by kind, from one hearing of each clip.

    The texts of several clips follow each other, each headed by its times. A text over its limit
    of words, or one that repeats itself, is asked for once more, and then cut.
    """
    parts: list[tuple[Clip, dict[str, Asked]]] = []
    for clip in clips:
        facts_here = facts_within(facts, clip)
        hint = f"\n\n{hint_of(facts_here)}" if hint_facts else ""
        answers = _answers(engine, clip, prompts, sampling, hint)
        checked = {
            kind: _checked(kind, answers[kind], prompts[kind], facts_here, policy)
            for kind in prompts
        }
        parts.append((clip, checked))
        if any(answer.finish == "cancelled" for answer in answers.values()):
            break
    joined = {
        kind: _joined([(clip, texts[kind]) for clip, texts in parts], prompt.schema is not None)
        for kind, prompt in prompts.items()
    }
    return {
        kind: replace(asked, notes=tuple(f"{kind}: {note}" for note in asked.notes))
        for kind, asked in joined.items()
    }


def answer_question(
    engine: ListenerEngine,
    clips: Sequence[Clip],
    question: Question,
    sampling: Sampling,
    facts: Facts | None,
    policy: Policy,
    *,
    hint_facts: bool,
    on_token: OnToken | None,
) -> Asked:
    """One answer from each clip, joined as `write_texts` does."""
    parts = []
    for clip in clips:
        facts_here = None if facts is None else facts_within(facts, clip)
        asked = question
        if facts_here is not None and hint_facts:
            asked = replace(question, text=f"{question.text}\n\n{hint_of(facts_here)}")
        (answer,) = engine.answer(clip, [asked], sampling, on_token)
        parts.append((clip, checked_answer(answer, facts_here, policy, question.schema)))
        if answer.finish == "cancelled":
            break
    return _joined(parts, question.schema is not None)


def checked_answer(
    answer: Answer, facts: Facts | None, policy: Policy, schema: Schema | None = None
) -> Asked:
    """An answer as it came, with its claims checked where there is something to check them by."""
    notes = [*answer.notes, *_endings(answer)]
    if facts is None:
        notes += _schema_notes(answer.text, schema, (), policy)
        return Asked(answer.text.strip(), (), tuple(notes), answer.thoughts)
    checked = check_text("answer", answer.text.strip(), facts, _policy_with(schema, policy))
    notes += _schema_notes(answer.text, schema, checked.claims, policy)
    if not checked.text and answer.text.strip():
        notes.append(_NOTHING_LEFT)
    return Asked(checked.text, checked.claims, tuple(notes), answer.thoughts)


def hint_of(facts: Facts) -> str:
    """The measured facts that are sure, as one sentence for a prompt."""
    known = [f"length {clock(facts.duration_seconds)}"]
    if facts.tempo.bpm is not None and facts.tempo.confidence >= _HINT_CONFIDENCE:
        known.append(f"tempo {facts.tempo.bpm:.0f} BPM")
    if facts.metre.beats_per_bar is not None and facts.metre.confidence >= _HINT_CONFIDENCE:
        known.append(f"{facts.metre.beats_per_bar} beats per bar")
    if facts.key.name is not None and facts.key.confidence >= _HINT_CONFIDENCE:
        known.append(f"key {facts.key.name}")
    if facts.loudness.integrated_lufs is not None:
        known.append(f"loudness {facts.loudness.integrated_lufs:.1f} LUFS")
    return f"Measured in this recording, use these values and no others: {', '.join(known)}."


def facts_within(facts: Facts, clip: Clip) -> Facts:
    """The facts as a clip has them: section times from its start; all else is the recording's."""
    if clip.start_seconds == 0.0 and clip.stop_seconds >= facts.duration_seconds - 1.0:
        return facts
    spans = facts.sections.spans
    if spans is not None:
        spans = tuple(
            replace(
                span,
                start_seconds=max(span.start_seconds - clip.start_seconds, 0.0),
                end_seconds=min(span.end_seconds - clip.start_seconds, clip.duration_seconds),
            )
            for span in spans
            if span.end_seconds > clip.start_seconds and span.start_seconds < clip.stop_seconds
        )
    sections = Spans(spans, facts.sections.confidence, facts.sections.reason)
    return replace(facts, sections=sections)


def cut_to_words(text: str, most: int) -> str:
    """As many whole sentences as the limit allows, or else as many words of the first."""
    fitting = [text[:end] for end in _sentence_ends(text) if count_words(text[:end]) <= most]
    if fitting:
        return fitting[-1]
    words = text.split()
    while words and count_words(" ".join(words)) > most:
        words.pop()
    return " ".join(words).rstrip(",;:-") + "." if words else ""


def cut_to_sentence(text: str) -> str:
    """Without the unfinished sentence at the end, if anything is then left."""
    ends = _sentence_ends(text)
    return text[: ends[-1]] if ends else text


def _sentence_ends(text: str) -> list[int]:
    """Where sentences end that have their full stop; an abbreviation's is none."""
    return [
        len(text[: sentence.stop].rstrip())
        for sentence in sentences(text)
        if _FINISHED.search(text[sentence.start : sentence.stop])
    ]


def _answers(
    engine: ListenerEngine,
    clip: Clip,
    prompts: Mapping[str, Prompt],
    sampling: Sampling,
    hint: str,
) -> dict[str, Answer]:
    questions = [Question(p.prompt + hint, p.max_tokens, p.schema) for p in prompts.values()]
    answers = dict(zip(prompts, engine.answer(clip, questions, sampling), strict=True))
    too_long = [kind for kind in prompts if _exceeds(answers[kind], prompts[kind])]
    _ask_again(
        engine, clip, answers, sampling,
        {
            kind: Question(
                f"{prompts[kind].prompt} Answer in at most {prompts[kind].max_words} words.{hint}",
                prompts[kind].max_tokens,
            )
            for kind in too_long
        },
        "asked again for a shorter text",
    )  # fmt: skip
    repeating = [kind for kind in prompts if answers[kind].finish == "repetition"]
    _ask_again(
        engine, clip, answers,
        replace(
            sampling,
            temperature=max(sampling.temperature, _RETRY_TEMPERATURE),
            seed=sampling.seed + 1,
        ),
        {kind: question for kind, question in zip(prompts, questions, strict=True)
         if kind in repeating},
        "asked again because it repeated itself",
    )  # fmt: skip
    return answers


def _ask_again(
    engine: ListenerEngine,
    clip: Clip,
    answers: dict[str, Answer],
    sampling: Sampling,
    questions: Mapping[str, Question],
    why: str,
) -> None:
    if not questions:
        return
    again = engine.answer(clip, list(questions.values()), sampling)
    for kind, answer in zip(questions, again, strict=True):
        notes = (*answers[kind].notes, why, *answer.notes)
        answers[kind] = replace(answer, notes=notes)


def _exceeds(answer: Answer, prompt: Prompt) -> bool:
    return (
        prompt.max_words is not None
        and answer.finish not in ("repetition", "cancelled")
        and count_words(answer.text) > prompt.max_words
    )


def _checked(kind: str, answer: Answer, prompt: Prompt, facts: Facts, policy: Policy) -> Asked:
    text = answer.text.strip()
    notes = [*answer.notes, *_endings(answer)]
    if answer.finish == "length" and prompt.schema is None:
        text = cut_to_sentence(text)
    if prompt.max_words is not None and count_words(text) > prompt.max_words:
        text = cut_to_words(text, prompt.max_words)
        notes.append(f"cut to {prompt.max_words} words")
    checked = check_text(kind, text, facts, _policy_with(prompt.schema, policy))
    notes += _schema_notes(text, prompt.schema, checked.claims, policy)
    if not checked.text and text:
        notes.append(_NOTHING_LEFT)
    if prompt.max_words is not None and count_words(checked.text) > prompt.max_words:
        notes.append(f"over {prompt.max_words} words by the marks of what was corrected")
    return Asked(checked.text, checked.claims, tuple(notes))


def _endings(answer: Answer) -> list[str]:
    """What there is to say of how an answer ended."""
    notes = [_ENDINGS[answer.finish]] if answer.finish in _ENDINGS else []
    if not answer.text.strip():
        notes.append("the model wrote nothing")
    return notes


def _policy_with(schema: Schema | None, policy: Policy) -> Policy:
    """Corrected or shortened, a text would keep to its schema no longer."""
    return "annotate" if schema is not None and policy != "off" else policy


def _schema_notes(
    text: str, schema: Schema | None, claims: Sequence[Claim], policy: Policy
) -> list[str]:
    """What is wrong with a text that should be JSON, and what was not done to it."""
    if schema is None:
        return []
    notes = []
    value = _parsed(text)
    required = schema.get("required")
    if value is None:
        notes.append("not JSON, as its schema asks")
    elif schema.get("type") == "object" and not isinstance(value, dict):
        notes.append("no JSON object, as its schema asks")
    elif isinstance(value, dict) and isinstance(required, Sequence):
        missing = [name for name in required if name not in value]
        notes += [f"has no {name!r}, as its schema asks" for name in missing]
    if policy in ("correct", "drop") and any(c.verdict == "contradicted" for c in claims):
        notes.append(f"contradicted values stand: {policy} does not touch JSON")
    return notes


def _parsed(text: str) -> object:
    """The value of a text that is JSON; None for another (and for null)."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def _joined(parts: Sequence[tuple[Clip, Asked]], is_json: bool) -> Asked:
    """The texts of the parts in their order, headed by their times unless there is but the
    beginning; of JSON texts one list of `{start_seconds, stop_seconds, answer}`."""
    if len(parts) == 1 and parts[0][0].start_seconds == 0.0:
        return parts[0][1]
    return Asked(
        text=_list_of(parts) if is_json else _sequence_of(parts),
        claims=tuple(claim for _, asked in parts for claim in asked.claims),
        notes=tuple(
            f"{clock(clip.start_seconds)}: {note}" for clip, asked in parts for note in asked.notes
        ),
        thoughts="\n".join(asked.thoughts for _, asked in parts if asked.thoughts) or None,
    )


def _sequence_of(parts: Sequence[tuple[Clip, Asked]]) -> str:
    return " ".join(
        f"{clock(clip.start_seconds)}-{clock(clip.stop_seconds)}: {asked.text}"
        for clip, asked in parts
        if asked.text
    )


def _list_of(parts: Sequence[tuple[Clip, Asked]]) -> str:
    """A text that is no JSON stays a string."""
    return json.dumps(
        [
            {
                "start_seconds": clip.start_seconds,
                "stop_seconds": clip.stop_seconds,
                "answer": asked.text if (value := _parsed(asked.text)) is None else value,
            }
            for clip, asked in parts
        ],
        ensure_ascii=False,
    )
