"""Prompt sets: what is packaged, and what a user's file may and may not say."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from antiphon.errors import ConfigError, StorageError
from antiphon.listen.prompts import BUILT_IN_SETS, Prompt, PromptSet, load_prompt_set

pytestmark = pytest.mark.unit


def test_packaged_sets_have_the_promised_kinds_and_limits() -> None:
    limits = {
        name: {kind: prompt.max_words for kind, prompt in load_prompt_set(name).kinds.items()}
        for name in BUILT_IN_SETS
    }
    # "fewer than 20 words" is at most 19.
    assert limits == {
        "standard": {
            "full": None,
            "technical": 19,
            "genre_mood": 29,
            "instrumentation": 14,
            "structure": 14,
        },
        "short": {
            "brief": None,
            "technical": 29,
            "genre_mood_inst": 29,
            "instrumentation": 14,
            "very_brief": 5,
        },
        "teaching": {
            "technique": 150,
            "timing": 120,
            "pitch": 120,
            "expression": 120,
            "practice": 150,
            "comparison": 180,
        },
        "structured": {
            "genre_mood": None,
            "instrumentation": None,
            "production": None,
            "lesson": None,
        },
    }


@pytest.mark.parametrize("name", BUILT_IN_SETS)
def test_packaged_prompts_tell_the_model_the_limit_that_is_checked(name: str) -> None:
    prompts = load_prompt_set(name)
    assert prompts.name == name
    for prompt in prompts.kinds.values():
        assert prompt.max_tokens is not None
        if prompt.max_words is not None:
            words = re.search(r"fewer than (\d+) words", prompt.prompt)
            assert words is not None
            assert int(words[1]) == prompt.max_words + 1
            assert prompt.max_tokens > 2 * prompt.max_words


def test_own_set_can_be_sent_to_another_process(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nkinds:\n  dance: {prompt: 'Can one dance to it?', max_words: 3}\n")
    prompts = load_prompt_set(path)
    assert prompts == PromptSet("mine", {"dance": Prompt("Can one dance to it?", 3, None)})
    assert load_prompt_set(str(path)) == prompts
    assert pickle.loads(pickle.dumps(prompts)) == prompts


def test_packaged_schemas_are_strict_json_schemas_without_what_is_measured() -> None:
    prompts = load_prompt_set("structured").kinds
    for kind, prompt in prompts.items():
        assert prompt.schema is not None, kind
        jsonschema.Draft202012Validator.check_schema(prompt.schema)
        assert json.loads(json.dumps(prompt.schema)) == prompt.schema
        for part in objects_of(prompt.schema):
            assert part["additionalProperties"] is False
            assert sorted(part["properties"]) == sorted(part["required"])
            # A model's tempo, key and length are guesses; measured ones lie beside the text.
            assert not {"tempo", "bpm", "key", "duration", "chords"} & set(part["properties"])
    none = {"strengths": [], "weaknesses": [], "practice": []}
    jsonschema.validate(none, prompts["lesson"].schema)
    wrong = {**none, "weaknesses": [{"area": "luck", "remark": "Too little."}]}
    with pytest.raises(jsonschema.ValidationError, match="'luck' is not one of"):
        jsonschema.validate(wrong, prompts["lesson"].schema)


def test_packaged_schemas_leave_room_for_the_longest_answer() -> None:
    for kind, prompt in load_prompt_set("structured").kinds.items():
        longest = longest_of(prompt.schema)
        jsonschema.validate(longest, prompt.schema)
        # A token of English is about four characters; half of a list is rarely as long as it may.
        assert prompt.max_tokens is not None
        assert prompt.max_tokens >= len(json.dumps(longest)) / 4, kind


def longest_of(schema: Any) -> Any:
    """The longest value that a schema of ours allows."""
    if "enum" in schema:
        return max(schema["enum"], key=len)
    if schema["type"] == "string":
        return "x" * schema["maxLength"]
    if schema["type"] == "array":
        return [longest_of(schema["items"])] * schema["maxItems"]
    return {name: longest_of(part) for name, part in schema["properties"].items()}


def test_a_prompt_has_words_or_a_schema() -> None:
    with pytest.raises(ConfigError, match="max_words 3 and a schema; expected one of them"):
        Prompt("p", max_words=3, schema={"type": "object"})


def objects_of(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and those within it that describe objects."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects_of(value)


def test_schema_of_an_own_set_is_plain_data(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nkinds:\n  a:\n    prompt: p\n    schema:\n      type: object\n"
        "      properties:\n        n: {type: number, minimum: -1.5, maximum: 3e2}\n"
        "        s: {const: null}\n        t: {}\n"
        "      required: [n, 'yes']\n      additionalProperties: false\n"
    )
    assert load_prompt_set(path).kinds["a"].schema == {
        "type": "object",
        "properties": {
            "n": {"type": "number", "minimum": -1.5, "maximum": 300.0},
            "s": {"const": None},
            "t": {},
        },
        "required": ["n", "yes"],
        "additionalProperties": False,
    }


KINDS = "kinds:\n  x: {prompt: p}"
SCHEMA = "name: a\nkinds:\n  x:\n    prompt: p\n    schema: "
BILLION_LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty; expected name and kinds"),
        ("# nothing", "the file is empty"),
        ("[]", "line 1: the file is an empty list"),
        (KINDS, "line 1: the file has no 'name'"),
        ("name: a", "line 1: the file has no 'kinds'"),
        (f"name: a\n{KINDS}\nextra: 1", "line 4: the file has 'extra'; expected one of name, kind"),
        (f"name: ä\n{KINDS}", "line 1: name is 'ä'; expected a lower-case letter"),
        (f"name: Big\n{KINDS}", "line 1: name is 'Big'"),
        (f"name: 12\n{KINDS}", "line 1: name is '12'; expected text"),
        (f"name: 'a/../b'\n{KINDS}", "line 1: name is 'a/../b'"),
        (f"name: {'a' * 41}\n{KINDS}", "line 1: name is 'a{41}'"),
        (f"name: standard\n{KINDS}", "name is 'standard', which is packaged"),
        ("name: a\nkinds: full", "line 2: kinds is 'full'; expected names"),
        ("name: a\nkinds: {}", "line 2: kinds is an empty mapping"),
        ("name: a\nkinds:\n  x: p", "line 3: kind 'x' is 'p'; expected names"),
        ("name: a\nkinds:\n  x:", "line 3: kind 'x' is ''"),
        ("name: a\nkinds:\n  x: {max_words: 3}", "line 3: kind 'x' has no 'prompt'"),
        ("name: a\nkinds:\n  x: {prompt: ' '}", "line 3: prompt is ' '; expected text"),
        ("name: a\nkinds:\n  x: {prompt: yes}", "line 3: prompt is 'yes'; expected text"),
        ("name: a\nkinds:\n  x: {prompt: [p]}", "nested|prompt is a list"),
        ("name: a\nkinds:\n  no: {prompt: p}", "line 3: a name in kinds is 'no'"),
        ("name: a\nkinds:\n  X: {prompt: p}", "line 3: kind is 'X'"),
        ("name: a\nkinds:\n  model: {prompt: p}", "line 3: kind is 'model'; expected another name"),
        ("name: a\nkinds:\n  full_model: {prompt: p}", "line 3: kind is 'full_model'"),
        ("name: a\nkinds:\n  x: {prompt: p, words: 3}", "line 3: kind 'x' has 'words'; expected"),
        ("name: a\nkinds:\n  x:\n    prompt: p\n    max_words: 0", "line 5: max_words is '0'"),
        ("name: a\nkinds:\n  x:\n    prompt: p\n    max_words: -3", "line 5: max_words is '-3'"),
        ("name: a\nkinds:\n  x:\n    prompt: p\n    max_words: 1.5", "line 5: max_words is '1.5'"),
        ("name: a\nkinds:\n  x:\n    prompt: p\n    max_words: '5'", "line 5: max_words is '5'"),
        ("name: a\nkinds:\n  x:\n    prompt: p\n    max_words: 0x1f", "max_words is '0x1f'"),
        (
            "name: a\nkinds:\n  x:\n    prompt: p\n    max_tokens: 4096",
            "max_tokens is '4096'",
        ),
        ("name: a\nkinds:\n  x: {prompt: p}\n  x: {prompt: q}", "line 4: 'x' is given twice"),
        (f"name: a\nname: b\n{KINDS}", "line 2: 'name' is given twice"),
        (f"name: a\n---\n{KINDS}", "line 2: .*another document"),
        (f"name: a\n\t{KINDS}", "line 2: .*expected valid YAML"),
        ("name: 'a", "line 1: .*expected valid YAML"),
        (f"name: a\x07\n{KINDS}", r"line 1: character '\\x07' is not allowed"),
        (f"name: !!str a\n{KINDS}", "line 1: tag '.*str'; expected plain data without tags"),
        ("name: a\nkinds: !!python/object/apply:os.system [x]", "line 2: tag '.*os.system'"),
        (BILLION_LAUGHS, "line 1: an anchor or alias"),
        (f"name: a\n{KINDS}\n<<: *y", "line 4: an anchor or alias"),
        (f"<<: {{name: a}}\n{KINDS}", "line 1: a name in the file is '<<'"),
        ("[" * 20_000, "line 1: nested 17 levels deep; expected at most 16"),
        ("- " * 20_000, "line 1: nested 17 levels deep"),
        (f"{SCHEMA}yes", "line 5: schema is 'yes'; expected names"),
        (f"{SCHEMA}{{}}", "line 5: schema is an empty mapping"),
        (f"{SCHEMA}{{a: yes}}", "line 5: schema: a is 'yes'; expected JSON"),
        (f"{SCHEMA}{{a: 0x1f}}", "line 5: schema: a is '0x1f'; expected JSON"),
        (f"{SCHEMA}{{type: nonsense}}", "line 5: schema: type is 'nonsense'; expected one of obj"),
        (f"{SCHEMA}{{a: .nan}}", "line 5: schema: a is '.nan'; expected JSON"),
        (f"{SCHEMA}{{a: [2026-01-02]}}", "line 5: schema: a is '2026-01-02'; expected JSON"),
        (f"{SCHEMA}\n      a: 1\n      a: 2", "line 7: 'a' is given twice in schema"),
        (f"{SCHEMA}{{a: 1}}\n    max_words: 3", "line 6: .* has max_words and a schema; expected"),
        (f"name: a\n{KINDS} {'#' * 65_536}", "larger than 65536 bytes"),
        (
            "name: a\nkinds:\n" + "".join(f"  k{i}: {{prompt: p}}\n" for i in range(33)),
            "line 3: there are 33 kinds; expected at most 32",
        ),
    ],
)
def test_what_is_not_understood_is_an_error_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_prompt_set(path)
    assert "mine.yaml" in str(caught.value)


def test_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes("name: a\nkinds: {x: {prompt: h\xe9}}".encode("latin-1"))
    with pytest.raises(ConfigError, match="mine.yaml, line 2: byte 0xe9 is not UTF-8"):
        load_prompt_set(path)


def test_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="larger than 65536 bytes"):
        load_prompt_set("/dev/zero")


def test_name_of_no_set_and_no_file() -> None:
    with pytest.raises(
        ConfigError, match="'long' is neither one of standard, short, teaching, structured nor"
    ):
        load_prompt_set("long")


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        load_prompt_set(tmp_path)


def test_select_keeps_the_order_asked_for_and_drops_repeats() -> None:
    prompts = load_prompt_set("standard")
    assert prompts.select(None) == tuple(prompts.kinds)
    assert prompts.select(["structure", "full", "structure"]) == ("structure", "full")


def test_select_refuses_what_is_not_in_the_set() -> None:
    with pytest.raises(ConfigError, match="kind 'brief' is not in the prompt set 'standard'; expe"):
        load_prompt_set("standard").select(["full", "brief"])
    with pytest.raises(ConfigError, match="no kind is asked for"):
        load_prompt_set("standard").select([])
