"""Prompt sets: which texts are asked for, by which prompts, in how many words or which shape.

Four sets are packaged; a user's own is a YAML file, read as plain data and strictly: whatever is
not understood is an error with its line. Knows no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NoReturn

import yaml

from antiphon.errors import ConfigError
from antiphon.files import storage_error

BUILT_IN_SETS = ("standard", "short", "teaching", "structured")
MAX_FILE_BYTES = 64 * 1024
MAX_KINDS = 32
MAX_WORDS = 10_000
MAX_TOKENS = 2_048  # what a listening model may write at once
_MAX_DEPTH = 16  # set, kinds, one kind, and a schema of nested objects
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_TAG_PREFIX = "tag:yaml.org,2002:"

_JSON_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+")  # of JSON, a word to YAML

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True)
class Prompt:
    """What a model is asked for one text; limits are inclusive, None means none.

    With a `schema`, a JSON schema as plain data, the text is JSON of that shape.
    """

    prompt: str
    max_words: int | None = None
    max_tokens: int | None = None
    schema: Mapping[str, Json] | None = None

    def __post_init__(self) -> None:
        if self.schema is not None and self.max_words is not None:
            raise ConfigError(
                f"a prompt has max_words {self.max_words} and a schema; expected one of them: JSON "
                "that is cut keeps to no schema"
            )


@dataclass(frozen=True)
class PromptSet:
    """Prompts by kind, in the order in which texts are made."""

    name: str
    kinds: Mapping[str, Prompt]

    def select(self, kinds: Sequence[str] | None) -> tuple[str, ...]:
        """The kinds asked for, each once; None means all. Raises ConfigError for an unknown one."""
        if kinds is None:
            return tuple(self.kinds)
        for kind in kinds:
            if kind not in self.kinds:
                raise ConfigError(
                    f"kind {kind!r} is not in the prompt set {self.name!r}; "
                    f"expected one of {', '.join(self.kinds)}"
                )
        if not kinds:
            raise ConfigError(
                f"no kind is asked for; expected one or more of {', '.join(self.kinds)}"
            )
        return tuple(dict.fromkeys(kinds))


def load_prompt_set(name_or_path: str | Path) -> PromptSet:
    """Read a packaged set by name, or a YAML file.

    Raises ConfigError naming file, line, value and what was expected; StorageError for a file that
    cannot be read.
    """
    if str(name_or_path) in BUILT_IN_SETS:
        resource = resources.files("antiphon.listen") / "prompt_sets" / f"{name_or_path}.yaml"
        return _Reader(f"{name_or_path}.yaml").read(resource.read_bytes())
    path = Path(name_or_path)
    if not path.exists():
        raise ConfigError(
            f"prompt set {str(name_or_path)!r} is neither one of {', '.join(BUILT_IN_SETS)} "
            "nor a file; give one of these names or the path of a YAML file"
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise storage_error("read", path, error) from error
    prompts = _Reader(str(path)).read(data)
    if prompts.name in BUILT_IN_SETS:
        raise ConfigError(
            f"{path}: name is {prompts.name!r}, which is packaged; expected a name of your own, "
            "since it becomes part of the keys in .INFO files"
        )
    return prompts


class _Reader:
    """Reads one file; keeps its name for messages."""

    def __init__(self, file: str) -> None:
        self._file = file

    def read(self, data: bytes) -> PromptSet:
        top = self._fields(self._root(data), "the file", required=("name", "kinds"))
        kinds = self._mapping(top["kinds"], "kinds")
        if len(kinds) > MAX_KINDS:
            self._fail(top["kinds"], f"there are {len(kinds)} kinds", f"at most {MAX_KINDS}")
        name = self._text(top["name"], "name")
        self._check_name(top["name"], "name", name)
        return PromptSet(name, {kind: self._prompt(kind, node) for kind, node in kinds.items()})

    def _prompt(self, kind: str, node: yaml.Node) -> Prompt:
        self._check_name(node, "kind", kind)
        if kind == "model" or kind.endswith("_model"):
            self._fail(node, f"kind is {kind!r}", "another name: .INFO files keep models there")
        fields = self._fields(
            node,
            f"kind {kind!r}",
            required=("prompt",),
            optional=("max_words", "max_tokens", "schema"),
        )
        words, tokens, schema = (fields.get(name) for name in ("max_words", "max_tokens", "schema"))
        if schema is not None and words is not None:
            self._fail(words, f"kind {kind!r} has max_words and a schema", "one of them")
        return Prompt(
            self._text(fields["prompt"], "prompt"),
            None if words is None else self._whole_number(words, "max_words", MAX_WORDS),
            None if tokens is None else self._whole_number(tokens, "max_tokens", MAX_TOKENS),
            None if schema is None else self._object(schema, "schema"),
        )

    def _root(self, data: bytes) -> yaml.Node:
        """The file as a tree of nodes: no alias, tag or deep nesting gets past here."""
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(
                f"{self._file}: the file is larger than {MAX_FILE_BYTES} bytes; "
                "expected a prompt set"
            )
        try:
            text = data.decode()
            self._check_events(text)
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(
                f"{self._file}, line {line}: byte {data[error.start]:#04x} is not UTF-8; "
                "save the file as UTF-8"
            ) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = self._file if mark is None else f"{self._file}, line {mark.line + 1}"
            raise ConfigError(f"{where}: {error.problem}; expected valid YAML") from error
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise ConfigError(
                f"{self._file}, line {line}: character {text[error.position]!r} is not allowed; "
                "expected printable text"
            ) from error
        if root is None:
            raise ConfigError(f"{self._file}: the file is empty; expected name and kinds")
        return root

    def _check_events(self, text: str) -> None:
        """Before any tree is built: aliases can blow it up, depth can exhaust the stack."""
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            where = f"{self._file}, line {event.start_mark.line + 1 if event.start_mark else 1}"
            if isinstance(event, yaml.NodeEvent) and event.anchor:
                raise ConfigError(f"{where}: an anchor or alias; expected plain data without them")
            if tag := getattr(event, "tag", None):
                raise ConfigError(f"{where}: tag {tag!r}; expected plain data without tags")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise ConfigError(
                    f"{where}: nested {depth} levels deep; expected at most {_MAX_DEPTH}"
                )

    def _fields(
        self,
        node: yaml.Node,
        what: str,
        *,
        required: tuple[str, ...],
        optional: tuple[str, ...] = (),
    ) -> dict[str, yaml.Node]:
        fields = self._mapping(node, what)
        known = required + optional
        for name, value in fields.items():
            if name not in known:
                self._fail(value, f"{what} has {name!r}", f"one of {', '.join(known)}")
        for name in required:
            if name not in fields:
                self._fail(node, f"{what} has no {name!r}", f"{' and '.join(required)}")
        return fields

    def _mapping(self, node: yaml.Node, what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode) or not node.value:
            self._fail(node, f"{what} is {_shown(node)}", "names with values below them")
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._text(key, f"a name in {what}")
            if name in fields:
                self._fail(key, f"{name!r} is given twice in {what}", "each name once")
            fields[name] = value
        return fields

    def _object(self, node: yaml.Node, what: str) -> dict[str, Json]:
        """A mapping as JSON has it."""
        fields = self._mapping(node, what)
        kind = fields.get("type")
        if isinstance(kind, yaml.ScalarNode) and kind.value not in _JSON_TYPES:
            self._fail(kind, f"{what}: type is {kind.value!r}", f"one of {', '.join(_JSON_TYPES)}")
        return {name: self._json(value, f"{what}: {name}") for name, value in fields.items()}

    def _json(self, node: yaml.Node, what: str) -> Json:
        if isinstance(node, yaml.MappingNode):
            return self._object(node, what) if node.value else {}
        if isinstance(node, yaml.SequenceNode):
            return [self._json(item, what) for item in node.value]
        assert isinstance(node, yaml.ScalarNode)
        if node.tag == _TAG_PREFIX + "str" and (node.style or not _NUMBER.fullmatch(node.value)):
            return str(node.value)
        # What YAML also reads as a number or a truth (0x1f, 1_000, yes) is more likely a word.
        try:
            value: Json = json.loads(node.value, parse_constant=_no_constant)
        except ValueError:
            self._fail(node, f"{what} is {_shown(node)}", "JSON (words that look like data quoted)")
        return value

    def _text(self, node: yaml.Node, what: str) -> str:
        if node.tag != _TAG_PREFIX + "str" or not node.value.strip():
            self._fail(node, f"{what} is {_shown(node)}", "text (in quotes if it looks like data)")
        return str(node.value).strip()

    def _whole_number(self, node: yaml.Node, what: str, most: int) -> int:
        plain = node.tag == _TAG_PREFIX + "int" and re.fullmatch(r"[1-9][0-9]{0,8}", node.value)
        if not plain or int(node.value) > most:
            self._fail(node, f"{what} is {_shown(node)}", f"a whole number from 1 to {most}")
        return int(node.value)

    def _check_name(self, node: yaml.Node, what: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            self._fail(
                node,
                f"{what} is {name!r}",
                "a lower-case letter, then at most 39 of a-z, 0-9, - and _",
            )

    def _fail(self, node: yaml.Node, problem: str, expected: str) -> NoReturn:
        line = node.start_mark.line + 1
        raise ConfigError(f"{self._file}, line {line}: {problem}; expected {expected}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _shown(node: yaml.Node) -> str:
    """A value as a message quotes it."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value if len(node.value) <= 40 else node.value[:40] + "...")
    kind = "mapping" if isinstance(node, yaml.MappingNode) else "list"
    return f"a {kind}" if node.value else f"an empty {kind}"
