"""A piece by the names of the options of `generate`, as a command line, a row or a session has it.

Values may be typed, as JSON has them, or text, as a CSV file or a person gives them. Knows no model
and no terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.compose.requests import MAX_SEED, Request, Section
from antiphon.compose.sampling import Sampling
from antiphon.controls import OPTION_NAMES, Controls, number, whole_number
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.audio import Recording
    from antiphon.compose.forms import Form

Options = Mapping[str, object]

RECORDINGS = ("continue", "melody")
FILES = (*RECORDINGS, "from_score")
FLAGS = ("intro", "ending")
LENGTHS = ("duration", "bars", "sections", "loop_bars")  # a piece has one of them
_SAMPLING = ("temperature", "top_k", "top_p", "guidance", "score_guidance")
_FORM = ("format", "sample_rate", "bit_depth", "channels", "loudness", "fade_out")
_CHOOSING = ("candidates",)
NAMES = (
    *OPTION_NAMES, "section", "negative", *FILES, "loop_bars", *_CHOOSING, *_SAMPLING, *_FORM
)  # fmt: skip
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
MAX_CANDIDATES = 16
_SLUG_WORDS, _SLUG_LETTERS = 6, 60


def merged(base: Options, given: Options) -> dict[str, object]:
    """`base` with `given` over it; a length of any kind takes the place of one of another kind."""
    if any(name in given for name in LENGTHS):
        base = {name: value for name, value in base.items() if name not in LENGTHS}
    return {**base, **given}


def request_of(prompt: str, seed: int, options: Options, max_seconds: float) -> Request:
    """The request for one piece; recordings of up to `max_seconds` are read.

    Raises ConfigError for values that are not accepted, AudioError or StorageError for recordings.
    """
    controls = {name: options[name] for name in OPTION_NAMES if name in options}
    controls |= {name: _flag(options, name) for name in FLAGS if name in options}
    score = None
    if (path := _text(options, "from_score")) is not None:
        from antiphon.compose.own_scores import read_score

        score = read_score(Path(path))
    continued, melody = (_recording(options, name, max_seconds) for name in RECORDINGS)
    return Request(
        prompt,
        seed,
        Controls.from_options(controls),
        _sampling(options),
        _text(options, "negative"),
        _sections(options),
        None if continued is None else continued.waveform,
        None if melody is None else melody.waveform,
        score,
        whole_number(options, "loop_bars"),
        damage=tuple(
            f"{options[name]}: {problem}"
            for name, found in zip(RECORDINGS, (continued, melody), strict=True)
            if found is not None
            for problem in found.damage.problems
        ),
    )


def requests_of(
    prompt: str, seed: int, options: Options, max_seconds: float
) -> tuple[Request, ...]:
    """The request for one piece and, where several candidates are asked for, the same with the
    seeds after its own: any of them alone gives the same piece. Raises as `request_of` does."""
    count = whole_number(options, "candidates")
    if count is not None and not 1 <= count <= MAX_CANDIDATES:
        raise ConfigError(f"candidates is {count}; expected 1 to {MAX_CANDIDATES}")
    request = request_of(prompt, seed, options, max_seconds)
    seeds = [(seed + number) % (MAX_SEED + 1) for number in range(count or 1)]
    return tuple(replace(request, seed=seed) for seed in seeds)


def form_of(path: Path, options: Options) -> Form:
    """The form of the file. Raises ConfigError for values that no file takes."""
    from antiphon.compose.forms import Form

    return Form(
        path,
        _text(options, "format"),
        whole_number(options, "sample_rate"),
        whole_number(options, "bit_depth"),
        whole_number(options, "channels"),
        number(options, "loudness"),
        number(options, "fade_out") or 0.0,
    )


def seed_of(value: object) -> int:
    """A seed from a number or its text: exact, where a float would round a long one."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass  # the message below names the value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ConfigError(f"seed is {value!r:.50}; expected a whole number, 0 or more")


def slug(prompt: str) -> str:
    """The first words of a prompt as a part of a file name."""
    words = re.findall(r"\w+", prompt.lower())[:_SLUG_WORDS]
    return "-".join(words)[:_SLUG_LETTERS] or "piece"


def suggestion(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the nearest of the known names, or nothing."""
    close = get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def _sampling(options: Options) -> Sampling:
    usual = Sampling()
    temperature, top_p = number(options, "temperature"), number(options, "top_p")
    guidance = number(options, "guidance")
    return Sampling(
        usual.temperature if temperature is None else temperature,
        whole_number(options, "top_k"),
        usual.top_p if top_p is None else top_p,
        usual.guidance if guidance is None else guidance,
        number(options, "score_guidance"),
    )


def _sections(options: Options) -> tuple[Section, ...]:
    """From a list, or from one text with `;` between the sections."""
    value = options.get("section", ())
    texts = value.split(";") if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        raise ConfigError(f"section is {value!r:.50}; expected TEXT@SECONDS, or a list of such")
    return tuple(map(_section, texts))


def _section(text: object) -> Section:
    prompt, at, seconds = text.rpartition("@") if isinstance(text, str) else ("", "", "")
    try:
        if at and prompt.strip():
            return Section(prompt.strip(), float(seconds))
    except ValueError:
        pass  # the message below names it
    raise ConfigError(
        f"section {text!r} is not understood; expected TEXT@SECONDS such as 'quiet verse@8'"
    )


def _recording(options: Options, name: str, max_seconds: float) -> Recording | None:
    path = _text(options, name)
    if path is None:
        return None
    from antiphon.audio import Limits, read

    return read(path, limits=Limits(max_seconds=max_seconds))


def _text(options: Options, name: str) -> str | None:
    value = options.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ConfigError(f"{name} is {value!r:.50}; expected text")


def _flag(options: Options, name: str) -> bool:
    value = options[name]
    truth = _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else value
    if isinstance(truth, bool):
        return truth
    raise ConfigError(f"{name} is {value!r:.50}; expected true or false")
