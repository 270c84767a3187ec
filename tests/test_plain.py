"""Strict JSON into dataclasses: what is wrong is named by its place."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from antiphon.errors import ConfigError
from antiphon.plain import read_json, write_json

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Leaf:
    size: float
    name: str = "leaf"


@dataclass(frozen=True)
class Excuse:
    value: float | None
    reason: str | None


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    age: int
    root: Leaf | None = None

    def __post_init__(self) -> None:
        if self.age < 0:
            raise ConfigError(f"age is {self.age}; expected 0 or more")


def test_nested_dataclasses_are_filled() -> None:
    text = '{"leaves": [{"size": 1.5}, {"size": 2, "name": "b"}], "age": 3, "root": {"size": 0.0}}'
    tree = Tree((Leaf(1.5), Leaf(2.0, "b")), 3, Leaf(0.0))
    assert read_json(Tree, text, "tree") == tree
    assert read_json(Tree, text.encode(), "tree") == tree


def test_there_and_back() -> None:
    tree = Tree((Leaf(1.5), Leaf(2.0, "Blättchen")), 3, None)
    assert read_json(Tree, write_json(tree), "tree") == tree
    assert write_json(tree) == (
        '{"leaves": [{"size": 1.5, "name": "leaf"}, {"size": 2.0, "name": "Blättchen"}], '
        '"age": 3, "root": null}'
    )


def test_a_reason_that_is_not_there_is_not_written() -> None:
    assert write_json(Excuse(None, None)) == '{"value": null}'
    assert write_json(Excuse(None, "too short")) == '{"value": null, "reason": "too short"}'


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_never_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(Leaf(number))


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"leaves": [], "age": 3, "height": 1}, "height"),
        ({"leaves": [{"size": 1.0, "colour": "red"}], "age": 3}, "leaves.0.colour"),
        ({"leaves": [{"size": 1.0}, {"size": "1.0"}], "age": 3}, "leaves.1.size"),
        ({"leaves": [{}], "age": 3}, "leaves.0.size"),
        ({"leaves": []}, "age"),
        ({"leaves": [], "age": 3.0}, "age"),
        ({"leaves": [], "age": "3"}, "age"),
        ({"leaves": [], "age": True}, "age"),
        ({"leaves": [], "age": None}, "age"),
        ({"leaves": {}, "age": 3}, "leaves"),
        ({"leaves": [], "age": 3, "root": []}, "root"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(data: object, place: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_json(Tree, json.dumps(data), "tree")
    assert str(raised.value).startswith("tree is not valid: ")
    assert f"{place}: " in str(raised.value)
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_only_finite_numbers(number: str) -> None:
    with pytest.raises(ConfigError, match=r"leaves\.0\.size: .*finite"):
        read_json(Tree, f'{{"leaves": [{{"size": {number}}}], "age": 1}}', "tree")


@pytest.mark.parametrize(
    "text", ["", "{", "nonsense", "[1, 2]", "3", '"tree"', "null", b"\xff\xfe"]
)
def test_what_is_no_object_is_named_by_what_it_should_be(text: str | bytes) -> None:
    with pytest.raises(ConfigError, match="tree is not valid: tree: "):
        read_json(Tree, text, "tree")


def test_many_problems_are_counted_and_not_all_listed() -> None:
    with pytest.raises(ConfigError, match="; and 7 more$") as raised:
        read_json(Tree, json.dumps({"leaves": [{"size": "x"}] * 9, "age": "y"}), "tree")
    assert str(raised.value).count(": Input should") == 3


def test_an_error_of_the_dataclass_itself_comes_through() -> None:
    with pytest.raises(ConfigError, match="age is -1; expected 0 or more"):
        read_json(Tree, '{"leaves": [], "age": -1}', "tree")


def test_the_dataclass_itself_stays_as_lenient_as_it_was() -> None:
    """Reading strictly must not mark the class for other users of pydantic."""
    read_json(Tree, '{"leaves": [], "age": 1}', "tree")
    assert not hasattr(Leaf, "__pydantic_config__")
    assert Leaf(float("nan")).name == "leaf"
